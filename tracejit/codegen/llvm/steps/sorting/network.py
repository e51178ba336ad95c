"""Rows of up to some thousand values, sorted by comparing whole vectors.

    bits to signed integers in the values' order, filled up to a power of two vectors
    each vector sorted: exchanges of lanes
    runs of 1, 2, 4, ... vectors merged: the first of one with the last of the other and
    so on, then vectors at half the distance, a quarter, ..., then lanes of each

That is a bitonic network, which is not stable: it serves where equal values have equal
bits. Rows with -0.0 or with what is no number are left to another function. For places,
integers are keys with places in their lower half: no two are equal.
"""

from collections.abc import Callable, Sequence

from ...target import Target, aligned
from ...text import Emitter, constant, iota, vec
from .keys import INFINITY, Cells, signed_key
from .ordered import leave_in_order
from .pieces import Functions
from .ranks import RankWriter
from .row import WholeRow

_MOST = {"avx512": 2048, "avx2": 512}
_MOST_OF_HALVES = 256  # their places take only two passes by digits
_FEWEST = 16
_PLACES = (1 << 32) - 1
_VECTOR_NS = 0.8  # for an exchange of two vectors, or of a vector's lanes


def is_networked(target: Target, cells: Cells, length: int) -> bool:
    """Tell whether rows of a length are sorted by a network."""
    if cells.width == 8 or (cells.has_order and cells.width == 64):
        return False
    most = _MOST.get(target.name, 1024 // _width(cells))
    if cells.has_order and cells.width == 16:
        most = min(most, _MOST_OF_HALVES)
    return _FEWEST <= length <= most


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
        self.raw, self.size = f"i{self.width}", self.width // 8
        self.lanes = functions.target.lanes(self.width)
        vectors = -(-length // self.lanes)
        self.levels = (vectors - 1).bit_length()
        self.vectors = 1 << self.levels
        self.row_bytes = aligned(self.vectors * self.lanes * self.size)
        self.is_special = cells.dtype in INFINITY and not cells.has_order

    @property
    def scratch_bytes(self) -> int:
        """What a row needs."""
        return self.row_bytes + (self.slow.scratch_bytes if self.is_special else 0)

    @property
    def work(self) -> int:
        """Estimated nanoseconds for a row."""
        inner = self.lanes.bit_length() - 1
        steps = inner * (inner + 1) // 2 + self.levels * inner
        steps += self.levels * (self.levels + 1) // 2
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
        self._each_vector(self._sorted_lanes)
        if self.levels:
            self._merge_all()
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
        most = str((1 << self.width - 1) - 1)
        with em.loop(self.length, self.vectors * self.lanes, 1) as loop:
            self._put(most, loop.index, 1)
            loop.yield_([])

    def _entered(self, index: str, special: str, lanes: int) -> str:
        """Write integers; return in which lanes there was a special value."""
        em, plain = self.em, self.plain
        if self.cells.has_order:
            self._put(self._with_places(index, lanes), index, lanes)
            return special
        value = plain.values(em, em.gep(plain.raw, "%x", index), lanes)
        self._put(self._turned(value, lanes), index, lanes)
        if not self.is_special:
            return special
        odd = self._found_special(value, lanes)
        return em.op(f"or {vec('i1', lanes)} {special}, {odd}")

    def _with_places(self, index: str, lanes: int) -> str:
        """Return keys above places, for signed comparisons."""
        em, plain, type_ = self.em, self.plain, vec("i64", lanes)
        key = plain.keys(em, "%x", index, lanes)
        key = signed_key(em, key, plain.width, lanes)
        wide = em.op(f"sext {vec(plain.raw, lanes)} {key} to {type_}")
        high = em.op(f"shl {type_} {wide}, {constant('i64', 32, lanes)}")
        place = em.splat("i64", index, lanes)
        if lanes > 1:
            place = em.op(f"add {type_} {place}, {iota('i64', lanes)}")
        return em.op(f"or {type_} {high}, {place}")

    def _found_special(self, value: str, lanes: int) -> str:
        em, type_ = self.em, vec(self.cells.raw, lanes)
        infinity = INFINITY[self.cells.dtype]
        least = -(1 << self.cells.width - 1)
        none = constant(self.cells.raw, -1 - least, lanes)
        size = em.op(f"and {type_} {value}, {none}")
        limit = constant(self.cells.raw, infinity, lanes)
        is_none = em.op(f"icmp sgt {type_} {size}, {limit}")
        zero = constant(self.cells.raw, least, lanes)
        is_zero = em.op(f"icmp eq {type_} {value}, {zero}")
        return em.op(f"or {vec('i1', lanes)} {is_none}, {is_zero}")

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

    def _turned(self, value: str, lanes: int) -> str:
        """Return values' bits as signed integers in their order, or those as bits."""
        em, cells = self.em, self.cells
        type_, width = vec(cells.raw, lanes), cells.width
        if cells.dtype.kind == "i":
            return value
        if not self.is_special:
            least = constant(cells.raw, -(1 << width - 1), lanes)
            return em.op(f"xor {type_} {value}, {least}")
        last = constant(cells.raw, width - 1, lanes)
        sign = em.op(f"ashr {type_} {value}, {last}")
        rest = em.op(f"lshr {type_} {sign}, {constant(cells.raw, 1, lanes)}")
        return em.op(f"xor {type_} {value}, {rest}")

    def _leave(self) -> None:
        em = self.em
        whole = self.length // self.lanes * self.lanes
        for lanes, start, stop in ((self.lanes, 0, whole), (1, whole, self.length)):
            if start == stop:
                continue
            with em.loop(start, stop, lanes) as loop:
                type_ = vec(self.raw, lanes)
                value = em.load(type_, self._at(loop.index), self.size)
                if self.cells.has_order:
                    places = constant("i64", _PLACES, lanes)
                    value = em.op(f"and {type_} {value}, {places}")
                else:
                    value = self._turned(value, lanes)
                to = em.gep(self.raw, "%out", loop.index)
                em.store(type_, value, to, self.size)
                loop.yield_([])

    def _at(self, index: str) -> str:
        return self.em.gep(self.raw, "%scratch", index)

    def _put(self, value: str, index: str, lanes: int) -> None:
        type_ = vec(self.raw, lanes)
        self.em.store(type_, value, self._at(index), self.size)

    # Lanes of a vector

    @property
    def _type(self) -> str:
        return vec(self.raw, self.lanes)

    def _each_vector(self, change: Callable[[str], str]) -> None:
        with self.em.loop(0, self.vectors * self.lanes, self.lanes) as loop:
            value = self.em.load(self._type, self._at(loop.index), self.size)
            self._put(change(value), loop.index, self.lanes)
            loop.yield_([])

    def _sorted_lanes(self, value: str) -> str:
        run = 2
        while run <= self.lanes:
            value = self._exchanged(value, run - 1)
            value = self._merged_lanes(value, run // 4)
            run *= 2
        return value

    def _merged_lanes(self, value: str, distance: int) -> str:
        while distance:
            value = self._exchanged(value, distance)
            distance //= 2
        return value

    def _exchanged(self, value: str, other: int) -> str:
        """Put into order each lane and that whose number differs in some bits."""
        lanes = range(self.lanes)
        theirs = self._shuffled(value, value, [k ^ other for k in lanes])
        less, more = self._ordered(value, theirs)
        chosen = [k if k < k ^ other else self.lanes + k for k in lanes]
        return self._shuffled(less, more, chosen)

    def _shuffled(self, a: str, b: str, order: Sequence[int]) -> str:
        return self.em.shuffle(self._type, a, b, order)

    def _ordered(self, a: str, b: str) -> tuple[str, str]:
        em, type_ = self.em, self._type
        return (
            em.intrinsic("llvm.smin", type_, a, b),
            em.intrinsic("llvm.smax", type_, a, b),
        )

    # Runs of vectors

    def _merge_all(self) -> None:
        """Write the loop over lengths of runs, from one vector on."""
        em = self.em
        with em.loop(0, self.levels, 1) as level:
            run = em.op(f"shl i64 1, {level.index}")
            ends = em.op(f"shl i64 {run}, 1")
            self._pairs(run, em.op(f"sub i64 {ends}, 1"), is_turned=True)
            with em.loop(0, level.index, 1) as step:
                closer = em.op(f"add i64 {step.index}, 1")
                distance = em.op(f"lshr i64 {run}, {closer}")
                self._pairs(distance, distance, is_turned=False)
                step.yield_([])
            self._each_vector(lambda v: self._merged_lanes(v, self.lanes // 2))
            level.yield_([])

    def _pairs(self, distance: str, other: str, is_turned: bool) -> None:
        """Put into order each vector and that whose number differs in some bits.

        `distance` is a power of two: vectors that have that bit are the second ones.
        """
        em = self.em
        low = em.op(f"sub i64 {distance}, 1")
        high = em.op(f"xor i64 {low}, -1")
        turn = list(reversed(range(self.lanes)))
        with em.loop(0, self.vectors // 2, 1) as loop:
            above = em.op(f"and i64 {loop.index}, {high}")
            first = em.op(f"add i64 {loop.index}, {above}")
            second = em.op(f"xor i64 {first}, {other}")
            ends = [em.gep(self._type, "%scratch", k) for k in (first, second)]
            a, b = (em.load(self._type, at, self.size) for at in ends)
            if is_turned:
                b = self._shuffled(b, b, turn)
            less, more = self._ordered(a, b)
            if is_turned:
                more = self._shuffled(more, more, turn)
            for value, at in ((less, ends[0]), (more, ends[1])):
                em.store(self._type, value, at, self.size)
            loop.yield_([])
