"""A notation for floating-point formulas over one vector type.

Needs an `Emitter`. `Vector` holds the type that a formula works in and turns
operations into instructions; Python floats become constants of that type. It hides
what differs between formats (widths, biases) and machines: without hardware FMA,
`fma` is a multiplication and an addition, and the error-free products split their
operands instead. What NaN does in each comparison and select is said where it matters.
"""

import math

from ..abreast import abreast
from ..target import Target
from ..text import Emitter, constant, vec
from .coefficients import COEFFICIENTS

# Veltkamp's splitting constant of a double: 2**27 + 1.
_SPLIT = 134217729.0
_ABREAST = 2  # steps of a polynomial between places that all registers reach together
_APART = "noinline nounwind"
_KEEPING = '"no_caller_saved_registers"'

Operand = str | float
Pair = tuple[str, str]


class Vector:
    """Formulas over ``lanes`` values of one float type.

    Parameters
    ----------
    em : Emitter
    element : str
        The type that formulas work in: ``float`` or ``double``.
    lanes : int
        One means scalars.
    precision : str
        Which coefficients to use: ``f32``, ``mid`` or ``f64``. Formulas for float32
        results that work in doubles ask for ``f32``.
    target : Target

    Attributes
    ----------
    type, itype, mask : str
        The vector types of values, of integers as wide, of masks.
    mantissa, bias : int
        Bits of the stored significand, and the exponent bias.
    """

    def __init__(
        self, em: Emitter, element: str, lanes: int, precision: str, target: Target
    ) -> None:
        single = element == "float"
        self.em, self.element, self.lanes = em, element, lanes
        self.precision, self.target = precision, target
        self.width = 32 if single else 64
        self.ielement = f"i{self.width}"
        self.type = vec(element, lanes)
        self.itype = vec(self.ielement, lanes)
        self.mask = vec("i1", lanes)
        self.mantissa = 23 if single else 52
        self.bias = 127 if single else 1023
        self.magic = 1.5 * 2.0**self.mantissa
        self._constants: dict[float, str] = {}

    def working(self, element: str, precision: str) -> "Vector":
        """Return the same lanes in another format."""
        return Vector(self.em, element, self.lanes, precision, self.target)

    @property
    def rare(self) -> str:
        """Attributes of a function that is called out of line for a few values.

        Its caller finds all registers as they were and has nothing to spill on the way
        that values usually take: 30 % less code around a sine. Not where what it
        returns leaves the upper halves of registers free: LLVM clears them then, the
        caller's as well.
        """
        size = self.lanes * self.width // 8
        is_wide = 32 <= size <= self.target.vector_bytes
        return f"{_APART} {_KEEPING}" if is_wide else _APART

    # Operands

    def const(self, value: Operand) -> str:
        """Return the operand text of a value or of a constant."""
        if isinstance(value, str):
            return value
        text = self._constants.get(value) if value else None
        if text is None:
            text = constant(self.element, value, self.lanes)
            self._constants[value] = text
        return text

    def int_const(self, value: str | int) -> str:
        """Return the operand text of an integer vector or constant."""
        if isinstance(value, str):
            return value
        return constant(self.ielement, value, self.lanes)

    def coefficients(self, name: str) -> tuple[float, ...]:
        """Return a fitted polynomial in this precision, lowest degree first."""
        return COEFFICIENTS[name, self.precision]

    # Arithmetic

    def _binary(self, op: str, a: Operand, b: Operand) -> str:
        return self.em.op(f"{op} {self.type} {self.const(a)}, {self.const(b)}")

    def add(self, a: Operand, b: Operand) -> str:
        """Return a + b."""
        return self._binary("fadd", a, b)

    def sub(self, a: Operand, b: Operand) -> str:
        """Return a - b."""
        return self._binary("fsub", a, b)

    def mul(self, a: Operand, b: Operand) -> str:
        """Return a b."""
        return self._binary("fmul", a, b)

    def div(self, a: Operand, b: Operand) -> str:
        """Return a / b."""
        return self._binary("fdiv", a, b)

    def neg(self, a: str) -> str:
        """Return -a."""
        return self.em.op(f"fneg {self.type} {a}")

    def fma(self, a: Operand, b: Operand, c: Operand) -> str:
        """Return a b + c, rounded once where the machine can, else twice."""
        if not self.target.has_fma:
            return self.add(self.mul(a, b), c)
        return self.em.intrinsic(
            "llvm.fma", self.type, self.const(a), self.const(b), self.const(c)
        )

    def fnma(self, a: str, b: Operand, c: Operand) -> str:
        """Return c - a b; see `fma`."""
        if isinstance(b, str):
            return self.fma(self.neg(a), b, c)
        return self.fma(a, -b, c)

    def abs(self, a: str) -> str:
        """Return |a|."""
        return self.em.intrinsic("llvm.fabs", self.type, a)

    def sqrt(self, a: str) -> str:
        """Return the correctly rounded square root."""
        return self.em.intrinsic("llvm.sqrt", self.type, a)

    def copysign(self, a: Operand, sign: str) -> str:
        """Return |a| with the sign of ``sign``."""
        return self.em.intrinsic("llvm.copysign", self.type, self.const(a), sign)

    def signed(self, a: str, sign: str) -> str:
        """Return a >= 0 with the sign of ``sign``, in fewer operations."""
        sign_bit = self.int_op("and", self.bits(sign), -1 << self.width - 1)
        return self.from_bits(self.int_op("or", self.bits(a), sign_bit))

    def round(self, a: str) -> str:
        """Return the nearest integers, ties to even."""
        if self.target.has_rounding:
            return self.em.intrinsic("llvm.roundeven", self.type, a)
        size, whole = self.abs(a), 2.0**self.mantissa
        rounded = self.sub(self.add(size, whole), whole)
        rounded = self.select(self.cmp("olt", size, whole), rounded, size)
        return self.copysign(rounded, a)

    def polynomial(self, coefficients: tuple[float, ...], x: str) -> str:
        """Return the polynomial, lowest coefficient first, by Horner's rule."""
        result: Operand = coefficients[-1]
        for step, c in enumerate(coefficients[-2::-1], 1):
            result = self.fma(result, x, c)
            if step % _ABREAST == 0:
                result = self.abreast(result)
        return self.const(result)

    def abreast(self, a: str) -> str:
        """Return a value all of whose registers are computed up to here."""
        return abreast(self.em, self.target, self.element, self.lanes, a)

    # Comparison and choice

    def cmp(self, predicate: str, a: Operand, b: Operand) -> str:
        """Return the mask of ``a predicate b``; predicates with u hold for NaN."""
        return self.em.op(
            f"fcmp {predicate} {self.type} {self.const(a)}, {self.const(b)}"
        )

    def is_nan(self, a: str) -> str:
        """Return the mask of NaN lanes."""
        return self.cmp("uno", a, a)

    def select(self, mask: str, a: Operand, b: Operand) -> str:
        """Return a where the mask is on, else b."""
        return self.em.op(
            f"select {self.mask} {mask}, {self.type} {self.const(a)}, "
            f"{self.type} {self.const(b)}"
        )

    def logical(self, op: str, a: str, b: str) -> str:
        """Return ``and``, ``or`` or ``xor`` of two masks."""
        return self.em.op(f"{op} {self.mask} {a}, {b}")

    def at_least(self, low: float, x: str) -> str:
        """Return max(low, x); NaN stays NaN. One instruction on x86."""
        return self.select(self.cmp("ogt", low, x), low, x)

    def at_most(self, high: float, x: str) -> str:
        """Return min(high, x); NaN stays NaN. One instruction on x86."""
        return self.select(self.cmp("olt", high, x), high, x)

    # Integers as wide as the values

    def bits(self, a: str) -> str:
        """Return the bit pattern of a value."""
        return self.em.op(f"bitcast {self.type} {a} to {self.itype}")

    def from_bits(self, a: str) -> str:
        """Return the value of a bit pattern."""
        return self.em.op(f"bitcast {self.itype} {a} to {self.type}")

    def int_op(self, op: str, a: str | int, b: str | int) -> str:
        """Return an integer operation: add, sub, and, or, xor, shl, lshr, ashr."""
        return self.em.op(f"{op} {self.itype} {self.int_const(a)}, {self.int_const(b)}")

    def int_cmp(self, predicate: str, a: str | int, b: str | int) -> str:
        """Return the mask of an integer comparison."""
        return self.int_op(f"icmp {predicate}", a, b)

    def int_select(self, mask: str, a: str | int, b: str | int) -> str:
        """Return a where the mask is on, else b."""
        return self.em.op(
            f"select {self.mask} {mask}, {self.itype} {self.int_const(a)}, "
            f"{self.itype} {self.int_const(b)}"
        )

    def int_min(self, a: str, b: str | int) -> str:
        """Return the lesser of two signed integers."""
        return self.em.intrinsic("llvm.smin", self.itype, a, self.int_const(b))

    def int_max(self, a: str, b: str | int) -> str:
        """Return the greater of two signed integers."""
        return self.em.intrinsic("llvm.smax", self.itype, a, self.int_const(b))

    def to_float(self, a: str, offset: Operand | None = None) -> str:
        """Return the value of integers of size below 2**(mantissa - 1).

        Few machines convert 64-bit integers; adding them to the bits of the magic
        number does it for all. Another ``offset`` than it is subtracted too.
        """
        magic = self.bias + self.mantissa << self.mantissa | 1 << self.mantissa - 1
        sum_ = self.from_bits(self.int_op("add", a, magic))
        return self.sub(sum_, self.magic if offset is None else offset)

    def fraction_to_float(self, a: str) -> str:
        """Return the value of integers in [0, 2**mantissa)."""
        one = self.bias + self.mantissa << self.mantissa
        wide = self.from_bits(self.int_op("or", a, one))
        return self.sub(wide, 2.0**self.mantissa)

    def nearest(self, x: Operand, factor: Operand = 1.0) -> Pair:
        """Return (n, i): the integer nearest to ``x * factor``, as a float and in bits.

        For products below 2**(mantissa - 1). The low bits of ``i`` are n in two's
        complement: shifted left by `mantissa` it is n in the exponent's place.
        """
        sum_ = self.fma(x, factor, self.magic)
        return self.sub(sum_, self.magic), self.bits(sum_)

    def exponent_shift(self, i: str) -> str:
        """Return the integer that `nearest` gave in the exponent's place."""
        return self.int_op("shl", i, self.mantissa)

    def power_of_two(self, exponent: str) -> str:
        """Return 2**n for n in the exponent's place, for normal results."""
        one = self.bias << self.mantissa
        return self.from_bits(self.int_op("add", exponent, one))

    def scale(self, x: str, exponent: str) -> str:
        """Return x 2**n for x > 0 that is 0.25 to 4, n in the exponent's place.

        Results may be subnormal or zero, not too large. Processors handle subnormal
        results of multiplications a hundred times slower than normal ones. So the
        exponent is added in integers, and where that leaves the normal range, the
        significand is rounded to its place by adding 2**mantissa to a scaled value.
        """
        smallest = 1 << self.mantissa
        direct = self.int_op("add", self.bits(x), exponent)
        # The value times 2**(bias - 1 + mantissa), at most a little above normal.
        up = (self.bias - 1 + self.mantissa) << self.mantissa
        raised = self.int_op("add", self.int_min(direct, 2 * smallest), up)
        placed = self.add(self.from_bits(raised), 2.0**self.mantissa)
        place = (self.bias + self.mantissa) << self.mantissa
        subnormal = self.int_op("sub", self.bits(placed), place)
        is_small = self.int_cmp("slt", direct, smallest)
        return self.from_bits(self.int_select(is_small, subnormal, direct))

    # Error-free transformations: pairs (high, low)

    def quick_two_sum(self, a: Operand, b: str) -> Pair:
        """Return a + b exactly, for |a| >= |b| or a = 0."""
        high = self.add(a, b)
        return high, self.add(self.sub(a, high), b)

    def two_sum(self, a: Operand, b: str) -> Pair:
        """Return a + b exactly."""
        high = self.add(a, b)
        back = self.sub(high, a)
        return high, self.add(self.sub(a, self.sub(high, back)), self.sub(b, back))

    def two_product(self, a: str, b: Operand) -> Pair:
        """Return a b exactly, barring overflow and underflow."""
        high = self.mul(a, b)
        return high, self.neg(self.residual(a, b, high))

    def residual(self, a: str, b: Operand, c: Operand) -> str:
        """Return c - a b, exact where the difference is small (c near a b)."""
        if self.target.has_fma:
            return self.fnma(a, b, c)
        high = self.mul(a, b)
        return self.sub(self.sub(c, high), self._product_error(a, b, high))

    def _product_error(self, a: str, b: Operand, product: str) -> str:
        """Return a b - product by Dekker's method, in doubles."""
        a_high, a_low = self._split(a)
        if isinstance(b, str):
            b_high, b_low = self._split(b)
        else:
            b_high, b_low = map(self.const, split_constant(b))
        error = self.sub(self.mul(a_high, b_high), product)
        error = self.add(error, self.mul(a_high, b_low))
        error = self.add(error, self.mul(a_low, b_high))
        return self.add(error, self.mul(a_low, b_low))

    def _split(self, a: str) -> Pair:
        scaled = self.mul(a, _SPLIT)
        high = self.sub(scaled, self.sub(scaled, a))
        return high, self.sub(a, high)


def split_constant(value: float) -> tuple[float, float]:
    """Return (high, low), each of at most 26 bits, that sum to a double."""
    mantissa, exponent = math.frexp(value)
    high = math.ldexp(round(mantissa * 2.0**26), exponent - 26)
    return high, value - high


def widen(wide: Vector, x: str) -> str:
    """Return float32 values as doubles."""
    return wide.em.op(f"fpext {vec('float', wide.lanes)} {x} to {wide.type}")


def narrow(wide: Vector, x: str) -> str:
    """Return doubles rounded to float32."""
    return wide.em.op(f"fptrunc {wide.type} {x} to {vec('float', wide.lanes)}")
