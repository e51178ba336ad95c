"""Derivatives of functions with rules of their own, and of checkpoints.

A custom function's rule takes the place of its derivative; a checkpoint's derivative
holds the equations of its values again, behind a barrier. Importing the module enters
the rules beside those of other sub-graphs.
"""

from collections.abc import Sequence

from ..errors import UnsupportedError
from ..ir import dtypes as dt
from ..ir.builder import Builder
from ..ir.graph import Atom, Eqn, Graph, Var, subgraph
from ..ir.ops.custom import (
    barrier_p,
    checkpoint_p,
    custom_jvp_p,
    custom_tangent_p,
    custom_vjp_p,
    inexact_avals,
)
from ..ir.ops.shape import (
    broadcast_in_dim_p,
    full_like,
    reshape_p,
    rev_p,
    slice_p,
    transpose_p,
)
from ..ir.primitive import Params
from . import linearize as linearizing
from . import transpose as transposing
from .linearize import (
    Derivatives,
    Maybe,
    emit_split,
    linearize,
    linearize_graph,
    mask_of,
    spread,
)
from .separate import separate
from .transpose import count_residuals, transpose_graph

VIEWS = (broadcast_in_dim_p, reshape_p, rev_p, slice_p, transpose_p)


def _linearize_custom_jvp(
    b: Builder,
    eqn: Eqn,
    ins: Sequence[Atom],
    tangents: Sequence[Maybe],
    known: Derivatives,
) -> tuple[Sequence[Atom], Sequence[Maybe]]:
    """Run the rule in place of the function."""
    given = _custom_tangents(b, eqn, ins, tangents)
    rule = subgraph(eqn.params, "rule")
    if not known.joint:
        rule = _separated(rule, len(given), known)
    outs = b.inline(rule, [*ins, *given])
    n = len(eqn.outvars)
    return outs[:n], _spread_inexact(outs[n:], eqn)


def _separated(rule: Graph, n_tangents: int, known: Derivatives) -> Graph:
    """Return a rule that computes tangents apart: they alone are transposed."""
    if rule not in known.separated:
        n = len(rule.invars) - n_tangents
        known.separated[rule] = separate(rule, (*[False] * n, *[True] * n_tangents))
    return known.separated[rule]


def _linearize_custom_vjp(
    b: Builder,
    eqn: Eqn,
    ins: Sequence[Atom],
    tangents: Sequence[Maybe],
    known: Derivatives,
) -> tuple[Sequence[Atom], Sequence[Maybe]]:
    """Run ``fwd`` in place of the function; its transpose is ``bwd``."""
    given = _custom_tangents(b, eqn, ins, tangents)
    outs = b.inline(subgraph(eqn.params, "fwd"), ins)
    args, n = eqn.params["args"], len(eqn.outvars)
    assert isinstance(args, int)
    if not inexact_avals([v.aval for v in eqn.outvars]):
        return outs[:n], [None] * n
    residuals = [*ins[args:], *outs[n:]]
    bwd = subgraph(eqn.params, "bwd")
    params: Params = {"bwd": bwd, "residuals": len(residuals)}
    found = b.emit_all(custom_tangent_p, [*residuals, *given], params)
    return outs[:n], _spread_inexact(found, eqn)


def _custom_tangents(
    b: Builder, eqn: Eqn, ins: Sequence[Atom], tangents: Sequence[Maybe]
) -> list[Atom]:
    """Return a tangent for each argument that has one; what is closed over has none."""
    args = eqn.params["args"]
    assert isinstance(args, int)
    if any(t is not None for t in tangents[args:]):
        kind, name = eqn.primitive.name, subgraph(eqn.params).name
        raise UnsupportedError(
            f"the {kind} function {name!r} closes over a value that is differentiated; "
            "its rule is about its arguments alone",
            source=", ".join(eqn.source) or None,
            hint="pass the value as an argument, or stop_gradient it",
        )
    return [
        full_like(b, 0, x.aval) if t is None else t
        for x, t in zip(ins[:args], tangents[:args], strict=True)
        if dt.is_inexact(x.aval.dtype)
    ]


def _spread_inexact(found: Sequence[Atom], eqn: Eqn) -> list[Maybe]:
    return spread(found, tuple(dt.is_inexact(v.aval.dtype) for v in eqn.outvars))


def _linearize_checkpoint(
    b: Builder,
    eqn: Eqn,
    ins: Sequence[Atom],
    tangents: Sequence[Maybe],
    known: Derivatives,
) -> tuple[Sequence[Atom], Sequence[Maybe]]:
    """Split the graph; the derivative is a checkpoint of what it computes again."""
    graph, save = subgraph(eqn.params), eqn.params["save"]
    if ("all", "") in save:  # type: ignore[operator]
        return linearize(b, graph, ins, tangents, known)
    split = linearize_graph(graph, mask_of(tangents), known, save)  # type: ignore[arg-type]
    first: Params = {"graph": split.primal, "save": save}
    again: Params = {"graph": split.tangent, "save": save}
    return emit_split(b, checkpoint_p, (first, again), split, ins, tangents)


def _transpose_checkpoint(
    b: Builder,
    eqn: Eqn,
    cts: Sequence[Maybe],
    is_linear: Sequence[bool],
    known: Derivatives,
) -> Sequence[Maybe]:
    """Compute the values again, once the cotangents are there and not before.

    The barrier makes other variables of what the checkpoint kept: nothing that is
    computed from them equals what was computed in the first place.
    """
    n = count_residuals(eqn, is_linear)
    mask = tuple(c is not None for c in cts)
    transposed = transpose_graph(subgraph(eqn.params), n, mask, known)
    late = _delayed(transposed.graph, n)
    used = [v in late for v in transposed.graph.invars[:n]]
    kept = [x for x, is_used in zip(eqn.invars[:n], used, strict=True) if is_used]
    given = [c for c in cts if c is not None]
    after = [x for x in (_stored(b, c) for c in given) if isinstance(x, Var)]
    later = iter(b.emit_all(barrier_p, [*kept, *after], {"count": len(kept)}))
    pairs = zip(eqn.invars[:n], used, strict=True)
    operands = [*(next(later) if is_used else x for x, is_used in pairs), *given]
    params = {"graph": transposed.graph, "save": eqn.params["save"]}
    found = b.emit_all(checkpoint_p, operands, params)
    return [*[None] * n, *spread(found, transposed.found)]


def _delayed(graph: Graph, n: int) -> set[Atom]:
    """Return residuals, of the first `n` inputs, that make all equations new ones.

    As few as can be, in order: of what an equation reads, one is enough. What is
    computed from masks and indices alone may be what it was; so may views.
    """
    late: set[Atom] = set()
    while True:
        new: set[Atom] = {*graph.invars[n:], *late}
        roots: dict[Atom, Atom] = {v: v for v in graph.invars[:n]}
        found: Atom | None = None
        for eqn in graph.eqns:
            sources = [roots[x] for x in eqn.invars if x in roots]
            floats = [x for x in sources if dt.is_inexact(x.aval.dtype)]
            if any(x in new for x in eqn.invars):
                new.update(eqn.outvars)
            elif floats and eqn.primitive in VIEWS:
                roots[eqn.outvars[0]] = floats[0]
            elif floats:
                found = floats[0]
                break
        if found is None:
            return late or {x for x in graph.outvars if x in roots}
        late.add(found)


def _stored(b: Builder, x: Atom) -> Atom:
    """Return what must be there before `x` is: a broadcast needs no memory."""
    eqn = b.definition(x)
    while eqn is not None and eqn.primitive is broadcast_in_dim_p:
        x = eqn.invars[0]
        eqn = b.definition(x)
    return x


linearizing.SUBGRAPH_RULES.update(
    {
        checkpoint_p: _linearize_checkpoint,
        custom_jvp_p: _linearize_custom_jvp,
        custom_vjp_p: _linearize_custom_vjp,
    }
)
transposing.SUBGRAPH_RULES[checkpoint_p] = _transpose_checkpoint
