"""Estimates grow with the work, and know functions, products and vectors."""

import numpy as np

from tracejit.kernels.cost import work_ns
from tracejit.kernels.kernel import Kernel

from ..codegen.building import KernelBuilder


def pointwise(n: int, name: str) -> Kernel:
    x = np.zeros(n, np.float32)
    k = KernelBuilder("pointwise", i=n)
    k.store(x, k.compute(name, k.load(x, "i")), "i")
    return k.kernel()


def test_work_is_proportional_to_elements() -> None:
    small, large = pointwise(10_000, "neg"), pointwise(1_000_000, "neg")
    assert work_ns(large.body, large) == 100 * work_ns(small.body, small) > 0
    nothing = pointwise(0, "neg")
    assert work_ns(nothing.body, nothing) == 0


def test_functions_and_scalar_code_cost_more() -> None:
    plain, function = pointwise(10_000, "neg"), pointwise(10_000, "exp")
    assert work_ns(function.body, function) > 2 * work_ns(plain.body, plain)
    scalar = work_ns(plain.body, plain, has_vectors=False)
    assert scalar > 2 * work_ns(plain.body, plain)


def test_values_of_few_axes_are_counted_once() -> None:
    x = np.zeros((100, 1000), np.float32)
    k = KernelBuilder("rows", i=100, j=1000)
    total = k.reduce("add", ["j"], k.load(x, "i", "j"))
    k.store(np.zeros(100, np.float32), k.compute("exp", total), "i")
    whole = k.kernel()
    last = whole.body[2:]
    assert 0 < work_ns(last, whole) * 10 < work_ns(whole.body, whole)


def test_products_count_their_contracted_axis() -> None:
    works = []
    for depth in (10, 1000):
        a, b = np.zeros((64, depth), "f4"), np.zeros((depth, 64), "f4")
        k = KernelBuilder("product", i=64, j=64, k=depth)
        value = k.contract(["k"], k.load(a, "i", "k"), k.load(b, "k", "j"))
        k.store(np.zeros((64, 64), "f4"), value, "i", "j")
        works.append(work_ns(k.kernel().body, k.kernel()))
    assert works[1] > 20 * works[0]
