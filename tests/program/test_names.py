"""Names of kernels: what they hold, the same for equal ones."""

import numpy as np
import pytest

import tracejit as tj

X = np.ones((20, 30), np.float32)
W = np.ones((30, 30), np.float32)


def softmax(x):
    e = np.exp(x - x.max(axis=-1, keepdims=True))
    return e / e.sum(axis=-1, keepdims=True)


def names(function, *args):
    def f(*xs):
        return function(*xs)

    return [k.name for k in tj.jit(f).lower(*args).kernels]


@pytest.mark.parametrize(
    ("function", "args", "name"),
    [
        (softmax, (X,), "f_k0_max_exp_sum"),
        (lambda x, w: np.tanh(x @ w + 1), (X, W), "f_k0_matmul_tanh"),
        (lambda x, w: softmax(x @ w) @ w, (X, W), "f_k0_matmul_max_exp"),
        (lambda x: np.maximum(x, 0) + abs(x), (X,), "f_k0_maximum_abs"),
        (lambda x: np.all(x > 0, axis=1), (X,), "f_k0_all"),
        (lambda x: np.pad(x, 1), (X,), "f_k0_select"),
        (lambda x: x > 1, (X,), "f_k0_gt"),
        (lambda x: x[np.array([1, 2])], (X,), "f_k0_copy"),
    ],
)
def test_names_say_what_kernels_hold(function, args, name):
    assert names(function, *args) == [name]


def test_equal_kernels_are_shared_as_ever():
    def layers(x, w):
        for _ in range(4):
            x = np.sort(np.tanh(x * w), axis=0)
        return x

    first, *others = names(layers, W, W)
    assert first == "f_k0_tanh"
    assert len(others) <= 1
