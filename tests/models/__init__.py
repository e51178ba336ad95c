"""Whole models: plain NumPy and transformations, as people write them."""
