"""More sums of a row than registers hold: passes that sum some vectors each."""

import re

import numpy as np
import pytest

from tracejit.codegen.llvm.emission import ModuleScope
from tracejit.codegen.llvm.kernels import emit_kernel
from tracejit.codegen.llvm.target import Target
from tracejit.kernels.kernel import Kernel
from tracejit.kernels.tree import tree_sum

from .building import KernelBuilder, run_kernel, schedule, targets

RNG = np.random.default_rng(5)


def powers(x: np.ndarray, sums: list[np.ndarray]) -> Kernel:
    """Return the kernel of the sums of x, x², x³, ... along its rows."""
    k = KernelBuilder("powers", i=x.shape[0], j=x.shape[1])
    value = power = k.load(x, "i", "j")
    for out in sums:
        k.store(out, k.reduce("add", ["j"], power), "i")
        power = k.compute("mul", power, value)
    return k.kernel()


def _most_carried(kernel: Kernel, target: Target) -> int:
    """Return how many vectors the loop that carries most of them carries."""
    plan = schedule("i", "j", vector="j")
    text = emit_kernel(kernel, plan, target, ModuleScope(), linkage="").text
    return max(block.count("phi <") for block in re.split(r"\n\S+:\n", text))


@pytest.mark.parametrize("target", targets(), ids=lambda t: t.name)
@pytest.mark.parametrize("dtype", ["f4", "f8"])
@pytest.mark.parametrize("count", [2, 3, 5])
def test_values_are_those_of_the_tree(count: int, dtype: str, target: Target) -> None:
    for length in (64, 255, 256, 300, 1000, 1024, 2048, 2500):
        x = RNG.normal(size=(3, length)).astype(dtype)
        sums = [np.zeros(3, dtype) for _ in range(count)]
        plan = schedule("i", "j", vector="j")
        run_kernel(powers(x, sums), plan, target, [x], sums)
        power = x
        for got in sums:
            assert got.tolist() == [tree_sum(row) for row in power]
            power = power * x


@pytest.mark.parametrize("target", targets(), ids=lambda t: t.name)
@pytest.mark.parametrize("dtype", ["f4", "f8"])
@pytest.mark.parametrize("count", [1, 2, 3, 5])
def test_no_loop_carries_more_than_registers_hold(
    count: int, dtype: str, target: Target
) -> None:
    x = RNG.normal(size=(3, 1024)).astype(dtype)
    kernel = powers(x, [np.zeros(3, dtype) for _ in range(count)])
    carried = _most_carried(kernel, target)
    whole = count * 64 * x.itemsize // target.vector_bytes
    assert carried <= target.vector_registers
    assert (carried == whole) == (whole <= target.vector_registers)


def test_short_rows_are_summed_in_one_pass() -> None:
    for target in targets():
        x = RNG.normal(size=(3, 192)).astype("f4")
        kernel = powers(x, [np.zeros(3, "f4") for _ in range(5)])
        assert _most_carried(kernel, target) == 5 * 256 // target.vector_bytes
