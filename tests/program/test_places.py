"""Kernels that read other parts of an array are one kernel of parts."""

import numpy as np
import pytest

import tracejit as tj
from tracejit import config
from tracejit.program.interp import run_program
from tracejit.program.places import with_moved_places
from tracejit.program.program import Run, Storage, nested
from tracejit.program.verify import verify_program

RNG = np.random.default_rng(5)


def lowered(function, *args):
    with config.override(verify=True):
        return tj.jit(function).lower(*args)


def kernels_and_runs(function, *args):
    program = lowered(function, *args).program
    runs = [s for s in nested(program.steps) if isinstance(s, Run)]
    return len(program.kernels), len(runs)


def steps(x, w):
    h = np.zeros_like(w[0])
    for row in x:
        h = np.tanh(row @ w + h)
    return h.sum()


def inputs(turns, size=8):
    x = RNG.normal(size=(turns, size)).astype(np.float32)
    return x, RNG.normal(size=(size, size)).astype(np.float32)


@pytest.mark.parametrize("function", [steps, tj.value_and_grad(steps, argnums=1)])
def test_a_loop_over_rows_needs_as_many_kernels_for_any_number_of_rows(function):
    few, _ = kernels_and_runs(function, *inputs(7))
    many, runs = kernels_and_runs(function, *inputs(15))
    assert few == many < runs


@pytest.mark.parametrize("order", ["C", "F"])
@pytest.mark.parametrize("backwards", [False, True])
def test_results_keep_their_bits(order, backwards):
    x, w = inputs(9)
    x = np.asarray(x, order=order)
    x = x[::-1] if backwards else x
    found = lowered(steps, x, w)
    assert any(b.storage is Storage.ALIAS for b in found.program.buffers)
    (expected,) = run_program(found.program, [x, w])
    np.testing.assert_allclose(tj.jit(steps)(x, w), expected, rtol=1e-6)
    parts = np.stack([np.ascontiguousarray(row) for row in x])
    assert tj.jit(steps)(x, w) == tj.jit(steps)(parts, w)


def test_parts_of_what_is_computed():
    def f(x, w):
        y = np.sort(x, axis=0)
        for i in range(5):
            w = np.sort(y[i, 2:6] * w)
        return w

    x, w = RNG.normal(size=(5, 9)), RNG.normal(size=4)
    assert kernels_and_runs(f, x, w) == (1, 5)
    np.testing.assert_array_equal(tj.jit(f)(x, w), f(x, w))


def test_a_kernel_like_no_other_stays_as_it_is():
    def f(x):
        return np.sort(x[3:5] * 2.0)

    program = lowered(f, np.arange(20.0).reshape(5, 4)).program
    assert with_moved_places(program) is program
    assert all(b.storage is not Storage.ALIAS for b in program.buffers)


def test_kernels_that_read_two_rows_at_other_distances_differ():
    def products(pairs):
        def f(x):
            y = x[0]
            for i, k in pairs:
                y = np.sort(x[i] * x[k] * y)
            return y

        return f

    x = RNG.normal(size=(6, 7))
    near, other = products([(0, 1), (1, 2), (4, 5)]), products([(0, 1), (0, 2), (0, 3)])
    assert kernels_and_runs(near, x) == (2, 3)  # the first reads a row less
    assert kernels_and_runs(other, x) == (3, 3)
    for f in (near, other):
        np.testing.assert_allclose(tj.jit(f)(x), f(x), rtol=1e-15)


def test_places_that_only_the_run_shows_stay():
    def f(x, i):
        return [np.sort(np.take(x, i + k, axis=0) * 2.0) for k in range(3)]

    x, i = RNG.normal(size=(8, 6)), np.array([1, 2])
    program = verify_program(lowered(f, x, i).program)
    for a, b in zip(tj.jit(f)(x, i), f(x, i), strict=True):
        np.testing.assert_array_equal(a, b)
    assert with_moved_places(program) is program
