"""Functions that give NaN: in a value, in a gradient, in a loop, for one example."""

import numpy as np

import tracejit as tj

X = np.array([[1.0, 2.0], [0.0, 3.0], [4.0, 5.0]], np.float32)


def attention(scores):
    """Softmax of rows, without subtracting their largest."""
    weights = np.exp(scores)
    return weights / weights.sum(axis=1, keepdims=True)


def roots(x):
    """Sum the roots of what is above 0."""
    r = np.where(x > 0, np.sqrt(x), 0)
    return np.sum(r)


slope = tj.grad(roots)


def newton(x):
    """Return roots, by 20 turns of Newton's method."""

    def turn(i, c):
        return c - (c * c - x) / (2 * c)

    return tj.fori_loop(0, 20, turn, x)


def each(rows):
    """Sum the roots of each row."""
    return tj.vmap(lambda row: newton(row).sum())(rows)


def large():
    """Return arguments of which some are large."""
    return (X * 40,)


def small():
    """Return arguments with a 0 among them."""
    return (X,)
