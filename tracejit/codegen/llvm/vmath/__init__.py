"""Vector math: straight-line LLVM text for the elementary functions.

`emit` writes a function over a vector (or a scalar: one lane), inline or as a call.
Needs an `Emitter`; establishes results within the bounds that ``docs/numerics.md``
lists, with NaN, infinities, signed zeros and subnormals as in NumPy, on every target.
Nothing here sets or reads the floating-point environment.

Without hardware FMA, float32 functions work in doubles; float64 functions replace
each fused operation by two and error-free products by Dekker's.
"""

from collections.abc import Callable, Sequence

from ....late import late
from ..target import Target
from ..text import Emitter, vec
from . import basic
from .vector import Vector, narrow, widen

Formula = Callable[..., str]

_FORMULAS: dict[str, Formula] = {
    "exp": late(__name__, "exponential", "exp"),
    "exp2": late(__name__, "exponential", "exp2"),
    "expm1": late(__name__, "exponential", "expm1"),
    "sigmoid": late(__name__, "exponential", "sigmoid"),
    "tanh": late(__name__, "exponential", "tanh"),
    "sinh": late(__name__, "exponential", "sinh"),
    "cosh": late(__name__, "exponential", "cosh"),
    "log": late(__name__, "logarithm", "log"),
    "log2": late(__name__, "logarithm", "log2"),
    "log10": late(__name__, "logarithm", "log10"),
    "log1p": late(__name__, "logarithm", "log1p"),
    "sin": late(__name__, "trigonometric", "sin"),
    "cos": late(__name__, "trigonometric", "cos"),
    "tan": late(__name__, "trigonometric", "tan"),
    "arcsin": late(__name__, "inverse", "arcsin"),
    "arccos": late(__name__, "inverse", "arccos"),
    "arctan": late(__name__, "inverse", "arctan"),
    "arctan2": late(__name__, "inverse", "arctan2"),
    "arcsinh": late(__name__, "inverse", "arcsinh"),
    "arccosh": late(__name__, "inverse", "arccosh"),
    "arctanh": late(__name__, "inverse", "arctanh"),
    "erf": late(__name__, "special", "erf"),
    "erfc": late(__name__, "special", "erfc"),
    "cbrt": late(__name__, "special", "cbrt"),
    "hypot": late(__name__, "special", "hypot"),
    "logaddexp": late(__name__, "special", "logaddexp"),
    "pow": late(__name__, "special", "power"),
}
# Where there are tables in registers.
BY_TABLES: dict[tuple[str, str], Formula] = {
    ("tanh", "f32"): late(__name__, "lookup", "tanh"),
    ("erf", "f32"): late(__name__, "lookup", "erf"),
    ("hypot", "f32"): late(__name__, "roots", "hypot"),
    ("pow", "f32"): late(__name__, "lookup_pow", "power_short"),
    ("pow", "f64"): late(__name__, "lookup_pow", "power"),
} | {
    (name, dtype): late(__name__, "lookup_log", name)
    for name in ("log", "log2", "log10", "log1p")
    for dtype in ("f32", "f64")
}
# Exact, in their own type on every machine.
_BASIC: dict[str, Formula] = {
    "sqrt": basic.sqrt,
    "fabs": basic.fabs,
    "copysign": basic.copysign,
    "fma": basic.fma,
    "rint": basic.rint,
    "floor": basic.floor,
    "ceil": basic.ceil,
    "trunc": basic.trunc,
    "maximum": basic.maximum,
    "minimum": basic.minimum,
    "fmax": basic.fmax,
    "fmin": basic.fmin,
    "fmod": late(__name__, "remainder", "fmod"),
}
# Of float32: those that a formula in doubles is best for.
IN_DOUBLES: dict[str, Formula] = {
    "sigmoid": late(__name__, "short", "sigmoid"),
    "sinh": late(__name__, "short", "sinh"),
    "cosh": late(__name__, "short", "cosh"),
    "arctan2": late(__name__, "short", "arctan2"),
    "arcsinh": late(__name__, "short", "arcsinh"),
    "arccosh": late(__name__, "short", "arccosh"),
    "arctanh": late(__name__, "short", "arctanh"),
    "erfc": late(__name__, "short", "erfc"),
    "hypot": late(__name__, "roots", "hypot_in_doubles"),
    "logaddexp": late(__name__, "short", "logaddexp"),
    "pow": late(__name__, "short", "power"),
}

SUPPORTED: frozenset[tuple[str, str]] = frozenset(
    (name, dtype) for name in _FORMULAS | _BASIC for dtype in ("f32", "f64")
)

# From here on functions are called: what LLVM takes for a kernel grows with its lines,
# what calls cost is little beside so many of them.
INLINE_LINES = 500


def emit(
    em: Emitter,
    name: str,
    dtype: str,
    lanes: int,
    args: Sequence[str],
    target: Target,
) -> str:
    """Emit a function over ``lanes`` values; return the name of its result.

    Where much is written already it is a call of a function that the module has once.

    Parameters
    ----------
    em : Emitter
    name : str
        A name for which ``(name, dtype)`` is in `SUPPORTED`.
    dtype : str
        ``f32`` or ``f64``.
    lanes : int
        One means scalars.
    args : sequence of str
        SSA names (or constants) of the operands, of type ``vec(element, lanes)``.
    target : Target
        What the module is compiled for.

    Raises
    ------
    KeyError
        If the function is not supported.

    Examples
    --------
    >>> em = Emitter()
    >>> y = emit(em, "exp", "f32", 16, ["%x"], host_target())  # doctest: +SKIP
    """
    if name in _BASIC or len(em.lines) < INLINE_LINES:
        return _inline(em, name, dtype, lanes, args, target)
    type_ = vec("double" if dtype == "f64" else "float", lanes)
    symbol = f"tracejit.{name}.{dtype}.{lanes}"
    if symbol not in em.globals_:
        inner = Emitter(em.declarations, em.globals_)
        names = [f"%x{k}" for k in range(len(args))]
        inner.ret(type_, _inline(inner, name, dtype, lanes, names, target))
        em.globals_[symbol] = inner.function(
            symbol,
            [f"{type_} {x}" for x in names],
            result=type_,
            linkage="internal",
            attributes="noinline nounwind",
        )
    return em.call(type_, symbol, [(type_, x) for x in args])


def _inline(
    em: Emitter,
    name: str,
    dtype: str,
    lanes: int,
    args: Sequence[str],
    target: Target,
) -> str:
    if name in _BASIC:
        element = "double" if dtype == "f64" else "float"
        return _BASIC[name](Vector(em, element, lanes, dtype, target), *args)
    formula = _FORMULAS[name]
    if dtype == "f32":
        formula = IN_DOUBLES.get(name, formula)
    if target.has_tables:
        formula = BY_TABLES.get((name, dtype), formula)
    if dtype == "f64":
        return formula(Vector(em, "double", lanes, "f64", target), *args)
    if target.has_fma or name in IN_DOUBLES:
        return formula(Vector(em, "float", lanes, "f32", target), *args)
    wide = Vector(em, "double", lanes, "f32", target)
    return narrow(wide, formula(wide, *(widen(wide, x) for x in args)))
