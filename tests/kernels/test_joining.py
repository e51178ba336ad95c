"""Which axes are joined. What joined kernels compute, backends test."""

import numpy as np

from tests.codegen.building import KernelBuilder
from tracejit.kernels.joining import with_joined_axes, with_offsets
from tracejit.kernels.kernel import Kernel, Reduce
from tracejit.kernels.maps import axis, floordiv, mod


def copying(x: np.ndarray, out: np.ndarray) -> Kernel:
    k = KernelBuilder("copying", i=x.shape[0], j=x.shape[1])
    k.store(out, k.load(x, "i", "j"), "i", "j")
    return k.kernel()


def loops_of(kernel: Kernel) -> list[int]:
    """Return the extents of the axes that are left, outermost first."""
    order = [a.name for a in kernel.axes]
    joined, loops = with_joined_axes(with_offsets(kernel), order)
    assert {a.name for a in joined.axes} == set(loops)
    return [joined.extent(a) for a in loops]


def test_contiguous_axes_become_one() -> None:
    x, out = np.zeros((3, 5)), np.zeros((3, 5))
    assert loops_of(copying(x, out)) == [15]
    k = KernelBuilder("three", b=2, i=3, j=5)
    x = np.zeros((2, 3, 5))
    k.store(x.copy(), k.load(x, "b", "i", "j"), "b", "i", "j")
    assert loops_of(k.kernel()) == [30]


def test_what_is_not_contiguous_stays() -> None:
    x, out = np.zeros((3, 5)), np.zeros((3, 5))
    wide, column = np.zeros((3, 10))[:, ::2], np.zeros((3, 1))
    assert loops_of(copying(wide, out)) == [15]
    for other in (np.zeros((3, 6))[:, :5], x.T.copy().T, x[::-1]):
        assert loops_of(copying(other, out)) == [3, 5]
    spread = np.broadcast_to(column, (3, 5))
    assert loops_of(copying(spread, out)) == [3, 5]


def test_axes_that_may_not_join_stay() -> None:
    kernel = with_offsets(copying(np.zeros((3, 5)), np.zeros((3, 5))))
    asked = []

    def never(outer: str, inner: str) -> bool:
        asked.append((outer, inner))
        return False

    assert with_joined_axes(kernel, ["i", "j"], never) == (kernel, ("i", "j"))
    assert asked == [("i", "j")]


def test_a_value_along_one_axis_keeps_both() -> None:
    x, bias, out = np.zeros((3, 5)), np.zeros(5), np.zeros((3, 5))
    k = KernelBuilder("biased", i=3, j=5)
    k.store(out, k.compute("add", k.load(x, "i", "j"), k.load(bias, "j")), "i", "j")
    assert loops_of(k.kernel()) == [3, 5]


def test_reductions_over_both_or_neither() -> None:
    x = np.random.default_rng(0).normal(size=(4, 3, 5))
    k = KernelBuilder("full", b=4, i=3, j=5)
    total = k.reduce("argmax", ["b", "i", "j"], k.load(x, "b", "i", "j"))
    k.store(np.zeros((), "i8"), total)
    joined, _ = with_joined_axes(with_offsets(k.kernel()), ["b", "i", "j"])
    assert [op.axes for op in joined.body if isinstance(op, Reduce)] == [("j",)]
    assert loops_of(k.kernel()) == [60]
    k = KernelBuilder("rows", b=4, i=3, j=5)
    row = k.reduce("max", ["j"], k.load(x, "b", "i", "j"))
    k.store(np.zeros((4, 3)), row, "b", "i")
    assert loops_of(k.kernel()) == [12, 5]


def test_reductions_in_another_order_keep_their_axes() -> None:
    """The positions of an argmax are counted in the order of its axes."""
    x = np.zeros((3, 5))
    k = KernelBuilder("turned", i=3, j=5)
    place = k.reduce("argmax", ["j", "i"], k.load(x, "i", "j"))
    k.store(np.zeros((), "i8"), place)
    assert loops_of(k.kernel()) == [3, 5]


def test_maps_of_the_joined_position() -> None:
    """A reshape depends on the flat position only; so does an iota of it."""
    x = np.arange(30.0).reshape(5, 6)
    out, count = np.zeros((3, 10)), np.zeros((3, 10), "i8")
    k = KernelBuilder("reshape", i=3, j=10)
    flat = axis("i") * 10 + axis("j")
    k.store(out, k.load(x, floordiv(flat, 6), mod(flat, 6)), "i", "j")
    k.store(count, k.iota(flat + 2, "ij", "i8"), "i", "j")
    assert loops_of(k.kernel()) == [30]


def test_bounds_keep_the_axes_they_are_about() -> None:
    x, out = np.zeros((3, 5)), np.zeros((3, 5))
    k = KernelBuilder("bounded", i=3, j=5)
    k.store(out, k.load(x, "i", "j", bounds=[("j", 4)]), "i", "j")
    assert loops_of(k.kernel()) == [3, 5]


def test_checked_indices_keep_their_axes() -> None:
    x = np.zeros((3, 5))
    k = KernelBuilder("checked", i=3, j=5)
    k.store(x.copy(), k.load(x, "i", "j", check=(0,)), "i", "j")
    assert loops_of(k.kernel()) == [3, 5]
