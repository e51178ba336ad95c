"""Random integers of a range, by multiplication instead of division.

Lemire, "Fast random integer generation in an interval" (2019), without its rejection:
of 64 random bits X the result is floor(X · span / 2^64), so that probabilities differ
by at most span / 2^64 relative to each other. Ranges above 2^32 take 128 bits.
"""

from typing import Any

import numpy as np

from ..errors import ArgumentError, DTypeError
from ..ir.aval import Shape
from ..tracing.source import user_line
from .arguments import (
    ShapeLike,
    checked_dtype,
    checked_key,
    checked_shape,
    common_shape,
)
from .drawing import drawn, words
from .uniform import INTEGERS, U64, as_dtype

MASK = np.uint64(2**32 - 1)
HALF = np.uint64(32)


def randint(
    key: Any, shape: ShapeLike, minval: Any, maxval: Any, dtype: Any = int
) -> Any:
    """Return integers from `minval` to below `maxval`, each as likely.

    Parameters
    ----------
    key : uint32[2]
    shape : int or tuple of int
    minval, maxval : int or array_like of int
        Broadcast to `shape`. In arrays an empty range gives `minval`.
    dtype : integer dtype
        Holds all the results.

    Raises
    ------
    ArgumentError
        For numbers that make an empty range, or that the dtype does not hold.

    Examples
    --------
    >>> import tracejit as tj
    >>> dice = randint(tj.random.key(0), (10,), 1, 7)
    """
    key = checked_key("randint", key)
    shape = checked_shape("randint", shape)
    kind = checked_dtype("randint", dtype, INTEGERS)
    if type(minval) is int and type(maxval) is int:
        _check_range(minval, maxval, kind)
        span = maxval - minval
        low, width = np.uint64(minval % 2**64), np.uint64(span % 2**64)
        wide = span > 2**32
        return _randint(key, low, width, shape=shape, dtype=kind.name, wide=wide)
    for bound in (minval, maxval):
        given = bound.dtype if hasattr(bound, "dtype") else np.asarray(bound).dtype
        if given.kind not in "iu":
            raise DTypeError(
                f"randint: a bound is {given}, not integer",
                source=user_line(),
                hint="tj.random.uniform for floats; x.astype(int) for bounds",
            )
    common_shape("randint", shape, minval, maxval)
    return _randint_between(key, minval, maxval, shape=shape, dtype=kind.name)


def _check_range(low: int, high: int, dtype: np.dtype) -> None:
    limits = np.iinfo(dtype)
    if low >= high:
        raise ArgumentError(
            f"randint: no integer is at least {low} and below {high}",
            source=user_line(),
        )
    if low < limits.min or high > int(limits.max) + 1:
        raise ArgumentError(
            f"randint: {dtype} holds {limits.min} to {limits.max}, not all of {low} to "
            f"{high - 1}",
            source=user_line(),
            hint="another dtype=",
        )


@drawn
def _randint(
    key: Any, low: Any, span: Any, *, shape: Shape, dtype: str, wide: bool
) -> Any:
    return (low + scaled(key, span, shape, wide)).astype(dtype)


@drawn
def _randint_between(key: Any, low: Any, high: Any, *, shape: Shape, dtype: str) -> Any:
    kind = np.dtype(dtype)
    signed = np.dtype(np.int64) if kind.kind == "i" else U64
    start, stop = (as_dtype(as_dtype(x, kind), signed) for x in (low, high))
    is_empty = start >= stop
    first = start.astype(U64)
    span = np.where(is_empty, np.uint64(1), stop.astype(U64) - first)
    return (first + scaled(key, span, shape, kind.itemsize == 8)).astype(kind)


def scaled(key: Any, span: Any, shape: Shape, wide: bool) -> Any:
    """Return integers from 0 to below `span` as uint64; a span of 0 is one of 2^64.

    A span of up to 2^32 gives the same numbers whether it is taken as `wide` or not.
    """
    high, low = (x.astype(U64) for x in words(key, shape))
    if not wide:
        return (high * span + (low * span >> HALF)) >> HALF
    third, fourth = (x.astype(U64) for x in words(key, shape, stream=1))
    whole, part = _product(high, low, span)
    carried = part + _product(third, fourth, span)[0] < part
    is_large = span > np.uint64(2**32)
    whole = whole + (carried & is_large).astype(U64)
    return np.where(span == np.uint64(0), (high << HALF) | low, whole)


def _product(high: Any, low: Any, y: Any) -> tuple[Any, Any]:
    """Return the upper and the lower 64 bits of (high · 2^32 + low) · y."""
    y1, y0 = y >> HALF, y & MASK
    corner, left, right = low * y0, low * y1, high * y0
    middle = (corner >> HALF) + (left & MASK) + (right & MASK)
    upper = high * y1 + (left >> HALF) + (right >> HALF) + (middle >> HALF)
    return upper, (middle << HALF) | (corner & MASK)
