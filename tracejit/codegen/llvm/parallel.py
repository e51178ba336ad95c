"""Outermost loops that several threads share.

A loop that is worth it becomes a task (see `jobs`) over a range of *pieces*, and the
kernel calls a job, with a context in its scratch memory. A piece is

- a row, where the outermost loop is not the vectors': rows are independent;
- some blocks of vectors, where it is and nothing is reduced over it;
- some columns, of sums over rows;
- 2^p leaves of the summation tree, where the whole loop is reduced, or rows of a few
  columns are: its result goes to memory, and the kernel merges the results as the tree
  says.

So results have the same bits whatever the number of threads and the way pieces are
handed out.
"""

from collections.abc import Callable, Mapping, Sequence

from ...kernels.cost import work_ns
from ...kernels.kernel import Buffer, Kernel, KernelOp, Load, Reduce, result_of
from ...kernels.schedule import Schedule
from ...kernels.tree import LEAF
from ...records import dataclass
from .columns import ColumnNest
from .indices import multiply
from .jobs import (
    PARAMETERS,
    SLOT,
    WORDS,
    ContextReader,
    call_job,
    clear_errors,
    note_piece,
    report_first,
    write_context,
)
from .nest import Block
from .phases import Phase
from .reduce import State
from .sharing import Threading
from .target import Target
from .text import Emitter
from .values import is_real, register_type

_PIECES_PER_THREAD = 8
_LEAST_BLOCK = 512  # elements in a piece of a pointwise loop
_LEAST_VECTORS = 4  # in a piece of columns


@dataclass(frozen=True)
class Pieces:
    """How a loop is cut: `whole` pieces of `length` iterations, and a shorter one."""

    length: int
    whole: int
    rest: int

    @property
    def count(self) -> int:
        """How many pieces there are."""
        return self.whole + (self.rest > 0)


def cut(extent: int, length: int) -> Pieces:
    """Cut a loop into pieces of `length` iterations."""
    return Pieces(length, extent // length, extent % length)


class ParallelNest(ColumnNest):
    """A nest whose outermost loops are shared where that pays.

    Parameters
    ----------
    symbol : str
        Of the kernel's function.
    threading : Threading
    new_emitter : callable
        Returns an emitter for one more function of the module.

    Attributes
    ----------
    functions : list of str
        The texts of the shared loops.
    shared_ns : int
        Estimated work of all shared loops.
    """

    def __init__(
        self,
        kernel: Kernel,
        schedule: Schedule,
        target: Target,
        em: Emitter,
        numbers: Mapping[KernelOp, int],
        views: Mapping[str, tuple[Buffer, str]],
        span: tuple[str, str] | None,
        symbol: str,
        threading: Threading,
        new_emitter: Callable[[], Emitter],
    ) -> None:
        super().__init__(kernel, schedule, target, em, numbers, views, span)
        self._views = views
        self.symbol, self.threading, self.new_emitter = symbol, threading, new_emitter
        self.functions: list[str] = []
        self.shared_ns = 0

    def _loop(
        self, depth: int, ops: Sequence[KernelOp], states: Sequence[State]
    ) -> None:
        is_worth = not depth and self.threading.shares(self._work(ops))
        if is_worth and self.span is None and self._share(ops, states):
            self.shared_ns += self._work(ops)
        else:
            super()._loop(depth, ops, states)

    def _work(self, ops: Sequence[KernelOp]) -> int:
        return work_ns(ops, self.kernel, self.axis is not None)

    def _share(self, ops: Sequence[KernelOp], states: Sequence[State]) -> bool:
        """Emit the outermost loop as a shared one; tell whether it can be."""
        axis, extent = self.loops[0], self.extents[self.loops[0]]
        if states:
            pieces = cut(extent, LEAF * self._leaves(extent))
            if pieces.count < 2 or not all(self._can_split(s.op) for s in states):
                return False
            self._share_reduction(ops, states, pieces)
            return True
        if axis != self.axis:
            pieces = cut(extent, 1)
        else:
            streamed = self.streamed(0, ops)
            length = self._columns() if streamed else self._block_length()
            pieces = cut(extent, length)
        if pieces.count < 2:
            return axis == self.axis and self._share_rows(ops)
        self._share_loop(ops, pieces)
        return True

    def _share_rows(self, ops: Sequence[KernelOp]) -> bool:
        """Share sums over the rows of a few columns; tell whether there are any.

        A piece is 2^p leaves, whose sums go to memory lane by lane.
        """
        phases, columns = self.streamed(0, ops), self.extents[self.loops[0]]
        if phases is None or not self.is_narrow(columns):
            return False
        rows = self.extents[self.loops[1]]
        pieces = cut(rows, LEAF * self._leaves(rows))
        if pieces.count < 2:
            return False
        stream = self.short_rows(0, phases[0], 0, columns)
        name = f"partials.{len(self.functions)}"
        offset = self._allocate(name, stream.part_bytes * pieces.count)
        partials = self.em.gep("i8", "%scratch", offset)
        part = self._part_of(ops)
        part.sum_rows(phases[0], columns, pieces)
        self._call(part, ops, pieces, self._context(part, partials))
        stream.merge_parts(partials, pieces.whole, pieces.rest > 0)
        stream.fold()
        self.finish_chunk(stream, phases)
        return True

    def _leaves(self, extent: int) -> int:
        """Return how many leaves a piece has: a power of two."""
        many = extent // LEAF // (_PIECES_PER_THREAD * self.threading.threads)
        return 1 << max(many.bit_length() - 1, 0)

    def _can_split(self, op: Reduce) -> bool:
        """Tell whether parts can be merged with the bits of the whole."""
        if op.axes != (self.loops[0],) or self.loops[0] != self.axis:
            return False
        return op.op != "mul" or not is_real(op.result.dtype)

    def _block_length(self) -> int:
        width = self.planned_units * self.lanes
        if len(self.loops) == 1:
            width = max(width, _LEAST_BLOCK)
        extent = self.extents[self.loops[0]]
        share = -(-extent // (_PIECES_PER_THREAD * self.threading.threads))
        return -(-share // width) * width

    def _columns(self) -> int:
        """Return how many columns of sums over rows a piece has: long runs."""
        width = _LEAST_VECTORS * self.lanes
        share = -(-self.extents[self.loops[0]] // self.threading.threads)
        return -(-share // width) * width

    # What runs in the pieces

    def _share_loop(self, ops: Sequence[KernelOp], pieces: Pieces) -> None:
        part = self._part_of(ops)
        part.run(ops, pieces)
        self._call(part, ops, pieces, self._context(part, None))

    def _share_reduction(
        self, ops: Sequence[KernelOp], states: Sequence[State], pieces: Pieces
    ) -> None:
        part = self._part_of(ops)
        sizes = [state.partial_bytes for state in states]
        stride = sum(sizes)
        name = f"partials.{len(self.functions)}"
        offset = self._allocate(name, stride * pieces.count)
        partials = self.em.gep("i8", "%scratch", offset)
        part.reduce(ops, [s.op for s in states], sizes, pieces)
        self._call(part, ops, pieces, self._context(part, partials))
        at = partials
        for state, size in zip(states, sizes, strict=True):
            state.merge_partials(at, stride, pieces.whole, pieces.rest > 0)
            at = self.em.gep("i8", at, size)

    def _part_of(self, ops: Sequence[KernelOp]) -> "_Part":
        symbol = f"{self.symbol}.task{len(self.functions)}"
        part = _Part(self, self._views, symbol, ops)
        part.enter()
        return part

    # The call

    def _context(self, part: "_Part", partials: str | None) -> str:
        """Write what the pieces need; return its address."""
        em, number = self.em, len(self.functions)
        threads = self.threading.threads
        own = self._allocate(f"workers.{number}", part.scratch_bytes * threads)
        errors = self._allocate(f"errors.{number}", WORDS * threads)
        values = [("ptr", self.parameters[b]) for b in self._parameter_names()]
        values += [("ptr", self._row_address(name)) for name in part.shared_rows]
        values += [("ptr", em.gep("i8", "%scratch", own))]
        values += [("i64", str(part.scratch_bytes))]
        values += [
            ("ptr", em.gep("i8", "%scratch", errors) if part.can_fail else "%err")
        ]
        values += [("ptr", partials or "null")]
        for name in part.captured:
            dtype = self.analysis.values[name].dtype
            values.append((register_type(dtype), self.env[name][0]))
        offset = self._allocate(f"context.{number}", SLOT * len(values))
        context = em.gep("i8", "%scratch", offset)
        write_context(em, context, values)
        return context

    def _parameter_names(self) -> list[str]:
        return [b.name for b in (*self.kernel.inputs, *self.kernel.outputs)]

    def _row_address(self, name: str) -> str:
        return self.em.gep("i8", "%scratch", self.offsets[name])

    def _call(
        self, part: "_Part", ops: Sequence[KernelOp], pieces: Pieces, context: str
    ) -> None:
        em, threads = self.em, self.threading.threads
        errors = self.offsets[f"errors.{len(self.functions)}"]
        slots = [em.gep("i8", "%scratch", errors + WORDS * k) for k in range(threads)]
        if part.can_fail:
            clear_errors(em, slots)
        work = self._work(ops)
        call_job(em, part.symbol, context, pieces.count, work, self.threading)
        if part.can_fail:
            report_first(em, slots)
        self.functions.append(part.function())


class _Part(ColumnNest):
    """The function of a shared loop: a nest that runs over a range of pieces.

    Parameters
    ----------
    outer : ParallelNest
        The nest of the kernel that the loop belongs to.
    views : mapping of str to (Buffer, str)
    symbol : str
    ops : sequence of KernelOp
        What runs inside the loop.

    Attributes
    ----------
    shared_rows : list of str
        Rows between phases of the kernel, in its scratch memory.
    captured : list of str
        The values that the loop uses and does not compute: scalars.
    can_fail : bool
    """

    def __init__(
        self,
        outer: ParallelNest,
        views: Mapping[str, tuple[Buffer, str]],
        symbol: str,
        ops: Sequence[KernelOp],
    ) -> None:
        em = outer.new_emitter()
        super().__init__(
            outer.kernel, outer.schedule, outer.target, em, outer.numbers, views
        )
        self.symbol = symbol
        self.planned_units = outer.planned_units
        self.uncached = outer.uncached
        self.rows = dict(outer.rows)
        self.shared_rows = list(outer.rows)
        for k, name in enumerate(self.shared_rows):
            self.parameters[name] = f"%row{k}"
        own = {v.name for v in map(result_of, ops) if v is not None}
        used = dict.fromkeys(name for op in ops for name in self.analysis.uses(op))
        self.captured = [name for name in used if name not in own]
        self.can_fail = can_fail(ops)

    def enter(self) -> None:
        """Read the context, in the order in which `_context` writes it."""
        names = [f"%b{k}" for k in range(len(self.kernel.inputs + self.kernel.outputs))]
        names += [f"%row{k}" for k in range(len(self.shared_rows))]
        names += ["%workers"]
        read = ContextReader(self.em)
        for name in names:
            read.named(name, "ptr")
        read.named("%size", "i64")
        read.named("%errors", "ptr")
        read.named("%partials", "ptr")
        read.own("%scratch", "%workers", "%size")
        read.own("%err", "%errors", str(WORDS if self.can_fail else 0))
        for name in self.captured:
            type_ = register_type(self.analysis.values[name].dtype)
            self.env[name] = [self.em.load(type_, read.place(), SLOT)]

    def function(self) -> str:
        """Return the text, once its body is written."""
        if self.can_fail:
            note_piece(self.em)
        self.fence()
        self.em.ret()
        return self.em.function(self.symbol, PARAMETERS, linkage="internal")

    def run(self, ops: Sequence[KernelOp], pieces: Pieces) -> None:
        """Run a loop that nothing is reduced over."""
        if self.loops[0] != self.axis:
            self._rows(0, ops, (), "%begin", "%end")
        else:
            streamed = self.streamed(0, ops)
            if streamed is not None:
                self._run_columns(ops, streamed, pieces)
            else:
                self._run_blocks(ops, pieces)

    def _run_blocks(self, ops: Sequence[KernelOp], pieces: Pieces) -> None:
        em, extent = self.em, self.extents[self.loops[0]]
        width = self.planned_units * self.lanes
        full = extent // width * width
        start = multiply(em, "%begin", pieces.length)
        stop = multiply(em, "%end", pieces.length)
        stop = em.intrinsic("llvm.smin", "i64", str(stop), str(full))
        with self._carrying(start, stop, width, ()) as index:
            self._body(0, ops, index, Block(self.planned_units, None))
        if extent > full:
            with em.if_(self._is_last(pieces)):
                self._tail(0, ops, full, extent - full)

    def _run_columns(
        self,
        ops: Sequence[KernelOp],
        streamed: tuple[Phase, Phase],
        pieces: Pieces,
    ) -> None:
        """Run pieces one by one; all together in longer runs, for a worker alone."""
        em = self.em
        count = em.op("sub i64 %end, %begin")
        is_alone = em.op(f"icmp eq i64 {count}, {pieces.count}")

        def alone() -> list[str]:
            self._range(0, ops, (), 0, self.extents[self.loops[0]])
            return []

        def shared() -> list[str]:
            self._run_pieces(streamed, pieces)
            return []

        em.if_else(is_alone, [], alone, shared)

    def _run_pieces(self, streamed: tuple[Phase, Phase], pieces: Pieces) -> None:
        em = self.em
        stop = em.intrinsic("llvm.smin", "i64", "%end", str(pieces.whole))
        with self._carrying("%begin", stop, 1, ()) as piece:
            start = multiply(em, piece, pieces.length)
            self.chunk(0, streamed, start, pieces.length)
        if pieces.rest:
            with em.if_(self._is_last(pieces)):
                start = pieces.whole * pieces.length
                self.chunk(0, streamed, start, pieces.rest)

    def reduce(
        self,
        ops: Sequence[KernelOp],
        reductions: Sequence[Reduce],
        sizes: Sequence[int],
        pieces: Pieces,
    ) -> None:
        """Reduce each piece and write its result to the partial results."""
        em = self.em

        def piece(number: int | str, length: int) -> None:
            states = [self._new_state(op, (length,)) for op in reductions]
            for state in states:
                self.states[state.op.result.name] = state
            start = multiply(em, number, pieces.length)
            self._part(0, ops, states, start, length)
            offset = multiply(em, number, sum(sizes))
            at = em.gep("i8", "%partials", offset)
            for state, size in zip(states, sizes, strict=True):
                state.store_partial(at)
                at = em.gep("i8", at, size)

        stop = em.intrinsic("llvm.smin", "i64", "%end", str(pieces.whole))
        with self._carrying("%begin", stop, 1, ()) as number:
            piece(number, pieces.length)
        if pieces.rest:
            with em.if_(self._is_last(pieces)):
                piece(pieces.whole, pieces.rest)

    def sum_rows(self, phase: Phase, columns: int, pieces: Pieces) -> None:
        """Sum the rows of each piece, and write the sums to the partial results."""
        em = self.em
        stream = self.short_rows(0, phase, 0, columns)
        stream.prepare()

        def piece(number: int | str, length: int) -> None:
            stream.sum_part(multiply(em, number, pieces.length), length)
            offset = multiply(em, number, stream.part_bytes)
            stream.store_part(em.gep("i8", "%partials", offset))

        stop = em.intrinsic("llvm.smin", "i64", "%end", str(pieces.whole))
        with self._carrying("%begin", stop, 1, ()) as number:
            piece(number, pieces.length)
        if pieces.rest:
            with em.if_(self._is_last(pieces)):
                piece(pieces.whole, pieces.rest)
        self.streams.clear()

    def _is_last(self, pieces: Pieces) -> str:
        return self.em.op(f"icmp eq i64 %end, {pieces.count}")


def can_fail(ops: Sequence[KernelOp]) -> bool:
    """Tell whether an operation checks its indices."""
    return any(isinstance(op, Load) and op.check and not op.clip for op in ops)
