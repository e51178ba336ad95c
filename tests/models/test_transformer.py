"""A small GPT-2: two layers, causal attention, layer norms, gelu, tied embeddings."""

import numpy as np
import pytest

import tracejit as tj

from .checks import check_compiled, check_model, compare_with_jax

HEADS, WIDTH, WORDS, LENGTH, BATCH = 2, 8, 11, 6, 2


def layer_norm(p, x):
    centred = x - x.mean(axis=-1, keepdims=True)
    variance = (centred**2).mean(axis=-1, keepdims=True)
    return centred / np.sqrt(variance + 1e-5) * p["scale"] + p["shift"]


def gelu(x):
    return 0.5 * x * (1 + np.tanh(np.sqrt(2 / np.pi) * (x + 0.044715 * x**3)))


def linear(p, x):
    return x @ p["w"] + p["b"]


def attention(p, x):
    batch, length, width = x.shape
    qkv = linear(p["qkv"], x).reshape(batch, length, 3, HEADS, width // HEADS)
    q, k, v = np.moveaxis(qkv, (2, 3), (0, 2))
    scores = q @ np.swapaxes(k, -1, -2) / np.sqrt(width // HEADS)
    causal = np.tril(np.ones((length, length), bool))
    scores = np.where(causal, scores, -np.inf)
    e = np.exp(scores - scores.max(axis=-1, keepdims=True))
    mixed = (e / e.sum(axis=-1, keepdims=True)) @ v
    return linear(p["out"], np.moveaxis(mixed, 1, 2).reshape(x.shape))


def block(p, x):
    x = x + attention(p, layer_norm(p["norm1"], x))
    return x + linear(p["down"], gelu(linear(p["up"], layer_norm(p["norm2"], x))))


def logits(params, tokens):
    x = params["words"][tokens] + params["places"][: tokens.shape[1]]
    for p in params["blocks"]:
        x = block(p, x)
    return layer_norm(params["norm"], x) @ params["words"].T


def loss(params, tokens):
    z = logits(params, tokens[:, :-1])
    z = z - z.max(axis=-1, keepdims=True)
    log_p = z - np.log(np.exp(z).sum(axis=-1, keepdims=True))
    return -np.take_along_axis(log_p, tokens[:, 1:, None], axis=-1).mean()


def step(params, tokens):
    value, gradient = tj.value_and_grad(loss)(params, tokens)
    return value, descend(params, gradient)


def descend(params, gradient):
    if isinstance(params, dict):
        return {k: descend(params[k], gradient[k]) for k in params}
    if isinstance(params, list):
        return [descend(p, g) for p, g in zip(params, gradient, strict=True)]
    return params - 0.3 * gradient


def parameters(rng, layers=2, width=WIDTH):
    def dense(n, m):
        return {"w": rng.normal(size=(n, m)) / np.sqrt(n), "b": rng.normal(size=m) / 9}

    def norm():
        return {"scale": rng.uniform(0.5, 1.5, width), "shift": rng.normal(size=width)}

    blocks = [
        {
            "norm1": norm(),
            "qkv": dense(width, 3 * width),
            "out": dense(width, width),
            "norm2": norm(),
            "up": dense(width, 4 * width),
            "down": dense(4 * width, width),
        }
        for _ in range(layers)
    ]
    words, places = rng.normal(size=(WORDS, width)), rng.normal(size=(LENGTH, width))
    return {"words": words, "places": places, "blocks": blocks, "norm": norm()}


def arguments():
    rng = np.random.default_rng(0)
    return parameters(rng), rng.integers(WORDS, size=(BATCH, LENGTH + 1))


def test_loss_and_gradients():
    check_model(loss, arguments())


def test_curvature_along_the_gradient():
    """A Hessian-vector product, forward over reverse, compiled and not."""

    def curvature(params, tokens):
        slope = tj.grad(loss)
        return tj.jvp(lambda p: slope(p, tokens), (params,), (params,))[1]

    check_compiled(curvature, arguments())


def test_training():
    params, tokens = arguments()
    compiled = tj.jit(step)
    losses = []
    for _ in range(30):
        value, params = compiled(params, tokens)
        losses.append(value)
    assert losses[-1] < losses[0] / 10


def test_later_words_change_nothing():
    """Attention is causal: the Jacobian of a place by later places is zero."""
    params, tokens = arguments()

    def third(places, params, tokens):
        return logits({**params, "places": places}, tokens)[0, 2]

    jacobian = tj.jit(tj.jacrev(third))
    by_place = jacobian(params["places"], params, tokens[:1, :LENGTH])
    by_place = np.abs(by_place).sum(axis=(0, 2))
    assert np.all(by_place[:3] > 0)
    assert np.all(by_place[3:] == 0)


@pytest.mark.slow
def test_beside_jax():
    compare_with_jax(loss, arguments())
