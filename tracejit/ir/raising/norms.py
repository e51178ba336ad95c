"""Recipes for layer, batch and rms norms: something standardised, scaled and shifted.

The parameters run along the axes that were reduced (layer norm, rms norm) or along the
others (batch norm, whose statistics go over the leading axes). Written scale first,
``g * (x - m) / s``, nothing is standardised on the way: such a norm has the same name,
and its derivative comes from those of the mean and the variance in its expansion.
"""

from ..ops.composite import Attributes
from ..ops.elementwise import add_p, div_p, mul_p
from .matcher import Along, Match, Pattern, Raised, op
from .moments import CENTRED, MEAN_SQUARE, VARIANCE_OF_X, X, is_one_eps, multiplied
from .recipe import Recipe


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


def _norm(
    name: str, core: str, first: Pattern, square: Pattern, reduced: bool
) -> tuple[Recipe, ...]:
    """Return the recipes with a scale, first or last, and with an offset after that.

    `first` is what is scaled before it is divided by the root of `square`.
    """
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
            (div_p, mul_p),
            multiplied(op(mul_p, first, Along("scale", reduced)), square),
            f"div (mul d, scale), (sqrt ...) -> {name} x, scale, d as in {core}",
            operands=("x", "scale", "eps"),
            attributes=lambda m: _offset(0),
            accept=lambda m: accept(m) and is_one_eps(m),
            suffix="_scale_first",
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
    *_norm("layer_norm", "standardise", CENTRED, VARIANCE_OF_X, reduced=True),
    *_norm("batch_norm", "standardise", CENTRED, VARIANCE_OF_X, reduced=False),
    *_norm("rms_norm", "rms_standardise", X, MEAN_SQUARE, reduced=True),
)
