"""A graph in two: values with what the derivative needs, and the derivative itself.

`split_graph` gives a primal graph, run once, and a tangent graph that is linear in the
tangents, run as often as there are directions. `pullback_graph` transposes the latter.

Before → after, for ``graph @f(%x) -> (sin %x)`` with respect to input 0::

    graph @f(%x: f32[3]) -> (f32[3], f32[3]) {
      %0: f32[3] = sin %x
      %1: f32[3] = cos %x
      return %0, %1
    }
    graph @f_tangent(%1: f32[3], %dx: f32[3]) -> (f32[3]) {
      %0: f32[3] = mul %dx, %1
      return %0
    }
"""

from collections.abc import Sequence

from ..ir.graph import Atom, Graph, Var
from ..ir.lines import derivative_apart
from ..ir.liveness import live_equations
from ..ir.ops.shape import full_like
from ..records import dataclass
from .jvp import check_wrt
from .linearize import Derivatives, Mask, linearize_graph, new_builder
from .transpose import transpose_graph


@dataclass(frozen=True)
class Split:
    """A graph split into its values and its derivative.

    Parameters
    ----------
    primal : Graph
        Inputs to outputs, then residuals.
    tangent : Graph
        Residuals, then one tangent per differentiated input, to one tangent per active
        output.
    n_residuals : int
    active : tuple of bool
        Which of the differentiated outputs depend on the tangents.
    """

    primal: Graph
    tangent: Graph
    n_residuals: int
    active: Mask


def split_graph(graph: Graph, wrt: Sequence[int], n_outs: int) -> Split:
    """Split `graph` for the derivative of its first `n_outs` outputs.

    Parameters
    ----------
    graph : Graph
    wrt : sequence of int
        Inputs, of float or complex dtype, to differentiate with respect to.
    n_outs : int
        Outputs after these have no tangents.

    Raises
    ------
    DTypeError
        When an input of `wrt` is an integer or boolean.
    UnsupportedError
        When an equation has no derivative.
    """
    check_wrt(graph, wrt)
    mask = tuple(i in wrt for i in range(len(graph.invars)))
    found = linearize_graph(graph, mask, Derivatives())
    n = len(found.residuals)
    kept = found.tangent.outvars[: sum(found.active[:n_outs])]
    eqns = live_equations(found.tangent.eqns, kept)
    read = {x for e in eqns for x in e.invars} | set(kept)
    used = [i for i, v in enumerate(found.tangent.invars[:n]) if v in read]
    values: tuple[Atom, ...] = (*found.primal.invars, *found.primal.outvars)
    results = [*found.primal.outvars[: len(graph.outvars)]]
    results += [values[found.residuals[i]] for i in used]
    residuals = [found.tangent.invars[i] for i in used]
    primal = _with_outputs(found.primal, results)
    values_alone = live_equations(primal.eqns, results[: len(graph.outvars)])
    with_roles = derivative_apart(primal.eqns, values_alone)
    return Split(
        Graph(primal.name, primal.invars, primal.outvars, with_roles),
        Graph(
            found.tangent.name,
            [*residuals, *found.tangent.invars[n:]],
            kept,
            derivative_apart(eqns, ()),
        ),
        len(used),
        found.active[:n_outs],
    )


def _with_outputs(graph: Graph, outs: Sequence[Atom]) -> Graph:
    return Graph(graph.name, graph.invars, outs, live_equations(graph.eqns, outs))


def pullback_graph(split: Split) -> Graph:
    """Transpose the derivative.

    Returns
    -------
    Graph
        Residuals, then one cotangent per active output, to one cotangent per
        differentiated input (zeros where nothing depends on it).
    """
    n = split.n_residuals
    mask = (True,) * len(split.tangent.outvars)
    found = transpose_graph(split.tangent, n, mask, Derivatives())
    b = new_builder(found.graph.name)
    ins: list[Var] = [b.input(v.aval, v.name) for v in found.graph.invars]
    rest = iter(b.inline(found.graph, ins))
    avals = split.tangent.in_avals[n:]
    return b.build(
        [
            next(rest) if has else full_like(b, 0, aval)
            for has, aval in zip(found.found, avals, strict=True)
        ]
    )
