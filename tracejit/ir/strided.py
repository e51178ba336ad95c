"""Memory of an array seen with other extents and steps, of any supported dtype."""

import numpy as np

from .dtypes import OF_ML_DTYPES
from .primitive import Array


def raw_dtype(dtype: np.dtype) -> np.dtype:
    """Return a dtype of the same size that NumPy's array protocols can name.

    They call ml_dtypes's dtypes ``|V2`` and the like, or ``<f1``, which is no dtype.

    Examples
    --------
    >>> import ml_dtypes
    >>> raw_dtype(np.dtype("f4")), raw_dtype(np.dtype(ml_dtypes.float8_e5m2))
    (dtype('float32'), dtype('uint8'))
    """
    return np.dtype(f"u{dtype.itemsize}") if dtype in OF_ML_DTYPES else dtype


def strided(x: Array, shape: tuple[int, ...], strides: tuple[int, ...]) -> Array:
    """Return `x` as ``numpy.lib.stride_tricks.as_strided`` does: strides in bytes."""
    raw = x.view(raw_dtype(x.dtype))
    return np.lib.stride_tricks.as_strided(raw, shape, strides).view(x.dtype)
