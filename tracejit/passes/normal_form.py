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

Parts of complex numbers that are views or numbers pass through `stop_gradient`, so that
one kernel can write both:

    %1: c64[8] = complex %re, %0
    ---
    %1: f32[8] = stop_gradient %re
    %2: c64[8] = complex %1, %0
"""

from collections.abc import Mapping, Sequence

from ..ir.aval import Shape
from ..ir.builder import Builder
from ..ir.graph import Atom, Eqn, Graph, Var
from ..ir.ops.control import inlined_graph
from ..ir.ops.elementwise import complex_p, imag_p, real_p, stop_gradient_p
from ..ir.ops.reduce import sum_products_p
from ..ir.ops.shape import broadcast_to, ints, reduce_sum_p
from ..ir.primitive import Kind
from ..kernels.views import VIEWS


def normal_form(graph: Graph) -> Graph:
    """Return the graph in normal form; the same object if it is already."""
    made = {v: e for e in graph.eqns for v in e.outvars}
    changes = (inlined_graph(e) or _parts(e) or _moved(e, made) for e in graph.eqns)
    if not any(changes):
        return graph
    b = Builder(graph.name)
    args = b.inputs_of(graph)
    return b.build(b.replay(graph, args, lambda eqn, ins: _emitted(b, eqn, ins, made)))


def _emitted(
    b: Builder, eqn: Eqn, ins: Sequence[Atom], made: Mapping[Var, Eqn]
) -> tuple[Atom, ...]:
    inner = inlined_graph(eqn)
    if inner is not None:
        return b.inline(normal_form(inner), ins)
    ins = list(ins)
    for k in _moved(eqn, made):
        full = broadcast_to(b, ins[k], eqn.outvars[0].aval.shape)
        ins[k] = b.emit(stop_gradient_p, full)
    parts = _parts(eqn)
    if not parts:
        return b.emit_all(eqn.primitive, ins, eqn.params)
    *others, innermost = parts
    x = b.emit(eqn.primitive, *ins, axes=innermost)
    then = reduce_sum_p if eqn.primitive is sum_products_p else eqn.primitive
    for axes in reversed(others):
        x = b.emit(then, x, axes=axes)
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


def _moved(eqn: Eqn, made: Mapping[Var, Eqn]) -> list[int]:
    """Return which parts of complex numbers no equation computes."""
    if eqn.primitive is not complex_p or not eqn.outvars[0].aval.shape:
        return []
    return [k for k, x in enumerate(eqn.invars) if _is_view(x, made)]


def _is_view(x: Atom, made: Mapping[Var, Eqn]) -> bool:
    """Tell whether a value is what others lie in, a view of it, or a number."""
    if not isinstance(x, Var) or x not in made:
        return True
    return made[x].primitive in (real_p, imag_p, *VIEWS)
