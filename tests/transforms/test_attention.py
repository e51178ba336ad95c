"""The derivative of attention: every order and mode, and nothing as large as scores."""

from math import prod

import numpy as np
import pytest

import tracejit as tj
from tests.passes.spellings import normalised
from tracejit.ir.raising import raise_graph
from tracejit.transforms.vjp import vjp_graph

RNG = np.random.default_rng(11)
N, M, D, E = 6, 7, 3, 2


def normal(*shape, dtype=np.float64):
    return RNG.normal(size=shape).astype(dtype)


def transposed(x):
    return np.swapaxes(x, -1, -2)


def lower(n):
    return np.tril(np.ones((n, n), bool))


def plain(q, k, v):
    return normalised(q @ transposed(k)) @ v


def scaled(q, k, v, scale):
    return normalised(q @ transposed(k) / scale) @ v


def causal(q, k, v):
    n = q.shape[-2]
    return normalised(np.where(lower(n), q @ transposed(k) * 0.5, -np.inf)) @ v


def filled(q, k, v):
    """Rows that see nothing are uniform: the fill is subtracted from itself."""
    keep = lower(q.shape[-2])
    keep[2] = False
    return normalised(np.where(keep, q @ transposed(k), -1e9)) @ v


def biased(q, k, v, bias):
    return normalised(q @ transposed(k) * 0.5 + bias) @ v


def padded(q, k, v, keep):
    return normalised(np.where(keep[:, None, :], q @ transposed(k), -1e30)) @ v


def grouped(q, k, v):
    s = np.einsum("bhgqd,bhkd->bhgqk", q, k)
    return np.einsum("bhgqk,bhkd->bhgqd", normalised(s), v)


def sequence_first(q, k, v):
    s = np.einsum("bqhd,bkhd->bhqk", q, k)
    return np.einsum("bhqk,bkhd->bqhd", normalised(s), v)


def self_attention(x):
    return plain(x, x, x)


def of_projections(x, w):
    q, k, v = np.split(x @ w, 3, axis=-1)
    return causal(q, k, v)


KEEP = RNG.random((2, M)) < 0.7
KEEP[:, 0] = True
QKV = normal(2, N, D), normal(2, M, D), normal(2, M, E)
SQUARE = normal(2, N, D), normal(2, N, D), normal(2, N, E)
CASES = {
    "plain": (plain, QKV),
    "one head": (plain, tuple(x[0] for x in QKV)),
    "scale": (scaled, (*QKV, np.array(1.7))),
    "causal": (causal, SQUARE),
    "rows that see nothing": (filled, SQUARE),
    "bias": (biased, (*QKV, normal(N, M))),
    "padding": (lambda q, k, v: padded(q, k, v, KEEP), QKV),
    "groups": (
        grouped,
        (normal(2, 1, 3, N, D), normal(2, 1, M, D), normal(2, 1, M, E)),
    ),
    "sequence first": (
        sequence_first,
        (normal(1, N, 2, D), normal(1, M, 2, D), normal(1, M, 2, E)),
    ),
    "self": (self_attention, (normal(2, N, D),)),
    "projections": (of_projections, (normal(2, N, 4), normal(4, 9))),
}


def with_case(names=CASES):
    return pytest.mark.parametrize("name", names)


@with_case()
def test_first_and_second_derivatives_in_both_modes(name):
    fn, args = CASES[name]
    tj.testing.check_grads(fn, args, order=2, rtol=2e-5, directions=1)


@with_case(["causal", "groups"])
def test_compiled(name):
    fn, args = CASES[name]
    tj.testing.check_grads(tj.jit(fn), args, order=2, rtol=2e-5, directions=1)


@with_case(["plain", "causal"])
def test_of_a_batch(name):
    fn, args = CASES[name]
    batch = [np.stack([x, x + 0.25]) for x in args]
    for axes in (0, (0, None, None), (None, 0, 0)):
        given = [
            b if axes == 0 or axes[i] == 0 else x
            for i, (b, x) in enumerate(zip(batch, args, strict=True))
        ]
        many = tj.vmap(fn, in_axes=axes)
        tj.testing.check_grads(many, given, order=1, directions=1)
        tj.testing.check_grads(tj.jit(many), given, order=1, directions=1)
    each = tj.vmap(tj.grad(lambda *xs: np.sum(np.sin(fn(*xs)))))
    one = tj.grad(lambda *xs: np.sum(np.sin(fn(*xs))))
    found = each(*batch)
    for n in range(2):
        np.testing.assert_allclose(found[n], one(*(b[n] for b in batch)), rtol=1e-10)


def test_in_a_scan():
    def layers(x, weights):
        def layer(h, w):
            return h + of_projections(h, w), None

        return tj.scan(layer, x, weights)[0]

    args = normal(1, N, 3), normal(2, 3, 9)
    tj.testing.check_grads(layers, args, order=2, rtol=2e-5, directions=1)
    tj.testing.check_grads(tj.jit(layers), args, order=1, directions=1)


def test_in_a_checkpoint():
    fn = tj.checkpoint(of_projections)
    args = normal(1, N, 4), normal(4, 9)
    tj.testing.check_grads(fn, args, order=2, rtol=2e-5, directions=1)
    tj.testing.check_grads(tj.jit(fn), args, order=1, directions=1)


# --- what is kept, and what is stored ---------------------------------------------

LONG = [normal(2, 3, 70, 8, dtype=np.float32) for _ in range(4)]
SCORES = 70 * 70


def gradient(fn):
    def loss(q, k, v, ct):
        return np.sum(fn(q, k, v) * ct)

    return tj.grad(loss, argnums=(0, 1, 2))


def test_nothing_as_large_as_scores_is_kept():
    """What the backward pass reads of the forward pass are operands and rows."""
    graph = raise_graph(tj.jit(causal).trace(*LONG[:3]).graph)
    backward = vjp_graph(graph, (0, 1, 2))
    floats = [
        v.aval.size
        for e in backward.eqns
        for v in e.outvars
        if v.aval.dtype.kind == "f"
    ]
    assert max(floats) == LONG[0].size


def of_keys(q, k, v):
    keep = np.arange(70) < 60
    return normalised(np.where(keep, q @ transposed(k), -1e9)) @ v


@pytest.mark.parametrize("fn", [plain, causal, of_keys], ids=lambda f: f.__name__)
def test_no_buffer_is_as_large_as_scores(fn):
    lowered = tj.jit(gradient(fn)).lower(*LONG)
    buffers = lowered.program.buffers
    assert max(prod(b.shape) for b in buffers if b.dtype.kind == "f") == LONG[0].size
    arena = [b for b in buffers if b.base is None and b.storage.name == "ARENA"]
    sizes = [prod(b.shape) * b.dtype.itemsize for b in arena]
    assert sum(sizes) < 2 * LONG[0].nbytes
    assert len(lowered.kernels) <= 5


def test_forward_and_backward_are_three_kernels():
    """The forward pass with Σ O·dO, rows of queries, rows of keys and values."""
    assert len(tj.jit(gradient(causal)).lower(*LONG).kernels) == 3

    def squares(q, k, v):
        return np.sum(causal(q, k, v) ** 2)

    backward = tj.jit(tj.grad(squares, argnums=(0, 1, 2)))
    assert len(backward.lower(*LONG[:3]).kernels) <= 4


@pytest.mark.parametrize(
    ("fn", "dtype"),
    [
        (plain, np.float32),
        (causal, np.float32),
        (filled, np.float32),
        (filled, np.float64),
        (causal, np.float16),
    ],
)
def test_compiled_streams_are_right(fn, dtype):
    """Several tiles, of which the last are not whole."""
    args = [normal(1, 2, 140, 8) for _ in range(4)]
    got = tj.jit(gradient(fn))(*(x.astype(dtype) for x in args))
    want = gradient(fn)(*args)
    rtol = {2: 4e-2, 4: 5e-6, 8: 1e-12}[np.dtype(dtype).itemsize]
    for x, y in zip(got, want, strict=True):
        assert x.dtype == dtype
        scale = np.max(np.abs(y))
        np.testing.assert_allclose(x, y, rtol=rtol, atol=rtol * scale)


def test_rows_of_minus_infinity_are_nan():
    """As in NumPy, in every gradient that they are part of."""
    keep = np.ones((140, 140), bool)
    keep[3] = False

    def masked(q, k, v):
        return normalised(np.where(keep, q @ transposed(k), -np.inf)) @ v

    args = [normal(140, 8) for _ in range(4)]
    with np.errstate(invalid="ignore"):
        want = gradient(masked)(*args)
    for x, y in zip(tj.jit(gradient(masked))(*args), want, strict=True):
        np.testing.assert_array_equal(np.isnan(x), np.isnan(y))


def test_a_bias_that_is_differentiated_is_right():
    """Its gradient is as large as scores; they are stored then."""

    def loss(q, k, v, bias, ct):
        return np.sum(biased(q, k, v, bias) * ct)

    args = [normal(70, 8), normal(70, 8), normal(70, 8), normal(70, 70), normal(70, 8)]
    one = tj.grad(loss, argnums=(0, 1, 2, 3))
    for x, y in zip(tj.jit(one)(*args), one(*args), strict=True):
        np.testing.assert_allclose(x, y, rtol=1e-9, atol=1e-12)


def mixed(q, k, v):
    """Halves, but for the softmax: as models on GPUs have it."""
    s = (q @ transposed(k)).astype(np.float32) * np.float32(0.5)
    s = np.where(lower(q.shape[-2]), s, np.float32(-np.inf))
    return normalised(s).astype(q.dtype) @ v


def test_softmax_of_halves_in_float32():
    args = [normal(1, 2, 140, 8) for _ in range(4)]
    halves = [x.astype(np.float16) for x in args]
    lowered = tj.jit(gradient(mixed)).lower(*halves)
    assert len(lowered.kernels) == 4
    got = tj.jit(gradient(mixed))(*halves)
    for x, y in zip(got, gradient(mixed)(*args), strict=True):
        assert x.dtype == np.float16
        np.testing.assert_allclose(x, y, rtol=2e-2, atol=2e-2 * np.max(np.abs(y)))
