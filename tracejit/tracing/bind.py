"""Equations that hold graphs, recorded where the caller is.

Outside of `jit` the values of results are known as well, so that Python may branch on
them. Effects are left to the run of the recorded graph: they happen once.
"""

from collections.abc import Sequence
from typing import Any

from ..ir.graph import Graph, Var, subgraph
from ..ir.primitive import Param, Primitive
from .inner import InnerTrace, known_results
from .trace import Trace
from .tracer import Tracer


def bind(
    trace: Trace, primitive: Primitive, operands: Sequence[Any], **params: Param
) -> list[Tracer]:
    """Record an equation that means its param `graph`; return its results.

    Parameters
    ----------
    trace : Trace
    primitive : Primitive
    operands : sequence
        Tracers, arrays or scalars of the dtypes of the graph's inputs.
    **params
        The equation's.
    """
    graph = subgraph(params)
    lifted = [trace.lift(x) for x in operands]
    pairs = zip(lifted, graph.in_avals, strict=True)
    atoms = [x.convert(aval.dtype) for x, aval in pairs]
    outs = trace.emit_all(primitive, atoms, params)
    values = known_results(trace, graph, lifted)
    if values is None:
        return [trace.result(x) for x in outs]
    return [trace.result(x, v) for x, v in zip(outs, values, strict=True)]


def union(traces: Sequence[InnerTrace]) -> list[Tracer]:
    """Return the values that several inner traces captured, each once."""
    return list({id(t): t for x in traces for t in x.captured}.values())


def graph_taking(inner: InnerTrace, args: int, captured: Sequence[Tracer]) -> Graph:
    """Return the graph with all of `captured` as its last inputs, used or not.

    Parameters
    ----------
    inner : InnerTrace
    args : int
        How many of its inputs are arguments.
    captured : sequence of Tracer
        Among them all that it captured.
    """
    graph = inner.graph
    own = {id(t): v for t, v in zip(inner.captured, graph.invars[args:], strict=True)}
    extra = [own.get(id(t)) or Var(t.aval) for t in captured]
    invars = [*graph.invars[:args], *extra]
    return Graph(graph.name, invars, graph.outvars, graph.eqns)
