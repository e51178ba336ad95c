"""Contractions against NumPy: sizes, strides, dtypes, epilogues."""

import itertools

import ml_dtypes
import numpy as np
import pytest

from tests.sampling import sampled
from tracejit.codegen.llvm.target import Target
from tracejit.ir.graph import Literal

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

ML_DTYPES = ml_dtypes.bfloat16, ml_dtypes.float8_e4m3fn, ml_dtypes.float8_e5m2
ALL_TARGETS = pytest.mark.parametrize("target", targets(), ids=lambda t: t.name)


def random(shape: tuple[int, ...], dtype: str = "f4") -> np.ndarray:
    rng = np.random.default_rng(sum(shape))
    if np.dtype(dtype).kind in "iu":
        return rng.integers(0, 50, shape).astype(dtype)
    return rng.normal(size=shape).astype(dtype)


def matmul(
    a: np.ndarray, b: np.ndarray, out: np.ndarray, target: Target, vector: str = "j"
) -> None:
    (m, k), n = a.shape, b.shape[1]
    builder = KernelBuilder("matmul", i=m, j=n, k=k)
    lhs, rhs = builder.load(a, "i", "k"), builder.load(b, "k", "j")
    builder.store(out, builder.contract(["k"], lhs, rhs), "i", "j")
    plan = schedule("i", "j", "k", vector=vector)
    run_kernel(builder.kernel(), plan, target, [a, b], [out])


def assert_product(out: np.ndarray, a: np.ndarray, b: np.ndarray) -> None:
    wide = a.astype("f8") @ b.astype("f8")
    scale = np.abs(a.astype("f8")) @ np.abs(b.astype("f8"))
    eps = float(ml_dtypes.finfo(out.dtype).eps)
    assert (np.abs(out - wide) <= 40 * eps * scale + 1e-300).all()


SHAPES = [
    (1, 1, 1),
    (6, 64, 10),
    (7, 65, 3),
    (13, 17, 19),
    (64, 64, 64),
    (5, 200, 33),
    (33, 10, 128),
    (3, 5, 1200),
    (0, 5, 3),
    (4, 0, 3),
    (4, 5, 0),
    (1, 40, 30),
    (40, 1, 30),
    (2, 300, 35),
    (4, 130, 6),
]


@ALL_TARGETS
@pytest.mark.parametrize("dtype", ["f4", "f8"])
@pytest.mark.parametrize("shape", SHAPES, ids=str)
def test_sizes(shape: tuple[int, int, int], dtype: str, target: Target) -> None:
    m, n, k = shape
    a, b = random((m, k), dtype), random((k, n), dtype)
    out = guarded((m, n), dtype)
    matmul(a, b, out, target)
    assert_product(out, a, b)
    check_guards(out)


@ALL_TARGETS
@pytest.mark.parametrize("dtype", ["f4", "f8"])
@pytest.mark.parametrize("first", sampled(range(3), 3))
def test_strides_of_operands_and_result(first: int, dtype: str, target: Target) -> None:
    """All pairs of layouts, with one of three for the result, in turn."""
    m, n, k = 21, 37, 29
    layouts = [
        lambda x: x,
        np.asfortranarray,
        lambda x: np.repeat(np.repeat(x, 2, 0), 3, 1)[::2, ::3],
        lambda x: np.ascontiguousarray(x[::-1, ::-1])[::-1, ::-1],
    ]
    plain_a, plain_b = random((m, k), dtype), random((k, n), dtype)
    for k, (left, right) in enumerate(itertools.product(layouts, layouts), first):
        a, b = left(plain_a), right(plain_b)
        order = ("C", "F", "step")[k % 3]
        out = np.full((m, n), np.nan, dtype, order="F" if order == "F" else "C")
        if order == "step":
            out = np.full((2 * m, 2 * n), np.nan, dtype)[::2, ::2]
        matmul(a, b, out, target)
        assert_product(out, a, b)


PACKED = itertools.product([1031, 1041], ["NN", "NT", "TN", "TT"])


@pytest.mark.parametrize(("k", "layout", "target"), on_targets(PACKED, 4), ids=named)
def test_packed(k: int, layout: str, target: Target) -> None:
    """Large enough for packing, and odd in every direction; one more than vectors."""
    m, n = 701, 811
    a, b = random((m, k)), random((k, n))
    if layout[0] == "T":
        a = np.asfortranarray(a)
    if layout[1] == "T":
        b = np.asfortranarray(b)
    out = guarded((m, n), "f4")
    matmul(a, b, out, target)
    assert_product(out, a, b)
    check_guards(out)


@ALL_TARGETS
@pytest.mark.parametrize("dtype", ["f4", "f8"])
@pytest.mark.parametrize("shape", [(199, 29, 530), (300, 24, 7), (194, 300, 1030)])
def test_layout_of_the_left_operand(
    shape: tuple[int, int, int], dtype: str, target: Target
) -> None:
    """Contiguous columns, packed in panels on some targets, give the bits of rows."""
    m, n, k = shape
    a, b = random((m, k), dtype), random((k, n), dtype)
    rows, columns = guarded((m, n), dtype), guarded((m, n), dtype)
    matmul(a, b, rows, target)
    matmul(np.asfortranarray(a), b, columns, target)
    assert_product(rows, a, b)
    np.testing.assert_array_equal(rows, columns)
    check_guards(columns)


@ALL_TARGETS
def test_result_does_not_depend_on_the_other_extents(target: Target) -> None:
    """An element is summed in an order that k alone decides."""
    a, b = random((50, 1300)), random((1300, 70))
    whole = guarded((50, 70), "f4")
    matmul(a, b, whole, target)
    part = guarded((3, 9), "f4")
    matmul(a[2:5], np.asfortranarray(b)[:, 11:20], part, target)
    np.testing.assert_array_equal(part, whole[2:5, 11:20])


@ALL_TARGETS
@pytest.mark.parametrize("dtype", ["i4", "u1", "i8", "f2", *ML_DTYPES], ids=str)
def test_other_dtypes(dtype: str, target: Target) -> None:
    a, b = random((9, 33), dtype), random((33, 21), dtype)
    out = guarded((9, 21), dtype)
    matmul(a, b, out, target)
    if np.dtype(dtype).kind in "iu":
        np.testing.assert_array_equal(out, a @ b)
    else:
        wide = a.astype("f8") @ b.astype("f8")
        eps = float(ml_dtypes.finfo(dtype).eps)
        np.testing.assert_allclose(out.astype("f8"), wide, rtol=2 * eps, atol=20 * eps)
    check_guards(out)


@ALL_TARGETS
@pytest.mark.parametrize("dtype", ["i4", "u4", "i8", "u8"])
def test_integers_wrap(dtype: str, target: Target) -> None:
    """Several blocks of k, a transposed operand, sums beyond the range."""
    rng = np.random.default_rng(0)
    a = rng.integers(0, 2**31 - 1, (23, 1100)).astype(dtype)
    b = rng.integers(0, 2**31 - 1, (37, 1100)).astype(dtype).T
    out = guarded((23, 37), dtype)
    matmul(a, b, out, target)
    np.testing.assert_array_equal(out, a @ b)
    check_guards(out)


@ALL_TARGETS
def test_batches_and_several_axes(target: Target) -> None:
    """A product over two axes, with two batch axes and split rows and columns."""
    a, b = random((3, 2, 4, 5, 6, 7)), random((2, 3, 5, 7, 8, 2))
    out = guarded((2, 3, 4, 6, 2, 8), "f4")
    k = KernelBuilder("several", p=2, q=3, i=4, r=6, j=2, s=8, k=5, l=7)
    lhs = k.load(a, "q", "p", "i", "k", "r", "l")
    rhs = k.load(b, "p", "q", "k", "l", "s", "j")
    value = k.contract(["k", "l"], lhs, rhs)
    k.store(out, value, "p", "q", "i", "r", "j", "s")
    plan = schedule(*"pqirjskl", vector="s")
    run_kernel(k.kernel(), plan, target, [a, b], [out])
    expected = np.einsum("qpikrl,pqklsj->pqirjs", a.astype("f8"), b.astype("f8"))
    np.testing.assert_allclose(out, expected, rtol=1e-4, atol=1e-4)
    check_guards(out)


@ALL_TARGETS
def test_computed_operands_and_epilogue(target: Target) -> None:
    """relu((x * 2) @ w[i mod 3 gathered] + b), and its column sums."""
    x, w, bias = random((12, 20)), random((20, 35)), random((35,))
    out, wide = guarded((12, 35), "f4"), guarded((12, 35), "f8")
    k = KernelBuilder("dense", i=12, j=35, k=20)
    lhs = k.compute("mul", k.load(x, "i", "k"), Literal(2, x.dtype))
    rhs = k.load(w, "k", "j")
    product = k.contract(["k"], lhs, rhs)
    biased = k.compute("add", product, k.load(bias, "j"))
    active = k.compute("maximum", biased, Literal(0, x.dtype))
    k.store(out, active, "i", "j")
    k.store(wide, k.compute("convert", product, dtype=np.dtype("f8")), "i", "j")
    plan = schedule("i", "j", "k", vector="j")
    run_kernel(k.kernel(), plan, target, [x, w, bias], [out, wide])
    expected = (x * 2).astype("f8") @ w
    np.testing.assert_allclose(wide, expected, rtol=1e-4, atol=1e-4)
    np.testing.assert_allclose(out, np.maximum(expected + bias, 0), atol=1e-4)
    check_guards(out)


@ALL_TARGETS
def test_attention_row(target: Target) -> None:
    """Two contractions and a softmax in one kernel."""
    q, key, v = random((10, 16)), random((23, 16)), random((23, 16))
    out = guarded((10, 16), "f4")
    k = KernelBuilder("attention", i=10, e=16, j=23, d=16)
    scores = k.contract(["d"], k.load(q, "i", "d"), k.load(key, "j", "d"))
    top = k.reduce("max", ["j"], scores)
    e = k.compute("exp", k.compute("sub", scores, top))
    p = k.compute("div", e, k.reduce("add", ["j"], e))
    k.store(out, k.contract(["j"], p, k.load(v, "j", "e")), "i", "e")
    plan = schedule("i", "e", "j", "d", vector="e")
    run_kernel(k.kernel(), plan, target, [q, key, v], [out])
    s = np.exp(q.astype("f8") @ key.T)
    np.testing.assert_allclose(out, s / s.sum(1, keepdims=True) @ v, atol=1e-5)
    check_guards(out)


@ALL_TARGETS
@pytest.mark.parametrize("dtype", ["f4", "f8", "f2", "i4"])
def test_vectors(dtype: str, target: Target) -> None:
    """Matrix times vector, vector times matrix, vector times vector."""
    a, x, y = random((31, 45), dtype), random((45,), dtype), random((31,), dtype)
    cases = [
        ("mv", {"i": 31, "k": 45}, (a, ("i", "k")), (x, ("k",)), (31,), ["i"], a @ x),
        ("vm", {"j": 45, "k": 31}, (y, ("k",)), (a, ("k", "j")), (45,), ["j"], y @ a),
        ("vv", {"k": 45}, (x, ("k",)), (x, ("k",)), (), [], x @ x),
    ]
    for name, axes, (left, li), (right, ri), shape, place, expected in cases:
        out = guarded(shape, dtype)
        k = KernelBuilder(name, **axes)
        value = k.contract(["k"], k.load(left, *li), k.load(right, *ri))
        k.store(out, value, *place)
        plan = schedule(*axes, vector=place[0] if place else "k")
        run_kernel(k.kernel(), plan, target, [left, right], [out])
        tolerance = {"f4": 1e-4, "f8": 1e-12, "f2": 5e-2, "i4": 0}[dtype]
        np.testing.assert_allclose(out, expected, rtol=tolerance, atol=tolerance)
        check_guards(out)
