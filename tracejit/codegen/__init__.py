"""Code generation: from kernels and programs to text that a compiler accepts."""
