"""`fma` in NumPy beside exact fractions: results of every size, and special values."""

import math
from fractions import Fraction

import numpy as np
import pytest

from tracejit.ir.ops.exact_fma import fma

RNG = np.random.default_rng(8)
N = 4000


def exact(x, y, z):
    """The rounded value of x y + z, of finite numbers whose result is not zero."""
    value = Fraction(x) * Fraction(y) + Fraction(z)
    try:
        return value.numerator / value.denominator
    except OverflowError:
        return math.inf if value > 0 else -math.inf


def scaled(low, high):
    return RNG.normal(size=N) * 2.0 ** RNG.integers(low, high, N)


def near(x, y):
    """Addends that cancel the product but for a few units in its last place."""
    return -x * y * (1 + 2.0**-52 * RNG.integers(-2, 3, N))


X, Y = RNG.normal(size=(2, N))
ODD = RNG.integers(2**52, 2**53, (2, N)).astype(float)
CASES = {
    "alike": (X, Y, RNG.normal(size=N)),
    "cancelling": (X, Y, near(X, Y)),
    "wide": (scaled(-60, 60), scaled(-60, 60), scaled(-160, 160)),
    "tiny": (scaled(-540, -400), scaled(-540, -400), scaled(-1074, -900)),
    "huge": (scaled(400, 600), scaled(400, 600), scaled(900, 1023)),
    "halfway": (*ODD, RNG.choice([-1, 1], N) * 2.0 ** RNG.integers(40, 60, N)),
}


@pytest.mark.parametrize("name", CASES)
def test_rounded_once(name):
    x, y, z = CASES[name]
    with np.errstate(all="ignore"):
        got = fma(x, y, z)
    rows = zip(x, y, z, strict=True)
    want = [exact(*row) for row in rows]
    np.testing.assert_array_equal(got, want)


def test_special_values():
    values = np.array([0.0, -0.0, 1.0, -1.0, np.inf, -np.inf, np.nan, 5e-324])
    x, y, z = (v.ravel() for v in np.meshgrid(values, values, values))
    tiny = (np.abs(x) == 5e-324) & (np.abs(y) == 5e-324)  # x y alone underflows
    with np.errstate(all="ignore"):
        got, plain = fma(x, y, z), x * y + z
    same = ~tiny
    np.testing.assert_array_equal(got[same], plain[same])
    np.testing.assert_array_equal(
        np.signbit(got[same & ~np.isnan(got)]), np.signbit(plain[same & ~np.isnan(got)])
    )


def test_float32_is_rounded_once():
    x, y = RNG.normal(size=(2, N)).astype(np.float32)
    z = (-x * y * (1 + 2.0**-20 * RNG.normal(size=N))).astype(np.float32)
    want = [np.float32(exact(*map(float, row))) for row in zip(x, y, z, strict=True)]
    np.testing.assert_array_equal(fma(x, y, z), np.array(want))


def test_scalars_broadcast():
    got = fma(np.arange(3.0), np.float64(2), np.float64(1))
    np.testing.assert_array_equal(got, np.array([1.0, 3.0, 5.0]), strict=True)
