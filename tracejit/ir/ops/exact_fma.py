"""What `fma` means in NumPy, which has none: a product and a sum with one rounding."""

import math

import numpy as np

from ..primitive import Array


def _fma_scalar(x: float, y: float, z: float) -> float:
    """One exact multiply-add of float64, as a fraction of integers."""
    if not (math.isfinite(x) and math.isfinite(y) and math.isfinite(z)):
        return x * y + z
    (a, b), (c, d), (e, f) = (v.as_integer_ratio() for v in (x, y, z))
    exact = a * c * f + e * b * d
    if exact == 0:
        return x * y + z
    try:
        return exact / (b * d * f)  # rounded once
    except OverflowError:
        return math.inf if exact > 0 else -math.inf


_fma64 = np.frompyfunc(_fma_scalar, 3, 1)


def fma(x: Array, y: Array, z: Array) -> Array:
    """Return ``x * y + z``, rounded once, of float16, bfloat16, float32 or float64.

    Examples
    --------
    >>> x = np.float64(1 + 2.0**-52)
    >>> float(fma(x, x, np.float64(-x * x))) == 2.0**-104
    True
    """
    dtype = np.asarray(x).dtype
    if dtype.itemsize < 8:
        return _fma_narrow(x, y, z, dtype)
    return _fma_wide(*np.broadcast_arrays(x, y, z))


def _fma_wide(x: Array, y: Array, z: Array) -> Array:
    """By error-free transformations; one by one where these could over- or underflow.

    Boldo and Melquiond, "Emulation of FMA and correctly rounded sums", 2008.
    """
    p = np.asarray(x * y)
    low = (x == 0) | (y == 0) | (np.abs(p) > 2.0**-960)
    high = np.maximum(
        np.maximum(np.abs(x), np.abs(y)), np.maximum(np.abs(p), np.abs(z))
    )
    is_safe = low & (high < 2.0**990)
    if not np.all(is_safe):
        exact = np.asarray(_fma64(x, y, z), np.float64)
        if not np.any(is_safe):
            return exact
        x, y, z = (np.where(is_safe, v, 0.0) for v in (x, y, z))
        return np.where(is_safe, _fma_wide(x, y, z), exact)
    (x1, x2), (y1, y2) = _halves(x), _halves(y)
    rest = ((x1 * y1 - p) + x1 * y2 + x2 * y1) + x2 * y2
    middle, bottom = _two_sum(z, rest)
    top, middle = _two_sum(p, middle)
    total, error = _two_sum(middle, bottom)
    out = top + _rounded_to_odd(total, error)
    return np.asarray(np.where(out == 0, p + z, out))


def _halves(x: Array) -> tuple[Array, Array]:
    """Split a float64 into two of 26 bits (Veltkamp)."""
    c = x * (2.0**27 + 1)
    upper = c - (c - x)
    return upper, x - upper


def _two_sum(x: Array, y: Array) -> tuple[Array, Array]:
    """Return the rounded sum, and what rounding it left out (Knuth)."""
    total = x + y
    yy = total - x
    return total, (x - (total - yy)) + (y - yy)


def _rounded_to_odd(total: Array, error: Array) -> Array:
    """Move a float64 sum that is not exact to the neighbour with an odd last bit."""
    bits = np.asarray(total).view(np.int64)
    inexact = (error != 0) & ((bits & 1) == 0)
    toward = np.where((error > 0) == (total > 0), 1, -1)
    return np.where(inexact, bits + toward, bits).view(np.float64)


def _fma_narrow(x: Array, y: Array, z: Array, dtype: np.dtype) -> Array:
    """The product of two float32 is exact in float64; the sum is rounded to odd.

    Rounding to odd in the wide format makes the second rounding exact (Boldo and
    Melquiond, "Emulation of FMA and correctly rounded sums", 2008).
    """
    total, error = _two_sum(
        np.multiply(x, y, dtype=np.float64), np.asarray(z, np.float64)
    )
    error = np.where(np.isfinite(total), error, 0.0)
    return _rounded_to_odd(total, error).astype(dtype)
