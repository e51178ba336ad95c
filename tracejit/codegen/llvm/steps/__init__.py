"""Primitives that are no loop nests, as LLVM functions: scatters, sums, sorts.

What else an `Extern` step computes is done by one of NumPy's compiled loops, or in
Python. `write_step` returns the functions for the shapes, strides and params of a step,
or None for what nothing here computes.
"""

from collections.abc import Callable, Mapping, Sequence
from functools import cache
from importlib import import_module

from ....ir.primitive import Params, Primitive
from ....kernels.kernel import Buffer
from .code import Setting, StepCode

Writer = Callable[
    [str, Setting, Sequence[Buffer], Sequence[Buffer], Params], StepCode | None
]

# Module and function for each. Few programs sort or scatter, so that these are loaded
# with the first that does.
_CUMULATIVE = ("cumulative", "write_cumulative")
WRITERS: Mapping[str, tuple[str, str]] = {
    "scatter": ("scatter", "write_scatter"),
    "cumsum": _CUMULATIVE,
    "cumprod": _CUMULATIVE,
    "cummax": _CUMULATIVE,
    "cummin": _CUMULATIVE,
    "sort": ("sorting", "write_sort"),
    "argsort": ("sorting", "write_sort"),
    "kth": ("sorting", "write_sort"),
    "argkth": ("sorting", "write_sort"),
}


@cache
def _writer(module: str, function: str) -> Writer:
    found: Writer = getattr(import_module(f"{__name__}.{module}"), function)
    return found


def write_step(
    setting: Setting,
    primitive: Primitive,
    params: Params,
    inputs: Sequence[Buffer],
    outputs: Sequence[Buffer],
) -> StepCode | None:
    """Return the functions that compute a primitive; None if there are none.

    Parameters
    ----------
    setting : Setting
    primitive : Primitive
    params : mapping
        Of the equation.
    inputs, outputs : sequence of Buffer
    """
    place = WRITERS.get(primitive.name)
    if place is None:
        return None
    return _writer(*place)(primitive.name, setting, inputs, outputs, params)
