"""Powers by tables in registers, for AVX-512: 2^(y log2 x).

The logarithm is that of `lookup_log`. For float32 doubles are enough, whose tables are
of floats. For float64 it is a pair of doubles, good to 67 bits or so; its parts of the
range are rounded, not cut, so that numbers around 1, for which it is small, are in the
middle of one. 2^t is 2^(k/16) from a table times a polynomial in what is left of t.

Zero and infinity need no care: their logarithms are infinite, and multiples of them
are, and the instruction that scales by a power of two takes those.

Needs a target with 64-byte registers. Formulas: P. T. P. Tang, "Table-driven
implementation of the exponential function in IEEE floating-point arithmetic", 1989, and
see `lookup_log`. Tables: `tables`.
"""

import math

from . import tables
from .coefficients import PARTS
from .exponential import LN2
from .lookup_log import PLACE_BITS, parts_of
from .registers import (
    fraction,
    getexp,
    getmant,
    in_registers,
    looked_up,
    rest_of_sixteenths,
    scalef,
)
from .special import power_of
from .vector import Pair, Vector, narrow, widen

_TOP = 94 / 64  # from here on a significand is halved
_END = 1100.0  # 2 to this or its negative is infinite or zero in float64


def power_short(v: Vector, x: str, y: str) -> str:
    """Return x^y of float32 with the special cases of C's pow."""
    return power_of(v, x, y, _short)


def _short(v: Vector, x: str, y: str) -> str:
    return in_registers(v, _short_in_registers, x, y)


def _short_in_registers(v: Vector, x: str, y: str) -> str:
    """Return x^y for x >= 0."""
    d = v.working("double", "mid")
    parts = parts_of(v, x, "pow")
    r = d.fma(widen(d, parts.m), widen(d, parts.inverse), -1.0)
    value = looked_up(v, tables.LOG_VALUES["pow", v.element], parts.place)
    first = d.add(widen(d, parts.e), widen(d, value))
    series = (1 / LN2, *tables.LOG_SERIES["pow", v.element])
    log2 = d.fma(r, d.polynomial(series, r), first)
    return narrow(d, in_registers(d, _exp2_short, d.mul(widen(d, y), log2)))


def _exp2_short(v: Vector, t: str) -> str:
    p = v.polynomial(v.coefficients("exp2 above"), fraction(v, t))
    return scalef(v, p, t)


def power(v: Vector, x: str, y: str) -> str:
    """Return x^y of float64 with the special cases of C's pow."""
    return power_of(v, x, y, _long)


def _long(v: Vector, x: str, y: str) -> str:
    return in_registers(v, _long_in_registers, x, y)


def _long_in_registers(v: Vector, x: str, y: str) -> str:
    """Return x^y for x >= 0."""
    log_high, log_low = _log2_pair(v, x)
    t, low = v.two_product(y, log_high)
    low = v.fma(y, log_low, low)
    bounded = v.at_most(_END, v.at_least(-_END, t))
    low = v.select(v.cmp("oeq", bounded, t), low, 0.0)
    # NaN is the product of zero and infinity, or comes from x or y.
    return _exp2(v, v.select(v.is_nan(t), t, bounded), low)


def _log2_pair(v: Vector, x: str) -> Pair:
    """Return log2 x, x = 2**e m, m in [47/64, 94/64), as a pair."""
    m = getmant(v, x)
    m = v.select(v.cmp("oge", m, _TOP), v.mul(m, 0.5), m)
    e = v.add(getexp(v, x), v.select(v.cmp("olt", m, 1.0), 1.0, 0.0))
    shift = v.mantissa - PLACE_BITS
    place = v.int_op("lshr", v.int_op("add", v.bits(m), 1 << shift - 1), shift)
    inverse = looked_up(v, tables.LOG_INVERSES["pow", v.element], place)
    product, r_low = v.two_product(m, inverse)
    r = v.sub(product, 1.0)
    first = v.add(e, looked_up(v, tables.LOG_VALUES["pow", v.element], place))
    slope, slope_low = PARTS["1/ln2", v.element]
    # Times the slope of log(1 + r), which is 1 - r + r^2 ...
    r_low = v.fma(r_low, v.fma(r, r, v.neg(r)), r_low)
    linear, linear_low = v.two_product(r, slope)
    linear_low = v.fma(r_low, slope, v.fma(r, slope_low, linear_low))
    square, square_low = v.two_product(r, r)
    half, half_low = v.two_product(square, -slope / 2)
    half_low = v.fma(square_low, -slope / 2, v.fma(square, -slope_low / 2, half_low))
    tail = v.polynomial(tables.LOG_SERIES["pow", v.element], r)
    tail = v.fma(v.mul(square, r), tail, v.add(linear_low, half_low))
    sum_, rest = v.quick_two_sum(first, linear)
    sum_, more = v.quick_two_sum(sum_, half)
    # Where x is zero or infinity what is left is NaN.
    low = v.add(v.add(rest, more), tail)
    low = v.select(v.cmp("olt", v.abs(sum_), math.inf), low, 0.0)
    return v.quick_two_sum(sum_, low)


def _exp2(v: Vector, t: str, low: str) -> str:
    """Return 2^(t + low)."""
    g = rest_of_sixteenths(v, t)
    sixteenths = v.sub(t, g)
    place = v.bits(v.add(sixteenths, v.magic / 16))
    g = v.add(g, v.add(low, looked_up(v, tables.POWERS_LACK, place)))
    value = looked_up(v, tables.POWERS_OF_TWO, place)
    p = v.mul(g, v.polynomial(tables.POWERS_SERIES, g))
    return scalef(v, v.fma(value, p, value), sixteenths)
