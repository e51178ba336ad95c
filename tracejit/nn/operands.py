"""Operands of network functions: arrays or tracers, in the dtype to compute in.

Establishes one rule for dtypes: float32 and float64 compute in themselves, integers and
booleans in float64, and narrower floats (float16, bfloat16, float8) in float32, with
one rounding of the result to their own dtype.
"""

import functools
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from ..errors import ArgumentError
from ..ir import dtypes as dt
from ..ir.aval import Shape
from ..ir.ops.shape import broadcast_to, iota_p
from ..tracing.functions.registry import normalize_axis, wrap
from ..tracing.source import user_line
from ..tracing.trace import Trace, current_trace
from ..tracing.tracer import Tracer

Axes = int | Sequence[int]


def operand(x: Any) -> Any:
    """Return `x` as an array or tracer; inside of a trace, arrays are captured."""
    if isinstance(x, Tracer):
        return x
    trace = current_trace()
    if trace is not None:
        is_number = isinstance(x, bool | int | float | complex)
        return trace.lift(np.asarray(x)[()] if is_number else x)
    return x if hasattr(x, "dtype") and hasattr(x, "shape") else np.asarray(x)


def floats(x: Any) -> Any:
    """Return `x` as floats: integers and booleans become float64."""
    x = operand(x)
    return x.astype(np.float64) if x.dtype.kind in "biu" else x


def wide(x: Any) -> Any:
    """Return floats that are float32 at least."""
    x = floats(x)
    return x.astype(np.float32) if is_narrow(x.dtype) else x


def is_narrow(dtype: np.dtype) -> bool:
    """Tell whether a dtype is a float of fewer than 32 bits."""
    return dt.is_inexact(dtype) and dtype.itemsize < 4


def rounded_once(function: Callable[..., Any]) -> Callable[..., Any]:
    """Return a function of one array that computes narrow floats in float32."""

    @functools.wraps(function)
    def run(x: Any, *args: Any, **options: Any) -> Any:
        x = floats(x)
        out = function(wide(x), *args, **options)
        return out.astype(x.dtype) if is_narrow(x.dtype) else out

    return run


def positions(extent: int, like: Any) -> Any:
    """Return 0, 1, ... as a vector: in traces as indices, which compile to no data."""
    trace = current_trace()
    if trace is None:
        return np.arange(extent)
    return _traced_positions(trace, extent)


def _traced_positions(trace: Trace, extent: int) -> Any:
    if trace.concrete:
        return trace.constant(np.arange(extent), born_here=True)
    dtype = np.dtype(np.int64)
    return wrap(trace, trace.emit(iota_p, shape=(extent,), axis=0, dtype=dtype))


def filled(shape: Shape, value: Any, dtype: Any) -> Any:
    """Return a new array of one value, in traces as a value that takes no memory."""
    trace = current_trace()
    if trace is None:
        return np.full(shape, value, dtype)
    one = trace.lift(value).convert(dt.canonical(np.dtype(dtype)))
    return wrap(trace, broadcast_to(trace.builder, one, shape))


def axes_of(axis: Axes | None, ndim: int) -> tuple[int, ...]:
    """Return `axis` as a tuple of axes that are not negative, in order.

    Raises
    ------
    numpy.exceptions.AxisError, ValueError
    """
    if axis is None:
        return tuple(range(ndim))
    given = axis if isinstance(axis, Sequence) else (axis,)
    found = tuple(sorted(normalize_axis(a, ndim) for a in given))
    if len(set(found)) != len(found):
        raise ValueError(f"repeated axis in {axis}")
    return found


def chosen(name: str, what: str, value: Any, known: Sequence[str]) -> str:
    """Return an option that is one of the known words.

    Raises
    ------
    ArgumentError
    """
    if value not in known:
        words = ", ".join(repr(k) for k in known)
        raise ArgumentError(
            f"{name}: {what} is {value!r}; expected one of {words}", source=user_line()
        )
    return str(value)
