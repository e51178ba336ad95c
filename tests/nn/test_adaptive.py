"""Pools over everything, and to a given number of places."""

import ml_dtypes
import numpy as np
import pytest

import tracejit as tj
from tracejit import nn
from tracejit.errors import ShapeError

X = np.random.default_rng(0).normal(size=(2, 3, 7, 6))
POOLS = {
    np.mean: (nn.global_avg_pool, nn.adaptive_avg_pool),
    np.max: (nn.global_max_pool, nn.adaptive_max_pool),
}
reducers = pytest.mark.parametrize("reduce", POOLS)


def direct(reduce, x, counts):
    out = np.empty((*x.shape[:2], *counts))
    for i, j in np.ndindex(*counts):
        rows, columns = (
            slice(k * n // m, -(-(k + 1) * n // m))
            for k, n, m in zip((i, j), x.shape[2:], counts, strict=True)
        )
        out[:, :, i, j] = reduce(x[:, :, rows, columns], axis=(2, 3))
    return out


@reducers
@pytest.mark.parametrize("counts", [(3, 2), (7, 6), (1, 1), (4, 5), (9, 2)])
def test_adaptive(reduce, counts):
    pool = POOLS[reduce][1]
    want = direct(reduce, X, counts)
    for f in (pool, tj.jit(lambda x: pool(x, counts))):
        got = f(X, counts) if f is pool else f(X)
        np.testing.assert_allclose(got, want, rtol=1e-13, atol=1e-15)
    last = pool(np.moveaxis(X, 1, -1), counts, layout="NHWC")
    np.testing.assert_allclose(np.moveaxis(last, -1, 1), want, rtol=1e-13, atol=1e-15)
    tj.testing.check_grads(lambda x: pool(x, counts), (X,), order=1, directions=1)


@reducers
def test_over_everything(reduce):
    pool = POOLS[reduce][0]
    want = reduce(X, axis=(2, 3))
    np.testing.assert_allclose(pool(X), want, rtol=1e-14)
    np.testing.assert_allclose(tj.jit(pool)(X), want, rtol=1e-13)
    assert pool(X, keepdims=True).shape == (2, 3, 1, 1)
    np.testing.assert_allclose(pool(X.transpose(0, 2, 3, 1), "NHWC"), want, rtol=1e-13)
    assert len(tj.jit(pool).lower(X).kernels) == 1
    half = pool(X.astype(ml_dtypes.bfloat16))
    assert half.dtype == ml_dtypes.bfloat16
    tj.testing.check_grads(pool, (X,), order=1, directions=1)


def test_mistakes():
    with pytest.raises(ShapeError, match="3 to 5 axes"):
        nn.global_avg_pool(np.ones((2, 3)))
    with pytest.raises(ShapeError, match="has no places"):
        nn.global_max_pool(np.ones((2, 3, 0)))
    with pytest.raises(ShapeError, match="output is 0"):
        nn.adaptive_avg_pool(X, 0)
