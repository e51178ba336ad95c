"""A row that lies along memory, sorted by digits of its keys from the lowest on.

    in order    copied
    otherwise   tables of all digits, in one pass over the row
                where in the row each digit's elements go, by sums over the tables
                for each digit that is not the same everywhere: scatter

Each scatter keeps the order of what it finds, so all of them sort, and equal values
stay in order. As it is known then which passes there are, elements go to and fro
between two arrays such that the last pass writes the result.
"""

from collections.abc import Callable

from .keys import Cells
from .ordered import leave_in_order
from .pieces import BLOCK, TYPES, Digits, Functions, PieceWriter

_FEW = 4096  # elements of a row whose tables should be small
ROW = ("src", "out", "ours", "others", "room", "size")
ROW_TYPES = ("ptr", "ptr", "ptr", "ptr", "ptr", "i64")


def digits_of(width: int, length: int) -> Digits:
    """Return how keys of a width are cut for rows of a length."""
    bits = 8 if width < 32 or length < _FEW else 11
    return Digits(bits, -(-width // bits))


class RowWriter:
    """Writes the function that sorts a row of any length.

        void (ptr src, ptr out, ptr ours, ptr others, ptr room, i64 size)

    `ours` and `others` have room for the row's cells. If the row comes in cells,
    `others` may be `src`; if cells are not larger than what the result has, it may be
    `out`. In `room` are tables, and a block.

    Parameters
    ----------
    functions : Functions
    source : Cells
        How the row comes.
    cells : Cells
        How it lies between passes.
    digits : Digits
    """

    name = "row"

    def __init__(
        self, functions: Functions, source: Cells, cells: Cells, digits: Digits
    ) -> None:
        self.functions, self.source, self.cells = functions, source, cells
        self.digits = digits
        self.writer = PieceWriter(functions, cells, digits)
        self.em = functions.new_emitter()
        self.tables = digits.count * digits.table_bytes

    @property
    def room_bytes(self) -> int:
        """How large `room` is."""
        return self.tables + BLOCK * self.cells.dtype.itemsize

    @property
    def element_ns(self) -> int:
        """Estimated nanoseconds for an element."""
        return 1 + self.digits.count

    def emit(self) -> str:
        """Write everything; return the symbol of the function."""
        em, writer = self.em, self.writer
        has_order, ends = self.cells.has_order, ("%src", "%out")
        leave_in_order(em, self.functions, self.source, has_order, ends, "%size")
        self._call(f"@{writer.count_all(self.source)}", "%src", "%out", "%room", "0")
        self._passes(self._useful())
        em.ret()
        pairs = zip(ROW_TYPES, ROW, strict=True)
        return self.functions.put(
            self.name, em, tuple(f"{t} %{name}" for t, name in pairs)
        )

    def _call(self, function: str, source: str, to: str, table: str, by: str) -> None:
        """Write the call of a function over the whole row."""
        block = self.em.gep("i8", "%room", self.tables)
        values = (source, to, table, by, block, "0", "%size")
        typed = zip(TYPES, values, strict=True)
        self.em.line(f"call void {function}({', '.join(f'{t} {v}' for t, v in typed)})")

    # Tables

    def _useful(self) -> str:
        """Write sums over all tables; return the bits of digits that differ."""
        em, sums = self.em, write_sums(self.functions, self.digits, 1, "sums")
        with em.loop(0, self.digits.count, 1, [("i64", "0")]) as loop:
            values = [("ptr", self._table(loop.index)), ("i64", "%size")]
            differs = em.call("i1", sums, values)
            bit = em.op(f"zext i1 {differs} to i64")
            bit = em.op(f"shl i64 {bit}, {loop.index}")
            loop.yield_([em.op(f"or i64 {loop.carried[0]}, {bit}")])
        return loop.results[0]

    def _table(self, digit: str) -> str:
        offset = self.em.op(f"mul i64 {digit}, {self.digits.table_bytes}")
        return self.em.gep("i8", "%room", offset)

    # Passes

    def _passes(self, useful: str) -> None:
        """Write the loop over digits; each pass goes from one array to another."""
        em = self.em
        choose = self._chooser()
        first, other = self._arrays(useful)
        carried = [("ptr", "%src"), ("ptr", first), ("ptr", other)]
        carried += [("i64", useful), ("i1", "true")]
        with em.loop(0, self.digits.count, 1, carried) as loop:
            source, to, unused, bits, is_first = loop.carried
            bit = em.op(f"trunc i64 {bits} to i1")
            left = em.op(f"lshr i64 {bits}, 1")
            state = [("ptr", source), ("ptr", to), ("ptr", unused), ("i1", is_first)]
            with em.if_(bit, state) as branch:
                is_last = em.op(f"icmp eq i64 {left}, 0")
                goal = em.op(f"select i1 {is_last}, ptr %out, ptr {to}")
                function = choose(is_first, is_last)
                by = em.op(f"mul i64 {loop.index}, {self.digits.bits}")
                self._call(function, source, goal, self._table(loop.index), by)
                branch.yield_([to, unused, to, "false"])
            arrays = branch.results
            loop.yield_([*arrays[:3], left, arrays[3]])

    def _arrays(self, useful: str) -> tuple[str, str]:
        """Return where the first pass writes, and where the second one does.

        The last one writes the result: an odd number of passes may begin with it.
        """
        em = self.em
        if self.cells.bytes == 16:
            return "%ours", "%others"
        count = em.intrinsic("llvm.ctpop", "i64", useful)
        odd = em.op(f"trunc i64 {count} to i1")
        first = em.op(f"select i1 {odd}, ptr %out, ptr %ours")
        is_ours = em.op("icmp eq ptr %others, %out")
        other = em.op(f"select i1 {odd}, ptr %ours, ptr %out")
        return first, em.op(f"select i1 {is_ours}, ptr {other}, ptr %others")

    def _chooser(self) -> Callable[[str, str], str]:
        """Return what gives the function of a pass: the first or last may be others."""
        em, writer, cells = self.em, self.writer, self.cells
        if not cells.has_order:
            symbol = writer.scatter(cells, False)
            return lambda is_first, is_last: f"@{symbol}"
        sources = dict.fromkeys((self.source, cells))
        symbols = [[writer.scatter(s, last) for last in (True, False)] for s in sources]

        def choose(is_first: str, is_last: str) -> str:
            found = [
                em.op(f"select i1 {is_last}, ptr @{last}, ptr @{inner}")
                for last, inner in symbols
            ]
            if len(found) == 1:
                return found[0]
            return em.op(f"select i1 {is_first}, ptr {found[0]}, ptr {found[1]}")

        return choose


def write_sums(functions: Functions, digits: Digits, pieces: int, name: str) -> str:
    """Write ``i1 (ptr table, i64 size)``: counts become the first places of each.

    Of several pieces, which have a table each, the first come first within a value. It
    returns whether the digit differs between elements.
    """
    em = functions.new_emitter()
    size = em.op("trunc i64 %size to i32")
    carried = [("i32", "0"), ("i1", "true")]
    with em.loop(0, digits.values, 1, carried) as loop:
        before, differs = loop.carried
        at, total = em.gep("i32", "%table", loop.index), before
        for piece in range(pieces):
            place = em.gep("i8", at, piece * digits.table_bytes)
            count = em.load("i32", place, 4)
            em.store("i32", total, place, 4)
            total = em.op(f"add i32 {total}, {count}")
        here = em.op(f"sub i32 {total}, {before}")
        some = em.op(f"icmp ne i32 {here}, {size}")
        loop.yield_([total, em.op(f"and i1 {differs}, {some}")])
    em.ret("i1", loop.results[1])
    return functions.put(name, em, ("ptr %table", "i64 %size"), "i1")
