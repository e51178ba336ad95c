"""Discrete distributions: categories and counts."""

from math import log, pi
from typing import Any

import numpy as np

from ..errors import DTypeError
from ..ir import dtypes as dt
from ..ir.aval import Shape
from ..tracing.control_flow import while_loop
from ..tracing.functions.registry import normalize_axis
from ..tracing.source import user_line
from .arguments import (
    REAL_FLOATS,
    ShapeLike,
    checked_dtype,
    checked_key,
    common_shape,
    fitted_shape,
)
from .continuous import standard_gumbel
from .drawing import drawn
from .uniform import INTEGERS, as_dtype, fraction

F64 = dt.FLOAT64
LARGE_MEAN = 10.0  # from which counts are drawn by rejection


def categorical(
    key: Any, logits: Any, axis: int = -1, shape: ShapeLike | None = None
) -> Any:
    """Return indices along an axis, drawn with probabilities ``softmax(logits)``.

    Parameters
    ----------
    key : uint32[2]
    logits : array_like of float
        Logarithms of probabilities, up to a constant along `axis`; -inf is never drawn.
    axis : int
    shape : int or tuple of int, optional
        By default that of `logits` without `axis`, which it may have further axes
        before.

    Returns
    -------
    int64 array of `shape`

    Examples
    --------
    >>> import tracejit as tj
    >>> logits = np.log([0.1, 0.2, 0.7])
    >>> tokens = categorical(tj.random.key(0), logits, shape=(5,))
    """
    key = checked_key("categorical", key)
    if not hasattr(logits, "dtype"):
        logits = np.asarray(logits, np.float64)
    if logits.dtype not in REAL_FLOATS:
        raise DTypeError(
            f"categorical: the logits are {logits.dtype}, not float",
            source=user_line(),
            hint="np.log of probabilities",
        )
    axis = normalize_axis(axis, logits.ndim)
    batch = logits.shape[:axis] + logits.shape[axis + 1 :]
    out = fitted_shape("categorical", shape, batch)
    return _categorical(key, logits, axis=axis - logits.ndim, shape=out)


@drawn
def _categorical(key: Any, logits: Any, *, axis: int, shape: Shape) -> Any:
    at = len(shape) + 1 + axis
    full = (*shape[:at], logits.shape[axis], *shape[at:])
    noise = standard_gumbel(key, full, logits.dtype)
    return np.argmax(noise + logits, at)


# --- counts -----------------------------------------------------------------------


def poisson(
    key: Any, lam: Any, shape: ShapeLike | None = None, dtype: Any = int
) -> Any:
    """Return Poisson numbers of mean `lam`.

    Parameters
    ----------
    key : uint32[2]
    lam : array_like
        At least 0; others give -1 (the largest number, if `dtype` is unsigned).
    shape : int or tuple of int, optional
        By default the shape of `lam`.
    dtype : integer dtype

    Returns
    -------
    array of `shape`
    """
    key = checked_key("poisson", key)
    name = checked_dtype("poisson", dtype, INTEGERS).name
    return _poisson(key, lam, shape=common_shape("poisson", shape, lam), dtype=name)


@drawn
def _poisson(key: Any, lam: Any, *, shape: Shape, dtype: str) -> Any:
    lam = np.broadcast_to(as_dtype(lam, F64), shape)
    is_large = lam >= LARGE_MEAN
    few = _counted_up(key, np.where(is_large, 0.0, lam))
    many = _rejected(key, np.where(is_large, lam, LARGE_MEAN), is_large)
    count = np.where(is_large, many, few)
    return np.where(lam >= 0, count, -1.0).astype(np.int64).astype(dtype)


def _counted_up(key: Any, lam: Any) -> Any:
    """Return the first count whose cumulative probability is above a uniform number."""
    u = fraction(key, lam.shape, F64)

    def turn(state: Any) -> Any:
        k, count, term, below = state
        count = np.where(u >= below, k, count)
        term = term * lam / k
        return k + 1.0, count, term, below + term

    def is_unsure(state: Any) -> Any:
        return np.any((u >= state[3]) & (state[0] < 100.0))

    first = np.exp(-lam)
    start = np.float64(1.0), np.zeros_like(lam), first, first
    return while_loop(is_unsure, turn, start)[1]


def _rejected(key: Any, lam: Any, is_wanted: Any) -> Any:
    """Return counts of mean 10 and more; 0 where they are not wanted.

    Hörmann, "The transformed rejection method for generating Poisson random variables"
    (1993), algorithm PTRS.
    """
    log_lam = np.log(lam)
    b = 0.931 + 2.53 * np.sqrt(lam)
    a = -0.059 + 0.02483 * b
    scale = 1.1239 + 1.1328 / (b - 3.4)
    quick = 0.9277 - 3.6224 / (b - 2)

    def turn(state: Any) -> Any:
        number, is_done, found = state
        stream = np.uint32(2) * number  # this and the next
        u = fraction(key, lam.shape, F64, stream) - 0.5
        v = fraction(key, lam.shape, F64, stream + np.uint32(1)) + 2.0**-53
        near = 0.5 - np.abs(u) + 2.0**-53
        k = np.floor((2 * a / near + b) * u + lam + 0.43)
        is_quick = (near >= 0.07) & (v <= quick)
        is_out = (k < 0) | ((near < 0.013) & (v > near))
        at_least_0 = np.maximum(k, 0.0)
        chance = at_least_0 * log_lam - lam - log_factorial(at_least_0)
        is_below = np.log(v * scale / (a / (near * near) + b)) <= chance
        is_good = is_quick | (~is_out & is_below)
        found = np.where(is_good & ~is_done, k, found)
        return number + np.uint32(1), is_done | is_good, found

    start = np.uint32(1), ~is_wanted | ~(lam < np.inf), np.zeros_like(lam)
    return while_loop(lambda state: ~np.all(state[1]), turn, start)[2]


def log_factorial(k: Any) -> Any:
    """Return ln k! for float64 k >= 0, by recurrence to k + 8 and Stirling's series."""
    z = k + 9
    y = 1 / (z * z)
    series = (1 / 12 - y * (1 / 360 - y * (1 / 1260 - y / 1680))) / z
    product = k + 1
    for i in range(2, 9):
        product = product * (k + i)
    return (z - 0.5) * np.log(z) - z + 0.5 * log(2 * pi) + series - np.log(product)
