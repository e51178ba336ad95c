"""A program of ten thousand equations: what the commands are measured on.

Layers of a product, a norm, and elementwise operations in an order of its own for each
layer, so that no two are alike, and the gradients of all of it.
"""

import random

import numpy as np

import tracejit as tj

WIDTH, BATCH, LAYERS = 16, 8, 102
CHOICES = 14  # elementwise operations of each layer
ARGUMENTS = (f"f32[{BATCH},{WIDTH}]", f"f32[4,{WIDTH},{WIDTH}]")
OPERATIONS = (
    lambda x, c: x * c,
    lambda x, c: x + c,
    lambda x, c: np.tanh(x),
    lambda x, c: np.sin(x) - x,
    lambda x, c: np.maximum(x, c),
    lambda x, c: np.where(x > c, x, x / 2),
    lambda x, c: x / (1 + np.abs(x)),
    lambda x, c: np.exp(-np.abs(x)),
    lambda x, c: np.sqrt(1 + x * x),
)


def layer(x, weights, order):
    """One product, a norm, and elementwise operations that `order` draws."""
    x = x @ weights
    x -= x.mean(axis=-1, keepdims=True)
    x = x / np.sqrt((x * x).mean(axis=-1, keepdims=True) + 1)
    for _ in range(CHOICES):
        x = order.choice(OPERATIONS)(x, order.uniform(0.5, 1.5))
    return x


def loss(x, weights):
    """Return a number that all layers have a part in."""
    order = random.Random(0)
    for number in range(LAYERS):
        x = x + layer(x, weights[number % len(weights)], order)
    return (x * x).mean()


def step(x, weights):
    """Return the loss and its gradients, of both arguments."""
    return tj.value_and_grad(loss, argnums=(0, 1))(x, weights)
