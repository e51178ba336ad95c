"""The block function beside its published vectors, and beside JAX's numbers."""

import jax
import ml_dtypes
import numpy as np
import pytest

import tracejit as tj
from tracejit.random.threefry import threefry2x32

ONES = 0xFFFFFFFF
# Of Random123's kat_vectors: threefry2x32 with 20 rounds; counter, key, result.
KNOWN = [
    ((0, 0), (0, 0), (0x6B200159, 0x99BA4EFE)),
    ((ONES, ONES), (ONES, ONES), (0x1CB996FC, 0xBB002BE7)),
    (
        (0x243F6A88, 0x85A308D3),
        (0x13198A2E, 0x03707344),
        (0xC4923A9C, 0x483DF7A0),
    ),
]


@pytest.mark.parametrize(("counter", "key", "result"), KNOWN)
@pytest.mark.parametrize("compiled", [False, True])
def test_known_answers(counter, key, result, compiled):
    words = [np.array([w], np.uint32) for w in (*key, *counter)]
    block = tj.jit(threefry2x32) if compiled else threefry2x32
    assert tuple(int(w[0]) for w in block(*words)) == result


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
