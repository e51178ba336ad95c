"""A long row, sorted in parts that fit into a cache: one for each thread at a time.

    splitters   from 255 elements, sorted, at equal distances
    count       how many splitters each element has reached: its part
    scatter     elements to their part: parts are in order, and in each, elements are
                in the order in which they came
    sort        each part by itself

Threads have pieces of the row in the second and third step, and parts in the last. What
comes out depends on neither: equal elements are in one part, and stay in order.
"""

from collections.abc import Callable, Iterable, Sequence

from .....records import dataclass
from ...jobs import PARAMETERS as TASK_PARAMETERS
from ...jobs import SLOT, ContextReader, call_job, write_context
from ...sharing import Threading
from ...target import Target, aligned
from ...text import Emitter, constant, vec
from .keys import Cells, order_key
from .ordered import leave_in_order
from .pieces import (
    NAMES,
    PARAMETERS,
    TYPES,
    Digits,
    Functions,
    clear,
    counted,
    move,
    vectors,
)
from .quick import is_parted
from .ranks import RankWriter
from .row import ROW_TYPES, write_sums
from .whole import row_writer

_LEAST = 1 << 17  # elements of a row that is split for the sake of threads
_LARGE = 1 << 21  # bytes of a row that is split for the sake of the caches
_SAMPLES = 255
_TOGETHER = 4  # vectors that are compared with one splitter
_BLOCK = 1024  # elements whose parts are found before they are counted
_PIECES_PER_THREAD = 2
_MOVE_NS, _SORT_NS = 1.5, 4.0  # of an element


def _parts_of(size: int, threads: int, fits: bool) -> Digits:
    """Return the parts of a row of so many bytes, as values of one digit: 16 to 64.

    They are several for each thread, and as small as a cache if what sorts them wants
    that: if it `fits` any, moving elements to fewer of them is faster.
    """
    wanted = 4 * threads if fits else 4 * size // _LARGE
    return Digits(min(max(4, wanted.bit_length()), 6), 1)


def is_split(target: Target, cells: Cells, length: int, threading: Threading) -> bool:
    """Tell whether rows of a length are sorted in parts."""
    if length * cells.bytes >= _LARGE and not is_parted(target, cells):
        return True
    work = int(length * (_MOVE_NS + _SORT_NS))
    return length >= _LEAST and threading.shares(work)


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
    numbers: int
    size: int


class SplitWriter:
    """Writes ``void (ptr x, ptr out, ptr scratch)`` for long rows of one length.

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
        fits = is_parted(functions.target, cells)
        self.parts = _parts_of(length * cells.bytes, threading.threads, fits)
        self.pieces = _PIECES_PER_THREAD * threading.threads if self.is_shared else 1
        self.piece = -(-length // self.pieces)
        part = length // self.parts.values
        self.row = row_writer(functions, cells, cells, part)
        self.ranks = RankWriter(functions, self.plain, _SAMPLES)
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
        tables = self.parts.table_bytes * self.pieces
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
            aligned(self.length),
        )
        return Room(*(sum(parts[:k]) for k in range(len(parts) + 1)))

    def call(self, em: Emitter, x: str, out: str, scratch: str) -> None:
        """Write the call that sorts a row."""
        values = [("ptr", x), ("ptr", out), ("ptr", scratch)]
        em.call("void", self.functions.symbol_of("split"), values)

    def emit(self) -> None:
        """Write everything."""
        em, room = self.em, self.room
        self.row.emit()
        self._task("on_pieces", self._piece_of, ("function", *NAMES[:4], "numbers"))
        self._task("on_parts", self._part_of, ("src", "out", "ours", "table", "rooms"))
        ends, count = ("%x", "%out"), str(self.length)
        has_order = self.cells.has_order
        leave_in_order(em, self.functions, self.plain, has_order, ends, count)
        values = ["%x", self._at(room.cells), self._at(room.tables), self._splitters()]
        self._moved(self._count(), values)
        sums = write_sums(self.functions, self.parts, self.pieces, "sums.parts")
        em.call("i1", sums, [("ptr", self._at(room.tables)), ("i64", count)])
        self._moved(self._scatter(), values)
        self._sorted()
        em.ret()
        parameters = ("ptr %x", "ptr %out", "ptr %scratch")
        self.functions.put("split", em, parameters)

    # Functions over pieces: a block is the numbers of the parts of all elements

    def _count(self) -> str:
        em = self.functions.new_emitter()
        parts, plain = self._parts(), self.plain
        clear(em, self.parts.values, self.functions.target)
        with em.loop("%first", "%last", _BLOCK) as blocks:
            rest = em.op(f"sub nsw i64 %last, {blocks.index}")
            count = em.intrinsic("llvm.smin", "i64", rest, str(_BLOCK))
            at = em.gep(plain.raw, "%src", blocks.index)
            numbers = em.gep("i8", "%block", blocks.index)
            values = [("ptr", at), ("ptr", numbers), ("i64", count), ("i64", "%by")]
            em.call("void", parts, values)
            with em.loop(0, count, 1) as loop:
                counted(em, "%table", _number(em, numbers, loop.index))
                loop.yield_([])
            blocks.yield_([])
        em.ret()
        return self.functions.put("count", em, PARAMETERS)

    def _parts(self) -> str:
        """Write ``void (ptr src, ptr numbers, i64 count, i64 splitters)``."""
        em, plain = self.functions.new_emitter(), self.plain
        splitters = em.op("inttoptr i64 %by to ptr")

        def body(index: str, lanes: int) -> None:
            key = plain.keys(em, "%src", index, lanes)
            type_, bits = vec(plain.raw, lanes), vec("i1", lanes)
            zero, one = (constant(plain.raw, n, lanes) for n in (0, 1))
            with em.loop(0, self.parts.values - 1, 1, [(type_, zero)]) as loop:
                at = em.gep(plain.raw, splitters, loop.index)
                limit = em.load(plain.raw, at, plain.bytes)
                limit = em.splat(plain.raw, limit, lanes)
                reached = em.op(f"icmp uge {type_} {key}, {limit}")
                more = em.op(f"add {type_} {loop.carried[0]}, {one}")
                total = f"select {bits} {reached}, {type_} {more}, {type_} "
                loop.yield_([em.op(total + loop.carried[0])])
            number, narrow = loop.results[0], vec("i8", lanes)
            if plain.width > 8:
                number = em.op(f"trunc {type_} {number} to {narrow}")
            em.store(narrow, number, em.gep("i8", "%numbers", index), 1)

        lanes = _TOGETHER * self.functions.target.lanes(plain.width)
        vectors(em, "0", "%count", lanes, body)
        em.ret()
        parameters = ("ptr %src", "ptr %numbers", "i64 %count", "i64 %by")
        return self.functions.put("parts", em, parameters)

    def _scatter(self) -> str:
        em = self.functions.new_emitter()
        with em.loop("%first", "%last", 1) as loop:
            number = _number(em, "%block", loop.index)
            at = em.op(f"zext i32 {counted(em, '%table', number)} to i64")
            move(em, self.plain, self.cells, loop.index, at)
            loop.yield_([])
        em.ret()
        return self.functions.put("scatter.parts", em, PARAMETERS)

    def _at(self, offset: int) -> str:
        return self.em.gep("i8", "%scratch", offset)

    # Splitters

    def _splitters(self) -> str:
        """Write keys from among samples; return where they are, as i64."""
        em, raw, size = self.em, self.plain.raw, self.plain.bytes
        samples, ordered = self._at(self.room.samples), self._at(self.room.splitters)
        self.ranks.emit()
        with em.loop(0, _SAMPLES, 1) as loop:
            at = em.op(f"mul i64 {loop.index}, {self.length // _SAMPLES}")
            value = em.load(raw, em.gep(raw, "%x", at), size)
            em.store(raw, value, em.gep(raw, samples, loop.index), size)
            loop.yield_([])
        self.ranks.call(em, samples, ordered, self._at(self.room.ranks))
        step = (_SAMPLES + 1) // self.parts.values
        with em.loop(1, self.parts.values, 1) as loop:
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
        values = (f"@{function}", *ends, self._at(self.room.numbers))
        work = int(self.length * _MOVE_NS / 2)
        pairs = zip(types, values, strict=True)
        self._job("on_pieces", pairs, self.pieces, work)

    def _sorted(self) -> None:
        """Write the run over all parts; counters say where each ends."""
        room = self.room
        last = room.tables + (self.pieces - 1) * self.parts.table_bytes
        offsets = (room.ours, last, room.rooms)
        values = (self._at(room.cells), "%out", *map(self._at, offsets))
        work = int(self.length * _SORT_NS)
        self._job("on_parts", [("ptr", v) for v in values], self.parts.values, work)

    def _job(
        self, name: str, values: Iterable[tuple[str, str]], count: int, work: int
    ) -> None:
        em, context = self.em, self._at(self.room.context)
        write_context(em, context, list(values))
        task = self.functions.symbol_of(name)
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
        if "rooms" in names:
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
        offset = em.op(f"mul i64 {number}, {self.parts.table_bytes}")
        table = em.gep("i8", "%table", offset)
        values = ("%src", "%dst", table, "%by", "%numbers", first, last)
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
            em.call("void", self.functions.symbol_of(self.row.name), pairs)
            branch.yield_([])

    def _end_before(self, em: Emitter, number: str) -> str:
        is_later = em.op(f"icmp ne i64 {number}, 0")
        with em.if_(is_later, [("i32", "0")]) as branch:
            before = em.gep("i32", em.gep("i32", "%table", number), -1)
            branch.yield_([em.load("i32", before, 4)])
        return branch.results[0]


def _number(em: Emitter, numbers: str, index: str) -> str:
    """Load the number of an element's part, as i64."""
    number = em.load("i8", em.gep("i8", numbers, index), 1)
    return em.op(f"zext i8 {number} to i64")
