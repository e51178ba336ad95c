"""Derivatives of composites: closed forms in place of those of the expansions.

Each `JVP_RULES` entry gives the tangents of a composite's results from the tangent of
its first operand, by equations linear in it; transposing those gives reverse mode, and
what they read are composites and primitives again, so that they can be differentiated
once more. A composite without a rule here (layer norm), or one whose other operands are
active, is differentiated through its expansion, which may hold composites that have
one; attention has a rule about all of its operands (`attention`).

The maximum that softmax, log-softmax and logsumexp subtract cancels: where it is
attained more than once the derivative is that of the smooth function, and no convention
about ties enters.

With ``Σ`` over the composite's axes, n their extent and t the tangent of x::

    softmax y            dy = y·(t - Σ y·t)
    log_softmax y        dy = t - Σ exp(y)·t
    logsumexp y          dy = Σ softmax(x)·t
    mean y               dy = Σ t / n
    variance y           dy = 2/(n - ddof) · Σ (x - mean x)·t
    standardise y, r     dy = r·(t - mean t) - y·q·c,  c = Σ y·t / (n - ddof)
                         dr = -q·r·c,  and q = r without eps beside the deviation
    rms_standardise y, r dy = r·t - y·q·c,  c = mean y·t;  dr likewise
    log_likelihood y     dy = sign·(pick t - Σ softmax(x)·t)
    pick y               dy = pick t;  transposed: ct where the position is the index

Before → after, for softmax::

    %1: f64[2,3] = mul %y, %dx
    %2: f64[2] = reduce_sum %1 {axes=(1)}
    %3: f64[2,3] = broadcast_in_dim %2 {shape=(2, 3), dims=(0)}
    %4: f64[2,3] = sub %dx, %3
    %dy: f64[2,3] = mul %y, %4
"""

from collections.abc import Callable, Mapping, Sequence

import numpy as np

from ..ir import dtypes as dt
from ..ir.aval import Shape
from ..ir.builder import Builder
from ..ir.graph import Atom, subgraph
from ..ir.ops.composite import attribute, composite_axes, composite_p
from ..ir.ops.elementwise import (
    add_p,
    convert_p,
    div_p,
    eq_p,
    exp_p,
    lt_p,
    maximum_p,
    minimum_p,
    mul_p,
    neg_p,
    select_p,
    sub_p,
)
from ..ir.ops.reduce import reduce_max_p, reduce_sum_p
from ..ir.ops.shape import broadcast_in_dim_p, iota_p, keep_axes, reshape
from ..ir.primitive import Params

Atoms = Sequence[Atom]
# rule(b, tangent, outs, ins, params) -> the tangents of the results
CompositeJvp = Callable[[Builder, Atom, Atoms, Atoms, Params], list[Atom]]


# --- helpers ----------------------------------------------------------------------


def _sum(b: Builder, x: Atom, params: Params) -> Atom:
    return b.emit(reduce_sum_p, x, axes=composite_axes(params))


def _sum_spread(b: Builder, x: Atom, params: Params) -> Atom:
    """Sum over the axes and broadcast back."""
    return keep_axes(b, _sum(b, x, params), x, composite_axes(params))


def _spread(b: Builder, row: Atom, like: Atom) -> Atom:
    """Broadcast a value that kept its axes as extents of one."""
    dims = tuple(range(like.aval.ndim))
    return b.emit(broadcast_in_dim_p, row, shape=like.aval.shape, dims=dims)


def _count(x: Atom, params: Params) -> int:
    return int(np.prod([x.aval.shape[a] for a in composite_axes(params)], dtype=int))


def _mean_spread(b: Builder, x: Atom, params: Params) -> Atom:
    total = _sum(b, x, params)
    mean = b.emit(div_p, total, float(_count(x, params)))
    return keep_axes(b, mean, x, composite_axes(params))


# --- softmax, log-softmax, logsumexp ----------------------------------------------


def _softmax_jvp(
    b: Builder, t: Atom, outs: Atoms, ins: Atoms, params: Params
) -> list[Atom]:
    (y,) = outs
    total = _sum_spread(b, b.emit(mul_p, y, t), params)
    return [b.emit(mul_p, y, b.emit(sub_p, t, total))]


def _log_softmax_jvp(
    b: Builder, t: Atom, outs: Atoms, ins: Atoms, params: Params
) -> list[Atom]:
    (y,) = outs
    weights = b.emit(exp_p, y)
    total = _sum_spread(b, b.emit(mul_p, weights, t), params)
    return [b.emit(sub_p, t, total)]


def _logsumexp_jvp(
    b: Builder, t: Atom, outs: Atoms, ins: Atoms, params: Params
) -> list[Atom]:
    (y,) = outs
    weights = softmax(b, ins[0], composite_axes(params))
    total = _sum(b, b.emit(mul_p, weights, t), params)
    return [reshape(b, total, y.aval.shape)]


def softmax(b: Builder, x: Atom, axes: Shape) -> Atom:
    """Emit the softmax of `x`; where it stands beside a logsumexp, CSE joins them.

    ``exp(x - logsumexp x)`` would be shorter and lose digits where `x` is large.
    """
    inner = Builder("softmax")
    given = inner.input(x.aval)
    top = _kept(inner, inner.emit(reduce_max_p, given, axes=axes), given, axes)
    e = inner.emit(exp_p, inner.emit(sub_p, given, top))
    total = _kept(inner, inner.emit(reduce_sum_p, e, axes=axes), given, axes)
    graph = inner.build([inner.emit(div_p, e, total)])
    return b.emit(composite_p, x, name="softmax", axes=axes, attributes=(), graph=graph)


def _kept(b: Builder, row: Atom, like: Atom, axes: Shape) -> Atom:
    """Broadcast as ``keepdims=True`` is traced: through extents of one."""
    shape = tuple(1 if d in axes else n for d, n in enumerate(like.aval.shape))
    return _spread(b, reshape(b, row, shape), like)


# --- moments ----------------------------------------------------------------------


def _mean_jvp(
    b: Builder, t: Atom, outs: Atoms, ins: Atoms, params: Params
) -> list[Atom]:
    (y,) = outs
    mean = b.emit(div_p, _sum(b, t, params), float(_count(ins[0], params)))
    return [reshape(b, mean, y.aval.shape)]


def _variance_jvp(
    b: Builder, t: Atom, outs: Atoms, ins: Atoms, params: Params
) -> list[Atom]:
    """The mean's own tangent drops out, as Σ (x - mean x) is zero."""
    (y,) = outs
    (x,) = ins
    centred = b.emit(sub_p, x, _mean_spread(b, x, params))
    total = _sum(b, b.emit(mul_p, centred, t), params)
    scaled = b.emit(mul_p, total, 2.0 / _freedom(x, params))
    return [reshape(b, scaled, y.aval.shape)]


def _freedom(x: Atom, params: Params) -> float:
    ddof = attribute(params, "ddof")
    assert isinstance(ddof, int)
    return float(_count(x, params) - ddof)


def _standardise_jvp(
    b: Builder, t: Atom, outs: Atoms, ins: Atoms, params: Params
) -> list[Atom]:
    centred = b.emit(sub_p, t, _mean_spread(b, t, params))
    return _normed_jvp(b, t, centred, outs, _freedom(ins[0], params), params)


def _rms_standardise_jvp(
    b: Builder, t: Atom, outs: Atoms, ins: Atoms, params: Params
) -> list[Atom]:
    return _normed_jvp(b, t, t, outs, float(_count(ins[0], params)), params)


def _normed_jvp(
    b: Builder, t: Atom, part: Atom, outs: Atoms, freedom: float, params: Params
) -> list[Atom]:
    """Tangents of ``y = d·r`` (and of r, q), where `part` is the tangent of d.

    With v the mean of d², ``dr = -q·r²·dv/2`` and ``dv = 2·Σ d·t / freedom``, that is
    ``dr = -q·r·c`` with ``c = Σ y·t / freedom``; and ``dq = -q³·c/r`` where q = 1/√v.
    """
    y, r, *slopes = outs
    q = slopes[0] if slopes else r
    total = _sum(b, b.emit(mul_p, y, t), params)
    c = reshape(b, b.emit(div_p, total, freedom), r.aval.shape)
    qc = b.emit(mul_p, q, c)
    if slopes:
        fall = b.emit(mul_p, y, _spread(b, qc, y))
        dy = b.emit(sub_p, b.emit(mul_p, _spread(b, r, y), part), fall)
    else:
        inner = b.emit(sub_p, part, b.emit(mul_p, y, _spread(b, c, y)))
        dy = b.emit(mul_p, _spread(b, r, y), inner)
    dr = b.emit(neg_p, b.emit(mul_p, r, qc))
    if not slopes:
        return [dy, dr]
    square = b.emit(mul_p, q, q)
    return [dy, dr, b.emit(neg_p, b.emit(mul_p, b.emit(div_p, square, r), qc))]


# --- picks ------------------------------------------------------------------------


def _pick_jvp(
    b: Builder, t: Atom, outs: Atoms, ins: Atoms, params: Params
) -> list[Atom]:
    """A pick is linear: the pick of the tangent."""
    return [*b.emit_all(composite_p, [t, *ins[1:]], params)]


def _log_likelihood_jvp(
    b: Builder, t: Atom, outs: Atoms, ins: Atoms, params: Params
) -> list[Atom]:
    """The expansion's own pick, of the tangent, less the tangent of the logsumexp.

    It stays finite where a probability underflows and its logarithm does not.
    """
    (y,) = outs
    x, index = ins
    equations = subgraph(params).eqns
    pick = next(e for e in equations if e.params.get("name") == "pick")
    (picked,) = b.emit_all(composite_p, [t, index], pick.params)
    weighted = b.emit(mul_p, softmax(b, x, composite_axes(params)), t)
    terms = [reshape(b, v, y.aval.shape) for v in (picked, _sum(b, weighted, params))]
    return [b.emit(sub_p, *(terms if attribute(params, "sign") == 1 else terms[::-1]))]


def pick_transpose(b: Builder, ct: Atom, ins: Atoms, params: Params) -> Atom:
    """Emit the cotangent of what was picked from: `ct` where the position is the index.

    The result is as large as `x` with a scatter too, which zeros it first; a comparison
    with an iota fuses with whatever reads it.
    """
    x, index = ins
    shape = x.aval.shape
    (axis,) = composite_axes(params)
    batch = attribute(params, "batch")
    assert isinstance(batch, int)
    others = tuple(d for d in range(len(shape)) if d != axis)
    place = _index_in_range(b, reshape(b, index, shape[:batch]), shape[axis], params)
    spread = {"shape": shape, "dims": tuple(range(batch))}
    count = b.emit(iota_p, shape=shape, axis=axis, dtype=place.aval.dtype)
    is_place = b.emit(eq_p, count, b.emit(broadcast_in_dim_p, place, **spread))
    rows = reshape(b, ct, tuple(shape[d] for d in others))
    values = b.emit(broadcast_in_dim_p, rows, shape=shape, dims=others)
    return b.emit(select_p, is_place, values, b.literal(0, x.aval.dtype))


def _index_in_range(b: Builder, index: Atom, extent: int, params: Params) -> Atom:
    """Wrap or clamp an index as its gather does; the gather checks the range."""
    if np.iinfo(index.aval.dtype).max < extent:
        index = b.emit(convert_p, index, dtype=dt.INT64)
    if attribute(params, "mode") == "clip":
        return b.emit(minimum_p, b.emit(maximum_p, index, 0), extent - 1)
    if index.aval.dtype.kind == "u":
        return index
    wrapped = b.emit(add_p, index, extent)
    return b.emit(select_p, b.emit(lt_p, index, 0), wrapped, index)


JVP_RULES: Mapping[str, CompositeJvp] = {
    "softmax": _softmax_jvp,
    "log_softmax": _log_softmax_jvp,
    "logsumexp": _logsumexp_jvp,
    "mean": _mean_jvp,
    "variance": _variance_jvp,
    "standardise": _standardise_jvp,
    "rms_standardise": _rms_standardise_jvp,
    "pick": _pick_jvp,
    "log_likelihood": _log_likelihood_jvp,
}
