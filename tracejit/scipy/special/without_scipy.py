"""The formulas as functions of any arrays and numbers, for where SciPy is missing.

Establishes what SciPy's ufuncs decide otherwise: integers compute in float64, float16
and bfloat16 in float32, and Python's numbers take the dtype of the arrays beside them.
"""

import functools
from typing import Any

import numpy as np

from ...nn.operands import is_narrow, operand
from ...tracing.functions.special import FORMULAS, Formula


@functools.cache
def standalone(name: str) -> Formula:
    """Return the formula of a name as a function of anything like arrays."""
    formula = FORMULAS[name]

    @functools.wraps(formula)
    def run(*operands: Any) -> Any:
        dtype = _common(operands)
        found = formula(*(operand(x).astype(dtype) for x in operands))
        return found if getattr(found, "shape", ()) else found[()]

    run.__name__ = name
    return run


def _common(operands: tuple[Any, ...]) -> np.dtype:
    kinds = [x if type(x) in (bool, int, float) else operand(x).dtype for x in operands]
    dtype = np.result_type(*kinds)
    if dtype.kind in "biu":
        return np.dtype(np.float64)
    return np.dtype(np.float32) if is_narrow(dtype) else dtype
