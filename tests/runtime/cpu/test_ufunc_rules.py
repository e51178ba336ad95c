"""Which loops are found, which are refused, and how a loop reports failure."""

import ctypes

import ml_dtypes
import numpy as np
import pytest
from numpy.linalg import _umath_linalg as linalg_ufuncs

from tests.runtime.cpu.loops import assert_same_bits, run_loop, strided
from tracejit.codegen.llvm.target import host_target
from tracejit.errors import InternalError
from tracejit.runtime.cpu import ufuncs
from tracejit.runtime.cpu.engine import engine_for
from tracejit.runtime.cpu.ufuncs import find_loop, float_status

BFLOAT16 = np.dtype(ml_dtypes.bfloat16)
FLOAT32 = np.dtype(np.float32)
FLOAT64 = np.dtype(np.float64)
INT32 = np.dtype(np.int32)


def all_bfloats() -> np.ndarray:
    return np.arange(1 << 16, dtype=np.uint32).astype(np.uint16).view(BFLOAT16)


@pytest.mark.parametrize("step", [1, 2])
@pytest.mark.parametrize(
    "ufunc", [np.add, np.multiply, np.maximum, np.less, np.arctan2]
)
def test_registered_dtypes_binary(ufunc: np.ufunc, step: int) -> None:
    loop = find_loop(ufunc, [BFLOAT16] * 2)
    assert loop is not None
    x = strided(all_bfloats(), step)
    y = strided(np.roll(all_bfloats(), 12345), step)
    out = np.zeros(x.shape, loop.outputs[0])
    run_loop(loop, [x, y, out])
    with np.errstate(all="ignore"):
        assert_same_bits(out, ufunc(x, y))


@pytest.mark.parametrize("ufunc", [np.exp, np.negative, np.isnan, np.sqrt])
def test_registered_dtypes_unary(ufunc: np.ufunc) -> None:
    loop = find_loop(ufunc, [BFLOAT16])
    assert loop is not None
    out = np.zeros(1 << 16, loop.outputs[0])
    run_loop(loop, [all_bfloats(), out])
    with np.errstate(all="ignore"):
        assert_same_bits(out, ufunc(all_bfloats()))


def test_float8_has_loops_of_its_own() -> None:
    float8 = np.dtype(ml_dtypes.float8_e4m3fn)
    loop = find_loop(np.add, [float8, float8])
    assert loop is not None
    assert loop.outputs == (float8,)
    other = find_loop(np.add, [BFLOAT16, BFLOAT16])
    assert other is not None
    assert loop.function != other.function


def test_output_dtypes_may_be_given() -> None:
    whole = find_loop(np.frexp, [FLOAT32, FLOAT32, INT32])
    inputs = find_loop(np.frexp, [FLOAT32])
    assert whole is not None
    assert inputs is not None
    assert whole.outputs == inputs.outputs == (FLOAT32, INT32)
    assert whole.function == inputs.function


@pytest.mark.parametrize(
    ("ufunc", "dtypes"),
    [
        (np.hypot, [INT32, INT32]),  # NumPy would convert to float64
        (np.add, [INT32, FLOAT64]),
        (np.add, [FLOAT32, FLOAT32, FLOAT64]),  # another output
        (np.subtract, [np.dtype(bool)] * 2),  # NumPy refuses
        (np.add, [np.dtype(">f4")] * 2),  # not native
        (np.add, [np.dtype(object)] * 2),  # needs Python
        (np.isnat, [np.dtype("M8[s]")]),
        (np.power, [INT32, INT32]),  # may raise
        (linalg_ufuncs.inv, [np.dtype(np.float16)]),
    ],
)
def test_no_loop(ufunc: np.ufunc, dtypes: list[np.dtype]) -> None:
    assert find_loop(ufunc, dtypes) is None


def test_wrong_number_of_dtypes() -> None:
    message = r"hypot has 2 inputs and 1 outputs; got 1 dtypes"
    with pytest.raises(InternalError, match=message):
        find_loop(np.hypot, [FLOAT32])


def test_python_functions_have_no_loop() -> None:
    made = np.frompyfunc(lambda x: x, 1, 1)
    assert find_loop(made, [FLOAT32]) is None


def test_layout_mismatch_finds_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    class Shifted(ctypes.Structure):
        _fields_ = (("more", ctypes.c_int), *ufuncs._UfuncStruct._fields_)

    monkeypatch.setattr(ufuncs, "_UfuncStruct", Shifted)
    ufuncs._has_known_layout.cache_clear()
    try:
        assert find_loop(np.add, [FLOAT32, FLOAT32]) is None
    finally:
        ufuncs._has_known_layout.cache_clear()


def test_core_dimensions() -> None:
    loop = find_loop(linalg_ufuncs.solve, [FLOAT64, FLOAT64])
    assert loop is not None
    assert loop.core == (("m", "m"), ("m", "n"), ("m", "n"))


# What a host program does around a loop; returns whether the flag was set.
GUARDED_CALL = """
declare i32 @clear(i32)
declare i32 @test(i32)
declare void @loop(ptr, ptr, ptr, ptr)
define i32 @main(ptr %args, ptr %dimensions, ptr %steps, i32 %invalid) {
  %ignored = call i32 @clear(i32 %invalid)
  call void @loop(ptr %args, ptr %dimensions, ptr %steps, ptr null)
  %bits = call i32 @test(i32 %invalid)
  %set = icmp ne i32 %bits, 0
  %failed = zext i1 %set to i32
  ret i32 %failed
}
"""


def fails(name: str, matrix: np.ndarray) -> bool:
    """Run an (m,m)->(m,m) loop on one matrix from native code."""
    loop = find_loop(getattr(linalg_ufuncs, name), [matrix.dtype])
    status = float_status()
    assert loop is not None
    assert status is not None
    out = np.empty_like(matrix)
    symbols = {"clear": status.clear, "test": status.test, "loop": loop.function}
    library = engine_for(host_target()).load(GUARDED_CALL, symbols)
    main = ctypes.CFUNCTYPE(ctypes.c_int, *[ctypes.c_void_p] * 3, ctypes.c_int)(
        library.address("main")
    )
    pointers = np.array([matrix.ctypes.data, out.ctypes.data], np.uintp)
    dimensions = np.array([1, len(matrix)], np.intp)
    steps = np.array([0, 0, *matrix.strides, *out.strides], np.intp)
    tables = [a.ctypes.data for a in (pointers, dimensions, steps)]
    failed = bool(main(*tables, status.invalid))
    assert failed == bool(np.isnan(out).any())
    return failed


@pytest.mark.parametrize("dtype", [np.float32, np.float64, np.complex64])
def test_failure_shows_in_the_floating_point_status(dtype: type) -> None:
    regular = np.array([[2, 1], [1, 3]], dtype)
    singular = np.array([[1, 2], [2, 4]], dtype)
    indefinite = np.array([[1, 2], [2, 1]], dtype)
    assert [fails("inv", m) for m in (regular, singular, regular)] == [
        False,
        True,
        False,
    ]
    assert [fails("cholesky_lo", m) for m in (indefinite, regular)] == [True, False]


def test_stale_flags_do_not_count() -> None:
    status = float_status()
    assert status is not None
    root = ctypes.CDLL(None).sqrt
    root.restype, root.argtypes = ctypes.c_double, (ctypes.c_double,)
    root(-1.0)
    assert not fails("inv", np.eye(3))
