"""Reductions and cumulative operations along axes.

``axes`` are removed from the shape. Results have the operand's dtype (`argmax`: i64);
the caller converts first where NumPy accumulates in another dtype.
"""

from collections.abc import Callable, Iterator, Sequence

import numpy as np

from ...errors import ShapeError
from .. import dtypes as dt
from ..aval import Shape, ShapedArray
from ..builder import Builder
from ..graph import Atom
from ..primitive import (
    Array,
    JvpRule,
    Kind,
    Linearity,
    ParamKind,
    Params,
    Primitive,
    register,
    shifted,
)
from .elementwise import (
    add_p,
    check_dtype,
    convert_p,
    div_p,
    eq_p,
    gt_p,
    lt_p,
    maximum_p,
    minimum_p,
    mul_p,
    select_p,
    zero,
)
from .shape import (
    axes_of,
    broadcast_in_dim_p,
    full_like,
    keep_axes,
    pad_p,
    reduce_eval,
    reduced_shape,
    rev_p,
    slice_p,
)
from .shape import reduce_sum_p as reduce_sum_p

Atoms = Sequence[Atom | None]
Dtypes = frozenset[np.dtype]


def reduction(
    name: str,
    ufunc: np.ufunc,
    allowed: Dtypes,
    jvp: JvpRule | None = None,
    needs_elements: bool = False,
) -> Primitive:
    """Declare a reduction over ``axes`` by a ufunc; without `jvp` it has none."""
    return register(
        Primitive(
            name,
            reduce_eval(name, allowed, needs_elements),
            lambda x, axes: ufunc.reduce(x, axis=axes, dtype=np.asarray(x).dtype),
            params={"axes": ParamKind.INTS},
            kind=Kind.REDUCE,
            jvp=jvp,
            nondifferentiable=jvp is None,
            flops=lambda i, o, p: float(i[0].size),
        )
    )


def _prod_jvp(
    b: Builder,
    tangents: Atoms,
    outs: Sequence[Atom],
    ins: Sequence[Atom],
    params: Params,
) -> Atoms:
    """Σᵢ tᵢ · Πⱼ≠ᵢ xⱼ through exclusive products from both sides: exact at zeros."""
    (t,), (x,) = tangents, ins
    assert t is not None
    axes = axes_of(params)
    for axis in axes:  # one axis at a time: others of the products along those before
        others, x = _exclusive_products(b, x, axis)
        t = b.emit(mul_p, t, others)
    return (b.emit(reduce_sum_p, t, axes=axes) if axes else t,)


def _exclusive_products(b: Builder, kept: Atom, axis: int) -> tuple[Atom, Atom]:
    """Return products of the others along `axis`, and those of all, broadcast."""
    shape = kept.aval.shape
    left = b.emit(cumprod_p, _shift(b, kept, axis, 1), axis=axis, reverse=False)
    right = b.emit(cumprod_p, _shift(b, kept, axis, -1), axis=axis, reverse=True)
    total = b.emit(reduce_prod_p, kept, axes=(axis,))
    dims = tuple(d for d in range(len(shape)) if d != axis)
    total = b.emit(broadcast_in_dim_p, total, shape=shape, dims=dims)
    return b.emit(mul_p, left, right), total


def _shift(b: Builder, x: Atom, axis: int, by: int) -> Atom:
    """Shift along `axis` by one, filling with 1 and dropping what falls off."""
    shape = x.aval.shape
    if not shape[axis]:
        return x
    low = tuple(int(d == axis and by > 0) for d in range(len(shape)))
    high = tuple(int(d == axis and by < 0) for d in range(len(shape)))
    wide = b.emit(pad_p, x, b.literal(1, x.aval.dtype), low=low, high=high)
    stop = tuple(n + h for n, h in zip(shape, high, strict=True))
    return b.emit(slice_p, wide, start=high, stop=stop, stride=(1,) * len(shape))


reduce_prod_p: Primitive = reduction("reduce_prod", np.multiply, dt.NUMERIC, _prod_jvp)


def _extremum_jvp(
    b: Builder,
    tangents: Atoms,
    outs: Sequence[Atom],
    ins: Sequence[Atom],
    params: Params,
) -> Atoms:
    """The mean of the tangents at the places where the extremum is attained."""
    (t,), (out,), (x,) = tangents, outs, ins
    assert t is not None
    axes = axes_of(params)
    hit = b.emit(eq_p, x, keep_axes(b, out, x, axes))
    picked = b.emit(reduce_sum_p, b.emit(select_p, hit, t, zero(b, t)), axes=axes)
    ones = b.emit(convert_p, hit, dtype=x.aval.dtype)
    return (b.emit(div_p, picked, b.emit(reduce_sum_p, ones, axes=axes)),)


_ORDERED = dt.ANY - dt.COMPLEX
reduce_max_p: Primitive = reduction(
    "reduce_max", np.maximum, _ORDERED, _extremum_jvp, True
)
reduce_min_p: Primitive = reduction(
    "reduce_min", np.minimum, _ORDERED, _extremum_jvp, True
)
_BITS = dt.INTEGERS | dt.BOOLS
reduce_and_p: Primitive = reduction("reduce_and", np.bitwise_and, _BITS)
reduce_or_p: Primitive = reduction("reduce_or", np.bitwise_or, _BITS)


def _arg_eval(x: ShapedArray, axis: int) -> ShapedArray:
    check_dtype("argmax", x, dt.ANY)
    if not 0 <= axis < x.ndim or not x.shape[axis]:
        raise ShapeError(f"argmax or argmin over axis {axis} of {x} has no elements")
    return ShapedArray(reduced_shape(x.shape, (axis,)), dt.INT64)


def _arg_reduction(name: str, impl: Callable[..., Array]) -> Primitive:
    return register(
        Primitive(
            name,
            _arg_eval,
            lambda x, axis: np.asarray(impl(x, axis), dt.INT64),
            params={"axis": ParamKind.INT},
            kind=Kind.REDUCE,
            nondifferentiable=True,
            flops=lambda i, o, p: float(i[0].size),
        )
    )


argmax_p: Primitive = _arg_reduction("argmax", np.argmax)
argmin_p: Primitive = _arg_reduction("argmin", np.argmin)

# --- sums of products ----------------------------------------------------------------


def _sum_products_eval(x: ShapedArray, y: ShapedArray, axes: Shape) -> ShapedArray:
    if x != y:
        raise ShapeError(f"sum_products of {x} and {y}, which differ")
    return _sum_of_floats(x, axes)


_sum_of_floats = reduce_eval("sum_products", dt.FLOATS - dt.NARROW_FLOATS, False)


def _sum_products_transpose(
    b: Builder,
    cotangents: Sequence[Atom | None],
    ins: Sequence[Atom],
    linear: Sequence[bool],
    params: Params,
) -> Atoms:
    (ct,) = cotangents
    assert ct is not None
    place = linear.index(True)
    spread = keep_axes(b, ct, ins[place], axes_of(params))
    out: list[Atom | None] = [None, None]
    out[place] = b.emit(mul_p, spread, ins[1 - place])
    return out


# As `reduce_sum` of `mul`, but that products need not be rounded before they are added.
sum_products_p: Primitive = register(
    Primitive(
        "sum_products",
        _sum_products_eval,
        lambda x, y, axes: np.add.reduce(np.multiply(x, y), axis=axes),
        params={"axes": ParamKind.INTS},
        kind=Kind.REDUCE,
        transpose=_sum_products_transpose,
        linearity=Linearity.MULTI,
        flops=lambda i, o, p: 2.0 * i[0].size,
    )
)

# --- cumulative -------------------------------------------------------------------


def _cumulative_eval(x: ShapedArray, axis: int, reverse: bool) -> ShapedArray:
    if not 0 <= axis < x.ndim:
        raise ShapeError(f"axis {axis} is out of range for {x}")
    return x


def _accumulate(ufunc: np.ufunc) -> Callable[..., Array]:
    def impl(x: Array, axis: int, reverse: bool) -> Array:
        x = np.flip(x, axis) if reverse else x
        out = ufunc.accumulate(x, axis=axis, dtype=np.asarray(x).dtype)
        return np.flip(out, axis) if reverse else out

    return impl


def _cumulative(
    name: str,
    ufunc: np.ufunc,
    jvp: JvpRule | None = None,
) -> Primitive:
    return register(
        Primitive(
            name,
            _cumulative_eval,
            _accumulate(ufunc),
            params={"axis": ParamKind.INT, "reverse": ParamKind.BOOL},
            jvp=jvp,
            batch=shifted("axis"),
        )
    )


cumsum_p: Primitive = register(
    Primitive(
        "cumsum",
        _cumulative_eval,
        _accumulate(np.add),
        params={"axis": ParamKind.INT, "reverse": ParamKind.BOOL},
        transpose=lambda b, cts, ins, linear, params: (
            b.emit(
                cumsum_p, cts[0], axis=params["axis"], reverse=not params["reverse"]
            ),
        ),
        batch=shifted("axis"),
        linearity=Linearity.JOINT,
    )
)


# scan(b, value, tangent, axis) -> tangent of the operation along the axis
TangentScan = Callable[[Builder, Atom, Atom, int], Atom]


def _cumulative_jvp(scan: TangentScan) -> JvpRule:
    """Tangent of a cumulative operation from what `scan` does forwards."""

    def jvp(
        b: Builder,
        tangents: Atoms,
        outs: Sequence[Atom],
        ins: Sequence[Atom],
        params: Params,
    ) -> Atoms:
        (t,), (x,) = tangents, ins
        assert t is not None
        axis, reverse = params["axis"], params["reverse"]
        assert isinstance(axis, int)
        if not reverse:
            return (scan(b, x, t, axis),)
        x, t = (b.emit(rev_p, v, axes=(axis,)) for v in (x, t))
        return (b.emit(rev_p, scan(b, x, t, axis), axes=(axis,)),)

    return jvp


def _steps(x: Atom, axis: int) -> Iterator[int]:
    """Yield the distances of recursive doubling: log₂ n, each twice the last."""
    step = 1
    while step < x.aval.shape[axis]:
        yield step
        step *= 2


def _delayed(b: Builder, x: Atom, axis: int, step: int, fill: float) -> Atom:
    shape = x.aval.shape
    low = tuple(step if d == axis else 0 for d in range(len(shape)))
    none = (0,) * len(shape)
    wide = b.emit(pad_p, x, b.literal(fill, x.aval.dtype), low=low, high=none)
    return b.emit(slice_p, wide, start=none, stop=shape, stride=(1,) * len(shape))


def _prod_scan(b: Builder, x: Atom, t: Atom, axis: int) -> Atom:
    """Join prefixes with those that end where they begin, by slices and pads."""
    for step in _steps(x, axis):
        xs, ts = _delayed(b, x, axis, step, 1), _delayed(b, t, axis, step, 0)
        t = b.emit(add_p, b.emit(mul_p, t, xs), b.emit(mul_p, ts, x))
        x = b.emit(mul_p, x, xs)
    return t


def _extremum_scan(name: str) -> TangentScan:
    """Mean of the tangents at the places where the extremum so far is attained.

    Recursive doubling as for products, of sums of tangents and counts of places.
    """
    best, worst = (maximum_p, dt.lowest) if name == "max" else (minimum_p, dt.highest)
    compare = gt_p if name == "max" else lt_p

    def join(b: Builder, mine: Atom, other: Atom, x: Atom, xs: Atom) -> Atom:
        both = b.emit(add_p, mine, other)
        either = b.emit(select_p, b.emit(compare, x, xs), mine, both)
        return b.emit(select_p, b.emit(compare, xs, x), other, either)

    def scan(b: Builder, x: Atom, t: Atom, axis: int) -> Atom:
        count = full_like(b, 1, x.aval)
        for step in _steps(x, axis):
            xs = _delayed(b, x, axis, step, worst(x.aval.dtype))
            ts, more = (_delayed(b, v, axis, step, 0.0) for v in (t, count))
            t, count = join(b, t, ts, x, xs), join(b, count, more, x, xs)
            x = b.emit(best, x, xs)
        return b.emit(div_p, t, count)

    return scan


cumprod_p: Primitive = _cumulative("cumprod", np.multiply, _cumulative_jvp(_prod_scan))
cummax_p: Primitive = _cumulative(
    "cummax", np.maximum, _cumulative_jvp(_extremum_scan("max"))
)
cummin_p: Primitive = _cumulative(
    "cummin", np.minimum, _cumulative_jvp(_extremum_scan("min"))
)
