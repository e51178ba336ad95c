"""How far sums are from exact ones: the bound of pairwise sums, and NumPy's own error.

The promise (docs/numerics.md): the pairwise bound always, and an rms error over random
inputs of at most twice NumPy's, for 10² to 10⁷ elements.
"""

import math

import numpy as np
import pytest

import tracejit as tj

SIZES = [10**2, 10**3, 10**4, 10**5, 10**6, 10**7]
EPS = np.finfo(np.float32).eps
# Below a leaf of 1024 elements, at it and above; rows of less and more than 64 lanes.
UNEVEN = [
    *((1, 1), (3, 5), (30, 31), (31, 33), (32, 32), (33, 31), (1023, 2), (341, 3)),
    *((16, 64), (17, 65), (100, 1000), (5, 7, 300), (12, 1, 999), (2, 0), (0, 3)),
]
total = tj.jit(np.sum)


def draws(size: int):
    """Yield random float32 arrays: of both signs, positive, and of many magnitudes."""
    rng = np.random.default_rng(size)
    for _ in range(max(4, min(40, 4 * 10**6 // size))):
        yield rng.normal(size=size).astype(np.float32)
        yield rng.random(size, np.float32)
        yield np.exp(4 * rng.normal(size=size)).astype(np.float32)


@pytest.mark.parametrize("size", SIZES)
def test_rms_error_is_at_most_twice_numpys(size):
    ours, numpys = [], []
    for x in draws(size):
        exact = math.fsum(x) if size <= 10**5 else float(x.sum(dtype=np.longdouble))
        scale = float(np.abs(x).sum(dtype=np.float64)) * EPS
        ours.append((float(total(x)) - exact) / scale)
        numpys.append((float(x.sum()) - exact) / scale)
    assert rms(ours) <= 2 * max(rms(numpys), 1e-3)


@pytest.mark.parametrize("size", SIZES)
def test_each_error_is_within_the_pairwise_bound(size):
    # log2(n) roundings on the way up, and those within a lane of a leaf of 1024.
    depth = math.log2(size) + 1024 / 64
    for x in draws(size):
        exact = float(x.sum(dtype=np.longdouble))
        bound = depth * EPS * float(np.abs(x).sum(dtype=np.float64))
        assert abs(float(total(x)) - exact) <= bound


@pytest.mark.parametrize("shape", [(100_000, 7), (7, 100_000), (3, 20_000, 5)])
@pytest.mark.parametrize("axis", [0, 1, -1])
def test_sums_along_axes_are_as_good(shape, axis):
    x = np.random.default_rng(0).random(shape, np.float32)
    got = tj.jit(lambda x: x.sum(axis=axis))(x)
    exact = x.sum(axis=axis, dtype=np.float64)
    depth = math.log2(x.shape[axis]) + 16
    assert np.all(np.abs(got - exact) <= depth * EPS * np.abs(exact))


def test_a_running_sum_would_not_pass():
    """The bounds can fail: adding one after the other is not within them."""
    x = np.random.default_rng(1).random(10**6, np.float32)
    running = float(np.cumsum(x, dtype=np.float32)[-1])
    exact = float(x.sum(dtype=np.float64))
    assert abs(running - exact) > (math.log2(x.size) + 16) * EPS * exact


def rms(values: list[float]) -> float:
    return math.sqrt(sum(v * v for v in values) / len(values))


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("shape", UNEVEN)
def test_sums_over_several_axes_have_the_bits_of_one_long_row(shape, dtype):
    """Rows of any length, which lie apart in memory, meet the lanes of the tree."""
    rng = np.random.default_rng(0)
    large = rng.normal(size=(*shape[:-1], shape[-1] + 3)).astype(dtype)
    part = large[..., : shape[-1]]
    row = np.ascontiguousarray(part).ravel()
    assert total(part).tobytes() == total(row).tobytes()
    squares = tj.jit(lambda x: np.sum(x * x))
    assert squares(part).tobytes() == squares(row).tobytes()


def test_sums_over_several_axes_keep_what_is_no_number():
    x = np.zeros((40, 50), np.float32)
    for value in (np.nan, np.inf):
        for place in ((0, 0), (20, 22), (39, 40)):
            y = x.copy()
            y[place] = value
            got = tj.jit(lambda x: np.sum(x[:, :41]))(y)
            np.testing.assert_array_equal(got, value)
    zeros = np.full((40, 50), -0.0, np.float32)
    got = tj.jit(lambda x: np.sum(x[:, :41]))(zeros)
    assert got.tobytes() == np.sum(zeros[:, :41]).tobytes()


def test_many_sums_have_the_bits_of_each_alone():
    """What shares nothing is summed in loops of its own, as registers hold few."""
    rng = np.random.default_rng(0)
    xs = [rng.normal(size=3000) for _ in range(40)]
    got = tj.jit(lambda *xs: [np.sum(x * k) for k, x in enumerate(xs)])(*xs)
    alone = tj.jit(lambda x, k: np.sum(x * k))
    for k, x in enumerate(xs):
        assert got[k].tobytes() == alone(x, float(k)).tobytes()
