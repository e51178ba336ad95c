"""Functions whose pages are tested; their lines are looked for in this file."""

import numpy as np

import tracejit as tj


def softmax(x):
    e = np.exp(x - x.max(axis=-1, keepdims=True))
    return e / e.sum(axis=-1, keepdims=True)


def predict(x, w, b):
    hidden = np.tanh(x @ w + b)
    return softmax(hidden)


def loss(params, x, y):
    p = predict(x, *params)
    return -np.mean(np.log(p[np.arange(len(y)), y]))


def walk(x):
    def turn(carry, step):
        return np.sin(carry) + step, carry

    return tj.scan(turn, x, np.ones((5, *x.shape), np.float32))


def layers(x, n):
    for i in range(n):
        x = np.sort(np.tanh(x) * (i + 1.5))
    return x


def floats(*shape):
    return np.zeros(shape, np.float32)


def lowered_gradient():
    """Return a train step's gradient: products, a softmax, a gather, sums."""
    y = np.zeros(16, np.int64)
    step = tj.jit(tj.grad(loss))
    return step.lower([floats(8, 4), floats(4)], floats(16, 8), y)


def line_of(text):
    """Return the name of the first line of this file that has a text."""
    with open(__file__, encoding="utf-8") as file:
        number = next(n for n, line in enumerate(file, 1) if text in line)
    return f"models.py:{number}"
