"""Rows of numbers of 32 or 64 bits in halves, again and again: below a pivot, or not.

    copied      the row, as numbers; one with -0.0 or with what is no number is sorted
                by digits
    parted      vectors are read once. With AVX2 a permutation from a table puts what is
                below the pivot first; they are stored at the front, and behind what is
                not below, which goes from the end of other memory down. With AVX-512
                each side is compressed, and goes up. What is not below is copied back
    sorted      both parts; few elements by a network

Where nothing is below the pivot, what equals it is parted from the rest: it is sorted.
Parts that become shorter too slowly are sorted by digits.
"""

from collections.abc import Callable, Sequence

import numpy as np

from .....ir.dtypes import INT64
from .....ir.ops.sort import Places
from ...indices import Index
from ...shuffles import compressed
from ...target import Target, aligned
from ...text import Emitter, constant, vec
from .keys import Cells
from .pieces import Functions, vectors
from .row import ROW, ROW_TYPES, RowWriter, digits_of
from .vectors import GROUP, Numbers, restored, with_places, write_network

FEW = 128  # elements that are left to a network
_SAMPLES, _MORE_SAMPLES = GROUP, 4 * GROUP  # vectors, of which the middle is the pivot
_MANY = 8192  # elements that more samples are taken of
_TOGETHER = 4  # vectors that are read before others are stored
_DEPTH = 3  # times the logarithm of the length: how often a row is parted
_LEAST_BITS = {"avx512": 64, "avx2": 32}  # of numbers, where all places matter
_RANGE = ("x", "size", "ours", "others", "room", "depth", "first")
_RANGE_TYPES = ("ptr", "i64", "ptr", "ptr", "ptr", "i64", "i64")


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
        self.few_bytes = aligned(FEW * self.size)

    @property
    def room_bytes(self) -> int:
        """How large `room` is: for few elements, and for digits."""
        return self.few_bytes + self.row.room_bytes

    @property
    def element_ns(self) -> int:
        """Estimated nanoseconds for an element."""
        return 4

    def emit(self) -> str:
        """Write everything; return the symbol of the function."""
        self.row.emit()
        network = write_network(self.functions, self.element, self.lanes)
        few = self._few(network)
        parted = [
            _Parting(self.functions, self.numbers, or_equal).emit()
            for or_equal in (False, True)
        ]
        return self._whole(self._range(network, few, parted))

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
            depth = em.op(f"mul i64 {self._bits(em, '%size')}, {_DEPTH}")
            values = ("%out", "%size", "%ours", "%others", "%room", depth, "0")
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
        number = with_places(em, plain, "%src", index, lanes)
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
        values = (*arrays, em.gep("i8", "%room", self.few_bytes), "%size")
        pairs = list(zip(ROW_TYPES, values, strict=True))
        em.call("void", self.functions.symbol_of(self.row.name), pairs)

    # A part of it

    def _range(self, network: str, few: str, parted: Sequence[str]) -> str:
        """Write ``void (x, size, ours, others, room, depth, first)``.

        It sorts `x` in place, whose first element is number `first` of the row.
        """
        em, name = self.functions.new_emitter(), self.functions.symbol_of("range.part")

        def by_digits() -> list[str]:
            self._by_digits(em, ("%x", "%ours", "%others", "%x"))
            vectors(
                em, "0", "%size", self.lanes, _copy(em, self.numbers, "%ours", "%x")
            )
            return []

        def by_pivot() -> list[str]:
            pivot = self._pivot(em, network)
            arguments = [("ptr", "%x"), ("i64", "%size"), ("ptr", "%ours")]
            arguments.append((self.element, pivot))
            below = em.call("i64", parted[0], arguments)
            is_least = em.op(f"icmp eq i64 {below}, 0")
            with em.if_(is_least, [("i64", below)], unlikely=True) as branch:
                branch.yield_([em.call("i64", parted[1], arguments)])
            middle = branch.results[0]
            depth = em.op("sub i64 %depth, 1")
            rest = em.op(f"sub i64 %size, {middle}")
            behind = em.gep(self.element, "%x", middle)
            first = em.op(f"add i64 %first, {middle}")
            for part in (("%x", below, "%first"), (behind, rest, first)):
                with em.if_(self._matters(em, part[2], part[1])) as branch:
                    values = (*part[:2], "%ours", "%others", "%room", depth, part[2])
                    em.call("void", name, list(zip(_RANGE_TYPES, values, strict=True)))
                    branch.yield_([])
            return []

        def many() -> list[str]:
            is_deep = em.op("icmp eq i64 %depth, 0")
            em.if_else(is_deep, [], by_digits, by_pivot)
            return []

        def by_network() -> list[str]:
            values = [("ptr", "%x"), ("i64", "%size"), ("ptr", "%room")]
            em.call("void", few, values)
            return []

        em.if_else(em.op(f"icmp sle i64 %size, {FEW}"), [], by_network, many)
        em.ret()
        pairs = zip(_RANGE_TYPES, _RANGE, strict=True)
        return self.functions.put(
            "range.part", em, tuple(f"{t} %{n}" for t, n in pairs)
        )

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

    def _pivot(self, em: Emitter, network: str) -> str:
        """Return the middle one of some elements at equal distances."""
        is_many = em.op(f"icmp sgt i64 %size, {_MANY}")
        few, more = _SAMPLES, _MORE_SAMPLES
        taken = em.op(f"select i1 {is_many}, i64 {more}, i64 {few}")
        count = em.op(f"mul i64 {taken}, {self.lanes}")
        step = em.op(f"udiv i64 %size, {count}")
        with em.loop(0, count, 1) as loop:
            place = em.op(f"mul i64 {loop.index}, {step}")
            at = em.gep(self.element, "%x", place)
            value = em.load(self.element, at, self.size)
            to = em.gep(self.element, "%room", loop.index)
            em.store(self.element, value, to, self.size)
            loop.yield_([])
        em.call("void", network, [("ptr", "%room"), ("i64", taken)])
        middle = em.gep(self.element, "%room", em.op(f"lshr i64 {count}, 1"))
        return em.load(self.element, middle, self.size)

    def _few(self, network: str) -> str:
        """Write ``void (x, size, room)`` for up to `FEW` elements."""
        em, lanes = self.functions.new_emitter(), self.lanes
        with em.if_(em.op("icmp sgt i64 %size, 1")) as branch:
            last = em.op("sub i64 %size, 1")
            groups = em.op(f"lshr i64 {last}, {lanes.bit_length() - 1}")
            needed = em.op(f"shl i64 1, {self._bits(em, groups)}")
            needed = em.intrinsic("llvm.smax", "i64", needed, str(GROUP))
            end = em.op(f"mul i64 {needed}, {lanes}")
            most = constant(self.element, self.numbers.largest, lanes)
            with em.loop(em.op(f"and i64 %size, {-lanes}"), end, lanes) as loop:
                to = em.gep(self.element, "%room", loop.index)
                em.store(self.type, most, to, self.size)
                loop.yield_([])
            vectors(em, "0", "%size", lanes, _copy(em, self.numbers, "%x", "%room"))
            em.call("void", network, [("ptr", "%room"), ("i64", needed)])
            vectors(em, "0", "%size", lanes, _copy(em, self.numbers, "%room", "%x"))
            branch.yield_([])
        em.ret()
        parameters = ("ptr %x", "i64 %size", "ptr %room")
        return self.functions.put("few", em, parameters)

    def _bits(self, em: Emitter, number: str) -> str:
        """Return how many bits a number has."""
        em.declarations["llvm.ctlz.i64"] = "declare i64 @llvm.ctlz.i64(i64, i1)"
        zeros = em.op(f"call i64 @llvm.ctlz.i64(i64 {number}, i1 false)")
        return em.op(f"sub i64 64, {zeros}")


class _Parting:
    """Writes ``i64 (x, size, ours, pivot)``; it returns how many are in front.

    Parameters
    ----------
    functions : Functions
    numbers : Numbers
    or_equal : bool
        Whether what equals the pivot goes to the front.
    """

    def __init__(self, functions: Functions, numbers: Numbers, or_equal: bool) -> None:
        self.functions, self.numbers, self.or_equal = functions, numbers, or_equal
        self.em, self.element = functions.new_emitter(), numbers.element
        self.lanes = functions.target.lanes(numbers.width)
        self.compresses = functions.target.name == "avx512"

    def emit(self) -> str:
        """Write it; return its symbol."""
        em, start = self.em, "0"
        ends = ["0", "0" if self.compresses else "%size"]
        for together in (_TOGETHER * self.lanes, self.lanes, 1):
            whole = em.op(f"and i64 %size, {-together}")
            with em.loop(start, whole, together, [("i64", e) for e in ends]) as loop:
                here = em.gep(self.element, "%x", loop.index)
                loop.yield_(self._some(here, together, *loop.carried))
            start, ends = whole, loop.results
        front, back = ends
        rest = em.op(f"sub i64 %size, {front}")
        source = em.gep(self.element, "%ours", "0" if self.compresses else back)
        to = em.gep(self.element, "%x", front)
        vectors(em, "0", rest, self.lanes, _copy(em, self.numbers, source, to))
        em.ret("i64", front)
        name = "parted.upto" if self.or_equal else "parted"
        parameters = ("ptr %x", "i64 %size", "ptr %ours", f"{self.element} %pivot")
        return self.functions.put(name, em, parameters, "i64")

    def _some(self, at: str, count: int, front: str, back: str) -> tuple[str, str]:
        """Store elements in front and apart; return how far both are then.

        What is too much of a vector the next one replaces, or has been read.
        """
        em, numbers = self.em, self.numbers
        lanes = min(count, self.lanes)
        type_, size = vec(self.element, lanes), numbers.width // 8
        pivot = em.splat(self.element, "%pivot", lanes)
        starts = [em.gep(self.element, at, k) for k in range(0, count, lanes)]
        for value in [em.load(type_, start, size) for start in starts]:
            mask = numbers.less(em, value, pivot, lanes, self.or_equal)
            bits = em.op(f"bitcast {vec('i1', lanes)} {mask} to i{lanes}")
            bits = em.op(f"zext i{lanes} {bits} to i64")
            below = em.intrinsic("llvm.ctpop", "i64", bits)
            first, rest = self._apart(value, mask, bits, lanes)
            em.store(type_, first, em.gep(self.element, "%x", front), size)
            front = em.op(f"add i64 {front}, {below}")
            behind = em.op(f"sub i64 {lanes}, {below}")
            to = back if self.compresses else em.op(f"sub i64 {back}, {lanes}")
            em.store(type_, rest, em.gep(self.element, "%ours", to), size)
            way = "add" if self.compresses else "sub"
            back = em.op(f"{way} i64 {back}, {behind}")
        return front, back

    def _apart(self, value: str, mask: str, bits: str, lanes: int) -> tuple[str, str]:
        """Return what is stored in front, and what is stored apart."""
        if lanes == 1:
            return value, value
        if not self.compresses:
            value = self._permuted(value, bits)
            return value, value
        type_, flags = vec(self.element, lanes), vec("i1", lanes)
        others = self.em.op(f"xor {flags} {mask}, {constant('i1', True, lanes)}")
        first, rest = (compressed(self.em, type_, value, m) for m in (mask, others))
        return first, rest

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


def _copy(
    em: Emitter, numbers: Numbers, source: str, to: str
) -> Callable[[str, int], None]:
    """Return what copies elements that lie side by side."""

    def body(index: str, lanes: int) -> None:
        type_, size = vec(numbers.element, lanes), numbers.width // 8
        value = em.load(type_, em.gep(numbers.element, source, index), size)
        em.store(type_, value, em.gep(numbers.element, to, index), size)

    return body
