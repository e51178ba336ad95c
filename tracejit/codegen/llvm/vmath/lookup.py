"""float32 tanh and erf by tables in registers, for AVX-512.

A permutation of a register is a table of sixteen entries that costs as much as an
addition. So a polynomial may have other coefficients in each part of a range, and be
short: half the time of formulas with exponentials and divisions. Subnormals, zeros,
infinities and NaN need no care on the way: what is looked up for them does not matter,
and arithmetic does the rest.

Needs a target with 64-byte registers. Formulas: P. T. P. Tang, "Table-lookup
algorithms for elementary functions and their error analysis", 1991; centers at which
the function is almost a float32 number: S. Gal, 1986. Tables: `tables`.
"""

from collections.abc import Sequence

from . import tables
from .registers import in_registers, looked_up
from .vector import Vector

# tanh x is x below this; squares of it are no subnormals.
_TANH_IS_X = 2.0**-40


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
