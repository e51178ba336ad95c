"""erf, erfc, cbrt, hypot, logaddexp, pow.

Formulas: erf by a polynomial and by 1 - e^-p(x); erfc by the scaled function of
Shepherd and Laframboise 1981 in the variable (x - 2) / (x + 2); pow by a logarithm and
an exponential with a pair of doubles between them (Muller, Elementary Functions, 3rd
ed., section 12.1).
"""

import math
from collections.abc import Callable

from .coefficients import PARTS
from .exponential import LN2, Reduced, exp, exp_of_negative, exp_tail, significand
from .logarithm import log1p, split
from .vector import Pair, Vector

# erf rounds to 1 from here on.
_ERF_ONE = {"f32": 3.95, "f64": 5.94}
_CBRT_HALF = 0.5 ** (1 / 3)
_HUGE = 2.0**66  # a power to more than this is 0, 1 or infinite
_THIRD = (1 / 3, 1 / 3 * 2.0**-54)

Formula = Callable[[Vector, str, str], str]


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
    """Return 1 - erf x."""
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


def _erf_near(v: Vector, size: str) -> str:
    """Return erf for 0 <= size <= 1; its relative error holds for subnormals too."""
    # A square below this changes nothing, and must not be subnormal.
    inner = v.at_least(2.0**-40, size)
    near = v.polynomial(v.coefficients("erf"), v.mul(inner, inner))
    return v.fma(size, near, size)


def cbrt(v: Vector, x: str) -> str:
    """Return the cube root a z^2, z = a^(-1/3), corrected by an exact residual."""
    size = v.abs(x)
    parts = split(v, size)
    k, i = v.nearest(parts.e, 1 / 3)
    third = v.fma(k, -3.0, parts.e)
    m = v.add(parts.f, 1.0)
    z = v.polynomial(v.coefficients("inverse cbrt"), m)
    # e = 3k + third: the odd power joins the significand.
    up, down = v.cmp("ogt", third, 0.5), v.cmp("olt", third, -0.5)
    a = v.mul(m, v.select(up, 2.0, v.select(down, 0.5, 1.0)))
    z = v.mul(z, v.select(up, _CBRT_HALF, v.select(down, 1 / _CBRT_HALF, 1.0)))
    if v.precision == "f64":
        rest = v.fnma(v.mul(v.mul(z, z), z), a, 1.0)
        z = v.fma(v.mul(z, 1 / 3), rest, z)
    square = v.mul(z, z)
    y = v.mul(a, square)
    high, low = v.two_product(y, y)
    rest = v.fnma(low, y, v.residual(high, y, a))
    y = v.fma(rest, v.mul(square, 1 / 3), y)
    result = v.signed(v.mul(y, v.power_of_two(v.exponent_shift(i))), x)
    # Zero, infinity and NaN have no significand to take the root of.
    special = v.logical("or", v.cmp("ueq", size, math.inf), v.cmp("oeq", size, 0.0))
    return v.select(special, x, result)


def hypot(v: Vector, x: str, y: str) -> str:
    """Return sqrt(x^2 + y^2) without overflow on the way."""
    a, b = v.abs(x), v.abs(y)
    infinite = v.logical("or", v.cmp("oeq", a, math.inf), v.cmp("oeq", b, math.inf))
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
    """Return log(e^x + e^y)."""
    less = v.cmp("olt", x, y)
    larger = v.select(less, y, x)
    same = v.cmp("oeq", x, y)
    distance = v.select(same, 0.0, v.neg(v.abs(v.sub(x, y))))
    return v.add(larger, log1p(v, exp(v, distance)))


def power(v: Vector, x: str, y: str) -> str:
    """Return x^y with the special cases of C's pow."""
    return power_of(v, x, y, _power_of_size)


def power_of(v: Vector, x: str, y: str, magnitude: Formula) -> str:
    """Return x^y; the formula that is given is for |x|, and NaN may be wrong."""
    result = magnitude(v, v.abs(x), y)
    negative = v.em.any_lane(v.int_cmp("slt", v.bits(x), 0), v.lanes)
    with v.em.if_(negative, [(v.type, result)], unlikely=True) as rare:
        rare.yield_([_signed(v, x, y, result)])
    (result,) = rare.results
    one = v.logical("or", v.cmp("oeq", y, 0.0), v.cmp("oeq", x, 1.0))
    return v.select(one, 1.0, result)


def with_ends(v: Vector, x: str, y: str, result: str) -> str:
    """Return x^y for x >= 0 where the result is right for numbers above zero."""
    ends = v.logical("or", v.cmp("oeq", x, 0.0), v.cmp("oeq", x, math.inf))
    grows = v.logical("xor", v.cmp("oeq", x, math.inf), v.cmp("olt", y, 0.0))
    result = v.select(ends, v.select(grows, math.inf, 0.0), result)
    return v.select(v.cmp("uno", x, y), math.nan, result)


def _signed(v: Vector, x: str, y: str, result: str) -> str:
    """Give the power of a negative number its sign, or NaN for a fraction.

    Infinite powers of -1 are 1.
    """
    whole = v.cmp("oeq", v.round(y), y)
    half = v.mul(y, 0.5)
    odd = v.logical("and", whole, v.cmp("one", v.round(half), half))
    sign = v.int_op("and", v.bits(x), 1 << v.width - 1)
    sign = v.int_select(odd, sign, 0)
    result = v.from_bits(v.int_op("or", v.bits(result), sign))
    below = v.logical("and", v.cmp("olt", x, 0.0), v.cmp("ogt", x, -math.inf))
    fraction = v.logical("and", below, v.cmp("one", v.round(y), y))
    infinite = v.cmp("oeq", v.abs(y), math.inf)
    one = v.logical("and", v.cmp("oeq", x, -1.0), infinite)
    return v.select(one, 1.0, v.select(fraction, math.nan, result))


def _power_of_size(v: Vector, x: str, y: str) -> str:
    """Return x^y for x >= 0 with a logarithm of 65 bits."""
    huge = v.at_most(_HUGE, v.at_least(-_HUGE, y))
    return with_ends(v, x, y, _power_of_positive(v, x, huge))


def _power_of_positive(v: Vector, x: str, y: str) -> str:
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
    tail = v.mul(u, v.polynomial(v.coefficients("atanh"), u))
    tail = v.fma(tail, v.add(u_low, u_low), v.mul(tail, u))
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
