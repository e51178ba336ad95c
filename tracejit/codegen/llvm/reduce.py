"""Accumulators of reductions.

A state begins before the loops that it reduces over, is updated in them once per unit
(one vector of lanes, or one scalar), and finishes after them. What it keeps in
registers (`regs`) is carried by the loops between. Four kinds: `Fold` for operations
whose order does not matter, `Count` for sums of truths, `ArgFold` for argmax and
argmin, `TreeSum` (in `treesum`) for sums of floats, which follow the fixed tree.
"""

from collections.abc import Sequence
from itertools import accumulate
from typing import Protocol

import numpy as np

from ...ir.graph import Literal
from ...kernels.kernel import Operand, Reduce
from ...records import dataclass
from .elementwise import combine
from .indices import Index, multiply
from .target import Target, aligned
from .text import Emitter, bits_of, constant, shape_of, vec
from .values import is_real, is_signed, register_bits, register_type

Regs = list[str]


@dataclass(frozen=True)
class Shape:
    """How a reduction meets the vector axis.

    Parameters
    ----------
    lanes : int
        Lanes of the operand: 1 if it is a scalar.
    units : int
        Vectors that a block has, at most.
    across : bool
        Whether the lanes themselves are reduced.
    extents : tuple of int
        Of the reduced axes.
    """

    lanes: int
    units: int
    across: bool
    extents: tuple[int, ...]

    @property
    def count(self) -> int:
        """How many elements go into one result."""
        total = 1
        for extent in self.extents:
            total *= extent
        return total


@dataclass(frozen=True)
class Term:
    """A vector that an accumulator takes in.

    Parameters
    ----------
    value : str
        Its register.
    mask : str or None
        The lanes that count; None if all do.
    place : int or str
        Position of the first element; 0 for accumulators that need no places.
    factors : sequence of str
        What it is the product of, in a sum of products that are not rounded.
    """

    value: str
    mask: str | None
    place: Index
    factors: Sequence[str]


class Sink(Protocol):
    """What straight-line code knows of an accumulator."""

    op: Reduce

    @property
    def needs_places(self) -> bool:
        """Whether `update` needs to know which elements it takes."""

    def update(self, unit: int, term: Term) -> None:
        """Take in one vector."""


class State(Sink, Protocol):
    """What the loop nest knows of an accumulator."""

    regs: list[tuple[str, str]]

    def finish(self) -> Regs:
        """Return the result: one register per unit, or one scalar."""

    @property
    def partial_bytes(self) -> int:
        """Size of what `store_partial` writes."""

    def store_partial(self, at: str) -> None:
        """Write what this accumulator has, as a part of a larger reduction."""

    def merge_partials(self, at: str, stride: int, whole: int, rest: bool) -> None:
        """Take in `whole` parts and a shorter one, `stride` bytes apart, in order."""


def dtype_of(operand: Operand) -> np.dtype:
    """Return the dtype of a kernel operand."""
    return operand.aval.dtype if isinstance(operand, Literal) else operand.dtype


def splits(lanes: int) -> Sequence[int]:
    """Return 2^k, ..., 2, 1: the widths a vector is halved to."""
    return [1 << k for k in reversed(range(lanes.bit_length() - 1))]


def halves(em: Emitter, element: str, value: str, lanes: int) -> tuple[str, str]:
    """Return the lower and the upper half of a vector."""
    half = lanes // 2
    if half == 1:
        return (
            em.op(f"extractelement {vec(element, lanes)} {value}, i64 0"),
            em.op(f"extractelement {vec(element, lanes)} {value}, i64 1"),
        )
    type_ = vec(element, lanes)
    low, high = range(half), range(half, lanes)
    return (
        em.shuffle(type_, value, "poison", low),
        em.shuffle(type_, value, "poison", high),
    )


def select(
    em: Emitter, mask: str | None, type_: str, lanes: int, yes: str, no: str
) -> str:
    """Choose by a mask; no mask means yes."""
    if mask is None:
        return yes
    return em.op(f"select {vec('i1', lanes)} {mask}, {type_} {yes}, {type_} {no}")


def neutral(op: str, dtype: np.dtype) -> float:
    """Return the element that leaves the others as they are under `op`."""
    if op in ("add", "mul"):
        if op == "mul":
            return 1
        return -0.0 if is_real(dtype) else 0
    if op in ("and", "or"):
        every = 1 if dtype.kind == "b" else -1
        return every if op == "and" else 0
    return _least(dtype) if op == "max" else _greatest(dtype)


def _least(dtype: np.dtype) -> float:
    if is_real(dtype):
        return float("-inf")
    return -(1 << register_bits(dtype) - 1) if is_signed(dtype) else 0


def _greatest(dtype: np.dtype) -> float:
    if is_real(dtype):
        return float("inf")
    if dtype.kind == "b":
        return 1
    return (1 << register_bits(dtype) - is_signed(dtype)) - 1


class _InRegisters:
    """What accumulators that are registers have in common: their parts in memory."""

    em: Emitter
    regs: list[tuple[str, str]]
    needs_places = False

    def _sizes(self) -> list[int]:
        sizes = []
        for type_, _ in self.regs:
            element, lanes = shape_of(type_)
            sizes.append(aligned(lanes * max(bits_of(element), 8) // 8))
        return sizes

    @property
    def partial_bytes(self) -> int:
        """Size of what `store_partial` writes."""
        return sum(self._sizes())

    def _places(self, at: str) -> list[str]:
        starts = accumulate(self._sizes(), initial=0)
        return [self.em.gep("i8", at, start) for start in starts][: len(self.regs)]

    def store_partial(self, at: str) -> None:
        """Write the registers."""
        for (type_, value), to in zip(self.regs, self._places(at), strict=True):
            self.em.store(type_, value, to, 1)

    def merge_partials(self, at: str, stride: int, whole: int, rest: bool) -> None:
        """Combine with each part, lane by lane."""
        types = [type_ for type_, _ in self.regs]
        with self.em.loop(0, whole + rest, 1, self.regs) as loop:
            self.regs = list(zip(types, loop.carried, strict=True))
            part = self.em.gep("i8", at, multiply(self.em, loop.index, stride))
            rows = zip(types, self._places(part), strict=True)
            self._absorb([self.em.load(type_, place, 1) for type_, place in rows])
            loop.yield_([value for _, value in self.regs])
        self.regs = list(zip(types, loop.results, strict=True))

    def _absorb(self, values: Sequence[str]) -> None:
        raise NotImplementedError


class Fold(_InRegisters):
    """max, min, mul, and, or, and sums of integers, in any order.

    Parameters
    ----------
    em : Emitter
    target : Target
    op : Reduce
    shape : Shape
    """

    def __init__(self, em: Emitter, target: Target, op: Reduce, shape: Shape) -> None:
        self.em, self.target, self.op, self.shape = em, target, op, shape
        self.dtype = op.result.dtype
        self.element = register_type(self.dtype)
        start = constant(self.element, neutral(op.op, self.dtype), shape.lanes)
        self.regs = [(vec(self.element, shape.lanes), start)] * shape.units

    def update(self, unit: int, term: Term) -> None:
        """Take in one vector."""
        type_, old = self.regs[unit]
        lanes = self.shape.lanes
        new = self._combine(old, term.value, lanes)
        self.regs[unit] = type_, select(self.em, term.mask, type_, lanes, new, old)

    def finish(self) -> Regs:
        """Return the result."""
        regs = [value for _, value in self.regs]
        if not self.shape.across:
            return regs
        total = regs[0]
        for value in regs[1:]:
            total = self._combine(total, value, self.shape.lanes)
        for half in splits(self.shape.lanes):
            low, high = halves(self.em, self.element, total, 2 * half)
            total = self._combine(low, high, half)
        return [total]

    def _absorb(self, values: Sequence[str]) -> None:
        lanes = self.shape.lanes
        for unit, value in enumerate(values):
            type_, old = self.regs[unit]
            self.regs[unit] = type_, self._combine(old, value, lanes)

    def _combine(self, a: str, b: str, lanes: int) -> str:
        return combine(self.em, self.target, self.op.op, self.dtype, a, b, lanes)


class Count(_InRegisters):
    """Sums of truths as integers: how many bits of each mask are set.

    A scalar a unit, where vectors of integers would be several times as wide as what
    is compared.
    """

    def __init__(self, em: Emitter, op: Reduce, shape: Shape) -> None:
        self.em, self.op, self.shape = em, op, shape
        self.element = register_type(op.result.dtype)
        self.regs = [("i64", "0")] * shape.units

    def update(self, unit: int, term: Term) -> None:
        """Take in one vector of zeros and ones."""
        em, lanes = self.em, self.shape.lanes
        truths, bits = vec("i1", lanes), f"i{lanes}"
        found = em.op(f"trunc {vec(self.element, lanes)} {term.value} to {truths}")
        if term.mask is not None:
            found = em.op(f"and {truths} {found}, {term.mask}")
        found = em.op(f"bitcast {truths} {found} to {bits}")
        count = em.intrinsic("llvm.ctpop", bits, found)
        count = count if lanes == 64 else em.op(f"zext {bits} {count} to i64")
        self._add(unit, count)

    def finish(self) -> Regs:
        """Return the sum."""
        total = self.regs[0][1]
        for _, value in self.regs[1:]:
            total = self.em.op(f"add i64 {total}, {value}")
        if self.element == "i64":
            return [total]
        return [self.em.op(f"trunc i64 {total} to {self.element}")]

    def _absorb(self, values: Sequence[str]) -> None:
        for unit, value in enumerate(values):
            self._add(unit, value)

    def _add(self, unit: int, value: str) -> None:
        total = self.em.op(f"add i64 {self.regs[unit][1]}, {value}")
        self.regs[unit] = "i64", total


class ArgFold(_InRegisters):
    """argmax and argmin: the first place of the extremum; NaN counts as one.

    Each lane keeps its best value and the place of the first element of the block that
    it was in: `finish` adds where in a block the lane is. A lane starts with the worst
    value in the first block, so that places are right even where nothing is better.
    """

    needs_places = True

    def __init__(self, em: Emitter, op: Reduce, shape: Shape) -> None:
        self.em, self.op, self.shape = em, op, shape
        self.dtype = dtype_of(op.operand)
        self.element = register_type(self.dtype)
        worst = _least(self.dtype) if op.op == "argmax" else _greatest(self.dtype)
        self.place = "i32" if shape.count < 2**31 else "i64"
        start = constant(self.element, worst, shape.lanes)
        zero = constant(self.place, 0, shape.lanes)
        types = [vec(t, shape.lanes) for t in (self.element, self.place)]
        self.regs = list(zip(types, (start, zero), strict=True)) * shape.units
        self.block = zero

    def update(self, unit: int, term: Term) -> None:
        """Take in one vector."""
        em, lanes = self.em, self.shape.lanes
        (type_, best), (places, place) = self.regs[2 * unit : 2 * unit + 2]
        wins = self._beats(term.value, best, lanes)
        if term.mask is not None:
            wins = em.op(f"and {vec('i1', lanes)} {wins}, {term.mask}")
        if unit == 0:
            self.block = self._splat(term.place)
        here = self.block
        self.regs[2 * unit] = type_, select(em, wins, type_, lanes, term.value, best)
        self.regs[2 * unit + 1] = places, select(em, wins, places, lanes, here, place)

    def _splat(self, flat: Index) -> str:
        em, lanes = self.em, self.shape.lanes
        if isinstance(flat, int):
            return constant(self.place, flat, lanes)
        if self.place == "i32":
            flat = em.op(f"trunc i64 {flat} to i32")
        return em.splat(self.place, flat, lanes)

    def _placed(self, unit: int, block: str) -> str:
        """Return the places of elements, for those of their blocks."""
        lanes = self.shape.lanes
        first = unit * lanes
        along = ", ".join(f"{self.place} {first + k}" for k in range(lanes))
        return self.em.op(f"add {vec(self.place, lanes)} {block}, <{along}>")

    def _compare(self, code: str, a: str, b: str, lanes: int) -> str:
        kind = "fcmp" if is_real(self.dtype) else "icmp"
        return self.em.op(f"{kind} {code} {vec(self.element, lanes)} {a}, {b}")

    def _beats(self, a: str, b: str, lanes: int) -> str:
        """Whether a is strictly better than b: greater (or less), or the only NaN."""
        direction = "gt" if self.op.op == "argmax" else "lt"
        if not is_real(self.dtype):
            sign = "s" if is_signed(self.dtype) else "u"
            return self._compare(sign + direction, a, b, lanes)
        better = self._compare("u" + direction, a, b, lanes)
        is_number = self._compare("ord", b, b, lanes)
        return self.em.op(f"and {vec('i1', lanes)} {better}, {is_number}")

    def finish(self) -> Regs:
        """Return the places as i64."""
        pairs = [
            (self.regs[k][1], self.regs[k + 1][1]) for k in range(0, len(self.regs), 2)
        ]
        if self.shape.across:
            if self.shape.lanes > 1:
                pairs = [(x, self._placed(k, at)) for k, (x, at) in enumerate(pairs)]
            return [self._wide(self._fold(pairs), 1)]
        return [self._wide(place, self.shape.lanes) for _, place in pairs]

    def _absorb(self, values: Sequence[str]) -> None:
        lanes = self.shape.lanes
        for k in range(0, len(values), 2):
            old = self.regs[k][1], self.regs[k + 1][1]
            best = self._better(old, (values[k], values[k + 1]), lanes)
            self.regs[k : k + 2] = [
                (self.regs[k][0], best[0]),
                (self.regs[k + 1][0], best[1]),
            ]

    def _fold(self, pairs: list[tuple[str, str]]) -> str:
        lanes = self.shape.lanes
        best = pairs[0]
        for other in pairs[1:]:
            best = self._better(best, other, lanes)
        for half in splits(lanes):
            values = halves(self.em, self.element, best[0], 2 * half)
            places = halves(self.em, self.place, best[1], 2 * half)
            low, high = zip(values, places, strict=True)
            best = self._better(low, high, half)
        return best[1]

    def _better(
        self, a: tuple[str, str], b: tuple[str, str], lanes: int
    ) -> tuple[str, str]:
        """Return the better of two candidates; of equals the one that comes first."""
        em, mask = self.em, vec("i1", lanes)
        wins = self._beats(b[0], a[0], lanes)
        loses = self._beats(a[0], b[0], lanes)
        earlier = em.op(f"icmp slt {vec(self.place, lanes)} {b[1]}, {a[1]}")
        tied = em.op(f"select {mask} {loses}, {mask} {_zeros(lanes)}, {mask} {earlier}")
        wins = em.op(f"or {mask} {wins}, {tied}")
        value = select(em, wins, vec(self.element, lanes), lanes, b[0], a[0])
        place = select(em, wins, vec(self.place, lanes), lanes, b[1], a[1])
        return value, place

    def _wide(self, place: str, lanes: int) -> str:
        if self.place == "i64":
            return place
        return self.em.op(f"sext {vec('i32', lanes)} {place} to {vec('i64', lanes)}")


def _zeros(lanes: int) -> str:
    return constant("i1", False, lanes)


def is_float_sum(op: Reduce) -> bool:
    """Tell whether a reduction follows the fixed tree."""
    return op.op == "add" and is_real(op.result.dtype)


def assign(states: Sequence[State], values: Sequence[str]) -> None:
    """Give the registers of states new values, in order."""
    rest = iter(values)
    for state in states:
        state.regs = [(type_, next(rest)) for type_, _ in state.regs]
