"""Rules for sorting and order statistics."""

from typing import Any

import numpy as np

from ...ir.ops.sort import argsort_p, sort_p
from ...ir.primitive import Primitive
from .. import ufuncs
from .registry import implements, lift, normalize_axis, wrap


def _ordered(primitive: Primitive, a: Any, axis: int | None) -> Any:
    trace, (x,) = lift(a)
    if axis is None:
        x, axis = x.reshape(-1), 0
    d = normalize_axis(axis, x.ndim)
    return wrap(trace, trace.emit(primitive, x.read(), axis=d))


@implements(np.sort)
def sort(
    a: Any, axis: Any = -1, kind: Any = None, order: Any = None, *, stable: Any = None
) -> Any:
    return _ordered(sort_p, a, axis)


@implements(np.argsort)
def argsort(
    a: Any, axis: Any = -1, kind: Any = None, order: Any = None, *, stable: Any = None
) -> Any:
    """Always stable; NumPy's default kind leaves the order of ties open."""
    return _ordered(argsort_p, a, axis)


@implements(np.lexsort)
def lexsort(keys: Any, axis: int = -1) -> Any:
    """By the first key, then by the next: orders are stable, so the last one counts."""
    order: Any = None
    for key in keys:
        if order is None:
            order = np.argsort(key, axis=axis)
            continue
        ordered = np.take_along_axis(key, order, axis)
        order = np.take_along_axis(order, np.argsort(ordered, axis=axis), axis)
    return order


@implements(np.partition)
def partition(a: Any, kth: Any, axis: Any = -1, *args: Any, **kwargs: Any) -> Any:
    """A full sort is a partition at every place."""
    return sort(a, axis)


@implements(np.argpartition)
def argpartition(a: Any, kth: Any, axis: Any = -1, *args: Any, **kwargs: Any) -> Any:
    return argsort(a, axis)


@implements(np.median)
def median(
    a: Any,
    axis: Any = None,
    out: Any = None,
    overwrite_input: bool = False,
    keepdims: bool = False,
) -> Any:
    _, (x,) = lift(a)
    if isinstance(axis, tuple | list):
        raise ufuncs.unsupported("np.median over several axes", "reshape first")
    ndim = x.ndim
    v = x.reshape(-1) if axis is None else x
    d = 0 if axis is None else normalize_axis(axis, v.ndim)
    n = v.shape[d]
    ordered = np.moveaxis(sort(v, d), d, -1)
    middle = ordered[..., (n - 1) // 2 : n // 2 + 1]
    out_ = np.mean(middle, axis=-1)
    last = ordered[..., -1]
    out_ = np.where(last != last, last, out_) if x.dtype.kind == "f" else out_
    if not np.ndim(out_):
        out_ = out_[()]
    if not keepdims:
        return out_
    shape = (1,) * ndim if axis is None else (*v.shape[:d], 1, *v.shape[d + 1 :])
    return np.reshape(out_, shape)


@implements(np.quantile)
def quantile(
    a: Any,
    q: Any,
    axis: Any = None,
    out: Any = None,
    overwrite_input: bool = False,
    method: str = "linear",
    keepdims: bool = False,
    **kwargs: Any,
) -> Any:
    if method != "linear" or keepdims or isinstance(axis, tuple):
        raise ufuncs.unsupported("np.quantile with method=, keepdims= or several axes")
    _, (x, level) = lift(a, q)
    v = x.reshape(-1) if axis is None else x
    d = 0 if axis is None else normalize_axis(axis, v.ndim)
    ordered = np.moveaxis(sort(v, d), d, 0)
    place = level * (v.shape[d] - 1)
    low = np.floor(place).astype(np.int64)
    high = np.minimum(low + 1, v.shape[d] - 1)
    t = place - low
    t = t.reshape(t.shape + (1,) * (ordered.ndim - 1))
    left, right = ordered[low], ordered[high]
    return (left + (right - left) * t).astype(np.result_type(v.dtype, np.float32))


@implements(np.percentile)
def percentile(a: Any, q: Any, *args: Any, **kwargs: Any) -> Any:
    _, (x, level) = lift(a, q)
    return quantile(x, np.true_divide(level, 100), *args, **kwargs)


@implements(np.bincount)
def bincount(x: Any, /, weights: Any = None, minlength: int = 0) -> Any:
    trace, (index,) = lift(x)
    if not minlength:
        raise ufuncs.unsupported(
            "np.bincount without minlength=", "pass minlength=, the number of bins"
        )
    dtype = np.int64 if weights is None else np.float64
    out = trace.constant(np.zeros(minlength, dtype), born_here=True)
    np.add.at(out, index, 1 if weights is None else weights)
    return out
