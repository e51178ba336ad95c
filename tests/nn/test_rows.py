"""Softmax, log-softmax, logsumexp and one-hot rows."""

import ml_dtypes
import numpy as np
import pytest

import tracejit as tj
from tracejit import nn

from .test_activations import both_ways, slope

X = np.random.default_rng(0).normal(size=(3, 4, 5)) * 4
AXES = [-1, 0, (0, 2), (-1, -2), None]


def sums(x, axis):
    return np.exp(x).sum(axis=axis, keepdims=True)


DEFINITIONS = {
    "softmax": lambda x, axis: np.exp(x) / sums(x, axis),
    "log_softmax": lambda x, axis: x - np.log(sums(x, axis)),
    "logsumexp": lambda x, axis: np.log(np.exp(x).sum(axis=axis)),
}
names = pytest.mark.parametrize("name", DEFINITIONS)


@names
@pytest.mark.parametrize("axis", AXES, ids=str)
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_definition(name, axis, dtype):
    x = X.astype(dtype)
    got = both_ways(lambda x: getattr(nn, name)(x, axis), x, ulps=20)
    want = DEFINITIONS[name](x.astype(float), axis)
    assert got.dtype == dtype
    eps = np.finfo(dtype).eps
    np.testing.assert_allclose(got, want, rtol=60 * eps, atol=20 * eps)


@names
@pytest.mark.parametrize("axis", AXES[:3], ids=str)
def test_derivatives(name, axis):
    f = getattr(nn, name)
    tj.testing.check_grads(lambda x: f(x, axis), (X,), order=2, directions=1)
    each = tj.vmap(lambda x: f(x, -1))(X)
    np.testing.assert_allclose(each, f(X, -1), rtol=1e-13)


@names
@pytest.mark.parametrize("dtype", [np.float16, ml_dtypes.bfloat16])
def test_halves_are_rounded_once(name, dtype):
    f, x = getattr(nn, name), X.astype(dtype)
    for got in (f(x, -1), tj.jit(lambda x: f(x, -1))(x)):
        assert got.dtype == dtype
        once = f(x.astype(np.float32), -1).astype(dtype).astype(float)
        eps = float(ml_dtypes.finfo(dtype).eps)
        np.testing.assert_allclose(got.astype(float), once, rtol=eps)


@names
def test_one_kernel_and_one_for_its_gradient(name):
    def f(x):
        return getattr(nn, name)(x, -1)

    x = X.astype(np.float32)
    assert len(tj.jit(f).lower(x).kernels) == 1
    loss = tj.grad(lambda x: np.sum(np.sin(f(x))))
    assert len(tj.jit(loss).lower(x).kernels) == 1


@names
def test_large_numbers(name):
    x = np.array([[1e4, -1e4, 0.0], [-1e30, -1e30, -1e30], [0, -np.inf, 0]])
    want = {
        "softmax": [[1, 0, 0], [1 / 3] * 3, [0.5, 0, 0.5]],
        "log_softmax": [
            [0, -2e4, -1e4],
            [-np.log(3)] * 3,
            [-np.log(2), -np.inf, -np.log(2)],
        ],
        "logsumexp": [1e4, -1e30, np.log(2)],
    }[name]
    np.testing.assert_allclose(
        both_ways(lambda x: getattr(nn, name)(x, -1), x), want, rtol=1e-15
    )


def test_logsumexp_of_nothing():
    x = np.array([[-np.inf, -np.inf], [0.0, -np.inf], [np.inf, 0.0]])
    f = both_ways(lambda x: nn.logsumexp(x, axis=1), x)
    assert f.tolist() == [-np.inf, 0, np.inf]
    rows = x[:2]
    gradient = tj.grad(lambda x: np.sum(np.exp(nn.logsumexp(x, axis=1))))
    for g in (gradient, tj.jit(gradient)):
        assert g(rows).tolist() == [[0, 0], [1, 0]]
    got = nn.logsumexp(X, axis=(0, 2), keepdims=True)
    assert got.shape == (1, 4, 1)
    with np.errstate(divide="ignore"):
        assert nn.logsumexp(np.zeros((2, 0)), axis=1).tolist() == [-np.inf] * 2
    assert tj.jit(lambda x: nn.logsumexp(x, 1))(np.zeros((2, 0))).shape == (2,)


def test_softmax_ties_have_the_derivative_of_the_formula():
    x = np.zeros(3)
    got = slope(lambda x: nn.softmax(x) * np.array([1.0, 0, 0]), x)
    np.testing.assert_allclose(got, [2 / 9, -1 / 9, -1 / 9], rtol=1e-14)


def test_repeated_axes_are_refused():
    with pytest.raises(ValueError, match="repeated axis"):
        nn.softmax(X, (0, 0))
    with pytest.raises(np.exceptions.AxisError):
        nn.log_softmax(X, 3)


@pytest.mark.parametrize("axis", [-1, 0, 1])
def test_one_hot(axis):
    labels = np.array([[0, 3], [5, -1]])
    want = np.zeros((2, 2, 4), np.float32)
    want[0, 0, 0] = want[0, 1, 3] = 1
    want = np.moveaxis(want, -1, axis)

    def f(labels):
        return nn.one_hot(labels, 4, np.float32, axis=axis)

    for got in (f(labels), tj.jit(f)(labels), tj.vmap(f)(labels)[:0]):
        assert got.dtype == np.float32
        if got.size:
            assert np.array_equal(got, want)
    assert len(tj.jit(f).lower(labels).kernels) == 1
    assert nn.one_hot(2, 3).tolist() == [0, 0, 1]
