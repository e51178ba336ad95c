"""Keys, bits and uniform numbers are JAX's, where that is installed (extra `bench`)."""

import ml_dtypes
import numpy as np
import pytest

import tracejit as tj

jax = pytest.importorskip("jax")


@pytest.fixture
def wide():
    with jax.enable_x64(True):
        yield


SEEDS = [0, 42, -1, 2**40 + 3]
DTYPES = [np.float64, np.float32, np.float16, ml_dtypes.bfloat16]


@pytest.mark.parametrize("seed", SEEDS)
def test_keys_are_those_of_jax(wide, seed):
    key, theirs = tj.random.key(seed), jax.random.PRNGKey(seed)
    np.testing.assert_array_equal(key, theirs)
    np.testing.assert_array_equal(tj.random.split(key), jax.random.split(theirs))
    np.testing.assert_array_equal(
        tj.random.split(key, (2, 3)), jax.random.split(theirs, (2, 3))
    )
    np.testing.assert_array_equal(
        tj.random.fold_in(key, 12), jax.random.fold_in(theirs, 12)
    )


@pytest.mark.parametrize("dtype", [np.uint8, np.uint16, np.uint32, np.uint64])
def test_bits_are_those_of_jax(wide, dtype):
    got = tj.random.bits(tj.random.key(5), (3, 70), dtype)
    want = np.asarray(jax.random.bits(jax.random.PRNGKey(5), (3, 70), dtype))
    np.testing.assert_array_equal(got, want, strict=True)


@pytest.mark.parametrize("dtype", DTYPES)
def test_uniform_numbers_are_those_of_jax(wide, dtype):
    got = tj.random.uniform(tj.random.key(5), (3, 70), dtype)
    want = np.asarray(jax.random.uniform(jax.random.PRNGKey(5), (3, 70), dtype))
    np.testing.assert_array_equal(got, want, strict=True)


@pytest.mark.parametrize("p", [np.float32(0.3), np.float64(0.3)])
def test_bernoulli_numbers_are_those_of_jax(wide, p):
    got = tj.random.bernoulli(tj.random.key(5), p, (1000,))
    want = jax.random.bernoulli(jax.random.PRNGKey(5), p, (1000,))
    np.testing.assert_array_equal(got, np.asarray(want), strict=True)
