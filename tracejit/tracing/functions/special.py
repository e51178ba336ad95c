"""Special functions as formulas: of arrays in NumPy, traced where an operand is.

Needs the primitives ``erf``, ``erfc`` and ``logistic``; establishes functions that run
without SciPy, fuse, and are differentiated through their formulas. They are what the
ufuncs of `scipy.special` of the same names trace to (`FORMULAS`).
"""

from collections.abc import Callable
from math import sqrt
from typing import Any

import numpy as np

from ...ir.graph import Atom
from ...ir.ops import elementwise as ew
from ...ir.primitive import Primitive
from .. import ufuncs
from ..trace import Trace
from ..tracer import Tracer
from .registry import dispatch, implements, lift, wrap

Formula = Callable[..., Any]


def _of_primitive(name: str, summary: str, primitive: Primitive) -> Formula:
    """Return the function of one float operand that is a primitive."""

    def function(x: Any) -> Any:
        if isinstance(x, Tracer):
            return dispatch(function, (x,), {})
        return np.asarray(primitive.impl(np.asarray(x)))[()]

    @implements(function)
    def traced(x: Any) -> Any:
        trace, (operand,) = lift(x)
        return wrap(trace, trace.emit(primitive, operand.read()))

    function.__name__, function.__doc__ = name, summary
    return function


erf = _of_primitive("erf", "Return 2/√π ∫₀ˣ e^(-t²) dt (DLMF 7.2.1).", ew.erf_p)
erfc = _of_primitive("erfc", "Return 1 - erf x, precise where small.", ew.erfc_p)
expit = _of_primitive("expit", "Return 1 / (1 + e^-x).", ew.logistic_p)


def log_expit(x: Any) -> Any:
    """Return the logarithm of the logistic function: -log(1 + e^-x)."""
    return -np.logaddexp(-x, x.dtype.type(0))


def logit(x: Any) -> Any:
    """Return log(x / (1 - x)); from differences of 1/2 where x is near it."""
    is_near = np.abs(x - 0.5) < 0.2
    turn = 2 * (np.where(is_near, x, x.dtype.type(0.5)) - 0.5)
    far = np.where(is_near, x.dtype.type(0.25), x)
    near_half = np.log1p(turn) - np.log1p(-turn)
    return np.where(is_near, near_half, np.log(far / (1 - far)))


def ndtr(x: Any) -> Any:
    """Return the distribution function of normal numbers: erfc(-x/√2) / 2."""
    return erfc(x * -sqrt(0.5)) * 0.5


def xlogy(x: Any, y: Any) -> Any:
    """Return x log y, and 0 where x is 0 and y is not NaN."""
    is_zero = (x == 0) & ~np.isnan(y)
    return np.where(is_zero, _zero(x, y), x * np.log(np.where(is_zero, _one(y), y)))


def xlog1py(x: Any, y: Any) -> Any:
    """Return x log(1 + y), and 0 where x is 0 and y is not NaN."""
    is_zero = (x == 0) & ~np.isnan(y)
    return np.where(is_zero, _zero(x, y), x * np.log1p(np.where(is_zero, _zero(y), y)))


def entr(x: Any) -> Any:
    """Return -x log x, 0 at 0, and -inf below it."""
    safe = np.where(x > 0, x, _one(x))
    outside = np.where(x < 0, x.dtype.type(-np.inf), x.dtype.type(0))
    inside = (x > 0) | np.isnan(x)
    return np.where(inside, -np.where(inside, x, _one(x)) * np.log(safe), outside)


def rel_entr(x: Any, y: Any) -> Any:
    """Return x log(x/y) where both are positive, 0 where x is 0, else inf."""
    total, at_zero = _divergence(x, y)
    zero, infinite = _zero(x, y), x.dtype.type(np.inf)
    return np.where(_is_inside(x, y), total, np.where(at_zero, zero, infinite))


def kl_div(x: Any, y: Any) -> Any:
    """Return x log(x/y) - x + y where both are positive, y where x is 0, else inf."""
    total, at_zero = _divergence(x, y)
    infinite = x.dtype.type(np.inf)
    return np.where(_is_inside(x, y), total - x + y, np.where(at_zero, y, infinite))


def _is_inside(x: Any, y: Any) -> Any:
    """Tell where a divergence is a formula, or NaN."""
    return ((x > 0) & (y > 0)) | np.isnan(x) | np.isnan(y)


def _divergence(x: Any, y: Any) -> tuple[Any, Any]:
    """Return x log(x/y), which is safe to differentiate everywhere, and where x is 0.

    The logarithm is of the quotient, which is near 1 where the divergence is small;
    where that overflows or underflows it is the difference of two.
    """
    inside = _is_inside(x, y)
    a, b = np.where(inside, x, _one(x)), np.where(inside, y, _one(y))
    ratio = a / b
    tiny = np.finfo(x.dtype).tiny
    is_plain = (ratio > tiny) & (ratio < 1 / tiny)
    one_log = np.log(np.where(is_plain, ratio, _one(x)))
    two_logs = np.log(np.where(is_plain, _one(x), a)) - np.log(
        np.where(is_plain, _one(y), b)
    )
    return a * np.where(is_plain, one_log, two_logs), (x == 0) & (y >= 0)


def _one(x: Any) -> Any:
    return x.dtype.type(1)


def _zero(x: Any, *others: Any) -> Any:
    return np.result_type(x.dtype, *(y.dtype for y in others)).type(0)


FORMULAS: dict[str, Formula] = {
    formula.__name__: formula
    for formula in (
        erf,
        erfc,
        expit,
        log_expit,
        logit,
        ndtr,
        xlogy,
        xlog1py,
        entr,
        rel_entr,
        kl_div,
    )
}


def _lowering(formula: Formula) -> ufuncs.Lowering:
    """Return what a ufunc of SciPy becomes: the formula, recorded."""

    def lower(trace: Trace, *atoms: Atom) -> Atom:
        found: Tracer = formula(*(wrap(trace, atom) for atom in atoms))
        return found.read()

    return lower


ufuncs.SCIPY_LOWERINGS.update({n: _lowering(f) for n, f in FORMULAS.items()})
