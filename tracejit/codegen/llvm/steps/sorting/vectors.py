"""Whole vectors in memory, sorted by a bitonic network; what they compare.

    each vector sorted: exchanges of lanes
    runs of 1, 2, 4, ... vectors merged: the first of one with the last of the other and
    so on, then vectors at half the distance, a quarter, ..., then lanes of each

A network is not stable: it serves where equal values have equal bits.
"""

from collections.abc import Callable, Sequence

import numpy as np

from .....ir.dtypes import FLOAT32, FLOAT64
from .....records import dataclass
from ...text import Emitter, constant, iota, vec
from .keys import INFINITY, Bits, Cells, signed_key
from .pieces import Functions

_FLOATS = {FLOAT32: "float", FLOAT64: "double"}
GROUP = 4  # vectors that are sorted in registers


@dataclass(frozen=True)
class Numbers(Bits):
    """Values of a dtype as vectors compare them: floats, or else signed integers.

    Negative zeros and what is no number must be elsewhere.

    Parameters
    ----------
    dtype : numpy.dtype
    """

    @property
    def element(self) -> str:
        """Its type."""
        return _FLOATS.get(self.dtype, self.raw)

    @property
    def largest(self) -> float | int:
        """What no number is beyond."""
        return np.inf if self.dtype in _FLOATS else (1 << self.width - 1) - 1

    @property
    def is_special(self) -> bool:
        """Whether there are values that must be elsewhere."""
        return self.dtype in INFINITY

    def of(self, em: Emitter, bits: str, lanes: int) -> str:
        """Return the numbers of values, of which these are the bits."""
        if self.dtype in _FLOATS:
            return em.op(
                f"bitcast {vec(self.raw, lanes)} {bits} to {self._type(lanes)}"
            )
        return self._turned(em, bits, lanes)

    def bits(self, em: Emitter, numbers: str, lanes: int) -> str:
        """Return the bits of the values of numbers."""
        if self.dtype in _FLOATS:
            raw = vec(self.raw, lanes)
            return em.op(f"bitcast {self._type(lanes)} {numbers} to {raw}")
        return self._turned(em, numbers, lanes)

    def special(self, em: Emitter, bits: str, lanes: int) -> str:
        """Return in which lanes there is a negative zero, or what is no number."""
        type_, least = vec(self.raw, lanes), -(1 << self.width - 1)
        rest = constant(self.raw, -1 - least, lanes)
        limit = constant(self.raw, INFINITY[self.dtype], lanes)
        size = em.op(f"and {type_} {bits}, {rest}")
        is_none = em.op(f"icmp sgt {type_} {size}, {limit}")
        is_zero = em.op(f"icmp eq {type_} {bits}, {constant(self.raw, least, lanes)}")
        return em.op(f"or {vec('i1', lanes)} {is_none}, {is_zero}")

    def less(self, em: Emitter, a: str, b: str, lanes: int, or_equal: bool) -> str:
        """Return in which lanes one number is below another one, or equal to it."""
        kind = "fcmp o" if self.dtype in _FLOATS else "icmp s"
        comparison = f"{kind}{'le' if or_equal else 'lt'}"
        return em.op(f"{comparison} {self._type(lanes)} {a}, {b}")

    def _type(self, lanes: int) -> str:
        return vec(self.element, lanes)

    def _turned(self, em: Emitter, bits: str, lanes: int) -> str:
        """Return bits as integers in the order of the values, or those as bits."""
        if self.dtype.kind == "i":
            return bits
        raw, type_ = self.raw, vec(self.raw, lanes)
        if not self.is_special:
            least = constant(raw, -(1 << self.width - 1), lanes)
            return em.op(f"xor {type_} {bits}, {least}")
        sign = em.op(f"ashr {type_} {bits}, {constant(raw, self.width - 1, lanes)}")
        rest = em.op(f"lshr {type_} {sign}, {constant(raw, 1, lanes)}")
        return em.op(f"xor {type_} {bits}, {rest}")


def with_places(em: Emitter, cells: Cells, pointer: str, index: str, lanes: int) -> str:
    """Return keys of values above their places, as integers of 64 bits."""
    type_ = vec("i64", lanes)
    key = signed_key(em, cells.keys(em, pointer, index, lanes), cells.width, lanes)
    wide = em.op(f"sext {vec(cells.raw, lanes)} {key} to {type_}")
    high = em.op(f"shl {type_} {wide}, {constant('i64', 32, lanes)}")
    place = em.splat("i64", index, lanes)
    if lanes > 1:
        place = em.op(f"add {type_} {place}, {iota('i64', lanes)}")
    return em.op(f"or {type_} {high}, {place}")


def restored(em: Emitter, cells: Cells, numbers: str, lanes: int) -> str:
    """Return the bits of the values of numbers, or the places of `with_places`."""
    if not cells.has_order:
        return Numbers(cells.dtype).bits(em, numbers, lanes)
    places = constant("i64", (1 << 32) - 1, lanes)
    return em.op(f"and {vec('i64', lanes)} {numbers}, {places}")


def vectors_for(count: int, lanes: int) -> int:
    """Return how many vectors a network for so many elements has: a power of two."""
    return max(GROUP, 1 << (-(-count // lanes) - 1).bit_length())


def write_network(functions: Functions, element: str, lanes: int) -> str:
    """Write ``void (ptr values, i64 vectors)``: so many are sorted.

    Their number is a power of two, and that of `vectors_for` elements at least.

    Returns
    -------
    str
        Its symbol.
    """
    if "vectors" not in functions.texts:
        em = functions.new_emitter()
        _Network(em, element, lanes).emit()
        functions.put("vectors", em, ("ptr %values", "i64 %vectors"))
    return functions.symbol_of("vectors")


class _Network:
    """Writes the body of `write_network`, of groups of vectors in registers."""

    def __init__(self, em: Emitter, element: str, lanes: int) -> None:
        self.em, self.element, self.lanes = em, element, lanes
        self.type, self.align = vec(element, lanes), 4
        self.is_float = element in _FLOATS.values()

    def emit(self) -> None:
        """Write it: the lowest levels, and the last steps of others, are of groups."""
        em = self.em
        self._each_group(self._sorted)
        em.declarations["llvm.cttz.i64"] = "declare i64 @llvm.cttz.i64(i64, i1)"
        levels = em.op("call i64 @llvm.cttz.i64(i64 %vectors, i1 true)")
        with em.loop(GROUP.bit_length() - 1, levels, 1) as level:
            run = em.op(f"shl i64 1, {level.index}")
            ends = em.op(f"shl i64 {run}, 1")
            self._pairs(run, em.op(f"sub i64 {ends}, 1"), is_turned=True)
            with em.loop(GROUP.bit_length() - 1, level.index, 1) as step:
                less = em.op(f"sub i64 {step.index}, {GROUP.bit_length() - 2}")
                distance = em.op(f"lshr i64 {run}, {less}")
                self._pairs(distance, distance, is_turned=False)
                step.yield_([])
            self._each_group(lambda values: self._merged(values, GROUP // 2))
            level.yield_([])
        em.ret()

    # A group of vectors

    def _each_group(self, change: Callable[[list[str]], list[str]]) -> None:
        em = self.em
        with em.loop(0, "%vectors", GROUP) as loop:
            first = em.gep(self.type, "%values", loop.index)
            ends = [em.gep(self.type, first, k) for k in range(GROUP)]
            values = change([em.load(self.type, at, self.align) for at in ends])
            for value, at in zip(values, ends, strict=True):
                self._put(value, at)
            loop.yield_([])

    def _put(self, value: str, at: str) -> None:
        # Volatile, or a choice between what is there and something else becomes a
        # masked store, for which AMD's processors take some twenty cycles.
        self.em.line(
            f"store volatile {self.type} {value}, ptr {at}, align {self.align}"
        )

    def _sorted(self, values: list[str]) -> list[str]:
        values = [self._sorted_lanes(v) for v in values]
        run = 1
        while run < len(values):
            values = self._compared(values, 2 * run - 1, is_turned=True)
            values = self._merged(values, run // 2)
            run *= 2
        return values

    def _merged(self, values: list[str], distance: int) -> list[str]:
        while distance:
            values = self._compared(values, distance, is_turned=False)
            distance //= 2
        return [self._merged_lanes(v, self.lanes // 2) for v in values]

    def _compared(self, values: list[str], other: int, is_turned: bool) -> list[str]:
        """Put into order each vector and that whose number differs in some bits."""
        values = list(values)
        for k in (k for k in range(len(values)) if k < k ^ other):
            pair = self._merged_pair(values[k], values[k ^ other], is_turned)
            values[k], values[k ^ other] = pair
        return values

    def _merged_pair(self, a: str, b: str, is_turned: bool) -> tuple[str, str]:
        if not is_turned:
            return self._ordered(a, b)
        less, more = self._ordered(a, self._turned(b))
        return less, self._turned(more)

    def _ordered(self, a: str, b: str) -> tuple[str, str]:
        em, type_ = self.em, self.type
        if not self.is_float:
            less = em.intrinsic("llvm.smin", type_, a, b)
            return less, em.intrinsic("llvm.smax", type_, a, b)
        mask = vec("i1", self.lanes)
        below, above = (em.op(f"fcmp {c} {type_} {a}, {b}") for c in ("olt", "ogt"))
        return (
            em.op(f"select {mask} {below}, {type_} {a}, {type_} {b}"),
            em.op(f"select {mask} {above}, {type_} {a}, {type_} {b}"),
        )

    # Lanes of a vector

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

    def _turned(self, value: str) -> str:
        return self._shuffled(value, value, range(self.lanes)[::-1])

    def _shuffled(self, a: str, b: str, order: Sequence[int]) -> str:
        return self.em.shuffle(self.type, a, b, order)

    # Vectors far apart

    def _pairs(self, distance: str, other: str, is_turned: bool) -> None:
        """Put into order each vector and that whose number differs in some bits.

        `distance` is a power of two: vectors that have that bit are the second ones.
        """
        em = self.em
        low = em.op(f"sub i64 {distance}, 1")
        high = em.op(f"xor i64 {low}, -1")
        with em.loop(0, em.op("lshr i64 %vectors, 1"), 1) as loop:
            above = em.op(f"and i64 {loop.index}, {high}")
            first = em.op(f"add i64 {loop.index}, {above}")
            second = em.op(f"xor i64 {first}, {other}")
            ends = [em.gep(self.type, "%values", k) for k in (first, second)]
            a, b = (em.load(self.type, at, self.align) for at in ends)
            for value, at in zip(self._merged_pair(a, b, is_turned), ends, strict=True):
                self._put(value, at)
            loop.yield_([])
