"""Rules for creation functions that are given traced numbers."""

from typing import Any

import numpy as np

from ...ir import dtypes as dt
from ...ir.ops.shape import broadcast_to
from .. import ufuncs
from ..storage import own
from ..trace import Trace
from ..tracer import Tracer


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
    num: int = 50,
    endpoint: bool = True,
    retstep: bool = False,
    dtype: Any = None,
    axis: int = 0,
) -> Any:
    """``np.linspace`` between traced numbers, by NumPy's own steps."""
    num = num.__index__()
    first, last = trace.lift(start), trace.lift(stop)
    if first.ndim or last.ndim or retstep:
        raise ufuncs.unsupported("np.linspace between arrays, or with retstep")
    inner = np.result_type(first.dtype, last.dtype, np.float64(0).dtype)
    low, high = first.astype(inner), last.astype(inner)
    parts = num - 1 if endpoint else num
    step = (high - low) / max(parts, 1)
    out = own(np.arange(num, dtype=inner)) * step + low
    if endpoint and num > 1:
        out[-1] = high
    target = inner if dtype is None else np.dtype(dtype)
    return out.astype(target, copy=False)


def arange(trace: Trace, *args: Any, **kwargs: Any) -> Any:
    """``np.arange``: the length is a shape, so the values are asked for."""
    numbers = [a.item() if isinstance(a, Tracer) else a for a in args]
    values = [
        n.known_value("the bounds of np.arange").item() if isinstance(n, Tracer) else n
        for n in numbers
    ]
    return trace.constant(np.arange(*values, **kwargs), born_here=True)
