"""A model for the tests of commands: some of it makes NaN."""

import numpy as np

import tracejit as tj


def predict(x):
    return np.tanh(x * 2)


def loss(x):
    y = x - 10
    return np.sum(np.sqrt(y))  # NaN


slope = tj.grad(lambda x: np.sum(np.cbrt(x) * x))


def zero_slope():
    return (np.zeros(3),)


def adds_one(x):
    x += 1
    print("adding")
    return x * 2


def fails(x):
    raise KeyError("no such weight")
