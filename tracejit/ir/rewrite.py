"""Rewrite rules: named, counted, switchable one by one.

A rule looks at one equation about to be inserted and either returns the atoms that
stand for its results or None. The builder applies rules on insertion; passes are
replays of a graph through a builder with a chosen set of rules.
"""

from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from dataclasses import field
from typing import TYPE_CHECKING

from ..records import dataclass
from .primitive import Params, Primitive

if TYPE_CHECKING:
    from .builder import Builder
    from .graph import Atom

LITERAL = "literal"
# What stands for an operand: the primitive that computes it, `LITERAL`, or None for an
# input.
Head = Primitive | str | None
RuleFn = Callable[
    ["Builder", Primitive, "Sequence[Atom]", Params], "Sequence[Atom] | None"
]


@dataclass(frozen=True)
class Rule:
    """One rewrite.

    Parameters
    ----------
    name : str
        Used by ``--disable-rule``, counters and logs.
    primitives : tuple of Primitive
        The equations it looks at.
    apply : callable
        ``(builder, primitive, operands, params) -> atoms or None``; may emit equations.
    before_after : str
        Documentation: ``"add x, 0 -> x"``.
    operand : frozenset of Head
        One operand of an equation that it rewrites is such a one; if empty, any may be.
    """

    name: str
    primitives: tuple[Primitive, ...]
    apply: RuleFn
    before_after: str
    operand: frozenset[Head] = frozenset()


@dataclass
class RuleStats:
    """How often each rule fired, and how many more firings are allowed.

    Parameters
    ----------
    fired : Counter
        Firings per rule name; a rule that raises has fired, too.
    limit : int, optional
        Firings allowed in all; the bisector lowers it.
    """

    fired: Counter[str] = field(default_factory=Counter)
    limit: int | None = None

    @property
    def total(self) -> int:
        """Firings of all rules."""
        return sum(self.fired.values())

    @property
    def left(self) -> int | None:
        """How many more are allowed; None for any number."""
        return None if self.limit is None else max(self.limit - self.total, 0)

    def can_fire(self) -> bool:
        """Tell whether another rewrite is allowed."""
        return self.limit is None or self.total < self.limit


class RuleSet:
    """Rules indexed by primitive, tried in the order given.

    Parameters
    ----------
    rules : iterable of Rule
    disabled : iterable of str
        Names of rules to leave out.
    """

    def __init__(self, rules: Iterable[Rule], disabled: Iterable[str] = ()) -> None:
        off = frozenset(disabled)
        self.rules = tuple(r for r in rules if r.name not in off)
        self.by_primitive: dict[Primitive, list[Rule]] = {}
        for r in self.rules:
            for p in r.primitives:
                self.by_primitive.setdefault(p, []).append(r)
        self._by_operands: dict[
            tuple[Primitive, tuple[Head, ...]], tuple[Rule, ...]
        ] = {}

    def on(self, primitive: Primitive, operands: tuple[Head, ...]) -> tuple[Rule, ...]:
        """Return the rules that may rewrite an equation with such operands.

        Of most equations none may: this is one look-up instead of a dozen calls.
        """
        key = primitive, operands
        found = self._by_operands.get(key)
        if found is None:
            found = self._by_operands[key] = tuple(
                r
                for r in self.by_primitive.get(primitive, ())
                if not r.operand or not r.operand.isdisjoint(operands)
            )
        return found

    def without(self, *names: str) -> "RuleSet":
        """Return the set less the named rules."""
        return RuleSet(self.rules, names) if names else self


NO_RULES = RuleSet(())


def rule(
    name: str, *primitives: Primitive, doc: str, operand: Iterable[Head] = ()
) -> Callable[[RuleFn], Rule]:
    """Make a `Rule` of the decorated function."""

    def wrap(fn: RuleFn) -> Rule:
        return Rule(name, primitives, fn, doc, frozenset(operand))

    return wrap
