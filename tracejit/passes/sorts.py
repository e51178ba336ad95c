"""What is sorted and ordered is ordered once, and then taken in that order.

A derivative of a sort takes tangents in the order of its operand, so both are wanted:

    %1 = sort %x {axis=0}
    %2 = argsort %x {axis=0}
    ---
    %2 = argsort %x {axis=0}
    %1 = gather %x, %2 {axes=(0,), batch=0, mode="clip"}

Orders are stable, and so are sorts, so that both have the same bits. Needs equal
operands to be one.
"""

from ..ir.builder import Builder
from ..ir.graph import Atom, Eqn, Graph
from ..ir.ops.sort import argsort_p, sort_p, take_along
from .manager import PassContext, on_all_graphs

Key = tuple[Atom, int]  # what is ordered, and along which axis


def sort_once(graph: Graph, context: PassContext) -> Graph:
    """Rewrite sorts of what is ordered too, in sub-graphs as well."""
    return on_all_graphs(graph, lambda g: _rewritten(g, context))


def _key(eqn: Eqn) -> Key:
    axis = eqn.params["axis"]
    assert isinstance(axis, int)
    return eqn.invars[0], axis


def _rewritten(graph: Graph, context: PassContext) -> Graph:
    orders = {_key(e) for e in graph.eqns if e.primitive is argsort_p}
    sorts = {e for e in graph.eqns if e.primitive is sort_p and _key(e) in orders}
    if not sorts or not context.may_fire("sort_once"):
        return graph
    b = Builder(graph.name)
    written: dict[Key, Atom] = {}

    def emit(eqn: Eqn, ins: list[Atom]) -> tuple[Atom, ...]:
        is_wanted = eqn in sorts and context.may_fire("sort_once")
        if not is_wanted and (eqn.primitive is not argsort_p):
            return b.emit_all(eqn.primitive, ins, eqn.params)
        key = _key(eqn)
        if key not in written:
            written[key] = b.emit(argsort_p, ins[0], axis=key[1])
        if not is_wanted:
            return (written[key],)
        context.stats.fired["sort_once"] += 1
        return (take_along(b, ins[0], written[key], key[1]),)

    return b.build(b.replay(graph, b.inputs_of(graph), emit))
