"""LLVM text: types, an emitter, targets, vector math. No IR objects."""
