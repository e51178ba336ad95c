"""Square roots and lengths of float32 by products, which leave the divider alone.

They need AVX-512: its estimate of 1/√x errs by 2⁻¹⁴ at most. A step of Goldschmidt's
algorithm for √x and 1/(2√x), and one that adds what the root is short of, give the
nearest float32 for every x from 2⁻⁹⁵ to 2⁹⁵ and every such estimate (all significands
were tried; P. Markstein, IA-64 and Elementary Functions, 2000, chapter 9). Vectors with
other numbers take the instruction.

The root of a sum of squares adds to what its root is short of what rounding the sum and
the squares has lost.
"""

import math
from collections.abc import Callable

from .registers import estimated_rsqrt, in_registers
from .vector import Pair, Vector, narrow, widen

_ROOTS = 32 << 23, 222 << 23  # bits of 2⁻⁹⁵ and 2⁹⁵
# Bits of 2⁻⁴⁷ and 2⁶¹: squares do not overflow, and those that are subnormal are less
# than a hundredth of a unit of the sum's last place.
_SIDES = 80 << 23, 188 << 23


def root_by_products(v: Vector, x: str) -> str:
    """Return √x of each lane, for a multiple of 16 lanes of float32."""
    root = in_registers(v, _root, x)
    return _within(v, v.bits(x), _ROOTS, root, lambda: v.sqrt(x))


def _within(
    v: Vector,
    bits: str,
    ends: tuple[int, int],
    result: str,
    other: Callable[[], str],
) -> str:
    """Return a result, or another where the bits of a number are not between ends."""
    least, most = ends
    is_other = v.int_cmp("uge", v.int_op("sub", bits, least), most - least)
    any_ = v.em.any_lane(is_other, v.lanes)
    with v.em.if_(any_, [(v.type, result)], unlikely=True) as rare:
        rare.yield_([v.select(is_other, other(), result)])
    return rare.results[0]


def _root(v: Vector, x: str) -> str:
    root, half = _goldschmidt(v, x)
    return v.fma(v.fnma(root, root, x), half, root)


def _goldschmidt(v: Vector, x: str) -> Pair:
    """Return √x and 1/(2√x), but for 2⁻²⁴ or so of them."""
    y = estimated_rsqrt(v, x)
    root, half = v.mul(x, y), v.mul(y, 0.5)
    rest = v.fnma(half, root, 0.5)
    return v.fma(root, rest, root), v.fma(half, rest, half)


def hypot(v: Vector, x: str, y: str) -> str:
    """Return sqrt(x^2 + y^2)."""
    a, b = v.bits(v.abs(x)), v.bits(v.abs(y))
    large, small = v.int_max(a, b), v.int_min(a, b)
    sides = v.from_bits(large), v.from_bits(small)
    result = in_registers(v, _root_of_squares, *sides)
    return _within(v, large, _SIDES, result, lambda: hypot_in_doubles(v, x, y))


def hypot_in_doubles(v: Vector, x: str, y: str) -> str:
    """Return sqrt(x^2 + y^2) of any float32 numbers, on any machine."""
    d = v.working("double", "f32")
    a, b = v.abs(x), v.abs(y)
    infinite = v.logical("or", v.cmp("oeq", a, math.inf), v.cmp("oeq", b, math.inf))
    a, b = widen(d, a), widen(d, b)
    root = narrow(d, d.sqrt(d.fma(a, a, d.mul(b, b))))
    return v.select(infinite, math.inf, root)


def _root_of_squares(v: Vector, large: str, small: str) -> str:
    p, p_low = v.two_product(large, large)
    q, q_low = v.two_product(small, small)
    square, low = v.quick_two_sum(p, q)
    low = v.add(low, v.add(p_low, q_low))
    root, half = _goldschmidt(v, square)
    return v.fma(v.add(v.fnma(root, root, square), low), half, root)
