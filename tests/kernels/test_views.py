"""Index maps through views lead to the elements that the views have."""

from itertools import product

import numpy as np
import pytest

from tracejit.ir import dtypes as dt
from tracejit.ir.aval import ShapedArray
from tracejit.ir.builder import Builder
from tracejit.ir.interp import evaluate
from tracejit.ir.ops.shape import (
    broadcast_in_dim_p,
    reshape_p,
    rev_p,
    slice_p,
    transpose_p,
)
from tracejit.kernels.maps import Affine, axis, floordiv, mod
from tracejit.kernels.views import simplified, through_view

SHAPES = [(24,), (4, 6), (6, 4), (2, 3, 4), (3, 1, 2, 4), (8, 3), (2, 2, 6), (1, 24)]


def random_view(b, x, rng):
    """Emit a view of a value, of any kind that it allows."""
    shape = x.aval.shape
    n = len(shape)
    kind = rng.integers(5)
    if kind == 0:
        return b.emit(transpose_p, x, perm=tuple(map(int, rng.permutation(n))))
    if kind == 1:
        return b.emit(rev_p, x, axes=tuple(d for d in range(n) if rng.random() < 0.5))
    if kind == 2:
        start = tuple(int(rng.integers(m)) for m in shape)
        stride = tuple(int(rng.integers(1, 4)) for _ in shape)
        return b.emit(slice_p, x, start=start, stop=shape, stride=stride)
    if kind == 3:
        wide = (2, *shape)
        return b.emit(broadcast_in_dim_p, x, shape=wide, dims=tuple(range(1, n + 1)))
    like = [s for s in SHAPES if np.prod(s) == np.prod(shape)]
    new = like[rng.integers(len(like))] if like else (int(np.prod(shape)),)
    return b.emit(reshape_p, x, shape=new)


@pytest.mark.parametrize("seed", range(40))
def test_elements_of_random_views(seed):
    rng = np.random.default_rng(seed)
    b = Builder("views")
    shape = SHAPES[rng.integers(len(SHAPES))]
    x = y = b.input(ShapedArray(shape, dt.INT64))
    for _ in range(4):
        y = random_view(b, y, rng)
    graph = b.build([y])
    (found,) = evaluate(graph, [np.arange(24).reshape(shape)])
    extents = {f"i{d}": n for d, n in enumerate(y.aval.shape)}
    at = tuple(map(axis, extents))
    for eqn in reversed(graph.eqns):
        at = through_view(eqn, at, extents)
    for place in np.ndindex(y.aval.shape):
        where = {a: Affine((), i) for a, i in zip(extents, place, strict=True)}
        index = tuple(i.substitute(where).constant for i in at)
        assert np.ravel_multi_index(index, x.aval.shape) == found[place]


@pytest.mark.parametrize("divided", [floordiv, mod])
def test_what_ranges_decide_is_dropped_and_no_more(divided):
    is_dropped = set()
    for step, first, d in product((1, 2, -3), range(-4, 9), (2, 3, 8)):
        index = divided(axis("i") * step + first, d)
        found = simplified(index, {"i": 3})
        values = [Affine((), i) for i in range(3)]
        want = [index.substitute({"i": i}) for i in values]
        assert [found.substitute({"i": i}) for i in values] == want
        is_dropped.add(found != index)
    assert is_dropped == {True, False}
