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

from dataclasses import replace

from ..ir.graph import Graph
from ..ir.rerolling import Worth, reroll
from .manager import PassContext, PassFn

LONG = Worth(elementwise=1000, others=1000, is_contracted=False)
EXACT = Worth()


def rerolling(worth: Worth, least: int | None = None) -> PassFn:
    """Return the pass that finds loops worth so many equations, or `least`."""
    if least is not None:
        worth = replace(worth, elementwise=least, others=least)

    def reroll_loops(graph: Graph, context: PassContext) -> Graph:
        if not context.may_fire("reroll"):
            return graph
        made, found = reroll(graph, worth, context.stats.left)
        context.stats.fired["reroll"] += len(found)
        context.notes += found
        return made

    return reroll_loops
