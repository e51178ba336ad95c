"""Kernels as LLVM functions against NumPy: every form, all targets, odd sizes."""

import itertools

import numpy as np
import pytest

from tracejit.codegen.llvm.target import Target
from tracejit.ir.graph import Literal
from tracejit.kernels.maps import Affine, ValueIndex, axis, floordiv, mod
from tracejit.kernels.tree import tree_sum

from .building import (
    KernelBuilder,
    check_guards,
    guarded,
    named,
    on_targets,
    run_kernel,
    schedule,
    targets,
)

ALL_TARGETS = pytest.mark.parametrize("target", targets(), ids=lambda t: t.name)
SIZES = (0, 1, 2, 3, 7, 16, 17, 64, 65, 131)
F32, F64 = np.dtype("f4"), np.dtype("f8")


def lit(value: complex, dtype: str = "f4") -> Literal:
    return Literal(value, np.dtype(dtype))


@ALL_TARGETS
@pytest.mark.parametrize("n", SIZES)
@pytest.mark.parametrize("dtype", ["f4", "f8", "i1", "?", "f2", "u8"])
def test_pointwise(n: int, dtype: str, target: Target) -> None:
    rng = np.random.default_rng(n)
    x, y = (rng.integers(0, 100, n).astype(dtype) for _ in range(2))
    out = guarded((n,), dtype)
    k = KernelBuilder("pointwise", i=n)
    value = k.compute("maximum", k.load(x, "i"), k.load(y, "i"))
    k.store(out, value, "i")
    run_kernel(k.kernel(), schedule("i", vector="i"), target, [x, y], [out])
    np.testing.assert_array_equal(out, np.maximum(x, y))
    check_guards(out)


@ALL_TARGETS
@pytest.mark.parametrize("dtype", ["i4", "i2", "i1", "u8", "f4", "?"])
@pytest.mark.parametrize("source", ["i8", "i4", "i2", "f8"])
def test_conversions_stay_in_their_memory(
    source: str, dtype: str, target: Target
) -> None:
    """Last vectors of one lane, of two and of several."""
    for n in (1, 2, 5, 9, 17, 33, 65):
        x, out = np.arange(n).astype(source), guarded((n,), dtype)
        k = KernelBuilder("converted", i=n)
        value = k.compute("convert", k.load(x, "i"), dtype=np.dtype(dtype))
        k.store(out, value, "i")
        run_kernel(k.kernel(), schedule("i", vector="i"), target, [x], [out])
        np.testing.assert_array_equal(out, x.astype(dtype))
        check_guards(out)


@ALL_TARGETS
@pytest.mark.parametrize("layout", ["C", "F", "step", "back", "row", "column"])
def test_strided_inputs_and_outputs(layout: str, target: Target) -> None:
    m, n = 5, 37
    base = np.random.default_rng(1).normal(size=(2 * m, 3 * n)).astype("f4")
    views = {
        "C": base[:m, :n],
        "F": np.asfortranarray(base[:m, :n]),
        "step": base[::2, ::3],
        "back": base[:m, :n][::-1, ::-1],
        "row": np.broadcast_to(base[0, :n], (m, n)),
        "column": np.broadcast_to(base[:m, :1], (m, n)),
    }
    x = views[layout]
    for order in ("C", "F"):
        out = np.full((m, n), np.nan, "f4", order=order)
        k = KernelBuilder("strided", i=m, j=n)
        k.store(out, k.compute("mul", k.load(x, "i", "j"), lit(2)), "i", "j")
        run_kernel(k.kernel(), schedule("i", "j", vector="j"), target, [x], [out])
        np.testing.assert_array_equal(out, x * 2)


@ALL_TARGETS
def test_outer_vector_axis_and_reversed_store(target: Target) -> None:
    x = np.random.default_rng(2).normal(size=(19, 3))
    out = np.zeros((3, 19))[:, ::-1]
    k = KernelBuilder("transposed", i=19, j=3)
    k.store(out, k.load(x, "i", "j"), "j", "i")
    run_kernel(k.kernel(), schedule("i", "j", vector="i"), target, [x], [out])
    np.testing.assert_array_equal(out, x.T)


@ALL_TARGETS
def test_scalar_kernel(target: Target) -> None:
    x, out = np.array(3.0), guarded((), "f8")
    k = KernelBuilder("scalar")
    k.store(out, k.compute("sqrt", k.load(x)))
    run_kernel(k.kernel(), schedule(), target, [x], [out])
    assert out == np.sqrt(3.0)
    check_guards(out)


@ALL_TARGETS
def test_mixed_dtypes(target: Target) -> None:
    n = 45
    rng = np.random.default_rng(3)
    x, i = rng.normal(size=n).astype("f4"), rng.integers(-9, 9, n).astype("i2")
    flag = rng.random(n) < 0.5
    out = guarded((n,), "f8")
    k = KernelBuilder("mixed", i=n)
    wide = k.compute("convert", k.load(x, "i"), dtype=F64)
    whole = k.compute("convert", k.load(i, "i"), dtype=F64)
    k.store(out, k.compute("select", k.load(flag, "i"), wide, whole), "i")
    run_kernel(k.kernel(), schedule("i", vector="i"), target, [x, i, flag], [out])
    np.testing.assert_array_equal(out, np.where(flag, x.astype("f8"), i))
    check_guards(out)


@ALL_TARGETS
@pytest.mark.parametrize("n", [1, 5, 16, 100, 1023, 1024, 1025, 5000])
def test_softmax(n: int, target: Target) -> None:
    x = np.random.default_rng(n).normal(size=(3, n)).astype("f4")
    for kept in (False, True):
        out = guarded((3, n), "f4")
        k = KernelBuilder("softmax", i=3, j=n)
        a = k.load(x, "i", "j")
        top = k.reduce("max", ["j"], a)
        e = k.compute("exp", k.compute("sub", a, top))
        total = k.reduce("add", ["j"], e)
        k.store(out, k.compute("div", e, total), "i", "j")
        plan = schedule("i", "j", vector="j", scratch=[e] if kept else [])
        run_kernel(k.kernel(), plan, target, [x], [out])
        wide = np.exp(x.astype("f8") - x.max(1, keepdims=True))
        expected = wide / wide.sum(1, keepdims=True)
        np.testing.assert_allclose(out, expected, rtol=2e-6)
        check_guards(out)


SUM_SIZES = (0, 1, 2, 15, 17, 63, 64, 65, 127, 1000, 1024, 1025, 2047, 2048, 3000, 5000)


@ALL_TARGETS
@pytest.mark.parametrize("dtype", ["f4", "f8"])
def test_row_sum_follows_the_tree_bit_for_bit(dtype: str, target: Target) -> None:
    rng = np.random.default_rng(0)
    for n in SUM_SIZES:
        x = rng.normal(size=(2, n)).astype(dtype)
        out = guarded((2,), dtype)
        k = KernelBuilder("row_sum", i=2, j=n)
        k.store(out, k.reduce("add", ["j"], k.load(x, "i", "j")), "i")
        run_kernel(k.kernel(), schedule("i", "j", vector="j"), target, [x], [out])
        np.testing.assert_array_equal(out, tree_sum(x), err_msg=str(n))
        check_guards(out)


@ALL_TARGETS
@pytest.mark.parametrize("dtype", ["f4", "f8"])
def test_column_sum_follows_the_tree_bit_for_bit(dtype: str, target: Target) -> None:
    rng = np.random.default_rng(0)
    for n in SUM_SIZES:
        for columns in (1, 3, 70):
            x = rng.normal(size=(n, columns)).astype(dtype)
            out = guarded((columns,), dtype)
            k = KernelBuilder("column_sum", j=columns, i=n)
            k.store(out, k.reduce("add", ["i"], k.load(x, "i", "j")), "j")
            plan = schedule("j", "i", vector="j")
            run_kernel(k.kernel(), plan, target, [x], [out])
            np.testing.assert_array_equal(out, tree_sum(x.T), err_msg=str(n))
            check_guards(out)


@ALL_TARGETS
@pytest.mark.parametrize("dtype", ["f4", "f2"])
def test_scalar_and_heavy_sums(dtype: str, target: Target) -> None:
    """Sums without vectors, and sums whose body is too large to unroll."""
    rng = np.random.default_rng(0)
    for n in (5, 64, 100, 1024, 2500):
        x = rng.normal(size=n).astype(dtype)
        out = guarded((), dtype)
        k = KernelBuilder("scalar_sum", i=n)
        k.store(out, k.reduce("add", ["i"], k.load(x, "i")))
        run_kernel(k.kernel(), schedule("i"), target, [x], [out])
        assert out == tree_sum(x)
        out = guarded((), dtype)
        k = KernelBuilder("heavy_sum", i=n)
        value, expected = k.load(x, "i"), x
        for _ in range(400):
            value, expected = k.compute("neg", value), -expected
        k.store(out, k.reduce("add", ["i"], value))
        run_kernel(k.kernel(), schedule("i", vector="i"), target, [x], [out])
        assert out == tree_sum(expected)
        check_guards(out)


@ALL_TARGETS
@pytest.mark.parametrize(
    "shape", [(3, 5), (7, 64), (5, 300), (40, 128), (0, 4), (9, 1)]
)
def test_sum_over_two_axes(shape: tuple[int, int], target: Target) -> None:
    x = np.random.default_rng(0).normal(size=(2, *shape)).astype("f4")
    out = guarded((2,), "f4")
    k = KernelBuilder("sum2", b=2, i=shape[0], j=shape[1])
    k.store(out, k.reduce("add", ["i", "j"], k.load(x, "b", "i", "j")), "b")
    run_kernel(k.kernel(), schedule("b", "i", "j", vector="j"), target, [x], [out])
    np.testing.assert_array_equal(out, tree_sum(x.reshape(2, -1)))
    check_guards(out)


@ALL_TARGETS
def test_columns_over_two_axes(target: Target) -> None:
    x = np.random.default_rng(0).normal(size=(50, 37, 21))
    out = guarded((21,), "f8")
    k = KernelBuilder("columns2", c=21, i=50, j=37)
    k.store(out, k.reduce("add", ["i", "j"], k.load(x, "i", "j", "c")), "c")
    run_kernel(k.kernel(), schedule("c", "i", "j", vector="c"), target, [x], [out])
    np.testing.assert_array_equal(out, tree_sum(x.reshape(-1, 21).T))


EXTREMA = itertools.product(
    ["max", "min", "argmax", "argmin"], ["f4", "f8", "i4", "u1", "?"]
)


@pytest.mark.parametrize(("op", "dtype", "target"), on_targets(EXTREMA, 3), ids=named)
def test_extrema(op: str, dtype: str, target: Target) -> None:
    rng = np.random.default_rng(0)
    for n in (1, 2, 17, 64, 100, 333):
        x = rng.integers(0, 5, (3, n)).astype(dtype)
        if dtype.startswith("f"):
            x[1, n // 2] = np.nan
            x[2] = -np.inf if op.endswith("max") else np.inf
        elif dtype != "?":  # what a reduction begins with must not win
            limits = np.iinfo(dtype)
            x[2] = limits.min if op.endswith("max") else limits.max
        call = getattr(np, op)
        for data, loops, vector in ((x, "ij", "j"), (x.T, "ij", "i")):
            axes = dict(zip("ij", (3, n), strict=True))
            out = guarded((3,), "i8" if op.startswith("arg") else dtype)
            k = KernelBuilder("extremum", **axes)
            order = "ij" if data is x else "ji"
            data = np.ascontiguousarray(data)
            value = k.reduce(op, ["j"], k.load(data, *order))
            k.store(out, value, "i")
            plan = schedule(*loops, vector=vector)
            run_kernel(k.kernel(), plan, target, [data], [out])
            np.testing.assert_array_equal(out, call(x, axis=1))
            check_guards(out)


@ALL_TARGETS
@pytest.mark.parametrize(
    ("op", "dtype", "reference"),
    [
        ("add", "i4", np.add),
        ("add", "u1", np.add),
        ("mul", "i8", np.multiply),
        ("mul", "f8", np.multiply),
        ("and", "?", np.bitwise_and),
        ("or", "?", np.bitwise_or),
        ("and", "u2", np.bitwise_and),
        ("or", "i1", np.bitwise_or),
    ],
)
def test_other_reductions(
    op: str, dtype: str, reference: np.ufunc, target: Target
) -> None:
    rng = np.random.default_rng(0)
    for n in (0, 1, 19, 200):
        x = rng.integers(0, 2 if dtype == "?" else 120, (n, 9)).astype(dtype)
        if dtype == "f8":
            x = 1 + x / 1e4
        for reduced, kept, vector in (("i", "j", "i"), ("i", "j", "j")):
            out = guarded((9,), dtype)
            k = KernelBuilder("reduction", j=9, i=n)
            k.store(out, k.reduce(op, [reduced], k.load(x, "i", "j")), kept)
            plan = schedule("j", "i", vector=vector)
            run_kernel(k.kernel(), plan, target, [x], [out])
            expected = reference.reduce(x, axis=0, dtype=x.dtype)
            if dtype == "f8":
                np.testing.assert_allclose(out, expected, rtol=1e-13)
            else:
                np.testing.assert_array_equal(out, expected)
            check_guards(out)


@ALL_TARGETS
def test_statistics_of_rows_and_columns(target: Target) -> None:
    """Two sums, the second needing the first, then a store: three phases."""
    m, n = 33, 77
    x = np.random.default_rng(0).normal(size=(m, n)).astype("f4")
    for reduced, kept, size in (("j", "i", n), ("i", "j", m)):
        out, mean_out = guarded((m, n), "f4"), guarded((m + n - size,), "f4")
        axes = {kept: m + n - size, reduced: size}
        k = KernelBuilder("normalise", **axes)
        a = k.load(x, "i", "j")
        mean = k.compute("div", k.reduce("add", [reduced], a), lit(size))
        d = k.compute("sub", a, mean)
        square = k.reduce("add", [reduced], k.compute("mul", d, d))
        std = k.compute("sqrt", k.compute("div", square, lit(size)))
        k.store(out, k.compute("div", d, std), "i", "j")
        k.store(mean_out, mean, kept)
        plan = schedule(kept, reduced, vector="j", scratch=[d])
        run_kernel(k.kernel(), plan, target, [x], [out, mean_out])
        which = 1 if reduced == "j" else 0
        wide = x.astype("f8")
        centred = wide - wide.mean(which, keepdims=True)
        expected = centred / wide.std(which, keepdims=True)
        np.testing.assert_allclose(out, expected, rtol=1e-4, atol=1e-5)
        np.testing.assert_allclose(mean_out, wide.mean(which), rtol=1e-4, atol=1e-6)
        check_guards(out)


@ALL_TARGETS
@pytest.mark.parametrize(("kept", "reduced"), ["ij", "ji"])
@pytest.mark.parametrize("dtype", ["i8", "i4", "u1"])
def test_truths_are_counted(
    dtype: str, kept: str, reduced: str, target: Target
) -> None:
    """By bits of masks along rows, in vectors of integers along columns."""
    for n in (1, 3, 16, 63, 64, 65, 200, 1029):
        x = np.random.default_rng(n).integers(-1, 2, (5, n)).astype("f4")
        want = (x >= 0).sum(axis="ij".index(reduced)).astype(dtype)
        out = guarded(want.shape, dtype)
        k = KernelBuilder("count", i=5, j=n)
        truth = k.compute("ge", k.load(x, "i", "j"), lit(0))
        number = k.compute("convert", truth, dtype=np.dtype(dtype))
        k.store(out, k.reduce("add", [reduced], number), kept)
        loops = schedule(kept, reduced, vector="j")
        run_kernel(k.kernel(), loops, target, [x], [out])
        np.testing.assert_array_equal(out, want)
        check_guards(out)


@ALL_TARGETS
def test_full_reduction_into_two_results(target: Target) -> None:
    x = np.random.default_rng(0).normal(size=3001)
    top, total = guarded((), "f8"), guarded((), "f8")
    k = KernelBuilder("full", i=3001)
    a = k.load(x, "i")
    k.store(top, k.reduce("max", ["i"], a))
    k.store(total, k.reduce("add", ["i"], a))
    run_kernel(k.kernel(), schedule("i", vector="i"), target, [x], [top, total])
    assert top == x.max()
    assert total == tree_sum(x)


@ALL_TARGETS
def test_reshape_by_maps(target: Target) -> None:
    x = np.arange(6 * 35, dtype="i4").reshape(6, 35)
    out = guarded((15, 14), "i4")
    k = KernelBuilder("reshape", i=15, j=14)
    flat = axis("i") * 14 + axis("j")
    k.store(out, k.load(x, floordiv(flat, 35), mod(flat, 35)), "i", "j")
    run_kernel(k.kernel(), schedule("i", "j", vector="j"), target, [x], [out])
    np.testing.assert_array_equal(out, x.reshape(15, 14))
    check_guards(out)


@ALL_TARGETS
@pytest.mark.parametrize("dtype", ["f4", "i8", "?", "f2", "c8", "c16"])
def test_padding_by_bounds(dtype: str, target: Target) -> None:
    x = np.random.default_rng(0).integers(0, 2, (4, 20)).astype(dtype)
    out = guarded((7, 26), dtype)
    k = KernelBuilder("pad", i=7, j=26)
    i, j = axis("i") + -1, axis("j") + -3
    bounds = [(i, 4), (j, 20)]
    k.store(out, k.load(x, i, j, bounds=bounds, fill=1), "i", "j")
    run_kernel(k.kernel(), schedule("i", "j", vector="j"), target, [x], [out])
    expected = np.pad(x, ((1, 2), (3, 3)), constant_values=1)
    np.testing.assert_array_equal(out, expected)
    check_guards(out)


@ALL_TARGETS
@pytest.mark.parametrize("dtype", ["c8", "c16"])
def test_complex_literals_are_stored(dtype: str, target: Target) -> None:
    out = guarded((9,), dtype)
    k = KernelBuilder("full", i=9)
    k.store(out, lit(-0.0 + 2.5j, dtype), "i")
    run_kernel(k.kernel(), schedule("i", vector="i"), target, [], [out])
    np.testing.assert_array_equal(out, np.full(9, -0.0 + 2.5j, dtype))
    check_guards(out)


@ALL_TARGETS
def test_negative_floor_and_mod_in_maps(target: Target) -> None:
    """A cyclic shift: (j - 5) mod n, with negative operands."""
    n = 41
    x = np.arange(n, dtype="f4")
    out = guarded((n,), "f4")
    k = KernelBuilder("roll", j=n)
    k.store(out, k.load(x, mod(axis("j") + -5, n)), "j")
    run_kernel(k.kernel(), schedule("j", vector="j"), target, [x], [out])
    np.testing.assert_array_equal(out, np.roll(x, 5))
    down = guarded((n,), "i8")
    k = KernelBuilder("floor", j=n)
    k.store(down, k.iota(floordiv(axis("j") + -7, 3), "j", "i8"), "j")
    run_kernel(k.kernel(), schedule("j", vector="j"), target, [], [down])
    np.testing.assert_array_equal(down, (np.arange(n) - 7) // 3)


@ALL_TARGETS
@pytest.mark.parametrize("dtype", ["i4", "f4", "u1", "f8"])
def test_iota(dtype: str, target: Target) -> None:
    out = guarded((3, 50), dtype)
    k = KernelBuilder("iota", i=3, j=50)
    index = axis("i") * 50 + axis("j") + 1
    k.store(out, k.iota(index, "ij", dtype), "i", "j")
    run_kernel(k.kernel(), schedule("i", "j", vector="j"), target, [], [out])
    np.testing.assert_array_equal(
        out, (np.arange(150) + 1).reshape(3, 50).astype(dtype)
    )


def gather(
    x: np.ndarray, rows: np.ndarray, target: Target, clip: bool, vector: str
) -> tuple[np.ndarray, int, int]:
    m, n = rows.size, x.shape[1]
    out = guarded((m, n), x.dtype)
    k = KernelBuilder("gather", i=m, j=n)
    at = k.load(rows, "i")
    place = Affine(((ValueIndex(at.name), 1),))
    value = k.load(x, place, "j", axes="ij", check=(0,), clip=clip)
    k.store(out, value, "i", "j")
    plan = schedule("i", "j", vector=vector)
    code, index = run_kernel(k.kernel(), plan, target, [rows, x], [out])
    check_guards(out)
    return out, code, index


@ALL_TARGETS
@pytest.mark.parametrize("vector", ["i", "j"])
@pytest.mark.parametrize("dtype", ["i8", "i4", "u2"])
def test_gather_rows(dtype: str, vector: str, target: Target) -> None:
    x = np.random.default_rng(0).normal(size=(11, 21)).astype("f4")
    rows = np.random.default_rng(1).integers(0, 11, 37).astype(dtype)
    if dtype != "u2":
        rows[::3] -= 11
    out, code, _ = gather(x, rows, target, False, vector)
    assert code == 0
    np.testing.assert_array_equal(out, x[rows])


@ALL_TARGETS
@pytest.mark.parametrize("vector", ["i", "j"])
@pytest.mark.parametrize("bad", [11, -12, 10**6])
def test_gather_out_of_range(bad: int, vector: str, target: Target) -> None:
    x = np.ones((11, 21), "f4")
    rows = np.zeros(37, "i8")
    rows[33] = bad
    _, code, index = gather(x, rows, target, False, vector)
    assert code & 0xFF == 1
    assert code >> 32 == 0
    assert index == bad
    out, code, _ = gather(x, rows, target, True, vector)
    assert code == 0
    np.testing.assert_array_equal(out, x[np.clip(rows, 0, 10)])


@ALL_TARGETS
def test_gather_from_nothing(target: Target) -> None:
    _, code, _ = gather(np.ones((0, 3), "f4"), np.zeros(2, "i8"), target, False, "j")
    assert code & 0xFF == 1


@ALL_TARGETS
def test_take_along_a_row(target: Target) -> None:
    """Indices that differ between lanes, and a scatter by a permutation."""
    x = np.random.default_rng(0).normal(size=(5, 30))
    order = np.argsort(x, axis=1)
    out, back = guarded((5, 30), "f8"), guarded((5, 30), "f8")
    k = KernelBuilder("take", i=5, j=30)
    at = k.load(order, "i", "j")
    place = Affine(((ValueIndex(at.name), 1),))
    value = k.load(x, "i", place, axes="ij", check=(1,))
    k.store(out, value, "i", "j")
    k.store(back, value, "i", place)
    plan = schedule("i", "j", vector="j")
    run_kernel(k.kernel(), plan, target, [order, x], [out, back])
    np.testing.assert_array_equal(out, np.sort(x, axis=1))
    np.testing.assert_array_equal(back, x)


@ALL_TARGETS
@pytest.mark.parametrize("n", [65, 1100])
def test_streamed_column_sums_with_an_epilogue(n: int, target: Target) -> None:
    """More columns than fit a chunk, two sums, and what is computed from them."""
    columns = 4099
    x = np.random.default_rng(0).normal(size=(n, columns)).astype("f4")
    mean, spread = guarded((columns,), "f4"), guarded((columns,), "f4")
    k = KernelBuilder("moments", j=columns, i=n)
    a = k.load(x, "i", "j")
    first = k.compute("div", k.reduce("add", ["i"], a), lit(n))
    second = k.reduce("add", ["i"], k.compute("mul", a, a))
    square = k.compute("sub", k.compute("div", second, lit(n)), first)
    k.store(mean, first, "j")
    k.store(spread, square, "j")
    plan = schedule("j", "i", vector="j")
    run_kernel(k.kernel(), plan, target, [x], [mean, spread])
    expected = tree_sum(x.T) / np.float32(n)
    np.testing.assert_array_equal(mean, expected)
    np.testing.assert_array_equal(
        spread, tree_sum((x * x).T) / np.float32(n) - expected
    )
    check_guards(mean)
    check_guards(spread)
