"""Which operations run in which loops, and that what runs there is right."""

import numpy as np
import pytest

from tracejit.codegen.llvm.phases import Analysis, Phases, unrelated
from tracejit.codegen.llvm.target import Target
from tracejit.codegen.llvm.treesum import folding_order
from tracejit.kernels.kernel import Kernel, Load, Reduce
from tracejit.kernels.schedule import Schedule
from tracejit.kernels.schedules import schedule_of
from tracejit.kernels.tree import tree_sum

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


def test_a_loop_with_too_many_sums_is_cut_between_what_shares_nothing() -> None:
    arrays = [np.zeros(8) for _ in range(3)]
    k = KernelBuilder("sums", i=8)
    a, b, c = (k.load(x, "i") for x in arrays)
    for operand in (a, k.compute("mul", a, b), c):
        k.store(np.zeros(()), k.reduce("add", ["i"], operand))
    kernel, plan = k.kernel(), schedule("i", vector="i")
    analysis = Analysis(kernel, plan)
    whole, *_ = Phases(analysis, 0, kernel.body).cut()
    assert unrelated(whole, analysis, lambda ops: True) == [whole]
    first, last = unrelated(whole, analysis, lambda ops: len(ops) < 6)
    read = [
        {op.buffer for op in p.inner if isinstance(op, Load)} for p in (first, last)
    ]
    assert [len(names) for names in read] == [2, 1]
    assert (*first.done, *last.done) == whole.done
    assert {*first.inner} | {*last.inner} == {*whole.inner}


@pytest.mark.parametrize("target", targets(), ids=lambda t: t.name)
def test_a_sum_is_not_repeated_in_a_loop_of_another(target: Target) -> None:
    out = np.zeros(())
    kernel, plan = two_sums_beside_each_other(out)
    run_kernel(kernel, plan, target, [A, B], [out])
    assert out == (A.sum(0) * B.max(1)).sum()


@pytest.mark.parametrize("target", targets(), ids=lambda t: t.name)
def test_a_sum_of_sums_has_the_loops_of_the_first_sum_inside(target: Target) -> None:
    x = np.random.default_rng(0).normal(size=(5, 3, 20))
    out = np.zeros(x.shape)
    k = KernelBuilder("sum_of_sums", i=5, j=3, l=20, k=20)
    columns = k.reduce("add", ["j"], k.load(x, "i", "j", "k"))
    total = k.reduce("add", ["k"], k.compute("mul", columns, columns))
    k.store(out, k.compute("add", k.load(x, "i", "j", "l"), total), "i", "j", "l")
    kernel = k.kernel()
    plan = schedule_of(kernel, ["i", "j", "l"])
    assert plan.loops.index("k") < plan.loops.index("j")
    run_kernel(kernel, plan, target, [x, x], [out])
    want = x + (x.sum(1) ** 2).sum(1)[:, None, None]
    np.testing.assert_allclose(out, want, rtol=1e-13)


@pytest.mark.parametrize("count", [1, 2, 3, 5, 20, 32, 33, 63, 64])
def test_folding_order_is_that_of_the_tree(count: int) -> None:
    x = np.random.default_rng(count).normal(size=count).astype("f4")
    kept: list[np.float32] = []
    most = 0
    for place, merges in folding_order(count):
        kept.append(x[place])
        most = max(most, len(kept))
        for _ in range(merges):
            last = kept.pop()
            kept[-1] += last
    assert kept == [tree_sum(x)]
    assert most <= 7
