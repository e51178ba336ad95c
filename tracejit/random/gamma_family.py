"""Gamma, beta and Dirichlet numbers, with derivatives with respect to parameters.

Marsaglia and Tsang, "A simple method for generating gamma variables" (2000): a loop in
which each element takes its numbers from its own counters, so that it does not matter
which others are drawn with it. The derivative is the implicit one (Figurnov, Mohamed,
Mnih 2018), an integral that is computed by Gauss-Legendre quadrature.
"""

from typing import Any

import numpy as np

from ..ir import dtypes as dt
from ..ir.aval import Shape
from ..tracing.control_flow import while_loop
from ..tracing.custom import custom_jvp
from ..tracing.differentiate import stop_gradient
from ..tracing.storage import own
from .arguments import (
    REAL_FLOATS,
    ShapeLike,
    checked_dtype,
    checked_key,
    common_shape,
    fitted_shape,
    split_last,
)
from .drawing import drawn
from .normal import computed_in, standard_exponential, standard_normal
from .uniform import as_dtype

F64 = dt.FLOAT64
DIGAMMA = (1 / 12, 1 / 120, 1 / 252, 1 / 240, 1 / 132, 691 / 32760)  # |B2k| / 2k
NODES, WEIGHTS = (own(v) for v in np.polynomial.legendre.leggauss(48))  # on [-1, 1]


def gamma(key: Any, a: Any, shape: ShapeLike | None = None, dtype: Any = float) -> Any:
    """Return gamma numbers of shape parameter `a` and scale 1.

    Parameters
    ----------
    key : uint32[2]
    a : array_like
        Positive; others give NaN. Derivatives go through it.
    shape : int or tuple of int, optional
        By default the shape of `a`.
    dtype : float16, bfloat16, float32 or float64
    """
    key = checked_key("gamma", key)
    name = checked_dtype("gamma", dtype, REAL_FLOATS).name
    return _gamma(key, a, shape=common_shape("gamma", shape, a), dtype=name)


@drawn
def _gamma(key: Any, a: Any, *, shape: Shape, dtype: str) -> Any:
    kind = np.dtype(dtype)
    large, exponent = gamma_parts(key, a, shape, kind)
    return (large * np.exp(exponent)).astype(kind)


def log_gamma(key: Any, a: Any, shape: Shape, dtype: np.dtype) -> Any:
    """Return the logarithm of gamma numbers, which small `a` do not make infinite."""
    large, exponent = gamma_parts(key, a, shape, dtype)
    return np.log(large) + exponent


def gamma_parts(key: Any, a: Any, shape: Shape, dtype: np.dtype) -> tuple[Any, Any]:
    """Return x and y with x · e^y a gamma number.

    If a < 1 these are a number of a + 1, and the logarithm of u^(1/a) for a uniform u.
    """
    kind = computed_in(dtype)
    a = np.broadcast_to(as_dtype(a, kind), shape)
    a = np.where(a > 0, a, kind.type(np.nan))
    is_small = a < 1
    x = _above_one(key[0], key[1], np.where(is_small, a + 1, a))
    time = standard_exponential(key, shape, kind, stream=1)
    return x, np.where(is_small, -time / a, kind.type(0))


@custom_jvp
def _above_one(k0: Any, k1: Any, a: Any) -> Any:
    """Return gamma numbers of float32 or float64 parameters a >= 1."""
    shape, dtype = a.shape, a.dtype
    d = a - 1 / 3
    c = 1 / np.sqrt(9 * d)

    def turn(state: Any) -> Any:
        number, is_done, found = state
        stream = np.uint32(4) * number  # this and the next three
        x = standard_normal((k0, k1), shape, dtype, stream)
        time = standard_exponential((k0, k1), shape, dtype, stream + np.uint32(2))
        root = 1 + c * x
        is_positive = root > 0
        v = np.where(is_positive, root * root * root, dtype.type(1))
        bound = 0.5 * x * x + d - d * v + d * np.log(v)
        is_good = is_positive & (-time < bound) | np.isnan(a)
        found = np.where(is_done, found, d * v)
        return number + np.uint32(1), is_done | is_good, found

    start = np.uint32(1), np.zeros_like(a, bool), d
    state = while_loop(lambda state: ~np.all(state[1]), turn, start)
    return state[2]


@_above_one.defjvp
def _above_one_jvp(primals: Any, tangents: Any) -> Any:
    k0, k1, a = primals
    x = _above_one(k0, k1, a)
    return x, tangents[2] * gamma_slope(x, a).astype(a.dtype)


def gamma_slope(x: Any, a: Any) -> Any:
    """Return ∂x/∂a at a fixed value of the distribution function, for a >= 1.

    With t = x eʷ that is ``x ∫ exp(a w + x (1 - eʷ)) (ψ(a) - ln x - w) dw`` over w
    below 0, or minus that over w above 0, as both together vanish. Integrated is over
    the side that does not hold the mode, as far as the integrand is above e^-38.
    """
    x, a = x.astype(F64), a.astype(F64)
    is_left = x < a
    gap = np.maximum(np.abs(a - x), 1e-30)
    c = 38 / a
    far = np.where(is_left, c + np.sqrt(2 * c), np.sqrt(80 / x))
    reach = stop_gradient(np.minimum(far, 40 / gap))
    center = digamma(a) - np.log(x)
    signed = 0.5 * np.where(is_left, -reach, reach)
    w = signed[..., None] * (1 + NODES)
    values = np.exp(a[..., None] * w - x[..., None] * np.expm1(w))
    total = np.sum(WEIGHTS * values * (center[..., None] - w), -1)
    return -x * signed * total


def digamma(a: Any) -> Any:
    """Return ψ(a) for float64 a >= 1, by recurrence to a + 8 and Stirling's series."""
    z = a + 8
    y = 1 / (z * z)
    series = 0.0
    for term in reversed(DIGAMMA):
        series = y * (term - series)
    steps = 1 / a
    for i in range(1, 8):
        steps = steps + 1 / (a + i)
    return np.log(z) - 0.5 / z - series - steps


# --- what is made of gamma numbers --------------------------------------------------


def beta(
    key: Any, a: Any, b: Any, shape: ShapeLike | None = None, dtype: Any = float
) -> Any:
    """Return beta numbers: x / (x + y) for gamma numbers x of `a` and y of `b`.

    Parameters
    ----------
    key : uint32[2]
    a, b : array_like
        Positive; others give NaN. Derivatives go through them.
    shape : int or tuple of int, optional
        By default that of `a` and `b`.
    dtype : float16, bfloat16, float32 or float64
    """
    key = checked_key("beta", key)
    name = checked_dtype("beta", dtype, REAL_FLOATS).name
    return _beta(key, a, b, shape=common_shape("beta", shape, a, b), dtype=name)


@drawn
def _beta(key: Any, a: Any, b: Any, *, shape: Shape, dtype: str) -> Any:
    kind = np.dtype(dtype)
    wide = computed_in(kind)
    both = np.stack([np.broadcast_to(as_dtype(v, wide), shape) for v in (a, b)])
    x, y = log_gamma(key, both, (2, *shape), kind)
    return (1 / (1 + np.exp(y - x))).astype(kind)


def dirichlet(
    key: Any, alpha: Any, shape: ShapeLike | None = None, dtype: Any = float
) -> Any:
    """Return Dirichlet vectors, which add up to 1.

    Parameters
    ----------
    key : uint32[2]
    alpha : array_like, (..., n)
        Positive; others give NaN. Derivatives go through it.
    shape : int or tuple of int, optional
        Of the results without their last axis; by default that of `alpha` without its.
    dtype : float16, bfloat16, float32 or float64

    Returns
    -------
    array, (*shape, n)
    """
    key = checked_key("dirichlet", key)
    name = checked_dtype("dirichlet", dtype, REAL_FLOATS).name
    batch, length = split_last("dirichlet", "alpha", alpha)
    rows = fitted_shape("dirichlet", shape, batch)
    return _dirichlet(key, alpha, shape=(*rows, length), dtype=name)


@drawn
def _dirichlet(key: Any, alpha: Any, *, shape: Shape, dtype: str) -> Any:
    logs = log_gamma(key, alpha, shape, np.dtype(dtype))
    parts = np.exp(logs - stop_gradient(logs.max(-1, keepdims=True)))
    return (parts / parts.sum(-1, keepdims=True)).astype(dtype)
