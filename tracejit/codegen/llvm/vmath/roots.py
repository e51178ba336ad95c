"""Square roots of float32 by products: exact, and not done by the divider.

Needs AVX-512: its estimate of 1/√x errs by 2⁻¹⁴ at most. A step of Goldschmidt's
algorithm for √x and 1/(2√x), and one that adds what the root is short of, give the
nearest float32 for every x from 2⁻⁹⁵ to 2⁹⁵ and every such estimate (all significands
were tried; P. Markstein, IA-64 and Elementary Functions, 2000, chapter 9). Vectors with
other numbers take the instruction.
"""

from .registers import estimated_rsqrt, in_registers
from .vector import Vector

_LEAST, _MOST = 32 << 23, 222 << 23  # bits of 2⁻⁹⁵ and 2⁹⁵


def root_by_products(v: Vector, x: str) -> str:
    """Return √x of each lane, for a multiple of 16 lanes of float32."""
    root = in_registers(v, _root, x)
    place = v.int_op("sub", v.bits(x), _LEAST)
    is_other = v.int_cmp("uge", place, _MOST - _LEAST)
    any_ = v.em.any_lane(is_other, v.lanes)
    with v.em.if_(any_, [(v.type, root)], unlikely=True) as rare:
        rare.yield_([v.sqrt(x)])
    return rare.results[0]


def _root(v: Vector, x: str) -> str:
    y = estimated_rsqrt(v, x)
    root, half = v.mul(x, y), v.mul(y, 0.5)
    rest = v.fnma(half, root, 0.5)
    root, half = v.fma(root, rest, root), v.fma(half, rest, half)
    return v.fma(v.fnma(root, root, x), half, root)
