"""Rows of numbers of 32 or 64 bits in parts, again and again: below a pivot, or not.

    copied      the row, as numbers; one with -0.0 or with what is no number is sorted
                by digits
    parted      vectors are read once, from the result or from memory beside it: what is
                below the pivot goes to the result, the rest beside it. With AVX-512 an
                instruction compresses each, with AVX2 a permutation from a table
    sorted      both parts, wherever they are; few elements in registers, or by a
                network

Whichever of the two is read has been read where it is written, and there is room behind
the rest, beside the result, for parting what is in it: nothing is copied back.

Where nothing is below the pivot, what equals it is parted from the rest: it is sorted.
Parts that become shorter too slowly are sorted by digits.
"""

from collections.abc import Callable, Sequence

import numpy as np

from .....ir.dtypes import INT64
from .....ir.ops.sort import Places
from ...indices import Index
from ...shuffles import compressed
from ...target import Target
from ...text import Emitter, constant, vec
from .few import FewWriter
from .group import Group
from .keys import Cells
from .pieces import Functions, bit_length, vectors
from .row import ROW, ROW_TYPES, RowWriter, digits_of
from .vectors import Numbers, copy_numbers, restored, with_places

_MANY = 8192  # elements that more of are looked at for a pivot
_TOGETHER = 4  # vectors that are read before others are stored
_DEPTH = 3  # times the logarithm of the length: how often a row is parted
_LEAST_BITS = {"avx512": 32, "avx2": 32}  # of numbers, where all places matter
_RANGE = ("src", "size", "out", "side", "others", "room", "depth", "first")
_RANGE_TYPES = ("ptr", "i64", "ptr", "ptr", "ptr", "ptr", "i64", "i64")


def is_parted(target: Target, cells: Cells, places: Places = ()) -> bool:
    """Tell whether rows are sorted so.

    Orders are those of keys above places, and pay where only `places` matter.
    """
    if target.name not in _LEAST_BITS:
        return False
    if cells.has_order:
        return places != () and cells.width <= 32
    return cells.width >= (32 if places else _LEAST_BITS[target.name])


class QuickWriter:
    """Writes the function that sorts a row of any length; see `RowWriter`.

    Parameters
    ----------
    functions : Functions
    cells : Cells
        How the row comes.
    length : int
        Of most rows.
    places : tuple of (int, int)
        Ranges of the sorted row that matter; the rest stays as it comes. None for all.
    """

    name = "quick"

    def __init__(
        self, functions: Functions, cells: Cells, length: int, places: Places = ()
    ) -> None:
        self.functions, self.places = functions, places
        self.cells = cells
        numbers = INT64 if cells.has_order else cells.dtype
        self.numbers, self.size = Numbers(numbers), numbers.itemsize
        signed = np.dtype(f"i{self.size}") if numbers.kind == "u" else numbers
        own = Cells(signed, False)
        self.row = RowWriter(functions, own, own, digits_of(own.width, length))
        self.element = self.numbers.element
        self.lanes = functions.target.lanes(self.numbers.width)
        self.type = vec(self.element, self.lanes)
        self.few = FewWriter(functions, self.numbers)

    @property
    def room_bytes(self) -> int:
        """How large `room` is: for few elements, and for digits."""
        return self.few.room_bytes + self.row.room_bytes

    @property
    def element_ns(self) -> int:
        """Estimated nanoseconds for an element."""
        return 4

    def emit(self) -> str:
        """Write everything; return the symbol of the function."""
        self.row.emit()
        few, pivot = self.few.emit(), _write_pivot(self.functions, self.numbers)
        parted = [
            _Parting(self.functions, self.numbers, or_equal).emit()
            for or_equal in (False, True)
        ]
        return self._whole(self._range(few, pivot, parted))

    # The row

    def _whole(self, sort: str) -> str:
        """Write the function of a row."""
        em = self.functions.new_emitter()
        special, disorder = self._copied(em)
        with em.if_(special, unlikely=True) as branch:
            self._by_digits(em, ("%src", "%out", "%ours", "%others"))
            branch.yield_([])
        neither = em.op(f"xor i1 {special}, true")
        with em.if_(em.op(f"and i1 {disorder}, {neither}")) as branch:
            depth = em.op(f"mul i64 {bit_length(em, '%size')}, {_DEPTH}")
            values = ("%out", "%size", "%out", "%ours", "%others", "%room", depth, "0")
            em.call("void", sort, list(zip(_RANGE_TYPES, values, strict=True)))
            branch.yield_([])
        if self.cells.has_order or self.numbers.dtype.kind == "u":
            vectors(em, "0", "%size", self.lanes, lambda *at: self._restore(em, *at))
        em.ret()
        pairs = zip(ROW_TYPES, ROW, strict=True)
        return self.functions.put(
            self.name, em, tuple(f"{t} %{name}" for t, name in pairs)
        )

    def _copied(self, em: Emitter) -> tuple[str, str]:
        """Copy the row as numbers; return if one is special, and if order is wrong."""
        if self.cells.has_order:
            vectors(em, "0", "%size", self.lanes, lambda *at: self._placed(em, *at))
            return "false", "true"
        last = em.op("sub nsw i64 %size, 1")
        whole = em.op(f"and i64 {last}, {-self.lanes}")
        special = disorder = "false"
        for lanes, start, stop in ((self.lanes, "0", whole), (1, whole, last)):
            off = vec("i1", lanes), constant("i1", False, lanes)
            with em.loop(start, stop, lanes, [off, off]) as loop:
                loop.yield_(self._pair(em, loop.index, loop.carried, lanes))
            some = [em.any_lane(mask, lanes) for mask in loop.results]
            special, disorder = (
                em.op(f"or i1 {a}, {b}")
                for a, b in zip((special, disorder), some, strict=True)
            )
        found = self._pair(em, last, (special, disorder), 1, ahead=0)
        return found[0], disorder

    def _placed(self, em: Emitter, index: str, lanes: int) -> None:
        """Write elements with their places as numbers."""
        plain = Cells(self.cells.dtype, False)
        bits = plain.values(em, em.gep(plain.raw, "%src", index), lanes)
        number = with_places(em, plain, bits, index, lanes)
        em.store(vec("i64", lanes), number, em.gep("i64", "%out", index), 8)

    def _pair(
        self,
        em: Emitter,
        index: str,
        found: Sequence[str],
        lanes: int,
        ahead: Index = 1,
    ) -> list[str]:
        """Copy elements; return what was found until now, and in them."""
        raw, mask = vec(self.numbers.raw, lanes), vec("i1", lanes)
        at = em.gep(self.element, "%src", index)
        bits = [
            em.load(raw, em.gep(self.element, at, k), self.size) for k in (0, ahead)
        ]
        here, after = (self.numbers.of(em, b, lanes) for b in bits)
        to = em.gep(self.element, "%out", index)
        em.store(vec(self.element, lanes), here, to, self.size)
        wrong = self.numbers.less(em, after, here, lanes, or_equal=False)
        out = [found[0], em.op(f"or {mask} {found[1]}, {wrong}")]
        if self.numbers.is_special:
            special = self.numbers.special(em, bits[0], lanes)
            out[0] = em.op(f"or {mask} {found[0]}, {special}")
        return out

    def _restore(self, em: Emitter, index: str, lanes: int) -> None:
        at = em.gep(self.element, "%out", index)
        value = em.load(vec(self.element, lanes), at, self.size)
        value = restored(em, self.cells, value, lanes)
        em.store(vec(self.numbers.raw, lanes), value, at, self.size)

    def _by_digits(self, em: Emitter, arrays: Sequence[str]) -> None:
        values = (*arrays, em.gep("i8", "%room", self.few.room_bytes), "%size")
        pairs = list(zip(ROW_TYPES, values, strict=True))
        em.call("void", self.functions.symbol_of(self.row.name), pairs)

    # A part of it

    def _range(self, few: str, pivot: str, parted: Sequence[str]) -> str:
        """Write ``void (src, size, out, side, others, room, depth, first)``.

        It sorts `src`, which is `out` or `side`, into `out`. Its first element is
        number `first` of the row.
        """
        em, name = self.functions.new_emitter(), self.functions.symbol_of("range.part")

        def by_digits() -> list[str]:
            with em.if_(em.op("icmp eq ptr %src, %out")) as branch:
                ends = "%out", "%side"
                copy_numbers(em, self.numbers, self.lanes, ends, "%size")
                branch.yield_([])
            self._by_digits(em, ("%side", "%out", "%others", "%side"))
            return []

        def sort(source: str, size: str, out: str, side: str, first: str) -> None:
            with em.if_(self._matters(em, first, size)) as branch:
                values = (source, size, out, side, "%others", "%room", depth, first)
                em.call("void", name, list(zip(_RANGE_TYPES, values, strict=True)))
                branch.yield_([])

        def by_pivot() -> list[str]:
            below = self._parted(em, pivot, parted, sort)
            rest = em.op(f"sub i64 %size, {below}")
            first = em.op(f"add i64 %first, {below}")
            sort("%side", rest, em.gep(self.element, "%out", below), "%side", first)
            return []

        def many() -> list[str]:
            is_deep = em.op("icmp eq i64 %depth, 0")
            em.if_else(is_deep, [], by_digits, by_pivot)
            return []

        def by_few() -> list[str]:
            values = [("ptr", "%src"), ("i64", "%size"), ("ptr", "%out")]
            em.call("void", few, [*values, ("ptr", "%room")])
            return []

        depth = em.op("sub i64 %depth, 1")
        em.if_else(em.op(f"icmp sle i64 %size, {self.few.most}"), [], by_few, many)
        em.ret()
        pairs = zip(_RANGE_TYPES, _RANGE, strict=True)
        return self.functions.put(
            "range.part", em, tuple(f"{t} %{n}" for t, n in pairs)
        )

    def _parted(
        self, em: Emitter, pivot: str, parted: Sequence[str], sort: Callable[..., None]
    ) -> str:
        """Part by a pivot and sort what is below it; return how many are in order."""
        of_row = [("ptr", "%src"), ("i64", "%size")]
        number = em.call(self.element, pivot, of_row)
        to = [("ptr", "%out"), ("ptr", "%side"), (self.element, number)]
        below = em.call("i64", parted[0], [*of_row, *to])
        is_least = em.op(f"icmp eq i64 {below}, 0")
        with em.if_(is_least, [("i64", below)], unlikely=True) as branch:
            everything = [("ptr", "%side"), ("i64", "%size")]
            branch.yield_([em.call("i64", parted[1], [*everything, *to])])
        beside = em.op(f"sub i64 %size, {below}")
        sort("%out", below, "%out", em.gep(self.element, "%side", beside), "%first")
        return branch.results[0]

    def _matters(self, em: Emitter, first: str, size: str) -> str:
        """Return whether anybody asks for one of these places."""
        if not self.places:
            return "true"
        end, out = em.op(f"add i64 {first}, {size}"), "false"
        for start, stop in self.places:
            begins = em.op(f"icmp slt i64 {first}, {stop}")
            ends = em.op(f"icmp sgt i64 {end}, {start}")
            out = em.op(f"or i1 {out}, {em.op(f'and i1 {begins}, {ends}')}")
        return out


def _write_pivot(functions: Functions, numbers: Numbers) -> str:
    """Write ``number (ptr src, i64 size)``: about the middle one of a row.

    The middle of five vectors, or of five such, lane by lane; then of two pairs of
    lanes the greater of what is less in each, and the lesser of what is greater.
    """
    em, element = functions.new_emitter(), numbers.element
    group = Group(em, element, functions.target.lanes(numbers.width))

    def middle(count: int) -> list[str]:
        step = em.op(f"udiv i64 %size, {count}")
        places = [em.op(f"mul i64 {step}, {k}") for k in range(count)]
        ends = [em.gep(element, "%src", place) for place in places]
        values = [em.load(group.type, at, numbers.width // 8) for at in ends]
        while len(values) > 1:
            values = [group.middle(values[k : k + 5]) for k in range(0, len(values), 5)]
        return values

    is_many = em.op(f"icmp sgt i64 %size, {_MANY}")
    several = em.if_else(is_many, [group.type], lambda: middle(25), lambda: middle(5))
    em.ret(element, group.middle_lane(several[0]))
    return functions.put("pivot", em, ("ptr %src", "i64 %size"), element)


class _Parting:
    """Writes ``i64 (src, size, out, side, pivot)``; it returns how many are in `out`.

    `src` is one of the two others.

    Parameters
    ----------
    functions : Functions
    numbers : Numbers
    or_equal : bool
        Whether what equals the pivot goes to `out`.
    """

    def __init__(self, functions: Functions, numbers: Numbers, or_equal: bool) -> None:
        self.functions, self.numbers, self.or_equal = functions, numbers, or_equal
        self.em, self.element = functions.new_emitter(), numbers.element
        self.lanes = functions.target.lanes(numbers.width)
        self.compresses = functions.target.name == "avx512"

    def emit(self) -> str:
        """Write it; return its symbol."""
        em, start, below = self.em, "0", "0"
        for together in (_TOGETHER * self.lanes, self.lanes, 1):
            whole = em.op(f"and i64 %size, {-together}")
            with em.loop(start, whole, together, [("i64", below)]) as loop:
                loop.yield_([self._some(loop.index, together, loop.carried[0])])
            start, below = whole, loop.results[0]
        em.ret("i64", below)
        name = "parted.upto" if self.or_equal else "parted"
        arrays, pivot = ("ptr %out", "ptr %side"), f"{self.element} %pivot"
        parameters = ("ptr %src", "i64 %size", *arrays, pivot)
        return self.functions.put(name, em, parameters, "i64")

    def _some(self, index: str, count: int, below: str) -> str:
        """Store elements here and there; return how many went to `out` until then.

        What is too much of a vector the next one replaces, or has been read.
        """
        em, numbers = self.em, self.numbers
        lanes = min(count, self.lanes)
        type_, size = vec(self.element, lanes), numbers.width // 8
        pivot = em.splat(self.element, "%pivot", lanes)
        at = em.gep(self.element, "%src", index)
        starts = [em.gep(self.element, at, k) for k in range(0, count, lanes)]
        beside = em.op(f"sub i64 {index}, {below}")
        for value in [em.load(type_, start, size) for start in starts]:
            mask = numbers.less(em, value, pivot, lanes, self.or_equal)
            bits = em.op(f"bitcast {vec('i1', lanes)} {mask} to i{lanes}")
            bits = em.op(f"zext i{lanes} {bits} to i64")
            number = em.intrinsic("llvm.ctpop", "i64", bits)
            parts = self._apart(value, mask, bits, lanes)
            for part, array, to in zip(
                parts, ("%out", "%side"), (below, beside), strict=True
            ):
                em.store(type_, part, em.gep(self.element, array, to), size)
            below = em.op(f"add i64 {below}, {number}")
            rest = em.op(f"sub i64 {lanes}, {number}")
            beside = em.op(f"add i64 {beside}, {rest}")
        return below

    def _apart(self, value: str, mask: str, bits: str, lanes: int) -> tuple[str, str]:
        """Return vectors that begin with what is below, and with the rest."""
        if lanes == 1:
            return value, value
        if not self.compresses:
            others = self.em.op(f"xor i64 {bits}, {(1 << lanes) - 1}")
            return self._permuted(value, bits), self._permuted(value, others)
        type_, flags = vec(self.element, lanes), vec("i1", lanes)
        rest = self.em.op(f"xor {flags} {mask}, {constant('i1', True, lanes)}")
        first, last = (compressed(self.em, type_, value, m) for m in (mask, rest))
        return first, last

    def _permuted(self, value: str, bits: str) -> str:
        """Return a vector with the lanes whose bits are set first, in 32-bit words."""
        em, words, type_ = self.em, "<8 x i32>", vec(self.element, self.lanes)
        table = em.table(f"tracejit_first_{self.lanes}", "i8", _orders(self.lanes))
        order = em.load("<8 x i8>", em.gep("i64", table, bits), 8)
        arguments = [
            (words, em.op(f"bitcast {type_} {value} to {words}")),
            (words, em.op(f"zext <8 x i8> {order} to {words}")),
        ]
        value = em.extern(words, "llvm.x86.avx2.permd", arguments)
        return em.op(f"bitcast {words} {value} to {type_}")


def _orders(lanes: int) -> list[int]:
    """Return, for each mask of lanes, the eight words of a vector in their order."""
    words = 8 // lanes
    return [
        words * lane + word
        for mask in range(1 << lanes)
        for lane in sorted(range(lanes), key=lambda k: not mask >> k & 1)
        for word in range(words)
    ]
