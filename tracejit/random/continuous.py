"""Gumbel, Laplace and truncated normal numbers: formulas of uniform numbers."""

from math import pi, sqrt
from typing import Any

import numpy as np

from ..ir import dtypes as dt
from ..ir.aval import Shape
from ..ir.ops.elementwise import erfc_p
from ..tracing.custom import custom_jvp
from ..tracing.functions.registry import dispatch, implements, lift, wrap
from ..tracing.tracer import Tracer
from .arguments import (
    REAL_FLOATS,
    ShapeLike,
    checked_dtype,
    checked_key,
    checked_shape,
    common_shape,
)
from .drawing import drawn, words
from .normal import computed_in, log_of, minus_log, standard_exponential
from .uniform import as_dtype, fraction

F64 = dt.FLOAT64
# Exponential numbers are at least 2^-scale, and below 2^(the sum of halvings - scale).
RANGES = {dt.FLOAT32: (33, (32, 16, 8, 4, 2, 1)), F64: (65, (64, 32, 16, 8, 4, 2, 1))}


def gumbel(key: Any, shape: ShapeLike = (), dtype: Any = float) -> Any:
    """Return Gumbel numbers: -ln of exponential ones.

    Parameters
    ----------
    key : uint32[2]
    shape : int or tuple of int
    dtype : float16, bfloat16, float32 or float64
    """
    key = checked_key("gumbel", key)
    shape = checked_shape("gumbel", shape)
    name = checked_dtype("gumbel", dtype, REAL_FLOATS).name
    return _gumbel(key, shape=shape, dtype=name)


@drawn
def _gumbel(key: Any, *, shape: Shape, dtype: str) -> Any:
    return standard_gumbel(key, shape, np.dtype(dtype))


def standard_gumbel(key: Any, shape: Shape, dtype: np.dtype) -> Any:
    """Return -ln(-ln u) for uniform numbers u."""
    kind = computed_in(dtype)
    times = standard_exponential(key, shape, kind)
    scale, halvings = RANGES[kind]
    return (-log_of(times, scale, halvings)).astype(dtype)


def laplace(key: Any, shape: ShapeLike = (), dtype: Any = float) -> Any:
    """Return Laplace numbers of mean 0 and scale 1: exponential ones of either sign.

    Parameters
    ----------
    key : uint32[2]
    shape : int or tuple of int
    dtype : float16, bfloat16, float32 or float64
    """
    key = checked_key("laplace", key)
    shape = checked_shape("laplace", shape)
    name = checked_dtype("laplace", dtype, REAL_FLOATS).name
    return _laplace(key, shape=shape, dtype=name)


@drawn
def _laplace(key: Any, *, shape: Shape, dtype: str) -> Any:
    high, low = words(key, shape)
    size = minus_log(high, low, computed_in(np.dtype(dtype)))
    is_negative = (low & np.uint32(1)) == np.uint32(1)  # a bit that has no other use
    return np.where(is_negative, -size, size).astype(dtype)


# --- truncated normal -------------------------------------------------------------


def truncated_normal(
    key: Any,
    lower: Any,
    upper: Any,
    shape: ShapeLike | None = None,
    dtype: Any = float,
) -> Any:
    """Return normal numbers given that they lie from `lower` to `upper`.

    Parameters
    ----------
    key : uint32[2]
    lower, upper : array_like
        May be infinite. Precise in either tail, up to 37 standard deviations, beyond
        which results are the bound. Derivatives go through them.
    shape : int or tuple of int, optional
        By default that of the bounds.
    dtype : float16, bfloat16, float32 or float64
    """
    key = checked_key("truncated_normal", key)
    shape = common_shape("truncated_normal", shape, lower, upper)
    name = checked_dtype("truncated_normal", dtype, REAL_FLOATS).name
    return _truncated_normal(key, lower, upper, shape=shape, dtype=name)


@drawn
def _truncated_normal(
    key: Any, lower: Any, upper: Any, *, shape: Shape, dtype: str
) -> Any:
    a, b = as_dtype(lower, F64), as_dtype(upper, F64)
    u = fraction(key, shape, F64) + 2.0**-53
    mass = np.where(a > 0, tail(a) - tail(b), tail(-b) - tail(-a))
    below = tail(-a) + u * mass  # P(X < x), and P(X > x)
    above = tail(b) + (1 - u) * mass
    is_upper = above < below
    size = normal_quantile(np.minimum(np.where(is_upper, above, below), 0.5))
    x = np.where(is_upper, size, -size)
    return np.minimum(np.maximum(x, a), b).astype(dtype)


def tail(x: Any) -> Any:
    """Return the probability that a normal number is above x."""
    return 0.5 * erfc(x * sqrt(0.5))


def erfc(x: Any) -> Any:
    """Return the complementary error function, without SciPy."""
    if isinstance(x, Tracer):
        return dispatch(erfc, (x,), {})
    return erfc_p.impl(x)


@implements(erfc)
def _traced_erfc(x: Any) -> Any:
    trace, (value,) = lift(x)
    return wrap(trace, trace.emit(erfc_p, value.read()))


@custom_jvp
def normal_quantile(p: Any) -> Any:
    """Return the x >= 0 with ``tail(x) = p``, for float64 p up to ½.

    From an approximation within 4.5e-4 (Abramowitz and Stegun, 26.2.23), two steps of
    Halley's method, each of which triples the number of right digits.
    """
    p = np.maximum(p, np.finfo(F64).tiny)
    t = np.sqrt(-2 * np.log(p))
    top = 2.515517 + t * (0.802853 + t * 0.010328)
    x = t - top / (1 + t * (1.432788 + t * (0.189269 + t * 0.001308)))
    for _ in range(2):
        error = (tail(x) - p) / density(x)
        x = x + error / (1 - 0.5 * x * error)
    return np.maximum(x, 0.0)


@normal_quantile.defjvp
def _normal_quantile_jvp(primals: Any, tangents: Any) -> Any:
    (p,), (p_dot,) = primals, tangents
    x = normal_quantile(p)
    return x, -p_dot / density(x)


def density(x: Any) -> Any:
    """Return the density of the normal distribution."""
    return np.exp(-0.5 * x * x) / sqrt(2 * pi)
