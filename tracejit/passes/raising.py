"""The passes `raise` and `expand`: composites in, composites out.

`raise` wraps patterns (softmax, norms, attention, ...) in `composite` equations, as
transforms do with what they differentiate; what it looks for is in `ir.raising`.
`expand` puts their expansions back, so that what follows sees primitives only: the two
together change nothing but names and dead code.
Derivatives are taken by then, so that custom functions and checkpoints go as well.

Before → after, for raise::

    %0: f32[4] = reduce_sum %x {axes=(1)}
    %1: f32[4] = div %0, 3.0
    ---
    %0: f32[4] = composite %x {name="mean", axes=(1), attributes=(), graph=...}
"""

from ..ir.expansion import NO_MEANINGS, Meanings, expand_graph
from ..ir.graph import Graph
from ..ir.ops.composite import composite_p
from .manager import PassContext, PassFn, on_all_graphs, with_subgraphs


def raise_composites(graph: Graph, context: PassContext) -> Graph:
    """Wrap the patterns found, in sub-graphs too but not in expansions."""
    from ..ir.raising import raise_graph  # noqa: PLC0415  # the command line alone

    done: dict[Graph, Graph] = {}

    def visit(inner: Graph) -> Graph:
        if inner not in done:
            eqns = tuple(
                e if e.primitive is composite_p else with_subgraphs(e, visit)
                for e in inner.eqns
            )
            if any(a is not b for a, b in zip(eqns, inner.eqns, strict=True)):
                inner = Graph(inner.name, inner.invars, inner.outvars, eqns)
            done[inner] = raise_graph(inner, context.stats, context.disabled_rules)
        return done[inner]

    return visit(graph)


def expand_but(kept: frozenset[str], more: Meanings = NO_MEANINGS) -> PassFn:
    """Return the pass that inlines what means a graph; see `expand_graph`."""

    def expand_all(graph: Graph, context: PassContext) -> Graph:
        def expand(inner: Graph) -> Graph:
            if not context.may_fire("expand_composite"):
                return inner
            return expand_graph(inner, kept, more, may_expand)

        def may_expand() -> bool:
            if not context.may_fire("expand_composite"):
                return False
            context.stats.fired["expand_composite"] += 1
            return True

        return on_all_graphs(graph, expand)

    return expand_all


def expand_composites(graph: Graph, context: PassContext) -> Graph:
    """Inline what means a graph, and custom functions, in sub-graphs too."""
    return expand_but(frozenset())(graph, context)
