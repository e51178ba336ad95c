"""Formulas of the ufuncs that take floats and integers apart, in other primitives.

All but `logaddexp2` are exact; all have NumPy's infinities, signs of zeros and NaN, and
the derivatives of what they are made of. Narrower floats are computed in float32 where
NumPy does.
"""

import math
from collections.abc import Callable

import numpy as np

from ..ir import dtypes as dt
from ..ir.graph import Atom, Literal
from ..ir.ops import elementwise as ew
from ..ir.primitive import Primitive
from .trace import Trace

Formula = Callable[..., Atom | tuple[Atom, ...]]


def _number(t: Trace, value: float, like: Atom) -> Literal:
    return t.builder.literal(value, like.aval.dtype)


def _is(t: Trace, primitive: Primitive, x: Atom, value: float) -> Atom:
    """Compare with a number."""
    return t.emit(primitive, x, _number(t, value, x))


def _bounded(t: Trace, x: Atom, low: int, high: int) -> Atom:
    raised = t.emit(ew.maximum_p, x, _number(t, low, x))
    return t.emit(ew.minimum_p, raised, _number(t, high, x))


def in_float32(formula: Formula) -> Formula:
    """Compute narrower floats in float32, and round results that are floats once."""

    def lower(t: Trace, *atoms: Atom) -> Atom | tuple[Atom, ...]:
        narrow = atoms[0].aval.dtype
        if narrow not in dt.NARROW_FLOATS:
            return formula(t, *atoms)
        wide = [_converted(t, x, narrow, dt.FLOAT32) for x in atoms]
        out = formula(t, *wide)
        if isinstance(out, tuple):
            return tuple(_converted(t, x, dt.FLOAT32, narrow) for x in out)
        return _converted(t, out, dt.FLOAT32, narrow)

    return lower


def _converted(t: Trace, x: Atom, dtype: np.dtype, to: np.dtype) -> Atom:
    """Convert what has one dtype to another."""
    return t.emit(ew.convert_p, x, dtype=to) if x.aval.dtype == dtype else x


# --- steps and fractions ----------------------------------------------------------


def heaviside(t: Trace, x: Atom, middle: Atom) -> Atom:
    """0 of negative numbers, 1 of positive ones, `middle` at 0, NaN of NaN."""
    flat = t.emit(ew.stop_gradient_p, x)
    below = t.emit(ew.select_p, _is(t, ew.lt_p, x, 0), _number(t, 0, x), flat)
    step = t.emit(ew.select_p, _is(t, ew.gt_p, x, 0), _number(t, 1, x), below)
    return t.emit(ew.select_p, _is(t, ew.eq_p, x, 0), middle, step)


def modf(t: Trace, x: Atom) -> tuple[Atom, Atom]:
    """The fraction and the integral part, both with the sign of x."""
    whole = t.emit(ew.trunc_p, x)
    # Differences that are zero are positive, so those of negative numbers are negated.
    above = t.emit(ew.sub_p, x, whole)
    below = t.emit(ew.neg_p, t.emit(ew.sub_p, whole, x))
    fraction = t.emit(ew.select_p, t.emit(ew.signbit_p, x), below, above)
    nothing = t.emit(ew.copysign_p, _number(t, 0, x), x)
    return t.emit(ew.select_p, t.emit(ew.isinf_p, x), nothing, fraction), whole


def logaddexp2(t: Trace, x: Atom, y: Atom) -> Atom:
    """log2(2^x + 2^y) = larger + log1p(2^t) / ln 2, t the smaller less the larger.

    What is chosen is differentiable through where x and y are equal.
    """
    is_first = t.emit(ew.ge_p, x, y)
    larger = t.emit(ew.select_p, is_first, x, y)
    gap = t.emit(ew.select_p, is_first, t.emit(ew.sub_p, y, x), t.emit(ew.sub_p, x, y))
    same = t.emit(ew.and_p, t.emit(ew.eq_p, x, y), t.emit(ew.isinf_p, x))
    gap = t.emit(ew.select_p, same, _number(t, 0, x), gap)
    log = t.emit(ew.log1p_p, t.emit(ew.exp2_p, gap))
    more = t.emit(ew.div_p, log, _number(t, math.log(2), x))  # of ln 2 exactly 1
    return t.emit(ew.add_p, larger, more)


# --- exponents --------------------------------------------------------------------


def _significand_bits(x: Atom) -> int:
    return int(np.finfo(x.aval.dtype).nmant)


def _bias(x: Atom) -> int:
    return int(np.finfo(x.aval.dtype).maxexp) - 1


def _bits(t: Trace, x: Atom) -> Atom:
    """The bits of a float as a signed integer."""
    return t.emit(ew.bitcast_p, x, dtype=np.dtype(f"i{x.aval.dtype.itemsize}"))


def _power_of_two(t: Trace, field: Atom, like: Atom) -> Atom:
    """The normal number whose exponent's bits are `field`, an integer as wide."""
    places = _number(t, _significand_bits(like), field)
    bits = t.emit(ew.shift_left_p, field, places)
    return t.emit(ew.bitcast_p, bits, dtype=like.aval.dtype)


def ldexp(t: Trace, x: Atom, n: Atom) -> Atom:
    """X 2^n by three normal powers of two, of which the last alone may round.

    Where the first two make numbers subnormal, the last one leaves nothing of them.
    """
    bias, places = _bias(x), _significand_bits(x) + 1
    n = _bounded(t, n, -4 * bias, 4 * bias)
    n = t.emit(ew.convert_p, n, dtype=np.dtype(f"i{x.aval.dtype.itemsize}"))
    least = 1 - bias
    for is_last in (False, False, True):
        step = _bounded(t, n, least, bias)
        if not is_last:
            is_low = _is(t, ew.lt_p, n, least)
            step = t.emit(ew.select_p, is_low, _number(t, least + places, n), step)
        field = t.emit(ew.add_p, step, _number(t, bias, n))
        x = t.emit(ew.mul_p, x, _power_of_two(t, field, x))
        n = t.emit(ew.sub_p, n, step)
    return x


def frexp(t: Trace, x: Atom) -> tuple[Atom, Atom]:
    """The significand from 0.5 to 1 and the exponent; 0 is that of what has none."""
    bias, places = _bias(x), _significand_bits(x)
    # Scaled so that both the exponent and its negative are those of normal numbers.
    size = t.emit(ew.abs_p, x)
    is_small = _is(t, ew.lt_p, size, 1)
    up = t.emit(ew.mul_p, x, _number(t, 2.0 ** (places + 2), x))
    down = t.emit(ew.mul_p, x, _number(t, 0.25, x))
    scaled = t.emit(ew.select_p, is_small, up, down)
    bits = _bits(t, t.emit(ew.abs_p, scaled))
    field = t.emit(ew.shift_right_p, bits, _number(t, places, bits))
    opposite = t.emit(ew.sub_p, _number(t, 2 * bias - 1, field), field)
    significand = t.emit(ew.mul_p, scaled, _power_of_two(t, opposite, x))
    offset = t.emit(
        ew.select_p, is_small, _number(t, -places - 2, field), _number(t, 2, field)
    )
    exponent = t.emit(ew.sub_p, field, _number(t, bias - 1, field))
    exponent = t.emit(ew.add_p, exponent, offset)
    exponent = t.emit(ew.convert_p, exponent, dtype=np.dtype(np.int32))
    is_zero = _is(t, ew.eq_p, x, 0)
    none = t.emit(ew.or_p, is_zero, t.emit(ew.not_p, t.emit(ew.isfinite_p, x)))
    return (
        t.emit(ew.select_p, none, x, significand),
        t.emit(ew.select_p, none, _number(t, 0, exponent), exponent),
    )


def spacing(t: Trace, x: Atom) -> Atom:
    """The distance to the next number away from 0; of halves, to the next above."""
    x = t.emit(ew.stop_gradient_p, x)
    bits = _bits(t, x)
    step: Atom = _number(t, 1, bits)
    if x.aval.dtype == dt.FLOAT16:
        down = _number(t, -1, bits)
        step = t.emit(ew.select_p, t.emit(ew.signbit_p, x), down, step)
    following = t.emit(ew.bitcast_p, t.emit(ew.add_p, bits, step), dtype=x.aval.dtype)
    gap = t.emit(ew.sub_p, following, x)
    least = t.emit(ew.bitcast_p, _number(t, 1, bits), dtype=x.aval.dtype)
    gap = t.emit(ew.select_p, _is(t, ew.eq_p, x, 0), least, gap)
    undefined = _number(t, math.nan, x)
    return t.emit(ew.select_p, t.emit(ew.isinf_p, x), undefined, gap)


# --- integers ---------------------------------------------------------------------


def bitwise_count(t: Trace, x: Atom) -> Atom:
    """How many bits of the size of x are set, by sums of pairs, of fours and so on.

    Warren, Hacker's Delight, section 5-1.
    """
    dtype = x.aval.dtype
    if dtype.kind == "i":
        unsigned = np.dtype(f"u{dtype.itemsize}")
        x = t.emit(ew.bitcast_p, t.emit(ew.abs_p, x), dtype=unsigned)
    width = 8 * dtype.itemsize

    def every(pattern: int) -> Literal:
        return _number(t, int.from_bytes([pattern] * dtype.itemsize), x)

    def shifted(places: int) -> Atom:
        return t.emit(ew.shift_right_p, x, _number(t, places, x))

    x = t.emit(ew.sub_p, x, t.emit(ew.and_p, shifted(1), every(0x55)))
    high = t.emit(ew.and_p, shifted(2), every(0x33))
    x = t.emit(ew.add_p, t.emit(ew.and_p, x, every(0x33)), high)
    x = t.emit(ew.and_p, t.emit(ew.add_p, x, shifted(4)), every(0x0F))
    places = 8
    while places < width:
        x = t.emit(ew.add_p, x, shifted(places))
        places *= 2
    return t.emit(ew.convert_p, x, dtype=np.dtype(np.uint8))
