"""Random bits, and what is made of them by exact steps: uniform floats and integers.

Needs `words`. Establishes the same numbers on every machine and backend: shifts,
conversions of integers that fit, and products with powers of two round nothing.
"""

from typing import Any

import numpy as np

from ..ir import dtypes as dt
from ..ir.aval import Shape
from ..tracing.trace import current_trace
from .arguments import (
    REAL_FLOATS,
    ShapeLike,
    checked_dtype,
    checked_key,
    checked_shape,
    common_shape,
)
from .drawing import UINT32, drawn, fma, words

UNSIGNED = tuple(np.dtype(f"u{n}") for n in (1, 2, 4, 8))
INTEGERS = tuple(np.dtype(f"{s}{n}") for s in "iu" for n in (1, 2, 4, 8))
U64 = np.dtype(np.uint64)


def bits(key: Any, shape: ShapeLike = (), dtype: Any = np.uint32) -> Any:
    """Return random bits.

    Parameters
    ----------
    key : uint32[2]
    shape : int or tuple of int
    dtype : uint8, uint16, uint32 or uint64

    Examples
    --------
    >>> import tracejit as tj
    >>> tj.random.bits(tj.random.key(42), (3,))
    array([2098992034, 2919706841, 2646866425], dtype=uint32)
    """
    key = checked_key("bits", key)
    shape = checked_shape("bits", shape)
    return _bits(key, shape=shape, dtype=checked_dtype("bits", dtype, UNSIGNED).name)


@drawn
def _bits(key: Any, *, shape: Shape, dtype: str) -> Any:
    return some_bits(key, shape, np.dtype(dtype))


def some_bits(key: Any, shape: Shape, dtype: np.dtype, stream: Any = 0) -> Any:
    """Return bits: both words side by side, or the exclusive or of them."""
    high, low = words(key, shape, stream)
    if dtype.itemsize == 8:
        return (high.astype(U64) << np.uint64(32)) | low.astype(U64)
    return (high ^ low).astype(dtype)


def fraction(key: Any, shape: Shape, dtype: np.dtype, stream: Any = 0) -> Any:
    """Return multiples of the spacing of floats below 2, from 0 to below 1.

    These are 52 random bits of float64, 23 of float32, 10 of float16, 7 of bfloat16.
    """
    if dtype == dt.FLOAT64:
        high, low = words(key, shape, stream)
        left = (high >> np.uint32(6)).astype(np.int32).astype(dtype)
        rest = ((high & np.uint32(63)) << np.uint32(20)) | (low >> np.uint32(12))
        right = rest.astype(np.int32).astype(dtype)
        return left * 2.0**-26 + right * 2.0**-52
    mantissa = {"float32": 23, "float16": 10}.get(dtype.name, 7)
    width = {23: 32, 10: 16, 7: 8}[mantissa]
    drawn = some_bits(key, shape, np.dtype(f"u{width // 8}"), stream).astype(UINT32)
    whole = (drawn >> np.uint32(width - mantissa)).astype(np.int32)
    return (whole.astype(np.float32) * np.float32(2.0**-mantissa)).astype(dtype)


def uniform(
    key: Any,
    shape: ShapeLike = (),
    dtype: Any = float,
    minval: Any = 0.0,
    maxval: Any = 1.0,
) -> Any:
    """Return floats from `minval` to below `maxval`, each place as likely.

    Parameters
    ----------
    key : uint32[2]
    shape : int or tuple of int
    dtype : float16, bfloat16, float32 or float64
    minval, maxval : array_like
        Broadcast to `shape`. Derivatives go through them.

    Returns
    -------
    array of `shape`
        Multiples of 2^-52 of the range for float64, 2^-23 for float32, 2^-10 for
        float16 and 2^-7 for bfloat16. Where the range is not 0 to 1, rounding may give
        `maxval` itself.

    Examples
    --------
    >>> import tracejit as tj
    >>> tj.random.uniform(tj.random.key(42), (3,), np.float32)
    array([0.48870957, 0.6797972 , 0.6162715 ], dtype=float32)
    """
    key = checked_key("uniform", key)
    shape = checked_shape("uniform", shape)
    name = checked_dtype("uniform", dtype, REAL_FLOATS).name
    plain = all(type(v) in (int, float) for v in (minval, maxval))
    if plain and (minval, maxval) == (0, 1):
        return _uniform(key, shape=shape, dtype=name)
    common_shape("uniform", shape, minval, maxval)
    return _between(key, minval, maxval, shape=shape, dtype=name)


@drawn
def _uniform(key: Any, *, shape: Shape, dtype: str) -> Any:
    return fraction(key, shape, np.dtype(dtype))


@drawn
def _between(key: Any, low: Any, high: Any, *, shape: Shape, dtype: str) -> Any:
    kind = np.dtype(dtype)
    low, high = as_dtype(low, kind), as_dtype(high, kind)
    low, span = (np.broadcast_to(x, shape) for x in (low, high - low))
    return np.maximum(fma(fraction(key, shape, kind), span, low), low)


def as_dtype(x: Any, dtype: np.dtype) -> Any:
    """Return a parameter, a number or an array, in a dtype."""
    trace = current_trace()
    assert trace is not None, "formulas run in traces"
    return trace.lift(x).astype(dtype)


def bernoulli(key: Any, p: Any = 0.5, shape: ShapeLike | None = None) -> Any:
    """Return booleans that are true with probability `p`.

    Parameters
    ----------
    key : uint32[2]
    p : array_like
        From 0 to 1. Kept to multiples of 2^-23 if it is a Python number or float32, to
        2^-52 if it is float64.
    shape : int or tuple of int, optional
        By default the shape of `p`.

    Examples
    --------
    >>> import tracejit as tj
    >>> tj.random.bernoulli(tj.random.key(0), 0.9, (4,))
    array([False,  True,  True,  True])
    """
    key = checked_key("bernoulli", key)
    shape = common_shape("bernoulli", shape, p)
    return _bernoulli(key, p, shape=shape, dtype=float_of(p, "float32"))


def float_of(x: Any, default: str = "float64") -> str:
    """Return the dtype of a parameter if it is an array of floats, or the default."""
    dtype = getattr(x, "dtype", None)
    return dtype.name if dtype is not None and dtype in REAL_FLOATS else default


@drawn
def _bernoulli(key: Any, p: Any, *, shape: Shape, dtype: str) -> Any:
    return fraction(key, shape, np.dtype(dtype)) < as_dtype(p, np.dtype(dtype))
