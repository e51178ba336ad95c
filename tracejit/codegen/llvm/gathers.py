"""Rows of tables that are asked for some turns of a loop before they are read.

Where the rows of a large array lie is known as soon as their indices are, and those of
the turns to come are there in memory; no processor guesses them. So a loop over rows

    for i:  k = words[i];  ... table[k, :]

also computes ``words[min(i + distance, last)]`` and prefetches that row. Needs the
analysis of a kernel; establishes for which loads that is done, along which loop and
how far ahead (`fetched_ahead`), and a nest that does it. Such a nest also checks the
indices of a loop that is written out all together: a branch for each of them would keep
LLVM from adding up rows as they come.
"""

from collections.abc import Mapping, Sequence
from functools import cached_property
from math import prod

from ...kernels.kernel import (
    Buffer,
    Compute,
    KernelOp,
    Load,
    Reduce,
    Value,
    operands_of,
    result_of,
)
from ...records import dataclass
from . import elementwise
from .indices import add, axes_in, values_in
from .interleaved import WeavingNest
from .phases import Analysis
from .target import CACHE_LINE
from .treesum import TreeSum

_FAR = 1 << 19  # bytes of a table that a core's own caches do not hold
_LINES = 64  # cache lines that are on their way at least
_MOST_LINES = 4096  # of one turn: a quarter of what a core's own caches hold
_LONGEST_CHAIN = 4  # operations that an index is computed by


@dataclass(frozen=True)
class Ahead:
    """How a load's rows are fetched early.

    Parameters
    ----------
    axis : str
        The loop whose later turns are looked at.
    distance : int
        How many turns later.
    chain : tuple of KernelOp
        What computes the index, in order.
    axes : frozenset of str
        All axes that the index depends on.
    """

    axis: str
    distance: int
    chain: tuple[KernelOp, ...]
    axes: frozenset[str]


def fetched_ahead(
    analysis: Analysis, extents: Mapping[str, int], vector_axis: str | None
) -> dict[KernelOp, Ahead]:
    """Return the loads of a kernel whose rows are worth fetching early."""
    found: dict[KernelOp, Ahead] = {}
    for op in analysis.kernel.body:
        if isinstance(op, Load) and op.check and vector_axis in op.result.axes:
            ahead = _ahead(op, analysis, extents, vector_axis)
            if ahead is not None:
                found[op] = ahead
    return found


def _ahead(
    op: Load, analysis: Analysis, extents: Mapping[str, int], vector_axis: str
) -> Ahead | None:
    buffer = analysis.kernel.buffer(op.buffer)
    if not _is_far(buffer) or not _reads_rows(op, buffer, vector_axis):
        return None
    chain = _chain(op, analysis)
    if not chain or any(vector_axis in analysis.axes(link) for link in chain):
        return None
    axes = frozenset().union(*(analysis.axes(link) for link in chain))
    loops = analysis.schedule.loops
    size = buffer.dtype.itemsize
    for place, axis in enumerate(loops):
        lines = _lines(loops[place + 1 :], op, extents, vector_axis, size)
        if axis in axes and lines <= _MOST_LINES:
            return Ahead(axis, -(-_LINES // lines), chain, axes)
    return None


def _is_far(buffer: Buffer) -> bool:
    return prod(buffer.shape) * buffer.dtype.itemsize > _FAR


def _reads_rows(op: Load, buffer: Buffer, vector_axis: str) -> bool:
    """Tell whether lanes read one run of memory at indices that they share."""
    if any(vector_axis in axes_in(op.map[d]) for d in op.check):
        return False
    steps = [
        coefficient * stride
        for index, stride in zip(op.map, buffer.strides, strict=True)
        for atom, coefficient in index.terms
        if vector_axis in axes_in(type(index)(((atom, 1),)))
    ]
    return steps == [1]


def _chain(op: Load, analysis: Analysis) -> tuple[KernelOp, ...]:
    """Return what computes the checked indices; nothing if that is no short matter."""
    order: list[KernelOp] = []

    def visit(name: str) -> bool:
        maker = analysis.makers.get(name)
        if maker in order:
            return True
        if maker is None or not _is_link(maker, analysis):
            return False
        if len(order) >= _LONGEST_CHAIN:
            return False
        values = [x.name for x in operands_of(maker) if isinstance(x, Value)]
        if not all(map(visit, values)):
            return False
        order.append(maker)
        return True

    names = {v for d in op.check for v in values_in(op.map[d])}
    return tuple(order) if all(map(visit, sorted(names))) else ()


def _is_link(op: KernelOp, analysis: Analysis) -> bool:
    """Tell whether an operation can be done for a later turn: cheaply, and safely."""
    if isinstance(op, Load):
        indices = analysis.indices(op)
        return not op.check and not any(values_in(index) for index in indices)
    return isinstance(op, Compute) and not elementwise.is_math(op.primitive.name)


def _lines(
    inner: Sequence[str],
    op: Load,
    extents: Mapping[str, int],
    vector_axis: str,
    size: int,
) -> int:
    """Return how many cache lines one turn reads, whose loops inside are `inner`."""
    turns = prod(max(extents[a], 1) for a in inner if a != vector_axis)
    run = extents[vector_axis] * size if vector_axis in inner else CACHE_LINE
    return max(1, turns * -(-run // CACHE_LINE))


class GatherNest(WeavingNest):
    """A nest that fetches rows early, and checks the rows of a short sum at once."""

    fetches = True  # whether turns of loops come in order, so that rows can be foreseen

    @cached_property
    def _ahead(self) -> dict[KernelOp, Ahead]:
        if self.axis is None:
            return {}
        return fetched_ahead(self.analysis, self.extents, self.axis)

    def _load(self, op: Load, unit: int, wide: bool) -> str:
        value = super()._load(op, unit, wide)
        ahead = self._ahead.get(op)
        if ahead is not None and wide and not unit and self.fetches:
            self._fetch(op, ahead)
        return value

    def _fetch(self, op: Load, ahead: Ahead) -> None:
        """Prefetch what a block reads some turns later; at the end, the last again."""
        here = self.index.get(ahead.axis)
        if not isinstance(here, str) or not ahead.axes <= self.index.keys():
            return
        outer = self.env, self.index, self.pointers
        later = str(add(self.em, here, ahead.distance))
        last = str(self.extents[ahead.axis] - 1)
        later = self.em.intrinsic("llvm.smin", "i64", later, last)
        self.index = {**self.index, ahead.axis: later}
        self.env, self.pointers = dict(self.env), {}
        for link in ahead.chain:
            result = result_of(link)
            assert result is not None
            self.env.pop(result.name, None)
            self._operation(link, 0)
        access = self.access(op)
        at = self.memory.row(access, self._place(op, access, 0, True))
        self._prefetch(at, access.dtype.itemsize)
        self.env, self.index, self.pointers = outer

    def _prefetch(self, at: str, itemsize: int) -> None:
        """Prefetch a block, and its last byte: rows may begin anywhere."""
        block, size = self._block, self.lanes * itemsize
        places = list(range(0, block.units * size, CACHE_LINE))
        if block.mask is None:
            places.append(block.units * size - 1)
        for place in places:
            self.em.prefetch(self.em.gep("i8", at, place), False, locality=3)

    def _unrolled(
        self, depth: int, ops: Sequence[KernelOp], sums: Sequence[TreeSum]
    ) -> None:
        self.memory.postpone()
        super()._unrolled(depth, ops, sums)
        failure = self.memory.postponed()
        if failure is not None:
            with self.em.if_(failure, unlikely=True) as failed:
                self._report(depth, ops)
                failed.yield_([])

    def _report(self, depth: int, ops: Sequence[KernelOp]) -> None:
        """Go through a loop again, for the first index that is out of range."""
        axis = self.loops[depth]
        env, pointers = dict(self.env), dict(self.pointers)
        self.fetches = False
        with self._carrying(0, self.extents[axis], 1, ()) as index:
            self.index[axis] = index
            self.advance(ops, axis, index)
            self.segment([op for op in ops if not isinstance(op, Reduce)])
            del self.index[axis]
        self.fetches = True
        self.env, self.pointers = env, pointers
