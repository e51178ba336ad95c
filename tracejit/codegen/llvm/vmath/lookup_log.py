"""Logarithms by tables in registers, for AVX-512.

x = 2**e m with m in [3/4, 3/2); c is about 1 / m, from a table of sixteen, of one
register for floats and of two for doubles; r = m c - 1 is at most 1/16, so that its
polynomial is half as long as one for all m. Then

    log x = e log 2 - log c + log(1 + r)

where c is chosen so that log c is almost a short number: e log 2 - log c is exact in
its first part. What its sum with r rounds away is added later. Subnormals are numbers
as others; zeros, infinities and NaN are put in at the end.

Needs a target with 64-byte registers. Formulas: P. T. P. Tang, "Table-driven
implementation of the logarithm function in IEEE floating-point arithmetic", 1990;
S. Gal, 1986, for the numbers c. Tables: `tables`.
"""

from functools import partial

from ....records import dataclass
from . import tables
from .coefficients import PARTS
from .registers import fixed_up, getexp, getmant, in_registers, looked_up, scalef
from .vector import Vector

# What log is of quiet and signaling NaN, 0, 1, -inf, inf, less than 0, more than 0.
_CLASSES = ("nan", "nan", "-inf", "result", "none", "inf", "none", "result")
PLACE_BITS = 4  # of a significand, which say in which part of [3/4, 3/2) it is
# By base: names of the logarithms of 2 and of e, in two parts.
_UNITS = {
    "log": ("ln2", "one"),
    "log2": ("one", "1/ln2"),
    "log10": ("log10 2", "1/ln10"),
}


def log(v: Vector, x: str) -> str:
    """Return the natural logarithm."""
    return in_registers(v, _log, x)


def log2(v: Vector, x: str) -> str:
    """Return the logarithm to base 2, exact for powers of two."""
    return in_registers(v, partial(_logarithm, base="log2"), x)


def log10(v: Vector, x: str) -> str:
    """Return the logarithm to base 10."""
    return in_registers(v, partial(_logarithm, base="log10"), x)


def log1p(v: Vector, x: str) -> str:
    """Return log(1 + x)."""
    return in_registers(v, _log1p, x)


@dataclass(frozen=True)
class Parts:
    """x = 2**e m; ``inverse`` is about 1 / m, and at ``place`` in its table."""

    e: str
    m: str
    place: str
    inverse: str


def parts_of(v: Vector, x: str, base: str) -> Parts:
    """Split x >= 0 for the table of a base."""
    m = getmant(v, x)
    place = v.int_op("lshr", v.bits(m), v.mantissa - PLACE_BITS)
    e = v.add(getexp(v, x), looked_up(v, tables.LOG_BELOW_ONE, place))
    inverse = looked_up(v, tables.LOG_INVERSES[base, v.element], place)
    return Parts(e, m, place, inverse)


def _log(v: Vector, x: str) -> str:
    parts = parts_of(v, x, "log")
    r = v.fma(parts.m, parts.inverse, -1.0)
    return fixed_up(v, _sum(v, "log", parts, r), x, _CLASSES)


def _logarithm(v: Vector, x: str, base: str) -> str:
    """Return a logarithm of another base; what rounds away of r would be too much."""
    parts = parts_of(v, x, base)
    product, low = v.two_product(parts.m, parts.inverse)
    r = v.sub(product, 1.0)
    low = v.mul(v.fnma(low, r, low), PARTS[_UNITS[base][1], v.element][0])
    return fixed_up(v, _sum(v, base, parts, r, low), x, _CLASSES)


def _log1p(v: Vector, x: str) -> str:
    """Return log u for u = 1 + x, with what that sum rounds away as part of r."""
    u, rest = v.two_sum(1.0, x)
    parts = parts_of(v, u, "log")
    r = v.fma(parts.m, parts.inverse, -1.0)
    low = scalef(v, v.mul(rest, parts.inverse), v.neg(parts.e))
    # The slope of log(1 + r), as well as so small a part deserves.
    low = v.fnma(low, r, low)
    return v.copysign(fixed_up(v, _sum(v, "log", parts, r, low), u, _CLASSES), x)


def _sum(v: Vector, base: str, x: Parts, r: str, low: str | None = None) -> str:
    """Return log x, and a small part of it that is given, rounded."""
    (two, two_low), (slope, slope_low) = (PARTS[n, v.element] for n in _UNITS[base])
    value = looked_up(v, tables.LOG_VALUES[base, v.element], x.place)
    first = v.fma(x.e, two, value)
    # The products are exact, so these are the sum and what its rounding loses.
    sum_ = v.fma(r, slope, first)
    rest = v.fma(r, slope, v.sub(first, sum_))
    for factor, part in ((two_low, x.e), (slope_low, r)):
        rest = v.fma(part, factor, rest) if factor else rest
    rest = v.add(rest, low) if low else rest
    tail = v.polynomial(tables.LOG_SERIES[base, v.element], r)
    return v.add(sum_, v.fma(v.mul(r, r), tail, rest))
