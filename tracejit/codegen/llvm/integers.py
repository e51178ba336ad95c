"""Integer division, remainder and shifts with NumPy's answers for every operand.

Dividing by zero gives zero, the smallest number divided by -1 gives itself, quotients
are floored, and shifts by the width or more give zero or the sign. LLVM's own
operations are undefined in these cases, so operands are made safe first.
"""

import re

from .lanes import Lanes
from .text import constant, vec
from .values import is_signed, register_bits

_DOUBLE_EXACT_BITS = 32
_CONSTANT = re.compile(r"(?:splat \(i\d+ )?(-?\d+)\)?$")


def floor_divide(x: Lanes, a: str, b: str) -> str:
    """Return floor(a / b), 0 where b is 0."""
    by_zero = x.op("icmp eq", b, x.const(0))
    q, rest = _quotient(x, a, b)
    if is_signed(x.dtype):
        q = x.select(_signs_differ(x, rest, b), x.op("sub", q, x.const(1)), q)
    return x.select(by_zero, x.const(0), q)


def remainder(x: Lanes, a: str, b: str) -> str:
    """Return a - b floor(a / b), 0 where b is 0."""
    by_zero = x.op("icmp eq", b, x.const(0))
    _, rest = _quotient(x, a, b)
    if is_signed(x.dtype):
        rest = x.select(_signs_differ(x, rest, b), x.op("add", rest, b), rest)
    return x.select(by_zero, x.const(0), rest)


def fmod(x: Lanes, a: str, b: str) -> str:
    """Return the remainder with the sign of a, 0 where b is 0."""
    by_zero = x.op("icmp eq", b, x.const(0))
    return x.select(by_zero, x.const(0), _quotient(x, a, b)[1])


def _known(operand: str) -> int | None:
    """Return the value of a constant operand; LLVM divides by it without dividing."""
    match = _CONSTANT.match(operand)
    return int(match[1]) if match else None


def _signs_differ(x: Lanes, rest: str, b: str) -> str:
    """Whether a remainder is not zero and its sign is not that of the divisor."""
    opposite = x.op("icmp slt", x.op("xor", rest, b), x.const(0))
    return x.both("and", opposite, x.op("icmp ne", rest, x.const(0)))


def _quotient(x: Lanes, a: str, b: str) -> tuple[str, str]:
    """Return (quotient towards zero, remainder); b = 0 acts as 1."""
    if _known(b) not in (None, 0, -1):
        q = x.op("sdiv" if is_signed(x.dtype) else "udiv", a, b)
        return q, x.op("sub", a, x.op("mul", q, b))
    unsafe = x.op("icmp eq", b, x.const(0))
    if is_signed(x.dtype):
        smallest = x.op("icmp eq", a, x.const(-(2 ** (register_bits(x.dtype) - 1))))
        overflows = x.both("and", smallest, x.op("icmp eq", b, x.const(-1)))
        unsafe = x.both("or", unsafe, overflows)
    divisor = x.select(unsafe, x.const(1), b)
    q = _divide(x, a, divisor)
    return q, x.op("sub", a, x.op("mul", q, divisor))


def _divide(x: Lanes, a: str, b: str) -> str:
    """Divide towards zero; up to 32 bits in doubles, which no vector unit lacks.

    The quotient of integers below 2^32 is at least 2^-32 from an integer it is not,
    relative to its size, so that rounding it to 53 bits never reaches that integer.
    """
    sign = "s" if is_signed(x.dtype) else "u"
    if register_bits(x.dtype) > _DOUBLE_EXACT_BITS or x.lanes == 1:
        return x.op(f"{sign}div", a, b)
    double = vec("double", x.lanes)
    top, bottom = (x.em.op(f"{sign}itofp {x.type} {v} to {double}") for v in (a, b))
    quotient = x.em.op(f"fdiv {double} {top}, {bottom}")
    wide = vec("i64" if sign == "u" and x.element == "i32" else "i32", x.lanes)
    whole = x.em.op(f"fptosi {double} {quotient} to {wide}")
    if wide == x.type:
        return whole
    return x.em.op(f"trunc {wide} {whole} to {x.type}")


def shift_left(x: Lanes, a: str, b: str) -> str:
    """Return a << b, 0 where b is negative or the width or more."""
    fits, amount = _amount(x, b)
    return x.select(fits, x.op("shl", a, amount), x.const(0))


def shift_right(x: Lanes, a: str, b: str) -> str:
    """Return a >> b; where b is negative or the width or more, 0 or the sign."""
    fits, amount = _amount(x, b)
    if not is_signed(x.dtype):
        return x.select(fits, x.op("lshr", a, amount), x.const(0))
    most = constant(x.element, register_bits(x.dtype) - 1, x.lanes)
    return x.op("ashr", a, x.select(fits, amount, most))


def _amount(x: Lanes, b: str) -> tuple[str, str]:
    fits = x.op("icmp ult", b, x.const(register_bits(x.dtype)))
    return fits, x.select(fits, b, x.const(0))
