"""The passes `reroll` and `reroll-exact`: unrolled Python loops are loops again.

What they look for is in `ir.rerolling`. The first one comes before all others, so that
these see one turn of a long loop; it leaves alone what would be rounded otherwise then.
The second one comes when rounding is fixed, and also finds shorter loops whose elements
evolve by themselves: they are one kernel, whose code does not grow with the turns.

Before → after::

    %0: f32[4] = sin %x
    %1: f32[4] = sin %0
    ...
    ---
    %9: f32[4] = scan %x {body=graph @turn(...) { ... }, length=9, ...}
"""

from ..ir.graph import Graph
from ..ir.rerolling import Worth, reroll
from .manager import PassContext

LONG = Worth(elementwise=1000, others=1000, is_contracted=False)
EXACT = Worth()


def reroll_long(graph: Graph, context: PassContext) -> Graph:
    """Return the graph with long loops as such, not those in sub-graphs."""
    return _rerolled(graph, LONG, context)


def reroll_exact(graph: Graph, context: PassContext) -> Graph:
    """Return the graph with loops as such, once products are contracted."""
    return _rerolled(graph, EXACT, context)


def _rerolled(graph: Graph, worth: Worth, context: PassContext) -> Graph:
    if not context.may_fire("reroll"):
        return graph
    made, found = reroll(graph, worth)
    context.stats.fired["reroll"] += len(found)
    context.notes.extend(map(str, found))
    return made
