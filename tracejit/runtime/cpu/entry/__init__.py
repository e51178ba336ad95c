"""Calls that do not go through Python: the type that is called, its machine code."""
