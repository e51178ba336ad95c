"""How many kernels plain NumPy source becomes: what fusion is for."""

import numpy as np
import pytest

import tracejit as tj

X = np.linspace(0.1, 2.0, 12, dtype=np.float32).reshape(3, 4)


def softmax(x):
    e = np.exp(x - x.max(axis=1, keepdims=True))
    return e / e.sum(axis=1, keepdims=True)


def layer_norm(x):
    centred = x - x.mean(axis=-1, keepdims=True)
    return centred / np.sqrt((centred**2).mean(axis=-1, keepdims=True) + 1e-5)


def log_sum_exp(x):
    top = x.max()
    return np.log(np.exp(x - top).sum()) + top


def gelu(x):
    return 0.5 * x * (1 + np.tanh(0.79788456 * (x + 0.044715 * x * x * x)))


def heat(u):
    u[1:-1] += 0.1 * (u[2:] + u[:-2] - 2 * u[1:-1])


def moments(x):
    return x.mean(axis=1), x.std(axis=1), x.max(axis=1)


def adam(p, g, m, v, t):
    m = 0.9 * m + 0.1 * g
    v = 0.999 * v + 0.001 * g * g
    step = 0.01 * (m / (1 - 0.9**t)) / (np.sqrt(v / (1 - 0.999**t)) + 1e-8)
    return p - step, m, v


COUNTS = [
    (softmax, (X,), 1),
    (layer_norm, (X,), 1),
    (log_sum_exp, (X,), 1),
    (gelu, (X,), 1),
    (heat, (X.copy(),), 1),
    (moments, (X,), 1),
    (adam, (X, X, X, X, 3.0), 1),
    (lambda x: x.sum(axis=0), (X,), 1),
    (lambda x: (x * x).sum(), (X,), 1),
    (lambda x: x.T + 1, (X,), 1),
    (lambda x: np.concatenate([x, 2 * x]) + 1, (X,), 1),
    (lambda x: gelu(x @ x.T), (X,), 1),
    (lambda x: softmax(x @ x.T), (X,), 1),
    (lambda x: ((x @ x.T - 1) ** 2).mean(), (X,), 1),
    (lambda x, g: ((x * g).sum(axis=0), g.sum(axis=0)), (X, X), 1),
]


@pytest.mark.parametrize(("fn", "args", "count"), COUNTS)
def test_kernel_count(fn, args, count):
    assert len(tj.jit(fn).lower(*args).kernels) == count


def test_second_kernel_only_where_the_first_must_be_done():
    """A reduction of everything must end before what it scales begins again."""
    lowered = tj.jit(lambda x: (x / x.sum()).sum(axis=0)).lower(X)
    assert len(lowered.kernels) == 2
