"""Running on the CPU.

``engine`` turns LLVM text into machine code and loads it, ``builtins`` holds the helper
functions that machine code may call, ``ufuncs`` finds NumPy's compiled loops, ``arena``
owns the memory of a call, and ``call`` calls machine code through `ctypes`. Nothing
is imported here: the emitters, which ``executable`` needs, load when they are used.
"""
