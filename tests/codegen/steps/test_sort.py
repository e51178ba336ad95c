"""Sorts as LLVM functions: NumPy's stable order, with the bits of every element."""

import itertools

import ml_dtypes
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from tests.sampling import in_turn
from tracejit.codegen.llvm.sharing import SERIAL, Threading
from tracejit.codegen.llvm.steps.sorting import network, quick, ranks, row, rows, split
from tracejit.codegen.llvm.steps.sorting.keys import Cells
from tracejit.codegen.llvm.target import Target, host_target
from tracejit.ir.primitive import REGISTRY

from ..building import named, on_targets, targets
from .running import run_step

ALL_TARGETS = pytest.mark.parametrize("target", targets(), ids=lambda t: t.name)
BFLOAT16 = np.dtype(ml_dtypes.bfloat16)
FLOATS = [np.dtype(c) for c in ("f2", "f4", "f8")] + [BFLOAT16]
DTYPES = [np.dtype(c) for c in ("?", "i1", "u1", "i2", "u2", "i4", "u4", "i8", "u8")]
DTYPES += FLOATS
ALL_DTYPES = pytest.mark.parametrize("dtype", DTYPES, ids=lambda d: d.name)
THREADS = ((SERIAL, None), (Threading(3, 0), 4))
SHARED = THREADS[1:]
HOST = host_target()
BITS = {1: "u1", 2: "u2", 4: "u4", 8: "u8"}


def stable_order(x: np.ndarray, axis: int) -> np.ndarray:
    comparable = x.astype("f4") if x.dtype == BFLOAT16 else x
    return np.argsort(comparable, axis=axis, kind="stable")


def check(
    x: np.ndarray, axis: int, target: Target, threads: tuple = THREADS
) -> list[int]:
    """Check both results; return how many pieces the last job had."""
    order = stable_order(x, axis)
    wanted = {"sort": np.take_along_axis(x, order, axis), "argsort": order}
    for threading, seed in threads:
        for name, want in wanted.items():
            ran = run_step(name, {"axis": axis}, [x], target, threading, seed)
            assert ran is not None
            (found,) = ran.outputs
            assert found.dtype == want.dtype
            assert found.tobytes() == want.tobytes()
            assert ran.error == (0, 0)
    return ran.pieces


def values(dtype: np.dtype, shape: int | tuple[int, ...], seed: int) -> np.ndarray:
    """Any bit patterns, but for booleans: NaNs of all kinds, subnormal numbers."""
    rng = np.random.default_rng(seed)
    if dtype.kind == "b":
        return rng.integers(0, 2, shape).astype(dtype)
    bits = np.dtype(BITS[dtype.itemsize])
    return rng.integers(0, np.iinfo(bits).max, shape, bits, True).view(dtype)


def lengths(dtype: np.dtype, target: Target) -> list[int]:
    """Around vectors, and on both sides of each change of method."""
    width = 8 * dtype.itemsize
    last = max(n for n in range(256) if ranks.is_short(target, width, n))
    if target != HOST:
        return [33, last + 1]
    return [1, 2, 3, 15, 16, 31, 32, 33, last, last + 1]


@pytest.mark.parametrize(("dtype", "target"), on_targets(DTYPES, 3), ids=named)
def test_every_dtype_and_length(dtype: np.dtype, target: Target) -> None:
    first = DTYPES.index(dtype) % 2  # the two next to each other have all
    for n in {*lengths(dtype, target)[first::2], *lengths(dtype, target)[-2:]}:
        check(values(dtype, n, n), 0, target, THREADS[:1])


@ALL_TARGETS
@pytest.mark.parametrize("dtype", ["f2", "u2", "f4", "i8", "f8"])
def test_networks(dtype: str, target: Target) -> None:
    cells = Cells(np.dtype(dtype), False)
    fitting = [n for n in range(3000) if network.is_networked(target, cells, n)]
    for n in {20, fitting[-1] // 3, fitting[-1], fitting[-1] + 1}:
        x = np.random.default_rng(n).normal(size=n) * 1000
        x = (np.abs(x) if dtype[0] == "u" else x).astype(dtype)
        check(x, 0, target, THREADS[:1])
        x[n // 2] = x.max()
        x[[0, -1]] = 0
        check(x, 0, target, THREADS[:1])
        if dtype[0] == "f":
            x[n // 3], x[-2] = -0.0, np.nan
            check(x, 0, target, THREADS[:1])


@pytest.mark.parametrize(
    ("dtype", "target"), on_targets(["i2", "i4", "f4", "i8", "f8"], 3), ids=named
)
def test_networks_sort_all_zeros_and_ones(dtype: str, target: Target) -> None:
    # What sorts all of these sorts everything (the 0-1 principle).
    for n in (2, 3, 5, 7, 8, 9, 15, 16):
        rows = np.arange(1 << n)[:, np.newaxis] >> np.arange(n) & 1
        ran = run_step("sort", {"axis": 1}, [rows.astype(dtype)], target)
        assert ran is not None
        np.testing.assert_array_equal(ran.outputs[0], np.sort(rows, axis=1))


@pytest.mark.parametrize(("dtype", "target"), on_targets(["i4", "f8"], 2), ids=named)
@pytest.mark.parametrize("first", [17, 129, 257])
def test_networks_merge_all_lengths(dtype: str, target: Target, first: int) -> None:
    for n in range(first, 2 * first, first // 8):
        for x in (np.random.default_rng(n).permutation(n), np.arange(n)[::-1]):
            check(np.roll(x, n // 3).astype(dtype), 0, target, THREADS[:1])


@ALL_TARGETS
@pytest.mark.parametrize("dtype", ["i4", "f8"])
def test_digits_change_with_the_length(dtype: str, target: Target) -> None:
    for n in (4095, 4096):
        check(values(np.dtype(dtype), n, n), 0, target, THREADS[:1])
    narrow, wide = (row.digits_of(32, n) for n in (4095, 4096))
    assert (narrow.bits, narrow.count, wide.bits, wide.count) == (8, 4, 11, 3)


@pytest.fixture
def early_splits(monkeypatch: pytest.MonkeyPatch) -> None:
    """Rows of a thousand elements are long."""
    monkeypatch.setattr(split, "_LEAST", 1000)
    monkeypatch.setattr(network, "_MOST", {"avx512": (64, 64), "avx2": (64, 64)})


def parted(monkeypatch: pytest.MonkeyPatch) -> None:
    """Even rows of some hundred elements are parted by pivots."""
    monkeypatch.setattr(network, "_MOST", {})
    monkeypatch.setattr(quick, "_LEAST_BITS", {"avx512": 32, "avx2": 32})
    monkeypatch.setattr(rows, "is_short", lambda *_: False)


@pytest.mark.parametrize("isa", ["avx512", "avx2"])
@pytest.mark.parametrize(
    ("dtype", "depth"), in_turn(["i4", "u4", "f4", "i8", "u8", "f8"], [0, 3])
)
def test_rows_are_parted(
    dtype: str, depth: int, isa: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    target = next((t for t in targets() if t.name == isa), None)
    if target is None:
        pytest.skip(f"the processor has no {isa}")
    parted(monkeypatch)
    monkeypatch.setattr(quick, "_DEPTH", depth)  # parts are sorted by digits beyond
    monkeypatch.setattr(quick, "_MANY", 1000)
    for n in (129, 5003):
        for x in shapes_of_data(np.dtype(dtype), n).values():
            check(x, 0, target, THREADS[:1])
            if dtype[0] == "f":
                usual = np.where(np.isfinite(x) & (x != 0), x, x.dtype.type(1))
                check(usual, 0, target, THREADS[:1])


@ALL_DTYPES
@pytest.mark.usefixtures("early_splits")
def test_long_rows_are_split_between_threads(dtype: np.dtype) -> None:
    x = values(dtype, 5003, 1)
    # Counted and moved in two pieces for each thread; sorted in sixteen parts.
    assert check(x, 0, HOST, SHARED) == [6, 6, 16]


@ALL_TARGETS
@pytest.mark.usefixtures("early_splits")
def test_rows_are_long_from_a_length_on(target: Target) -> None:
    for n in (999, 1000):
        x = values(np.dtype("f4"), n, 1)
        assert check(x, 0, target) == ([6, 6, 16] if n == 1000 else [])


@pytest.mark.parametrize("n", [16_385, 70_001, 140_001])
def test_large_rows_have_more_parts(n: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(split, "_LARGE", 1 << 16)
    bits = split._parts_of(4 * n, 2, False).bits
    assert bits == {16_385: 4, 70_001: 5, 140_001: 6}[n]
    check(values(np.dtype("f4"), n, 1), 0, HOST, THREADS[:1])


def test_parts_for_threads_alone_are_as_few_as_these_want() -> None:
    bits = {t: split._parts_of(1 << 30, t, True).bits for t in (1, 3, 4, 8, 64)}
    assert bits == {1: 4, 3: 4, 4: 5, 8: 6, 64: 6}


def shapes_of_data(dtype: np.dtype, n: int) -> dict[str, np.ndarray]:
    x = np.sort(values(dtype, n, 5))
    place = np.arange(n)
    last = x.copy()
    last[-1] = x[0]
    return {
        "sorted": x,
        "reversed": x[::-1].copy(),
        "equal": np.full(n, x[n // 2]),
        "few": x[place * 7919 % 16],
        "one odd": np.where(place == n // 3, x[-1], x[0]).astype(dtype),
        "nearly": last,
        "saw": x[place * 3 % n],
        "halves": np.concatenate([x[n // 2 :], x[: n // 2]]),
    }


@ALL_TARGETS
@pytest.mark.parametrize("dtype", ["u1", "i4", "f8"])
@pytest.mark.usefixtures("early_splits")
def test_all_kinds_of_data(dtype: str, target: Target) -> None:
    for n, threads in ((50, THREADS[:1]), (600, THREADS[:1]), (1500, SHARED)):
        for x in shapes_of_data(np.dtype(dtype), n).values():
            check(x, 0, target, threads)


@ALL_TARGETS
@pytest.mark.parametrize("dtype", FLOATS, ids=lambda d: d.name)
@pytest.mark.usefixtures("early_splits")
def test_what_is_no_number_comes_last_and_zeros_are_equal(
    dtype: np.dtype, target: Target
) -> None:
    bits = np.dtype(BITS[dtype.itemsize])
    sign = bits.type(1 << 8 * dtype.itemsize - 1)
    infinity = np.array(np.inf, dtype).view(bits)
    patterns = [0, 1, 2, infinity - 1, infinity, infinity + 1, sign - bits.type(1)]
    special = np.array([*patterns, *(p | sign for p in map(bits.type, patterns))], bits)
    for n, threads in ((14, THREADS[:1]), (300, THREADS[:1]), (2000, SHARED)):
        x = np.random.default_rng(n).choice(special, n).view(dtype)
        check(x, 0, target, threads)
        ran = run_step("sort", {"axis": 0}, [x], target, *threads[0])
        assert ran is not None
        (found,) = ran.outputs
        before, after = x.view(bits), found.view(bits)
        sizes = after & ~sign
        none = np.count_nonzero(before & ~sign > infinity)
        assert (sizes[: n - none] <= infinity).all()
        assert (sizes[n - none :] > infinity).all()
        zeros = before[before & ~sign == 0]
        np.testing.assert_array_equal(after[sizes == 0], zeros)


PLACES = itertools.product(
    ["f2", "u4", "f4", "i8", "f8"], [((0, 1), (250, 251)), ((590, 600),)]
)


@pytest.mark.parametrize(
    ("dtype", "places", "target"), on_targets(PLACES, 3), ids=named
)
def test_only_some_places(
    dtype: str,
    places: tuple[tuple[int, int], ...],
    target: Target,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    parted(monkeypatch)
    index = np.concatenate([np.arange(*ends) for ends in places])
    for n, axis in ((600, 1), (3001, 0)):
        for x in shapes_of_data(np.dtype(dtype), n).values():
            check_places(np.stack([x, x[::-1]], 1 - axis), axis, places, index, target)


def check_places(
    x: np.ndarray,
    axis: int,
    places: tuple[tuple[int, int], ...],
    index: np.ndarray,
    target: Target,
) -> None:
    order = stable_order(x, axis)
    wanted = {"kth": np.take_along_axis(x, order, axis), "argkth": order}
    for name, want in wanted.items():
        ran = run_step(name, {"axis": axis, "places": places}, [x], target)
        assert ran is not None
        (found,) = ran.outputs
        assert found.tobytes() == np.take(want, index, axis).tobytes()


LAYOUTS = {
    "dense": lambda x: x,
    "transposed": lambda x: np.ascontiguousarray(x.transpose(2, 0, 1)).transpose(
        1, 2, 0
    ),
    "reversed": lambda x: np.ascontiguousarray(x[:, ::-1, ::-1])[:, ::-1, ::-1],
    "strided": lambda x: np.repeat(x, 2, axis=2)[..., ::2],
    "broadcast": lambda x: np.broadcast_to(x[:1, :, :1], x.shape),
}


@pytest.mark.parametrize("axis", [0, 1, 2])
@pytest.mark.parametrize("form", LAYOUTS)
def test_any_axis_of_any_layout(form: str, axis: int) -> None:
    x = values(np.dtype("f4"), (5, 34, 7), 3)
    check(LAYOUTS[form](x), axis, HOST, SHARED)


@ALL_TARGETS
@pytest.mark.parametrize(
    ("dtype", "shape", "axis"),
    [
        *(("i8", (300, 3, 2), 0), ("u1", (2, 1, 400), 1), ("f2", (19, 20), 0)),
        # Collected in squares of vectors: whole groups, and what is left of them.
        *(("f4", (150, 37), 0), ("f8", (512, 9), 0), ("i4", (2, 33, 16), 1)),
    ],
)
def test_axes(dtype: str, shape: tuple[int, ...], axis: int, target: Target) -> None:
    check(values(np.dtype(dtype), shape, 3), axis, target)


@pytest.mark.usefixtures("early_splits")
def test_few_long_rows_in_any_layout() -> None:
    x = values(np.dtype("f4"), (2, 1300), 8)
    across = np.ascontiguousarray(x.T)
    for array, axis in ((x, 1), (across, 0), (np.repeat(x, 2, axis=1)[:, ::2], 1)):
        assert check(array, axis, HOST, SHARED) == [6, 6, 16] * 2


def test_many_rows_are_shared() -> None:
    x = values(np.dtype("f4"), (48, 200), 9)
    assert check(x, 1, HOST, SHARED) == [12]  # of four rows: four for each thread


arrays = hnp.arrays(
    st.sampled_from([np.dtype(c) for c in ("f2", "f4", "f8", "i1", "i8")]),
    st.sampled_from([(2,), (40,), (3, 300)]),
    fill=st.nothing(),
)


@settings(max_examples=80, deadline=None)
@given(arrays)
def test_as_numpy_sorts(x: np.ndarray) -> None:
    check(x, x.ndim - 1, HOST, THREADS[:1])
    (want,) = REGISTRY["sort"].evaluate([x], {"axis": x.ndim - 1})
    ran = run_step("sort", {"axis": x.ndim - 1}, [x], HOST)
    assert ran is not None
    np.testing.assert_array_equal(ran.outputs[0], want)


def test_numbers_that_are_none_are_last_in_the_interpreter_too() -> None:
    x = np.array([1, np.nan, -2, np.inf, -np.nan, 0], BFLOAT16)
    for dtype in (BFLOAT16, np.dtype(ml_dtypes.float8_e5m2)):
        (found,) = REGISTRY["sort"].evaluate([x.astype(dtype)], {"axis": 0})
        assert found.dtype == dtype
        np.testing.assert_array_equal(
            found.astype("f4"), np.array([-2, 0, 1, np.inf, np.nan, np.nan], "f4")
        )
        (order,) = REGISTRY["argsort"].evaluate([x.astype(dtype)], {"axis": 0})
        np.testing.assert_array_equal(order, [2, 5, 0, 3, 1, 4])


def test_nothing_complex_and_float8_are_numpys() -> None:
    for x in (
        np.ones((0, 3), "f4"),
        np.ones((3, 0), "f4"),
        np.ones(4, "c8"),
        np.ones(4, ml_dtypes.float8_e4m3fn),
    ):
        assert run_step("sort", {"axis": 0}, [x], HOST) is None
        assert run_step("argsort", {"axis": 0}, [x], HOST) is None
