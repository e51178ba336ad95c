"""Integers that are in the order of the values, and how values lie between passes.

A key is an unsigned integer of the value's width. Equal values have equal keys, so that
a stable sort by keys is one by values, and keeps the bits of each: 0.0 and -0.0 have
one key, and all that is no number has one behind that of infinity.

    unsigned, bool   the value
    signed           the value + 2^(w-1)
    float            negative: c - bits     else: bits + 2^(w-1) + c
                     cut to what is one above infinity; c is such that -inf is 0

The negation of the bits is what makes both zeros one, and leaves negative numbers that
are none below -inf, from where the subtraction wraps them around to the top.
"""

import numpy as np

from .....ir.dtypes import BFLOAT16, FLOAT16, FLOAT32, FLOAT64
from .....records import dataclass
from ...text import Emitter, constant, vec

INFINITY = {
    FLOAT16: 0x7C00,
    BFLOAT16: 0x7F80,
    FLOAT32: 0x7F80_0000,
    FLOAT64: 0x7FF0_0000_0000_0000,
}


def has_keys(dtype: np.dtype) -> bool:
    """Tell whether values of a dtype have keys: real numbers of 8 to 64 bits."""
    return dtype.kind in "biu" or dtype in INFINITY


def order_key(em: Emitter, dtype: np.dtype, bits: str, lanes: int) -> str:
    """Return the keys of values.

    Parameters
    ----------
    em : Emitter
    dtype : numpy.dtype
    bits : str
        The values as integers, as they lie in memory.
    lanes : int

    Examples
    --------
    >>> em = Emitter()
    >>> order_key(em, np.dtype("i4"), "%x", 1)
    '%v1'
    >>> em.lines
    ['  %v1 = xor i32 %x, -2147483648']
    """
    width = 8 * dtype.itemsize
    type_ = vec(f"i{width}", lanes)

    def number(value: int) -> str:
        return constant(f"i{width}", _signed(value, width), lanes)

    if dtype.kind in "bu":
        return bits
    if dtype.kind == "i":
        return em.op(f"xor {type_} {bits}, {number(1 << width - 1)}")
    infinity = INFINITY[dtype]
    least = (1 << width - 1) - infinity  # what -inf would have without the shift
    below = em.op(f"sub {type_} {number(-least)}, {bits}")
    above = em.op(f"add {type_} {bits}, {number(infinity)}")
    negative = em.op(f"icmp slt {type_} {bits}, {number(0)}")
    key = em.op(
        f"select {vec('i1', lanes)} {negative}, {type_} {below}, {type_} {above}"
    )
    return em.intrinsic("llvm.umin", type_, key, number(2 * infinity + 1))


def signed_key(em: Emitter, key: str, width: int, lanes: int) -> str:
    """Return keys for signed comparisons, which every instruction set has."""
    least = constant(f"i{width}", _signed(1 << width - 1, width), lanes)
    return em.op(f"xor {vec(f'i{width}', lanes)} {key}, {least}")


def _signed(value: int, width: int) -> int:
    """Return the number between -2^(w-1) and 2^(w-1) that has the same bits."""
    half = 1 << width - 1
    return (value + half) % (2 * half) - half


@dataclass(frozen=True)
class Bits:
    """Values as integers of their width, as they lie in memory.

    Parameters
    ----------
    dtype : numpy.dtype
    """

    dtype: np.dtype

    @property
    def width(self) -> int:
        """Bits of a value."""
        return 8 * self.dtype.itemsize

    @property
    def raw(self) -> str:
        """The type of a value's bits."""
        return f"i{self.width}"


@dataclass(frozen=True)
class Cells(Bits):
    """How elements lie between passes: values, or values with where they were.

    Parameters
    ----------
    dtype : numpy.dtype
    has_order : bool
        Whether places go with the values: in the upper half of a cell of 64 bits, or of
        a pair of two words for values of 64 bits.
    """

    has_order: bool

    @property
    def type_(self) -> str:
        """The type of a cell."""
        if not self.has_order:
            return self.raw
        return "<2 x i64>" if self.width == 64 else "i64"

    @property
    def bytes(self) -> int:
        """The size of a cell."""
        if not self.has_order:
            return self.dtype.itemsize
        return 16 if self.width == 64 else 8

    @property
    def align(self) -> int:
        """What cells are aligned to."""
        return min(self.bytes, 8)

    def values(self, em: Emitter, pointer: str, lanes: int) -> str:
        """Load the bits of the values of cells that lie side by side."""
        raw = vec(self.raw, lanes)
        if not self.has_order:
            return em.load(raw, pointer, self.align)
        if self.width == 64:
            pairs = f"<{2 * lanes} x i64>"
            both = em.load(pairs, pointer, self.align)
            if lanes == 1:
                return em.op(f"extractelement {pairs} {both}, i64 0")
            return em.shuffle(pairs, both, "poison", range(0, 2 * lanes, 2))
        whole = em.load(vec("i64", lanes), pointer, self.align)
        return em.op(f"trunc {vec('i64', lanes)} {whole} to {raw}")

    def keys(self, em: Emitter, pointer: str, index: str, lanes: int) -> str:
        """Return the keys of cells that lie side by side."""
        at = em.gep(self.type_, pointer, index)
        return order_key(em, self.dtype, self.values(em, at, lanes), lanes)

    def pack(self, em: Emitter, value: str, place: str) -> str:
        """Return the cell of a value (its bits) that was at a place (i64)."""
        if self.width == 64:
            first = em.op(f"insertelement <2 x i64> poison, i64 {value}, i64 0")
            return em.op(f"insertelement <2 x i64> {first}, i64 {place}, i64 1")
        high = em.op(f"shl i64 {place}, 32")
        low = em.op(f"zext {self.raw} {value} to i64")
        return em.op(f"or i64 {high}, {low}")

    def place(self, em: Emitter, pointer: str, number: str) -> str:
        """Return where the value of a cell was; values are where they are."""
        if not self.has_order:
            return number
        at = em.gep(self.type_, pointer, number)
        if self.width == 64:
            return em.load("i64", em.gep("i64", at, 1), 8)
        return em.op(f"lshr i64 {em.load('i64', at, 8)}, 32")
