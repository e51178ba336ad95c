"""Distributions by statistics: 10⁵ draws here, 10⁷ by `make slow`.

Seeds are fixed: a test does not fail by chance, but where the numbers change. Limits
are probabilities that none of some 200 tests of right numbers should come near.
"""

import numpy as np
import pytest
from scipy import stats

import tracejit as tj

from .draws import (
    CONTINUOUS,
    DISCRETE,
    chi_squared_probability,
    ks_probability,
    moment_errors,
)

LEAST = 1e-4
SIGMAS = 4.5
MANY = [
    pytest.param(100_000, id="1e5"),
    pytest.param(10_000_000, id="1e7", marks=pytest.mark.slow),
]


def drawn(fn, n, seed):
    """Draw in parts of at most a million, each with a key of its own."""
    keys = tj.random.split(tj.random.key(seed), -(-n // 1_000_000))
    return np.concatenate([fn(k, min(n, 1_000_000)) for k in keys])


@pytest.mark.parametrize("name", CONTINUOUS)
@pytest.mark.parametrize("n", MANY)
def test_continuous(name, n):
    draw = CONTINUOUS[name]
    x = drawn(draw.fn, n, 2024)
    if name == "uniform32":  # on a grid: one step of it is what they may be off
        x = x + 2.0**-24
    assert ks_probability(x, draw.expected) > LEAST
    assert max(map(abs, moment_errors(x, draw.expected))) < SIGMAS


@pytest.mark.parametrize("name", DISCRETE)
@pytest.mark.parametrize("n", MANY)
def test_discrete(name, n):
    draw = DISCRETE[name]
    x = drawn(draw.fn, n, 2025)
    assert chi_squared_probability(x, draw.expected) > LEAST
    assert max(map(abs, moment_errors(x, draw.expected))) < SIGMAS


@pytest.mark.parametrize("n", MANY)
def test_each_bit_is_as_often_one_as_zero(n):
    words = drawn(tj.random.bits, n, 3)
    ones = np.array([np.count_nonzero(words & np.uint32(1 << i)) for i in range(32)])
    assert np.max(np.abs(ones - n / 2)) < SIGMAS * np.sqrt(n) / 2


@pytest.mark.parametrize("n", MANY)
def test_bytes_are_alike(n):
    counts = np.bincount(drawn(tj.random.bits, n, 4).view(np.uint8), minlength=256)
    assert stats.chisquare(counts).pvalue > LEAST


@pytest.mark.parametrize("n", MANY)
def test_neighbours_are_not_correlated(n):
    x = drawn(tj.random.normal, n, 5)
    for lag in (1, 2, 3, 16, 64, 1000):
        assert abs(np.mean(x[:-lag] * x[lag:])) * np.sqrt(n) < SIGMAS


@pytest.mark.parametrize("n", MANY)
def test_keys_are_not_correlated(n):
    """Keys of a split, of neighbouring seeds and of neighbouring steps."""
    key, other = tj.random.split(tj.random.key(6))
    pairs = [
        (key, other),
        (tj.random.key(0), tj.random.key(1)),
        (tj.random.fold_in(key, 1), tj.random.fold_in(key, 2)),
        (key, tj.random.split(key)[0]),
    ]
    for a, b in pairs:
        x, y = (tj.random.normal(k, n // 10) for k in (a, b))
        assert abs(np.mean(x * y)) * np.sqrt(n // 10) < SIGMAS
        assert not np.any(x == y)


def test_one_number_of_each_of_many_keys():
    """The other direction: a stream of keys, of which each is used once."""
    keys = tj.random.split(tj.random.key(7), 100_000)
    x = tj.jit(tj.vmap(lambda k: tj.random.normal(k, (), np.float32)))(keys)
    assert ks_probability(x, stats.norm()) > LEAST
    folded = tj.jit(tj.vmap(lambda i: tj.random.fold_in(tj.random.key(8), i)))
    y = tj.jit(tj.vmap(tj.random.uniform))(folded(np.arange(100_000)))
    assert ks_probability(y, stats.uniform()) > LEAST
    assert abs(np.corrcoef(x[:-1], x[1:])[0, 1]) * np.sqrt(len(x)) < SIGMAS


@pytest.mark.parametrize("n", MANY)
def test_tails_of_normal_numbers(n):
    """As many beyond 3, 4 and 5 as there should be, on either side."""
    for dtype in (np.float32, np.float64):
        x = drawn(lambda k, m: tj.random.normal(k, m, dtype), n, 9)  # noqa: B023
        for limit in (3, 4, 5):
            wanted = n * stats.norm.sf(limit)
            for count in (np.sum(x > limit), np.sum(x < -limit)):
                assert stats.poisson.sf(count - 1, wanted) > LEAST
                assert stats.poisson.cdf(count, wanted) > LEAST


def test_orders_are_alike():
    """All 24 orders of four elements."""
    keys = tj.random.split(tj.random.key(10), 48_000)
    orders = tj.jit(tj.vmap(lambda k: tj.random.permutation(k, 4)))(keys)
    _, counts = np.unique(orders @ [1, 10, 100, 1000], return_counts=True)
    assert len(counts) == 24
    assert stats.chisquare(counts).pvalue > LEAST


def test_choices_without_replacement_are_alike():
    keys = tj.random.split(tj.random.key(11), 50_000)
    p = np.array([0.1, 0.2, 0.3, 0.4])
    pairs = tj.jit(tj.vmap(lambda k: tj.random.choice(k, 4, 2, replace=False, p=p)))(
        keys
    )
    assert np.all(pairs[:, 0] != pairs[:, 1])
    wanted = np.array(
        [p[i] * p[j] / (1 - p[i]) for i in range(4) for j in range(4) if i != j]
    )
    counts = np.unique(pairs @ [10, 1], return_counts=True)[1]
    assert stats.chisquare(counts, wanted * len(keys)).pvalue > LEAST


def test_vectors_have_their_covariance():
    mean, cov = np.array([1.0, -2.0, 0.0]), np.diag([1.0, 2.0, 3.0]) + 0.5
    for method in ("cholesky", "eigh"):
        x = tj.random.multivariate_normal(
            tj.random.key(12), mean, cov, 100_000, method=method
        )
        np.testing.assert_allclose(np.cov(x.T), cov, atol=0.06)
        np.testing.assert_allclose(x.mean(0), mean, atol=0.03)
