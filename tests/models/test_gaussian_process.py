"""Gaussian process regression: marginal likelihood by Cholesky, and its Hessian.

Rasmussen and Williams, 2006, algorithm 2.1.
"""

import numpy as np
import pytest

import tracejit as tj

from .checks import assert_close, check_compiled, check_model, compare_with_jax


def covariance(theta, x):
    """Squared exponential with a length per column, and noise; theta is logarithms."""
    scaled = x / np.exp(theta["length"])
    gap = np.sum((scaled[:, None, :] - scaled[None, :, :]) ** 2, axis=-1)
    noise = np.exp(2 * theta["noise"]) * np.eye(len(x))
    return np.exp(2 * theta["height"] - 0.5 * gap) + noise


def negative_log_likelihood(theta, x, y):
    low = np.linalg.cholesky(covariance(theta, x))
    alpha = np.linalg.solve(low.T, np.linalg.solve(low, y))
    log_det = np.sum(np.log(np.diagonal(low)))
    return 0.5 * y @ alpha + log_det + 0.5 * len(y) * np.log(2 * np.pi)


def of_vector(vector, x, y):
    theta = {"height": vector[0], "noise": vector[1], "length": vector[2:]}
    return negative_log_likelihood(theta, x, y)


def hessian(vector, x, y):
    return tj.hessian(of_vector)(vector, x, y)


def with_prior(vector, x, y):
    return of_vector(vector, x, y) + 0.5 * np.sum(vector**2)


def fit(vector, x, y):
    """Take damped Newton steps to the most probable parameters."""

    def turn(_, v):
        slope, bend = tj.grad(with_prior)(v, x, y), tj.hessian(with_prior)(v, x, y)
        values, axes = np.linalg.eigh(bend)
        step = axes @ ((axes.T @ slope) / np.maximum(np.abs(values), 1.0))
        return v - step

    return tj.fori_loop(0, 25, turn, vector)


def data(n=14):
    rng = np.random.default_rng(0)
    x = rng.uniform(-2, 2, size=(n, 2))
    y = np.sin(2 * x[:, 0]) + 0.2 * x[:, 1] + 0.3 * rng.normal(size=n)
    return x, y


def arguments():
    theta = {"height": 0.1, "noise": -1.0, "length": np.array([0.2, 0.9])}
    return theta, *data()


VECTOR = np.array([0.1, -1.0, 0.2, 0.9])


def test_marginal_likelihood():
    check_model(negative_log_likelihood, arguments())


def test_second_derivatives_by_differences():
    check_model(negative_log_likelihood, arguments(), order=2)


def test_hessian():
    """All second derivatives, compiled, beside differences of compiled gradients."""
    x, y = data()
    got = check_compiled(hessian, (VECTOR, x, y))
    assert_close(got, got.T)
    slope = tj.jit(tj.grad(of_vector))
    for i, unit in enumerate(np.eye(4)):
        up, down = slope(VECTOR + 1e-5 * unit, x, y), slope(VECTOR - 1e-5 * unit, x, y)
        np.testing.assert_allclose(got[i], (up - down) / 2e-5, rtol=1e-6, atol=1e-6)


def test_fit():
    """At the optimum the slope vanishes and the Hessian is positive."""
    x, y = data()
    best = check_compiled(fit, (VECTOR, x, y), rtol=1e-6)
    assert np.max(np.abs(tj.grad(with_prior)(best, x, y))) < 1e-6
    assert np.all(np.linalg.eigvalsh(tj.hessian(with_prior)(best, x, y)) > 0)


@pytest.mark.slow
def test_beside_jax():
    compare_with_jax(negative_log_likelihood, arguments())
    compare_with_jax(hessian, (VECTOR, *data()), gradient=False)
