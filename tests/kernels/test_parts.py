"""Kernels joined of several, and taken apart again."""

import numpy as np

from tests.codegen.building import KernelBuilder, schedule
from tracejit.kernels.interp import run_kernel
from tracejit.kernels.kernel import Kernel
from tracejit.kernels.parts import joined, parts_of, separated
from tracejit.kernels.schedule import Schedule

MANY = 70  # more axes than an array of NumPy can have


def doubling(count: int) -> Kernel:
    k = KernelBuilder("doubling", i=count)
    x = k.load(np.zeros(count), "i")
    k.store(np.zeros(count), k.compute("add", x, x), "i")
    return k.kernel()


def many() -> tuple[Kernel, Schedule]:
    return joined("many", [(doubling(n + 1), schedule("i")) for n in range(MANY)])


def test_the_interpreter_runs_more_parts_than_an_array_has_axes() -> None:
    ins = [np.arange(n + 1.0) for n in range(MANY)]
    outs = [np.zeros(n + 1) for n in range(MANY)]
    run_kernel(many()[0], ins, outs)
    for x, y in zip(ins, outs, strict=True):
        np.testing.assert_array_equal(y, 2 * x)


def test_parts_are_found_again() -> None:
    kernel, plan = many()
    parts = parts_of(kernel, plan)
    assert [p.body for p, _ in parts] == [p.body for p in separated(kernel)]
    assert [part.axes[0].extent for part, _ in parts] == list(range(1, MANY + 1))
    assert [own.loops for _, own in parts] == [(a,) for a in plan.loops]


def test_a_kernel_of_one_part_is_itself() -> None:
    kernel, plan = doubling(3), schedule("i")
    assert separated(kernel) == [kernel]
    assert parts_of(kernel, plan) == [(kernel, plan)]
