"""Floor division and remainders of floats with NumPy's answers for every operand.

After NumPy's `npy_divmod`: the quotient is what is left without the remainder, divided
and rounded down, so that it fits the remainder; dividing by zero gives what `/` gives.
"""

from ...ir import dtypes as dt
from . import vmath
from .lanes import Lanes


def fmod(x: Lanes, a: str, b: str) -> str:
    """Return the remainder with the sign of a."""
    return _function(x, "fmod", a, b)


def remainder(x: Lanes, a: str, b: str) -> str:
    """Return the remainder with the sign of b."""
    rest = fmod(x, a, b)  # NaN where b is 0, and it stays
    shifted = x.select(_signs_differ(x, rest, b), x.op("fadd", rest, b), rest)
    nothing = x.call("llvm.copysign", x.const(0.0), b)
    return x.select(x.op("fcmp oeq", rest, x.const(0.0)), nothing, shifted)


def floor_divide(x: Lanes, a: str, b: str) -> str:
    """Return floor(a / b)."""
    zero, one = x.const(0.0), x.const(1.0)
    rest, whole = fmod(x, a, b), x.op("fdiv", a, b)
    quotient = x.op("fdiv", x.op("fsub", a, rest), b)
    below = x.select(_signs_differ(x, rest, b), x.op("fsub", quotient, one), quotient)
    low = _function(x, "floor", below)
    behind = x.op("fcmp ogt", x.op("fsub", below, low), x.const(0.5))
    low = x.select(behind, x.op("fadd", low, one), low)
    nothing = x.call("llvm.copysign", zero, whole)
    low = x.select(x.op("fcmp oeq", below, zero), nothing, low)
    return x.select(x.op("fcmp oeq", b, zero), whole, low)


def _signs_differ(x: Lanes, rest: str, b: str) -> str:
    """Whether a remainder is not zero and its sign is not that of the divisor."""
    zero = x.const(0.0)
    signs = x.both("xor", x.op("fcmp olt", b, zero), x.op("fcmp olt", rest, zero))
    return x.both("and", signs, x.op("fcmp one", rest, zero))


def _function(x: Lanes, name: str, *values: str) -> str:
    code = "f64" if x.dtype == dt.FLOAT64 else "f32"
    return vmath.emit(x.em, name, code, x.lanes, values, x.target)
