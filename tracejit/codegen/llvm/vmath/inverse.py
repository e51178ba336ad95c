"""arcsin, arccos, arctan, arctan2, arcsinh, arccosh, arctanh.

The circular ones reduce to a polynomial on a short interval and add multiples of pi/4
in two parts; the hyperbolic ones are logarithms. Formulas: Muller, Elementary
Functions, 3rd ed.; Kahan 1987, Branch cuts, for the hyperbolic ones.
"""

import math

from ....records import dataclass
from .coefficients import PARTS
from .logarithm import log1p
from .vector import Operand, Vector

_TAN_PI_8 = math.sqrt(2.0) - 1.0
_HUGE = 2.0**500  # squares of larger doubles may overflow
_SCALE_BITS = 512
_SCALE = 2.0**_SCALE_BITS


@dataclass(frozen=True)
class _Angle:
    """A multiple of pi/4 in two parts."""

    high: float
    low: float


def _angle(v: Vector, quarters: int) -> _Angle:
    name = "pi/2" if v.element == "float" else "pi/2 full"
    high, low = PARTS[name, v.element][:2]
    return _Angle(high * quarters / 2, low * quarters / 2)


def _series(v: Vector, name: str, x: str, square: str) -> str:
    """Return x^3 p(x^2): what an odd function adds to x."""
    p = v.polynomial(v.coefficients(name), square)
    return v.mul(v.mul(square, x), p)


def _tiny(v: Vector, size: str) -> str:
    """Return the mask of lanes where the function is x, rounded."""
    return v.cmp("olt", size, 2.0 ** -(v.mantissa // 2 + 2))


def _safe(v: Vector, mask: str, x: str, instead: Operand) -> str:
    """Return x, or another value where the result will not be used."""
    return v.select(mask, instead, x)


def arctan(v: Vector, x: str) -> str:
    """Return arctan x, through -1/x or (x - 1) / (x + 1) for larger x."""
    size = v.abs(x)
    tiny = _tiny(v, size)
    size = _safe(v, tiny, size, 0.0)
    middle = v.cmp("ogt", size, _TAN_PI_8)
    large = v.cmp("ogt", size, 1.0 / _TAN_PI_8)
    above = v.select(middle, v.sub(size, 1.0), size)
    below = v.select(middle, v.add(size, 1.0), 1.0)
    above, below = v.select(large, -1.0, above), v.select(large, size, below)
    half, quarter = _angle(v, 2), _angle(v, 1)
    base = v.select(large, half.high, v.select(middle, quarter.high, 0.0))
    base_low = v.select(large, half.low, v.select(middle, quarter.low, 0.0))
    t = v.div(above, below)
    tail = v.add(_series(v, "atan", t, v.mul(t, t)), base_low)
    result = v.add(base, v.add(t, tail))
    return v.select(tiny, x, v.signed(result, x))


def arctan2(v: Vector, y: str, x: str) -> str:
    """Return the angle of the point (x, y)."""
    up, across = v.abs(y), v.abs(x)
    swap = v.cmp("ogt", up, across)
    low, high = v.select(swap, across, up), v.select(swap, up, across)
    # inf / inf counts as 1, 0 / 0 as 0; the sum of huge ones must not overflow.
    both = v.cmp("oeq", low, math.inf)
    low, high = v.select(both, 1.0, low), v.select(both, 1.0, high)
    high = v.select(v.cmp("oeq", high, 0.0), 1.0, high)
    huge = v.cmp("ogt", high, 2.0 ** (v.bias - 3))
    factor = v.select(huge, 0.25, 1.0)
    low, high = v.mul(low, factor), v.mul(high, factor)
    angle, angle_low = _first_octant(v, low, high)
    angle, angle_low = _reflect(v, swap, 2, angle, angle_low)
    negative = v.int_cmp("slt", v.bits(x), 0)
    angle, angle_low = _reflect(v, negative, 4, angle, angle_low)
    result = v.copysign(v.add(angle, angle_low), y)
    return v.select(v.cmp("uno", x, y), v.add(x, y), result)


def _first_octant(v: Vector, low: str, high: str) -> tuple[str, str]:
    """Return arctan(low / high) as a pair, for 0 <= low <= high."""
    middle = v.cmp("ogt", low, v.mul(high, _TAN_PI_8))
    above = v.select(middle, v.sub(low, high), low)
    below = v.select(middle, v.add(low, high), high)
    quarter = _angle(v, 1)
    t = v.div(above, below)
    # The square of a tiny quotient would be subnormal.
    base_t = _safe(v, _tiny(v, v.abs(t)), t, 0.0)
    tail = _series(v, "atan", base_t, v.mul(base_t, base_t))
    base = v.select(middle, quarter.high, 0.0)
    base_low = v.select(middle, quarter.low, 0.0)
    sum_, rest = v.two_sum(base, t)
    return v.quick_two_sum(sum_, v.add(rest, v.add(tail, base_low)))


def _reflect(
    v: Vector, mask: str, quarters: int, angle: str, low: str
) -> tuple[str, str]:
    """Return a multiple of pi/4 less the angle where the mask is on."""
    whole = _angle(v, quarters)
    turned, rest = v.quick_two_sum(whole.high, v.neg(angle))
    turned_low = v.add(rest, v.sub(whole.low, low))
    return v.select(mask, turned, angle), v.select(mask, turned_low, low)


def _root_form(v: Vector, size: str) -> tuple[str, str]:
    """Return s = sqrt((1 - size) / 2) and arcsin(s) - s."""
    z = v.mul(v.sub(1.0, size), 0.5)
    s = v.sqrt(z)
    return s, _series(v, "asin", s, z)


def arcsin(v: Vector, x: str) -> str:
    """Return arcsin x; NaN outside [-1, 1]."""
    size = v.abs(x)
    tiny = _tiny(v, size)
    large = v.cmp("ugt", size, 0.5)
    inner = _safe(v, tiny, size, 0.0)
    s, tail = _root_form(v, size)
    base = v.select(large, s, inner)
    near = _series(v, "asin", inner, v.mul(inner, inner))
    half = _angle(v, 2)
    # pi/2 - 2 (s + tail), the larger difference first and its rounding kept.
    high, low = v.quick_two_sum(half.high, v.mul(s, -2.0))
    far = v.add(high, v.add(low, v.fma(tail, -2.0, half.low)))
    result = v.select(large, far, v.add(base, near))
    return v.select(tiny, x, v.signed(result, x))


def arccos(v: Vector, x: str) -> str:
    """Return arccos x; NaN outside [-1, 1]."""
    size = v.abs(x)
    large = v.cmp("ugt", size, 0.5)
    inner = _safe(v, _tiny(v, size), x, 0.0)
    near = _series(v, "asin", inner, v.mul(inner, inner))
    half = _angle(v, 2)
    high, low = v.quick_two_sum(half.high, v.neg(x))
    centre = v.add(high, v.add(low, v.sub(half.low, near)))
    s, tail = _root_form(v, size)
    above = v.mul(v.add(s, tail), 2.0)
    high, low = v.quick_two_sum(2.0 * half.high, v.mul(s, -2.0))
    below = v.add(high, v.add(low, v.fma(tail, -2.0, 2.0 * half.low)))
    outer = v.select(v.cmp("olt", x, 0.0), below, above)
    return v.select(large, outer, centre)


def arctanh(v: Vector, x: str) -> str:
    """Return arctanh x = log1p(2x / (1 - x)) / 2, odd."""
    size = v.abs(x)
    tiny = _tiny(v, size)
    inner = _safe(v, tiny, size, 0.5)
    quotient = v.div(v.add(inner, inner), v.sub(1.0, inner))
    result = v.mul(log1p(v, quotient), 0.5)
    result = v.select(v.cmp("ugt", size, 1.0), math.nan, result)
    return v.select(tiny, x, v.signed(result, x))


def arcsinh(v: Vector, x: str) -> str:
    """Return arcsinh x = log1p(|x| + x^2 / (1 + sqrt(1 + x^2))), odd."""
    size = v.abs(x)
    tiny = _tiny(v, size)
    inner = _safe(v, tiny, size, 1.0)
    square = v.mul(inner, inner)
    root = v.sqrt(v.add(square, 1.0))
    above = v.add(inner, v.div(square, v.add(root, 1.0)))
    result = _log_of_sum(v, size, above)
    return v.select(tiny, x, v.signed(result, x))


def arccosh(v: Vector, x: str) -> str:
    """Return arccosh x = log1p(t + sqrt(2t + t^2)), t = x - 1."""
    t = v.sub(x, 1.0)
    above = v.add(t, v.sqrt(v.fma(t, t, v.add(t, t))))
    result = _log_of_sum(v, x, above)
    return v.select(v.cmp("olt", x, 1.0), math.nan, result)


def _log_of_sum(v: Vector, x: str, above: str) -> str:
    """Return log(1 + above), or log 2x where squares of x are too large for it."""
    huge = v.cmp("ogt", x, _HUGE)
    high, low = PARTS["ln2", v.element]
    above = v.select(huge, v.fma(x, 2.0 / _SCALE, -1.0), above)
    result = v.add(log1p(v, above), v.select(huge, _SCALE_BITS * low, 0.0))
    return v.add(result, v.select(huge, _SCALE_BITS * high, 0.0))
