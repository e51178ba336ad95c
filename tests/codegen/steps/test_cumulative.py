"""Cumulative operations as LLVM functions: one order, whatever runs them."""

import itertools
import math

import numpy as np
import pytest

from tracejit.codegen.llvm.sharing import SERIAL, Threading
from tracejit.codegen.llvm.steps.cumulative import CHUNK, LEAF
from tracejit.codegen.llvm.target import Target
from tracejit.ir.primitive import REGISTRY

from ..building import named, on_targets, targets
from .running import run_step

ALL_TARGETS = pytest.mark.parametrize("target", targets(), ids=lambda t: t.name)
THREADS = ((SERIAL, None), (Threading(3, 0), 4))


def in_order(x: np.ndarray) -> np.ndarray:
    """Running sums of the last axis, in the order that the module describes."""
    out = np.empty_like(x)
    before = np.full(x.shape[:-1], -0.0, x.dtype)
    for first in range(0, x.shape[-1], LEAF):
        leaf = x[..., first : first + LEAF]
        inner = np.full(x.shape[:-1], -0.0, x.dtype)
        for at in range(0, leaf.shape[-1], CHUNK):
            y = leaf[..., at : at + CHUNK].copy()
            for step in (1, 2, 4, 8):
                y[..., step:] = y[..., :-step] + y[..., step:]
            y = inner[..., None] + y
            inner = y[..., -1]
            out[..., first + at : first + at + CHUNK] = before[..., None] + y
        before = before + inner
    return out


def check_sum(x: np.ndarray, axis: int, reverse: bool, target: Target) -> None:
    moved = np.moveaxis(x, axis, -1)
    want = in_order(np.ascontiguousarray(moved[..., :: -1 if reverse else 1]))
    want = np.moveaxis(want[..., :: -1 if reverse else 1], -1, axis)
    for threading, seed in THREADS:
        params = {"axis": axis, "reverse": reverse}
        found = run_step("cumsum", params, [x], target, threading, seed)
        assert found is not None
        assert found.outputs[0].tobytes() == want.tobytes()
    exact = REGISTRY["cumsum"].evaluate([x.astype("f8")], params)[0]
    scale = np.abs(x).max(initial=0) * np.sqrt(x.shape[axis])
    np.testing.assert_allclose(want, exact, rtol=0, atol=2e-6 * scale)


LENGTHS = itertools.product([1, 7, 16, 100, 1024, 1050, 5000], [False, True])


@pytest.mark.parametrize(("n", "reverse", "target"), on_targets(LENGTHS, 3), ids=named)
def test_sums_follow_one_order(n: int, reverse: bool, target: Target) -> None:
    rng = np.random.default_rng(n)
    check_sum(rng.normal(size=n).astype("f4"), 0, reverse, target)
    check_sum(rng.normal(size=(n, 21)).astype("f4"), 0, reverse, target)


FORMS = itertools.product(["dense", "transposed", "reversed", "strided"], [0, 1, 2])


@pytest.mark.parametrize(("form", "axis", "target"), on_targets(FORMS, 5), ids=named)
def test_layouts_have_the_same_bits(form: str, axis: int, target: Target) -> None:
    x = np.random.default_rng(3).normal(size=(18, 34, 70)).astype("f4")
    changed = {
        "dense": x,
        "transposed": np.ascontiguousarray(x.transpose(2, 0, 1)).transpose(1, 2, 0),
        "reversed": np.ascontiguousarray(x[:, ::-1, ::-1])[:, ::-1, ::-1],
        "strided": np.repeat(x, 2, axis=2)[..., ::2],
    }[form]
    check_sum(changed, axis, axis == 1, target)


OPERATIONS = itertools.product(
    ["i1", "u2", "i4", "u8", "i8", "f4", "f8"],
    ["cumsum", "cumprod", "cummax", "cummin"],
)


@pytest.mark.parametrize(
    ("dtype", "name", "target"), on_targets(OPERATIONS, 3), ids=named
)
def test_operations(dtype: str, name: str, target: Target) -> None:
    rng = np.random.default_rng(9)
    kind = np.dtype(dtype).kind
    for shape, axis in (((1203,), 0), ((90, 5), 0), ((3, 50), 1)):
        x = rng.normal(size=shape) * 9
        x = (np.abs(x) if kind == "u" else x).astype(dtype)
        if name == "cumsum" and kind == "f":
            x = np.round(x)  # sums of these are exact
        if name == "cumprod" and kind == "f":
            x = (-2.0) ** rng.integers(-1, 2, shape).astype(dtype)  # products of these
        params = {"axis": axis, "reverse": bool(axis)}
        found = run_step(name, params, [x], target)
        assert found is not None
        want = REGISTRY[name].evaluate([x], params)[0]
        np.testing.assert_array_equal(found.outputs[0], want)


def near_one(rng: np.random.Generator, n: int) -> np.ndarray:
    return 1 + rng.normal(size=n) * 0.01


FACTORS = {
    "near one": near_one,
    "normal": lambda rng, n: rng.normal(size=n),
    "vanishing": lambda rng, n: rng.uniform(0, 1, n),
    "growing": lambda rng, n: rng.uniform(1, 3, n),
    "with zeros": lambda rng, n: np.where(rng.random(n) < 0.01, 0, near_one(rng, n)),
    "of all sizes": lambda rng, n: 10.0 ** rng.uniform(-30, 30, n),
    "by turns": lambda rng, n: np.where(np.arange(n) % 2, 1e30, 1e-30),
    "with NaN": lambda rng, n: np.where(rng.random(n) < 0.01, np.nan, 1.5),
}
PRODUCTS = itertools.product(FACTORS, ["f4", "f8"])


@pytest.mark.parametrize(
    ("kind", "dtype", "target"), on_targets(PRODUCTS, 3), ids=named
)
def test_products_of_floats(kind: str, dtype: str, target: Target) -> None:
    """Parts of products neither overflow nor vanish where NumPy's do not."""
    rng = np.random.default_rng(5)
    info = np.finfo(dtype)
    for shape in ((1,), (16,), (37,), (5000,), (3, 70), (70, 33)):
        x = FACTORS[kind](rng, math.prod(shape)).astype(dtype).reshape(shape)
        for axis, reverse in itertools.product(range(x.ndim), (False, True)):
            params = {"axis": axis, "reverse": reverse}
            with np.errstate(all="ignore"):
                want = REGISTRY["cumprod"].evaluate([x], params)[0]
            bits = set()
            for threading, seed in THREADS:
                found = run_step("cumprod", params, [x], target, threading, seed)
                assert found is not None
                (got,) = found.outputs
                bits.add(got.tobytes())
            assert len(bits) == 1
            near = {
                "rtol": 2 * info.eps * np.sqrt(x.shape[axis]),
                "atol": 4 * info.tiny,
            }
            finite = np.isfinite(want) & (abs(want) < info.max / 2)
            np.testing.assert_allclose(got[finite], want[finite], **near)
            np.testing.assert_array_equal(np.isnan(got), np.isnan(want))


@ALL_TARGETS
def test_what_is_no_number_stays_none(target: Target) -> None:
    x = np.array([-0.0, -0.0, 1, np.inf, 2, -np.inf, 3, np.nan, 4], "f4")
    for name in ("cumsum", "cummax", "cummin"):
        params = {"axis": 0, "reverse": False}
        found = run_step(name, params, [x], target)
        assert found is not None
        with np.errstate(all="ignore"):
            want = np.asarray(REGISTRY[name].evaluate([x], params)[0])
        np.testing.assert_array_equal(found.outputs[0], want)
        if name == "cumsum":
            assert np.signbit(found.outputs[0][:2]).all()


def test_halves_and_nothing_are_numpys() -> None:
    (target, *_) = targets()
    for x in (np.ones(5, "f2"), np.ones((0, 3), "f4"), np.ones(4, "c8")):
        assert run_step("cumsum", {"axis": 0, "reverse": False}, [x], target) is None
