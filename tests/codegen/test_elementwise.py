"""Every primitive on every dtype that `can_emit` accepts computes what `impl` does."""

import ctypes
import itertools
import warnings

import ml_dtypes
import numpy as np
import pytest

from tracejit.codegen.llvm.elementwise import can_emit, emit
from tracejit.codegen.llvm.target import Target, host_target
from tracejit.codegen.llvm.text import Emitter, module_text, vec
from tracejit.codegen.llvm.values import memory_type, narrow, widen
from tracejit.errors import TracejitError
from tracejit.ir import dtypes as dt
from tracejit.ir.aval import ShapedArray
from tracejit.ir.ops.elementwise import bitcast_p, convert_p, select_p
from tracejit.ir.primitive import REGISTRY, Kind, Primitive
from tracejit.runtime.cpu.engine import engine_for

REAL_DTYPES = [d for d in dt.DTYPE_TO_NAME if d.kind != "c"]
# One IEEE operation, a choice, or an integer: the same bits as NumPy.
EXACT = frozenset(
    [
        "neg",
        "add",
        "sub",
        "mul",
        "div",
        "fma",
        "floor_divide",
        "remainder",
        "fmod",
        "maximum",
        "minimum",
        "fmax",
        "fmin",
        "abs",
        "sign",
        "floor",
        "ceil",
        "trunc",
        "rint",
        "copysign",
        "nextafter",
        "sqrt",
        "and",
        "or",
        "xor",
        "not",
        "shift_left",
        "shift_right",
        "eq",
        "ne",
        "lt",
        "le",
        "gt",
        "ge",
        "isnan",
        "isinf",
        "isfinite",
        "signbit",
        "select",
        "convert",
        "bitcast",
        "stop_gradient",
    ]
)


def targets() -> list[Target]:
    found = []
    for isa in ("avx512", "avx2", "baseline", "generic"):
        try:
            found.append(host_target(isa))
        except TracejitError:
            continue
    return found


def samples(dtype: np.dtype, arity: int) -> list[np.ndarray]:
    """Return all pairs (or triples) of numbers where things happen."""
    if dtype.kind == "b":
        values = np.array([False, True])
    elif dtype.kind in "iu":
        info = np.iinfo(dtype)
        picks = [info.min, info.min + 1, info.max, info.max - 1, 0, 1, 2, 3, 5, 7]
        picks += [100] + ([-1, -2, -7] if dtype.kind == "i" else [8, 31, 33])
        values = np.array(picks, dtype)
    else:
        tiny = float(ml_dtypes.finfo(dtype).tiny)
        numbers = [0.0, -0.0, 1.0, -1.0, 0.5, 1.5, -2.5, 3.0, 100.25, -7.0, 1e-3, tiny]
        numbers += [tiny / 4, np.inf, -np.inf, np.nan, 0.1, 6.3]
        values = np.array(numbers).astype(dtype)
    columns = np.array(list(itertools.product(range(len(values)), repeat=arity))).T
    return [np.ascontiguousarray(values[c]) for c in columns]


def compile_one(primitive, params, ins, out, lanes, target):  # type: ignore[no-untyped-def]
    em = Emitter()
    with em.loop(0, "%n", lanes) as loop:
        regs = []
        for k, d in enumerate(ins):
            at = em.gep(memory_type(d), f"%x{k}", loop.index)
            raw = em.load(vec(memory_type(d), lanes), at, d.itemsize)
            regs.append(widen(em, d, raw, lanes))
        value = emit(em, target, primitive, params, ins, regs, lanes)
        at = em.gep(memory_type(out), "%out", loop.index)
        stored = narrow(em, out, value, lanes)
        em.store(vec(memory_type(out), lanes), stored, at, out.itemsize)
        loop.yield_([])
    em.ret()
    heads = [f"ptr %x{k}" for k in range(len(ins))]
    function = em.function("f", [*heads, "ptr %out", "i64 %n"])
    text = module_text(
        target, em.declarations.values(), [function], em.globals_.values()
    )
    return engine_for(target).load(text)


def run(primitive, params, arrays, out, lanes, target):  # type: ignore[no-untyped-def]
    ins = [a.dtype for a in arrays]
    library = compile_one(primitive, params, ins, out, lanes, target)
    n = arrays[0].size
    padded = [np.concatenate([a, np.ones(-n % lanes, a.dtype)]) for a in arrays]
    result = np.empty(padded[0].size, out)
    types = [ctypes.c_void_p] * (len(arrays) + 1) + [ctypes.c_int64]
    call = ctypes.CFUNCTYPE(None, *types)(library.address("f"))
    call(*[a.ctypes.data for a in padded], result.ctypes.data, padded[0].size)
    return result[:n]


def assert_same(name: str, got: np.ndarray, expected: np.ndarray) -> None:
    expected = np.asarray(expected)
    assert got.dtype == expected.dtype
    if got.dtype.kind in "biu":
        np.testing.assert_array_equal(got, expected)
        return
    wide, reference = got.astype(np.float64), expected.astype(np.float64)
    if name in EXACT:
        np.testing.assert_array_equal(wide, reference)
        if name not in ("maximum", "minimum", "fmax", "fmin"):  # ties of zeros
            numbers = ~np.isnan(reference)
            signs = np.signbit(wide) == np.signbit(reference)
            assert signs[numbers].all()
    else:
        eps = float(ml_dtypes.finfo(got.dtype).eps)
        tiny = float(ml_dtypes.finfo(got.dtype).smallest_subnormal)
        np.testing.assert_allclose(wide, reference, rtol=4 * eps, atol=4 * tiny)


def arity_of(primitive: Primitive) -> int:
    assert primitive.partials is not None
    return len(primitive.partials)


def accepted() -> list[tuple[Primitive, np.dtype]]:
    special = (bitcast_p, convert_p, select_p)
    found = []
    for primitive in REGISTRY.values():
        if primitive.kind is not Kind.ELEMENTWISE or primitive in special:
            continue
        for dtype in dt.DTYPE_TO_NAME:
            operands = (dtype,) * arity_of(primitive)
            if can_emit(primitive, operands):
                found.append((primitive, dtype))
    return found


def valid(primitive: Primitive, dtype: np.dtype) -> bool:
    try:
        primitive.abstract_eval(*[ShapedArray((2,), dtype)] * arity_of(primitive))
    except TracejitError:
        return False
    return True


CASES = [(p, d) for p, d in accepted() if valid(p, d)]
NAMES = sorted({p.name for p, _ in CASES})


@pytest.mark.parametrize("target", targets(), ids=lambda t: t.name)
@pytest.mark.parametrize("name", NAMES)
def test_primitive_matches_impl(name: str, target: Target) -> None:
    for primitive, dtype in CASES:
        if primitive.name != name:
            continue
        arrays = samples(dtype, arity_of(primitive))
        with warnings.catch_warnings(), np.errstate(all="ignore"):
            warnings.simplefilter("ignore")
            (expected,) = primitive.evaluate(arrays, {})
        for lanes in (1, target.lanes(32)):
            got = run(primitive, {}, arrays, expected.dtype, lanes, target)
            assert_same(name, got, expected)


def test_what_is_not_emitted() -> None:
    """The table says no to complex numbers and to what has no rule."""
    for primitive in REGISTRY.values():
        if primitive.kind is Kind.ELEMENTWISE and primitive.partials is not None:
            assert not can_emit(primitive, (np.dtype("c8"),) * arity_of(primitive))
        if primitive.kind is not Kind.ELEMENTWISE:
            assert not can_emit(primitive, (np.dtype("f4"),))


def convertible(source: np.dtype, to: np.dtype) -> np.ndarray:
    """Return values of `source` that `to` can hold, and infinities among floats."""
    if source.kind == "b":
        return np.array([False, True])
    if source.kind in "iu":
        values = samples(source, 1)[0]
    else:
        values = np.array([0, -0.0, 1, 2.75, 100.5, 0.3, 1.01, 3e-5, 65519, 65520, 7e4])
        values = np.concatenate([values, -values, [1e-41, 2.0**-25, np.inf, np.nan]])
        with np.errstate(over="ignore"):
            values = values.astype(source)
    if to.kind in "iu" and source.kind not in "biu":
        wide = values.astype(np.float64)
        info = np.iinfo(to)
        values = values[(wide > info.min - 1.0) & (wide < info.max) & np.isfinite(wide)]
    return values


@pytest.mark.parametrize("target", targets(), ids=lambda t: t.name)
@pytest.mark.parametrize("source", REAL_DTYPES, ids=dt.dtype_name)
def test_convert(source: np.dtype, target: Target) -> None:
    for to in REAL_DTYPES:
        assert can_emit(convert_p, (source, to))
        x = convertible(source, to)
        with np.errstate(all="ignore"):
            expected = x.astype(to)
        for lanes in (1, target.lanes(32)):
            got = run(convert_p, {"dtype": to}, [x], to, lanes, target)
            assert_same("convert", got, expected)


def all_bits(dtype: np.dtype) -> np.ndarray:
    """Return values of all kinds, among floats no signaling NaN."""
    rng = np.random.default_rng(5)
    if dtype.kind == "b":
        return np.array([False, True])
    if dtype.kind in "iu":
        info = np.iinfo(dtype)
        return rng.integers(info.min, info.max, 97, dtype, endpoint=True)
    x = (rng.normal(size=97) * 3).astype(dtype)
    x[:4] = [0.0, -0.0, 1.5, -1.0]
    return x


@pytest.mark.parametrize("target", targets(), ids=lambda t: t.name)
@pytest.mark.parametrize("source", REAL_DTYPES, ids=dt.dtype_name)
def test_bitcast(source: np.dtype, target: Target) -> None:
    for to in REAL_DTYPES:
        if to.itemsize != source.itemsize:
            continue
        x = all_bits(source)
        (expected,) = bitcast_p.evaluate([x], {"dtype": to})
        bits = np.dtype(f"u{to.itemsize}")
        numbers = expected.view(bits) if to.kind != "b" else expected
        is_number = expected == expected  # NaN: which one is the format's business
        for lanes in (1, target.lanes(32)):
            got = run(bitcast_p, {"dtype": to}, [x], to, lanes, target)
            got = got.view(bits) if to.kind != "b" else got
            np.testing.assert_array_equal(got[is_number], numbers[is_number])


@pytest.mark.parametrize("target", targets(), ids=lambda t: t.name)
def test_select(target: Target) -> None:
    for dtype in REAL_DTYPES:
        x, y = samples(dtype, 2)
        cond = np.arange(x.size) % 3 == 0
        got = run(select_p, {}, [cond, x, y], dtype, target.lanes(32), target)
        assert_same("select", got, np.where(cond, x, y))
