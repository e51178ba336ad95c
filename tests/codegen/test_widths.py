"""Vectors of several registers, where functions would wait for their own results."""

from collections.abc import Callable
from dataclasses import replace

import numpy as np
import pytest

import tracejit as tj
from tests.isas import jitted
from tracejit.codegen.llvm.target import Target, host_target
from tracejit.codegen.llvm.widths import width_of

from .building import KernelBuilder, schedule

RNG = np.random.default_rng(11)
Body = Callable[[KernelBuilder, np.ndarray], object]


def target(name: str) -> Target:
    """Return a target whose registers are those of an instruction set."""
    vector_bytes, has_fma = {"avx512": (64, True), "avx2": (32, True)}.get(
        name, (16, False)
    )
    host = host_target("baseline")
    return replace(host, name=name, vector_bytes=vector_bytes, has_fma=has_fma)


def registers(
    *functions: str,
    rows: int = 1 << 14,
    extent: int = 1024,
    isa: str = "avx2",
    step: int = 1,
    beside: int = 0,
) -> int:
    """Return of how many registers the vectors of a chain of functions are.

    So many operations `beside` it read what it reads.
    """
    x = np.broadcast_to(np.zeros((1, extent * step), "f4"), (rows, extent * step))
    k = KernelBuilder("chain", i=rows, j=extent)
    value = first = k.load(x[:, ::step], "i", "j")
    for name in functions:
        value = k.compute(name, value)
    k.store(x[:, :extent], value, "i", "j")
    for _ in range(beside):
        k.store(x[:, :extent], k.compute("neg", first), "i", "j")
    width = width_of(k.kernel(), schedule("i", "j", vector="j"), target(isa), {})
    assert width.lanes == width.registers * target(isa).lanes(32)
    return width.registers


def test_a_vector_is_as_many_registers_as_functions_leave_room_for() -> None:
    assert registers("exp") == 4
    assert registers("neg", "tanh", "sqrt") == 4
    assert registers("exp", "log") == 2
    assert registers("cosh") == 2  # in doubles, which fill two registers each
    assert registers("cosh", "exp") == 1
    assert registers("neg", "sqrt", "abs") == 1


def test_a_long_chain_is_several_registers() -> None:
    assert registers(*["neg", "abs"] * 7) == 1
    assert registers(*["neg", "abs"] * 8) == 4
    assert registers(*["neg", "abs"] * 8, beside=8) == 4
    assert registers(*["neg", "abs"] * 8, beside=9) == 2
    assert registers(*["neg", "abs"] * 8, beside=33) == 1


def test_with_many_registers_two_chains_are_enough() -> None:
    """And no chain of other operations needs a second one."""
    assert registers("exp", isa="avx512") == 2
    assert registers("exp", "log", isa="avx512") == 2
    assert registers("cosh", isa="avx512") == 2
    assert registers(*["neg", "abs"] * 8, isa="avx512") == 1
    assert registers("exp", rows=1, extent=(1 << 16) - 32, isa="avx512") == 1
    assert registers("exp", rows=1, extent=1 << 16, isa="avx512") == 2


def test_other_registers_hold_a_vector_each() -> None:
    assert registers("exp", isa="baseline") == 1
    assert registers("exp", isa="generic") == 1


def test_what_is_picked_out_of_memory_is_two_registers() -> None:
    assert registers("exp", step=3) == 2


def test_small_kernels_are_not_worth_what_llvm_takes() -> None:
    assert registers("exp", rows=1, extent=4095) == 1
    assert registers("exp", rows=1, extent=4096) == 2
    assert registers("exp", rows=64, extent=1000) == 2
    assert registers("exp", rows=64, extent=1024) == 4


# Axes, and of how many registers their vectors are.
LENGTHS = {8: 1, 16: 2, 24: 1, 30: 4, 40: 1, 72: 2, 100: 2, 200: 4, 1001: 4}


@pytest.mark.parametrize(("extent", "most"), LENGTHS.items())
def test_axes_are_padded_by_an_eighth_at_most(extent: int, most: int) -> None:
    assert registers("exp", extent=extent) == most


def _softmax(x):
    e = np.exp(x - x.max(-1, keepdims=True))
    return e / e.sum(-1, keepdims=True)


PROGRAMS = {
    "exp": np.exp,
    "several": lambda x: np.tanh(x) * np.sin(x) + np.log1p(x * x),
    "in doubles": lambda x: np.cosh(x) + np.hypot(x, 2),
    "softmax": _softmax,
    "columns": lambda x: np.exp(x).sum(0),
    "strided": lambda x: np.exp(x[:, ::2]),
    "transposed": lambda x: np.tanh(x.T),
    "loop": lambda x: tj.fori_loop(0, 5, lambda _, y: np.tanh(y) + x, x),
    "places": lambda x: np.exp(x).argmax(-1),
}


@pytest.mark.parametrize("isa", ["auto", "avx2"])
@pytest.mark.parametrize("dtype", ["f4", "f8"])
@pytest.mark.parametrize("name", PROGRAMS)
def test_values_at_all_lengths(name: str, dtype: str, isa: str) -> None:
    for rows, length in ((5, 7), (300, 15), (130, 33), (1000, 127), (3, 40001)):
        x = RNG.normal(size=(rows, length)).astype(dtype)
        got, want = jitted(PROGRAMS[name], isa, x), PROGRAMS[name](x)
        assert got.dtype == want.dtype
        rtol = 3e-6 if dtype == "f4" else 1e-14
        np.testing.assert_allclose(got, want, rtol=rtol, atol=rtol)


@pytest.mark.parametrize("name", ["exp", "tanh", "log1p", "sin", "cbrt", "expm1"])
def test_the_last_lanes_have_the_bits_of_the_first(name: str) -> None:
    x = RNG.normal(size=70003).astype("f4") ** 2
    whole = jitted(getattr(np, name), "auto", x)
    for k in (0, 30001, 69900):
        part = jitted(getattr(np, name), "auto", x[k : k + 103])
        assert whole[k : k + 103].tolist() == part.tolist()
