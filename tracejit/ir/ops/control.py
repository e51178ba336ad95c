"""Primitives that hold sub-graphs: `call` shares one, `cond` chooses between two."""

from collections.abc import Callable, Mapping, Sequence
from typing import TypeVar

from ...errors import DTypeError, ShapeError
from .. import dtypes as dt
from ..aval import Shape, ShapedArray
from ..graph import Eqn, Graph, subgraph
from ..interp import Evaluator, Part, interpreted
from ..primitive import Avals, Effect, ParamKind, Params, Primitive, register

V = TypeVar("V")


def check_operands(name: str, graph: Graph, avals: Sequence[ShapedArray]) -> None:
    """Raise unless `graph` takes operands of `avals`."""
    if graph.in_avals != tuple(avals):
        raise ShapeError(
            f"{name} of @{graph.name} takes {list(graph.in_avals)}, not {list(avals)}"
        )


def call_eval(*avals: ShapedArray, graph: Graph) -> Avals:
    """Return the results of a sub-graph, after checking its operands."""
    check_operands("call", graph, avals)
    return graph.out_avals


def call_effects(params: Params) -> frozenset[Effect]:
    """Return the effects of all sub-graphs in `params`."""
    graphs = (v for v in params.values() if isinstance(v, Graph))
    return frozenset().union(*(g.effects for g in graphs))


def call_flops(ins: Avals, outs: Avals, params: Params) -> float:
    """Return the operations of the largest sub-graph in `params`."""
    graphs = [v for v in params.values() if isinstance(v, Graph)]
    return max(graph_flops(g) for g in graphs)


def expand_to_graph(ins: Avals, params: Params) -> Graph:
    """Return what primitives mean that stand for their sub-graph: their `expand`."""
    return subgraph(params)


def graph_flops(graph: Graph) -> float:
    """Floating-point operations of one run of `graph`."""
    return sum(
        e.primitive.flops(
            tuple(x.aval for x in e.invars), tuple(v.aval for v in e.outvars), e.params
        )
        for e in graph.eqns
    )


def run_graph(by: Evaluator[V], ins: Sequence[V], params: Params) -> Sequence[V]:
    """Run the sub-graph of primitives that compute their param `graph`."""
    return by.run(subgraph(params), ins, Part("graph"))


def graph_primitive(
    name: str,
    abstract_eval: Callable[..., Avals],
    params: Mapping[str, ParamKind],
    effects: Callable[[Params], frozenset[Effect]] = call_effects,
    flops: Callable[[Avals, Avals, Params], float] = call_flops,
    is_expanded: bool = False,
) -> Primitive:
    """Register a primitive that computes its param `graph`; the others are about it.

    With `is_expanded` the pass `expand` inlines it.
    """
    return register(
        Primitive(
            name,
            abstract_eval,
            interpreted(run_graph),
            params=params,
            effects=effects,
            flops=flops,
            variadic_results=True,
            expand=expand_to_graph if is_expanded else None,
            run_by=run_graph,
        )
    )


call_p: Primitive = graph_primitive("call", call_eval, {"graph": ParamKind.GRAPH})


def inlined_graph(eqn: Eqn) -> Graph | None:
    """Return the graph that an equation holds and is: lowering puts it in its place."""
    is_graph = eqn.primitive is call_p or eqn.primitive.expand is expand_to_graph
    return subgraph(eqn.params) if is_graph else None


def _cond_eval(
    pred: ShapedArray, *avals: ShapedArray, on_true: Graph, on_false: Graph
) -> Avals:
    if pred != ShapedArray((), dt.BOOL):
        raise DTypeError(f"cond takes one boolean, not {pred}")
    for graph in (on_true, on_false):
        check_operands("cond", graph, avals)
    if on_true.out_avals != on_false.out_avals:
        raise ShapeError(
            f"the branches of cond give {list(on_true.out_avals)} and "
            f"{list(on_false.out_avals)}"
        )
    return on_true.out_avals


def _run_cond(by: Evaluator[V], ins: Sequence[V], params: Params) -> Sequence[V]:
    name = "on_true" if by.is_true(ins[0]) else "on_false"
    return by.run(subgraph(params, name), ins[1:], Part(name))


cond_p: Primitive = register(
    Primitive(
        "cond",
        _cond_eval,
        interpreted(_run_cond),
        params={"on_true": ParamKind.GRAPH, "on_false": ParamKind.GRAPH},
        effects=call_effects,
        flops=call_flops,
        variadic_results=True,
        run_by=_run_cond,
    )
)


def _fusion_eval(
    *avals: ShapedArray, graph: Graph, space: Shape, reduced: Shape
) -> Avals:
    return call_eval(*avals, graph=graph)


# A fusion group: a `call` that the schedule turns into one kernel. `space` is the shape
# of its elements; `reduced` are the axes that its reductions remove where they are not
# the last ones.
fusion_p: Primitive = graph_primitive(
    "fusion",
    _fusion_eval,
    {
        "graph": ParamKind.GRAPH,
        "space": ParamKind.INTS,
        "reduced": ParamKind.INTS,
    },
)
