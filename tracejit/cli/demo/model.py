"""The network and its train step, in plain NumPy; and the same step by hand.

Needs nothing but NumPy and `value_and_grad`. Establishes `train_step`, which the demo
compiles as one function, and `numpy_step`, whose gradients are written by hand: the
oracle for the first, and what it is timed beside.

The state of training is a dict of ``params``, ``mean`` and ``square``, each a list with
one dict ``{"w": (m, n), "b": (n,)}`` of float32 arrays a layer.
"""

import math
from collections.abc import Callable
from itertools import pairwise

import numpy as np

import tracejit as tj

Layers = list[dict[str, np.ndarray]]
State = dict[str, Layers]
Step = Callable[[State, int, np.ndarray, np.ndarray, float], tuple[np.floating, State]]

SIZES = (64, 128, 64, 10)
BETA1, BETA2, EPS = 0.9, 0.999, 1e-8


def initial_state(rng: np.random.Generator, sizes: tuple[int, ...] = SIZES) -> State:
    """He-initialised layers (He et al. 2015, eq. 10), and Adam's moments at zero."""
    params = [
        {
            "w": rng.normal(0, math.sqrt(2 / m), (m, n)).astype(np.float32),
            "b": np.zeros(n, np.float32),
        }
        for m, n in pairwise(sizes)
    ]
    return {"params": params, "mean": zeros_like(params), "square": zeros_like(params)}


def zeros_like(layers: Layers) -> Layers:
    """Layers of the same shapes and dtypes, all zero."""
    return [{k: np.zeros_like(a) for k, a in layer.items()} for layer in layers]


def forward(params: Layers, x: np.ndarray) -> np.ndarray:
    """Logits (rows, classes) of a ReLU network on `x` (rows, features)."""
    for layer in params[:-1]:
        x = np.maximum(x @ layer["w"] + layer["b"], 0)
    return x @ params[-1]["w"] + params[-1]["b"]


def cross_entropy(params: Layers, x: np.ndarray, y: np.ndarray) -> np.floating:
    """Mean cross-entropy against one-hot `y` (rows, classes)."""
    return mean_cross_entropy(forward(params, x), y)


def mean_cross_entropy(logits: np.ndarray, y: np.ndarray) -> np.floating:
    """Mean cross-entropy of logits (rows, classes) against one-hot `y`."""
    shifted = logits - np.max(logits, axis=-1, keepdims=True)
    log_total = np.log(np.sum(np.exp(shifted), axis=-1, keepdims=True))
    return -np.sum(y * (shifted - log_total)) / len(y)


def adam(state: State, grads: Layers, t: int, rate: float) -> State:
    """The state after step `t` (from 1) of Adam (Kingma and Ba 2015, algorithm 1)."""
    new: State = {"params": [], "mean": [], "square": []}
    for p, m, v, g in zip(*state.values(), grads, strict=True):
        m = {k: BETA1 * m[k] + (1 - BETA1) * g[k] for k in g}
        v = {k: BETA2 * v[k] + (1 - BETA2) * g[k] ** 2 for k in g}
        new["params"].append({k: p[k] - adam_update(m[k], v[k], t, rate) for k in g})
        new["mean"].append(m)
        new["square"].append(v)
    return new


def adam_update(m: np.ndarray, v: np.ndarray, t: int, rate: float) -> np.ndarray:
    """Adam's change of one parameter: the moments, corrected for their start at 0."""
    return rate * (m / (1 - BETA1**t)) / (np.sqrt(v / (1 - BETA2**t)) + EPS)


def train_step(
    state: State, t: int, x: np.ndarray, y: np.ndarray, rate: float
) -> tuple[np.floating, State]:
    """Loss before, and state after, one step of Adam on a batch."""
    loss, grads = tj.value_and_grad(cross_entropy)(state["params"], x, y)
    return loss, adam(state, grads, t, rate)


def numpy_step(
    state: State, t: int, x: np.ndarray, y: np.ndarray, rate: float
) -> tuple[np.floating, State]:
    """`train_step` without a compiler."""
    loss, grads = backpropagate(state["params"], x, y)
    return loss, adam(state, grads, t, rate)


def backpropagate(
    params: Layers, x: np.ndarray, y: np.ndarray
) -> tuple[np.floating, Layers]:
    """Loss and gradients of `cross_entropy`, as one writes them in NumPy."""
    inputs = [x]
    for layer in params[:-1]:
        inputs.append(np.maximum(inputs[-1] @ layer["w"] + layer["b"], 0))
    logits = inputs[-1] @ params[-1]["w"] + params[-1]["b"]
    logits -= np.max(logits, axis=-1, keepdims=True)
    exps = np.exp(logits)
    totals = np.sum(exps, axis=-1, keepdims=True)
    loss = -np.sum(y * (logits - np.log(totals))) / len(x)
    delta = (exps / totals - y) / np.float32(len(x))
    grads: Layers = []
    for layer, h in zip(reversed(params), reversed(inputs), strict=True):
        grads.append({"w": h.T @ delta, "b": np.sum(delta, axis=0)})
        if h is not x:
            delta = (delta @ layer["w"].T) * (h > 0)
    return loss, grads[::-1]
