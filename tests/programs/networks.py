"""Pieces of neural networks: recurrence, attention, normalisation, convolution."""

import itertools
import math

import numpy as np

from .program import Program, arguments, normal


def sigmoid(x):
    return 1.0 / (1.0 + np.exp(-x))


def lstm_step(x, h, c, wx, wh, b):
    """One LSTM cell step; the gates are split from one product."""
    z = x @ wx + h @ wh + b
    i, f, g, o = np.split(z, 4, axis=-1)
    c = sigmoid(f + 1) * c + sigmoid(i) * np.tanh(g)
    return sigmoid(o) * np.tanh(c), c


def lstm_args(rng, dtype):
    return arguments(
        normal(rng, dtype, 5, 7),
        normal(rng, dtype, 5, 6),
        normal(rng, dtype, 5, 6),
        normal(rng, dtype, 7, 24) / 3,
        normal(rng, dtype, 6, 24) / 3,
        normal(rng, dtype, 24),
    )


def lstm_sequence(xs, wx, wh, b):
    """An LSTM over time; gates by slices, outputs written into a buffer."""
    steps, batch, _ = xs.shape
    n = wh.shape[0]
    h = np.zeros((batch, n), dtype=xs.dtype)
    c = np.zeros_like(h)
    out = np.empty((steps, batch, n), xs.dtype)
    for t in range(steps):
        z = xs[t] @ wx + h @ wh + b
        i, f, o = (sigmoid(z[:, k * n : (k + 1) * n]) for k in range(3))
        c = f * c + i * np.tanh(z[:, 3 * n :])
        h = o * np.tanh(c)
        out[t] = h
    return out, (h, c)


def lstm_sequence_args(rng, dtype):
    return arguments(
        normal(rng, dtype, 6, 3, 4),
        normal(rng, dtype, 4, 20) / 2,
        normal(rng, dtype, 5, 20) / 2,
        normal(rng, dtype, 20),
    )


def softmax(x):
    e = np.exp(x - x.max(axis=-1, keepdims=True))
    return e / e.sum(axis=-1, keepdims=True)


def attention_einsum(q, k, v):
    """Multi-head attention written with einsum."""
    scores = np.einsum("bhqd,bhkd->bhqk", q, k) / math.sqrt(q.shape[-1])
    return np.einsum("bhqk,bhkd->bhqd", softmax(scores), v)


def attention_args(rng, dtype):
    return arguments(*(normal(rng, dtype, 2, 3, 9, 8) for _ in range(3)))


def attention_causal(x, w_qkv, w_out, heads):
    """Causal self-attention: reshapes, transposes, matmul and a tril mask."""
    b, t, d = x.shape
    qkv = (x @ w_qkv).reshape(b, t, 3, heads, d // heads).transpose(2, 0, 3, 1, 4)
    q, k, v = qkv
    scores = q @ k.swapaxes(-1, -2) * (d // heads) ** -0.5
    mask = np.tril(np.ones((t, t), dtype=bool))
    scores = np.where(mask, scores, -1e9)
    y = (softmax(scores) @ v).transpose(0, 2, 1, 3).reshape(b, t, d)
    return y @ w_out


def attention_causal_args(rng, dtype):
    return arguments(
        normal(rng, dtype, 2, 7, 12),
        normal(rng, dtype, 12, 36) / 4,
        normal(rng, dtype, 12, 12) / 4,
        3,
    )


def layer_norm(x, gamma, beta, eps=1e-5):
    """Normalise the last axis."""
    mean = x.mean(axis=-1, keepdims=True)
    var = x.var(axis=-1, keepdims=True)
    return (x - mean) / np.sqrt(var + eps) * gamma + beta


def layer_norm_args(rng, dtype):
    x = normal(rng, dtype, 6, 33) * 2 + 1
    return arguments(x, normal(rng, dtype, 33), normal(rng, dtype, 33))


def layer_norm_backward(x, gamma, dy, eps=1e-5):
    """Gradients of layer norm, written by hand."""
    mu = np.mean(x, axis=-1, keepdims=True)
    rstd = 1 / np.sqrt(np.mean((x - mu) ** 2, axis=-1, keepdims=True) + eps)
    xhat = (x - mu) * rstd
    dxhat = dy * gamma
    dx = dxhat - dxhat.mean(-1, keepdims=True)
    dx -= xhat * (dxhat * xhat).mean(-1, keepdims=True)
    dx *= rstd
    return dx, (dy * xhat).sum(axis=0), dy.sum(axis=0)


def layer_norm_backward_args(rng, dtype):
    return arguments(
        normal(rng, dtype, 8, 20), normal(rng, dtype, 20), normal(rng, dtype, 8, 20)
    )


def batch_norm_train(x, gamma, beta, running, momentum=0.9, eps=1e-5):
    """Batch norm over NCHW images; the running statistics are updated in place."""
    mean = x.mean(axis=(0, 2, 3))
    var = x.var(axis=(0, 2, 3))
    running["mean"] *= momentum
    running["mean"] += (1 - momentum) * mean
    running["var"][...] = momentum * running["var"] + (1 - momentum) * var
    scale = gamma / np.sqrt(var + eps)
    return (x - mean[:, None, None]) * scale[:, None, None] + beta[:, None, None]


def batch_norm_args(rng, dtype):
    running = {"mean": np.zeros(3, dtype), "var": np.ones(3, dtype)}
    x = normal(rng, dtype, 4, 3, 5, 6) * 2 + 1
    return arguments(x, normal(rng, dtype, 3), normal(rng, dtype, 3), running)


def conv_windows_einsum(x, w, b):
    """Valid 2-D convolution, NCHW, over sliding windows."""
    kh, kw = w.shape[2:]
    windows = np.lib.stride_tricks.sliding_window_view(x, (kh, kw), axis=(2, 3))
    out = np.einsum("nchwij,ocij->nohw", windows, w) + b[:, None, None]
    return np.maximum(out, 0)


def conv_args(rng, dtype):
    return arguments(
        normal(rng, dtype, 2, 3, 9, 8),
        normal(rng, dtype, 4, 3, 3, 3) / 5,
        normal(rng, dtype, 4),
    )


def conv_strided_tensordot(x, w):
    """Padded NHWC convolution of stride 2 by tensordot, then 2x2 max pooling."""
    x = np.pad(x, ((0, 0), (1, 1), (1, 1), (0, 0)))
    windows = np.lib.stride_tricks.sliding_window_view(x, w.shape[:2], axis=(1, 2))
    y = np.tensordot(windows[:, ::2, ::2], w, axes=([3, 4, 5], [2, 0, 1]))
    n, h, width, c = y.shape
    return y.reshape(n, h // 2, 2, width // 2, 2, c).max(axis=(2, 4))


def conv_strided_args(rng, dtype):
    return arguments(normal(rng, dtype, 2, 12, 16, 3), normal(rng, dtype, 3, 3, 3, 5))


def mlp_train_step(params, x, y, lr):
    """Forward, hand-written backward and an SGD update that writes the weights."""
    activations = [x]
    for layer in params[:-1]:
        x = np.tanh(x @ layer["w"] + layer["b"])
        activations.append(x)
    error = x @ params[-1]["w"] + params[-1]["b"] - y
    loss = 0.5 * np.mean(error**2)
    delta = error / error.size
    for layer, a in zip(reversed(params), reversed(activations), strict=True):
        grad_w, grad_b = a.T @ delta, delta.sum(axis=0)
        delta = delta @ layer["w"].T * (1 - a**2)
        layer["w"] -= lr * grad_w
        layer["b"] -= lr * grad_b
    return loss


def mlp_args(rng, dtype):
    sizes = [5, 16, 8, 2]
    params = [
        {"w": normal(rng, dtype, m, n) / m**0.5, "b": np.zeros(n, dtype)}
        for m, n in itertools.pairwise(sizes)
    ]
    return arguments(params, normal(rng, dtype, 12, 5), normal(rng, dtype, 12, 2), 0.1)


def embedding_bag(table, tokens, lengths):
    """Mean of the embeddings of each row's first `length` tokens, then GELU."""
    valid = np.arange(tokens.shape[1]) < lengths[:, None]
    rows = table[tokens] * valid[..., None]
    mean = rows.sum(axis=1) / np.maximum(lengths, 1)[:, None].astype(table.dtype)
    inner = math.sqrt(2 / math.pi) * (mean + 0.044715 * mean**3)
    return 0.5 * mean * (1 + np.tanh(inner))


def embedding_args(rng, dtype):
    return arguments(
        normal(rng, dtype, 20, 6),
        rng.integers(0, 20, (5, 9)),
        np.array([9, 3, 0, 1, 7]),
    )


PROGRAMS = (
    Program("lstm_step", lstm_step, lstm_args),
    Program("lstm_sequence", lstm_sequence, lstm_sequence_args),
    Program("attention_einsum", attention_einsum, attention_args),
    Program("attention_causal", attention_causal, attention_causal_args),
    Program("layer_norm", layer_norm, layer_norm_args),
    Program("layer_norm_backward", layer_norm_backward, layer_norm_backward_args),
    Program("batch_norm_train", batch_norm_train, batch_norm_args),
    Program("conv_windows_einsum", conv_windows_einsum, conv_args),
    Program("conv_strided_tensordot", conv_strided_tensordot, conv_strided_args),
    Program("mlp_train_step", mlp_train_step, mlp_args),
    Program("embedding_bag", embedding_bag, embedding_args),
)
