"""Functions of complex numbers: NumPy's infinities, NaN and signs, and its accuracy."""

import numpy as np
import pytest

import tracejit as tj
from tests.sampling import in_turn

ISAS = ("avx512", "avx2", "baseline")
FUNCTIONS = (
    *("sqrt", "exp", "exp2", "expm1", "log", "log2", "log10", "log1p"),
    *("sin", "cos", "tan", "sinh", "cosh", "tanh"),
)
UNITS = {"tan": 6, "tanh": 6, "log1p": 40}  # log1p cancels in NumPy, too
EXPONENTS = (2.5, 0.5, -1, 3, 4, -3, 2 + 1j, 0)
PARTS = (0.0, -0.0, 1.0, -1.0, 0.5, 2.0, -3.0, 100.0, np.inf, -np.inf, np.nan)


def corners(dtype: type) -> np.ndarray:
    """All pairs of numbers where something happens."""
    real = np.dtype(dtype).type(0).real.dtype
    info = np.finfo(real)
    parts = np.array([*PARTS, info.max, -info.max, info.tiny, 1e-20, -800.0], real)
    re, im = np.meshgrid(parts, parts)
    z = np.empty(re.size, dtype)
    z.real, z.imag = re.ravel(), im.ravel()
    return z


def many(dtype: type) -> np.ndarray:
    """Numbers of many sizes, and some whose size is almost 1."""
    rng = np.random.default_rng(7)
    size = 10.0 ** rng.uniform(-5, 1.9, 4000)
    size[::4] = 1 + 10.0 ** rng.uniform(-15, -1, 1000)
    return (size * np.exp(1j * rng.uniform(-3.1, 3.1, 4000))).astype(dtype)


def same(x: np.ndarray, y: np.ndarray) -> np.ndarray:
    """Whether numbers have one value and one sign, or are both NaN."""
    equal = (x == y) & (np.signbit(x) == np.signbit(y))
    return equal | (np.isnan(x) & np.isnan(y))


def assert_corners(got: np.ndarray, want: np.ndarray, z: np.ndarray) -> None:
    """Check what is infinite, NaN or zero, part by part."""
    for mine, theirs in ((got.real, want.real), (got.imag, want.imag)):
        special = ~np.isfinite(mine) | ~np.isfinite(theirs)
        special |= (mine == 0) | (theirs == 0)
        tiny = np.finfo(mine.dtype).tiny  # which of those is zero is rounding's
        special &= ~((abs(mine) < tiny) & (abs(theirs) < tiny) & (mine != theirs))
        wrong = special & ~same(mine, theirs)
        assert not wrong.any(), (z[wrong], got[wrong], want[wrong])


def assert_close(got: np.ndarray, want: np.ndarray, units: float) -> None:
    eps = np.finfo(got.dtype).eps
    assert np.max(abs(got - want) / abs(want)) < units * eps


@pytest.mark.parametrize("dtype", [np.complex64, np.complex128])
@pytest.mark.parametrize(("name", "isa"), in_turn(FUNCTIONS, ISAS))
def test_function_is_numpys(name: str, isa: str, dtype: type) -> None:
    function, z, w = getattr(np, name), corners(dtype), many(dtype)
    with tj.config.override(isa=isa), np.errstate(all="ignore"):
        compiled = tj.jit(function)
        assert_corners(compiled(z), function(z), z)
        assert_close(compiled(w), function(w), UNITS.get(name, 4))


@pytest.mark.parametrize("dtype", [np.complex64, np.complex128])
@pytest.mark.parametrize(("power", "isa"), in_turn(EXPONENTS, ISAS))
def test_power_is_numpys(power: complex, isa: str, dtype: type) -> None:
    z, w = corners(dtype), many(dtype)
    z = z[~(abs(z) > 1e30) | ~np.isfinite(abs(z))]  # what overflows has any sign
    with tj.config.override(isa=isa), np.errstate(all="ignore"):
        compiled = tj.jit(lambda z: np.power(z, power))
        assert_corners(compiled(z), np.power(z, power), z)
        # In doubles, as NumPy's powers of complex64 numbers err by 30 units.
        exact = np.power(w.astype(np.complex128), power)
        units = 4 if dtype == np.complex64 else 40
        assert_close(compiled(w), exact.astype(dtype), units)


@pytest.mark.parametrize("name", ["less", "less_equal", "greater", "greater_equal"])
@pytest.mark.parametrize("dtype", [np.complex64, np.complex128])
def test_order_is_numpys(name: str, dtype: type) -> None:
    z, function = corners(dtype), getattr(np, name)
    for other in (z, np.roll(z, 5), np.roll(z, 16)):
        with np.errstate(all="ignore"):
            want = function(z, other)
        np.testing.assert_array_equal(tj.jit(function)(z, other), want)


@pytest.mark.parametrize("dtype", [np.complex64, np.complex128])
def test_functions_join_the_arithmetic_around_them(dtype: type) -> None:
    f = tj.jit(lambda z: np.sqrt(z * z + 1) * np.exp(1j * z) - np.log(z) ** 1.5)
    program = f.trace(many(dtype)).lower().program
    assert len(program.steps) == 1
