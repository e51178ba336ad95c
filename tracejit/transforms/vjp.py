"""Reverse mode over graphs: linearise, then transpose the linear equations.

Gradients of complex inputs follow JAX: for real ``f``, ``df = Re Σ gradient · dx``, so
the direction of steepest ascent is the conjugate of the gradient.

Before → after, for ``graph @f(%x) -> (sin %x)`` with respect to input 0::

    graph @f_vjp(%x: f32[3], %ct: f32[3]) -> (f32[3], f32[3]) {
      %0: f32[3] = sin %x
      %1: f32[3] = cos %x
      %2: f32[3] = mul %ct, %1
      return %0, %2
    }
"""

from collections.abc import Sequence

from ..errors import DTypeError, ShapeError
from ..ir import dtypes as dt
from ..ir.builder import Builder
from ..ir.graph import Atom, Graph, Var
from ..ir.lines import derivative_apart
from ..ir.liveness import live_equations
from ..ir.ops.shape import full_like
from .jvp import check_wrt
from .linearize import Derivatives, Maybe, linearize, new_builder
from .transpose import transpose_equations


def vjp_graph(graph: Graph, wrt: Sequence[int]) -> Graph:
    """Return the graph of values and of cotangents pulled back to inputs.

    Parameters
    ----------
    graph : Graph
    wrt : sequence of int
        Inputs, of float or complex dtype, to differentiate with respect to.

    Returns
    -------
    Graph
        Inputs: those of `graph`, then one cotangent per float or complex output, in
        order. Outputs: those of `graph`, then one cotangent per entry of `wrt` (zeros
        where nothing depends on it).

    Raises
    ------
    DTypeError
        When an input of `wrt` is an integer or boolean.
    UnsupportedError
        When an equation has no derivative.
    """
    check_wrt(graph, wrt)
    b = new_builder(f"{graph.name}_vjp")
    ins = [b.input(v.aval, v.name) for v in graph.invars]
    cts = [
        b.input(x.aval, "ct") if dt.is_inexact(x.aval.dtype) else None
        for x in graph.outvars
    ]
    return _with_cotangents(b, graph, ins, wrt, cts)


def value_and_grad_graph(
    graph: Graph, wrt: Sequence[int], holomorphic: bool = False
) -> Graph:
    """Return the graph of all outputs, then the gradients of output 0.

    Parameters
    ----------
    graph : Graph
        Output 0 is a real float scalar.
    wrt : sequence of int
        Inputs, of float or complex dtype, to differentiate with respect to.
    holomorphic : bool
        Output 0 is complex instead, and complex differentiable in these inputs.

    Returns
    -------
    Graph
        Inputs: those of `graph`. Outputs: those of `graph`, then one gradient per entry
        of `wrt`, of the input's shape and dtype.

    Raises
    ------
    ShapeError, DTypeError
        When output 0 is not a real float scalar, or an input is not float or complex.
    UnsupportedError
        When an equation has no derivative.
    """
    check_wrt(graph, wrt)
    _check_scalar(graph, holomorphic)
    b = new_builder(graph.name)
    ins = [b.input(v.aval, v.name) for v in graph.invars]
    seed = b.literal(1, graph.out_avals[0].dtype)
    cts = [seed, *[None] * (len(graph.outvars) - 1)]
    return _with_cotangents(b, graph, ins, wrt, cts)


def _check_scalar(graph: Graph, holomorphic: bool) -> None:
    aval = graph.out_avals[0]
    if aval.shape:
        raise ShapeError(
            f"the gradient of @{graph.name} needs a scalar output, not {aval}",
            hint="reduce it, e.g. np.sum(...) or np.mean(...)",
        )
    kind = "complex" if holomorphic else "real float"
    if not (dt.is_complex if holomorphic else dt.is_float)(aval.dtype):
        raise DTypeError(
            f"the gradient of @{graph.name} needs a {kind} output, not {aval}",
            hint="convert it, e.g. value.astype(np.float64), or take np.real",
        )


def _with_cotangents(
    b: Builder,
    graph: Graph,
    ins: Sequence[Var],
    wrt: Sequence[int],
    cts: Sequence[Maybe],
) -> Graph:
    known = Derivatives()
    tangents = [Var(v.aval) if i in wrt else None for i, v in enumerate(ins)]
    outs, out_tangents = linearize(b, graph, ins, tangents, known)
    found = transpose_equations(b, tangents, out_tangents, cts, known)
    results: list[Atom] = list(outs)
    for i in wrt:
        ct = found[i]
        results.append(full_like(b, 0, ins[i].aval) if ct is None else ct)
    live = live_equations(b.eqns, results)
    eqns = derivative_apart(live, live_equations(live, outs))
    return Graph(b.name, b.invars, results, eqns)
