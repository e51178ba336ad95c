"""Recipe for attention: softmax of scaled, masked scores, times values.

Its further results are what its derivative (`transforms.attention`) needs of each row
to compute the scores again: their maximum, and the sum of exponentials under it. Two
numbers, not the logarithm of their sum: in a row whose every score is masked by -1e9
the sum of the exponentials would be lost beside the maximum.
"""

from collections.abc import Mapping

from ...records import dataclass
from ..builder import Builder
from ..graph import Atom, Eqn, Graph, Var, subgraph
from ..liveness import live_equations
from ..ops.composite import Attributes, composite_axes, is_composite
from ..ops.contract import Pair, dot_general_p, free_axes
from ..ops.elementwise import add_p, convert_p, div_p, exp_p, mul_p, select_p, sub_p
from ..ops.reduce import reduce_max_p, reduce_sum_p
from ..ops.shape import keep_axes
from ..primitive import Primitive
from .matcher import (
    Match,
    Noted,
    Number,
    Pattern,
    Placed,
    Scalar,
    Whole,
    one_of,
    op,
)
from .recipe import Recipe


@dataclass(frozen=True)
class Product(Pattern):
    """Queries times keys: the axis that the softmax sums is one of the keys'."""

    def _match(self, m: Match, p: Placed) -> bool:
        eqn = m.definition(p.atom)
        if eqn is None or eqn.primitive is not dot_general_p:
            return False
        q, k = eqn.invars
        contract: Pair = eqn.params["contract"]  # type: ignore[assignment]
        batch: Pair = eqn.params["batch"]  # type: ignore[assignment]
        of_keys = len(batch[0]) + len(free_axes(q.aval.ndim, contract[0], batch[0]))
        return (
            m.axes is not None
            and all(a >= of_keys for a in m.axes)
            and m.bind("q", q)
            and m.bind("k", k)
        )


def _any_dtype(pattern: Pattern) -> Pattern:
    """Match what a pattern does, or a conversion of it: halves have it in float32."""
    return one_of(pattern, op(convert_p, pattern))


FILL = Number(lambda m, x: True)
PRODUCT = _any_dtype(Product())
SCALED = _any_dtype(
    one_of(
        Noted("scale", "mul", op(mul_p, PRODUCT, Scalar("scale"))),
        Noted("scale", "div", op(div_p, PRODUCT, Scalar("scale"))),
        PRODUCT,
    )
)
MASK = Whole("mask")
SCORES = _any_dtype(
    one_of(
        Noted("mask", "select", op(select_p, MASK, SCALED, FILL)),
        Noted("mask", "select", op(select_p, MASK, FILL, SCALED)),
        SCALED,
        Noted("mask", "add", op(add_p, SCALED, MASK)),
    )
)


def match_scores(b: Builder, root: Eqn, pattern: Pattern) -> Match | None:
    """Match the scores whose softmax the root multiplies, over the axis it summed."""
    weights, values = root.invars
    softmax = _softmax_behind(b, weights)
    if softmax is None:
        return None
    contract: Pair = root.params["contract"]  # type: ignore[assignment]
    if contract[0] != composite_axes(softmax.params):
        return None
    scores = softmax.invars[0]
    m = Match(b, root, scores.aval.shape, contract[0], {"v": values})
    whole = Placed(scores, tuple(range(scores.aval.ndim)))
    return m if pattern.match(m, whole) else None


def _softmax_behind(b: Builder, weights: Atom) -> Eqn | None:
    """Return the softmax that weights are, or are converted from."""
    eqn = b.definition(weights)
    if eqn is not None and eqn.primitive is convert_p:
        (weights,) = eqn.invars
    return b.definition(weights) if is_composite(b, weights, "softmax") else None


def _attributes(m: Match) -> Attributes:
    return tuple((k, m.notes.get(k, "none")) for k in ("scale", "mask"))


def _row_statistics(b: Builder, copies: Mapping[Atom, Atom], m: Match) -> list[Atom]:
    """Emit the maximum of each row of scores, and the sum of its exponentials.

    As the softmax computes them, where it does: then they are its own values once
    equal equations are one.
    """
    softmax = _softmax_behind(m.b, m.root.invars[0])
    assert softmax is not None
    scores, axes = copies[softmax.invars[0]], composite_axes(softmax.params)
    graph = subgraph(softmax.params)
    found = [_only(graph, p) for p in (reduce_max_p, reduce_sum_p)]
    if all(e is not None and e.params["axes"] == axes for e in found):
        outs = [e.outvars[0] for e in found if e is not None]
        live = live_equations(graph.eqns, outs)
        top, total = b.inline(Graph(graph.name, graph.invars, outs, live), [scores])
        return [top, total]
    top = b.emit(reduce_max_p, scores, axes=axes)
    shifted = b.emit(sub_p, scores, keep_axes(b, top, scores, axes))
    return [top, b.emit(reduce_sum_p, b.emit(exp_p, shifted), axes=axes)]


def _only(graph: Graph, primitive: Primitive) -> Eqn | None:
    """Return the equation of a primitive that is about the graph's input, if one."""
    found = [e for e in graph.eqns if e.primitive is primitive]
    if len(found) != 1 or not isinstance(found[0].invars[0], Var):
        return None
    is_whole = found[0].invars[0].aval.shape == graph.invars[0].aval.shape
    return found[0] if is_whole else None


RECIPES = (
    Recipe(
        "attention",
        (dot_general_p,),
        SCORES,
        "dot_general (softmax (dot_general q, k)), v -> attention q, k, v",
        find=match_scores,
        operands=("q", "k", "v", "scale", "mask"),
        attributes=_attributes,
        further=_row_statistics,
    ),
)
