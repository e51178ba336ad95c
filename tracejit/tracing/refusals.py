"""Errors of traced values that Python or NumPy asks for what is not known yet."""

from collections.abc import Callable
from typing import TYPE_CHECKING

import numpy as np

from ..errors import ConcretizationError, TracejitError, UnsupportedError
from . import alternatives
from .scipy_names import COUNTERPARTS
from .source import scipy_call, user_line

if TYPE_CHECKING:
    from .tracer import Tracer


class ArrayWantedError(ConcretizationError):
    """NumPy wanted an array of a traced value, perhaps for lack of asking."""


def refused(name: str) -> Callable[["Tracer", object], None]:
    """Return what setting an attribute of an array does: it raises."""

    def set_attribute(x: "Tracer", value: object) -> None:
        raise UnsupportedError(
            f"setting the {name} of an array is not traced",
            source=user_line(),
            hint=alternatives.ATTRIBUTES[name],
        )

    return set_attribute


def array_wanted(x: "Tracer", dtype: np.dtype | None, in_list: bool) -> TracejitError:
    """Return the error for a value that shall become an array, in a list or not."""
    call = scipy_call()
    if call is not None and call[0] in COUNTERPARTS:
        return _scipy_error(*call)
    if in_list:
        return ArrayWantedError(
            f"a ufunc was given lists, and a traced {x.aval} in them, but no array "
            "that NumPy could ask",
            source=user_line(),
            hint="np.array([...]) in place of the list, or the ufunc by its name in "
            "the module, np.add rather than add",
        )
    where, hint = "a NumPy array", alternatives.WANTED
    if dtype is not None:
        where, hint = f"a NumPy array of {dtype}", alternatives.CONVERTED
    return ArrayWantedError(
        f"a traced {x.aval} cannot become {where}: its value is known only when the "
        "compiled function runs",
        source=user_line(),
        hint=hint.format(dtype=dtype),
    )


def _scipy_error(module: str, name: str) -> UnsupportedError:
    """Return the error for a function of SciPy's that wants NumPy arrays."""
    has_counterpart = name in COUNTERPARTS[module]
    return UnsupportedError(
        f"scipy.{module}.{name} is not traced: it makes NumPy arrays of its arguments",
        source=user_line(),
        hint=f"tj.scipy.{module}.{name}"
        if has_counterpart
        else "tj.scipy has functions that trace; else compute it outside of the jitted "
        "function and pass it in",
    )


def concretization_error(x: "Tracer", what: str) -> ConcretizationError:
    """Return the error for a value that Python asks for."""
    why, hint = _UNKNOWN[_unknown_role(x)]
    return ConcretizationError(
        f"cannot give Python {what} of a traced {x.aval}, {why}",
        source=user_line(),
        hint=hint,
    )


def _unknown_role(x: "Tracer") -> str:
    """Say which trace's arguments leave the value open: one of a `vmap`, if any is."""
    if x.home.is_mapped(x.read()):
        return "mapped"
    role = x.home.role.value
    return "jitted" if role == "mapped" else role


_AT_RUN_TIME = "whose value is known only when the compiled function runs"
_CHOOSE = "choose between values with np.where(cond, a, b)"
_UNKNOWN = {  # role of the trace → why it has no value, and what to do
    "jitted": (
        _AT_RUN_TIME,
        f"{_CHOOSE}, or make the argument a Python int or bool, which specialises; "
        "tj.jit(static_argnames=...) fixes an argument",
    ),
    "differentiated": (_AT_RUN_TIME, f"{_CHOOSE}, or between functions with tj.cond"),
    "mapped": (
        "which has no single truth under vmap: each example has its own value",
        f"{_CHOOSE}, or between functions with tj.cond",
    ),
    "looped or chosen": (
        "which changes while the loop or branch runs",
        f"{_CHOOSE}, or between functions with tj.cond; loop with tj.while_loop",
    ),
}
