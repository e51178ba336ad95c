"""float32 functions by short formulas in doubles, which need no care for last bits.

Arguments and results are vectors of floats: infinities, signs and NaN are dealt with in
them, at half the cost. Between the two, squares are exact, nothing is subnormal,
nothing overflows, and the error of a whole formula is far below that of rounding its
result. Formulas: erfc in 1 / (1 + x/2), which is a factor of it too; for the others see
`exponential`, `inverse` and `special`.
"""

import math

from .exponential import LN2, exp_of_negative
from .logarithm import log_tail, split_bits
from .special import power_of, with_ends
from .vector import Pair, Vector, narrow, widen

# From here on ...
_LOGISTIC_END = 105.0  # the logistic function rounds to 0 or to 1,
_ERFC_ZERO = 10.3  # erfc rounds to zero,
_FAR = 110.0  # e to the negative rounds to zero,
_POWER_END = 200.0  # 2 to this or its negative is infinite or zero,
_SINH_INF = 90.0  # and sinh and cosh overflow.
_TINY = 2.0**-14  # below this arcsinh x and arctanh x are x
_LEAST = 2.0**-149  # the least float32 number above zero


def _doubles(v: Vector) -> Vector:
    return v.working("double", "f32")


def sigmoid(v: Vector, x: str) -> str:
    """Return 1 / (1 + e^-x)."""
    d = _doubles(v)
    bounded = v.at_least(-_LOGISTIC_END, v.at_most(_LOGISTIC_END, x))
    power = exp_of_negative(d, widen(d, bounded))
    result = narrow(d, d.div(1.0, d.add(power, 1.0)))
    return v.select(v.is_nan(x), x, result)


def sinh(v: Vector, x: str) -> str:
    """Return sinh x = sinh r cosh(n ln 2) + cosh r sinh(n ln 2); see `_hyperbolic`."""
    d = _doubles(v)
    odd, even = _hyperbolic(d, widen(d, v.at_most(_SINH_INF, v.abs(x))))
    return v.signed(narrow(d, d.fma(even[0], odd[1], d.mul(odd[0], even[1]))), x)


def cosh(v: Vector, x: str) -> str:
    """Return cosh x = cosh r cosh(n ln 2) + sinh r sinh(n ln 2); see `_hyperbolic`."""
    d = _doubles(v)
    odd, even = _hyperbolic(d, widen(d, v.at_most(_SINH_INF, v.abs(x))))
    return narrow(d, d.fma(even[0], even[1], d.mul(odd[0], odd[1])))


def _hyperbolic(d: Vector, x: str) -> tuple[Pair, Pair]:
    """Return sinh of r and of n ln 2, and cosh of both, x = n ln 2 + r.

    NaN goes through r.
    """
    n, i = d.nearest(x, 1 / LN2)
    r = d.fma(n, -LN2, x)
    u = d.mul(r, r)
    sinh_r = d.fma(d.mul(u, r), d.polynomial(d.coefficients("sinh"), u), r)
    cosh_r = d.polynomial((1.0, *d.coefficients("cosh")), u)
    shift, half = d.exponent_shift(i), d.bias - 1 << d.mantissa
    up = d.from_bits(d.int_op("add", shift, half))
    down = d.from_bits(d.int_op("sub", half, shift))
    return (sinh_r, d.sub(up, down)), (cosh_r, d.add(up, down))


def arctan2(v: Vector, y: str, x: str) -> str:
    """Return the angle of the point (x, y), from that of (larger, smaller)."""
    d = _doubles(v)
    up, across = v.abs(y), v.abs(x)
    swap = v.cmp("ogt", up, across)
    low, high = v.select(swap, across, up), v.select(swap, up, across)
    # inf / inf counts as 1, 0 / 0 as 0.
    both = v.cmp("oeq", low, math.inf)
    low, high = v.select(both, 1.0, low), v.select(both, 1.0, high)
    high = v.at_least(_LEAST, high)
    negative = v.int_cmp("slt", v.bits(x), 0)
    low = v.select(v.logical("xor", swap, negative), v.neg(low), low)
    t = d.div(widen(d, low), widen(d, high))
    u = d.mul(t, t)
    tail = d.polynomial(d.coefficients("atan whole"), u)
    turn = d.select(swap, math.pi / 2, d.select(negative, math.pi, 0.0))
    angle = narrow(d, d.add(turn, d.fma(d.mul(u, t), tail, t)))
    return v.select(v.cmp("uno", x, y), v.add(x, y), v.copysign(angle, y))


def _log(d: Vector, x: str) -> str:
    """Return log x of a positive normal number; garbage for the rest."""
    s = split_bits(d, d.bits(x), d.magic)
    return d.fma(s.e, LN2, d.add(s.f, log_tail(d, s.f)))


def arcsinh(v: Vector, x: str) -> str:
    """Return arcsinh x = log(|x| + sqrt(x^2 + 1)), odd."""
    d = _doubles(v)
    size = v.abs(x)
    wide = widen(d, size)
    root = d.sqrt(d.fma(wide, wide, 1.0))
    result = v.signed(narrow(d, _log(d, d.add(wide, root))), x)
    inside = v.logical("and", v.cmp("oge", size, _TINY), v.cmp("olt", size, math.inf))
    return v.select(inside, result, x)


def arccosh(v: Vector, x: str) -> str:
    """Return arccosh x = log(x + sqrt(x^2 - 1))."""
    d = _doubles(v)
    wide = widen(d, x)
    root = d.sqrt(d.fma(wide, wide, -1.0))
    result = narrow(d, _log(d, d.add(wide, root)))
    result = v.select(v.cmp("olt", x, math.inf), result, x)
    return v.select(v.cmp("olt", x, 1.0), math.nan, result)


def arctanh(v: Vector, x: str) -> str:
    """Return arctanh x = log((1 + x) / (1 - x)) / 2, odd."""
    d = _doubles(v)
    size = v.abs(x)
    wide = widen(d, size)
    quotient = d.div(d.add(1.0, wide), d.sub(1.0, wide))
    result = narrow(d, d.mul(_log(d, quotient), 0.5))
    end = v.select(v.cmp("oeq", size, 1.0), math.inf, math.nan)
    result = v.signed(v.select(v.cmp("olt", size, 1.0), result, end), x)
    return v.select(v.cmp("olt", size, _TINY), x, result)


def erfc(v: Vector, x: str) -> str:
    """Return 1 - erf x."""
    d = _doubles(v)
    size = widen(d, v.at_most(_ERFC_ZERO, v.abs(x)))
    t = d.div(1.0, d.fma(size, 0.5, 1.0))
    tail = d.polynomial((1.0, *d.coefficients("erfc")), d.sub(1.0, t))
    result = d.mul(d.mul(t, tail), exp_of_negative(d, d.mul(size, size)))
    negative = v.cmp("olt", x, 0.0)
    return narrow(d, d.select(negative, d.sub(2.0, result), result))


def logaddexp(v: Vector, x: str, y: str) -> str:
    """Return log(e^x + e^y) by log(1 + e) = 2 artanh s, s = e / (2 + e).

    e is e^-|x - y|.
    """
    d = _doubles(v)
    larger = widen(d, v.select(v.cmp("olt", x, y), y, x))
    distance = d.abs(d.sub(widen(d, x), widen(d, y)))
    distance = d.select(v.cmp("oeq", x, y), 0.0, distance)
    e = exp_of_negative(d, d.at_most(_FAR, distance))
    s = d.div(e, d.add(e, 2.0))
    square, twice = d.mul(s, s), d.add(s, s)
    tail = d.polynomial(d.coefficients("log1p"), square)
    result = narrow(d, d.add(larger, d.fma(d.mul(twice, square), tail, twice)))
    return v.select(v.cmp("uno", x, y), math.nan, result)


def power(v: Vector, x: str, y: str) -> str:
    """Return x^y with the special cases of C's pow."""
    return power_of(v, x, y, _power_of_size)


def _power_of_size(v: Vector, x: str, y: str) -> str:
    d = v.working("double", "mid")
    s = split_bits(d, d.bits(widen(d, x)), d.magic)
    log2 = d.fma(d.add(s.f, log_tail(d, s.f)), 1 / LN2, s.e)
    t = d.mul(widen(d, y), log2)
    t = d.at_most(_POWER_END, d.at_least(-_POWER_END, t))
    n, i = d.nearest(t)
    p = d.polynomial(d.coefficients("exp2"), d.sub(t, n))
    p = d.from_bits(d.int_op("add", d.bits(p), d.exponent_shift(i)))
    return with_ends(v, x, y, narrow(d, p))
