"""Recipe for attention: softmax of scaled, masked scores, times values.

Derivatives are those of the expansion, whose softmax is a composite with a rule of its
own. The name is for schedules that do not want to store the scores.
"""

from dataclasses import dataclass

from ..builder import Builder
from ..graph import Eqn
from ..ops.composite import Attributes, composite_axes, is_composite
from ..ops.contract import Pair, dot_general_p, free_axes
from ..ops.elementwise import add_p, div_p, mul_p, select_p
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


FILL = Number(lambda m, x: True)
PRODUCT = Product()
SCALED = one_of(
    Noted("scale", "mul", op(mul_p, PRODUCT, Scalar("scale"))),
    Noted("scale", "div", op(div_p, PRODUCT, Scalar("scale"))),
    PRODUCT,
)
MASK = Whole("mask")
SCORES = one_of(
    Noted("mask", "select", op(select_p, MASK, SCALED, FILL)),
    Noted("mask", "select", op(select_p, MASK, FILL, SCALED)),
    SCALED,
    Noted("mask", "add", op(add_p, SCALED, MASK)),
)


def match_scores(b: Builder, root: Eqn, pattern: Pattern) -> Match | None:
    """Match the scores whose softmax the root multiplies, over the axis it summed."""
    weights, values = root.invars
    softmax = b.definition(weights)
    if softmax is None or not is_composite(b, weights, "softmax"):
        return None
    contract: Pair = root.params["contract"]  # type: ignore[assignment]
    if contract[0] != composite_axes(softmax.params):
        return None
    scores = softmax.invars[0]
    m = Match(b, root, scores.aval.shape, contract[0], {"v": values})
    whole = Placed(scores, tuple(range(scores.aval.ndim)))
    return m if pattern.match(m, whole) else None


def _attributes(m: Match) -> Attributes:
    return tuple((k, m.notes.get(k, "none")) for k in ("scale", "mask"))


RECIPES = (
    Recipe(
        "attention",
        (dot_general_p,),
        SCORES,
        "dot_general (softmax (dot_general q, k)), v -> attention q, k, v",
        find=match_scores,
        operands=("q", "k", "v", "scale", "mask"),
        attributes=_attributes,
    ),
)
