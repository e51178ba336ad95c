"""float8 numbers in LLVM text: decoded, rounded and encoded by integer arithmetic.

No instruction set here has them. Each is a dozen instructions on any number of lanes,
and gives what ml_dtypes gives: to nearest, ties to even; what is too large becomes an
infinity, or NaN in e4m3fn, which has none; subnormal numbers are kept. (A table of 256
entries would have to be gathered, which is slower.) All numbers in float registers are
normal ones, as processors are slow with others.
"""

import numpy as np

from ...ir.float8 import FORMATS, Float8
from ...records import dataclass
from .text import Emitter, constant, vec

_INFINITY = 0x7F800000  # in bits of float32
_NAN = 0x7FC00000
_MAGNITUDE = 0x7FFFFFFF


@dataclass(frozen=True)
class _Bits:
    """A notation for operations on lanes of i32 and of float."""

    em: Emitter
    lanes: int

    @property
    def wide(self) -> str:
        return vec("i32", self.lanes)

    @property
    def single(self) -> str:
        return vec("float", self.lanes)

    def op(self, name: str, x: str, y: str | int) -> str:
        """Append an operation on integers; a Python number is a constant."""
        return self.em.op(f"{name} {self.wide} {x}, {self.number(y)}")

    def number(self, x: str | int) -> str:
        return x if isinstance(x, str) else constant("i32", x, self.lanes)

    def select(self, mask: str, yes: str | int, no: str | int) -> str:
        yes, no = (f"{self.wide} {self.number(x)}" for x in (yes, no))
        return self.em.op(f"select {vec('i1', self.lanes)} {mask}, {yes}, {no}")

    def least(self, x: str, y: int) -> str:
        return self.em.intrinsic("llvm.umin", self.wide, x, self.number(y))

    def of_float(self, x: str) -> str:
        return self.em.op(f"bitcast {self.single} {x} to {self.wide}")

    def as_float(self, bits: str | int) -> str:
        return self.em.op(f"bitcast {self.wide} {self.number(bits)} to {self.single}")

    def anchored(self, magnitude: str, format_: Float8) -> str:
        """Round to multiples of the smallest number; return how many, as integers."""
        anchor = self.as_float(format_.anchor)
        total = self.em.op(f"fadd {self.single} {self.as_float(magnitude)}, {anchor}")
        return self.op("sub", self.of_float(total), format_.anchor)

    def multiples(self, count: str, format_: Float8) -> str:
        """Return so many of the smallest number, in bits of float32."""
        number = self.em.op(f"sitofp {self.wide} {count} to {self.single}")
        step = constant("float", format_.step, self.lanes)
        return self.of_float(self.em.op(f"fmul {self.single} {number}, {step}"))


def widen(em: Emitter, dtype: np.dtype, raw: str, lanes: int) -> str:
    """Return numbers as float, of their 8 bits."""
    x, format_ = _Bits(em, lanes), FORMATS[dtype]
    bits = em.op(f"zext {vec('i8', lanes)} {raw} to {x.wide}")
    magnitude = x.op("and", bits, 0x7F)
    normal = x.op("add", x.op("shl", magnitude, format_.shift), format_.rebias)
    small = x.multiples(magnitude, format_)
    is_small = x.op("icmp ult", magnitude, 1 << format_.mantissa)
    value = x.select(is_small, small, normal)
    if format_.has_infinity:
        is_infinite = x.op("icmp eq", magnitude, format_.largest + 1)
        value = x.select(is_infinite, _INFINITY, value)
    first_nan = format_.largest + 1 + format_.has_infinity
    value = x.select(x.op("icmp uge", magnitude, first_nan), _NAN, value)
    sign = x.op("shl", x.op("and", bits, 0x80), 24)
    result = x.as_float(x.op("or", value, sign))
    em.decoded[result] = raw
    return result


def rounded(em: Emitter, dtype: np.dtype, value: str, lanes: int) -> str:
    """Return floats rounded to numbers of `dtype`."""
    x, format_ = _Bits(em, lanes), FORMATS[dtype]
    bits = x.of_float(value)
    magnitude = x.op("and", bits, _MAGNITUDE)
    odd = x.op("and", x.op("lshr", magnitude, format_.shift), 1)
    nearly = x.op("add", magnitude, (1 << (format_.shift - 1)) - 1)
    normal = x.op("and", x.op("add", nearly, odd), -(1 << format_.shift))
    small = x.multiples(x.anchored(magnitude, format_), format_)
    is_small = x.op("icmp ult", magnitude, format_.smallest_normal)
    number = x.select(is_small, small, normal)
    is_large = x.op("icmp ugt", number, format_.largest_finite)
    number = x.select(is_large, _INFINITY if format_.has_infinity else _NAN, number)
    if format_.has_infinity:
        number = x.select(x.op("icmp ugt", magnitude, _INFINITY), _NAN, number)
    sign = x.op("xor", bits, magnitude)
    return x.as_float(x.op("or", number, sign))


def narrow(em: Emitter, dtype: np.dtype, value: str, lanes: int) -> str:
    """Return the 8 bits of floats that are numbers of `dtype`.

    Of what was only decoded they are those that were there.
    """
    if value in em.decoded:
        return em.decoded[value]
    x, format_ = _Bits(em, lanes), FORMATS[dtype]
    bits = x.of_float(value)
    magnitude = x.op("and", bits, _MAGNITUDE)
    rebiased = x.op("sub", magnitude, format_.rebias)
    normal = x.op("lshr", rebiased, format_.shift)
    is_small = x.op("icmp ult", magnitude, format_.smallest_normal)
    number = x.select(is_small, x.anchored(magnitude, format_), normal)
    number = x.least(number, format_.largest + 1)  # the infinity, or the only NaN
    if format_.has_infinity:
        is_nan = x.op("icmp ugt", magnitude, _INFINITY)
        number = x.select(is_nan, format_.nan, number)
    sign = x.op("and", x.op("lshr", bits, 24), 0x80)
    return em.op(f"trunc {x.wide} {x.op('or', number, sign)} to {vec('i8', lanes)}")
