"""Creation functions of the Array API, for NumPy, for traces and for devices."""

from collections.abc import Sequence
from typing import Any

import numpy as np

from ..ir.placed import Placed
from ..tracing.trace import current_trace
from ..tracing.tracer import Tracer
from .placing import CPU, check_in_trace, device_of, make, place

Shape = int | Sequence[int]


def arange(
    start: Any,
    /,
    stop: Any = None,
    step: Any = 1,
    *,
    dtype: Any = None,
    device: Any = None,
) -> Any:
    """Return evenly spaced numbers of the half-open interval [start, stop).

    Parameters
    ----------
    start : int or float
        The end of the interval, which begins at 0, if there is no `stop`.
    stop : int or float, optional
    step : int or float
    dtype : dtype, optional
    device : str or Device, optional

    Returns
    -------
    array of shape ``(ceil((stop - start) / step),)``

    Examples
    --------
    >>> arange(3)
    array([0, 1, 2])
    """
    bounds = (0, start) if stop is None else (start, stop)
    return make(np.arange, (*bounds, step), {"dtype": dtype}, device)


def asarray(
    obj: Any, /, *, dtype: Any = None, device: Any = None, copy: bool | None = None
) -> Any:
    """Return an array of numbers, of a sequence, or of an array.

    Parameters
    ----------
    obj : array, number, nested sequence of numbers, or object with a buffer
    dtype : dtype, optional
    device : str or Device, optional
        Where `obj` is, if it is an array.
    copy : bool, optional
        Copy always (True), never (False), or only if that must be.

    Raises
    ------
    ValueError
        If it must be copied and may not.
    """
    if isinstance(obj, Placed) and current_trace() is None:
        return _of_placed(obj, dtype, obj.device if device is None else device, copy)
    if copy is False and device not in (None, device_of(obj)):
        raise ValueError(f"an array on {device_of(obj)} is copied to be on {device}")
    return make(np.asarray, (obj,), {"dtype": dtype, "copy": copy}, device)


def _of_placed(x: Any, dtype: Any, device: Any, copy: bool | None) -> Any:
    out: Any = x if dtype is None else x.astype(dtype, copy=False)
    out = place(out, device)
    if copy is False and out is not x:
        raise ValueError("unable to avoid a copy: other dtype, or another device")
    return out.copy() if copy and out is x else out


def empty(shape: Shape, *, dtype: Any = None, device: Any = None) -> Any:
    """Return an array whose elements may be anything."""
    return make(np.empty, (shape,), {"dtype": dtype}, device)


def empty_like(x: Any, /, *, dtype: Any = None, device: Any = None) -> Any:
    """Return an array of the shape of `x` whose elements may be anything."""
    return _like(np.empty_like, np.empty, x, (), dtype, device)


def eye(
    n_rows: int,
    n_cols: int | None = None,
    /,
    *,
    k: int = 0,
    dtype: Any = None,
    device: Any = None,
) -> Any:
    """Return a matrix of shape (n_rows, n_cols) with ones on diagonal `k`."""
    kwargs = {"k": k, "dtype": np.float64 if dtype is None else dtype}
    return make(np.eye, (n_rows, n_cols), kwargs, device)


def from_dlpack(x: Any, /, *, device: Any = None, copy: bool | None = None) -> Any:
    """Return the array of another library: one on a CUDA device as a `tj.Array`.

    Parameters
    ----------
    x : object with ``__dlpack__`` and ``__dlpack_device__``
    device : str or Device, optional
        Where `x` is, if None.
    copy : bool, optional
        See `asarray`. Without a copy both see the same memory.
    """
    if isinstance(x, Tracer | Placed):
        return asarray(x, device=device, copy=copy)
    kind, number = x.__dlpack_device__()
    if int(kind) == _CUDA:
        borrowed = place(x, f"cuda:{number}")
        return asarray(borrowed, device=device, copy=copy)
    if device in (None, CPU):
        return make(np.from_dlpack, (x,), {"copy": copy}, device)
    return asarray(np.from_dlpack(x), device=device, copy=copy)


_CUDA = 2  # kDLCUDA


def full(
    shape: Shape, fill_value: Any, *, dtype: Any = None, device: Any = None
) -> Any:
    """Return an array that is `fill_value` everywhere."""
    return make(np.full, (shape, fill_value), {"dtype": dtype}, device)


def full_like(
    x: Any, /, fill_value: Any, *, dtype: Any = None, device: Any = None
) -> Any:
    """Return an array of the shape of `x` that is `fill_value` everywhere."""
    return _like(np.full_like, np.full, x, (fill_value,), dtype, device)


def linspace(
    start: Any,
    stop: Any,
    /,
    num: int,
    *,
    dtype: Any = None,
    device: Any = None,
    endpoint: bool = True,
) -> Any:
    """Return `num` evenly spaced numbers from `start` to `stop`.

    Parameters
    ----------
    start, stop : number
    num : int
    dtype : dtype, optional
    device : str or Device, optional
    endpoint : bool
        Whether `stop` is the last of them.
    """
    kwargs = {"dtype": dtype, "endpoint": endpoint}
    return make(np.linspace, (start, stop, num), kwargs, device)


def meshgrid(*arrays: Any, indexing: str = "xy") -> tuple[Any, ...]:
    """Return coordinate arrays of the grid that one-dimensional arrays span."""
    out: tuple[Any, ...] = make(np.meshgrid, arrays, {"indexing": indexing}, None)
    return out


def ones(shape: Shape, *, dtype: Any = None, device: Any = None) -> Any:
    """Return an array of ones."""
    return make(np.ones, (shape,), {"dtype": dtype}, device)


def ones_like(x: Any, /, *, dtype: Any = None, device: Any = None) -> Any:
    """Return an array of ones of the shape of `x`."""
    return _like(np.ones_like, np.ones, x, (), dtype, device)


def zeros(shape: Shape, *, dtype: Any = None, device: Any = None) -> Any:
    """Return an array of zeros."""
    return make(np.zeros, (shape,), {"dtype": dtype}, device)


def zeros_like(x: Any, /, *, dtype: Any = None, device: Any = None) -> Any:
    """Return an array of zeros of the shape of `x`."""
    return _like(np.zeros_like, np.zeros, x, (), dtype, device)


def _like(
    like: Any, plain: Any, x: Any, args: tuple[Any, ...], dtype: Any, device: Any
) -> Any:
    check_in_trace(device)
    trace = current_trace()
    if trace is not None:
        return like(trace.lift(x), *args, dtype=dtype)
    if device is None or device == device_of(x):
        return like(x, *args, dtype=dtype)
    chosen = x.dtype if dtype is None else dtype
    return make(plain, (x.shape, *args), {"dtype": chosen}, device)
