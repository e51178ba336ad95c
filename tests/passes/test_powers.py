"""Powers with constant exponents: special values, the ends of the range, errors."""

import re
from pathlib import Path

import numpy as np
import pytest

import tracejit as tj
from tracejit.passes.powers import FORMS
from tracejit.program.program import Copy, Run

DOCS = Path(__file__).parents[2] / "docs" / "numerics.md"
BOUNDS = {
    float(n): float(bound)
    for n, bound in re.findall(
        r"^\| x\^(\S+) \| \S.* \| (\S+) \|", DOCS.read_text(), re.M
    )
}
WIDER = {np.float32: np.float64, np.float64: np.longdouble}
SPECIAL = [0.0, -0.0, 1.0, -1.0, np.inf, -np.inf, np.nan]


def samples(dtype):
    """Numbers of every exponent, and more near 1."""
    bits = np.dtype(dtype).itemsize * 8
    rng = np.random.default_rng(0)
    whole = rng.integers(0, 2**bits, 100_000, dtype=f"u{bits // 8}").view(dtype)
    near = np.geomspace(1e-3, 1e3, 40_001).astype(dtype)
    info = np.finfo(dtype)
    ends = [info.max, info.tiny, info.smallest_subnormal, np.nextafter(info.tiny, 0)]
    return np.concatenate([whole, near, -near, np.array([*SPECIAL, *ends], dtype)])


def errors(found, exact):
    """Return errors in units in the last place of the exact results' binades."""
    info = np.finfo(found.dtype)
    exponent = np.maximum(np.frexp(np.abs(exact))[1] - 1, info.minexp)
    unit = np.ldexp(np.ones((), exact.dtype), exponent - info.nmant)
    return np.abs(found.astype(exact.dtype) - exact) / unit


def power(n):
    return tj.jit(lambda x: np.power(x, n))


def test_docs_have_every_exponent():
    assert set(BOUNDS) == set(FORMS)


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("n", FORMS)
def test_errors(n, dtype):
    x, wide = samples(dtype), WIDER[dtype]
    with np.errstate(all="ignore"):
        exact = np.power(x.astype(wide), wide(n))
        rounded, expected = exact.astype(dtype), np.power(x, dtype(n))
    found = power(n)(x)
    assert found.dtype == dtype
    np.testing.assert_array_equal(np.isnan(found), np.isnan(expected))
    known = ~np.isnan(found) & ~((n == 0.5) & np.isinf(x))  # a root for NumPy
    x, found, exact, rounded, expected = (
        a[known] for a in (x, found, exact, rounded, expected)
    )
    np.testing.assert_array_equal(np.signbit(found), np.signbit(expected))
    # What is zero or infinite is so because the result is, and not on the way.
    np.testing.assert_array_equal(found == 0, rounded == 0)
    np.testing.assert_array_equal(np.isinf(found), np.isinf(rounded))
    finite = np.isfinite(found)
    assert errors(found[finite], exact[finite]).max() <= BOUNDS[n]


@pytest.mark.slow
@pytest.mark.parametrize("n", [n for n in FORMS if BOUNDS[n] > 0.5])
def test_errors_of_all_significands(n):
    """The error of a number depends on its significand, and the exponent's parity."""
    x = (np.arange(2**24, dtype=np.uint32) + np.uint32(127 << 23)).view(np.float32)
    found, exact = power(n)(x), np.power(x.astype(np.float64), n)
    assert errors(found, exact).max() <= BOUNDS[n]


@pytest.mark.parametrize("n", FORMS)
def test_no_pow_is_left(n):
    x = np.ones(8, np.float32)
    text = power(n).lower(x).as_text()
    assert "pow(" not in text


@pytest.mark.parametrize("n", [0, 3, 5, 7, 16])
@pytest.mark.parametrize("dtype", [np.int32, np.uint8, np.int64])
def test_integers_are_exact(n, dtype):
    x = np.arange(-50, 50).astype(dtype)
    fn = tj.jit(lambda x: x**n)
    np.testing.assert_array_equal(fn(x), x**n)
    assert all(isinstance(s, Run | Copy) for s in fn.lower(x).program.steps)


@pytest.mark.parametrize("n", [-1, 17])
def test_other_powers_of_integers(n):
    """A negative one is NumPy's error, a large one NumPy's loop."""
    x = np.arange(1, 5)
    fn = tj.jit(lambda x: x**n)
    if n < 0:
        with pytest.raises(ValueError, match="negative integer powers"):
            fn(x)
    else:
        np.testing.assert_array_equal(fn(x), x**n)


@pytest.mark.parametrize("n", [5.0, 0.25, -4.0, 1 / 3])
def test_other_exponents_stay(n):
    x = np.linspace(0.5, 2, 8, dtype=np.float32)
    fn = tj.jit(lambda x: x**n)
    assert "pow(" in fn.lower(x).as_text()
    np.testing.assert_allclose(fn(x), x**n, 1e-6)


def test_halves_round_once():
    x = np.linspace(0.1, 3, 500).astype(np.float16)
    exact = (x.astype(np.float64) ** 3).astype(np.float16)
    np.testing.assert_array_equal(tj.jit(lambda x: x**3)(x), exact)


@pytest.mark.parametrize("n", [0, 1, 3, 4, 1.5, 2.5, -1, -1.5, -3])
def test_derivatives(n):
    """Of the powers themselves: n x^(n - 1), at zero too, and once more."""
    x = np.array([0.0, 0.3, 2.0, 7.0]) if n >= 2 else np.array([0.3, 2.0, 7.0])
    slope = tj.grad(lambda x: (x**n).sum())
    first, second = tj.jit(slope)(x), tj.jit(tj.grad(lambda x: slope(x).sum()))(x)
    np.testing.assert_allclose(first, n * x ** (n - 1.0), 1e-14)
    np.testing.assert_allclose(second, n * (n - 1) * x ** (n - 2.0), 1e-14)


def test_squares_on_the_way_are_shared():
    """Both powers and the square take three products."""
    fn = tj.jit(lambda x: (x**2, x**3, x**4))
    text = fn.lower(np.ones(8)).as_text()
    assert text.count(" * ") == 3
