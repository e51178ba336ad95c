"""Calls of ufuncs and of their methods: reduce, accumulate, outer, at.

What an elementwise call computes is in `ufuncs`; this adds ``out=`` and ``where=``, and
the methods, which are made of NumPy's functions.
"""

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from ..errors import ShapeError
from ..ir.ops import reduce as red
from ..ir.primitive import Primitive
from . import functions, ufuncs
from .functions.registry import lift
from .functions.select import ufunc_at
from .source import user_line
from .tracer import Tracer

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
    ufunc: np.ufunc, method: str, inputs: Sequence[object], kwargs: dict[str, Any]
) -> Any:
    """Trace ``ufunc.method(*inputs, **kwargs)``."""
    out = kwargs.pop("out", None)
    if method == "__call__":
        if ufunc is np.matmul or ufunc.signature is not None:
            result = _generalized(ufunc, inputs, kwargs)
        else:
            result = _elementwise(ufunc, inputs, out, **kwargs)
    else:
        return _call_method(ufunc, method, inputs, out, kwargs)
    return result if out is None else _write_out(ufunc, out, result, kwargs)


def _generalized(
    ufunc: np.ufunc, inputs: Sequence[object], kwargs: dict[str, Any]
) -> Any:
    lowering = functions.GENERALIZED.get(ufunc)
    with_axis = {"axis"} if ufunc is np.vecdot else set()
    if lowering is None or set(kwargs) - {"casting", "dtype", "subok"} - with_axis:
        raise ufuncs.unsupported(f"the ufunc {ufunc.__name__!r} with {sorted(kwargs)}")
    return lowering(*inputs, **{k: v for k, v in kwargs.items() if k in with_axis})


def _elementwise(
    ufunc: np.ufunc,
    inputs: Sequence[object],
    out: object,
    where: object = True,
    **kwargs: Any,
) -> Any:
    result = ufuncs.apply(ufunc, inputs, **kwargs)
    if where is True:
        return result
    if isinstance(result, tuple):
        return tuple(_masked(r, where, i, out) for i, r in enumerate(result))
    return _masked(result, where, 0, out)


def _masked(result: Tracer, where: object, index: int, out: object) -> Tracer:
    """Keep `out` where the mask is false."""
    target = out[index] if isinstance(out, tuple) else out
    if target is None:
        raise ufuncs.unsupported(
            "where= without out=", "pass out=, the rest is undefined in NumPy"
        )
    picked: Tracer = functions.where(where, result, target)
    return picked


def _write_out(
    ufunc: np.ufunc, out: tuple[object, ...], result: Any, kwargs: dict[str, Any]
) -> Any:
    results = result if isinstance(result, tuple) else (result,)
    for target, value in zip(out, results, strict=True):
        if target is None:
            continue
        ufuncs.check_writable(target)
        _check_out(ufunc, target, value, str(kwargs.get("casting", "same_kind")))
        target.assign(value)  # type: ignore[attr-defined]
    final = tuple(v if t is None else t for t, v in zip(out, results, strict=True))
    return final[0] if len(final) == 1 else final


def _check_out(ufunc: np.ufunc, target: Any, value: Any, casting: str) -> None:
    if not np.can_cast(value.dtype, target.dtype, casting):  # type: ignore[arg-type]
        raise np._core._exceptions._UFuncOutputCastingError(  # type: ignore[attr-defined]
            ufunc, casting, value.dtype, target.dtype, 0
        )
    if np.broadcast_shapes(value.shape, target.shape) != target.shape:
        raise ShapeError(
            f"non-broadcastable output operand with shape {target.shape} doesn't match "
            f"the broadcast shape {value.shape}",
            source=user_line(),
        )


def _call_method(
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
