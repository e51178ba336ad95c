"""Scatters as LLVM functions: NumPy's bits, for any layout, target and threads."""

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import pytest

import tracejit as tj
from tracejit.codegen.error_word import index_place
from tracejit.codegen.llvm.program import emit_program
from tracejit.codegen.llvm.sharing import JOB_SYMBOL, SERIAL, Threading
from tracejit.codegen.llvm.steps import scatter
from tracejit.codegen.llvm.target import Target, host_target
from tracejit.ir.dtypes import NAME_TO_DTYPE
from tracejit.ir.primitive import REGISTRY, Params
from tracejit.runtime.cpu.externs import resolve_loop

from ..building import targets
from .running import Ran, run_step

ALL_TARGETS = pytest.mark.parametrize("target", targets(), ids=lambda t: t.name)
OPS = ("add", "set", "max", "min", "mul")
THREADS = ((SERIAL, None), (Threading(2, 0), 3), (Threading(5, 0), 4))
REAL = sorted(n for n, d in NAME_TO_DTYPE.items() if d.kind in "biuf" or n == "bf16")


def params_of(op: str, axes: tuple[int, ...] = (0,), **others: object) -> Params:
    return {"op": op, "axes": axes, "batch": 0, "mode": "raise", **others}  # type: ignore[dict-item]


def values(rng: np.random.Generator, shape: tuple[int, ...], dtype: str) -> np.ndarray:
    found = rng.normal(size=shape) * 3
    if NAME_TO_DTYPE[dtype].kind == "c":
        found = found + 1j * rng.normal(size=shape)
    if NAME_TO_DTYPE[dtype].kind == "u":
        found = np.abs(found)
    with np.errstate(all="ignore"):
        return np.asarray(found).astype(NAME_TO_DTYPE[dtype])


def evaluated(inputs: list[np.ndarray], params: Params) -> np.ndarray:
    with np.errstate(all="ignore"):
        return np.asarray(REGISTRY["scatter"].evaluate(inputs, params)[0])


def check(
    inputs: list[np.ndarray],
    params: Params,
    target: Target,
    threads: Sequence[tuple[Threading, int | None]] = THREADS,
) -> list[Ran]:
    """Compare with NumPy to the bit, on one thread and on several."""
    want = evaluated(inputs, params)
    ran = []
    for threading, seed in threads:
        found = run_step("scatter", params, inputs, target, threading, seed)
        assert found is not None
        assert found.error == (0, 0)
        assert found.outputs[0].tobytes() == want.tobytes(), threading
        ran.append(found)
    return ran


@ALL_TARGETS
@pytest.mark.parametrize("width", [1, 3, 16, 37, 300])
def test_rows_are_added_in_their_order(width: int, target: Target) -> None:
    rng = np.random.default_rng(width)
    x, updates = values(rng, (50, width), "f32"), values(rng, (1300, width), "f32")
    index = rng.integers(-50, 50, 1300)
    serial, *shared = check([x, updates, index], params_of("add"), target)
    assert serial.pieces == []
    assert [len(ran.pieces) for ran in shared] == [1, 1]
    assert serial.code.shared_ns == 0 < shared[1].code.shared_ns


@ALL_TARGETS
@pytest.mark.parametrize("op", OPS)
@pytest.mark.parametrize("dtype", [*REAL, "c64", "c128"])
def test_operations_are_numpys(dtype: str, op: str, target: Target) -> None:
    is_complex = dtype.startswith("c")
    if is_complex and op not in ("add", "set"):
        assert run_step("scatter", params_of(op), case(dtype), target) is None
    else:
        check(case(dtype), params_of(op), target, THREADS[:1])


def case(dtype: str) -> list[np.ndarray]:
    rng = np.random.default_rng(5)
    index = rng.integers(0, 9, (7, 4)).astype("i4")
    return [values(rng, (9, 5), dtype), values(rng, (7, 4, 5), dtype), index]


@ALL_TARGETS
def test_nan_and_signed_zeros(target: Target) -> None:
    x = np.array([0.0, -0.0, 1, np.nan, -np.inf], "f4")
    updates = np.array([-0.0, 0.0, np.nan, 2, np.inf, -0.0, np.nan], "f4")
    index = np.array([0, 1, 2, 3, 4, 1, 2])
    for op in OPS:
        want = evaluated([x, updates, index], params_of(op))
        found = run_step("scatter", params_of(op), [x, updates, index], target)
        assert found is not None
        np.testing.assert_array_equal(found.outputs[0], want)
        if op in ("add", "set"):
            np.testing.assert_array_equal(
                np.signbit(found.outputs[0]), np.signbit(want)
            )


def layout(rng: np.random.Generator, array: np.ndarray) -> np.ndarray:
    """Return an array of the same shape, laid out somehow."""
    kind = rng.integers(5)
    if kind == 0 and array.ndim:
        order = rng.permutation(array.ndim)
        return np.ascontiguousarray(array.transpose(order)).transpose(np.argsort(order))
    if kind == 1 and array.ndim:
        wide = np.repeat(array, 2, axis=-1)
        return wide[..., ::2]
    if kind == 2 and array.ndim:
        return np.ascontiguousarray(array[::-1])[::-1]
    if kind == 3 and array.ndim and array.size:
        return np.broadcast_to(array[:1], array.shape)
    return array


@ALL_TARGETS
@pytest.mark.parametrize("seed", range(24))
def test_random_forms(
    seed: int, target: Target, monkeypatch: pytest.MonkeyPatch
) -> None:
    if seed % 2:  # rows of small results are fetched as those of large ones
        monkeypatch.setattr(scatter, "_NEAR", 0)
    rng = np.random.default_rng(seed)
    ndim = int(rng.integers(1, 5))
    shape = tuple(int(n) for n in rng.integers(1, 7, ndim))
    batch = int(rng.integers(0, min(ndim, 3)))
    chosen = batch + rng.permutation(ndim - batch)[: rng.integers(1, 3)]
    axes = tuple(int(a) for a in chosen)
    more = rng.integers(1, 40, rng.integers(0, 3))
    inner = (*shape[:batch], *(int(n) for n in more))
    rest = tuple(n for d, n in enumerate(shape) if d >= batch and d not in axes)
    mode = ("raise", "clip")[int(rng.integers(2))]
    indices = []
    for axis in axes:
        low, high = -shape[axis], shape[axis] - 1
        if mode == "clip":
            low, high = low - 3, high + 3
        dtype = rng.choice(["i1", "i4", "i8"])
        found = rng.integers(low, high, inner, endpoint=True).astype(dtype)
        indices.append(layout(rng, np.asarray(found)))
    dtype = str(rng.choice(["f32", "f64", "i16", "bf16", "bool", "c64"]))
    op = str(rng.choice(OPS if dtype != "c64" else OPS[:2]))
    x, updates = values(rng, shape, dtype), values(rng, (*inner, *rest), dtype)
    params = params_of(op, axes, batch=batch, mode=mode)
    check([layout(rng, x), layout(rng, updates), *indices], params, target)


@ALL_TARGETS
@pytest.mark.parametrize("dtype", ["u1", "u8", "i2"])
def test_indices_of_any_dtype(dtype: str, target: Target) -> None:
    rng = np.random.default_rng(1)
    index = rng.integers(0, 100, 700).astype(dtype)
    inputs = [np.zeros(200), rng.normal(size=700), index]
    check(inputs, params_of("add"), target)


@ALL_TARGETS
@pytest.mark.parametrize("place", [0, 515, 999])
@pytest.mark.parametrize("bad", [7, -8, -(2**63)])
def test_the_first_index_out_of_range_is_reported(
    bad: int, place: int, target: Target
) -> None:
    index = np.arange(1000) % 7
    index[place] = bad
    index[min(place + 3, 999)] = 70 if place < 996 else bad
    inputs = [np.zeros((2, 7)), np.ones((1000, 2)), index]
    for threading, seed in THREADS:
        params = params_of("add", (1,))
        found = run_step("scatter", params, inputs, target, threading, seed)
        assert found is not None
        assert index_place(found.error[0]) == (0, 1)
        assert found.error[1] == bad


def test_without_updates_or_places_nothing_is_written() -> None:
    (target, *_) = targets()
    for places, count in ((0, 0), (3, 0)):
        inputs = [np.zeros((places, 2)), np.zeros((count, 2)), np.zeros(count, "i8")]
        assert run_step("scatter", params_of("add"), inputs, target) is None


def sums_of_rows(i: np.ndarray, u: np.ndarray) -> np.ndarray:
    out = np.zeros((1000, 16), np.float32)
    np.add.at(out, i, u)
    return out


@pytest.mark.parametrize(("threads", "is_shared"), [(2, False), (3, True), (8, True)])
def test_two_threads_would_only_read_in_leaps(threads: int, is_shared: bool) -> None:
    i, u = np.zeros(1 << 16, np.int64), np.zeros((1 << 16, 16), np.float32)
    program = tj.jit(sums_of_rows).lower(i, u).native
    code = emit_program(program, host_target(), resolve_loop, Threading(threads))
    found = [text for name, text in code.kernels.items() if "scatter" in name]
    assert len(found) == 1
    assert (JOB_SYMBOL in found[0]) is is_shared


@pytest.mark.parametrize("width", [8, 16, 100])
def test_updates_of_whole_lines_are_fetched_once_where_that_pays(width: int) -> None:
    rng = np.random.default_rng(width)
    inputs = [np.zeros((3000, width), "f4"), values(rng, (700, width), "f32")]
    inputs.append(rng.integers(-3000, 3000, 700))
    counts = []
    for pays in (False, True):
        target = replace(host_target(), has_single_reads=pays)
        (ran,) = check(inputs, params_of("add"), target, THREADS[:1])
        counts.append(ran.code.text.count("call void @llvm.prefetch"))
    lines = width * 4 // 64  # four of them at most
    assert counts[1] - counts[0] == (0, 1, 4)[min(lines, 2)]
