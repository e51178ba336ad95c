"""Short rows that lie dense are long rows, where elements and columns are computed."""

from collections.abc import Callable

import numpy as np
import pytest

import tracejit as tj
from tests.sampling import in_turn

from .building import targets

RNG = np.random.default_rng(0)
ELEMENTWISE: dict[str, Callable] = {
    "a row": lambda x, w: x + w[0],
    "two rows": lambda x, w: x * w[0] + w[1],
    "one of its own": lambda x, w: x - x[0],
    "its last": lambda x, w: x + x[-1] * w[0],
    "results": lambda x, w: (x * w[0], x + w[1], w[0] * 2),
    "every second": lambda x, w: x[::2] * w[0],
    "transposed": lambda x, w: x.T * w[0][:, None],
    "a number": lambda x, w: x * w[0] + x[0, 0],
    "chosen": lambda x, w: np.where(x > w[0], x, w[1]),
}
SUMS: dict[str, Callable] = {
    "sums": lambda x, w: x.sum(0),
    "deviations": lambda x, w: (x.mean(0), x.std(0)),
    "of what zeros are not": lambda x, w: np.exp(x * 0.1).sum(0),
    "from a row": lambda x, w: ((x - w[0]) ** 2).sum(0) * w[0],
    "from one of its own": lambda x, w: (np.abs(x - x[3]).sum(0), x[5] * 2),
    "standardised": lambda x, w: (x - x.mean(0)) / x.std(0),
}


def check(fn: Callable, rows: int, columns: int, dtype: str, rtol: float) -> None:
    x = (RNG.random((rows, columns)) * 9).astype(dtype)
    w = (RNG.random((2, columns)) * 9).astype(dtype)
    got, want = tj.jit(fn)(x, w), fn(x, w)
    pairs = zip(got, want, strict=True) if isinstance(want, tuple) else [(got, want)]
    for a, b in pairs:
        assert a.dtype == b.dtype
        np.testing.assert_allclose(a, b, rtol=rtol, atol=rtol)


@pytest.mark.parametrize(("name", "threads"), in_turn(ELEMENTWISE, [1, 3]))
def test_elementwise(name: str, threads: int) -> None:
    for target in targets():
        with tj.config.override(isa=target.name, threads=threads, share_from=0):
            for rows, columns in ((63, 3), (64, 3), (65, 1), (1000, 7), (130, 65)):
                check(ELEMENTWISE[name], rows, columns, "f4", 1e-6)


@pytest.mark.parametrize("dtype", ["f8", "i4", "f2", "?", "c8", "u1"])
def test_dtypes(dtype: str) -> None:
    for name in ("a row", "two rows", "one of its own", "chosen"):
        if (name, dtype) != ("one of its own", "?"):
            check(ELEMENTWISE[name], 333, 3, dtype, 2e-3 if dtype == "f2" else 1e-6)


@pytest.mark.parametrize(("name", "threads"), in_turn(SUMS, [3, 1]))
def test_sums(name: str, threads: int) -> None:
    for target in targets():
        with tj.config.override(isa=target.name, threads=threads, share_from=0):
            for rows, columns in ((65, 3), (1024, 1), (5003, 3), (1100, 50), (70, 70)):
                check(SUMS[name], rows, columns, "f8", 1e-12)


def test_sums_have_the_same_bits_on_any_number_of_threads() -> None:
    x = RNG.random((70003, 3)).astype(np.float32)
    found = []
    for threads in (1, 2, 3):
        with tj.config.override(threads=threads, share_from=0):
            found.append(tj.jit(lambda x: x.std(0))(x))
    np.testing.assert_array_equal(found[0], found[1])
    np.testing.assert_array_equal(found[0], found[2])


@pytest.mark.parametrize("fn", [lambda x, w: x - w, lambda x, w: ((x - w) ** 2).sum(0)])
def test_sixty_four_rows_are_one(fn: Callable) -> None:
    def is_joined(rows: int, columns: int) -> bool:
        x, w = np.zeros((rows, columns), np.float32), np.zeros(columns, np.float32)
        text = tj.jit(fn).lower(x, w).compile().as_text()
        return f", {64 * columns}\n" in text and "urem" in text

    assert is_joined(1000, 3)
    assert not is_joined(1000, 67)
    assert not is_joined(60, 3)
