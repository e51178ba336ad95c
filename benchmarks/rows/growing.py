"""Programs whose length is a parameter: what compilers take for them.

A chain of elementwise operations on a thousand numbers, and the gradients of networks
of many layers. Constants differ from step to step, so that nothing is alike.
"""

import math

import numpy as np

from ..row import Row
from . import mlp
from .inputs import normal
from .optimiser import value_and_grad_torch

SIZE = 1024
LAYER = 64


def chain(length, sin=np.sin):
    """Multiply, add, take the sine, and again: `length` operations."""

    def chain(x):
        for i in range(length):
            if i % 3 == 0:
                x = x * (1 + i / 1024)
            elif i % 3 == 1:
                x = x + i / 512
            else:
                x = sin(x)
        return x

    return chain


def chain_numba(numba, length):
    """Numba would see a loop of branches: the operations are written out."""
    lines = ["def chain(x):", "    out = np.empty_like(x)"]
    lines += ["    for i in range(x.size):", "        y = x[i]"]
    for i in range(length):
        step = (f"y * f32({1 + i / 1024})", f"y + f32({i / 512})", "math.sin(y)")
        lines.append(f"        y = {step[i % 3]}")
    lines += ["        out[i] = y", "    return out"]
    scope = {"np": np, "math": math, "f32": np.float32}
    exec("\n".join(lines), scope)  # the text above
    return numba.njit(scope["chain"])


def chain_row(length: int) -> Row:
    return Row(
        name=f"chain_{length}",
        make_inputs=lambda rng: (normal(rng, SIZE),),
        numpy_fn=chain(length),
        jax_fn=lambda jax: chain(length, jax.numpy.sin),
        torch_fn=lambda torch: chain(length, torch.sin),
        numba_fn=lambda numba: chain_numba(numba, length),
        drjit_fn=lambda dr: chain(length, dr.sin),
        flops=10 * length * SIZE,
        bytes=8 * SIZE,
        rtol=1e-2,
    )


def layers_row(layers: int) -> Row:
    """Loss and gradients of a network of equal layers."""
    sizes = [LAYER] * (layers + 1)
    return Row(
        name=f"mlp_grad_{layers}_layers",
        make_inputs=lambda rng: (
            mlp.parameters(rng, *sizes),
            *mlp.batch(rng, 32, *sizes),
        ),
        numpy_fn=mlp.value_and_grad_by_hand,
        tracejit_fn=lambda tj: tj.value_and_grad(mlp.loss),
        jax_fn=lambda jax: jax.value_and_grad(mlp.jax_loss(jax)),
        torch_fn=lambda torch: value_and_grad_torch(torch, mlp.torch_loss(torch)),
        flops=6 * 32 * mlp.weights(*sizes),
        bytes=4 * 2 * mlp.weights(*sizes),
        rtol=1e-4,
    )


CHAINS = (10, 100, 1000, 5000)
DEPTHS = (10, 100)
