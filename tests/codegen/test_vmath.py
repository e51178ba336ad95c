"""The vector math keeps its bounds and special values on every instruction set.

float32 functions of one argument are measured on a fixed 1/1024 of all bit patterns,
and in a slow test on all of them.
"""

import re

import numpy as np
import pytest

import tracejit as tj
from tests.sampling import in_turn
from tracejit import config
from tracejit.codegen.llvm import vmath
from tracejit.codegen.llvm.target import host_target
from tracejit.codegen.llvm.text import Emitter, vec
from tracejit.codegen.llvm.vmath import SUPPORTED, emit
from tracejit.codegen.llvm.vmath.bounds import ULP_BOUNDS
from tracejit.errors import TracejitError

from .accuracy import (
    DTYPES,
    ELEMENTS,
    SPECIAL,
    WIDER,
    Compiled,
    loop_text,
    random_doubles,
    random_pairs,
    reference,
    suspects,
    ulps,
)

BINARY = ("arctan2", "hypot", "logaddexp", "pow")
# By tables in registers, or logarithms of them, where there are such.
OF_TABLES = {
    *vmath.BY_TABLES,
    *((name, "f64") for name in ("arcsinh", "arccosh", "arctanh", "logaddexp")),
}
UNARY = sorted({name for name, _ in ULP_BOUNDS} - set(BINARY))
# Odd, so that every low and high bit pattern takes part.
STRIDE = 1025


def _available() -> list[str]:
    found = []
    for isa in ("avx512", "avx2", "baseline", "generic"):
        try:
            host_target(isa)
        except TracejitError:
            continue
        found.append(isa)
    return found


ISAS = _available()


def worst(name: str, dtype: str, got: np.ndarray, args: list[np.ndarray]) -> str:
    """Return the worst case against the bound, or nothing if all are within."""
    want = reference(name, *args)
    errors = ulps(got, want)
    if name == "logaddexp":
        errors = units_of_larger(errors, got, want, args)
    at = int(np.argmax(errors))
    if errors[at] <= ULP_BOUNDS[name, dtype]:
        return ""
    return (
        f"{name}({', '.join(repr(a[at]) for a in args)}) = {got[at]!r}, exactly "
        f"{want[at]!r}: {errors[at]:.3f} ulp, bound {ULP_BOUNDS[name, dtype]}"
    )


def units_of_larger(
    errors: np.ndarray, got: np.ndarray, want: np.ndarray, args: list[np.ndarray]
) -> np.ndarray:
    """Return errors in units of the largest of the result and the arguments."""
    with np.errstate(all="ignore"):
        sizes = np.abs(np.stack([got, *args]))
        unit = np.spacing(np.where(np.isfinite(sizes), sizes, 0).max(axis=0))
        scaled = np.abs(got.astype(want.dtype) - want) / unit
    return np.where(np.isfinite(got), scaled, errors).astype(np.float64)


def bit_patterns(start: int, stop: int, step: int) -> np.ndarray:
    return np.arange(start, stop, step, dtype=np.uint64).astype(np.uint32).view("f4")


@pytest.mark.parametrize("name", UNARY)
def test_float32_over_a_sample_of_all_numbers(name: str) -> None:
    compiled = [Compiled(name, "f32", isa) for isa in ISAS]
    # In pieces that stay in the cache.
    for start in range(0, 2**32, 2**26):
        x = bit_patterns(start + (-start) % STRIDE, start + 2**26, STRIDE)
        results = [function(x) for function in compiled]
        for got in unique(results):
            assert not worst(name, "f32", got, [x])


def unique(results: list[np.ndarray]) -> list[np.ndarray]:
    """Drop results that have the bits of an earlier one."""
    kept: list[np.ndarray] = []
    for result in results:
        bits = result.view(np.uint8)
        if not any(np.array_equal(bits, other.view(np.uint8)) for other in kept):
            kept.append(result)
    return kept


@pytest.mark.slow
@pytest.mark.parametrize("name", UNARY)
def test_float32_over_all_numbers(name: str) -> None:
    # Some two minutes a function: on request only (`make slow`).
    compiled = [Compiled(name, "f32", isa) for isa in ISAS]
    for start in range(0, 2**32, 2**17):
        x = bit_patterns(start, start + 2**17, 1)
        want = reference(name, x)
        for got in unique([function(x) for function in compiled]):
            left = suspects(got, want, ULP_BOUNDS[name, "f32"])
            assert not len(left) or not worst(name, "f32", got[left], [x[left]])


@pytest.mark.parametrize("bound", [0.5, 0.8, 1.5])
def test_suspects_are_all_that_pass_the_bound(bound: float) -> None:
    """Results a little off, of every size, subnormals, zeros, infinities, NaN."""
    with np.errstate(all="ignore"):
        special = SPECIAL.astype(np.float32)
        x = np.concatenate([bit_patterns(0, 2**32, 65_537), special])
        want = x.astype(np.float64) * (1 + 2.0**-25)
        for steps in range(-2, 3):
            got = (x.view(np.int32) + steps).view(np.float32)
            beyond = np.flatnonzero(ulps(got, want) > bound)
            assert np.isin(beyond, suspects(got, want, bound)).all()
    assert len(suspects(x, want, 0.8)) < len(x) / 100


@pytest.mark.parametrize("isa", ISAS)
@pytest.mark.parametrize("name", UNARY)
def test_float64(name: str, isa: str) -> None:
    x = random_doubles(name, 8_000)
    assert not worst(name, "f64", Compiled(name, "f64", isa)(x), [x])


@pytest.mark.parametrize("isa", ISAS)
@pytest.mark.parametrize("dtype", ["f32", "f64"])
@pytest.mark.parametrize("name", BINARY)
def test_two_arguments(name: str, dtype: str, isa: str) -> None:
    args = list(random_pairs(dtype, 8_000))
    got = Compiled(name, dtype, isa, arity=2)(*args)
    assert not worst(name, dtype, got, args)


@pytest.mark.parametrize("isa", ISAS)
@pytest.mark.parametrize("dtype", ["f32", "f64"])
def test_powers_to_large_exponents(dtype: str, isa: str) -> None:
    """Of bases near 1 to the ends of the range, where logarithms must be long."""
    rng, top = np.random.default_rng(11), {"f32": 120.0, "f64": 1000.0}[dtype]
    exponent = rng.uniform(-top, top, 20_000)
    for low, high in ((0.5, 2.0), (0.9, 1.1), (0.999, 1.001), (0.0, 1e30)):
        x = rng.uniform(low, high, len(exponent)).astype(DTYPES[dtype])
        with np.errstate(all="ignore"):
            y = (exponent / np.log2(x.astype("f8"))).astype(DTYPES[dtype])
        got = Compiled("pow", dtype, isa, arity=2)(x, y)
        assert not worst("pow", dtype, got, [x, y])


@pytest.mark.parametrize("isa", ISAS)
@pytest.mark.parametrize("dtype", ["f32", "f64"])
def test_powers_of_all_kinds_are_numpys(dtype: str, isa: str) -> None:
    """Zeros, infinities, NaN, signs, even and odd numbers, with each other."""
    with np.errstate(all="ignore"):
        kinds = np.concatenate([SPECIAL, [1, 2, 0.5, 3, 1.5, 2.0**24 + 1, 2.0**53 - 1]])
        kinds = np.concatenate([kinds, -kinds]).astype(DTYPES[dtype])
        x, y = (a.ravel() for a in np.meshgrid(kinds, kinds))
        want = reference("pow", x, y).astype(DTYPES[dtype])
    got = Compiled("pow", dtype, isa, arity=2)(x, y)
    assert not worst("pow", dtype, got, [x, y])
    is_number = ~np.isnan(want)
    np.testing.assert_array_equal(is_number, ~np.isnan(got))
    signs = (np.signbit(a)[is_number] for a in (got, want))
    np.testing.assert_array_equal(*signs)


@pytest.mark.parametrize("isa", ISAS)
@pytest.mark.parametrize("dtype", ["f32", "f64"])
@pytest.mark.parametrize("name", UNARY)
def test_special_values_are_numpys(name: str, dtype: str, isa: str) -> None:
    with np.errstate(all="ignore"):
        x = SPECIAL.astype(DTYPES[dtype])
    got = Compiled(name, dtype, isa)(x)
    assert not worst(name, dtype, got, [x])


@pytest.mark.parametrize("name", sorted({name for name, _ in ULP_BOUNDS}))
def test_scalars_have_the_bits_of_vectors(name: str) -> None:
    arity = 2 if name in BINARY else 1
    for dtype in ("f32", "f64"):
        x, y = (part[:2000] for part in random_pairs(dtype, 500))
        args = [x, y][:arity]
        scalar = Compiled(name, dtype, ISAS[0], arity, lanes=1)(*args)
        vector = Compiled(name, dtype, ISAS[0], arity)(*args)
        np.testing.assert_array_equal(scalar, vector, strict=True)
        np.testing.assert_array_equal(np.signbit(scalar), np.signbit(vector))


@pytest.mark.parametrize("name", sorted({name for name, _ in ULP_BOUNDS}))
def test_machines_with_fma_agree_to_the_bit(name: str) -> None:
    arity = 2 if name in BINARY else 1
    for dtype in ("f32", "f64"):
        if (name, dtype) in OF_TABLES:
            continue  # only where registers are tables: within the bound, not the same
        args = list(random_pairs(dtype, 2000))[:arity]
        results = [
            Compiled(name, dtype, isa, arity)(*args)
            for isa in ISAS
            if host_target(isa).has_fma
        ]
        for other in results[1:]:
            np.testing.assert_array_equal(results[0], other, strict=True)
            np.testing.assert_array_equal(np.signbit(results[0]), np.signbit(other))


@pytest.mark.parametrize(
    ("name", "isa"), in_turn(sorted({name for name, _ in ULP_BOUNDS}), ISAS)
)
def test_calls_have_the_bits_of_straight_code(monkeypatch, name: str, isa: str) -> None:
    arity = 2 if name in BINARY else 1
    for dtype in ("f32", "f64"):
        args = list(random_pairs(dtype, 300))[:arity]
        inline = Compiled(name, dtype, isa, arity)(*args)
        with monkeypatch.context() as patch:
            patch.setattr(vmath, "INLINE_LINES", 0)
            symbol = f"@tracejit.{name}.{dtype}."
            text = loop_text(name, dtype, isa, arity, 4)
            assert text.count(f"define internal {vec(ELEMENTS[dtype], 4)} {symbol}")
            called = Compiled(name, dtype, isa, arity)(*args)
        np.testing.assert_array_equal(inline, called, strict=True)
        signs = (np.signbit(x[~np.isnan(x)]) for x in (inline, called))
        np.testing.assert_array_equal(*signs)


def test_long_kernels_call_functions_that_a_module_has_once() -> None:
    def chain(count: int) -> str:
        def f(x):
            for _ in range(count):
                x = np.tanh(np.sin(x))
            return x

        with config.override(reroll=False):
            return tj.jit(f).lower(np.ones(100, np.float32)).compile().as_text()

    short, long = chain(60), chain(120)
    called = re.findall(r"call .*@tracejit\.tanh\.f32", long)
    assert len(called) > 60
    assert len(re.findall(r"define .*@tracejit\.tanh\.f32", long)) == 1
    assert long.count("\n") - short.count("\n") < 60 * 20


@pytest.mark.parametrize("name", ["exp", "sin", "pow", "tanh"])
@pytest.mark.parametrize("lanes", [2, 32])
def test_other_widths_than_the_machines(name: str, lanes: int) -> None:
    arity = 2 if name in BINARY else 1
    args = list(random_pairs("f32", 500))[:arity]
    got = Compiled(name, "f32", ISAS[0], arity, lanes)(*args)
    assert not worst(name, "f32", got, args)


@pytest.mark.parametrize("name", ["sin", "cos", "tan"])
@pytest.mark.parametrize("isa", ISAS)
def test_large_arguments_close_to_multiples_of_half_pi(name: str, isa: str) -> None:
    # The doubles closest to multiples of pi/2, from continued fractions, and others.
    hard = [6381956970095103 * 2.0**797, 5319372648326541 * 2.0**-52, 2.0**1023]
    turns = np.arange(1, 4000, dtype=np.float64) * np.pi / 2
    huge = np.arange(1, 4000, dtype=np.float64) * 2.0**40 * np.pi
    x = np.concatenate([hard, turns, huge, 2.0 ** np.arange(15, 1024)])
    assert not worst(name, "f64", Compiled(name, "f64", isa)(x), [x])


EXACT = {
    "sqrt": np.sqrt,
    "fabs": np.fabs,
    "rint": np.rint,
    "floor": np.floor,
    "ceil": np.ceil,
    "trunc": np.trunc,
}
EXACT_BINARY = {
    "copysign": np.copysign,
    "maximum": np.maximum,
    "minimum": np.minimum,
    "fmax": np.fmax,
    "fmin": np.fmin,
    "fmod": np.fmod,
}


def assert_same(got: np.ndarray, want: np.ndarray, zeros: bool = True) -> None:
    np.testing.assert_array_equal(got, want, strict=True)
    if zeros:
        is_zero = want == 0
        np.testing.assert_array_equal(
            np.signbit(got)[is_zero], np.signbit(want)[is_zero]
        )


@pytest.mark.parametrize("isa", ISAS)
@pytest.mark.parametrize("dtype", ["f32", "f64"])
def test_exact_operations_are_numpys(dtype: str, isa: str) -> None:
    x, y = random_pairs(dtype, 4000)
    with np.errstate(all="ignore"):
        for name, function in EXACT.items():
            assert_same(Compiled(name, dtype, isa)(x), function(x))
        for name, function in EXACT_BINARY.items():
            # Which of 0 and -0 is the greater is not defined.
            zeros = name in ("copysign", "fmod")
            assert_same(
                Compiled(name, dtype, isa, arity=2)(x, y), function(x, y), zeros
            )


@pytest.mark.parametrize("isa", ISAS)
@pytest.mark.parametrize("dtype", ["f32", "f64"])
def test_remainders_next_to_multiples(dtype: str, isa: str) -> None:
    """Of quotients of all sizes, where they are integers but for the last bits."""
    rng = np.random.default_rng(11)
    y = rng.normal(size=20_000).astype(DTYPES[dtype])
    times = np.floor(2 ** rng.uniform(0, 60, y.size)).astype(y.dtype)
    x = np.nextafter(y * times, rng.choice(np.array([-np.inf, 0, np.inf]), y.size))
    x = x.astype(y.dtype)
    assert_same(Compiled("fmod", dtype, isa, arity=2)(x, y), np.fmod(x, y))


@pytest.mark.parametrize("isa", ISAS)
@pytest.mark.parametrize("divisor", [2.0, -4.0, 0.5, 6.25, 1e300, np.inf, 0.0])
def test_remainders_of_constants(divisor: float, isa: str) -> None:
    x, _ = random_pairs("f64", 4000)
    with config.override(isa=isa), np.errstate(all="ignore"):
        for function in (np.fmod, np.remainder, np.floor_divide):
            compiled = tj.jit(lambda x, f=function: f(x, divisor))
            assert_same(compiled(x), function(x, divisor))


@pytest.mark.parametrize("isa", ISAS)
def test_fma_rounds_once(isa: str) -> None:
    rng = np.random.default_rng(3)
    a, b = rng.uniform(1, 2, (2, 4000)).astype("f4")
    c = (-a * b).astype("f4")
    exact = (a.astype("f8") * b + c).astype("f4")
    np.testing.assert_array_equal(Compiled("fma", "f32", isa, arity=3)(a, b, c), exact)


def test_everything_that_is_promised_is_supported() -> None:
    assert set(ULP_BOUNDS) <= SUPPORTED
    rest = {name for name, _ in SUPPORTED - set(ULP_BOUNDS)}
    assert rest == {*EXACT, *EXACT_BINARY, "fma"}


def test_an_unsupported_name_is_refused() -> None:
    with pytest.raises(KeyError, match="gamma"):
        emit(Emitter(), "gamma", "f32", 4, ["%x"], host_target())


def test_long_doubles_are_longer_than_doubles() -> None:
    # What the references of float64 rest on.
    assert np.finfo(WIDER["f64"]).nmant > 60
