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

from collections import Counter
from collections.abc import Iterable, Mapping
from operator import is_

from ..builder import Builder
from ..graph import Atom, Eqn, Graph, Var
from ..liveness import live_equations
from ..ops.composite import composite_p
from ..ops.indexing import gather_p
from ..ops.reduce import reduce_max_p, reduce_sum_p
from ..rewrite import NO_RULES, RuleSet, RuleStats
from . import attention, moments, norms, picks, softmax
from .uses import Uses

# What is found first is part of what is found later: sums before norms, softmax before
# attention. Of the recipes for one root the more particular comes first.
RECIPES = tuple(
    recipe
    for module in (softmax, moments, norms, attention, picks)
    for recipe in module.RECIPES
)
RAISE_RULES = RuleSet(recipe.rule() for recipe in RECIPES)
RULES_OF = {
    name: frozenset(r.rule().name for r in RECIPES if r.name == name)
    for name in sorted({r.name for r in RECIPES})
}
SHARES = {recipe.name: recipe.shares for recipe in RECIPES}
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
    rules, uses = RAISE_RULES.without(*disabled), Uses(graph)
    refused: dict[Eqn, frozenset[str]] = {}
    while True:
        attempt = _Attempt(graph, rules, refused, stats)
        open_ones = attempt.not_closed(uses)
        if not open_ones:
            break
        for eqn, names in open_ones.items():
            refused[eqn] = refused.get(eqn, frozenset()) | names
    if not attempt.made:
        return graph
    stats.fired.clear()
    stats.fired.update(attempt.stats.fired)
    return attempt.graph


class _Attempt:
    """The graph raised with some rules left out at some equations.

    What is found is part of what is found later, so only at the end it is known what a
    composite holds, and whether anything else uses it.

    Parameters
    ----------
    graph : Graph
    rules : RuleSet
    refused : mapping of Eqn to frozenset of str
        Rules not to apply at an equation.
    stats : RuleStats
        Not changed.

    Attributes
    ----------
    graph : Graph
    made : dict of Eqn to Eqn
        The composites, by the equations whose place they have.
    """

    def __init__(
        self,
        graph: Graph,
        rules: RuleSet,
        refused: Mapping[Eqn, frozenset[str]],
        stats: RuleStats,
    ) -> None:
        self.rules, self.refused = rules, refused
        self.stats = RuleStats(Counter(stats.fired), stats.limit)
        self.env: dict[Var, Atom] = {}
        self.made: dict[Eqn, Eqn] = {}
        b = Builder(graph.name, stats=self.stats)
        b.invars.extend(graph.invars)
        self.env.update((var, var) for var in graph.invars)
        self._replay(b, graph)
        outs = [self.env[x] if isinstance(x, Var) else x for x in graph.outvars]
        self.graph = Graph(graph.name, b.invars, outs, live_equations(b.eqns, outs))

    def _replay(self, b: Builder, graph: Graph) -> None:
        """Emit every equation, with the rules where an anchor is near."""
        env = self.env
        distance: dict[Atom, int] = {}
        for eqn in graph.eqns:
            b.source = eqn.source
            ins = [env[x] if isinstance(x, Var) else x for x in eqn.invars]
            steps = 1 + min((distance.get(x, NEAR) for x in ins), default=NEAR)
            is_anchor = eqn.primitive in ANCHORS
            b.rules = self._rules_at(eqn) if is_anchor or steps <= NEAR else NO_RULES
            before = self.stats.total
            if all(map(is_, ins, eqn.invars)):
                outs = b.keep(eqn)
            else:
                outs = b.emit_all(eqn.primitive, ins, eqn.params)
            for var, out in zip(eqn.outvars, outs, strict=True):
                env[var] = out
                made = b.definition(out)
                if made is not None and self.stats.total > before:
                    self.made[eqn] = made
                is_anchor |= made is not None and made.primitive in ANCHORS
                if is_anchor or steps < NEAR:
                    distance[out] = 0 if is_anchor else steps
                if isinstance(out, Var) and not out.name:
                    out.name = var.name

    def _rules_at(self, eqn: Eqn) -> RuleSet:
        names = self.refused.get(eqn)
        return self.rules.without(*names) if names else self.rules

    def not_closed(self, uses: Uses) -> dict[Eqn, frozenset[str]]:
        """Return where a composite holds what is used elsewhere, and its rules."""
        alive = set(self.graph.eqns)
        values = {root.outvars[0]: made for root, made in self.made.items()}
        found: dict[Eqn, frozenset[str]] = {}
        for root, made in self.made.items():
            if made not in alive:
                continue
            name, operands = str(made.params["name"]), set(made.invars)

            def is_operand(x: Var, operands: set[Atom] = operands) -> bool:
                return self.env[x] in operands

            def is_shared(x: Var, name: str = name) -> bool:
                whole = values.get(x)
                return whole is not None and whole.params["name"] in SHARES[name]

            if not uses.is_closed(root, is_operand, is_shared):
                found[root] = RULES_OF[name]
        return found
