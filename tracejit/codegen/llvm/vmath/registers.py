"""Instructions of AVX-512 over vectors of any number of lanes.

Needs a target with 64-byte registers. Vectors that do not fill one are widened, longer
ones cut, so that a function has the same bits however many lanes it is emitted for.
"""

from collections.abc import Callable, Sequence

from ..shuffles import joined
from ..text import constant, vec
from .vector import Vector

REGISTER = 512  # bits
_CURRENT_ROUNDING = "4"
_FLOOR = "1"  # of reduce
_SIXTEENTHS = "64"  # of reduce: four bits after the point, to nearest
_ABOUT_ONE = "7"  # of getmant: in [3/4, 3/2), without a sign
# Of fixupimm: the result, NaN as it came, a new NaN, infinities.
RESPONSES = {"result": 0, "nan": 2, "none": 3, "-inf": 4, "inf": 5}

# An element type, and the name of a vector of it.
Operand = tuple[str, str]
Instruction = Callable[..., str]


def scaled(v: Vector, x: str, n: str) -> str:
    """Return x 2**n for an integral n, rounded once."""
    return in_registers(v, scalef, x, n)


def in_registers(v: Vector, formula: Instruction, *operands: str) -> str:
    """Return a formula that is written for whole registers."""
    return _by_register(v, formula, [(v.element, x) for x in operands])


def looked_up(v: Vector, table: Sequence[float], index: str) -> str:
    """Return entries of a table of sixteen numbers, by the low bits of integers.

    The table is a register of floats, and two of doubles.
    """
    entries = [f"{v.element} {constant(v.element, x, 1)}" for x in table]
    first, *others = (
        f"<{', '.join(entries[k : k + v.lanes])}>" for k in range(0, 16, v.lanes)
    )
    if not others:
        arguments = [(v.type, first), (v.itype, index)]
        return v.em.extern(v.type, "llvm.x86.avx512.permvar.sf.512", arguments)
    arguments = [(v.type, first), (v.itype, index), (v.type, others[0])]
    return v.em.extern(v.type, "llvm.x86.avx512.vpermi2var.pd.512", arguments)


def estimated_rsqrt(v: Vector, x: str) -> str:
    """Return 1/√x of float32, but for 2**-14 of it."""
    arguments = [(v.type, x), (v.type, "zeroinitializer"), (f"i{v.lanes}", "-1")]
    return v.em.extern(v.type, "llvm.x86.avx512.rsqrt14.ps.512", arguments)


def getexp(v: Vector, x: str) -> str:
    """Return floor(log2 |x|), -inf for 0, inf for infinity."""
    arguments = [(v.type, x), *_every_lane(v)]
    return v.em.extern(v.type, _masked(v, "getexp"), arguments)


def getmant(v: Vector, x: str) -> str:
    """Return the significand of |x| in [3/4, 3/2); 1 for 0 and infinity."""
    arguments = [(v.type, x), ("i32", _ABOUT_ONE), *_every_lane(v)]
    return v.em.extern(v.type, _masked(v, "getmant"), arguments)


def scalef(v: Vector, x: str, n: str) -> str:
    """Return x 2**n for a register, n rounded down."""
    arguments = [(v.type, x), (v.type, n), *_every_lane(v)]
    return v.em.extern(v.type, _masked(v, "scalef"), arguments)


def fraction(v: Vector, x: str) -> str:
    """Return x - floor(x), 0 for infinity."""
    return _reduced(v, x, _FLOOR)


def rest_of_sixteenths(v: Vector, x: str) -> str:
    """Return x less the nearest multiple of 1/16, 0 for infinity."""
    return _reduced(v, x, _SIXTEENTHS)


def _reduced(v: Vector, x: str, how: str) -> str:
    arguments = [(v.type, x), ("i32", how), *_every_lane(v)]
    return v.em.extern(v.type, _masked(v, "reduce"), arguments)


def fixed_up(v: Vector, result: str, x: str, classes: Sequence[str]) -> str:
    """Return a result, or what it is to be for a class of arguments.

    Parameters
    ----------
    classes : sequence of str
        For quiet and signaling NaN, 0, 1, -inf, inf, negative and positive numbers:
        a key of ``RESPONSES``.
    """
    table = sum(RESPONSES[name] << 4 * k for k, name in enumerate(classes))
    arguments = [(v.type, result), (v.type, x), (v.itype, v.int_const(table))]
    arguments += [("i32", "0"), *_every_lane(v)[1:]]
    return v.em.extern(v.type, _masked(v, "fixupimm"), arguments)


def _masked(v: Vector, name: str) -> str:
    kind = {"float": "ps", "double": "pd"}[v.element]
    return f"llvm.x86.avx512.mask.{name}.{kind}.{REGISTER}"


def _every_lane(v: Vector) -> list[Operand]:
    """Return the operands that say: all lanes, and round as ever."""
    mask = (f"i{v.lanes}", "-1")
    return [(v.type, "zeroinitializer"), mask, ("i32", _CURRENT_ROUNDING)]


def _by_register(
    v: Vector, instruction: Instruction, operands: Sequence[Operand]
) -> str:
    """Return an instruction's result for vectors of as many lanes as `v` has."""
    lanes = REGISTER // v.width
    whole = Vector(v.em, v.element, lanes, v.precision, v.target)
    if v.lanes < lanes:
        wide = [_widened(v, element, x, lanes) for element, x in operands]
        return _first(v, instruction(whole, *wide), lanes)
    parts = [
        instruction(whole, *(_part(v, element, x, k, lanes) for element, x in operands))
        for k in range(0, v.lanes, lanes)
    ]
    return joined(v.em, v.element, parts, lanes)


def _shuffle(v: Vector, type_: str, a: str, b: str, picks: Sequence[int | None]) -> str:
    return v.em.shuffle(type_, a, b, picks)


def _widened(v: Vector, element: str, x: str, lanes: int) -> str:
    if v.lanes == 1:
        whole = vec(element, lanes)
        return v.em.op(f"insertelement {whole} poison, {element} {x}, i64 0")
    picks = [k if k < v.lanes else None for k in range(lanes)]
    return _shuffle(v, vec(element, v.lanes), x, "poison", picks)


def _first(v: Vector, x: str, lanes: int) -> str:
    whole = vec(v.element, lanes)
    if v.lanes == 1:
        return v.em.op(f"extractelement {whole} {x}, i64 0")
    return _shuffle(v, whole, x, "poison", range(v.lanes))


def _part(v: Vector, element: str, x: str, start: int, lanes: int) -> str:
    if v.lanes == lanes:
        return x
    picks = range(start, start + lanes)
    return _shuffle(v, vec(element, v.lanes), x, "poison", picks)
