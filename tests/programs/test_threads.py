"""Whole programs have the same bits on one, two and three threads."""

import numpy as np
import pytest

import tracejit as tj
from tests.sampling import sampled
from tracejit.codegen.llvm.target import host_target
from tracejit.runtime.cpu import threads

from .registry import PROGRAMS

EVERY = 6
SAMPLE = [
    (program, np.dtype((np.float32, np.float64)[k // EVERY % 2]))
    for k, program in enumerate(PROGRAMS.values())
    if k % EVERY == 0
]


def bits(result: object) -> object:
    """The bytes of every leaf of a result."""
    if isinstance(result, dict):
        return {key: bits(value) for key, value in result.items()}
    if isinstance(result, list | tuple):
        return [bits(value) for value in result]
    return result if result is None else np.asarray(result).tobytes()


@pytest.mark.parametrize(
    ("program", "dtype"), SAMPLE, ids=[f"{p.name}-{d.char}" for p, d in SAMPLE]
)
def test_bits_do_not_depend_on_threads(program, dtype):
    found = []
    for count in (1, 2, 3):
        call = program.fresh_args(dtype)
        with tj.config.override(threads=count, share_from=0):
            compiled = tj.jit(program.fn, static_argnames=program.static_argnames)
            result = compiled(*call.args, **call.kwargs)
        found.append((bits(result), bits(list(call.args))))
    assert found[0] == found[1] == found[2]


CASES = {
    "softmax of rows": lambda x: (
        (e := np.exp(x - x.max(1)[:, None])) / e.sum(1)[:, None]
    ),
    "layer norm": lambda x: (x - x.mean(1)[:, None]) / np.sqrt(x.var(1)[:, None] + 1),
    "column sums": lambda x: (x * 2).sum(axis=0),
    "column extrema": lambda x: (x.max(axis=0), x.argmin(axis=0)),
    "whole": lambda x: (x.sum(), x.mean(), x.max(), x.std(), x.argmax()),
    "standardised": lambda x: (x - x.mean()) / x.std(),
    "transposed": lambda x: x.T + 1,
    "strided": lambda x: np.tanh(x[::2, 1::3]),
    "products": lambda x: (x @ x.T, x.T @ x[:, :3], x @ x[0]),
    "picked": lambda x: x.ravel()[(np.abs(x) * 9).astype(int)],
}


@pytest.mark.parametrize("shape", [(300, 431), (3, 20_001), (5000, 130)])
@pytest.mark.parametrize("name", sampled(CASES, 3))
def test_shared_kernels_run_many_times_with_the_same_bits(name, shape):
    pool = threads.pool(host_target())
    x = np.random.default_rng(0).normal(size=shape).astype(np.float32)
    compiled = tj.jit(CASES[name])
    with tj.config.override(threads=1):
        wanted = bits(compiled(x))
    for count in (2, 3):
        with tj.config.override(threads=count, share_from=0):
            before = pool.jobs
            for _ in range(10):
                assert bits(compiled(x)) == wanted
            assert pool.jobs > before


def conv(x, w, **how):
    return tj.nn.conv(x, w, padding=1, **how)


CONVOLUTIONS = {
    "images": (conv, (7, 8, 12, 13), (9, 8, 3, 3)),
    "groups": (lambda x, w: conv(x, w, groups=4), (3, 8, 9, 9), (8, 2, 3, 3)),
    "gradient": (
        tj.grad(lambda x, w: np.sum(conv(x, w, stride=2) ** 2), argnums=(0, 1)),
        (5, 6, 10, 11),
        (4, 6, 3, 3),
    ),
}


@pytest.mark.parametrize("name", CONVOLUTIONS)
def test_shared_convolutions_have_the_same_bits(name):
    fn, *shapes = CONVOLUTIONS[name]
    rng = np.random.default_rng(0)
    args = [rng.normal(size=shape).astype(np.float32) for shape in shapes]
    pool = threads.pool(host_target())
    with tj.config.override(threads=1):
        wanted = bits(tj.jit(fn)(*args))
    for count in (2, 3):
        with tj.config.override(threads=count, share_from=0):
            before = pool.jobs
            assert bits(tj.jit(fn)(*args)) == wanted
            assert pool.jobs > before
