"""A row that lies along memory, sorted by digits of its keys from the lowest on.

    in order already, or strictly against it    copied, or turned
    otherwise   tables of all digits, in one pass over the row
                where in the row each digit's elements go, by sums over the tables
                for each digit that is not the same everywhere: scatter

Each scatter keeps the order of what it finds, so all of them sort, and equal values
stay in order: the result is unique, whatever the pieces are. As it is known then which
passes there are, elements go to and fro between two arrays such that the last pass
writes the result.

Several threads have a piece of the row each, with tables of its own: sums over them go
through the pieces within each value of a digit. From the second pass on, pieces have
other elements than before, and are counted again.
"""

from collections.abc import Callable
from dataclasses import dataclass

from ...jobs import SLOT, ContextReader, Threading, call_job, write_context
from ...jobs import PARAMETERS as TASK_PARAMETERS
from ...target import aligned
from ...text import Emitter, vec
from .keys import Cells, order_key
from .pieces import BLOCK, NAMES, TYPES, Digits, Functions, PieceWriter

_LEAST_PIECE = 1 << 14  # elements
_PIECES_PER_THREAD = 1
_FEW = 4096  # elements of a row whose tables should be small


def digits_of(width: int, length: int) -> Digits:
    """Return how keys of a width are cut for rows of a length."""
    bits = 8 if width < 32 or length < _FEW else 11
    return Digits(bits, -(-width // bits))


@dataclass(frozen=True)
class Room:
    """Where things lie in the scratch of a row, in bytes from its start."""

    tables: int
    blocks: int
    context: int
    cells: int
    others: int
    size: int


class RowWriter:
    """Writes ``void @row(ptr x, ptr out, ptr scratch)`` for rows of one length.

    Parameters
    ----------
    functions : Functions
    cells : Cells
    length : int
    threading : Threading
        How one row is shared.
    """

    def __init__(
        self, functions: Functions, cells: Cells, length: int, threading: Threading
    ) -> None:
        self.functions, self.cells, self.length = functions, cells, length
        self.threading = threading
        self.digits = digits_of(cells.width, length)
        self.writer = PieceWriter(functions, cells, self.digits)
        most = length // _LEAST_PIECE
        self.pieces = max(1, min(_PIECES_PER_THREAD * threading.threads, most))
        if not threading.shares(self.work):
            self.pieces = 1
        self.piece = -(-length // self.pieces)
        self.table_bytes = self.digits.count * self.digits.table_bytes  # of a piece
        self.room = self._room()
        self.em = functions.new_emitter()

    @property
    def work(self) -> int:
        """Estimated nanoseconds for a row."""
        return int(self.length * (1 + self.digits.count))

    def _room(self) -> Room:
        threads = self.threading.threads if self.pieces > 1 else 1
        blocks = self.table_bytes * self.pieces
        context = blocks + BLOCK * self.cells.dtype.itemsize * threads
        cells = context + aligned(SLOT * (len(NAMES) + 1))
        size = aligned(self.length * self.cells.bytes)
        # The result holds cells too, unless they are wider than places.
        both = self.cells.bytes == 16
        others = cells + size
        return Room(0, blocks, context, cells, others, others + size * both)

    def emit(self) -> str:
        """Write everything; return the symbol of the function."""
        em = self.em
        self._in_order("rises", "ugt", self.writer.ordered(False, self.length))
        self._in_order("falls", "ule", self.writer.ordered(True, self.length))
        tables, symbol = self._scratch(self.room.tables), self.writer.count_all()
        self._run(f"@{symbol}", "%x", "%out", tables, "0")
        self._passes(self._useful(tables))
        em.ret()
        return self.functions.put("row", em, ("ptr %x", "ptr %out", "ptr %scratch"))

    def _scratch(self, offset: int) -> str:
        return self.em.gep("i8", "%scratch", offset)

    # Rows that are in order

    def _in_order(self, name: str, broken: str, symbol: str) -> None:
        """Write the end for rows in which no pair of neighbours is `broken`."""
        em, check = self.em, self._check(name, broken)
        holds = em.call("i1", check, [("ptr", "%x")])
        with em.if_(holds, unlikely=True) as branch:
            self._run(f"@{symbol}", "%x", "%out", "%scratch", "0")
            after = em.fresh("unreachable")
            em.ret()
            em.label(after)
            branch.yield_([])

    def _check(self, name: str, broken: str) -> str:
        em, lanes = self.functions.new_emitter(), self.writer.lanes
        pairs = self.length - 1
        whole = pairs // lanes * lanes
        for step, start, stop in ((lanes, 0, whole), (1, whole, pairs)):
            if start == stop:
                continue
            with em.loop(start, stop, step) as loop:
                here, after = (self._key(em, loop.index, k, step) for k in (0, 1))
                type_ = vec(self.cells.raw, step)
                bad = em.op(f"icmp {broken} {type_} {here}, {after}")
                with em.if_(em.any_lane(bad, step)) as branch:
                    rest = em.fresh("unreachable")
                    em.ret("i1", "false")
                    em.label(rest)
                    branch.yield_([])
                loop.yield_([])
        em.ret("i1", "true")
        return self.functions.put(name, em, ("ptr %x",), "i1")

    def _key(self, em: Emitter, index: str, offset: int, lanes: int) -> str:
        plain = self.writer.plain
        at = em.gep(plain.raw, em.gep(plain.raw, "%x", index), offset)
        return order_key(em, plain.dtype, plain.values(em, at, lanes), lanes)

    # Tables

    def _useful(self, tables: str) -> str:
        """Write sums over all tables; return the bits of digits that differ."""
        em, sums = self.em, self._sums()
        with em.loop(0, self.digits.count, 1, [("i64", "0")]) as loop:
            table = self._table(tables, loop.index)
            differs = em.call("i1", sums, [("ptr", table)])
            bit = em.op(f"zext i1 {differs} to i64")
            bit = em.op(f"shl i64 {bit}, {loop.index}")
            loop.yield_([em.op(f"or i64 {loop.carried[0]}, {bit}")])
        return loop.results[0]

    def _table(self, tables: str, digit: str) -> str:
        offset = self.em.op(f"mul i64 {digit}, {self.digits.table_bytes}")
        return self.em.gep("i8", tables, offset)

    def _sums(self) -> str:
        """Write the function that makes counts the first places of what they count.

        It returns whether the digit differs between elements.
        """
        em = self.functions.new_emitter()
        with em.loop(
            0, self.digits.values, 1, [("i32", "0"), ("i1", "true")]
        ) as loop:
            total, differs = loop.carried
            at = em.gep("i32", "%table", loop.index)
            after = self._piece_sums(em, at, total)
            here = em.op(f"sub i32 {after}, {total}")
            some = em.op(f"icmp ne i32 {here}, {self.length}")
            loop.yield_([after, em.op(f"and i1 {differs}, {some}")])
        em.ret("i1", loop.results[1])
        return self.functions.put("sums", em, ("ptr %table",), "i1")

    def _piece_sums(self, em: Emitter, at: str, total: str) -> str:
        """Write the sums over the pieces' counts of one value; return their end."""
        for piece in range(self.pieces):
            place = em.gep("i8", at, piece * self.table_bytes)
            count = em.load("i32", place, 4)
            em.store("i32", total, place, 4)
            total = em.op(f"add i32 {total}, {count}")
        return total

    # Passes

    def _passes(self, useful: str) -> None:
        """Write the loop over digits; each pass goes from one array to another."""
        em = self.em
        choose = self._chooser(useful)
        first, other = self._arrays(useful)
        carried = [("ptr", "%x"), ("ptr", first), ("ptr", other), ("i64", useful)]
        with em.loop(0, self.digits.count, 1, carried) as loop:
            bit = em.op(f"and i64 {loop.carried[3]}, 1")
            left = em.op(f"lshr i64 {loop.carried[3]}, 1")
            is_useful = em.op(f"icmp ne i64 {bit}, 0")
            pointers = [("ptr", p) for p in loop.carried[:3]]
            with em.if_(is_useful, pointers) as branch:
                source, to, unused = branch.carried
                if self.cells.bytes == 16:
                    is_last = em.op(f"icmp eq i64 {left}, 0")
                    to = em.op(f"select i1 {is_last}, ptr %out, ptr {to}")
                self._pass(loop.index, source, to, choose(source, left))
                branch.yield_([to, unused, to])
            loop.yield_([*branch.results, left])

    def _arrays(self, useful: str) -> tuple[str, str]:
        """Return where the first pass writes, and where the second one does."""
        em = self.em
        ours = self._scratch(self.room.cells)
        if self.cells.bytes == 16:
            return ours, self._scratch(self.room.others)
        count = em.intrinsic("llvm.ctpop", "i64", useful)
        odd = em.op(f"trunc i64 {count} to i1")
        return (
            em.op(f"select i1 {odd}, ptr %out, ptr {ours}"),
            em.op(f"select i1 {odd}, ptr {ours}, ptr %out"),
        )

    def _chooser(self, useful: str) -> Callable[[str, str], str]:
        """Return what gives the function of a pass, by its source and what is left."""
        em = self.em
        if not self.cells.has_order:
            symbol = self.writer.scatter(False, False)
            return lambda source, left: f"@{symbol}"
        symbols = [self.writer.scatter(f, s) for f in (False, True) for s in (False, True)]

        def choose(source: str, left: str) -> str:
            is_first = em.op(f"icmp eq ptr {source}, %x")
            is_last = em.op(f"icmp eq i64 {left}, 0")
            pairs = [
                em.op(f"select i1 {is_last}, ptr @{last}, ptr @{inner}")
                for inner, last in (symbols[:2], symbols[2:])
            ]
            return em.op(f"select i1 {is_first}, ptr {pairs[1]}, ptr {pairs[0]}")

        return choose

    def _pass(self, digit: str, source: str, to: str, function: str) -> None:
        em = self.em
        shift = em.op(f"mul i64 {digit}, {self.digits.bits}")
        table = self._table(self._scratch(self.room.tables), digit)
        if self.pieces > 1:
            again = em.op(f"icmp ne ptr {source}, %x")
            with em.if_(again) as branch:
                self._run(f"@{self.writer.count()}", source, to, table, shift)
                em.call("i1", f"{self.functions.symbol}.sums", [("ptr", table)])
                branch.yield_([])
        self._run(function, source, to, table, shift)

    # Pieces

    def _run(
        self, function: str, source: str, to: str, table: str, shift: str
    ) -> None:
        """Write the call of a function over all pieces of the row."""
        em = self.em
        block = self._scratch(self.room.blocks)
        values = [source, to, table, shift, block]
        if self.pieces == 1:
            typed = zip(TYPES, (*values, "0", str(self.length)), strict=True)
            text = ", ".join(f"{t} {v}" for t, v in typed)
            em.line(f"call void {function}({text})")
            return
        context = self._scratch(self.room.context)
        slots = [("ptr", function), *zip(TYPES, values, strict=False)]
        write_context(em, context, slots)
        task = f"{self.functions.symbol}.task"
        work = int(1.5 * self.length)
        call_job(em, task, context, self.pieces, work, self.threading)

    def task(self) -> None:
        """Write the task that runs any function over some of the pieces."""
        em = self.functions.new_emitter()
        read = ContextReader(em)
        for name, type_ in zip(("function", *NAMES[:4], "blocks"), ("ptr", *TYPES), strict=False):
            read.named(f"%{name}", type_)
        read.own("%block", "%blocks", str(BLOCK * self.cells.dtype.itemsize))
        with em.loop("%begin", "%end", 1) as loop:
            first = em.op(f"mul i64 {loop.index}, {self.piece}")
            last = em.op(f"add i64 {first}, {self.piece}")
            last = em.intrinsic("llvm.smin", "i64", last, str(self.length))
            offset = em.op(f"mul i64 {loop.index}, {self.table_bytes}")
            table = em.gep("i8", "%table", offset)
            values = ("%src", "%dst", table, "%shift", "%block", first, last)
            text = ", ".join(f"{t} {v}" for t, v in zip(TYPES, values, strict=True))
            em.line(f"call void %function({text})")
            loop.yield_([])
        em.ret()
        self.functions.put("task", em, TASK_PARAMETERS)
