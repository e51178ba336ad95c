"""sin, cos, tan for every argument.

x = q pi/2 + r, |r| <= pi/4 (a little more), with r as a pair: pi/2 in three or four
parts for moderate x, and for large x, on a path that is taken only if a lane needs it,
the product of x with the right 192 bits of 2/pi (Payne and Hanek 1983), in integers.
Polynomials on r; formulas as in Muller, Elementary Functions, 3rd ed., chapter 11.
"""

import math
import struct
from collections.abc import Sequence
from functools import cache
from itertools import pairwise

from ....records import dataclass
from ..text import Emitter, shape_of, suffix
from .coefficients import PARTS, TWO_OVER_PI, TWO_OVER_PI_BITS
from .vector import Pair, Vector, narrow, widen

# Up to here q is so small that its multiples of the parts of pi/2 are exact.
_MODERATE = {"float": 2.0**16, "double": 2.0**19}
_ZEROS = 64  # bits before those of 2/pi, for numbers below 2**53


@dataclass(frozen=True)
class Reduced:
    """x = q pi/2 + r + r_low; of ``q``, an integer vector, the last bits count."""

    q: str
    r: str
    r_low: str


def reduce(v: Vector, x: str) -> Reduced:
    """Split x; infinities and NaN give NaN."""
    found = _reduce_moderate(v, x)
    carried = _typed(v, found)
    is_large = _is_large(v, x)
    any_ = v.em.any_lane(is_large, v.lanes)
    with v.em.if_(any_, carried, unlikely=True) as rare:
        rare.yield_(_call_large(v, [(v.type, x), *carried]))
    return Reduced(*rare.results)


def _is_large(v: Vector, x: str) -> str:
    return v.cmp("oge", v.abs(x), _MODERATE[v.element])


def _typed(v: Vector, values: Sequence[str]) -> list[tuple[str, str]]:
    """Pair q, r and r_low with their types."""
    return list(zip((v.itype, v.type, v.type), values, strict=True))


def _reduce_moderate(v: Vector, x: str) -> list[str]:
    n, q = v.nearest(x, 2 / math.pi)
    if v.target.has_fma:
        name = "pi/2" if v.element == "float" else "pi/2 full"
        first, second, third = PARTS[name, v.element]
        # Exact: both are multiples of the last bit of x or of the first part.
        a = v.fma(n, -first, x)
        # Where the difference is tiny the product's own rounding would count.
        product, error = v.two_product(n, second)
        r = v.sub(a, product)
        r_low = v.sub(v.sub(v.sub(a, r), product), error)
        return [q, *v.quick_two_sum(r, v.fma(n, -third, r_low))]
    # Multiples of the first three parts are exact, and so is the first difference.
    first, second, third, fourth = PARTS["pi/2", v.element]
    a = v.fma(n, -first, x)
    high, low = v.two_sum(a, v.mul(n, -second))
    high, rest = v.two_sum(high, v.mul(n, -third))
    low = v.add(v.add(low, rest), v.mul(n, -fourth))
    return [q, *v.quick_two_sum(high, low)]


# The rare path is two functions that a module has once: over vectors and over doubles.


def _call_large(v: Vector, arguments: list[tuple[str, str]]) -> list[str]:
    """Replace q, r and r_low of the lanes whose x is large."""
    types = [type_ for type_, _ in arguments]
    result = _structure(types[1:])
    symbol = f"tracejit.reduce_large.{suffix(v.type)}"
    if symbol not in v.em.globals_:
        inner = Emitter(v.em.declarations, v.em.globals_)
        w = Vector(inner, v.element, v.lanes, v.precision, v.target)
        values = _reduce_large(w, "%x", ["%q", "%r", "%low"])
        names = [
            f"{t} %{n}" for t, n in zip(types, ("x", "q", "r", "low"), strict=True)
        ]
        _define(w, symbol, names, values)
    found = v.em.call(result, symbol, arguments)
    return [v.em.op(f"extractvalue {result} {found}, {k}") for k in range(3)]


def _structure(types: Sequence[str]) -> str:
    return "{ " + ", ".join(types) + " }"


def _define(v: Vector, symbol: str, parameters: list[str], values: list[str]) -> None:
    """Finish a function that returns several values, and give it to the module."""
    em, typed = v.em, _typed(v, values)
    type_, result = _structure([t for t, _ in typed]), "poison"
    for k, (element, value) in enumerate(typed):
        result = em.op(f"insertvalue {type_} {result}, {element} {value}, {k}")
    em.ret(type_, result)
    em.globals_[symbol] = em.function(
        symbol,
        parameters,
        result=type_,
        linkage="internal",
        attributes=v.rare,
    )


def _reduce_large(v: Vector, x: str, values: list[str]) -> list[str]:
    """Go through the lanes; replace q, r and r_low of those that are large."""
    em, carried = v.em, _typed(v, values)
    # Infinities have given NaN.
    finite = v.cmp("olt", v.abs(x), math.inf)
    if v.lanes == 1:
        with em.if_(finite, carried) as branch:
            branch.yield_(_reduce_one(v, x))
        return branch.results
    is_large = v.logical("and", _is_large(v, x), finite)
    with em.loop(0, v.lanes, 1, carried) as loop:
        mask = em.op(f"extractelement {v.mask} {is_large}, i64 {loop.index}")
        old = _typed(v, loop.carried)
        with em.if_(mask, old) as lane:
            one = em.op(f"extractelement {v.type} {x}, i64 {loop.index}")
            found = zip(old, _reduce_one(v, one), strict=True)
            lane.yield_(
                [_insert(em, type_, to, y, loop.index) for (type_, to), y in found]
            )
        loop.yield_(lane.results)
    return loop.results


def _insert(em: Emitter, type_: str, old: str, new: str, lane: str) -> str:
    element, _ = shape_of(type_)
    return em.op(f"insertelement {type_} {old}, {element} {new}, i64 {lane}")


def _reduce_one(v: Vector, x: str) -> list[str]:
    """Reduce a scalar of the vector's element type; return q, r and r_low."""
    em, symbol = v.em, "tracejit.payne_hanek"
    wide = Vector(em, "double", 1, "f64", v.target)
    if symbol not in em.globals_:
        inner = Emitter(em.declarations, em.globals_)
        w = Vector(inner, "double", 1, "f64", v.target)
        _define(w, symbol, ["double %x"], _payne_hanek(w, "%x"))
    is_single = v.element == "float"
    type_ = _structure(["i64", "double", "double"])
    found = em.call(type_, symbol, [("double", widen(wide, x) if is_single else x)])
    q, r, r_low = (em.op(f"extractvalue {type_} {found}, {k}") for k in range(3))
    if not is_single:
        return [q, r, r_low]
    short = narrow(wide, r)
    rest = wide.add(wide.sub(r, widen(wide, short)), r_low)
    return [em.op(f"trunc i64 {q} to i32"), short, narrow(wide, rest)]


def _payne_hanek(v: Vector, x: str) -> list[str]:
    """Reduce a double m 2**e by the product of m and 192 bits of 2/pi.

    The bits are those from 2**(1 - e) on: what is before them makes multiples of 4. So
    the first two bits of the product are q, and its first two words are kept.
    """
    bits = v.bits(x)
    field = v.int_op("and", v.int_op("lshr", bits, v.mantissa), 2047)
    one = 1 << v.mantissa
    m = v.int_op("or", v.int_op("and", bits, one - 1), one)
    place = v.int_op("sub", field, v.bias + v.mantissa + 2 - _ZEROS)
    high, low = _product(v, m, _bits_from(v, place))
    q = v.int_op("lshr", v.int_op("add", high, 1 << v.width - 3), v.width - 2)
    fraction = _funnel(v, high, low, 2), v.int_op("shl", low, 2)
    r = _times_half_pi(v, *_fraction(v, *fraction))
    sign = v.int_op("ashr", bits, v.width - 1)
    q = v.int_op("sub", v.int_op("xor", q, sign), sign)
    flip = v.int_op("and", bits, -1 << v.width - 1)
    return [q, *(v.from_bits(v.int_op("xor", v.bits(part), flip)) for part in r)]


def _bits_from(v: Vector, place: str) -> list[str]:
    """Return three words of the bits of 2/pi, from a place of the table on."""
    em = v.em
    table = em.table("two_over_pi", "i64", _table())
    first = em.gep("i64", table, v.int_op("lshr", place, 6))
    words = [em.load("i64", em.gep("i64", first, k), 8) for k in range(4)]
    return [_funnel(v, a, b, place) for a, b in pairwise(words)]


def _funnel(v: Vector, high: str, low: str, count: str | int) -> str:
    """Return the first word of two that are shifted left by ``count`` modulo 64."""
    return v.em.intrinsic("llvm.fshl", "i64", high, low, v.int_const(count))


def _product(v: Vector, m: str, words: list[str]) -> Pair:
    """Return the first two of three words: m times those, less what has no room."""
    wide = [v.em.op(f"zext i64 {x} to i128") for x in (m, *words[1:])]
    last = v.em.op(f"mul i128 {wide[0]}, {wide[2]}")
    middle = v.em.op(f"mul i128 {wide[0]}, {wide[1]}")
    sum_ = v.em.op(f"add i128 {middle}, {v.em.op(f'lshr i128 {last}, 64')}")
    carry = v.em.op(f"trunc i128 {v.em.op(f'lshr i128 {sum_}, 64')} to i64")
    low = v.em.op(f"trunc i128 {sum_} to i64")
    return v.int_op("add", carry, v.int_op("mul", m, words[0])), low


def _fraction(v: Vector, high: str, low: str) -> Pair:
    """Return a signed integer of two words as a part of 2**128."""
    # The first 53 bits and the next 11, which are exact, and the second word.
    ends = v.int_op("and", high, -2048), v.int_op("and", high, 2047)
    parts = (*ends, v.int_op("lshr", low, 1))
    numbers = [v.em.op(f"sitofp i64 {x} to double") for x in parts]
    scaled = [v.mul(x, 2.0**-n) for x, n in zip(numbers, (64, 64, 127), strict=True)]
    first, rest = v.two_sum(*scaled[:2])
    return v.quick_two_sum(first, v.add(rest, scaled[2]))


def _times_half_pi(v: Vector, high: str, low: str) -> Pair:
    half_pi, half_pi_low, _ = PARTS["pi/2 full", v.element]
    product, error = v.two_product(high, half_pi)
    error = v.fma(low, half_pi, v.fma(high, half_pi_low, error))
    return v.quick_two_sum(product, error)


@cache
def _table() -> tuple[int, ...]:
    """Return the bits of 2/pi in words, after a word of zeros, as signed integers."""
    bits = TWO_OVER_PI.to_bytes(TWO_OVER_PI_BITS // 8, "big")
    words = struct.unpack(f">{len(bits) // 8}q", bits)
    return (0,) * (_ZEROS // 64) + words


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
