"""The form of a graph that fusion starts from: no calls, reductions of neighbours.

Calls and composites are replaced by the equations of their graphs, so that kernels may
cross them. A reduction over axes with others between them becomes several, innermost
first:

    %0: f32[5] = reduce_sum %x {axes=(0, 2, 3)}
    ---
    %0: f32[4,5] = reduce_sum %x {axes=(2, 3)}
    %1: f32[5] = reduce_sum %0 {axes=(0)}

Axes of one element do not count. Each of these sums follows the fixed tree of
`tracejit.kernels.tree` over the elements of its own axes, in row-major order.
"""

from collections.abc import Sequence

from ..ir.aval import Shape
from ..ir.builder import Builder
from ..ir.graph import Atom, Eqn, Graph
from ..ir.ops.control import inlined_graph
from ..ir.ops.shape import ints
from ..ir.primitive import Kind


def normal_form(graph: Graph) -> Graph:
    """Return the graph in normal form; the same object if it is already."""
    if not any(inlined_graph(e) or _parts(e) for e in graph.eqns):
        return graph
    b = Builder(graph.name)
    args = b.inputs_of(graph)
    return b.build(b.replay(graph, args, lambda eqn, ins: _emitted(b, eqn, ins)))


def _emitted(b: Builder, eqn: Eqn, ins: Sequence[Atom]) -> tuple[Atom, ...]:
    inner = inlined_graph(eqn)
    if inner is not None:
        return b.inline(normal_form(inner), ins)
    parts = _parts(eqn)
    if not parts:
        return b.emit_all(eqn.primitive, ins, eqn.params)
    (x,) = ins
    for axes in reversed(parts):
        x = b.emit(eqn.primitive, x, axes=axes)
    return (x,)


def _parts(eqn: Eqn) -> list[Shape]:
    """Return the neighbouring axes of a reduction; nothing where all are neighbours."""
    if eqn.primitive.kind is not Kind.REDUCE or "axes" not in eqn.params:
        return []
    shape, axes = eqn.invars[0].aval.shape, sorted(ints(eqn.params, "axes"))
    parts: list[list[int]] = []
    for d in axes:
        near = parts and all(shape[k] == 1 for k in range(parts[-1][-1] + 1, d))
        if near:
            parts[-1].append(d)
        else:
            parts.append([d])
    return [tuple(p) for p in parts] if len(parts) > 1 else []
