"""The `composite` primitive: an equation that says what a sub-graph computes.

``composite %x {name="softmax", axes=(1), attributes=(), graph=...}`` is its expansion
(``graph``) and nothing else: the interpreter runs it, lowering and `expand` inline it.
The name is a promise that transforms and schedules may use instead of the expansion.
`COMPOSITES` lists the names with their operands, attributes and results.
"""

from collections.abc import Sequence

from ...errors import ShapeError
from ...records import dataclass
from ..aval import Shape, ShapedArray
from ..builder import Builder
from ..graph import Atom, Graph
from ..primitive import Avals, ParamKind, Params, Primitive
from .control import call_eval, graph_primitive

Attributes = tuple[tuple[str, int | str], ...]


@dataclass(frozen=True)
class Composite:
    """What a composite of one name promises.

    Parameters
    ----------
    name : str
    meaning : str
        The function of its operands, over the axes given.
    operands : tuple of str
        Roles, in order. Those ending in ``?`` come only with some ways of writing it.
    attributes : tuple of str
    results : tuple of str
        The first is the value; others are intermediate values that derivatives need,
        of norms with the axes kept as extents of one. Those ending in ``?`` may be
        missing.
    """

    name: str
    meaning: str
    operands: tuple[str, ...] = ("x",)
    attributes: tuple[str, ...] = ()
    results: tuple[str, ...] = ("value",)


_NORM_RESULTS = ("value", "multiplier", "slope?")

COMPOSITES: dict[str, Composite] = {
    c.name: c
    for c in (
        Composite("softmax", "exp x / Σ exp x"),
        Composite("log_softmax", "x - log Σ exp x"),
        Composite("logsumexp", "log Σ exp x"),
        Composite("mean", "Σ x / n"),
        Composite("variance", "Σ (x - mean x)² / (n - ddof)", attributes=("ddof",)),
        Composite(
            "standardise",
            "(x - mean x) · multiplier; it is 1 / sqrt(variance x + eps), or "
            '1 / (sqrt(variance x) + eps) where eps="deviation"',
            ("x", "eps?"),
            ("ddof", "eps"),
            _NORM_RESULTS,
        ),
        Composite(
            "rms_standardise",
            "x · multiplier; it is 1 / sqrt(mean x² + eps), or "
            '1 / (sqrt(mean x²) + eps) where eps="deviation"',
            ("x", "eps?"),
            ("eps",),
            _NORM_RESULTS,
        ),
        Composite(
            "layer_norm",
            "standardise x · scale + offset (if 1), along the reduced axes",
            ("x", "scale", "eps?", "offset?"),
            ("offset",),
        ),
        Composite(
            "batch_norm",
            "standardise x · scale + offset (if 1), along the other axes",
            ("x", "scale", "eps?", "offset?"),
            ("offset",),
        ),
        Composite(
            "rms_norm",
            "rms_standardise x · scale + offset (if 1), along the reduced axes",
            ("x", "scale", "eps?", "offset?"),
            ("offset",),
        ),
        Composite(
            "attention",
            "softmax(mask(q · k scaled)) · v; axes is the axis of the scores that the "
            'softmax sums. scale is "mul", "div" or "none", and an operand unless it '
            'is a literal; mask is "select", "add" or "none". top is the maximum of '
            "each row of scores, total the sum of exp(scores - top)",
            ("q", "k", "v", "scale?", "mask?"),
            ("scale", "mask"),
            ("value", "top", "total"),
        ),
        Composite(
            "pick",
            "x at one index along axes for each position of the first `batch` axes",
            ("x", "index"),
            ("batch", "mode"),
        ),
        Composite(
            "log_likelihood",
            "log_softmax x at one index along axes for each row, times sign",
            ("x", "index"),
            ("sign",),
        ),
    )
}


def attribute(params: Params, name: str) -> int | str:
    """Return one attribute of a composite's params."""
    pairs: Attributes = params["attributes"]  # type: ignore[assignment]
    return dict(pairs)[name]


def composite_axes(params: Params) -> Shape:
    """Return the axes that a composite reduces."""
    return params["axes"]  # type: ignore[return-value]


def _composite_eval(
    *avals: ShapedArray,
    name: str,
    axes: Shape,
    attributes: Attributes,
    graph: Graph,
) -> Avals:
    declared = COMPOSITES.get(name)
    if declared is None:
        raise ShapeError(f"no composite is called {name!r}; there are {[*COMPOSITES]}")
    if tuple(k for k, _ in attributes) != declared.attributes:
        raise ShapeError(
            f"{name} has attributes {list(declared.attributes)}, not {list(attributes)}"
        )
    _check_count(name, "operands", declared.operands, avals)
    outs = call_eval(*avals, graph=graph)
    _check_count(name, "results", declared.results, outs)
    return outs


def _check_count(
    name: str, what: str, roles: Sequence[str], avals: Sequence[ShapedArray]
) -> None:
    least = sum(not r.endswith("?") for r in roles)
    if not least <= len(avals) <= len(roles):
        raise ShapeError(
            f"{name} has {what} ({', '.join(roles)}), not {len(avals)} of them"
        )


composite_p: Primitive = graph_primitive(
    "composite",
    _composite_eval,
    {
        "name": ParamKind.STR,
        "axes": ParamKind.INTS,
        "attributes": ParamKind.ATTRIBUTES,
        "graph": ParamKind.GRAPH,
    },
    is_expanded=True,
)


def is_composite(b: Builder, x: Atom, name: str) -> bool:
    """Tell whether `x` is the value of a composite of that name."""
    eqn = b.definition(x)
    return (
        eqn is not None
        and eqn.primitive is composite_p
        and eqn.params["name"] == name
        and eqn.outvars[0] is x
    )
