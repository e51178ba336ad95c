"""Kernels with contractions in blocks and ranges: what is cut, and the same bits."""

import ctypes
import itertools
from collections.abc import Sequence

import numpy as np
import pytest

import tracejit as tj
from tracejit.codegen.llvm.blocks import Plan, plan_of
from tracejit.codegen.llvm.collapse import flattened
from tracejit.codegen.llvm.contraction import Product
from tracejit.codegen.llvm.emission import KernelCode, ModuleScope
from tracejit.codegen.llvm.gemm import Split
from tracejit.codegen.llvm.kernels import emit_kernel
from tracejit.codegen.llvm.target import Target
from tracejit.codegen.llvm.text import module_text
from tracejit.ir.graph import Literal
from tracejit.kernels.kernel import Kernel
from tracejit.kernels.schedule import Schedule
from tracejit.runtime.cpu.engine import engine_for

from .building import (
    KernelBuilder,
    check_guards,
    guarded,
    run_kernel,
    schedule,
    targets,
)

TARGETS = targets()
ALL_TARGETS = pytest.mark.parametrize("target", TARGETS, ids=lambda t: t.name)
F4 = np.dtype("f4")


def random(*shape: int) -> np.ndarray:
    return np.random.default_rng(sum(shape)).normal(size=shape).astype("f4")


class Case:
    """A kernel with its arrays, and what it should compute."""

    def __init__(self, name: str, **axes: int) -> None:
        self.k = KernelBuilder(name, **axes)
        self.inputs: list[np.ndarray] = []
        self.plan = Schedule((), {})
        self.expected = np.zeros(0)

    def load(self, array: np.ndarray, *axes: str):
        self.inputs.append(array)
        return self.k.load(array, *axes)

    def finish(self, value, axes: str, loops: str, vector: str, expected) -> "Case":
        self.expected = expected
        self.out = np.zeros(expected.shape, "f4")
        self.k.store(self.out, value, *axes)
        self.plan = schedule(*loops, vector=vector)
        return self

    @property
    def kernel(self) -> Kernel:
        return self.k.kernel()


def dense(m: int, n: int, k: int, layout: str = "NN") -> Case:
    """max(x @ w + b, 0)."""
    case = Case("dense", i=m, j=n, k=k)
    x = random(m, k) if layout[0] == "N" else random(k, m).T
    w = random(k, n) if layout[1] == "N" else random(n, k).T
    b = random(n)
    product = case.k.contract(["k"], case.load(x, "i", "k"), case.load(w, "k", "j"))
    value = case.k.compute("add", product, case.load(b, "j"))
    value = case.k.compute("maximum", value, Literal(0, F4))
    expected = np.maximum(x.astype("f8") @ w + b, 0)
    return case.finish(value, "ij", "ijk", "j", expected)


def plain(m: int, n: int, k: int) -> Case:
    case = Case("plain", i=m, j=n, k=k)
    x, w = random(m, k), random(k, n)
    value = case.k.contract(["k"], case.load(x, "i", "k"), case.load(w, "k", "j"))
    return case.finish(value, "ij", "ijk", "j", x.astype("f8") @ w)


def batched(b: int, m: int, n: int, k: int) -> Case:
    """2 · (x @ w) for each of a batch."""
    case = Case("batched", b=b, i=m, j=n, k=k)
    x, w = random(b, m, k), random(b, k, n)
    lhs, rhs = case.load(x, "b", "i", "k"), case.load(w, "b", "k", "j")
    value = case.k.compute("mul", case.k.contract(["k"], lhs, rhs), Literal(2, F4))
    return case.finish(value, "bij", "bijk", "j", 2 * (x.astype("f8") @ w))


def dense3d(b: int, s: int, n: int, k: int) -> Case:
    """-(x @ w) for x of rank three: its leading axes are rows together."""
    case = Case("dense3d", b=b, s=s, j=n, k=k)
    x, w = random(b, s, k), random(k, n)
    lhs, rhs = case.load(x, "b", "s", "k"), case.load(w, "k", "j")
    value = case.k.compute("neg", case.k.contract(["k"], lhs, rhs))
    return case.finish(value, "bsj", "bsjk", "j", -(x.astype("f8") @ w))


def softmax(m: int, n: int, k: int) -> Case:
    """Softmax of the rows of (x · x) @ w, whose left operand is computed."""
    case = Case("softmax", i=m, j=n, k=k)
    x, w = random(m, k), random(k, n)
    left = case.load(x, "i", "k")
    left = case.k.compute("mul", left, left)
    h = case.k.contract(["k"], left, case.load(w, "k", "j"))
    e = case.k.compute("exp", case.k.compute("sub", h, case.k.reduce("max", ["j"], h)))
    value = case.k.compute("div", e, case.k.reduce("add", ["j"], e))
    exact = (x * x).astype("f8") @ w
    exact = np.exp(exact - exact.max(1, keepdims=True))
    expected = exact / exact.sum(1, keepdims=True)
    return case.finish(value, "ij", "ijk", "j", expected)


def attention(h: int, n: int, d: int) -> Case:
    """softmax(q @ kᵀ) @ v for each head."""
    case = Case("attention", h=h, i=n, j=n, d=d, e=d)
    q, key, v = random(h, n, d), random(h, d, n).swapaxes(1, 2), random(d, n, h).T
    lhs, rhs = case.load(q, "h", "i", "d"), case.load(key, "h", "j", "d")
    s = case.k.contract(["d"], lhs, rhs)
    e = case.k.compute("exp", case.k.compute("sub", s, case.k.reduce("max", ["j"], s)))
    p = case.k.compute("div", e, case.k.reduce("add", ["j"], e))
    value = case.k.contract(["j"], p, case.load(v, "h", "j", "e"))
    exact = q.astype("f8") @ key.swapaxes(1, 2)
    exact = np.exp(exact - exact.max(2, keepdims=True))
    expected = exact / exact.sum(2, keepdims=True) @ v
    return case.finish(value, "hie", "hiejd", "e", expected)


CASES = {
    "dense": lambda: dense(230, 70, 40),
    "dense, packed weights": lambda: dense(205, 39, 530, "NT"),
    "dense, both transposed": lambda: dense(200, 50, 30, "TT"),
    "few rows": lambda: dense(3, 200, 17),
    "plain rows": lambda: plain(100, 20, 30),
    "plain columns": lambda: plain(5, 700, 30),
    "rank three": lambda: dense3d(41, 3, 11, 5),
    "batched": lambda: batched(70, 9, 11, 5),
    "softmax": lambda: softmax(201, 33, 20),
    "attention": lambda: attention(6, 33, 16),
}
ALL_CASES = pytest.mark.parametrize("name", CASES)


@ALL_TARGETS
@ALL_CASES
def test_whole(name: str, target: Target) -> None:
    case = CASES[name]()
    out = guarded(case.out.shape, "f4")
    run_kernel(case.kernel, case.plan, target, case.inputs, [out])
    np.testing.assert_allclose(out, case.expected, rtol=1e-4, atol=2e-4)
    check_guards(out)


def wrapper(code: KernelCode, arrays: int) -> str:
    """Return functions that the outside may call, for the two parts of a kernel."""
    assert code.ranges is not None
    buffers = [f"ptr %x{k}" for k in range(arrays)]
    once = ", ".join([*buffers, "ptr %shared", "ptr %err"])
    part = ", ".join(
        [*buffers, "ptr %shared", "ptr %own", "ptr %err", "i64 %begin", "i64 %end"]
    )
    call = f"  call void @{code.ranges.once}({once})\n" if code.ranges.once else ""
    return (
        f"define void @part_once({once}) {{\n{call}  ret void\n}}\n"
        f"define void @part_range({part}) {{\n"
        f"  call void @{code.ranges.symbol}({part})\n  ret void\n}}\n"
    )


def scratch(size: int) -> tuple[np.ndarray, int]:
    """Return memory full of something, and an aligned address of `size` bytes in it."""
    memory = np.full(size + 128, 0xA5, np.uint8)
    return memory, memory.ctypes.data + -memory.ctypes.data % 64


def run_in_parts(
    case: Case, target: Target, out: np.ndarray, cuts: Sequence[int]
) -> None:
    """Run the ranges between cuts, which count quanta, the last range first."""
    scope = ModuleScope()
    code = emit_kernel(case.kernel, case.plan, target, scope)
    arrays = [*case.inputs, out]
    functions = [code.text, wrapper(code, len(arrays))]
    head = scope.declarations.values(), functions, scope.globals_.values()
    library = engine_for(target).load(module_text(target, *head))
    ranges = code.ranges
    assert ranges is not None
    shared, shared_at = scratch(ranges.shared_bytes)
    error = np.zeros(2, np.int64)
    buffers = [ctypes.c_void_p(a.ctypes.data) for a in arrays]
    tail = [ctypes.c_void_p(shared_at), ctypes.c_void_p(error.ctypes.data)]
    once = ctypes.CFUNCTYPE(None, *[ctypes.c_void_p] * (len(buffers) + 2))
    once(library.address("part_once"))(*buffers, *tail)
    pointers = [ctypes.c_void_p] * (len(buffers) + 3)
    part = ctypes.CFUNCTYPE(None, *pointers, ctypes.c_int64, ctypes.c_int64)
    function = part(library.address("part_range"))
    ends = [min(c * ranges.quantum, ranges.extent) for c in cuts]
    ends = sorted({0, *ends, ranges.extent})
    for begin, end in reversed(list(itertools.pairwise(ends))):
        own, own_at = scratch(ranges.own_bytes)
        place = ctypes.c_void_p(own_at)
        function(*buffers, tail[0], place, tail[1], begin, end)
        start = own_at - own.ctypes.data + ranges.own_bytes
        assert (own[start:] == 0xA5).all(), "wrote behind its scratch"
    start = shared_at - shared.ctypes.data + ranges.shared_bytes
    assert (shared[start:] == 0xA5).all(), "wrote behind the shared scratch"


@ALL_TARGETS
@ALL_CASES
@pytest.mark.parametrize("cuts", [(1,), (1, 2, 3), (2, 5)], ids=str)
def test_parts_have_the_bits_of_the_whole(
    name: str, cuts: tuple[int, ...], target: Target
) -> None:
    case = CASES[name]()
    whole = np.zeros_like(case.out)
    run_kernel(case.kernel, case.plan, target, case.inputs, [whole])
    parts = guarded(case.out.shape, "f4")
    run_in_parts(case, target, parts, cuts)
    np.testing.assert_array_equal(parts, whole)
    check_guards(parts)


# What is cut


def planned(case: Case) -> Plan:
    return plan_of(case.kernel, case.plan, TARGETS[0])


def test_epilogue_follows_blocks_of_rows() -> None:
    plan = planned(dense(1000, 70, 40))
    assert plan.axis == "i" and not plan.once
    (product,) = plan.stages.temporaries
    assert product.shape == (plan.step, 70) and plan.step < 128


def test_computed_left_operand_is_made_block_by_block() -> None:
    plan = planned(softmax(1000, 70, 40))
    assert plan.axis == "i" and not plan.once and len(plan.ranged) == 3
    assert {t.shape[0] for t in plan.stages.temporaries} == {plan.step}


def test_computed_right_operand_is_made_once() -> None:
    case = Case("weights", i=300, j=20, k=10)
    x, w = random(300, 10), random(10, 20)
    right = case.k.compute("exp", case.load(w, "k", "j"))
    product = case.k.contract(["k"], case.load(x, "i", "k"), right)
    value = case.k.compute("neg", product)
    plan = planned(case.finish(value, "ij", "ijk", "j", -x @ np.exp(w)))
    assert plan.axis == "i" and len(plan.once) == 1 and len(plan.ranged) == 2


def test_attention_runs_head_by_head() -> None:
    plan = planned(attention(6, 200, 16))
    assert plan.axis == "h" and plan.step == 1
    splits = [s.split for s in plan.ranged if isinstance(s, Product)]
    assert splits == [Split.BATCH, Split.BATCH]


def test_leading_axes_are_rows_together() -> None:
    case = dense3d(100, 3, 11, 5)
    flat = flattened(case.kernel, case.plan)
    assert [a.extent for a in flat.kernel.axes] == [300, 11, 5]
    assert flat.schedule.loops == ("s", "j", "k")


def test_contracted_axes_join_where_both_operands_run_through_them() -> None:
    """Σ over (c, k) of x[i, c, k] · w[c, k, j] is one product."""
    case = Case("conv", i=9, j=7, c=3, k=5)
    x, w = random(9, 3, 5), random(3, 5, 7)
    lhs, rhs = case.load(x, "i", "c", "k"), case.load(w, "c", "k", "j")
    value = case.k.contract(["c", "k"], lhs, rhs)
    expected = np.einsum("ick,ckj->ij", x.astype("f8"), w)
    case.finish(value, "ij", "ijck", "j", expected)
    flat = flattened(case.kernel, case.plan)
    assert flat.schedule.loops == ("i", "j", "k") and flat.kernel.extent("k") == 15
    out = guarded((9, 7), "f4")
    run_kernel(case.kernel, case.plan, TARGETS[0], case.inputs, [out])
    np.testing.assert_allclose(out, expected, rtol=1e-4, atol=1e-4)


def test_contracted_axes_of_a_transposed_operand_stay_apart() -> None:
    case = Case("apart", i=9, j=7, c=3, k=5)
    x, w = random(9, 3, 5), random(5, 3, 7)
    lhs, rhs = case.load(x, "i", "c", "k"), case.load(w, "k", "c", "j")
    value = case.k.contract(["c", "k"], lhs, rhs)
    expected = np.einsum("ick,kcj->ij", x.astype("f8"), w)
    case.finish(value, "ij", "ijck", "j", expected)
    assert flattened(case.kernel, case.plan).schedule.loops == tuple("ijck")
    out = guarded((9, 7), "f4")
    run_kernel(case.kernel, case.plan, TARGETS[0], case.inputs, [out])
    np.testing.assert_allclose(out, expected, rtol=1e-4, atol=1e-4)


def test_plain_product_is_cut_where_it_has_most_pieces() -> None:
    assert planned(plain(1000, 20, 30)).split is Split.ROWS
    assert planned(plain(5, 2000, 30)).split is Split.COLUMNS


def test_sums_over_the_rows_are_not_cut() -> None:
    """Column sums of the product, beside its values."""
    case = dense(300, 70, 40)
    product = next(op.result for op in case.k.body[:-1] if op.result.axes == {"i", "j"})
    sums = case.k.reduce("add", ["i"], product)
    case.k.store(np.zeros(70, "f4"), sums, "j")
    plan = plan_of(case.kernel, schedule("j", "i", "k", vector="j"), TARGETS[0])
    assert plan.axis is None and not plan.ranged


def test_product_summed_over_the_blocked_axis_is_not_cut() -> None:
    """relu(x @ w)ᵀ @ y sums over the rows of the first product."""
    case = Case("gram", i=50, j=20, k=10, e=30)
    x, w, y = random(50, 10), random(10, 20), random(50, 30)
    h = case.k.contract(["k"], case.load(x, "i", "k"), case.load(w, "k", "j"))
    h = case.k.compute("maximum", h, Literal(0, F4))
    value = case.k.contract(["i"], h, case.load(y, "i", "e"))
    expected = np.maximum(x.astype("f8") @ w, 0).T @ y
    case.finish(value, "je", "ijke", "e", expected)
    plan = planned(case)
    assert plan.axis is None
    out = guarded((20, 30), "f4")
    run_kernel(case.kernel, case.plan, TARGETS[0], case.inputs, [out])
    np.testing.assert_allclose(out, expected, rtol=1e-4, atol=1e-4)


def test_large_right_operand_is_not_read_again_for_each_block() -> None:
    case = Case("vocabulary", i=200, j=60_000, k=128)
    x, w = np.zeros((200, 128), "f4"), np.zeros((128, 60_000), "f4")
    product = case.k.contract(["k"], case.load(x, "i", "k"), case.load(w, "k", "j"))
    value = case.k.compute("neg", product)
    case.finish(value, "ij", "ijk", "j", np.zeros((200, 60_000)))
    assert planned(case).axis is None


@pytest.mark.parametrize("dtype", ["f4", "f8"])
def test_threads_share_the_packing_of_a_large_operand(dtype: str) -> None:
    """It is packed once, in ranges of columns; no thread packs all of it."""
    a, b = random(1100, 1000).astype(dtype), random(1000, 700).astype(dtype)
    found = []
    for threads in (1, 2, 3):
        with tj.config.override(threads=threads, share_from=0):
            call = tj.jit(np.matmul)
            text = call.lower(a, b).compile().as_text()
            assert (".packed0.range.task" in text) == (threads > 1)
            found.append(call(a, b))
    np.testing.assert_allclose(found[0], a @ b, atol=1e-2 if dtype == "f4" else 1e-11)
    assert found[0].tobytes() == found[1].tobytes() == found[2].tobytes()


@pytest.mark.parametrize("shape", [(8, 16), (7, 5), (33, 40)], ids=str)
def test_an_operand_of_a_product_may_hold_sums_over_axes_of_another(shape):
    """Rows are divided by sums of a product that has another name for its columns."""

    def chain(x, w):
        for _ in range(2):
            x = x @ w
            x = x / (1 + np.abs(x).sum(axis=1, keepdims=True))
        return np.cumsum(x @ w, axis=1)

    x, w = random(*shape), random(shape[1], shape[1])
    wanted = chain(x.astype("f8"), w.astype("f8"))
    np.testing.assert_allclose(tj.jit(chain)(x, w), wanted, rtol=1e-4, atol=1e-5)
