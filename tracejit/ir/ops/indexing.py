"""Gather and scatter: reading and writing at run-time indices.

``gather x, i0, i1 {axes=(a0, a1), batch=n, mode}`` indexes ``axes`` of `x` by integer
arrays of one shape `I`. The first `batch` axes of `x` and of the indices are shared.
The result has shape ``I + rest`` (`I` begins with the batch axes) with `rest` the axes
of `x` not indexed, in order. `scatter` writes an array of that shape into `x`.

Modes: ``"raise"`` wraps negative indices once and fails for those out of range;
``"clip"`` clamps into range without wrapping.
"""

from collections.abc import Sequence

import numpy as np

from ...errors import DTypeError, IndexRangeError, ShapeError
from .. import dtypes as dt
from ..aval import Shape, ShapedArray
from ..builder import Builder
from ..graph import Atom
from ..primitive import (
    REGISTRY,
    Array,
    BatchParams,
    Effect,
    Linearity,
    Param,
    ParamKind,
    Params,
    Primitive,
    register,
)
from .elementwise import div_p, eq_p, mul_p, select_p, zero
from .segments import products_of_others
from .shape import full_like, ints, iota_p, move_axis, reshape, spread_all

Atoms = Sequence[Atom | None]
MODES = ("raise", "clip")
SCATTER_OPS = {
    "add": np.add,
    "mul": np.multiply,
    "max": np.maximum,
    "min": np.minimum,
}


def gathered_shape(
    x: ShapedArray, indices: Sequence[ShapedArray], axes: Shape, batch: int, mode: str
) -> Shape:
    """Return the shape of ``gather x, *indices``.

    Raises
    ------
    ShapeError, DTypeError
        When the indices do not fit.
    """
    if mode not in MODES:
        raise ShapeError(f"mode is {mode!r}, not one of {', '.join(MODES)}")
    if not indices or len(indices) != len(axes):
        raise ShapeError(f"{len(indices)} index arrays for axes {list(axes)} of {x}")
    first = indices[0]
    if any(i.shape != first.shape for i in indices):
        raise ShapeError(f"index arrays have different shapes: {list(indices)}")
    if any(i.dtype not in dt.INTEGERS for i in indices):
        raise DTypeError(f"indices must be integers, not {list(indices)}")
    if first.shape[:batch] != x.shape[:batch] or any(
        not batch <= a < x.ndim for a in axes
    ):
        raise ShapeError(f"axes {list(axes)}, batch {batch} do not fit {x}, {first}")
    rest = (n for d, n in enumerate(x.shape) if d >= batch and d not in axes)
    return (*first.shape, *rest)


def _grid(
    x: Array, indices: Sequence[Array], axes: Shape, batch: int, mode: str
) -> tuple[Array, tuple[Array, ...], Shape]:
    """Return x with (batch, axes, rest) order, its index tuple, and the order."""
    order = (*range(batch), *axes)
    rest = tuple(d for d in range(np.ndim(x)) if d not in order)
    moved = np.transpose(x, (*order, *rest))
    shape = np.shape(indices[0])
    index: list[Array] = []
    for d in range(batch):
        index.append(np.arange(shape[d]).reshape(_along(d, len(shape))))
    for axis, values in zip(axes, indices, strict=True):
        index.append(_in_range(np.asarray(values), np.shape(x)[axis], mode))
    return moved, tuple(index), (*order, *rest)


def _along(axis: int, ndim: int) -> Shape:
    return tuple(-1 if d == axis else 1 for d in range(ndim))


def _in_range(index: Array, extent: int, mode: str) -> Array:
    if mode == "clip":
        return np.asarray(np.clip(index, 0, max(extent - 1, 0)))
    index = index.astype(np.int64)
    bad = (index < -extent) | (index >= extent)
    if bad.any():
        raise IndexRangeError(
            f"index {index[bad].flat[0]} is out of bounds for an axis of {extent}"
        )
    return np.asarray(np.where(index < 0, index + extent, index))


def _gather_eval(
    x: ShapedArray, *indices: ShapedArray, axes: Shape, batch: int, mode: str
) -> ShapedArray:
    return x.with_shape(gathered_shape(x, indices, axes, batch, mode))


def _gather(x: Array, *indices: Array, axes: Shape, batch: int, mode: str) -> Array:
    moved, index, _ = _grid(np.asarray(x), indices, axes, batch, mode)
    return np.asarray(moved[index])


def _check_effect(params: Params) -> frozenset[Effect]:
    return frozenset({Effect.CHECK}) if params["mode"] == "raise" else frozenset()


def _gather_transpose(
    b: Builder,
    cotangents: Atoms,
    ins: Sequence[Atom],
    linear: Sequence[bool],
    params: Params,
) -> Atoms:
    (ct,) = cotangents
    assert ct is not None
    x, *indices = ins
    zeros = full_like(b, 0, x.aval)
    ct_x = b.emit(scatter_p, zeros, ct, *indices, **params, op="add")
    return (ct_x, *[None] * len(indices))


def _batched_axes(params: Params) -> dict[str, Param]:
    """Params for operands that all have one more batch axis in front."""
    batch = params["batch"]
    assert isinstance(batch, int)
    axes = tuple(a + 1 for a in ints(params, "axes"))
    return {**params, "axes": axes, "batch": batch + 1}


def _gather_batch(
    b: Builder,
    primitive: Primitive,
    ins: Sequence[Atom],
    batched: Sequence[bool],
    params: Params,
) -> Sequence[Atom]:
    """Indices of one array keep it as it is: their batch is an axis of theirs."""
    if batched[0]:
        return b.emit_all(gather_p, spread_all(b, ins, batched), _batched_axes(params))
    x, *indices = ins
    shared = params["batch"]
    assert isinstance(shared, int)
    indices = [move_axis(b, i, 0, shared) for i in spread_all(b, indices, batched[1:])]
    out = b.emit(gather_p, x, *indices, **params)
    return (move_axis(b, out, shared, 0),)


gather_p: Primitive = register(
    Primitive(
        "gather",
        _gather_eval,
        _gather,
        params={
            "axes": ParamKind.INTS,
            "batch": ParamKind.INT,
            "mode": ParamKind.STR,
        },
        transpose=_gather_transpose,
        batch=_gather_batch,
        linearity=Linearity.JOINT,
        linear_in=(0,),
        effects=_check_effect,
        flops=lambda i, o, p: 0.0,
    )
)


def _scatter_eval(
    x: ShapedArray,
    updates: ShapedArray,
    *indices: ShapedArray,
    axes: Shape,
    batch: int,
    mode: str,
    op: str,
) -> ShapedArray:
    shape = gathered_shape(x, indices, axes, batch, mode)
    if updates.shape != shape or updates.dtype != x.dtype:
        raise ShapeError(
            f"scatter into {x} takes updates {x.dtype}{list(shape)}, not {updates}"
        )
    if op != "set" and op not in SCATTER_OPS:
        raise ShapeError(f"scatter has no op {op!r}; it has set, add, mul, max, min")
    return x


def _scatter(
    x: Array,
    updates: Array,
    *indices: Array,
    axes: Shape,
    batch: int,
    mode: str,
    op: str,
) -> Array:
    out = np.array(x)
    moved, index, _ = _grid(out, indices, axes, batch, mode)
    if op == "set":
        moved[index] = updates
    else:
        SCATTER_OPS[op].at(moved, index, updates)
    return out


def _indexing(params: Params) -> dict[str, object]:
    return {k: params[k] for k in ("axes", "batch", "mode")}


def _winners(
    b: Builder, x: Atom, updates: Atom, indices: Sequence[Atom], params: Params
) -> Atom:
    """True where an update is the last one written to its place."""
    shape = updates.aval.shape
    count = ShapedArray((updates.aval.size,), dt.INT64)
    ids = b.emit(iota_p, shape=count.shape, axis=0, dtype=dt.INT64)
    ids = reshape(b, ids, shape)
    places = full_like(b, -1, ShapedArray(x.aval.shape, dt.INT64))
    last = b.emit(scatter_p, places, ids, *indices, **{**params, "op": "set"})
    return b.emit(eq_p, b.emit(gather_p, last, *indices, **_indexing(params)), ids)  # type: ignore[arg-type]


def _scatter_transpose(
    b: Builder,
    cotangents: Atoms,
    ins: Sequence[Atom],
    linear: Sequence[bool],
    params: Params,
) -> Atoms:
    (ct,) = cotangents
    assert ct is not None
    x, updates, *indices = ins
    ct_x: Atom | None = ct if linear[0] else None
    ct_updates: Atom | None = None
    if params["op"] == "set" and linear[0]:
        zeros = full_like(b, 0, updates.aval)
        ct_x = b.emit(scatter_p, ct, zeros, *indices, **params)
    if linear[1]:
        ct_updates = b.emit(gather_p, ct, *indices, **_indexing(params))  # type: ignore[arg-type]
        if params["op"] == "set":
            won = _winners(b, x, updates, indices, params)
            ct_updates = b.emit(select_p, won, ct_updates, zero(b, ct_updates))
    return (ct_x, ct_updates, *[None] * len(indices))


def _scatter_jvp(
    b: Builder,
    tangents: Atoms,
    outs: Sequence[Atom],
    ins: Sequence[Atom],
    params: Params,
) -> Atoms:
    """`set` and `add` are linear; `mul` takes the products of the other factors.

    `max` and `min` split ties evenly.
    """
    x, updates, *indices = ins
    tx = tangents[0] if tangents[0] is not None else full_like(b, 0, x.aval)
    tu = tangents[1] if tangents[1] is not None else full_like(b, 0, updates.aval)
    op = params["op"]
    if op in ("set", "add"):
        return (b.emit(scatter_p, tx, tu, *indices, **params),)
    if op == "mul":
        return (_product_tangent(b, tx, tu, ins, params),)
    hit_x = b.emit(eq_p, x, outs[0])
    won = b.emit(gather_p, outs[0], *indices, **_indexing(params))  # type: ignore[arg-type]
    hit_u = b.emit(eq_p, updates, won)
    add = {**params, "op": "add"}
    one = b.literal(1, x.aval.dtype)
    ones_x = b.emit(select_p, hit_x, one, zero(b, x))
    ones_u = b.emit(select_p, hit_u, one, zero(b, x))
    count = b.emit(scatter_p, ones_x, ones_u, *indices, **add)
    tx = b.emit(select_p, hit_x, tx, zero(b, tx))
    tu = b.emit(select_p, hit_u, tu, zero(b, tu))
    total = b.emit(scatter_p, tx, tu, *indices, **add)
    return (b.emit(mul_p, total, b.emit(div_p, one, count)),)


def _product_tangent(
    b: Builder, tx: Atom, tu: Atom, ins: Sequence[Atom], params: Params
) -> Atom:
    """Σ over the factors at a place of tangent · product of the others there."""
    x, updates, *indices = ins
    if not updates.aval.size:
        return tx
    for_x = b.emit(scatter_p, full_like(b, 1, x.aval), updates, *indices, **params)
    for_u = _other_factors(b, x, updates, indices, params)
    return b.emit(
        scatter_p,
        b.emit(mul_p, tx, for_x),
        b.emit(mul_p, tu, for_u),
        *indices,
        **{**params, "op": "add"},
    )


def _other_factors(
    b: Builder, x: Atom, updates: Atom, indices: Sequence[Atom], params: Params
) -> Atom:
    """Return per update the product of all else that meets at its place."""
    count, shape = updates.aval.size, x.aval.shape
    numbers = b.emit(iota_p, shape=(x.aval.size,), axis=0, dtype=dt.INT64)
    where = _indexing(params)
    places = b.emit(gather_p, reshape(b, numbers, shape), *indices, **where)  # type: ignore[arg-type]
    places = reshape(b, places, (count,))
    order = b.emit(REGISTRY["argsort"], places, axis=0)
    row: dict[str, Param] = {"axes": (0,), "batch": 0, "mode": "clip"}
    values, segments = (
        b.emit(gather_p, v, order, **row)
        for v in (reshape(b, updates, (count,)), places)
    )
    others = products_of_others(b, values, segments)
    back = b.emit(REGISTRY["argsort"], order, axis=0)
    others = reshape(b, b.emit(gather_p, others, back, **row), updates.aval.shape)
    here = b.emit(gather_p, x, *indices, **where)  # type: ignore[arg-type]
    return b.emit(mul_p, others, here)


scatter_p: Primitive = register(
    Primitive(
        "scatter",
        _scatter_eval,
        _scatter,
        params={
            "axes": ParamKind.INTS,
            "batch": ParamKind.INT,
            "mode": ParamKind.STR,
            "op": ParamKind.STR,
        },
        jvp=_scatter_jvp,
        transpose=_scatter_transpose,
        batch=BatchParams(lambda p, n: _batched_axes(p)),
        effects=_check_effect,
        flops=lambda i, o, p: float(i[1].size) if p["op"] != "set" else 0.0,
    )
)
