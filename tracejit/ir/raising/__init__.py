"""Raising: patterns of equations become composites that say what they compute.

Needs a simplified, value-numbered graph (as traced, or after canonicalize and cse).
Establishes composite equations (see `ir.ops.composite`) that transforms differentiate
by rules of their own; expanding them gives back the same equations.

Before → after::

    %0: f32[2] = reduce_max %x {axes=(1)}
    %1: f32[2,3] = broadcast_in_dim %0 {shape=(2, 3), dims=(0)}
    %2: f32[2,3] = sub %x, %1
    %3: f32[2,3] = exp %2
    %4: f32[2] = reduce_sum %3 {axes=(1)}
    %5: f32[2,3] = broadcast_in_dim %4 {shape=(2, 3), dims=(0)}
    %6: f32[2,3] = div %3, %5
    ---
    %6: f32[2,3] = composite %x {name="softmax", axes=(1), ...}
"""

from collections.abc import Iterable

from ..builder import Builder
from ..graph import Atom, Graph, Var
from ..liveness import live_equations
from ..ops.composite import composite_p, expansion
from ..ops.indexing import gather_p
from ..ops.reduce import reduce_max_p, reduce_sum_p
from ..rewrite import RuleSet, RuleStats
from . import attention, moments, norms, picks, softmax

# What is found first is part of what is found later: sums before norms, softmax before
# attention. Of the recipes for one root the more particular comes first.
RAISE_RULES = RuleSet(
    recipe.rule()
    for module in (softmax, moments, norms, attention, picks)
    for recipe in module.RECIPES
)
# A graph without any of these holds no pattern.
ANCHORS = frozenset((reduce_sum_p, reduce_max_p, gather_p, composite_p))


def raise_graph(
    graph: Graph, stats: RuleStats | None = None, disabled: Iterable[str] = ()
) -> Graph:
    """Wrap the patterns found in one graph, sub-graphs left alone.

    Parameters
    ----------
    graph : Graph
    stats : RuleStats, optional
        Counts what was found.
    disabled : iterable of str
        Rules not to apply.

    Returns
    -------
    Graph
        The same object when nothing was found.
    """
    if not any(e.primitive in ANCHORS for e in graph.eqns):
        return graph
    stats = stats if stats is not None else RuleStats()
    before = stats.total
    b = Builder(graph.name, RAISE_RULES.without(*disabled), stats=stats)
    env: dict[Var, Atom] = {}
    for var in graph.invars:
        env[var] = b.input(var.aval, var.name)
    _replay(b, graph, env)
    if stats.total == before:
        return graph
    outs = [env[x] if isinstance(x, Var) else x for x in graph.outvars]
    return Graph(graph.name, b.invars, outs, live_equations(b.eqns, outs))


def _replay(b: Builder, graph: Graph, env: dict[Var, Atom]) -> None:
    for eqn in graph.eqns:
        b.source = eqn.source
        ins = [env[x] if isinstance(x, Var) else x for x in eqn.invars]
        outs = b.emit_all(eqn.primitive, ins, eqn.params)
        for var, out in zip(eqn.outvars, outs, strict=True):
            env[var] = out
            if isinstance(out, Var) and not out.name:
                out.name = var.name


def expand_graph(graph: Graph) -> Graph:
    """Put the expansions of all composites in their place, nested ones too.

    Returns
    -------
    Graph
        The same object when there are none. Graphs held by other equations are left
        alone.
    """
    while any(e.primitive is composite_p for e in graph.eqns):
        graph = _expand_once(graph)
    return graph


def _expand_once(graph: Graph) -> Graph:
    b = Builder(graph.name)
    env: dict[Var, Atom] = {v: b.input(v.aval, v.name) for v in graph.invars}
    for eqn in graph.eqns:
        b.source = eqn.source
        ins = [env[x] if isinstance(x, Var) else x for x in eqn.invars]
        if eqn.primitive is composite_p:
            outs = b.inline(expansion(eqn.params), ins)
        else:
            outs = b.emit_all(eqn.primitive, ins, eqn.params)
        env.update(zip(eqn.outvars, outs, strict=True))
    return b.build([env[x] if isinstance(x, Var) else x for x in graph.outvars])
