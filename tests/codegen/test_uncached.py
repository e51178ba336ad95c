"""Results too large for the caches are stored past them, where that is safe."""

import numpy as np
import pytest

import tracejit as tj
from tracejit.codegen.llvm import program as program_module
from tracejit.codegen.llvm.target import host_target
from tracejit.errors import InternalError
from tracejit.runtime.cpu import native as native_module
from tracejit.runtime.cpu.executable import CpuExecutable

from .test_program import ProgramBuilder, scaled, with_buffers

SIZES = [(4096,), (1 << 16,), (70_001,), (200, 128), (200, 131)]


@pytest.fixture(autouse=True)
def everything_is_large(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(program_module, "UNCACHED_FROM", 1)


def text_of(fn, *args):
    return tj.jit(fn).trace(*args).lower().compile().as_text()


@pytest.mark.parametrize("isa", ["auto", "avx2", "baseline"])
@pytest.mark.parametrize("threads", [1, 3])
@pytest.mark.parametrize("dtype", ["f4", "f8", "i2"])
@pytest.mark.parametrize("shape", SIZES)
def test_same_values(shape, dtype, threads, isa) -> None:
    x = (np.random.default_rng(0).normal(size=shape) * 50).astype(dtype)
    with tj.config.override(threads=threads, share_from=0, isa=isa):
        run = tj.jit(lambda x: (x * 2 + x, x.T - 1))
        one, two = run(x)
    np.testing.assert_array_equal(one, x * 2 + x)
    np.testing.assert_array_equal(two, x.T - 1)


def test_aligned_stores_go_past_the_caches_and_are_fenced() -> None:
    x = np.ones((64, 1024), np.float32)
    text = text_of(lambda x: x * 2, x)
    assert "!nontemporal !1" in text
    if "x86_64" in text:
        assert "sfence" in text
    odd_rows = np.ones((64, 1023), np.float32)
    assert "!nontemporal !1" not in text_of(lambda x: x - x.max(1)[:, None], odd_rows)


@pytest.mark.parametrize("heavy", [np.tanh, np.sqrt, lambda x: x / (1 + np.exp(-x))])
def test_what_takes_time_to_compute_does_not(heavy) -> None:
    x = np.ones((64, 1024), np.float32)
    assert "!nontemporal !1" not in text_of(lambda x: heavy(x) + 1, x)
    rows = text_of(lambda x: x / np.sum(heavy(x), axis=1)[:, None], x)
    assert "!nontemporal !1" in rows  # the last pass over a row is a division


def test_what_a_later_kernel_reads_stays_in_the_caches() -> None:
    x = np.arange(4096, dtype="f4")
    b = ProgramBuilder()
    source, first = b.input(x), b.output((4096,), "f4")
    last = b.output((4096,), "f4")
    steps = [
        with_buffers(scaled(x, 2, "first"), [source], [first]),
        with_buffers(scaled(x, 3, "last"), [first], [last]),
    ]
    compiled = CpuExecutable(b.program(*steps), host_target())
    assert "!nontemporal" not in compiled.kernels["first"]
    assert "!nontemporal" in compiled.kernels["last"]
    np.testing.assert_array_equal(compiled.run([x])[1], x * 6)


def test_a_shared_kernel_has_a_variant_for_what_is_read_again() -> None:
    x = np.arange(4096, dtype="f4")
    b = ProgramBuilder()
    source, kernel = b.input(x), scaled(x, 2)
    first, *outs = [b.output((4096,), "f4") for _ in range(3)]
    steps = [with_buffers(kernel, [source], [first])]
    steps += [with_buffers(kernel, [first], [out]) for out in outs]
    compiled = CpuExecutable(b.program(*steps), host_target())
    assert len(compiled.kernels) == 2
    assert "!nontemporal" not in compiled.kernels["scaled"]
    assert "!nontemporal" in compiled.kernels["scaled.1"]
    for found, factor in zip(compiled.run([x]), (2, 4, 4), strict=True):
        np.testing.assert_array_equal(found, x * factor)


def test_a_result_that_is_not_aligned_is_an_error(monkeypatch) -> None:
    def crooked(shape, dtype):
        memory = np.empty(int(np.prod(shape)) * dtype.itemsize + 128, np.uint8)
        start = -memory.ctypes.data % 64 + 16
        return np.ndarray(shape, dtype, memory, start)

    monkeypatch.setattr(native_module, "aligned_empty", crooked)
    x = np.ones(4096, np.float32)
    with pytest.raises(InternalError, match="not aligned to 64 bytes"):
        tj.jit(lambda x: x * 2)(x)


def test_the_next_row_is_fetched_where_a_row_is_read_again() -> None:
    def text(rows: int, fn) -> str:
        x = np.ones((rows, 1024), np.float32)
        return text_of(fn, x)

    def variances(x):
        return np.var(x, axis=1)

    assert "llvm.prefetch" in text(2048, variances)
    assert "llvm.prefetch" not in text(512, variances)  # the caches have it anyway
    assert "llvm.prefetch" not in text(2048, lambda x: np.sum(x, axis=1))
