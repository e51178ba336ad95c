"""Dead code: drop equations whose results nobody reads and that have no effects.

Results of calls and conditionals that nobody reads are dropped from their sub-graphs
too, with what only they needed; of loops, results, carries and operands. A gather that
nobody reads stays, since it checks its indices; it reads zeros then, so that its
operand need not be computed.

Before → after::

    %0: f32[3] = exp %x
    %1: f32[3] = log %x
    return %1
    ---
    %0: f32[3] = log %x
    return %0
"""

from dataclasses import field
from operator import is_

from ..ir.graph import Atom, Eqn, Graph, Literal, Var
from ..ir.ops.control import call_p, cond_p
from ..ir.ops.custom import barrier_p
from ..ir.ops.indexing import gather_p
from ..ir.ops.loops import scan_p, while_p
from ..ir.ops.shape import broadcast_in_dim_p, constant_p
from ..records import dataclass
from .manager import PassContext, with_subgraphs

Mask = tuple[bool, ...]
NARROWED = (call_p, cond_p)
LOOPS = (scan_p, while_p)


@dataclass
class _Run:
    """One run of the pass: sub-graphs done so far, by the results wanted of them."""

    context: PassContext
    done: dict[tuple[Graph, Mask], Graph] = field(default_factory=dict)


def dce(graph: Graph, context: PassContext) -> Graph:
    """Drop what neither the results nor effects need, in sub-graphs too."""
    return _drop_dead(graph, _Run(context))


def _drop_dead(graph: Graph, run: _Run) -> Graph:
    """Walk backwards once, narrowing the calls that are met."""
    live = {x for x in graph.outvars if isinstance(x, Var)}
    kept: list[Eqn] = []
    fired = run.context.stats.fired
    computed = _computed(graph)
    for eqn in reversed(graph.eqns):
        is_live = any(v in live for v in eqn.outvars)
        if not (is_live or eqn.effects):
            if run.context.may_fire("dead_equation"):
                fired["dead_equation"] += 1
                continue
        elif eqn.params:
            eqn = _narrowed(eqn, live, run)
        is_check = eqn.primitive is gather_p and not is_live
        if (
            is_check
            and eqn.invars[0] in computed
            and run.context.may_fire("dead_gather")
        ):
            fired["dead_gather"] += 1
            zeros, eqn = _check_alone(eqn)
            kept += [eqn, zeros]
        else:
            kept.append(eqn)
        live.update(x for x in eqn.invars if isinstance(x, Var))
    kept.reverse()
    if len(kept) == len(graph.eqns) and all(map(is_, kept, graph.eqns)):
        return graph
    return Graph(graph.name, graph.invars, graph.outvars, kept)


def _computed(graph: Graph) -> set[Atom]:
    """Return what is not there anyway: no inputs, constants and broadcasts."""
    eqns = (
        e for e in graph.eqns if e.primitive not in (constant_p, broadcast_in_dim_p)
    )
    return {v for e in eqns for v in e.outvars}


def _check_alone(eqn: Eqn) -> tuple[Eqn, Eqn]:
    """Return zeros, and the gather that takes its elements from these."""
    aval = eqn.invars[0].aval
    zeros = Var(aval)
    params = {"shape": aval.shape, "dims": ()}
    made = Eqn(
        broadcast_in_dim_p, (Literal(0, aval.dtype),), params, (zeros,), eqn.source
    )
    ins = (zeros, *eqn.invars[1:])
    return made, Eqn(eqn.primitive, ins, eqn.params, eqn.outvars, eqn.source)


def _narrowed(eqn: Eqn, live: set[Var], run: _Run) -> Eqn:
    """Drop dead code from the sub-graphs of `eqn`, and results nobody reads."""
    if eqn.primitive in LOOPS and run.context.may_fire("dead_in_loop"):
        from .narrow import narrowed_loop  # noqa: PLC0415  # with the first loop

        less = narrowed_loop(eqn, live)
        run.context.stats.fired["dead_in_loop"] += less is not eqn
        eqn = less
    mask = _wanted(eqn, live, run)
    if eqn.primitive is barrier_p:
        return eqn if all(mask) else _narrowed_barrier(eqn, mask)
    inner = with_subgraphs(eqn, lambda g: _wanted_part(g, mask, run))
    if inner is eqn or all(mask):
        return inner
    outvars = tuple(v for v, wanted in zip(eqn.outvars, mask, strict=True) if wanted)
    return Eqn(eqn.primitive, eqn.invars, inner.params, outvars, eqn.source)


def _wanted(eqn: Eqn, live: set[Var], run: _Run) -> Mask:
    """Return which results to keep: calls and barriers lose those that nobody reads."""
    mask = tuple(v in live for v in eqn.outvars)
    can_lose = eqn.primitive is barrier_p or (eqn.primitive in NARROWED and any(mask))
    if all(mask) or not can_lose or not run.context.may_fire("dead_result"):
        return (True,) * len(mask)
    run.context.stats.fired["dead_result"] += 1
    return mask


def _narrowed_barrier(eqn: Eqn, mask: Mask) -> Eqn:
    """Let a barrier hold what is read after it alone."""
    n = len(mask)
    kept = [x for x, wanted in zip(eqn.invars[:n], mask, strict=True) if wanted]
    outvars = tuple(v for v, wanted in zip(eqn.outvars, mask, strict=True) if wanted)
    invars = (*kept, *eqn.invars[n:])
    return Eqn(barrier_p, invars, {"count": len(kept)}, outvars, eqn.source)


def _wanted_part(graph: Graph, mask: Mask, run: _Run) -> Graph:
    """Return `graph` with the results that `mask` chooses and what they need."""
    if len(mask) != len(graph.outvars):
        mask = (True,) * len(graph.outvars)
    key = graph, mask
    if key not in run.done:
        outs = tuple(x for x, m in zip(graph.outvars, mask, strict=True) if m)
        if not all(mask):
            graph = Graph(graph.name, graph.invars, outs, graph.eqns)
        run.done[key] = _drop_dead(graph, run)
    return run.done[key]
