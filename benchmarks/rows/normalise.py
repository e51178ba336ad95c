"""Row-wise reductions with elementwise ends: softmax, layer norm, gated RMS norm."""

import math

import numpy as np

from ..row import Row
from .half import in_float32
from .inputs import normal

EPS = 1e-5
F32 = np.float32


def softmax(x):
    e = np.exp(x - np.max(x, axis=-1, keepdims=True))
    return e / np.sum(e, axis=-1, keepdims=True)


def softmax_numba(numba):
    @numba.njit(parallel=True, fastmath=True)
    def softmax(x):
        out = np.empty_like(x)
        for i in numba.prange(x.shape[0]):
            top = x[i, 0]
            for j in range(x.shape[1]):
                top = max(top, x[i, j])
            total = F32(0)
            for j in range(x.shape[1]):
                out[i, j] = math.exp(x[i, j] - top)
                total += out[i, j]
            scale = F32(1) / total
            for j in range(x.shape[1]):
                out[i, j] *= scale
        return out

    return softmax


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


def layernorm_numba(numba):
    eps, one = F32(EPS), F32(1)

    @numba.njit(parallel=True, fastmath=True)
    def layernorm(x, gamma, beta):
        out = np.empty_like(x)
        inverse = one / F32(x.shape[1])
        for i in numba.prange(x.shape[0]):
            mean = variance = F32(0)
            for j in range(x.shape[1]):
                mean += x[i, j]
            mean *= inverse
            for j in range(x.shape[1]):
                variance += (x[i, j] - mean) * (x[i, j] - mean)
            scale = one / F32(math.sqrt(variance * inverse + eps))
            for j in range(x.shape[1]):
                out[i, j] = (x[i, j] - mean) * scale * gamma[j] + beta[j]
        return out

    return layernorm


def layernorm_grad(tj):
    """Gradients by x, gamma and beta of the layer norm times a cotangent."""

    def gradients(x, gamma, beta, cotangent):
        def loss(*args):
            return np.sum(layernorm(*args) * cotangent)

        return tj.grad(loss, argnums=(0, 1, 2))(x, gamma, beta)

    return gradients


def layernorm_grad_by_hand(x, gamma, beta, cotangent):
    """The same as one writes it in NumPy, which has no gradients."""
    deviation = np.sqrt(np.var(x, axis=-1, keepdims=True) + EPS)
    unit = (x - np.mean(x, axis=-1, keepdims=True)) / deviation
    scaled = cotangent * gamma
    along = np.mean(scaled * unit, axis=-1, keepdims=True) * unit
    by_x = (scaled - np.mean(scaled, axis=-1, keepdims=True) - along) / deviation
    return by_x, np.sum(cotangent * unit, axis=0), np.sum(cotangent, axis=0)


def layernorm_grad_jax(jax):
    def gradients(x, gamma, beta, cotangent):
        return jax.vjp(layernorm_jax(jax), x, gamma, beta)[1](cotangent)

    return gradients


def layernorm_grad_torch(torch):
    forward = layernorm_torch(torch)

    def gradients(x, gamma, beta, cotangent):
        args = [a.detach().requires_grad_() for a in (x, gamma, beta)]
        return torch.autograd.grad(forward(*args), args, cotangent)

    return gradients


def rms_norm(x, weight):
    return x / np.sqrt(np.mean(x * x, axis=-1, keepdims=True) + EPS) * weight


def rms_norm_jax(jax):
    jnp = jax.numpy

    def rms_norm(x, weight):
        mean = jnp.mean(x * x, axis=-1, keepdims=True)
        return x * jax.lax.rsqrt(mean + EPS) * weight

    return rms_norm


def rms_norm_torch(torch):
    f = torch.nn.functional
    return lambda x, weight: f.rms_norm(x, x.shape[-1:], weight, EPS)


def rms_silu(x, u, weight):
    """SiLU of the RMS norm of x, times u."""
    h = rms_norm(x, weight)
    return h / (1 + np.exp(-h)) * u


def rms_silu_jax(jax):
    return lambda x, u, weight: jax.nn.silu(rms_norm_jax(jax)(x, weight)) * u


def rms_silu_torch(torch):
    norm, silu = rms_norm_torch(torch), torch.nn.functional.silu
    return lambda x, u, weight: silu(norm(x, weight)) * u


def rms_silu_numba(numba):
    eps, one = F32(EPS), F32(1)

    @numba.njit(parallel=True, fastmath=True)
    def rms_silu(x, u, weight):
        out = np.empty_like(x)
        inverse = one / F32(x.shape[1])
        for i in numba.prange(x.shape[0]):
            total = F32(0)
            for j in range(x.shape[1]):
                total += x[i, j] * x[i, j]
            scale = one / F32(math.sqrt(total * inverse + eps))
            for j in range(x.shape[1]):
                h = x[i, j] * scale * weight[j]
                out[i, j] = h / (one + math.exp(-h)) * u[i, j]
        return out

    return rms_silu


def tolerance(dtype: str, exact: float = 1e-5) -> float:
    """For a chain of a few operations, rounded to `dtype` at each."""
    return exact if dtype == "float32" else 3e-2


def softmax_row(rows: int, columns: int, dtype: str = "float32") -> Row:
    return Row(
        name=f"softmax_{rows}x{columns}" + suffix(dtype),
        make_inputs=lambda rng: (normal(rng, rows, columns),),
        numpy_fn=softmax if dtype == "float32" else in_float32(softmax),
        jax_fn=lambda jax: lambda x: jax.nn.softmax(x, axis=-1),
        torch_fn=lambda torch: lambda x: torch.softmax(x, dim=-1),
        numba_fn=softmax_numba,
        dtype=dtype,
        flops=15 * rows * columns,
        bytes=2 * np.dtype(dtype).itemsize * rows * columns,
        rtol=tolerance(dtype),
    )


def layernorm_row(rows: int, columns: int, dtype: str = "float32") -> Row:
    return Row(
        name=f"layernorm_{rows}x{columns}" + suffix(dtype),
        make_inputs=lambda rng: (
            normal(rng, rows, columns),
            normal(rng, columns),
            normal(rng, columns),
        ),
        numpy_fn=layernorm if dtype == "float32" else in_float32(layernorm),
        jax_fn=layernorm_jax,
        torch_fn=layernorm_torch,
        numba_fn=layernorm_numba,
        dtype=dtype,
        flops=8 * rows * columns,
        bytes=2 * np.dtype(dtype).itemsize * rows * columns,
        rtol=tolerance(dtype),
    )


def layernorm_grad_row(rows: int, columns: int) -> Row:
    return Row(
        name=f"layernorm_grad_{rows}x{columns}",
        make_inputs=lambda rng: (
            normal(rng, rows, columns),
            normal(rng, columns),
            normal(rng, columns),
            normal(rng, rows, columns),
        ),
        numpy_fn=layernorm_grad_by_hand,
        tracejit_fn=layernorm_grad,
        jax_fn=layernorm_grad_jax,
        torch_fn=layernorm_grad_torch,
        flops=20 * rows * columns,
        bytes=12 * rows * columns,
        rtol=1e-4,
    )


def rms_norm_row(rows: int, columns: int, dtype: str = "float32") -> Row:
    return Row(
        name=f"rms_norm_{rows}x{columns}" + suffix(dtype),
        make_inputs=lambda rng: (normal(rng, rows, columns), normal(rng, columns)),
        numpy_fn=rms_norm if dtype == "float32" else in_float32(rms_norm),
        jax_fn=rms_norm_jax,
        torch_fn=rms_norm_torch,
        dtype=dtype,
        flops=4 * rows * columns,
        bytes=2 * np.dtype(dtype).itemsize * rows * columns,
        rtol=tolerance(dtype),
    )


def rms_silu_row(rows: int, columns: int) -> Row:
    return Row(
        name=f"rms_silu_{rows}x{columns}",
        make_inputs=lambda rng: (
            normal(rng, rows, columns),
            normal(rng, rows, columns),
            normal(rng, columns),
        ),
        numpy_fn=rms_silu,
        jax_fn=rms_silu_jax,
        torch_fn=rms_silu_torch,
        numba_fn=rms_silu_numba,
        flops=18 * rows * columns,
        bytes=12 * rows * columns,
    )


def suffix(dtype: str) -> str:
    """What a name says of a dtype that is not float32."""
    short = {"float32": "", "bfloat16": "_bf16", "float16": "_fp16"}
    return short[dtype]


ROWS = [
    softmax_row(4096, 1024),
    layernorm_row(8192, 768),
    rms_silu_row(4096, 2048),
]
