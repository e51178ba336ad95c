"""Programs over numbers of 16 bits: computed in float32, rounded once at the end.

It is what a NumPy program has to say for itself: NumPy rounds at each operation, and
sums in the dtype it is given.
"""

import numpy as np

from ..trees import map_arrays


def in_float32(function):
    """The same program between a cast of every array to float32 and one back."""

    def program(x, *others):
        wide = (map_arrays(lambda a: a.astype(np.float32), o) for o in others)
        return function(x.astype(np.float32), *wide).astype(x.dtype)

    return program
