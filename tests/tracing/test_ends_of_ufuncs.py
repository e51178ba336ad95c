"""Ufuncs at zeros of both signs, infinities and NaN: NumPy's values and signs."""

import numpy as np
import pytest

import tracejit as tj
from tracejit.testing import check_grads

PARTS = (0.0, -0.0, 1.0, -1.0, 2.5, -1e-30, 1e30, np.inf, -np.inf, np.nan)


@pytest.mark.parametrize("dtype", ["c8", "c16"])
def test_complex_reciprocals(dtype):
    x = np.empty((len(PARTS), len(PARTS)), dtype)
    x.real, x.imag = np.array(PARTS)[:, None], np.array(PARTS)
    with np.errstate(all="ignore"):
        want = np.reciprocal(x)
    got = tj.jit(np.reciprocal)(x)
    for a, b in ((got.real, want.real), (got.imag, want.imag)):
        np.testing.assert_allclose(a, b, rtol=4 * np.finfo(a.dtype).eps)
        number = ~np.isnan(b)
        np.testing.assert_array_equal(np.signbit(a[number]), np.signbit(b[number]))


def test_derivatives_of_complex_reciprocals():
    x = np.array([1 + 2j, -3 + 0.5j, 0.5 - 0.5j])
    check_grads(lambda x: np.reciprocal(x).real.sum(), (x,), order=2)


@pytest.mark.parametrize("power", [np.power, np.float_power, lambda x, n: x**n])
@pytest.mark.parametrize("n", [0.5, -0.5, 1.5, 2, -1])
def test_roots_and_powers(power, n):
    """Of -inf and -0.0 `np.power` gives the root, `np.float_power` what C gives."""
    x = np.array(PARTS)
    with np.errstate(all="ignore"):
        want = power(x, n)
    got = tj.jit(lambda x: power(x, n))(x)
    np.testing.assert_allclose(got, want, rtol=1e-15)
    number = ~np.isnan(want)
    np.testing.assert_array_equal(np.signbit(got[number]), np.signbit(want[number]))
