"""Results that differ from NumPy's in their last bits, by one rewrite."""

import numpy as np


def residue(x, square):
    """Return what rounding took from the square of x."""
    scaled = np.sqrt(square) * 1.0
    return x * x - square, scaled
