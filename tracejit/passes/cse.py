"""Common subexpressions: equal pure equations get one result (value numbering).

Equations are equal when primitive, operands and params are, literals by their bits.
Sub-graphs of equal structure become one object first, so that calls of them can be
equal. What must keep its order is left alone; of equal checks the first stays.

Before → after::

    %0: f32[3] = exp %x
    %1: f32[3] = exp %x
    %2: f32[3] = add %0, %1
    ---
    %0: f32[3] = exp %x
    %1: f32[3] = add %0, %0
"""

from ..ir.graph import Graph
from ..ir.rewrite import NO_RULES
from .manager import PassContext, map_subgraphs, on_all_graphs, replay


def cse(graph: Graph, context: PassContext) -> Graph:
    """Give equal pure equations one result, in sub-graphs too."""
    graph = _share_subgraphs(graph, context)
    if not context.may_fire("value_number"):
        return graph
    return on_all_graphs(graph, lambda g: replay(g, NO_RULES, True, context))


def _share_subgraphs(graph: Graph, context: PassContext) -> Graph:
    first: dict[str, Graph] = {}

    def shared(inner: Graph) -> Graph:
        found = first.get(inner.key)
        if found is None:
            found = first[inner.key] = map_subgraphs(inner, shared)
            return found
        if found is inner or not context.may_fire("share_subgraph"):
            return inner
        context.stats.fired["share_subgraph"] += 1
        return found

    return map_subgraphs(graph, shared)
