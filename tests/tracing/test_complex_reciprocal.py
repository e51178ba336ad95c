"""`np.reciprocal` of complex numbers: NumPy's values, with the signs of its zeros."""

import numpy as np
import pytest

import tracejit as tj
from tracejit.testing import check_grads

PARTS = (0.0, -0.0, 1.0, -1.0, 2.5, -1e-30, 1e30, np.inf, -np.inf, np.nan)


@pytest.mark.parametrize("dtype", ["c8", "c16"])
def test_values(dtype):
    x = np.empty((len(PARTS), len(PARTS)), dtype)
    x.real, x.imag = np.array(PARTS)[:, None], np.array(PARTS)
    with np.errstate(all="ignore"):
        want = np.reciprocal(x)
    got = tj.jit(np.reciprocal)(x)
    for a, b in ((got.real, want.real), (got.imag, want.imag)):
        np.testing.assert_allclose(a, b, rtol=4 * np.finfo(a.dtype).eps)
        number = ~np.isnan(b)
        np.testing.assert_array_equal(np.signbit(a[number]), np.signbit(b[number]))


def test_derivatives():
    x = np.array([1 + 2j, -3 + 0.5j, 0.5 - 0.5j])
    check_grads(lambda x: np.reciprocal(x).real.sum(), (x,), order=2)
