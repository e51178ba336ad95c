"""The interpreter: runs a graph in NumPy, the meaning every other path must keep."""

from collections.abc import Sequence

import numpy as np

from ..errors import InternalError, locate
from .graph import Atom, Graph, Var

Array = np.ndarray


def evaluate(graph: Graph, args: Sequence[Array]) -> tuple[Array, ...]:
    """Run `graph` on `args` by each primitive's `impl`.

    Parameters
    ----------
    graph : Graph
    args : sequence of array_like
        One per input, of exactly the input's shape and dtype.

    Returns
    -------
    tuple of numpy.ndarray
        One per output; a fresh array or an input.

    Raises
    ------
    InternalError
        When an argument or a result does not have the aval it must have.
    """
    env: dict[Var, Array] = {}
    for var, arg in zip(graph.invars, args, strict=True):
        env[var] = _checked(np.asarray(arg), var, f"argument of @{graph.name}")

    def read(x: Atom) -> Array:
        return env[x] if isinstance(x, Var) else np.asarray(x.value)

    with np.errstate(all="ignore"):
        for eqn in graph.eqns:
            try:
                outs = eqn.primitive.evaluate([read(x) for x in eqn.invars], eqn.params)
            except Exception as error:
                locate(error, eqn.source)
                raise
            for var, out in zip(eqn.outvars, outs, strict=True):
                env[var] = _checked(np.asarray(out), var, eqn.primitive.name)
    return tuple(read(x) for x in graph.outvars)


def _checked(value: Array, var: Var, what: str) -> Array:
    if value.shape != var.aval.shape or value.dtype != var.aval.dtype:
        raise InternalError(
            f"{what} gave {value.dtype}{list(value.shape)}, expected {var.aval}"
        )
    return value
