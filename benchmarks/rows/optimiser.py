"""Adam over many parameters at once, and what train steps share.

Adam is algorithm 1 of Kingma and Ba 2015.
"""

import math

import numpy as np

from ..row import Row
from ..trees import leaves, map_leaves, rebuilt
from .inputs import normal, uniform

SGD_RATE = 0.1
ADAM_RATE, BETA1, BETA2, EPS = 1e-3, 0.9, 0.999, 1e-8


def adam_update(p, g, m, v, t, sqrt=np.sqrt):
    """One parameter after its step, with its new moments."""
    m = BETA1 * m + (1 - BETA1) * g
    v = BETA2 * v + (1 - BETA2) * g * g
    m_hat, v_hat = m / (1 - BETA1**t), v / (1 - BETA2**t)
    return p - ADAM_RATE * m_hat / (sqrt(v_hat) + EPS), m, v


def adam_step(value_and_grad, sqrt=np.sqrt):
    """The train step around any way of taking gradients, over trees of parameters.

    It gives the loss and (parameter, moment, moment) in the place of each parameter.
    """

    def step(params, first, second, t, *batch):
        value, grads = value_and_grad(params, *batch)
        new = map_leaves(
            lambda *leaf: adam_update(*leaf, t, sqrt), params, grads, first, second
        )
        return value, new

    return step


def sgd_step(value_and_grad, rate=SGD_RATE):
    """The train step of plain gradient descent."""

    def step(params, *batch):
        value, grads = value_and_grad(params, *batch)
        return value, map_leaves(lambda p, g: p - rate * g, params, grads)

    return step


def value_and_grad_torch(torch, loss):
    """By autograd, on leaves that share the memory of the parameters."""

    def value_and_grad(params, *batch):
        tree = map_leaves(lambda p: p.detach().requires_grad_(), params)
        value = loss(tree, *batch)
        grads = torch.autograd.grad(value, leaves(tree))
        return value.detach(), rebuilt(params, iter(grads))

    return value_and_grad


def moments(rng, params):
    """Adam's state in mid-training: away from zero, where its step is the sign."""
    first = map_leaves(lambda p: normal(rng, *p.shape, scale=1e-3), params)
    second = map_leaves(lambda p: uniform(rng, 1e-6, 4e-6, *p.shape), params)
    return first, second


# --- Adam alone -------------------------------------------------------------------


def adam(params, grads, first, second, t):
    return map_leaves(lambda *leaf: adam_update(*leaf, t), params, grads, first, second)


def adam_jax(jax):
    sqrt = jax.numpy.sqrt

    def adam(params, grads, first, second, t):
        return map_leaves(
            lambda *leaf: adam_update(*leaf, t, sqrt), params, grads, first, second
        )

    return adam


def adam_torch(torch):
    """The list-of-tensors operations that torch's own optimiser uses."""

    def adam(params, grads, first, second, t):
        m = torch._foreach_lerp(first, grads, 1 - BETA1)
        v = torch._foreach_mul(second, BETA2)
        torch._foreach_addcmul_(v, grads, grads, 1 - BETA2)
        scale = torch._foreach_sqrt(v)
        torch._foreach_div_(scale, math.sqrt(1 - BETA2**t))
        torch._foreach_add_(scale, EPS)
        new = torch._foreach_addcdiv(params, m, scale, -ADAM_RATE / (1 - BETA1**t))
        return [tuple(leaf) for leaf in zip(new, m, v, strict=True)]

    return adam


def adam_row(tensors: int, size: int) -> Row:
    """One update of `tensors` parameters of `size` x `size` each."""

    def make_inputs(rng):
        params, grads = (
            [normal(rng, size, size) for _ in range(tensors)] for _ in range(2)
        )
        return params, grads, *moments(rng, params), 10.0

    return Row(
        name=f"adam_{tensors}x{size}x{size}",
        make_inputs=make_inputs,
        numpy_fn=adam,
        jax_fn=adam_jax,
        torch_fn=adam_torch,
        flops=14 * tensors * size**2,
        bytes=4 * 7 * tensors * size**2,
    )
