"""Fusion groups: equations that will be one kernel, and what depends on what.

A group has a *space*: the shape of its elements. Its reductions all keep the same axes
of it; values that run along these alone are its *kept values*: what its reductions
give, and what is computed from that. Where the kept axes are the first ones (rows),
elements may use kept values again; where they are not (columns), they may not, for the
loops over them would have to start anew.
"""

import enum
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import field
from functools import lru_cache
from math import prod

from ..ir.aval import Shape, ShapedArray
from ..ir.graph import Eqn, Var
from ..kernels.lower import REDUCE_OPS, aligned_axes
from ..kernels.maps import Affine, Map, axis
from ..records import dataclass

MUCH_SMALLER = 8  # times smaller arrays cost nothing to load beside a value
SHORT_ROW = 8  # elements of a row that are reduced again wherever the result is read


class Refusal(enum.Enum):
    """Why an equation, or the group of another operand, did not join a group.

    docs/fusion.md has an example of each, and what to write instead.
    """

    SPACE = "its shape is not that of the group"
    VIEW = "it reads the group's value at other positions than its own"
    CYCLE = "what it needs depends on the group"
    AXES = "it reduces other axes than the group does"
    BACK = "elements cannot use sums over the rows before all rows are summed"
    SHARED = "the operand is used elsewhere too, so it is computed once, in memory"
    COST = "reading the operand here would compute its elements several times"
    SIZE = "the group is full"
    PRODUCT = "a matrix product reads its operands from memory"
    MEMORY = "a gather reads its source from memory"
    THREADS = "a sum of everything would keep the product on one thread"
    TURNS = "one of the two is a loop that each element runs for itself"
    PIECES = "an array of many pieces is put together in memory"
    STEPS = "one of the two is a loop or a branch of several steps"
    EXTERN = "one of the two runs in a library routine, not in a kernel"


@dataclass(eq=False)
class Group:
    """Equations that will be one kernel.

    Parameters
    ----------
    number : int
    space : tuple of int
        Shape of its elements.
    kept : tuple of int or None
        Axes of the space that its reductions keep; None while it has none.
    is_opaque : bool
        One equation by itself, not for a kernel.
    has_product : bool
        It contains a contraction, whose results are its elements.
    has_window : bool
        That contraction is a convolution. Shapes that differ from the space by axes of
        one element are its own: those of groups are views.
    is_heavy : bool
        Its product is worth several threads: it may not end in one number.
    has_turns : bool
        It contains a loop that each element runs for itself; then it is pointwise, as
        sums would run the loop again in each of their phases.
    has_rows : bool
        Short rows are reduced for its elements that stand in these rows themselves:
        the loop along them must stay the innermost one.
    is_stream : bool
        It contains a product of the rows of a product, whose results are its elements:
        it may reduce these rows again, and nothing else.
    eqns : list of Eqn
    work : float
        Operations an element.
    is_pinned : bool
        One of its values is a result of the graph, or has effects.
    follows : Group or None
        A group that must run before it though it reads nothing of it.
    """

    number: int
    space: Shape
    kept: Shape | None = None
    is_opaque: bool = False
    has_product: bool = False
    has_window: bool = False
    is_heavy: bool = False
    has_turns: bool = False
    has_rows: bool = False
    is_stream: bool = False
    eqns: list[Eqn] = field(default_factory=list)
    work: float = 0.0
    is_pinned: bool = False
    follows: "Group | None" = None

    @property
    def is_pointwise(self) -> bool:
        """Tell whether all its values run along its whole space."""
        return self.kept is None and not self.is_opaque and not self.has_product

    @property
    def is_short(self) -> bool:
        """Tell whether it reduces rows of a few elements, and nothing else."""
        if self.kept is None or self.is_column or self.has_product:
            return False
        return 1 < prod(self.space[len(self.kept) :]) <= SHORT_ROW

    @property
    def is_column(self) -> bool:
        """Tell whether the axes that it keeps are not the first ones."""
        return self.kept is not None and self.kept != tuple(range(len(self.kept)))

    @property
    def reduced(self) -> Shape:
        """The axes that its reductions remove, where they are not the last ones."""
        if not self.is_column or self.kept is None:
            return ()
        return tuple(d for d in range(len(self.space)) if d not in self.kept)

    def axes_of(self, shape: Shape) -> tuple[int, ...] | None:
        """Return the axes of the space along which values of this shape run.

        None if the group has no such values. Axes of one element are left out.
        """
        if shape == self.space:
            return long_axes(shape)
        if self.has_window and aligned_axes(shape, self.space) is not None:
            return long_axes(self.space)
        if self.kept is None:
            return None
        places: Sequence[int] = self.kept
        if len(shape) == len(self.space):
            places = range(len(shape))
        elif len(shape) != len(self.kept):
            return None
        expected = [self.space[d] if d in self.kept else 1 for d in places]
        if expected != list(shape):
            return None
        return tuple(d for d, n in zip(places, shape, strict=True) if n != 1)

    def fits(self, var: Var, at: Map | None, shape: Shape) -> bool:
        """Tell whether a read of its value stands where the value is computed.

        Parameters
        ----------
        var : Var
        at : Map or None
            Where an element of `shape` reads it; None for anywhere.
        shape : tuple of int
            Of the reader.
        """
        own, reader = self.axes_of(var.aval.shape), self.axes_of(shape)
        if at is None or own is None or reader is None:
            return False
        if self.is_column and len(own) < len(reader):
            return False
        here = positions(shape)
        place = {d: here[k] for d, k in zip(reader, long_axes(shape), strict=True)}
        real = [i for i, n in zip(at, var.aval.shape, strict=True) if n != 1]
        return real == [place.get(d) for d in own]


def kept_axes(eqn: Eqn, axes: Sequence[int]) -> Shape:
    """Return the axes of its operand that a reduction over `axes` keeps."""
    return tuple(d for d in range(eqn.invars[0].aval.ndim) if d not in axes)


def read_shape(eqn: Eqn) -> Shape:
    """Return the shape over which an equation reads: a reduction, its operand's."""
    if not eqn.outvars:
        return ()
    is_reduction = eqn.primitive.name in REDUCE_OPS
    return (eqn.invars[0] if is_reduction else eqn.outvars[0]).aval.shape


def is_much_smaller(a: ShapedArray, b: ShapedArray) -> bool:
    """Tell whether loading an array costs nothing beside another."""
    return a.size * MUCH_SMALLER <= b.size


def work_of(eqn: Eqn) -> float:
    """Return the operations an equation does for an element of what it reads."""
    ins = tuple(x.aval for x in eqn.invars)
    outs = tuple(v.aval for v in eqn.outvars)
    elements = max(prod(read_shape(eqn)), 1)
    return max(eqn.primitive.flops(ins, outs, eqn.params) / elements, 1.0)


@lru_cache(4096)  # asked for each equation and group that it may join
def long_axes(shape: Shape) -> tuple[int, ...]:
    """Return the axes of more than one element, or of none."""
    return tuple(d for d, n in enumerate(shape) if n != 1)


@lru_cache(4096)  # asked for each operand of each equation
def positions(shape: Shape) -> Map:
    """Return the position of an element in its own array; extents of one give 0."""
    return tuple(axis(f"a{d}") if n != 1 else Affine() for d, n in enumerate(shape))


def merged_loops(a: Group, b: Group) -> tuple[Shape, Shape | None] | None:
    """Return space and kept axes of a group with the equations of both, if any."""
    if a.has_product and b.has_product:
        return None
    for one, two in ((a, b), (b, a)):
        if one.has_turns and not two.is_pointwise:
            return None
    loops = _merged_loops(a, b)
    if loops is not None and (a.is_heavy or b.is_heavy) and loops[1] == ():
        return None
    if loops is not None and (a.is_stream or b.is_stream):
        space, kept = loops
        return loops if kept in (None, rows_of(space)) else None
    return loops


def rows_of(space: Shape) -> Shape:
    """Return the axes that reductions of rows keep."""
    return tuple(range(len(space) - 1))


def _merged_loops(a: Group, b: Group) -> tuple[Shape, Shape | None] | None:
    if a.space == b.space:
        known = {a.kept, b.kept} - {None}
        no_columns = any(g.has_product or g.has_rows for g in (a, b))
        if len(known) > 1 or (no_columns and _columns(known)):
            return None
        return a.space, next(iter(known), None)
    for outer, inner in ((a, b), (b, a)):
        is_kept = inner.is_pointwise and outer.kept is not None
        if inner.has_rows and outer.is_column:
            continue
        if is_kept and outer.axes_of(inner.space) is not None:
            return outer.space, outer.kept
    return None


def _columns(kept: set[Shape | None]) -> bool:
    return any(k is not None and k != tuple(range(len(k))) for k in kept)


class Dependencies:
    """Which groups come before which others, all the way; sets as bits of an int.

    A third group stands between two exactly if one that needs the first directly comes
    before the second.
    """

    def __init__(self) -> None:
        self.before: list[int] = []  # all the way
        self.needs: list[int] = []  # directly
        self.needed: list[int] = []  # by which, directly

    def new(self) -> int:
        """Return the number of one more group."""
        for sets in (self.before, self.needs, self.needed):
            sets.append(0)
        return len(self.before) - 1

    def depends(self, late: int, early: int) -> bool:
        """Tell whether group `late` needs group `early`, perhaps through others."""
        return bool(self.before[late] >> early & 1)

    def add(self, late: int, early: int) -> None:
        """Note that `late` needs `early`."""
        if late == early or self.depends(late, early):
            return
        self.needs[late] |= 1 << early
        self.needed[early] |= 1 << late
        self._come_before(self.before[early] | 1 << early, [late])

    def can_merge(self, a: int, b: int) -> bool:
        """Tell whether no third group stands between two."""
        before, needed = self.before, self.needed
        return not (needed[a] & before[b] or needed[b] & before[a])

    def merge(self, a: int, b: int) -> None:
        """Let `a` stand for both groups."""
        both = ~(1 << a | 1 << b)
        for n in bits(self.needs[b] & both):
            self.needed[n] = self.needed[n] & both | 1 << a
        for n in bits(self.needed[b] & both):
            self.needs[n] = self.needs[n] & both | 1 << a
        for sets in (self.before, self.needs, self.needed):
            sets[a] = (sets[a] | sets[b]) & both
        self._come_before(self.before[a] | 1 << a, bits(self.needed[a]))

    def _come_before(self, sources: int, late: Iterable[int]) -> None:
        """Note what comes before some groups, and so before all that need them."""
        waiting = list(late)
        while waiting:
            n = waiting.pop()
            if sources & ~self.before[n]:
                self.before[n] |= sources
                waiting.extend(bits(self.needed[n]))


def bits(mask: int) -> Iterator[int]:
    """Yield the positions of the bits that are set."""
    while mask:
        low = mask & -mask
        yield low.bit_length() - 1
        mask ^= low
