"""Local rewrite rules, applied on insertion by builders and by `canonicalize`.

Each is exact for every input (NaN, inf, -0.0, overflow included), so it may be applied
anywhere; what changes rounding is not here.
"""

from collections.abc import Sequence
from math import prod

import numpy as np

from .builder import Builder
from .graph import Atom, Literal
from .interp import Array
from .ops.elementwise import (
    add_p,
    and_p,
    conj_p,
    convert_p,
    div_p,
    eq_p,
    mul_p,
    neg_p,
    not_p,
    or_p,
    pow_p,
    select_p,
    stop_gradient_p,
    sub_p,
)
from .ops.reduce import (
    reduce_and_p,
    reduce_max_p,
    reduce_min_p,
    reduce_or_p,
    reduce_prod_p,
    reduce_sum_p,
)
from .ops.shape import (
    broadcast_in_dim_p,
    concatenate_p,
    ints,
    pad_p,
    reshape_p,
    rev_p,
    slice_p,
    transpose_p,
    update_slice_p,
)
from .primitive import REGISTRY, Kind, Params, Primitive
from .rewrite import Rule, RuleSet, rule

Atoms = Sequence[Atom]
ELEMENTWISE = tuple(p for p in REGISTRY.values() if p.kind is Kind.ELEMENTWISE)


def _is_literal(x: Atom, value: float) -> bool:
    return isinstance(x, Literal) and x.value == value


def _is_negative_zero(x: Atom) -> bool:
    return isinstance(x, Literal) and x.value == 0 and bool(np.signbit(x.value))


def _keeps_shape(x: Atom, y: Atom) -> bool:
    """Tell whether the result of an operation on x and y has the aval of x."""
    return bool(x.aval.shape) or not y.aval.shape


@rule("fold_scalars", *ELEMENTWISE, doc="add 1.0, 2.0 -> 3.0")
def fold_scalars(b: Builder, p: Primitive, ins: Atoms, params: Params) -> Atoms | None:
    """Evaluate an equation of literals."""
    if not all(isinstance(x, Literal) for x in ins):
        return None
    values: list[Array] = [np.asarray(x.value) for x in ins if isinstance(x, Literal)]
    dtype = p.out_avals([x.aval for x in ins], params)[0].dtype
    with np.errstate(all="ignore"):
        (out,) = p.evaluate(values, params)
    return (Literal(np.asarray(out)[()], dtype),)


@rule("mul_one", mul_p, doc="mul x, 1 -> x")
def mul_one(b: Builder, p: Primitive, ins: Atoms, params: Params) -> Atoms | None:
    """Drop a factor of one."""
    x, y = ins
    if _is_literal(y, 1) and _keeps_shape(x, y):
        return (x,)
    if _is_literal(x, 1) and _keeps_shape(y, x):
        return (y,)
    return None


@rule("div_one", div_p, doc="div x, 1 -> x")
def div_one(b: Builder, p: Primitive, ins: Atoms, params: Params) -> Atoms | None:
    """Drop a division by one."""
    return (ins[0],) if _is_literal(ins[1], 1) and _keeps_shape(*ins) else None


@rule("add_zero", add_p, sub_p, doc="add x, -0.0 -> x; sub x, 0.0 -> x; ints: any 0")
def add_zero(b: Builder, p: Primitive, ins: Atoms, params: Params) -> Atoms | None:
    """Drop a zero that changes nothing: x + 0.0 turns -0.0 into 0.0 and stays."""
    x, y = ins
    is_int = x.aval.dtype.kind in "iu"
    if not _keeps_shape(x, y) or not _is_literal(y, 0):
        return None
    if x.aval.dtype.kind == "c":
        return None
    harmless = is_int or _is_negative_zero(y) == (p is add_p)
    return (x,) if harmless else None


@rule("mul_minus_one", mul_p, doc="mul x, -1 -> neg x")
def mul_minus_one(b: Builder, p: Primitive, ins: Atoms, params: Params) -> Atoms | None:
    """A product with minus one is a negation."""
    x, y = ins
    signed = x.aval.dtype.kind in "if"
    return (b.emit(neg_p, x),) if signed and _is_literal(y, -1) else None


@rule("double_negation", neg_p, not_p, conj_p, doc="neg (neg x) -> x")
def double_negation(
    b: Builder, p: Primitive, ins: Atoms, params: Params
) -> Atoms | None:
    """Two of an involution cancel."""
    inner = b.definition(ins[0])
    return inner.invars[:1] if inner is not None and inner.primitive is p else None


@rule("pow_small", pow_p, doc="pow x, 2 -> mul x, x; pow x, 1 -> x")
def pow_small(b: Builder, p: Primitive, ins: Atoms, params: Params) -> Atoms | None:
    """NumPy squares by a product too, so this keeps its bits."""
    x, y = ins
    if not _keeps_shape(x, y):
        return None
    if _is_literal(y, 2):
        return (b.emit(mul_p, x, x),)
    return (x,) if _is_literal(y, 1) else None


@rule("same_convert", convert_p, doc="convert x: f32 {dtype=f32} -> x")
def same_convert(b: Builder, p: Primitive, ins: Atoms, params: Params) -> Atoms | None:
    """Converting to the dtype it has changes nothing."""
    return ins if ins[0].aval.dtype == params["dtype"] else None


@rule("select_known", select_p, doc="select true, x, y -> x; select c, x, x -> x")
def select_known(b: Builder, p: Primitive, ins: Atoms, params: Params) -> Atoms | None:
    """A known condition, or equal branches, decide."""
    cond, x, y = ins
    shape = p.out_avals([v.aval for v in ins], params)[0].shape
    chosen: Atom | None = None
    if isinstance(cond, Literal):
        chosen = x if cond.value else y
    elif x is y or (
        isinstance(x, Literal) and isinstance(y, Literal) and x.key == y.key
    ):
        chosen = x
    if chosen is None or chosen.aval.shape != shape:
        return None
    return (chosen,)


@rule("logic_known", and_p, or_p, doc="and c, true -> c; or c, false -> c")
def logic_known(b: Builder, p: Primitive, ins: Atoms, params: Params) -> Atoms | None:
    """Neutral elements of boolean logic."""
    x, y = ins
    if x.aval.dtype.kind != "b" or not isinstance(y, Literal):
        return None
    neutral = bool(y.value) == (p is and_p)
    return (x,) if neutral and _keeps_shape(x, y) else None


@rule("eq_true", eq_p, doc="eq c, true -> c")
def eq_true(b: Builder, p: Primitive, ins: Atoms, params: Params) -> Atoms | None:
    """Comparing a boolean with True is the boolean."""
    x, y = ins
    is_true = x.aval.dtype.kind == "b" and isinstance(y, Literal) and bool(y.value)
    return (x,) if is_true and _keeps_shape(x, y) else None


# --- views ------------------------------------------------------------------------


@rule("identity_view", reshape_p, transpose_p, rev_p, broadcast_in_dim_p, slice_p,
      pad_p, doc="reshape x: f32[3] {shape=(3)} -> x")  # fmt: skip
def identity_view(b: Builder, p: Primitive, ins: Atoms, params: Params) -> Atoms | None:
    """A view that moves nothing is its operand."""
    x = ins[0]
    shape, identity = x.aval.shape, tuple(range(x.aval.ndim))
    if p is transpose_p:
        return (x,) if params["perm"] == identity else None
    if p is rev_p:
        moved = [a for a in ints(params, "axes") if shape[a] > 1]
        return None if moved else (x,)
    if p is broadcast_in_dim_p:
        same = params["shape"] == shape and params["dims"] == identity
        return (x,) if same else None
    if p is slice_p:
        whole = params["stop"] == shape and not any(ints(params, "start"))
        return (x,) if whole and set(ints(params, "stride")) <= {1} else None
    if p is pad_p:
        return None if any((*ints(params, "low"), *ints(params, "high"))) else (x,)
    return (x,) if params["shape"] == shape else None


@rule("view_of_view", reshape_p, transpose_p, broadcast_in_dim_p, slice_p,
      doc="transpose (transpose x) -> transpose x")  # fmt: skip
def view_of_view(b: Builder, p: Primitive, ins: Atoms, params: Params) -> Atoms | None:
    """Compose two views of one kind into one."""
    inner = b.definition(ins[0])
    if inner is None or inner.primitive is not p:
        return None
    x = inner.invars[0]
    if p is reshape_p:
        return (b.emit(p, x, **params),)
    if p is transpose_p:
        first = ints(inner.params, "perm")
        perm = tuple(first[i] for i in ints(params, "perm"))
        return (b.emit(p, x, perm=perm),)
    if p is broadcast_in_dim_p:
        dims = tuple(ints(params, "dims")[d] for d in ints(inner.params, "dims"))
        return (b.emit(p, x, shape=params["shape"], dims=dims),)
    return (_slice_of_slice(b, x, inner.params, params),)


def _slice_of_slice(b: Builder, x: Atom, first: Params, then: Params) -> Atom:
    outer = zip(
        ints(first, "start"),
        ints(first, "stride"),
        ints(then, "start"),
        ints(then, "stop"),
        ints(then, "stride"),
        strict=True,
    )
    bounds = [
        (a + s * c, a + s * (z - 1) + 1 if z > c else a + s * c, s * t)
        for a, s, c, z, t in outer
    ]
    start, stop, stride = (tuple(v) for v in zip(*bounds, strict=True))
    return b.emit(slice_p, x, start=start, stop=stop, stride=stride)


@rule("scalar_operand", *ELEMENTWISE,
      doc="add x, (broadcast_in_dim s: f32[]) -> add x, s")  # fmt: skip
def scalar_operand(
    b: Builder, p: Primitive, ins: Atoms, params: Params
) -> Atoms | None:
    """Use the scalar behind a broadcast where another operand gives the shape."""
    scalars = [_broadcast_scalar(b, x) for x in ins]
    if not any(s is not None for s in scalars):
        return None
    shaped = [
        x for x, s in zip(ins, scalars, strict=True) if s is None and x.aval.shape
    ]
    if not shaped:
        return None
    replaced = [x if s is None else s for x, s in zip(ins, scalars, strict=True)]
    return b.emit_all(p, replaced, params)


def _broadcast_scalar(b: Builder, x: Atom) -> Atom | None:
    eqn = b.definition(x)
    if eqn is None or eqn.primitive is not broadcast_in_dim_p:
        return None
    return eqn.invars[0] if not eqn.invars[0].aval.shape else None


@rule("reshape_scalar_broadcast", reshape_p, transpose_p, rev_p, slice_p,
      doc="reshape (broadcast_in_dim s) -> broadcast_in_dim s")  # fmt: skip
def reshape_scalar_broadcast(
    b: Builder, p: Primitive, ins: Atoms, params: Params
) -> Atoms | None:
    """A view of a constant field is a constant field."""
    scalar = _broadcast_scalar(b, ins[0])
    if scalar is None:
        return None
    shape = p.out_avals([ins[0].aval], params)[0].shape
    return (b.emit(broadcast_in_dim_p, scalar, shape=shape, dims=()),)


@rule("join_one", concatenate_p, doc="concatenate x -> x")
def join_one(b: Builder, p: Primitive, ins: Atoms, params: Params) -> Atoms | None:
    """Joining one array is that array; empty parts are dropped."""
    axis = params["axis"]
    assert isinstance(axis, int)
    kept = [x for x in ins if x.aval.shape[axis]] or [ins[0]]
    if len(kept) == 1:
        return tuple(kept)
    return None if len(kept) == len(ins) else (b.emit(p, *kept, axis=axis),)


@rule("write_all", update_slice_p, doc="update_slice x, u (covering x) -> u")
def write_all(b: Builder, p: Primitive, ins: Atoms, params: Params) -> Atoms | None:
    """Writing the whole array forgets what was there; writing nothing keeps it."""
    x, update = ins
    if not prod(update.aval.shape) and x.aval.size:
        return (x,)
    return (update,) if update.aval == x.aval else None


@rule("reduce_nothing", reduce_sum_p, reduce_max_p, reduce_min_p, reduce_prod_p,
      reduce_and_p, reduce_or_p, doc="reduce_sum x {axes=()} -> x")  # fmt: skip
def reduce_nothing(
    b: Builder, p: Primitive, ins: Atoms, params: Params
) -> Atoms | None:
    """A reduction over no axes, or over axes of extent one, only drops axes."""
    x, axes = ins[0], ints(params, "axes")
    if any(x.aval.shape[a] != 1 for a in axes):
        return None
    if not axes:
        return (x,)
    shape = tuple(n for d, n in enumerate(x.aval.shape) if d not in axes)
    return (b.emit(reshape_p, x, shape=shape),)


@rule("drop_stop_gradient", stop_gradient_p, doc="stop_gradient x -> x")
def drop_stop_gradient(
    b: Builder, p: Primitive, ins: Atoms, params: Params
) -> Atoms | None:
    """After differentiation the mark means nothing."""
    return tuple(ins)


EXACT_RULES: tuple[Rule, ...] = (
    fold_scalars,
    scalar_operand,
    mul_one,
    div_one,
    add_zero,
    mul_minus_one,
    double_negation,
    pow_small,
    same_convert,
    select_known,
    logic_known,
    eq_true,
    identity_view,
    view_of_view,
    reshape_scalar_broadcast,
    join_one,
    write_all,
    reduce_nothing,
)
SIMPLIFY = RuleSet(EXACT_RULES)
LOWERING_RULES = RuleSet((*EXACT_RULES, drop_stop_gradient))
