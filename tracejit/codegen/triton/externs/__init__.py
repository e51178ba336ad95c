"""Primitives that are no loop nests, as Triton kernels: scatters, scans, sorts, parts.

What a CPU runs as an `Extern` step by a compiled loop of NumPy runs on a device by one
of these, written for the shapes and strides of the step. `extern_kernel` returns what
is launched, with the workspace between launches, or None for what nothing here
computes: the host then does.
"""

from collections.abc import Callable, Mapping, Sequence

from ....ir.primitive import Params, Primitive
from ....kernels.kernel import Buffer
from ....program.program import Extern, Program
from ..code import TritonKernel
from .cumulative import write_cumulative
from .parts import write_complex, write_part
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
    "real": write_part,
    "imag": write_part,
    "complex": write_complex,
}


def step_kernel(
    program: Program, step: Extern, deterministic: bool = False
) -> TritonKernel | None:
    """Return the kernels of a step; see `extern_kernel`.

    Its operands are called ``in0``, ``in1``, ... and its results ``out0``, ...
    """
    ends = (
        [
            program.by_name[name].as_parameter(f"{kind}{k}")
            for k, name in enumerate(names)
        ]
        for kind, names in (("in", step.inputs), ("out", step.outputs))
    )
    ins, outs = ends
    return extern_kernel(step.primitive, step.params, ins, outs, deterministic)


def extern_kernel(
    primitive: Primitive,
    params: Params,
    inputs: Sequence[Buffer],
    outputs: Sequence[Buffer],
    deterministic: bool = False,
) -> TritonKernel | None:
    """Return the kernels that compute a primitive; None if there are none.

    Parameters
    ----------
    primitive : Primitive
    params : mapping
        Of the equation.
    inputs, outputs : sequence of Buffer
        Operands and results, each under a name of its own.
    deterministic : bool
        Whether sums of floats must be the same at each run.
    """
    write = WRITERS.get(primitive.name)
    if write is None or not all(b.shape.count(0) == 0 for b in (*inputs, *outputs)):
        return None
    if primitive.name == "scatter":
        return write_scatter("scatter", inputs, outputs, params, deterministic)
    return write(primitive.name, inputs, outputs, params)
