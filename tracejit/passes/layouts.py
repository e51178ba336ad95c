"""Transposed matrices that many small products read are transposed in memory, once.

A product multiplies rows of its right operand. Where a row is not contiguous, as in
``h @ w.T``, it packs the matrix first, which costs about as much as five rows of
results do: too much in each turn of a loop over time, whose weights stay the same.

    %0 = transpose %w {perm=(1, 0)}               (f32[64,256])
    %1 = scan %0, ... {body={ ... dot_general %h, %0 ... }}
    ---
    %0 = transpose %w {perm=(1, 0)}
    %1 = reshape %0 {shape=(16384)}               (a copy: it is not contiguous)
    %2 = barrier %1
    %3 = reshape %2 {shape=(64, 256)}
    %4 = scan %3, ...
"""

from collections.abc import Sequence
from math import prod

from ..ir import dtypes as dt
from ..ir.builder import Builder, keep_name
from ..ir.graph import Atom, Eqn, Graph, Var
from ..ir.ops.contract import dot_general_p
from ..ir.ops.custom import barrier_p
from ..ir.ops.loops import ScanParams, WhileParams, scan_p, while_p
from ..ir.ops.shape import reshape, transpose_p
from .manager import PassContext, on_all_graphs
from .notes import LaidOut

FEW = 128  # rows of results, beside which packing counts
MANY = 8  # products that read a matrix
LEAST = 1 << 12  # elements of a matrix
FLOATS = (dt.FLOAT32, dt.FLOAT64)


def lay_out(graph: Graph, context: PassContext) -> Graph:
    """Copy the matrices of loops and sequences of products, in sub-graphs too."""
    return on_all_graphs(graph, lambda g: _laid_out(g, context))


def _laid_out(graph: Graph, context: PassContext) -> Graph:
    turned = {e.outvars[0]: 0 for e in graph.eqns if _is_turned_matrix(e)}
    if not turned:
        return graph
    for eqn in graph.eqns:
        _count(eqn, turned)
    if max(turned.values()) < MANY:
        return graph
    b = Builder(graph.name)

    def emit(eqn: Eqn, ins: list[Atom]) -> tuple[Atom, ...]:
        outs = b.emit_all(eqn.primitive, ins, eqn.params)
        is_read = any(turned.get(v, 0) >= MANY for v in eqn.outvars)
        if not is_read or not context.may_fire("lay_out"):
            return outs
        context.stats.fired["lay_out"] += 1
        (matrix,) = outs
        products = turned[eqn.outvars[0]]
        context.notes.append(LaidOut(matrix.aval, products, eqn.source))
        keep_name(matrix, eqn.outvars[0])
        return (_copied(b, matrix),)

    return b.build(b.replay(graph, b.inputs_of(graph), emit))


def _is_turned_matrix(eqn: Eqn) -> bool:
    if eqn.primitive is not transpose_p or eqn.params["perm"] != (1, 0):
        return False
    aval = eqn.outvars[0].aval
    return aval.dtype in FLOATS and aval.size >= LEAST


def _count(eqn: Eqn, turned: dict[Var, int]) -> None:
    """Add the products that an equation runs to those of the matrices they read."""
    if _is_small_product(eqn):
        x = eqn.invars[1]
        if isinstance(x, Var) and x in turned:
            turned[x] += 1
    elif eqn.primitive is scan_p:
        p = ScanParams.of(eqn.params)
        fixed = p.split(p.body.invars)[0], p.split(eqn.invars)[0]
        _count_turns(p.body, p.length, *fixed, turned)
    elif eqn.primitive is while_p:
        w = WhileParams.of(eqn.params)
        outside = w.split(eqn.invars)[1]
        _count_turns(w.body, MANY, w.body.invars[: len(outside)], outside, turned)


def _count_turns(
    body: Graph,
    turns: int,
    inside: Sequence[Var],
    outside: Sequence[Atom],
    turned: dict[Var, int],
) -> None:
    """Add the products of all turns of a loop, which knows matrices as `inside`."""
    places = {
        v: x
        for v, x in zip(inside, outside, strict=True)
        if isinstance(x, Var) and x in turned
    }
    inner = dict.fromkeys(places, 0)
    for eqn in body.eqns:
        _count(eqn, inner)
    for var, times in inner.items():
        turned[places[var]] += times * turns


def _is_small_product(eqn: Eqn) -> bool:
    """Tell whether an equation multiplies few rows with a matrix."""
    if eqn.primitive is not dot_general_p:
        return False
    x = eqn.invars[0].aval
    rows = prod(x.shape[:-1])
    plain = ((x.ndim - 1,), (0,))
    is_plain = eqn.params["contract"] == plain and eqn.params["batch"] == ((), ())
    return is_plain and 1 < rows <= FEW


def _copied(b: Builder, x: Atom) -> Atom:
    """Return the same values, contiguous in memory."""
    row = b.emit(barrier_p, reshape(b, x, (x.aval.size,)), count=1)
    return reshape(b, row, x.aval.shape)
