"""Powers with small constant exponents become products, roots and quotients.

The forms are chosen so that nothing on the way overflows, or loses
bits as a subnormal number, unless the result is infinite or zero. Special values are
NumPy's: `sqrt` for the number 0.5; else those of C's `pow`, which has no -0.0 and no
NaN where `sqrt` has: (-0.0) ** 1.5 is 0.0 and (-inf) ** 1.5 is inf. docs/numerics.md
has the errors. Powers of integers are exact. Halves keep `pow`, which rounds once.

Before → after::

    %0: f32[3] = pow %x, 3.0
    ---
    %0: f32[3] = mul %x, %x
    %1: f32[3] = mul %0, %x
"""

from collections.abc import Callable, Mapping, Sequence
from math import inf

from ..ir import dtypes as dt
from ..ir.builder import Builder
from ..ir.graph import Atom, Eqn, Graph, Literal
from ..ir.ops.elementwise import add_p, div_p, eq_p, mul_p, pow_p, select_p, sqrt_p
from ..ir.ops.shape import full_like
from .manager import PassContext, on_all_graphs

Form = Callable[[Builder, Atom], Atom]
FLOATS = (dt.FLOAT32, dt.FLOAT64)
MOST = 16  # of the exponents of integers


def expand_powers(graph: Graph, context: PassContext) -> Graph:
    """Rewrite powers with constant exponents, in sub-graphs too."""
    return on_all_graphs(graph, lambda g: _expanded(g, context))


def _expanded(graph: Graph, context: PassContext) -> Graph:
    if all(_form(e) is None for e in graph.eqns):
        return graph
    b = Builder(graph.name, value_number=True, stats=context.stats)

    def emit(eqn: Eqn, ins: Sequence[Atom]) -> tuple[Atom, ...]:
        form = _form(eqn)
        if form is None or not context.may_fire("expand_power"):
            return b.emit_all(eqn.primitive, ins, eqn.params)
        context.stats.fired["expand_power"] += 1
        return (form(b, ins[0]),)

    return b.build(b.replay(graph, b.inputs_of(graph), emit))


def _form(eqn: Eqn) -> Form | None:
    """Return how to compute what an equation does without `pow`, if it is known."""
    if eqn.primitive is not pow_p or not isinstance(eqn.invars[1], Literal):
        return None
    dtype, exponent = eqn.invars[0].aval.dtype, eqn.invars[1].value
    if eqn.invars[0].aval != eqn.outvars[0].aval:
        return None
    if dtype in dt.INTEGERS:
        n = int(exponent)
        return _whole(n) if 0 <= n <= MOST else None
    return FORMS.get(float(exponent)) if dtype in FLOATS else None


def _whole(n: int) -> Form:
    """Return the power by squaring, for which products are exact or wrap."""

    def form(b: Builder, x: Atom) -> Atom:
        if n == 0:
            return full_like(b, 1, x.aval)
        if n == 1:
            return x
        half = _whole(n // 2)(b, x)
        square = b.emit(mul_p, half, half)
        return b.emit(mul_p, square, x) if n % 2 else square

    return form


def _inverse(b: Builder, x: Atom) -> Atom:
    return b.emit(div_p, full_like(b, 1.0, x.aval), x)


def _inverse_square(b: Builder, x: Atom) -> Atom:
    """The square of the inverse: that of x may overflow where 1 / x² does not."""
    inverse = _inverse(b, x)
    return b.emit(mul_p, inverse, inverse)


def _inverse_cube(b: Builder, x: Atom) -> Atom:
    """Where x² overflows or is subnormal, 1 / x³ is 0 or inf anyway."""
    return b.emit(div_p, _inverse(b, b.emit(mul_p, x, x)), x)


def _unsigned(b: Builder, x: Atom) -> Atom:
    """Return 0.0 for -0.0, and all else as it is."""
    return b.emit(add_p, x, 0.0)


def _root(b: Builder, x: Atom) -> Atom:
    return b.emit(sqrt_p, x)


def _unless_infinite(b: Builder, x: Atom, y: Atom, value: float) -> Atom:
    """Return `value` where x is -inf, of which the root is NaN."""
    dtype = x.aval.dtype
    is_infinite = b.emit(eq_p, x, b.literal(-inf, dtype))
    return b.emit(select_p, is_infinite, b.literal(value, dtype), y)


def _inverse_root(b: Builder, x: Atom) -> Atom:
    root = b.emit(sqrt_p, _unsigned(b, x))
    return _unless_infinite(b, x, _inverse(b, root), 0.0)


def _times_root(b: Builder, x: Atom) -> Atom:
    y = b.emit(mul_p, x, b.emit(sqrt_p, x))  # -0.0 · -0.0 is 0.0
    return _unless_infinite(b, x, y, inf)


def _square_times_root(b: Builder, x: Atom) -> Atom:
    root = b.emit(sqrt_p, _unsigned(b, x))
    y = b.emit(mul_p, b.emit(mul_p, x, x), root)
    return _unless_infinite(b, x, y, inf)


def _inverse_times_root(b: Builder, x: Atom) -> Atom:
    """Return r √r of the inverse r: of -inf, that is -0.0 · -0.0."""
    inverse = _inverse(b, _unsigned(b, x))
    return b.emit(mul_p, inverse, b.emit(sqrt_p, inverse))


# Four products more than `pow` would be as exact as it, and as slow.
FORMS: Mapping[float, Form] = {
    0.0: _whole(0),
    1.0: _whole(1),
    2.0: _whole(2),
    3.0: _whole(3),
    4.0: _whole(4),
    -1.0: _inverse,
    -2.0: _inverse_square,
    -3.0: _inverse_cube,
    0.5: _root,
    1.5: _times_root,
    2.5: _square_times_root,
    -0.5: _inverse_root,
    -1.5: _inverse_times_root,
}
