"""Attention of whole heads, (batch, heads, places, width): forward and gradients."""

import math

import numpy as np

from ..row import Row
from .inputs import normal
from .normalise import softmax, suffix

TOLERANCE = {"float32": 1e-5, "bfloat16": 2e-2, "float16": 4e-3}


def attention(q, k, v):
    scores = q @ np.swapaxes(k, -1, -2) / math.sqrt(q.shape[-1])
    return softmax(scores) @ v


def causal_attention(q, k, v):
    scores = q @ np.swapaxes(k, -1, -2) / math.sqrt(q.shape[-1])
    places = np.tril(np.ones(scores.shape[-2:], bool))
    return softmax(np.where(places, scores, -np.inf)) @ v


def half_attention(q, k, v):
    """Scores and softmax in float32, both products of numbers of 16 bits."""
    scores = (q @ np.swapaxes(k, -1, -2)).astype(np.float32) / math.sqrt(q.shape[-1])
    return softmax(scores).astype(v.dtype) @ v


def half_causal_attention(q, k, v):
    scores = (q @ np.swapaxes(k, -1, -2)).astype(np.float32) / math.sqrt(q.shape[-1])
    places = np.tril(np.ones(scores.shape[-2:], bool))
    return softmax(np.where(places, scores, -np.inf)).astype(v.dtype) @ v


PROGRAMS = {
    (False, True): attention,
    (True, True): causal_attention,
    (False, False): half_attention,
    (True, False): half_causal_attention,
}


def attention_torch(torch, is_causal):
    attend = torch.nn.functional.scaled_dot_product_attention
    return lambda q, k, v: attend(q, k, v, is_causal=is_causal)


def attention_jax(jax, is_causal):
    """JAX's own, by cuDNN on devices; it has the places before the heads."""
    on_device = jax.default_backend() == "gpu"

    def attend(q, k, v):
        swapped = (jax.numpy.swapaxes(x, 1, 2) for x in (q, k, v))
        half = q.dtype != np.float32
        out = jax.nn.dot_product_attention(
            *swapped,
            is_causal=is_causal,
            implementation="cudnn" if on_device and half else "xla",
        )
        return jax.numpy.swapaxes(out, 1, 2)

    return attend


def gradients(tj, program):
    """Gradients by q, k and v of attention times a cotangent."""

    def gradients(q, k, v, cotangent):
        def loss(*args):
            return np.sum(program(*args) * cotangent)

        return tj.grad(loss, argnums=(0, 1, 2))(q, k, v)

    return gradients


def gradients_torch(torch, is_causal):
    attend = attention_torch(torch, is_causal)

    def gradients(q, k, v, cotangent):
        args = [x.detach().requires_grad_() for x in (q, k, v)]
        return torch.autograd.grad(attend(*args), args, cotangent)

    return gradients


def gradients_jax(jax, is_causal):
    attend = attention_jax(jax, is_causal)
    return lambda q, k, v, cotangent: jax.vjp(attend, q, k, v)[1](cotangent)


def _inputs(count, *shape):
    return lambda rng: tuple(normal(rng, *shape) for _ in range(count))


def attention_row(
    shape: tuple[int, int, int, int],
    is_causal: bool,
    dtype: str = "float32",
    name: str = "",
) -> Row:
    """Attention forward; half of the scores count where it is causal."""
    batch, heads, places, width = shape
    size = batch * heads * places * width
    slow = "NumPy multiplies these numbers one by one, for minutes"
    return Row(
        name=name or _name("attention", shape, is_causal, dtype),
        make_inputs=_inputs(3, *shape),
        numpy_fn=PROGRAMS[is_causal, dtype == "float32"],
        jax_fn=lambda jax: attention_jax(jax, is_causal),
        torch_fn=lambda torch: attention_torch(torch, is_causal),
        without={} if dtype == "float32" else {"numpy": slow},
        dtype=dtype,
        flops=4 * size * places // (2 if is_causal else 1),
        bytes=4 * np.dtype(dtype).itemsize * size,
        rtol=TOLERANCE[dtype],
    )


def attention_grad_row(
    shape: tuple[int, int, int, int],
    is_causal: bool,
    dtype: str = "float32",
    name: str = "",
) -> Row:
    """Attention forward and backward: seven products of places x places x width."""
    batch, heads, places, width = shape
    size = batch * heads * places * width
    program = PROGRAMS[is_causal, dtype == "float32"]
    return Row(
        name=name or _name("attention_grad", shape, is_causal, dtype),
        make_inputs=_inputs(4, *shape),
        tracejit_fn=lambda tj: gradients(tj, program),
        jax_fn=lambda jax: gradients_jax(jax, is_causal),
        torch_fn=lambda torch: gradients_torch(torch, is_causal),
        dtype=dtype,
        flops=14 * size * places // (2 if is_causal else 1),
        bytes=7 * np.dtype(dtype).itemsize * size,
        rtol=5 * TOLERANCE[dtype],
    )


def _name(kind: str, shape: tuple[int, ...], is_causal: bool, dtype: str) -> str:
    sizes = "x".join(map(str, shape))
    return f"{'causal_' if is_causal else ''}{kind}_{sizes}{suffix(dtype)}"


ROWS = [
    attention_row((4, 8, 512, 64), is_causal=True),
    attention_grad_row((4, 8, 512, 64), is_causal=True),
]
