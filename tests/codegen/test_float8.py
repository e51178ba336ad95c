"""float8 conversions on each instruction set: every number, and every rounding."""

import ml_dtypes
import numpy as np
import pytest

import tracejit as tj
from tests.isas import instruction_set
from tracejit.ir import dtypes as dt

FLOAT8S = [dt.FLOAT8_E4M3FN, dt.FLOAT8_E5M2]
WHOLE = [np.dtype(c) for c in ("i1", "i2", "i4", "i8", "u1", "u2", "u4", "u8")]
pytestmark = [
    pytest.mark.parametrize("isa", ["avx512", "avx2", "baseline"]),
    pytest.mark.parametrize("dtype", FLOAT8S, ids=dt.dtype_name),
    pytest.mark.filterwarnings("ignore::RuntimeWarning"),
]


def all_numbers(dtype):
    return np.arange(256, dtype=np.uint8).view(dtype)


def hard_floats(dtype):
    """Return all float16 and many float32 numbers, ties and what is beside them."""
    rng = np.random.default_rng(8)
    halves = np.arange(1 << 16, dtype=np.uint16).view(np.float16).astype(np.float32)
    bits = rng.integers(0, 1 << 32, 100_000, np.uint32).view(np.float32)
    sized = np.ldexp(rng.uniform(-2, 2, 100_000), rng.integers(-20, 18, 100_000))
    exact = np.sort(all_numbers(dtype).astype(np.float32))
    exact = exact[np.isfinite(exact)]
    ties = (exact[1:] + exact[:-1]) / 2
    near = [np.nextafter(ties, np.float32(way)) for way in (-np.inf, np.inf)]
    overflow = np.float32([448, 464, 465, 480, 57344, 61440, 61441, 65536])
    rows = [halves, bits, sized.astype(np.float32), exact, ties, *near, overflow]
    return np.concatenate([*rows, -overflow])


def run(isa, function, *args):
    with instruction_set(isa):
        return tj.jit(function)(*args)


def assert_bits(found, expected):
    assert found.dtype == expected.dtype
    raw = f"u{found.dtype.itemsize}"
    np.testing.assert_array_equal(found.view(raw), expected.view(raw))


def test_every_number_is_decoded(isa, dtype):
    x = all_numbers(dtype)
    assert_bits(run(isa, lambda x: x.astype(np.float32), x), x.astype(np.float32))


def test_floats_are_rounded_as_by_ml_dtypes(isa, dtype):
    x = hard_floats(dtype)
    assert_bits(run(isa, lambda x: x.astype(dtype), x), x.astype(dtype))


def test_doubles_are_rounded_as_by_ml_dtypes(isa, dtype):
    x = hard_floats(dtype).astype(np.float64)
    x = np.concatenate([x, np.nextafter(x, 0), np.nextafter(x, np.inf)])
    assert_bits(run(isa, lambda x: x.astype(dtype), x), x.astype(dtype))


def test_stored_bits_are_what_was_loaded(isa, dtype):
    x = all_numbers(dtype)
    moved, chosen = run(isa, lambda x: (x[::-1].copy(), np.where(x == x, x, 1)), x)
    assert_bits(moved, x[::-1])  # NaN as it was
    assert_bits(chosen, np.where(x == x, x, 1).astype(chosen.dtype))


def test_other_floats(isa, dtype):
    x = all_numbers(dtype)
    for to in (np.float16, np.float64, ml_dtypes.bfloat16, *FLOAT8S):
        found = run(isa, lambda x, to=to: x.astype(to), x)
        assert_bits(found, x.astype(to))
    for source in (np.float16, ml_dtypes.bfloat16):
        y = np.arange(1 << 16, dtype=np.uint16).view(source)
        found = run(isa, lambda y: y.astype(dtype), y)
        assert_bits(found, y.astype(dtype))


def test_integers(isa, dtype):
    x = all_numbers(dtype)
    found = run(isa, lambda x: [x.astype(to) for to in [*WHOLE, np.dtype(bool)]], x)
    for y in found:
        safe = x if y.dtype.kind != "u" else np.where(x < 0, 0, x).astype(dtype)
        y = y if y.dtype.kind != "u" else y[~(x < 0)]
        safe = safe if y.dtype.kind != "u" else safe[~(x < 0)]
        np.testing.assert_array_equal(y, safe.astype(y.dtype))
    for source in WHOLE:
        ends = np.iinfo(source)
        near = np.array([n for n in range(-70, 600) if ends.min <= n <= ends.max])
        x = np.concatenate([near.astype(source), [ends.min, ends.max]]).astype(source)
        assert_bits(run(isa, lambda x: x.astype(dtype), x), x.astype(dtype))


def test_arithmetic_on_all_pairs(isa, dtype):
    def pairs(x, y):
        return x + y, x - y, x * y, x / y, np.maximum(x, y), np.copysign(x, y), x < y

    x = all_numbers(dtype)
    found = run(isa, pairs, x[:, None], x[None, :])
    for ours, theirs in zip(found, pairs(x[:, None], x[None, :]), strict=True):
        assert ours.dtype == theirs.dtype
        wide = [v.astype(np.float32) for v in (ours, theirs)]
        np.testing.assert_array_equal(*wide)


@pytest.mark.parametrize("length", [1, 3, 15, 16, 17, 67])
def test_any_length_and_step(isa, dtype, length):
    x = np.random.default_rng(length).standard_normal(2 * length).astype(np.float32)
    found = run(isa, lambda x: x.astype(dtype)[::-1] + dtype.type(1), x[::2])
    assert_bits(found, x[::2].astype(dtype)[::-1] + dtype.type(1))
