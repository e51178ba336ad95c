"""Rows of up to some thousand values, sorted by a network of whole vectors.

Rows are filled up to a power of two vectors. One group of them stays in registers from
the row to the result, if the instruction set has loads and stores of some lanes. Rows
with -0.0 or with what is no number are left to another function (see `vectors`). For
places, numbers are integers: keys with places in their lower half, so that no two are
equal.
"""

from ...memory import lanes_mask
from ...target import Target, aligned
from ...text import Emitter, constant, vec
from .few import most_few
from .group import Group
from .keys import Cells
from .ordered import leave_in_order
from .pieces import Functions
from .quick import is_parted
from .ranks import RankWriter
from .vectors import (
    Numbers,
    most_vectors,
    restored,
    vectors_for,
    with_places,
    write_network,
)
from .whole import WholeRow

_MOST = {"avx512": (2048, 2048), "avx2": (4096, 1024)}  # of up to 32 bits, of 64
_MOST_OF_HALVES = 256  # their places take only two passes by digits
_FEWEST = 16
_MASKED_BITS = {"avx512": 16, "avx2": 32}  # of lanes that masks leave out, at least
_FILLED_UP = 1.25  # times the elements: more, and parting them is faster
_VECTOR_NS = 0.8  # for an exchange of two vectors, or of a vector's lanes


def is_networked(target: Target, cells: Cells, length: int) -> bool:
    """Tell whether rows of a length are sorted by a network."""
    if cells.width == 8 or (cells.has_order and cells.width == 64):
        return False
    width = _width(cells)
    few = 1024 // width
    most = _MOST.get(target.name, (few, few))[width == 64]
    if cells.has_order and cells.width == 16:
        most = min(most, _MOST_OF_HALVES)
    is_full = _is_full(length, target.lanes(width))
    if length > most_few(target, width) and is_parted(target, cells) and not is_full:
        return False
    return (2 if _has_masks(target, cells) else _FEWEST) <= length <= most


def _has_masks(target: Target, cells: Cells) -> bool:
    """Tell whether some lanes of a row's vector can be read."""
    return cells.width >= _MASKED_BITS.get(target.name, cells.width + 1)


def _is_full(length: int, lanes: int) -> bool:
    """Tell whether little is filled up where a row becomes a network."""
    return vectors_for(length, lanes) * lanes <= _FILLED_UP * length


def _width(cells: Cells) -> int:
    """Return the bits of what is compared."""
    return 64 if cells.has_order else cells.width


class NetworkWriter:
    """Writes ``void (ptr x, ptr out, ptr scratch)`` for rows of one length.

    Parameters
    ----------
    functions : Functions
    cells : Cells
    length : int
    slow : RankWriter or WholeRow
        What sorts rows whose equal values have different bits.
    """

    def __init__(
        self,
        functions: Functions,
        cells: Cells,
        length: int,
        slow: RankWriter | WholeRow,
    ) -> None:
        self.functions, self.cells, self.length = functions, cells, length
        self.slow, self.em = slow, functions.new_emitter()
        self.plain, self.width = Cells(cells.dtype, False), _width(cells)
        self.numbers = Numbers(cells.dtype)
        self.element = "i64" if cells.has_order else self.numbers.element
        self.raw, self.size = f"i{self.width}", self.width // 8
        self.lanes = min(functions.target.lanes(self.width), vectors_for(length, 1))
        self.vectors = vectors_for(length, self.lanes)
        most = most_vectors(functions.target, self.lanes)
        self.group = min(self.vectors, most)
        self.row_bytes = aligned(self.vectors * self.lanes * self.size)
        self.is_special = self.numbers.is_special and not cells.has_order

    @property
    def scratch_bytes(self) -> int:
        """What a row needs."""
        return self.row_bytes + (self.slow.scratch_bytes if self.is_special else 0)

    @property
    def work(self) -> int:
        """Estimated nanoseconds for a row."""
        inner = self.lanes.bit_length() - 1
        levels = self.vectors.bit_length() - 1
        steps = (inner + levels) * (inner + levels + 1) // 2
        return int(10 + self.length * 0.3 + _VECTOR_NS * steps * self.vectors)

    def call(self, em: Emitter, x: str, out: str, scratch: str) -> None:
        """Write the call that sorts a row."""
        values = [("ptr", x), ("ptr", out), ("ptr", scratch)]
        em.call("void", self.functions.symbol_of("network"), values)

    def emit(self) -> None:
        """Write everything."""
        em = self.em
        if isinstance(self.slow, WholeRow):
            ends, count = ("%x", "%out"), str(self.length)
            has_order = self.cells.has_order
            leave_in_order(em, self.functions, self.plain, has_order, ends, count)
        if self.is_in_registers:
            self._sort_registers()
        else:
            self._sort_memory()
        em.ret()
        self.functions.put("network", em, ("ptr %x", "ptr %out", "ptr %scratch"))

    @property
    def is_in_registers(self) -> bool:
        """Whether rows become one group, and masks can leave lanes of it out."""
        has_masks = _has_masks(self.functions.target, self.cells)
        return self.vectors == self.group and has_masks

    @property
    def most(self) -> float | int:
        """What no number is beyond."""
        return (1 << 63) - 1 if self.cells.has_order else self.numbers.largest

    def _sort_memory(self) -> None:
        network = write_network(self.functions, self.element, self.lanes, self.group)
        self._enter()
        arguments = [("ptr", "%scratch"), ("i64", str(self.vectors))]
        self.em.call("void", network, arguments)
        self._leave()

    # In registers

    def _sort_registers(self) -> None:
        em, starts = self.em, range(0, self.vectors * self.lanes, self.lanes)
        mask = vec("i1", self.lanes)
        special, found = constant("i1", False, self.lanes), []
        for start in starts:
            value = self._read(start)
            found.append(self._filled(start, value))
            if self.is_special:
                odd = self.numbers.special(em, value, self.lanes)
                special = em.op(f"or {mask} {special}, {odd}")
        if self.is_special:
            self._leave_special(em.any_lane(special, self.lanes))
        found = Group(em, self.element, self.lanes).sorted(found)
        for start, number in zip(starts, found, strict=True):
            self._write(start, restored(em, self.cells, number, self.lanes))

    def _count(self, start: int) -> int:
        """Return how many lanes of a vector the row has."""
        return min(max(self.length - start, 0), self.lanes)

    def _read(self, start: int) -> str:
        """Return the bits of values, zeros behind the last one."""
        em, plain, count = self.em, self.plain, self._count(start)
        at, type_ = em.gep(plain.raw, "%x", start), vec(plain.raw, self.lanes)
        if count == self.lanes:
            return em.load(type_, at, plain.bytes)
        zeros = constant(plain.raw, 0, self.lanes)
        if not count:
            return zeros
        mask = lanes_mask(self.lanes, count)
        return em.masked_load(type_, at, mask, plain.bytes, zeros)

    def _filled(self, start: int, value: str) -> str:
        """Return numbers, behind the last one the largest."""
        em, count = self.em, self._count(start)
        if self.cells.has_order:
            number = with_places(em, self.plain, value, str(start), self.lanes)
        else:
            number = self.numbers.of(em, value, self.lanes)
        most = constant(self.element, self.most, self.lanes)
        chosen = [k if k < count else self.lanes + k for k in range(self.lanes)]
        return em.shuffle(vec(self.element, self.lanes), number, most, chosen)

    def _write(self, start: int, bits: str) -> None:
        em, count = self.em, self._count(start)
        type_, at = vec(self.raw, self.lanes), em.gep(self.raw, "%out", start)
        if count == self.lanes:
            em.store(type_, bits, at, self.size)
        elif count:
            mask = lanes_mask(self.lanes, count)
            em.masked_store(type_, bits, at, mask, self.size)

    # In memory

    def _enter(self) -> None:
        """Write integers to scratch; leave rows with special values to the other."""
        em = self.em
        whole = self.length // self.lanes * self.lanes
        special = "false"
        for lanes, start, stop in ((self.lanes, 0, whole), (1, whole, self.length)):
            if start == stop:
                continue
            carried = [(vec("i1", lanes), constant("i1", False, lanes))]
            with em.loop(start, stop, lanes, carried) as loop:
                loop.yield_([self._entered(loop.index, loop.carried[0], lanes)])
            any_ = em.any_lane(loop.results[0], lanes)
            special = em.op(f"or i1 {special}, {any_}")
        if self.is_special:
            self._leave_special(special)
        with em.loop(self.length, self.vectors * self.lanes, 1) as loop:
            self._put(constant(self.element, self.most, 1), loop.index, 1)
            loop.yield_([])

    def _entered(self, index: str, special: str, lanes: int) -> str:
        """Write integers; return in which lanes there was a special value."""
        em, plain = self.em, self.plain
        value = plain.values(em, em.gep(plain.raw, "%x", index), lanes)
        if self.cells.has_order:
            number = with_places(em, plain, value, index, lanes)
            self._put(number, index, lanes)
            return special
        self._put(self.numbers.of(em, value, lanes), index, lanes)
        if not self.is_special:
            return special
        odd = self.numbers.special(em, value, lanes)
        return em.op(f"or {vec('i1', lanes)} {special}, {odd}")

    def _leave_special(self, special: str) -> None:
        em = self.em
        self.slow.emit()
        with em.if_(special, unlikely=True) as branch:
            rest = em.gep("i8", "%scratch", self.row_bytes)
            self.slow.call(em, "%x", "%out", rest)
            after = em.fresh("unreachable")
            em.ret()
            em.label(after)
            branch.yield_([])

    def _leave(self) -> None:
        em = self.em
        whole = self.length // self.lanes * self.lanes
        for lanes, start, stop in ((self.lanes, 0, whole), (1, whole, self.length)):
            if start == stop:
                continue
            with em.loop(start, stop, lanes) as loop:
                element = vec(self.element, lanes)
                value = em.load(element, self._at(loop.index), self.size)
                value = restored(em, self.cells, value, lanes)
                to = em.gep(self.raw, "%out", loop.index)
                em.store(vec(self.raw, lanes), value, to, self.size)
                loop.yield_([])

    def _at(self, index: str) -> str:
        return self.em.gep(self.element, "%scratch", index)

    def _put(self, value: str, index: str, lanes: int) -> None:
        type_ = vec(self.element, lanes)
        self.em.store(type_, value, self._at(index), self.size)
