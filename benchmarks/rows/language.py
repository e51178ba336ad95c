"""Transformers: one block, and a GPT with tied embeddings, as whole train steps.

The programs are written against a module with NumPy's names: `numpy` for ours,
`jax.numpy` for JAX's twin, whose compiler fuses such code as it does its own. With
`half` set, products and attention run in that dtype, as in usual mixed precision:
parameters, norms, the residual stream and the loss stay in float32.
"""

import math
from dataclasses import dataclass

import numpy as np

from ..row import Row
from .elementwise import SQRT_2_OVER_PI
from .inputs import normal, uniform
from .normalise import suffix
from .optimiser import adam_step, moments, sgd_step, value_and_grad_torch

EPS = 1e-5


@dataclass(frozen=True)
class Sizes:
    """A transformer's extents; `words` is 0 for blocks without embeddings."""

    layers: int
    width: int
    heads: int
    length: int
    batch: int
    words: int = 0

    @property
    def flops(self) -> int:
        """Of a forward pass: products, the causal half of attention, logits."""
        places = self.batch * self.length
        block = 24 * self.width**2 + 2 * self.length * self.width
        return places * (self.layers * block + 2 * self.words * self.width)


def transformer(np, sizes, half=None):
    """`blocks(layers, x)` and `layer_norm(p, x)` in the names of the module `np`."""

    def cast(x):
        return x if half is None else x.astype(half)

    def wide(x):
        return x if half is None else x.astype(np.float32)

    def layer_norm(p, x):
        mean = np.mean(x, axis=-1, keepdims=True)
        variance = np.var(x, axis=-1, keepdims=True)
        return (x - mean) / np.sqrt(variance + EPS) * p["scale"] + p["shift"]

    def linear(p, x):
        return x @ cast(p["w"]) + cast(p["b"])

    def gelu(x):
        x = wide(x)
        return cast(
            0.5 * x * (1 + np.tanh(SQRT_2_OVER_PI * (x + 0.044715 * x * x * x)))
        )

    def attention(p, x):
        batch, length, width = x.shape
        qkv = linear(p["qkv"], x).reshape(batch, length, 3, sizes.heads, -1)
        q, k, v = np.transpose(qkv, (2, 0, 3, 1, 4))
        scores = wide(q @ np.swapaxes(k, -1, -2)) / math.sqrt(width // sizes.heads)
        scores = np.where(np.tril(np.ones((length, length), bool)), scores, -np.inf)
        e = np.exp(scores - np.max(scores, axis=-1, keepdims=True))
        mixed = cast(e / np.sum(e, axis=-1, keepdims=True)) @ v
        return linear(p["out"], np.swapaxes(mixed, 1, 2).reshape(x.shape))

    def blocks(layers, x):
        for p in layers:
            x = x + attention(p, cast(layer_norm(p["norm1"], x)))
            h = gelu(linear(p["up"], cast(layer_norm(p["norm2"], x))))
            x = x + linear(p["down"], h)
        return x

    return blocks, layer_norm


def block_loss(np, sizes, half=None):
    """Mean squared distance of what the blocks make of x from targets."""
    blocks, _ = transformer(np, sizes, half)

    def loss(params, x, targets):
        return np.mean((blocks(params, x) - targets) ** 2)

    return loss


def gpt_loss(np, sizes, half=None):
    """Mean cross-entropy of each next word."""
    blocks, layer_norm = transformer(np, sizes, half)

    def loss(params, words):
        inputs, targets = words[:, :-1], words[:, 1:]
        x = params["words"][inputs] + params["places"]
        x = layer_norm(params["norm"], blocks(params["blocks"], x))
        table = params["words"]
        if half is not None:
            x, table = x.astype(half), table.astype(half)
        z = (x @ table.T).astype(params["places"].dtype)
        z = z - np.max(z, axis=-1, keepdims=True)
        picked = np.take_along_axis(z, targets[:, :, None], axis=-1)[:, :, 0]
        return np.mean(np.log(np.sum(np.exp(z), axis=-1)) - picked)

    return loss


# --- torch ------------------------------------------------------------------------


def transformer_torch(torch, sizes, half=None):
    f = torch.nn.functional

    def cast(x):
        return x if half is None else x.to(half)

    def layer_norm(p, x):
        return f.layer_norm(x, x.shape[-1:], p["scale"], p["shift"], EPS)

    def linear(p, x):
        return f.linear(x, cast(p["w"]).T, cast(p["b"]))

    def attention(p, x):
        batch, length, _ = x.shape
        qkv = linear(p["qkv"], x).view(batch, length, 3, sizes.heads, -1)
        q, k, v = qkv.permute(2, 0, 3, 1, 4)
        mixed = f.scaled_dot_product_attention(q, k, v, is_causal=True)
        return linear(p["out"], mixed.transpose(1, 2).reshape(x.shape))

    def blocks(layers, x):
        for p in layers:
            x = x + attention(p, cast(layer_norm(p["norm1"], x)))
            h = linear(p["up"], cast(layer_norm(p["norm2"], x)))
            x = x + linear(p["down"], f.gelu(h, approximate="tanh"))
        return x

    return blocks, layer_norm


def block_loss_torch(torch, sizes, half=None):
    blocks, _ = transformer_torch(torch, sizes, half)
    mse = torch.nn.functional.mse_loss
    return lambda params, x, targets: mse(blocks(params, x), targets)


def gpt_loss_torch(torch, sizes, half=None):
    f = torch.nn.functional
    blocks, layer_norm = transformer_torch(torch, sizes, half)

    def loss(params, words):
        inputs, targets = words[:, :-1], words[:, 1:].long()
        x = f.embedding(inputs, params["words"]) + params["places"]
        x = layer_norm(params["norm"], blocks(params["blocks"], x))
        table = params["words"]
        if half is not None:
            x, table = x.to(half), table.to(half)
        z = (x @ table.T).to(params["places"].dtype)
        return f.cross_entropy(z.flatten(0, 1), targets.reshape(-1))

    return loss


# --- rows -------------------------------------------------------------------------


def block_parameters(rng, sizes):
    width = sizes.width

    def dense(n, m):
        return {
            "w": normal(rng, n, m, scale=1 / math.sqrt(n)),
            "b": normal(rng, m, scale=0.1),
        }

    def norm():
        return {
            "scale": uniform(rng, 0.5, 1.5, width),
            "shift": normal(rng, width, scale=0.1),
        }

    return [
        {
            "norm1": norm(),
            "qkv": dense(width, 3 * width),
            "out": dense(width, width),
            "norm2": norm(),
            "up": dense(width, 4 * width),
            "down": dense(4 * width, width),
        }
        for _ in range(sizes.layers)
    ]


def gpt_parameters(rng, sizes):
    return {
        "words": normal(rng, sizes.words, sizes.width, scale=0.1),
        "places": normal(rng, sizes.length, sizes.width, scale=0.1),
        "blocks": block_parameters(rng, sizes),
        "norm": {
            "scale": uniform(rng, 0.5, 1.5, sizes.width),
            "shift": normal(rng, sizes.width, scale=0.1),
        },
    }


def transformer_step_row(sizes: Sizes, name: str = "") -> Row:
    """A step of gradient descent on the blocks, in float32."""

    def make_inputs(rng):
        shape = (sizes.batch, sizes.length, sizes.width)
        return block_parameters(rng, sizes), normal(rng, *shape), normal(rng, *shape)

    size = sizes.batch * sizes.length * sizes.width
    weights = sizes.layers * 12 * sizes.width**2
    return Row(
        name=name or f"transformer_step_{sizes.layers}x{sizes.width}",
        make_inputs=make_inputs,
        tracejit_fn=lambda tj: sgd_step(tj.value_and_grad(block_loss(np, sizes))),
        jax_fn=lambda jax: sgd_step(jax.value_and_grad(block_loss(jax.numpy, sizes))),
        torch_fn=lambda torch: sgd_step(
            value_and_grad_torch(torch, block_loss_torch(torch, sizes))
        ),
        flops=3 * sizes.flops,
        bytes=4 * (2 * weights + 2 * size),
        rtol=1e-4,
    )


def gpt_step_row(sizes: Sizes, half: str | None = None, name: str = "gpt_step") -> Row:
    """A step of Adam on a GPT; with `half`, in mixed precision."""

    def make_inputs(rng):
        params = gpt_parameters(rng, sizes)
        words = rng.integers(sizes.words, size=(sizes.batch, sizes.length + 1))
        return params, *moments(rng, params), 10.0, words

    def ours(tj):
        dtype = np.dtype(half) if half else None
        return adam_step(tj.value_and_grad(gpt_loss(np, sizes, dtype)))

    def jax_fn(jax):
        jnp = jax.numpy
        loss = gpt_loss(jnp, sizes, half and jnp.dtype(half))
        return adam_step(jax.value_and_grad(loss), jnp.sqrt)

    def torch_fn(torch, half=half):
        loss = gpt_loss_torch(torch, sizes, half and getattr(torch, half))
        return adam_step(value_and_grad_torch(torch, loss), torch.sqrt)

    weights = sizes.width * (
        sizes.words + sizes.length + sizes.layers * 12 * sizes.width
    )
    return Row(
        name=name + suffix(half or "float32"),
        make_inputs=make_inputs,
        tracejit_fn=ours,
        jax_fn=jax_fn,
        torch_fn=torch_fn,
        torch_reference=lambda torch: torch_fn(torch, None),
        flops=3 * sizes.flops,
        bytes=4 * 6 * weights,
        arithmetic=half,
        rtol=1e-1 if half else 1e-3,
    )


BLOCK = Sizes(layers=1, width=256, heads=4, length=256, batch=8)
SIX_BLOCKS = Sizes(layers=6, width=256, heads=4, length=256, batch=8)
SMALL_GPT = Sizes(layers=4, width=256, heads=4, length=128, batch=8, words=4096)
GPT2 = Sizes(layers=12, width=768, heads=12, length=1024, batch=8, words=50304)

CORE = [transformer_step_row(BLOCK)]
MODELS = [
    transformer_step_row(SIX_BLOCKS),
    gpt_step_row(SMALL_GPT, name="gpt_step_4x256"),
]
