"""SciPy, which is optional: imported when it is asked for.

Establishes one decision for every function: on arrays SciPy's own runs, in a trace, or
where SciPy is not installed, what is written here.
"""

import functools
from collections.abc import Callable, Mapping
from importlib import import_module
from types import ModuleType
from typing import Any

from ..errors import MissingPackageError, UnsupportedError
from ..tracing.source import user_line
from ..tracing.trace import current_trace
from ..tracing.tracer import Tracer

Function = Callable[..., Any]


@functools.cache
def scipy_module(name: str) -> ModuleType | None:
    """Return ``scipy.<name>``, or None where SciPy is not installed."""
    try:
        return import_module(f"scipy.{name}")
    except ImportError:
        return None


def missing(module: str, name: str) -> MissingPackageError:
    """Return the error for a function that only SciPy has."""
    return MissingPackageError(
        f"{module}.{name} runs SciPy's compiled code, and SciPy is not installed",
        source=user_line(),
        hint="pip install scipy",
    )


def is_traced(values: object) -> bool:
    """Tell whether tracers are among values in lists, tuples and dicts."""
    if isinstance(values, Tracer):
        return True
    if isinstance(values, Mapping):
        return is_traced(list(values.values()))
    return isinstance(values, list | tuple) and any(map(is_traced, values))


def like_scipy(module: str) -> Callable[[Function], Function]:
    """Return a decorator: SciPy's function of that name runs where no trace does."""

    def decorate(function: Function) -> Function:
        @functools.wraps(function)
        def run(*args: Any, **options: Any) -> Any:
            if current_trace() is None and not is_traced((args, options)):
                own = getattr(scipy_module(module), function.__name__, None)
                if own is not None:
                    return own(*args, **options)
            return function(*args, **options)

        return run

    return decorate


def unsupported(name: str, options: Mapping[str, Any], hint: str) -> None:
    """Raise for options that are given but not traced.

    Raises
    ------
    UnsupportedError
    """
    given = [key for key, value in options.items() if value]
    if given:
        raise UnsupportedError(
            f"the argument {given[0]!r} of {name} is not traced",
            source=user_line(),
            hint=hint,
        )
