"""Sums over the rows of matrices, column by column.

The columns are the vectors' axis, and loop nests would run down a few columns at a
time: short pieces of memory, a page apart. Where nothing but sums lives across the
rows, a nest adds whole rows to rows of sums in memory instead. The fixed tree of
`tracejit.kernels.tree` says what is added to what, and leaves the order open:

    for each of the 64 virtual lanes l:                       (in bit-reversed order)
      for each leaf of 1024 rows:
        sum of rows l, l + 64, l + 128, ... of the leaf       → the stack
        merge leaves that are complete, as a binary counter
      merge lanes, as a binary counter: l and l + 32 meet first, then l + 16, ...

so that a stack of some ten rows, which stays in the nearest cache, is all the memory
the sums need, and several rows are added in registers before a row of the stack is
touched. In bit-reversed order the merges of a counter are the folds of the tree.

Where rows are short, the 64 lanes of all columns fit the nearest cache, and rows are
added in the order in which they lie in memory. If nothing lies between them either, 64
rows are one long row, of which each element has a sum of its own: vectors run across
rows, however few columns there are.
"""

from collections.abc import Sequence
from dataclasses import replace

from ...kernels.kernel import Compute, KernelOp, Load, Reduce, Value
from ...kernels.pieces import needed_for
from ...kernels.tree import LANES, LEAF
from .dense import DenseNest
from .elementwise import combine
from .indices import Index, add, multiply
from .phases import Phase, Phases
from .reduce import State, Term, is_float_sum
from .target import Target
from .text import Emitter, bits_of, constant, vec
from .values import register_type

# Columns whose sums are in memory at a time.
_CHUNK = 4096
# Rows that are added in registers, and how many operations they may be. With more, rows
# whose length is a power of two push each other out of the cache.
_ROWS = 4
_BUDGET = 64
# Bytes of a row that is short.
_NARROW = 256
# Simple operations on what rows share that are done again for each row.
_REPEATED = 8
_LANE_BITS = LANES.bit_length() - 1


class ColumnSums:
    """The sums of one operand over a chunk of columns.

    Parameters
    ----------
    em : Emitter
    target : Target
    op : Reduce
    lanes : int
        Of the vectors of columns.
    width : int
        Columns of a row of the stack: whole vectors.
    stack : str
        Address of its memory.
    """

    def __init__(
        self,
        em: Emitter,
        target: Target,
        op: Reduce,
        lanes: int,
        width: int,
        stack: str,
    ) -> None:
        self.em, self.target, self.op = em, target, op
        self.lanes, self.width, self.stack = lanes, width, stack
        self.element = register_type(op.result.dtype)
        self.size = bits_of(self.element) // 8
        self.type = vec(self.element, lanes)
        self.total: str | None = None
        self.needs_places = False

    def update(self, unit: int, term: Term) -> None:
        """Add one row's vector. Lanes beyond the last column hold anything."""
        if self.total is None:
            self.total = term.value
        elif not term.factors:
            self.total = self.add(self.total, term.value)
        else:
            factors = term.factors
            self.total = self.em.intrinsic("llvm.fma", self.type, *factors, self.total)

    def load(self, row: str, column: Index) -> str:
        """Return sums: a vector of a row of the stack."""
        return self.em.load(self.type, self._at(row, column), self.size)

    def store(
        self, row: str, column: Index, value: str, mask: str | None = None
    ) -> None:
        """Write sums: a vector of a row of the stack, or the lanes of it in a mask."""
        at = self._at(row, column)
        if mask is None:
            self.em.store(self.type, value, at, self.size)
        else:
            self.em.masked_store(self.type, value, at, mask, self.size)

    def _at(self, row: str, column: Index) -> str:
        return self.em.gep(self.element, row, column)

    def result(self, column: Index) -> str:
        """Return the sums of a vector of columns; those of -0.0 alone are 0.0."""
        total = self.load(self.stack, column)
        return self.add(total, constant(self.element, 0.0, self.lanes))

    def add(self, older: str, newer: str) -> str:
        """Add two vectors of sums."""
        dtype = self.op.result.dtype
        return combine(self.em, self.target, "add", dtype, older, newer, self.lanes)

    def slot(self, base: str, number: Index) -> str:
        """Return the address of row `number` of the stack, from `base` on."""
        return self.em.row(self.element, base, multiply(self.em, number, self.width))

    def copy(self, source: str, to: str) -> None:
        """Copy a row of sums."""
        with self.em.loop(0, self.width, self.lanes) as loop:
            self.store(to, loop.index, self.load(source, loop.index))
            loop.yield_([])

    def fill(self, row: str) -> None:
        """Set a row to -0.0, which adds nothing."""
        with self.em.loop(0, self.width, self.lanes) as loop:
            self.store(row, loop.index, constant(self.element, -0.0, self.lanes))
            loop.yield_([])

    def merge(self, upper: str, times: Index) -> None:
        """Add a row to the one below it, and that to the one below, `times` times."""
        if times == 0:
            return
        with self.em.loop(0, times, 1, [("ptr", upper)]) as loop:
            top = loop.carried[0]
            lower = self._at(top, -self.width)
            with self.em.loop(0, self.width, self.lanes) as columns:
                older = self.load(lower, columns.index)
                newer = self.load(top, columns.index)
                self.store(lower, columns.index, self.add(older, newer))
                columns.yield_([])
            loop.yield_([lower])

    def fold(self) -> None:
        """Fold a row of 64 lanes, each a vector for all columns, into the first."""
        half = self.width
        while half > self.width // LANES:
            half //= 2
            with self.em.loop(0, half, self.lanes) as loop:
                low = self.load(self.stack, loop.index)
                high = self.load(self._at(self.stack, half), loop.index)
                self.store(self.stack, loop.index, self.add(low, high))
                loop.yield_([])


def leaf_rows(count: int) -> int:
    """Return how many leaves are on the stack at most, in a sum of `count` elements."""
    return (-(-count // LEAF)).bit_length() + 1


class ColumnNest(DenseNest):
    """A nest that sums over rows in long runs through memory where it can."""

    def _range(
        self,
        depth: int,
        ops: Sequence[KernelOp],
        states: Sequence[State],
        start: Index,
        length: int,
    ) -> None:
        streamed = self.streamed(depth, ops) if length else None
        if streamed is None:
            super()._range(depth, ops, states, start, length)
            return
        whole = length // _CHUNK * _CHUNK
        if whole:
            with self._carrying(0, whole, _CHUNK, ()) as first:
                self.chunk(depth, streamed, first, _CHUNK)
        if length > whole:
            self.chunk(depth, streamed, whole, length - whole)

    def streamed(
        self, depth: int, ops: Sequence[KernelOp]
    ) -> tuple[Phase, Phase] | None:
        """Return the phases of sums over rows and of what follows, if that is all."""
        if self.loops[depth] != self.axis or depth + 2 != len(self.loops):
            return None
        rows = (self.loops[depth + 1],)
        phases = Phases(self.analysis, depth + 1, ops).cut()
        if len(phases) != 2 or self.extents[rows[0]] <= LANES:
            return None
        first, last = phases
        shared = first.direct  # by rows: it is there in no loop around all of them
        if last.inner or any(not isinstance(op, Load | Compute) for op in shared):
            return None
        if sum(map(self.plan.time, shared)) > _REPEATED:
            return None
        inner = needed_for((*shared, *first.inner), first.inner)
        first = replace(first, direct=(), inner=tuple(inner))
        last = replace(last, direct=(*shared, *last.direct))
        if any(op.axes != rows or not is_float_sum(op) for op in first.done):
            return None
        varying = all(
            isinstance(x, Value) and self.axis in x.axes
            for x in (op.operand for op in first.done)
        )
        return (first, last) if varying and not last.done else None

    def chunk(
        self, depth: int, phases: tuple[Phase, Phase], start: Index, columns: int
    ) -> None:
        """Run `phases` over some columns; see the module's text."""
        before, _ = phases
        if self.is_narrow(columns):
            stream: _Stream = self.short_rows(depth, before, start, columns)
        else:
            stream = _LongRows(self, depth, before, start, columns)
        pointers = dict(self.pointers)
        stream.run()
        self.pointers = pointers
        self.finish_chunk(stream, phases)

    def short_rows(
        self, depth: int, phase: Phase, start: Index, columns: int
    ) -> "ShortRows":
        """Return the sums over short rows; of dense ones, those of long rows."""
        axis, rows = self.loops[depth : depth + 2]
        is_dense = self.is_dense(depth, phase.inner, rows, axis, columns)
        kind = DenseRows if is_dense else ShortRows
        return kind(self, depth, phase, start, columns)

    def is_narrow(self, columns: int) -> bool:
        """Tell whether sums of all lanes of so many columns fit the nearest cache."""
        return columns * self.target.vector_bytes <= _NARROW * self.lanes

    def finish_chunk(self, stream: "_Stream", phases: tuple[Phase, Phase]) -> None:
        """Run what follows sums over rows, which lie at the start of each stack."""
        depth, start, columns = stream.depth, stream.start, stream.columns
        _, after = phases
        self.streams.clear()

        def finish(column: Index) -> None:
            for state in stream.sums:
                self.env[state.op.result.name] = [state.result(column)]
            self.segment(after.direct)

        self.across(depth, start, columns, after.direct, finish)

    def new_sums(self, op: Reduce, width: int, rows: int) -> ColumnSums:
        """Return sums of columns with a stack of `rows` rows of `width`."""
        size = bits_of(register_type(op.result.dtype)) // 8
        nbytes = rows * width * size
        offset = self._allocate(f"sum.{op.result.name}", nbytes)
        stack = self.em.gep("i8", "%scratch", offset)
        return ColumnSums(self.em, self.target, op, self.lanes, width, stack)


class _Stream:
    """Writes the loops over lanes, leaves and rows for one chunk of columns."""

    def __init__(
        self, nest: ColumnNest, depth: int, phase: Phase, start: Index, columns: int
    ) -> None:
        self.nest, self.em, self.depth = nest, nest.em, depth
        self.axis = nest.loops[depth + 1]
        self.ops = phase.inner
        self.start, self.columns = start, columns
        self.count = nest.extents[self.axis]
        self.vectors = -(-columns // nest.lanes)
        width, rows = self._stack()
        self.sums = [nest.new_sums(op, width, rows) for op in phase.done]
        nest.streams.update({s.op.result.name: s for s in self.sums})

    def _stack(self) -> tuple[int, int]:
        """Return width and number of the rows of the stack."""
        raise NotImplementedError

    def run(self) -> None:
        """Leave the sums at the start of each stack."""
        raise NotImplementedError

    def _rows_at(self, bases: Sequence[str], number: Index) -> list[str]:
        pairs = zip(self.sums, bases, strict=True)
        return [state.slot(base, number) for state, base in pairs]

    def _batch(
        self,
        rows: Sequence[str],
        first: Index,
        count: int,
        is_first: bool,
        columns: int,
    ) -> None:
        """Add some rows in registers, to what the stack has unless `is_first`."""
        nest, axis = self.nest, self.axis
        pointers = dict(nest.pointers)
        nest.index[axis] = first
        nest.advance(self.ops, axis, first)

        def add_all(column: Index) -> None:
            mask = self._written()
            for state, row in zip(self.sums, rows, strict=True):
                state.total = None if is_first else state.load(row, column)
            here = nest.pointers
            for k in range(count):
                nest.index[axis] = add(self.em, first, k * LANES)
                nest.pointers = dict(here)
                if k:
                    nest.advance(self.ops, axis, k * LANES)
                nest.segment(self.ops)
            for state, row in zip(self.sums, rows, strict=True):
                assert state.total is not None
                state.store(row, column, state.total, mask)

        nest.across(self.depth, self.start, columns, self.ops, add_all)
        del nest.index[axis]
        nest.pointers = pointers

    def _written(self) -> str | None:
        """Return the lanes of sums that may be written: all, if some are nobody's."""
        return None

    def _add_rows(
        self, rows: Sequence[str], first: Index, count: int, columns: int
    ) -> None:
        """Sum `count` rows, 64 apart, in batches."""
        size = max(1, min(_ROWS, _BUDGET // self.nest.plan.weight(self.ops)))
        for done in range(0, count, size):
            begin = add(self.em, first, done * LANES)
            self._batch(rows, begin, min(size, count - done), done == 0, columns)

    def _merge(self, rows: Sequence[str], times: Index) -> None:
        for state, row in zip(self.sums, rows, strict=True):
            state.merge(row, times)

    def _trailing_ones(self, number: str) -> str:
        flipped = self.em.op(f"xor i64 {number}, -1")
        arguments = [("i64", flipped), ("i1", "true")]
        return self.em.extern("i64", "llvm.cttz.i64", arguments)


class _LongRows(_Stream):
    """Lane by lane; a row of the stack has one lane's sums of all columns."""

    def _stack(self) -> tuple[int, int]:
        return self.vectors * self.nest.lanes, leaf_rows(self.count) + _LANE_BITS

    def run(self) -> None:
        """Leave the sums at the start of each stack."""
        em = self.em
        self.nest.fetches = False
        with em.loop(0, LANES, 1) as loop:
            reversed_ = em.intrinsic("llvm.bitreverse", "i64", loop.index)
            lane = em.op(f"lshr i64 {reversed_}, {64 - _LANE_BITS}")
            depth = em.intrinsic("llvm.ctpop", "i64", loop.index)
            bases = [s.slot(s.stack, depth) for s in self.sums]
            self._lane(lane, bases)
            self._merge(bases, self._trailing_ones(loop.index))
            loop.yield_([])
        self.nest.fetches = True

    def _lane(self, lane: str, bases: Sequence[str]) -> None:
        """Sum one virtual lane over all leaves, into the rows at `bases`."""
        em, whole, rest = self.em, self.count // LEAF, self.count % LEAF
        if whole:
            with em.loop(0, whole, 1) as loop:
                ones = em.intrinsic("llvm.ctpop", "i64", loop.index)
                rows = self._rows_at(bases, ones)
                first = add(em, multiply(em, loop.index, LEAF), lane)
                self._add_rows(rows, first, LEAF // LANES, self.columns)
                self._merge(rows, self._trailing_ones(loop.index))
                loop.yield_([])
        if rest:
            rows = self._rows_at(bases, whole.bit_count())
            self._short_leaf(lane, rows, whole * LEAF, rest)
            self._merge(rows, (~whole & (whole + 1)).bit_length() - 1)
        left = (whole + (rest > 0)).bit_count() - 1
        self._merge(self._rows_at(bases, left), left)

    def _short_leaf(
        self, lane: str, rows: Sequence[str], start: int, length: int
    ) -> None:
        """Sum one lane of a leaf that is not whole: the first lanes have a row more."""
        first, each = add(self.em, lane, start), length // LANES
        if each:
            self._add_rows(rows, first, each, self.columns)
        else:
            for state, row in zip(self.sums, rows, strict=True):
                state.fill(row)
        if length % LANES:
            has_more = self.em.op(f"icmp slt i64 {lane}, {length % LANES}")
            with self.em.if_(has_more):
                at = add(self.em, first, each * LANES)
                self._batch(rows, at, 1, False, self.columns)


class ShortRows(_Stream):
    """Row by row; a row of the stack has the sums of all lanes and columns."""

    def _stack(self) -> tuple[int, int]:
        return LANES * self.vectors * self.nest.lanes, leaf_rows(self.count)

    def run(self) -> None:
        """Leave the sums at the start of each stack."""
        self.prepare()
        self.sum_part(0, self.count)
        self.fold()

    def prepare(self) -> None:
        """Do what is done once, before any part is summed."""

    def fold(self) -> None:
        """Fold the lanes of each sum."""
        for state in self.sums:
            state.fold()

    def sum_part(self, begin: Index, count: int) -> None:
        """Sum `count` rows from a leaf's first on, lane by lane."""
        bases = [state.stack for state in self.sums]
        whole, rest = count // LEAF, count % LEAF
        if whole:
            with self.em.loop(0, whole, 1) as loop:
                ones = self.em.intrinsic("llvm.ctpop", "i64", loop.index)
                rows = self._rows_at(bases, ones)
                first = add(self.em, begin, multiply(self.em, loop.index, LEAF))
                self._leaf(rows, first, LEAF)
                self._merge(rows, self._trailing_ones(loop.index))
                loop.yield_([])
        if rest:
            rows = self._rows_at(bases, whole.bit_count())
            self._leaf(rows, add(self.em, begin, whole * LEAF), rest)
            self._merge(rows, (~whole & (whole + 1)).bit_length() - 1)
        left = (whole + (rest > 0)).bit_count() - 1
        self._merge(self._rows_at(bases, left), left)

    # Parts of sums, which threads share

    @property
    def part_bytes(self) -> int:
        """Size of what `store_part` writes."""
        return sum(state.width * state.size for state in self.sums)

    def store_part(self, at: str) -> None:
        """Write the sums of a part, all lanes of them."""
        for state, place in zip(self.sums, self._places(at), strict=True):
            state.copy(state.stack, place)

    def merge_parts(self, at: str, whole: int, rest: bool) -> None:
        """Sum parts: `whole` of equal size, a power of two of leaves, and a rest."""
        bases = [state.stack for state in self.sums]
        with self.em.loop(0, whole, 1) as loop:
            ones = self.em.intrinsic("llvm.ctpop", "i64", loop.index)
            rows = self._rows_at(bases, ones)
            self._read_part(at, loop.index, rows)
            self._merge(rows, self._trailing_ones(loop.index))
            loop.yield_([])
        if rest:
            self._read_part(at, whole, self._rows_at(bases, whole.bit_count()))
        left = whole.bit_count() + rest - 1
        self._merge(self._rows_at(bases, left), left)

    def _read_part(self, at: str, number: Index, rows: Sequence[str]) -> None:
        source = self.em.gep("i8", at, multiply(self.em, number, self.part_bytes))
        triples = zip(self.sums, self._places(source), rows, strict=True)
        for state, place, row in triples:
            state.copy(place, row)

    def _places(self, at: str) -> list[str]:
        """Return where the sums of each state lie in a part."""
        places = []
        for state in self.sums:
            places.append(at)
            at = self.em.gep("i8", at, state.width * state.size)
        return places

    def _leaf(self, rows: Sequence[str], start: Index, length: int) -> None:
        """Sum a leaf: the first row of each lane replaces what is there."""
        if length < LANES:
            for state, row in zip(self.sums, rows, strict=True):
                state.fill(row)
        self._run(rows, start, 0, min(LANES, length), length >= LANES)
        if length > LANES:
            self._run(rows, start, LANES, length, False)

    def _run(
        self, rows: Sequence[str], start: Index, begin: int, end: int, is_first: bool
    ) -> None:
        """Add rows of a leaf one after another."""
        em = self.em
        with em.loop(begin, end, 1) as loop:
            lane = em.op(f"and i64 {loop.index}, {LANES - 1}")
            place = multiply(em, lane, self.vectors * self.nest.lanes)
            pairs = zip(self.sums, rows, strict=True)
            here = [em.gep(state.element, row, place) for state, row in pairs]
            at = add(em, start, loop.index)
            self._batch(here, at, 1, is_first, self.columns)
            loop.yield_([])


class DenseRows(ShortRows):
    """Short rows, one after another: 64 of them are a row with a sum for each element.

    What varies along columns alone is read from copies of it, one for each lane.
    """

    def _stack(self) -> tuple[int, int]:
        return LANES * self.columns, leaf_rows(self.count)

    def prepare(self) -> None:
        """Repeat what varies along columns alone."""
        self.nest.repeat_rows(self.ops, self.nest.loops[self.depth], self.columns)

    def _written(self) -> str | None:
        """Lanes behind the last row have sums of rows of other leaves."""
        block = self.nest.block
        return block.mask if block else None

    def _leaf(self, rows: Sequence[str], start: Index, length: int) -> None:
        whole, rest = divmod(length, LANES)
        if whole:
            self._add_rows(rows, start, whole, LANES * self.columns)
        else:
            for state, row in zip(self.sums, rows, strict=True):
                state.fill(row)
        if rest:
            at = add(self.em, start, whole * LANES)
            self._batch(rows, at, 1, False, rest * self.columns)
