"""Dropout: what is kept, its scale, its gradient, and its arguments."""

import ml_dtypes
import numpy as np
import pytest

import tracejit as tj
from tracejit import nn
from tracejit.errors import ArgumentError

KEY = tj.random.key(1)


@pytest.mark.parametrize("dtype", [np.float64, np.float32, ml_dtypes.bfloat16])
def test_elements_are_left_out(dtype):
    x = np.full((50, 40), 3, dtype)
    got = nn.dropout(x, 0.25, KEY)
    keep = tj.random.bernoulli(KEY, 0.75, x.shape)
    want = np.where(keep, dtype(4), dtype(0))
    assert got.dtype == dtype
    assert np.array_equal(got, want)
    assert np.array_equal(tj.jit(lambda x, k: nn.dropout(x, 0.25, k))(x, KEY), want)
    assert 0.7 < keep.mean() < 0.8


def test_gradient_is_what_is_kept():
    x = np.ones((8, 9), np.float32)
    loss = tj.jit(tj.grad(lambda x, k: np.sum(nn.dropout(x, 0.5, k))))
    assert np.array_equal(loss(x, KEY), nn.dropout(x, 0.5, KEY))
    assert len(loss.lower(x, KEY).kernels) == 1
    each = tj.vmap(lambda x, k: nn.dropout(x, 0.5, k))
    keys = tj.random.split(KEY, 8)
    rows = np.stack([nn.dropout(r, 0.5, k) for r, k in zip(x, keys, strict=True)])
    assert np.array_equal(each(x, keys), rows)


def test_nothing_and_everything():
    x = np.arange(3.0)
    assert nn.dropout(x, 0.5, None, training=False) is x
    assert nn.dropout(x, 0, None) is x
    assert nn.dropout(x, 1, KEY).tolist() == [0, 0, 0]


def test_mistakes():
    with pytest.raises(ArgumentError, match=r"the rate is 1.5; expected 0 to 1"):
        nn.dropout(np.ones(3), 1.5, KEY)
    with pytest.raises(ArgumentError, match="a key is needed"):
        tj.jit(lambda x: nn.dropout(x, 0.5, None))(np.ones(3))
