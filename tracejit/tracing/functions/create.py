"""Rules for creation functions that are given traced numbers."""

import operator
from typing import Any

import numpy as np

from ...ir import dtypes as dt
from ...ir.ops.shape import broadcast_to
from ..storage import own
from ..trace import Trace
from ..tracer import Tracer
from .checks import require
from .registry import implements, lift
from .select import promoted_dtype


def full(
    trace: Trace, shape: Any, fill_value: Any, dtype: Any = None, **kwargs: Any
) -> Tracer:
    """``np.full`` with a traced value."""
    value = trace.lift(fill_value)
    target = value.dtype if dtype is None else dt.canonical(dtype)
    sizes = np.empty(shape, np.bool_).shape
    atom = broadcast_to(trace.builder, value.convert(np.dtype(target)), sizes)
    return trace.result(atom)


def linspace(
    trace: Trace,
    start: Any,
    stop: Any,
    num: Any = 50,
    endpoint: bool = True,
    retstep: bool = False,
    dtype: Any = None,
    axis: Any = 0,
    *,
    device: Any = None,
) -> Any:
    """``np.linspace`` between traced numbers or arrays, by NumPy's own steps."""
    num = operator.index(num)
    if num < 0:
        raise ValueError(f"Number of samples, {num}, must be non-negative.")
    first, last = trace.lift(start), trace.lift(stop)
    inner = np.result_type(promoted_dtype(first, last), 0.0)
    low, high = first.astype(inner), last.astype(inner)
    parts = num - 1 if endpoint else num
    counts = np.arange(num, dtype=inner)
    out, step = _steps(low, high, own(counts), parts)
    if endpoint and num > 1:
        out[-1] = high
    target = inner if dtype is None else np.dtype(dtype)
    if target.kind in "iu" and inner.kind == "f":
        out = np.floor(out)
    result = np.moveaxis(out.astype(target, copy=False), 0, axis)
    return (result, step) if retstep else result


def _steps(low: Tracer, high: Tracer, counts: Any, parts: int) -> tuple[Any, Any]:
    """Count in steps from `low`; a step too small to be one is a part of the whole."""
    delta = high - low
    counts = counts.reshape((-1,) + (1,) * np.ndim(delta))
    if parts <= 0:
        return counts * delta + low, delta * np.nan
    step = delta / parts
    exact = np.where(step == 0, counts / parts * delta, counts * step)
    return exact + low, step


@implements(np.linspace)
def linspace_of(start: Any, stop: Any, *args: Any, **kwargs: Any) -> Any:
    return linspace(lift(start, stop)[0], start, stop, *args, **kwargs)


@implements(np.logspace)
def logspace_of(start: Any, stop: Any, *args: Any, **kwargs: Any) -> Any:
    return logspace(lift(start, stop)[0], start, stop, *args, **kwargs)


def logspace(
    trace: Trace,
    start: Any,
    stop: Any,
    num: Any = 50,
    endpoint: bool = True,
    base: Any = 10.0,
    dtype: Any = None,
    axis: Any = 0,
) -> Any:
    """``np.logspace``: powers of `base` whose exponents are evenly spaced."""
    exponents = linspace(trace, start, stop, num, endpoint, axis=axis)
    base = np.expand_dims(base, axis) if np.ndim(base) else base
    out = np.power(base, exponents)
    return out if dtype is None else out.astype(dtype)


@implements(np.geomspace)
def geomspace_of(start: Any, stop: Any, *args: Any, **kwargs: Any) -> Any:
    return geomspace(lift(start, stop)[0], start, stop, *args, **kwargs)


def geomspace(
    trace: Trace,
    start: Any,
    stop: Any,
    num: Any = 50,
    endpoint: bool = True,
    dtype: Any = None,
    axis: Any = 0,
) -> Any:
    """``np.geomspace`` between real numbers of one sign: both ends are exact."""
    first, last = trace.lift(start), trace.lift(stop)
    inner = np.result_type(promoted_dtype(first, last), 0.0)
    low, high = first.astype(inner), last.astype(inner)
    require((low != 0) & (high != 0), "Geometric sequence cannot include zero")
    sign = np.sign(low)
    low, high = low / sign, high / sign
    exponents = linspace(trace, np.log10(low), np.log10(high), num, endpoint)
    out = np.power(10.0, exponents)
    if num > 0:
        out[0] = low
    if endpoint and num > 1:
        out[-1] = high
    result = np.moveaxis(out * sign, 0, axis)
    return result if dtype is None else result.astype(dtype)


def arange(trace: Trace, *args: Any, **kwargs: Any) -> Any:
    """``np.arange``: the length is a shape, so the values are asked for."""
    numbers = [a.item() if isinstance(a, Tracer) else a for a in args]
    values = [
        n.known_value("the bounds of np.arange").item() if isinstance(n, Tracer) else n
        for n in numbers
    ]
    return trace.constant(np.arange(*values, **kwargs), born_here=True)
