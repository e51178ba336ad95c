"""How exact normal and exponential numbers are, beside their formula in more digits."""

import numpy as np
import pytest

import tracejit as tj
from tracejit.random.normal import log_of, minus_log, sine_of_angle
from tracejit.random.threefry import threefry2x32

EXPONENTIAL_ULPS, SINE_ULPS, NORMAL_ULPS = 3, 3.5, 5  # as docs/random.md says
EDGES = np.array(
    [0, 1, 2, 3, 2**30, 2**31 - 1, 2**31, 2**31 + 1, 3037000499, 2**32 - 2, 2**32 - 1],
    np.uint32,
)


def words(n=200_000):
    high, low = (tj.random.bits(tj.random.key(s), n) for s in (1, 2))
    shifts = tj.random.randint(tj.random.key(3), n, 0, 32, np.uint32)
    rare = high >> shifts  # near both ends, too
    high = np.concatenate([high, rare, ~rare, EDGES, EDGES])
    zeros = np.zeros(len(EDGES), np.uint32)
    return high, np.concatenate([low, low, low, zeros, ~zeros])


def wide(dtype):
    """Long doubles: 64 bits of mantissa are enough for 53 random ones."""
    if np.finfo(np.longdouble).nmant < 63:
        pytest.skip("no wider format to compare with")
    return np.float64 if dtype == np.float32 else np.longdouble


def ulps(got, want, dtype):
    unit = np.spacing(np.abs(want).astype(dtype)).astype(want.dtype)
    return float(np.max(np.abs(got.astype(want.dtype) - want) / unit))


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("compiled", [False, True])
def test_exponential(dtype, compiled):
    kind, fmt = wide(dtype), np.dtype(dtype)
    high, low = words()
    fn = tj.jit(lambda h, w: minus_log(h, w, fmt))
    got = (
        fn(high, low)
        if compiled
        else tj.vmap(lambda h, w: minus_log(h, w, fmt))(high[::50], low[::50])
    )
    high, low = (high, low) if compiled else (high[::50], low[::50])
    if dtype == np.float32:
        u = ((high | 1).astype(kind)) * 2.0**-32
        rest = ((~high | 1).astype(kind)) * 2.0**-32
    else:
        u = high.astype(kind) * 2.0**-32 + (low | 1).astype(kind) * kind(2.0**-64)
        rest = (~high).astype(kind) * 2.0**-32 + (~low | 1).astype(kind) * kind(2**-64)
    is_low = high < 2**31
    want = np.where(is_low, -np.log(u), -np.log1p(-np.where(is_low, 0, rest)))
    assert ulps(got, want, dtype) < EXPONENTIAL_ULPS


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_sine(dtype):
    kind = wide(dtype)
    high, low = words()
    fmt = np.dtype(dtype)
    got = tj.jit(lambda h, w: sine_of_angle(h, w, fmt))(high, low)
    t = high.astype(np.int32).astype(kind) * 2.0**-31
    if dtype == np.float32:
        t = (high | 1).astype(np.int32).astype(kind) * 2.0**-31
    else:
        t = t + (low | 1).astype(kind) * kind(2.0**-63)
    half_pi = kind("1.57079632679489661923132169163975144")
    assert ulps(got, np.sin(t * half_pi), dtype) < SINE_ULPS


def test_log():
    x = np.exp(np.linspace(-22.0, 3.5, 10_001)).astype(np.float32)
    got = tj.jit(lambda x: log_of(x, 33, (32, 16, 8, 4, 2, 1)))(x)
    np.testing.assert_allclose(got, np.log(x.astype(float)), rtol=3e-7, atol=1e-7)


def test_largest_numbers():
    """The ends of the ranges that the documentation gives."""
    ends = np.array([0, 2**32 - 1], np.uint32)
    single = tj.jit(lambda h: minus_log(h, h, np.dtype(np.float32)))(ends)
    np.testing.assert_allclose(single, [32 * np.log(2), 2.0**-32], rtol=1e-6)
    double = tj.jit(lambda h: minus_log(h, h, np.dtype(np.float64)))(ends)
    np.testing.assert_allclose(double, [64 * np.log(2), 2.0**-64], rtol=1e-15)


def test_normal():
    """From the words of each counter to the number, in doubles."""
    key = tj.random.key(4)
    got = tj.random.normal(key, 1_000_000, np.float32)
    count = np.arange(1_000_000, dtype=np.uint32)
    zero = np.zeros(1, np.uint32)
    radius, angle = threefry2x32(key[:1], key[1:], zero, count)
    is_low = radius < 2**31
    top = np.where(is_low, radius, ~radius) | np.uint32(1)
    distance = top * 2.0**-32
    minus = np.where(is_low, -np.log(distance), -np.log1p(-distance))
    sine = np.sin((angle | np.uint32(1)).astype(np.int32) * 2.0**-31 * np.pi / 2)
    want = np.sqrt(2 * minus) * sine
    assert ulps(got, want, np.float32) < NORMAL_ULPS
    assert np.max(np.abs(got - want)) < 1e-6
