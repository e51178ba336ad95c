"""Products of matrices with short vectors become elementwise products and sums.

A product sums a few places of each row: the colours of a pixel, or a window. Tiles of
matrix products have nothing to do there, and what is elementwise fuses with what is
around it. Each result is summed in the order that sums have (docs/numerics.md).

Before → after::

    %0: f32[600,800] = dot_general %x, %w {contract=((2), (0)), batch=((), ())}
    ---
    %0: f32[3,600,800] = transpose %x {perm=(2, 0, 1)}
    %1: f32[3,600,800] = broadcast_in_dim %w {shape=(3, 600, 800), dims=(0)}
    %2: f32[3,600,800] = mul %0, %1
    %3: f32[600,800] = reduce_sum %2 {axes=(0)}
"""

from collections.abc import Mapping, Sequence
from math import prod

from ..ir import dtypes as dt
from ..ir.builder import Builder
from ..ir.graph import Atom, Eqn, Graph, Var
from ..ir.ops.contract import axes_of_product, dot_general_p, free_axes, product
from ..ir.ops.shape import reduce_sum_p, sliding_window_p
from .manager import PassContext, on_all_graphs

FLOATS = (dt.FLOAT32, dt.FLOAT64)
# Elements that rows lie apart, at which vectors are loaded across them without gathers.
SHORT = 4
# Elements of a window: neighbours of one place are neighbours in memory.
WINDOW = 64
LEAST_RESULTS = 64  # along the last axis, which becomes the lanes of vectors


def sum_short_products(graph: Graph, context: PassContext) -> Graph:
    """Rewrite products that sum little, in sub-graphs too."""
    return on_all_graphs(graph, lambda g: _expanded(g, context))


def _expanded(graph: Graph, context: PassContext) -> Graph:
    makers: dict[Atom, Eqn] = {v: e for e in graph.eqns for v in e.outvars}
    if not any(_is_short(e, makers) for e in graph.eqns):
        return graph
    b = Builder(graph.name, value_number=True, stats=context.stats)

    def emit(eqn: Eqn, ins: Sequence[Atom]) -> tuple[Atom, ...]:
        if not _is_short(eqn, makers) or not context.may_fire("sum_short_product"):
            return b.emit_all(eqn.primitive, ins, eqn.params)
        context.stats.fired["sum_short_product"] += 1
        summed, _ = axes_of_product(eqn.params)
        terms = product(b, ins[0], ins[1], ((), ()), summed)
        axes = tuple(range(len(summed[0])))
        return (b.emit(reduce_sum_p, terms, axes=axes),)

    return b.build(b.replay(graph, b.inputs_of(graph), emit))


def _is_short(eqn: Eqn, makers: Mapping[Atom, Eqn]) -> bool:
    """Tell whether an equation multiplies rows of an array with one short vector."""
    if eqn.primitive is not dot_general_p:
        return False
    (x, y), out = eqn.invars, eqn.outvars[0].aval
    summed, batch = axes_of_product(eqn.params)
    dtypes = {x.aval.dtype, y.aval.dtype, out.dtype}
    if batch[0] or len(dtypes) > 1 or out.dtype not in FLOATS:
        return False
    rows = [x.aval.shape[d] for d in free_axes(x.aval.ndim, summed[0], ())]
    columns = [y.aval.shape[d] for d in free_axes(y.aval.ndim, summed[1], ())]
    if not rows or rows[-1] < LEAST_RESULTS or prod(columns) > SHORT:
        return False
    most = WINDOW if prod(columns) == 1 and _is_window(x, makers) else SHORT
    return prod(x.aval.shape[d] for d in summed[0]) <= most


def _is_window(x: Atom, makers: Mapping[Atom, Eqn]) -> bool:
    """Tell whether an array is windows of another one."""
    maker = makers.get(x) if isinstance(x, Var) else None
    return maker is not None and maker.primitive is sliding_window_p
