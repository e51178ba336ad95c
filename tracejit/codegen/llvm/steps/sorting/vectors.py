"""Whole vectors in memory, sorted by a network; what they compare.

    groups of vectors sorted in registers (`group.py`)
    runs of 1, 2, 4, ... groups merged: the first vector of one with the last of the
    other and so on, then those at half the distance, a quarter, ..., then each group

A network is not stable: it serves where equal values have equal bits.
"""

from collections.abc import Callable, Sequence

import numpy as np

from .....ir.dtypes import FLOAT32, FLOAT64
from .....records import dataclass
from ...target import Target
from ...text import Emitter, constant, iota, vec
from .group import Group
from .keys import INFINITY, Bits, Cells, order_key, signed_key
from .pieces import Functions, vectors

_MOST_TOGETHER = 256  # elements, as LLVM takes long for what sorts them
_FLOATS = {FLOAT32: "float", FLOAT64: "double"}


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


def with_places(em: Emitter, cells: Cells, bits: str, index: str, lanes: int) -> str:
    """Return keys of values above their places, as integers of 64 bits."""
    type_ = vec("i64", lanes)
    key = order_key(em, cells.dtype, bits, lanes)
    key = signed_key(em, key, cells.width, lanes)
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


def copy_numbers(
    em: Emitter, numbers: Numbers, lanes: int, ends: tuple[str, str], count: str
) -> None:
    """Copy so many numbers from the first end to the second one."""
    element, size = numbers.element, numbers.width // 8

    def body(index: str, lanes: int) -> None:
        source, to = (em.gep(element, end, index) for end in ends)
        value = em.load(vec(element, lanes), source, size)
        em.store(vec(element, lanes), value, to, size)

    vectors(em, "0", count, lanes, body)


def vectors_for(count: int, lanes: int) -> int:
    """Return how many vectors a network for so many elements has: a power of two."""
    return 1 << (-(-count // lanes) - 1).bit_length()


def most_vectors(target: Target, lanes: int) -> int:
    """Return how many vectors of so many lanes are sorted in registers at most."""
    return min(target.vector_registers // 2, _MOST_TOGETHER // lanes)


def write_network(functions: Functions, element: str, lanes: int, group: int) -> str:
    """Write ``void (ptr values, i64 vectors)``: so many are sorted.

    Their number is a power of two, and a multiple of those in a `group`.

    Returns
    -------
    str
        Its symbol.
    """
    name = f"vectors.{group}"
    if name not in functions.texts:
        em = functions.new_emitter()
        _Network(em, Group(em, element, lanes), group).emit()
        functions.put(name, em, ("ptr %values", "i64 %vectors"))
    return functions.symbol_of(name)


class _Network:
    """Writes the body of `write_network`, of groups of vectors in registers."""

    def __init__(self, em: Emitter, group: Group, count: int) -> None:
        self.em, self.group, self.count = em, group, count
        self.type, self.align = group.type, 4

    def emit(self) -> None:
        """Write it: the lowest levels, and the last steps of others, are of groups."""
        em, in_group = self.em, self.count.bit_length()
        self._each_group(self.group.sorted)
        em.declarations["llvm.cttz.i64"] = "declare i64 @llvm.cttz.i64(i64, i1)"
        levels = em.op("call i64 @llvm.cttz.i64(i64 %vectors, i1 true)")
        with em.loop(in_group - 1, levels, 1) as level:
            run = em.op(f"shl i64 1, {level.index}")
            ends = em.op(f"shl i64 {run}, 1")
            self._pairs(run, em.op(f"sub i64 {ends}, 1"), is_turned=True)
            with em.loop(in_group - 1, level.index, 1) as step:
                less = em.op(f"sub i64 {step.index}, {in_group - 2}")
                distance = em.op(f"lshr i64 {run}, {less}")
                self._pairs(distance, distance, is_turned=False)
                step.yield_([])
            self._each_group(self.group.merged)
            level.yield_([])
        em.ret()

    def _each_group(self, change: Callable[[Sequence[str]], list[str]]) -> None:
        em = self.em
        with em.loop(0, "%vectors", self.count) as loop:
            first = em.gep(self.type, "%values", loop.index)
            ends = [em.gep(self.type, first, k) for k in range(self.count)]
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
            pair = self.group.pair(a, b, is_turned)
            for value, at in zip(pair, ends, strict=True):
                self._put(value, at)
            loop.yield_([])
