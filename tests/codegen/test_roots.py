"""Roots and lengths by products: exact; roots, where a loop waits for the divider."""

from collections.abc import Callable

import numpy as np
import pytest

import tracejit as tj
from tracejit.codegen.llvm.program import emit_program
from tracejit.codegen.llvm.target import host_target
from tracejit.runtime.cpu.externs import resolve_loop

TARGET = host_target("auto")
AVX512 = pytest.mark.skipif(TARGET.name != "avx512", reason="needs AVX-512")
ESTIMATE = "= call <16 x float> @llvm.x86.avx512.rsqrt14"
INSTRUCTION = "= call <16 x float> @llvm.sqrt"


def roots(f: Callable, *args: np.ndarray) -> tuple[int, int]:
    """Return how many vectors have roots by products, and how many by instructions."""
    text = emit_program(tj.jit(f).lower(*args).program, TARGET, resolve_loop).text
    return text.count(ESTIMATE), text.count(INSTRUCTION)


def test_every_significand_at_both_parities_of_the_exponent() -> None:
    root = tj.jit(np.sqrt)
    for exponent in (-126, -96, -95, -1, 0, 94, 95, 127):
        first = (exponent + 127) << 23
        x = np.arange(first, first + (1 << 23), dtype=np.uint32).view(np.float32)
        np.testing.assert_array_equal(root(x), np.sqrt(x))


@pytest.mark.parametrize("place", [0, 17, 40, 63, 64, 70])
def test_numbers_that_have_no_estimate(place: int) -> None:
    """Zeros keep signs; what is no number, infinite or tiny is as NumPy has it."""
    odd = [0.0, -0.0, np.inf, -np.inf, np.nan, -1.0, 1e-45, 1e-38, 1e-30, 3e38]
    for value in odd:
        x = np.full(71, 2.0, np.float32)
        x[place] = value
        with np.errstate(invalid="ignore"):
            expected = np.sqrt(x)
        found = tj.jit(lambda x: np.sqrt(x))(x)
        np.testing.assert_array_equal(found, expected)
        is_zero = expected == 0
        np.testing.assert_array_equal(
            np.signbit(found[is_zero]), np.signbit(expected[is_zero])
        )


@AVX512
def test_a_root_alone_is_shared_with_the_divider() -> None:
    x = np.ones(4096, np.float32)
    by_products, by_instruction = roots(np.sqrt, x)
    assert by_products > 0
    assert by_instruction > by_products  # one more behind each, for odd numbers


@AVX512
def test_where_other_work_takes_longer_the_divider_does_them() -> None:
    x = np.ones(4096, np.float32)
    assert roots(lambda x: np.exp(-np.sqrt(x)), x)[0] == 0
    assert roots(np.sqrt, x.astype(np.float64))[0] == 0
    a = np.ones((64, 3), np.float32)

    def square(a: np.ndarray) -> np.ndarray:
        return ((a[:, None] - a) ** 2).sum(-1) + 1

    assert roots(lambda a: np.sqrt(square(a)).sum(1), a)[0] == 0
    # Vectors of every third number are put together by other work as well.
    assert roots(lambda a: (1 / np.sqrt(square(a))).sum(1), a)[0] == 0


def test_lengths_do_not_depend_on_their_neighbours() -> None:
    """Nor on where a vector ends; all are the nearest float32, or almost."""
    rng = np.random.default_rng(0)
    odd = [0.0, -0.0, np.inf, -np.inf, np.nan, 1e-45, 1e-38, 1e-20, 1e19, 3e38]
    scale = rng.choice([1e-44, 1e-16, 1e-14, 1.0, 1e18, 1e20], (2, 5000))
    x, y = (rng.normal(size=(2, 5000)) * scale).astype(np.float32)
    x[::7], y[::11] = rng.choice(odd, x[::7].size), rng.choice(odd, y[::11].size)
    f = tj.jit(lambda x, y: np.hypot(x, y))
    with np.errstate(all="ignore"):
        expected = np.hypot(x.astype(np.float64), y).astype(np.float32)
    found = f(x, y)
    np.testing.assert_array_max_ulp(found, expected, 1)
    alone = [f(x[k : k + 1], y[k : k + 1])[0] for k in range(0, 5000, 13)]
    np.testing.assert_array_equal(found[::13], np.array(alone, np.float32))
    one = tj.jit(lambda x, y: np.hypot(x, y) + 0)
    np.testing.assert_array_equal(found[:64:3], one(x[:64:3], y[:64:3]))
