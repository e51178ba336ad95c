"""Primitives that move elements and compute nothing, and that make constants.

`reduce_sum` stands here too: it is the transpose of broadcasting.
"""

from collections.abc import Callable, Sequence
from functools import reduce
from math import prod

import numpy as np

from ...errors import ShapeError
from .. import dtypes as dt
from ..aval import Shape, ShapedArray
from ..builder import Builder
from ..graph import Atom
from ..primitive import (
    Array,
    ArrayConstant,
    BatchParams,
    Kind,
    Linearity,
    ParamKind,
    Params,
    Primitive,
    register,
    shifted,
)
from .elementwise import add_p, check_dtype, select_p

Cotangents = Sequence[Atom | None]
Dtypes = frozenset[np.dtype]


def ints(params: Params, name: str) -> tuple[int, ...]:
    """Return the tuple-of-ints param `name`."""
    return params[name]  # type: ignore[return-value]


# --- reduce_sum, the transpose of broadcasting ------------------------------------


def reduced_shape(shape: Shape, axes: Shape) -> Shape:
    """Return `shape` without `axes`."""
    return tuple(n for d, n in enumerate(shape) if d not in axes)


def keep_axes(b: Builder, x: Atom, like: Atom, axes: Shape) -> Atom:
    """Broadcast a reduced `x` back to the shape of `like`."""
    shape = like.aval.shape
    dims = tuple(d for d in range(len(shape)) if d not in axes)
    return b.emit(broadcast_in_dim_p, x, shape=shape, dims=dims)


def reduce_eval(
    name: str, allowed: Dtypes, needs_elements: bool
) -> Callable[..., ShapedArray]:
    """Return the `abstract_eval` of a reduction over ``axes``."""

    def abstract_eval(x: ShapedArray, axes: Shape) -> ShapedArray:
        check_dtype(name, x, allowed)
        if len(set(axes)) != len(axes) or any(not 0 <= a < x.ndim for a in axes):
            raise ShapeError(f"{name} over axes {list(axes)} of {x}")
        out = x.with_shape(reduced_shape(x.shape, axes))
        if needs_elements and out.size and any(x.shape[a] == 0 for a in axes):
            raise ShapeError(f"{name} of {x} over axes {list(axes)} has no elements")
        return out

    return abstract_eval


def axes_of(params: Params) -> Shape:
    """Return the param ``axes``."""
    return params["axes"]  # type: ignore[return-value]


def _sum_transpose(
    b: Builder,
    cotangents: Cotangents,
    ins: Sequence[Atom],
    linear: Sequence[bool],
    params: Params,
) -> Cotangents:
    (ct,) = cotangents
    assert ct is not None
    return (keep_axes(b, ct, ins[0], axes_of(params)),)


reduce_sum_p: Primitive = register(
    Primitive(
        "reduce_sum",
        reduce_eval("reduce_sum", dt.NUMERIC, False),
        lambda x, axes: np.add.reduce(x, axis=axes, dtype=np.asarray(x).dtype),
        params={"axes": ParamKind.INTS},
        kind=Kind.REDUCE,
        transpose=_sum_transpose,
        linearity=Linearity.JOINT,
        flops=lambda i, o, p: float(i[0].size),
    )
)


# --- broadcast_in_dim -------------------------------------------------------------


def _broadcast_eval(x: ShapedArray, shape: Shape, dims: Shape) -> ShapedArray:
    ordered = list(dims) == sorted({d for d in dims if 0 <= d < len(shape)})
    if (
        not ordered
        or len(dims) != x.ndim
        or any(n not in (1, shape[d]) for n, d in zip(x.shape, dims, strict=True))
    ):
        raise ShapeError(f"cannot broadcast {x} to {list(shape)} along {list(dims)}")
    return x.with_shape(shape)


def _broadcast(x: Array, shape: Shape, dims: Shape) -> Array:
    x = np.asarray(x)
    middle = [1] * len(shape)
    for n, d in zip(x.shape, dims, strict=True):
        middle[d] = n
    return np.broadcast_to(x.reshape(middle), shape)


def _broadcast_transpose(
    b: Builder,
    cotangents: Cotangents,
    ins: Sequence[Atom],
    linear: Sequence[bool],
    params: Params,
) -> Cotangents:
    (ct,) = cotangents
    assert ct is not None
    x, shape, dims = ins[0].aval, ints(params, "shape"), ints(params, "dims")
    kept = {d for n, d in zip(x.shape, dims, strict=True) if n == shape[d]}
    axes = tuple(d for d in range(len(shape)) if d not in kept)
    total = b.emit(reduce_sum_p, ct, axes=axes) if axes else ct
    return (reshape(b, total, x.shape),)


broadcast_in_dim_p: Primitive = register(
    Primitive(
        "broadcast_in_dim",
        _broadcast_eval,
        _broadcast,
        params={"shape": ParamKind.INTS, "dims": ParamKind.INTS},
        kind=Kind.VIEW,
        transpose=_broadcast_transpose,
        batch=BatchParams(
            lambda p, n: {
                "shape": (n, *ints(p, "shape")),
                "dims": (0, *(d + 1 for d in ints(p, "dims"))),
            }
        ),
        linearity=Linearity.JOINT,
        flops=lambda i, o, p: 0.0,
    )
)


def broadcast_to(b: Builder, x: Atom, shape: Shape) -> Atom:
    """Broadcast `x` to `shape` by NumPy's rule (axes aligned at the end)."""
    if x.aval.shape == shape:
        return x
    offset = len(shape) - x.aval.ndim
    dims = tuple(range(offset, len(shape)))
    return b.emit(broadcast_in_dim_p, x, shape=shape, dims=dims)


def full_like(b: Builder, value: object, aval: ShapedArray) -> Atom:
    """Return `value` as an array of the shape and dtype of `aval`."""
    return broadcast_to(b, b.literal(value, aval.dtype), aval.shape)


# --- batches of operands ----------------------------------------------------------


def batch_size(ins: Sequence[Atom], batched: Sequence[bool]) -> int:
    """Return the extent of axis 0 of the operands that have the batch there."""
    return next(x.aval.shape[0] for x, has in zip(ins, batched, strict=True) if has)


def spread(b: Builder, x: Atom, size: int) -> Atom:
    """Repeat `x` along a new axis 0."""
    return broadcast_to(b, x, (size, *x.aval.shape))


def spread_all(b: Builder, ins: Sequence[Atom], batched: Sequence[bool]) -> list[Atom]:
    """Give every operand the batch as axis 0."""
    size = batch_size(ins, batched)
    pairs = zip(ins, batched, strict=True)
    return [x if has else spread(b, x, size) for x, has in pairs]


def move_axis(b: Builder, x: Atom, source: int, target: int) -> Atom:
    """``np.moveaxis`` for axes counted from the front."""
    if source == target:
        return x
    perm = [d for d in range(x.aval.ndim) if d != source]
    perm.insert(target, source)
    return b.emit(transpose_p, x, perm=tuple(perm))


def batch_elementwise(
    b: Builder,
    primitive: Primitive,
    ins: Sequence[Atom],
    batched: Sequence[bool],
    params: Params,
) -> Sequence[Atom]:
    """The primitive on operands of one shape; those of rank 0 stay so when they can."""
    size = batch_size(ins, batched)
    pairs = list(zip(ins, batched, strict=True))
    shapes = [x.aval.shape[1:] if has else x.aval.shape for x, has in pairs]
    full = (size, *next((s for s in shapes if s), ()))
    operands = []
    for x, has in pairs:
        if x.aval.shape in (full, ()):
            operands.append(x)
        elif has:
            operands.append(b.emit(broadcast_in_dim_p, x, shape=full, dims=(0,)))
        else:
            operands.append(spread(b, x, size))
    return b.emit_all(primitive, operands, params)


# --- reshape, transpose, rev ------------------------------------------------------


def _reshape_eval(x: ShapedArray, shape: Shape) -> ShapedArray:
    if prod(shape) != x.size:
        raise ShapeError(f"cannot reshape {x} ({x.size} elements) to {list(shape)}")
    return x.with_shape(shape)


reshape_p: Primitive = register(
    Primitive(
        "reshape",
        _reshape_eval,
        lambda x, shape: np.reshape(x, shape),
        params={"shape": ParamKind.INTS},
        kind=Kind.VIEW,
        transpose=lambda b, cts, ins, linear, params: (
            reshape(b, cts[0], ins[0].aval.shape),
        ),
        batch=BatchParams(lambda p, n: {"shape": (n, *ints(p, "shape"))}),
        linearity=Linearity.JOINT,
        flops=lambda i, o, p: 0.0,
    )
)


def reshape(b: Builder, x: Atom | None, shape: Shape) -> Atom:
    """Reshape `x`, or return it when it has that shape already."""
    assert x is not None
    return x if x.aval.shape == shape else b.emit(reshape_p, x, shape=shape)


def _transpose_eval(x: ShapedArray, perm: Shape) -> ShapedArray:
    if sorted(perm) != list(range(x.ndim)):
        raise ShapeError(f"{list(perm)} is no permutation of the axes of {x}")
    return x.with_shape(tuple(x.shape[p] for p in perm))


def inverse_permutation(perm: Sequence[int]) -> tuple[int, ...]:
    """Return the permutation that undoes `perm`."""
    return tuple(int(i) for i in np.argsort(perm))


transpose_p: Primitive = register(
    Primitive(
        "transpose",
        _transpose_eval,
        lambda x, perm: np.transpose(x, perm),
        params={"perm": ParamKind.INTS},
        kind=Kind.VIEW,
        transpose=lambda b, cts, ins, linear, params: (
            b.emit(transpose_p, cts[0], perm=inverse_permutation(ints(params, "perm"))),
        ),
        batch=BatchParams(
            lambda p, n: {"perm": (0, *(d + 1 for d in ints(p, "perm")))}
        ),
        linearity=Linearity.JOINT,
        flops=lambda i, o, p: 0.0,
    )
)


def _rev_eval(x: ShapedArray, axes: Shape) -> ShapedArray:
    if len(set(axes)) != len(axes) or any(not 0 <= a < x.ndim for a in axes):
        raise ShapeError(f"cannot reverse {x} along axes {list(axes)}")
    return x


rev_p: Primitive = register(
    Primitive(
        "rev",
        _rev_eval,
        lambda x, axes: np.flip(x, axes),
        params={"axes": ParamKind.INTS},
        kind=Kind.VIEW,
        transpose=lambda b, cts, ins, linear, params: (
            b.emit(rev_p, cts[0], axes=params["axes"]),
        ),
        batch=shifted("axes"),
        linearity=Linearity.JOINT,
        flops=lambda i, o, p: 0.0,
    )
)

# --- slice, update_slice, pad ------------------------------------------------------


def _slices(start: Shape, stop: Shape, stride: Shape) -> tuple[slice, ...]:
    return tuple(slice(*t) for t in zip(start, stop, stride, strict=True))


def _slice_eval(
    x: ShapedArray, start: Shape, stop: Shape, stride: Shape
) -> ShapedArray:
    ok = len(start) == len(stop) == len(stride) == x.ndim and all(
        0 <= a <= z <= n and s >= 1
        for a, z, s, n in zip(start, stop, stride, x.shape, strict=True)
    )
    if not ok:
        raise ShapeError(
            f"slice {list(start)}:{list(stop)}:{list(stride)} is outside of {x}"
        )
    extents = (-(-(z - a) // s) for a, z, s in zip(start, stop, stride, strict=True))
    return x.with_shape(tuple(extents))


def _slice_transpose(
    b: Builder,
    cotangents: Cotangents,
    ins: Sequence[Atom],
    linear: Sequence[bool],
    params: Params,
) -> Cotangents:
    (ct,) = cotangents
    assert ct is not None
    zeros = full_like(b, 0, ins[0].aval)
    start, stride = params["start"], params["stride"]
    return (b.emit(update_slice_p, zeros, ct, start=start, stride=stride),)


slice_p: Primitive = register(
    Primitive(
        "slice",
        _slice_eval,
        lambda x, start, stop, stride: np.asarray(x)[_slices(start, stop, stride)],
        params={
            "start": ParamKind.INTS,
            "stop": ParamKind.INTS,
            "stride": ParamKind.INTS,
        },
        kind=Kind.VIEW,
        transpose=_slice_transpose,
        batch=BatchParams(
            lambda p, n: {
                "start": (0, *ints(p, "start")),
                "stop": (n, *ints(p, "stop")),
                "stride": (1, *ints(p, "stride")),
            }
        ),
        linearity=Linearity.JOINT,
        flops=lambda i, o, p: 0.0,
    )
)


def slice_bounds(
    shape: Shape, start: Sequence[int], stride: Sequence[int]
) -> tuple[int, ...]:
    """Return the `stop` of the slice of extents `shape` at `start` by `stride`."""
    return tuple(
        a + (n - 1) * s + 1 if n else a
        for n, a, s in zip(shape, start, stride, strict=True)
    )


def _update_slice_eval(
    x: ShapedArray, update: ShapedArray, start: Shape, stride: Shape
) -> ShapedArray:
    fits = x.dtype == update.dtype and x.ndim == update.ndim
    if fits:
        stop = slice_bounds(update.shape, start, stride)
        fits = all(
            a >= 0 and z <= n for a, z, n in zip(start, stop, x.shape, strict=True)
        )
    if not fits:
        raise ShapeError(
            f"cannot write {update} into {x} at {list(start)} by {list(stride)}"
        )
    return x


def _update_slice(x: Array, update: Array, start: Shape, stride: Shape) -> Array:
    out = np.array(x)
    stop = slice_bounds(np.shape(update), start, stride)
    out[_slices(start, stop, stride)] = update
    return out


def _update_slice_transpose(
    b: Builder,
    cotangents: Cotangents,
    ins: Sequence[Atom],
    linear: Sequence[bool],
    params: Params,
) -> Cotangents:
    (ct,) = cotangents
    assert ct is not None
    start, stride = ints(params, "start"), ints(params, "stride")
    update = ins[1].aval
    ct_x = ct_update = None
    if linear[0]:
        zeros = full_like(b, 0, update)
        ct_x = b.emit(update_slice_p, ct, zeros, start=start, stride=stride)
    if linear[1]:
        stop = slice_bounds(update.shape, start, stride)
        ct_update = b.emit(slice_p, ct, start=start, stop=stop, stride=stride)
    return ct_x, ct_update


update_slice_p: Primitive = register(
    Primitive(
        "update_slice",
        _update_slice_eval,
        _update_slice,
        params={"start": ParamKind.INTS, "stride": ParamKind.INTS},
        kind=Kind.VIEW,
        transpose=_update_slice_transpose,
        batch=BatchParams(
            lambda p, n: {
                "start": (0, *ints(p, "start")),
                "stride": (1, *ints(p, "stride")),
            }
        ),
        linearity=Linearity.JOINT,
        flops=lambda i, o, p: 0.0,
    )
)


def _pad_eval(
    x: ShapedArray, value: ShapedArray, low: Shape, high: Shape
) -> ShapedArray:
    if value.shape or value.dtype != x.dtype or not len(low) == len(high) == x.ndim:
        raise ShapeError(f"cannot pad {x} with {value} by {list(low)}, {list(high)}")
    if min((*low, *high), default=0) < 0:
        raise ShapeError(f"padding {list(low)}, {list(high)} of {x} is negative")
    extents = (a + n + z for a, n, z in zip(low, x.shape, high, strict=True))
    return x.with_shape(tuple(extents))


def _pad(x: Array, value: Array, low: Shape, high: Shape) -> Array:
    width = list(zip(low, high, strict=True))
    return np.pad(x, width, constant_values=value) if width else np.array(x)


def _pad_transpose(
    b: Builder,
    cotangents: Cotangents,
    ins: Sequence[Atom],
    linear: Sequence[bool],
    params: Params,
) -> Cotangents:
    (ct,) = cotangents
    assert ct is not None
    low, shape = ints(params, "low"), ins[0].aval.shape
    stop = tuple(a + n for a, n in zip(low, shape, strict=True))
    ones = (1,) * len(shape)
    ct_x = ct_value = None
    if linear[0]:
        ct_x = b.emit(slice_p, ct, start=low, stop=stop, stride=ones)
    if linear[1]:
        zeros = full_like(b, 0, ins[0].aval)
        rim = b.emit(update_slice_p, ct, zeros, start=low, stride=ones)
        ct_value = b.emit(reduce_sum_p, rim, axes=tuple(range(len(shape))))
    return ct_x, ct_value


def _pad_batch(
    b: Builder,
    primitive: Primitive,
    ins: Sequence[Atom],
    batched: Sequence[bool],
    params: Params,
) -> Sequence[Atom]:
    """Pad; a value for each example is selected where the padding is."""
    (x, value), (has_batch, own_values) = ins, batched
    low, high = ints(params, "low"), ints(params, "high")
    size = batch_size(ins, batched)
    if not own_values:
        return (b.emit(pad_p, x, value, low=(0, *low), high=(0, *high)),)
    x = x if has_batch else spread(b, x, size)
    wide = {"low": (0, *low), "high": (0, *high)}
    inside = full_like(b, True, x.aval.with_dtype(dt.BOOL))
    inside = b.emit(pad_p, inside, b.literal(False, dt.BOOL), **wide)
    filled = b.emit(pad_p, x, b.literal(0, x.aval.dtype), **wide)
    shape = filled.aval.shape
    values = b.emit(broadcast_in_dim_p, value, shape=shape, dims=(0,))
    return (b.emit(select_p, inside, filled, values),)


pad_p: Primitive = register(
    Primitive(
        "pad",
        _pad_eval,
        _pad,
        params={"low": ParamKind.INTS, "high": ParamKind.INTS},
        kind=Kind.VIEW,
        transpose=_pad_transpose,
        batch=_pad_batch,
        linearity=Linearity.JOINT,
        flops=lambda i, o, p: 0.0,
    )
)

# --- sliding_window ----------------------------------------------------------------

_FEW = 16  # places in a window whose cotangents are added one by one


def _sliding_eval(x: ShapedArray, axis: int, size: int) -> ShapedArray:
    if not 0 <= axis < x.ndim or not 0 <= size <= x.shape[axis]:
        raise ShapeError(f"{x} has no windows of {size} along axis {axis}")
    count = x.shape[axis] - size + 1
    return x.with_shape((*x.shape[:axis], count, *x.shape[axis + 1 :], size))


def _sliding(x: Array, axis: int, size: int) -> Array:
    return np.lib.stride_tricks.sliding_window_view(x, size, axis)


def _sliding_transpose(
    b: Builder,
    cotangents: Cotangents,
    ins: Sequence[Atom],
    linear: Sequence[bool],
    params: Params,
) -> Cotangents:
    """Add up what each window has of an element: place m of window i is of i + m."""
    (ct,) = cotangents
    assert ct is not None
    axis, size = params["axis"], params["size"]
    assert isinstance(axis, int)
    assert isinstance(size, int)
    if not size:
        return (full_like(b, 0, ins[0].aval),)
    count = ct.aval.shape[axis]
    if size <= _FEW:
        places = (_place_of_windows(b, ct, axis, m) for m in range(size))
        return (reduce(lambda x, y: b.emit(add_p, x, y), places),)
    # Rows of one element more than there are, read as rows of as many as there are,
    # move on by an element each: all places of an element are in one column.
    last = ct.aval.ndim - 1
    rows = move_axis(b, ct, axis, last)
    others, total = rows.aval.shape[:-2], count + size - 1
    wide = _padded(b, rows, last, 0, size)
    flat = reshape(b, wide, (*others, size * (total + 1)))
    stop = (*others, size * total)
    start, ones = (0,) * len(stop), (1,) * len(stop)
    flat = b.emit(slice_p, flat, start=start, stop=stop, stride=ones)
    moved = reshape(b, flat, (*others, size, total))
    out = b.emit(reduce_sum_p, moved, axes=(len(others),))
    return (move_axis(b, out, len(others), axis),)


def _place_of_windows(b: Builder, ct: Atom, axis: int, place: int) -> Atom:
    """Return one place of all windows where its elements are, and zeros elsewhere."""
    *shape, size = ct.aval.shape
    start, stop = (*(0 for _ in shape), place), (*shape, place + 1)
    ones = (1,) * ct.aval.ndim
    one = b.emit(slice_p, ct, start=start, stop=stop, stride=ones)
    return _padded(b, reshape(b, one, tuple(shape)), axis, place, size - 1 - place)


def _padded(b: Builder, x: Atom, axis: int, low: int, high: int) -> Atom:
    """Return `x` with zeros before and after it along an axis."""
    zero = b.literal(0, x.aval.dtype)
    rims = ((n if d == axis else 0 for d in range(x.aval.ndim)) for n in (low, high))
    before, after = map(tuple, rims)
    return b.emit(pad_p, x, zero, low=before, high=after)


sliding_window_p: Primitive = register(
    Primitive(
        "sliding_window",
        _sliding_eval,
        _sliding,
        params={"axis": ParamKind.INT, "size": ParamKind.INT},
        kind=Kind.VIEW,
        transpose=_sliding_transpose,
        batch=shifted("axis"),
        linearity=Linearity.JOINT,
        flops=lambda i, o, p: 0.0,
    )
)

# --- concatenate -------------------------------------------------------------------


def _concatenate_eval(*avals: ShapedArray, axis: int) -> ShapedArray:
    first = avals[0]
    rest = {(a.shape[:axis], a.shape[axis + 1 :], a.ndim, a.dtype) for a in avals}
    if not 0 <= axis < first.ndim or len(rest) != 1:
        raise ShapeError(f"cannot join {list(avals)} along axis {axis}")
    total = sum(a.shape[axis] for a in avals)
    return first.with_shape((*first.shape[:axis], total, *first.shape[axis + 1 :]))


def _concatenate_transpose(
    b: Builder,
    cotangents: Cotangents,
    ins: Sequence[Atom],
    linear: Sequence[bool],
    params: Params,
) -> Cotangents:
    (ct,) = cotangents
    assert ct is not None
    axis = params["axis"]
    assert isinstance(axis, int)
    out: list[Atom | None] = []
    at = 0
    for x, is_linear in zip(ins, linear, strict=True):
        shape = x.aval.shape
        start = tuple(at if d == axis else 0 for d in range(len(shape)))
        stop = tuple(a + n for a, n in zip(start, shape, strict=True))
        at += shape[axis]
        stride = (1,) * len(shape)
        piece = b.emit(slice_p, ct, start=start, stop=stop, stride=stride)
        out.append(piece if is_linear else None)
    return out


concatenate_p: Primitive = register(
    Primitive(
        "concatenate",
        _concatenate_eval,
        lambda *xs, axis: np.concatenate(xs, axis),
        params={"axis": ParamKind.INT},
        kind=Kind.VIEW,
        transpose=_concatenate_transpose,
        batch=shifted("axis"),
        linearity=Linearity.JOINT,
        flops=lambda i, o, p: 0.0,
    )
)

# --- constants --------------------------------------------------------------------


def _iota_eval(shape: Shape, axis: int, dtype: np.dtype) -> ShapedArray:
    if not 0 <= axis < len(shape):
        raise ShapeError(f"iota of shape {list(shape)} has no axis {axis}")
    return ShapedArray(shape, dtype)


def _iota(shape: Shape, axis: int, dtype: np.dtype) -> Array:
    middle = [1] * len(shape)
    middle[axis] = shape[axis]
    counts = np.arange(shape[axis]).astype(dtype)
    return np.broadcast_to(counts.reshape(middle), shape)


iota_p: Primitive = register(
    Primitive(
        "iota",
        _iota_eval,
        _iota,
        params={
            "shape": ParamKind.INTS,
            "axis": ParamKind.INT,
            "dtype": ParamKind.DTYPE,
        },
        kind=Kind.VIEW,
        nondifferentiable=True,
        flops=lambda i, o, p: 0.0,
    )
)


def _constant_eval(value: ArrayConstant) -> ShapedArray:
    return ShapedArray(value.array.shape, value.array.dtype)


constant_p: Primitive = register(
    Primitive(
        "constant",
        _constant_eval,
        lambda value: value.array,
        params={"value": ParamKind.ARRAY},
        nondifferentiable=True,
        flops=lambda i, o, p: 0.0,
    )
)
