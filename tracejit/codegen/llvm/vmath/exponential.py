"""exp, exp2, expm1, the logistic function, tanh, sinh, cosh.

All rest on x = n ln 2 + r, |r| <= ln(2)/2, and a polynomial for
e^r = 1 + r + r^2 q(r). The reduction keeps the rounding error of r, so that only the
last operations of each function round visibly. Formulas: Cody and Waite 1980 (the
reduction), Muller, Elementary Functions, 3rd ed., chapters 4 and 11 (the rest).
"""

import math

from ....records import dataclass
from . import registers
from .coefficients import PARTS
from .vector import Pair, Vector

LN2 = math.log(2.0)
# Below the first, exp rounds to zero; above the second it overflows.
_EXP_ZERO = {"float": -104.0, "double": -746.0}
_EXP_INF = {"float": 88.72283172607422, "double": 709.782712893384}
_SINH_INF = 710.4758600739439
# tanh is x below this; its third power is no subnormal.
_TANH_IS_X = 2.0**-40
# tanh rounds to 1 from here on.
_TANH_ONE = {"f32": 9.1, "f64": 19.1}


@dataclass(frozen=True)
class Reduced:
    """e^x = 2**n (1 + r + c): ``exponent`` is n in its place, r + c unevaluated."""

    exponent: str
    r: str
    c: str


def reduce_exp(v: Vector, x: str, table: str = "expm1") -> Reduced:
    """Split e^x, for |x| below the overflow bound of exp."""
    high, low = PARTS["ln2", v.element]
    n, i = v.nearest(x, 1 / LN2)
    first = v.fma(n, -high, x)
    r = v.fma(n, -low, first)
    r_low = v.fma(n, -low, v.sub(first, r))
    return Reduced(v.exponent_shift(i), r, exp_tail(v, r, r_low, table))


def exp_tail(v: Vector, r: str, r_low: str, table: str = "expm1") -> str:
    """Return e^(r + r_low) - 1 - r."""
    q = v.polynomial(v.coefficients(table), r)
    return v.fma(v.mul(r, r), q, v.fma(r_low, r, r_low))


def exp(v: Vector, x: str) -> str:
    """Return e^x."""
    high, low = PARTS["ln2", v.element]
    bounded = v.at_least(_EXP_ZERO[v.element], x)
    if v.target.has_scaling:
        bounded = v.at_most(math.ceil(_EXP_INF[v.element]), bounded)
    n, i = v.nearest(bounded, 1 / LN2)
    r = v.fma(n, -low, v.fma(n, -high, bounded))
    p = v.polynomial((1.0, 1.0, *v.coefficients("exp")), r)
    return _scaled(v, x, p, n, i, _EXP_INF[v.element])


def _scaled(v: Vector, x: str, p: str, n: str, i: str, bound: float) -> str:
    """Return p 2**n, which is infinite for x above a bound; p is NaN where x is.

    With `Target.has_scaling` n is bounded too, to a little more than what overflows.
    """
    if v.target.has_scaling:
        return registers.scaled(v, p, n)
    return _overflow(v, x, v.scale(p, v.exponent_shift(i)), bound)


def exp2(v: Vector, x: str) -> str:
    """Return 2^x; exact for integers."""
    limit = float(v.bias + 1)
    bounded = v.at_least(-limit - v.mantissa, x)
    if v.target.has_scaling:
        bounded = v.at_most(limit, bounded)
    n, i = v.nearest(bounded)
    r = v.mul(v.sub(bounded, n), LN2)
    p = v.polynomial((1.0, 1.0, *v.coefficients("exp")), r)
    return _scaled(v, x, p, n, i, largest_below(limit, v.mantissa))


def largest_below(power: float, mantissa: int) -> float:
    """Return the largest number below a power of two in a format."""
    return power - power * 2.0 ** -(mantissa + 1)


def _overflow(v: Vector, x: str, result: str, bound: float) -> str:
    """Replace the result by infinity above the bound, and for NaN by NaN."""
    return v.select(v.cmp("ugt", x, bound), v.mul(x, math.inf), result)


def exp_of_negative(v: Vector, x: str) -> str:
    """Return e^-x for |x| < 700 without care for the last bit or for NaN."""
    high, low = PARTS["ln2", v.element]
    n, i = v.nearest(x, -1 / LN2)
    r = v.fma(n, -low, v.fnma(n, high, v.neg(x)))
    p = v.polynomial((1.0, 1.0, *v.coefficients("exp")), r)
    return v.from_bits(v.int_op("add", v.bits(p), v.exponent_shift(i)))


def expm1_pair(v: Vector, x: str) -> Pair:
    """Return e^x - 1 as (high, low), for -80 < x below the overflow bound."""
    reduced = reduce_exp(v, x)
    power = v.power_of_two(reduced.exponent)
    scaled = v.mul(power, reduced.r)
    high, low = v.quick_two_sum(v.sub(power, 1.0), scaled)
    return v.quick_two_sum(high, v.fma(power, reduced.c, low))


def significand(v: Vector, reduced: Reduced) -> Pair:
    """Return 1 + r + c as (high, low)."""
    sum_, rest = v.quick_two_sum(reduced.r, reduced.c)
    high, low = v.quick_two_sum(1.0, sum_)
    return high, v.add(low, rest)


def expm1(v: Vector, x: str) -> str:
    """Return e^x - 1."""
    tiny = v.cmp("olt", v.abs(x), 2.0 ** -(v.mantissa + 2))
    bounded = v.at_least(-45.0, v.select(tiny, 0.0, x))
    # The last binade before overflow comes through half the value.
    reduced = reduce_exp(v, bounded)
    is_top = v.cmp("ogt", x, _EXP_INF[v.element] - 1.0)
    one_less = v.int_op("sub", reduced.exponent, 1 << v.mantissa)
    power = v.power_of_two(v.int_select(is_top, one_less, reduced.exponent))
    less = v.sub(power, 1.0)
    # Half a unit for powers that are as large as the significand is long.
    lost = v.sub(v.sub(power, less), 1.0)
    high, low = v.quick_two_sum(less, v.mul(power, reduced.r))
    result = v.add(high, v.fma(power, reduced.c, v.add(low, lost)))
    result = v.select(is_top, v.add(result, result), result)
    result = _overflow(v, x, result, _EXP_INF[v.element])
    return v.select(tiny, x, result)


def sigmoid(v: Vector, x: str) -> str:
    """Return 1 / (1 + e^-x).

    With e = e^-|x| as a pair, 1 / (1 + e) and e / (1 + e) come from one division and
    one correction; for negative x the power of two is multiplied last, so that small
    results lose nothing.
    """
    size = v.abs(x)
    # Nothing that is computed from a tiny x may be subnormal.
    size = v.select(v.cmp("olt", size, 2.0**-60), 0.0, size)
    away = v.at_least(_EXP_ZERO[v.element], v.neg(size))
    reduced = reduce_exp(v, away, "exp")
    high, low = significand(v, reduced)
    # Below 2**-60 it does not matter what is added to 1.
    power = v.power_of_two(v.int_max(reduced.exponent, -60 << v.mantissa))
    below, below_low = v.quick_two_sum(1.0, v.mul(power, high))
    below_low = v.fma(power, low, below_low)
    inverse = v.div(1.0, below)
    rest = v.fnma(inverse, below_low, v.residual(inverse, below, 1.0))
    inverse_low = v.mul(inverse, rest)
    negative = v.cmp("olt", x, 0.0)
    top, top_low = v.select(negative, high, 1.0), v.select(negative, low, 0.0)
    tail = v.fma(top, inverse_low, v.mul(top_low, inverse))
    result = v.fma(top, inverse, tail)
    scaled = v.scale(result, v.int_select(negative, reduced.exponent, 0))
    return v.select(v.is_nan(x), x, scaled)


def tanh(v: Vector, x: str) -> str:
    """Return tanh x: a polynomial, and 1 - 2 / (e^(2|x|) + 1) from 0.55 on."""
    size = v.abs(x)
    inner = v.at_least(_TANH_IS_X, size)
    square = v.mul(inner, inner)
    tail = v.polynomial(v.coefficients("tanh"), square)
    near = v.fma(v.mul(square, inner), tail, inner)
    power = _exp_of_double(v, v.at_most(_TANH_ONE[v.precision], size))
    far = v.sub(1.0, v.div(2.0, v.add(power, 1.0)))
    result = v.select(v.cmp("ogt", size, 0.55), far, near)
    # Tiny numbers are their own tanh; of others it is less.
    result = v.select(v.cmp("olt", size, result), size, result)
    return v.signed(result, x)


def _exp_of_double(v: Vector, x: str) -> str:
    """Return e^(2x) for moderate x, where the result is not subnormal."""
    high, low = PARTS["ln2", v.element]
    n, i = v.nearest(x, 2 / LN2)
    r = v.fma(n, -low, v.fma(n, -high, v.add(x, x)))
    p = v.polynomial((1.0, 1.0, *v.coefficients("exp")), r)
    return v.from_bits(v.int_op("add", v.bits(p), v.exponent_shift(i)))


def _half_exp(v: Vector, size: str, reduced: Reduced) -> str:
    """Return e^size / 2 without overflow before the last moment."""
    p = v.add(*significand(v, reduced))
    half = v.int_op("sub", reduced.exponent, 1 << v.mantissa)
    result = v.from_bits(v.int_op("add", v.bits(p), half))
    return _overflow(v, size, result, _SINH_INF)


def sinh(v: Vector, x: str) -> str:
    """Return sinh x = (m + m / (m + 1)) / 2, m = e^|x| - 1."""
    size = v.abs(x)
    tiny = v.cmp("olt", size, 2.0**-27)
    large = v.cmp("ogt", size, 22.0)
    high, low = expm1_pair(v, v.select(tiny, 1.0, v.at_most(23.0, size)))
    quotient = v.div(high, v.add(high, 1.0))
    small = v.mul(v.add(high, v.add(low, quotient)), 0.5)
    result = v.select(large, _half_exp(v, size, reduce_exp(v, size)), small)
    return v.select(tiny, x, v.signed(result, x))


def cosh(v: Vector, x: str) -> str:
    """Return cosh x = e^|x| / 2 + 1 / (2 e^|x|)."""
    size = v.abs(x)
    half = _half_exp(v, size, reduce_exp(v, size))
    return v.add(half, v.div(0.25, half))
