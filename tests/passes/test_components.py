"""Arrays of short vectors, a component at a time: the same values, in fewer kernels."""

import numpy as np
import pytest

import tracejit as tj
from tracejit.codegen.triton.limits import TRITON
from tracejit.program.program import Run

RNG = np.random.default_rng(0)
N = 70


def pull(position, mass):
    """Forces between bodies."""
    away = position[None, :, :] - position[:, None, :]
    square = (away * away).sum(-1) + 0.05
    return (away * (mass / (square * square**0.5))[:, :, None]).sum(1)


def other_way(position, mass):
    away = position[:, None, :] - position[None, :, :]
    return (away * mass[:, None, None]).sum(0), np.abs(away).max((1, 2))


def extrema(position, mass):
    away = position[None] * mass[:, None, None] + 1
    factors = np.minimum(np.abs(away), 1)
    return away.max(0), away.min(1), factors.prod(1), away.sum((0, 2)), away.sum()


def choices(position, mass):
    near = position[None] < position[:, None]
    return near.any(1), near.all(0), np.where(near, position, 2.0).sum(0)


def scaled(position, mass):
    """A vector of weights, and a row of numbers a body."""
    weights = np.array([1.0, 2.0, 4.0], position.dtype)
    return ((position[:, None] * weights - mass[None, :, None]) ** 2).sum(1)


def both(position, mass):
    away = position[None, :, :] - position[:, None, :]
    return away.sum(0), away.sum(1)


def no_sign(position, mass):
    """Sums of -0.0 along vectors are 0.0."""
    zeros = -np.abs(position * 0.0)
    each = np.minimum(zeros[None], zeros[:, None])
    return np.copysign(1, each.sum(-1)), each.sum(1), each.max(1)


def turns(position, mass):
    def step(k, position):
        return position + 0.01 * pull(position, mass)

    return tj.fori_loop(0, 4, step, position)


PROGRAMS = (pull, other_way, extrema, choices, scaled, both, no_sign, turns)


def arguments(dtype, components=3):
    place = RNG.normal(size=(N, components)).astype(dtype)
    return place, RNG.uniform(0.5, 2, N).astype(dtype)


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("fn", PROGRAMS)
def test_values_are_numpys(fn, dtype):
    args = arguments(dtype)
    with np.errstate(over="ignore"):
        check(fn, args, 1e-12 if dtype is np.float64 else 2e-5)


@pytest.mark.parametrize("fn", [other_way, extrema, choices, both])
def test_integers_are_exact(fn):
    check(fn, tuple(np.round(4 * a).astype(np.int64) for a in arguments(float)), 0.0)


def check(fn, args, tolerance):
    """Compare with NumPy. Sums that cancel err by what their terms are."""
    expected, found = fn(*args), tj.jit(fn)(*args)
    if not isinstance(expected, tuple):
        expected, found = (expected,), (found,)
    for x, y in zip(expected, found, strict=True):
        assert x.dtype == y.dtype
        np.testing.assert_allclose(x, y, tolerance, 20 * N * tolerance)


@pytest.mark.parametrize("components", [2, 3, 4])
def test_pairs_are_never_stored(components):
    lowered = tj.jit(pull).lower(*arguments(np.float32, components))
    assert len(lowered.kernels) == 2  # the sums; the components together again
    assert max(int(np.prod(b.shape)) for b in lowered.program.buffers) <= N * components


def test_one_kernel_reads_rows_of_components():
    """Each load runs along one of the loops, element by element."""
    kernel = tj.jit(pull).lower(*arguments(np.float32)).kernels[0]
    assert [a.extent for a in kernel.axes] == [N, N]
    assert kernel.inputs[0].shape == (3 * N,)


def test_vectors_of_lanes_stay():
    lowered = tj.jit(pull).lower(*arguments(np.float32, 8))
    assert any(a.extent == 8 for k in lowered.kernels[:-1] for a in k.axes)


def test_gradient():
    """The gradient of an energy has components too, and NumPy's differences."""

    def energy(position, mass):
        away = position[None, :, :] - position[:, None, :]
        return (mass / np.sqrt((away * away).sum(-1) + 0.05)).sum()

    args = arguments(np.float64)
    slope = tj.jit(tj.grad(energy))(*args)
    step = RNG.normal(size=args[0].shape)
    ends = [energy(args[0] + h * step, args[1]) for h in (1e-5, -1e-5)]
    np.testing.assert_allclose((slope * step).sum(), (ends[0] - ends[1]) / 2e-5, 1e-6)


def test_threads_give_the_same_bits():
    args = arguments(np.float32)
    found = []
    for threads in (1, 2):
        with tj.config.override(threads=threads, share_from=1):
            found.append(tj.jit(pull)(*args))
    assert found[0].tobytes() == found[1].tobytes()


def test_triton():
    """The same kernels are Triton's."""
    lowered = tj.jit(pull).trace(*arguments(np.float32)).lower(TRITON)
    assert len([s for s in lowered.program.steps if isinstance(s, Run)]) == 2
