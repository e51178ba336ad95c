"""Recipes for picks: one element of each row, at an index that is computed.

``p[np.arange(n), y]`` and ``np.take_along_axis(p, y[:, None], 1)`` are gathers whose
other indices count the rows. The gradient then has one place per row, which a
comparison with an iota finds: no scatter is needed. So does one element of a softmax of
a vector, as the loss of one example has it. A one-hot sum
(``(p * (y[:, None] == np.arange(k))).sum(1)``) is differentiated so by itself.

A log-likelihood is a pick of a log-softmax, or the logarithm of a pick of a softmax. It
may never have been written as such: ``z[np.arange(n), y] - np.log(np.exp(z).sum(1))``
with the maximum taken off z. That cancels in the difference only, so the two must be
seen together.
"""

import numpy as np

from ..aval import Shape
from ..builder import Builder
from ..graph import Atom, Eqn, Var
from ..ops.composite import Attributes, composite_p
from ..ops.elementwise import exp_p, log_p, sub_p
from ..ops.indexing import gather_p
from ..ops.reduce import reduce_max_p, reduce_sum_p
from ..ops.shape import constant_p, ints, iota_p
from ..primitive import ArrayConstant
from .matcher import (
    Bind,
    Constant,
    Match,
    Noted,
    Pattern,
    Placed,
    Raised,
    Reduce,
    Shift,
    Whole,
    behind,
    match_rows,
    one_of,
    op,
)
from .recipe import Recipe
from .softmax import SHIFTED


def match_pick(b: Builder, root: Eqn, pattern: Pattern) -> Match | None:
    """Match a gather with one place in each row, however the rows are counted."""
    x, *indices = root.invars
    axes, batch = ints(root.params, "axes"), root.params["batch"]
    assert isinstance(batch, int)
    rows, shape = batch + len(axes) - 1, indices[0].aval.shape
    is_one_each = (
        (rows > 0 or x.aval.ndim == 1)
        and axes[:-1] == tuple(range(batch, rows))
        and axes[-1] >= rows
        and shape[:rows] == x.aval.shape[:rows]
        and all(n == 1 for n in shape[rows:])
    )
    if not is_one_each or not isinstance(indices[-1], Var):
        return None
    m = Match(b, root, x.aval.shape, axes[-1:], {"index": indices[-1]})
    counted = enumerate(indices[:-1], batch)
    if not all(_counts(m, index, axis, shape) for axis, index in counted):
        return None
    pattern = pattern if rows else OF_VECTOR
    return m if pattern.match(m, Placed(x, tuple(range(x.aval.ndim)))) else None


def _counts(m: Match, x: Atom, axis: int, shape: Shape) -> bool:
    """Tell whether each element of `x` is its own position along `axis`."""
    if shape[axis] == 1:
        return True  # there is one row; the gather checks that it is this one
    for p, eqn in behind(m, Placed(x, tuple(range(len(shape))))):
        wide = [d for d, n in enumerate(p.atom.aval.shape) if n != 1]
        if [p.axes[d] for d in wide] != [axis]:
            continue  # a view that repeats the counts along other axes
        if eqn.primitive is iota_p:
            return wide == [eqn.params["axis"]]
        if eqn.primitive is constant_p:
            value = eqn.params["value"]
            assert isinstance(value, ArrayConstant)
            counts = np.arange(shape[axis])
            return bool(np.array_equal(value.array.reshape(-1), counts))
    return False


def _attributes(m: Match) -> Attributes:
    axis, mode = m.axes, m.root.params["mode"]
    assert axis is not None
    assert isinstance(mode, str)
    indices = ints(m.root.params, "axes")
    batch = m.root.params["batch"]
    assert isinstance(batch, int)
    return (("batch", batch + len(indices) - 1), ("mode", mode))


def pick_of(source: Pattern) -> Pattern:
    """Return a pattern for the pick of something, one of each row."""
    return Raised("pick", source, ("index",), reduces=True)


X = Whole("x")
# An element of a vector is a pick where it may be one of a likelihood only: an
# operation on all of the vector is there anyway, and a comparison joins it.
OF_VECTOR = Bind(
    "x",
    one_of(
        Raised("log_softmax", Whole("whole")),
        Raised("softmax", Whole("whole")),
        op(
            sub_p,
            Whole("whole"),
            Constant(Shift(reduce_max_p, Constant(Whole("whole")))),
        ),
    ),
)
LOG_TOTAL = op(log_p, Reduce(reduce_sum_p, op(exp_p, Bind("shifted", SHIFTED))))
PICKED = pick_of(Bind("shifted", SHIFTED))
LIKELIHOOD = one_of(
    Noted("sign", "1", pick_of(Raised("log_softmax", X))),
    Noted("sign", "1", op(log_p, pick_of(Raised("softmax", X)))),
    Noted("sign", "1", op(sub_p, PICKED, LOG_TOTAL)),
    Noted("sign", "-1", op(sub_p, LOG_TOTAL, PICKED)),
)
RECIPES = (
    Recipe(
        "log_likelihood",
        (sub_p, log_p, composite_p),
        LIKELIHOOD,
        "pick (log_softmax x), y -> log_likelihood x, y; "
        "log (pick (softmax x), y) -> log_likelihood x, y; "
        "sub (pick z, y), (log (reduce_sum (exp z))) -> log_likelihood x, y, "
        "z = sub x, (reduce_max x)",
        find=match_rows,
        operands=("x", "index"),
        attributes=lambda m: (("sign", int(m.notes["sign"])),),
        # A loss that returns its probabilities too: their logarithm is still one of x,
        # with a derivative that divides by none of them.
        shares=("softmax", "log_softmax"),
    ),
    Recipe(
        "pick",
        (gather_p,),
        X,
        "gather x, (iota), y {axes=(0, 1)} -> pick x, y {batch=1}",
        find=match_pick,
        operands=("x", "index"),
        attributes=_attributes,
    ),
)
