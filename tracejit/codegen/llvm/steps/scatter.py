"""Scatters: updates stored at, or combined with, places known at run time.

The result is a copy of the operand already; a function then walks the positions of the
index arrays in order: it reads, wraps and checks the indices of one, and has
out[place] = op(out[place], update), whole rows, while a row of places to come is
fetched.

Threads, from three on, share the *places*, not the positions: each walks all indices
and applies the updates of its own range. So what meets at one place is combined in the
order of positions, as in NumPy, and the bits are those of a serial run for any number
of threads. Such a range goes a block of positions at a time:

    collect   read, wrap and check the indices of a block; list where each update lies
              and where it goes, of those that go to this range of places
    apply     update the rows on the list

The lists let apply fetch the updates that it needs of all, and run without a branch
that is hard to predict.
"""

from collections.abc import Sequence
from dataclasses import replace
from math import prod

import numpy as np

from ....ir.aval import Shape
from ....ir.ops.shape import ints
from ....ir.primitive import Params
from ....kernels.cost import BYTE_NS
from ....kernels.kernel import Buffer
from ....records import dataclass
from ...error_word import index_word
from ..elementwise import can_combine, combine
from ..externs import Layout, joined
from ..indices import Index, add, multiply
from ..sharing import Ranges
from ..shuffles import compressed
from ..target import CACHE_LINE, Target, aligned
from ..text import Emitter, constant, vec
from ..values import memory_type, narrow, register_bits, widen
from .code import Setting, StepCode, step_over

_BLOCK = 512  # positions that are collected before they are applied
_AHEAD = 24  # positions, or entries of the list, between a prefetch and its use
_UPDATES_AHEAD = 8192  # bytes, where updates are prefetched without a list
_PREFETCHED = 4  # cache lines of a row
_NEAR = 1 << 15  # bytes of a result that stay in the nearest cache
_UNROLLED = 8  # whole vectors of a row before they become a loop
_SKIPPING = 2.0  # times as long per row, where rows between them are left out


@dataclass(frozen=True)
class Scatter:
    """What a scatter does, by buffers that are not complex.

    Parameters
    ----------
    op : str
        ``set``, ``add``, ``mul``, ``max`` or ``min``.
    updates, out : Buffer
    indices : tuple of Buffer
    axes : tuple of int
        Of `out`, that the indices are for.
    batch : int
        Leading axes that `out` and the indices share.
    is_checked : bool
        Whether indices wrap and are checked; else they are clamped.
    """

    op: str
    updates: Buffer
    indices: tuple[Buffer, ...]
    out: Buffer
    axes: Shape
    batch: int
    is_checked: bool

    @property
    def dtype(self) -> np.dtype:
        """Of the result and the updates."""
        return self.out.dtype

    @property
    def positions(self) -> Shape:
        """The shape of one batch of the index arrays."""
        return self.indices[0].shape[self.batch :]

    @property
    def places(self) -> int:
        """How many rows one batch of the result has."""
        return prod(self.out.shape[a] for a in self.axes)

    @property
    def batches(self) -> Shape:
        """The extents of the batch axes."""
        return self.out.shape[: self.batch]

    @property
    def row_bytes(self) -> int:
        """What one update has."""
        return prod(self.window.shape) * self.dtype.itemsize

    @property
    def window(self) -> Layout:
        """The axes of a row, with the strides of the result and of the updates."""
        taken = {*range(self.batch), *self.axes}
        rest = [d for d in range(len(self.out.shape)) if d not in taken]
        shape = tuple(self.out.shape[d] for d in rest)
        there = tuple(self.out.strides[d] for d in rest)
        here = self.updates.strides[len(self.indices[0].shape) :]
        return joined(Layout(shape, (there, here)))

    def along(self, buffer: Buffer) -> Layout:
        """Return how updates or indices lie along the positions of a batch."""
        last = self.batch + len(self.positions)
        return joined(Layout(self.positions, (buffer.strides[self.batch : last],)))


def scatter_of(
    updates: Buffer, indices: Sequence[Buffer], out: Buffer, params: Params
) -> Scatter | None:
    """Return what a scatter does; None if `write_scatter` cannot write it.

    Sums and stores of complex numbers are those of their parts, which are one more axis
    of a row.
    """
    op = str(params["op"])
    if out.dtype.kind == "c" and op in ("add", "set"):
        updates, out = _parts(updates), _parts(out)
    if op != "set" and not can_combine(op, out.dtype):
        return None
    batch = params["batch"]
    assert isinstance(batch, int)
    is_checked = params["mode"] == "raise"
    axes = ints(params, "axes")
    found = Scatter(op, updates, tuple(indices), out, axes, batch, is_checked)
    if not prod(updates.shape) or not prod(out.shape):
        return None
    return found


def _parts(buffer: Buffer) -> Buffer:
    """Return a complex buffer as one of real numbers, with one more axis."""
    dtype = np.dtype(f"f{buffer.dtype.itemsize // 2}")
    strides = tuple(2 * s for s in buffer.strides)
    return replace(buffer, dtype=dtype, shape=(*buffer.shape, 2), strides=(*strides, 1))


def write_scatter(
    name: str,
    setting: Setting,
    inputs: Sequence[Buffer],
    outputs: Sequence[Buffer],
    params: Params,
) -> StepCode | None:
    """Return the functions of a scatter; see `write_step`."""
    scatter = scatter_of(inputs[1], inputs[2:], outputs[0], params)
    if scatter is None:
        return None
    pointers = ["%updates", *(f"%i{k}" for k in range(len(scatter.indices))), "%out"]
    work = _shared_work(scatter, setting.threading.threads)
    is_shared = setting.threading.shares(work)
    written = _Range(scatter, setting.target, setting.new_emitter(), is_shared)
    written.emit()
    return step_over(
        setting,
        _ranges(setting.symbol, scatter, written),
        written.em,
        pointers,
        work,
        per_thread=1,
        can_fail=scatter.is_checked,
        in_place=True,
    )


def _shared_work(scatter: Scatter, threads: int) -> int:
    """Estimate, in nanoseconds, the work that threads save each other.

    Each walks all positions. Of the updates it reads those of its own places, here and
    there, where one thread alone reads them in a row, which memory does ahead.
    """
    rows = prod(scatter.indices[0].shape) * 3 * scatter.row_bytes * BYTE_NS
    return int(rows * max(0.0, 1 - _SKIPPING / threads))


def _ranges(symbol: str, scatter: Scatter, written: "_Range") -> Ranges:
    """Return the ranges of places; none begins inside of a cache line."""
    extent = scatter.places * prod(scatter.batches)
    quantum = -(-CACHE_LINE // scatter.row_bytes)
    own = aligned(16 * written.room) if written.is_shared else 0
    return Ranges(None, f"{symbol}.range", extent, quantum, 0, own)


@dataclass(frozen=True)
class _Batch:
    """Where one batch is, and the places in it that the range has."""

    updates: str
    indices: tuple[str, ...]
    out: str
    first: Index
    count: Index


class _Range:
    """Writes the body of the function that applies the updates to a range of places."""

    def __init__(
        self, scatter: Scatter, target: Target, em: Emitter, is_shared: bool
    ) -> None:
        self.scatter, self.target, self.em = scatter, target, em
        size = prod(scatter.out.shape) * scatter.dtype.itemsize
        self.is_near = size <= _NEAR
        self.is_shared = is_shared
        self.cell = memory_type(scatter.dtype)
        self.window = scatter.window
        self.lines = [scatter.along(i) for i in scatter.indices]
        self.count = prod(scatter.positions)
        self.block = min(_BLOCK, self.count)
        self.lanes = self._collected_lanes()
        self.room = self.block + _AHEAD + self.lanes  # of a list, in entries

    def _collected_lanes(self) -> int:
        """Return how many positions are collected together."""
        if self.target.name != "avx512":
            return 1
        layouts = (*self.lines, self.scatter.along(self.scatter.updates))
        has_one_axis = all(len(layout.shape) <= 1 for layout in layouts)
        is_dense = all(line.strides[0] in ((), (0,), (1,)) for line in self.lines)
        return self.target.lanes(64) if has_one_axis and is_dense else 1

    def emit(self) -> None:
        """Write the loop over batches."""
        em, scatter = self.em, self.scatter
        batches = prod(scatter.batches)
        pointers = tuple(f"%i{k}" for k in range(len(scatter.indices)))
        size = em.op("sub nsw i64 %end, %begin")
        if batches == 1:
            self._positions(_Batch("%updates", pointers, "%out", "%begin", size))
            em.ret()
            return
        first = em.op(f"sdiv i64 %begin, {scatter.places}")
        last = em.op(f"add nsw i64 %end, {scatter.places - 1}")
        last = em.op(f"sdiv i64 {last}, {scatter.places}")
        with em.loop(first, last, 1) as loop:
            before = multiply(em, loop.index, scatter.places)
            # Negative where the range begins in an earlier batch.
            begin = em.op(f"sub nsw i64 %begin, {before}")
            indices = (
                self._moved(p, buffer, loop.index)
                for p, buffer in zip(pointers, scatter.indices, strict=True)
            )
            updates = self._moved("%updates", scatter.updates, loop.index)
            out = self._moved("%out", scatter.out, loop.index)
            self._positions(_Batch(updates, tuple(indices), out, begin, size))
            loop.yield_([])
        em.ret()

    def _moved(self, pointer: str, buffer: Buffer, batch: str) -> str:
        """Return where a batch of a buffer begins."""
        strides = buffer.strides[: self.scatter.batch]
        layout = joined(Layout(self.scatter.batches, (strides,)))
        return self._at(pointer, buffer, self._offset(batch, layout))

    def _at(self, pointer: str, buffer: Buffer, offset: Index) -> str:
        return self.em.gep(memory_type(buffer.dtype), pointer, offset)

    def _offset(self, position: str, layout: Layout) -> Index:
        """Return where the element of that number, in C order, lies."""
        total: Index = 0
        inner = prod(layout.shape)
        for n, stride in zip(layout.shape, layout.strides[0], strict=True):
            at, outer, inner = position, inner, inner // n
            if outer != prod(layout.shape):
                at = self.em.op(f"urem i64 {at}, {outer}")
            if inner > 1:
                at = self.em.op(f"udiv i64 {at}, {inner}")
            total = add(self.em, total, multiply(self.em, at, stride))
        return total

    # Positions

    def _positions(self, batch: _Batch) -> None:
        em = self.em
        if not self.is_shared:
            self._all(batch)
            return
        with em.loop(0, self.count, self.block) as loop:
            rest = em.op(f"sub nsw i64 {self.count}, {loop.index}")
            count = em.intrinsic("llvm.smin", "i64", rest, str(self.block))
            found = "0"
            done: Index = 0
            if self.lanes > 1:
                done = em.op(f"and i64 {count}, {-self.lanes}")
                found = self._collect(batch, loop.index, 0, done, found, self.lanes)
            found = self._collect(batch, loop.index, done, count, found, 1)
            self._apply(batch, found)
            loop.yield_([])

    def _all(self, batch: _Batch) -> None:
        """Apply each update as its place is read."""
        em = self.em
        with em.loop(0, self.count, 1) as loop:
            if not self.is_near:
                self._fetch(batch, loop.index)
                self._fetch_update(batch, loop.index)
            number, place, is_valid = self._place(batch, loop.index, 1)
            with em.if_(self._is_here(batch, number, is_valid, 1)) as branch:
                there = em.gep(self.cell, batch.out, place)
                here = em.gep(self.cell, batch.updates, self._update(loop.index, 1))
                self._row(0, self._axes(), there, here)
                branch.yield_([])
            loop.yield_([])

    def _fetch(self, batch: _Batch, position: str) -> None:
        """Prefetch the row that is updated some positions later, if there is one."""
        em, scatter = self.em, self.scatter
        later = self._later(position, _AHEAD)
        row = batch.out
        for k, axis in enumerate(scatter.axes):
            extent, stride = scatter.out.shape[axis], scatter.out.strides[axis]
            index = self._index(batch, k, later, 1)
            if scatter.is_checked:
                index = self._wrapped(index, extent, 1)
            row = em.gep(self.cell, row, self._scaled(index, stride, 1))
        self._prefetch(row, True)

    def _fetch_update(self, batch: _Batch, position: str) -> None:
        """Prefetch an update that is read later, where the processor does not better.

        So that it does not drive the result out of the last cache.
        """
        size = self.scatter.row_bytes
        if self.target.has_single_reads and size >= CACHE_LINE:
            later = self._later(position, max(1, _UPDATES_AHEAD // size))
            update = self.em.gep(self.cell, batch.updates, self._update(later, 1))
            self._prefetch(update, False)

    def _later(self, position: str, ahead: int) -> str:
        """Return a position that is so far ahead, or the last one."""
        later = self.em.op(f"add nsw i64 {position}, {ahead}")
        return self.em.intrinsic("llvm.smin", "i64", later, str(self.count - 1))

    def _collect(
        self,
        batch: _Batch,
        start: str,
        first: Index,
        last: Index,
        found: str,
        lanes: int,
    ) -> str:
        """Put positions on the list, `lanes` at a time; return how many it has."""
        em = self.em
        with em.loop(first, last, lanes, [("i64", found)]) as loop:
            position = str(add(em, start, loop.index))
            number, place, is_valid = self._place(batch, position, lanes)
            is_here = self._is_here(batch, number, is_valid, lanes)
            update = self._update(position, lanes)
            (count,) = loop.carried
            for k, values in enumerate((update, place)):
                to = em.gep("i64", self._list(k), count)
                if lanes > 1:
                    values = compressed(em, vec("i64", lanes), values, is_here)
                em.store(vec("i64", lanes), values, to, 8)
            loop.yield_(
                [em.op(f"add nsw i64 {count}, {self._counted(is_here, lanes)}")]
            )
        return loop.results[0]

    def _list(self, k: int) -> str:
        return self.em.gep("i64", "%own", k * self.room)

    def _counted(self, mask: str, lanes: int) -> str:
        if lanes == 1:
            return self.em.op(f"zext i1 {mask} to i64")
        bits = self.em.op(f"bitcast <{lanes} x i1> {mask} to i{lanes}")
        wide = self.em.op(f"zext i{lanes} {bits} to i64")
        return self.em.intrinsic("llvm.ctpop", "i64", wide)

    def _update(self, position: str, lanes: int) -> str:
        """Return where updates lie, in elements."""
        em, layout = self.em, self.scatter.along(self.scatter.updates)
        if lanes == 1:
            return str(self._offset(position, layout))
        stride = layout.strides[0][0] if layout.shape else 0
        first = em.splat("i64", str(multiply(em, position, stride)), lanes)
        steps = ", ".join(f"i64 {k * stride}" for k in range(lanes))
        return em.op(f"add {vec('i64', lanes)} {first}, <{steps}>")

    def _is_here(
        self, batch: _Batch, number: str, is_valid: str | None, lanes: int
    ) -> str:
        """Return whether the range has places; those before it wrap around."""
        em, type_ = self.em, vec("i64", lanes)
        first = em.splat("i64", str(batch.first), lanes)
        number = em.op(f"sub {type_} {number}, {first}")
        limit = em.splat("i64", str(batch.count), lanes)
        found = em.op(f"icmp ult {type_} {number}, {limit}")
        if is_valid is not None:
            found = em.op(f"and {vec('i1', lanes)} {found}, {is_valid}")
        return found

    # Indices

    def _place(
        self, batch: _Batch, position: str, lanes: int
    ) -> tuple[str, str, str | None]:
        """Return the numbers of places, where they lie, and which there are."""
        scatter = self.scatter
        number: str = ""
        place: str = ""
        valid: str | None = None
        for k, axis in enumerate(scatter.axes):
            index = self._index(batch, k, position, lanes)
            extent, stride = scatter.out.shape[axis], scatter.out.strides[axis]
            if scatter.is_checked:
                index, ok = self._checked(index, axis, extent, lanes)
                valid = ok if valid is None else self._both(valid, ok, lanes)
            else:
                index = self._clamped(index, extent, lanes)
            offset = self._scaled(index, stride, lanes)
            if not number:
                number, place = index, offset
                continue
            number = self._sum(self._scaled(number, extent, lanes), index, lanes)
            place = self._sum(place, offset, lanes)
        return number, place, valid

    def _index(self, batch: _Batch, k: int, position: str, lanes: int) -> str:
        """Load indices, as i64."""
        em, buffer, layout = self.em, self.scatter.indices[k], self.lines[k]
        type_ = memory_type(buffer.dtype)
        is_same = lanes > 1 and layout.strides[0] in ((), (0,))
        offset = 0 if is_same else self._offset(position, layout)
        at = em.gep(type_, batch.indices[k], offset)
        if is_same:
            value = em.splat(type_, em.load(type_, at, buffer.dtype.itemsize), lanes)
        else:
            value = em.load(vec(type_, lanes), at, buffer.dtype.itemsize)
        if type_ == "i64":
            return value
        extend = "sext" if buffer.dtype.kind == "i" else "zext"
        return em.op(f"{extend} {vec(type_, lanes)} {value} to {vec('i64', lanes)}")

    def _clamped(self, index: str, extent: int, lanes: int) -> str:
        type_ = vec("i64", lanes)
        zero, last = (constant("i64", n, lanes) for n in (0, extent - 1))
        index = self.em.intrinsic("llvm.smax", type_, index, zero)
        return self.em.intrinsic("llvm.smin", type_, index, last)

    def _checked(
        self, index: str, axis: int, extent: int, lanes: int
    ) -> tuple[str, str]:
        """Wrap indices; return them, and which are in range; report the first other."""
        em, bits = self.em, vec("i1", lanes)
        wrapped, size = (
            self._wrapped(index, extent, lanes),
            constant("i64", extent, lanes),
        )
        bad = em.op(f"icmp uge {vec('i64', lanes)} {wrapped}, {size}")
        with em.if_(em.any_lane(bad, lanes), unlikely=True) as failed:
            self._report(index, bad, axis, lanes)
            failed.yield_([])
        return wrapped, em.op(f"xor {bits} {bad}, {constant('i1', True, lanes)}")

    def _wrapped(self, index: str, extent: int, lanes: int) -> str:
        """Return indices that count from the front."""
        em, type_ = self.em, vec("i64", lanes)
        size, zero = (constant("i64", n, lanes) for n in (extent, 0))
        negative = em.op(f"icmp slt {type_} {index}, {zero}")
        moved = em.op(f"add {type_} {index}, {size}")
        return em.op(
            f"select {vec('i1', lanes)} {negative}, {type_} {moved}, {type_} {index}"
        )

    def _report(self, index: str, bad: str, axis: int, lanes: int) -> None:
        em = self.em
        if lanes > 1:
            mask = em.op(f"bitcast <{lanes} x i1> {bad} to i{lanes}")
            wide = em.op(f"zext i{lanes} {mask} to i64")
            arguments = [("i64", wide), ("i1", "true")]
            lane = em.extern("i64", "llvm.cttz.i64", arguments)
            index = em.op(f"extractelement <{lanes} x i64> {index}, i64 {lane}")
        before = em.load("i64", "%err", 8)
        with em.if_(em.op(f"icmp eq i64 {before}, 0")) as first:
            em.store("i64", str(index_word(0, axis)), "%err", 8)
            em.store("i64", index, em.gep("i64", "%err", 1), 8)
            first.yield_([])

    def _scaled(self, value: str, factor: int, lanes: int) -> str:
        if factor == 1:
            return value
        return self.em.op(
            f"mul {vec('i64', lanes)} {value}, {constant('i64', factor, lanes)}"
        )

    def _sum(self, a: str, b: str, lanes: int) -> str:
        return self.em.op(f"add {vec('i64', lanes)} {a}, {b}")

    def _both(self, a: str, b: str, lanes: int) -> str:
        return self.em.op(f"and {vec('i1', lanes)} {a}, {b}")

    # Rows

    def _apply(self, batch: _Batch, found: str) -> None:
        """Apply the updates on the list, in order."""
        em = self.em
        with em.loop(0, found, 1) as loop:
            ahead = add(em, loop.index, _AHEAD)
            rows = ((batch.updates, False), (batch.out, self.is_near))
            for k, (base, is_near) in enumerate(rows):
                if not is_near:
                    self._prefetch(self._listed(k, base, ahead), k == 1)
            here, there = (
                self._listed(k, base, loop.index) for k, (base, _) in enumerate(rows)
            )
            self._row(0, self._axes(), there, here)
            loop.yield_([])

    def _listed(self, k: int, base: str, entry: Index) -> str:
        """Return the address that an entry of a list stands for."""
        em = self.em
        offset = em.load("i64", em.gep("i64", self._list(k), entry), 8)
        return em.gep(self.cell, base, offset)

    def _prefetch(self, at: str, is_written: bool) -> None:
        """Fetch the first lines of a row; what stands behind the list does no harm.

        Updates are read once: they should not drive the result out of the caches.
        """
        pairs = zip(self.window.shape, self.window.strides[1 - is_written], strict=True)
        reach = sum((n - 1) * abs(s) for n, s in pairs)
        lines = -(-(reach + 1) * self.scatter.dtype.itemsize // CACHE_LINE)
        for k in range(min(lines, _PREFETCHED)):
            line = self.em.gep("i8", at, k * CACHE_LINE)
            self.em.prefetch(line, is_written, locality=3 if is_written else 0)

    def _axes(self) -> list[tuple[int, int, int]]:
        """Return extents and both strides of a row's axes, the one of vectors last."""
        axes = list(zip(self.window.shape, *self.window.strides, strict=True))
        axes.sort(key=lambda axis: axis[1] == 1 and axis[2] in (0, 1))
        return axes

    def _row(
        self, depth: int, axes: Sequence[tuple[int, int, int]], to: str, of: str
    ) -> None:
        if depth == len(axes):
            self._element(to, of, 1, 1)
            return
        extent, there, here = axes[depth]
        if depth == len(axes) - 1 and there == 1 and here in (0, 1):
            self._line(extent, here, to, of)
            return
        em = self.em
        with em.loop(0, extent, 1) as loop:
            next_to = em.gep(self.cell, to, multiply(em, loop.index, there))
            next_of = em.gep(self.cell, of, multiply(em, loop.index, here))
            self._row(depth + 1, axes, next_to, next_of)
            loop.yield_([])

    def _line(self, extent: int, step: int, to: str, of: str) -> None:
        """Write the elements of a row in vectors, ever shorter ones at its end."""
        em = self.em
        lanes = self.target.lanes(register_bits(self.scatter.dtype))
        done = 0
        if extent // lanes > _UNROLLED:
            done = extent // lanes * lanes
            with em.loop(0, done, lanes) as loop:
                self._chunk(loop.index, lanes, step, to, of)
                loop.yield_([])
        while lanes:
            while extent - done >= lanes:
                self._chunk(done, lanes, step, to, of)
                done += lanes
            lanes //= 2

    def _chunk(self, at: Index, lanes: int, step: int, to: str, of: str) -> None:
        em = self.em
        there = em.gep(self.cell, to, at)
        here = em.gep(self.cell, of, multiply(em, at, step))
        self._element(there, here, lanes, step)

    def _element(self, to: str, of: str, lanes: int, step: int) -> None:
        """Apply one update, of as many elements as there are lanes."""
        em, dtype, size = self.em, self.scatter.dtype, self.scatter.dtype.itemsize
        type_ = vec(self.cell, lanes)
        if step == 0 and lanes > 1:
            raw = em.splat(self.cell, em.load(self.cell, of, size), lanes)
        else:
            raw = em.load(type_, of, size)
        if self.scatter.op != "set":
            value = widen(em, dtype, raw, lanes)
            before = widen(em, dtype, em.load(type_, to, size), lanes)
            value = combine(
                em, self.target, self.scatter.op, dtype, before, value, lanes
            )
            raw = narrow(em, dtype, value, lanes)
        em.store(type_, raw, to, size)
