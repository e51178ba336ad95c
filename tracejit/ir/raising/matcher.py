"""Patterns over graphs that see through views: how NumPy code is recognised.

People write one thing in many ways: ``keepdims=True``, ``[:, None]``, ``reshape``,
arithmetic before or after the broadcast. What these have in common is *where* a value
stands in the space of the whole array, so that is what a pattern follows. A `Placed`
value is an atom and, for each of its axes, the axis of the space that it runs along.
Going backwards through broadcasts, reshapes that add or drop extents of one, and
transposes changes the place and nothing else.

    pattern = Op(div_p, Bind("e", Op(exp_p, X)), Reduce(reduce_sum_p, Bind("e")))

matches ``e / e.sum(axis, keepdims=True)`` with ``e = np.exp(x)`` in all its spellings,
and not ``e / e.sum(other_axis)``, which stands elsewhere.
"""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import field

from ...records import dataclass
from ..aval import Shape
from ..builder import Builder
from ..graph import Atom, Eqn, Literal, Var
from ..ops.composite import Attributes, composite_axes, composite_p
from ..ops.elementwise import add_p, eq_p, mul_p, stop_gradient_p
from ..ops.shape import (
    axes_of,
    broadcast_in_dim_p,
    ints,
    reduced_shape,
    reshape_p,
    transpose_p,
)
from ..primitive import Kind, Primitive

COMMUTATIVE = (add_p, mul_p, eq_p)
VIEWS = (broadcast_in_dim_p, reshape_p, transpose_p)
MAX_STEPS = 12  # equations from the root of a pattern to the reduction it is about
Axes = tuple[int | None, ...]
Saved = tuple[Shape | None, dict[str, Atom], frozenset[Shape], dict[str, str]]


@dataclass(frozen=True)
class Placed:
    """A value, and where its axes stand in the space.

    Parameters
    ----------
    atom : Var or Literal
    axes : tuple of int or None
        Per axis the axis of the space it runs along; None for extents of one.
    """

    atom: Atom
    axes: Axes

    def is_whole(self, space: Shape) -> bool:
        """Tell whether the value fills the space, axis by axis."""
        return self.atom.aval.shape == space and self.stands_at(
            tuple(range(len(space)))
        )

    def stands_at(self, axes: Axes) -> bool:
        """Tell whether the axes are these, where they have more than one element."""
        rows = zip(self.axes, axes, self.atom.aval.shape, strict=True)
        return all(mine == other or n == 1 for mine, other, n in rows)


@dataclass
class Match:
    """One attempt: what is known of the root, and what patterns have bound.

    Parameters
    ----------
    b : Builder
        Holds the equations before the root.
    root : Eqn
        The equation looked at; not inserted yet.
    space : tuple of int
        Shape of the whole array.
    axes : tuple of int, optional
        The axes reduced, once a reduction was met.
    names : dict of str to Var or Literal
        Values bound by `Bind`, `Scalar` and `Along`.
    shifts : frozenset of tuple of int
        Axes of the maxima subtracted: each must cover `axes`.
    notes : dict of str to str
        Which of several ways was met; set by `Noted`.
    """

    b: Builder
    root: Eqn
    space: Shape
    axes: Shape | None = None
    names: dict[str, Atom] = field(default_factory=dict)
    shifts: frozenset[Shape] = frozenset()
    notes: dict[str, str] = field(default_factory=dict)

    def definition(self, x: Atom) -> Eqn | None:
        """Return the equation that binds `x`, the root included."""
        return self.root if x is self.root.outvars[0] else self.b.definition(x)

    def save(self) -> "Saved":
        """Return what is bound now, for `restore`."""
        return self.axes, self.names, self.shifts, self.notes

    def restore(self, saved: "Saved") -> None:
        """Forget what was bound since `save`."""
        self.axes, self.names, self.shifts, self.notes = saved

    def agree(self, axes: Shape) -> bool:
        """Take `axes` as those reduced, or compare with those taken before."""
        if self.axes is None:
            self.axes = tuple(sorted(axes))
        return bool(axes) and self.axes == tuple(sorted(axes))

    def bind(self, name: str, x: Atom) -> bool:
        """Give `x` a name, or compare with what has it."""
        known = self.names.get(name)
        if known is None:
            self.names = {**self.names, name: x}  # a new one: `save` keeps the old
            return True
        same_literal = (
            isinstance(x, Literal) and isinstance(known, Literal) and x.key == known.key
        )
        return known is x or same_literal

    def count(self) -> int:
        """Return the number of elements that one reduction takes together."""
        total = 1
        for axis in self.axes or ():
            total *= self.space[axis]
        return total


def kept_axes(shape: Shape, space: Shape, axes: Shape) -> Axes | None:
    """Return where a reduction of `space` over `axes` stands, by its shape.

    With the axes dropped, or kept as extents of one; None for any other shape.
    """
    if shape == reduced_shape(space, axes):
        return tuple(d for d in range(len(space)) if d not in axes)
    if shape == tuple(1 if d in axes else n for d, n in enumerate(space)):
        return tuple(None if d in axes else d for d in range(len(space)))
    return None


# --- seeing through views ---------------------------------------------------------


def behind(m: Match, p: Placed) -> Iterator[tuple[Placed, Eqn]]:
    """Yield the value and the values it is a view of, with what computes each."""
    while True:
        eqn = m.definition(p.atom)
        if eqn is None:
            return
        yield p, eqn
        source = _source(p, eqn)
        if source is None:
            return
        p = source


def _source(p: Placed, eqn: Eqn) -> Placed | None:
    """Return what a view shows, where it stands; None if it is no plain view."""
    x = eqn.invars[0] if eqn.invars else None
    if x is None:
        return None
    if eqn.primitive is broadcast_in_dim_p:
        pairs = zip(x.aval.shape, ints(eqn.params, "dims"), strict=True)
        return Placed(x, tuple(None if n == 1 else p.axes[d] for n, d in pairs))
    if eqn.primitive is transpose_p:
        perm = ints(eqn.params, "perm")
        at = {a: p.axes[i] for i, a in enumerate(perm)}
        return Placed(x, tuple(at[i] for i in range(len(perm))))
    if eqn.primitive is reshape_p:
        return _reshaped(p, x)
    return None


def _reshaped(p: Placed, x: Atom) -> Placed | None:
    """Match the extents greater than one, in order."""
    pairs = zip(p.atom.aval.shape, p.axes, strict=True)
    wide = [(n, a) for n, a in pairs if n != 1]
    if [n for n, _ in wide] != [n for n in x.aval.shape if n != 1]:
        return None
    rest = iter(wide)
    return Placed(x, tuple(None if n == 1 else next(rest)[1] for n in x.aval.shape))


# --- patterns ---------------------------------------------------------------------


class Pattern:
    """Something a placed value may be."""

    def match(self, m: Match, p: Placed) -> bool:
        """Tell whether `p` is it; what was bound on the way counts only then."""
        return self._match(m, p)

    def _match(self, m: Match, p: Placed) -> bool:
        raise NotImplementedError


@dataclass(frozen=True)
class Whole(Pattern):
    """A value that fills the space: the array that all is about, or part of it."""

    name: str

    def _match(self, m: Match, p: Placed) -> bool:
        return p.is_whole(m.space) and m.bind(self.name, p.atom)


@dataclass(frozen=True)
class Bind(Pattern):
    """What another pattern matches, under a name; without one, what has the name.

    It is the value behind all views that gets the name.
    """

    name: str
    inner: Pattern | None = None

    def _match(self, m: Match, p: Placed) -> bool:
        x = p.atom
        for view, _ in behind(m, p):
            x = view.atom
        if self.inner is None:
            return m.names.get(self.name) is x
        return self.inner.match(m, p) and m.bind(self.name, x)


@dataclass(frozen=True)
class Scalar(Pattern):
    """One number for the whole space: a literal or a value of rank 0."""

    name: str

    def _match(self, m: Match, p: Placed) -> bool:
        if not p.atom.aval.shape:
            return m.bind(self.name, p.atom)
        sources = [s for v, e in behind(m, p) if (s := _source(v, e)) is not None]
        last = sources[-1].atom if sources else p.atom
        return not last.aval.shape and m.bind(self.name, last)


@dataclass(frozen=True)
class Number(Pattern):
    """A literal whose value passes a test."""

    test: Callable[[Match, Literal], bool]

    def _match(self, m: Match, p: Placed) -> bool:
        return isinstance(p.atom, Literal) and self.test(m, p.atom)


def number(value: float) -> Number:
    """Return a pattern for a literal of this value."""
    return Number(lambda m, x: bool(x.value == value))


@dataclass(frozen=True)
class Along(Pattern):
    """A value of the space's shape that varies along some axes only.

    Parameters
    ----------
    name : str
    reduced : bool
        It varies along the axes reduced (so it is the same for each row), else along
        the others.
    """

    name: str
    reduced: bool

    def _match(self, m: Match, p: Placed) -> bool:
        if m.axes is None or not p.is_whole(m.space):
            return False
        source = p
        for view, eqn in behind(m, p):
            source = _source(view, eqn) or view
        runs = {a for a in source.axes if a is not None}
        inside = all((a in m.axes) == self.reduced for a in runs)
        return bool(runs) and inside and m.bind(self.name, p.atom)


@dataclass(frozen=True)
class Op(Pattern):
    """An elementwise equation, behind views; commutative ones in either order.

    Parameters
    ----------
    primitive : Primitive
    args : tuple of Pattern
        One per operand. Nothing is tried again once it matched, so what binds most
        should come first.
    last_first : bool
        Match the last operand first.
    """

    primitive: Primitive
    args: tuple[Pattern, ...]
    last_first: bool = False

    def _match(self, m: Match, p: Placed) -> bool:
        for view, eqn in behind(m, p):
            if eqn.primitive is self.primitive:
                return self._operands(m, view, eqn)
        return False

    def _operands(self, m: Match, p: Placed, eqn: Eqn) -> bool:
        ins = [Placed(x, p.axes if x.aval.shape else ()) for x in eqn.invars]
        saved = m.save()
        if self._all(m, ins):
            return True
        m.restore(saved)
        return self.primitive in COMMUTATIVE and self._all(m, ins[::-1])

    def _all(self, m: Match, ins: list[Placed]) -> bool:
        pairs = list(zip(self.args, ins, strict=True))
        if self.last_first:
            pairs.reverse()
        return all(a.match(m, x) for a, x in pairs)


def op(primitive: Primitive, *args: Pattern) -> Op:
    """Return a pattern for ``primitive args``."""
    return Op(primitive, args)


@dataclass(frozen=True)
class Reduce(Pattern):
    """A reduction of a value that fills the space, standing where it reduced from."""

    primitive: Primitive
    arg: Pattern

    def _match(self, m: Match, p: Placed) -> bool:
        for view, eqn in behind(m, p):
            if eqn.primitive is self.primitive:
                axes = axes_of(eqn.params)
                return (
                    _stands_as_reduction(view, m.space, axes)
                    and self._take(m, axes)
                    and self.arg.match(m, _filling(eqn.invars[0]))
                )
        return False

    def _take(self, m: Match, axes: Shape) -> bool:
        return m.agree(axes)


@dataclass(frozen=True)
class Shift(Reduce):
    """A reduction that only has to be the same along each row: it may cover more."""

    def _take(self, m: Match, axes: Shape) -> bool:
        m.shifts |= {tuple(sorted(axes))}
        return True


@dataclass(frozen=True)
class Constant(Pattern):
    """What another pattern matches, with or without a `stop_gradient` around it."""

    inner: Pattern

    def _match(self, m: Match, p: Placed) -> bool:
        for view, eqn in behind(m, p):
            if eqn.primitive is stop_gradient_p:
                return self.inner.match(m, Placed(eqn.invars[0], view.axes))
        return self.inner.match(m, p)


@dataclass(frozen=True)
class Raised(Pattern):
    """The value of a composite of `x`, over the same axes; its attributes are noted.

    Parameters
    ----------
    name : str
        The composite's.
    arg : Pattern
        For its first operand.
    more : tuple of str
        Names for its further operands, in order, as far as there are any.
    reduces : bool
        Its value has one element for each row.
    """

    name: str
    arg: Pattern
    more: tuple[str, ...] = ()
    reduces: bool = False

    def _match(self, m: Match, p: Placed) -> bool:
        for view, eqn in behind(m, p):
            is_it = (
                eqn.primitive is composite_p
                and eqn.params["name"] == self.name
                and eqn.outvars[0] is view.atom
            )
            if is_it:
                return self._composite(m, view, eqn)
        return False

    def _composite(self, m: Match, p: Placed, eqn: Eqn) -> bool:
        axes = composite_axes(eqn.params)
        stands = (
            _stands_as_reduction(p, m.space, axes)
            if self.reduces
            else p.is_whole(m.space)
        )
        further = zip(self.more, eqn.invars[1:], strict=False)
        attributes: Attributes = eqn.params["attributes"]  # type: ignore[assignment]
        m.notes = {**m.notes, **{k: str(v) for k, v in attributes}}
        return (
            stands
            and m.agree(axes)
            and self.arg.match(m, _filling(eqn.invars[0]))
            and all(m.bind(name, x) for name, x in further)
        )


def _filling(x: Atom) -> Placed:
    """Place the operand of a reduction, axis by axis."""
    return Placed(x, tuple(range(x.aval.ndim)))


def _stands_as_reduction(p: Placed, space: Shape, axes: Shape) -> bool:
    if any(a >= len(space) for a in axes):
        return False
    at = kept_axes(p.atom.aval.shape, space, axes)
    return at is not None and p.stands_at(at)


@dataclass(frozen=True)
class OneOf(Pattern):
    """The first of several patterns that matches."""

    choices: tuple[Pattern, ...]

    def _match(self, m: Match, p: Placed) -> bool:
        saved = m.save()
        for choice in self.choices:
            if choice.match(m, p):
                return True
            m.restore(saved)
        return False


def one_of(*choices: Pattern) -> OneOf:
    """Return a pattern for any of several."""
    return OneOf(choices)


@dataclass(frozen=True)
class Noted(Pattern):
    """What another pattern matches; `m.notes` tells that it was this one."""

    note: str
    value: str
    inner: Pattern

    def _match(self, m: Match, p: Placed) -> bool:
        if not self.inner.match(m, p):
            return False
        m.notes = {**m.notes, self.note: self.value}
        return True


# --- what cannot match ------------------------------------------------------------


def heads(pattern: Pattern) -> frozenset[Primitive] | None:
    """Return what computes a value that matches, behind its views; None: anything."""
    if isinstance(pattern, Op | Reduce):
        return frozenset((pattern.primitive,))
    if isinstance(pattern, Raised):
        return frozenset((composite_p,))
    if isinstance(pattern, Constant):
        inner = heads(pattern.inner)
        return None if inner is None else inner | {stop_gradient_p}
    if isinstance(pattern, Noted):
        return heads(pattern.inner)
    if isinstance(pattern, Bind):
        return None if pattern.inner is None else heads(pattern.inner)
    if isinstance(pattern, OneOf):
        found = [heads(choice) for choice in pattern.choices]
        known = [h for h in found if h is not None]
        return frozenset().union(*known) if len(known) == len(found) else None
    return None


class Outlook:
    """Whether a root may match at all, by what computes its operands.

    Most roots do not match, and most of those can be told by one look at the primitives
    behind the operands' views, before anything is placed or bound.

    Parameters
    ----------
    pattern : Pattern
    """

    def __init__(self, pattern: Pattern) -> None:
        # By the root's primitive: what its operands may be, for each way to match.
        self._operands: dict[Primitive, list[Operands]] | None = None
        ways = _ways(pattern)
        if ways is not None:
            self._operands = {}
            for primitive, operands in ways:
                self._operands.setdefault(primitive, []).append(operands)

    def may_match(self, b: Builder, p: Primitive, ins: Sequence[Atom]) -> bool:
        """Tell whether ``p ins`` may match; False is certain."""
        if self._operands is None or p in VIEWS:
            return True
        found: list[Primitive | None] = []
        for operands in self._operands.get(p, ()):
            if len(operands) != len(ins):
                continue
            found = found or [_head(b, x) for x in ins]
            if _fits(operands, found):
                return True
            if p in COMMUTATIVE and _fits(operands, found[::-1]):
                return True
        return False


Operands = tuple[frozenset[Primitive] | None, ...]
Way = tuple[Primitive, Operands]


def _ways(pattern: Pattern) -> list[Way] | None:
    if isinstance(pattern, Op):
        return [(pattern.primitive, tuple(heads(a) for a in pattern.args))]
    if isinstance(pattern, Noted):
        return _ways(pattern.inner)
    if isinstance(pattern, Bind):
        return None if pattern.inner is None else _ways(pattern.inner)
    if isinstance(pattern, OneOf):
        found = [_ways(choice) for choice in pattern.choices]
        known = [way for ways in found if ways is not None for way in ways]
        return None if None in found else known
    return None


def _head(b: Builder, x: Atom) -> Primitive | None:
    """Return what computes `x`, or what it is a view of; None for inputs."""
    if not isinstance(x, Var):
        return None
    if x in b.heads:
        return b.heads[x]
    eqn = b.definition(x)
    while eqn is not None and eqn.primitive in VIEWS:
        eqn = b.definition(eqn.invars[0])
    head = b.heads[x] = None if eqn is None else eqn.primitive
    return head


def _fits(wanted: Operands, found: Sequence[Primitive | None]) -> bool:
    for one, head in zip(wanted, found, strict=True):
        if one is not None and head not in one:
            return False
    return True


# --- where to start ---------------------------------------------------------------


def match_space(b: Builder, root: Eqn, pattern: Pattern) -> Match | None:
    """Match a root that has the shape of the space."""
    shape = root.outvars[0].aval.shape
    m = Match(b, root, shape)
    placed = Placed(root.outvars[0], tuple(range(len(shape))))
    return m if pattern.match(m, placed) and _covers(m) else None


def match_rows(b: Builder, root: Eqn, pattern: Pattern) -> Match | None:
    """Match a root with one element for each row: its reduction tells the space."""
    found = _reduction_behind(b, root)
    if found is None:
        return None
    space, axes = found
    at = kept_axes(root.outvars[0].aval.shape, space, axes)
    if at is None:
        return None
    m = Match(b, root, space)
    return m if pattern.match(m, Placed(root.outvars[0], at)) and _covers(m) else None


def _covers(m: Match) -> bool:
    """Tell whether every maximum subtracted is constant along the axes reduced."""
    return m.axes is not None and all({*s} >= {*m.axes} for s in m.shifts)


def _reduction_behind(b: Builder, root: Eqn) -> tuple[Shape, Shape] | None:
    """Return shape and axes of the first reduction on the way back from the root."""
    waiting: list[Atom] = list(root.invars)
    for _ in range(MAX_STEPS):
        eqn = b.definition(waiting.pop(0)) if waiting else None
        if eqn is None:
            if not waiting:
                return None
            continue
        if eqn.primitive.kind is Kind.REDUCE and "axes" in eqn.params:
            return eqn.invars[0].aval.shape, axes_of(eqn.params)
        if eqn.primitive is composite_p:
            return eqn.invars[0].aval.shape, composite_axes(eqn.params)
        waiting.extend(x for x in eqn.invars if isinstance(x, Var))
    return None
