"""Functions over a piece of a row, all with one signature.

    void (ptr src, ptr dst, ptr table, i64 shift, ptr block, i64 first, i64 last)

`first` and `last` are elements of the row. A table has a counter of 32 bits for each
digit; `block` is room for the keys of `BLOCK` elements: they are computed in vectors,
and then used one by one. `shift` says which digit is meant.

========== ==========================================================================
count_all  all digits' tables, one after another, of how many elements have each digit
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
NAMES = ("src", "dst", "table", "shift", "block", "first", "last")
TYPES = ("ptr", "ptr", "ptr", "i64", "ptr", "i64", "i64")
PARAMETERS = tuple(f"{t} %{name}" for t, name in zip(TYPES, NAMES, strict=True))


@dataclass(frozen=True)
class Digits:
    """How keys are cut: `count` digits of `bits` bits, the lowest first."""

    bits: int
    count: int

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
    """Writes the functions of one row's pieces.

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
        self._keys: dict[Cells, str] = {}

    def _new(self) -> Emitter:
        return self.functions.new_emitter()

    def _put(self, name: str, em: Emitter) -> str:
        em.ret()
        return self.functions.put(name, em, PARAMETERS)

    # Keys of a block

    def _keys_of(self, source: Cells) -> str:
        """Return the function that writes keys, shifted to the right, to a block."""
        if source not in self._keys:
            em, raw = self._new(), source.raw
            shift = "%shift"
            if raw != "i64":
                shift = em.op(f"trunc i64 %shift to {raw}")
            whole = em.op(f"and i64 %count, {-self.lanes}")
            for lanes, start, stop in ((self.lanes, "0", whole), (1, whole, "%count")):
                self._key_loop(em, source, shift, lanes, start, stop)
            em.ret()
            name = "keys.packed" if source.has_order else "keys"
            parameters = ("ptr %src", "i64 %count", "ptr %block", "i64 %shift")
            self._keys[source] = self.functions.put(name, em, parameters)
        return self._keys[source]

    def _key_loop(
        self, em: Emitter, source: Cells, shift: str, lanes: int, start: str, stop: str
    ) -> None:
        type_ = vec(source.raw, lanes)
        by = em.splat(source.raw, shift, lanes)
        with em.loop(start, stop, lanes) as loop:
            at = em.gep(source.type_, "%src", loop.index)
            key = order_key(em, source.dtype, source.values(em, at, lanes), lanes)
            key = em.op(f"lshr {type_} {key}, {by}")
            to = em.gep(source.raw, "%block", loop.index)
            em.store(type_, key, to, source.dtype.itemsize)
            loop.yield_([])

    def _each(
        self,
        em: Emitter,
        source: Cells,
        shift: str,
        body: Callable[[str, str], None],
    ) -> None:
        """Write a loop over elements: `body` takes an element's number and its key."""
        keys = self._keys_of(source)
        with em.loop("%first", "%last", BLOCK) as blocks:
            rest = em.op(f"sub nsw i64 %last, {blocks.index}")
            count = em.intrinsic("llvm.smin", "i64", rest, str(BLOCK))
            at = em.gep(source.type_, "%src", blocks.index)
            arguments = [("ptr", at), ("i64", count), ("ptr", "%block"), ("i64", shift)]
            em.call("void", keys, arguments)
            with em.loop(0, count, 1) as loop:
                place = em.gep(source.raw, "%block", loop.index)
                key = em.load(source.raw, place, source.dtype.itemsize)
                number = em.op(f"add nsw i64 {blocks.index}, {loop.index}")
                body(number, key)
                loop.yield_([])
            blocks.yield_([])

    def _digit(self, em: Emitter, source: Cells, key: str, shift: int = 0) -> str:
        """Return a digit of a key, as i64."""
        if shift:
            key = em.op(f"lshr {source.raw} {key}, {shift}")
        if shift + self.digits.bits < source.width:
            key = em.op(f"and {source.raw} {key}, {self.digits.values - 1}")
        if source.width == 64:
            return key
        return em.op(f"zext {source.raw} {key} to i64")

    # Counts

    def count_all(self) -> str:
        """Write ``count_all``; its elements are values, and it clears the tables."""
        em, digits = self._new(), self.digits
        self._clear(em, digits.count)

        def body(number: str, key: str) -> None:
            for k in range(digits.count):
                digit = self._digit(em, self.plain, key, k * digits.bits)
                table = em.gep("i8", "%table", k * digits.table_bytes)
                self._counted(em, table, digit)

        self._each(em, self.plain, "0", body)
        return self._put("count_all", em)

    def count(self) -> str:
        """Write ``count``; its elements are cells."""
        em = self._new()
        self._clear(em, 1)

        def body(number: str, key: str) -> None:
            self._counted(em, "%table", self._digit(em, self.cells, key))

        self._each(em, self.cells, "%shift", body)
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

    def scatter(self, is_first: bool, is_last: bool) -> str:
        """Write ``scatter``.

        The first pass over a row reads values, and the last writes places only, if
        cells have them.
        """
        em, cells = self._new(), self.cells
        source = self.plain if is_first else cells

        def body(number: str, key: str) -> None:
            at = self._counted(em, "%table", self._digit(em, source, key))
            at = em.op(f"zext i32 {at} to i64")
            type_, value = self._moved(em, source, number, is_last)
            to = em.gep(type_, "%dst", at)
            em.store(type_, value, to, 8 if type_ == "i64" else cells.align)

        self._each(em, source, "%shift", body)
        return self._put(f"scatter{2 * is_first + is_last}", em)

    def _moved(
        self, em: Emitter, source: Cells, number: str, is_last: bool
    ) -> tuple[str, str]:
        """Return what goes to the destination, and its type."""
        at = em.gep(source.type_, "%src", number)
        if not self.cells.has_order:
            return source.raw, em.load(source.raw, at, source.align)
        if is_last:
            return "i64", number if source is self.plain else source.place(em, at)
        if source is self.plain:
            value = em.load(source.raw, at, source.align)
            return self.cells.type_, self.cells.pack(em, value, number)
        return self.cells.type_, em.load(self.cells.type_, at, self.cells.align)

    def ordered(self, is_turned: bool, length: int) -> str:
        """Write ``copy`` or ``turn``, for a row of a length that is in order."""
        em, target = self._new(), self.functions.target
        has_order = self.cells.has_order
        lanes = target.lanes(64 if has_order else self.cells.width)
        lanes = 1 if is_turned else lanes
        body = self._place if has_order else self._copied
        size = em.op("sub nsw i64 %last, %first")
        whole = em.op(f"and i64 {size}, {-lanes}")
        middle = em.op(f"add nsw i64 %first, {whole}")
        parts = [("%first", middle, lanes), (middle, "%last", 1)]
        for start, stop, step in parts if lanes > 1 else [("%first", "%last", 1)]:
            with em.loop(start, stop, step) as loop:
                at = loop.index
                if is_turned:
                    at = em.op(f"sub nsw i64 {length - 1}, {at}")
                body(em, loop.index, at, step)
                loop.yield_([])
        return self._put("turn" if is_turned else "copy", em)

    def _place(self, em: Emitter, to: str, place: str, lanes: int) -> None:
        type_, places = vec("i64", lanes), em.splat("i64", place, lanes)
        if lanes > 1:
            places = em.op(f"add {type_} {places}, {iota('i64', lanes)}")
        em.store(type_, places, em.gep("i64", "%dst", to), 8)

    def _copied(self, em: Emitter, to: str, place: str, lanes: int) -> None:
        raw, size = self.plain.raw, self.plain.bytes
        value = em.load(vec(raw, lanes), em.gep(raw, "%src", place), size)
        em.store(vec(raw, lanes), value, em.gep(raw, "%dst", to), size)
