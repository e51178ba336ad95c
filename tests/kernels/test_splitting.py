"""Axes that accesses divide are split into digits."""

from collections.abc import Callable

import numpy as np
import pytest

import tracejit as tj
from tests.codegen.building import KernelBuilder
from tracejit.kernels.kernel import Kernel, Load, Store
from tracejit.kernels.maps import FloorDiv, Mod, axis, floordiv, mod
from tracejit.kernels.splitting import with_split_axes
from tracejit.kernels.verify import verify_kernel


def kernel_of(function: Callable, *shape: int) -> Kernel:
    (run,) = tj.jit(function).lower(np.zeros(shape, np.float32)).program.steps
    return run.kernel


def extents(kernel: Kernel) -> list[int]:
    return [a.extent for a in kernel.axes]


def divides(kernel: Kernel) -> bool:
    """Tell whether a load divides a position."""
    loads = (op for op in kernel.body if isinstance(op, Load))
    atoms = (atom for op in loads for index in op.map for atom, _ in index.terms)
    return any(isinstance(atom, FloorDiv | Mod) for atom in atoms)


def test_an_axis_for_each_merged_one() -> None:
    def merged(x):
        return x.transpose(1, 3, 0, 2, 4).reshape(2, 5, 6 * 64) * 2

    kernel = kernel_of(merged, 3, 2, 2, 5, 64)
    assert extents(kernel) == [2, 5, 3, 2, 64]
    assert not divides(kernel)


def test_transposes_are_seen() -> None:
    kernel = kernel_of(lambda x: x.T.ravel() + 1, 40, 50)
    assert extents(kernel) == [50, 40]
    assert not divides(kernel)


def test_kept_columns_are_split_and_summed_rows_are_not() -> None:
    def merged(x):
        return x.transpose(1, 0, 2).reshape(70, 4 * 32)

    assert extents(kernel_of(lambda x: merged(x).sum(0), 4, 70, 32)) == [70, 4, 32]
    rows = kernel_of(lambda x: merged(x).sum(1), 4, 70, 32)
    assert extents(rows) == [70, 128]
    assert divides(rows)


def test_short_last_digits_stay() -> None:
    def merged(x):
        return x.transpose(1, 0, 2).reshape(70, -1) * 2

    assert extents(kernel_of(merged, 4, 70, 31)) == [70, 124]
    assert extents(kernel_of(merged, 4, 70, 32)) == [70, 4, 32]


def test_a_short_digit_inside_of_a_long_one_is_divided_as_before() -> None:
    x, out = np.zeros((3, 8, 8)), np.zeros(192)
    k = KernelBuilder("nested", i=192)
    i = axis("i")
    place = floordiv(i, 64), mod(i, 8), mod(floordiv(i, 8), 8)
    k.store(out, k.load(x, *place), "i")
    kernel, digits = with_split_axes(k.kernel())
    assert extents(kernel) == [3, 64]
    assert digits == {"i": ("i0", "i1")}
    assert kernel.body[0].map == (
        axis("i0"),
        mod(axis("i1"), 8),
        floordiv(axis("i1"), 8),
    )


def test_divisors_that_do_not_divide_each_other_leave_an_axis_whole() -> None:
    def both(x):
        turned = x.reshape(2, 3, 64).transpose(1, 0, 2).reshape(-1)
        return turned + x.reshape(2, 2, 96).transpose(1, 0, 2).reshape(-1)

    assert extents(kernel_of(both, 384)) == [384]


def test_reshapes_of_what_lies_dense_split_nothing() -> None:
    assert extents(kernel_of(lambda x: x.ravel() * 2, 40, 50)) == [2000]


def test_products_keep_their_axes() -> None:
    def product(x):
        return x.transpose(1, 0, 2).reshape(70, 4 * 32) @ x.reshape(128, 70)

    kernel = kernel_of(product, 4, 70, 32)
    assert extents(kernel) == [70, 70, 128]


@pytest.mark.parametrize("counted", [False, True])
def test_values_vary_along_the_digits_that_they_read(counted: bool) -> None:
    def merged(x):
        row = np.arange(2000, dtype=np.float32) if counted else x[:, 0]
        return np.broadcast_to(row[:, None], (2000, 64)).reshape(-1, 1) * 2 + x[0, 0]

    kernel = kernel_of(merged, 2000, 64)
    assert extents(kernel) == [2000, 64]
    verify_kernel(kernel)
    axes = [len(op.result.axes) for op in kernel.body if not isinstance(op, Store)]
    assert {*axes} == {0, 1}
