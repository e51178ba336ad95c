"""Triton text for each elementwise primitive, on real dtypes.

`can_emit` tells what the table has; `expression` writes it. Integers and booleans are
NumPy's to the bit. Floats are one IEEE operation where NumPy's are; functions are those
of CUDA's libdevice, within a few units in the last place. Narrow floats
(halves, float8) are computed in float32 and rounded (an ``fma`` of them is rounded
twice). A float out of an integer's range converts to what the GPU gives, as in C it
may; float8 gives what ml_dtypes gives.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from ...errors import UnsupportedError
from ...ir import dtypes as dt
from ...ir.primitive import Kind, Params, Primitive
from . import float8
from .values import (
    constant,
    is_real_float,
    is_signed,
    loaded,
    memory_type,
    number,
    register_type,
    rounded,
    stored,
)


@dataclass(frozen=True)
class Operand:
    """An operand as text.

    Parameters
    ----------
    name : str, optional
        Of the variable; None for a constant.
    value : object
        Of a constant.
    dtype : numpy.dtype
    """

    name: str | None
    dtype: np.dtype
    value: object = None

    @property
    def term(self) -> str:
        """The operand beside an operator, where Python numbers take its dtype."""
        if self.name is not None:
            return self.name
        text = number(self.value, self.dtype)
        return f"({text})" if text.startswith("-") else text

    @property
    def argument(self) -> str:
        """The operand of a function, which must know its dtype."""
        return constant(self.value, self.dtype) if self.name is None else self.name


Rule = Callable[..., str]
_FLOAT16 = dt.NAME_TO_DTYPE["f16"]


def can_emit(primitive: Primitive, dtypes: Sequence[np.dtype]) -> bool:
    """Tell whether Triton kernels may contain `primitive` on operands of these dtypes.

    Parameters
    ----------
    primitive : Primitive
    dtypes : sequence of numpy.dtype
        Of the operands.

    Examples
    --------
    >>> from tracejit.ir.ops.elementwise import add_p
    >>> can_emit(add_p, (np.dtype("f4"), np.dtype("f4")))
    True
    """
    if primitive.kind is not Kind.ELEMENTWISE or not dtypes:
        return False
    if any(d.kind == "c" for d in dtypes):
        return False
    if primitive.name in _ANY:
        return True
    return _rule(primitive.name, dtypes[-1]) is not None


def expression(
    primitive: Primitive,
    params: Params,
    operands: Sequence[Operand],
    result: np.dtype,
) -> str:
    """Return one primitive as an expression of the register type of `result`.

    Raises
    ------
    UnsupportedError
        If the table has no such primitive for the dtype.
    """
    dtype = operands[-1].dtype
    if not can_emit(primitive, [x.dtype for x in operands]) or result.kind == "c":
        raise UnsupportedError(
            f"primitive {primitive.name} of {dt.dtype_name(dtype)} has no Triton form",
            hint="run it on the CPU, or compute in a real dtype of 32 bits or more",
        )
    if primitive.name == "convert":
        return converted(operands[0], result)
    if primitive.name == "bitcast":
        return _bitcast(operands[0], result)
    if primitive.name == "stop_gradient":
        return operands[0].argument
    if primitive.name == "select":
        return _select(*operands)
    rule = _rule(primitive.name, dtype)
    assert rule is not None
    if all(x.name is None for x in operands):  # two Python numbers would have no dtype
        operands = [Operand(operands[0].argument, dtype), *operands[1:]]
    text = rule(*operands)
    return text if primitive.name in _EXACT_FLOAT else rounded(text, result)


def _rule(name: str, dtype: np.dtype) -> Rule | None:
    if dtype.kind == "b":
        return _BOOLEAN.get(name)
    if not is_real_float(dtype):
        return _INTEGER.get(name)
    if name in _EXACT_FLOAT:
        return _EXACT_FLOAT[name]
    if name in _NOT_NARROW:
        return None if dtype in dt.NARROW_FLOATS else _NOT_NARROW[name]
    return _ROUNDED_FLOAT.get(name)


def converted(x: Operand, to: np.dtype) -> str:
    """Return an operand converted as by ``astype``; integers wrap."""
    source, text = x.dtype, x.argument
    if source == to:
        return text
    if to.kind == "b":
        return f"{text} != 0"
    if is_real_float(to):
        if to == _FLOAT16 and source == dt.FLOAT64:  # one rounding, not two
            return f"{text}.to(tl.float16).to(tl.float32)"
        wide = register_type(to)
        text = text if register_type(source) == wide else f"{text}.to({wide})"
        return rounded(text, to)
    if source in dt.FLOAT8S:
        whole = _truncated(f"finite_or_zero({text})", dt.FLOAT32, to)
        return float8.integer(text, source, whole, to)
    return _truncated(text, source, to)


def _bitcast(x: Operand, to: np.dtype) -> str:
    """Return an operand's bits in memory as another dtype of the same size."""
    if x.dtype == to:
        return x.argument
    if x.dtype.kind == "b":  # one bit to Triton, a byte in memory
        bits = f"{x.argument}.to({memory_type(to)})"
        return loaded(bits, to)
    bits = stored(x.argument, x.dtype)
    if to.kind == "b":
        return f"{bits}.to(tl.uint8, bitcast=True) != 0"
    return loaded(f"{bits}.to({memory_type(to)}, bitcast=True)", to)


def _truncated(text: str, source: np.dtype, to: np.dtype) -> str:
    """Return a conversion to an integer dtype."""
    if is_real_float(source) and to.itemsize < 8 and to != np.int32:
        # The low bits of a wider conversion, as in C on most machines.
        middle = "tl.int64" if to.itemsize == 4 else "tl.int32"
        return f"{text}.to({middle}).to({memory_type(to)})"
    return f"{text}.to({memory_type(to)})"


def _select(condition: Operand, yes: Operand, no: Operand) -> str:
    """Beside a variable, a Python number takes its dtype."""
    values = [yes, no]
    if yes.name is None and no.name is None:
        texts = [x.argument for x in values]
    else:
        texts = [x.name or number(x.value, x.dtype) for x in values]
    return f"tl.where({condition.argument}, {', '.join(texts)})"


def _infix(sign: str) -> Rule:
    return lambda a, b: f"{a.term} {sign} {b.term}"


def _call(name: str) -> Rule:
    return lambda *xs: f"{name}({', '.join(x.argument for x in xs)})"


def _shift(name: str) -> Rule:
    def rule(a: Operand, b: Operand) -> str:
        bits = 8 * a.dtype.itemsize
        prefix = "u" if name == "shift_right" and not is_signed(a.dtype) else ""
        return f"{prefix}{name}({a.argument}, {b.argument}, {bits})"

    return rule


def _integer(signed: str, unsigned: str) -> Rule:
    def rule(*xs: Operand) -> str:
        return _call(signed if is_signed(xs[0].dtype) else unsigned)(*xs)

    return rule


def _identity(a: Operand) -> str:
    return a.argument


def _int_abs(a: Operand) -> str:
    return f"int_abs({a.argument})" if is_signed(a.dtype) else a.argument


def _int_not(a: Operand) -> str:
    if is_signed(a.dtype):
        return f"~{a.argument}"
    return f"{a.argument} ^ {np.iinfo(a.dtype).max}"  # Triton's ~ is of signed ones


def _int_sign(a: Operand) -> str:
    if is_signed(a.dtype):
        return f"int_sign({a.argument})"
    return f"({a.argument} != 0).to({memory_type(a.dtype)})"


def _signbit(a: Operand) -> str:
    bits = "tl.int64" if a.dtype == dt.FLOAT64 else "tl.int32"
    return f"{a.argument}.to({bits}, bitcast=True) < 0"


_COMPARISONS: Mapping[str, Rule] = {
    "eq": _infix("=="),
    "ne": _infix("!="),
    "lt": _infix("<"),
    "le": _infix("<="),
    "gt": _infix(">"),
    "ge": _infix(">="),
}
_ANY = frozenset({"convert", "bitcast", "select", "stop_gradient"})

# Results that need no rounding to a narrow type: choices, signs, integers, comparisons.
_EXACT_FLOAT: Mapping[str, Rule] = {
    **_COMPARISONS,
    "neg": lambda a: f"{a.term} * -1.0",  # 0 - x would lose the sign of zero
    "abs": _call("tl.abs"),
    "sign": _call("float_sign"),
    "copysign": _call("libdevice.copysign"),
    "maximum": _call("nan_maximum"),
    "minimum": _call("nan_minimum"),
    "fmax": _call("number_maximum"),
    "fmin": _call("number_minimum"),
    "floor": _call("tl.floor"),
    "ceil": _call("tl.ceil"),
    "trunc": _call("truncate"),
    "rint": _call("libdevice.rint"),
    "isnan": lambda a: f"{a.argument} != {a.argument}",
    "isinf": lambda a: f'tl.abs({a.argument}) == float("inf")',
    "isfinite": lambda a: f'tl.abs({a.argument}) < float("inf")',
    "signbit": _signbit,
}
_NOT_NARROW: Mapping[str, Rule] = {"nextafter": _call("libdevice.nextafter")}
_LIBDEVICE = {
    "pow": "pow",
    "cbrt": "cbrt",
    "exp": "exp",
    "exp2": "exp2",
    "expm1": "expm1",
    "log": "log",
    "log2": "log2",
    "log10": "log10",
    "log1p": "log1p",
    "sin": "sin",
    "cos": "cos",
    "tan": "tan",
    "sinh": "sinh",
    "cosh": "cosh",
    "tanh": "tanh",
    "arcsin": "asin",
    "arccos": "acos",
    "arctan": "atan",
    "arcsinh": "asinh",
    "arccosh": "acosh",
    "arctanh": "atanh",
    "arctan2": "atan2",
    "hypot": "hypot",
    "erf": "erf",
    "erfc": "erfc",
    "fmod": "fmod",
}
_ROUNDED_FLOAT: Mapping[str, Rule] = {
    **{name: _call(f"libdevice.{cuda}") for name, cuda in _LIBDEVICE.items()},
    "add": _infix("+"),
    "sub": _infix("-"),
    "mul": _infix("*"),
    "div": _call("divide"),
    "fma": _call("tl.fma"),
    "sqrt": _call("square_root"),
    "floor_divide": _call("float_floor_divide"),
    "remainder": _call("float_remainder"),
    "logaddexp": _call("logaddexp"),
    "logistic": _call("logistic"),
}
_BOOLEAN: Mapping[str, Rule] = {
    "and": _infix("&"),
    "or": _infix("|"),
    "xor": _infix("^"),
    "not": lambda a: f"~{a.argument}",
    "maximum": _infix("|"),
    "minimum": _infix("&"),
    "fmax": _infix("|"),
    "fmin": _infix("&"),
    "eq": lambda a, b: f"~({a.term} ^ {b.term})",
    "ne": _infix("^"),
    "lt": lambda a, b: f"~{a.argument} & {b.argument}",
    "le": lambda a, b: f"~{a.argument} | {b.argument}",
    "gt": lambda a, b: f"{a.argument} & ~{b.argument}",
    "ge": lambda a, b: f"{a.argument} | ~{b.argument}",
}
_INTEGER: Mapping[str, Rule] = {
    **_COMPARISONS,
    "neg": lambda a: f"0 - {a.argument}",
    "add": _infix("+"),
    "sub": _infix("-"),
    "mul": _infix("*"),
    "floor_divide": _integer("int_floor_divide", "uint_floor_divide"),
    "remainder": _integer("int_remainder", "uint_remainder"),
    "fmod": _integer("int_fmod", "uint_remainder"),
    "maximum": _call("tl.maximum"),
    "minimum": _call("tl.minimum"),
    "fmax": _call("tl.maximum"),
    "fmin": _call("tl.minimum"),
    "abs": _int_abs,
    "sign": _int_sign,
    "and": _infix("&"),
    "or": _infix("|"),
    "xor": _infix("^"),
    "not": _int_not,
    "shift_left": _shift("shift_left"),
    "shift_right": _shift("shift_right"),
}
