"""LLVM text: types, an emitter, targets and vector math. No IR objects, no optimiser."""
