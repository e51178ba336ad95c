"""Primitives that are no loop nests, as Triton kernels: scatters, scans, sorts.

What a CPU runs as an `Extern` step by a compiled loop of NumPy runs on a device by one
of these, written for the shapes and strides of the step. `extern_kernel` returns what
is launched, with the workspace between launches, or None for what nothing here
computes: the host then does.
"""

from collections.abc import Callable, Mapping, Sequence

from ....ir.primitive import Params, Primitive
from ....kernels.kernel import Buffer
from ..code import TritonKernel
from .cumulative import write_cumulative
from .scatter import write_scatter
from .sort import write_sort

Writer = Callable[
    [str, Sequence[Buffer], Sequence[Buffer], Params], TritonKernel | None
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


def extern_kernel(
    primitive: Primitive,
    params: Params,
    inputs: Sequence[Buffer],
    outputs: Sequence[Buffer],
) -> TritonKernel | None:
    """Return the kernels that compute a primitive; None if there are none.

    Parameters
    ----------
    primitive : Primitive
    params : mapping
        Of the equation.
    inputs, outputs : sequence of Buffer
        Operands and results, under names of their own.
    """
    write = WRITERS.get(primitive.name)
    if write is None or not all(b.shape.count(0) == 0 for b in (*inputs, *outputs)):
        return None
    return write(primitive.name, inputs, outputs, params)
