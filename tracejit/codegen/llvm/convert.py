"""Conversions between dtypes, as NumPy's ``astype`` does them on this machine.

Integers wrap. Floats go to integers by truncation; a value out of range gives what a C
cast gives on x86-64 (the narrow types keep the low bits of a wider conversion); of
float8 it gives what ml_dtypes gives.
Everything goes to bool by comparing with zero. Needs register values as `values`
describes them.
"""

import math

import numpy as np

from ...ir.dtypes import FLOAT8S, FLOAT16, FLOAT32, NARROW_FLOATS
from .text import Emitter, constant, vec
from .values import (
    is_real,
    is_signed,
    memory_type,
    narrow,
    register_type,
    rounded,
    widen,
)


def convert(em: Emitter, value: str, source: np.dtype, to: np.dtype, lanes: int) -> str:
    """Return the register value of dtype `source` converted to dtype `to`."""
    if source == to:
        return value
    if to.kind == "b":
        return _to_bool(em, value, source, lanes)
    if is_real(to):
        return _to_float(em, value, source, to, lanes)
    if source in FLOAT8S:
        return _float8_to_int(em, value, source, to, lanes)
    if is_real(source):
        return _float_to_int(em, value, source, to, lanes)
    return _resize(em, value, source, to, lanes)


def bitcast(em: Emitter, value: str, source: np.dtype, to: np.dtype, lanes: int) -> str:
    """Return the register value of dtype `to` that has the bits of `value` in memory.

    A signaling NaN of a narrow float becomes a quiet one, as wherever it is loaded.
    """
    bits = narrow(em, source, value, lanes)
    before, after = memory_type(source), memory_type(to)
    if before != after:
        bits = _cast(em, "bitcast", bits, before, after, lanes)
    return widen(em, to, bits, lanes)


def _to_bool(em: Emitter, value: str, source: np.dtype, lanes: int) -> str:
    element = register_type(source)
    compare = "fcmp une" if is_real(source) else "icmp ne"
    zero = constant(element, 0, lanes)
    return em.op(f"{compare} {vec(element, lanes)} {value}, {zero}")


def _cast(em: Emitter, op: str, value: str, before: str, after: str, lanes: int) -> str:
    return em.op(f"{op} {vec(before, lanes)} {value} to {vec(after, lanes)}")


def _resize(em: Emitter, value: str, source: np.dtype, to: np.dtype, lanes: int) -> str:
    before, after = register_type(source), register_type(to)
    if before == after:
        return value
    if int(before[1:]) > int(after[1:]):
        return _cast(em, "trunc", value, before, after, lanes)
    op = "sext" if is_signed(source) else "zext"
    return _cast(em, op, value, before, after, lanes)


def _to_float(
    em: Emitter, value: str, source: np.dtype, to: np.dtype, lanes: int
) -> str:
    before, after = register_type(source), register_type(to)
    if is_real(source):
        if before == "double" and to == FLOAT16:  # one rounding, not through float
            half = _cast(em, "fptrunc", value, "double", "half", lanes)
            return widen(em, to, half, lanes)
        if before != after:
            op = "fpext" if after == "double" else "fptrunc"
            value = _cast(em, op, value, before, after, lanes)
    else:
        op = "sitofp" if is_signed(source) else "uitofp"
        value = _cast(em, op, value, before, after, lanes)
    return rounded(em, to, value, lanes) if to in NARROW_FLOATS else value


def _float_to_int(
    em: Emitter, value: str, source: np.dtype, to: np.dtype, lanes: int
) -> str:
    before, after = register_type(source), register_type(to)
    if after == "i64" and not is_signed(to):
        return _to_u64(em, value, before, lanes)
    if after == "i64" or (after == "i32" and is_signed(to)):
        return _cast(em, "fptosi", value, before, after, lanes)
    wide = "i64" if after == "i32" else "i32"
    value = _cast(em, "fptosi", value, before, wide, lanes)
    return _cast(em, "trunc", value, wide, after, lanes)


def _float8_to_int(
    em: Emitter, value: str, source: np.dtype, to: np.dtype, lanes: int
) -> str:
    """As ml_dtypes does: NaN gives 0, infinities the last numbers there are."""
    from ...ir.float8 import FORMATS  # noqa: PLC0415  # few programs have such numbers

    single, mask = vec("float", lanes), vec("i1", lanes)
    whole = register_type(to)
    infinity = constant("float", math.inf, lanes)
    size = em.intrinsic("llvm.fabs", single, value)
    is_finite = em.op(f"fcmp olt {single} {size}, {infinity}")
    zero = constant("float", 0.0, lanes)
    finite = em.op(f"select {mask} {is_finite}, {single} {value}, {single} {zero}")
    result = _float_to_int(em, finite, FLOAT32, to, lanes)
    if not FORMATS[source].has_infinity:
        return result
    ends = np.iinfo(to)
    for sign, end in ((1, ends.max), (-1, ends.min)):
        limit = constant("float", sign * math.inf, lanes)
        is_end = em.op(f"fcmp oeq {single} {value}, {limit}")
        yes = f"{vec(whole, lanes)} {constant(whole, int(end), lanes)}"
        no = f"{vec(whole, lanes)} {result}"
        result = em.op(f"select {mask} {is_end}, {yes}, {no}")
    return result


def _to_u64(em: Emitter, value: str, before: str, lanes: int) -> str:
    """Convert what is 2^63 or more after subtracting 2^63; negatives wrap."""
    real, whole = vec(before, lanes), vec("i64", lanes)
    limit = constant(before, 2.0**63, lanes)
    large = em.op(f"fcmp oge {real} {value}, {limit}")
    less = em.op(f"fsub {real} {value}, {limit}")
    mask = vec("i1", lanes)
    low = em.op(f"select {mask} {large}, {real} {less}, {real} {value}")
    bits = _cast(em, "fptosi", low, before, "i64", lanes)
    top = constant("i64", -(2**63), lanes)
    high = em.op(f"xor {whole} {bits}, {top}")
    return em.op(f"select {mask} {large}, {whole} {high}, {whole} {bits}")
