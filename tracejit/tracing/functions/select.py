"""Rules for choosing and comparing elements: where, clip, take, isclose, ..."""

import math
from typing import Any

import numpy as np

from ...ir import dtypes as dt
from ...ir.ops.elementwise import select_p
from ...ir.ops.indexing import gather_p
from ...ir.ops.shape import broadcast_to, transpose_p
from .. import ufuncs
from ..layouts import kept_layout
from ..storage import Kind, own
from ..tracer import Tracer
from .dtypes import type_of
from .registry import (
    complex_of,
    implements,
    in_rows,
    is_given,
    lift,
    normalize_axis,
    shadows,
    wrap,
)


def promoted_dtype(*xs: Tracer) -> np.dtype:
    """Return the dtype NumPy gives operands of these kinds (NEP 50)."""
    return np.result_type(*(type_of(x) for x in xs))


@implements(np.einsum_path)
def einsum_path(*operands: Any, **kwargs: Any) -> Any:
    """The order depends on shapes alone."""
    return np.einsum_path(*shadows(list(operands)), **kwargs)


@implements(np.where)
def where(condition: Any, x: Any = None, y: Any = None, /) -> Any:
    if x is None and y is None:
        return np.nonzero(condition)
    if x is None or y is None:
        raise ValueError("either both or neither of x and y should be given")
    trace, (cond, on_true, on_false) = lift(condition, x, y)
    dtype = dt.canonical(promoted_dtype(on_true, on_false))
    shape = np.broadcast_shapes(cond.shape, on_true.shape, on_false.shape)
    truth = cond if cond.dtype == dt.BOOL else cond != 0
    atoms = [truth.read(), on_true.convert(dtype), on_false.convert(dtype)]
    b = trace.builder
    full = [a if not a.aval.shape else broadcast_to(b, a, shape) for a in atoms]
    out = broadcast_to(b, trace.emit(select_p, *full), shape)
    shadows = [v.shadow for v in (cond, on_true, on_false)]
    return trace.result(out, layout=kept_layout(shadows, out.aval))


@implements(np.clip)
def clip(
    a: Any,
    a_min: Any = np._NoValue,
    a_max: Any = np._NoValue,
    out: Any = None,
    *,
    min: Any = np._NoValue,
    max: Any = np._NoValue,
    **kwargs: Any,
) -> Any:
    low, high = _bounds(a_min, a_max, min, max)
    _, (x,) = lift(a)
    low, high = _inside(x.dtype, low, high)
    if x.dtype in dt.FLOAT8S:  # NumPy has no clip of them
        x = x.astype(np.float32)
    result: Any = x
    if is_given(low):
        result = np.maximum(result, low, **kwargs)
    if is_given(high):
        result = np.minimum(result, high, **kwargs)
    return np.positive(x, **kwargs) if result is x else result


def _bounds(a_min: Any, a_max: Any, low: Any, high: Any) -> tuple[Any, Any]:
    """Return the bounds by either of their names, or raise as NumPy does."""
    if a_min is np._NoValue and a_max is np._NoValue:
        return low, high
    for name, bound in (("a_min", a_min), ("a_max", a_max)):
        if bound is np._NoValue:
            raise TypeError(f"clip() missing 1 required positional argument: '{name}'")
    if low is not np._NoValue or high is not np._NoValue:
        raise ValueError(
            "Passing `min` or `max` keyword argument when `a_min` and `a_max` are "
            "provided is forbidden."
        )
    return a_min, a_max


def _inside(dtype: np.dtype, low: Any, high: Any) -> tuple[Any, Any]:
    """Leave out Python's integers that no integer of the dtype is beyond."""
    if dtype.kind not in "iu":
        return low, high
    info = np.iinfo(dtype)
    return (
        None if type(low) is int and low <= info.min else low,
        None if type(high) is int and high >= info.max else high,
    )


@implements(np.select)
def select(condlist: Any, choicelist: Any, default: Any = 0) -> Any:
    if len(condlist) != len(choicelist):
        raise ValueError("list of cases must be same length as list of conditions")
    if not condlist:
        raise ValueError("select with an empty condition list is not possible")
    for k, cond in enumerate(condlist):
        if lift(cond)[1][0].dtype != dt.BOOL:
            raise TypeError(f"invalid entry {k} in condlist: should be boolean ndarray")
    _, choices = lift(*choicelist, default)
    dtype = promoted_dtype(*choices)
    *cases, out = (c.astype(dtype) for c in choices)
    for cond, case in zip(reversed(condlist), reversed(cases), strict=True):
        out = where(cond, case, out)
    return in_rows(out)


@implements(np.take)
def take(
    a: Any, indices: Any, axis: Any = None, out: Any = None, mode: str = "raise"
) -> Any:
    trace, (x,) = lift(a)
    if axis is None:
        x, axis = x.reshape(-1), 0
    d = normalize_axis(axis, x.ndim)
    index = trace.lift(indices).astype(np.int64, copy=False)  # of floats too
    if not x.shape[d]:
        return _take_of_none(x, index, d)
    out = x[(*(slice(None),) * d, _within(index, x.shape[d], mode))]
    return in_rows(out)


def _within(indices: Any, n: int, mode: str) -> Any:
    """Return indices of `n` elements that are inside as `mode` says."""
    if mode == "raise":
        return indices
    _, (index,) = lift(indices)
    if mode == "wrap":
        return index % n
    if mode == "clip":
        return clip(index, 0, n - 1)
    raise ValueError(
        f"clipmode must be one of 'clip', 'raise', or 'wrap' (got {mode!r})"
    )


def _take_of_none(x: Tracer, index: Tracer, axis: int) -> Tracer:
    """From an axis of no elements none can be taken, unless nothing is asked for."""
    shape = (*x.shape[:axis], *index.shape, *x.shape[axis + 1 :])
    if 0 not in shape:
        raise IndexError("cannot do a non-empty take from an empty axes.")
    return x.home.constant(np.zeros(shape, x.dtype), born_here=True)


@implements(np.take_along_axis)
def take_along_axis(arr: Any, indices: Any, axis: Any = -1) -> Any:
    trace, (x, index) = lift(arr, indices)
    if axis is None:
        x, axis = x.reshape(-1), 0
    d = _axis_along(x, index, axis)
    last = x.ndim - 1
    order = (*(k for k in range(x.ndim) if k != d), d)
    b = trace.builder
    lead = tuple(
        np.broadcast_shapes((x.shape[k],), (index.shape[k],))[0] for k in order[:-1]
    )
    source = broadcast_to(
        b, trace.emit(transpose_p, x.read(), perm=order), (*lead, x.shape[d])
    )
    places = trace.emit(transpose_p, index.convert(dt.INT64), perm=order)
    places = broadcast_to(b, places, (*lead, index.shape[d]))
    out = trace.emit(gather_p, source, places, axes=(last,), batch=last, mode="raise")
    back = tuple(int(i) for i in np.argsort(order))
    return wrap(trace, trace.emit(transpose_p, out, perm=back))


def _axis_along(x: Tracer, index: Tracer, axis: Any) -> int:
    """Return the axis, or raise as NumPy does unless the indices lie along it."""
    if index.dtype.kind not in "iu":
        raise IndexError("`indices` must be an integer array")
    if index.ndim != x.ndim:
        raise ValueError("`indices` and `arr` must have the same number of dimensions")
    return normalize_axis(axis, x.ndim)


@implements(np.put_along_axis)
def put_along_axis(arr: Any, indices: Any, values: Any, axis: Any) -> None:
    ufuncs.check_writable(arr)
    _, (index,) = lift(indices)
    if axis is None:
        _axis_along(arr.reshape(-1), index, 0)
        arr.flat[index] = values
        return
    d = _axis_along(arr, index, axis)
    grid: list[Any] = []
    for k, n in enumerate(arr.shape):
        shape = tuple(-1 if k == j else 1 for j in range(arr.ndim))
        grid.append(index if k == d else own(np.arange(n).reshape(shape)))
    arr[tuple(grid)] = values


@implements(np.compress)
def compress(condition: Any, a: Any, axis: Any = None, out: Any = None) -> Any:
    _, (x,) = lift(a)
    if isinstance(condition, Tracer) and not condition.is_known:
        raise ufuncs.unsupported(
            "np.compress by a traced condition, whose result has a shape that depends "
            "on the data,",
            "np.where(condition, x, other)",
        )
    mask = np.asarray(shadows(condition))
    return take(x, own(np.nonzero(mask)[0]), axis)


@implements(np.put)
def put(a: Any, ind: Any, v: Any, mode: str = "raise") -> None:
    ufuncs.check_writable(a)
    if not np.size(v):
        return
    a.flat[ind if mode == "raise" else _within(ind, a.size, mode)] = v


@implements(np.fill_diagonal)
def fill_diagonal(a: Any, val: Any, wrap: bool = False) -> None:
    """Every ``step``-th element of the array as one row; `val` is repeated."""
    ufuncs.check_writable(a)
    if a.ndim < 2:
        raise ValueError("array must be at least 2-d")
    if a.ndim > 2 and len(set(a.shape)) > 1:
        raise ValueError("All dimensions of input must be of equal length")
    step = 1 + sum(math.prod(a.shape[d:]) for d in range(1, a.ndim))
    end = a.size if a.ndim > 2 or wrap else a.shape[1] * a.shape[1]
    a.flat[:end:step] = val


@implements(np.nan_to_num)
def nan_to_num(
    x: Any, copy: bool = True, nan: float = 0.0, posinf: Any = None, neginf: Any = None
) -> Any:
    result = _without_nan(x, nan, posinf, neginf)
    if copy:
        return result
    ufuncs.check_writable(x)
    x[...] = result
    return x


def _without_nan(x: Any, nan: float, posinf: Any, neginf: Any) -> Any:
    _, (v,) = lift(x)
    if dt.is_complex(v.dtype):
        real, imag = (_without_nan(p, nan, posinf, neginf) for p in (v.real, v.imag))
        return complex_of(real, imag)
    if not dt.is_float(v.dtype) or v.dtype in dt.OF_ML_DTYPES:
        return v.copy()[()]  # NumPy does not know that those of ml_dtypes have NaN
    info = np.finfo(v.dtype)
    high = info.max if posinf is None else posinf
    low = info.min if neginf is None else neginf
    out: Any = v
    for is_bad, instead in (
        (np.isnan(v), nan),
        (v == np.inf, high),
        (v == -np.inf, low),
    ):
        _, (number,) = lift(instead)
        out = np.where(is_bad, number.astype(v.dtype), out)
    return out[()]


@implements(np.isclose)
def isclose(
    a: Any, b: Any, rtol: float = 1e-5, atol: float = 1e-8, equal_nan: bool = False
) -> Any:
    _, (x, y) = lift(a, b)
    y = y.astype(np.result_type(type_of(y), 1.0), copy=False)
    near = np.abs(x - y) <= atol + rtol * np.abs(y)
    close = (near & np.isfinite(y)) | (x == y)
    return close | (np.isnan(x) & np.isnan(y)) if equal_nan else close


def _python_bool(truths: Any) -> Tracer:
    """Return whether all are true, as a Python bool."""
    _, (every,) = lift(np.all(truths))
    return every.as_scalar(Kind.PYTHON)


@implements(np.allclose)
def allclose(a: Any, b: Any, *args: Any, **kwargs: Any) -> Any:
    return _python_bool(isclose(a, b, *args, **kwargs))


@implements(np.array_equal)
def array_equal(a1: Any, a2: Any, equal_nan: bool = False) -> Any:
    _, (x, y) = lift(a1, a2)
    if x.shape != y.shape:
        return False
    same = x == y
    if equal_nan:
        same = same | (np.isnan(x) & np.isnan(y))
    return _python_bool(same)


@implements(np.array_equiv)
def array_equiv(a1: Any, a2: Any) -> Any:
    _, (x, y) = lift(a1, a2)
    try:
        np.broadcast_shapes(x.shape, y.shape)
    except ValueError:
        return False
    return _python_bool(x == y)


@implements(np.real)
def real(val: Any) -> Any:
    return lift(val)[1][0].real


@implements(np.imag)
def imag(val: Any) -> Any:
    return lift(val)[1][0].imag


@implements(np.angle)
def angle(z: Any, deg: bool = False) -> Any:
    _, (x,) = lift(z)
    out = np.arctan2(x.imag, x.real)
    return np.degrees(out) if deg else out


@implements(np.isreal)
def isreal(x: Any) -> Any:
    return lift(x)[1][0].imag == 0


@implements(np.iscomplexobj)
def iscomplexobj(x: Any) -> bool:
    return dt.is_complex(lift(x)[1][0].dtype)


@implements(np.isrealobj)
def isrealobj(x: Any) -> bool:
    return not iscomplexobj(x)


@implements(np.sinc)
def sinc(x: Any) -> Any:
    _, (v,) = lift(x)
    y = np.pi * np.where(v == 0, v.dtype.type(1e-20), v)
    return np.sin(y) / y


@implements(np.round, np.around)
def round_(a: Any, decimals: int = 0, out: Any = None) -> Any:
    _, (x,) = lift(a)
    if x.dtype.kind in "biu" and decimals >= 0:
        return x.copy()
    if not decimals:
        return np.rint(x)
    if x.dtype.kind in "iu":
        return round_(x.astype(np.float64), decimals).astype(x.dtype)
    scale = 10.0 ** abs(decimals)
    if x.dtype in dt.OF_ML_DTYPES:  # a product with a Python float is float32
        return _round_narrow(x, np.float32(scale), decimals > 0)
    rounded = np.rint(x * scale) / scale if decimals > 0 else np.rint(x / scale) * scale
    return rounded.copy("F" if x.flags.fnc else "C") if x.ndim else rounded


def _round_narrow(x: Tracer, scale: np.float32, is_fraction: bool) -> Any:
    """Round to the dtype after each operation, as NumPy does."""
    up, down = (np.multiply, np.divide) if is_fraction else (np.divide, np.multiply)
    scaled = up(x.astype(np.float32), scale).astype(x.dtype)
    return down(np.rint(scaled).astype(np.float32), scale).astype(x.dtype)
