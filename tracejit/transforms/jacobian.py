"""Jacobians: a linear graph applied to all directions at once.

`jacobian_graph` feeds the unit vectors of the linear inputs, as one batch, to a graph
that is linear in them. Of the tangent graph of a function that gives the columns of its
Jacobian, of the pullback graph the rows.

Before → after, for ``graph @f(%y: f64[2], %dx: f64[2]) -> (mul %dx, %y)``, linear in
its last input::

    graph @f_jacobian(%y: f64[2]) -> (f64[2,2]) {
      ...
      %d: f64[2,2] = select %is_diagonal, 1.0, 0.0
      %0: f64[2,2] = broadcast_in_dim %y {shape=(2, 2), dims=(1)}
      %1: f64[2,2] = mul %d, %0
      return %1
    }
"""

from collections.abc import Sequence

from ..ir import dtypes as dt
from ..ir.aval import ShapedArray
from ..ir.builder import Builder
from ..ir.graph import Atom, Graph
from ..ir.ops.elementwise import eq_p, select_p, sub_p
from ..ir.ops.shape import (
    broadcast_to,
    full_like,
    iota_p,
    reshape,
    slice_p,
    spread,
    transpose_p,
)
from .linearize import new_builder
from .vmap import batch_graph


def jacobian_graph(graph: Graph, n_residuals: int, directions_last: bool) -> Graph:
    """Return the graph of all blocks of the matrix of a linear graph.

    Parameters
    ----------
    graph : Graph
        Linear in its inputs after `n_residuals`.
    n_residuals : int
    directions_last : bool
        Whether the axes of a block that run over directions are its last ones.

    Returns
    -------
    Graph
        Residuals to one block per output and linear input, those of one output
        together. A block has the axes of both.
    """
    b = new_builder(f"{graph.name}_jacobian")
    residuals: list[Atom] = [
        b.input(v.aval, v.name) for v in graph.invars[:n_residuals]
    ]
    avals = graph.in_avals[n_residuals:]
    sizes = [a.size for a in avals]
    unit = _unit_vectors(b, avals)
    outs = _over_directions(b, graph, residuals, unit, sum(sizes))
    starts = [sum(sizes[:i]) for i in range(len(sizes))]
    return b.build(
        [
            _block(b, out, start, aval, directions_last)
            for out in outs
            for start, aval in zip(starts, avals, strict=True)
        ]
    )


def _unit_vectors(b: Builder, avals: Sequence[ShapedArray]) -> list[Atom]:
    """Return per linear input its part of all unit vectors, along a first axis."""
    total = sum(a.size for a in avals)
    out = []
    start = 0
    for aval in avals:
        shape = (total, aval.size)
        rows, cols = (
            b.emit(iota_p, shape=shape, axis=d, dtype=dt.INT64) for d in (0, 1)
        )
        hit = b.emit(eq_p, b.emit(sub_p, rows, start), cols)
        one, zero = (b.literal(v, aval.dtype) for v in (1, 0))
        ones = broadcast_to(b, b.emit(select_p, hit, one, zero), shape)
        out.append(reshape(b, ones, (total, *aval.shape)))
        start += aval.size
    return out


def _over_directions(
    b: Builder,
    graph: Graph,
    residuals: Sequence[Atom],
    directions: Sequence[Atom],
    count: int,
) -> list[Atom]:
    """Apply `graph` to each of `count` directions; results are stacked first."""
    n = len(residuals)
    if not count:
        return [full_like(b, 0, a.with_shape((0, *a.shape))) for a in graph.out_avals]
    mask = (*[False] * n, *[True] * len(directions))
    batched = batch_graph(graph, mask, count)
    outs = b.inline(batched.graph, [*residuals, *directions])
    return [
        out if has else spread(b, out, count)
        for out, has in zip(outs, batched.outs, strict=True)
    ]


def _rows(b: Builder, x: Atom, start: int, stop: int) -> Atom:
    rest = x.aval.shape[1:]
    return b.emit(
        slice_p,
        x,
        start=(start, *[0] * len(rest)),
        stop=(stop, *rest),
        stride=(1,) * (len(rest) + 1),
    )


def _block(b: Builder, out: Atom, start: int, aval: ShapedArray, last: bool) -> Atom:
    """Cut one linear input's directions out of `out` and give them their axes."""
    rest = out.aval.shape[1:]
    rows = _rows(b, out, start, start + aval.size)
    if not last:
        return reshape(b, rows, (*aval.shape, *rest))
    if rest:
        rows = b.emit(transpose_p, rows, perm=(*range(1, len(rest) + 1), 0))
    return reshape(b, rows, (*rest, *aval.shape))
