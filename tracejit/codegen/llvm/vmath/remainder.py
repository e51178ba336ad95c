"""The remainder of a division with the sign of the dividend, exact for every operand.

With n the integral part of the rounded quotient a / b, a - n b is the remainder, or
less than it by b where rounding carried the quotient to the next integer. Both are
multiples of the last bit of b that are not larger than b, so that a fused
multiply-add gives them exactly, as long as the quotient has no more bits than a
significand. Larger quotients take the C library's function, on a path that is taken
only if a lane needs it. Dividing by a power of two rounds nothing.
"""

import math
import re
import struct

from ..text import Emitter, suffix
from .basic import trunc
from .vector import Vector, narrow, widen

_CONSTANT = re.compile(r"(?:splat \(\w+ )?0x([0-9A-F]{16})\)?$")


def fmod(v: Vector, x: str, y: str) -> str:
    """Return x - y trunc(x / y), with the sign of x; NaN for y = 0 or infinite x."""
    known = _known(y)
    if known >= 1 and math.frexp(known)[0] == 0.5:
        whole = v.mul(trunc(v, v.mul(x, 1 / known)), known)
        return v.copysign(v.sub(x, whole), x)
    if not v.target.has_fma:
        # Products of a quotient below 2**29 and a float32 number are exact in doubles.
        return _in_doubles(v, x, y) if v.element == "float" else _by_library(v, x, y)
    a, b = v.abs(x), v.abs(y)
    quotient = v.div(a, b)
    rest = v.copysign(_rest(v, a, b, quotient), x)
    return _of_large(v, x, y, quotient, 2.0 ** (v.mantissa + 1), rest)


def _known(operand: str) -> float:
    """Return the size of a constant operand, and NaN for others."""
    found = _CONSTANT.match(operand)
    if found is None:
        return math.nan
    return abs(float(struct.unpack(">d", bytes.fromhex(found[1]))[0]))


def _in_doubles(v: Vector, x: str, y: str) -> str:
    d = v.working("double", "f32")
    a, b = widen(d, v.abs(x)), widen(d, v.abs(y))
    quotient = d.div(a, b)
    rest = v.copysign(narrow(d, _rest(d, a, b, quotient)), x)
    return _of_large(v, x, y, narrow(d, quotient), 2.0**29, rest)


def _rest(v: Vector, a: str, b: str, quotient: str) -> str:
    """Return the remainder of a >= 0 and b >= 0, unless the quotient is large."""
    rest = v.fnma(trunc(v, quotient), b, a)
    rest = v.select(v.cmp("olt", rest, 0.0), v.add(rest, b), rest)
    return v.select(v.cmp("olt", a, b), a, rest)  # of an infinite b, too


def _of_large(v: Vector, x: str, y: str, quotient: str, limit: float, rest: str) -> str:
    """Replace remainders of quotients from `limit` on; infinities have given NaN."""
    is_large = v.cmp("oge", quotient, limit)
    is_finite = v.cmp("olt", v.abs(x), math.inf)
    is_large = v.logical("and", is_large, is_finite)
    is_large = v.logical("and", is_large, v.cmp("one", y, 0.0))
    any_ = v.em.any_lane(is_large, v.lanes)
    with v.em.if_(any_, [(v.type, rest)], unlikely=True) as rare:
        rare.yield_([_by_library(v, x, y)])
    return rare.results[0]


def _by_library(v: Vector, x: str, y: str) -> str:
    """Call `fmod` lane by lane, in a function that a module has once."""
    symbol = f"tracejit.fmod.{suffix(v.type)}"
    if symbol not in v.em.globals_:
        inner = Emitter(v.em.declarations, v.em.globals_)
        inner.ret(v.type, inner.op(f"frem {v.type} %x, %y"))
        v.em.globals_[symbol] = inner.function(
            symbol,
            [f"{v.type} %x", f"{v.type} %y"],
            result=v.type,
            linkage="internal",
            attributes=v.rare,
        )
    return v.em.call(v.type, symbol, [(v.type, x), (v.type, y)])
