"""Rules for sorting and order statistics."""

from collections.abc import Sequence
from typing import Any

import numpy as np

from ...ir.ops.sort import argsort_p, sort_p
from ...ir.primitive import Primitive
from ..layouts import copied_layout
from ..tracer import Tracer
from .registry import implements, lift, normalize_axis, wrap

_NOTHING = np.empty(0)


def _ordered(
    primitive: Primitive,
    a: Any,
    axis: int | None,
    kind: Any = None,
    order: Any = None,
    stable: Any = None,
) -> Any:
    if kind is not None and stable is not None:
        raise ValueError(
            "`kind` and keyword parameters can't be provided at the same time. Use "
            "only one of them."
        )
    if order is not None:
        raise ValueError("Cannot specify order when the array has no fields.")
    if kind is not None:
        np.sort(_NOTHING, kind=kind)  # NumPy's error for a kind that there is not
    trace, (x,) = lift(a)
    if axis is None:
        x, axis = x.reshape(-1), 0
    d = normalize_axis(axis, x.ndim)
    atom = trace.emit(primitive, x.read(), axis=d)
    layout = copied_layout(x.shadow, atom.aval) if primitive is sort_p else None
    return wrap(trace, atom, layout=layout)


@implements(np.sort)
def sort(
    a: Any, axis: Any = -1, kind: Any = None, order: Any = None, *, stable: Any = None
) -> Any:
    return _ordered(sort_p, a, axis, kind, order, stable)


@implements(np.argsort)
def argsort(
    a: Any, axis: Any = -1, kind: Any = None, order: Any = None, *, stable: Any = None
) -> Any:
    """Always stable; NumPy's default kind leaves the order of ties open."""
    return _ordered(argsort_p, np.atleast_1d(a), axis, kind, order, stable)


@implements(np.lexsort)
def lexsort(keys: Any, axis: int = -1) -> Any:
    """By the first key, then by the next: orders are stable, so the last one counts."""
    order: Any = None
    if len({np.shape(key) for key in keys}) > 1:
        raise ValueError("all keys need to be the same shape")
    if not np.ndim(keys[0]):
        return np.int64(0)
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
    _check_places(a, kth, axis)
    return sort(a, axis)


@implements(np.argpartition)
def argpartition(a: Any, kth: Any, axis: Any = -1, *args: Any, **kwargs: Any) -> Any:
    _check_places(a, kth, axis)
    return argsort(a, axis)


def _check_places(a: Any, kth: Any, axis: int | None) -> None:
    """Raise NumPy's error for places that are not there, unless they are traced."""
    _, (x,) = lift(a)
    n = x.size if axis is None else x.shape[normalize_axis(axis, x.ndim)]
    places: Sequence[Any] = kth if isinstance(kth, list | tuple) else [kth]
    known = [np.asarray(p).reshape(-1) for p in places if not isinstance(p, Tracer)]
    if any(ks.dtype.kind not in "biu" for ks in known):
        raise TypeError("Partition index must be integer")
    for k in (int(k) for ks in known for k in ks):
        if n and not -n <= k < n:
            raise ValueError(f"kth(={k if k > 0 else k + n}) out of bounds ({n})")
