"""erf, erfc, cbrt, hypot, logaddexp, pow.

Formulas: erf by a polynomial and by 1 - e^-p(x); erfc by the scaled function of
Shepherd and Laframboise 1981 in the variable (x - 2) / (x + 2), for float32 in
1 / (1 + x/2), which is a factor of it too; pow by a logarithm and an exponential with a
pair of doubles between them (Muller, Elementary Functions, 3rd ed., section 12.1).
"""

import math

from .coefficients import PARTS
from .exponential import LN2, Reduced, exp, exp_of_negative, exp_tail, significand
from .logarithm import log1p, log2_pair, split
from .vector import Pair, Vector

# erf rounds to 1 from here on.
_ERF_ONE = {"f32": 3.95, "f64": 5.94}
_ERFC_ZERO = 10.3  # where erfc rounds to zero in float32
_FAR = 110.0  # e to its negative rounds to zero in float32
_THIRD = (1 / 3, 1 / 3 * 2.0**-54)


def erf(v: Vector, x: str) -> str:
    """Return erf x."""
    size = v.abs(x)
    large = v.cmp("ogt", size, 1.0)
    near = _erf_near(v, v.at_most(1.0, size))
    outer = v.at_most(_ERF_ONE[v.precision], size)
    power = v.polynomial(v.coefficients("log erfc"), outer)
    far = v.sub(1.0, exp_of_negative(v, power))
    result = v.select(large, far, near)
    return v.signed(result, x)


def erfc(v: Vector, x: str) -> str:
    """Return 1 - erf x; in doubles."""
    if v.precision == "f32":
        return _erfc_short(v, x)
    size = v.at_most(27.5, v.abs(x))
    t = v.div(v.sub(size, 2.0), v.add(size, 2.0))
    scaled = v.polynomial(v.coefficients("erfcx"), t)
    scaled = v.div(scaled, v.fma(size, 2.0, 1.0))
    square, rest = v.two_product(size, size)
    # e^-(square + rest), the rest to first order.
    tail = exp(v, v.neg(square))
    result = v.mul(v.fnma(scaled, rest, scaled), tail)
    result = v.select(v.cmp("olt", x, 0.0), v.sub(2.0, result), result)
    near = v.sub(1.0, v.copysign(_erf_near(v, v.at_most(0.5, size)), x))
    return v.select(v.cmp("olt", size, 0.5), near, result)


def _erfc_short(v: Vector, x: str) -> str:
    """Return erfc by one formula; squares are exact, and far from the ends."""
    size = v.at_most(_ERFC_ZERO, v.abs(x))
    t = v.div(1.0, v.fma(size, 0.5, 1.0))
    tail = v.polynomial((1.0, *v.coefficients("erfc")), v.sub(1.0, t))
    result = v.mul(v.mul(t, tail), exp_of_negative(v, v.mul(size, size)))
    return v.select(v.cmp("olt", x, 0.0), v.sub(2.0, result), result)


def _erf_near(v: Vector, size: str) -> str:
    """Return erf for 0 <= size <= 1; its relative error holds for subnormals too."""
    # A square below this changes nothing, and must not be subnormal.
    inner = v.at_least(2.0**-40, size)
    near = v.polynomial(v.coefficients("erf"), v.mul(inner, inner))
    return v.fma(size, near, size)


def cbrt(v: Vector, x: str) -> str:
    """Return the cube root: Halley, then Newton with an exact residual; in doubles."""
    size = v.abs(x)
    special = v.logical("or", v.cmp("ueq", size, math.inf), v.cmp("oeq", size, 0.0))
    parts = split(v, size)
    k, i = v.nearest(parts.e, 1 / 3)
    third = v.fma(k, -3.0, parts.e)
    m = v.add(parts.f, 1.0)
    # e = 3k + third: the odd power joins the significand.
    up, down = v.cmp("ogt", third, 0.5), v.cmp("olt", third, -0.5)
    a = v.mul(m, v.select(up, 2.0, v.select(down, 0.5, 1.0)))
    y = v.polynomial(v.coefficients("cbrt"), a)
    cube = v.mul(v.mul(y, y), y)
    y = v.mul(y, v.div(v.fma(a, 2.0, cube), v.fma(cube, 2.0, a)))
    square, square_low = v.two_product(y, y)
    rest = v.fnma(square_low, y, v.residual(square, y, a))
    y = v.add(y, v.div(rest, v.mul(square, 3.0)))
    result = v.mul(y, v.power_of_two(v.exponent_shift(i)))
    return v.select(special, x, v.copysign(result, x))


def hypot(v: Vector, x: str, y: str) -> str:
    """Return sqrt(x^2 + y^2) without overflow on the way; in doubles."""
    a, b = v.abs(x), v.abs(y)
    infinite = v.logical("or", v.cmp("oeq", a, math.inf), v.cmp("oeq", b, math.inf))
    if v.precision == "f32":  # squares are exact, and far from the ends of the range
        root = v.sqrt(v.add(v.mul(a, a), v.mul(b, b)))
        return v.select(infinite, math.inf, root)
    swap = v.cmp("olt", a, b)
    large, small = v.select(swap, b, a), v.select(swap, a, b)
    huge, little = v.cmp("ogt", large, 2.0**500), v.cmp("olt", small, 2.0**-500)
    up = v.select(huge, 2.0**-600, v.select(little, 2.0**600, 1.0))
    down = v.select(huge, 2.0**600, v.select(little, 2.0**-600, 1.0))
    # Numbers this far apart: the smaller adds nothing.
    apart = v.cmp("ogt", v.mul(large, 2.0**-60), small)
    p, q = v.mul(large, up), v.select(apart, 0.0, v.mul(small, up))
    pp, p_low = v.two_product(p, p)
    qq, q_low = v.two_product(q, q)
    sum_, rest = v.quick_two_sum(pp, qq)
    root = v.sqrt(sum_)
    # One Newton step with what the sum left out.
    rest = v.add(rest, v.add(p_low, q_low))
    rest = v.add(v.residual(root, root, sum_), rest)
    safe = v.select(v.cmp("ogt", root, 0.0), root, 1.0)
    root = v.add(root, v.div(v.mul(rest, 0.5), safe))
    result = v.select(apart, large, v.mul(root, down))
    result = v.select(v.cmp("uno", x, y), math.nan, result)
    return v.select(infinite, math.inf, result)


def logaddexp(v: Vector, x: str, y: str) -> str:
    """Return log(e^x + e^y); in doubles."""
    if v.precision == "f32":
        return _logaddexp_short(v, x, y)
    less = v.cmp("olt", x, y)
    larger = v.select(less, y, x)
    same = v.cmp("oeq", x, y)
    distance = v.select(same, 0.0, v.neg(v.abs(v.sub(x, y))))
    return v.add(larger, log1p(v, exp(v, distance)))


def _logaddexp_short(v: Vector, x: str, y: str) -> str:
    """Return it by log(1 + e) = 2 artanh s, s = e / (2 + e), e = e^-|x - y|."""
    larger = v.select(v.cmp("olt", x, y), y, x)
    distance = v.select(v.cmp("oeq", x, y), 0.0, v.abs(v.sub(x, y)))
    e = exp_of_negative(v, v.at_most(_FAR, distance))
    s = v.div(e, v.add(e, 2.0))
    square, twice = v.mul(s, s), v.add(s, s)
    tail = v.polynomial(v.coefficients("log1p"), square)
    result = v.add(larger, v.fma(v.mul(twice, square), tail, twice))
    return v.select(v.cmp("uno", x, y), math.nan, result)


def power(v: Vector, x: str, y: str) -> str:
    """Return x^y with the special cases of C's pow; in doubles."""
    size = v.abs(x)
    limit = 2.0**66
    exponent = v.at_most(limit, v.at_least(-limit, y))
    magnitude = _power_short if v.precision == "f32" else _power_long
    result = magnitude(v, size, exponent)
    ends = v.logical("or", v.cmp("oeq", size, 0.0), v.cmp("oeq", size, math.inf))
    grows = v.logical("xor", v.cmp("oeq", size, math.inf), v.cmp("olt", y, 0.0))
    result = v.select(ends, v.select(grows, math.inf, 0.0), result)
    result = _signed(v, x, y, result)
    result = v.select(v.cmp("uno", x, y), math.nan, result)
    one = v.logical("or", v.cmp("oeq", y, 0.0), v.cmp("oeq", x, 1.0))
    return v.select(one, 1.0, result)


def _signed(v: Vector, x: str, y: str, result: str) -> str:
    """Give the power of a negative number its sign, or NaN for a fraction."""
    whole = v.cmp("oeq", v.round(y), y)
    half = v.mul(y, 0.5)
    odd = v.logical("and", whole, v.cmp("one", v.round(half), half))
    sign = v.int_op("and", v.bits(x), 1 << v.width - 1)
    sign = v.int_select(odd, sign, 0)
    result = v.from_bits(v.int_op("or", v.bits(result), sign))
    below = v.logical("and", v.cmp("olt", x, 0.0), v.cmp("ogt", x, -math.inf))
    fraction = v.logical("and", below, v.cmp("one", v.round(y), y))
    return v.select(fraction, math.nan, result)


def _power_short(v: Vector, x: str, y: str) -> str:
    """Return x^y for x > 0 to 2**-28 or so."""
    t = v.mul(y, v.add(*log2_pair(v.working("double", "mid"), x)))
    t = v.at_most(400.0, v.at_least(-400.0, t))
    n, i = v.nearest(t)
    r = v.mul(v.sub(t, n), LN2)
    p = v.polynomial((1.0, 1.0, *v.coefficients("exp")), r)
    return v.from_bits(v.int_op("add", v.bits(p), v.exponent_shift(i)))


def _power_long(v: Vector, x: str, y: str) -> str:
    """Return x^y for x > 0 with a logarithm of 65 bits."""
    log_high, log_low = _log_pair(v, x)
    high, low = v.two_product(y, log_high)
    low = v.fma(y, log_low, low)
    # Beyond these the result is zero or overflows, and exponents stay in their field.
    bounded = v.at_most(710.0, v.at_least(-750.0, high))
    low = v.select(v.cmp("une", bounded, high), 0.0, low)
    ln2, ln2_low = PARTS["ln2", "double"]
    n, i = v.nearest(bounded, 1 / LN2)
    first = v.fma(n, -ln2, bounded)
    r, r_low = v.quick_two_sum(v.fma(n, -ln2_low, first), low)
    error = v.fma(n, -ln2_low, v.sub(first, v.fma(n, -ln2_low, first)))
    reduced = Reduced(
        v.exponent_shift(i), r, exp_tail(v, r, v.add(r_low, error), "expm1")
    )
    p = v.add(*significand(v, reduced))
    result = v.scale(p, reduced.exponent)
    # The exponent of an overflow is the one of infinity and NaN, or beyond.
    over = v.int_cmp("sge", v.int_op("add", v.bits(p), reduced.exponent), 0x7FF << 52)
    return v.select(over, math.inf, result)


def _log_pair(v: Vector, x: str) -> Pair:
    """Return log x as a pair: 2s (1 + u/3 + u^2 p(u)), s = f / (2 + f), u = s^2."""
    parts = split(v, x)
    below, below_low = v.quick_two_sum(2.0, parts.f)
    inverse = v.div(1.0, below)
    s = v.mul(parts.f, inverse)
    rest = v.fnma(s, below_low, v.residual(s, below, parts.f))
    s_low = v.mul(rest, inverse)
    u, u_low = v.two_product(s, s)
    u_low = v.fma(v.mul(s, 2.0), s_low, u_low)
    tail = v.mul(v.mul(u, u), v.polynomial(v.coefficients("atanh"), u))
    third, third_low = v.two_product(u, _THIRD[0])
    third_low = v.fma(u_low, _THIRD[0], v.fma(u, _THIRD[1], third_low))
    w, w_low = v.quick_two_sum(third, tail)
    w_low = v.add(w_low, third_low)
    product, product_low = v.two_product(s, w)
    product_low = v.fma(s, w_low, v.fma(s_low, w, product_low))
    # Twice (s + product), and e ln 2 in three parts.
    high, low = v.quick_two_sum(s, product)
    low = v.add(low, v.add(s_low, product_low))
    return _add_ln2(v, parts.e, v.mul(high, 2.0), v.mul(low, 2.0))


def _add_ln2(v: Vector, e: str, high: str, low: str) -> Pair:
    first, second, third = PARTS["ln2 long", "double"]
    sum_, rest = v.quick_two_sum(v.mul(e, first), high)
    middle, more = v.two_sum(v.mul(e, second), rest)
    more = v.add(more, v.fma(e, third, low))
    sum_, rest = v.quick_two_sum(sum_, middle)
    return v.quick_two_sum(sum_, v.add(rest, more))
