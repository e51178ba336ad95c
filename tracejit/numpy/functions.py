"""Functions of the Array API that NumPy has not, or not with all its arguments.

They are written with NumPy's functions, so they take whatever NumPy dispatches on.
"""

from typing import Any

import numpy as np

from .placing import check_in_trace, place


def argsort(
    x: Any, /, *, axis: int = -1, descending: bool = False, stable: bool = True
) -> Any:
    """Return the indices that sort `x` along an axis.

    Parameters
    ----------
    x : array
    axis : int
    descending : bool
    stable : bool
        Whether equal elements keep their order. Under `jit` they always do.

    Returns
    -------
    array of int64 of the shape of `x`

    Examples
    --------
    >>> argsort(np.array([1.0, 2.0, 2.0]), descending=True)
    array([1, 2, 0])
    """
    if not descending:
        return np.argsort(x, axis=axis, stable=stable)
    order = np.argsort(np.flip(x, axis=axis), axis=axis, stable=stable)
    return x.shape[axis] - 1 - np.flip(order, axis=axis)


def sort(
    x: Any, /, *, axis: int = -1, descending: bool = False, stable: bool = True
) -> Any:
    """Return `x` sorted along an axis; see `argsort`."""
    ordered = np.sort(x, axis=axis, stable=stable)
    return np.flip(ordered, axis=axis) if descending else ordered


def astype(x: Any, dtype: Any, /, *, copy: bool = True, device: Any = None) -> Any:
    """Return `x` converted to another dtype."""
    check_in_trace(device)
    return place(x.astype(dtype, copy=copy), device)


def clip(x: Any, /, min: Any = None, max: Any = None) -> Any:
    """Return `x` with what is below `min` or above `max` replaced by these."""
    return np.clip(x, min=min, max=max)


def finfo(type: Any, /) -> np.finfo:
    """Return the limits of a floating dtype, or of that of an array."""
    return np.finfo(_dtype_of(type))


def iinfo(type: Any, /) -> np.iinfo:
    """Return the limits of an integer dtype, or of that of an array."""
    return np.iinfo(_dtype_of(type))


def _dtype_of(x: Any) -> Any:
    dtype = getattr(x, "dtype", x)
    return dtype if isinstance(dtype, np.dtype) else np.dtype(x)


def count_nonzero(x: Any, /, *, axis: Any = None, keepdims: bool = False) -> Any:
    """Return how many elements are not zero, along all axes or some."""
    found = np.count_nonzero(x, axis=axis, keepdims=keepdims)
    return np.intp(found) if type(found) is int else found


def diff(
    x: Any, /, *, axis: int = -1, n: int = 1, prepend: Any = None, append: Any = None
) -> Any:
    """Return differences of order `n` of neighbours along an axis.

    Parameters
    ----------
    x : array
    axis : int
    n : int
    prepend, append : array, optional
        Joined to `x` before, each of its shape but along `axis`.
    """
    given = {"prepend": prepend, "append": append}
    joined = {name: v for name, v in given.items() if v is not None}
    return np.diff(x, n=n, axis=axis, **joined)


def take_along_axis(x: Any, indices: Any, /, *, axis: int = -1) -> Any:
    """Return elements of `x` by indices along one axis."""
    return np.take_along_axis(x, indices, axis)
