"""Kernels cut where conditions on positions change: pads, joins and rolls.

A kernel that pads or joins arrays asks at each element which of them it is in. In most
ranges of an axis the answer is known; each range is a kernel of its own, without what
is not read there, and without conditions where all are decided:

    for i < 10: y[i] = select(i < 4, a[i] where 0 <= i < 4, b[i - 4] where 0 <= i - 4)
    →   for i < 4: y[i] = a[i]
        for i < 6: y[i + 4] = b[i]

The last axis is cut at multiples of `GRAIN`, so that vectors lie in the result as
before: what lies between is a short range that keeps its conditions. A short last axis,
of arrays that are stacked, is written out instead, and vectors run along the axis
outside of it. Needs a kernel without reductions, loops of elements and
run-time indices; establishes kernels that write each element of its outputs once.
"""

from collections.abc import Hashable, Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from itertools import pairwise
from math import prod
from typing import TypeGuard

from ..ir.dtypes import BOOL, INT64
from ..ir.graph import Literal
from .kernel import (
    Axis,
    Bound,
    Compute,
    Iota,
    Kernel,
    KernelOp,
    Load,
    Operand,
    Store,
    Value,
    indices_of,
    needed,
    values_of,
)
from .maps import Affine, AxisIndex, axes_in, axis, values_in
from .parts import Part, restricted, with_body
from .ranges import range_of
from .schedule import Role, Schedule

LEAST = 2048  # elements: in fewer, loops of their own cost what conditions do
GRAIN = 16  # elements along the last axis
SHORT = 8  # elements of a last axis
LARGE = 8  # a range of that part of an axis is worth being cut along others
MOST_OPERATIONS = 300  # of all ranges together, as code takes time to be compiled
MOST_PLACES = 64  # along an axis
_NEGATED = {"ge": "lt", "gt": "le", "ne": "eq"}
_COMPARISONS = frozenset({"lt", "le", "eq", *_NEGATED})


def cut(kernel: Kernel, schedule: Schedule) -> list[Part]:
    """Return kernels that do together what one does, in ranges of its axes.

    Parameters
    ----------
    kernel : Kernel
    schedule : Schedule
        Of its axes, outermost first.

    Returns
    -------
    list of (Kernel, Schedule)
        The kernel itself where nothing is gained.
    """
    whole = [(kernel, schedule)]
    if not _can_be_cut(kernel):
        return whole
    ranges = _cut_along(kernel, schedule.loops)
    if sum(len(part.body) for part in ranges) > MOST_OPERATIONS or ranges == [kernel]:
        return whole
    return [(part, _in_vectors(restricted(schedule, part))) for part in ranges]


def _in_vectors(schedule: Schedule) -> Schedule:
    """Return a schedule whose last loop is of vectors, if no other is."""
    if schedule.vector_axis is not None or not schedule.loops:
        return schedule
    roles = {**schedule.roles, schedule.loops[-1]: Role.VECTOR}
    return replace(schedule, roles=roles)


def _can_be_cut(kernel: Kernel) -> bool:
    if prod(a.extent for a in kernel.axes) < LEAST:
        return False
    return all(_is_pointwise(op) for op in kernel.body)


def _is_pointwise(op: KernelOp) -> bool:
    if any(map(values_in, indices_of(op))):
        return False
    return isinstance(op, Load | Compute | Iota | Store)


def _cut_along(kernel: Kernel, loops: Sequence[str]) -> list[Kernel]:
    """Cut along the first axis of `loops`, and large ranges along the others."""
    if not loops:
        return [kernel]
    first, *rest = loops
    extent = kernel.extent(first)
    places = set(_places(kernel, first))
    if not places or len(places) > MOST_PLACES:
        return _cut_along(kernel, rest)
    if not rest and extent <= SHORT:
        return [_written_out(kernel, first)]
    out = []
    for low, high in _ranges(places, extent, 1 if rest else GRAIN):
        part = _in_range(kernel, first, low, high)
        is_large = (high - low) * LARGE >= extent
        out += _cut_along(part, rest) if is_large else [part]
    return out


def _ranges(places: set[int], extent: int, grain: int) -> Iterator[tuple[int, int]]:
    """Yield ranges that places lie between, or inside of ones as short as `grain`."""
    ends = {0, extent}
    for place in places:
        ends |= {place // grain * grain, min(-(-place // grain) * grain, extent)}
    return pairwise(sorted(ends))


# --- where conditions change --------------------------------------------------------


def _places(kernel: Kernel, name: str) -> Iterator[int]:
    """Yield positions along an axis from which on some condition is another one."""
    counts = {op.result.name: op.index for op in kernel.body if _is_count(op)}
    for op in kernel.body:
        for index, comparison in _signs(op, counts):
            place = _change(index, comparison, name)
            if place is not None and 0 < place < kernel.extent(name):
                yield place


def _is_count(op: KernelOp) -> TypeGuard[Iota]:
    """Tell whether an operation counts positions, in integers that hold all of them."""
    return isinstance(op, Iota) and op.result.dtype == INT64


def _signs(op: KernelOp, counts: Mapping[str, Affine]) -> Iterator[tuple[Affine, str]]:
    """Yield conditions ``index < 0`` (lt) and ``index <= 0`` (le) that decide."""
    if isinstance(op, Load):
        for bound in op.bounds:
            yield bound.index, "lt"
            yield bound.index + -bound.extent, "lt"
    elif isinstance(op, Compute) and (difference := _difference(op, counts)):
        comparison = _NEGATED.get(op.primitive.name, op.primitive.name)
        for one in ("lt", "le") if comparison == "eq" else (comparison,):
            yield difference, one


def _change(index: Affine, comparison: str, name: str) -> int | None:
    """Return from which position on a condition is another one, if an axis decides."""
    if len(index.terms) != 1:
        return None
    ((atom, step),) = index.terms
    if atom != AxisIndex(name) or abs(step) != 1:
        return None
    zero, is_open = -index.constant * step, comparison == "lt"
    return zero + (is_open == (step < 0))


def _difference(op: Compute, counts: Mapping[str, Affine]) -> Affine | None:
    """Return a - b of a comparison between positions a and b; None of all else."""
    if op.primitive.name not in _COMPARISONS:
        return None
    a, b = (_position(x, counts) for x in op.operands)
    return None if a is None or b is None else a + b * -1


def _position(x: Operand, counts: Mapping[str, Affine]) -> Affine | None:
    if isinstance(x, Value):
        return counts.get(x.name)
    return Affine((), int(x.value)) if x.aval.dtype == INT64 else None


# --- a kernel in a range --------------------------------------------------------------


def _in_range(kernel: Kernel, name: str, low: int, high: int) -> Kernel:
    """Return what a kernel does for ``low <= axis < high``; one place is no axis."""
    axes = tuple(Axis(name, high - low) if a.name == name else a for a in kernel.axes)
    moved = {name: axis(name) + low if high - low > 1 else Affine((), low)}
    made = _Decisions({a.name: a.extent for a in axes})
    for op in kernel.body:
        made.add(_moved(op, moved))
    return with_body(replace(kernel, axes=axes), needed(made.body))


def _written_out(kernel: Kernel, name: str) -> Kernel:
    """Return what a kernel does without an axis: for each place, one after another."""
    made = _Decisions({a.name: a.extent for a in kernel.axes})
    for place in range(kernel.extent(name)):
        made.begin(f".{place}")
        for op in kernel.body:
            made.add(_moved(op, {name: Affine((), place)}))
    return with_body(kernel, needed(made.body))


def _moved(op: KernelOp, to: Mapping[str, Affine]) -> KernelOp:
    """Return an operation with other index expressions for axes."""
    if isinstance(op, Load):
        bounds = tuple(Bound(b.index.substitute(to), b.extent) for b in op.bounds)
        return replace(op, map=tuple(i.substitute(to) for i in op.map), bounds=bounds)
    if isinstance(op, Store):
        return replace(op, map=tuple(i.substitute(to) for i in op.map))
    return replace(op, index=op.index.substitute(to)) if isinstance(op, Iota) else op


class _Decisions:
    """Operations without what their ranges decide.

    Parameters
    ----------
    extents : mapping of str to int
        Of the axes.
    """

    def __init__(self, extents: Mapping[str, int]) -> None:
        self.extents = extents
        self.body: list[KernelOp] = []
        self.known: dict[str, Operand] = {}  # what each value of the kernel is here
        self.counts: dict[str, Affine] = {}
        self.loaded: dict[Hashable, Value] = {}
        self.suffix = ""

    def begin(self, suffix: str) -> None:
        """Start at the first operation again, with other names for results."""
        self.known, self.counts, self.suffix = {}, {}, suffix

    def add(self, op: KernelOp) -> None:
        """Take in the next operation."""
        if isinstance(op, Load):
            self._load(op)
        elif isinstance(op, Compute):
            self._compute(op)
        elif isinstance(op, Store):
            self.body.append(replace(op, value=self._now(op.value)))
        else:
            assert isinstance(op, Iota)
            if _is_count(op):
                self.counts[op.result.name + self.suffix] = op.index
            self._keep(op, axes_in(op.index))

    def _now(self, x: Operand) -> Operand:
        return self.known.get(x.name, x) if isinstance(x, Value) else x

    def _load(self, op: Load) -> None:
        ranges = [(b, *range_of(b.index, self.extents, ())) for b in op.bounds]
        if any(high < 0 or low >= b.extent for b, low, high in ranges):
            assert op.fill is not None
            self.known[op.result.name] = op.fill
            return
        open_ = [b for b, low, high in ranges if low < 0 or high >= b.extent]
        now = replace(op, bounds=tuple(open_), fill=op.fill if open_ else None)
        place = (op.buffer, op.map) if not open_ else None
        if place in self.loaded:
            self.known[op.result.name] = self.loaded[place]
            return
        self._keep(now, set[str]().union(*map(axes_in, indices_of(now))))
        if place is not None:
            self.loaded[place] = self.body[-1].result  # type: ignore[union-attr]

    def _compute(self, op: Compute) -> None:
        now = replace(op, operands=tuple(map(self._now, op.operands)))
        found = self._decided(now)
        if found is None:
            self._keep(now, set[str]().union(*(x.axes for x in values_of(now))))
        else:
            self.known[op.result.name] = found

    def _keep(self, op: Load | Compute | Iota, axes: Iterable[str]) -> None:
        """Add an operation whose result varies along these axes."""
        name = op.result.name
        result = replace(op.result, name=name + self.suffix, axes=frozenset(axes))
        self.known[name] = result
        self.body.append(replace(op, result=result))

    def _decided(self, op: Compute) -> Operand | None:
        """Return what a result is, if it need not be computed."""
        name, operands = op.primitive.name, op.operands
        if name == "select" and isinstance(operands[0], Literal):
            return operands[1] if operands[0].value else operands[2]
        if name in ("and", "or") and op.result.dtype == BOOL:
            return _joined_truths(name, operands)
        if name == "not" and op.result.dtype == BOOL:
            (x,) = operands
            return Literal(not x.value, BOOL) if isinstance(x, Literal) else None
        return self._comparison(op)

    def _comparison(self, op: Compute) -> Literal | None:
        difference = _difference(op, self.counts)
        if difference is None:
            return None
        low, high = range_of(difference, self.extents, ())
        name = op.primitive.name
        holds = _holds(_NEGATED.get(name, name), low, high)
        return None if holds is None else Literal(holds != (name in _NEGATED), BOOL)


def _holds(comparison: str, low: int, high: int) -> bool | None:
    """Tell whether a number from `low` to `high` is <, <= or = 0; None if it may be."""
    if comparison == "eq":
        return True if low == high == 0 else False if low > 0 or high < 0 else None
    limit = 0 if comparison == "lt" else 1
    return True if high < limit else False if low >= limit else None


def _joined_truths(name: str, operands: Sequence[Operand]) -> Operand | None:
    """Return `and` or `or` of truths of which one is known; None otherwise."""
    for known, other in (operands, operands[::-1]):
        if isinstance(known, Literal):
            return other if bool(known.value) == (name == "and") else known
    return None
