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

from collections.abc import Iterable, Sequence

from ..builder import Builder
from ..graph import Atom, Graph, Var
from ..liveness import live_equations
from ..ops.composite import composite_p
from ..ops.custom import expansion_of, is_expanded
from ..ops.indexing import gather_p
from ..ops.reduce import reduce_max_p, reduce_sum_p
from ..rewrite import NO_RULES, RuleSet, RuleStats
from . import attention, moments, norms, picks, softmax

# What is found first is part of what is found later: sums before norms, softmax before
# attention. Of the recipes for one root the more particular comes first.
RAISE_RULES = RuleSet(
    recipe.rule()
    for module in (softmax, moments, norms, attention, picks)
    for recipe in module.RECIPES
)
# Every pattern has one of these, at its root or a few equations before it.
ANCHORS = frozenset((reduce_sum_p, reduce_max_p, gather_p, composite_p))
NEAR = 8


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
    b = Builder(graph.name, stats=stats)
    env: dict[Var, Atom] = {}
    for var in graph.invars:
        env[var] = b.input(var.aval, var.name)
    _replay(b, graph, env, RAISE_RULES.without(*disabled))
    if stats.total == before:
        return graph
    outs = [env[x] if isinstance(x, Var) else x for x in graph.outvars]
    return Graph(graph.name, b.invars, outs, live_equations(b.eqns, outs))


def _replay(b: Builder, graph: Graph, env: dict[Var, Atom], rules: RuleSet) -> None:
    """Emit every equation, with the rules where an anchor is near."""
    distance: dict[Atom, int] = {}
    for eqn in graph.eqns:
        b.source = eqn.source
        ins = [env[x] if isinstance(x, Var) else x for x in eqn.invars]
        steps = 1 + min((distance.get(x, NEAR) for x in ins), default=NEAR)
        is_anchor = eqn.primitive in ANCHORS
        b.rules = rules if is_anchor or steps <= NEAR else NO_RULES
        outs = b.emit_all(eqn.primitive, ins, eqn.params)
        for var, out in zip(eqn.outvars, outs, strict=True):
            env[var] = out
            made = b.definition(out)
            is_anchor |= made is not None and made.primitive in ANCHORS
            if is_anchor or steps < NEAR:
                distance[out] = 0 if is_anchor else steps
            if isinstance(out, Var) and not out.name:
                out.name = var.name


def expand_graph(graph: Graph) -> Graph:
    """Put the graphs of composites and custom functions in their place, inner ones too.

    Returns
    -------
    Graph
        The same object when there are none. Graphs held by other equations are left
        alone.
    """
    if not any(is_expanded(e) for e in graph.eqns):
        return graph
    b = Builder(graph.name)
    ins = [b.input(v.aval, v.name) for v in graph.invars]
    return b.build(_expanded(b, graph, ins))


def _expanded(b: Builder, graph: Graph, ins: Sequence[Atom]) -> list[Atom]:
    """Emit the equations of `graph`, those that mean a graph by that."""
    env: dict[Var, Atom] = dict(zip(graph.invars, ins, strict=True))
    outer = b.source
    for eqn in graph.eqns:
        b.source = eqn.source or outer
        args = [env[x] if isinstance(x, Var) else x for x in eqn.invars]
        outs: Sequence[Atom]
        meaning = expansion_of(eqn)
        if meaning is not None:
            outs = _expanded(b, meaning, args)
        else:
            outs = b.emit_all(eqn.primitive, args, eqn.params)
        for var, out in zip(eqn.outvars, outs, strict=True):
            env[var] = out
            if isinstance(out, Var) and not out.name:
                out.name = var.name
    b.source = outer
    return [env[x] if isinstance(x, Var) else x for x in graph.outvars]
