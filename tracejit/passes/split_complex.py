"""Complex arrays become pairs of real ones, for targets whose kernels have no others.

Every operation with a rule here is computed on real and imaginary parts, which fuse as
all real arithmetic does. What has none (Fourier transforms, linear algebra) keeps its
complex operands: parts are joined before it (``complex``) and taken apart after it
(``real``, ``imag``), as are inputs and results. Formulas are NumPy's where these are
plain; products are not contracted by this pass. Functions agree to rounding, not in
every infinity.

Before → after::

    %0: c64[8] = mul %x, %y
    ---
    %0: f32[8] = real %x
    %1: f32[8] = imag %x
    ...                       (the same of %y)
    %8: f32[8] = sub %4, %5   (of products)
    %9: f32[8] = add %6, %7
    %10: c64[8] = complex %8, %9

Sources: R. Smith, "Algorithm 116: Complex division", 1962; W. Kahan, "Branch cuts for
complex elementary functions", 1987 (square roots, tangents).
"""

from collections.abc import Callable, Mapping, Sequence
from typing import NamedTuple

import numpy as np

from ..ir import dtypes as dt
from ..ir.builder import Builder, keep_name
from ..ir.graph import Atom, Eqn, Graph, Literal, Var
from ..ir.ops import elementwise as ew
from ..ir.ops.contract import axes_of_product, dot_general_p
from ..ir.ops.shape import broadcast_to, constant_p, reduce_sum_p
from ..ir.primitive import REGISTRY, ArrayConstant, Params
from .manager import PassContext, on_all_graphs


class Pair(NamedTuple):
    """Real and imaginary part of a value."""

    re: Atom
    im: Atom


Part = Atom | Pair  # of an operand: what is complex is a pair
Rule = Callable[["_Maker", Sequence[Part], Params], Part]


class _Maker:
    """Emits real operations, in few letters."""

    def __init__(self, b: Builder) -> None:
        self.b = b

    def add(self, x: Atom, y: Atom) -> Atom:
        return self.b.emit(ew.add_p, x, y)

    def sub(self, x: Atom, y: Atom) -> Atom:
        return self.b.emit(ew.sub_p, x, y)

    def mul(self, x: Atom, y: Atom | float) -> Atom:
        return self.b.emit(ew.mul_p, x, y)

    def div(self, x: Atom, y: Atom) -> Atom:
        return self.b.emit(ew.div_p, x, y)

    def neg(self, x: Atom) -> Atom:
        return self.b.emit(ew.neg_p, x)

    def abs(self, x: Atom) -> Atom:
        return self.b.emit(ew.abs_p, x)

    def call(self, name: str, *operands: Atom) -> Atom:
        """Emit an elementwise function by name."""
        return self.b.emit(getattr(ew, f"{name}_p"), *operands)

    def number(self, value: float, like: Atom) -> Literal:
        return self.b.literal(value, like.aval.dtype)

    def select(self, mask: Atom, x: Atom, y: Atom) -> Atom:
        return self.b.emit(ew.select_p, mask, x, y)

    def is_zero(self, x: Atom) -> Atom:
        return self.b.emit(ew.eq_p, x, self.number(0, x))


def split_complex(
    graph: Graph, context: PassContext, kept: frozenset[str] = frozenset()
) -> Graph:
    """Take complex arithmetic apart, in sub-graphs too, but for some primitives."""
    return on_all_graphs(graph, lambda g: _split(g, context, kept))


def _split(graph: Graph, context: PassContext, kept: frozenset[str]) -> Graph:
    if not any(_is_split(e, kept) for e in graph.eqns):
        return graph
    if not context.may_fire("split_complex"):
        return graph
    return _Splitter(graph, context, kept).run()


def _is_split(eqn: Eqn, kept: frozenset[str]) -> bool:
    """Tell whether an equation has complex operands, or results, and a rule."""
    ends = (*eqn.invars, *eqn.outvars)
    has_complex = any(dt.is_complex(x.aval.dtype) for x in ends)
    is_kept = eqn.primitive.name in kept and not (_is_product(eqn) or _is_inner(eqn))
    return has_complex and not is_kept and _rule_of(eqn) is not None


def _is_product(eqn: Eqn) -> bool:
    """Tell whether a power is one or two products, in NumPy too."""
    is_known = eqn.primitive is ew.pow_p and isinstance(eqn.invars[1], Literal)
    return is_known and eqn.invars[1].value in (2, 3)  # type: ignore[union-attr]


def _is_inner(eqn: Eqn) -> bool:
    """Tell whether a product is one of two vectors: a sum, in one kernel."""
    is_vector = all(x.aval.ndim == 1 for x in eqn.invars)
    return eqn.primitive is dot_general_p and is_vector and not eqn.outvars[0].aval.ndim


class _Splitter:
    """Rewrites one graph.

    A value is known whole, as a pair, or both ways; the other way is made when it is
    first asked for.
    """

    def __init__(
        self, graph: Graph, context: PassContext, kept: frozenset[str]
    ) -> None:
        self.graph, self.context, self.kept = graph, context, kept
        self.b = Builder(graph.name, value_number=True)
        self.make = _Maker(self.b)
        self.whole: dict[Var, Atom] = {}
        self.pairs: dict[Var, Pair] = {}

    def run(self) -> Graph:
        """Return the new graph."""
        for var in self.graph.invars:
            self.whole[var] = self.b.input(var.aval, var.name)
        for eqn in self.graph.eqns:
            self.b.source = eqn.source
            if _is_split(eqn, self.kept) and self.context.may_fire("split_complex"):
                self.context.stats.fired["split_complex"] += 1
                self._split(eqn)
                continue
            ins = [self._whole(x) for x in eqn.invars]
            outs = self.b.emit_all(eqn.primitive, ins, eqn.params)
            for var, out in zip(eqn.outvars, outs, strict=True):
                self.whole[var] = out
                keep_name(out, var)
        return self.b.build([self._whole(x) for x in self.graph.outvars])

    def _split(self, eqn: Eqn) -> None:
        rule = _rule_of(eqn)
        assert rule is not None
        out = rule(self.make, [self._part(x) for x in eqn.invars], eqn.params)
        (var,) = eqn.outvars
        if isinstance(out, Pair):
            shape = var.aval.shape
            self.pairs[var] = Pair(*(broadcast_to(self.b, x, shape) for x in out))
        else:
            self.whole[var] = broadcast_to(self.b, out, var.aval.shape)

    def _part(self, x: Atom) -> Part:
        """Return an operand as rules take it."""
        if not dt.is_complex(x.aval.dtype):
            return self._whole(x)
        if isinstance(x, Literal):
            value, real = x.value, dt.real_dtype(x.aval.dtype)
            return Pair(*(self.b.literal(v, real) for v in (value.real, value.imag)))
        if x not in self.pairs:
            whole = self._whole(x)
            re, im = (self.b.emit(p, whole) for p in (ew.real_p, ew.imag_p))
            self.pairs[x] = Pair(re, im)
        return self.pairs[x]

    def _whole(self, x: Atom) -> Atom:
        """Return an operand as all others take it."""
        if isinstance(x, Literal):
            return x
        if x not in self.whole:
            self.whole[x] = self.b.emit(ew.complex_p, *self.pairs[x])
            keep_name(self.whole[x], x)
        return self.whole[x]


def _rule_of(eqn: Eqn) -> Rule | None:
    name = eqn.primitive.name
    if name == "scatter" and eqn.params["op"] not in ("set", "add"):
        return None
    return _RULES.get(name)


# --- rules ------------------------------------------------------------------------


def _pair(x: Part) -> Pair:
    assert isinstance(x, Pair)
    return x


def _each(name: str) -> Rule:
    """Return the rule of what does the same to both parts."""

    def rule(make: _Maker, ins: Sequence[Part], params: Params) -> Part:
        primitive = REGISTRY[name]
        parts = [
            make.b.emit(
                primitive,
                *(x[k] if isinstance(x, Pair) else x for x in ins),
                **params,
            )
            for k in (0, 1)
        ]
        return Pair(*parts)

    return rule


def _bilinear(name: str) -> Rule:
    """Return the rule of a product, of whatever kind."""

    def rule(make: _Maker, ins: Sequence[Part], params: Params) -> Part:
        primitive, (x, y) = REGISTRY[name], map(_pair, ins)

        def times(a: Atom, c: Atom) -> Atom:
            return make.b.emit(primitive, a, c, **params)

        re = make.sub(times(x.re, y.re), times(x.im, y.im))
        return Pair(re, make.add(times(x.re, y.im), times(x.im, y.re)))

    return rule


def _dot(make: _Maker, ins: Sequence[Part], params: Params) -> Part:
    x, y = map(_pair, ins)
    contract, batch = axes_of_product(params)
    is_vector = x.re.aval.ndim == y.re.aval.ndim == 1
    if not is_vector or batch[0] or not contract[0]:
        return _bilinear("dot_general")(make, ins, params)
    product = _multiplied(make, x, y)
    return Pair(*(make.b.emit(reduce_sum_p, part, axes=(0,)) for part in product))


def _multiplied(make: _Maker, x: Pair, y: Pair) -> Pair:
    re = make.sub(make.mul(x.re, y.re), make.mul(x.im, y.im))
    return Pair(re, make.add(make.mul(x.re, y.im), make.mul(x.im, y.re)))


def _div(make: _Maker, ins: Sequence[Part], params: Params) -> Part:
    """Smith's quotient, with the larger part of the divisor as divisor."""
    x, y = map(_pair, ins)
    is_wide = make.b.emit(ew.ge_p, make.abs(y.re), make.abs(y.im))
    large, small = make.select(is_wide, *y), make.select(is_wide, y.im, y.re)
    first, second = make.select(is_wide, *x), make.select(is_wide, x.im, x.re)
    ratio = make.div(small, large)
    scale = make.div(make.number(1, large), make.add(large, make.mul(small, ratio)))
    re = make.mul(make.add(first, make.mul(second, ratio)), scale)
    other = make.mul(first, ratio)
    difference = make.select(is_wide, make.sub(second, other), make.sub(other, second))
    im = make.mul(difference, scale)
    # Of NaN and zero, the larger part is neither.
    nothing = make.b.emit(ew.and_p, is_wide, make.is_zero(large))
    size = make.abs(large)
    return Pair(
        make.select(nothing, make.div(x.re, size), re),
        make.select(nothing, make.div(x.im, size), im),
    )


def _neg(make: _Maker, ins: Sequence[Part], params: Params) -> Part:
    return Pair(*map(make.neg, _pair(ins[0])))


def _conj(make: _Maker, ins: Sequence[Part], params: Params) -> Part:
    z = _pair(ins[0])
    return Pair(z.re, make.neg(z.im))


def _same(make: _Maker, ins: Sequence[Part], params: Params) -> Part:
    return ins[0]


def _real(make: _Maker, ins: Sequence[Part], params: Params) -> Part:
    return _pair(ins[0]).re


def _imag(make: _Maker, ins: Sequence[Part], params: Params) -> Part:
    return _pair(ins[0]).im


def _complex(make: _Maker, ins: Sequence[Part], params: Params) -> Part:
    re, im = ins
    assert not isinstance(re, Pair) and not isinstance(im, Pair)
    return Pair(re, im)


def _convert(make: _Maker, ins: Sequence[Part], params: Params) -> Part:
    (x,), dtype = ins, params["dtype"]
    assert isinstance(dtype, np.dtype)
    if dtype == dt.BOOL:
        return make.b.emit(ew.or_p, *(_differs(make, part) for part in _pair(x)))
    half = dt.real_dtype(dtype)
    if isinstance(x, Pair):
        return Pair(*(make.b.emit(ew.convert_p, part, dtype=half) for part in x))
    re = make.b.emit(ew.convert_p, x, dtype=half)
    return Pair(re, make.number(0, re))


def _differs(make: _Maker, x: Atom) -> Atom:
    return make.b.emit(ew.ne_p, x, make.number(0, x))


def _constant(make: _Maker, ins: Sequence[Part], params: Params) -> Part:
    value = params["value"]
    assert isinstance(value, ArrayConstant)
    parts = (np.ascontiguousarray(p) for p in (value.array.real, value.array.imag))
    return Pair(*(make.b.emit(constant_p, value=ArrayConstant(p)) for p in parts))


def _compared(name: str, join: str) -> Rule:
    """Return the rule of a test of both parts."""

    def rule(make: _Maker, ins: Sequence[Part], params: Params) -> Part:
        parts = zip(*map(_pair, ins), strict=True)
        return make.call(join, *(make.call(name, *operands) for operands in parts))

    return rule


def _ordered(name: str) -> Rule:
    """Return the rule of an order: by real parts, and by imaginary ones of equals."""
    strictly = name[0] + "t"

    def rule(make: _Maker, ins: Sequence[Part], params: Params) -> Part:
        x, y = map(_pair, ins)
        ahead, equal = make.call(strictly, x.re, y.re), make.call("eq", x.re, y.re)
        return make.call(
            "or", ahead, make.call("and", equal, make.call(name, x.im, y.im))
        )

    return rule


# --- functions --------------------------------------------------------------------


def _exp(make: _Maker, ins: Sequence[Part], params: Params) -> Part:
    return _exponential(make, _pair(ins[0]))


def _exponential(make: _Maker, z: Pair) -> Pair:
    """Return exp(re) (cos im + i sin im); real for a real operand, however large.

    Where exp(re) is too large, a product with a small cosine may not be: there it is
    exp(re - top) exp(top), as in C's libraries. Of infinities results are C's, too.
    """
    top = float(np.floor(np.log(np.finfo(z.re.aval.dtype).max)))
    is_over = make.call("gt", z.re, make.number(top, z.re))
    rest = make.select(is_over, make.sub(z.re, make.number(top, z.re)), z.re)
    size, one = make.call("exp", rest), make.number(1, rest)
    factor = make.select(is_over, make.number(np.exp(top), rest), one)
    re = make.mul(size, make.mul(make.call("cos", z.im), factor))
    im = make.mul(size, make.mul(make.call("sin", z.im), factor))
    im = make.select(make.is_zero(z.im), z.im, im)
    # An angle that is none leaves infinity and zero what they are.
    infinity = make.number(float("inf"), rest)
    is_turn = make.call("lt", make.abs(z.im), infinity)
    is_infinite = make.call("eq", make.abs(z.re), infinity)
    is_wild = make.call("and", is_infinite, make.call("not", is_turn))
    is_nothing = make.call("and", is_wild, make.is_zero(size))
    zero = make.call("copysign", make.number(0, rest), z.im)
    return Pair(make.select(is_wild, size, re), make.select(is_nothing, zero, im))


def _exp2(make: _Maker, ins: Sequence[Part], params: Params) -> Part:
    z = _pair(ins[0])
    return _exponential(make, Pair(*(make.mul(p, float(np.log(2))) for p in z)))


def _log(make: _Maker, ins: Sequence[Part], params: Params) -> Part:
    return _logarithm(make, _pair(ins[0]))


def _logarithm(make: _Maker, z: Pair) -> Pair:
    """Return log abs z + i arg z, exact where abs z is close to 1.

    There log abs z = log1p((x - 1)(x + 1) + y²) / 2, x the larger part and y the other.
    """
    size = make.call("hypot", *z)
    x, y = (make.call(p, *map(make.abs, z)) for p in ("maximum", "minimum"))
    one = make.number(1, x)
    near = make.mul(make.sub(x, one), make.add(x, one))
    near = make.mul(make.call("log1p", make.add(near, make.mul(y, y))), 0.5)
    is_near = make.b.emit(
        ew.and_p,
        make.b.emit(ew.gt_p, size, make.number(0.5, size)),
        make.b.emit(ew.lt_p, size, make.number(2, size)),
    )
    re = make.select(is_near, near, make.call("log", size))
    return Pair(re, make.call("arctan2", z.im, z.re))


def _scaled_log(base: float) -> Rule:
    def rule(make: _Maker, ins: Sequence[Part], params: Params) -> Part:
        z = _logarithm(make, _pair(ins[0]))
        return Pair(*(make.mul(part, float(1 / np.log(base))) for part in z))

    return rule


def _pow(make: _Maker, ins: Sequence[Part], params: Params) -> Part:
    """Return exp(y log x); 0 to a power is 1 for 0, and 0 if the power is positive."""
    x, y = map(_pair, ins)
    if isinstance(y.re, Literal) and y.re.value in (2, 3) and _is_real(y):
        square = _multiplied(make, x, x)
        return square if y.re.value == 2 else _multiplied(make, x, square)
    power = _exponential(make, _multiplied(make, y, _logarithm(make, x)))
    nothing = make.is_zero(make.call("hypot", *x))
    no_power = make.b.emit(ew.and_p, *map(make.is_zero, y))
    zero, one = make.number(0, x.re), make.number(1, x.re)
    positive = make.b.emit(ew.gt_p, y.re, zero)
    undefined = make.number(float("nan"), x.re)
    other = make.select(positive, zero, undefined)
    at_zero = Pair(
        make.select(no_power, one, other), make.select(no_power, zero, other)
    )
    re = make.select(nothing, at_zero.re, power.re)
    im = make.select(nothing, at_zero.im, power.im)
    return Pair(make.select(no_power, one, re), make.select(no_power, zero, im))


def _is_real(z: Pair) -> bool:
    return isinstance(z.im, Literal) and z.im.value == 0


def _sqrt(make: _Maker, ins: Sequence[Part], params: Params) -> Part:
    """The root in the right half-plane, without cancellation."""
    z = _pair(ins[0])
    size = make.call("hypot", *z)
    half = make.add(make.mul(make.abs(z.re), 0.5), make.mul(size, 0.5))
    large = make.call("sqrt", half)
    double = make.add(large, large)
    nothing = make.is_zero(double)
    one = make.number(1, double)
    small = make.div(make.abs(z.im), make.select(nothing, one, double))
    is_right = make.b.emit(ew.ge_p, z.re, make.number(0, z.re))
    im = make.select(is_right, small, large)
    return Pair(make.select(is_right, large, small), make.call("copysign", im, z.im))


def _sin(make: _Maker, ins: Sequence[Part], params: Params) -> Part:
    z = _pair(ins[0])
    sin, cos = make.call("sin", z.re), make.call("cos", z.re)
    sinh, cosh = make.call("sinh", z.im), make.call("cosh", z.im)
    return Pair(make.mul(sin, cosh), make.mul(cos, sinh))


def _cos(make: _Maker, ins: Sequence[Part], params: Params) -> Part:
    z = _pair(ins[0])
    sin, cos = make.call("sin", z.re), make.call("cos", z.re)
    sinh, cosh = make.call("sinh", z.im), make.call("cosh", z.im)
    return Pair(make.mul(cos, cosh), make.neg(make.mul(sin, sinh)))


def _sinh(make: _Maker, ins: Sequence[Part], params: Params) -> Part:
    """Return -i sin iz."""
    z = _pair(ins[0])
    turned = _pair(_sin(make, [Pair(make.neg(z.im), z.re)], params))
    return Pair(turned.im, make.neg(turned.re))


def _cosh(make: _Maker, ins: Sequence[Part], params: Params) -> Part:
    """Return cos iz."""
    z = _pair(ins[0])
    return _cos(make, [Pair(make.neg(z.im), z.re)], params)


def _tanh(make: _Maker, ins: Sequence[Part], params: Params) -> Part:
    return _hyperbolic_tangent(make, _pair(ins[0]))


def _tan(make: _Maker, ins: Sequence[Part], params: Params) -> Part:
    """Return -i tanh iz."""
    z = _pair(ins[0])
    turned = _hyperbolic_tangent(make, Pair(make.neg(z.im), z.re))
    return Pair(turned.im, make.neg(turned.re))


def _hyperbolic_tangent(make: _Maker, z: Pair) -> Pair:
    """Kahan's tangent; where the real part is large, what is left of it."""
    tan, sinh = make.call("tan", z.im), make.call("sinh", z.re)
    one = make.number(1, tan)
    beta = make.add(make.mul(tan, tan), one)
    square = make.mul(sinh, sinh)
    below = make.add(make.mul(beta, square), one)
    rho = make.call("sqrt", make.add(square, one))
    re = make.div(make.mul(make.mul(beta, rho), sinh), below)
    im = make.div(tan, below)
    size = make.abs(z.re)
    limit = 11.0 if z.re.aval.dtype.itemsize == 4 else 22.0
    is_large = make.b.emit(ew.gt_p, size, make.number(limit, size))
    wave = make.mul(make.call("sin", z.im), make.call("cos", z.im))
    small = make.mul(wave, make.call("exp", make.mul(size, -2.0)))
    return Pair(
        make.select(is_large, make.call("copysign", one, z.re), re),
        make.select(is_large, make.mul(small, 4.0), im),
    )


_SAME_FOR_BOTH = (
    *("add", "sub", "select", "stop_gradient", "reduce_sum", "cumsum", "update_slice"),
    *("broadcast_in_dim", "reshape", "transpose", "rev", "slice", "concatenate", "pad"),
    *("gather", "scatter", "sliding_window"),
)
_RULES: Mapping[str, Rule] = {
    **{name: _each(name) for name in _SAME_FOR_BOTH},
    **{name: _bilinear(name) for name in ("mul", "conv_general")},
    "dot_general": _dot,
    "div": _div,
    "neg": _neg,
    "conj": _conj,
    "real": _real,
    "imag": _imag,
    "complex": _complex,
    "convert": _convert,
    "constant": _constant,
    "eq": _compared("eq", "and"),
    "ne": _compared("ne", "or"),
    **{name: _ordered(name) for name in ("lt", "le", "gt", "ge")},
    "isnan": _compared("isnan", "or"),
    "isinf": _compared("isinf", "or"),
    "isfinite": _compared("isfinite", "and"),
    "exp": _exp,
    "exp2": _exp2,
    "log": _log,
    "log2": _scaled_log(2),
    "log10": _scaled_log(10),
    "pow": _pow,
    "sqrt": _sqrt,
    "sin": _sin,
    "cos": _cos,
    "sinh": _sinh,
    "cosh": _cosh,
    "tan": _tan,
    "tanh": _tanh,
}
