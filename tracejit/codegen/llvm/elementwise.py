"""LLVM text for each elementwise primitive, over any number of lanes.

`can_emit` is the table that the fuse pass asks; `emit` writes what it accepts. Integer
and boolean results are NumPy's to the bit, and so are floats where the operation is
one IEEE operation or a choice among values. Transcendental functions come from
`vmath`; where that has none, the primitive is not emitted and runs as an extern step.
Complex dtypes are never emitted.
"""

from collections.abc import Callable, Mapping, Sequence

import numpy as np

from ...ir import dtypes as dt
from ...ir.primitive import Kind, Params, Primitive
from ...late import late
from . import vmath
from .convert import bitcast, convert
from .lanes import Lanes
from .target import Target
from .text import Emitter, constant, vec
from .values import is_real, is_signed, register_bits, rounded

Rule = Callable[..., str]
_LONG = frozenset({"fmod", "remainder", "floor_divide"})
# What `vmath` calls a primitive, where the names differ.
_MATH_NAMES = {"logistic": "sigmoid"}


def can_emit(primitive: Primitive, dtypes: tuple[np.dtype, ...]) -> bool:
    """Tell whether kernels may contain `primitive` on operands of these dtypes.

    Parameters
    ----------
    primitive : Primitive
    dtypes : tuple of numpy.dtype
        Of the operands; for `convert`, the operand's and the result's, or the
        operand's alone if the result is not complex.

    Examples
    --------
    >>> from tracejit.ir.ops.elementwise import add_p
    >>> can_emit(add_p, (np.dtype("f4"), np.dtype("f4")))
    True
    >>> can_emit(add_p, (np.dtype("c8"), np.dtype("c8")))
    False
    """
    if primitive.kind is not Kind.ELEMENTWISE or not dtypes:
        return False
    if any(d.kind == "c" for d in dtypes):
        return False
    name, dtype = primitive.name, dtypes[-1]
    if name in ("convert", "bitcast", "select", "stop_gradient"):
        return True
    return _rule(name, dtype) is not None


def _rule(name: str, dtype: np.dtype) -> Rule | None:
    """Return the rule for operands of `dtype`; None if there is none."""
    if is_real(dtype):
        if name in _EXACT_FLOAT:
            return _EXACT_FLOAT[name]
        if name in _ROUNDED_FLOAT:
            return _ROUNDED_FLOAT[name]
        if name in _SINGLE_ONLY and dtype not in dt.NARROW_FLOATS:
            return _SINGLE_ONLY[name]
        return _math_rule(name, dtype)
    rules = _BOOLEAN if dtype.kind == "b" else _INTEGER
    return rules.get(name)


def emit(
    em: Emitter,
    target: Target,
    primitive: Primitive,
    params: Params,
    dtypes: Sequence[np.dtype],
    operands: Sequence[str],
    lanes: int,
) -> str:
    """Write one primitive; return the register of its result.

    Parameters
    ----------
    dtypes : sequence of numpy.dtype
        Of the operands. `can_emit` must accept them.
    operands : sequence of str
        Register values of `lanes` lanes each.
    """
    dtype = dtypes[-1]
    if primitive.name in ("convert", "bitcast"):
        to = params["dtype"]
        assert isinstance(to, np.dtype)
        change = convert if primitive.name == "convert" else bitcast
        return change(em, operands[0], dtype, to, lanes)
    if primitive.name == "stop_gradient":
        return operands[0]
    x = Lanes(em, target, dtype, lanes)
    if primitive.name == "select":
        return x.select(*operands)
    rule = _rule(primitive.name, dtype)
    assert rule is not None, f"{primitive.name} of {dtype} cannot be emitted"
    result = rule(x, *operands)
    exact = primitive.name in _EXACT_FLOAT
    return result if exact else rounded(em, dtype, result, lanes)


def combine(
    em: Emitter, target: Target, op: str, dtype: np.dtype, a: str, b: str, lanes: int
) -> str:
    """Write one step of a reduction: add, mul, max, min, and, or.

    Bools add by or and multiply by and, as in NumPy.
    """
    name = _step_name(op, dtype)
    rule = _rule(name, dtype)
    assert rule is not None, f"reduce {op} of {dtype} cannot be emitted"
    result = rule(Lanes(em, target, dtype, lanes), a, b)
    return rounded(em, dtype, result, lanes) if name in ("add", "mul") else result


def can_combine(op: str, dtype: np.dtype) -> bool:
    """Tell whether `combine` can write an operation."""
    return dtype.kind != "c" and _rule(_step_name(op, dtype), dtype) is not None


def _step_name(op: str, dtype: np.dtype) -> str:
    name = {"max": "maximum", "min": "minimum"}.get(op, op)
    if dtype.kind == "b":
        return {"add": "or", "mul": "and"}.get(name, name)
    return name


# --- floats -----------------------------------------------------------------------


def _instruction(name: str) -> Rule:
    return lambda x, *values: x.op(name, *values)


def _intrinsic(name: str) -> Rule:
    return lambda x, *values: x.call(name, *values)


def _rounding(name: str) -> Rule:
    """Rounding to integral values, by a formula where there is no instruction."""

    def rule(x: Lanes, a: str) -> str:
        return vmath.emit(x.em, name, _code(x.dtype), x.lanes, [a], x.target)

    return rule


def _code(dtype: np.dtype) -> str:
    """Return what `vmath` calls the format that `dtype` is computed in."""
    return "f64" if dtype == dt.FLOAT64 else "f32"


def _float_extremum(compare: str) -> Rule:
    """The first operand if it is NaN or wins, else the second (NaN if that is)."""

    def rule(x: Lanes, a: str, b: str) -> str:
        wins = x.op(f"fcmp {compare}", a, b)
        is_nan = x.op("fcmp uno", a, a)
        return x.select(is_nan, a, x.select(wins, a, b))

    return rule


def _float_number_extremum(compare: str) -> Rule:
    """The first operand if it wins or the second is NaN, else the second."""

    def rule(x: Lanes, a: str, b: str) -> str:
        wins = x.op(f"fcmp {compare}", a, b)
        is_nan = x.op("fcmp uno", b, b)
        return x.select(x.both("or", is_nan, wins), a, b)

    return rule


def _float_sign(x: Lanes, a: str) -> str:
    zero = x.const(0.0)
    below = x.select(x.op("fcmp olt", a, zero), x.const(-1.0), a)
    signed = x.select(x.op("fcmp ogt", a, zero), x.const(1.0), below)
    if x.dtype in dt.OF_ML_DTYPES:  # ml_dtypes keeps the sign of zero
        return signed
    return x.select(x.op("fcmp oeq", a, zero), zero, signed)


def _isinf(x: Lanes, a: str) -> str:
    return x.op("fcmp oeq", x.call("llvm.fabs", a), x.const(float("inf")))


def _isfinite(x: Lanes, a: str) -> str:
    return x.op("fcmp olt", x.call("llvm.fabs", a), x.const(float("inf")))


def _as_bits(x: Lanes, a: str) -> tuple[str, str, str]:
    """Return the integer element type, its vector type, and the bits of `a`."""
    element = f"i{register_bits(x.dtype)}"
    wide = vec(element, x.lanes)
    return element, wide, x.em.op(f"bitcast {x.type} {a} to {wide}")


def _signbit(x: Lanes, a: str) -> str:
    element, wide, bits = _as_bits(x, a)
    return x.em.op(f"icmp slt {wide} {bits}, {constant(element, 0, x.lanes)}")


def _nextafter(x: Lanes, a: str, b: str) -> str:
    """One step in the order of the bits: up in magnitude if b lies beyond a."""
    element, wide, bits = _as_bits(x, a)

    def whole(n: int) -> str:
        return constant(element, n, x.lanes)

    away = x.both("xor", x.op("fcmp ogt", b, a), x.op("fcmp olt", a, x.const(0.0)))
    step = x.em.op(f"select {x.mask} {away}, {wide} {whole(1)}, {wide} {whole(-1)}")
    moved = x.em.op(f"add {wide} {bits}, {step}")
    stepped = x.em.op(f"bitcast {wide} {moved} to {x.type}")
    tiny = x.em.op(f"bitcast {wide} {whole(1)} to {x.type}")
    from_zero = x.call("llvm.copysign", tiny, b)
    result = x.select(x.op("fcmp oeq", a, x.const(0.0)), from_zero, stepped)
    result = x.select(x.op("fcmp oeq", a, b), b, result)
    is_nan = x.op("fcmp uno", a, b)
    return x.select(is_nan, x.op("fadd", a, b), result)


def _fma(x: Lanes, a: str, b: str, c: str) -> str:
    """A fused multiply-add with one rounding, on every machine."""
    if x.dtype not in dt.NARROW_FLOATS and (x.target.has_fma or x.element == "double"):
        return x.call("llvm.fma", a, b, c)
    return _fma_in_double(x, a, b, c)


def _fma_in_double(x: Lanes, a: str, b: str, c: str) -> str:
    """The product is exact in double; the sum is rounded to odd, then once more.

    Boldo and Melquiond, "Emulation of FMA and correctly rounded sums", 2008.
    """
    d = Lanes(x.em, x.target, dt.FLOAT64, x.lanes)
    p, w = (d.op("fmul", *(_extend(x, v) for v in (a, b))), _extend(x, c))
    total = d.op("fadd", p, w)
    bb = d.op("fsub", total, p)
    error = d.op(
        "fadd",
        d.op("fsub", p, d.op("fsub", total, bb)),
        d.op("fsub", w, bb),
    )
    wide = vec("i64", x.lanes)
    bits = x.em.op(f"bitcast {d.type} {total} to {wide}")

    def whole(n: int) -> str:
        return constant("i64", n, x.lanes)

    low = x.em.op(f"and {wide} {bits}, {whole(1)}")
    even = x.em.op(f"icmp eq {wide} {low}, {whole(0)}")
    # Ordered: where the sum is not finite the error is NaN, and nothing moves.
    inexact = d.both("and", even, d.op("fcmp one", error, d.const(0.0)))
    opposite = d.both(
        "xor",
        d.op("fcmp ogt", error, d.const(0.0)),
        d.op("fcmp ogt", total, d.const(0)),
    )
    step = x.em.op(f"select {x.mask} {opposite}, {wide} {whole(-1)}, {wide} {whole(1)}")
    moved = x.em.op(f"add {wide} {bits}, {step}")
    odd = x.em.op(f"select {x.mask} {inexact}, {wide} {moved}, {wide} {bits}")
    result = x.em.op(f"bitcast {wide} {odd} to {d.type}")
    return convert(x.em, result, dt.FLOAT64, x.dtype, x.lanes)


def _extend(x: Lanes, value: str) -> str:
    return x.em.op(f"fpext {x.type} {value} to {vec('double', x.lanes)}")


def _math_rule(name: str, dtype: np.dtype) -> Rule | None:
    """Return the rule that calls `vmath`; narrow types are computed in float."""
    name = _MATH_NAMES.get(name, name)
    code = _code(dtype)
    if (name, code) not in vmath.SUPPORTED:
        return None
    return lambda x, *values: vmath.emit(x.em, name, code, x.lanes, values, x.target)


def is_math(name: str) -> bool:
    """Tell whether a primitive is many instructions: a function, not an operation."""
    return name in _LONG or is_function(name)


def is_function(name: str) -> bool:
    """Tell whether a primitive is one of the elementary functions of `vmath`."""
    if name in _EXACT_FLOAT or name in _ROUNDED_FLOAT:
        return False
    return (_MATH_NAMES.get(name, name), "f64") in vmath.SUPPORTED


def is_in_doubles(name: str, dtype: np.dtype) -> bool:
    """Tell whether a function of `vmath` on narrower floats is computed in doubles."""
    return dtype != dt.FLOAT64 and _MATH_NAMES.get(name, name) in vmath.IN_DOUBLES


def _comparison(code: str) -> Rule:
    return lambda x, a, b: x.op(f"fcmp {code}", a, b)


# Results that need no rounding to a narrow type: choices, signs, comparisons.
_EXACT_FLOAT: Mapping[str, Rule] = {
    "neg": _instruction("fneg"),
    "abs": _intrinsic("llvm.fabs"),
    "sign": _float_sign,
    "copysign": _intrinsic("llvm.copysign"),
    "maximum": _float_extremum("ogt"),
    "minimum": _float_extremum("olt"),
    "fmax": _float_number_extremum("ogt"),
    "fmin": _float_number_extremum("olt"),
    "floor": _rounding("floor"),
    "ceil": _rounding("ceil"),
    "trunc": _rounding("trunc"),
    "rint": _rounding("rint"),
    "eq": _comparison("oeq"),
    "ne": _comparison("une"),
    "lt": _comparison("olt"),
    "le": _comparison("ole"),
    "gt": _comparison("ogt"),
    "ge": _comparison("oge"),
    "isnan": lambda x, a: x.op("fcmp uno", a, a),
    "isinf": _isinf,
    "isfinite": _isfinite,
    "signbit": _signbit,
    "fma": _fma,
}
_ROUNDED_FLOAT: Mapping[str, Rule] = {
    "add": _instruction("fadd"),
    "sub": _instruction("fsub"),
    "mul": _instruction("fmul"),
    "div": _instruction("fdiv"),
    "sqrt": _intrinsic("llvm.sqrt"),
    "fmod": late(__package__, "quotients", "fmod"),
    "floor_divide": late(__package__, "quotients", "floor_divide"),
    "remainder": late(__package__, "quotients", "remainder"),
}
_SINGLE_ONLY: Mapping[str, Rule] = {"nextafter": _nextafter}

# --- booleans ---------------------------------------------------------------------

_BOOLEAN: Mapping[str, Rule] = {
    "and": _instruction("and"),
    "or": _instruction("or"),
    "xor": _instruction("xor"),
    "not": lambda x, a: x.op("xor", a, x.const(True)),
    "maximum": _instruction("or"),
    "minimum": _instruction("and"),
    "fmax": _instruction("or"),
    "fmin": _instruction("and"),
    "eq": _instruction("icmp eq"),
    "ne": _instruction("icmp ne"),
    "lt": _instruction("icmp ult"),
    "le": _instruction("icmp ule"),
    "gt": _instruction("icmp ugt"),
    "ge": _instruction("icmp uge"),
}

# --- integers ---------------------------------------------------------------------


def _int_comparison(code: str) -> Rule:
    def rule(x: Lanes, a: str, b: str) -> str:
        return x.op(f"icmp {'s' if is_signed(x.dtype) else 'u'}{code}", a, b)

    return rule


def _int_extremum(name: str) -> Rule:
    def rule(x: Lanes, a: str, b: str) -> str:
        return x.call(f"llvm.{'s' if is_signed(x.dtype) else 'u'}{name}", a, b)

    return rule


def _int_abs(x: Lanes, a: str) -> str:
    if not is_signed(x.dtype):
        return a
    return x.call("llvm.smax", a, x.op("sub", x.const(0), a))


def _int_sign(x: Lanes, a: str) -> str:
    positive = x.em.op(f"zext {x.mask} {x.op('icmp ne', a, x.const(0))} to {x.type}")
    if not is_signed(x.dtype):
        return positive
    below = x.op("icmp slt", a, x.const(0))
    return x.select(below, x.const(-1), positive)


_INTEGER: Mapping[str, Rule] = {
    "neg": lambda x, a: x.op("sub", x.const(0), a),
    "add": _instruction("add"),
    "sub": _instruction("sub"),
    "mul": _instruction("mul"),
    "floor_divide": late(__package__, "integers", "floor_divide"),
    "remainder": late(__package__, "integers", "remainder"),
    "fmod": late(__package__, "integers", "fmod"),
    "maximum": _int_extremum("max"),
    "minimum": _int_extremum("min"),
    "fmax": _int_extremum("max"),
    "fmin": _int_extremum("min"),
    "abs": _int_abs,
    "sign": _int_sign,
    "and": _instruction("and"),
    "or": _instruction("or"),
    "xor": _instruction("xor"),
    "not": lambda x, a: x.op("xor", a, x.const(-1)),
    "shift_left": late(__package__, "integers", "shift_left"),
    "shift_right": late(__package__, "integers", "shift_right"),
    "eq": _instruction("icmp eq"),
    "ne": _instruction("icmp ne"),
    "lt": _int_comparison("lt"),
    "le": _int_comparison("le"),
    "gt": _int_comparison("gt"),
    "ge": _int_comparison("ge"),
}
