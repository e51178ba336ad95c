"""tanh, erf (float32) and logarithms (both) by tables in registers, for AVX-512.

A permutation of a register is a table of sixteen entries that costs as much as an
addition; of doubles it is one of two registers. So a polynomial may have other
coefficients in each part of a range, and be short: half the time of formulas with
exponentials and divisions. Subnormals, zeros, infinities and NaN need no care on the
way: what is looked up for them does not matter, and arithmetic does the rest.

Needs a target with 64-byte registers. Formulas: P. T. P. Tang, "Table-lookup
algorithms for elementary functions and their error analysis", 1991; centers at which
the function is almost a float32 number: S. Gal, 1986. Tables: `tables`.
"""

from collections.abc import Sequence
from functools import partial

from ....records import dataclass
from . import tables
from .coefficients import PARTS
from .registers import fixed_up, getexp, getmant, in_registers, looked_up, scalef
from .vector import Vector

# tanh x is x below this; squares of it are no subnormals.
_TANH_IS_X = 2.0**-40
# What log is of quiet and signaling NaN, 0, 1, -inf, inf, less than 0, more than 0.
_LOG_CLASSES = ("nan", "nan", "-inf", "result", "none", "inf", "none", "result")
_PART_BITS = 4  # of a significand, which say which part of [3/4, 3/2) it is in
# By base and element: logarithms of 2 and of e in two parts.
_OF_TWO = {
    (base, element): pair
    for element in ("float", "double")
    for base, pair in (
        ("log", PARTS["ln2", element]),
        ("log2", (1.0, 0.0)),
        ("log10", PARTS["log10 2", element]),
    )
}
_OF_E = {
    (base, element): pair
    for element in ("float", "double")
    for base, pair in (
        ("log", (1.0, 0.0)),
        ("log2", PARTS["1/ln2", element]),
        ("log10", PARTS["1/ln10", element]),
    )
}


def tanh(v: Vector, x: str) -> str:
    """Return tanh x, from |x| in parts of a half."""
    return in_registers(v, _tanh, x)


def _tanh(v: Vector, x: str) -> str:
    size = v.abs(x)
    inner = v.at_least(_TANH_IS_X, v.at_most(tables.TANH_TOP, size))
    # In units of a half, so that the last bits of the sum are the part.
    magic = v.magic * tables.TANH_STEP
    last = tables.TANH_STEP * (len(tables.TANH_CENTERS) - 1)
    part = v.bits(v.add(v.at_most(last, inner), magic))
    t = v.sub(inner, looked_up(v, tables.TANH_CENTERS, part))
    value = looked_up(v, tables.TANH_COEFFICIENTS[0], part)
    result = v.fma(t, _slope(v, tables.TANH_COEFFICIENTS, part, t), value)
    # Tiny numbers are their own tanh; of others it is less.
    result = v.select(v.cmp("olt", size, result), size, result)
    return v.copysign(result, x)


def _slope(
    v: Vector, coefficients: Sequence[Sequence[float]], part: str, t: str
) -> str:
    """Return the polynomial of a part without its first term, divided by t."""
    result = looked_up(v, coefficients[-1], part)
    for column in coefficients[-2:0:-1]:
        result = v.fma(result, t, looked_up(v, column, part))
    return result


def erf(v: Vector, x: str) -> str:
    """Return erf x, from |x| in parts of a quarter."""
    return in_registers(v, _erf, x)


def _erf(v: Vector, x: str) -> str:
    inner = v.at_most(tables.ERF_TOP, v.abs(x))
    _, part = v.nearest(inner, 1 / tables.ERF_STEP)
    t = v.sub(inner, looked_up(v, tables.ERF_CENTERS, part))
    # In the first part the result is t + t p(t), which keeps its bits.
    ones = [float(k == 0) for k in range(len(tables.ERF_CENTERS))]
    value = looked_up(v, tables.ERF_COEFFICIENTS[0], part)
    value = v.fma(inner, looked_up(v, ones, part), value)
    result = v.fma(t, _slope(v, tables.ERF_COEFFICIENTS, part, t), value)
    return v.copysign(result, x)


def log(v: Vector, x: str) -> str:
    """Return the natural logarithm."""
    return in_registers(v, partial(_logarithm, base="log"), x)


def log2(v: Vector, x: str) -> str:
    """Return the logarithm to base 2, exact for powers of two."""
    return in_registers(v, partial(_logarithm, base="log2"), x)


def log10(v: Vector, x: str) -> str:
    """Return the logarithm to base 10."""
    return in_registers(v, partial(_logarithm, base="log10"), x)


def log1p(v: Vector, x: str) -> str:
    """Return log(1 + x)."""
    return in_registers(v, _log1p, x)


def _logarithm(v: Vector, x: str, base: str) -> str:
    """Return e log 2 - log c + log(1 + r), r = m c - 1, |r| <= 1/16, x = 2**e m.

    m is in [3/4, 3/2), c its inverse, nearly, from a table. e log 2 - log c is exact in
    its first part; what its sum with r rounds away is added later.
    """
    parts = _reduced(v, x, base)
    return fixed_up(v, _sum_of_logarithm(v, parts, None, base), x, _LOG_CLASSES)


def _log1p(v: Vector, x: str) -> str:
    """Return log u for u = 1 + x, with what its sum rounds away as part of r."""
    u, rest = v.two_sum(1.0, x)
    parts = _reduced(v, u, "log")
    low = scalef(v, v.mul(rest, parts.inverse), v.neg(parts.e))
    # The slope of log(1 + r), as well as so small a part deserves.
    low = v.fnma(low, parts.r, low)
    result = _sum_of_logarithm(v, parts, low, "log")
    return v.copysign(fixed_up(v, result, u, _LOG_CLASSES), x)


@dataclass(frozen=True)
class _Reduced:
    """x = 2**e (1 + r) / c: r, the number c = ``inverse`` and its place in tables."""

    e: str
    r: str
    inverse: str
    part: str


def _reduced(v: Vector, x: str, base: str) -> _Reduced:
    m = getmant(v, x)
    part = v.int_op("lshr", v.bits(m), v.mantissa - _PART_BITS)
    e = v.add(getexp(v, x), looked_up(v, tables.LOG_BELOW_ONE, part))
    inverse = looked_up(v, tables.LOG_INVERSES[base, v.element], part)
    return _Reduced(e, v.fma(m, inverse, -1.0), inverse, part)


def _sum_of_logarithm(v: Vector, x: _Reduced, low: str | None, base: str) -> str:
    """Return the logarithm, and a small part of it that is given, rounded."""
    power, power_low = _OF_TWO[base, v.element]
    slope, slope_low = _OF_E[base, v.element]
    first = v.fma(x.e, power, looked_up(v, tables.LOG_VALUES[base, v.element], x.part))
    # The products are exact, so these are the sum and what its rounding loses.
    sum_ = v.fma(x.r, slope, first)
    rest = v.fma(x.r, slope, v.sub(first, sum_))
    for factor, value in ((power_low, x.e), (slope_low, x.r)):
        rest = v.fma(value, factor, rest) if factor else rest
    rest = rest if low is None else v.add(rest, low)
    tail = v.polynomial(tables.LOG_SERIES[base, v.element], x.r)
    return v.add(sum_, v.fma(v.mul(x.r, x.r), tail, rest))
