"""Ufuncs of vectors and matrices: their axes, dtypes and errors."""

import numpy as np
import pytest

import tracejit as tj
from tests.coverage.measure import difference

rng = np.random.default_rng(5)
A, B, V = rng.uniform(size=(3, 4)), rng.uniform(size=(4, 3)), rng.uniform(size=3)
S, T = rng.uniform(size=(2, 3, 4)), rng.uniform(size=(2, 4, 3))
HAS_MATVEC = pytest.mark.skipif(not hasattr(np, "matvec"), reason="of NumPy 2.2")

CALLS = [
    "np.matmul(s, t, axes=[(0, 2), (1, 0), (2, 1)])",
    "np.matmul(s, t, axes=[(1, 2), (1, 2), (0, 1)])",
    "np.matmul(b, v, axes=[(0, 1), (0,), (0,)])",
    "np.matmul(v, a, axes=[0, (0, 1), 0])",
    "np.vecdot(a, b, axes=[0, 1])",
    "np.vecdot(a, b, axes=[(0,), (1,), ()])",
    "np.vecdot(a, b, axes=[0, 1, 0], keepdims=True)",
    "np.vecdot(a, b, axes=[0, 1], keepdims=True)",
    "np.vecdot(a, a, axis=0, keepdims=True)",
    "np.vecdot(a, a, keepdims=True)",
    "np.vecdot(a * 1j, a + 1j, axis=-2)",
    "np.matmul(a.astype('f4'), b.astype('f4'), dtype='f8')",
    "np.matmul(a.astype('f4'), b.astype('f4'), signature='dd->d')",
    "np.matmul(a, b, dtype='f4', casting='same_kind')",
]


def function_of(expression):
    return eval(f"lambda a, b, v, s, t: {expression}", {"np": np})


@pytest.mark.parametrize("expression", CALLS)
def test_as_numpy(expression):
    f, arguments = function_of(expression), (A, B, V, S, T)
    assert not difference(tj.jit(f)(*arguments), f(*arguments))


@pytest.mark.parametrize(
    "expression",
    [
        "np.vecdot(a, b, axis=0)",
        "np.vecdot(a, b, axis=0, axes=[0, 1])",
        "np.vecdot(a, b, axes=[9, 1])",
        "np.vecdot(a, b, axes=[(0, 1), 1])",
        "np.vecdot(a, b, axes=(0, 1))",
        "np.vecdot(a, b, axes=[0])",
        "np.matmul(a, b, axis=0)",
        "np.matmul(a, b, keepdims=True)",
        "np.matmul(a, b, dtype='i4')",
        "np.matmul(a, b, casting='no', dtype='f4')",
        "np.matmul(a, b, signature='d->d')",
        "np.matmul(a, b, dtype='f8', signature='dd->d')",
    ],
)
def test_errors_are_numpys(expression):
    f, arguments = function_of(expression), (A, B, V, S, T)
    with pytest.raises(Exception) as want:
        f(*arguments)
    known = next(k for k in type(want.value).__mro__ if k.__module__ == "builtins")
    with pytest.raises(known):
        tj.jit(f)(*arguments)


@HAS_MATVEC
@pytest.mark.parametrize(
    "expression",
    [
        "np.matvec(s, v, axes=[(2, 1), 0, 0])",
        "np.vecmat(v, s, axes=[0, (1, 2), 0])",
        "np.matvec(a.T, v, dtype='c16')",
    ],
)
def test_products_of_a_vector(expression):
    f, arguments = function_of(expression), (A, B, V, S, T)
    assert not difference(tj.jit(f)(*arguments), f(*arguments))


def test_axes_have_derivatives_and_batches():
    def f(a, b):
        return np.sum(np.sin(np.vecdot(a, b, axes=[0, 1], keepdims=True)))

    da, db = tj.grad(f, argnums=(0, 1))(A, B)
    cosine = np.cos(np.vecdot(A.T, B))[:, None]
    np.testing.assert_allclose(da, (cosine * B).T)
    np.testing.assert_allclose(db, cosine * A.T)
    batched = tj.vmap(lambda s, t: np.matmul(s, t, axes=[(0, 1), (0, 1), (1, 0)]))
    np.testing.assert_allclose(batched(S, T), np.moveaxis(S @ T, 1, 2))
