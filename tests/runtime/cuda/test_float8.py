"""float8 arrays on a device: stored as bytes, computed as in NumPy with ml_dtypes."""

import numpy as np
import pytest

import tracejit as tj
from tests.codegen.test_float8 import FLOAT8S, all_numbers, hard_floats
from tracejit.ir import dtypes as dt

EACH = pytest.mark.parametrize("dtype", FLOAT8S, ids=dt.dtype_name)
QUIET = pytest.mark.filterwarnings("ignore::RuntimeWarning")
RNG = np.random.default_rng(6)


def stored_layer(x, w, b):
    """A product of stored operands whose result is stored."""
    y = x.astype(np.float32) @ w.astype(np.float32) + b
    return np.maximum(y, 0).astype(x.dtype)


def moved(x, i, u):
    """What is no arithmetic: views, gathers, writes, choices, sorts."""
    y = x.copy()
    y[i] = u
    return x.T[1:, ::2], x[i], np.concatenate([x, y]), np.where(x > y, x, y), x == y


@QUIET
@EACH
def test_every_number_comes_through(device, dtype):
    x = all_numbers(dtype)
    found = tj.jit(lambda x: (x, x.astype(np.float32), -x))(tj.to_device(x, device))
    for ours, theirs in zip(found, (x, x.astype(np.float32), -x), strict=True):
        assert ours.dtype == theirs.dtype
        np.testing.assert_array_equal(ours.numpy().astype("f4"), theirs.astype("f4"))


@QUIET
@EACH
def test_floats_are_rounded_as_by_ml_dtypes(device, dtype):
    x = hard_floats(dtype)
    found = tj.jit(lambda x: x.astype(dtype))(tj.to_device(x, device)).numpy()
    np.testing.assert_array_equal(found.view("u1"), x.astype(dtype).view("u1"))


@EACH
def test_casts_are_part_of_products(device, dtype):
    x, w = (RNG.integers(-2, 3, s).astype(dtype) for s in ((40, 32), (32, 48)))
    b = RNG.integers(-3, 4, 48).astype(np.float32)
    found = tj.jit(stored_layer, device=device)(x, w, b)
    assert found.dtype == dtype
    wanted = stored_layer(x, w, b)
    np.testing.assert_array_equal(found.numpy().view("u1"), wanted.view("u1"))


@EACH
def test_moves_and_choices(device, dtype):
    x = RNG.standard_normal((6, 8)).astype(dtype)
    args = x, np.array([4, 1]), x[2:4]
    found = tj.jit(moved)(*(tj.to_device(a, device) for a in args))
    for ours, theirs in zip(found, moved(*args), strict=True):
        assert ours.dtype == theirs.dtype
        np.testing.assert_array_equal(ours.numpy().astype("f4"), theirs.astype("f4"))


@EACH
def test_gradients(device, dtype):
    def loss(x, w):
        return (x.astype(dtype).astype("f4") * w.astype("f4")).sum()

    x, w = RNG.standard_normal((5, 6)).astype("f4"), np.full((5, 6), 0.75, dtype)
    gx, gw = tj.jit(tj.grad(loss, argnums=(0, 1)), device=device)(x, w)
    np.testing.assert_array_equal(gx.numpy(), w.astype("f4"))
    np.testing.assert_array_equal(gw.numpy().view("u1"), x.astype(dtype).view("u1"))
