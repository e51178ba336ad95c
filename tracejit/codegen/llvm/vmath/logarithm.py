"""log, log2, log10, log1p.

x = 2**e m with m in [sqrt(1/2), sqrt(2)), f = m - 1 exactly, and a polynomial for
log(1 + f) = f - f^2/2 + f^3 q(f). The sum with e ln 2 keeps what its first addition
rounds away. Formulas: Muller, Elementary Functions, 3rd ed., chapter 11.
"""

import math

from ....late import late
from ....records import dataclass
from .coefficients import PARTS
from .vector import Operand, Pair, Vector

_log1p_by_tables = late(__package__, "lookup_log", "log1p")
_ROOT_HALF = math.sqrt(0.5)


@dataclass(frozen=True)
class Split:
    """x = 2**e (1 + f): ``e`` as a float and ``exponent`` in its place, f exact."""

    e: str
    exponent: str
    f: str


def split(v: Vector, x: str) -> Split:
    """Split positive finite x, subnormal ones too; garbage for the rest."""
    bits = v.bits(x)
    # A subnormal is its bit pattern, as an integer, times the least one.
    is_small = v.int_cmp("ult", bits, 1 << v.mantissa)
    bits = v.int_select(is_small, v.bits(v.fraction_to_float(bits)), bits)
    least = float(v.bias - 1 + v.mantissa)
    return split_bits(v, bits, v.select(is_small, v.magic + least, v.magic))


def split_bits(v: Vector, bits: str, offset: Operand) -> Split:
    """Split a normal number; the offset is the magic number, more if it was scaled."""
    lowest = (v.bias - 1 << v.mantissa) | _root_fraction(v)
    over = v.int_op("sub", bits, lowest)
    e = v.to_float(v.int_op("ashr", over, v.mantissa), offset)
    exponent = v.int_op("and", over, -1 << v.mantissa)
    f = v.sub(v.from_bits(v.int_op("sub", bits, exponent)), 1.0)
    return Split(e, exponent, f)


def _root_fraction(v: Vector) -> int:
    """Return the stored significand of sqrt(1/2), short, as a boundary between m."""
    fraction = math.frexp(_ROOT_HALF)[0] * 2.0 - 1.0
    return int(fraction * 2**20) << (v.mantissa - 20)


def log_tail(v: Vector, f: str) -> str:
    """Return log(1 + f) - f."""
    q = v.polynomial(v.coefficients("log"), f)
    return v.mul(v.mul(f, f), v.fma(q, f, -0.5))


def _poles(v: Vector, x: str, result: str, pole: float) -> str:
    """Put in -inf at the pole, NaN below it, and x for infinity and NaN."""
    result = v.select(v.cmp("olt", x, math.inf), result, x)
    outside = v.select(v.cmp("oeq", x, pole), -math.inf, math.nan)
    return v.select(v.cmp("ugt", x, pole), result, outside)


def log(v: Vector, x: str) -> str:
    """Return the natural logarithm."""
    s = split(v, x)
    result = _add_exponent(v, s, s.f, log_tail(v, s.f), "ln2")
    return _poles(v, x, result, 0.0)


def _add_exponent(v: Vector, s: Split, high: str, low: str, unit: str) -> str:
    """Return e * unit + high + low, for |high| < unit."""
    unit_high, unit_low = PARTS[unit, v.element]
    # The product is exact, so these are the sum and what its rounding loses.
    sum_ = v.fma(s.e, unit_high, high)
    rest = v.add(v.fma(s.e, unit_high, v.neg(sum_)), high)
    return v.add(sum_, v.add(rest, v.fma(s.e, unit_low, low)))


def log2(v: Vector, x: str) -> str:
    """Return the logarithm to base 2, exact for powers of two."""
    s = split(v, x)
    high, low = _times(v, s.f, log_tail(v, s.f), PARTS["1/ln2", v.element])
    sum_, rest = v.quick_two_sum(s.e, high)
    return _poles(v, x, v.add(sum_, v.add(rest, low)), 0.0)


def log10(v: Vector, x: str) -> str:
    """Return the logarithm to base 10."""
    s = split(v, x)
    high, low = _times(v, s.f, log_tail(v, s.f), PARTS["1/ln10", v.element])
    return _poles(v, x, _add_exponent(v, s, high, low, "log10 2"), 0.0)


def _times(v: Vector, high: str, low: str, factor: tuple[float, ...]) -> Pair:
    """Return (high + low) times a constant in two parts, as a pair."""
    high, rest = v.quick_two_sum(high, low)
    product, error = v.two_product(high, factor[0])
    return product, v.fma(rest, factor[0], v.fma(high, factor[1], error))


def log1p(v: Vector, x: str) -> str:
    """Return log(1 + x), by tables where registers are tables."""
    return (_log1p_by_tables if v.target.has_tables else _log1p)(v, x)


def _log1p(v: Vector, x: str) -> str:
    """Return log(1 + x).

    The rounding error d of 1 + x enters as d / (1 + f), to first order in d.
    """
    tiny = v.cmp("olt", v.abs(x), 2.0 ** -(v.mantissa + 2))
    inner = v.select(tiny, 0.0, x)
    u = v.add(1.0, inner)
    back = v.sub(u, 1.0)
    # What 1 + x rounds away: exact whichever of the two is larger.
    small = v.cmp("olt", v.abs(inner), 1.0)
    error = v.select(small, v.sub(inner, back), v.sub(1.0, v.sub(u, inner)))
    s = split(v, u)
    stays = v.cmp("oeq", s.e, 0.0)
    f = v.select(stays, inner, s.f)
    f_low = v.select(stays, 0.0, v.mul(error, _inverse_power(v, s.exponent)))
    # 1 / (1 + f) to 4 %, as much as f_low deserves.
    slope = v.fma(f, v.fma(f, 0.8, -1.0), 1.0)
    tail = v.fma(f_low, slope, log_tail(v, f))
    result = _poles(v, x, _add_exponent(v, s, f, tail, "ln2"), -1.0)
    return v.select(tiny, x, result)


def _inverse_power(v: Vector, exponent: str) -> str:
    """Return 2**-e, or 0 where that is subnormal."""
    one = v.bias << v.mantissa
    return v.from_bits(v.int_max(v.int_op("sub", one, exponent), 0))
