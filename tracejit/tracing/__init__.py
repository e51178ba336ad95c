"""Tracing: recording a function of NumPy arrays into a graph."""
