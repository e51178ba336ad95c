"""Maxima over windows, and their linear derivatives.

Windows slide along the last axes of an array (..., *X); the result is (..., *Y).
`window_argmax` gives the row-major position in X of the **first** maximum of each
window (NaN counts as greater than everything, as in NumPy; padding never wins).
`window_pick` reads at such positions, `window_place` is its transpose: it adds what
each window gives at the position. The derivative of `window_max` is the pick.
"""

from collections.abc import Sequence
from math import prod

import numpy as np

from ...errors import DTypeError, ShapeError
from .. import dtypes as dt
from ..aval import Shape, ShapedArray
from ..builder import Builder
from ..graph import Atom
from ..primitive import (
    Array,
    BatchParams,
    Linearity,
    ParamKind,
    Params,
    Primitive,
    register,
)
from .conv import window_count, windows_of
from .elementwise import check_dtype
from .shape import ints

Atoms = Sequence[Atom | None]
INT32 = np.dtype(np.int32)
WINDOW_PARAMS = {
    "window": ParamKind.INTS,
    "strides": ParamKind.INTS,
    "low": ParamKind.INTS,
    "high": ParamKind.INTS,
}


def places(
    extents: Shape, window: Shape, strides: Shape, low: Shape, high: Shape
) -> Shape:
    """Return the extents of the result."""
    full = (n + a + z for n, a, z in zip(extents, low, high, strict=True))
    return tuple(map(window_count, full, window, strides))


def _windows_eval(
    x: ShapedArray, window: Shape, strides: Shape, low: Shape, high: Shape
) -> Shape:
    """Check params; return the result's shape."""
    rank = len(window)
    if not len(strides) == len(low) == len(high) == rank <= x.ndim:
        raise ShapeError(f"windows {list(window)} do not fit the axes of {x}")
    rows = zip(window, strides, low, high, strict=True)
    if any(k < 1 or s < 1 or not 0 <= a < k or not 0 <= z < k for k, s, a, z in rows):
        raise ShapeError(
            f"windows {list(window)} by {list(strides)} of {x}: padding {list(low)}, "
            f"{list(high)} must be less than the window"
        )
    lead, extents = x.shape[: x.ndim - rank], x.shape[x.ndim - rank :]
    return (*lead, *places(extents, window, strides, low, high))


_ORDERED = dt.ANY - dt.COMPLEX


def _max_eval(
    x: ShapedArray, window: Shape, strides: Shape, low: Shape, high: Shape
) -> ShapedArray:
    check_dtype("window_max", x, _ORDERED)
    return x.with_shape(_windows_eval(x, window, strides, low, high))


def _argmax_eval(
    x: ShapedArray, window: Shape, strides: Shape, low: Shape, high: Shape
) -> ShapedArray:
    check_dtype("window_argmax", x, _ORDERED)
    shape = _windows_eval(x, window, strides, low, high)
    return ShapedArray(shape, INT32)


def _pick_eval(
    x: ShapedArray,
    index: ShapedArray,
    window: Shape,
    strides: Shape,
    low: Shape,
    high: Shape,
) -> ShapedArray:
    shape = _windows_eval(x, window, strides, low, high)
    if index.shape != shape or index.dtype != INT32:
        raise ShapeError(f"window_pick from {x} at {index}; expected i32{list(shape)}")
    return x.with_shape(shape)


def _place_eval(
    x: ShapedArray,
    index: ShapedArray,
    extents: Shape,
    window: Shape,
    strides: Shape,
    low: Shape,
    high: Shape,
) -> ShapedArray:
    out = x.with_shape((*x.shape[: x.ndim - len(extents)], *extents))
    if _windows_eval(out, window, strides, low, high) != x.shape:
        raise ShapeError(f"window_place of {x} into {out}")
    if index.shape != x.shape or index.dtype != INT32:
        raise DTypeError(f"window_place of {x} at {index}; expected i32")
    return out


def lowest(dtype: np.dtype) -> float | int | bool:
    """Return what is not above any value of `dtype`."""
    if dtype.kind in "iu":
        return int(np.iinfo(dtype).min)
    return False if dtype.kind == "b" else dt.lowest(dtype)


def _flat_windows(
    x: Array, fill: object, window: Shape, strides: Shape, low: Shape, high: Shape
) -> Array:
    """Return the windows of the last axes, padded, each as one last axis."""
    rank = len(window)
    lead = x.ndim - rank
    width = [(0, 0)] * lead + list(zip(low, high, strict=True))
    full = np.pad(x, width, constant_values=fill) if width else x  # type: ignore[call-overload]
    seen = windows_of(full, window, strides, (1,) * rank)
    return seen.reshape((*seen.shape[: x.ndim], prod(window)))


def _argmax(x: Array, window: Shape, strides: Shape, low: Shape, high: Shape) -> Array:
    x = np.asarray(x)
    extents = x.shape[x.ndim - len(window) :]
    seen = _flat_windows(x, lowest(x.dtype), window, strides, low, high)
    positions = np.arange(prod(extents), dtype=np.int32).reshape(extents)
    at = _flat_windows(positions, -1, window, strides, low, high)
    first = np.argmax(seen, axis=-1)
    at = np.broadcast_to(at, seen.shape)
    found = np.take_along_axis(at, first[..., None], -1)[..., 0]
    inside = np.take_along_axis(at, np.argmax(at >= 0, axis=-1)[..., None], -1)
    return np.asarray(np.where(found < 0, inside[..., 0], found), dtype=np.int32)


def _max(x: Array, window: Shape, strides: Shape, low: Shape, high: Shape) -> Array:
    x = np.asarray(x)
    seen = _flat_windows(x, lowest(x.dtype), window, strides, low, high)
    return np.asarray(np.max(seen, axis=-1))


def _pick(
    x: Array, index: Array, window: Shape, strides: Shape, low: Shape, high: Shape
) -> Array:
    lead = np.ndim(x) - len(window)
    flat, at = (
        np.reshape(v, (*np.shape(v)[:lead], prod(np.shape(v)[lead:])))
        for v in (x, index)
    )
    return np.take_along_axis(flat, at, -1).reshape(np.shape(index))


def _place(
    x: Array,
    index: Array,
    extents: Shape,
    window: Shape,
    strides: Shape,
    low: Shape,
    high: Shape,
) -> Array:
    """Add in the order of the windows that reach a position, the last one first."""
    x, index = np.asarray(x), np.asarray(index)
    rows = prod(x.shape[: x.ndim - len(extents)])
    out = np.zeros((rows, prod(extents)), x.dtype)
    at = index.reshape((rows, prod(index.shape[x.ndim - len(extents) :])))
    np.add.at(out, (np.arange(rows)[:, None], at), x.reshape(at.shape))
    return out.reshape((*x.shape[: x.ndim - len(extents)], *extents))


def _max_jvp(
    b: Builder,
    tangents: Atoms,
    outs: Sequence[Atom],
    ins: Sequence[Atom],
    params: Params,
) -> Atoms:
    (t,) = tangents
    assert t is not None
    index = b.emit(window_argmax_p, ins[0], **params)
    return (b.emit(window_pick_p, t, index, **params),)


def _pick_transpose(
    b: Builder,
    cotangents: Atoms,
    ins: Sequence[Atom],
    linear: Sequence[bool],
    params: Params,
) -> Atoms:
    (ct,) = cotangents
    assert ct is not None
    x = ins[0].aval
    extents = x.shape[x.ndim - len(ints(params, "window")) :]
    return b.emit(window_place_p, ct, ins[1], extents=extents, **params), None


def _place_transpose(
    b: Builder,
    cotangents: Atoms,
    ins: Sequence[Atom],
    linear: Sequence[bool],
    params: Params,
) -> Atoms:
    (ct,) = cotangents
    assert ct is not None
    rest = {k: v for k, v in params.items() if k != "extents"}
    return b.emit(window_pick_p, ct, ins[1], **rest), None


def _window_flops(params: Params) -> float:
    return float(prod(ints(params, "window")))


window_max_p: Primitive = register(
    Primitive(
        "window_max",
        _max_eval,
        _max,
        params=WINDOW_PARAMS,
        batch=BatchParams(),
        jvp=_max_jvp,
        flops=lambda i, o, p: o[0].size * _window_flops(p),
    )
)
window_argmax_p: Primitive = register(
    Primitive(
        "window_argmax",
        _argmax_eval,
        _argmax,
        params=WINDOW_PARAMS,
        batch=BatchParams(),
        nondifferentiable=True,
        flops=lambda i, o, p: o[0].size * _window_flops(p),
    )
)
window_pick_p: Primitive = register(
    Primitive(
        "window_pick",
        _pick_eval,
        _pick,
        params=WINDOW_PARAMS,
        batch=BatchParams(),
        transpose=_pick_transpose,
        linearity=Linearity.JOINT,
        linear_in=(0,),
        flops=lambda i, o, p: 0.0,
    )
)
window_place_p: Primitive = register(
    Primitive(
        "window_place",
        _place_eval,
        _place,
        params={"extents": ParamKind.INTS, **WINDOW_PARAMS},
        batch=BatchParams(),
        transpose=_place_transpose,
        linearity=Linearity.JOINT,
        linear_in=(0,),
        flops=lambda i, o, p: float(i[0].size),
    )
)

WINDOWS = (window_max_p, window_argmax_p, window_pick_p, window_place_p)
