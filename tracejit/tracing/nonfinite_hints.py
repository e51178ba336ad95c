"""What to try where NaN or inf was made: by operation, operands, value or gradient."""

from collections.abc import Callable, Sequence

import numpy as np

from ..ir.origins import Fault, Origin

Values = list[object]
_INF_SLOPES = {
    "sqrt": "sqrt has an infinite slope at 0: keep its argument above 0 before it, "
    "e.g. np.sqrt(x + 1e-12) or np.sqrt(np.where(x > 0, x, 1))",
    "log": "log has the slope 1/x: keep its argument above 0 before it, e.g. "
    "np.log(x + 1e-12) or np.log(np.maximum(x, 1e-12))",
    "pow": "x ** p has the slope p * x ** (p - 1), and log(x) in p: keep x above 0",
    "cbrt": "cbrt has an infinite slope at 0: keep its argument away from 0",
    "hypot": "a distance has no slope at 0: add a small number under the root",
    "div": "x / y has the slope x / y**2: keep y away from 0 before the division",
    "arcsin": "arcsin has an infinite slope at -1 and 1: clip its argument inside",
    "arccos": "arccos has an infinite slope at -1 and 1: clip its argument inside",
    "arccosh": "arccosh has an infinite slope at 1: keep its argument above 1",
    "arctanh": "arctanh has an infinite slope at -1 and 1: clip its argument inside",
    "log1p": "log1p has the slope 1/(1 + x): keep its argument above -1",
    "arctan2": "arctan2 has no slope at (0, 0): keep its arguments away from there",
}
_WHERE = "a np.where after it hides the value, not the slope: choose before it"


def hint_for(origin: Origin, at_line: Sequence[str], hides: bool) -> str:
    """Return what to try where an equation made NaN or inf.

    Parameters
    ----------
    origin : Origin
        That has a fault.
    at_line : sequence of str
        Names of the primitives that compute the value of the line.
    hides : bool
        Whether a `np.where` may leave the value out.
    """
    fault = origin.fault
    assert fault is not None
    if origin.in_derivative:
        steep = next((n for n in _INF_SLOPES if n in at_line), None)
        if steep is not None:
            return _INF_SLOPES[steep] + (f"; {_WHERE}" if hides else "")
    values = [x.value for x in fault.operands]
    rule = _RULES.get(fault.eqn.primitive.name)
    found = "" if rule is None else rule(values)
    found = found or _overflow(fault)
    return f"{found}; {_WHERE}" if hides and origin.slope is not None else found


def _overflow(fault: Fault) -> str:
    dtype = fault.eqn.outvars[fault.result].aval.dtype
    if np.isinf(fault.value):  # type: ignore[call-overload]
        return (
            f"the number is too large for {dtype}: scale it down, or use a wider dtype"
        )
    return (
        "look at the operands above; np.where or np.clip before this line avoids them"
    )


def _is(value: object, test: Callable[[object], object]) -> bool:
    return value is not None and bool(test(value))


def _is_zero(x: object) -> bool:
    return _is(x, lambda v: v == 0)


def _is_inf(x: object) -> bool:
    return _is(x, lambda v: np.isinf(v))  # type: ignore[call-overload]


def _div(values: Values) -> str:
    x, y = values
    if _is_zero(x) and _is_zero(y):
        return "0 / 0: keep the divisor away from 0, or choose with np.where before it"
    if _is_zero(y):
        return "division by 0: add a small number, or np.where(y != 0, y, 1) before it"
    if _is_inf(x) and _is_inf(y):
        return "inf / inf: subtract the largest exponent first (softmax, logsumexp)"
    return "the quotient is too large for its dtype: scale it, or use a wider dtype"


def _difference(values: Values) -> str:
    if any(map(_is_inf, values)):
        return (
            "inf - inf: a row that is masked as a whole has -inf alone; mask with a "
            "large finite number, or leave such rows out"
        )
    return ""


def _mul(values: Values) -> str:
    if any(map(_is_inf, values)) and any(map(_is_zero, values)):
        return "0 * inf: choose with np.where in place of multiplying by a mask"
    return ""


def _log(values: Values) -> str:
    if _is_zero(values[0]):
        return "log of 0: np.log(np.maximum(x, 1e-12)), or np.log1p for 1 + x"
    return "log of a negative number: keep its argument above 0"


def _exp(values: Values) -> str:
    return "exp overflows: subtract the maximum first, np.exp(x - x.max())"


def _power(values: Values) -> str:
    x = values[0]
    if _is_zero(x):
        return "0 to a negative power: keep the base away from 0"
    if _is(x, lambda v: v < 0):  # type: ignore[operator]
        return "a negative number to a power that is no integer: np.abs it, or clip it"
    return ""


def _domain(what: str) -> Callable[[Values], str]:
    return lambda values: what


_RULES: dict[str, Callable[[Values], str]] = {
    "div": _div,
    "sub": _difference,
    "add": _difference,
    "mul": _mul,
    "log": _log,
    "log2": _log,
    "log10": _log,
    "log1p": _domain("log1p of -1 or less: keep its argument above -1"),
    "exp": _exp,
    "exp2": _exp,
    "expm1": _exp,
    "cosh": _exp,
    "sinh": _exp,
    "pow": _power,
    "sqrt": _domain("sqrt of a negative number: np.maximum(x, 0) before it"),
    "arcsin": _domain("arcsin is for -1 to 1: np.clip(x, -1, 1) before it"),
    "arccos": _domain("arccos is for -1 to 1: np.clip(x, -1, 1) before it"),
    "arccosh": _domain("arccosh is for numbers from 1: np.maximum(x, 1) before it"),
    "arctanh": _domain("arctanh is for numbers between -1 and 1: clip them inside"),
    "remainder": _domain("a remainder of division by 0: keep the divisor away from 0"),
    "fmod": _domain("a remainder of division by 0: keep the divisor away from 0"),
    "floor_divide": _domain("division by 0: keep the divisor away from 0"),
    "sin": _domain("sin of inf: what made the inf is the fault"),
    "cos": _domain("cos of inf: what made the inf is the fault"),
    "tan": _domain("tan of inf: what made the inf is the fault"),
    "gather": _domain("an index is out of range, and such elements are NaN"),
    "reduce_sum": _domain("the sum is too large for its dtype, or adds inf and -inf"),
    "dot_general": _domain(
        "the product is too large for its dtype, or adds inf to -inf"
    ),
    "convert": _domain("the number is too large for this dtype: scale it first"),
}
