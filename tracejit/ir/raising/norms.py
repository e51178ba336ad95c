"""Recipes for layer, batch and rms norms: something standardised, scaled and shifted.

The parameters run along the axes that were reduced (layer norm, rms norm) or along the
others (batch norm, whose statistics go over the leading axes).
"""

from ..ops.composite import Attributes
from ..ops.elementwise import add_p, mul_p
from .matcher import Along, Match, Pattern, Raised, Whole, op
from .recipe import Recipe

X = Whole("x")


def _is_trailing(m: Match) -> bool:
    """The axes reduced are the last ones."""
    assert m.axes is not None
    n = len(m.space)
    return m.axes == tuple(range(n - len(m.axes), n))


def _is_leading(m: Match) -> bool:
    """The first axis is among those reduced."""
    assert m.axes is not None
    return 0 in m.axes


def _offset(count: int) -> Attributes:
    return (("offset", count),)


def _norm(name: str, core: str, reduced: bool) -> tuple[Recipe, Recipe]:
    """Return the recipes with a scale, and with an offset added to that."""
    accept = _is_trailing if reduced else _is_leading
    standardised: Pattern = Raised(core, X, ("eps",))
    scaled: Pattern = Raised(name, X, ("scale", "eps"))
    return (
        Recipe(
            name,
            (mul_p,),
            op(mul_p, standardised, Along("scale", reduced)),
            f"mul ({core} x), scale -> {name} x, scale",
            operands=("x", "scale", "eps"),
            attributes=lambda m: _offset(0),
            accept=accept,
        ),
        Recipe(
            name,
            (add_p,),
            op(add_p, scaled, Along("offset", reduced)),
            f"add ({name} x, scale), offset -> {name} x, scale, offset",
            operands=("x", "scale", "eps", "offset"),
            attributes=lambda m: _offset(1),
            accept=lambda m: m.notes["offset"] == "0",
            suffix="_offset",
        ),
    )


RECIPES = (
    *_norm("layer_norm", "standardise", reduced=True),
    *_norm("batch_norm", "standardise", reduced=False),
    *_norm("rms_norm", "rms_standardise", reduced=True),
)
