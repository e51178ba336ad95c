"""Loops whose elements evolve by themselves, made ready to be one kernel each.

What no turn changes is computed before the loop, whatever its size: a kernel computes
it where it is needed. What is left of the body is elementwise, on constants of one
shape or of rank 0 (`kernels.turns`):

    %0 = scan %x, %z {body={ %0 = broadcast_in_dim %x ; %1 = mul %z, %0 }}
    ---
    %0 = broadcast_in_dim %x
    %1 = scan %0, %z {body={ %1 = mul %z, %0 }}

Carries of rank 0 beside others, such as counts, are computed for every element anew.
Where they are read after the loop, a loop of them alone gives them. Other loops stay as
they are.
"""

from collections.abc import Sequence
from dataclasses import replace

from ..ir.builder import Builder, keep_name
from ..ir.graph import Atom, Eqn, Graph, Var
from ..ir.invariant import renamed
from ..ir.liveness import live_equations
from ..ir.ops.loops import ScanParams, scan_p
from ..kernels.turns import has_read_numbers, is_pointwise, is_pointwise_loop
from .manager import PassContext, map_subgraphs
from .normal_form import normal_form


def pointwise_loops(graph: Graph, context: PassContext) -> Graph:
    """Return the graph with pointwise loops in the form that kernels can hold."""
    graph = map_subgraphs(graph, lambda g: pointwise_loops(g, context))
    if not any(e.primitive is scan_p for e in graph.eqns):
        return graph
    read = {x for e in graph.eqns for x in e.invars} | set(graph.outvars)
    b = Builder(graph.name)
    env: dict[Atom, Atom] = {v: b.input(v.aval, v.name) for v in graph.invars}
    changed = False
    for eqn in graph.eqns:
        b.source = eqn.source
        ins = [env.get(x, x) for x in eqn.invars]
        outs: Sequence[Atom | None] | None = None
        is_ready = is_pointwise_loop(eqn) and not has_read_numbers(eqn, read)
        if (
            eqn.primitive is scan_p
            and not is_ready
            and context.may_fire("pointwise_loop")
        ):
            wanted = [v in read for v in eqn.outvars]
            outs = _ready(b, ScanParams.of(eqn.params), ins, wanted)
            context.stats.fired["pointwise_loop"] += outs is not None
            changed |= outs is not None
        if outs is None:
            outs = b.emit_all(eqn.primitive, ins, eqn.params)
        for var, out in zip(eqn.outvars, outs, strict=True):
            if out is not None:
                env[var] = out
                keep_name(out, var)
    return b.build([env.get(x, x) for x in graph.outvars]) if changed else graph


def _ready(
    b: Builder, p: ScanParams, ins: Sequence[Atom], wanted: Sequence[bool]
) -> list[Atom | None] | None:
    """Emit a loop as a kernel can hold it; None if it is none.

    Parameters
    ----------
    b : Builder
    p : ScanParams
    ins : sequence of Atom
        Operands.
    wanted : sequence of bool
        Which results are read.

    Returns
    -------
    list of (Atom or None) or None
        The results; None for one that nothing reads.
    """
    body = normal_form(p.body)
    moved, inside = _invariant(body, p.consts)
    p = replace(p, body=body)
    shapes = [v.aval.shape for v in p.split(body.invars)[1]]
    arrays = [k for k, shape in enumerate(shapes) if shape]
    numbers = [k for k, shape in enumerate(shapes) if not shape]
    whole, sources = _of_carries(p, moved, inside, [*arrays, *numbers])
    places = dict(zip(p.split(body.invars)[2], p.split(ins)[2], strict=True))
    if not is_pointwise(whole, [places.get(v, v).aval for v in sources]):
        return None
    outs: list[Atom | None] = [None] * p.carries
    is_read = any(wanted[k] for k in numbers) and bool(arrays)
    for kept in ([*arrays, *numbers], *([numbers] if is_read else [])):
        loop, sources = _of_carries(p, moved, inside, kept)
        env: dict[Atom, Atom] = dict(zip(body.invars, ins, strict=True))
        for eqn in live_equations(moved, sources):
            found = [env.get(x, x) for x in eqn.invars]
            made = b.emit_all(eqn.primitive, found, eqn.params)
            env.update(zip(eqn.outvars, made, strict=True))
        made = b.emit_all(scan_p, [env[v] for v in sources], loop.params)
        for k, out in zip(kept, made, strict=True):
            outs[k] = out
    return outs


def _invariant(body: Graph, consts: int) -> tuple[list[Eqn], list[Eqn]]:
    """Return the equations that are the same at every turn, and the others."""
    fixed: set[Atom] = set(body.invars[:consts])
    moved: list[Eqn] = []
    inside: list[Eqn] = []
    for eqn in body.eqns:
        is_fixed = all(x in fixed or not isinstance(x, Var) for x in eqn.invars)
        if is_fixed and not eqn.effects:
            moved.append(eqn)
            fixed.update(eqn.outvars)
        else:
            inside.append(eqn)
    return moved, inside


def _of_carries(
    p: ScanParams, moved: Sequence[Eqn], inside: Sequence[Eqn], kept: Sequence[int]
) -> tuple[ScanParams, list[Var]]:
    """Return the loop of some carries alone, and what in the body its operands are."""
    fixed, carries, xs = p.split(p.body.invars)
    outs = [p.body.outvars[k] for k in kept]
    outs += p.body.outvars[p.carries :]
    needed = live_equations(inside, outs)
    read = {x for e in needed for x in e.invars} | set(outs)
    made = [v for e in moved for v in e.outvars]
    consts = [v for v in (*fixed, *made) if v in read]
    states = [carries[k] for k in kept]
    slices = [v for v in xs if v in read]
    sources = [*consts, *states, *slices]
    body = renamed(Graph(p.body.name, sources, outs, needed))
    loop = replace(p, body=body, consts=len(consts), carries=len(kept), unroll=1)
    return loop, sources
