"""Optimisers over nested parameters, new and in place, and minimisation loops."""

from typing import NamedTuple

import numpy as np

from .program import Program, arguments, normal, uniform


def tree_map(fn, tree, *rest):
    if isinstance(tree, dict):
        return {k: tree_map(fn, tree[k], *(r[k] for r in rest)) for k in tree}
    if isinstance(tree, list):
        return [tree_map(fn, *leaves) for leaves in zip(tree, *rest, strict=True)]
    return fn(tree, *rest)


def adam(params, grads, m, v, step, lr=1e-2, b1=0.9, b2=0.999, eps=1e-8):
    """Adam over a nested dict; everything returned is new."""
    m = tree_map(lambda m, g: b1 * m + (1 - b1) * g, m, grads)
    v = tree_map(lambda v, g: b2 * v + (1 - b2) * g * g, v, grads)
    m_scale = 1 / (1 - b1**step)
    v_scale = 1 / (1 - b2**step)

    def update(p, m, v):
        return p - lr * (m * m_scale) / (np.sqrt(v * v_scale) + eps)

    return tree_map(update, params, m, v), m, v, step + 1


def nested_params(rng, dtype):
    return {
        "layers": [
            {"w": normal(rng, dtype, 4, 6), "b": normal(rng, dtype, 6)},
            {"w": normal(rng, dtype, 6, 3), "b": normal(rng, dtype, 3)},
        ],
        "scale": normal(rng, dtype),
    }


def adam_args(rng, dtype):
    params, grads, m = (nested_params(rng, dtype) for _ in range(3))
    # As after some steps: `v` no smaller than the square of `m`.
    v = tree_map(lambda a: a * a + dtype.type(0.1), m)
    return arguments(params, grads, m, v, 3)


def adam_in_place(params, grads, m, v, step, lr=1e-2, b1=0.9, b2=0.999):
    """Adam over flat lists; every update is written where the values live."""
    for p, g, mi, vi in zip(params, grads, m, v, strict=True):
        mi *= b1
        mi += (1 - b1) * g
        np.multiply(vi, b2, out=vi)
        np.add(vi, (1 - b2) * np.square(g), out=vi)
        denominator = np.sqrt(vi / (1 - b2**step))
        denominator += 1e-8
        p -= lr * (mi / (1 - b1**step)) / denominator


def adam_in_place_args(rng, dtype):
    shapes = [(4, 6), (6,), (6, 3), (3,)]
    params, grads, m = ([normal(rng, dtype, *s) for s in shapes] for _ in range(3))
    v = [a * a + dtype.type(0.1) for a in m]
    return arguments(params, grads, m, v, np.int64(7))


class Momentum(NamedTuple):
    """The state of a momentum optimiser."""

    velocity: np.ndarray
    best: np.ndarray
    count: int


def clipped_momentum(x, grad, state, limit=1.0):
    """Momentum with clipping by the global norm; the state is a namedtuple."""
    norm = np.sqrt(np.sum(grad**2))
    grad = grad * np.minimum(1, limit / (norm + 1e-6))
    velocity = 0.9 * state.velocity - 0.05 * grad
    best = np.minimum(state.best, norm)
    return x + velocity, Momentum(velocity, best, state.count + 1)


def momentum_args(rng, dtype):
    state = Momentum(normal(rng, dtype, 17) / 10, dtype.type(3.5), 2)
    return arguments(normal(rng, dtype, 17), normal(rng, dtype, 17), state)


def rosenbrock(x):
    """Value and gradient of Rosenbrock's function."""
    residual = x[1:] - x[:-1] ** 2
    value = np.sum(100.0 * residual**2 + (1 - x[:-1]) ** 2)
    gradient = np.zeros_like(x)
    gradient[:-1] = -400 * x[:-1] * residual - 2 * (1 - x[:-1])
    gradient[1:] += 200 * residual
    return value, gradient


def rosenbrock_args(rng, dtype):
    return arguments(uniform(rng, dtype, 23, low=-2, high=2))


def lasso_ista(a, b, strength, steps=15):
    """Sparse regression by iterated soft thresholding."""
    step = 1 / (np.abs(a.T @ a).sum(axis=1).max())
    x = np.zeros(a.shape[1], a.dtype)
    for _ in range(steps):
        z = x - step * (a.T @ (a @ x - b))
        x = np.sign(z) * np.maximum(np.abs(z) - step * strength, 0)
    return x, x != 0


def lasso_args(rng, dtype):
    a = normal(rng, dtype, 30, 8)
    truth = np.array([3, -2, 0, 0, 0, 1, 0, 0], dtype)
    return arguments(a, a @ truth + normal(rng, dtype, 30) / 10, 2.0)


def lbfgs_direction(gradient, s_history, y_history):
    """The two-loop recursion of L-BFGS over stacked histories."""
    q = gradient.copy()
    alphas = []
    rhos = 1 / np.einsum("ij,ij->i", s_history, y_history)
    for s, y, rho in zip(s_history[::-1], y_history[::-1], rhos[::-1], strict=True):
        alphas.append(rho * np.dot(s, q))
        q -= alphas[-1] * y
    s, y = s_history[-1], y_history[-1]
    q *= np.dot(s, y) / np.dot(y, y)
    for i, alpha in enumerate(reversed(alphas)):
        beta = rhos[i] * y_history[i].dot(q)
        q += (alpha - beta) * s_history[i]
    return -q


def lbfgs_args(rng, dtype):
    s = normal(rng, dtype, 4, 12)
    y = s * uniform(rng, dtype, 12, low=0.5, high=2)
    return arguments(normal(rng, dtype, 12), s, y)


PROGRAMS = (
    Program("adam", adam, adam_args),
    Program("adam_in_place", adam_in_place, adam_in_place_args),
    Program("clipped_momentum", clipped_momentum, momentum_args),
    Program("rosenbrock", rosenbrock, rosenbrock_args),
    Program("lasso_ista", lasso_ista, lasso_args),
    Program("lbfgs_direction", lbfgs_direction, lbfgs_args),
)
