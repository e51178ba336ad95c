"""Exponential and normal numbers by steps that round alike on every machine.

Needs `words` and `fma`. Of math functions only the square root and division, which
IEEE 754 defines; the logarithm and the sine are series, with each rounding written out.
So normal numbers have the same bits interpreted, compiled for any instruction set, and
on a GPU.
"""

from math import factorial, log, pi, sqrt
from typing import Any

import numpy as np

from ..ir import dtypes as dt
from ..ir.aval import Shape
from ..records import dataclass
from .arguments import REAL_FLOATS, ShapeLike, checked_dtype, checked_key, checked_shape
from .drawing import drawn, fma, words

INT32 = np.dtype(np.int32)
F32, F64 = dt.FLOAT32, dt.FLOAT64
COMPLEX = tuple(sorted(dt.COMPLEX, key=lambda d: d.itemsize))


@dataclass(frozen=True)
class Series:
    """How long series are in a format.

    Parameters
    ----------
    halvings : tuple of int
        Powers of two that bring a count of `width` - 1 bits to [√½, √2).
    width : int
        Bits of the uniform number.
    log_terms, sine_terms : int
        Of Taylor series; what is left out is less than half a unit in the last place.
    """

    halvings: tuple[int, ...]
    width: int
    log_terms: int
    sine_terms: int


SERIES = {
    F32: Series((16, 8, 4, 2, 1), 32, 4, 7),
    F64: Series((32, 16, 8, 4, 2, 1), 64, 9, 11),
}


def computed_in(dtype: np.dtype) -> np.dtype:
    """Return the format to compute in: float32 for the halves."""
    return F64 if dtype in (F64, np.dtype(np.complex128)) else F32


# --- the parts --------------------------------------------------------------------


def polynomial(x: Any, coefficients: tuple[float, ...]) -> Any:
    """Return Σ coefficients[i] xⁱ by Horner's rule, one rounding a step."""
    *rest, top = coefficients
    value = fma(x, top, rest[-1])
    for c in reversed(rest[:-1]):
        value = fma(x, value, c)
    return value


def minus_log(high: Any, low: Any, dtype: np.dtype) -> Any:
    """Return -ln u for the uniform number u of 32 (float64: 64) random bits.

    u is (2k + 1) / 2^width, k the bits but the last. Of u in the upper half the
    distance from 1 is kept, an odd multiple of 2^-width as well, so that the result is
    relatively exact from 2^-width to width · ln 2.
    """
    series = SERIES[dtype]
    is_low = high < np.uint32(2**31)
    count = _odd_count(is_low, high, low, dtype)
    scaled, exponent = _reduced(count, series.halvings)
    distance = count * 2.0**-series.width  # of u from the nearer of 0 and 1
    is_near = distance <= 1 - sqrt(0.5)
    upper = np.where(is_near, -distance, 1 - 2 * distance)
    f = np.where(is_low, scaled - 1, upper)
    above = np.where(is_near, dtype.type(0), dtype.type(-1))
    e = np.where(is_low, exponent - series.width, above)
    return -_log(f, e, series)


def log_of(x: Any, scale: int, halvings: tuple[int, ...]) -> Any:
    """Return ln x for 2^-scale <= x < √2 · 2^(Σ halvings - scale).

    Unlike ``np.log`` it has the same bits wherever it runs.
    """
    scaled, exponent = _reduced(x * 2.0**scale, halvings)
    return _log(scaled - 1, exponent - scale, SERIES[x.dtype])


def _log(f: Any, e: Any, series: Series) -> Any:
    """Return ln((1 + f) · 2^e), by the series of artanh(f / (2 + f))."""
    s = f / (f + 2)
    z = s * s
    odd = tuple(2 / (2 * i + 3) for i in range(series.log_terms))
    return fma(e, log(2), fma(z * s, polynomial(z, odd), 2 * s))


def _odd_count(is_low: Any, high: Any, low: Any, dtype: np.dtype) -> Any:
    """Return the distance to the nearer end in units of 2^-width, an odd number."""
    top = np.where(is_low, high, ~high)
    if dtype == F32:
        return (top | np.uint32(1)).astype(INT32).astype(dtype)
    rest = np.where(is_low, low, ~low) | np.uint32(1)
    return fma(top.astype(INT32).astype(dtype), 2.0**32, rest.astype(dtype))


def _reduced(x: Any, halvings: tuple[int, ...]) -> tuple[Any, Any]:
    """Return (m, e) with x = m · 2^e and m in [√½, √2), for 1 <= x < √2 · 2^Σ halvings.

    By halving where it is large: graphs have no view of the bits of a float.
    """
    one, zero = x.dtype.type(1), x.dtype.type(0)
    exponent: Any = zero
    for n in halvings:
        is_large = x >= 2.0**n * sqrt(0.5)
        x = x * np.where(is_large, one * 2.0**-n, one)
        exponent = exponent + np.where(is_large, one * n, zero)
    return x, exponent


def sine_of_angle(high: Any, low: Any, dtype: np.dtype) -> Any:
    """Return sin φ for an angle φ that is uniform in (-π/2, π/2).

    That has the distribution of the cosine of an angle in the whole circle.
    """
    turn = _odd_fraction(high, low, dtype)
    terms = range(SERIES[dtype].sine_terms)
    series = tuple(
        (-1) ** i * (pi / 2) ** (2 * i + 1) / factorial(2 * i + 1) for i in terms
    )
    return turn * polynomial(turn * turn, series)


def _odd_fraction(high: Any, low: Any, dtype: np.dtype) -> Any:
    """Return an odd multiple of 2^-31 (float64: 2^-63), from -1 to 1."""
    if dtype == F32:
        odd = (high | np.uint32(1)).astype(INT32)
        return odd.astype(dtype) * 2.0**-31
    rest = (low | np.uint32(1)).astype(dtype) * 2.0**-63
    return fma(high.astype(INT32).astype(dtype), 2.0**-31, rest)


def standard_normal(key: Any, shape: Shape, dtype: np.dtype, stream: Any = 0) -> Any:
    """Return normal numbers after Box and Muller (1958), one of each pair.

    float32 takes the radius and the angle from the two words of a counter, float64 from
    those of this stream and the next.
    """
    real = computed_in(dtype)
    if real == F32:
        radius, angle = words(key, shape, stream)
        square = minus_log(radius, radius, real)
        sine = sine_of_angle(angle, angle, real)
    else:
        square = minus_log(*words(key, shape, stream), real)
        sine = sine_of_angle(*words(key, shape, stream + 1), real)
    # A product by itself, which no sum that it is a term of takes into one rounding.
    return fma(np.sqrt(2 * square), sine, -0.0).astype(dtype)


def standard_exponential(
    key: Any, shape: Shape, dtype: np.dtype, stream: Any = 0
) -> Any:
    """Return -ln u for uniform numbers u."""
    return minus_log(*words(key, shape, stream), computed_in(dtype)).astype(dtype)


# --- distributions ----------------------------------------------------------------


def normal(key: Any, shape: ShapeLike = (), dtype: Any = float) -> Any:
    """Return normal numbers of mean 0 and variance 1.

    Parameters
    ----------
    key : uint32[2]
    shape : int or tuple of int
    dtype : float16, bfloat16, float32, float64, complex64 or complex128
        Complex numbers have variance 1: each part has half of it.

    Returns
    -------
    array of `shape`
        Up to 6.66 in magnitude for float32, 9.42 for float64: what is left out has a
        probability of 3e-11 and 4e-21.

    Examples
    --------
    >>> import tracejit as tj
    >>> noise = normal(tj.random.key(0), (2, 3), np.float32)
    """
    key = checked_key("normal", key)
    shape = checked_shape("normal", shape)
    allowed = (*REAL_FLOATS, *COMPLEX)
    return _normal(key, shape=shape, dtype=checked_dtype("normal", dtype, allowed).name)


@drawn
def _normal(key: Any, *, shape: Shape, dtype: str) -> Any:
    kind = np.dtype(dtype)
    if kind not in dt.COMPLEX:
        return standard_normal(key, shape, kind)
    parts = (standard_normal(key, shape, computed_in(kind), i) for i in (0, 2))
    real, imaginary = (part * sqrt(0.5) for part in parts)
    return (real + imaginary * kind.type(1j)).astype(kind)


def exponential(key: Any, shape: ShapeLike = (), dtype: Any = float) -> Any:
    """Return exponential numbers of mean 1.

    Parameters
    ----------
    key : uint32[2]
    shape : int or tuple of int
    dtype : float16, bfloat16, float32 or float64

    Returns
    -------
    array of `shape`
        At most 22.2 for float32, 44.4 for float64.
    """
    key = checked_key("exponential", key)
    shape = checked_shape("exponential", shape)
    name = checked_dtype("exponential", dtype, REAL_FLOATS).name
    return _exponential(key, shape=shape, dtype=name)


@drawn
def _exponential(key: Any, *, shape: Shape, dtype: str) -> Any:
    return standard_exponential(key, shape, np.dtype(dtype))
