"""Passes that replay a graph through a builder: canonicalize, cse, dce.

%0 = mul %x, 1.0          (canonicalize)    dropped
%1 = exp %x ; %2 = exp %x (cse)             one exp
%3 = sin %x, unused       (dce)             dropped
"""

from collections.abc import Callable

from ..ir.builder import Builder
from ..ir.graph import Eqn, Graph, Var, subgraphs
from ..ir.primitive import Param
from ..ir.rewrite import NO_RULES, RuleSet
from ..ir.simplify import LOWERING_RULES
from .manager import PassContext

MAX_ROUNDS = 8


def canonicalize(graph: Graph, context: PassContext) -> Graph:
    """Apply the exact local rules until none fires."""
    rules = LOWERING_RULES.without(*context.disabled_rules)
    for _ in range(MAX_ROUNDS):
        after = _replay(graph, rules, False, context)
        if after is graph:
            break
        graph = after
    return dce(graph, context)


def cse(graph: Graph, context: PassContext) -> Graph:
    """Give equal pure equations one result."""
    return _replay(graph, NO_RULES, True, context)


def _replay(
    graph: Graph, rules: RuleSet, value_number: bool, context: PassContext
) -> Graph:
    """Insert every equation anew; the same graph when no rule fired."""
    graph = map_subgraphs(graph, lambda g: _replay(g, rules, value_number, context))
    before = context.stats.total
    b = Builder(graph.name, rules, value_number, context.stats)
    ins = [b.input(v.aval, v.name) for v in graph.invars]
    outs = b.inline(graph, ins)
    return b.build(outs) if context.stats.total != before else graph


def dce(graph: Graph, context: PassContext) -> Graph:
    """Drop equations without effects whose results nothing uses."""
    graph = map_subgraphs(graph, lambda g: dce(g, context))
    live = {x for x in graph.outvars if isinstance(x, Var)}
    kept: list[Eqn] = []
    for eqn in reversed(graph.eqns):
        if eqn.effects or any(v in live for v in eqn.outvars):
            live.update(x for x in eqn.invars if isinstance(x, Var))
            kept.append(eqn)
    if len(kept) == len(graph.eqns):
        return graph
    return Graph(graph.name, graph.invars, graph.outvars, kept[::-1])


def map_subgraphs(graph: Graph, change: Callable[[Graph], Graph]) -> Graph:
    """Return `graph` with `change` applied to the graphs in its params."""
    eqns = [_map_eqn(e, change) for e in graph.eqns]
    if all(a is b for a, b in zip(eqns, graph.eqns, strict=True)):
        return graph
    return Graph(graph.name, graph.invars, graph.outvars, eqns)


def _map_eqn(eqn: Eqn, change: Callable[[Graph], Graph]) -> Eqn:
    inner = list(subgraphs(eqn.params))
    if not inner:
        return eqn
    changed = {g: change(g) for g in inner}
    if all(changed[g] is g for g in inner):
        return eqn
    params: dict[str, Param] = {
        k: changed.get(v, v) if isinstance(v, Graph) else v
        for k, v in eqn.params.items()
    }
    return Eqn(eqn.primitive, eqn.invars, params, eqn.outvars, eqn.source)
