"""Every primitive on every dtype that `can_emit` accepts computes what `impl` does."""

import ctypes
import itertools
import warnings
from collections.abc import Sequence
from dataclasses import dataclass

import ml_dtypes
import numpy as np
import pytest

from tests.sampling import in_turn
from tracejit.codegen.llvm.elementwise import can_emit, emit
from tracejit.codegen.llvm.emission import ModuleScope
from tracejit.codegen.llvm.target import Target, host_target
from tracejit.codegen.llvm.text import Emitter, module_text, vec
from tracejit.codegen.llvm.values import memory_type, narrow, widen
from tracejit.errors import TracejitError
from tracejit.ir import dtypes as dt
from tracejit.ir.aval import ShapedArray
from tracejit.ir.ops.elementwise import bitcast_p, convert_p, select_p
from tracejit.ir.primitive import REGISTRY, Kind, Params, Primitive
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


@dataclass(frozen=True)
class Call:
    """A primitive on arrays, for so many lanes at once."""

    primitive: Primitive
    params: Params
    arrays: Sequence[np.ndarray]
    out: np.dtype
    lanes: int


def function_of(em: Emitter, name: str, call: Call, target: Target) -> str:
    """Return a function that reads, computes and stores block by block."""
    ins, out, lanes = [a.dtype for a in call.arrays], call.out, call.lanes
    with em.loop(0, "%n", lanes) as loop:
        regs = []
        for k, d in enumerate(ins):
            at = em.gep(memory_type(d), f"%x{k}", loop.index)
            raw = em.load(vec(memory_type(d), lanes), at, d.itemsize)
            regs.append(widen(em, d, raw, lanes))
        value = emit(em, target, call.primitive, call.params, ins, regs, lanes)
        at = em.gep(memory_type(out), "%out", loop.index)
        stored = narrow(em, out, value, lanes)
        em.store(vec(memory_type(out), lanes), stored, at, out.itemsize)
        loop.yield_([])
    em.ret()
    heads = [f"ptr %x{k}" for k in range(len(ins))]
    return em.function(name, [*heads, "ptr %out", "i64 %n"])


def run_all(calls: Sequence[Call], target: Target) -> list[np.ndarray]:
    """Return what calls give; one module has a function for each of them."""
    scope = ModuleScope()
    texts = [
        function_of(scope.emitter(), f"f{k}", c, target) for k, c in enumerate(calls)
    ]
    text = module_text(
        target, scope.declarations.values(), texts, scope.globals_.values()
    )
    library = engine_for(target).load(text)
    return [_ran(c, library.address(f"f{k}")) for k, c in enumerate(calls)]


def _ran(call: Call, address: int) -> np.ndarray:
    n, lanes = call.arrays[0].size, call.lanes
    padded = [np.concatenate([a, np.ones(-n % lanes, a.dtype)]) for a in call.arrays]
    result = np.empty(padded[0].size, call.out)
    types = [ctypes.c_void_p] * (len(padded) + 1) + [ctypes.c_int64]
    function = ctypes.CFUNCTYPE(None, *types)(address)
    function(*[a.ctypes.data for a in padded], result.ctypes.data, result.size)
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


@pytest.mark.parametrize(
    ("name", "target"), in_turn(NAMES, targets()), ids=lambda x: getattr(x, "name", x)
)
def test_primitive_matches_impl(name: str, target: Target) -> None:
    calls, expected = [], []
    for primitive, dtype in CASES:
        if primitive.name != name:
            continue
        arrays = samples(dtype, arity_of(primitive))
        with warnings.catch_warnings(), np.errstate(all="ignore"):
            warnings.simplefilter("ignore")
            (result,) = primitive.evaluate(arrays, {})
        for lanes in (1, target.lanes(32)):
            calls.append(Call(primitive, {}, arrays, result.dtype, lanes))
            expected.append(result)
    for got, want in zip(run_all(calls, target), expected, strict=True):
        assert_same(name, got, want)


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
    calls, expected = [], []
    for to in REAL_DTYPES:
        assert can_emit(convert_p, (source, to))
        x = convertible(source, to)
        with np.errstate(all="ignore"):
            result = x.astype(to)
        for lanes in (1, target.lanes(32)):
            calls.append(Call(convert_p, {"dtype": to}, [x], to, lanes))
            expected.append(result)
    for got, want in zip(run_all(calls, target), expected, strict=True):
        assert_same("convert", got, want)


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
    x = all_bits(source)
    calls = [
        Call(bitcast_p, {"dtype": to}, [x], to, lanes)
        for to in REAL_DTYPES
        if to.itemsize == source.itemsize
        for lanes in (1, target.lanes(32))
    ]
    for call, got in zip(calls, run_all(calls, target), strict=True):
        (expected,) = bitcast_p.evaluate([x], call.params)
        bits = np.dtype(f"u{call.out.itemsize}") if call.out.kind != "b" else call.out
        is_number = expected == expected  # NaN: which one is the format's business
        numbers = expected.view(bits)[is_number]
        np.testing.assert_array_equal(got.view(bits)[is_number], numbers)


@pytest.mark.parametrize("target", targets(), ids=lambda t: t.name)
def test_select(target: Target) -> None:
    calls = []
    for dtype in REAL_DTYPES:
        x, y = samples(dtype, 2)
        cond = np.arange(x.size) % 3 == 0
        calls.append(Call(select_p, {}, [cond, x, y], dtype, target.lanes(32)))
    for call, got in zip(calls, run_all(calls, target), strict=True):
        assert_same("select", got, np.where(*call.arrays))
