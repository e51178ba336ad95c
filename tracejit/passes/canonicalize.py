"""Canonicalisation: apply every exact local rule until none fires.

Before → after::

    %0: f32[3] = mul %x, 1.0
    %1: f32[3] = neg %0
    %2: f32[3] = neg %1
    return %2
    ---
    return %x

Equations that became dead are left to `dce`.
"""

from ..ir.graph import Graph
from ..ir.simplify import LOWERING_RULES
from .manager import PassContext, on_all_graphs, replay

# Rules look backwards only, so one replay nearly always suffices; another confirms it.
MAX_REPLAYS = 8


def canonicalize(graph: Graph, context: PassContext) -> Graph:
    """Apply the exact local rules, sub-graphs included, until none fires."""
    rules = LOWERING_RULES.without(*context.disabled_rules)

    def to_fixed_point(inner: Graph) -> Graph:
        for _ in range(MAX_REPLAYS):
            before = inner
            inner = replay(before, rules, False, context)
            if inner is before:
                break
        return inner

    return on_all_graphs(graph, to_fixed_point)
