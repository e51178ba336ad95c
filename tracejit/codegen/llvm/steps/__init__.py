"""Primitives that are no loop nests, as LLVM functions: scatters.

What else an `Extern` step computes is done by one of NumPy's compiled loops, or in
Python. `write_step` returns the functions for the shapes, strides and params of a step,
or None for what nothing here computes.
"""

from collections.abc import Callable, Mapping, Sequence

from ....ir.primitive import Params, Primitive
from ....kernels.kernel import Buffer
from .code import Setting, StepCode
from .scatter import write_scatter

Writer = Callable[
    [Setting, Sequence[Buffer], Sequence[Buffer], Params], StepCode | None
]

WRITERS: Mapping[str, Writer] = {
    "scatter": write_scatter,
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
    return None if write is None else write(setting, inputs, outputs, params)
