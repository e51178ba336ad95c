"""A ReLU network: its forward pass, and whole train steps as one function.

A train step is loss, gradients and optimiser update together. Ours and JAX's take
the gradient with `value_and_grad` of the loss; NumPy's is written by hand, with the
same update around it. All return the loss and the new state, and all are compared.
"""

import math
from itertools import pairwise

import numpy as np

from ..row import Row
from .inputs import normal, uniform

SGD_RATE = 0.1
ADAM_RATE, BETA1, BETA2, EPS = 1e-3, 0.9, 0.999, 1e-8


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


def sgd(value_and_grad):
    """The train step around any way of taking gradients."""

    def step(params, x, targets):
        value, grads = value_and_grad(params, x, targets)
        new = [
            (w - SGD_RATE * dw, b - SGD_RATE * db)
            for (w, b), (dw, db) in zip(params, grads, strict=True)
        ]
        return value, new

    return step


def adam(value_and_grad, sqrt=np.sqrt):
    """Adam (Kingma and Ba 2015, algorithm 1) around any way of taking gradients."""

    def update(p, g, m, v, t):
        m = BETA1 * m + (1 - BETA1) * g
        v = BETA2 * v + (1 - BETA2) * g * g
        m_hat, v_hat = m / (1 - BETA1**t), v / (1 - BETA2**t)
        return p - ADAM_RATE * m_hat / (sqrt(v_hat) + EPS), m, v

    def step(params, first, second, t, x, targets):
        value, grads = value_and_grad(params, x, targets)
        layers = zip(params, grads, first, second, strict=True)
        new = [
            tuple(update(*leaf, t) for leaf in zip(*layer, strict=True))
            for layer in layers
        ]
        return value, new

    return step


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


def torch_value_and_grad(torch):
    """By autograd on leaves that share the parameters' memory."""
    forward = torch_forward(torch)

    def value_and_grad(params, x, targets):
        leaves = [tuple(p.detach().requires_grad_() for p in pair) for pair in params]
        logits = forward(leaves, x)
        value = torch.nn.functional.cross_entropy(logits, targets)
        flat = torch.autograd.grad(value, [p for pair in leaves for p in pair])
        return value.detach(), [*zip(flat[::2], flat[1::2], strict=True)]

    return value_and_grad


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


def moments(rng, params):
    """Adam's state in mid-training: away from zero, where its step is the sign."""
    first = [tuple(normal(rng, *p.shape, scale=1e-3) for p in ps) for ps in params]
    second = [tuple(uniform(rng, 1e-6, 4e-6, *p.shape) for p in ps) for ps in params]
    return first, second


def forward_inputs(rng):
    return parameters(rng, *WIDE), batch(rng, 256, *WIDE)[0]


def sgd_inputs(rng):
    return parameters(rng, *SMALL), *batch(rng, 32, *SMALL)


def adam_inputs(rng):
    params = parameters(rng, *WIDE)
    return params, *moments(rng, params), 10.0, *batch(rng, 256, *WIDE)


def weights(*sizes: int) -> int:
    """Number of weights and biases."""
    return sum((m + 1) * n for m, n in pairwise(sizes))


SMALL = (784, 128, 10)
WIDE = (784, 512, 512, 10)

ROWS = [
    Row(
        name="mlp_forward_256",
        make_inputs=forward_inputs,
        numpy_fn=forward,
        jax_fn=jax_forward,
        torch_fn=torch_forward,
        flops=2 * 256 * weights(*WIDE),
        bytes=4 * (weights(*WIDE) + 256 * (WIDE[0] + WIDE[-1])),
    ),
    Row(
        name="mlp_sgd_step_32",
        make_inputs=sgd_inputs,
        numpy_fn=sgd(value_and_grad_by_hand),
        jax_fn=lambda jax: sgd(jax.value_and_grad(jax_loss(jax))),
        torch_fn=lambda torch: sgd(torch_value_and_grad(torch)),
        tracejit_fn=lambda tj: sgd(tj.value_and_grad(loss)),
        flops=6 * 32 * weights(*SMALL),
        bytes=4 * (2 * weights(*SMALL) + 32 * (SMALL[0] + SMALL[-1])),
    ),
    Row(
        name="mlp_adam_step_256",
        make_inputs=adam_inputs,
        numpy_fn=adam(value_and_grad_by_hand),
        jax_fn=lambda jax: adam(jax.value_and_grad(jax_loss(jax)), jax.numpy.sqrt),
        torch_fn=lambda torch: adam(torch_value_and_grad(torch), torch.sqrt),
        tracejit_fn=lambda tj: adam(tj.value_and_grad(loss)),
        flops=6 * 256 * weights(*WIDE),
        bytes=4 * (6 * weights(*WIDE) + 256 * (WIDE[0] + WIDE[-1])),
    ),
]
