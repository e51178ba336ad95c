"""The derivative of attention, which computes the scores again.

What it keeps of the forward pass is as large as the result: the operands, the result O
and two numbers for each row of scores S, their maximum m and the sum l of the
exponentials under it. With P = exp(S - m) / l and t· the tangents::

    W = P·tS        tO = W v + P tv - O·Σ W        tl = l·Σ W        tm = 0

where S and tS are those of the expansion, with its scale and its mask. The maximum
cancels: l alone says how a row is normalised. The equations are held by a `checkpoint`:
its transpose computes P from a barrier, and is, for a cotangent dO,

    D = Σ O·dO - l·dl        dv = Pᵀ dO        dS = P·(dO vᵀ - D)

and dS pulled back through the scores (FlashAttention-2: T. Dao, "FlashAttention-2:
faster attention with better parallelism and work partitioning", 2023, algorithm 2). No
pass stores scores whose kernels can be streams (`passes.streams`).

Before → after, for ``%o, %m, %l = composite %q, %k, %v {name="attention", ...}``::

    %do, %dl = checkpoint %q, %k, %v, %o, %m, %l, %dq, %dk, %dv {graph=...}
"""

from collections.abc import Sequence

import numpy as np

from ..errors import InternalError
from ..ir.builder import Builder
from ..ir.graph import Atom, Eqn, Graph, subgraph
from ..ir.liveness import live_equations
from ..ir.ops.composite import composite_axes, composite_p
from ..ir.ops.contract import axes_of_product, dot_general_p, free_axes
from ..ir.ops.custom import checkpoint_p
from ..ir.ops.elementwise import convert_p, div_p, exp_p, mul_p, sub_p
from ..ir.ops.reduce import reduce_sum_p
from ..ir.ops.shape import broadcast_in_dim_p, keep_axes, transpose_p
from ..ir.primitive import Params
from . import linearize as linearizing
from .linearize import (
    Derivatives,
    Linearized,
    Mask,
    Maybe,
    add_maybe,
    linearize,
    mask_of,
    new_builder,
    spread,
)


def _linearize_attention(
    b: Builder,
    eqn: Eqn,
    ins: Sequence[Atom],
    tangents: Sequence[Maybe],
    known: Derivatives,
) -> tuple[Sequence[Atom], Sequence[Maybe]]:
    """Emit the composite, then its tangent as a function of operands and results."""
    outs = b.emit_all(composite_p, ins, eqn.params)
    mask = mask_of(tangents)
    key = subgraph(eqn.params), mask
    if key not in known.attentions:
        known.attentions[key] = _tangent_graph(eqn, mask, known)
    split = known.attentions[key]
    given = [t for t in tangents if t is not None]
    params: Params = {"graph": split.tangent, "save": ()}
    residuals = [(*ins, *outs)[i] for i in split.residuals]
    found = b.emit_all(checkpoint_p, [*residuals, *given], params)
    return outs, spread(found, split.active)


def _tangent_graph(eqn: Eqn, mask: Mask, known: Derivatives) -> Linearized:
    """Return the tangents as a graph of operands, results and operands' tangents."""
    graph = subgraph(eqn.params)
    b = new_builder(f"{graph.name}_tangent")
    ins = [b.input(v.aval, v.name) for v in graph.invars]
    outs = [b.input(v.aval) for v in graph.outvars]
    tangents = [b.input(v.aval) if m else None for v, m in zip(ins, mask, strict=True)]
    found = _Attention(eqn).tangents(b, ins, outs, tangents, known)
    results = [t for t in found if t is not None]
    eqns = live_equations(b.eqns, results)
    read = {x for e in eqns for x in e.invars}
    values = [*ins, *outs]
    residuals = tuple(i for i, v in enumerate(values) if v in read)
    inputs = [*(values[i] for i in residuals), *(t for t in tangents if t is not None)]
    tangent = Graph(b.name, inputs, results, eqns)
    return Linearized(graph, residuals, tangent, mask_of(found))


class _Attention:
    """The parts of an attention's expansion: scores, softmax, product.

    Parameters
    ----------
    eqn : Eqn
        The composite.
    """

    def __init__(self, eqn: Eqn) -> None:
        graph = subgraph(eqn.params)
        makers = {v: e for e in graph.eqns for v in e.outvars}
        product = makers[graph.outvars[0]]  # type: ignore[index]
        weights, values = product.invars
        self.dtype = weights.aval.dtype
        softmax = makers[weights]  # type: ignore[index]
        if softmax.primitive is convert_p:
            softmax = makers[softmax.invars[0]]  # type: ignore[index]
        if product.primitive is not dot_general_p or softmax.primitive != composite_p:
            raise InternalError("the expansion of attention is no product of a softmax")
        (scores,) = softmax.invars
        wanted = [scores, values]
        live = live_equations(graph.eqns, wanted)
        self.operands = Graph("scores", graph.invars, wanted, live)
        self.params, self.axes = product.params, composite_axes(softmax.params)

    def tangents(
        self,
        b: Builder,
        ins: Sequence[Atom],
        outs: Sequence[Atom],
        tangents: Sequence[Maybe],
        known: Derivatives,
    ) -> list[Maybe]:
        """Emit the tangents of the results."""
        out, top, total = outs
        found, found_ts = linearize(b, self.operands, ins, tangents, known.splitting)
        (scores, values), (dscores, dvalues) = found, found_ts
        # One division for a row, and not one for each score.
        inverse = b.emit(div_p, b.literal(1, total.aval.dtype), total)
        spread_top, scale = (keep_axes(b, x, scores, self.axes) for x in (top, inverse))
        e = b.emit(exp_p, b.emit(sub_p, scores, spread_top))
        weights = b.emit(mul_p, e, scale)
        tangent: Maybe = None
        if dvalues is not None:
            tangent = self._product(b, weights, dvalues)
        if dscores is None:
            return [tangent, None, None]
        weighted = b.emit(mul_p, weights, dscores)
        rows = b.emit(reduce_sum_p, weighted, axes=self.axes)
        spread_rows = self._along_rows(b, rows, scores, out)
        fall = b.emit(mul_p, spread_rows, as_dtype(b, out, rows.aval.dtype))
        tangent = add_maybe(b, tangent, self._product(b, weighted, values))
        tangent = b.emit(sub_p, tangent, as_dtype(b, fall, out.aval.dtype))
        return [tangent, None, b.emit(mul_p, rows, total)]

    def _product(self, b: Builder, weights: Atom, values: Atom) -> Atom:
        """Emit the last product, in the dtype it has in the forward pass."""
        weights = as_dtype(b, weights, self.dtype)
        return b.emit(dot_general_p, weights, values, **self.params)

    def _along_rows(self, b: Builder, rows: Atom, scores: Atom, out: Atom) -> Atom:
        """Give a value of each row of scores the shape of the result."""
        contract, batch = axes_of_product(self.params)
        free = free_axes(scores.aval.ndim, contract[0], batch[0])
        kept = [d for d in range(scores.aval.ndim) if d not in self.axes]
        perm = tuple(kept.index(d) for d in (*batch[0], *free))
        if perm != tuple(range(len(perm))):
            rows = b.emit(transpose_p, rows, perm=perm)
        dims = tuple(range(len(perm)))
        return b.emit(broadcast_in_dim_p, rows, shape=out.aval.shape, dims=dims)


def as_dtype(b: Builder, x: Atom, dtype: np.dtype) -> Atom:
    """Convert a value, if it has another dtype."""
    return x if x.aval.dtype == dtype else b.emit(convert_p, x, dtype=dtype)


linearizing.COMPOSITE_RULES["attention"] = _linearize_attention
