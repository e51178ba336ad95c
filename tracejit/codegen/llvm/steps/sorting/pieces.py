"""Functions over a piece of a row, all with one signature.

    void (ptr src, ptr dst, ptr table, i64 by, ptr block, i64 first, i64 last)

`first` and `last` are elements of the row. A table has a counter of 32 bits for each
value of a digit; `block` is room for the digits of `BLOCK` elements: they are computed
in vectors, and then used one by one. A digit is made of some bits of a key, and `by` is
how far they are from its lowest; or it is the number of splitters up to the key, and
`by` is the address of their keys.

========== ==========================================================================
count_all  all digits' tables, one after another, of how many elements have each value
count      the same for one digit
scatter    elements to where the table says that the next with their digit goes
copy       elements, or their places, in order
turn       elements, or their places, the last first
========== ==========================================================================
"""

from collections.abc import Callable
from dataclasses import dataclass

from ...target import Target
from ...text import Emitter, constant, iota, vec
from .keys import Cells, order_key

BLOCK = 256
NAMES = ("src", "dst", "table", "by", "block", "first", "last")
TYPES = ("ptr", "ptr", "ptr", "i64", "ptr", "i64", "i64")
PARAMETERS = tuple(f"{t} %{name}" for t, name in zip(TYPES, NAMES, strict=True))
_BLOCK_PARAMETERS = ("ptr %src", "i64 %count", "ptr %block", "i64 %by")
_TOGETHER = 4  # vectors that are compared with one splitter


@dataclass(frozen=True)
class Digits:
    """How keys are cut: `count` digits of `bits` bits, the lowest first.

    With `is_split`, there is one digit, by splitters.
    """

    bits: int
    count: int
    is_split: bool = False

    @property
    def values(self) -> int:
        """How many values a digit has."""
        return 1 << self.bits

    @property
    def table_bytes(self) -> int:
        """Of one digit."""
        return 4 * self.values


@dataclass
class Functions:
    """Writes functions of a module, and keeps their texts.

    Parameters
    ----------
    symbol : str
        What all their symbols begin with.
    target : Target
    new_emitter : callable
    """

    symbol: str
    target: Target
    new_emitter: Callable[[], Emitter]

    def __post_init__(self) -> None:
        self.texts: list[str] = []

    def put(
        self, name: str, em: Emitter, parameters: tuple[str, ...], result: str = "void"
    ) -> str:
        """Keep a function whose body was written; return its symbol."""
        symbol = f"{self.symbol}.{name}"
        text = em.function(symbol, parameters, result=result, linkage="internal")
        self.texts.append(text)
        return symbol


class PieceWriter:
    """Writes functions over pieces.

    Parameters
    ----------
    functions : Functions
    cells : Cells
        How elements lie between passes.
    digits : Digits
    """

    def __init__(self, functions: Functions, cells: Cells, digits: Digits) -> None:
        self.functions, self.cells, self.digits = functions, cells, digits
        self.plain = Cells(cells.dtype, False)
        self.lanes = functions.target.lanes(cells.width)
        self._digits_of: dict[Cells, str] = {}

    def _new(self) -> Emitter:
        return self.functions.new_emitter()

    def _put(self, name: str, em: Emitter) -> str:
        em.ret()
        name = f"{name}.split" if self.digits.is_split else name
        return self.functions.put(name, em, PARAMETERS)

    # The digits of a block

    def _block(self, source: Cells) -> str:
        """Return the function that writes the digits of a block, or whole keys."""
        if source not in self._digits_of:
            em = self._new()
            if self.digits.is_split:
                name = "parts"
                self._write_parts(em, source)
            else:
                name = "keys"
                self._write_keys(em, source)
            em.ret()
            name = f"{name}.packed" if source.has_order else name
            symbol = self.functions.put(name, em, _BLOCK_PARAMETERS)
            self._digits_of[source] = symbol
        return self._digits_of[source]

    def _write_keys(self, em: Emitter, source: Cells) -> None:
        by = "%by"
        if source.width < 64:
            by = em.op(f"trunc i64 %by to {source.raw}")

        def body(index: str, lanes: int) -> None:
            type_ = vec(source.raw, lanes)
            key = self._key(em, source, index, lanes)
            key = em.op(f"lshr {type_} {key}, {em.splat(source.raw, by, lanes)}")
            to = em.gep(source.raw, "%block", index)
            em.store(type_, key, to, self.plain.bytes)

        self._vectors(em, "0", "%count", self.lanes, body)

    def _write_parts(self, em: Emitter, source: Cells) -> None:
        """Write how many splitters each key has reached."""
        splitters = em.op("inttoptr i64 %by to ptr")

        def body(index: str, lanes: int) -> None:
            key = self._key(em, source, index, lanes)
            type_, zero = vec(source.raw, lanes), constant(source.raw, 0, lanes)
            with em.loop(0, self.digits.values - 1, 1, [(type_, zero)]) as loop:
                at = em.gep(source.raw, splitters, loop.index)
                limit = em.load(source.raw, at, self.plain.bytes)
                limits = em.splat(source.raw, limit, lanes)
                reached = em.op(f"icmp uge {type_} {key}, {limits}")
                more = em.op(f"sext {vec('i1', lanes)} {reached} to {type_}")
                loop.yield_([em.op(f"sub {type_} {loop.carried[0]}, {more}")])
            to = em.gep(source.raw, "%block", index)
            em.store(type_, loop.results[0], to, self.plain.bytes)

        self._vectors(em, "0", "%count", _TOGETHER * self.lanes, body)

    def _key(self, em: Emitter, source: Cells, index: str, lanes: int) -> str:
        at = em.gep(source.type_, "%src", index)
        return order_key(em, source.dtype, source.values(em, at, lanes), lanes)

    def _vectors(
        self,
        em: Emitter,
        start: str,
        stop: str,
        lanes: int,
        body: Callable[[str, int], None],
    ) -> None:
        """Write a loop over vectors, and one over what is left."""
        middle = start
        if lanes > 1:
            size = em.op(f"sub nsw i64 {stop}, {start}")
            whole = em.op(f"and i64 {size}, {-lanes}")
            middle = em.op(f"add nsw i64 {start}, {whole}")
            with em.loop(start, middle, lanes) as loop:
                body(loop.index, lanes)
                loop.yield_([])
        with em.loop(middle, stop, 1) as loop:
            body(loop.index, 1)
            loop.yield_([])

    def _each(
        self, em: Emitter, source: Cells, by: str, body: Callable[[str, str], None]
    ) -> None:
        """Write a loop over elements: `body` takes an element's number and its key."""
        keys = self._block(source)
        with em.loop("%first", "%last", BLOCK) as blocks:
            rest = em.op(f"sub nsw i64 %last, {blocks.index}")
            count = em.intrinsic("llvm.smin", "i64", rest, str(BLOCK))
            at = em.gep(source.type_, "%src", blocks.index)
            arguments = [("ptr", at), ("i64", count), ("ptr", "%block"), ("i64", by)]
            em.call("void", keys, arguments)
            with em.loop(0, count, 1) as loop:
                place = em.gep(source.raw, "%block", loop.index)
                key = em.load(source.raw, place, self.plain.bytes)
                number = em.op(f"add nsw i64 {blocks.index}, {loop.index}")
                body(number, key)
                loop.yield_([])
            blocks.yield_([])

    def _digit(self, em: Emitter, key: str, shift: int = 0) -> str:
        """Return a digit of a key, as i64."""
        raw, width = self.plain.raw, self.plain.width
        if shift:
            key = em.op(f"lshr {raw} {key}, {shift}")
        if shift + self.digits.bits < width and not self.digits.is_split:
            key = em.op(f"and {raw} {key}, {self.digits.values - 1}")
        return key if width == 64 else em.op(f"zext {raw} {key} to i64")

    # Counts

    def count_all(self, source: Cells) -> str:
        """Write ``count_all``; it clears the tables first."""
        em, digits = self._new(), self.digits
        self._clear(em, digits.count)

        def body(number: str, key: str) -> None:
            for k in range(digits.count):
                table = em.gep("i8", "%table", k * digits.table_bytes)
                self._counted(em, table, self._digit(em, key, k * digits.bits))

        self._each(em, source, "0", body)
        return self._put("count_all", em)

    def count(self, source: Cells) -> str:
        """Write ``count``; it clears the table first."""
        em = self._new()
        self._clear(em, 1)

        def body(number: str, key: str) -> None:
            self._counted(em, "%table", self._digit(em, key))

        self._each(em, source, "%by", body)
        return self._put("count", em)

    def _clear(self, em: Emitter, count: int) -> None:
        lanes = self.functions.target.lanes(32)
        zero = constant("i32", 0, lanes)
        with em.loop(0, count * self.digits.values, lanes) as loop:
            em.store(vec("i32", lanes), zero, em.gep("i32", "%table", loop.index), 4)
            loop.yield_([])

    def _counted(self, em: Emitter, table: str, digit: str) -> str:
        """Add one to a counter; return what it was."""
        at = em.gep("i32", table, digit)
        before = em.load("i32", at, 4)
        em.store("i32", em.op(f"add i32 {before}, 1"), at, 4)
        return before

    # Moves

    def scatter(self, source: Cells, is_last: bool) -> str:
        """Write ``scatter``; the last pass writes places only, if cells have them."""
        em, cells = self._new(), self.cells

        def body(number: str, key: str) -> None:
            at = self._counted(em, "%table", self._digit(em, key))
            at = em.op(f"zext i32 {at} to i64")
            type_, value = self._moved(em, source, number, is_last)
            to = em.gep(type_, "%dst", at)
            em.store(type_, value, to, min(8, cells.align))

        self._each(em, source, "%by", body)
        name = "scatter.packed" if source.has_order else "scatter"
        return self._put(f"{name}.last" if is_last else name, em)

    def _moved(
        self, em: Emitter, source: Cells, number: str, is_last: bool
    ) -> tuple[str, str]:
        """Return what goes to the destination, and its type."""
        if is_last and self.cells.has_order:
            return "i64", self._place(em, source, number)
        at = em.gep(source.type_, "%src", number)
        value = em.load(source.type_, at, source.align)
        if source == self.cells:
            return source.type_, value
        return self.cells.type_, self.cells.pack(em, value, number)

    def _place(self, em: Emitter, source: Cells, number: str) -> str:
        if not source.has_order:
            return number
        return source.place(em, em.gep(source.type_, "%src", number))

    # Rows in order

    def ordered(self, source: Cells, is_turned: bool) -> str:
        """Write ``copy`` or ``turn``, for rows that are in order."""
        em, target = self._new(), self.functions.target
        has_order = self.cells.has_order
        is_single = is_turned or source.has_order
        lanes = 1 if is_single else target.lanes(64 if has_order else source.width)

        def body(index: str, lanes: int) -> None:
            at = index
            if is_turned:
                end = em.op("sub nsw i64 %last, 1")
                at = em.op(f"sub nsw i64 {end}, {index}")
            if not has_order:
                self._copied(em, index, at, lanes)
            elif lanes == 1:
                place = self._place(em, source, at)
                em.store("i64", place, em.gep("i64", "%dst", index), 8)
            else:
                self._iota(em, index, lanes)

        self._vectors(em, "%first", "%last", lanes, body)
        return self._put("turn" if is_turned else "copy", em)

    def _iota(self, em: Emitter, index: str, lanes: int) -> None:
        type_, places = vec("i64", lanes), em.splat("i64", index, lanes)
        places = em.op(f"add {type_} {places}, {iota('i64', lanes)}")
        em.store(type_, places, em.gep("i64", "%dst", index), 8)

    def _copied(self, em: Emitter, to: str, place: str, lanes: int) -> None:
        raw, size = self.plain.raw, self.plain.bytes
        value = em.load(vec(raw, lanes), em.gep(raw, "%src", place), size)
        em.store(vec(raw, lanes), value, em.gep(raw, "%dst", to), size)

    def check(self, source: Cells, name: str, broken: str) -> str:
        """Write ``i1 (ptr src, i64 count)``: no pair of neighbours is `broken`."""
        em = self._new()

        def body(index: str, lanes: int) -> None:
            after = em.op(f"add nsw i64 {index}, 1")
            keys = [self._key(em, source, at, lanes) for at in (index, after)]
            bad = em.op(f"icmp {broken} {vec(source.raw, lanes)} {', '.join(keys)}")
            with em.if_(em.any_lane(bad, lanes)) as branch:
                rest = em.fresh("unreachable")
                em.ret("i1", "false")
                em.label(rest)
                branch.yield_([])

        pairs = em.op("sub nsw i64 %count, 1")
        self._vectors(em, "0", pairs, self.lanes, body)
        em.ret("i1", "true")
        return self.functions.put(name, em, ("ptr %src", "i64 %count"), "i1")
