"""Causal attention of several heads: its result, and its gradients too.

The program is plain NumPy: a product, a scale, a mask by `where`, a softmax, another
product. torch's and JAX's twins are their own fused functions. The row with gradients
returns the loss, Σ out · ct, and what it gives for queries, keys and values.
"""

import math

import numpy as np

from ..row import Row
from .inputs import normal

BATCH, HEADS, LENGTH, SIZE = 4, 8, 512, 64


def attention(q, k, v):
    """Softmax of the scaled scores of what came before, times values."""
    n = q.shape[-2]
    s = (q @ np.swapaxes(k, -1, -2)) * np.float32(1 / math.sqrt(q.shape[-1]))
    s = np.where(np.tril(np.ones((n, n), bool)), s, np.float32(-np.inf))
    e = np.exp(s - np.max(s, axis=-1, keepdims=True))
    return (e / np.sum(e, axis=-1, keepdims=True)) @ v


def loss(q, k, v, ct):
    return np.sum(attention(q, k, v) * ct)


def value_and_grad_by_hand(q, k, v, ct):
    """Loss and gradients as one writes them in NumPy, with all scores in memory."""
    n, scale = q.shape[-2], np.float32(1 / math.sqrt(q.shape[-1]))
    keep = np.tril(np.ones((n, n), bool))
    s = np.where(keep, (q @ np.swapaxes(k, -1, -2)) * scale, np.float32(-np.inf))
    e = np.exp(s - np.max(s, axis=-1, keepdims=True))
    p = e / np.sum(e, axis=-1, keepdims=True)
    out = p @ v
    dp = ct @ np.swapaxes(v, -1, -2)
    ds = p * (dp - np.sum(out * ct, axis=-1, keepdims=True)) * scale
    turned = (np.swapaxes(x, -1, -2) for x in (ds, p))
    dk, dv = (x @ y for x, y in zip(turned, (q, ct), strict=True))
    return np.sum(out * ct), (ds @ k, dk, dv)


def attention_jax(jax):
    def attention(q, k, v):
        q, k, v = (x.transpose(0, 2, 1, 3) for x in (q, k, v))
        out = jax.nn.dot_product_attention(q, k, v, is_causal=True)
        return out.transpose(0, 2, 1, 3)

    return attention


def value_and_grad_jax(jax):
    attention = attention_jax(jax)

    def loss(q, k, v, ct):
        return jax.numpy.sum(attention(q, k, v) * ct)

    return jax.value_and_grad(loss, argnums=(0, 1, 2))


def attention_torch(torch):
    attention = torch.nn.functional.scaled_dot_product_attention
    return lambda q, k, v: attention(q, k, v, is_causal=True)


def value_and_grad_torch(torch):
    attention = attention_torch(torch)

    def value_and_grad(q, k, v, ct):
        leaves = [x.detach().requires_grad_() for x in (q, k, v)]
        value = (attention(*leaves) * ct).sum()
        return value.detach(), torch.autograd.grad(value, leaves)

    return value_and_grad


def operands(count):
    shape = BATCH, HEADS, LENGTH, SIZE
    return lambda rng: tuple(normal(rng, *shape) for _ in range(count))


ELEMENTS = BATCH * HEADS * LENGTH * SIZE
# Of one product, of which a causal mask leaves half.
FLOPS = ELEMENTS * LENGTH

ROWS = [
    Row(
        name="attention_causal_512",
        make_inputs=operands(3),
        numpy_fn=attention,
        jax_fn=attention_jax,
        torch_fn=attention_torch,
        flops=2 * FLOPS,
        bytes=4 * 4 * ELEMENTS,
    ),
    Row(
        name="attention_causal_512_grad",
        make_inputs=operands(4),
        numpy_fn=value_and_grad_by_hand,
        jax_fn=value_and_grad_jax,
        torch_fn=value_and_grad_torch,
        tracejit_fn=lambda tj: tj.value_and_grad(loss, argnums=(0, 1, 2)),
        flops=7 * FLOPS,
        bytes=4 * 7 * ELEMENTS,
        rtol=2e-5,
    ),
]
