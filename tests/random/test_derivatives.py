"""Derivatives with respect to parameters: by reparametrisation, and implicit ones."""

import numpy as np
import pytest
from scipy import special

import tracejit as tj
from tracejit.random.continuous import normal_quantile, tail
from tracejit.random.discrete import log_factorial
from tracejit.random.gamma_family import digamma, gamma_slope
from tracejit.testing import check_grads

KEY = tj.random.key(3)
R = tj.random


def test_uniform_bounds():
    u = R.uniform(KEY, (50,))
    low, high = tj.grad(
        lambda a, b: R.uniform(KEY, (50,), np.float64, a, b).sum(), argnums=(0, 1)
    )(-1.0, 2.0)
    np.testing.assert_allclose([low, high], [np.sum(1 - u), np.sum(u)])


def test_scale_and_shift_of_noise():
    z = R.normal(KEY, (50,))

    def loss(mean, scale):
        return np.sum((mean + scale * R.normal(KEY, (50,))) ** 2)

    for grad in (tj.grad, lambda f, argnums: tj.jit(tj.grad(f, argnums))):
        mean, scale = grad(loss, (0, 1))(0.5, 2.0)
        x = 0.5 + 2 * z
        np.testing.assert_allclose([mean, scale], [2 * x.sum(), 2 * (x * z).sum()])


def test_truncated_normal_bounds():
    def draw(a, b):
        return R.truncated_normal(KEY, a, b, (20,))

    check_grads(draw, (np.float64(-1.0), np.float64(2.0)), order=1)
    check_grads(draw, (np.float64(3.0), np.float64(4.0)), order=1)


@pytest.mark.parametrize("a", [1.0, 1.3, 4.0, 60.0, 1e3])
def test_slope_of_gamma_numbers(a):
    """Beside differences of the inverse of SciPy's distribution function."""
    p = np.array([1e-6, 0.01, 0.2, 0.5, 0.8, 0.99, 1 - 1e-6])
    h = 1e-4 * a
    weights = {-2: 1 / 12, -1: -8 / 12, 1: 8 / 12, 2: -1 / 12}
    want = sum(w * special.gammaincinv(a + k * h, p) / h for k, w in weights.items())
    x = special.gammaincinv(a, p)
    np.testing.assert_allclose(gamma_slope(x, np.full_like(x, a)), want, rtol=2e-8)


@pytest.mark.parametrize("a", [0.2, 0.9, 1.0, 3.0, 50.0])
def test_gamma(a):
    """E[x] = a and E[log x] = ψ(a), for which derivatives hold, too."""
    n = 40_000

    def moments(a):
        x = R.gamma(KEY, a, n)
        return np.array([np.mean(x), np.mean(np.log(x + 1))])

    x = R.gamma(KEY, a, n)
    slope, of_log = tj.jit(tj.jacfwd(moments))(a)
    assert slope == pytest.approx(1, abs=6 / np.sqrt(n) * max(1, 1 / a))
    # d/da E[f(x)] = E[f(x) (log x - ψ(a))], the other estimate
    score = np.log(x + 1) * (np.log(x) - special.digamma(a))
    assert of_log == pytest.approx(score.mean(), abs=6 * score.std() / np.sqrt(n))


def test_gamma_in_reverse_mode():
    a = np.array([0.5, 2.0, 30.0])
    forward = tj.jacfwd(lambda a: R.gamma(KEY, a))(a)
    backward = tj.jacrev(lambda a: R.gamma(KEY, a))(a)
    np.testing.assert_allclose(forward, backward)
    np.testing.assert_array_equal(forward, np.diag(np.diag(forward)))
    single = tj.grad(lambda a: R.gamma(KEY, a, dtype=np.float32).sum())(
        a.astype(np.float32)
    )
    assert single.dtype == np.float32


def test_beta_and_dirichlet():
    """Means are a / (a + b); their derivative is the mean of the derivatives."""
    n = 40_000
    slope = tj.jit(tj.grad(lambda a: R.beta(KEY, a, 3.0, n).mean()))(2.0)
    assert slope == pytest.approx(3 / 25, abs=3e-3)
    alpha = np.array([1.0, 2.0, 3.0])
    jacobian = tj.jit(tj.jacfwd(lambda a: R.dirichlet(KEY, a, n).mean(0)))(alpha)
    want = (np.eye(3) * 6 - alpha[:, None]) / 36
    np.testing.assert_allclose(jacobian, want, atol=3e-3)
    np.testing.assert_allclose(jacobian.sum(0), 0, atol=1e-12)


def test_multivariate_normal():
    def draw(mean, root):
        return R.multivariate_normal(KEY, mean, root @ root.T + np.eye(2), (3,))

    root = np.array([[1.0, 0.2], [0.3, 0.9]])
    check_grads(draw, (np.array([0.1, 0.2]), root), order=1)


def test_what_is_discrete_has_no_derivative():
    def loss(x):
        keep = R.bernoulli(KEY, 0.5, x.shape)
        return np.sum(np.where(keep, x * x, 0.0))

    x = np.linspace(-1, 1, 30)
    keep = R.bernoulli(KEY, 0.5, x.shape)
    np.testing.assert_allclose(tj.grad(loss)(x), np.where(keep, 2 * x, 0))
    assert tj.grad(lambda p: np.sum(R.bernoulli(KEY, p, (9,)) * 2.0))(0.3) == 0
    with pytest.raises(tj.errors.DTypeError, match="integers"):
        tj.grad(lambda k: R.normal(k))(KEY)


def test_special_functions():
    p = np.array([1e-300, 1e-20, 1e-3, 0.2, 0.4999, 0.5])
    np.testing.assert_allclose(
        normal_quantile(p), -special.ndtri(p), rtol=1e-13, atol=1e-15
    )
    x = np.array([-3.0, 0.0, 2.0, 10.0, 30.0])
    # An argument rounded in its last bit changes the tail by x² times that.
    np.testing.assert_allclose(tail(x) / special.ndtr(-x), 1, atol=5e-14)
    a = np.array([1.0, 1.5, 2.0, 10.0, 1e5])
    np.testing.assert_allclose(digamma(a), special.digamma(a), rtol=1e-13)
    k = np.array([0.0, 1.0, 2.0, 5.0, 20.0, 1e6])
    np.testing.assert_allclose(
        log_factorial(k), special.gammaln(k + 1), rtol=1e-13, atol=1e-10
    )
