"""Methods of ufuncs under tracing: reduce, accumulate, outer, at."""

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from ..ir.ops import reduce as red
from ..ir.primitive import Primitive
from . import functions, ufuncs
from .functions.registry import lift
from .functions.select import ufunc_at

REDUCTIONS: dict[np.ufunc, Callable[..., Any]] = {
    np.add: np.sum,
    np.multiply: np.prod,
    np.maximum: np.max,
    np.minimum: np.min,
    np.logical_and: np.all,
    np.logical_or: np.any,
}
ACCUMULATIONS: dict[np.ufunc, Primitive] = {
    np.add: red.cumsum_p,
    np.multiply: red.cumprod_p,
    np.maximum: red.cummax_p,
    np.minimum: red.cummin_p,
}


def dispatch(
    ufunc: np.ufunc,
    method: str,
    inputs: Sequence[Any],
    out: Any,
    kwargs: dict[str, Any],
) -> Any:
    """Trace ``ufunc.method(*inputs)``; unknown methods and ufuncs raise."""
    if method == "at":
        return ufunc_at(ufunc, *inputs)
    if method == "reduce":
        result = _reduce(ufunc, *inputs, **kwargs)
    elif method == "accumulate":
        result = _accumulate(ufunc, *inputs, **kwargs)
    elif method == "outer":
        result = _outer(ufunc, *inputs, **kwargs)
    else:
        raise ufuncs.unsupported(f"np.{ufunc.__name__}.{method}")
    if out is None or out[0] is None:
        return result
    ufuncs.check_writable(out[0])
    out[0].assign(result)
    return out[0]


def _reduce(ufunc: np.ufunc, array: Any, axis: Any = 0, **kwargs: Any) -> Any:
    function = REDUCTIONS.get(ufunc)
    if function is not None:
        return functions.dispatch(function, (array,), {"axis": axis, **kwargs})
    _, (x,) = lift(array)
    if axis is None or isinstance(axis, tuple):
        raise ufuncs.unsupported(f"np.{ufunc.__name__}.reduce over several axes")
    rows = list(functions.shape.moveaxis(x, axis, 0))
    if not rows:
        raise ufuncs.unsupported(f"np.{ufunc.__name__}.reduce of an empty axis")
    total = rows[0]
    for row in rows[1:]:
        total = ufunc(total, row)
    if kwargs.get("keepdims"):
        total = np.expand_dims(total, axis)
    return total


def _accumulate(ufunc: np.ufunc, array: Any, axis: int = 0, dtype: Any = None) -> Any:
    _, (x,) = lift(array)
    primitive = ACCUMULATIONS.get(ufunc)
    if primitive is None:
        raise ufuncs.unsupported(f"np.{ufunc.__name__}.accumulate")
    target = dtype
    if dtype is None:
        adds = ufunc in (np.add, np.multiply)
        target = functions.reduce.accumulator(x.dtype) if adds else x.dtype
    return functions.reduce.cumulative(x, primitive, axis, target)


def _outer(ufunc: np.ufunc, first: Any, second: Any, **kwargs: Any) -> Any:
    _, (x, y) = lift(first, second)
    return ufunc(x.reshape(x.shape + (1,) * y.ndim), y, **kwargs)
