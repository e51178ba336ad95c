"""The rows: programs in plain NumPy, and their twins in PyTorch and JAX.

Inputs are made as float32 on the host and cast to the row's dtype. Twins use each
library's own best function for the job. `scale` divides the sizes, for tests.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from types import ModuleType
from typing import Any

import numpy as np

import tracejit as tj

Function = Callable[..., Any]


@dataclass(frozen=True, kw_only=True)
class Row:
    """One program.

    Parameters
    ----------
    name : str
    dtype : str
        ``float32`` or ``bfloat16``.
    shapes : sequence of tuple of int
        Of the arguments.
    ours : callable
        Plain NumPy, put under `jit` as it is.
    torch, jax : callable
        ``module -> function``; jax's may be None where there is no twin.
    bytes, flops : int
        What has to be moved and computed, at least.
    rtol : float
        Largest error, relative to the largest element.
    """

    name: str
    dtype: str = "float32"
    shapes: tuple[tuple[int, ...], ...]
    ours: Function
    torch: Callable[[ModuleType], Function]
    jax: Callable[[ModuleType], Function] | None = None
    bytes: int
    flops: int = 0
    rtol: float = 1e-4

    def inputs(self) -> list[np.ndarray]:
        """Return the arguments as float32."""
        rng = np.random.default_rng(len(self.name))
        return [
            rng.standard_normal(s, np.float32) / np.float32(max(s[-1:] or (1,)) ** 0.25)
            for s in self.shapes
        ]


def size_of(dtype: str) -> int:
    """Return the bytes of an element."""
    return {"float32": 4, "bfloat16": 2}[dtype]


# --- pointwise --------------------------------------------------------------------


def gelu_chain(x: Any, y: Any) -> Any:
    """Two activations and a product."""
    z = 0.5 * x * (1 + np.tanh(0.7978845608 * (x + 0.044715 * x * x * x)))
    return z * y + np.maximum(x, 0)


def _torch_gelu(torch: ModuleType) -> Function:
    gelu = torch.nn.functional.gelu
    return lambda x, y: gelu(x, approximate="tanh") * y + torch.relu(x)


def _jax_gelu(jax: ModuleType) -> Function:
    return lambda x, y: jax.nn.gelu(x, approximate=True) * y + jax.nn.relu(x)


def pointwise(scale: int) -> Iterator[Row]:
    """Rows that move memory and compute little."""
    for dtype in ("float32", "bfloat16"):
        n = (1 << 26) // scale
        yield Row(
            name=f"gelu_chain_{dtype}",
            dtype=dtype,
            shapes=((n,), (n,)),
            ours=gelu_chain,
            torch=_torch_gelu,
            jax=_jax_gelu,
            bytes=3 * n * size_of(dtype),
            rtol=1e-4 if dtype == "float32" else 2e-2,
        )


# --- rows -------------------------------------------------------------------------


def softmax(x: Any) -> Any:
    """Softmax over the last axis."""
    e = np.exp(x - np.max(x, axis=-1, keepdims=True))
    return e / np.sum(e, axis=-1, keepdims=True)


def layer_norm(x: Any, g: Any, b: Any) -> Any:
    """Layer norm over the last axis."""
    mean = np.mean(x, axis=-1, keepdims=True)
    var = np.var(x, axis=-1, keepdims=True)
    return (x - mean) / np.sqrt(var + 1e-5) * g + b


def rms_norm(x: Any, g: Any) -> Any:
    """Root-mean-square norm over the last axis."""
    return x / np.sqrt(np.mean(x * x, axis=-1, keepdims=True) + 1e-6) * g


def layer_norm_step(x: Any, g: Any, b: Any, ct: Any) -> Any:
    """Gradients of a weighted sum of a layer norm."""
    return tj.grad(lambda *a: np.sum(layer_norm(*a) * ct), argnums=(0, 1, 2))(x, g, b)


def _torch_layer_norm(torch: ModuleType) -> Function:
    return lambda x, g, b: torch.nn.functional.layer_norm(x, x.shape[-1:], g, b, 1e-5)


def _torch_layer_norm_step(torch: ModuleType) -> Function:
    forward = _torch_layer_norm(torch)

    def step(x: Any, g: Any, b: Any, ct: Any) -> Any:
        args = [a.detach().requires_grad_() for a in (x, g, b)]
        return torch.autograd.grad(forward(*args), args, ct)

    return step


def _jax_layer_norm(jax: ModuleType) -> Function:
    jnp = jax.numpy

    def forward(x: Any, g: Any, b: Any) -> Any:
        mean, var = jnp.mean(x, -1, keepdims=True), jnp.var(x, -1, keepdims=True)
        return (x - mean) / jnp.sqrt(var + 1e-5) * g + b

    return forward


def _jax_layer_norm_step(jax: ModuleType) -> Function:
    forward = _jax_layer_norm(jax)

    def step(x: Any, g: Any, b: Any, ct: Any) -> Any:
        return jax.grad(lambda *a: (forward(*a) * ct).sum(), argnums=(0, 1, 2))(x, g, b)

    return step


def _torch_rms(torch: ModuleType) -> Function:
    return lambda x, g: torch.nn.functional.rms_norm(x, x.shape[-1:], g, 1e-6)


def _jax_rms(jax: ModuleType) -> Function:
    jnp = jax.numpy
    return lambda x, g: x / jnp.sqrt(jnp.mean(x * x, -1, keepdims=True) + 1e-6) * g


def row_reductions(scale: int) -> Iterator[Row]:
    """Softmax and norms, short rows and long ones."""
    n = (1 << 25) // scale
    for columns in (256, 1024, 4096, 65536, 262144):
        columns = max(columns // scale, 8)
        yield Row(
            name=f"softmax_{columns}",
            shapes=((n // columns, columns),),
            ours=softmax,
            torch=lambda torch: lambda x: torch.softmax(x, -1),
            jax=lambda jax: lambda x: jax.nn.softmax(x),
            bytes=8 * n,
        )
    d = max(4096 // scale, 8)
    yield Row(
        name="layer_norm_4096",
        shapes=((n // d, d), (d,), (d,)),
        ours=layer_norm,
        torch=_torch_layer_norm,
        jax=_jax_layer_norm,
        bytes=8 * n,
    )
    yield Row(
        name="layer_norm_backward_4096",
        shapes=((n // d, d), (d,), (d,), (n // d, d)),
        ours=layer_norm_step,
        torch=_torch_layer_norm_step,
        jax=_jax_layer_norm_step,
        bytes=12 * n,
        rtol=1e-3,
    )
    yield Row(
        name="rms_norm_4096",
        shapes=((n // d, d), (d,)),
        ours=rms_norm,
        torch=_torch_rms,
        jax=_jax_rms,
        bytes=8 * n,
    )


def reductions(scale: int) -> Iterator[Row]:
    """Sums of everything, of rows and of columns; the largest of each row."""
    n, side = (1 << 26) // scale, max(8192 // scale, 8)
    simple = {
        "sum_all": (((n,),), lambda x: np.sum(x), lambda x: x.sum(), n),
        "sum_columns": (
            ((side, side),),
            lambda x: np.sum(x, axis=0),
            lambda x: x.sum(0),
            side * side,
        ),
        "argmax_rows": (
            ((side, side),),
            lambda x: np.argmax(x, axis=1),
            lambda x: x.argmax(1),
            side * side,
        ),
    }
    for name, (shapes, ours, twin, elements) in simple.items():
        yield Row(
            name=name,
            shapes=shapes,
            ours=ours,
            torch=lambda torch, twin=twin: twin,
            jax=lambda jax, twin=twin: twin,
            bytes=4 * elements,
        )


# --- products ---------------------------------------------------------------------


def matmul(x: Any, y: Any) -> Any:
    """A product."""
    return x @ y


def matmul_gelu(x: Any, w: Any, b: Any) -> Any:
    """A layer: product, bias, activation."""
    h = x @ w + b
    return 0.5 * h * (1 + np.tanh(0.7978845608 * (h + 0.044715 * h * h * h)))


def _torch_layer(torch: ModuleType) -> Function:
    gelu = torch.nn.functional.gelu
    return lambda x, w, b: gelu(torch.addmm(b, x, w), approximate="tanh")


def _jax_layer(jax: ModuleType) -> Function:
    return lambda x, w, b: jax.nn.gelu(x @ w + b, approximate=True)


def products(scale: int) -> Iterator[Row]:
    """Products of large, skinny and batched matrices, with and without an epilogue."""
    shapes = {
        "1024": (1024, 1024, 1024),
        "4096": (4096, 4096, 4096),
        "8192": (8192, 8192, 8192),
        "skinny": (16, 8192, 8192),
    }
    for name, sizes in shapes.items():
        m, n, k = (max(s // scale, 16) for s in sizes)
        yield Row(
            name=f"matmul_{name}_bfloat16",
            dtype="bfloat16",
            shapes=((m, k), (k, n)),
            ours=matmul,
            torch=lambda torch: torch.matmul,
            jax=lambda jax: jax.numpy.matmul,
            bytes=2 * (m * k + k * n + m * n),
            flops=2 * m * n * k,
            rtol=2e-2,
        )
    m = max(4096 // scale, 16)
    yield Row(
        name="matmul_4096_gelu_bfloat16",
        dtype="bfloat16",
        shapes=((m, m), (m, m), (m,)),
        ours=matmul_gelu,
        torch=_torch_layer,
        jax=_jax_layer,
        bytes=6 * m * m,
        flops=2 * m**3,
        rtol=3e-2,
    )
    b, m = max(64 // scale, 2), max(512 // scale, 16)
    yield Row(
        name="matmul_batched_bfloat16",
        dtype="bfloat16",
        shapes=((b, m, m), (b, m, m)),
        ours=matmul,
        torch=lambda torch: torch.matmul,
        jax=lambda jax: jax.numpy.matmul,
        bytes=6 * b * m * m,
        flops=2 * b * m**3,
        rtol=2e-2,
    )


def attention(q: Any, k: Any, v: Any) -> Any:
    """Attention, written out."""
    s = q @ k.swapaxes(-1, -2) * (1.0 / np.sqrt(q.shape[-1])).astype(q.dtype)
    return softmax(s) @ v


def _torch_attention(torch: ModuleType) -> Function:
    return torch.nn.functional.scaled_dot_product_attention


def _jax_attention(jax: ModuleType) -> Function:
    def forward(q: Any, k: Any, v: Any) -> Any:
        s = q @ k.swapaxes(-1, -2) / q.shape[-1] ** 0.5
        return jax.nn.softmax(s) @ v

    return forward


def attentions(scale: int) -> Iterator[Row]:
    """Attention of whole heads."""
    b, h, s, d = max(4 // scale, 1), max(16 // scale, 1), max(4096 // scale, 32), 64
    shape = (b, h, s, d)
    yield Row(
        name="attention_4096_bfloat16",
        dtype="bfloat16",
        shapes=(shape, shape, shape),
        ours=attention,
        torch=_torch_attention,
        jax=_jax_attention,
        bytes=8 * b * h * s * d,
        flops=4 * b * h * s * s * d,
        rtol=3e-2,
    )


# --- steps ------------------------------------------------------------------------


def mlp_step(x: Any, y: Any, w1: Any, b1: Any, w2: Any, b2: Any) -> Any:
    """One step of gradient descent on a network of two layers."""

    def loss(w1: Any, b1: Any, w2: Any, b2: Any) -> Any:
        hidden = np.maximum(x @ w1 + b1, 0)
        return np.mean((hidden @ w2 + b2 - y) ** 2)

    grads = tj.grad(loss, argnums=(0, 1, 2, 3))(w1, b1, w2, b2)
    params = (w1, b1, w2, b2)
    return tuple(p - np.float32(0.1) * g for p, g in zip(params, grads, strict=True))


def _torch_mlp(torch: ModuleType) -> Function:
    def step(x: Any, y: Any, *params: Any) -> Any:
        p = [a.detach().requires_grad_() for a in params]
        hidden = torch.relu(torch.addmm(p[1], x, p[0]))
        loss = ((torch.addmm(p[3], hidden, p[2]) - y) ** 2).mean()
        grads = torch.autograd.grad(loss, p)
        return tuple(a - 0.1 * g for a, g in zip(params, grads, strict=True))

    return step


def _jax_mlp(jax: ModuleType) -> Function:
    jnp = jax.numpy

    def step(x: Any, y: Any, *params: Any) -> Any:
        def loss(w1: Any, b1: Any, w2: Any, b2: Any) -> Any:
            return jnp.mean((jax.nn.relu(x @ w1 + b1) @ w2 + b2 - y) ** 2)

        grads = jax.grad(loss, argnums=(0, 1, 2, 3))(*params)
        return tuple(a - 0.1 * g for a, g in zip(params, grads, strict=True))

    return step


def steps(scale: int) -> Iterator[Row]:
    """Whole steps of many kernels, and calls that are all overhead."""
    n, d, h = (max(s // scale, 16) for s in (1024, 1024, 4096))
    yield Row(
        name="mlp_step_1024",
        shapes=((n, d), (n, d), (d, h), (h,), (h, d), (d,)),
        ours=mlp_step,
        torch=_torch_mlp,
        jax=_jax_mlp,
        bytes=4 * (3 * n * d + 6 * d * h),
        flops=10 * n * d * h,
        rtol=2e-3,
    )
    yield Row(
        name="add_8",
        shapes=((8,), (8,)),
        ours=lambda x, y: x + y,
        torch=lambda torch: torch.add,
        jax=lambda jax: jax.numpy.add,
        bytes=96,
    )


# --- what is no loop nest ---------------------------------------------------------

_STEPS = 1024  # a power of two: places are the same in every precision


def count_weights(x: Any, y: Any) -> Any:
    """Sum `y` by the places that `x` says."""
    out = y * 0
    np.add.at(out, (np.abs(x) * _STEPS).astype(np.int32), y)
    return out


def _torch_count(torch: ModuleType) -> Function:
    def count(x: Any, y: Any) -> Any:
        places = (x.abs() * _STEPS).to(torch.int64)
        return torch.zeros_like(y).index_add_(0, places, y)

    return count


def _jax_count(jax: ModuleType) -> Function:
    def count(x: Any, y: Any) -> Any:
        places = (abs(x) * _STEPS).astype("int32")
        return (y * 0).at[places].add(y)

    return count


def turned(x: Any, y: Any) -> Any:
    """The size of a product of complex numbers."""
    z = x + 1j * y
    return np.abs(z * np.exp(1j * x) + 1)


def _torch_turned(torch: ModuleType) -> Function:
    def turned(x: Any, y: Any) -> Any:
        z = torch.complex(x, y)
        return (z * torch.exp(1j * x) + 1).abs()

    return turned


def _jax_turned(jax: ModuleType) -> Function:
    return lambda x, y: abs((x + 1j * y) * jax.numpy.exp(1j * x) + 1)


def others(scale: int) -> Iterator[Row]:
    """Rows of few kinds, each of one million elements and more."""
    n = max((1 << 22) // scale, 512)
    yield Row(
        name="sort_4m",
        shapes=((n,),),
        ours=lambda x: np.sort(x),
        torch=lambda torch: lambda x: torch.sort(x)[0],
        jax=lambda jax: jax.numpy.sort,
        bytes=8 * n,
    )
    yield Row(
        name="add_at_4m",
        shapes=((n,), (n,)),
        ours=count_weights,
        torch=_torch_count,
        jax=_jax_count,
        bytes=20 * n,
    )
    yield Row(
        name="complex_chain_4m",
        shapes=((n,), (n,)),
        ours=turned,
        torch=_torch_turned,
        jax=_jax_turned,
        bytes=12 * n,
    )


def all_rows(scale: int = 1) -> list[Row]:
    """Return the rows, cheap and telling ones first."""
    parts = (
        *(pointwise, row_reductions, reductions, products, attentions),
        *(steps, others),
    )
    return [row for part in parts for row in part(scale)]
