"""Shared loops: whoever runs which pieces, in whatever order, the bits are the same.

The job function here is a callback that hands out ranges of pieces in random order to
random workers, so that nothing depends on the threads of the machine.
"""

import ctypes
import itertools
import random
from collections.abc import Sequence

import numpy as np
import pytest

from tracejit.codegen.llvm.emission import KernelCode, ModuleScope
from tracejit.codegen.llvm.kernels import emit_kernel
from tracejit.codegen.llvm.sharing import JOB_SYMBOL, SERIAL, Threading
from tracejit.codegen.llvm.target import Target, host_target
from tracejit.codegen.llvm.text import module_text
from tracejit.ir.graph import Literal
from tracejit.kernels.kernel import Kernel
from tracejit.kernels.maps import Affine, ValueIndex
from tracejit.kernels.parser import parse_kernel
from tracejit.kernels.schedule import Schedule
from tracejit.runtime.cpu.engine import engine_for

from .building import (
    KernelBuilder,
    check_guards,
    guarded,
    named,
    on_targets,
    schedule,
    targets,
)

ALL_TARGETS = pytest.mark.parametrize("target", targets(), ids=lambda t: t.name)
F32 = np.dtype("f4")
_JOB = ctypes.CFUNCTYPE(None, *[ctypes.c_void_p] * 2, *[ctypes.c_int64] * 4)
_TASK = ctypes.CFUNCTYPE(None, ctypes.c_void_p, *[ctypes.c_int64] * 3)


class Jobs:
    """Runs jobs in one thread, and counts them.

    With a seed, in ranges of random length and order, by random workers; without, all
    at once by worker 0.
    """

    def __init__(self, seed: int | None) -> None:
        self.seed = seed
        self.pieces: list[int] = []
        self.callback = _JOB(self.run)

    def run(
        self, task: int, context: int, pieces: int, work: int, wake: int, threads: int
    ) -> None:
        self.pieces.append(pieces)
        function = _TASK(task)
        if self.seed is None:
            function(context, 0, pieces, 0)
            return
        draw = random.Random(self.seed)
        cuts = sorted({0, pieces, *(draw.randrange(pieces) for _ in range(5))})
        ranges = list(itertools.pairwise(cuts))
        owners = {r: draw.randrange(threads) for r in ranges}
        waiting = {
            w: sorted(r for r in ranges if owners[r] == w) for w in range(threads)
        }
        while any(waiting.values()):  # each worker's ranges come in increasing order
            worker = draw.choice([w for w, left in waiting.items() if left])
            function(context, *waiting[worker].pop(0), worker)


def run(
    kernel: Kernel,
    plan: Schedule,
    target: Target,
    arrays: Sequence[np.ndarray],
    threading: Threading,
    seed: int | None = None,
) -> tuple[list[int], tuple[int, int]]:
    """Run a kernel; return the pieces of each job, and the error words."""
    scope, jobs = ModuleScope(), Jobs(seed)
    code: KernelCode = emit_kernel(kernel, plan, target, scope, "", threading=threading)
    lines = scope.declarations.values()
    text = module_text(target, lines, [code.text], scope.globals_.values())
    address = ctypes.cast(jobs.callback, ctypes.c_void_p).value
    assert address is not None
    library = engine_for(target).load(text, {JOB_SYMBOL: address})
    scratch = np.full(code.scratch_bytes + 192, 0xA5, np.uint8)
    start = -scratch.ctypes.data % 64 + 64
    error = np.zeros(2, np.int64)
    pointers = [a.ctypes.data for a in arrays]
    pointers += [scratch.ctypes.data + start, error.ctypes.data]
    prototype = ctypes.CFUNCTYPE(None, *[ctypes.c_void_p] * len(pointers))
    prototype(library.address(code.symbol))(*pointers)
    assert (scratch[:start] == 0xA5).all()
    assert (scratch[start + code.scratch_bytes :] == 0xA5).all()
    return jobs.pieces, (int(error[0]), int(error[1]))


def same_bits(
    kernel: Kernel,
    plan: Schedule,
    target: Target,
    inputs: Sequence[np.ndarray],
    outputs: Sequence[np.ndarray],
    jobs: int = 1,
) -> list[int]:
    """Check that shared runs equal the serial one; return the pieces of a run."""
    run(kernel, plan, target, [*inputs, *outputs], SERIAL)
    wanted = [out.tobytes() for out in outputs]
    pieces: list[int] = []
    for threads, seed in ((2, None), (3, 1), (7, 2)):
        for out in outputs:
            out.view(f"u{out.itemsize}")[...] = 77
        arrays = [*inputs, *outputs]
        pieces, _ = run(kernel, plan, target, arrays, Threading(threads, 0), seed)
        assert len(pieces) == jobs, pieces
        assert [out.tobytes() for out in outputs] == wanted, (threads, seed)
    for out in outputs:
        check_guards(out)
    return pieces


def data(*shape: int, dtype: str = "f4") -> np.ndarray:
    return np.random.default_rng(sum(shape)).normal(size=shape).astype(dtype)


@ALL_TARGETS
@pytest.mark.parametrize("n", [513, 1024, 5000, 40_001])
def test_pointwise_loops_are_cut_in_blocks(n: int, target: Target) -> None:
    x, out = data(n), guarded((n,), "f4")
    k = KernelBuilder("pointwise", i=n)
    k.store(out, k.compute("exp", k.load(x, "i")), "i")
    pieces = same_bits(k.kernel(), schedule("i", vector="i"), target, [x], [out])
    assert pieces[0] > 1
    np.testing.assert_allclose(out, np.exp(x), rtol=1e-6)


@ALL_TARGETS
def test_rows_are_pieces(target: Target) -> None:
    m, n = 13, 70
    x, out = data(m, n), guarded((m, n), "f4")
    k = KernelBuilder("softmax", i=m, j=n)
    value = k.load(x, "i", "j")
    top = k.reduce("max", ["j"], value)
    e = k.compute("exp", k.compute("sub", value, top))
    k.store(out, k.compute("div", e, k.reduce("add", ["j"], e)), "i", "j")
    plan = schedule("i", "j", vector="j", scratch=[e])
    assert same_bits(k.kernel(), plan, target, [x], [out]) == [m]


@ALL_TARGETS
@pytest.mark.parametrize("rows", [3, 200, 2500])
def test_column_sums_are_cut_in_columns(rows: int, target: Target) -> None:
    n = 501
    x, out = data(rows, n), guarded((n,), "f4")
    k = KernelBuilder("columns", j=n, i=rows)
    k.store(out, k.reduce("add", ["i"], k.load(x, "i", "j")), "j")
    plan = schedule("j", "i", vector="j")
    same_bits(k.kernel(), plan, target, [x], [out])
    np.testing.assert_allclose(out, x.sum(axis=0), rtol=1e-4, atol=1e-4)


FEW = itertools.product([1025, 2048, 5000, 70_001], [1, 3, 7])


@pytest.mark.parametrize(("rows", "columns", "target"), on_targets(FEW, 5), ids=named)
def test_sums_of_few_columns_are_cut_in_rows(
    rows: int, columns: int, target: Target
) -> None:
    x, out = data(rows, columns), guarded((columns,), "f4")
    squares = guarded((columns,), "f4")
    k = KernelBuilder("columns", j=columns, i=rows)
    value = k.load(x, "i", "j")
    k.store(out, k.compute("exp", k.reduce("add", ["i"], value)), "j")
    square = k.compute("mul", value, value)
    k.store(squares, k.reduce("add", ["i"], square), "j")
    plan = schedule("j", "i", vector="j")
    pieces = same_bits(k.kernel(), plan, target, [x], [out, squares])
    assert pieces[0] > 1
    np.testing.assert_allclose(squares, (x * x).sum(axis=0), rtol=1e-4)


WHOLE = itertools.product(
    [1025, 40_000], ["add", "max", "argmin"], ["f4", "f8", "f2", "i4", "?"]
)


@pytest.mark.parametrize(
    ("n", "op", "dtype", "target"), on_targets(WHOLE, 7), ids=named
)
def test_whole_reductions_merge_parts(
    n: int, op: str, dtype: str, target: Target
) -> None:
    x = (data(n) * 100).astype(dtype)
    kind = np.dtype("i8") if op == "argmin" else x.dtype
    out = guarded((), kind)
    k = KernelBuilder("whole", i=n)
    k.store(out, k.reduce(op, ["i"], k.load(x, "i")))
    pieces = same_bits(k.kernel(), schedule("i", vector="i"), target, [x], [out])
    assert pieces[0] > 1
    if op != "add":
        assert out == (x.argmin() if op == "argmin" else x.max())
    elif dtype in ("f4", "f8"):
        np.testing.assert_allclose(out, x.astype("f8").sum(), rtol=1e-4)


@ALL_TARGETS
def test_the_first_of_equal_extrema_wins_across_parts(target: Target) -> None:
    x = np.zeros(20_000, "f4")
    x[[3000, 9000, 15_000]] = np.nan
    for array in (x, np.full(20_000, -np.inf, "f4"), np.zeros(20_000, "f4")):
        out = guarded((), "i8")
        k = KernelBuilder("first", i=20_000)
        k.store(out, k.reduce("argmax", ["i"], k.load(array, "i")))
        same_bits(k.kernel(), schedule("i", vector="i"), target, [array], [out])
        assert out == array.argmax()


def test_products_of_floats_are_not_cut() -> None:
    x, out = 1 + data(20_000) * 1e-4, guarded((), "f4")
    k = KernelBuilder("product", i=20_000)
    k.store(out, k.reduce("mul", ["i"], k.load(x, "i")))
    plan = schedule("i", vector="i")
    same_bits(k.kernel(), plan, host_target(), [x], [out], jobs=0)


@ALL_TARGETS
def test_phases_are_jobs_and_scalars_go_between_them(target: Target) -> None:
    n = 5000
    x, out = data(n), guarded((n,), "f4")
    mean, scale = guarded((), "f4"), Literal(1 / n, F32)
    k = KernelBuilder("standardise", i=n)
    value = k.load(x, "i")
    m = k.compute("mul", k.reduce("add", ["i"], value), scale)
    d = k.compute("sub", value, m)
    var = k.compute("mul", k.reduce("add", ["i"], k.compute("mul", d, d)), scale)
    k.store(out, k.compute("div", d, k.compute("sqrt", var)), "i")
    k.store(mean, m)
    for scratch in ([], [d]):
        plan = schedule("i", vector="i", scratch=scratch)
        same_bits(k.kernel(), plan, target, [x], [out, mean], jobs=3)
    np.testing.assert_allclose(out, (x - x.mean()) / x.std(), atol=1e-5)


@ALL_TARGETS
@pytest.mark.parametrize("seed", range(5))
def test_the_first_error_is_reported_whoever_meets_it(
    seed: int, target: Target
) -> None:
    n = 30_000
    x, out = data(50), guarded((n,), "f4")
    where = np.random.default_rng(seed).integers(-50, 50, n)
    bad = np.random.default_rng(seed).integers(100, n, 40)
    where[bad] = 1000 + bad
    k = KernelBuilder("take", i=n)
    index = k.load(where, "i")
    k.store(
        out,
        k.load(x, Affine(((ValueIndex(index.name), 1),)), axes=["i"], check=(0,)),
        "i",
    )
    plan, arrays = schedule("i", vector="i"), [where, x, out]
    _, wanted = run(k.kernel(), plan, target, arrays, SERIAL)
    first = int(bad.min()) // target.lanes(32) * target.lanes(32)
    together = bad[(bad >= first) & (bad < first + target.lanes(32))]
    assert wanted == (1 | 1 << 8, 1000 + int(together.max()))
    _, found = run(k.kernel(), plan, target, arrays, Threading(3, 0), seed)
    assert found == wanted
    where[bad] = 0
    assert run(k.kernel(), plan, target, arrays, Threading(3, 0), seed)[1] == (0, 0)
    np.testing.assert_array_equal(out, x[where])


LOGSUMEXP = """\
kernel @lse(%in0: f32[10240]) -> (%out0: f32[]) axes(b: 10, i: 1024) {
  schedule b: sequential, i: vector, block %m, block %s
  %x{b,i} = load %in0[1024*b + i]
  %m{b} = reduce max over i: %x
  %t = reduce max over b: %m
  %s{b} = reduce add over i: exp(%x - %m)
  %u = reduce add over b: %s * exp(%m - %t)
  store %out0[] = log(%u) + %t
}
"""


@ALL_TARGETS
def test_blocks_of_one_row_are_pieces(target: Target) -> None:
    """The loop over blocks sums nothing up: what combines them runs after it."""
    kernel, plan = parse_kernel(LOGSUMEXP)
    assert plan is not None
    x, out = data(10_240), guarded((), "f4")
    pieces = same_bits(kernel, plan, target, [x], [out])
    assert pieces == [10]
    np.testing.assert_allclose(out, np.log(np.exp(x.astype("f8")).sum()), rtol=1e-6)


def test_small_loops_are_not_shared() -> None:
    x, out = data(1000), guarded((1000,), "f4")
    k = KernelBuilder("small", i=1000)
    k.store(out, k.load(x, "i"), "i")
    threading = Threading(2)
    plan = schedule("i", vector="i")
    pieces, _ = run(k.kernel(), plan, host_target(), [x, out], threading)
    assert pieces == []
    np.testing.assert_array_equal(out, x)


@ALL_TARGETS
@pytest.mark.parametrize("epilogue", [True, False])
@pytest.mark.parametrize("shape", [(130, 70, 90), (700, 20, 3), (300, 900, 40)])
def test_products_are_cut_in_ranges(
    shape: tuple[int, int, int], epilogue: bool, target: Target
) -> None:
    m, n, depth = shape
    a, b, out = data(m, depth), data(depth, n), guarded((m, n), "f4")
    k = KernelBuilder("product", i=m, j=n, k=depth)
    product = k.contract(["k"], k.load(a, "i", "k"), k.load(b, "k", "j"))
    k.store(out, k.compute("tanh", product) if epilogue else product, "i", "j")
    plan = schedule("i", "j", "k", vector="j")
    pieces = same_bits(k.kernel(), plan, target, [a, b], [out])
    assert pieces[0] > 1
    wanted = np.tanh(a @ b) if epilogue else a @ b
    np.testing.assert_allclose(out, wanted, rtol=1e-4, atol=1e-4)


@ALL_TARGETS
@pytest.mark.parametrize("seed", range(3))
def test_errors_in_ranges_of_products(seed: int, target: Target) -> None:
    m, n, depth = 300, 40, 30
    table, b, out = data(50, depth), data(depth, n), guarded((m, n), "f4")
    rows = np.random.default_rng(seed).integers(0, 50, m)
    k = KernelBuilder("picked", i=m, j=n, k=depth)
    index = k.load(rows, "i")
    place = Affine(((ValueIndex(index.name), 1),))
    left = k.load(table, place, "k", axes=["i", "k"], check=(0,))
    k.store(out, k.contract(["k"], left, k.load(b, "k", "j")), "i", "j")
    plan = schedule("i", "j", "k", vector="j")
    arrays = [rows, table, b, out]
    assert run(k.kernel(), plan, target, arrays, Threading(3, 0), seed)[1] == (0, 0)
    np.testing.assert_allclose(out, table[rows] @ b, rtol=1e-4, atol=1e-4)
    rows[200:] = 99
    word, _ = run(k.kernel(), plan, target, arrays, SERIAL)[1]
    found = run(k.kernel(), plan, target, arrays, Threading(3, 0), seed)[1]
    assert word != 0
    assert found == (word, 99)
