"""NumPy's functions that NumPy itself writes in NumPy: traced as they are written.

`np.trapezoid`, `np.unwrap` or `np.polyfit` are short programs in plain NumPy, which
`jit` traces as it traces a user's. All that stands in the way is that they were meant
for arrays: `asarray` and `zeros` in their modules are the functions that make those. So
a module's functions run here as copies whose globals name the traced creation functions
in their place; everything else that they call finds the tracers by dispatch.

Needs the creation functions of `creation` and the table of rules. Establishes
`dispatch`, which takes a function's rule, else the function's own code.
"""

import sys
from collections.abc import Callable, Sequence
from functools import cache
from types import FunctionType, ModuleType
from typing import Any

import numpy as np

from ..errors import ConcretizationError
from . import functions, ufuncs
from .creation import TRACED, has_tracer
from .tracer import Tracer

Fn = Callable[..., Any]

# Functions whose own code traces, on each NumPy from 2.1 on.
TRACED_AS_WRITTEN: frozenset[Fn] = frozenset(
    {
        np.apply_along_axis,
        np.apply_over_axes,
        np.delete,
        np.ediff1d,
        np.fix,
        np.insert,
        np.iscomplex,
        np.isneginf,
        np.isposinf,
        np.polyadd,
        np.polyder,
        np.polyint,
        np.polysub,
        np.polyval,
        np.resize,
        np.trapezoid,
        np.unwrap,
        np.vander,
        np.i0,
        np.gradient,
        np.pad,
        np.histogramdd,
        np.histogramdd,
        np.linalg.multi_dot,
        np.real_if_close,
        np.dsplit,
        np.tril_indices_from,
        np.triu_indices_from,
        np.diag_indices_from,
        np.sort_complex,
        np.nancumsum,
        np.nancumprod,
        np.histogram2d,
        np.common_type,
    }
)


_asarray = TRACED[np.asarray]


def dispatch(func: Fn, args: Sequence[Any], kwargs: dict[str, Any]) -> Any:
    """Trace ``func(*args, **kwargs)``, a function of NumPy.

    Raises
    ------
    UnsupportedError
        When the function has no rule and its own code asks for values.
    """
    is_own = func in TRACED_AS_WRITTEN or _is_plain(func)
    if func in functions.FUNCTIONS or not is_own:
        result = functions.dispatch(func, args, kwargs)
        if result is not NotImplemented:
            return result
    return _run_as_written(func, args, kwargs)


def dispatch_plain(func: Fn, args: Sequence[Any], kwargs: dict[str, Any]) -> Any:
    """Trace a function of `numpy.polynomial`, which NumPy asks no argument for."""
    if has_tracer((*args, *kwargs.values())):
        return _run_as_written(func, args, kwargs)
    return func(*args, **kwargs)


def _run_as_written(func: Fn, args: Sequence[Any], kwargs: dict[str, Any]) -> Any:
    """Run a function's own code; what it asks for is an error that names it."""
    try:
        return _as_written(func)(*args, **kwargs)
    except ConcretizationError as error:
        what = f"{func.__module__}.{func.__name__} of these arguments"
        raise ufuncs.unsupported(what, error.hint or "") from error


@cache
def _as_written(func: Fn) -> Fn:
    """The Python code of `func`, over traced creation functions."""
    code: Any = getattr(func, "_implementation", func)
    return _with_globals(code, _copy_of(code.__module__))


@cache
def _copy_of(module: str) -> dict[str, Any]:
    """The globals of a module of NumPy, its functions and creation functions replaced.

    What dispatches stays itself, so that a function finds the rule of another.
    """
    old = vars(sys.modules[module])
    new = dict(old)
    for name, found in old.items():
        value = _unwrapped(found)
        if name in _REPLACED:
            new[name] = _REPLACED[name]
        elif isinstance(value, FunctionType) and value.__globals__ is old:
            new[name] = _with_globals(value, new)
        elif isinstance(value, ModuleType):
            new[name] = _Creating(value)
        elif callable(value) and value in TRACED:
            new[name] = TRACED[value]
    return new


def _with_globals(function: FunctionType, scope: dict[str, Any]) -> FunctionType:
    copied = FunctionType(
        function.__code__,
        scope,
        function.__name__,
        function.__defaults__,
        function.__closure__,
    )
    copied.__kwdefaults__ = function.__kwdefaults__
    return copied


class _Converter:
    """Stands for the converter that NumPy's functions take their arrays through."""

    def __init__(self, *arrays: Any) -> None:
        self.arrays = tuple(_asarray(a) for a in arrays)

    def __getitem__(self, i: int) -> Any:
        return self.arrays[i]

    def as_arrays(self, **options: Any) -> tuple[Any, ...]:
        return self.arrays

    def wrap(self, array: Any, to_scalar: Any = None) -> Any:
        return array

    def result_type(self, extra_dtype: Any = None, ensure_inexact: bool = False) -> Any:
        parts = [a.dtype for a in self.arrays]
        if extra_dtype is not None:
            parts.append(extra_dtype)
        found = np.result_type(*parts)
        return np.result_type(found, 0.0) if ensure_inexact else found


class _Creating:
    """A module whose creation functions make traced arrays."""

    def __init__(self, module: ModuleType) -> None:
        self.module = module

    def __getattr__(self, name: str) -> Any:
        if name in _REPLACED:
            return _REPLACED[name]
        value = _unwrapped(getattr(self.module, name))
        if isinstance(value, FunctionType) and _is_plain(value):
            return _as_written(value)
        original = getattr(value, "__wrapped__", value)
        return TRACED.get(original, value) if callable(value) else value


def _unwrapped(value: Any) -> Any:
    """Return NumPy's own function, which a wrapper of this trace may stand for."""
    original = getattr(value, "__wrapped__", None)
    is_ours = isinstance(original, FunctionType) and _is_plain(original)
    return original if is_ours else value


def _is_plain(function: Any) -> bool:
    """Tell whether a function is one of those that ask no argument, or few."""
    return str(function.__module__).startswith("numpy.polynomial.")


def _trimmed(seq: Any) -> Any:
    """Coefficients without final zeros, of which there must be no traced ones."""
    if isinstance(seq, Tracer) and not seq.is_known and seq.size > 1:
        message = (
            "the result of this function of numpy.polynomial is of another length "
            "here: a leading coefficient is 0"
        )
        functions.require(seq[-1] != 0, message)
        return seq
    values = getattr(seq, "shadow", seq)
    last = np.flatnonzero(values)[-1:] if len(values) else values
    return seq[: int(last[0]) + 1] if len(last) else seq[:1]


def _atleast_2d(arrays: Any) -> Any:
    return functions.shape.atleast_2d(_asarray(arrays))


# What NumPy's functions call that asks for values, is compiled, or takes lists.
_REPLACED: dict[str, Any] = {
    "_array_converter": _Converter,
    "_get_outer_edges": functions.histograms.span,
    "atleast_2d": _atleast_2d,
    "trimseq": _trimmed,
}
