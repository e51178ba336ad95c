"""Rules for reductions and cumulative functions, with NumPy's dtypes and steps."""

import math
from collections.abc import Callable
from functools import cache
from typing import Any

import numpy as np

from ...errors import ShapeError
from ...ir import dtypes as dt
from ...ir.graph import Atom
from ...ir.ops import reduce as red
from ...ir.ops.shape import reshape
from ...ir.primitive import Primitive
from ..layouts import kept_layout, reduced_layout
from ..rule_bodies import carried
from ..source import user_line
from ..storage import Kind
from ..tracer import Tracer
from .checks import require
from .registry import (
    implements,
    is_given,
    lift,
    normalize_axes,
    normalize_axis,
    truths_of,
    wrap,
)
from .select import where as select
from .shape import broadcast_to, check_truths, concatenate

NoValue: Any = np._NoValue


def accumulator(dtype: np.dtype) -> np.dtype:
    """Return the dtype NumPy adds and multiplies in: integers widen to 64 bits."""
    if dtype.kind in "bi" and dtype.itemsize < 8:
        return dt.INT64
    return np.dtype(np.uint64) if dtype.kind == "u" else dtype


def _reduced(
    x: Tracer, atom: Atom, primitive: Primitive, axis: Any, keepdims: Any
) -> Tracer:
    axes = normalize_axes(axis, x.ndim)
    out = x.home.emit(primitive, atom, axes=axes)
    keep = is_given(keepdims) and bool(keepdims)
    if keep:
        return _kept(x, out, axes)
    return wrap(x.home, out, layout=reduced_layout(x.shadow, axes, out.aval))


def _kept(x: Tracer, out: Atom, axes: tuple[int, ...]) -> Tracer:
    shape = tuple(1 if d in axes else n for d, n in enumerate(x.shape))
    atom = reshape(x.home.builder, out, shape)
    return wrap(x.home, atom, layout=kept_layout([x.shadow], atom.aval))


def _with_where(x: Tracer, where: Any, neutral: object) -> Tracer:
    if not is_given(where) or where is True:
        return x
    check_mask(x.shape, where)
    return select(where, x, _initial(neutral, x.dtype))


def check_mask(shape: tuple[int, ...], where: Any) -> None:
    """Raise where a mask does not broadcast to what it masks."""
    check_truths(where)
    mask = np.shape(where)
    if len(mask) <= len(shape):
        pairs = zip(mask[::-1], shape[::-1], strict=False)
        if all(m in (1, n) for m, n in pairs):
            return
    raise ShapeError(
        f"where= of shape {mask} does not broadcast to the array of shape {shape}",
        source=user_line(),
    )


def _initial(initial: Any, dtype: np.dtype) -> Any:
    if np.ndim(initial):
        raise ValueError("setting an array element with a sequence.")
    if isinstance(initial, Tracer):
        return initial.astype(dtype)
    return np.asarray(initial).astype(dtype)[()]


def _sum_like(primitive: Primitive, combine: Any, neutral: int) -> Any:
    def rule(
        a: Any,
        axis: Any = None,
        dtype: Any = None,
        out: Any = None,
        keepdims: Any = NoValue,
        initial: Any = NoValue,
        where: Any = NoValue,
    ) -> Any:
        _, (x,) = lift(a)
        target = accumulator(x.dtype) if dtype is None else dt.canonical(dtype)
        if target == dt.BOOL:  # NumPy adds truths by `or`, multiplies them by `and`
            truth = (all_ if neutral else any_)(x, axis, None, keepdims, where=where)
            return combine(truth, bool(initial)) if is_given(initial) else truth
        if neutral == 1 and dt.is_complex(target) and is_given(where):
            initial = initial if is_given(initial) else neutral
            return _product_where(x.astype(target), where, axis, keepdims, initial)
        given, counted = x, where if is_given(where) else True
        x = _with_where(x, where, neutral)
        is_product = primitive is red.reduce_prod_p and dt.is_inexact(target)
        if is_product and is_given(initial) and x.size and x.ndim:
            if _is_by_columns(x):  # whose order NumPy multiplies in
                axis = [x.ndim - 1 - d for d in normalize_axes(axis, x.ndim)]
                return rule(x.T, axis, target, out, keepdims, initial).T
            x = _times_first(x.astype(target), _initial(initial, target), axis)
            initial = NoValue
        atom = x.convert(target)
        result = _reduced(x, atom, primitive, axis, keepdims)
        is_alone = dt.is_complex(target) and result.size == x.size
        if neutral == 1 and is_alone and not is_given(initial):
            initial = neutral  # NumPy multiplies by it, which makes NaN of infinities
        if is_given(initial):
            start = _initial(initial, target)
            result = combine(result, start)
            if primitive is red.reduce_sum_p and _may_be_minus_zero(start):
                is_none = _is_minus_zero(given).all(
                    axis, keepdims=is_given(keepdims) and keepdims, where=counted
                )
                result = select(is_none, start, result)
        return result

    return rule


def _may_be_minus_zero(start: Any) -> bool:
    """Tell whether a sum may start at -0.0, and so be that: by itself it is at 0.0."""
    if not dt.is_float(start.dtype):
        return False
    return isinstance(start, Tracer) or bool(_is_minus_zero(start))


def _is_minus_zero(x: Any) -> Any:
    return (x == 0) & np.signbit(x)


def _product_where(
    x: Tracer, where: Any, axis: Any, keepdims: Any, initial: Any
) -> Any:
    """A product of those complex numbers that count.

    Even 1 may not stand for the others: times it, infinities become NaN.
    """
    check_mask(x.shape, where)
    mask = lift(np.broadcast_to(where, x.shape))[1][0]
    axes = normalize_axes(axis, x.ndim)
    rest = [d for d in range(x.ndim) if d not in axes]
    count = math.prod(x.shape[d] for d in axes)
    turns = [
        v.transpose((*axes, *rest)).reshape((count, *(x.shape[d] for d in rest)))
        for v in (x, mask)
    ]
    start = broadcast_to(
        x.home.lift(_initial(initial, x.dtype)), [x.shape[d] for d in rest]
    )
    total = carried(lambda t, v, m: select(m, t * v, t), start, turns)
    keep = is_given(keepdims) and bool(keepdims)
    return _kept(x, total.read(), axes) if keep else wrap(x.home, total.read())


def _times_first(x: Tracer, factor: Any, axis: Any) -> Tracer:
    """Multiply the first of the elements that are reduced, as NumPy starts products.

    Where a product overflows, what is multiplied last would make NaN of infinities.
    """
    axes = normalize_axes(axis, x.ndim)
    first = tuple(0 if d in axes else slice(None) for d in range(x.ndim))
    x[first] = factor * x[first]
    return x


def _is_by_columns(x: Tracer) -> bool:
    return x.flags.f_contiguous and not x.flags.c_contiguous


sum_ = implements(np.sum)(_sum_like(red.reduce_sum_p, np.add, 0))
prod = implements(np.prod)(_sum_like(red.reduce_prod_p, np.multiply, 1))


def _extremum(primitive: Primitive, logical: Primitive, combine: Any) -> Any:
    def rule(
        a: Any,
        axis: Any = None,
        out: Any = None,
        keepdims: Any = NoValue,
        initial: Any = NoValue,
        where: Any = NoValue,
    ) -> Any:
        _, (x,) = lift(a)
        if is_given(where) and where is not True:
            if not is_given(initial):
                raise ValueError("reduction with where= needs initial=")
            x = _with_where(x, where, initial)
        axes = normalize_axes(axis, x.ndim)
        is_empty = any(x.shape[d] == 0 for d in axes)
        if is_empty and not is_given(initial):
            raise ShapeError(
                f"zero-size array to reduction operation {combine.__name__} which has "
                "no identity",
                source=user_line(),
            )
        if is_empty:
            shape = [1 if d in axes else n for d, n in enumerate(x.shape)]
            x = broadcast_to(x.home.lift(_initial(initial, x.dtype)), shape)
        use = logical if x.dtype == dt.BOOL else primitive
        if dt.is_complex(x.dtype):
            find = argmax if combine is np.maximum else argmin
            result = _extreme_complex(x, axes, keepdims, find)
        else:
            result = _reduced(x, x.read(), use, axis, keepdims)
        if is_given(initial):
            result = combine(result, _initial(initial, x.dtype))
        return result

    return rule


def _extreme_complex(x: Tracer, axes: tuple[int, ...], keepdims: Any, find: Any) -> Any:
    """The first of real parts, then imaginary parts: an element of the array."""
    kept = tuple(1 if d in axes else n for d, n in enumerate(x.shape))
    rest = tuple(d for d in range(x.ndim) if d not in axes)
    rows = x.transpose((*axes, *rest)).reshape((-1, *(x.shape[d] for d in rest)))
    place = find(rows, axis=0, keepdims=True)
    found = np.take_along_axis(rows, place, 0)
    keep = is_given(keepdims) and keepdims
    return found.reshape(kept if keep else found.shape[1:])[()]


max_ = implements(np.max, np.amax)(
    _extremum(red.reduce_max_p, red.reduce_or_p, np.maximum)
)
min_ = implements(np.min, np.amin)(
    _extremum(red.reduce_min_p, red.reduce_and_p, np.minimum)
)


def _logical(primitive: Primitive, neutral: bool) -> Any:
    def rule(
        a: Any,
        axis: Any = None,
        out: Any = None,
        keepdims: Any = NoValue,
        *,
        where: Any = NoValue,
    ) -> Any:
        _trace, (x,) = lift(a)
        truth = _with_where(truths_of(x), where, neutral)
        return _reduced(truth, truth.read(), primitive, axis, keepdims)

    return rule


any_ = implements(np.any)(_logical(red.reduce_or_p, False))
all_ = implements(np.all)(_logical(red.reduce_and_p, True))


def _count(x: Tracer, axis: Any) -> int:
    return int(np.prod([x.shape[d] for d in normalize_axes(axis, x.ndim)]))


@implements(np.mean)
def mean(
    a: Any,
    axis: Any = None,
    dtype: Any = None,
    out: Any = None,
    keepdims: Any = NoValue,
    *,
    where: Any = NoValue,
) -> Any:
    """As NumPy: a sum (of f16 in f32, of integers in f64) divided by the count."""
    _, (x,) = lift(a)
    target = None if dtype is None else np.dtype(dtype)
    inner = target or (np.dtype("f8") if x.dtype.kind in "biu" else x.dtype)
    is_half = inner == np.dtype("f2") and target is None
    total = sum_(
        x, axis, np.dtype("f4") if is_half else inner, None, keepdims, NoValue, where
    )
    if is_given(where) and where is not True:
        count = np.sum(np.broadcast_to(where, x.shape), axis=axis, keepdims=keepdims)
        result = np.true_divide(total, count.astype(total.dtype))
    else:
        count_dtype = total.dtype if dt.is_inexact(total.dtype) else np.dtype("f8")
        result = np.true_divide(total, count_dtype.type(_count(x, axis)))
    return result.astype(inner) if result.dtype != inner else result


@implements(np.var)
def var(
    a: Any,
    axis: Any = None,
    dtype: Any = None,
    out: Any = None,
    ddof: float = 0,
    keepdims: Any = NoValue,
    *,
    where: Any = NoValue,
    mean: Any = NoValue,
    correction: Any = NoValue,
) -> Any:
    """Two passes, as NumPy: the mean, then the mean square of what is left."""
    _, (x,) = lift(a)
    if is_given(where) and where is not True:
        return _variance(x, where, axis, dtype, ddof, keepdims, mean, correction)
    ddof = _correction(ddof, correction)
    inner = np.dtype(dtype) if dtype is not None else x.dtype
    if inner.kind in "biu":
        inner = np.dtype("f8")
    wide = np.dtype("f4") if inner == np.dtype("f2") and dtype is None else inner
    x = x.astype(wide, copy=False)
    middle = mean if is_given(mean) else np.mean(x, axis=axis, keepdims=True)
    left = x - middle
    if dt.is_complex(left.dtype):
        square = left.real * left.real + left.imag * left.imag
    else:
        square = left * left
    total = sum_(square, axis, None, None, keepdims)
    count = max(_count(x, axis) - ddof, 0)
    result = np.true_divide(total, total.dtype.type(count))
    return result.astype(inner) if wide != inner else result


def _correction(ddof: float, correction: Any) -> float:
    """The number by either of its names."""
    if not is_given(correction):
        return ddof
    if ddof:
        raise ValueError("ddof and correction can't be provided simultaneously.")
    return float(correction)


def _variance(
    x: Tracer,
    counted: Any,
    axis: Any,
    dtype: Any,
    ddof: float,
    keepdims: Any,
    middle: Any,
    correction: Any,
) -> Any:
    """The variance of those elements that count."""
    ddof = _correction(ddof, correction)
    if x.dtype.kind in "biu":
        x = x.astype(np.float64)
    if not is_given(middle):
        middle = mean(x, axis, dtype, None, True, where=counted)
    left = x - middle
    square = (left * np.conjugate(left)).real
    total = sum_(square, axis, dtype, None, keepdims, NoValue, counted)
    counted = np.broadcast_to(counted, x.shape)
    count = np.sum(counted, axis=axis, keepdims=keepdims) - ddof
    return (total / np.maximum(count, 0).astype(total.dtype)).astype(total.dtype)


@implements(np.std)
def std(
    a: Any,
    axis: Any = None,
    dtype: Any = None,
    out: Any = None,
    *args: Any,
    **kwargs: Any,
) -> Any:
    return np.sqrt(var(a, axis, dtype, out, *args, **kwargs))


@implements(np.average)
def average(
    a: Any,
    axis: Any = None,
    weights: Any = None,
    returned: bool = False,
    *,
    keepdims: Any = NoValue,
) -> Any:
    if weights is None:
        result = mean(a, axis, keepdims=keepdims)
        _, (x,) = lift(a)
        if not result.size:  # NumPy divides by it
            raise ZeroDivisionError("division by zero")
        scale: Any = result * 0 + _count(x, axis)
    else:
        _, (x, w) = lift(a, weights)
        w = weights_along(x, w, axis)
        dtype = np.result_type(x.dtype, w.dtype)
        if x.dtype.kind in "biu":
            dtype = np.result_type(dtype, np.float64)
        scale = np.sum(w, axis=axis, dtype=dtype, keepdims=keepdims)
        message = "Weights sum to zero, can't be normalized"
        require(scale != 0, message, ZeroDivisionError)
        product = np.multiply(x, w, dtype=dtype)
        result = np.sum(product, axis=axis, keepdims=keepdims) / scale
    return (result, broadcast_to(scale, result.shape)) if returned else result


def weights_along(x: Tracer, weights: Tracer, axis: Any) -> Tracer:
    """Return weights of some axes, in any order, as they lie beside the array."""
    if weights.shape == x.shape:
        return weights
    if axis is None:
        raise TypeError("Axis must be specified when shapes of a and weights differ.")
    axes = axis if isinstance(axis, tuple | list) else (axis,)
    axes = tuple(normalize_axis(d, x.ndim) for d in axes)
    if weights.shape != tuple(x.shape[d] for d in axes):
        raise ValueError(
            "Shape of weights must be consistent with shape of a along specified axis."
        )
    kept = tuple(n if d in axes else 1 for d, n in enumerate(x.shape))
    order = sorted(range(len(axes)), key=axes.__getitem__)
    return weights.transpose(order).reshape(kept)


@implements(np.ptp)
def ptp(a: Any, axis: Any = None, out: Any = None, keepdims: Any = NoValue) -> Any:
    return max_(a, axis, None, keepdims) - min_(a, axis, None, keepdims)


@implements(np.count_nonzero)
def count_nonzero(a: Any, axis: Any = None, *, keepdims: bool = False) -> Any:
    _, (x,) = lift(a)
    count = sum_(truths_of(x), axis, dt.INT64, None, keepdims)
    if axis is None and not keepdims and _counts_in_python():
        return count.as_scalar(Kind.PYTHON)
    return count


@cache
def _counts_in_python() -> bool:
    """Tell whether this NumPy's `count_nonzero` gives an int, as all once did."""
    return type(np.count_nonzero(np.ones(1))) is int


def _arg(primitive: Primitive) -> Any:
    def rule(
        a: Any, axis: Any = None, out: Any = None, *, keepdims: Any = NoValue
    ) -> Any:
        trace, (x,) = lift(a)
        d = normalize_axis(axis, x.ndim) if axis is not None else 0
        source = x if axis is not None else x.reshape(-1)
        if not source.shape[d]:
            raise ShapeError(
                f"attempt to get {primitive.name} of an empty sequence",
                source=user_line(),
            )
        result = trace.emit(primitive, source.read(), axis=d)
        if not (is_given(keepdims) and keepdims):
            return wrap(trace, result)
        axes = (d,) if axis is not None else tuple(range(x.ndim))
        return _kept(x, result, axes)

    return rule


argmax = implements(np.argmax)(_arg(red.argmax_p))
argmin = implements(np.argmin)(_arg(red.argmin_p))


def cumulative(x: Tracer, primitive: Primitive, axis: Any, dtype: Any) -> Tracer:
    """Run a cumulative primitive along `axis` (flattened when None)."""
    if axis is None:
        x, axis = x.reshape(-1), 0
    d = normalize_axis(axis, x.ndim)
    atom = x.convert(np.dtype(dtype))
    out = x.home.emit(primitive, atom, axis=d, reverse=False)
    return wrap(x.home, out, layout=kept_layout([x.shadow], out.aval))


def _cumulative(primitive: Primitive) -> Any:
    def rule(a: Any, axis: Any = None, dtype: Any = None, out: Any = None) -> Any:
        _, (x,) = lift(a)
        target = accumulator(x.dtype) if dtype is None else dtype
        return cumulative(x, primitive, axis, target)

    return rule


cumsum = implements(np.cumsum)(_cumulative(red.cumsum_p))
cumprod = implements(np.cumprod)(_cumulative(red.cumprod_p))


def _cumulative_from(cumulate: Any, neutral: int) -> Any:
    def rule(
        x: Any,
        /,
        *,
        axis: Any = None,
        dtype: Any = None,
        out: Any = None,
        include_initial: bool = False,
    ) -> Any:
        _, (v,) = lift(x)
        if axis is None and v.ndim > 1:
            raise ValueError(
                "For arrays which have more than one dimension ``axis`` argument is "
                "required."
            )
        v = v.reshape(-1) if not v.ndim else v
        d = normalize_axis(0 if axis is None else axis, v.ndim)
        total = cumulate(v, d, dtype)
        if not include_initial:
            return total
        shape = [1 if k == d else n for k, n in enumerate(v.shape)]
        first = np.full_like(total, neutral, shape=shape)
        return concatenate([first, total], axis=d)

    return rule


implements(np.cumulative_sum)(_cumulative_from(cumsum, 0))
implements(np.cumulative_prod)(_cumulative_from(cumprod, 1))


@implements(np.diff)
def diff(
    a: Any, n: int = 1, axis: int = -1, prepend: Any = NoValue, append: Any = NoValue
) -> Any:
    if n < 0:
        raise ValueError(f"order must be non-negative but got {n}")
    _, (x,) = lift(a)
    d = normalize_axis(axis, x.ndim)
    parts = [p for p in (prepend, x, append) if is_given(p)]
    if len(parts) > 1:
        size = tuple(1 if k == d else m for k, m in enumerate(x.shape))
        parts = [np.broadcast_to(p, size) if np.ndim(p) == 0 else p for p in parts]
        x = concatenate(parts, axis=d)
    lead = (slice(None),) * d
    subtract = np.not_equal if x.dtype == dt.BOOL else np.subtract
    for _ in range(n):
        x = subtract(x[(*lead, slice(1, None))], x[(*lead, slice(None, -1))])
    return x


# --- ignoring NaN -----------------------------------------------------------------


def _without_nan(a: Any, neutral: complex) -> tuple[Tracer, Tracer]:
    _, (x,) = lift(a)
    _, (bad,) = lift(np.isnan(x))
    if x.dtype == dt.FLOAT8_E4M3FN:  # has no infinities
        neutral = float(np.clip(neutral.real, dt.lowest(x.dtype), dt.highest(x.dtype)))
    return select(bad, x.dtype.type(neutral), x), bad


def _nan_total(total: Any, neutral: int) -> Any:
    def rule(
        a: Any,
        axis: Any = None,
        dtype: Any = None,
        out: Any = None,
        keepdims: Any = NoValue,
        initial: Any = NoValue,
        where: Any = NoValue,
    ) -> Any:
        x, _ = _without_nan(a, neutral)
        return total(x, axis, dtype, None, keepdims, initial, where)

    return rule


nansum = implements(np.nansum)(_nan_total(sum_, 0))
nanprod = implements(np.nanprod)(_nan_total(prod, 1))


def _counted(bad: Tracer, where: Any) -> Tracer:
    """Which elements are numbers, and not left out."""
    return ~bad & where if is_given(where) else ~bad


@implements(np.nanmean)
def nanmean(
    a: Any,
    axis: Any = None,
    dtype: Any = None,
    out: Any = None,
    keepdims: Any = NoValue,
    *,
    where: Any = NoValue,
) -> Any:
    x, bad = _without_nan(a, 0)
    if x.dtype.kind in "biu":
        return mean(x, axis, dtype, None, keepdims, where=where)
    counted = _counted(bad, where)
    count = np.sum(counted, axis=axis, keepdims=keepdims)
    total = sum_(x, axis, dtype, None, keepdims, NoValue, counted)
    return total / count.astype(total.dtype)


def _nan_extremum(low: bool) -> Any:
    fill, reduce_ = (np.inf, min_) if low else (-np.inf, max_)

    def rule(
        a: Any,
        axis: Any = None,
        out: Any = None,
        keepdims: Any = NoValue,
        initial: Any = NoValue,
        where: Any = NoValue,
    ) -> Any:
        (x,) = lift(a)[1]
        if not dt.is_inexact(x.dtype):
            return reduce_(x, axis, None, keepdims, initial, where)
        x, bad = _without_nan(x, complex(fill, fill) if x.dtype.kind == "c" else fill)
        found = reduce_(x, axis, None, keepdims, initial, where)
        if is_given(initial):
            return found
        empty = np.all(bad, axis=axis, keepdims=keepdims)
        out_ = np.where(empty, x.dtype.type(np.nan), found)
        return out_ if out_.ndim else out_[()]

    return rule


nanmax = implements(np.nanmax)(_nan_extremum(False))
nanmin = implements(np.nanmin)(_nan_extremum(True))


def _nan_arg(low: bool) -> Any:
    fill, find = (np.inf, argmin) if low else (-np.inf, argmax)

    def rule(
        a: Any, axis: Any = None, out: Any = None, *, keepdims: Any = NoValue
    ) -> Any:
        (x,) = lift(a)[1]
        if dt.is_float(x.dtype):
            x, bad = _without_nan(x, fill)
            require(~np.all(bad, axis=axis), "All-NaN slice encountered")
        return find(x, axis, keepdims=keepdims)

    return rule


nanargmax = implements(np.nanargmax)(_nan_arg(False))
nanargmin = implements(np.nanargmin)(_nan_arg(True))


@implements(np.nanvar)
def nanvar(
    a: Any,
    axis: Any = None,
    dtype: Any = None,
    out: Any = None,
    ddof: float = 0,
    keepdims: Any = NoValue,
    *,
    where: Any = NoValue,
    mean: Any = NoValue,
    correction: Any = NoValue,
) -> Any:
    x, bad = _without_nan(a, 0)
    if x.dtype.kind in "biu":
        options = {"where": where, "mean": mean, "correction": correction}
        return var(x, axis, dtype, None, ddof, keepdims, **options)
    counted = _counted(bad, where)
    result = _variance(x, counted, axis, dtype, ddof, keepdims, mean, correction)
    count = np.sum(counted, axis=axis, keepdims=keepdims)
    is_bad = count <= _correction(ddof, correction)
    return np.where(is_bad, result.dtype.type(np.nan), result)[()]


@implements(np.nanstd)
def nanstd(a: Any, *args: Any, **kwargs: Any) -> Any:
    return np.sqrt(nanvar(a, *args, **kwargs))


@implements(np.gradient)
def gradient(f: Any, *varargs: Any, axis: Any = None, edge_order: int = 1) -> Any:
    """Central differences, by steps or coordinates along each axis."""
    _, (x,) = lift(f)
    x = x.astype(np.float64) if x.dtype.kind in "iu" else x
    axes = normalize_axes(axis, x.ndim)
    steps = list(varargs) * (len(axes) if len(varargs) == 1 else 1) or [1.0] * len(axes)
    if len(steps) != len(axes):
        raise TypeError("invalid number of arguments")
    if edge_order > 2:
        raise ValueError("'edge_order' greater than 2 not supported")
    out = [
        _gradient_along(x, d, h, edge_order) for d, h in zip(axes, steps, strict=True)
    ]
    return out[0] if len(out) == 1 else tuple(out)


def _gradient_along(x: Tracer, axis: int, step: Any, edge_order: int) -> Any:
    if x.shape[axis] < edge_order + 1:
        raise ValueError(
            "Shape of array too small to calculate a numerical gradient, at least "
            "(edge_order + 1) elements are required."
        )
    behind = x.ndim - 1 - axis

    def part(start: int | None, stop: int | None) -> Any:
        return x[(..., slice(start, stop), *(slice(None),) * behind)]

    if np.ndim(step):
        steps = np.reshape(np.diff(step), (-1, *(1,) * behind))
        parts = _uneven(part, steps, edge_order)
    else:
        parts = _even(part, step, edge_order)
    return np.concatenate(parts, axis=axis).astype(x.dtype, copy=False)


def _even(part: Callable, h: Any, edge_order: int) -> list[Any]:
    """Differences over steps of `h`: at the first place, inside, at the last."""
    inside = (part(2, None) - part(None, -2)) / (2.0 * h)
    if edge_order == 1:
        first = (part(1, 2) - part(0, 1)) / h
        return [first, inside, (part(-1, None) - part(-2, -1)) / h]
    a, b, c = -1.5 / h, 2.0 / h, -0.5 / h
    first = a * part(0, 1) + b * part(1, 2) + c * part(2, 3)
    a, b, c = 0.5 / h, -2.0 / h, 1.5 / h
    last = a * part(-3, -2) + b * part(-2, -1) + c * part(-1, None)
    return [first, inside, last]


def _uneven(part: Callable, h: Any, edge_order: int) -> list[Any]:
    """The same over steps `h` between coordinates, to the second order inside."""
    left, right = h[:-1], h[1:]
    a = -right / (left * (left + right))
    b = (right - left) / (left * right)
    c = left / (right * (left + right))
    inside = a * part(None, -2) + b * part(1, -1) + c * part(2, None)
    if edge_order == 1:
        first = (part(1, 2) - part(0, 1)) / h[:1]
        return [first, inside, (part(-1, None) - part(-2, -1)) / h[-1:]]
    p, q = h[:1], h[1:2]
    a, b, c = -(2.0 * p + q) / (p * (p + q)), (p + q) / (p * q), -p / (q * (p + q))
    first = a * part(0, 1) + b * part(1, 2) + c * part(2, 3)
    p, q = h[-2:-1], h[-1:]
    a, b, c = q / (p * (p + q)), -(q + p) / (p * q), (2.0 * q + p) / (q * (p + q))
    last = a * part(-3, -2) + b * part(-2, -1) + c * part(-1, None)
    return [first, inside, last]
