"""A pytest plugin: the operators that array-api-tests tries run through `jit`.

The suite's arrays are NumPy's, and so would their operators be. It calls them as
``eval("x1 + x2", arrays)``, ``exec("x1 += x2", arrays)`` and
``getattr(x, "__neg__")()`` or ``getattr(operator, "add")(x1, x2)``; in the modules with
these tests the three names mean what is here.
"""

import operator
import sys
from functools import partial
from typing import Any

import numpy as np
import pytest
from hypothesis import Phase, settings

from tests.external.jitted_numpy import call_compiled

MODULES = (
    "array_api_tests.test_operators_and_elementwise_functions",
    "array_api_tests.test_special_cases",
)


def jitted_eval(expression: str, scope: dict[str, Any]) -> Any:
    """Evaluate an expression of arrays under `jit`."""
    names = [k for k, v in scope.items() if isinstance(v, np.ndarray | np.generic)]
    rest = {k: v for k, v in scope.items() if k not in names}

    def run(*arrays: Any) -> Any:
        return eval(expression, dict(rest), dict(zip(names, arrays, strict=True)))

    return call_compiled(run, *(scope[k] for k in names))


def jitted_exec(statement: str, scope: dict[str, Any]) -> None:
    """Run an augmented assignment to an array under `jit`."""
    target = statement.split()[0]
    names = [k for k, v in scope.items() if isinstance(v, np.ndarray | np.generic)]
    rest = {k: v for k, v in scope.items() if k not in names}

    def run(*arrays: Any) -> Any:
        inner = {**rest, **dict(zip(names, arrays, strict=True))}
        exec(statement, inner)
        return inner[target]

    scope[target] = call_compiled(run, *(scope[k] for k in names))


def jitted_getattr(x: Any, name: str, *default: Any) -> Any:
    """Return a special method of an array, or an operator, that runs under `jit`."""
    if x is operator:
        return partial(call_compiled, getattr(operator, name))
    if not (isinstance(x, np.ndarray | np.generic) and name.startswith("__")):
        return getattr(x, name, *default)
    return lambda: call_compiled(lambda v: getattr(v, name)(), x)


@pytest.hookimpl(trylast=True)
def pytest_configure() -> None:
    """Leave failing examples as they are: smaller ones take minutes of compiling."""
    phases = [Phase.explicit, Phase.generate]
    settings.register_profile("jitted", settings.default, phases=phases)
    settings.load_profile("jitted")


def pytest_collection_modifyitems() -> None:
    """Put the replacements in, once the suite is imported."""
    names = {"eval": jitted_eval, "exec": jitted_exec, "getattr": jitted_getattr}
    for name in MODULES:
        if name in sys.modules:
            vars(sys.modules[name]).update(names)
