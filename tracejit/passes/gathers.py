"""What is taken along an inner axis is taken row by row, and not transposed after.

A gather has the axes of its indices first. NumPy leaves them where the axis was that
they index: ``x[:, i]`` is a gather and a transpose.

    %0: f32[90,20] = gather %x, %i {axes=(1,), batch=0, mode="raise"}
    %1: f32[20,90] = transpose %0 {perm=(1, 0)}
    ---
    %0: i64[20,90] = broadcast_in_dim %i {shape=(20, 90), dims=(1,)}
    %1: f32[20,90] = gather %x, %0 {axes=(1,), batch=1, mode="raise"}

All axes before those that are indexed become batch axes: the indices, which are a view,
are read again for each row, and rows as they lie in memory. A gather that is read
otherwise too stays.
"""

from collections import Counter

from ..ir.builder import Builder
from ..ir.graph import Atom, Eqn, Graph
from ..ir.ops.indexing import gather_p
from ..ir.ops.shape import broadcast_in_dim_p, ints, transpose_p
from .manager import PassContext, on_all_graphs


def gather_by_rows(graph: Graph, context: PassContext) -> Graph:
    """Rewrite gathers that are transposed so, in sub-graphs too."""
    return on_all_graphs(graph, lambda g: _rewritten(g, context))


def _rewritten(graph: Graph, context: PassContext) -> Graph:
    turned = _turned_gathers(graph)
    if not turned or not context.may_fire("gather_by_rows"):
        return graph
    context.stats.fired["gather_by_rows"] += len(turned)
    views = set(turned.values())
    b = Builder(graph.name)

    def emit(eqn: Eqn, ins: list[Atom]) -> tuple[Atom, ...]:
        if eqn in views:
            return tuple(ins)
        if eqn in turned:
            return (_by_rows(b, eqn, ins),)
        return b.emit_all(eqn.primitive, ins, eqn.params)

    return b.build(b.replay(graph, b.inputs_of(graph), emit))


def _turned_gathers(graph: Graph) -> dict[Eqn, Eqn]:
    """Return gathers with the transpose that is all that reads them."""
    uses = Counter(x for e in graph.eqns for x in e.invars) + Counter(graph.outvars)
    gathers = {
        e.outvars[0]: e
        for e in graph.eqns
        if e.primitive is gather_p and uses[e.outvars[0]] == 1
    }
    found = {}
    for eqn in graph.eqns:
        if eqn.primitive is not transpose_p or eqn.invars[0] not in gathers:
            continue
        gather = gathers[eqn.invars[0]]
        if _restores_order(gather, ints(eqn.params, "perm")):
            found[gather] = eqn
    return found


def _outer(gather: Eqn) -> tuple[int, int]:
    """Return how many axes are batch, and how many more are before the indexed ones."""
    batch = gather.params["batch"]
    assert isinstance(batch, int)
    return batch, min(ints(gather.params, "axes")) - batch


def _restores_order(gather: Eqn, perm: tuple[int, ...]) -> bool:
    """Tell whether a transpose moves the axes before the indexed ones to the front."""
    (batch, front), ndim = _outer(gather), gather.invars[1].aval.ndim
    moved = (*range(batch), *range(ndim, ndim + front), *range(batch, ndim))
    return front > 0 and perm == (*moved, *range(ndim + front, len(perm)))


def _by_rows(b: Builder, gather: Eqn, ins: list[Atom]) -> Atom:
    x, *indices = ins
    batch, front = _outer(gather)
    lead = x.aval.shape[: batch + front]
    shape = (*lead, *indices[0].aval.shape[batch:])
    dims = (*range(batch), *range(len(lead), len(shape)))
    spread = [b.emit(broadcast_in_dim_p, i, shape=shape, dims=dims) for i in indices]
    params = {**gather.params, "batch": len(lead)}
    return b.emit(gather_p, x, *spread, **params)
