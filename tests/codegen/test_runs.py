"""Positions that are divided by multiples of a vector's length are read in vectors."""

import itertools
from collections.abc import Callable

import numpy as np
import pytest

import tracejit as tj
from tests.sampling import sampled
from tracejit.kernels.maps import axis, floordiv

from .building import KernelBuilder, guarded, run_kernel, schedule, targets

RNG = np.random.default_rng(0)


def merged(x: np.ndarray) -> np.ndarray:
    return x.transpose(1, 0, 2).reshape(x.shape[1], -1)


ROWS: dict[str, Callable] = {
    "sums": lambda x: merged(x).sum(1),
    "largest": lambda x: merged(x).max(1),
    "softmax": lambda x: np.exp(merged(x)) / np.exp(merged(x)).sum(1, keepdims=True),
    "from the last": lambda x: merged(x)[:, ::-1].sum(1),
    "but the first": lambda x: merged(x)[:, 64:].sum(1),
}


@pytest.mark.parametrize("name", ROWS)
def test_rows_are_not_gathered(name: str) -> None:
    x = RNG.normal(size=(5, 9, 64)).astype(np.float32)
    compiled = tj.jit(ROWS[name])
    np.testing.assert_allclose(compiled(x), ROWS[name](x), rtol=2e-5)
    if name != "from the last":
        assert "masked.gather" not in compiled.lower(x).compile().as_text()


CASES = itertools.product([16, 31, 48, 64], ["f4", "f8", "i1", "?", "c8"])


@pytest.mark.parametrize(("length", "dtype"), sampled(CASES, 3))
def test_values_are_numpys(length: int, dtype: str) -> None:
    x = (RNG.normal(size=(5, 9, length)) * 5).astype(dtype)

    def both(x):
        y = merged(x)
        return y.max(1), y[:, 16:] == y[:, :-16], y[:, 5:].min(1)

    for target in targets():
        with tj.config.override(isa=target.name):
            for got, want in zip(tj.jit(both)(x), both(x), strict=True):
                np.testing.assert_array_equal(got, want)


def test_bounds_on_what_grows_in_two_ways() -> None:
    """Of i + i // 3 the end of a vector is not lanes - 1 behind its beginning."""
    x, n = np.arange(64, dtype=np.float32), np.arange(64)
    bound = axis("i") + floordiv(axis("i"), 3)
    for target in targets():
        out = guarded((64,), "f4")
        k = KernelBuilder("bounded", i=64)
        k.store(out, k.load(x, "i", bounds=[(bound, 40)]), "i")
        run_kernel(k.kernel(), schedule("i", vector="i"), target, [x], [out])
        np.testing.assert_array_equal(out, np.where(n + n // 3 < 40, x, 0))
