"""float8 in Triton kernels: every number and rounding, products, all targets."""

import numpy as np
import pytest

from tests.codegen.test_float8 import FLOAT8S, all_numbers, hard_floats
from tests.sampling import in_turn
from tracejit.codegen.triton.build import build
from tracejit.codegen.triton.emit import emit_kernel
from tracejit.codegen.triton.machine import tuning_for
from tracejit.ir import dtypes as dt
from tracejit.ir.primitive import REGISTRY
from tracejit.kernels.parser import parse_kernel
from tracejit.kernels.printer import format_kernel

from .running import check, outputs_by_triton, runs_of
from .test_externs import run as run_extern
from .test_kernels import FUSED

EACH = pytest.mark.parametrize("dtype", FLOAT8S, ids=dt.dtype_name)
RNG = np.random.default_rng(8)
WHOLE = [np.dtype(c) for c in ("i1", "i2", "i4", "i8", "u1", "u2", "u4", "u8")]


def interpreted(interpreter, function, *args):
    """Return the results of a function's only kernel in Triton's interpreter."""
    ((kernel, schedule),) = runs_of(function, *args)
    found, _ = outputs_by_triton(
        interpreter, emit_kernel(kernel, schedule), kernel, list(args)
    )
    return found


def assert_bits(found, expected):
    assert found.dtype == expected.dtype
    raw = f"u{found.dtype.itemsize}"
    np.testing.assert_array_equal(found.view(raw), expected.view(raw))


@EACH
def test_every_number_is_decoded(interpreter, dtype):
    x = all_numbers(dtype)
    (found,) = interpreted(interpreter, lambda x: x.astype(np.float32), x)
    assert_bits(found, x.astype(np.float32))


@pytest.mark.parametrize(("dtype", "wide"), in_turn(FLOAT8S, ["f4", "f8"]))
def test_floats_are_rounded_as_by_ml_dtypes(interpreter, dtype, wide):
    with np.errstate(all="ignore"):
        x = hard_floats(dtype)
        if wide == "f8":
            x = np.concatenate([x[::3], np.nextafter(x[::3], np.inf, dtype="f8")])
        x = x.astype(wide)
        (found,) = interpreted(interpreter, lambda x: x.astype(dtype), x)
        assert_bits(found, x.astype(dtype))


@EACH
def test_bits_that_are_moved_stay(interpreter, dtype):
    x = all_numbers(dtype).reshape(16, 16)
    places = np.arange(16)[::-1].copy()
    (found,) = interpreted(interpreter, lambda x, i: x[i], x, places)
    assert_bits(found, x[places])


@EACH
def test_integers_are_those_of_ml_dtypes(interpreter, dtype):
    x = all_numbers(dtype)
    x = np.where(x.astype(np.float32) >= 0, x, np.abs(x))  # NaN and infinity, too
    for to in [*WHOLE, np.dtype(bool)]:
        with np.errstate(all="ignore"):
            (found,) = interpreted(interpreter, lambda x, to=to: x.astype(to), x)
            np.testing.assert_array_equal(found, x.astype(to))


def test_masks_and_fills(interpreter):
    """Elements past the end, and what pads an array, are bits of float8."""
    x = RNG.integers(-2, 3, (5, 7)).astype(dt.FLOAT8_E4M3FN)  # whose sums are exact
    with np.errstate(all="ignore"):
        for function in (
            lambda x: np.pad(x, 2, constant_values=1.5) * 2,
            lambda x: np.concatenate([x, x[::-1]]),
            lambda x: (x.max(axis=1), x.min(axis=1), x.argmax(axis=1)),
            lambda x: x.sum(axis=0),
            lambda x: x.max(),
            lambda x: x[1:] == x[:-1],
        ):
            for kernel, schedule in runs_of(function, x):
                check(interpreter, kernel, schedule, [x], rtol=0, atol=0)


PRODUCTS = {
    "both": lambda x, w, b: x.astype(np.float32) @ w.astype(np.float32),
    "bfloat16": lambda x, w, b: x.astype(dt.BFLOAT16) @ w.astype(dt.BFLOAT16),
    "scaled": lambda x, w, b: (x.astype(np.float32) @ (w.astype(np.float32) * 0.5)) + b,
    "result": lambda x, w, b: (x.astype(np.float32) @ w.astype(np.float32) + b).astype(
        dt.FLOAT8_E4M3FN
    ),
    "dot": lambda x, w, b: np.dot(x, w),
    "batched": lambda x, w, b: np.stack([x, x]).astype("f4") @ w.astype("f4"),
}


def operands(m=33, k=20, n=40, dtype=dt.FLOAT8_E4M3FN):
    x, w = (RNG.standard_normal(s).astype(dtype) for s in ((m, k), (k, n)))
    return x, w, RNG.standard_normal(n).astype(np.float32)


@pytest.mark.parametrize("name", PRODUCTS)
def test_casts_are_part_of_products(interpreter, name):
    args = operands()
    ((kernel, schedule),) = runs_of(PRODUCTS[name], *args)
    inputs = [a for a in args if a.dtype != np.float32]
    inputs += [args[2]] if len(kernel.inputs) == 3 else []
    tolerance = 0.13 if name in ("result", "dot") else 1e-2
    check(interpreter, kernel, schedule, inputs, rtol=tolerance, atol=tolerance)


def test_product_of_float8_itself(interpreter):
    """Kernels may hold one, though functions become products of float32."""
    kernel, schedule = parse_kernel(FUSED.format(m=20, n=24, k=18))
    text = format_kernel(kernel, schedule).replace("f32", "f8e5m2")
    kernel, schedule = parse_kernel(text)
    inputs = [RNG.integers(-2, 3, b.shape).astype(b.dtype) for b in kernel.inputs]
    check(interpreter, kernel, schedule, inputs, rtol=0.26, atol=0.26)


def moved_by(interpreter, name, arrays, params):
    """Check one of the kernels that are no loop nests, to the bit."""
    found, error, _ = run_extern(interpreter, name, arrays, params)
    assert not error.any()
    with np.errstate(all="ignore"):
        want = np.asarray(REGISTRY[name].evaluate(arrays, params)[0])
    np.testing.assert_array_equal(found.astype("f4"), want.astype("f4"))


@EACH
def test_sorts_scans_and_scatters(interpreter, dtype):
    x = RNG.standard_normal((3, 40)).astype(dtype)
    for name in ("sort", "argsort"):
        moved_by(interpreter, name, [x], {"axis": 1})
    for name in ("cummax", "cummin"):
        moved_by(interpreter, name, [x], {"axis": 1, "reverse": True})
    few = RNG.integers(-2, 3, (3, 9)).astype(dtype)
    moved_by(interpreter, "cumsum", [few], {"axis": 1, "reverse": False})
    updates, places = x[:2, :40], np.array([2, -2])
    params = {"axes": (0,), "batch": 0, "mode": "raise"}
    for op in ("set", "add", "mul", "max"):
        moved_by(interpreter, "scatter", [x, updates, places], {**params, "op": op})


@pytest.mark.parametrize("arch", ["sm_80", "sm_90", "sm_100", "gfx942"])
def test_kernels_build_for_every_target(arch):
    def function(x, w, b):
        y = x.astype(np.float32) @ w.astype(np.float32) + b
        return y.astype(dt.FLOAT8_E4M3FN), y.astype(dt.FLOAT8_E5M2)

    for kernel, schedule in runs_of(function, *operands(64, 64, 64)):
        for code in emit_kernel(kernel, schedule, tuning_for(arch)).codes:
            assert build(code, arch).facts.spilled in (0, None)
