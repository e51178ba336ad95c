"""Row-wise reductions with elementwise ends: softmax, layer norm, gated RMS norm."""

import numpy as np

from ..row import Row
from .inputs import normal

EPS = 1e-5


def softmax(x):
    e = np.exp(x - np.max(x, axis=-1, keepdims=True))
    return e / np.sum(e, axis=-1, keepdims=True)


def layernorm(x, gamma, beta):
    mean = np.mean(x, axis=-1, keepdims=True)
    variance = np.var(x, axis=-1, keepdims=True)
    return (x - mean) / np.sqrt(variance + EPS) * gamma + beta


def layernorm_jax(jax):
    jnp = jax.numpy

    def layernorm(x, gamma, beta):
        mean = jnp.mean(x, axis=-1, keepdims=True)
        variance = jnp.var(x, axis=-1, keepdims=True)
        return (x - mean) * jax.lax.rsqrt(variance + EPS) * gamma + beta

    return layernorm


def layernorm_torch(torch):
    layer_norm = torch.nn.functional.layer_norm
    return lambda x, gamma, beta: layer_norm(x, x.shape[-1:], gamma, beta, EPS)


def rms_silu(x, u, weight):
    """SiLU of the RMS norm of x, times u."""
    h = x / np.sqrt(np.mean(x * x, axis=-1, keepdims=True) + EPS) * weight
    return h / (1 + np.exp(-h)) * u


def rms_silu_jax(jax):
    jnp = jax.numpy

    def rms_silu(x, u, weight):
        scale = jax.lax.rsqrt(jnp.mean(x * x, axis=-1, keepdims=True) + EPS)
        return jax.nn.silu(x * scale * weight) * u

    return rms_silu


def rms_silu_torch(torch):
    f = torch.nn.functional
    return lambda x, u, w: f.silu(f.rms_norm(x, x.shape[-1:], w, EPS)) * u


ROWS = [
    Row(
        name="softmax_4096x1024",
        make_inputs=lambda rng: (normal(rng, 4096, 1024),),
        numpy_fn=softmax,
        jax_fn=lambda jax: lambda x: jax.nn.softmax(x, axis=-1),
        torch_fn=lambda torch: lambda x: torch.softmax(x, dim=-1),
        flops=15 * 4096 * 1024,
        bytes=8 * 4096 * 1024,
    ),
    Row(
        name="layernorm_8192x768",
        make_inputs=lambda rng: (
            normal(rng, 8192, 768),
            normal(rng, 768),
            normal(rng, 768),
        ),
        numpy_fn=layernorm,
        jax_fn=layernorm_jax,
        torch_fn=layernorm_torch,
        flops=8 * 8192 * 768,
        bytes=8 * 8192 * 768,
    ),
    Row(
        name="rms_silu_4096x2048",
        make_inputs=lambda rng: (
            normal(rng, 4096, 2048),
            normal(rng, 4096, 2048),
            normal(rng, 2048),
        ),
        numpy_fn=rms_silu,
        jax_fn=rms_silu_jax,
        torch_fn=rms_silu_torch,
        flops=18 * 4096 * 2048,
        bytes=12 * 4096 * 2048,
    ),
]
