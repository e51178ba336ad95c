"""Sums of products that are not rounded: every form of sum, bit by bit."""

import numpy as np
import pytest

import tracejit as tj
from tracejit.codegen.llvm.target import Target
from tracejit.ir.graph import Literal
from tracejit.kernels.tree import tree_sum

from .building import (
    KernelBuilder,
    check_guards,
    guarded,
    run_kernel,
    schedule,
    targets,
)

ALL_TARGETS = pytest.mark.parametrize("target", targets(), ids=lambda t: t.name)
DTYPES = pytest.mark.parametrize("dtype", ["f4", "f8"])
LENGTHS = (1, 2, 17, 63, 64, 65, 129, 1024, 1025, 2500)


def factors(shape: tuple[int, ...], dtype: str) -> tuple[np.ndarray, np.ndarray]:
    x, y = np.random.default_rng(0).normal(size=(2, *shape)).astype(dtype)
    return x, y


@ALL_TARGETS
@DTYPES
@pytest.mark.parametrize("n", LENGTHS)
def test_rows(n: int, dtype: str, target: Target) -> None:
    x, y = factors((2, n), dtype)
    out = guarded((2,), dtype)
    k = KernelBuilder("rows", i=2, j=n)
    product = k.compute("mul", k.load(x, "i", "j"), k.load(y, "i", "j"))
    k.store(out, k.reduce("add", ["j"], product, unrounded=True), "i")
    run_kernel(k.kernel(), schedule("i", "j", vector="j"), target, [x, y], [out])
    np.testing.assert_array_equal(out, tree_sum(x, y))
    check_guards(out)


@ALL_TARGETS
@DTYPES
@pytest.mark.parametrize("n", LENGTHS)
@pytest.mark.parametrize("columns", [1, 3, 70])
def test_columns(n: int, columns: int, dtype: str, target: Target) -> None:
    x, y = factors((n, columns), dtype)
    out = guarded((columns,), dtype)
    k = KernelBuilder("columns", j=columns, i=n)
    product = k.compute("mul", k.load(x, "i", "j"), k.load(y, "i", "j"))
    k.store(out, k.reduce("add", ["i"], product, unrounded=True), "j")
    run_kernel(k.kernel(), schedule("j", "i", vector="j"), target, [x, y], [out])
    np.testing.assert_array_equal(out, tree_sum(x.T, y.T))
    check_guards(out)


@ALL_TARGETS
def test_streamed_columns(target: Target) -> None:
    """More columns than fit a chunk, and more rows than a leaf has."""
    x, y = factors((1100, 4099), "f4")
    out = guarded((4099,), "f4")
    k = KernelBuilder("streamed", j=4099, i=1100)
    product = k.compute("mul", k.load(x, "i", "j"), k.load(y, "i", "j"))
    k.store(out, k.reduce("add", ["i"], product, unrounded=True), "j")
    run_kernel(k.kernel(), schedule("j", "i", vector="j"), target, [x, y], [out])
    np.testing.assert_array_equal(out, tree_sum(x.T, y.T))


@ALL_TARGETS
@DTYPES
@pytest.mark.parametrize("shape", [(3, 5), (7, 64), (5, 300), (40, 128), (9, 1)])
def test_two_axes(shape: tuple[int, int], dtype: str, target: Target) -> None:
    """Elements that come in other vectors than the tree's lanes."""
    x, y = factors((2, *shape), dtype)
    out = guarded((2,), dtype)
    k = KernelBuilder("two", b=2, i=shape[0], j=shape[1])
    product = k.compute("mul", k.load(x, "b", "i", "j"), k.load(y, "b", "i", "j"))
    k.store(out, k.reduce("add", ["i", "j"], product, unrounded=True), "b")
    run_kernel(k.kernel(), schedule("b", "i", "j", vector="j"), target, [x, y], [out])
    np.testing.assert_array_equal(out, tree_sum(x.reshape(2, -1), y.reshape(2, -1)))
    check_guards(out)


@ALL_TARGETS
@pytest.mark.parametrize("n", [1, 63, 1024, 2500])
def test_scalars_and_squares(n: int, target: Target) -> None:
    """A loop without vectors; one factor that is both, and one that is a number."""
    x = np.random.default_rng(0).normal(size=n)
    out, scaled = guarded((), "f8"), guarded((), "f8")
    k = KernelBuilder("scalars", i=n)
    a = k.load(x, "i")
    square, third = k.compute("mul", a, a), k.compute("mul", a, Literal(1 / 3, x.dtype))
    k.store(out, k.reduce("add", ["i"], square, unrounded=True))
    k.store(scaled, k.reduce("add", ["i"], third, unrounded=True))
    for vector in (None, "i"):
        plan = schedule("i", vector=vector)
        run_kernel(k.kernel(), plan, target, [x], [out, scaled])
        assert out == tree_sum(x, x)
        assert scaled == tree_sum(x, np.full_like(x, 1 / 3))


@ALL_TARGETS
def test_a_step_to_a_lane_rounds_once(target: Target) -> None:
    """The square of 1 + 2⁻¹² has a digit that float32 has not, and -1 uncovers it.

    Where a multiply-add is no instruction the graph has products and a sum.
    """
    x, y = np.zeros((2, 128), "f4")
    x[0], y[0] = -1, 1
    x[64] = y[64] = 1 + 2**-12
    with tj.config.override(isa=target.name):
        found = tj.jit(lambda x, y: (x * y).sum())(x, y)
    assert found == 2**-11 + (2**-24 if target.has_fma else 0)


@pytest.mark.parametrize("axes", [(0, 2), (0, 2, 3), (1, 3)])
def test_axes_that_lie_apart(axes: tuple[int, ...]) -> None:
    """The innermost ones are summed as products, the others as sums of those."""
    x, y = factors((5, 3, 4, 70), "f8")
    found = tj.jit(lambda x, y: (x * y).sum(axes))(x, y)
    np.testing.assert_allclose(found, (x * y).sum(axes), rtol=1e-12)
