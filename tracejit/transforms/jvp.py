"""Forward mode over graphs: values and tangents side by side.

Before → after, for ``graph @f(%x) -> (sin %x)`` with respect to input 0::

    graph @f_jvp(%x: f32[3], %dx: f32[3]) -> (f32[3], f32[3]) {
      %0: f32[3] = sin %x
      %1: f32[3] = cos %x
      %2: f32[3] = mul %dx, %1
      return %0, %2
    }
"""

from collections.abc import Sequence

from ..errors import DTypeError
from ..ir import dtypes as dt
from ..ir.graph import Atom, Eqn, Graph, subgraphs
from ..ir.lines import derivative_apart
from ..ir.liveness import live_equations
from ..ir.ops.custom import custom_tangent_p, forward_mode_error
from ..ir.ops.shape import full_like
from .linearize import Derivatives, linearize, new_builder


def jvp_graph(graph: Graph, wrt: Sequence[int]) -> Graph:
    """Return the graph of values and directional derivatives.

    Parameters
    ----------
    graph : Graph
    wrt : sequence of int
        Inputs, of float or complex dtype, to differentiate with respect to.

    Returns
    -------
    Graph
        Inputs: those of `graph`, then one tangent per entry of `wrt`. Outputs: those
        of `graph`, then one tangent per float or complex output, in order (zeros where
        it does not depend on them; integer outputs have none).

    Raises
    ------
    DTypeError
        When an input of `wrt` is an integer or boolean.
    UnsupportedError
        When an equation has no derivative, or one that cotangents alone have.
    """
    check_wrt(graph, wrt)
    b = new_builder(f"{graph.name}_jvp")
    ins = [b.input(v.aval, v.name) for v in graph.invars]
    given = {i: b.input(ins[i].aval, _tangent_name(ins[i].name)) for i in wrt}
    tangents = [given.get(i) for i in range(len(ins))]
    outs, found = linearize(b, graph, ins, tangents, Derivatives(joint=True))
    results: list[Atom] = list(outs)
    for out, t in zip(outs, found, strict=True):
        if dt.is_inexact(out.aval.dtype):
            results.append(full_like(b, 0, out.aval) if t is None else t)
    live = live_equations(b.eqns, results)
    check_forward(live)
    eqns = derivative_apart(live, live_equations(live, outs))
    return Graph(b.name, b.invars, results, eqns)


def check_forward(eqns: Sequence[Eqn]) -> None:
    """Raise if equations that will not be transposed have a `custom_vjp` among them.

    Raises
    ------
    UnsupportedError
    """
    for eqn in eqns:
        if eqn.primitive is custom_tangent_p:
            raise forward_mode_error(", ".join(eqn.source))
        for graph in subgraphs(eqn.params):
            check_forward(graph.eqns)


def _tangent_name(name: str) -> str:
    return f"d{name}" if name else ""


def check_wrt(graph: Graph, wrt: Sequence[int]) -> None:
    """Raise unless every input in `wrt` exists, once, and is float or complex."""
    if len(set(wrt)) != len(wrt):
        raise IndexError(f"an input is named twice in {list(wrt)}")
    for i in wrt:
        if not 0 <= i < len(graph.invars):
            raise IndexError(f"@{graph.name} has {len(graph.invars)} inputs, not {i}")
        aval = graph.invars[i].aval
        if not dt.is_inexact(aval.dtype):
            raise DTypeError(
                f"cannot differentiate with respect to input {i}: {aval} is not "
                "float or complex",
                hint="convert it to a float dtype first",
            )
