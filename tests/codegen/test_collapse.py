"""Which loops are joined, and that joined kernels compute the same."""

import numpy as np

from tracejit.codegen.llvm.collapse import flattened
from tracejit.codegen.llvm.target import host_target
from tracejit.kernels.kernel import Reduce
from tracejit.kernels.maps import axis, floordiv, mod

from .building import KernelBuilder, run_kernel, schedule


def copying(x: np.ndarray, out: np.ndarray) -> KernelBuilder:
    k = KernelBuilder("copying", i=x.shape[0], j=x.shape[1])
    k.store(out, k.load(x, "i", "j"), "i", "j")
    return k


def loops_of(k: KernelBuilder, *loops: str, vector: str | None) -> list[int]:
    flat = flattened(k.kernel(), schedule(*loops, vector=vector))
    return [flat.kernel.extent(a) for a in flat.schedule.loops]


def test_contiguous_axes_become_one() -> None:
    x, out = np.zeros((3, 5)), np.zeros((3, 5))
    assert loops_of(copying(x, out), "i", "j", vector="j") == [15]


def test_what_is_not_contiguous_stays() -> None:
    x, out = np.zeros((3, 5)), np.zeros((3, 5))
    wide, column = np.zeros((3, 10))[:, ::2], np.zeros((3, 1))
    assert loops_of(copying(wide, out), "i", "j", vector="j") == [15]
    for other in (np.zeros((3, 6))[:, :5], x.T.copy().T, x[::-1]):
        assert loops_of(copying(other, out), "i", "j", vector="j") == [3, 5]
    spread = np.broadcast_to(column, (3, 5))
    assert loops_of(copying(spread, out), "i", "j", vector="j") == [3, 5]
    # The vector axis outside: the inner loop is not part of its vectors.
    assert loops_of(copying(x, out), "i", "j", vector="i") == [3, 5]


def test_a_value_along_one_axis_keeps_both() -> None:
    x, bias, out = np.zeros((3, 5)), np.zeros(5), np.zeros((3, 5))
    k = KernelBuilder("biased", i=3, j=5)
    k.store(out, k.compute("add", k.load(x, "i", "j"), k.load(bias, "j")), "i", "j")
    assert loops_of(k, "i", "j", vector="j") == [3, 5]


def test_reductions_over_both_or_neither() -> None:
    x = np.random.default_rng(0).normal(size=(4, 3, 5))
    out, row = np.zeros(()), np.zeros((4, 3))
    k = KernelBuilder("full", b=4, i=3, j=5)
    k.store(out, k.reduce("argmax", ["b", "i", "j"], k.load(x, "b", "i", "j")))
    plan = schedule("b", "i", "j", vector="j")
    flat = flattened(k.kernel(), plan)
    assert [op.axes for op in flat.kernel.body if isinstance(op, Reduce)] == [("j",)]
    place = np.zeros((), "i8")
    k = KernelBuilder("place", b=4, i=3, j=5)
    k.store(place, k.reduce("argmax", ["b", "i", "j"], k.load(x, "b", "i", "j")))
    run_kernel(k.kernel(), plan, host_target(), [x], [place])
    assert place == x.argmax()
    k = KernelBuilder("rows", b=4, i=3, j=5)
    k.store(row, k.reduce("max", ["j"], k.load(x, "b", "i", "j")), "b", "i")
    assert loops_of(k, "b", "i", "j", vector="j") == [12, 5]


def test_maps_of_the_joined_position() -> None:
    """A reshape depends on the flat position only; so does an iota of it."""
    x = np.arange(30.0).reshape(5, 6)
    out, count = np.zeros((3, 10)), np.zeros((3, 10), "i8")
    k = KernelBuilder("reshape", i=3, j=10)
    flat = axis("i") * 10 + axis("j")
    k.store(out, k.load(x, floordiv(flat, 6), mod(flat, 6)), "i", "j")
    k.store(count, k.iota(flat + 2, "ij", "i8"), "i", "j")
    assert loops_of(k, "i", "j", vector="j") == [30]
    plan = schedule("i", "j", vector="j")
    run_kernel(k.kernel(), plan, host_target(), [x], [out, count])
    np.testing.assert_array_equal(out, x.reshape(3, 10))
    np.testing.assert_array_equal(count, np.arange(2, 32).reshape(3, 10))


def test_bounds_keep_the_axes_they_are_about() -> None:
    x, out = np.zeros((3, 5)), np.zeros((3, 5))
    k = KernelBuilder("bounded", i=3, j=5)
    k.store(out, k.load(x, "i", "j", bounds=[("j", 4)]), "i", "j")
    assert loops_of(k, "i", "j", vector="j") == [3, 5]
