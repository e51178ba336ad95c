"""Norms beside their definitions in float64, statistics, derivatives, kernels."""

import ml_dtypes
import numpy as np
import pytest

import tracejit as tj
from tracejit import nn
from tracejit.errors import ShapeError

from .test_activations import both_ways

RNG = np.random.default_rng(0)
X = RNG.normal(size=(3, 6, 4, 5)) * 3 + 1
C = RNG.normal(size=6), RNG.normal(size=6)
ROW = RNG.normal(size=5), RNG.normal(size=5)
PLANE = RNG.normal(size=(4, 5)), RNG.normal(size=(4, 5))


def standard(x, axes, eps=1e-5):
    mean, var = (f(x, axis=axes, keepdims=True) for f in (np.mean, np.var))
    return (x - mean) / np.sqrt(var + eps)


def channels(v):
    return v.reshape(6, 1, 1)


def grouped(x, groups):
    return standard(x.reshape(3, groups, -1), 2).reshape(x.shape)


CASES = {
    "layer": (nn.layer_norm, (X,), standard(X, -1)),
    "layer affine": (
        nn.layer_norm,
        (X, *ROW),
        standard(X, -1) * ROW[0] + ROW[1],
    ),
    "layer plane": (
        lambda x, w, b: nn.layer_norm(x, w, b, axis=(-2, -1)),
        (X, *PLANE),
        standard(X, (2, 3)) * PLANE[0] + PLANE[1],
    ),
    "layer of channels": (
        lambda x, w, b: nn.layer_norm(x, w, b, axis=1, eps=0.1),
        (X, *C),
        standard(X, 1, 0.1) * channels(C[0]) + channels(C[1]),
    ),
    "rms": (
        nn.rms_norm,
        (X, ROW[0]),
        X / np.sqrt((X**2).mean(-1, keepdims=True) + 1e-6) * ROW[0],
    ),
    "group": (
        lambda x, w, b: nn.group_norm(x, 3, w, b),
        (X, *C),
        grouped(X, 3) * channels(C[0]) + channels(C[1]),
    ),
    "group, channels last": (
        lambda x, w, b: nn.group_norm(x, 3, w, b, axis=-1),
        (np.moveaxis(X, 1, -1), *C),
        np.moveaxis(grouped(X, 3) * channels(C[0]) + channels(C[1]), 1, -1),
    ),
    "instance": (
        nn.instance_norm,
        (X, *C),
        standard(X, (2, 3)) * channels(C[0]) + channels(C[1]),
    ),
    "batch": (
        lambda x, w, b: nn.batch_norm(x, weight=w, bias=b, training=True)[0],
        (X, *C),
        standard(X, (0, 2, 3)) * channels(C[0]) + channels(C[1]),
    ),
    "batch, inference": (
        lambda x, m, v, w, b: nn.batch_norm(x, m, v, w, b)[0],
        (X, C[0], np.exp(C[1]), *C),
        (X - channels(C[0])) / np.sqrt(channels(np.exp(C[1])) + 1e-5) * channels(C[0])
        + channels(C[1]),
    ),
}
names = pytest.mark.parametrize("name", CASES)


@names
def test_definition(name):
    f, args, want = CASES[name]
    np.testing.assert_allclose(
        both_ways(f, *args, ulps=50), want, rtol=1e-12, atol=1e-13
    )
    singles = [a.astype(np.float32) for a in args]
    got = f(*singles), tj.jit(f)(*singles)
    for out in got:
        assert out.dtype == np.float32
        np.testing.assert_allclose(out, want, rtol=1e-4, atol=2e-5)


@names
def test_derivatives(name):
    f, args, _ = CASES[name]
    tj.testing.check_grads(f, args, order=2, directions=1, rtol=1e-4)


@names
def test_halves_compute_in_float32(name):
    f, args, want = CASES[name]
    half = [a.astype(ml_dtypes.bfloat16) for a in args]
    for out in (f(*half), tj.jit(f)(*half)):
        assert out.dtype == ml_dtypes.bfloat16
        np.testing.assert_allclose(out.astype(float), want, rtol=0.1, atol=0.1)


@pytest.mark.parametrize(
    ("name", "forward"),
    [
        ("layer", 1),
        ("layer affine", 1),
        ("rms", 1),
        ("group", 1),
        ("instance", 1),
        ("batch, inference", 1),
    ],
)
def test_kernels(name, forward):
    f, args, _ = CASES[name]
    singles = [a.astype(np.float32) for a in args]
    assert len(tj.jit(f).lower(*singles).kernels) == forward


@pytest.mark.parametrize("norm", [nn.layer_norm, nn.rms_norm])
def test_two_kernels_for_a_gradient(norm):
    x, w = (np.ones(s, np.float32) for s in ((16, 8), 8))
    loss = tj.grad(lambda x, w: np.sum(np.sin(norm(x, w))), (0, 1))
    assert len(tj.jit(loss).lower(x, w).kernels) == 2


def test_large_and_constant_rows():
    x = np.array([[1e15, 1e15 + 8], [5, 5]])
    got = both_ways(nn.layer_norm, x)
    np.testing.assert_allclose(got, [[-1, 1], [0, 0]], atol=1e-6)
    g = tj.grad(lambda x: np.sum(np.sin(nn.layer_norm(x))))(x)
    assert np.isfinite(g).all()
    assert np.isfinite(tj.grad(lambda x: np.sum(nn.rms_norm(x)))(x * 0)).all()


def test_batch_statistics():
    mean, var = np.arange(6.0), np.arange(1.0, 7.0)

    def step(x, m, v):
        return nn.batch_norm(x, m, v, training=True, momentum=0.25)

    for f in (step, tj.jit(step)):
        _, m, v = f(X, mean, var)
        own = X.mean((0, 2, 3)), X.var((0, 2, 3), ddof=1)
        np.testing.assert_allclose(m, 0.75 * mean + 0.25 * own[0], rtol=1e-13)
        np.testing.assert_allclose(v, 0.75 * var + 0.25 * own[1], rtol=1e-13)
    _, m, v = nn.batch_norm(X, training=True)
    np.testing.assert_allclose(m, X.mean((0, 2, 3)), rtol=1e-13)
    np.testing.assert_allclose(v, X.var((0, 2, 3)), rtol=1e-13)
    _, m, v = nn.batch_norm(X, mean, var)
    assert m is mean
    assert v is var
    half = X.astype(np.float16)
    _, m, _ = nn.batch_norm(half, mean.astype(np.float32), var, training=True)
    assert m.dtype == np.float32


def test_mistakes():
    with pytest.raises(ShapeError, match="weight has shape"):
        nn.layer_norm(X, np.ones(4))
    with pytest.raises(ShapeError, match="bias has shape"):
        tj.jit(lambda x: nn.group_norm(x, 2, bias=np.ones(5)))(X)
    with pytest.raises(ShapeError, match="6 channels do not make 4 equal groups"):
        nn.group_norm(X, 4)
    with pytest.raises(ShapeError, match="needs the running mean and var"):
        nn.batch_norm(X)
    with pytest.raises(ShapeError, match="axis 0 is that of examples"):
        nn.instance_norm(X, axis=0)
