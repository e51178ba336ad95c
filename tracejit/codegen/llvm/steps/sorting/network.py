"""Rows of up to some thousand values, sorted by a network of whole vectors.

Rows are filled up to a power of two vectors. Those with -0.0 or with what is no number
are left to another function (see `vectors`). For places, numbers are integers: keys
with places in their lower half, so that no two are equal.
"""

from ...target import Target, aligned
from ...text import Emitter, constant, vec
from .keys import Cells
from .ordered import leave_in_order
from .pieces import Functions
from .quick import FEW, is_parted
from .ranks import RankWriter
from .vectors import Numbers, restored, vectors_for, with_places, write_network
from .whole import WholeRow

_MOST = {"avx512": (2048, 2048), "avx2": (4096, 1024)}  # of up to 32 bits, of 64
_MOST_OF_HALVES = 256  # their places take only two passes by digits
_FEWEST = 16
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
    if length > FEW and is_parted(target, cells) and not is_full:
        return False
    return _FEWEST <= length <= most


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
        self.lanes = functions.target.lanes(self.width)
        self.vectors = vectors_for(length, self.lanes)
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
        self._enter()
        network = write_network(self.functions, self.element, self.lanes)
        em.call("void", network, [("ptr", "%scratch"), ("i64", str(self.vectors))])
        self._leave()
        em.ret()
        self.functions.put("network", em, ("ptr %x", "ptr %out", "ptr %scratch"))

    # Values in and out

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
        most = (1 << 63) - 1 if self.cells.has_order else self.numbers.largest
        with em.loop(self.length, self.vectors * self.lanes, 1) as loop:
            self._put(constant(self.element, most, 1), loop.index, 1)
            loop.yield_([])

    def _entered(self, index: str, special: str, lanes: int) -> str:
        """Write integers; return in which lanes there was a special value."""
        em, plain = self.em, self.plain
        if self.cells.has_order:
            number = with_places(em, plain, "%x", index, lanes)
            self._put(number, index, lanes)
            return special
        value = plain.values(em, em.gep(plain.raw, "%x", index), lanes)
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
