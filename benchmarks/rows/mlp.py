"""A ReLU network: its forward pass, and whole train steps as one function.

A train step is loss, gradients and optimiser update together. Ours and JAX's take
the gradient with `value_and_grad` of the loss; NumPy's is written by hand, with the
same update around it. All return the loss and the new state, and all are compared.
"""

import math
from itertools import pairwise

import numpy as np

from ..row import Row
from .inputs import normal
from .optimiser import adam_step, moments, sgd_step, value_and_grad_torch


def forward(params, x):
    """Logits of a ReLU network; `params` is a list of (weight, bias)."""
    for w, b in params[:-1]:
        x = np.maximum(x @ w + b, 0)
    w, b = params[-1]
    return x @ w + b


def loss(params, x, targets):
    """Mean cross-entropy against one-hot `targets`."""
    logits = forward(params, x)
    shifted = logits - np.max(logits, axis=-1, keepdims=True)
    log_total = np.log(np.sum(np.exp(shifted), axis=-1, keepdims=True))
    return -np.sum(targets * (shifted - log_total)) / len(x)


def value_and_grad_by_hand(params, x, targets):
    """Loss and gradients, by back-propagation as one writes it in NumPy."""
    inputs = [x]
    for w, b in params[:-1]:
        inputs.append(np.maximum(inputs[-1] @ w + b, 0))
    w, b = params[-1]
    logits = inputs[-1] @ w + b
    logits -= np.max(logits, axis=-1, keepdims=True)
    exps = np.exp(logits)
    totals = np.sum(exps, axis=-1, keepdims=True)
    value = -np.sum(targets * (logits - np.log(totals))) / len(x)
    delta = (exps / totals - targets) / len(x)
    grads = []
    for (w, _), h in zip(reversed(params), reversed(inputs), strict=True):
        grads.append((h.T @ delta, np.sum(delta, axis=0)))
        if h is not x:
            delta = (delta @ w.T) * (h > 0)
    return value, grads[::-1]


def jax_loss(jax):
    jnp = jax.numpy

    def loss(params, x, targets):
        logits = jax_forward(jax)(params, x)
        return -jnp.sum(targets * jax.nn.log_softmax(logits)) / len(x)

    return loss


def jax_forward(jax):
    def forward(params, x):
        for w, b in params[:-1]:
            x = jax.nn.relu(x @ w + b)
        w, b = params[-1]
        return x @ w + b

    return forward


def torch_forward(torch):
    def forward(params, x):
        for w, b in params[:-1]:
            x = torch.relu(torch.addmm(b, x, w))
        w, b = params[-1]
        return torch.addmm(b, x, w)

    return forward


def torch_loss(torch):
    forward, cross_entropy = torch_forward(torch), torch.nn.functional.cross_entropy
    return lambda params, x, targets: cross_entropy(forward(params, x), targets)


def parameters(rng, *sizes):
    """(weight, bias) of each layer, He-initialised, biases small but not zero."""
    return [
        (normal(rng, m, n, scale=math.sqrt(2 / m)), normal(rng, n, scale=0.1))
        for m, n in pairwise(sizes)
    ]


def batch(rng, rows, *sizes):
    """Inputs and one-hot targets."""
    labels = rng.integers(sizes[-1], size=rows)
    return normal(rng, rows, sizes[0]), np.eye(sizes[-1], dtype=np.float32)[labels]


def weights(*sizes: int) -> int:
    """Number of weights and biases."""
    return sum((m + 1) * n for m, n in pairwise(sizes))


def forward_row(rows: int, *sizes: int) -> Row:
    return Row(
        name=f"mlp_forward_{rows}",
        make_inputs=lambda rng: (
            parameters(rng, *sizes),
            batch(rng, rows, *sizes)[0],
        ),
        numpy_fn=forward,
        jax_fn=jax_forward,
        torch_fn=torch_forward,
        flops=2 * rows * weights(*sizes),
        bytes=4 * (weights(*sizes) + rows * (sizes[0] + sizes[-1])),
    )


def sgd_row(rows: int, *sizes: int) -> Row:
    return Row(
        name=f"mlp_sgd_step_{rows}",
        make_inputs=lambda rng: (parameters(rng, *sizes), *batch(rng, rows, *sizes)),
        numpy_fn=sgd_step(value_and_grad_by_hand),
        tracejit_fn=lambda tj: sgd_step(tj.value_and_grad(loss)),
        jax_fn=lambda jax: sgd_step(jax.value_and_grad(jax_loss(jax))),
        torch_fn=lambda torch: sgd_step(value_and_grad_torch(torch, torch_loss(torch))),
        flops=6 * rows * weights(*sizes),
        bytes=4 * (2 * weights(*sizes) + rows * (sizes[0] + sizes[-1])),
    )


def adam_row(rows: int, *sizes: int) -> Row:
    def make_inputs(rng):
        params = parameters(rng, *sizes)
        return params, *moments(rng, params), 10.0, *batch(rng, rows, *sizes)

    def torch_fn(torch):
        return adam_step(value_and_grad_torch(torch, torch_loss(torch)), torch.sqrt)

    return Row(
        name=f"mlp_adam_step_{rows}",
        make_inputs=make_inputs,
        numpy_fn=adam_step(value_and_grad_by_hand),
        tracejit_fn=lambda tj: adam_step(tj.value_and_grad(loss)),
        jax_fn=lambda jax: adam_step(jax.value_and_grad(jax_loss(jax)), jax.numpy.sqrt),
        torch_fn=torch_fn,
        flops=6 * rows * weights(*sizes),
        bytes=4 * (6 * weights(*sizes) + rows * (sizes[0] + sizes[-1])),
    )


SMALL = (784, 128, 10)
WIDE = (784, 512, 512, 10)

ROWS = [forward_row(256, *WIDE), sgd_row(32, *SMALL), adam_row(256, *WIDE)]
