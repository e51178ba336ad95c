"""How dtypes live in registers and in memory.

======= ========= ==================================================
dtype   memory    register
======= ========= ==================================================
bool    i8        i1
ints    iN        iN; signedness is in the operations
f16     half      float that holds a float16 number exactly
bf16    i16       float that holds a bfloat16 number exactly
f8*     i8        float that holds a float8 number exactly
f32     float     float
f64     double    double
c64     i64       i64: its bits, which are moved and chosen only
c128    i128      i128, likewise
======= ========= ==================================================

The narrow types are computed in float and rounded after every operation, as NumPy does.
bfloat16 is converted by integer arithmetic: the instructions for it flush subnormals.
float8 too, in `float8`.
Needs an `Emitter`; establishes `widen`, `narrow` and `rounded`, the only places that
know this table.
"""

import sys

import numpy as np

from ...ir.dtypes import BFLOAT16, FLOAT8S, FLOAT16, FLOATS, NARROW_FLOATS
from ...ir.graph import Literal
from .text import Emitter, constant, vec

_FLOATS = {4: "float", 8: "double"}


def memory_type(dtype: np.dtype) -> str:
    """Return the LLVM type of an element in memory."""
    if dtype == FLOAT16:
        return "half"
    if dtype.kind == "f" and dtype not in FLOAT8S:
        return _FLOATS[dtype.itemsize]
    return f"i{8 * dtype.itemsize}"


def register_type(dtype: np.dtype) -> str:
    """Return the LLVM type of a value in a register (of one lane)."""
    if dtype.kind == "b":
        return "i1"
    return "float" if dtype in NARROW_FLOATS else memory_type(dtype)


def register_bits(dtype: np.dtype) -> int:
    """Return the bits that a lane takes in a vector register; 8 for booleans."""
    return 32 if dtype in NARROW_FLOATS else 8 * dtype.itemsize


def is_real(dtype: np.dtype) -> bool:
    """Tell whether values of `dtype` are in float or double registers."""
    return dtype in FLOATS


def is_signed(dtype: np.dtype) -> bool:
    """Tell whether `dtype` is a signed integer."""
    return dtype.kind == "i"


def literal_text(literal: Literal, lanes: int = 1) -> str:
    """Return a literal as an operand in its register type."""
    dtype = literal.aval.dtype
    value = literal.value
    if dtype.kind == "c":
        bits = int.from_bytes(value.tobytes(), sys.byteorder)
        return constant(memory_type(dtype), bits, lanes)
    number = float(value) if is_real(dtype) else int(value)
    return constant(register_type(dtype), number, lanes)


def widen(em: Emitter, dtype: np.dtype, raw: str, lanes: int) -> str:
    """Return the register value of what was loaded."""
    if dtype.kind == "b":
        return em.op(f"icmp ne {vec('i8', lanes)} {raw}, {constant('i8', 0, lanes)}")
    if dtype == FLOAT16:
        return em.op(f"fpext {vec('half', lanes)} {raw} to {vec('float', lanes)}")
    if dtype in FLOAT8S:
        from . import float8  # noqa: PLC0415  # few programs have such numbers

        return float8.widen(em, dtype, raw, lanes)
    if dtype != BFLOAT16:
        return raw
    wide, single = vec("i32", lanes), vec("float", lanes)
    bits = em.op(f"zext {vec('i16', lanes)} {raw} to {wide}")
    high = em.op(f"shl {wide} {bits}, {constant('i32', 16, lanes)}")
    return em.op(f"bitcast {wide} {high} to {single}")


def narrow(em: Emitter, dtype: np.dtype, value: str, lanes: int) -> str:
    """Return what to store for a register value (it is exact in `dtype` already)."""
    if dtype.kind == "b":
        return em.op(f"zext {vec('i1', lanes)} {value} to {vec('i8', lanes)}")
    if dtype == FLOAT16:
        return em.op(f"fptrunc {vec('float', lanes)} {value} to {vec('half', lanes)}")
    if dtype in FLOAT8S:
        from . import float8  # noqa: PLC0415  # few programs have such numbers

        return float8.narrow(em, dtype, value, lanes)
    if dtype != BFLOAT16:
        return value
    wide, single = vec("i32", lanes), vec("float", lanes)
    bits = em.op(f"bitcast {single} {value} to {wide}")
    high = em.op(f"lshr {wide} {bits}, {constant('i32', 16, lanes)}")
    return em.op(f"trunc {wide} {high} to {vec('i16', lanes)}")


def rounded(em: Emitter, dtype: np.dtype, value: str, lanes: int) -> str:
    """Return a register value rounded to `dtype`: nothing to do for wide ones."""
    if dtype == FLOAT16:
        return widen(em, dtype, narrow(em, dtype, value, lanes), lanes)
    if dtype in FLOAT8S:
        from . import float8  # noqa: PLC0415  # few programs have such numbers

        return float8.rounded(em, dtype, value, lanes)
    return _bfloat_rounded(em, value, lanes) if dtype == BFLOAT16 else value


def _bfloat_rounded(em: Emitter, value: str, lanes: int) -> str:
    """Round a float to 8 significant bits, ties to even; NaN becomes a quiet NaN."""
    wide, single = vec("i32", lanes), vec("float", lanes)

    def number(n: int) -> str:
        return constant("i32", n, lanes)

    bits = em.op(f"bitcast {single} {value} to {wide}")
    last = em.op(f"lshr {wide} {bits}, {number(16)}")
    odd = em.op(f"and {wide} {last}, {number(1)}")
    nearly = em.op(f"add {wide} {bits}, {number(0x7FFF)}")
    carried = em.op(f"add {wide} {nearly}, {odd}")
    is_nan = em.op(f"fcmp uno {single} {value}, {value}")
    quiet = em.op(f"or {wide} {bits}, {number(0x400000)}")
    kept = em.op(
        f"select {vec('i1', lanes)} {is_nan}, {wide} {quiet}, {wide} {carried}"
    )
    cut = em.op(f"and {wide} {kept}, {number(-0x10000)}")
    return em.op(f"bitcast {wide} {cut} to {single}")
