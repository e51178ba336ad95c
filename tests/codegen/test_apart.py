"""Elements a few apart are loaded as vectors, and nothing beyond the last is read."""

import ctypes
import mmap

import numpy as np
import pytest

import tracejit as tj
from tracejit.codegen.llvm.target import Target

from .building import KernelBuilder, guarded, run_kernel, schedule, targets

ALL_TARGETS = pytest.mark.parametrize("target", targets(), ids=lambda t: t.name)
DTYPES = ["f4", "f8", "i1", "f2", "?", "u8"]


@ALL_TARGETS
@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("stride", [2, 3, 5, 8, 9])
def test_every_column_of_a_matrix(stride: int, dtype: str, target: Target) -> None:
    n = 150
    x = np.random.default_rng(stride).integers(0, 100, (n, stride)).astype(dtype)
    for column in (0, stride // 2, stride - 1):
        source, out = x[:, column], guarded((n,), dtype)
        k = KernelBuilder("column", i=n)
        k.store(out, k.load(source, "i"), "i")
        run_kernel(k.kernel(), schedule("i", vector="i"), target, [source], [out])
        np.testing.assert_array_equal(out, source)


def test_they_are_no_gathers() -> None:
    def text(stride: int) -> str:
        x = np.ones((64, stride), np.float32)
        return tj.jit(lambda x: x[:, -1] * 2).trace(x).lower().compile().as_text()

    assert "masked.gather" not in text(3)
    assert "masked.gather" in text(9)


@pytest.mark.skipif(not hasattr(mmap, "MAP_ANONYMOUS"), reason="needs mprotect")
@pytest.mark.parametrize("stride", [2, 3, 7, 8])
def test_the_end_of_memory(stride: int) -> None:
    """The page behind the array cannot be read."""
    pages = mmap.mmap(-1, 2 * mmap.PAGESIZE)
    memory = np.frombuffer(pages, np.float32)
    half = len(memory) // 2
    behind = ctypes.c_void_p(memory.ctypes.data + mmap.PAGESIZE)
    mprotect = ctypes.CDLL(None, use_errno=True).mprotect
    assert mprotect(behind, ctypes.c_size_t(mmap.PAGESIZE), 0) == 0
    rows = 64
    x = memory[half - rows * stride : half].reshape(rows, stride)
    x[:] = np.arange(rows * stride).reshape(rows, stride)
    for column in (0, stride - 1):
        found = tj.jit(lambda x, c=column: x[:, c] + 1)(x)
        np.testing.assert_array_equal(found, x[:, column] + 1)
