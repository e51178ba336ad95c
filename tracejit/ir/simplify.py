"""Local rewrite rules, applied on insertion by builders and by `canonicalize`.

Each is exact for every input (NaN, inf, -0.0, overflow included), so it may be applied
anywhere; what changes rounding is not here.
"""

from collections.abc import Sequence
from math import prod

import numpy as np

from .. import config
from .builder import Builder
from .dtypes import (
    BFLOAT16,
    BOOL,
    COMPLEX,
    FLOAT8_E4M3FN,
    FLOAT8_E5M2,
    FLOATS,
    INEXACT,
    INTEGERS,
    NUMERIC,
    SIGNED,
    real_dtype,
)
from .graph import Atom, Literal
from .loop_rules import EXACT_LOOP_RULES, LOOP_RULES
from .ops.contract import axes_of_product, dot_general_p, product
from .ops.custom import checkpoint_name_p
from .ops.elementwise import (
    abs_p,
    add_p,
    and_p,
    complex_p,
    conj_p,
    convert_p,
    div_p,
    eq_p,
    fmax_p,
    fmin_p,
    ge_p,
    gt_p,
    imag_p,
    le_p,
    lt_p,
    maximum_p,
    minimum_p,
    mul_p,
    ne_p,
    neg_p,
    not_p,
    or_p,
    pow_p,
    real_p,
    select_p,
    stop_gradient_p,
    sub_p,
    xor_p,
)
from .ops.indexing import scatter_p
from .ops.reduce import (
    reduce_and_p,
    reduce_max_p,
    reduce_min_p,
    reduce_or_p,
    reduce_prod_p,
)
from .ops.shape import (
    broadcast_in_dim_p,
    broadcast_to,
    concatenate_p,
    full_like,
    ints,
    pad_p,
    reduce_sum_p,
    reduced_shape,
    reshape,
    reshape_p,
    rev_p,
    slice_bounds,
    slice_p,
    transpose_p,
    update_slice_p,
)
from .primitive import REGISTRY, Array, Kind, Params, Primitive
from .rewrite import LITERAL, NO_RULES, Rule, RuleSet, rule

Atoms = Sequence[Atom]
ELEMENTWISE = tuple(p for p in REGISTRY.values() if p.kind is Kind.ELEMENTWISE)
# NumPy's extrema give the sign of the first zero, or the bits of the first NaN.
COMMUTATIVE = (add_p, mul_p, and_p, or_p, xor_p, eq_p, ne_p)
# Bits of mantissa and of exponent.
FLOAT_BITS = {
    np.dtype(np.float16): (10, 5),
    BFLOAT16: (7, 8),
    FLOAT8_E4M3FN: (3, 4),
    FLOAT8_E5M2: (2, 5),
    np.dtype(np.float32): (23, 8),
    np.dtype(np.float64): (52, 11),
}
MAX_JOINED = 64  # parts of one concatenation: rules must not make long ones longer


def _is_literal(x: Atom, value: float) -> bool:
    return isinstance(x, Literal) and x.value == value


def _is_negative_zero(x: Atom) -> bool:
    return isinstance(x, Literal) and x.value == 0 and bool(np.signbit(x.value))


def _keeps_shape(x: Atom, y: Atom) -> bool:
    """Tell whether the result of an operation on x and y has the aval of x."""
    return bool(x.aval.shape) or not y.aval.shape


@rule("fold_scalars", *ELEMENTWISE, doc="add 1.0, 2.0 -> 3.0", operand=[LITERAL])
def fold_scalars(b: Builder, p: Primitive, ins: Atoms, params: Params) -> Atoms | None:
    """Evaluate an equation of literals."""
    values: list[Array] = []
    for x in ins:
        if not isinstance(x, Literal):
            return None  # most often the first
        values.append(np.asarray(x.value))
    dtype = p.out_avals([x.aval for x in ins], params)[0].dtype
    with np.errstate(all="ignore"):
        (out,) = p.evaluate(values, params)
    return (Literal(np.asarray(out)[()], dtype),)


@rule("literal_last", *COMMUTATIVE, doc="add 1.0, x -> add x, 1.0", operand=[LITERAL])
def literal_last(b: Builder, p: Primitive, ins: Atoms, params: Params) -> Atoms | None:
    """Commutative operations take their literal second, where other rules look."""
    x, y = ins
    is_first = isinstance(x, Literal) and not isinstance(y, Literal)
    return (b.emit(p, y, x),) if is_first else None


@rule("mul_one", mul_p, div_p,
      doc="mul x, 1 -> x; div x, 1 -> x; not complex", operand=[LITERAL])  # fmt: skip
def mul_one(b: Builder, p: Primitive, ins: Atoms, params: Params) -> Atoms | None:
    """Drop a factor of one; complex products with it lose infinities."""
    x, y = ins
    exact = x.aval.dtype.kind != "c"
    return (x,) if exact and _is_literal(y, 1) and _keeps_shape(x, y) else None


@rule("mul_zero", mul_p, and_p, doc="mul x, 0 -> 0; ints only", operand=[LITERAL])
def mul_zero(b: Builder, p: Primitive, ins: Atoms, params: Params) -> Atoms | None:
    """Zero absorbs integers; floats may be NaN, infinite or negative."""
    x, y = ins
    if x.aval.dtype.kind not in "iub" or not _is_literal(y, 0):
        return None
    return (full_like(b, 0, x.aval),)


@rule("mul_minus_one", mul_p,
      doc="mul x, -1 -> neg x; signed and float", operand=[LITERAL])  # fmt: skip
def mul_minus_one(b: Builder, p: Primitive, ins: Atoms, params: Params) -> Atoms | None:
    """A product with minus one is a negation."""
    x, y = ins
    signed = x.aval.dtype in SIGNED or x.aval.dtype in FLOATS
    return (b.emit(neg_p, x),) if signed and _is_literal(y, -1) else None


@rule("div_power_of_two", div_p, doc="div x, 4.0 -> mul x, 0.25", operand=[LITERAL])
def div_power_of_two(
    b: Builder, p: Primitive, ins: Atoms, params: Params
) -> Atoms | None:
    """Both round the same exact quotient when 1/c is a normal number."""
    x, y = ins
    dtype = x.aval.dtype
    if dtype not in FLOATS or not isinstance(y, Literal) or _is_literal(y, 1):
        return None
    c = float(y.value)
    half, exponent = np.frexp(c)  # c = ±0.5 · 2^exponent
    top = 2 ** (FLOAT_BITS[dtype][1] - 1) - 1
    if abs(half) != 0.5 or not 1 - top <= 1 - exponent <= top:
        return None
    return (b.emit(mul_p, x, 1 / c),)


@rule("add_zero", add_p, sub_p, or_p, xor_p,
      doc="add x, -0.0 -> x; sub x, 0.0 -> x; ints: any 0",
      operand=[LITERAL])  # fmt: skip
def add_zero(b: Builder, p: Primitive, ins: Atoms, params: Params) -> Atoms | None:
    """Drop a zero that changes nothing: x + 0.0 turns -0.0 into 0.0 and stays."""
    x, y = ins
    dtype = x.aval.dtype
    if not _keeps_shape(x, y) or not _is_literal(y, 0) or dtype.kind == "c":
        return None
    harmless = dtype.kind in "iub" or _is_negative_zero(y) == (p is add_p)
    return (x,) if harmless else None


@rule("add_negated", add_p, sub_p, doc="add x, (neg y) -> sub x, y", operand=[neg_p])
def add_negated(b: Builder, p: Primitive, ins: Atoms, params: Params) -> Atoms | None:
    """Adding a negation subtracts, subtracting one adds."""
    x, y = ins
    inner = b.definition(y)
    if inner is not None and inner.primitive is neg_p:
        return (b.emit(sub_p if p is add_p else add_p, x, inner.invars[0]),)
    other = b.definition(x)
    if p is add_p and other is not None and other.primitive is neg_p:
        return (b.emit(sub_p, y, other.invars[0]),)
    return None


@rule("double_negation", neg_p, not_p, conj_p,
      doc="neg (neg x) -> x", operand=[neg_p, not_p, conj_p])  # fmt: skip
def double_negation(
    b: Builder, p: Primitive, ins: Atoms, params: Params
) -> Atoms | None:
    """Two of an involution cancel."""
    inner = b.definition(ins[0])
    return inner.invars[:1] if inner is not None and inner.primitive is p else None


@rule("abs_of_negation", abs_p,
      doc="abs (neg x) -> abs x; abs (abs x) -> abs x",
      operand=[neg_p, abs_p])  # fmt: skip
def abs_of_negation(
    b: Builder, p: Primitive, ins: Atoms, params: Params
) -> Atoms | None:
    """The absolute value forgets a sign."""
    inner = b.definition(ins[0])
    if inner is None or inner.primitive not in (neg_p, abs_p):
        return None
    return (b.emit(abs_p, inner.invars[0]),)


@rule("pow_small", pow_p,
      doc="pow x, 2 -> mul x, x; pow x, 1 -> x; not complex",
      operand=[LITERAL])  # fmt: skip
def pow_small(b: Builder, p: Primitive, ins: Atoms, params: Params) -> Atoms | None:
    """NumPy squares reals by a product too, so this keeps its bits."""
    x, y = ins
    if not _keeps_shape(x, y) or x.aval.dtype.kind == "c":
        return None
    if _is_literal(y, 2):
        return (b.emit(mul_p, x, x),)
    return (x,) if _is_literal(y, 1) else None


@rule("idempotent", maximum_p, minimum_p, fmax_p, fmin_p, and_p, or_p,
      doc="maximum x, x -> x")  # fmt: skip
def idempotent(b: Builder, p: Primitive, ins: Atoms, params: Params) -> Atoms | None:
    """Of two equal values either is the result."""
    return (ins[0],) if ins[0] is ins[1] else None


@rule("same_convert", convert_p, doc="convert x: f32 {dtype=f32} -> x")
def same_convert(b: Builder, p: Primitive, ins: Atoms, params: Params) -> Atoms | None:
    """Converting to the dtype it has changes nothing."""
    return ins if ins[0].aval.dtype == params["dtype"] else None


@rule("convert_of_widened", convert_p,
      doc="convert (convert x: f32 -> f64) -> f32", operand=[convert_p])  # fmt: skip
def convert_of_widened(
    b: Builder, p: Primitive, ins: Atoms, params: Params
) -> Atoms | None:
    """A conversion that lost nothing on the way can be skipped."""
    inner = b.definition(ins[0])
    if inner is None or inner.primitive is not convert_p:
        return None
    x = inner.invars[0]
    first, middle, last = x.aval.dtype, ins[0].aval.dtype, params["dtype"]
    assert isinstance(last, np.dtype)
    if not _widens(first, middle):
        return None
    both_ints = middle in INTEGERS and last in INTEGERS
    both_floats = first in FLOATS and last in INEXACT
    if last == first or both_ints or both_floats or first == BOOL:
        return (b.emit(convert_p, x, dtype=last),)
    return None


def _widens(narrow: np.dtype, wide: np.dtype) -> bool:
    """Tell whether every value of `narrow` is one of `wide`."""
    if narrow == BOOL:
        return wide in NUMERIC
    if narrow in INTEGERS and wide in INTEGERS:
        return np.can_cast(narrow, wide)
    if narrow in FLOATS:
        if wide in COMPLEX:
            wide = real_dtype(wide)
        pairs = zip(FLOAT_BITS[narrow], FLOAT_BITS.get(wide, (0, 0)), strict=True)
        return all(a <= b for a, b in pairs)
    return narrow in COMPLEX and wide in COMPLEX and narrow.itemsize <= wide.itemsize


# --- conditions -------------------------------------------------------------------


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
    return None if chosen is None else (broadcast_to(b, chosen, shape),)


@rule("select_of_not", select_p,
      doc="select (not c), x, y -> select c, y, x", operand=[not_p])  # fmt: skip
def select_of_not(b: Builder, p: Primitive, ins: Atoms, params: Params) -> Atoms | None:
    """Swap the branches instead of negating the condition."""
    inner = b.definition(ins[0])
    if inner is None or inner.primitive is not not_p:
        return None
    return (b.emit(select_p, inner.invars[0], ins[2], ins[1]),)


@rule("select_booleans", select_p, doc="select c, true, false -> c", operand=[LITERAL])
def select_booleans(
    b: Builder, p: Primitive, ins: Atoms, params: Params
) -> Atoms | None:
    """Choosing between true and false is the condition, or its opposite."""
    cond, x, y = ins
    if not (isinstance(x, Literal) and isinstance(y, Literal)) or x.aval.dtype != BOOL:
        return None
    if bool(x.value) == bool(y.value):
        return None
    return (cond if x.value else b.emit(not_p, cond),)


@rule("logic_known", and_p, or_p,
      doc="and c, true -> c; or c, true -> true", operand=[LITERAL])  # fmt: skip
def logic_known(b: Builder, p: Primitive, ins: Atoms, params: Params) -> Atoms | None:
    """Neutral and absorbing elements of boolean logic."""
    x, y = ins
    if x.aval.dtype != BOOL or not isinstance(y, Literal) or not _keeps_shape(x, y):
        return None
    neutral = bool(y.value) == (p is and_p)
    return (x,) if neutral else (full_like(b, y.value, x.aval),)


@rule("eq_known", eq_p, ne_p,
      doc="eq c, true -> c; ne c, true -> not c", operand=[LITERAL])  # fmt: skip
def eq_known(b: Builder, p: Primitive, ins: Atoms, params: Params) -> Atoms | None:
    """Comparing a boolean with a known one is the boolean or its opposite."""
    x, y = ins
    if x.aval.dtype != BOOL or not isinstance(y, Literal) or not _keeps_shape(x, y):
        return None
    return (x,) if bool(y.value) == (p is eq_p) else (b.emit(not_p, x),)


OPPOSITE = {eq_p: ne_p, ne_p: eq_p}
# Not for floats: a comparison with NaN is false both ways.
OPPOSITE_ORDER = {lt_p: ge_p, ge_p: lt_p, gt_p: le_p, le_p: gt_p}


@rule("not_of_comparison", not_p,
      doc="not (eq x, y) -> ne x, y", operand=[*OPPOSITE, *OPPOSITE_ORDER])  # fmt: skip
def not_of_comparison(
    b: Builder, p: Primitive, ins: Atoms, params: Params
) -> Atoms | None:
    """The opposite comparison; of orders only for integers."""
    inner = b.definition(ins[0])
    if inner is None:
        return None
    order = OPPOSITE_ORDER.get(inner.primitive)
    if order is not None and inner.invars[0].aval.dtype in INEXACT:
        return None
    opposite = order or OPPOSITE.get(inner.primitive)
    return None if opposite is None else (b.emit(opposite, *inner.invars),)


# --- complex ----------------------------------------------------------------------


@rule("part_of_complex", real_p, imag_p, complex_p,
      doc="real (complex x, y) -> x; complex (real z), (imag z) -> z",
      operand=[real_p, imag_p, complex_p])  # fmt: skip
def part_of_complex(
    b: Builder, p: Primitive, ins: Atoms, params: Params
) -> Atoms | None:
    """Taking apart what was just put together, and the reverse."""
    parts = [b.definition(x) for x in ins]
    if p is complex_p:
        if [e and e.primitive for e in parts] != [real_p, imag_p]:
            return None
        whole = [e.invars[0] for e in parts if e is not None]
        return whole[:1] if whole[0] is whole[1] else None
    inner = parts[0]
    if inner is None or inner.primitive is not complex_p:
        return None
    part = inner.invars[0 if p is real_p else 1]
    return (broadcast_to(b, part, ins[0].aval.shape),)


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
      doc="transpose (transpose x) -> transpose x",
      operand=[reshape_p, transpose_p, broadcast_in_dim_p, slice_p])  # fmt: skip
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
        (a + s * c, a + s * (z - 1) + 1, s * t) if z > c else (a, a, 1)
        for a, s, c, z, t in outer
    ]
    start, stop, stride = (tuple(v) for v in zip(*bounds, strict=True))
    return b.emit(slice_p, x, start=start, stop=stop, stride=stride)


@rule("scalar_operand", *ELEMENTWISE,
      doc="add x, (broadcast_in_dim s: f32[]) -> add x, s",
      operand=[broadcast_in_dim_p])  # fmt: skip
def scalar_operand(
    b: Builder, p: Primitive, ins: Atoms, params: Params
) -> Atoms | None:
    """Use the scalar behind a broadcast where another operand gives the shape."""
    scalars = [_broadcast_scalar(b, x) if x.aval.shape else None for x in ins]
    if all(s is None for s in scalars):
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
      doc="reshape (broadcast_in_dim s) -> broadcast_in_dim s",
      operand=[broadcast_in_dim_p])  # fmt: skip
def reshape_scalar_broadcast(
    b: Builder, p: Primitive, ins: Atoms, params: Params
) -> Atoms | None:
    """A view of a constant field is a constant field."""
    scalar = _broadcast_scalar(b, ins[0])
    if scalar is None:
        return None
    shape = p.out_avals([ins[0].aval], params)[0].shape
    return (b.emit(broadcast_in_dim_p, scalar, shape=shape, dims=()),)


@rule("lift_broadcast", *ELEMENTWISE,
      doc="exp (broadcast_in_dim s) -> broadcast_in_dim (exp s)",
      operand=[broadcast_in_dim_p])  # fmt: skip
def lift_broadcast(
    b: Builder, p: Primitive, ins: Atoms, params: Params
) -> Atoms | None:
    """Compute once what is the same everywhere."""
    known = []
    for x in ins:
        scalar = _broadcast_scalar(b, x) if x.aval.shape else x
        if scalar is None:
            return None  # most often the first
        known.append(scalar)
    if all(not x.aval.shape for x in ins):
        return None
    shape = p.out_avals([x.aval for x in ins], params)[0].shape
    return tuple(broadcast_to(b, x, shape) for x in b.emit_all(p, known, params))


@rule("join_few", concatenate_p, doc="concatenate x -> x; empty parts are dropped")
def join_few(b: Builder, p: Primitive, ins: Atoms, params: Params) -> Atoms | None:
    """Joining one array is that array."""
    axis = params["axis"]
    assert isinstance(axis, int)
    kept = [x for x in ins if x.aval.shape[axis]] or [ins[0]]
    if len(kept) == 1:
        return tuple(kept)
    return None if len(kept) == len(ins) else (b.emit(p, *kept, axis=axis),)


@rule("join_of_joins", concatenate_p,
      doc="concatenate (concatenate x, y), z -> concatenate x, y, z",
      operand=[concatenate_p])  # fmt: skip
def join_of_joins(b: Builder, p: Primitive, ins: Atoms, params: Params) -> Atoms | None:
    """Join all parts at once."""
    parts: list[Atom] = []
    for x in ins:
        inner = b.definition(x)
        same = inner is not None and inner.primitive is p and inner.params == params
        parts.extend(inner.invars if inner is not None and same else (x,))
    few = len(ins) < len(parts) <= MAX_JOINED
    return (b.emit(p, *parts, **params),) if few else None


@rule("slice_of_join", slice_p,
      doc="slice (concatenate x, y) -> slice x, inside of x",
      operand=[concatenate_p])  # fmt: skip
def slice_of_join(b: Builder, p: Primitive, ins: Atoms, params: Params) -> Atoms | None:
    """A slice of one part reads that part only."""
    inner = b.definition(ins[0])
    if inner is None or inner.primitive is not concatenate_p:
        return None
    axis = inner.params["axis"]
    assert isinstance(axis, int)
    start, stop, stride = (ints(params, k) for k in ("start", "stop", "stride"))
    at = 0
    for part in inner.invars:
        end = at + part.aval.shape[axis]
        if at <= start[axis] < stop[axis] <= end:
            moved = (_replaced(t, axis, t[axis] - at) for t in (start, stop))
            first, last = moved
            return (b.emit(p, part, start=first, stop=last, stride=stride),)
        at = end
    return None


def _replaced(values: tuple[int, ...], index: int, value: int) -> tuple[int, ...]:
    return (*values[:index], value, *values[index + 1 :])


@rule("slice_of_update", slice_p,
      doc="slice (update_slice x, u) -> u, of that place; slice x, elsewhere",
      operand=[update_slice_p])  # fmt: skip
def slice_of_update(
    b: Builder, p: Primitive, ins: Atoms, params: Params
) -> Atoms | None:
    """Read what was written, or go past a write that does not matter."""
    inner = b.definition(ins[0])
    if inner is None or inner.primitive is not update_slice_p:
        return None
    x, update = inner.invars
    start, stop, stride = (ints(params, k) for k in ("start", "stop", "stride"))
    at, step = ints(inner.params, "start"), ints(inner.params, "stride")
    shape = p.out_avals([ins[0].aval], params)[0].shape
    if (shape, start, stride) == (update.aval.shape, at, step):
        return (update,)
    end = slice_bounds(update.aval.shape, at, step)
    bounds = zip(start, stop, at, end, strict=True)
    if any(z <= a or y <= c for c, z, a, y in bounds):
        return (b.emit(p, x, **params),)
    return None


@rule(
    "write_all",
    update_slice_p,
    doc="update_slice x, u -> u, where u covers x; -> x, where it is empty",
)
def write_all(b: Builder, p: Primitive, ins: Atoms, params: Params) -> Atoms | None:
    """Writing the whole array forgets what was there; writing nothing keeps it."""
    x, update = ins
    if not prod(update.aval.shape) and x.aval.size:
        return (x,)
    return (update,) if update.aval == x.aval else None


@rule("write_over", update_slice_p,
      doc="update_slice (update_slice x, u), w -> update_slice x, w",
      operand=[update_slice_p])  # fmt: skip
def write_over(b: Builder, p: Primitive, ins: Atoms, params: Params) -> Atoms | None:
    """A write to the same place undoes the one before."""
    inner = b.definition(ins[0])
    if inner is None or inner.primitive is not p or inner.params != params:
        return None
    x, before = inner.invars
    same = before.aval == ins[1].aval
    return (b.emit(p, x, ins[1], **params),) if same else None


@rule("narrow_indices", scatter_p,
      doc="scatter x, u, (convert i: i32 -> i64) -> scatter x, u, i",
      operand=[convert_p])  # fmt: skip
def narrow_indices(
    b: Builder, p: Primitive, ins: Atoms, params: Params
) -> Atoms | None:
    """A scatter, which is a step of its own, widens indices as it reads them."""
    arrays, indices = ins[:2], ins[2:]
    narrow = [_unwidened(b, i) for i in indices]
    return (b.emit(p, *arrays, *narrow, **params),) if narrow != [*indices] else None


def _unwidened(b: Builder, index: Atom) -> Atom:
    """Return the integers of 32 bits that an array was converted from, or itself."""
    inner = b.definition(index)
    if inner is None or inner.primitive is not convert_p:
        return index
    (x,) = inner.invars
    dtype = x.aval.dtype
    is_narrow = dtype in INTEGERS and dtype.itemsize == 4
    return x if is_narrow and _widens(dtype, index.aval.dtype) else index


# --- reductions -------------------------------------------------------------------


@rule("reduce_nothing", reduce_sum_p, reduce_max_p, reduce_min_p, reduce_prod_p,
      reduce_and_p, reduce_or_p, doc="reduce_max x {axes=()} -> x")  # fmt: skip
def reduce_nothing(
    b: Builder, p: Primitive, ins: Atoms, params: Params
) -> Atoms | None:
    """A reduction over no axes, or over axes of extent one, only drops axes.

    Sums begin with 0.0 and so turn -0.0 into 0.0, in NumPy too.
    """
    x, axes = ins[0], ints(params, "axes")
    if any(x.aval.shape[a] != 1 for a in axes):
        return None
    if p is reduce_sum_p and x.aval.dtype in INEXACT:
        x = b.emit(add_p, x, 0)
    return (reshape(b, x, reduced_shape(x.aval.shape, axes)),)


@rule("reduce_of_reduce", reduce_sum_p, reduce_max_p, reduce_min_p, reduce_and_p,
      reduce_or_p,
      doc="reduce_or (reduce_or x) -> reduce_or x; not floats",
      operand=[reduce_sum_p, reduce_max_p, reduce_min_p, reduce_and_p,
               reduce_or_p])  # fmt: skip
def reduce_of_reduce(
    b: Builder, p: Primitive, ins: Atoms, params: Params
) -> Atoms | None:
    """Reduce all axes at once; float sums, and the sign of a zero, depend on order."""
    inner = b.definition(ins[0])
    if inner is None or inner.primitive is not p:
        return None
    x = inner.invars[0]
    if x.aval.dtype in INEXACT:
        return None
    first = ints(inner.params, "axes")
    kept = [d for d in range(x.aval.ndim) if d not in first]
    axes = tuple(sorted((*first, *(kept[a] for a in ints(params, "axes")))))
    return (b.emit(p, x, axes=axes),)


@rule("product_of_nothing", dot_general_p, doc="dot_general {contract=()} -> mul")
def product_of_nothing(
    b: Builder, p: Primitive, ins: Atoms, params: Params
) -> Atoms | None:
    """A product that sums nothing is elementwise."""
    contract, batch = axes_of_product(params)
    return None if contract[0] else (product(b, ins[0], ins[1], contract, batch),)


@rule("drop_stop_gradient", stop_gradient_p, doc="stop_gradient x -> x")
def drop_stop_gradient(
    b: Builder, p: Primitive, ins: Atoms, params: Params
) -> Atoms | None:
    """After differentiation the mark means nothing."""
    return tuple(ins)


@rule("drop_checkpoint_name", checkpoint_name_p, doc="checkpoint_name x -> x")
def drop_checkpoint_name(
    b: Builder, p: Primitive, ins: Atoms, params: Params
) -> Atoms | None:
    """After differentiation nobody asks for the name."""
    return tuple(ins)


# Tried in this order; each is right alone, so the order is a matter of speed only.
EXACT_RULES: tuple[Rule, ...] = (
    fold_scalars,
    scalar_operand,
    lift_broadcast,
    literal_last,
    mul_one,
    mul_zero,
    mul_minus_one,
    div_power_of_two,
    add_zero,
    add_negated,
    double_negation,
    abs_of_negation,
    pow_small,
    idempotent,
    same_convert,
    convert_of_widened,
    select_known,
    select_of_not,
    select_booleans,
    logic_known,
    eq_known,
    not_of_comparison,
    part_of_complex,
    identity_view,
    view_of_view,
    reshape_scalar_broadcast,
    join_few,
    join_of_joins,
    slice_of_join,
    slice_of_update,
    write_all,
    write_over,
    reduce_nothing,
    reduce_of_reduce,
    product_of_nothing,
)
SIMPLIFY = RuleSet((*EXACT_RULES, *EXACT_LOOP_RULES))
LOWERING_RULES = RuleSet(
    (
        *EXACT_RULES,
        drop_stop_gradient,
        drop_checkpoint_name,
        narrow_indices,
        *LOOP_RULES,
    )
)


def recording_rules() -> RuleSet:
    """Return the rules that traces and derivatives apply to what they record.

    Where each pass is validated they are left to the passes, which are compared.
    """
    is_left = not config.get("simplify") or config.get("validate") == "each-pass"
    return NO_RULES if is_left else SIMPLIFY
