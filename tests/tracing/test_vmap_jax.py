"""`vmap` beside JAX's, where it is installed: it comes with the extra `bench` only.

Each program is a function of a NumPy module, written once.
"""

import numpy as np
import pytest

import tracejit as tj
from tracejit.tracing.tree import flatten

rng = np.random.default_rng(7)
X = rng.normal(size=(5, 3))
Y = rng.normal(size=(5, 3))
A = rng.normal(size=(5, 3, 3)) + 4 * np.eye(3)
W = rng.normal(size=(3, 4))
INDEX = rng.integers(-3, 3, (5, 2))
KEYS = rng.normal(size=(4, 3))
VALUES = rng.normal(size=(5, 4, 2))
IMAGES = rng.normal(size=(2, 5, 6))


def softmax(np, x):
    e = np.exp(x - x.max(-1, keepdims=True))
    return e / e.sum(-1, keepdims=True)


def attention(np, q, k, v):
    return softmax(np, q @ k.T / 2) @ v


def mlp(np, params, x):
    for w, b in params:
        x = np.tanh(x @ w + b)
    return x


def blur(np, x):
    wide = np.pad(x, 1, mode="edge")
    return (wide[:-2] + wide[1:-1] + wide[2:]) / 3


def log_likelihood(np, mean, cov, x):
    d = x - mean
    return -0.5 * (d @ np.linalg.solve(cov, d) + np.linalg.slogdet(cov)[1])


def sum_tree(np, x):
    return {"p": (x.prod(), [x * 2]), "s": x.sum()}


LAYERS = [(W, np.zeros(4)), (rng.normal(size=(4, 4)), np.ones(4))]
STACKED = [(np.stack([w] * 5) * X[:, :1, None], np.stack([b] * 5)) for w, b in LAYERS]

# name → (program, in_axes, out_axes, arguments)
PROGRAMS = {
    "dot": (lambda np, x, y: np.dot(x, y), 0, 0, (X, Y)),
    "outer": (lambda np, x, y: np.outer(x, y), (0, None), 2, (X, Y[0])),
    "columns": (lambda np, x: np.sort(x)[::-1], 1, 1, (X,)),
    "softmax": (softmax, 0, 0, (X,)),
    "attention": (attention, (0, None, 0), 0, (A, KEYS, VALUES)),
    "mlp": (mlp, (None, 0), 0, (LAYERS, X)),
    "mlp of many": (mlp, (0, None), -1, (STACKED, X[0])),
    "blur": (blur, -1, -1, (X,)),
    "gather": (lambda np, x, i: x[i] * 2, 0, 0, (X, INDEX)),
    "gather shared": (lambda np, x, i: x[i], (None, 0), 0, (X[0], INDEX)),
    "take_along": (
        lambda np, x: np.take_along_axis(x, np.argsort(x, axis=1), axis=1),
        0,
        0,
        (A,),
    ),
    "cumulative": (lambda np, x: np.cumsum(np.cumprod(x), -1), 0, 0, (X,)),
    "argmax": (lambda np, a: (np.argmax(a, 0), np.argmin(a)), 0, (1, 0), (A,)),
    "cholesky": (lambda np, a: np.linalg.cholesky(a @ a.T), 0, 0, (A,)),
    "solve shared": (lambda np, a, x: np.linalg.solve(a, x), (None, 0), 0, (A[0], X)),
    "likelihood": (log_likelihood, (0, 0, None), 0, (X, A @ A.mT, X[0])),
    "eigenvalues": (lambda np, a: np.linalg.eigvalsh(a + a.T), 0, 0, (A,)),
    "fft": (lambda np, x: np.fft.fft2(x), 0, 0, (IMAGES,)),
    "einsum": (lambda np, x, a: np.einsum("i,ij->j", x, a), (1, 0), 0, (X.T, A)),
    "tree": (sum_tree, 0, {"p": (0, [1]), "s": 0}, (X,)),
    "where": (lambda np, x: np.where(x > x.mean(), x, -x), 0, 0, (X,)),
    "median": (
        lambda np, x: (np.median(x), np.var(x), np.quantile(x, 0.3)),
        0,
        0,
        (X,),
    ),
    "shared result": (lambda np, x, w: (x @ w, w), (0, None), (0, None), (X, W)),
}


@pytest.fixture(scope="module")
def jax():
    """JAX in float64, for this module only."""
    jax = pytest.importorskip("jax")
    before = jax.config.jax_enable_x64
    jax.config.update("jax_enable_x64", True)
    yield jax
    jax.config.update("jax_enable_x64", before)


def check_same(got, want):
    (got, spec), (want, wanted) = flatten(got), flatten(want)
    assert spec == wanted
    for a, b in zip(got, want, strict=True):
        a, b = np.asarray(a), np.asarray(b)
        assert (a.shape, a.dtype) == (b.shape, b.dtype)
        np.testing.assert_allclose(a, b, rtol=1e-9, atol=1e-9)


@pytest.mark.parametrize("name", PROGRAMS)
def test_program(jax, name):
    program, in_axes, out_axes, args = PROGRAMS[name]
    arrays = jax.tree.map(jax.numpy.asarray, args)
    theirs = jax.vmap(lambda *xs: program(jax.numpy, *xs), in_axes, out_axes)(*arrays)
    ours = tj.vmap(lambda *xs: program(np, *xs), in_axes, out_axes)
    check_same(ours(*args), theirs)
    check_same(tj.jit(ours)(*args), theirs)


SCALAR = ["softmax", "mlp", "blur", "gather", "cumulative", "likelihood", "where"]


@pytest.mark.parametrize("name", SCALAR)
def test_gradient_of_each_example(jax, name):
    program, in_axes, _, args = PROGRAMS[name]

    def loss(np):
        return lambda *xs: np.sum(np.sin(program(np, *xs)))

    theirs = jax.vmap(jax.grad(loss(jax.numpy)), in_axes)(*args)
    ours = tj.vmap(tj.grad(loss(np)), in_axes)
    check_same(ours(*args), theirs)
    check_same(tj.jit(ours)(*args), theirs)


@pytest.mark.parametrize("name", [*SCALAR, "attention", "mlp of many", "solve shared"])
def test_gradient_through_vmap(jax, name):
    program, in_axes, out_axes, args = PROGRAMS[name]

    def loss(np, vmap):
        f = vmap(lambda *xs: program(np, *xs), in_axes, out_axes)
        return lambda *xs: np.sum(np.sin(f(*xs)))

    theirs = jax.grad(loss(jax.numpy, jax.vmap))(*args)
    ours = tj.grad(loss(np, tj.vmap))
    check_same(ours(*args), theirs)
    check_same(tj.jit(ours)(*args), theirs)


@pytest.mark.parametrize("axes", [(0, 0), (1, 1), (-1, 0), ((0, None), (None, 0))])
def test_nested(jax, axes):
    def program(np, vmap):
        def f(x, y):
            return np.cumsum(np.exp(x - y)).sum() * y

        inner, outer = axes
        return vmap(vmap(f, inner), outer)

    args = (A[:3], A[:3])
    if isinstance(axes[0], tuple):
        args = (A[0], X)
    theirs = program(jax.numpy, jax.vmap)(*args)
    check_same(program(np, tj.vmap)(*args), theirs)
    check_same(tj.jit(program(np, tj.vmap))(*args), theirs)
