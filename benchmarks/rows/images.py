"""Convolutions: alone, in a residual block, and in ResNets as whole train steps.

Programs are plain NumPy with `tracejit.nn` for convolutions and pools. As in
`language`, they are written against a module with NumPy's names, with `half` for mixed
precision: convolutions run in it, batch norms compute in float32. Batch norms use the
statistics of the batch and keep none.
"""

import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from types import ModuleType

import numpy as np

import tracejit.nn as nn

from ..row import Row
from .inputs import normal, uniform
from .normalise import suffix
from .optimiser import sgd_step, value_and_grad_torch

EPS = 1e-5
NO_NUMPY = {"numpy": "NumPy has no convolution"}
Shape = tuple[int, int, int, int]


@dataclass(frozen=True)
class Library:
    """What a program of images needs: NumPy's names, and two functions of networks."""

    np: ModuleType
    conv: Callable
    max_pool: Callable


OURS = Library(np, nn.conv, nn.max_pool)


def jax_library(jax) -> Library:
    lax = jax.lax

    def conv(x, w, stride=1, padding=0, groups=1):
        return lax.conv_general_dilated(
            x,
            w,
            (stride, stride),
            [(padding, padding)] * 2,
            dimension_numbers=("NCHW", "OIHW", "NCHW"),
            feature_group_count=groups,
        )

    def max_pool(x, window, stride, padding):
        sizes, steps = (1, 1, window, window), (1, 1, stride, stride)
        edges = [(0, 0), (0, 0), (padding, padding), (padding, padding)]
        return lax.reduce_window(x, -np.inf, lax.max, sizes, steps, edges)

    return Library(jax.numpy, conv, max_pool)


# --- one convolution --------------------------------------------------------------


def conv_row(
    x: Shape, w: Shape, dtype: str = "float32", stride: int = 1, groups: int = 1
) -> Row:
    """A convolution that keeps the extents, but for its stride."""
    (batch, _, height, width), (out, channels, window, _) = x, w
    pad = window // 2
    places = batch * (height // stride) * (width // stride)

    def program(library):
        return lambda x, w: library.conv(
            x, w, stride=stride, padding=pad, groups=groups
        )

    def torch_fn(torch):
        conv = torch.nn.functional.conv2d
        return lambda x, w: conv(x, w, None, stride, pad, 1, groups)

    sizes = "x".join(map(str, (*x, out, window)))
    kind = "conv" if groups == 1 else "depthwise"
    size = math.prod(x) + math.prod(w) + places * out
    return Row(
        name=f"{kind}_{sizes}{'_stride' if stride > 1 else ''}{suffix(dtype)}",
        make_inputs=lambda rng: (
            normal(rng, *x),
            normal(rng, *w, scale=1 / math.sqrt(channels * window**2)),
        ),
        numpy_fn=program(OURS),
        jax_fn=lambda jax: program(jax_library(jax)),
        torch_fn=torch_fn,
        without=NO_NUMPY,
        dtype=dtype,
        flops=2 * places * out * channels * window**2,
        bytes=np.dtype(dtype).itemsize * size,
        rtol=1e-5 if dtype == "float32" else 2e-2,
        has_images=True,
    )


# --- residual block ---------------------------------------------------------------


def residual(library):
    """relu(conv(relu(conv(x) + b1)) + b2 + x)."""
    maximum = library.np.maximum

    def residual(x, w1, b1, w2, b2):
        h = maximum(library.conv(x, w1, padding=1) + b1[:, None, None], 0)
        return maximum(library.conv(h, w2, padding=1) + b2[:, None, None] + x, 0)

    return residual


def residual_torch(torch):
    conv = torch.nn.functional.conv2d

    def residual(x, w1, b1, w2, b2):
        h = torch.relu(conv(x, w1, b1, padding=1))
        return torch.relu(conv(h, w2, b2, padding=1) + x)

    return residual


def residual_grad(tj):
    program = residual(OURS)

    def gradients(*args):
        cotangent = args[-1]

        def loss(*args):
            return np.sum(program(*args) * cotangent)

        return tj.grad(loss, argnums=(0, 1, 2, 3, 4))(*args[:-1])

    return gradients


def residual_grad_jax(jax):
    program = residual(jax_library(jax))
    return lambda *args: jax.vjp(program, *args[:-1])[1](args[-1])


def residual_grad_torch(torch):
    program = residual_torch(torch)

    def gradients(*args):
        inputs = [a.detach().requires_grad_() for a in args[:-1]]
        return torch.autograd.grad(program(*inputs), inputs, args[-1])

    return gradients


def residual_inputs(shape):
    channels = shape[1]

    def make_inputs(rng):
        filters = [
            normal(rng, channels, channels, 3, 3, scale=1 / math.sqrt(9 * channels))
            for _ in range(2)
        ]
        b1, b2 = (normal(rng, channels, scale=0.1) for _ in range(2))
        return normal(rng, *shape), filters[0], b1, filters[1], b2

    return make_inputs


def residual_rows(shape: Shape) -> list[Row]:
    """The block forward, and its gradients."""
    channels = shape[1]
    size = math.prod(shape)
    inputs = residual_inputs(shape)
    flops = 2 * 2 * 9 * size * channels
    name = "x".join(map(str, shape))
    return [
        Row(
            name=f"residual_conv_{name}",
            make_inputs=inputs,
            numpy_fn=residual(OURS),
            jax_fn=lambda jax: residual(jax_library(jax)),
            torch_fn=residual_torch,
            without=NO_NUMPY,
            flops=flops,
            bytes=4 * 2 * size,
            has_images=True,
        ),
        Row(
            name=f"residual_conv_grad_{name}",
            make_inputs=lambda rng: (*inputs(rng), normal(rng, *shape)),
            tracejit_fn=residual_grad,
            jax_fn=residual_grad_jax,
            torch_fn=residual_grad_torch,
            flops=3 * flops,
            bytes=4 * 3 * size,
            rtol=1e-4,
            has_images=True,
        ),
    ]


# --- ResNet -----------------------------------------------------------------------


@dataclass(frozen=True)
class ResNet:
    """Bottleneck blocks in stages; ResNet-50 is (3, 4, 6, 3) of width 64 on 224."""

    stages: tuple[int, ...]
    width: int
    image: int
    batch: int
    classes: int

    def blocks(self) -> Iterator[tuple[int, int, int, int, bool]]:
        """(channels in, inner, out, stride, whether the shortcut is a convolution)."""
        channels = self.width
        for stage, count in enumerate(self.stages):
            inner = self.width << stage
            for block in range(count):
                stride = 2 if stage and not block else 1
                yield channels, inner, 4 * inner, stride, not block
                channels = 4 * inner

    @property
    def flops(self) -> int:
        """Of all convolutions and the last layer, forward."""
        side = self.image // 2
        total = 49 * 3 * self.width * side**2
        side //= 2
        channels = self.width
        for channels_in, inner, out, stride, has_conv in self.blocks():
            total += channels_in * inner * side**2
            side //= stride
            total += (9 * inner * inner + inner * out) * side**2
            total += has_conv * channels_in * out * side**2
            channels = out
        return 2 * self.batch * (total + channels * self.classes)


def resnet_loss(library, net, half=None):
    """Mean cross-entropy over classes."""
    np = library.np

    def cast(x):
        return x if half is None else x.astype(half)

    def conv_norm(p, x, stride=1):
        window = p["w"].shape[-1]
        x = library.conv(cast(x), cast(p["w"]), stride=stride, padding=window // 2)
        x = x.astype(p["scale"].dtype)
        mean = np.mean(x, axis=(0, 2, 3), keepdims=True)
        variance = np.var(x, axis=(0, 2, 3), keepdims=True)
        x = (x - mean) / np.sqrt(variance + EPS)
        return x * p["scale"][:, None, None] + p["shift"][:, None, None]

    def block(p, x, stride):
        h = cast(np.maximum(conv_norm(p["first"], x), 0))
        h = cast(np.maximum(conv_norm(p["second"], h, stride), 0))
        short = conv_norm(p["short"], x, stride) if "short" in p else x
        return cast(np.maximum(conv_norm(p["third"], h) + short, 0))

    def loss(params, x, labels):
        x = cast(np.maximum(conv_norm(params["stem"], x, 2), 0))
        x = library.max_pool(x, 3, 2, 1)
        for p, (_, _, _, stride, _) in zip(params["blocks"], net.blocks(), strict=True):
            x = block(p, x, stride)
        x = np.mean(x.astype(params["b"].dtype), axis=(2, 3))
        z = x @ params["w"] + params["b"]
        z = z - np.max(z, axis=-1, keepdims=True)
        picked = np.take_along_axis(z, labels[:, None], axis=-1)[:, 0]
        return np.mean(np.log(np.sum(np.exp(z), axis=-1)) - picked)

    return loss


def resnet_loss_torch(torch, net, half=None):
    f = torch.nn.functional

    def cast(x):
        return x if half is None else x.to(half)

    def conv_norm(p, x, stride=1):
        window = p["w"].shape[-1]
        x = f.conv2d(cast(x), cast(p["w"]), None, stride, window // 2)
        return f.batch_norm(x, None, None, p["scale"], p["shift"], True, 0.0, EPS)

    def block(p, x, stride):
        h = torch.relu(conv_norm(p["first"], x))
        h = torch.relu(conv_norm(p["second"], h, stride))
        short = conv_norm(p["short"], x, stride) if "short" in p else x
        return torch.relu(conv_norm(p["third"], h) + short)

    def loss(params, x, labels):
        x = torch.relu(conv_norm(params["stem"], x, 2))
        x = f.max_pool2d(x, 3, 2, 1)
        for p, (_, _, _, stride, _) in zip(params["blocks"], net.blocks(), strict=True):
            x = block(p, x, stride)
        x = x.to(params["b"].dtype).mean((2, 3))
        return f.cross_entropy(x @ params["w"] + params["b"], labels.long())

    return loss


def resnet_parameters(rng, net):
    def conv(channels, out, window):
        scale = math.sqrt(2 / (channels * window**2))
        return {
            "w": normal(rng, out, channels, window, window, scale=scale),
            "scale": uniform(rng, 0.5, 1.5, out),
            "shift": normal(rng, out, scale=0.1),
        }

    def block(channels, inner, out, has_conv):
        p = {
            "first": conv(channels, inner, 1),
            "second": conv(inner, inner, 3),
            "third": conv(inner, out, 1),
        }
        return p | {"short": conv(channels, out, 1)} if has_conv else p

    blocks = [block(a, b, c, has) for a, b, c, _, has in net.blocks()]
    last = blocks[-1]["third"]["w"].shape[0]
    return {
        "stem": conv(3, net.width, 7),
        "blocks": blocks,
        "w": normal(rng, last, net.classes, scale=1 / math.sqrt(last)),
        "b": normal(rng, net.classes, scale=0.1),
    }


def resnet_step_row(net: ResNet, half: str | None = None, name: str = "resnet") -> Row:
    """A step of gradient descent on a ResNet; with `half`, in mixed precision."""

    def make_inputs(rng):
        x = normal(rng, net.batch, 3, net.image, net.image)
        labels = rng.integers(net.classes, size=net.batch)
        return resnet_parameters(rng, net), x, labels

    def ours(tj):
        dtype = np.dtype(half) if half else None
        return sgd_step(tj.value_and_grad(resnet_loss(OURS, net, dtype)))

    def jax_fn(jax):
        dtype = half and jax.numpy.dtype(half)
        return sgd_step(jax.value_and_grad(resnet_loss(jax_library(jax), net, dtype)))

    def torch_fn(torch, half=half):
        loss = resnet_loss_torch(torch, net, half and getattr(torch, half))
        return sgd_step(value_and_grad_torch(torch, loss))

    return Row(
        name=name + suffix(half or "float32"),
        make_inputs=make_inputs,
        tracejit_fn=ours,
        jax_fn=jax_fn,
        torch_fn=torch_fn,
        torch_reference=lambda torch: torch_fn(torch, None),
        flops=3 * net.flops,
        arithmetic=half,
        bytes=4 * 3 * net.batch * 3 * net.image**2,
        rtol=1.5e-1 if half else 1e-3,
        has_images=True,
    )


SMALL_RESNET = ResNet(stages=(1, 1, 1, 1), width=32, image=64, batch=16, classes=100)
RESNET50 = ResNet(stages=(3, 4, 6, 3), width=64, image=224, batch=64, classes=1000)

CORE = residual_rows((32, 64, 32, 32))
MODELS = [resnet_step_row(SMALL_RESNET, name="resnet_14_step")]
