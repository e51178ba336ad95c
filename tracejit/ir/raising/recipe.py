"""From a pattern to a rewrite rule that makes a composite.

A `Recipe` says what to look for and what the composite's operands and attributes are.
Its expansion is a copy of the equations between the root and the operands, so it
computes the same bits. The equations themselves stay where they check indices; dead
ones are dropped. Where something else uses one of them, the composite is taken back
(see `uses`): of a norm whose mean is returned too, means remain.
"""

from collections.abc import Callable, Mapping, Sequence
from functools import cached_property

from ...records import dataclass
from .. import dtypes as dt
from ..builder import Builder
from ..graph import Atom, Eqn, Graph, Var, subgraph
from ..ops.composite import Attributes, composite_p
from ..primitive import Effect, Params, Primitive
from ..rewrite import Rule
from .matcher import Match, Outlook, Pattern, match_space

# further(b, copies, m): emit further results of the expansion
Find = Callable[[Builder, Eqn, Pattern], Match | None]
Further = Callable[[Builder, Mapping[Atom, Atom], Match], list[Atom]]


def no_attributes(m: Match) -> Attributes:
    """Most composites have none."""
    return ()


def no_further(b: Builder, copies: Mapping[Atom, Atom], m: Match) -> list[Atom]:
    """Most composites give their value only."""
    return []


@dataclass(frozen=True)
class Recipe:
    """How one composite is recognised.

    Parameters
    ----------
    name : str
        Of the composite; the rule is called ``raise_name``.
    roots : tuple of Primitive
        What computes its value.
    pattern : Pattern
    before_after : str
        Documentation.
    find : callable
        ``(b, root, pattern) -> match or None``: where the pattern stands. `match_space`
        for values of the shape of the space, `match_rows` for one element per row.
    operands : tuple of str
        Names of the pattern in operand order; those not bound, and literals, are left
        out.
    attributes : callable
    accept : callable
        Further conditions, after the pattern matched.
    further : callable
        Emits the results after the value.
    suffix : str
        Tells rules for one composite apart.
    shares : tuple of str
        Composites inside it whose value other equations may use as well.
    """

    name: str
    roots: tuple[Primitive, ...]
    pattern: Pattern
    before_after: str
    find: Find = match_space
    operands: tuple[str, ...] = ("x",)
    attributes: Callable[[Match], Attributes] = no_attributes
    accept: Callable[[Match], bool] = lambda m: True
    further: Further = no_further
    suffix: str = ""
    shares: tuple[str, ...] = ()

    @cached_property
    def outlook(self) -> Outlook:
        """Whether a root may match at all."""
        return Outlook(self.pattern)

    def rule(self) -> Rule:
        """Return the rewrite rule."""
        name = f"raise_{self.name}{self.suffix}"
        return Rule(name, self.roots, self._apply, self.before_after)

    def _apply(
        self, b: Builder, p: Primitive, ins: Sequence[Atom], params: Params
    ) -> tuple[Atom, ...] | None:
        if not dt.is_float(ins[0].aval.dtype) or not self.outlook.may_match(b, p, ins):
            return None
        avals = p.out_avals([x.aval for x in ins], params)
        root = Eqn(p, tuple(ins), params, (Var(avals[0]),), b.source)
        m = self.find(b, root, self.pattern)
        if m is None or not self.accept(m):
            return None
        return self._composite(m)

    def _composite(self, m: Match) -> tuple[Atom, ...] | None:
        bound = [m.names[n] for n in self.operands if n in m.names]
        operands = [x for x in bound if isinstance(x, Var)]
        region = region_between(m, operands)
        if region is None:
            return None
        assert m.axes is not None
        outs = m.b.emit_all(
            composite_p,
            operands,
            {
                "name": self.name,
                "axes": m.axes,
                "attributes": self.attributes(m),
                "graph": self._expansion(m, operands, region),
            },
        )
        return outs[:1]

    def _expansion(self, m: Match, operands: list[Var], region: list[Eqn]) -> Graph:
        b = Builder(self.name)
        copies: dict[Atom, Atom] = {x: b.input(x.aval, x.name) for x in operands}
        for eqn in region:
            b.source = eqn.source
            ins = [copies.get(x, x) for x in eqn.invars]
            if self._is_inlined(eqn):
                outs = b.inline(subgraph(eqn.params), ins)
            else:
                outs = b.emit_all(eqn.primitive, ins, eqn.params)
            copies.update(zip(eqn.outvars, outs, strict=True))
        value = copies[m.root.outvars[0]]
        return b.build([value, *self.further(b, copies, m)])

    def _is_inlined(self, eqn: Eqn) -> bool:
        """A composite that grows (scale, then offset) is not put into itself."""
        return eqn.primitive is composite_p and eqn.params["name"] == self.name


def region_between(m: Match, operands: list[Var]) -> list[Eqn] | None:
    """Return the equations from the operands to the root, in order.

    None where one has effects that must keep their order, or reads an input that is no
    operand: then the pattern did not account for everything the value depends on.
    """
    known: set[Atom] = set(operands)
    found: dict[Eqn, None] = {}
    stack: list[tuple[Atom, bool]] = [(m.root.outvars[0], False)]
    while stack:
        x, is_done = stack.pop()
        eqn = m.definition(x)
        if not isinstance(x, Var) or (x in known and not is_done):
            continue
        if eqn is None or eqn.effects - {Effect.CHECK}:
            return None
        if is_done:
            found[eqn] = None
            continue
        known.update(eqn.outvars)
        stack.append((x, True))
        stack.extend((y, False) for y in eqn.invars)
    return list(found)
