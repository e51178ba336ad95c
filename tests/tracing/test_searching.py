"""Places in sorted arrays of any length, by counting and by bisection."""

from itertools import product

import numpy as np
import pytest

import tracejit as tj
from tests.sampling import sampled
from tracejit.tracing.functions.searching import COUNTED

DTYPES = ["f4", "f8", "i4", "c16", "?"]
LENGTHS = [0, 1, 2, 7, COUNTED, COUNTED + 1, 511, 512, 513, 4097]


def queries(dtype: str) -> list[np.ndarray]:
    numbers = np.random.default_rng(1).normal(size=37) * 5
    if np.dtype(dtype).kind in "iub":
        return [numbers.astype(dtype), np.array(1, dtype)]
    special = np.array([[np.nan, np.inf, 0.0], [-np.inf, -0.0, 1.0]])
    return [numbers, np.array(0.3), np.zeros((0,)), special]


@pytest.mark.parametrize(("length", "dtype"), sampled(product(LENGTHS, DTYPES), 5))
def test_places_are_numpys(length: int, dtype: str) -> None:
    a = np.sort((np.random.default_rng(0).normal(size=length) * 5).astype(dtype))
    if dtype in ("f4", "f8"):
        a[-2:] = np.nan
    for side in ("left", "right"):
        find = tj.jit(lambda a, v, s=side: np.searchsorted(a, v, s))
        for v in queries(dtype):
            want, got = np.searchsorted(a, v, side), find(a, v)
            assert type(got) is type(want)
            np.testing.assert_array_equal(got, want, strict=True)


def test_long_arrays_are_not_compared_with_everything() -> None:
    a, v = np.arange(1e6), np.arange(1e5)
    graph = tj.jit(np.searchsorted).trace(a, v).graph
    assert max(out.aval.size for e in graph.eqns for out in e.outvars) <= a.size


@pytest.mark.parametrize("length", [20, 2000])
def test_batches_and_orders(length: int) -> None:
    rng = np.random.default_rng(2)
    rows, v = np.sort(rng.normal(size=(3, length))), rng.normal(size=(3, 9))
    got = tj.jit(tj.vmap(np.searchsorted))(rows, v)
    want = np.stack([np.searchsorted(a, q) for a, q in zip(rows, v, strict=True)])
    np.testing.assert_array_equal(got, want)
    a = rng.normal(size=length)
    order = np.argsort(a)
    find = tj.jit(lambda a, v, s: np.searchsorted(a, v, sorter=s))
    np.testing.assert_array_equal(
        find(a, v, order), np.searchsorted(a, v, sorter=order)
    )


@pytest.mark.parametrize("members", ["i8", "f4", "f8", "u8", "i2"])
@pytest.mark.parametrize("dtype", ["i8", "f8", "f4", "u8"])
def test_members_of_many(dtype: str, members: str) -> None:
    rng = np.random.default_rng(3)
    x = rng.integers(0, 900, (30, 4)).astype(dtype)
    among = rng.integers(0, 900, COUNTED + 50).astype(members)
    if dtype.startswith("f") and members.startswith("f"):
        x[0], among[:3] = [np.nan, np.inf, -0.0, 1], [np.nan, np.inf, 0.0]
    for invert in (False, True):
        got = tj.jit(lambda x, a, i=invert: np.isin(x, a, invert=i))(x, among)
        np.testing.assert_array_equal(got, np.isin(x, among, invert=invert))


@pytest.mark.parametrize("dtype", ["i1", "i8", "u8"])
@pytest.mark.parametrize("spread", [50, 10**18], ids=["near", "far"])
def test_integers_among_many(dtype, spread):
    """By a table where the members lie together, by places in order elsewhere."""
    info = np.iinfo(dtype)
    rng = np.random.default_rng(0)
    high = min(spread, info.max)
    low = -high if info.min < 0 else 0
    x = rng.integers(low, high, 2000, dtype=dtype)
    x[:4] = info.min, info.max, 0, high - 1
    members = rng.choice(x, 400)
    invert = spread == 50
    isin = tj.jit(lambda x, members: np.isin(x, members, invert=invert))
    for given in (members, members // 2, members * 0 + members[0]):
        want = np.isin(x, given, invert=invert)
        np.testing.assert_array_equal(isin(x, given), want, strict=True)
