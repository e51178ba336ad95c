"""Activations: definitions in float64, ends, corners, dtypes, orders, one kernel."""

import ml_dtypes
import numpy as np
import pytest

import tracejit as tj
from tracejit import nn
from tracejit.errors import ShapeError

from .functions import CORNERS, DEFINITIONS, FAR, function

X = np.concatenate([np.linspace(-7.97, 8.03, 41), [-1.5, -0.25, 0.3]])
ends = pytest.mark.parametrize("dtype", [np.float32, np.float64])
names = pytest.mark.parametrize("name", DEFINITIONS)


def slope(f, x):
    return tj.grad(lambda x: np.sum(f(x)))(x)


def both_ways(f, *args, ulps=0):
    """The result in NumPy, and compiled: the same to 8 units in the last place, and
    to `ulps` of 1.
    """
    eager, jitted = f(*args), tj.jit(f)(*args)
    assert jitted.dtype == eager.dtype
    assert jitted.shape == eager.shape
    eps = ml_dtypes.finfo(eager.dtype).eps
    wide = (v.astype(np.float64) for v in (jitted, eager))
    np.testing.assert_allclose(
        *wide, rtol=8 * float(eps), atol=ulps * float(eps) + 1e-38
    )
    return eager


@names
@ends
def test_definition(name, dtype):
    x = X.astype(dtype)
    got = both_ways(function(name), x)
    assert got.dtype == dtype
    want = DEFINITIONS[name](x.astype(np.float64))
    eps = np.finfo(dtype).eps
    np.testing.assert_allclose(got, want, rtol=20 * eps, atol=4 * eps)


@names
@pytest.mark.parametrize("dtype", [np.float16, ml_dtypes.bfloat16])
def test_halves_are_rounded_once(name, dtype):
    x = X.astype(dtype)
    got = both_ways(function(name), x)
    assert got.dtype == dtype
    once = function(name)(x.astype(np.float32)).astype(dtype)
    assert np.array_equal(got, once)


@names
@ends
def test_ends(name, dtype):
    f = function(name)
    for x, (value, derivative) in zip((-1000, 1000), FAR[name], strict=True):
        at = np.array([x], dtype)
        np.testing.assert_allclose(both_ways(f, at), value, rtol=1e-6)
        for g in (slope, tj.jit(lambda x: slope(f, x))):
            got = g(f, at) if g is slope else g(at)
            np.testing.assert_allclose(got, derivative, atol=np.finfo(dtype).eps)
    far = np.array([-1e30, -100, 100, 1e30], dtype)
    once = slope(f, far)
    twice = slope(lambda x: slope(f, x), far)
    assert np.isfinite(f(far)).all()
    assert np.isfinite(once).all()
    assert np.isfinite(twice).all()


@pytest.mark.parametrize("name", CORNERS)
def test_corners(name):
    at = np.array(list(CORNERS[name]), float)
    want = list(CORNERS[name].values())
    got = slope(function(name), at), tj.jit(lambda x: slope(function(name), x))(at)
    np.testing.assert_allclose(got[0], want, rtol=1e-14)
    np.testing.assert_allclose(got[1], want, rtol=1e-14)


@names
def test_derivatives_of_any_order(name):
    x = np.array([-4.2, -1.3, -0.4, 0.7, 2.2, 7.1])
    tj.testing.check_grads(function(name), (x,), order=3, directions=1, rtol=2e-5)


@names
def test_batches_and_nan(name):
    f = function(name)
    rows = X.reshape(4, 11).astype(np.float32)
    np.testing.assert_allclose(tj.vmap(f)(rows), f(rows), rtol=1e-6, atol=1e-30)
    np.testing.assert_allclose(
        tj.jit(tj.vmap(f))(rows), tj.jit(f)(rows), rtol=1e-6, atol=1e-30
    )
    with np.errstate(invalid="ignore"):  # np.logaddexp warns of NaN
        assert np.isnan(both_ways(f, np.array([np.nan]))).all()


@names
def test_one_kernel_and_one_for_its_gradient(name):
    f, x = function(name), X.astype(np.float32)
    assert len(tj.jit(f).lower(x).kernels) == 1
    assert len(tj.jit(lambda x: slope(f, x)).lower(x).kernels) == 1


@names
def test_numbers_and_integers(name):
    f = function(name)
    assert f(2.0).dtype == np.float64
    assert tj.jit(f)(2.0).dtype == np.float64
    whole = f(np.array([-2, 0, 3], np.int32))
    assert whole.dtype == (np.int32 if name in ("relu", "relu6") else np.float64)
    assert tj.jit(f)(np.array([-2, 0, 3], np.int32)).dtype == whole.dtype
    np.testing.assert_allclose(whole, f(np.array([-2.0, 0, 3])), atol=1e-15)


def test_arguments():
    x = np.linspace(-3, 3, 13)
    below = np.minimum(x, 0)
    np.testing.assert_allclose(nn.leaky_relu(x, 0.3), np.where(x > 0, x, 0.3 * x))
    np.testing.assert_allclose(nn.elu(x, 0.5), np.where(x > 0, x, np.expm1(below) / 2))
    np.testing.assert_allclose(
        nn.celu(x, 0.5), np.where(x > 0, x, np.expm1(below / 0.5) * 0.5)
    )
    cubic = np.sqrt(2 / np.pi) * (x + 0.044715 * x**3)
    got = both_ways(lambda x: nn.gelu(x, "tanh"), x)
    np.testing.assert_allclose(got, 0.5 * x * (1 + np.tanh(cubic)), atol=1e-15)
    far = np.array([-1e30, 1e30], np.float32)
    assert slope(lambda x: nn.gelu(x, approximate="tanh"), far).tolist() == [0, 1]
    assert nn.swish is nn.silu
    assert nn.hard_swish is nn.hard_silu


def test_exact_gelu_is_precise_in_its_tail():
    x = np.array([-10.0, -20.0])
    series = 1 - 1 / x**2 + 3 / x**4 - 15 / x**6
    want = -np.exp(-x * x / 2) / np.sqrt(2 * np.pi) * series
    np.testing.assert_allclose(both_ways(nn.gelu, x), want, rtol=2e-6)


@pytest.mark.parametrize("axis", [-1, 0])
def test_glu(axis):
    x = np.random.default_rng(0).normal(size=(4, 6))
    a, b = np.split(x, 2, axis)
    got = both_ways(lambda x: nn.glu(x, axis), x)
    np.testing.assert_allclose(got, a / (1 + np.exp(-b)), rtol=1e-14)
    assert len(tj.jit(lambda x: nn.glu(x, axis)).lower(x).kernels) == 1
    tj.testing.check_grads(lambda x: nn.glu(x, axis), (x,), directions=1)


def test_mistakes():
    with pytest.raises(ShapeError, match=r"axis -1 of x .* has no two halves"):
        nn.glu(np.ones((2, 3)))
    with pytest.raises(np.exceptions.AxisError):
        tj.jit(lambda x: nn.glu(x, 2))(np.ones((2, 4)))
    with pytest.raises(tj.errors.ArgumentError, match="approximate is 'exact'"):
        nn.gelu(np.ones(2), "exact")


def test_captured_arrays_are_captured():
    weights = np.ones(3)

    @tj.jit
    def f(x):
        return x + nn.relu(weights)

    assert f(np.zeros(3)).tolist() == [1, 1, 1]
    weights[1] = 5
    assert f(np.zeros(3)).tolist() == [1, 5, 1]
