"""The same numbers however they are drawn: ISA, threads, jit, vmap, loops, scans."""

import numpy as np
import pytest

import tracejit as tj
from tests.isas import instruction_set
from tests.sampling import sampled

from .functions import EXACT, FUNCTIONS, ROUNDED

KEY = tj.random.key(11)
KEYS = tj.random.split(KEY, 3)


def equal(got, want):
    np.testing.assert_array_equal(np.asarray(got), np.asarray(want), strict=True)


def close(got, want):
    got, want = np.asarray(got), np.asarray(want)
    assert got.dtype == want.dtype
    small = got.dtype == np.float32
    np.testing.assert_allclose(got, want, rtol=2e-5 if small else 1e-12, atol=1e-12)


def same(name):
    return equal if name in EXACT else close


def loop(fn):
    return np.stack([fn(k) for k in KEYS])


@pytest.mark.parametrize("name", sampled(FUNCTIONS, 5))
def test_jit_changes_nothing(name):
    fn = FUNCTIONS[name]
    same(name)(tj.jit(fn)(KEY), fn(KEY))


@pytest.mark.parametrize("name", sampled(FUNCTIONS, 5, 2))
def test_compiled_vmap_is_a_loop(name):
    fn = FUNCTIONS[name]
    equal(tj.jit(tj.vmap(fn))(KEYS), loop(tj.jit(fn)))


@pytest.mark.parametrize("name", sampled(FUNCTIONS, 5, 1))
def test_vmap_in_numpy_is_a_loop(name):
    fn = FUNCTIONS[name]
    same(name)(tj.vmap(fn)(KEYS), loop(fn))


@pytest.mark.parametrize("name", ["normal", "uniform32", "categorical", "permutation"])
def test_scan_over_keys_is_a_loop(name):
    fn = FUNCTIONS[name]
    want = loop(fn)
    equal(tj.scan(lambda c, k: (c, fn(k)), 0, KEYS)[1], want)
    equal(tj.jit(lambda ks: tj.scan(lambda c, k: (c, fn(k)), 0, ks)[1])(KEYS), want)


def test_a_key_is_a_carry():
    def walk(key, x):
        def step(carry, _):
            key, x = carry
            key, use = tj.random.split(key)
            x = x + tj.random.normal(use, x.shape)
            return (key, x), x

        return tj.scan(step, (key, x), None, 5)[1]

    key, x, rows = KEY, np.zeros(3), []
    for _ in range(5):
        key, use = tj.random.split(key)
        x = x + tj.random.normal(use, x.shape)
        rows.append(x)
    equal(tj.jit(walk)(KEY, np.zeros(3)), np.stack(rows))


DRAWS = [*EXACT, "truncated_normal32", "gamma32", "poisson"]
SETS = [(name, isa) for name in DRAWS for isa in ("avx512", "avx2", "baseline")]


@pytest.mark.parametrize(("name", "isa"), sampled(SETS, 4))
def test_instruction_sets_agree(name, isa):
    fn = FUNCTIONS[name]
    want = tj.jit(fn)(KEY)
    with instruction_set(isa):
        got = tj.jit(lambda key: fn(key))(KEY)
    same(name)(got, want)


@pytest.mark.parametrize("name", ["uniform32", "normal"])
def test_threads_agree(name):
    fn = {
        "uniform32": lambda k: tj.random.uniform(k, (300_000,), np.float32),
        "normal": lambda k: tj.random.normal(k, (300_000,)),
    }[name]
    results = []
    for threads in (1, 2):
        with tj.config.override(threads=threads):
            results.append(tj.jit(lambda key: fn(key))(KEY))
    equal(*results)


def test_the_first_numbers_do_not_depend_on_how_many_follow():
    for fn in (tj.random.uniform, tj.random.normal, tj.random.bits):
        equal(fn(KEY, (1000,))[:10], fn(KEY, (10,)))
        equal(fn(KEY, (10, 100)).ravel(), fn(KEY, (1000,)))


def test_checkpoint_draws_the_same_again():
    def noisy(x, key):
        keep = tj.random.bernoulli(key, 0.5, x.shape)
        return np.sum(np.where(keep, np.sin(x), 0.0))

    x = np.linspace(0, 1, 100)
    want = np.where(tj.random.bernoulli(KEY, 0.5, x.shape), np.cos(x), 0.0)
    for fn in (noisy, tj.checkpoint(noisy)):
        np.testing.assert_allclose(tj.grad(fn)(x, KEY), want)
        np.testing.assert_allclose(tj.jit(tj.grad(fn))(x, KEY), want)


def test_a_captured_key_is_read_at_each_call():
    key = np.array(tj.random.key(1))

    @tj.jit
    def draw():
        return tj.random.uniform(key, (3,))

    first = draw()
    key[1] = 2
    equal(first, tj.random.uniform(tj.random.key(1), (3,)))
    equal(draw(), tj.random.uniform(tj.random.key(2), (3,)))


def test_rounded_functions_are_few():
    assert not {"uniform", "normal", "bernoulli", "categorical"} & set(ROUNDED)
