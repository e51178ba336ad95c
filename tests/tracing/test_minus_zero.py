"""Sums of nothing but -0.0 have the sign that NumPy gives them, in all kernels."""

import numpy as np
import pytest

import tracejit as tj

DTYPES = (np.float16, np.float32, np.float64)
SHAPES = [
    *(((1,), None), ((5,), 0), ((1000,), None), ((3000,), None)),
    *(((2, 3), 0), ((2, 3), 1), ((100, 70), 0), ((100, 70), 1), ((2000, 3), 0)),
    *(((4, 3), (0, 1)), ((2, 3, 4), (0, 2)), ((3,), ()), ((1, 3), 0), ((0,), None)),
]
FUNCTIONS = {
    "initial": lambda x: np.sum(x, initial=-0.0),
    "initial of a call": lambda x: np.sum(x, initial=x[0]),
    "where": lambda x: np.sum(x, where=np.arange(6) > 2),
    "where, initial": lambda x: np.sum(x, where=np.arange(6) > 2, initial=-0.0),
    "reduce": lambda x: np.add.reduce(x, initial=-0.0),
    "reduceat": lambda x: np.add.reduceat(x, [0, 2, 2, 5]),
    "accumulate": np.add.accumulate,
    "mean": np.mean,
    "nansum": np.nansum,
    "dot": lambda x: np.dot(x, np.ones(6, x.dtype)),
    "einsum": lambda x: np.einsum("i->", x),
    "convolve": lambda x: np.convolve(x, np.ones(2, x.dtype)),
    "computed": lambda x: (x * 2).reshape(2, 3).sum(1) * 3,
}


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize(("shape", "axis"), SHAPES)
def test_sums(shape, axis, dtype):
    x = np.full(shape, -0.0, dtype)
    want, found = np.sum(x, axis=axis), tj.jit(lambda x: np.sum(x, axis=axis))(x)
    np.testing.assert_array_equal(np.signbit(found), np.signbit(want))


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("name", FUNCTIONS)
def test_functions(name, dtype):
    x = np.full(6, -0.0, dtype)
    want, found = FUNCTIONS[name](x), tj.jit(FUNCTIONS[name])(x)
    np.testing.assert_array_equal(found, want)
    np.testing.assert_array_equal(np.signbit(found), np.signbit(want))
