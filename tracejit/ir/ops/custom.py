"""Primitives that hold how they are differentiated, batched, or kept in memory.

Each means its `graph`, which the pass `expand` puts in its place once derivatives are
taken: `custom_jvp` and `custom_vjp` carry the user's own derivative as graphs,
`checkpoint` is computed again where its derivative needs it. `custom_tangent` stands
between linearising a `custom_vjp` and transposing it; `barrier` keeps what is computed
again apart from what was computed first. `custom_batching` carries the user's own rule
for a batch, as a Python function that makes a graph.
"""

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np

from ...errors import ShapeError, UnsupportedError
from .. import dtypes as dt
from ..aval import ShapedArray
from ..graph import Graph, subgraph
from ..interp import evaluate
from ..primitive import (
    Array,
    Avals,
    BatchParams,
    Effect,
    HostRule,
    Linearity,
    ParamKind,
    Params,
    Primitive,
    register,
)
from .control import call_eval, call_flops, graph_flops, graph_primitive
from .shape import full_like

if TYPE_CHECKING:
    from ..builder import Builder
    from ..graph import Atom

Save = tuple[tuple[str, str], ...]


def inexact_avals(avals: Sequence[ShapedArray]) -> Avals:
    """Return those that have tangents: of float or complex dtype."""
    return tuple(a for a in avals if dt.is_inexact(a.dtype))


def _graph_effects(params: Params) -> frozenset[Effect]:
    """Rules run only where the equation is differentiated, and then in its place."""
    return subgraph(params).effects


def _graph_flops(ins: Avals, outs: Avals, params: Params) -> float:
    return graph_flops(subgraph(params))


def _check_graph(
    name: str, graph: Graph, ins: Sequence[ShapedArray], outs: Sequence[ShapedArray]
) -> None:
    if graph.in_avals != tuple(ins) or graph.out_avals != tuple(outs):
        raise ShapeError(
            f"{name} @{graph.name} takes {list(graph.in_avals)} and gives "
            f"{list(graph.out_avals)}, not {list(ins)} and {list(outs)}"
        )


# --- derivatives of the user's own ------------------------------------------------


def _custom_jvp_eval(
    *avals: ShapedArray, graph: Graph, rule: Graph, args: int
) -> Avals:
    outs = call_eval(*avals, graph=graph)
    tangents = inexact_avals(avals[:args])
    _check_graph("the rule", rule, (*avals, *tangents), (*outs, *inexact_avals(outs)))
    return outs


# The first `args` operands are the arguments, the others what the functions close over.
# `rule` takes all operands and a tangent for each argument of float or complex dtype,
# and gives the results and a tangent for each of those that are float or complex.
custom_jvp_p: Primitive = graph_primitive(
    "custom_jvp",
    _custom_jvp_eval,
    {"graph": ParamKind.GRAPH, "rule": ParamKind.GRAPH, "args": ParamKind.INT},
    effects=_graph_effects,
    flops=_graph_flops,
    is_expanded=True,
)


def _custom_vjp_eval(
    *avals: ShapedArray, graph: Graph, fwd: Graph, bwd: Graph, args: int
) -> Avals:
    outs = call_eval(*avals, graph=graph)
    residuals = fwd.out_avals[len(outs) :]
    _check_graph("fwd", fwd, avals, (*outs, *residuals))
    ins = (*avals[args:], *residuals, *inexact_avals(outs))
    _check_graph("bwd", bwd, ins, inexact_avals(avals[:args]))
    return outs


# `fwd` takes all operands, and gives the results and residuals; `bwd` takes the
# operands after the arguments, the residuals and a cotangent for each result of float
# or complex dtype, and gives a cotangent for each argument of float or complex dtype.
custom_vjp_p: Primitive = graph_primitive(
    "custom_vjp",
    _custom_vjp_eval,
    {
        "graph": ParamKind.GRAPH,
        "fwd": ParamKind.GRAPH,
        "bwd": ParamKind.GRAPH,
        "args": ParamKind.INT,
    },
    effects=_graph_effects,
    flops=_graph_flops,
    is_expanded=True,
)


def _custom_tangent_eval(*avals: ShapedArray, bwd: Graph, residuals: int) -> Avals:
    if avals != (*bwd.in_avals[:residuals], *bwd.out_avals):
        raise ShapeError(
            f"custom_tangent of @{bwd.name} takes {list(bwd.in_avals[:residuals])} and "
            f"{list(bwd.out_avals)}, not {list(avals)}"
        )
    return bwd.in_avals[residuals:]


def _custom_tangent(*xs: Array, bwd: Graph, residuals: int) -> tuple[Array, ...]:
    """Find each element of ``J t`` as ``⟨Jᵀ e, t⟩``: one run of `bwd` an element."""
    known, tangents = xs[:residuals], xs[residuals:]
    cotangents = [np.zeros(a.shape, a.dtype) for a in bwd.in_avals[residuals:]]
    outs = [c.copy() for c in cotangents]
    for ct, out in zip(cotangents, outs, strict=True):
        for place in np.ndindex(ct.shape):
            ct[place] = 1
            found = evaluate(bwd, [*known, *cotangents])
            pairs = zip(found, tangents, strict=True)
            total = sum(np.sum(f * t) for f, t in pairs)
            out[place] = total if dt.is_complex(out.dtype) else np.real(total)
            ct[place] = 0
    return tuple(outs)


def _custom_tangent_jvp(
    b: "Builder",
    tangents: "Sequence[Atom | None]",
    outs: "Sequence[Atom]",
    ins: "Sequence[Atom]",
    params: Params,
) -> "Sequence[Atom | None]":
    raise forward_mode_error(", ".join(b.source))


def _custom_tangent_transpose(
    b: "Builder",
    cotangents: "Sequence[Atom | None]",
    ins: "Sequence[Atom]",
    linear: Sequence[bool],
    params: Params,
) -> "Sequence[Atom | None]":
    """Run `bwd`, with zeros for cotangents that are not there."""
    bwd = subgraph(params, "bwd")
    n = params["residuals"]
    assert isinstance(n, int)
    cts = [
        full_like(b, 0, aval) if ct is None else ct
        for ct, aval in zip(cotangents, bwd.in_avals[n:], strict=True)
    ]
    found = b.inline(bwd, [*ins[:n], *cts])
    wanted = zip(found, linear[n:], strict=True)
    return [*[None] * n, *(x if is_linear else None for x, is_linear in wanted)]


def forward_mode_error(source: str) -> UnsupportedError:
    """Return the error for a `custom_vjp` function in forward mode."""
    return UnsupportedError(
        "forward mode cannot pass a custom_vjp function, whose rule gives cotangents",
        source=source or None,
        hint="declare its derivative with custom_jvp, which serves both modes",
    )


# What a `custom_vjp` equation is to tangents: linear in the operands after `residuals`,
# which its transpose, `bwd`, has cotangents for.
custom_tangent_p: Primitive = register(
    Primitive(
        "custom_tangent",
        _custom_tangent_eval,
        _custom_tangent,
        params={"bwd": ParamKind.GRAPH, "residuals": ParamKind.INT},
        jvp=_custom_tangent_jvp,
        transpose=_custom_tangent_transpose,
        flops=call_flops,
        variadic_results=True,
    )
)


# --- what is computed again -------------------------------------------------------


def _checkpoint_eval(*avals: ShapedArray, graph: Graph, save: Save) -> Avals:
    return call_eval(*avals, graph=graph)


# `save` says which values the derivative finds in memory: ("all", ""), or any number of
# ("primitive", its name) and ("name", as given by `checkpoint_name`).
checkpoint_p: Primitive = graph_primitive(
    "checkpoint",
    _checkpoint_eval,
    {"graph": ParamKind.GRAPH, "save": ParamKind.ATTRIBUTES},
    is_expanded=True,
)


def _name_transpose(
    b: "Builder",
    cotangents: "Sequence[Atom | None]",
    ins: "Sequence[Atom]",
    linear: Sequence[bool],
    params: Params,
) -> "Sequence[Atom | None]":
    return cotangents


# A value with a name, which checkpoint policies can ask for.
checkpoint_name_p: Primitive = register(
    Primitive(
        "checkpoint_name",
        lambda x, name: x,
        lambda x, name: np.array(x),
        params={"name": ParamKind.STR},
        linearity=Linearity.JOINT,
        transpose=_name_transpose,
        batch=BatchParams(lambda params, size: params),
        flops=lambda ins, outs, params: 0.0,
    )
)


def _barrier_eval(*avals: ShapedArray, count: int) -> Avals:
    if not 0 <= count <= len(avals):
        raise ShapeError(f"barrier gives {count} of its {len(avals)} operands")
    return avals[:count]


def _barrier_jvp(
    b: "Builder",
    tangents: "Sequence[Atom | None]",
    outs: "Sequence[Atom]",
    ins: "Sequence[Atom]",
    params: Params,
) -> "Sequence[Atom | None]":
    return tangents[: len(outs)]


# The first `count` operands as they are, once all operands are there. No rewrite looks
# through it, so that what is computed from its results is computed anew, and later.
barrier_p: Primitive = register(
    Primitive(
        "barrier",
        _barrier_eval,
        lambda *xs, count: xs[:count],
        params={"count": ParamKind.INT},
        jvp=_barrier_jvp,
        batch=BatchParams(lambda params, size: params),
        flops=lambda ins, outs, params: 0.0,
        variadic_results=True,
    )
)

# --- batching of the user's own ---------------------------------------------------


def _custom_batching_eval(
    *avals: ShapedArray, graph: Graph, rule: HostRule, args: int
) -> Avals:
    if not 0 <= args <= len(avals):
        raise ShapeError(f"custom_batching has {args} of its {len(avals)} operands")
    return call_eval(*avals, graph=graph)


# The first `args` operands are the arguments, the others what the function closes over.
# `rule` makes the graph of a batch of arguments; it is asked when there is one.
custom_batching_p: Primitive = graph_primitive(
    "custom_batching",
    _custom_batching_eval,
    {"graph": ParamKind.GRAPH, "rule": ParamKind.HOST, "args": ParamKind.INT},
    effects=_graph_effects,
    flops=_graph_flops,
    is_expanded=True,
)
