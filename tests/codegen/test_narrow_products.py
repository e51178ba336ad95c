"""Products of few rows or few columns: how they are cut, shared and followed."""

import itertools
from dataclasses import replace

import numpy as np
import pytest

import tracejit as tj
from tests.sampling import in_turn
from tracejit.codegen.llvm.gemm.micro import Operands, shared_kernel
from tracejit.codegen.llvm.gemm.packing import shared_square
from tracejit.codegen.llvm.gemm.problem import (
    Problem,
    Split,
    Tile,
    blocking_of,
    quantum,
)
from tracejit.codegen.llvm.target import host_target
from tracejit.codegen.llvm.text import Emitter

from .building import targets

ISAS = [target.name for target in targets() if target.name != "generic"]
RNG = np.random.default_rng(11)
WEIGHTS = RNG.normal(size=(300, 500)).astype("f4")  # 600 kB
BIAS = RNG.normal(size=500).astype("f4")


def layer(x, w, b):
    return np.tanh(x @ w + b)


def transposed_layer(x, w, b):
    return np.maximum((x * 2) @ w.T + b, 0)


def softmax_layer(x, w, b):
    e = np.exp(x @ w * 0.1 + b)
    return e / e.sum(-1, keepdims=True), x + 1


def jobs_in(fn, *args) -> int:
    with tj.config.override(threads=2, share_from=0):
        text = tj.jit(fn).trace(*args).lower().compile().as_text()
    return text.count("call void @tracejit_parallel")


def close(got, want) -> None:
    for g, w in zip(got, want, strict=True):
        np.testing.assert_allclose(g, w, rtol=2e-4, atol=2e-5)


ROWS = itertools.product(
    [(), (1,), (5,), (12,), (13,)], [layer, transposed_layer, softmax_layer]
)


@pytest.mark.parametrize(("case", "isa"), in_turn(ROWS, ISAS))
def test_few_rows_and_what_follows(case, isa) -> None:
    rows, fn = case
    x = RNG.normal(size=(*rows, 300)).astype("f4")
    w = WEIGHTS.T.copy() if fn is transposed_layer else WEIGHTS
    results = []
    for threads in (1, 3):
        with tj.config.override(threads=threads, share_from=0, isa=isa):
            results.append(np.atleast_1d(*_all(tj.jit(fn)(x, w, BIAS))))
    close(_all(results[0]), map(np.atleast_1d, _all(fn(x, w, BIAS))))
    for one, other in zip(_all(results[0]), _all(results[1]), strict=True):
        np.testing.assert_array_equal(one, other)


def _all(x) -> tuple:
    return tuple(x) if isinstance(x, tuple | list) else (x,)


@pytest.mark.parametrize("rows", [(), (1,), (6,)])
def test_few_rows_are_shared_along_columns(rows) -> None:
    x = np.ones((*rows, 300), np.float32)
    assert jobs_in(layer, x, WEIGHTS, BIAS)
    small = WEIGHTS[:, :100]  # of no use to several threads
    with tj.config.override(threads=2, share_from=0):
        run = tj.jit(layer).trace(x, small, BIAS[:100]).lower().compile()
    assert ".after(" not in run.as_text()


def problem(m: int, n: int, k: int, dtype: str = "f4", row: int | None = None):
    return Problem(np.dtype(dtype), m, n, k, (row or k, 1), (n, 1), (n, 1))


def avx512():
    if "avx512" not in ISAS:
        pytest.skip("needs AVX-512")
    return host_target("avx512")


@pytest.mark.parametrize(("n", "dtype", "lanes"), [(8, "f4", 8), (4, "f8", 4)])
def test_few_columns_take_half_vectors(n: int, dtype: str, lanes: int) -> None:
    target = avx512()
    assert quantum(problem(66, n, 30, dtype), target, Split.COLUMNS) == 2 * lanes
    wider = quantum(problem(66, n + 1, 30, dtype), target, Split.COLUMNS)
    assert wider == 4 * 2 * lanes
    a, b = np.ones((66, 30), dtype), np.ones((30, n), dtype)
    text = tj.jit(np.matmul).trace(a, b).lower().compile().as_text()
    kind = {"f4": "float", "f8": "double"}[dtype]
    assert f"<{lanes} x {kind}> @llvm.fma" in text
    assert f"<{2 * lanes} x {kind}> @llvm.fma" not in text


@pytest.mark.parametrize("target", targets(), ids=lambda t: t.name)
@pytest.mark.parametrize(("k", "dtype"), [(1024, "f4"), (512, "f8")])
def test_rows_that_share_a_set_of_the_cache_are_few(k, dtype, target) -> None:
    narrow = 9
    assert max(blocking_of(problem(66, narrow, k, dtype), target).rows) == 8
    assert max(blocking_of(problem(66, narrow, k - 8, dtype), target).rows) == 12
    columns_first = Problem(np.dtype(dtype), 66, 9, k, (1, 66), (9, 1), (9, 1))
    assert max(blocking_of(columns_first, target).rows) == 12


COLUMNS = itertools.product([1, 3, 4, 5, 8, 9, 16], ["f4", "f8", "i4"])


@pytest.mark.parametrize(("case", "isa"), in_turn(COLUMNS, ISAS))
def test_few_columns(case, isa) -> None:
    n, dtype = case
    a = RNG.integers(-9, 9, (37, 1024)).astype(dtype)
    b = RNG.integers(-9, 9, (1024, n)).astype(dtype)
    with tj.config.override(isa=isa):
        np.testing.assert_array_equal(tj.jit(np.matmul)(a, b), a @ b)
        wide = tj.jit(lambda a, b: np.maximum(a @ b.T, 0))(a, b.T.copy())
    np.testing.assert_array_equal(wide, np.maximum(a @ b, 0))


@pytest.mark.parametrize(("rows", "panel"), [(32, 8), (16, 8), (30, 6), (96, 6)])
def test_panels_of_few_rows_are_whole(rows: int, panel: int) -> None:
    """And so threads can have the same share of them."""
    target = avx512()
    assert quantum(problem(rows, 512, 128), target, Split.ROWS) % panel == 0
    assert blocking_of(problem(rows, 512, 128), target).rows[-1] == panel


def test_code_for_vectors_of_two_sizes_has_two_names() -> None:
    whole = host_target()
    half = replace(whole, vector_bytes=whole.vector_bytes // 2)
    dtype = np.dtype(np.float32)
    squares = {shared_square(dtype, target, Emitter) for target in (whole, half)}
    assert len(squares) == 2
    operands = Operands(dtype, 16, 1, 48, 48, True)
    tiles = {
        shared_kernel(Tile(6, 1), operands, target, Emitter) for target in (whole, half)
    }
    assert len(tiles) == 2
