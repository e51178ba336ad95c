"""sin, cos, tan for every argument.

x = q pi/2 + r, |r| <= pi/4 (a little more), with r as a pair: pi/2 in three or four
parts for moderate x, and for large x, on a path that is taken only if a lane needs it,
the product of x with the right 212 bits of 2/pi (Payne and Hanek 1983), in doubles.
Polynomials on r; formulas as in Muller, Elementary Functions, 3rd ed., chapter 11.
"""

import math
from dataclasses import dataclass
from fractions import Fraction
from functools import cache

from .coefficients import PARTS, TWO_OVER_PI, TWO_OVER_PI_BITS
from .vector import Pair, Vector, narrow, widen

# Up to here q is so small that its multiples of the parts of pi/2 are exact.
_MODERATE = {"float": 2.0**16, "double": 2.0**19}
# Rows of the table of 2/pi are for s = _FIRST, _FIRST + 32, ...; each has four words.
_FIRST = -64
_STEP_BITS = 5
_WORDS = 4


@dataclass(frozen=True, slots=True)
class Reduced:
    """x = q pi/2 + r + r_low; of ``q``, an integer vector, the last bits count."""

    q: str
    r: str
    r_low: str


def reduce(v: Vector, x: str) -> Reduced:
    """Split x; infinities and NaN give NaN."""
    q, r, r_low = _reduce_moderate(v, x)
    is_large = v.cmp("oge", v.abs(x), _MODERATE[v.element])
    carried = [(v.itype, q), (v.type, r), (v.type, r_low)]
    any_ = v.em.any_lane(is_large, v.lanes)
    with v.em.if_(any_, carried, unlikely=True) as rare:
        large = _reduce_large(v, x)
        rare.yield_(
            [
                v.int_select(is_large, large.q, q),
                v.select(is_large, large.r, r),
                v.select(is_large, large.r_low, r_low),
            ]
        )
    return Reduced(*rare.results)


def _reduce_moderate(v: Vector, x: str) -> tuple[str, str, str]:
    n, q = v.nearest(x, 2 / math.pi)
    if v.target.has_fma:
        name = "pi/2" if v.element == "float" else "pi/2 full"
        first, second, third = PARTS[name, v.element]
        a = v.fma(n, -first, x)
        r = v.fma(n, -second, a)
        r_low = v.fma(n, -third, v.fma(n, -second, v.sub(a, r)))
        return q, *v.quick_two_sum(r, r_low)
    # Multiples of the first three parts are exact, and so is the first difference.
    first, second, third, fourth = PARTS["pi/2", v.element]
    a = v.fma(n, -first, x)
    high, low = v.two_sum(a, v.mul(n, -second))
    high, rest = v.two_sum(high, v.mul(n, -third))
    low = v.add(v.add(low, rest), v.mul(n, -fourth))
    return q, *v.quick_two_sum(high, low)


def _reduce_large(v: Vector, x: str) -> Reduced:
    """Payne and Hanek's reduction, for |x| >= 2**16."""
    if v.element == "double":
        return _payne_hanek(v, x)
    wide = v.working("double", "f64")
    found = _payne_hanek(wide, widen(wide, x))
    r = narrow(wide, found.r)
    low = narrow(wide, wide.add(wide.sub(found.r, widen(wide, r)), found.r_low))
    return Reduced(v.em.op(f"trunc {wide.itype} {found.q} to {v.itype}"), r, low)


def _payne_hanek(v: Vector, x: str) -> Reduced:
    """Reduce in doubles: x 2/pi = X c, X = x 2**-s an integer, c = 2**s 2/pi mod 4."""
    field = v.int_op("lshr", v.int_op("and", v.bits(x), (1 << 63) - 1), v.mantissa)
    # The row whose s is at most the exponent of the last bit of x.
    unit = v.int_op("sub", field, v.bias + v.mantissa + _FIRST)
    row = v.int_op("ashr", unit, _STEP_BITS)
    down = v.int_op("shl", row, v.mantissa + _STEP_BITS)
    up = v.from_bits(v.int_op("sub", v.bias - _FIRST << v.mantissa, down))
    return _fraction(v, v.mul(x, up), _words(v, row))


def _fraction(v: Vector, scaled: str, words: list[str]) -> Reduced:
    """Sum the products, drop multiples of 4, split at the nearest integer."""
    terms: list[str] = []
    for word in words:
        product, error = v.two_product(scaled, word)
        terms += [_modulo_four(v, product), _modulo_four(v, error)]
    high, low = v.two_sum(terms[0], terms[1])
    rest = v.const(0.0)
    for term in terms[2:]:
        high, carry = v.two_sum(high, term)
        low, lost = v.two_sum(low, carry)
        rest = v.add(rest, lost)
    n, q = v.nearest(high)
    high, carry = v.two_sum(v.sub(high, n), low)
    high, low = v.quick_two_sum(high, v.add(carry, rest))
    return Reduced(q, *_times_half_pi(v, high, low))


def _modulo_four(v: Vector, x: str) -> str:
    """Return x less a multiple of 4, at most 4 in size; infinity gives NaN.

    Adding 1.5 * 2**54 away from zero rounds to multiples of 4 or 8; what is 2**54 or
    more is a multiple of 4 already.
    """
    magic = v.copysign(1.5 * 2.0**54, x)
    near = v.sub(x, v.sub(v.add(x, magic), magic))
    huge = v.cmp("oge", v.abs(x), 2.0**54)
    return v.select(huge, v.mul(x, 0.0), near)


def _times_half_pi(v: Vector, high: str, low: str) -> Pair:
    half_pi, half_pi_low, _ = PARTS["pi/2 full", v.element]
    product, error = v.two_product(high, half_pi)
    error = v.fma(low, half_pi, v.fma(high, half_pi_low, error))
    return v.quick_two_sum(product, error)


@cache
def _table() -> tuple[float, ...]:
    """Return 2**s 2/pi mod 4 in four doubles each, for each s."""
    words: list[float] = []
    for s in range(_FIRST, 1024 - 52, 1 << _STEP_BITS):
        places = TWO_OVER_PI_BITS - s
        rest = TWO_OVER_PI % (1 << places + 2)
        for _ in range(_WORDS):
            word, rest = _leading_bits(rest, 53)
            words.append(float(Fraction(word, 1 << places)))
    return tuple(words)


def _leading_bits(value: int, count: int) -> tuple[int, int]:
    """Return (the leading bits in place, what remains) of an integer."""
    shift = max(value.bit_length() - count, 0)
    word = value >> shift << shift
    return word, value - word


def _words(v: Vector, row: str) -> list[str]:
    """Load the four words of each lane's row."""
    em = v.em
    table = em.table("two_over_pi", "double", _table())
    index = v.int_op("shl", row, 2)
    pointers = "ptr" if v.lanes == 1 else f"<{v.lanes} x ptr>"
    words = []
    for k in range(_WORDS):
        at = em.gep("double", table, k)
        if v.lanes == 1:
            words.append(em.load("double", em.gep("double", at, index), 8))
            continue
        where = em.op(f"getelementptr double, ptr {at}, {v.itype} {index}")
        words.append(
            em.extern(
                v.type,
                f"llvm.masked.gather.v{v.lanes}f64.v{v.lanes}p0",
                [
                    (pointers, where),
                    ("i32", "8"),
                    (v.mask, "splat (i1 true)"),
                    (v.type, "poison"),
                ],
            )
        )
    return words


def _sin_tail(v: Vector, x: Reduced, square: str) -> str:
    """Return sin(r + r_low) - r."""
    s = v.polynomial(v.coefficients("sin"), square)
    return v.fma(v.mul(square, x.r), s, x.r_low)


def _cos_pair(v: Vector, x: Reduced, square: str) -> Pair:
    """Return cos(r + r_low) as (high, low)."""
    c = v.polynomial(v.coefficients("cos"), square)
    half = v.mul(square, 0.5)
    high, low = v.quick_two_sum(1.0, v.neg(half))
    tail = v.fma(v.mul(square, square), c, v.neg(v.mul(x.r, x.r_low)))
    return high, v.add(low, tail)


def _circular(v: Vector, x: str, quarter: int) -> str:
    """Return sin(x + quarter pi/2)."""
    reduced = reduce(v, x)
    q = v.int_op("add", reduced.q, quarter) if quarter else reduced.q
    square = v.mul(reduced.r, reduced.r)
    sin_tail = _sin_tail(v, reduced, square)
    cos_high, cos_low = _cos_pair(v, reduced, square)
    is_odd = v.int_cmp("ne", v.int_op("and", q, 1), 0)
    high = v.select(is_odd, cos_high, reduced.r)
    result = v.add(high, v.select(is_odd, cos_low, sin_tail))
    sign = v.int_op("shl", v.int_op("and", q, 2), v.width - 2)
    return v.from_bits(v.int_op("xor", v.bits(result), sign))


def _tiny(v: Vector, x: str) -> str:
    """Return the mask of lanes where x is sin x and tan x, rounded."""
    return v.cmp("olt", v.abs(x), 2.0 ** -(v.mantissa // 2 + 1))


def sin(v: Vector, x: str) -> str:
    """Return sin x."""
    tiny = _tiny(v, x)
    return v.select(tiny, x, _circular(v, v.select(tiny, 0.0, x), 0))


def cos(v: Vector, x: str) -> str:
    """Return cos x."""
    tiny = _tiny(v, x)
    return _circular(v, v.select(tiny, 0.0, x), 1)


def tan(v: Vector, x: str) -> str:
    """Return tan x, the quotient of sin and cos as pairs."""
    tiny = _tiny(v, x)
    reduced = reduce(v, v.select(tiny, 0.0, x))
    square = v.mul(reduced.r, reduced.r)
    sin_high, sin_low = v.quick_two_sum(reduced.r, _sin_tail(v, reduced, square))
    cos_high, cos_low = v.quick_two_sum(*_cos_pair(v, reduced, square))
    is_odd = v.int_cmp("ne", v.int_op("and", reduced.q, 1), 0)
    over = v.select(is_odd, cos_high, sin_high)
    over_low = v.select(is_odd, cos_low, sin_low)
    under = v.select(is_odd, sin_high, cos_high)
    under_low = v.select(is_odd, sin_low, cos_low)
    inverse = v.div(1.0, under)
    quotient = v.mul(over, inverse)
    rest = v.add(v.residual(quotient, under, over), over_low)
    rest = v.fnma(quotient, under_low, rest)
    result = v.fma(rest, inverse, quotient)
    sign = v.int_op("shl", v.int_op("and", reduced.q, 1), v.width - 1)
    result = v.from_bits(v.int_op("xor", v.bits(result), sign))
    return v.select(tiny, x, result)
