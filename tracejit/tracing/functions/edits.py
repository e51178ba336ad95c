"""Rules for `np.delete` and `np.insert` at one place that is known at run time."""

from typing import Any

import numpy as np

from ...errors import IndexRangeError
from ..storage import own
from ..tracer import Tracer
from .checks import require
from .registry import implements, lift, normalize_axis


@implements(np.delete)
def delete(arr: Any, obj: Any, axis: Any = None) -> Any:
    """What is behind the place moves up; other places are NumPy's own code's."""
    if not _is_run_time_place(obj):
        return NotImplemented
    x, d = _along(arr, axis)
    n = x.shape[d]
    place = _checked(obj, n, n - 1)
    kept = own(np.arange(max(n - 1, 0)))
    return np.take(x, kept + (kept >= place), d)


@implements(np.insert)
def insert(arr: Any, obj: Any, values: Any, axis: Any = None) -> Any:
    """What is behind the place moves down; other places are NumPy's own code's."""
    if not _is_run_time_place(obj):
        return NotImplemented
    x, d = _along(arr, axis)
    n = x.shape[d]
    new = _with_axes(values, x)
    new = np.moveaxis(new, 0, d) if not np.ndim(obj) else new
    count = new.shape[d]
    place = _checked(obj, n, n)
    shape = tuple(count if k == d else m for k, m in enumerate(x.shape))
    both = np.concatenate([x, np.broadcast_to(new, shape)], d)
    at = own(np.arange(n + count))
    behind = np.where(at < place + count, at - place + n, at - count)
    return np.take(both, np.where(at < place, at, behind), d)


def _is_run_time_place(obj: Any) -> bool:
    is_unknown = isinstance(obj, Tracer) and not obj.is_known
    return is_unknown and obj.size == 1 and obj.dtype.kind in "iu"


def _along(arr: Any, axis: Any) -> tuple[Tracer, int]:
    _, (x,) = lift(arr)
    if axis is None:
        return x.reshape(-1), 0
    return x, normalize_axis(axis, x.ndim)


def _checked(place: Tracer, n: int, last: int) -> Any:
    """Return the place counted from the front, or raise as NumPy does."""
    place = place.reshape(()).astype(np.int64)
    message = f"index is out of bounds for an axis with size {n}"
    require((place >= -n) & (place <= last), message, IndexRangeError)
    return np.where(place < 0, place + n, place)


def _with_axes(values: Any, x: Tracer) -> Any:
    """Return values as an array of the dtype of `x`, and of as many axes."""
    _, (new,) = lift(values)
    new = new.astype(x.dtype)
    return new.reshape((1,) * (x.ndim - new.ndim) + new.shape)
