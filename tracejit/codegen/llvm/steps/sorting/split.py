"""A long row, sorted in parts that fit into a cache: one for each thread at a time.

    splitters   of 255 elements, sorted, every eighth
    count       how many elements of each piece have reached how many splitters
    scatter     elements to their part: parts are in order, and in each, elements are
                in the order in which they came
    sort        each part by itself

Threads have pieces of the row in the second and third step, and parts in the last. What
comes out depends on neither: equal elements are in one part, and stay in order.
"""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass

from ...jobs import PARAMETERS as TASK_PARAMETERS
from ...jobs import SLOT, ContextReader, Threading, call_job, write_context
from ...target import aligned
from ...text import Emitter
from .keys import Cells, order_key
from .pieces import BLOCK, NAMES, TYPES, Digits, Functions, PieceWriter
from .ranks import RankWriter
from .row import ROW_TYPES, RowWriter, digits_of, leave_in_order, write_sums

LEAST = 1 << 16  # elements of a row that is split for the sake of threads
_LARGE = 1 << 23  # bytes of a row that is split for the sake of the caches
_SAMPLES = 255
_PARTS = Digits(5, 1, is_split=True)
_PIECES_PER_THREAD = 2
_MOVE_NS, _SORT_NS = 1.5, 4.0  # of an element


def is_split(cells: Cells, length: int, threading: Threading) -> bool:
    """Tell whether rows of a length are sorted in parts."""
    if length * cells.bytes >= _LARGE:
        return True
    work = int(length * (_MOVE_NS + _SORT_NS))
    return length >= LEAST and threading.shares(work)


@dataclass(frozen=True)
class Room:
    """Where things lie in the scratch of a row, in bytes from its start."""

    tables: int
    samples: int
    splitters: int
    ranks: int
    context: int
    rooms: int
    cells: int
    ours: int
    size: int


class SplitWriter:
    """Writes ``void @row(ptr x, ptr out, ptr scratch)`` for rows of one length.

    Parameters
    ----------
    functions : Functions
    cells : Cells
    length : int
    threading : Threading
    """

    def __init__(
        self, functions: Functions, cells: Cells, length: int, threading: Threading
    ) -> None:
        self.functions, self.cells, self.length = functions, cells, length
        self.threading = threading
        self.plain = Cells(cells.dtype, False)
        self.is_shared = threading.shares(self.work)
        self.pieces = _PIECES_PER_THREAD * threading.threads if self.is_shared else 1
        self.piece = -(-length // self.pieces)
        parts = length // _PARTS.values
        digits = digits_of(cells.width, parts)
        self.row = RowWriter(functions, cells, cells, digits)
        self.ranks = RankWriter(functions, self.plain, _SAMPLES)
        self.writer = PieceWriter(functions, cells, _PARTS)
        self.room = self._room()
        self.em = functions.new_emitter()

    @property
    def work(self) -> int:
        """Estimated nanoseconds for a row."""
        return int(self.length * (_MOVE_NS + _SORT_NS))

    @property
    def scratch_bytes(self) -> int:
        """What a row needs."""
        return self.room.size

    @property
    def own_bytes(self) -> int:
        """What each worker needs of it."""
        return aligned(self.row.room_bytes)

    def _room(self) -> Room:
        size = self.cells.dtype.itemsize
        tables = _PARTS.table_bytes * self.pieces
        samples = aligned(_SAMPLES * size)
        parts = (
            tables,
            samples,
            samples,
            self.ranks.scratch_bytes,
            aligned(SLOT * (len(NAMES) + 1)),
            self.own_bytes * (self.threading.threads if self.is_shared else 1),
            aligned(self.length * self.cells.bytes),
            aligned(self.length * self.cells.bytes),
        )
        return Room(*(sum(parts[:k]) for k in range(len(parts) + 1)))

    def call(self, em: Emitter, x: str, out: str, scratch: str) -> None:
        """Write the call that sorts a row."""
        values = [("ptr", x), ("ptr", out), ("ptr", scratch)]
        em.call("void", f"{self.functions.symbol}.split", values)

    def emit(self) -> None:
        """Write everything."""
        em, writer, room = self.em, self.writer, self.room
        self.row.emit()
        self._task("on_pieces", self._piece_of, ("function", *NAMES[:4], "rooms"))
        self._task("on_parts", self._part_of, ("src", "out", "ours", "table", "rooms"))
        leave_in_order(em, writer, self.plain, str(self.length), "%x", "%out")
        by = self._splitters()
        ends = ["%x", self._at(room.cells), self._at(room.tables), by]
        self._moved(writer.count(self.plain), ends)
        sums = write_sums(self.functions, _PARTS, self.pieces)
        values = [("ptr", self._at(room.tables)), ("i64", str(self.length))]
        em.call("i1", sums, values)
        self._moved(writer.scatter(self.plain, False), ends)
        self._sorted()
        em.ret()
        parameters = ("ptr %x", "ptr %out", "ptr %scratch")
        self.functions.put("split", em, parameters)

    def _at(self, offset: int) -> str:
        return self.em.gep("i8", "%scratch", offset)

    # Splitters

    def _splitters(self) -> str:
        """Write the keys of every eighth sample; return where they are, as i64."""
        em, raw, size = self.em, self.plain.raw, self.plain.bytes
        samples, ordered = self._at(self.room.samples), self._at(self.room.splitters)
        self.ranks.emit()
        with em.loop(0, _SAMPLES, 1) as loop:
            at = em.op(f"mul i64 {loop.index}, {self.length // _SAMPLES}")
            value = em.load(raw, em.gep(raw, "%x", at), size)
            em.store(raw, value, em.gep(raw, samples, loop.index), size)
            loop.yield_([])
        self.ranks.call(em, samples, ordered, self._at(self.room.ranks))
        step = (_SAMPLES + 1) // _PARTS.values
        with em.loop(1, _PARTS.values, 1) as loop:
            at = em.op(f"mul i64 {loop.index}, {step}")
            bits = em.load(raw, em.gep(raw, ordered, at), size)
            key = order_key(em, self.plain.dtype, bits, 1)
            to = em.gep(raw, em.gep(raw, samples, loop.index), -1)
            em.store(raw, key, to, size)
            loop.yield_([])
        return em.op(f"ptrtoint ptr {samples} to i64")

    # Jobs

    def _moved(self, function: str, ends: Sequence[str]) -> None:
        """Write the run of a function over all pieces."""
        types = ("ptr", *TYPES[:4], "ptr")
        values = (f"@{function}", *ends, self._at(self.room.rooms))
        work = int(self.length * _MOVE_NS / 2)
        self._job("on_pieces", zip(types, values, strict=True), self.pieces, work)

    def _sorted(self) -> None:
        """Write the run over all parts; counters say where each ends."""
        room = self.room
        last = room.tables + (self.pieces - 1) * _PARTS.table_bytes
        offsets = (room.ours, last, room.rooms)
        values = (self._at(room.cells), "%out", *map(self._at, offsets))
        work = int(self.length * _SORT_NS)
        self._job("on_parts", [("ptr", v) for v in values], _PARTS.values, work)

    def _job(
        self, name: str, values: Iterable[tuple[str, str]], count: int, work: int
    ) -> None:
        em, context = self.em, self._at(self.room.context)
        write_context(em, context, list(values))
        task = f"{self.functions.symbol}.{name}"
        if self.is_shared:
            call_job(em, task, context, count, work, self.threading)
            return
        limits = [("i64", "0"), ("i64", str(count)), ("i64", "0")]
        em.call("void", task, [("ptr", context), *limits])

    def _task(
        self, name: str, body: Callable[[Emitter, str], None], names: Sequence[str]
    ) -> None:
        """Write a task over pieces or parts, which reads what it needs by name."""
        em = self.functions.new_emitter()
        read = ContextReader(em)
        for value in names:
            read.named(f"%{value}", "i64" if value == "by" else "ptr")
        read.own("%room", "%rooms", str(self.own_bytes))
        with em.loop("%begin", "%end", 1) as loop:
            body(em, loop.index)
            loop.yield_([])
        em.ret()
        self.functions.put(name, em, TASK_PARAMETERS)

    def _piece_of(self, em: Emitter, number: str) -> None:
        first = em.op(f"mul i64 {number}, {self.piece}")
        last = em.op(f"add i64 {first}, {self.piece}")
        last = em.intrinsic("llvm.smin", "i64", last, str(self.length))
        offset = em.op(f"mul i64 {number}, {_PARTS.table_bytes}")
        table = em.gep("i8", "%table", offset)
        values = ("%src", "%dst", table, "%by", "%room", first, last)
        text = ", ".join(f"{t} {v}" for t, v in zip(TYPES, values, strict=True))
        em.line(f"call void %function({text})")

    def _part_of(self, em: Emitter, number: str) -> None:
        start = self._end_before(em, number)
        end = em.load("i32", em.gep("i32", "%table", number), 4)
        size = em.op(f"sub i32 {end}, {start}")
        first, count = (em.op(f"zext i32 {v} to i64") for v in (start, size))
        source, ours = (em.gep(self.cells.type_, p, first) for p in ("%src", "%ours"))
        out = em.gep("i64" if self.cells.has_order else self.plain.raw, "%out", first)
        values = (source, out, ours, source, "%room", count)
        with em.if_(em.op(f"icmp ne i64 {count}, 0")) as branch:
            pairs = list(zip(ROW_TYPES, values, strict=True))
            em.call("void", f"{self.functions.symbol}.row", pairs)
            branch.yield_([])

    def _end_before(self, em: Emitter, number: str) -> str:
        is_later = em.op(f"icmp ne i64 {number}, 0")
        with em.if_(is_later, [("i32", "0")]) as branch:
            before = em.gep("i32", em.gep("i32", "%table", number), -1)
            branch.yield_([em.load("i32", before, 4)])
        return branch.results[0]
