"""Arithmetic of traced Python scalars, by Python's rules and not NumPy's.

An int argument that changes from call to call is such a scalar: it is an i64 at run
time, so results beyond 64 bits wrap (documented), and it stays weak when it meets an
array.
"""

import operator
from collections.abc import Callable
from typing import Any

import numpy as np

from ..ir import dtypes as dt
from . import ufuncs
from .storage import Kind
from .tracer import Tracer, depends_of

OPERATORS: dict[str, tuple[Callable[..., Any], np.ufunc]] = {
    "add": (operator.add, np.add),
    "sub": (operator.sub, np.subtract),
    "mul": (operator.mul, np.multiply),
    "truediv": (operator.truediv, np.true_divide),
    "floordiv": (operator.floordiv, np.floor_divide),
    "mod": (operator.mod, np.remainder),
    "pow": (operator.pow, np.power),
    "divmod": (divmod, np.divmod),
    "and": (operator.and_, np.bitwise_and),
    "or": (operator.or_, np.bitwise_or),
    "xor": (operator.xor, np.bitwise_xor),
    "lshift": (operator.lshift, np.left_shift),
    "rshift": (operator.rshift, np.right_shift),
    "eq": (operator.eq, np.equal),
    "ne": (operator.ne, np.not_equal),
    "lt": (operator.lt, np.less),
    "le": (operator.le, np.less_equal),
    "gt": (operator.gt, np.greater),
    "ge": (operator.ge, np.greater_equal),
    "neg": (operator.neg, np.negative),
    "pos": (operator.pos, np.positive),
    "abs": (abs, np.absolute),
    "invert": (operator.invert, np.invert),
}


def binary(name: str, x: object, y: object) -> Any:
    """Apply a Python operator to scalars of which one is traced."""
    if name == "divmod":
        return binary("floordiv", x, y), binary("mod", x, y)
    if name == "pow" and _is_int(x) and _is_int(y) and _may_be_negative(y):
        x = ufuncs.apply(np.multiply, (x, 1.0))
    if name in ("add", "sub", "mul", "pow") and _is_bool(x) and _is_bool(y):
        x = ufuncs.apply(np.multiply, (x, 1))
    return _as_python(name, (x, y), ufuncs.apply(OPERATORS[name][1], (x, y)))


def unary(name: str, x: Tracer) -> Any:
    """Apply a Python operator to a traced scalar."""
    y: object = ufuncs.apply(np.multiply, (x, 1)) if _is_bool(x) else x
    return _as_python(name, (x,), ufuncs.apply(OPERATORS[name][1], (y,)))


def _as_python(name: str, operands: tuple[Any, ...], out: Tracer) -> Tracer:
    """Make a Python scalar of `out`; its value is Python's own result."""
    traced = [x for x in operands if isinstance(x, Tracer)]
    known = None
    if all(x.storage.known for x in traced):
        values = [_value(x) for x in operands]
        known = _computed(name, values, out.dtype)
    return out.home.result(
        out.read(), known, kind=Kind.PYTHON, depends=depends_of(traced)
    )


def _value(x: Any) -> Any:
    return x.shadow.item() if isinstance(x, Tracer) else x


def _computed(name: str, values: list[Any], dtype: np.dtype) -> np.ndarray | None:
    """Python's result, when it fits the dtype it has at run time."""
    found = np.asarray(OPERATORS[name][0](*values))
    return found.astype(dtype) if found.dtype.kind == dtype.kind else None


def _is_int(x: object) -> bool:
    return np.asarray(getattr(x, "shadow", x)).dtype.kind in "iu"


def _is_bool(x: object) -> bool:
    return np.asarray(getattr(x, "shadow", x)).dtype == dt.BOOL


def _may_be_negative(x: object) -> bool:
    return not isinstance(x, int) or x < 0
