"""Functions over a piece of a row, all with one signature.

    void (ptr src, ptr dst, ptr table, i64 by, ptr block, i64 first, i64 last)

`first` and `last` are elements of the row. A table has a counter of 32 bits for each
value of a digit; `block` is room for the keys of `BLOCK` elements: they are computed in
vectors, and then used one by one. `by` is how far a digit is from the lowest bit.

========== ==========================================================================
count_all  all digits' tables, one after another, of how many elements have each value
scatter    elements to where the table says that the next with their digit goes
========== ==========================================================================
"""

from collections.abc import Callable

from .....records import dataclass
from ...target import Target
from ...text import Emitter, constant, vec
from .keys import Cells

BLOCK = 256
NAMES = ("src", "dst", "table", "by", "block", "first", "last")
TYPES = ("ptr", "ptr", "ptr", "i64", "ptr", "i64", "i64")
PARAMETERS = tuple(f"{t} %{name}" for t, name in zip(TYPES, NAMES, strict=True))
_BLOCK_PARAMETERS = ("ptr %src", "i64 %count", "ptr %block", "i64 %by")


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
        self.texts: dict[str, str] = {}

    def put(
        self, name: str, em: Emitter, parameters: tuple[str, ...], result: str = "void"
    ) -> str:
        """Keep a function whose body was written; return its symbol."""
        symbol = self.symbol_of(name)
        text = em.function(symbol, parameters, result=result, linkage="internal")
        self.texts[name] = text
        return symbol

    def symbol_of(self, name: str) -> str:
        """Return the symbol of a function."""
        return f"{self.symbol}.{name}"


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
        self._keys_of: dict[Cells, str] = {}

    def _new(self) -> Emitter:
        return self.functions.new_emitter()

    def _put(self, name: str, em: Emitter) -> str:
        em.ret()
        return self.functions.put(name, em, PARAMETERS)

    # The keys of a block

    def _block(self, source: Cells) -> str:
        """Return the function that writes the keys of a block, from a digit on."""
        if source not in self._keys_of:
            em = self._new()
            self._write_keys(em, source)
            em.ret()
            name = "keys.packed" if source.has_order else "keys"
            self._keys_of[source] = self.functions.put(name, em, _BLOCK_PARAMETERS)
        return self._keys_of[source]

    def _write_keys(self, em: Emitter, source: Cells) -> None:
        by = "%by"
        if source.width < 64:
            by = em.op(f"trunc i64 %by to {source.raw}")

        def body(index: str, lanes: int) -> None:
            type_ = vec(source.raw, lanes)
            key = source.keys(em, "%src", index, lanes)
            key = em.op(f"lshr {type_} {key}, {em.splat(source.raw, by, lanes)}")
            to = em.gep(source.raw, "%block", index)
            em.store(type_, key, to, self.plain.bytes)

        vectors(em, "0", "%count", self.lanes, body)

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
        if shift + self.digits.bits < width:
            key = em.op(f"and {raw} {key}, {self.digits.values - 1}")
        return key if width == 64 else em.op(f"zext {raw} {key} to i64")

    # Counts

    def count_all(self, source: Cells) -> str:
        """Write ``count_all``; it clears the tables first."""
        em, digits = self._new(), self.digits
        clear(em, digits.count * digits.values, self.functions.target)

        def body(number: str, key: str) -> None:
            for k in range(digits.count):
                table = em.gep("i8", "%table", k * digits.table_bytes)
                counted(em, table, self._digit(em, key, k * digits.bits))

        self._each(em, source, "0", body)
        return self._put("count_all", em)

    # Moves

    def scatter(self, source: Cells, is_last: bool) -> str:
        """Write ``scatter``; the last pass writes places only, if cells have them."""
        em, cells = self._new(), self.cells

        def body(number: str, key: str) -> None:
            at = counted(em, "%table", self._digit(em, key))
            at = em.op(f"zext i32 {at} to i64")
            if is_last and cells.has_order:
                place = source.place(em, "%src", number)
                em.store("i64", place, em.gep("i64", "%dst", at), 8)
            else:
                move(em, source, cells, number, at)

        self._each(em, source, "%by", body)
        name = "scatter.packed" if source.has_order else "scatter"
        return self._put(f"{name}.last" if is_last else name, em)


def vectors(
    em: Emitter, start: str, stop: str, lanes: int, body: Callable[[str, int], None]
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


def bit_length(em: Emitter, number: str) -> str:
    """Return how many bits a number has."""
    em.declarations["llvm.ctlz.i64"] = "declare i64 @llvm.ctlz.i64(i64, i1)"
    zeros = em.op(f"call i64 @llvm.ctlz.i64(i64 {number}, i1 false)")
    return em.op(f"sub i64 64, {zeros}")


def clear(em: Emitter, counters: int, target: Target) -> None:
    """Write zeros to counters at ``%table``."""
    lanes = min(counters, target.lanes(32))
    zero = constant("i32", 0, lanes)
    with em.loop(0, counters, lanes) as loop:
        em.store(vec("i32", lanes), zero, em.gep("i32", "%table", loop.index), 4)
        loop.yield_([])


def counted(em: Emitter, table: str, digit: str) -> str:
    """Add one to a counter; return what it was."""
    at = em.gep("i32", table, digit)
    before = em.load("i32", at, 4)
    em.store("i32", em.op(f"add i32 {before}, 1"), at, 4)
    return before


def move(em: Emitter, source: Cells, cells: Cells, number: str, to: str) -> None:
    """Move one element from ``%src`` to ``%dst``, as a cell."""
    at = em.gep(source.type_, "%src", number)
    value = em.load(source.type_, at, source.align)
    if source != cells:
        value = cells.pack(em, value, number)
    em.store(cells.type_, value, em.gep(cells.type_, "%dst", to), cells.align)
