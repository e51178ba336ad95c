"""Rules for sorting and order statistics."""

from typing import Any

import numpy as np

from ...ir.ops.sort import argsort_p, sort_p
from ...ir.primitive import Primitive
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
