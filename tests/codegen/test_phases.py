"""Which operations run in which loops, and that what runs there is right."""

import numpy as np
import pytest

from tracejit.codegen.llvm.phases import Analysis, Phases
from tracejit.codegen.llvm.target import Target
from tracejit.kernels.kernel import Kernel, Reduce
from tracejit.kernels.schedule import Schedule

from .building import KernelBuilder, run_kernel, schedule, targets

A = np.arange(16.0).reshape(2, 8)
B = np.arange(24.0).reshape(8, 3)


def two_sums_beside_each_other(out: np.ndarray) -> tuple[Kernel, Schedule]:
    """Return the sum over i of a row's maximum times a column's sum."""
    k = KernelBuilder("beside", i=8, j=2, k=3)
    columns = k.reduce("add", ["j"], k.load(A, "j", "i"))
    rows = k.reduce("max", ["k"], k.load(B, "i", "k"))
    k.store(out, k.reduce("add", ["i"], k.compute("mul", columns, rows)))
    return k.kernel(), schedule("i", "j", "k", vector="i")


def test_what_has_nothing_to_do_with_a_loop_is_beside_it() -> None:
    kernel, plan = two_sums_beside_each_other(np.zeros(()))
    analysis = Analysis(kernel, plan)
    columns, rows, total = (op for op in kernel.body if isinstance(op, Reduce))
    first, last, *none = (p for p in Phases(analysis, 1, kernel.body).cut() if p.inner)
    assert not none
    assert (first.is_beside, last.is_beside) == (False, True)
    assert columns in first.inner
    assert {rows, total} <= set(last.inner)


@pytest.mark.parametrize("target", targets(), ids=lambda t: t.name)
def test_a_sum_is_not_repeated_in_a_loop_of_another(target: Target) -> None:
    out = np.zeros(())
    kernel, plan = two_sums_beside_each_other(out)
    run_kernel(kernel, plan, target, [A, B], [out])
    assert out == (A.sum(0) * B.max(1)).sum()
