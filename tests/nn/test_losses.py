"""Losses: definitions in float64, options, large logits, kernels."""

import ml_dtypes
import numpy as np
import pytest

import tracejit as tj
from tracejit import nn
from tracejit.errors import ArgumentError, ShapeError

from .test_activations import both_ways

RNG = np.random.default_rng(2)
Z = RNG.normal(size=(16, 10)) * 5
Y = RNG.integers(0, 10, 16)
IGNORED = np.where(RNG.random(16) < 0.3, -100, Y)
W = RNG.random(10) + 0.5
P = RNG.dirichlet(np.ones(10), 16)
REDUCE = {"mean": np.mean, "sum": np.sum, "none": lambda x: x}
reductions = pytest.mark.parametrize("reduction", REDUCE)


def log_p(z):
    return z - np.log(np.exp(z).sum(-1, keepdims=True))


def expected(weight=None, label_smoothing=0.0, ignore_index=None, reduction="mean"):
    """Loops over the elements of Z, with labels from IGNORED or Y."""
    labels = Y if ignore_index is None else IGNORED
    w = np.ones(10) if weight is None else weight
    losses, each = [], []
    for row, y in zip(log_p(Z), labels, strict=True):
        if y == ignore_index:
            losses.append(0.0)
            each.append(0.0)
            continue
        smooth = -np.sum(w * row) / 10
        losses.append((1 - label_smoothing) * -w[y] * row[y] + label_smoothing * smooth)
        each.append(w[y])
    total = np.array(losses)
    return (
        total.sum() / np.sum(each) if reduction == "mean" else REDUCE[reduction](total)
    )


OPTIONS = {
    "plain": {},
    "weights": {"weight": W},
    "smoothing": {"label_smoothing": 0.1},
    "ignored": {"ignore_index": -100},
    "all": {"weight": W, "label_smoothing": 0.2, "ignore_index": -100},
}


@reductions
@pytest.mark.parametrize("name", OPTIONS)
def test_cross_entropy(name, reduction):
    options = {**OPTIONS[name], "reduction": reduction}
    labels = IGNORED if "ignore_index" in options else Y

    def f(z, y):
        return nn.cross_entropy(z, y, **options)

    got = both_ways(f, Z, labels, ulps=100)
    np.testing.assert_allclose(got, expected(**options), rtol=1e-12, atol=1e-13)
    single = both_ways(f, Z.astype(np.float32), labels, ulps=100)
    assert single.dtype == np.float32
    np.testing.assert_allclose(single, got, rtol=1e-5, atol=1e-5)
    tj.testing.check_grads(lambda z: f(z, labels), (Z,), order=2, directions=1)


@pytest.mark.parametrize(
    ("name", "kernels"),
    [("plain", 2), ("weights", 3), ("smoothing", 2), ("ignored", 3), ("all", 3)],
)
def test_kernels_of_value_and_gradient(name, kernels):
    labels = IGNORED if "ignore_index" in OPTIONS[name] else Y
    options = dict(OPTIONS[name])
    if "weight" in options:
        options["weight"] = W.astype(np.float32)
    loss = tj.jit(tj.value_and_grad(lambda z, y: nn.cross_entropy(z, y, **options)))
    assert len(loss.lower(Z.astype(np.float32), labels).kernels) == kernels


@reductions
def test_probabilities(reduction):
    target = 0.9 * P + 0.01

    def f(z, p):
        return nn.cross_entropy(
            z, p, weight=W, label_smoothing=0.1, reduction=reduction
        )

    want = REDUCE[reduction](-np.sum(W * target * log_p(Z), -1))
    np.testing.assert_allclose(both_ways(f, Z, P, ulps=100), want, rtol=1e-12)
    tj.testing.check_grads(f, (Z, P), order=1, directions=1)
    hidden = np.array([[0.0, -np.inf]])
    got = tj.value_and_grad(nn.cross_entropy)(hidden, np.array([[1.0, 0.0]]))
    assert got[0] == 0
    assert got[1].tolist() == [[0, 0]]


def test_classes_along_another_axis():
    want = nn.cross_entropy(Z, Y, reduction="none")
    got = nn.cross_entropy(Z.T[None], Y[None], axis=1, reduction="none")
    np.testing.assert_allclose(got, want[None], rtol=1e-14)
    each = tj.vmap(nn.cross_entropy)(Z, Y)
    np.testing.assert_allclose(each, want, rtol=1e-13)


def test_large_logits():
    z = np.array([[1e4, -1e4, 0.0], [-np.inf, 3.0, 3.0], [1e30, 0, 0]])
    y = np.array([1, 2, 0])
    loss = tj.value_and_grad(lambda z: nn.cross_entropy(z, y, reduction="sum"))
    for f in (loss, tj.jit(loss)):
        value, gradient = f(z)
        np.testing.assert_allclose(value, 2e4 + np.log(2))
        np.testing.assert_allclose(gradient, [[1, -1, 0], [0, 0.5, -0.5], [0, 0, 0]])


def test_labels_out_of_range():
    for f in (nn.cross_entropy, tj.jit(nn.cross_entropy)):
        with pytest.raises(IndexError, match="out of bounds"):
            f(Z, Y + 5)


def test_halves():
    half = Z.astype(ml_dtypes.bfloat16)
    for f in (nn.cross_entropy, tj.jit(nn.cross_entropy)):
        got = f(half, Y)
        assert got.dtype == ml_dtypes.bfloat16
        want = nn.cross_entropy(half.astype(np.float32), Y)
        np.testing.assert_allclose(float(got), want, rtol=2**-8)


A, B = RNG.normal(size=(2, 8, 5)) * 2
OPEN = RNG.uniform(0.05, 0.95, (8, 5))
BITS = (RNG.random((8, 5)) < 0.5).astype(float)


def huber(a, b):
    d = np.abs(a - b)
    return np.where(d < 0.7, d * d / 2, 0.7 * (d - 0.35))


def binary(p, y):
    return -(y * np.log(p) + (1 - y) * np.log(1 - p))


NUMBERS = {
    "mse": (nn.mse_loss, (A, B), lambda a, b: (a - b) ** 2),
    "l1": (nn.l1_loss, (A, B), lambda a, b: np.abs(a - b)),
    "huber": (
        lambda a, b, **o: nn.huber_loss(a, b, 0.7, **o),
        (A, B),
        huber,
    ),
    "binary": (nn.binary_cross_entropy, (OPEN, BITS), binary),
    "binary, weighted": (
        lambda p, y, **o: nn.binary_cross_entropy(p, y, W[:5], **o),
        (OPEN, BITS),
        lambda p, y: W[:5] * binary(p, y),
    ),
    "logits": (
        nn.binary_cross_entropy_with_logits,
        (A, BITS),
        lambda a, y: binary(1 / (1 + np.exp(-a)), y),
    ),
    "logits, weighted": (
        lambda a, y, **o: nn.binary_cross_entropy_with_logits(
            a, y, weight=W[:5], pos_weight=3.0, **o
        ),
        (A, BITS),
        lambda a, y: W[:5] * (1 + 2 * y) * binary(1 / (1 + np.exp(-a)), y),
    ),
}


@reductions
@pytest.mark.parametrize("name", NUMBERS)
def test_numbers(name, reduction):
    loss, args, definition = NUMBERS[name]

    def f(a, b):
        return loss(a, b, reduction=reduction)

    want = REDUCE[reduction](definition(*args))
    np.testing.assert_allclose(both_ways(f, *args, ulps=50), want, rtol=1e-12)
    singles = [a.astype(np.float32) for a in args]
    assert both_ways(f, *singles, ulps=50).dtype == np.float32
    assert len(tj.jit(f).lower(*singles).kernels) == 1
    tj.testing.check_grads(f, args, order=2, directions=1)


def test_certain_and_wrong():
    p, y = np.array([0.0, 1.0, 0.0, 1.0]), np.array([0.0, 1.0, 1.0, 0.0])
    got = tj.value_and_grad(lambda p: nn.binary_cross_entropy(p, y, reduction="sum"))(p)
    assert got[0] == 200
    assert np.isfinite(got[1]).all()
    x = np.array([1e4, -1e4, 1e4, -1e4])

    def loss(x):
        return nn.binary_cross_entropy_with_logits(x, y, reduction="none")

    assert loss(x).tolist() == [1e4, 1e4, 0, 0]
    gradient = tj.grad(lambda x: np.sum(loss(x)))(x)
    assert gradient.tolist() == [1, -1, 0, 0]


def test_mistakes():
    with pytest.raises(ArgumentError, match="reduction is 'avg'"):
        nn.cross_entropy(Z, Y, reduction="avg")
    with pytest.raises(ShapeError, match="labels of shape"):
        tj.jit(nn.cross_entropy)(Z, Y[:3])
    with pytest.raises(ShapeError, match="probabilities of shape"):
        nn.cross_entropy(Z, Y.astype(float))
    with pytest.raises(ShapeError, match="one number for each of 10 classes"):
        nn.cross_entropy(Z, Y, weight=np.ones(3))
    with pytest.raises(ShapeError, match="expected the same"):
        nn.mse_loss(A, B[0])


def test_embedding():
    table, ids = RNG.normal(size=(7, 3)), np.array([[0, 6], [-1, 0]])
    assert np.array_equal(both_ways(nn.embedding, table, ids), table[ids])
    weights = RNG.normal(size=(2, 2, 3))
    got = tj.jit(tj.grad(lambda t: np.sum(weights * nn.embedding(t, ids))))(table)
    want = np.zeros((7, 3))
    np.add.at(want, ids, weights)
    np.testing.assert_allclose(got, want)
    assert len(tj.jit(nn.embedding).lower(table, ids).kernels) == 1
    for f in (nn.embedding, tj.jit(nn.embedding)):
        with pytest.raises(IndexError):
            f(table, ids + 3)
    with pytest.raises(tj.errors.DTypeError, match="the ids are float64"):
        nn.embedding(table, table)
