"""`dot_general`: every product summed over axes, with batch axes."""

from collections.abc import Sequence

import numpy as np

from ...errors import DTypeError, ShapeError
from .. import dtypes as dt
from ..aval import Shape, ShapedArray
from ..builder import Builder
from ..graph import Atom
from ..primitive import Array, Avals, Linearity, ParamKind, Params, Primitive, register
from .elementwise import check_dtype, mul_p
from .shape import (
    broadcast_in_dim_p,
    inverse_permutation,
    move_axis,
    transpose_p,
)

Pair = tuple[Shape, Shape]
Atoms = Sequence[Atom | None]


def free_axes(ndim: int, contract: Shape, batch: Shape) -> Shape:
    """Return the axes that are neither contracted nor batched."""
    return tuple(d for d in range(ndim) if d not in contract and d not in batch)


def _dot_eval(
    x: ShapedArray, y: ShapedArray, contract: Pair, batch: Pair
) -> ShapedArray:
    if x.dtype != y.dtype:
        raise DTypeError(f"dot_general takes operands of one dtype, not {x}, {y}")
    check_dtype("dot_general", x, dt.NUMERIC)
    for left, right in (contract, batch):
        mine = [x.shape[a] for a in left]
        theirs = [y.shape[a] for a in right]
        if mine != theirs:
            raise ShapeError(
                f"dot_general of {x} and {y}: extents {mine} of axes {list(left)} and "
                f"{theirs} of axes {list(right)} differ"
            )
    shape = [x.shape[a] for a in batch[0]]
    shape += [x.shape[a] for a in free_axes(x.ndim, contract[0], batch[0])]
    shape += [y.shape[a] for a in free_axes(y.ndim, contract[1], batch[1])]
    return x.with_shape(tuple(shape))


def _dot(x: Array, y: Array, contract: Pair, batch: Pair) -> Array:
    """Bring both to (batch, free, contracted) and multiply as matrices.

    Where nothing is summed, elements are multiplied: ``0 * -1`` is -0 then.
    """
    fx = free_axes(np.ndim(x), contract[0], batch[0])
    fy = free_axes(np.ndim(y), contract[1], batch[1])
    xt = np.transpose(x, (*batch[0], *fx, *contract[0]))
    yt = np.transpose(y, (*batch[1], *contract[1], *fy))
    nb, nx, ny = len(batch[0]), len(fx), len(fy)
    bshape, m, n = xt.shape[:nb], xt.shape[nb : nb + nx], yt.shape[yt.ndim - ny :]
    if not contract[0]:
        ahead = np.reshape(xt, (*bshape, *m, *[1] * ny))
        return np.asarray(ahead * np.reshape(yt, (*bshape, *[1] * nx, *n)))
    k = int(np.prod(xt.shape[nb + nx :]))
    rows, cols = int(np.prod(m)), int(np.prod(n))
    out = np.matmul(xt.reshape((*bshape, rows, k)), yt.reshape((*bshape, k, cols)))
    return np.asarray(out).reshape((*bshape, *m, *n))


def axes_of_product(params: Params) -> tuple[Pair, Pair]:
    """Return the summed and the shared axes of both operands of a product."""
    contract: Pair = params["contract"]  # type: ignore[assignment]
    batch: Pair = params["batch"]  # type: ignore[assignment]
    return contract, batch


def _dot_transpose(
    b: Builder,
    cotangents: Atoms,
    ins: Sequence[Atom],
    linear: Sequence[bool],
    params: Params,
) -> Atoms:
    (ct,) = cotangents
    assert ct is not None
    contract, batch = axes_of_product(params)
    x, y = ins
    if linear[0]:
        return _operand_cotangent(b, ct, x, y, contract, batch, False), None
    swapped = (contract[1], contract[0]), (batch[1], batch[0])
    return None, _operand_cotangent(b, ct, y, x, *swapped, True)


def _operand_cotangent(
    b: Builder,
    ct: Atom,
    x: Atom,
    y: Atom,
    contract: Pair,
    batch: Pair,
    x_is_right: bool,
) -> Atom:
    """Contract `ct` with `y` over y's free axes and put the axes in x's order."""
    fx = free_axes(x.aval.ndim, contract[0], batch[0])
    fy = free_axes(y.aval.ndim, contract[1], batch[1])
    nb = len(batch[0])
    y_at = nb if x_is_right else nb + len(fx)
    ct_y = tuple(range(y_at, y_at + len(fy)))
    shared = tuple(range(nb))
    # The axes of the product: batch, x's free, then y's contracted in increasing order;
    # or with its operands swapped the last two the other way round.
    order = sorted(range(len(contract[1])), key=lambda i: contract[1][i])
    summed = tuple(contract[0][i] for i in order)
    if (*batch[0], *summed, *fx) == tuple(range(x.aval.ndim)):
        return product(b, y, ct, (fy, ct_y), (batch[1], shared))
    dot = product(b, ct, y, (ct_y, fy), (shared, batch[1]))
    perm = inverse_permutation((*batch[0], *fx, *summed))
    is_plain = perm == tuple(range(len(perm)))
    return dot if is_plain else b.emit(transpose_p, dot, perm=perm)


def _dot_batch(
    b: Builder,
    primitive: Primitive,
    ins: Sequence[Atom],
    batched: Sequence[bool],
    params: Params,
) -> Sequence[Atom]:
    """One product: a batch of both is a batch axis, of one of them a free axis."""
    contract, batch = axes_of_product(params)
    x, y = ins
    sides = [_shift(axes, has) for axes, has in zip(batch, batched, strict=True)]
    summed = [_shift(axes, has) for axes, has in zip(contract, batched, strict=True)]
    if all(batched):
        sides = [(0, *axes) for axes in sides]
    elif batched[1] and not free_axes(y.aval.ndim - 1, contract[1], batch[1]):
        x, y, sides, summed = y, x, sides[::-1], summed[::-1]
        batched = batched[::-1]
    out = product(b, x, y, (summed[0], summed[1]), (sides[0], sides[1]))
    if all(batched):
        return (out,)
    at = len(sides[0])
    if batched[1]:
        at += len(free_axes(x.aval.ndim, summed[0], sides[0]))
    return (move_axis(b, out, at, 0),)


def _shift(axes: Shape, by: bool) -> Shape:
    return tuple(d + by for d in axes)


def product(b: Builder, x: Atom, y: Atom, contract: Pair, batch: Pair) -> Atom:
    """Emit ``dot_general``, or where nothing is summed the elementwise product."""
    if contract[0]:
        return b.emit(dot_general_p, x, y, contract=contract, batch=batch)
    free = [free_axes(v.aval.ndim, (), s) for v, s in ((x, batch[0]), (y, batch[1]))]
    n, rows = len(batch[0]), len(free[0])
    shape = tuple(x.aval.shape[d] for d in (*batch[0], *free[0]))
    shape += tuple(y.aval.shape[d] for d in free[1])
    lead, ahead = tuple(range(n)), tuple(range(n, n + rows))
    behind = tuple(range(n + rows, len(shape)))
    left = _placed(b, x, (*batch[0], *free[0]), (*lead, *ahead), shape)
    right = _placed(b, y, (*batch[1], *free[1]), (*lead, *behind), shape)
    return b.emit(mul_p, left, right)


def _placed(b: Builder, x: Atom, order: Shape, dims: Shape, shape: Shape) -> Atom:
    """Put the axes of `x`, taken in `order`, at `dims` of `shape`."""
    if order != tuple(range(len(order))):
        x = b.emit(transpose_p, x, perm=order)
    if not order or dims == tuple(range(len(shape))):
        return x
    return b.emit(broadcast_in_dim_p, x, shape=shape, dims=dims)


def _dot_flops(ins: Avals, outs: Avals, params: Params) -> float:
    contract, _ = axes_of_product(params)
    k = np.prod([ins[0].shape[a] for a in contract[0]])
    return 2.0 * float(outs[0].size) * float(k)


dot_general_p: Primitive = register(
    Primitive(
        "dot_general",
        _dot_eval,
        _dot,
        params={"contract": ParamKind.PAIRS, "batch": ParamKind.PAIRS},
        transpose=_dot_transpose,
        batch=_dot_batch,
        linearity=Linearity.MULTI,
        flops=_dot_flops,
    )
)
