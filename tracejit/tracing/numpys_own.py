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
from functools import lru_cache
from types import FunctionType, ModuleType
from typing import Any

import numpy as np

from ..errors import ConcretizationError
from . import functions, ufuncs
from .creation import TRACED

Fn = Callable[..., Any]

# Functions whose own code traces, on each NumPy from 2.1 on.
TRACED_AS_WRITTEN: frozenset[Fn] = frozenset(
    {
        np.apply_along_axis,
        np.apply_over_axes,
        np.array_equiv,
        np.delete,
        np.ediff1d,
        np.fix,
        np.insert,
        np.iscomplex,
        np.isneginf,
        np.isposinf,
        np.poly,
        np.polyadd,
        np.polyder,
        np.polydiv,
        np.polyfit,
        np.polyint,
        np.polymul,
        np.polysub,
        np.polyval,
        np.resize,
        np.trapezoid,
        np.unwrap,
        np.vander,
        np.real_if_close,
        np.dsplit,
        np.tril_indices_from,
        np.triu_indices_from,
        np.diag_indices_from,
        np.sort_complex,
        np.einsum_path,
        np.fft.hfft,
        np.fft.ihfft,
        np.fft.rfftn,
        np.fft.irfftn,
        np.fft.rfft2,
        np.fft.irfft2,
        np.i0,
        np.nancumsum,
        np.nancumprod,
        np.isin,
        np.nanargmax,
        np.nanargmin,
        np.histogram,
        np.histogram2d,
        np.roots,
        np.piecewise,
        np.choose,
        np.common_type,
    }
)


def dispatch(func: Fn, args: Sequence[Any], kwargs: dict[str, Any]) -> Any:
    """Trace ``func(*args, **kwargs)``, a function of NumPy.

    Raises
    ------
    UnsupportedError
        When the function has no rule and its own code asks for values.
    """
    if func in functions.FUNCTIONS or func not in TRACED_AS_WRITTEN:
        return functions.dispatch(func, args, kwargs)
    try:
        return _as_written(func)(*args, **kwargs)
    except ConcretizationError as error:
        what = f"numpy.{func.__name__} of these arguments"
        raise ufuncs.unsupported(what, error.hint) from error


@lru_cache(maxsize=None)
def _as_written(func: Fn) -> Fn:
    """The Python code of `func`, over traced creation functions."""
    code: FunctionType = func._implementation  # type: ignore[attr-defined]
    return _with_globals(code, _copy_of(code.__module__))


@lru_cache(maxsize=None)
def _copy_of(module: str) -> dict[str, Any]:
    """The globals of a module of NumPy, its functions and creation functions replaced.

    What dispatches stays itself, so that a function finds the rule of another.
    """
    old = vars(sys.modules[module])
    new = dict(old)
    for name, value in old.items():
        if isinstance(value, FunctionType) and value.__globals__ is old:
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


class _Creating:
    """A module whose creation functions make traced arrays."""

    def __init__(self, module: ModuleType) -> None:
        self.module = module

    def __getattr__(self, name: str) -> Any:
        value = getattr(self.module, name)
        original = getattr(value, "__wrapped__", value)
        return TRACED.get(original, value) if callable(value) else value
