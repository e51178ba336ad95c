"""Numbers are made where they are used: one kernel, and no array of them."""

import numpy as np
import pytest

import tracejit as tj
from tracejit.codegen.triton.emit import emit_kernel
from tracejit.codegen.triton.limits import TRITON
from tracejit.program.program import Run, Storage, nested

KEY = tj.random.key(3)
X = np.linspace(-1, 1, 6400, dtype=np.float32).reshape(64, 100)
R = tj.random


def dropout(x, key):
    return x * R.bernoulli(key, 0.9, x.shape) / np.float32(0.9)


def softmax(x):
    e = np.exp(x - x.max(-1, keepdims=True))
    return e / e.sum(-1, keepdims=True)


ONE_KERNEL = {
    "dropout": (dropout, (X, KEY)),
    "dropout_gradient": (
        tj.grad(lambda x, key: np.sum(dropout(x, key) ** 2)),
        (X, KEY),
    ),
    "uniform": (lambda key: R.uniform(key, (64, 100), np.float32), (KEY,)),
    "normal": (lambda key: R.normal(key, (64, 100), np.float32), (KEY,)),
    "normal64": (lambda key: R.normal(key, (64, 100)), (KEY,)),
    "noise": (lambda x, key: x + 0.1 * R.normal(key, x.shape, x.dtype), (X, KEY)),
    "mean": (lambda key: np.exp(R.normal(key, (64, 100), np.float32)).mean(), (KEY,)),
    "categorical": (lambda x, key: R.categorical(key, x), (X, KEY)),
    "gumbel_softmax": (
        lambda x, key: softmax(x + R.gumbel(key, x.shape, x.dtype)),
        (X, KEY),
    ),
    "randint": (lambda key: R.randint(key, (1000,), 0, 10), (KEY,)),
    "many_keys": (tj.vmap(dropout), (X, R.split(KEY, 64))),
}


@pytest.mark.parametrize("name", ONE_KERNEL)
def test_one_kernel_that_stores_no_numbers(name):
    fn, args = ONE_KERNEL[name]
    lowered = tj.jit(fn).lower(*args)
    assert len(lowered.kernels) == len(lowered.program.steps) == 1
    stored = [b for b in lowered.program.buffers if b.storage is Storage.ARENA]
    assert stored == []


@pytest.mark.parametrize("name", sorted(ONE_KERNEL.keys() - {"mean"}))
def test_one_triton_kernel(name):
    fn, args = ONE_KERNEL[name]
    steps = tj.jit(fn).trace(*args).lower(TRITON).program.steps
    (run,) = [step for step in nested(steps) if isinstance(step, Run)]
    assert len(emit_kernel(run.kernel, run.schedule).codes) == 1


def test_a_loop_of_draws_is_native():
    def total(key):
        def step(carry, i):
            x = R.normal(R.fold_in(key, i), (8,))
            return carry + x, None

        return tj.scan(step, np.zeros(8), np.arange(100))[0]

    want = sum(R.normal(R.fold_in(KEY, i), (8,)) for i in range(100))
    np.testing.assert_allclose(tj.jit(total)(KEY), want, rtol=1e-12)
