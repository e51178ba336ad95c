"""Recipes for means, variances and what is divided by a deviation."""

from collections.abc import Mapping

import numpy as np

from ..builder import Builder
from ..graph import Atom, Literal
from ..ops.composite import Attributes
from ..ops.elementwise import add_p, div_p, mul_p, pow_p, sqrt_p, sub_p
from ..ops.reduce import reduce_sum_p
from ..ops.shape import reshape
from .matcher import (
    Bind,
    Match,
    Noted,
    Number,
    Op,
    Pattern,
    Raised,
    Reduce,
    Scalar,
    Whole,
    match_rows,
    number,
    one_of,
    op,
)
from .recipe import Recipe

X = Whole("x")
MEAN_OF_X = Raised("mean", X, reduces=True)
CENTRED = op(sub_p, X, MEAN_OF_X)


def _is_count(m: Match, x: Literal) -> bool:
    return bool(x.value == m.count())


def _is_reciprocal_count(m: Match, x: Literal) -> bool:
    """The reciprocal as the dtype has it, or rounded from float64 to it."""
    n = m.count()
    return bool(n and x.value == np.asarray(1.0 / n).astype(x.aval.dtype))


MEAN = Recipe(
    "mean",
    (div_p, mul_p),
    one_of(
        op(div_p, Reduce(reduce_sum_p, X), Number(_is_count)),
        op(mul_p, Reduce(reduce_sum_p, X), Number(_is_reciprocal_count)),
    ),
    "div (reduce_sum x), n -> mean x",
    find=match_rows,
)

# --- variance ---------------------------------------------------------------------


def _delta(m: Match, divisor: float) -> int | None:
    """Return the degrees of freedom that a divisor takes off the count."""
    ddof = m.count() - divisor
    return int(ddof) if ddof in (0, 1) and divisor > 0 else None


def _is_freedom(m: Match, x: Literal) -> bool:
    ddof = _delta(m, float(x.value))
    if ddof is not None:
        m.notes = {**m.notes, "ddof": str(ddof)}
    return ddof is not None


def _is_reciprocal_freedom(m: Match, x: Literal) -> bool:
    for ddof in (0, 1):
        n = m.count() - ddof
        if n > 0 and x.value == np.asarray(1.0 / n).astype(x.aval.dtype):
            m.notes = {**m.notes, "ddof": str(ddof)}
            return True
    return False


def _ddof(m: Match) -> Attributes:
    return (("ddof", int(m.notes.get("ddof", "0"))),)


D = Bind("centred")
SQUARES = op(mul_p, Bind("centred", CENTRED), D)
SUM_OF_SQUARES = Reduce(reduce_sum_p, SQUARES)
VARIANCE = Recipe(
    "variance",
    (div_p, mul_p, sub_p),
    one_of(
        op(div_p, SUM_OF_SQUARES, Number(_is_freedom)),
        op(mul_p, SUM_OF_SQUARES, Number(_is_reciprocal_freedom)),
        op(
            sub_p,
            Raised("mean", op(mul_p, X, X), reduces=True),
            op(mul_p, MEAN_OF_X, MEAN_OF_X),
        ),
    ),
    "div (reduce_sum (mul d, d)), n -> variance x, d = sub x, (mean x); "
    "sub (mean (mul x, x)), (mul m, m) -> variance x, m = mean x",
    find=match_rows,
    attributes=_ddof,
)

# --- division by a deviation ------------------------------------------------------


def multiplied(value: Pattern, square: Pattern) -> Pattern:
    """Return a pattern for `value` over the root of `square`, with eps or without.

    What is bound tells the spelling: ``square`` the sum under the root, ``root`` the
    root alone, ``divisor`` what is divided by, ``multiplier`` what is multiplied by.
    """
    eps = Scalar("eps")
    under = Bind(
        "square", one_of(Noted("eps", "variance", op(add_p, square, eps)), square)
    )
    root = Bind("root", one_of(op(pow_p, under, number(0.5)), op(sqrt_p, under)))
    divisor = Bind(
        "divisor",
        one_of(Noted("eps", "deviation", op(add_p, root, eps)), root),
    )
    inverse = Bind(
        "multiplier",
        one_of(
            op(div_p, number(1), divisor),
            op(pow_p, divisor, number(-1)),
            op(pow_p, under, number(-0.5)),
        ),
    )
    # The divisor tells which array it is about, and over which axes.
    return one_of(
        Op(div_p, (value, divisor), last_first=True),
        Op(mul_p, (value, inverse), last_first=True),
    )


def _eps(m: Match) -> Attributes:
    return (("eps", m.notes.get("eps", "none")),)


def is_one_eps(m: Match) -> bool:
    """Two of them, under the root and beside it, are no form that has a name."""
    under, divisor = m.names["square"], m.names.get("divisor")
    root = m.names.get("root")
    beside = divisor is not None and divisor is not root
    eqn = m.definition(under)
    inside = eqn is not None and eqn.primitive is add_p
    return _are_rows(m) and not (beside and inside)


def _are_rows(m: Match) -> bool:
    """Tell whether the multiplier is computed once for each row."""
    found = m.names.get("multiplier", m.names.get("divisor"))
    assert found is not None
    assert m.axes is not None
    rows = np.prod([n for d, n in enumerate(m.space) if d not in m.axes], dtype=int)
    return found.aval.size == int(rows)


def multiplier_and_slope(
    b: Builder, copies: Mapping[Atom, Atom], m: Match
) -> list[Atom]:
    """Emit r of ``y = d·r`` and, where it is another value, q of its derivative.

    With s the root of the variance v: ``r = 1/s`` or ``1/(s + eps)``, and
    ``dr/dv = -q·r²/2`` with ``q = 1/s``.
    """
    assert m.axes is not None
    shape = tuple(1 if d in m.axes else n for d, n in enumerate(m.space))

    def inverse(name: str) -> Atom:
        value = copies[m.names[name]]
        return b.emit(div_p, b.literal(1, value.aval.dtype), value)

    r = copies[m.names["multiplier"]] if "multiplier" in m.names else inverse("divisor")
    rows = [reshape(b, r, shape)]
    if m.notes.get("eps") == "deviation":
        rows.append(reshape(b, inverse("root"), shape))
    return rows


VARIANCE_OF_X = Raised("variance", X, reduces=True)
STANDARDISE = Recipe(
    "standardise",
    (div_p, mul_p),
    multiplied(CENTRED, VARIANCE_OF_X),
    "div (sub x, (mean x)), (sqrt (add (variance x), eps)) -> standardise x",
    operands=("x", "eps"),
    attributes=lambda m: (*_ddof(m), *_eps(m)),
    accept=is_one_eps,
    further=multiplier_and_slope,
)
MEAN_SQUARE = Raised("mean", op(mul_p, X, X), reduces=True)
RMS_STANDARDISE = Recipe(
    "rms_standardise",
    (div_p, mul_p),
    multiplied(X, MEAN_SQUARE),
    "div x, (sqrt (add (mean (mul x, x)), eps)) -> rms_standardise x",
    operands=("x", "eps"),
    attributes=_eps,
    accept=is_one_eps,
    further=multiplier_and_slope,
)
RECIPES = (VARIANCE, MEAN, STANDARDISE, RMS_STANDARDISE)
