"""Matrix products: square from compute-bound to call-bound, batched, skinny, bf16."""

import math

import numpy as np

from ..row import Row
from .elementwise import SQRT_2_OVER_PI
from .inputs import normal
from .normalise import suffix

TOLERANCE = {"float32": 1e-5, "bfloat16": 1e-2, "float16": 2e-3}


def matmul(a, b):
    return a @ b


def matmul_gelu(x, w, b):
    """A layer: product, bias, tanh-GELU."""
    h = x @ w + b
    return 0.5 * h * (1 + np.tanh(SQRT_2_OVER_PI * (h + 0.044715 * h * h * h)))


def half_matmul_gelu(x, w, b):
    return matmul_gelu(x, w, b).astype(x.dtype)


def matmul_gelu_torch(torch):
    gelu = torch.nn.functional.gelu
    return lambda x, w, b: gelu(torch.addmm(b, x, w), approximate="tanh")


def matmul_gelu_jax(jax):
    return lambda x, w, b: jax.nn.gelu(x @ w + b, approximate=True)


def product_row(
    name: str, m: int, k: int, n: int, dtype: str = "float32", batch: int = 1
) -> Row:
    """An m x k by k x n product, or a batch of them."""
    stack = (batch,) if batch > 1 else ()
    slow = "NumPy multiplies these numbers one by one, for minutes"
    return Row(
        name=name + suffix(dtype),
        make_inputs=lambda rng: (
            normal(rng, *stack, m, k),
            normal(rng, *stack, k, n, scale=1 / math.sqrt(k)),
        ),
        numpy_fn=matmul,
        jax_fn=lambda jax: matmul,
        torch_fn=lambda torch: matmul,
        without={} if dtype == "float32" else {"numpy": slow},
        dtype=dtype,
        flops=2 * batch * m * k * n,
        bytes=np.dtype(dtype).itemsize * batch * (m * k + k * n + m * n),
        rtol=TOLERANCE[dtype],
    )


def square(n: int, dtype: str = "float32") -> Row:
    """The row of an n x n product."""
    return product_row(f"matmul_{n}", n, n, n, dtype)


def layer_row(m: int, k: int, n: int, dtype: str = "float32") -> Row:
    """A product with bias and activation."""
    return Row(
        name=f"matmul_gelu_{m}x{k}x{n}" + suffix(dtype),
        make_inputs=lambda rng: (
            normal(rng, m, k),
            normal(rng, k, n, scale=1 / math.sqrt(k)),
            normal(rng, n),
        ),
        numpy_fn=matmul_gelu if dtype == "float32" else half_matmul_gelu,
        jax_fn=matmul_gelu_jax,
        torch_fn=matmul_gelu_torch,
        dtype=dtype,
        flops=2 * m * k * n,
        bytes=np.dtype(dtype).itemsize * (m * k + k * n + m * n),
        rtol=3 * TOLERANCE[dtype],
    )


ROWS = [
    square(1024),
    square(256),
    square(64),
    product_row("matmul_64x128", 128, 128, 128, batch=64),
    square(1024, "bfloat16"),
]
