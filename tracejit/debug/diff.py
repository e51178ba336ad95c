"""What two graphs have in common, and the equations in which they differ.

Needs two graphs. Establishes a `Difference`: nothing if they are equal up to names and
source lines; else the equations of one that the other has not, aligned. Equations match
if they compute the same of the same inputs (forwards), or stand in the same place
before equal results (backwards), so that one rewrite in a large graph is a few lines.
"""

from collections import deque
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from difflib import SequenceMatcher

from ..ir.graph import Atom, Eqn, Graph, Literal, Var
from ..ir.primitive import ArrayConstant, Param
from ..ir.printer import format_lines

Pairs = dict[Eqn, Eqn]
Numbers = dict[object, int]


@dataclass(frozen=True)
class Change:
    """An equation of one graph alone, or one that is another in the other graph.

    Parameters
    ----------
    before, after : str
        The equation in each graph as text; empty where it has none.
    source : tuple of str
        The user's lines.
    inner : tuple of Change
        What changed in its sub-graphs, where only that did.
    """

    before: str
    after: str
    source: tuple[str, ...] = ()
    inner: tuple["Change", ...] = ()

    @property
    def kind(self) -> str:
        """``added``, ``removed`` or ``changed``."""
        if self.before and self.after:
            return "changed"
        return "removed" if self.before else "added"

    def lines(self, indent: str = "") -> Iterator[str]:
        """Yield lines that begin with ``-`` and ``+``."""
        if self.inner:
            head = self.before.partition("{")[0].rstrip()
            yield f"  {indent}{head}, inside of it:"
            for change in self.inner:
                yield from change.lines(indent + "  ")
            return
        for mark, text in (("-", self.before), ("+", self.after)):
            if text:
                first, *rest = text.split("\n")
                yield f"{mark} {indent}{first}"
                yield from (f"{mark} {indent}{line}" for line in rest)

    @property
    def places(self) -> tuple[str, ...]:
        """The lines of the changes inside, where any have lines; else its own."""
        inner = tuple(s for c in self.inner for s in c.places)
        return inner or self.source

    def as_json(self) -> dict[str, object]:
        """Return the change as a document."""
        return {
            "kind": self.kind,
            "before": self.before,
            "after": self.after,
            "source": list(self.source),
            "inner": [c.as_json() for c in self.inner],
        }


@dataclass(frozen=True)
class GraphDiff:
    """How one graph differs from another.

    Parameters
    ----------
    changes : tuple of Change
        In the order of the graphs; none if they are equal up to names and lines.
    types, results : tuple of str
        What differs in the types of inputs, and in what is returned.
    """

    changes: tuple[Change, ...] = ()
    types: tuple[str, ...] = ()
    results: tuple[str, ...] = ()

    @property
    def is_equal(self) -> bool:
        """Whether the graphs are equal up to names and source lines."""
        return not (self.changes or self.types or self.results)

    @property
    def source(self) -> tuple[str, ...]:
        """The user's lines that changed."""
        return tuple(dict.fromkeys(s for c in self.changes for s in c.places))

    def as_text(self) -> str:
        """Return the difference as lines that begin with ``-`` and ``+``."""
        rows = [*self.types, *(x for c in self.changes for x in c.lines())]
        return "\n".join([*rows, *self.results])

    def as_json(self) -> dict[str, object]:
        """Return the difference as a document."""
        return {
            "equal": self.is_equal,
            "types": list(self.types),
            "changes": [c.as_json() for c in self.changes],
            "results": list(self.results),
        }


def diff(before: Graph, after: Graph) -> GraphDiff:
    """Compare two graphs.

    Parameters
    ----------
    before, after : Graph

    Returns
    -------
    GraphDiff

    Examples
    --------
    >>> diff(graph, graph).is_equal  # doctest: +SKIP
    True
    """
    if before is after or before.key == after.key:
        return GraphDiff()
    if before.in_avals != after.in_avals:
        types = tuple(
            f"{mark} inputs: {', '.join(map(str, graph.in_avals))}"
            for mark, graph in (("-", before), ("+", after))
        )
    else:
        types = ()
    matching = _Matching(before, after)
    matching.run()
    return GraphDiff(tuple(matching.changes()), types, tuple(matching.results()))


@dataclass
class _Matching:
    """Which equations of two graphs go together."""

    before: Graph
    after: Graph
    pairs: Pairs = field(default_factory=dict)  # equal ones
    changed: Pairs = field(default_factory=dict)  # those in the same place
    place: dict[Var, Var] = field(default_factory=dict)  # of the one, in the other

    def run(self) -> None:
        """Find all pairs."""
        for v, w in zip(self.before.invars, self.after.invars, strict=False):
            self.place[v] = w
        self.forwards()
        self.backwards(self._ends())
        self.in_order()
        changed = [
            p for p in self.changed.items() if len(p[0].invars) == len(p[1].invars)
        ]
        self.backwards(
            ends
            for one, two in reversed(changed)
            for ends in zip(one.invars, two.invars, strict=True)
        )

    def enter(self, one: Eqn, two: Eqn, pairs: Pairs) -> None:
        pairs[one] = two
        for v, w in zip(one.outvars, two.outvars, strict=False):
            self.place[v] = w

    def forwards(self) -> None:
        """Pair equations that compute the same of the same inputs."""
        numbers: Numbers = {}
        waiting: dict[int, deque[Eqn]] = {}
        for eqn, number in _numbered(self.after, numbers):
            waiting.setdefault(number, deque()).append(eqn)
        for eqn, number in _numbered(self.before, numbers):
            if waiting.get(number):
                self.enter(eqn, waiting[number].popleft(), self.pairs)

    def backwards(self, ends: Iterable[tuple[Atom, Atom]]) -> None:
        """Pair equations of the same kind that are read in the same place."""
        makers = [{v: e for e in g.eqns for v in e.outvars} for g in self.graphs]
        taken = {*self.pairs.values(), *self.changed.values()}
        replaced: list[tuple[Eqn, Eqn]] = []
        todo = deque(ends)
        while todo:
            x, y = todo.popleft()
            one = makers[0].get(x) if isinstance(x, Var) else None
            two = makers[1].get(y) if isinstance(y, Var) else None
            if one is None or two is None or two in taken:
                continue
            if one in self.pairs or one in self.changed:
                continue
            if not _is_alike(one, two):
                replaced.append((one, two))
                continue
            taken.add(two)
            self.enter(one, two, self.pairs)
            todo.extend(zip(one.invars, two.invars, strict=True))
        for one, two in replaced:  # by another that gives the value read in its place
            is_free = one not in self.pairs and one not in self.changed
            if is_free and two not in taken and _has_like_results(one, two):
                taken.add(two)
                self.enter(one, two, self.changed)

    @property
    def graphs(self) -> tuple[Graph, Graph]:
        return self.before, self.after

    def _ends(self) -> Iterator[tuple[Atom, Atom]]:
        """Yield pairs of values that stand in the same place: results first."""
        yield from zip(self.before.outvars, self.after.outvars, strict=False)
        for one, two in self.pairs.items():
            yield from zip(one.invars, two.invars, strict=True)

    def in_order(self) -> None:
        """Pair what is left by kind and order; these have changed."""
        taken = {*self.pairs.values(), *self.changed.values()}
        known = self.pairs.keys() | self.changed.keys()
        left = [e for e in self.before.eqns if e not in known]
        right = [e for e in self.after.eqns if e not in taken]
        for keys in (_long_key, _short_key):
            rows = [keys(e) for e in left], [keys(e) for e in right]
            found: Pairs = {}
            for block in SequenceMatcher(
                None, *rows, autojunk=False
            ).get_matching_blocks():
                for k in range(block.size):
                    found[left[block.a + k]] = right[block.b + k]
            for one, two in found.items():
                self.enter(one, two, self.changed)
            gone = set(found.values())
            left = [e for e in left if e not in found]
            right = [e for e in right if e not in gone]

    # --- what is reported

    def changes(self) -> Iterator[Change]:
        """Yield what changed, in the order of the second graph."""
        names, lines = format_lines(self.before)
        text = dict(zip(self.before.eqns, lines, strict=True))
        given = {w: names[v] for v, w in self.place.items()}
        self.names = names, given
        their_names, their_lines = format_lines(self.after, given)
        self.names = names, their_names
        their_text = dict(zip(self.after.eqns, their_lines, strict=True))
        partner = {two: one for one, two in (self.pairs | self.changed).items()}
        waiting = deque(self.before.eqns)
        for eqn in self.after.eqns:
            one = partner.get(eqn)
            if one is not None:
                while waiting and waiting[0] is not one and self._is_gone(waiting[0]):
                    gone = waiting.popleft()
                    yield Change(text[gone], "", gone.source)
                if waiting and waiting[0] is one:
                    waiting.popleft()
                elif one in waiting:
                    waiting.remove(one)
            if one is None:
                yield Change("", their_text[eqn], eqn.source)
            elif not self._is_same(one, eqn):
                yield self._changed(one, eqn, text[one], their_text[eqn])
        for gone in waiting:
            if self._is_gone(gone):
                yield Change(text[gone], "", gone.source)

    def _is_gone(self, eqn: Eqn) -> bool:
        return eqn not in self.pairs and eqn not in self.changed

    def _is_same(self, one: Eqn, two: Eqn) -> bool:
        if not _is_alike(one, two):
            return False
        pairs = zip(one.invars, two.invars, strict=True)
        return all(self._is_same_atom(x, y) for x, y in pairs)

    def _is_same_atom(self, x: Atom, y: Atom) -> bool:
        if isinstance(x, Literal) or isinstance(y, Literal):
            both = isinstance(x, Literal) and isinstance(y, Literal)
            return both and x.key == y.key  # type: ignore[union-attr]
        return self.place.get(x) is y

    def _changed(self, one: Eqn, two: Eqn, before: str, after: str) -> Change:
        source = tuple(dict.fromkeys((*one.source, *two.source)))
        inner = _inner_changes(one, two)
        return Change(before, after, source, inner)

    def results(self) -> Iterator[str]:
        """Yield lines on results that are other values."""
        one, two = self.before.outvars, self.after.outvars
        if len(one) == len(two) and all(map(self._is_same_atom, one, two)):
            return
        for mark, names, outs in (
            ("-", self.names[0], one),
            ("+", self.names[1], two),
        ):
            shown = (names[x] if isinstance(x, Var) else str(x.value) for x in outs)
            yield f"{mark} return {', '.join(shown)}"


def _inner_changes(one: Eqn, two: Eqn) -> tuple[Change, ...]:
    """Return what changed in the sub-graphs of an equation, if that is all."""
    if one.primitive is not two.primitive or one.params.keys() != two.params.keys():
        return ()
    found: list[Change] = []
    for name, value in one.params.items():
        other = two.params[name]
        if isinstance(value, Graph) and isinstance(other, Graph):
            inner = diff(value, other)
            if inner.types:
                return ()
            found += inner.changes
            found += [
                Change(x[2:], "") if x[0] == "-" else Change("", x[2:])
                for x in inner.results
            ]
        elif _key_of(value) != _key_of(other):
            return ()
    return tuple(found)


def _numbered(graph: Graph, numbers: Numbers) -> Iterator[tuple[Eqn, int]]:
    """Yield equations with the number of what they compute of the inputs."""
    known: dict[Var, tuple[int, int]] = {
        v: (-1 - i, 0) for i, v in enumerate(graph.invars)
    }
    for eqn in graph.eqns:
        ins = tuple(known[x] if isinstance(x, Var) else x.key for x in eqn.invars)
        key = _params_key(eqn), ins
        number = numbers.setdefault(key, len(numbers))
        for k, var in enumerate(eqn.outvars):
            known[var] = number, k
        yield eqn, number


def _params_key(eqn: Eqn) -> tuple[object, ...]:
    rows = tuple((k, _key_of(eqn.params[k])) for k in sorted(eqn.params))
    return eqn.primitive.name, rows, tuple(v.aval for v in eqn.outvars)


def _key_of(value: Param) -> object:
    if isinstance(value, Graph):
        return value.key
    if isinstance(value, tuple):
        return tuple(map(_key_of, value))
    if isinstance(value, ArrayConstant):
        return value.digest
    return repr(value)


def _is_alike(one: Eqn, two: Eqn) -> bool:
    return len(one.invars) == len(two.invars) and _params_key(one) == _params_key(two)


def _has_like_results(one: Eqn, two: Eqn) -> bool:
    return [v.aval for v in one.outvars] == [v.aval for v in two.outvars]


def _long_key(eqn: Eqn) -> object:
    return eqn.primitive.name, tuple(v.aval for v in eqn.outvars), eqn.source


def _short_key(eqn: Eqn) -> object:
    return eqn.primitive.name, tuple(v.aval for v in eqn.outvars)
