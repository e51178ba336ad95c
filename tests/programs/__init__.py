"""Whole NumPy programs, written as users write them, run eager and jitted."""
