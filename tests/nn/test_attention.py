"""Attention: the written-out form, with every option, in NumPy and compiled."""

import ml_dtypes
import numpy as np
import pytest

import tracejit as tj
from tests.sampling import in_turn
from tracejit import nn
from tracejit.errors import ShapeError

RNG = np.random.default_rng(5)
N, M, D, E = 6, 7, 8, 5


def normal(*shape):
    return RNG.normal(size=shape)


def written_out(q, k, v, seen=True, bias=0.0, scale=D**-0.5):
    k, v = (np.repeat(x, q.shape[-3] // x.shape[-3], axis=-3) for x in (k, v))
    s = q @ np.swapaxes(k, -1, -2) * scale + bias
    s = np.where(seen, s, -np.inf)
    e = np.exp(s - s.max(axis=-1, keepdims=True))
    return (e / e.sum(axis=-1, keepdims=True)) @ v


SEEN = RNG.random((N, M)) < 0.7
SEEN[:, 0] = True
PADDING = RNG.random((2, 1, 1, M)) < 0.7
PADDING[..., 0] = True
OF_HEADS = RNG.random((2, 4, N, M)) < 0.7
OF_HEADS[..., 0] = True
LOWER = np.tril(np.ones((N, M), bool))
BIAS, OF_HEAD = normal(N, M), normal(4, N, M)
CASES = {
    "plain": ({}, {}),
    "mask": ({"mask": SEEN}, {"seen": SEEN}),
    "padding": ({"mask": PADDING}, {"seen": PADDING}),
    "mask of heads": ({"mask": OF_HEADS}, {"seen": OF_HEADS}),
    "causal": ({"causal": True}, {"seen": LOWER}),
    "causal and mask": ({"causal": True, "mask": SEEN}, {"seen": LOWER & SEEN}),
    "bias": ({"bias": BIAS}, {"bias": BIAS}),
    "bias of heads": ({"bias": OF_HEAD}, {"bias": OF_HEAD}),
    "causal and bias": ({"causal": True, "bias": BIAS}, {"seen": LOWER, "bias": BIAS}),
    "scale": ({"scale": 0.3}, {"scale": 0.3}),
}
HEADS = [4, 2, 1]
Q = normal(2, 4, N, D)
K, V = {h: normal(2, h, M, D) for h in HEADS}, {h: normal(2, h, M, E) for h in HEADS}


def with_options(options):
    return lambda q, k, v: nn.attention(q, k, v, **options)


@pytest.mark.parametrize(("name", "heads"), in_turn(CASES, HEADS))
def test_written_out(name, heads):
    options, meaning = CASES[name]
    args = Q, K[heads], V[heads]
    want = written_out(*args, **meaning)
    f = with_options(options)
    for got in (f(*args), tj.jit(f)(*args)):
        np.testing.assert_allclose(got, want, rtol=1e-12, atol=1e-14)
    singles = [a.astype(np.float32) for a in args]
    for got in (f(*singles), tj.jit(f)(*singles)):
        assert got.dtype == np.float32
        np.testing.assert_allclose(got, want, rtol=1e-4, atol=1e-5)
    assert len(tj.jit(f).lower(*singles).kernels) == 1


@pytest.mark.parametrize(
    ("name", "heads"),
    [("plain", 4), ("plain", 2), ("causal", 2), ("causal and mask", 4), ("bias", 1)],
)
def test_derivatives(name, heads):
    f = with_options(CASES[name][0])
    args = Q, K[heads], V[heads]
    tj.testing.check_grads(f, args, order=2, directions=1, rtol=2e-5)
    want = tj.grad(lambda *a: np.sum(np.sin(written_out(*a, **CASES[name][1]))))(*args)
    got = tj.jit(tj.grad(lambda *a: np.sum(np.sin(f(*a)))))(*args)
    np.testing.assert_allclose(got, want, rtol=1e-10, atol=1e-13)


LONG = [normal(2, 4, 16, D).astype(np.float32) for _ in range(3)]
LONG_SEEN = RNG.random((16, 16)) < 0.7


@pytest.mark.parametrize(
    "options",
    [{}, {"causal": True}, {"mask": LONG_SEEN}],
    ids=["plain", "causal", "mask"],
)
def test_gradients_keep_no_scores(options):
    """Of keys and values that are equally wide; short ones are stored, being cheap."""
    f = with_options(options)
    loss = tj.grad(lambda *a: np.sum(np.sin(f(*a))), (0, 1, 2))
    assert len(tj.jit(loss).lower(*LONG).kernels) == 3


def test_matrices_and_batches():
    q, k, v = Q[0, 0], K[1][0, 0], V[1][0, 0]
    want = written_out(q[None], k[None], v[None])[0]
    np.testing.assert_allclose(nn.attention(q, k, v), want, rtol=1e-10)
    each = tj.vmap(lambda q, k, v: nn.attention(q, k, v, causal=True))
    want = nn.attention(Q, K[2], V[2], causal=True)
    np.testing.assert_allclose(each(Q, K[2], V[2]), want, rtol=1e-12)
    np.testing.assert_allclose(tj.jit(each)(Q, K[2], V[2]), want, rtol=1e-12)


@pytest.mark.parametrize("dtype", [np.float16, ml_dtypes.bfloat16])
def test_softmax_of_halves_is_in_float32(dtype):
    args = [a.astype(dtype) for a in (Q, K[2], V[2])]
    want = written_out(*(a.astype(float) for a in args))
    for got in (nn.attention(*args), tj.jit(nn.attention)(*args)):
        assert got.dtype == dtype
        eps = float(ml_dtypes.finfo(dtype).eps)
        np.testing.assert_allclose(got.astype(float), want, atol=4 * eps)


def test_queries_that_see_nothing_give_the_mean():
    seen = np.ones((N, M), bool)
    seen[2] = False
    for f in (nn.attention, tj.jit(nn.attention)):
        got = f(Q, K[4], V[4], seen)
        np.testing.assert_allclose(got[..., 2, :], V[4].mean(-2), rtol=1e-12)
    loss = tj.grad(lambda q: np.sum(nn.attention(q, K[4], V[4], seen)))
    assert np.isfinite(loss(Q)).all()


def test_dropout_of_weights():
    key = tj.random.key(3)
    options = {"dropout_rate": 0.4, "dropout_key": key}
    q, k, v = Q, K[4], np.broadcast_to(np.eye(M), (2, 4, M, M))
    f = with_options(options)
    weights = written_out(q, k, v)
    got = f(q, k, v)
    kept = got != 0
    np.testing.assert_allclose(got, np.where(kept, weights / 0.6, 0), rtol=1e-12)
    assert 0.5 < kept.mean() < 0.7
    np.testing.assert_allclose(tj.jit(f)(q, k, v), got, rtol=1e-12)
    tj.testing.check_grads(f, (q, k, V[4]), order=1, directions=1)


def test_mistakes():
    q, k, v = Q, K[4], V[4]
    with pytest.raises(ShapeError, match="do not agree in depth"):
        nn.attention(q, k[..., :3], v)
    with pytest.raises(ShapeError, match="as many values as keys"):
        nn.attention(q, k, v[..., :3, :])
    with pytest.raises(ShapeError, match="key heads that divides the heads"):
        tj.jit(nn.attention)(q, k[:, :3], v[:, :3])
    with pytest.raises(ShapeError, match="2 axes at least"):
        nn.attention(q[0, 0, 0], k, v)
    with pytest.raises(ShapeError, match=r"mask of shape .* does not broadcast"):
        nn.attention(q, k, v, np.ones((3, M), bool))
    with pytest.raises(ShapeError, match="the mask is float64, expected bool"):
        nn.attention(q, k, v, np.ones((N, M)))
