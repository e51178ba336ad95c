"""Complex arrays become pairs of real ones, for targets whose kernels have no others.

Every operation with a rule here is computed on real and imaginary parts, which fuse as
all real arithmetic does. What has none (Fourier transforms, linear algebra) keeps its
complex operands: parts are joined before it (``complex``) and taken apart after it
(``real``, ``imag``), as are inputs and results. Formulas are NumPy's where these are
plain; products are not contracted by this pass. Functions are in `complex_functions`.

Before → after::

    %0: c64[8] = mul %x, %y
    ---
    %0: f32[8] = real %x
    %1: f32[8] = imag %x
    ...                       (the same of %y)
    %8: f32[8] = sub %4, %5   (of products)
    %9: f32[8] = add %6, %7
    %10: c64[8] = complex %8, %9

Source: R. Smith, "Algorithm 116: Complex division", 1962.
"""

from collections.abc import Mapping, Sequence

import numpy as np

from ..ir import dtypes as dt
from ..ir.builder import Builder, keep_name
from ..ir.graph import Atom, Eqn, Graph, Literal, Var
from ..ir.ops import elementwise as ew
from ..ir.ops.contract import axes_of_product, dot_general_p
from ..ir.ops.shape import broadcast_to, constant_p, reduce_sum_p
from ..ir.primitive import REGISTRY, ArrayConstant, Params
from ..kernels.views import VIEWS
from .complex_functions import FUNCTIONS
from .complex_parts import Maker, Pair, Part, Rule, divided, multiplied, pair_of
from .manager import PassContext, on_all_graphs


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
    is_kept = eqn.primitive.name in kept and not _is_inner(eqn)
    return has_complex and not is_kept and _rule_of(eqn) is not None


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
        self.make = Maker(self.b)
        self.whole: dict[Var, Atom] = {}
        self.pairs: dict[Var, Pair] = {}

    def run(self) -> Graph:
        """Return the new graph."""
        for var in self.graph.invars:
            self.whole[var] = self.b.input(var.aval, var.name)
        for eqn in self.graph.eqns:
            self.b.source = eqn.source
            is_split = _is_split(eqn, self.kept) and not self._is_view_of_whole(eqn)
            if is_split and self.context.may_fire("split_complex"):
                self.context.stats.fired["split_complex"] += 1
                self._split(eqn)
                continue
            ins = [self._whole(x) for x in eqn.invars]
            outs = self.b.emit_all(eqn.primitive, ins, eqn.params)
            for var, out in zip(eqn.outvars, outs, strict=True):
                self.whole[var] = out
                keep_name(out, var)
        return self.b.build([self._whole(x) for x in self.graph.outvars])

    def _is_view_of_whole(self, eqn: Eqn) -> bool:
        """Tell whether a view is one of memory, of which both parts are then views."""
        return eqn.primitive in VIEWS and all(
            isinstance(x, Literal) or x in self.whole for x in eqn.invars
        )

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


def _each(name: str) -> Rule:
    """Return the rule of what does the same to both parts."""

    def rule(make: Maker, ins: Sequence[Part], params: Params) -> Part:
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

    def rule(make: Maker, ins: Sequence[Part], params: Params) -> Part:
        primitive, (x, y) = REGISTRY[name], map(pair_of, ins)

        def times(a: Atom, c: Atom) -> Atom:
            return make.b.emit(primitive, a, c, **params)

        re = make.sub(times(x.re, y.re), times(x.im, y.im))
        return Pair(re, make.add(times(x.re, y.im), times(x.im, y.re)))

    return rule


def _dot(make: Maker, ins: Sequence[Part], params: Params) -> Part:
    x, y = map(pair_of, ins)
    contract, batch = axes_of_product(params)
    is_vector = x.re.aval.ndim == y.re.aval.ndim == 1
    if not is_vector or batch[0] or not contract[0]:
        return _bilinear("dot_general")(make, ins, params)
    product = multiplied(make, x, y)
    return Pair(*(make.b.emit(reduce_sum_p, part, axes=(0,)) for part in product))


def _div(make: Maker, ins: Sequence[Part], params: Params) -> Part:
    return divided(make, *map(pair_of, ins))


def _neg(make: Maker, ins: Sequence[Part], params: Params) -> Part:
    return Pair(*map(make.neg, pair_of(ins[0])))


def _conj(make: Maker, ins: Sequence[Part], params: Params) -> Part:
    z = pair_of(ins[0])
    return Pair(z.re, make.neg(z.im))


def _same(make: Maker, ins: Sequence[Part], params: Params) -> Part:
    return ins[0]


def _real(make: Maker, ins: Sequence[Part], params: Params) -> Part:
    return pair_of(ins[0]).re


def _imag(make: Maker, ins: Sequence[Part], params: Params) -> Part:
    return pair_of(ins[0]).im


def _complex(make: Maker, ins: Sequence[Part], params: Params) -> Part:
    re, im = ins
    assert not isinstance(re, Pair) and not isinstance(im, Pair)
    return Pair(re, im)


def _convert(make: Maker, ins: Sequence[Part], params: Params) -> Part:
    (x,), dtype = ins, params["dtype"]
    assert isinstance(dtype, np.dtype)
    if dtype == dt.BOOL:
        return make.b.emit(ew.or_p, *(_differs(make, part) for part in pair_of(x)))
    half = dt.real_dtype(dtype)
    if isinstance(x, Pair):
        return Pair(*(make.b.emit(ew.convert_p, part, dtype=half) for part in x))
    re = make.b.emit(ew.convert_p, x, dtype=half)
    return Pair(re, make.number(0, re))


def _differs(make: Maker, x: Atom) -> Atom:
    return make.b.emit(ew.ne_p, x, make.number(0, x))


def _constant(make: Maker, ins: Sequence[Part], params: Params) -> Part:
    value = params["value"]
    assert isinstance(value, ArrayConstant)
    parts = (np.ascontiguousarray(p) for p in (value.array.real, value.array.imag))
    return Pair(*(make.b.emit(constant_p, value=ArrayConstant(p)) for p in parts))


def _compared(name: str, join: str) -> Rule:
    """Return the rule of a test of both parts."""

    def rule(make: Maker, ins: Sequence[Part], params: Params) -> Part:
        parts = zip(*map(pair_of, ins), strict=True)
        return make.call(join, *(make.call(name, *operands) for operands in parts))

    return rule


def _ordered(name: str) -> Rule:
    """Return the rule of an order: by real parts, and by imaginary ones of equals."""
    strictly = name[0] + "t"

    def rule(make: Maker, ins: Sequence[Part], params: Params) -> Part:
        x, y = map(pair_of, ins)
        known = make.call("eq", x.im, x.im), make.call("eq", y.im, y.im)  # not NaN
        ahead = make.both(make.call(strictly, x.re, y.re), make.both(*known))
        equal = make.call("eq", x.re, y.re)
        return make.call(
            "or", ahead, make.call("and", equal, make.call(name, x.im, y.im))
        )

    return rule


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
    **FUNCTIONS,
}
