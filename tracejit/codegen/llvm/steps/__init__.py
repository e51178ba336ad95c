"""Primitives that are no loop nests, as LLVM functions: scatters, sums, sorts.

What else an `Extern` step computes is done by one of NumPy's compiled loops, or in
Python. `write_step` returns the functions for the shapes, strides and params of a step,
or None for what nothing here computes.
"""

from collections.abc import Callable, Mapping, Sequence

from ....ir.primitive import Params, Primitive
from ....kernels.kernel import Buffer
from .code import Setting, StepCode
from .cumulative import write_cumulative
from .scatter import write_scatter
from .sorting import write_sort

Writer = Callable[
    [str, Setting, Sequence[Buffer], Sequence[Buffer], Params], StepCode | None
]

WRITERS: Mapping[str, Writer] = {
    "scatter": write_scatter,
    "cumsum": write_cumulative,
    "cumprod": write_cumulative,
    "cummax": write_cumulative,
    "cummin": write_cumulative,
    "sort": write_sort,
    "argsort": write_sort,
}


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
    write = WRITERS.get(primitive.name)
    if write is None:
        return None
    return write(primitive.name, setting, inputs, outputs, params)
