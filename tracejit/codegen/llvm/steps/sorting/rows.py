"""The rows of an array, each sorted by one function: where they lie, who sorts them."""

from collections.abc import Sequence
from dataclasses import replace
from math import prod
from typing import cast

import numpy as np

from .....ir.ops.sort import Places
from .....ir.primitive import Params
from .....kernels.kernel import Buffer
from .....records import dataclass
from ...conv_rows import Rows as RowCopier
from ...externs import Layout
from ...indices import Index, add, multiply
from ...sharing import SERIAL, Ranges
from ...target import CACHE_LINE, aligned
from ..code import Setting, StepCode, step_over
from .keys import Cells, has_keys
from .network import NetworkWriter, is_networked
from .pieces import Functions
from .quick import is_parted
from .ranks import RankWriter, is_short
from .split import SplitWriter, is_split
from .whole import WholeRow

_MOST_SIDE = 1 << 20  # bytes of rows that are collected together
_MOVE_NS = 2.0  # to collect or to spread an element
_LEAST_TURNED = 4  # bytes of elements that vectors are transposed of
_PAGE = 4096  # bytes
_LONGEST = 1 << 31
_PARTED = 512  # elements of a row, from which on a network of all costs more
Pair = tuple[str, str]


@dataclass(frozen=True)
class Rows:
    """What is sorted.

    Parameters
    ----------
    x, out : Buffer
    axis : int
    has_order : bool
        Whether the result has places, as int64, and not values.
    places : tuple of (int, int)
        Ranges of the sorted row that the result has; none for all of it.
    """

    x: Buffer
    out: Buffer
    axis: int
    has_order: bool
    places: Places = ()

    @property
    def length(self) -> int:
        """How many elements a row has."""
        return self.x.shape[self.axis]

    @property
    def count(self) -> int:
        """How many rows there are."""
        return prod(self.x.shape) // self.length

    @property
    def steps(self) -> tuple[int, int]:
        """The strides of the operand and of the result along a row."""
        return self.x.strides[self.axis], self.out.strides[self.axis]

    @property
    def is_dense(self) -> bool:
        """Whether rows are where a function can read and write them."""
        is_whole = not self.places
        return is_whole and (self.steps == (1, 1) or self.length == 1)

    def rest(self) -> Layout:
        """Return the other axes, the one with the smallest steps last."""
        found = [
            (n, self.x.strides[d], self.out.strides[d])
            for d, n in enumerate(self.out.shape)
            if d != self.axis and n > 1
        ]
        found.sort(key=lambda axis: -abs(axis[1]))
        return Layout(
            tuple(n for n, _, _ in found),
            (tuple(a for _, a, _ in found), tuple(b for *_, b in found)),
        )


def write_sort(
    name: str,
    setting: Setting,
    inputs: Sequence[Buffer],
    outputs: Sequence[Buffer],
    params: Params,
) -> StepCode | None:
    """Return the functions of ``sort`` or ``argsort``; see `write_step`."""
    (x,), (out,), axis = inputs, outputs, params["axis"]
    assert isinstance(axis, int)
    places = cast(Places, params.get("places", ()))
    rows = Rows(x, out, axis, name.startswith("arg"), places)
    if not has_keys(x.dtype) or not prod(out.shape) or rows.length >= _LONGEST:
        return None
    return _StepWriter(setting, rows).emit()


class _StepWriter:
    """Writes the function over a range of groups of rows, and what it calls."""

    def __init__(self, setting: Setting, rows: Rows) -> None:
        self.setting, self.rows = setting, rows
        self.functions = Functions(setting.symbol, setting.target, setting.new_emitter)
        self.em = setting.new_emitter()
        self.cells = Cells(rows.x.dtype, rows.has_order)
        self.writer = self._writer()
        self.rest = rows.rest()
        self.group = 1 if rows.is_dense else self._group()

    def _writer(self) -> NetworkWriter | RankWriter | SplitWriter | WholeRow:
        """Return what writes the function of a row."""
        cells, length, functions = self.cells, self.rows.length, self.functions
        threading, target = self.setting.threading, self.setting.target
        places = self.rows.places
        if places and length >= _PARTED and is_parted(target, cells, places):
            return WholeRow(functions, cells, length, places=places)
        if is_networked(target, cells, length):
            slow: RankWriter | WholeRow = WholeRow(functions, cells, length, True)
            if is_short(target, cells.width, length):
                slow = RankWriter(functions, cells, length)
            return NetworkWriter(functions, cells, length, slow)
        if is_short(target, cells.width, length):
            return RankWriter(functions, cells, length)
        own = threading if self.rows.count < threading.threads else SERIAL
        if is_split(target, cells, length, own):
            return SplitWriter(functions, cells, length, own)
        return WholeRow(functions, cells, length)

    def _group(self) -> int:
        """Return how many rows are collected together."""
        size = self.rows.out.dtype.itemsize + self.rows.x.dtype.itemsize
        fitting = _MOST_SIDE // (size * self.rows.length)
        along = self.rest.shape[-1] if self.rest.shape else 1
        most = CACHE_LINE // self.rows.x.dtype.itemsize
        return max(1, min(fitting, along, most))

    def emit(self) -> StepCode:
        """Return the step."""
        rows, writer = self.rows, self.writer
        writer.emit()
        along = self.rest.shape[-1] if self.rest.shape else 1
        groups = -(-along // self.group)
        extent = rows.count // along * groups
        with self.em.loop("%begin", "%end", 1) as loop:
            self._some(loop.index, groups, along)
            loop.yield_([])
        self.em.ret()
        own = aligned(self.writer.scratch_bytes)
        if not rows.is_dense:
            own += sum(self._side_bytes)
        ranges = Ranges(None, f"{self.setting.symbol}.range", extent, 1, 0, own)
        work = rows.count * writer.work
        if not rows.is_dense:
            work += int(_MOVE_NS * prod(rows.out.shape))
        return self._step(ranges, work)

    @property
    def _side_bytes(self) -> tuple[int, int]:
        """What collected rows take, and sorted ones before they are spread."""
        count = self.group * self._pitch
        return aligned(count * self._sizes[0]), aligned(count * self._sizes[1])

    def _step(self, ranges: Ranges, work: int) -> StepCode:
        setting = self.setting
        shared = 0
        if isinstance(self.writer, SplitWriter) and self.writer.is_shared:
            # Rows share their own work: they are sorted one after another.
            setting = replace(setting, threading=SERIAL)
            shared = work
        code = step_over(setting, ranges, self.em, ["%x", "%out"], work, per_thread=4)
        text = "\n".join((*self.functions.texts.values(), code.text))
        return StepCode(text, code.scratch_bytes, False, shared or code.shared_ns)

    # A group of rows

    def _some(self, number: str, groups: int, along: int) -> None:
        """Sort the rows of one group: with `groups` of them along the last axis."""
        em = self.em
        column: Index = 0
        outer: Index = number
        if groups > 1:
            column = multiply(em, em.op(f"urem i64 {number}, {groups}"), self.group)
            outer = em.op(f"udiv i64 {number}, {groups}")
        at = [self._place(k, outer, column) for k in (0, 1)]
        if self.rows.is_dense:
            self.writer.call(em, at[0], at[1], "%own")
            return
        count: Index = self.group
        if along % self.group:
            rest = em.op(f"sub nsw i64 {along}, {column}")
            count = em.intrinsic("llvm.smin", "i64", rest, str(self.group))
        self._collected(at, count)

    def _collected(self, at: Sequence[str], count: Index) -> None:
        """Collect rows, sort them, and spread what they became."""
        em = self.em
        here = em.gep("i8", "%own", aligned(self.writer.scratch_bytes))
        there = em.gep("i8", here, self._side_bytes[0])
        self._between(0, at[0], here, count)
        with em.loop(0, count, 1) as loop:
            start = multiply(em, loop.index, self._pitch)
            pairs = zip(self._types, (here, there), strict=True)
            ends = [em.gep(type_, pointer, start) for type_, pointer in pairs]
            self.writer.call(em, ends[0], ends[1], "%own")
            loop.yield_([])
        self._between(1, at[1], there, count)

    @property
    def _pitch(self) -> int:
        """From one collected row to the next, in elements: whole cache lines.

        Not of whole pages, whose elements would have few places in a cache.
        """
        size = min(self._sizes)
        pitch = aligned(self.rows.length, CACHE_LINE // size)
        return pitch + (CACHE_LINE // size) * (pitch * size % _PAGE == 0)

    @property
    def _sizes(self) -> tuple[int, int]:
        return self.rows.x.dtype.itemsize, self.rows.out.dtype.itemsize

    @property
    def _types(self) -> tuple[str, str]:
        return f"i{8 * self._sizes[0]}", f"i{8 * self._sizes[1]}"

    def _place(self, k: int, outer: Index, column: Index) -> str:
        """Return where a row begins in the operand, or in the result."""
        em = self.em
        total: Index = 0
        shape, strides = self.rest.shape, self.rest.strides[k]
        if not shape:
            return ("%x", "%out")[k]
        total = multiply(em, column, strides[-1])
        shape, strides = shape[:-1], strides[:-1]
        inner = prod(shape)
        for n, stride in zip(shape, strides, strict=True):
            place = outer
            if inner != prod(shape):
                place = em.op(f"urem i64 {place}, {inner}")
            inner //= n
            if inner > 1:
                place = em.op(f"udiv i64 {place}, {inner}")
            total = add(em, total, multiply(em, place, stride))
        return em.gep(self._types[k], ("%x", "%out")[k], total)

    def _between(self, k: int, array: str, side: str, count: Index) -> None:
        """Collect rows side by side, or spread what they became."""
        far = 0
        for start, stop in self._ranges(k):
            self._copied(k, (array, side), (far, start), stop - start, count)
            far += stop - start

    def _ranges(self, k: int) -> Places:
        return (k and self.rows.places) or ((0, self.rows.length),)

    def _copied(
        self, k: int, ends: Pair, starts: tuple[int, int], extent: int, count: Index
    ) -> None:
        """Copy a range of rows, from where it starts in the array and at the side."""
        em, type_ = self.em, self._types[k]
        array = em.gep(type_, ends[0], starts[0] * self.rows.steps[k])
        there = array, em.gep(type_, ends[1], starts[1])

        def whole() -> list[str]:
            self._turned(k, there, extent)
            return []

        def some() -> list[str]:
            self._one_by_one(k, there, extent, count)
            return []

        if not self._is_turned(k):
            some()
        elif count == self.group:
            whole()
        else:
            is_whole = em.op(f"icmp eq i64 {count}, {self.group}")
            em.if_else(is_whole, [], whole, some)

    def _is_turned(self, k: int) -> bool:
        """Tell whether rows of a whole group lie side by side, in whole vectors."""
        size = self._sizes[k]
        is_adjacent = self.rest.strides[k][-1:] == (1,)
        lanes = self.setting.target.lanes(8 * size)
        return is_adjacent and size >= _LEAST_TURNED and self.group % lanes == 0

    def _turned(self, k: int, ends: Pair, extent: int) -> None:
        """Copy a group of rows, squares of vectors at a time."""
        array, side = ends
        step, dtype = self.rows.steps[k], np.dtype(f"f{self._sizes[k]}")
        copier = RowCopier(self.em, dtype, self.setting.target)
        if k:
            shape = self.group, extent
            copier.turn(side, (self._pitch, 1), array, step, shape)
        else:
            shape = extent, self.group
            copier.turn(array, (step, 1), side, self._pitch, shape)

    def _one_by_one(self, k: int, ends: Pair, extent: int, count: Index) -> None:
        em, type_, size = self.em, self._types[k], self._sizes[k]
        step, across = self.rows.steps[k], self.rest.strides[k][-1:] or (0,)
        with em.loop(0, extent, 1) as along:
            near = em.gep(type_, ends[1], along.index)
            far = em.gep(type_, ends[0], multiply(em, along.index, step))
            with em.loop(0, count, 1) as loop:
                here = em.gep(type_, near, multiply(em, loop.index, self._pitch))
                there = em.gep(type_, far, multiply(em, loop.index, across[0]))
                source, to = (here, there) if k else (there, here)
                em.store(type_, em.load(type_, source, size), to, size)
                loop.yield_([])
            along.yield_([])
