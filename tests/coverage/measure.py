"""Which of NumPy's functions trace: each sample under `jit` beside NumPy itself."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np

import tracejit as tj

from .samples import HELPERS
from .ufuncs import Case


def function_of(expression: str) -> Callable[..., Any]:
    """The expression as a function of the arguments of the samples."""
    scope: dict[str, Any] = {"np": np}
    exec(HELPERS, scope)
    exec(f"def f(x, y, v, w, i, j, b, c, n, s):\n    return {expression}", scope)
    return scope["f"]


def problem_of(expression: str, arguments: Mapping[str, np.ndarray]) -> str:
    """What `jit` does otherwise than NumPy: an error or a difference; else empty."""
    function = function_of(expression)
    want = function(**{k: a.copy() for k, a in arguments.items()})
    try:
        got = tj.jit(function)(**{k: a.copy() for k, a in arguments.items()})
    except Exception as error:
        return f"{type(error).__name__}: {error}"
    return difference(got, want)


def problem_of_ufunc(case: Case) -> str | None:
    """The same of a call of a ufunc; None where NumPy raises too."""
    try:
        want = case.function(*(x.copy() for x in case.operands))
    except (TypeError, ValueError) as error:
        try:
            tj.jit(lambda *xs: case.function(*xs))(*case.operands)
        except Exception:
            return None
        return f"no error, but NumPy's is {type(error).__name__}: {error}"
    try:
        got = tj.jit(lambda *xs: case.function(*xs))(*(x.copy() for x in case.operands))
    except Exception as error:
        return f"{type(error).__name__}: {error}"
    return difference(got, want)


def together(functions: Sequence[Callable[..., Any]]) -> Callable[..., list[Any]]:
    """One function that takes the arguments of each as a tuple, and gives them all."""
    return lambda *xs: [f(*x) for f, x in zip(functions, xs, strict=True)]


def problems_of_ufuncs(cases: Sequence[Case]) -> dict[str, str]:
    """Those of some calls, by their names; all in one compilation if that works."""
    try:
        wants = [case.function(*(x.copy() for x in case.operands)) for case in cases]
        operands = [tuple(x.copy() for x in case.operands) for case in cases]
        got = tj.jit(together([case.function for case in cases]))(*operands)
    except Exception:
        return {str(case): problem_of_ufunc(case) or "" for case in cases}
    pairs = zip(cases, got, wants, strict=True)
    return {str(case): difference(g, w) for case, g, w in pairs}


def difference(got: Any, want: Any, terms: float = 1.0) -> str:
    """Say how results differ: in kind, dtype, shape or value; empty if they do not.

    Sums of floats are right to so many last places of the largest of their `terms`,
    which may cancel.
    """
    if isinstance(want, list | tuple):
        if not isinstance(got, list if type(want) is list else tuple):
            return f"a {type(got).__name__}, not a {type(want).__name__}"
        if len(got) != len(want):
            return f"{len(got)} results, not {len(want)}"
        found = (difference(g, w, terms) for g, w in zip(got, want, strict=True))
        return next(filter(None, found), "")
    if type(got) is not type(want):
        return f"a {type(got).__name__}, not a {type(want).__name__}"
    if not isinstance(want, np.ndarray | np.generic):
        return "" if got == want else f"{got!r}, not {want!r}"
    if got.dtype != want.dtype:
        return f"dtype {got.dtype}, not {want.dtype}"
    if got.shape != want.shape:
        return f"shape {got.shape}, not {want.shape}"
    if want.dtype.kind not in "fc":
        return "" if np.array_equal(got, want) else "other values"
    if want.dtype.kind == "c":  # an infinite part leaves the other to compare
        parts = (got.real, want.real), (got.imag, want.imag)
        return "".join(difference(*pair, terms) for pair in parts)
    tolerance = max(64 * float(np.finfo(want.dtype).eps), 1e-12)
    least = tolerance * max(terms, 1.0)
    is_close = np.allclose(got, want, rtol=tolerance, atol=least, equal_nan=True)
    return "" if is_close else "other values"
