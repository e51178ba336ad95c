"""`conv_general`: sums of products over windows, in one canonical layout.

``x`` is (batch, group, channel, *X), ``w`` (group, out, channel, *K), the result
(batch, group, out, *Y)::

    out[n, g, o, y] = sum over c, t of xd[n, g, c, y*strides + t*rhs_dilation - low]
                                       * w[g, o, c, t]

where ``xd`` is `x` with ``lhs_dilation - 1`` zeros between elements and, outside, `low`
and `high` zeros (negative: elements cut off). Other layouts are views of this one:
groups are an axis, so that the gradients of a convolution, by `x` (of the dilated
result) and by `w` (with the batch summed), are convolutions again.
"""

from collections.abc import Sequence
from math import prod
from types import EllipsisType

import numpy as np

from ...errors import DTypeError, ShapeError
from .. import dtypes as dt
from ..aval import Shape, ShapedArray
from ..builder import Builder
from ..graph import Atom
from ..primitive import Array, Avals, Linearity, ParamKind, Params, Primitive, register
from .elementwise import check_dtype
from .shape import ints, move_axis, reshape, rev_p, transpose_p

Atoms = Sequence[Atom | None]
LEADING = 3  # axes before the spatial ones


def dilated(extent: int, dilation: int) -> int:
    """Return the extent of an axis with ``dilation - 1`` zeros between elements."""
    return (extent - 1) * dilation + 1 if extent else 0


def window_count(extent: int, window: int, stride: int) -> int:
    """Return in how many places a window fits."""
    return (extent - window) // stride + 1 if extent >= window else 0


def _conv_eval(
    x: ShapedArray,
    w: ShapedArray,
    strides: Shape,
    low: Shape,
    high: Shape,
    lhs_dilation: Shape,
    rhs_dilation: Shape,
) -> ShapedArray:
    if x.dtype != w.dtype:
        raise DTypeError(f"conv_general takes operands of one dtype, not {x}, {w}")
    check_dtype("conv_general", x, dt.NUMERIC)
    params = (strides, low, high, lhs_dilation, rhs_dilation)
    rank = x.ndim - LEADING
    if rank < 0 or w.ndim != x.ndim or any(len(p) != rank for p in params):
        raise ShapeError(f"conv_general of {x} and {w} with params of {rank} axes")
    if (x.shape[1], x.shape[2]) != (w.shape[0], w.shape[2]):
        raise ShapeError(
            f"conv_general of {x} and {w}: {x.shape[1]} groups of {x.shape[2]} "
            f"channels, and filters for {w.shape[0]} groups of {w.shape[2]}"
        )
    if min((1, *strides, *lhs_dilation, *rhs_dilation)) < 1:
        raise ShapeError(f"conv_general of {x} and {w}: a stride or dilation below 1")
    spatial = [
        window_count(dilated(n, ld) + a + z, dilated(k, rd), s)
        for n, k, s, a, z, ld, rd in zip(
            x.shape[LEADING:], w.shape[LEADING:], *params, strict=True
        )
    ]
    return x.with_shape((*x.shape[:2], w.shape[1], *spatial))


def _conv(
    x: Array,
    w: Array,
    strides: Shape,
    low: Shape,
    high: Shape,
    lhs_dilation: Shape,
    rhs_dilation: Shape,
) -> Array:
    """Look through windows at the padded operand; a matrix product for each group."""
    x, w = np.asarray(x), np.asarray(w)
    dtype = x.dtype
    if dtype in dt.NARROW_FLOATS:
        x, w = x.astype(np.float32), w.astype(np.float32)
    n, groups, channels = x.shape[:LEADING]
    filters, taps = w.shape[1], w.shape[LEADING:]
    windows = windows_of(
        _with_holes(x, lhs_dilation, low, high), taps, strides, rhs_dilation
    )
    places = windows.shape[LEADING : windows.ndim - len(taps)]
    depth = channels * prod(taps)
    rank = len(taps)
    rows = (0, *range(LEADING, LEADING + rank), 2, *range(LEADING + rank, 3 + 2 * rank))
    out = np.zeros((n, groups, filters, *places), x.dtype)
    for g in range(groups):
        patches = windows[:, g : g + 1].transpose((1, *rows))
        product = (
            patches.reshape((n * prod(places), depth))
            @ w[g].reshape((filters, depth)).T
        )
        out[:, g] = np.moveaxis(product.reshape((n, *places, filters)), -1, 1)
    return out.astype(dtype, copy=False)


def _with_holes(x: Array, dilation: Shape, low: Shape, high: Shape) -> Array:
    """Put zeros between elements and around them, or cut off the rim."""
    head, spatial = x.shape[:LEADING], x.shape[LEADING:]
    full = tuple(map(dilated, spatial, dilation))
    shape = [n + a + z for n, a, z in zip(full, low, high, strict=True)]
    out = np.zeros((*head, *(max(n, 0) for n in shape)), x.dtype)
    target, source = [], []
    for n, d, a, extent in zip(spatial, dilation, low, shape, strict=True):
        first = max(0, -(a // d))  # the first element at or after the start
        last = min(n, -(-(extent - a) // d))
        target.append(slice(first * d + a, (last - 1) * d + a + 1, d))
        source.append(slice(first, last))
        if last <= first:
            return out
    out[_last(target)] = x[_last(source)]
    return out


def windows_of(x: Array, window: Shape, strides: Shape, dilation: Shape) -> Array:
    """Return all windows of the last axes: (..., *places, *window), without a copy."""
    rank = len(window)
    if not rank:
        return x
    extents = tuple(map(dilated, window, dilation))
    axes = tuple(range(x.ndim - rank, x.ndim))
    lead = x.shape[: x.ndim - rank]
    counts = tuple(map(window_count, (x.shape[a] for a in axes), extents, strides))
    if 0 in counts or 0 in window:
        return np.zeros((*lead, *counts, *window), x.dtype)
    view = np.lib.stride_tricks.sliding_window_view(x, extents, axis=axes)
    steps = [slice(None, None, s) for s in (*strides, *dilation)]
    return np.asarray(view[_last(steps)])


def _last(slices: Sequence[slice]) -> tuple[EllipsisType | slice, ...]:
    """Return the index of slices of the last axes."""
    return (..., *slices)


def _conv_transpose(
    b: Builder,
    cotangents: Atoms,
    ins: Sequence[Atom],
    linear: Sequence[bool],
    params: Params,
) -> Atoms:
    (ct,) = cotangents
    assert ct is not None
    x, w = ins
    if linear[0]:
        return _x_cotangent(b, ct, x.aval, w, params), None
    return None, _w_cotangent(b, ct, x, w.aval, params)


def _x_cotangent(b: Builder, ct: Atom, x: ShapedArray, w: Atom, params: Params) -> Atom:
    """Convolve the cotangent, dilated by the strides, with the filters reversed."""
    strides, low = ints(params, "strides"), ints(params, "low")
    lhs, rhs = ints(params, "lhs_dilation"), ints(params, "rhs_dilation")
    rank = len(strides)
    spatial = tuple(range(LEADING, LEADING + rank))
    turned = b.emit(transpose_p, w, perm=(0, 2, 1, *spatial))
    if rank:
        turned = b.emit(rev_p, turned, axes=spatial)
    reach = map(dilated, w.aval.shape[LEADING:], rhs)
    before = tuple(k - 1 - a for k, a in zip(reach, low, strict=True))
    after = _padding_for(
        ct.aval.shape[LEADING:],
        w.aval.shape[LEADING:],
        x.shape[LEADING:],
        (lhs, before, strides, rhs),
    )
    return b.emit(
        conv_general_p,
        ct,
        turned,
        strides=lhs,
        low=before,
        high=after,
        lhs_dilation=strides,
        rhs_dilation=rhs,
    )


def _w_cotangent(b: Builder, ct: Atom, x: Atom, w: ShapedArray, params: Params) -> Atom:
    """Convolve the operand with the cotangent: channels are a batch, the batch is
    summed, and strides dilate.
    """
    strides, low = ints(params, "strides"), ints(params, "low")
    lhs, rhs = ints(params, "lhs_dilation"), ints(params, "rhs_dilation")
    spatial = tuple(range(LEADING, LEADING + len(strides)))
    images = b.emit(transpose_p, x, perm=(2, 1, 0, *spatial))
    filters = b.emit(transpose_p, ct, perm=(1, 2, 0, *spatial))
    after = _padding_for(
        x.aval.shape[LEADING:],
        ct.aval.shape[LEADING:],
        w.shape[LEADING:],
        (rhs, low, lhs, strides),
    )
    out = b.emit(
        conv_general_p,
        images,
        filters,
        strides=rhs,
        low=low,
        high=after,
        lhs_dilation=lhs,
        rhs_dilation=strides,
    )
    return b.emit(transpose_p, out, perm=(1, 2, 0, *spatial))


def _padding_for(
    extents: Shape, windows: Shape, wanted: Shape, params: tuple[Shape, ...]
) -> Shape:
    """Return the padding after, by which windows fit in as many places as wanted."""
    return tuple(
        (count - 1) * s + dilated(k, rd) - dilated(n, ld) - a
        for n, k, count, s, a, ld, rd in zip(
            extents, windows, wanted, *params, strict=True
        )
    )


def _conv_batch(
    b: Builder,
    primitive: Primitive,
    ins: Sequence[Atom],
    batched: Sequence[bool],
    params: Params,
) -> Sequence[Atom]:
    """A batch of images joins theirs, of filters their number, of both the groups."""
    x, w = ins
    if all(batched):
        size, groups = w.aval.shape[:2]
        x = _merged(b, move_axis(b, x, 0, 1), 1)
        out = b.emit(conv_general_p, x, _merged(b, w, 0), **params)
        return (move_axis(b, _split(b, out, 1, (size, groups)), 1, 0),)
    if batched[0]:
        size, images = x.aval.shape[:2]
        out = b.emit(conv_general_p, _merged(b, x, 0), w, **params)
        return (_split(b, out, 0, (size, images)),)
    size, _, filters = w.aval.shape[:3]
    w = _merged(b, move_axis(b, w, 0, 1), 1)
    out = b.emit(conv_general_p, x, w, **params)
    return (move_axis(b, _split(b, out, 2, (size, filters)), 2, 0),)


def _merged(b: Builder, x: Atom, axis: int) -> Atom:
    """Join `axis` and the next one."""
    shape = x.aval.shape
    joined = (*shape[:axis], shape[axis] * shape[axis + 1], *shape[axis + 2 :])
    return reshape(b, x, joined)


def _split(b: Builder, x: Atom, axis: int, extents: Shape) -> Atom:
    """Split `axis` into `extents`."""
    shape = x.aval.shape
    return reshape(b, x, (*shape[:axis], *extents, *shape[axis + 1 :]))


def _conv_flops(ins: Avals, outs: Avals, params: Params) -> float:
    taps = ins[1].shape[2:]
    return 2.0 * float(outs[0].size) * float(prod(taps))


conv_general_p: Primitive = register(
    Primitive(
        "conv_general",
        _conv_eval,
        _conv,
        params={
            "strides": ParamKind.INTS,
            "low": ParamKind.INTS,
            "high": ParamKind.INTS,
            "lhs_dilation": ParamKind.INTS,
            "rhs_dilation": ParamKind.INTS,
        },
        transpose=_conv_transpose,
        batch=_conv_batch,
        linearity=Linearity.MULTI,
        flops=_conv_flops,
    )
)
