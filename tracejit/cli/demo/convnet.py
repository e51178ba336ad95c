"""A small convolutional network for the same digits, in plain NumPy and `tj.nn`.

Needs `model` for Adam and the loss of logits. Establishes `conv_step`, one jitted
function like `train_step`, over a state of the same form: layers with a "w" of four
axes are convolutions, the last one is dense.
"""

import itertools
import math

import numpy as np

import tracejit as tj

from .model import Layers, State, adam, mean_cross_entropy, zeros_like

SIDE = 8  # pixels
CHANNELS = (1, 16, 32, 64)
WINDOW = 3
CLASSES = 10


def initial_conv_state(rng: np.random.Generator) -> State:
    """He-initialised filters, as `model.initial_state` does for dense layers."""
    params: Layers = []
    for before, after in itertools.pairwise(CHANNELS):
        shape = (after, before, WINDOW, WINDOW)
        params.append(he_layer(rng, shape, before * WINDOW**2, (after, 1, 1)))
    features = CHANNELS[-1] * (SIDE // 4) ** 2
    params.append(he_layer(rng, (features, CLASSES), features, (CLASSES,)))
    return {"params": params, "mean": zeros_like(params), "square": zeros_like(params)}


def he_layer(
    rng: np.random.Generator,
    shape: tuple[int, ...],
    inputs: int,
    bias: tuple[int, ...],
) -> dict[str, np.ndarray]:
    """Weights of variance 2 / inputs, and a bias of zeros."""
    w = rng.normal(0, math.sqrt(2 / inputs), shape).astype(np.float32)
    return {"w": w, "b": np.zeros(bias, np.float32)}


def conv_layer(layer: dict[str, np.ndarray], x: np.ndarray) -> np.ndarray:
    """A convolution that keeps the extents, its bias, and what is positive of it."""
    return np.maximum(tj.nn.conv(x, layer["w"], padding="same") + layer["b"], 0)


def conv_forward(params: Layers, x: np.ndarray) -> np.ndarray:
    """Logits (rows, classes) of images `x` (rows, 64)."""
    first, second, third, last = params
    x = conv_layer(first, x.reshape((len(x), 1, SIDE, SIDE)))
    x = tj.nn.max_pool(conv_layer(second, x), 2)
    x = tj.nn.max_pool(conv_layer(third, x), 2)
    return x.reshape((len(x), -1)) @ last["w"] + last["b"]


def conv_cross_entropy(params: Layers, x: np.ndarray, y: np.ndarray) -> np.floating:
    """Mean cross-entropy against one-hot `y` (rows, classes)."""
    return mean_cross_entropy(conv_forward(params, x), y)


def conv_step(
    state: State, t: int, x: np.ndarray, y: np.ndarray, rate: float
) -> tuple[np.floating, State]:
    """Loss before, and state after, one step of Adam on a batch."""
    loss, grads = tj.value_and_grad(conv_cross_entropy)(state["params"], x, y)
    return loss, adam(state, grads, t, rate)
