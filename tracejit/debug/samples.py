"""Values for the inputs of a graph, when a command runs it that was told types alone.

Needs avals. Establishes `sample_inputs`: the same values for the same seed, of sizes
that neither overflow nor vanish in a model's arithmetic.
"""

from collections.abc import Sequence

import numpy as np

from ..ir import dtypes as dt
from ..ir.aval import ShapedArray

INTEGERS = 4  # below the length of most axes, as integers often are indices


def sample_inputs(avals: Sequence[ShapedArray], seed: int = 0) -> list[np.ndarray]:
    """Return an array for each aval.

    Parameters
    ----------
    avals : sequence of ShapedArray
    seed : int

    Returns
    -------
    list of numpy.ndarray
        C-contiguous. Floats and both parts of complex numbers are normal, integers are
        from 0 to 3, booleans are drawn evenly.

    Examples
    --------
    >>> [x] = sample_inputs([ShapedArray((2, 3), np.dtype("float32"))])
    >>> x.shape, x.dtype
    ((2, 3), dtype('float32'))
    """
    rng = np.random.default_rng(seed)
    return [_sample(aval, rng) for aval in avals]


def _sample(aval: ShapedArray, rng: np.random.Generator) -> np.ndarray:
    if aval.dtype == dt.BOOL:
        return rng.integers(0, 2, aval.shape).astype(bool)
    if aval.dtype.kind in "iu":
        return rng.integers(0, INTEGERS, aval.shape).astype(aval.dtype)
    values = rng.standard_normal(aval.shape)
    if aval.dtype.kind == "c":
        values = values + 1j * rng.standard_normal(aval.shape)
    return np.asarray(values, aval.dtype)  # halves and float8 too
