"""Joined loops in LLVM: what the schedule keeps apart, and flat views of buffers."""

import numpy as np

from tracejit.codegen.llvm.collapse import Flat, flattened
from tracejit.codegen.llvm.target import host_target
from tracejit.kernels.maps import axis, floordiv, mod

from .building import KernelBuilder, run_kernel, schedule


def copied(vector: str, apart: str | None = None) -> Flat:
    x, out = np.zeros((3, 5)), np.zeros((3, 5))
    k = KernelBuilder("copying", i=3, j=5)
    k.store(out, k.load(x, "i", "j"), "i", "j")
    return flattened(k.kernel(), schedule("i", "j", vector=vector), apart)


def extents(flat: Flat) -> list[int]:
    return [flat.kernel.extent(a) for a in flat.schedule.loops]


def test_loops_that_the_schedule_keeps_apart() -> None:
    assert extents(copied("j")) == [15]
    assert extents(copied("j", apart="i")) == extents(copied("j", apart="j")) == [3, 5]
    # The vector axis outside: the inner loop is not part of its vectors.
    assert extents(copied("i")) == [3, 5]


def test_accesses_go_through_flat_views() -> None:
    flat = copied("j")
    assert {base for _, base in flat.views.values()} == {
        b.name for b in (*flat.kernel.inputs, *flat.kernel.outputs)
    }
    assert {getattr(op, "buffer", None) for op in flat.kernel.body} == set(flat.views)
    assert all(view.strides == (1,) for view, _ in flat.views.values())
    assert list(flat.origin) == list(flat.kernel.body)


def test_joined_loops_compute_the_same() -> None:
    x = np.random.default_rng(0).normal(size=(4, 3, 5))
    place = np.zeros((), "i8")
    k = KernelBuilder("place", b=4, i=3, j=5)
    k.store(place, k.reduce("argmax", ["b", "i", "j"], k.load(x, "b", "i", "j")))
    plan = schedule("b", "i", "j", vector="j")
    run_kernel(k.kernel(), plan, host_target(), [x], [place])
    assert place == x.argmax()
    y, out = np.arange(30.0).reshape(5, 6), np.zeros((3, 10))
    count = np.zeros((3, 10), "i8")
    k = KernelBuilder("reshape", i=3, j=10)
    flat = axis("i") * 10 + axis("j")
    k.store(out, k.load(y, floordiv(flat, 6), mod(flat, 6)), "i", "j")
    k.store(count, k.iota(flat + 2, "ij", "i8"), "i", "j")
    plan = schedule("i", "j", vector="j")
    run_kernel(k.kernel(), plan, host_target(), [y], [out, count])
    np.testing.assert_array_equal(out, y.reshape(3, 10))
    np.testing.assert_array_equal(count, np.arange(2, 32).reshape(3, 10))
