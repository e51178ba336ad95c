"""Keys: of any integer, inside and outside of traces."""

import ml_dtypes
import numpy as np
import pytest

import tracejit as tj
from tests.sampling import in_turn

R = tj.random


@pytest.mark.parametrize(
    "seed", [7, np.int64(7), np.uint8(7), np.array(7), True and 7, 7 - 2**64 + 2**64]
)
def test_seeds(seed):
    for key in (R.key(seed), tj.jit(lambda: R.key(seed))(), tj.jit(R.key)(seed)):
        np.testing.assert_array_equal(key, np.array([0, 7], np.uint32), strict=True)


def test_negative_and_long_seeds():
    for seed, words in [
        (-1, [2**32 - 1, 2**32 - 1]),
        (np.int8(-1), [2**32 - 1, 2**32 - 1]),
        (2**40, [256, 0]),
        (2**64 - 2, [2**32 - 1, 2**32 - 2]),
    ]:
        np.testing.assert_array_equal(R.key(seed), words)
        np.testing.assert_array_equal(tj.jit(lambda s=seed: R.key(s))(), words)
    np.testing.assert_array_equal(tj.jit(R.key)(np.int8(-1)), [2**32 - 1] * 2)


def test_a_seed_that_changes_is_a_run_time_value():
    @tj.jit
    def draw(seed):
        return R.uniform(R.key(seed), (3,))

    with tj.testing.count_traces() as counter:
        for seed in (1, 2, 3, 4):
            np.testing.assert_array_equal(draw(seed), R.uniform(R.key(seed), (3,)))
    assert counter.traces <= 4  # two of draw, and the functions outside


def test_mapped_seeds_and_steps():
    seeds = np.array([3, -1, 2**33])
    want = np.stack([R.key(int(s)) for s in seeds])
    np.testing.assert_array_equal(tj.vmap(R.key)(seeds), want)
    steps = np.arange(4)
    folded = tj.vmap(R.fold_in, (None, 0))(R.key(0), steps)
    want = np.stack([R.fold_in(R.key(0), int(s)) for s in steps])
    np.testing.assert_array_equal(folded, want)


def test_fold_in_takes_any_integer():
    want = R.fold_in(R.key(0), 2**32 - 1)
    for data in (-1, np.int8(-1), np.int64(-1), np.array(-1), np.uint32(2**32 - 1)):
        np.testing.assert_array_equal(R.fold_in(R.key(0), data), want)


def test_keys_in_containers():
    @tj.jit
    def step(state):
        key, use = R.split(state["key"])
        return {"key": key, "x": state["x"] + R.normal(use, state["x"].shape)}

    state = {"key": R.key(0), "x": np.zeros(2)}
    for _ in range(3):
        state = step(state)
    key, x = R.key(0), np.zeros(2)
    for _ in range(3):
        key, use = R.split(key)
        x = x + R.normal(use, (2,))
    np.testing.assert_array_equal(state["key"], key)
    np.testing.assert_array_equal(state["x"], x)


def test_shapes():
    key = R.key(1)
    assert R.split(key, 0).shape == (0, 2)
    assert R.normal(key, (0, 3)).shape == (0, 3)
    assert R.normal(key, 4).shape == R.normal(key, [4]).shape == (4,)
    assert isinstance(R.normal(key), np.float64)
    assert isinstance(R.uniform(key, (), np.float32), np.float32)
    assert R.permutation(key, 0).shape == (0,)
    assert R.choice(key, np.ones((3, 4)), (2, 5), axis=1).shape == (3, 2, 5)
    assert R.orthogonal(key, 3, (2,), m=5).shape == (2, 3, 5)
    assert R.dirichlet(key, np.ones((4, 3))).shape == (4, 3)
    assert R.categorical(key, np.ones((4, 3)), axis=0, shape=(2, 3)).shape == (2, 3)


def test_counters_above_32_bits():
    """The high word counts on where the low one wraps: seen in the graph."""
    text = tj.jit(lambda k: R.bits(k, (2**33,), np.uint8)).trace(R.key(0)).as_text()
    assert "u64[8589934592]" in text


FLOATS = {
    "uniform": lambda k, t: R.uniform(k, 9, t),
    "uniform_between": lambda k, t: R.uniform(k, 9, t, -1, 1),
    "normal": lambda k, t: R.normal(k, 9, t),
    "exponential": lambda k, t: R.exponential(k, 9, t),
    "gumbel": lambda k, t: R.gumbel(k, 9, t),
    "laplace": lambda k, t: R.laplace(k, 9, t),
    "truncated_normal": lambda k, t: R.truncated_normal(k, -1, 1, 9, t),
    "gamma": lambda k, t: R.gamma(k, 2, 9, t),
    "beta": lambda k, t: R.beta(k, 2, 3, 9, t),
    "dirichlet": lambda k, t: R.dirichlet(k, np.ones(9), (), t),
    "orthogonal": lambda k, t: R.orthogonal(k, 3, (), t),
}


@pytest.mark.parametrize(
    ("name", "dtype"), in_turn(FLOATS, ["f2", "f4", ml_dtypes.bfloat16])
)
def test_dtypes(name, dtype):
    """A narrow type rounds what a wide one has, where that is what it is made of."""
    got = FLOATS[name](R.key(5), dtype)
    assert got.dtype == np.dtype(dtype)
    assert np.all(np.isfinite(got.astype(np.float64)))
    if name not in ("uniform", "uniform_between") and got.dtype.itemsize == 2:
        single = FLOATS[name](R.key(5), np.float32).astype(dtype)
        np.testing.assert_allclose(got.astype(float), single.astype(float), rtol=0.02)
