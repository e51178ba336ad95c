"""The engine: compiling, loading, unloading, errors, helper functions."""

import ctypes
import gc
import os
import subprocess
import sys
import threading
import time
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from queue import SimpleQueue

import ml_dtypes
import numpy as np
import pytest

from tracejit.codegen.llvm.target import host_target
from tracejit.errors import InternalError
from tracejit.runtime.cpu.compilers import SideBySide
from tracejit.runtime.cpu.engine import Engine, Library, engine_for, parse_module

pytestmark = pytest.mark.usefixtures("compiles_again")

DOUBLE_FUNCTION = ctypes.CFUNCTYPE(ctypes.c_double, ctypes.c_double)


@pytest.fixture
def collected() -> Iterator[None]:
    """Only what a test makes itself is looked through by its collections."""
    gc.freeze()
    yield
    gc.unfreeze()


@pytest.fixture(scope="module")
def engine() -> Engine:
    return engine_for(host_target())


def constant_module(value: int, name: str = "value") -> str:
    return f"define i32 @{name}() {{\n  ret i32 {value}\n}}\n"


def call_int(library: Library, name: str = "value") -> int:
    return ctypes.CFUNCTYPE(ctypes.c_int32)(library.address(name))()


def test_compile_then_load(engine: Engine) -> None:
    code = engine.compile(constant_module(42))
    assert isinstance(code, bytes)
    assert call_int(engine.load(code)) == 42
    assert call_int(engine.load(constant_module(43))) == 43


def test_compile_is_deterministic(engine: Engine) -> None:
    assert engine.compile(constant_module(7)) == engine.compile(constant_module(7))


def test_same_symbol_in_many_libraries(engine: Engine) -> None:
    libraries = [engine.load(constant_module(k)) for k in range(5)]
    assert [call_int(library) for library in libraries] == [0, 1, 2, 3, 4]
    assert len({library.name for library in libraries}) == 5


def test_imports_by_address(engine: Engine) -> None:
    callee = engine.load(constant_module(5, "helper"))
    text = (
        "declare i32 @helper()\n"
        "define i32 @value() {\n  %r = call i32 @helper()\n"
        "  %s = mul i32 %r, 10\n  ret i32 %s\n}\n"
    )
    caller = engine.load(text, {"helper": callee.address("helper")})
    other = engine.load(constant_module(6, "helper"))
    shadowed = engine.load(text, {"helper": other.address("helper")})
    assert (call_int(caller), call_int(shadowed)) == (50, 60)


def test_libraries_do_not_see_each_other(engine: Engine) -> None:
    provider = engine.load(constant_module(5, "only_in_provider"))
    assert call_int(provider, "only_in_provider") == 5
    text = (
        "declare i32 @only_in_provider()\n"
        "define i32 @value() {\n  %r = call i32 @only_in_provider()\n  ret i32 %r\n}\n"
    )
    with pytest.raises(InternalError, match=r"cannot resolve 'value'.*materialize"):
        engine.load(text).address("value")


def test_libc_and_libm_resolve(engine: Engine) -> None:
    text = """
declare double @fmod(double, double)
declare double @llvm.fma.f64(double, double, double)
define double @f(double %x) {
  %slot = alloca [512 x i8]
  call void @llvm.memset.p0.i64(ptr %slot, i8 0, i64 512, i1 false)
  %zero = load double, ptr %slot
  %r = call double @fmod(double %x, double 2.0)
  %s = frem double %x, 4.0
  %t = call double @llvm.fma.f64(double %r, double 10.0, double %s)
  %u = fadd double %t, %zero
  ret double %u
}
declare void @llvm.memset.p0.i64(ptr, i8, i64, i1)
"""
    library = engine.load(text)
    assert DOUBLE_FUNCTION(library.address("f"))(7.5) == 1.5 * 10.0 + 3.5


def test_unknown_symbol(engine: Engine) -> None:
    library = engine.load(constant_module(1))
    with pytest.raises(InternalError, match="cannot resolve 'absent'"):
        library.address("absent")


def test_internal_functions_have_no_address(engine: Engine) -> None:
    library = engine.load("define internal i32 @hidden() { ret i32 1 }")
    with pytest.raises(InternalError, match="cannot resolve 'hidden'"):
        library.address("hidden")


def test_closed_library(engine: Engine) -> None:
    library = engine.load(constant_module(1))
    assert call_int(library) == 1
    library.close()
    library.close()
    with pytest.raises(InternalError, match="is closed"):
        library.address("value")


def test_bad_object_code(engine: Engine) -> None:
    with pytest.raises(InternalError, match="cannot load object code"):
        engine.load(b"not an object file")


def test_syntax_error_shows_the_line(engine: Engine) -> None:
    text = "define i32 @f(i64 %x) {\n  %y = add i64 %x, 1\n  ret i64 %y\n}\n"
    with pytest.raises(InternalError) as caught:
        engine.compile(text)
    assert str(caught.value) == (
        "invalid LLVM text: value doesn't match function result type 'i32'\n"
        "     1 | define i32 @f(i64 %x) {\n"
        "     2 |   %y = add i64 %x, 1\n"
        "     3 |   ret i64 %y\n"
        "               ^"
    )


def test_verifier_error_shows_the_instructions() -> None:
    text = (
        "define void @f() {\n  br label %a\na:\n  %y = add i32 %x, 1\n"
        "  br label %b\nb:\n  %x = add i32 1, 1\n  ret void\n}\n"
    )
    with pytest.raises(InternalError, match="dominate all uses") as caught:
        parse_module(text)
    assert "%y = add i32 %x, 1" in str(caught.value)


def test_assembly(engine: Engine) -> None:
    assembly = engine.assembly(constant_module(123456))
    assert "value" in assembly
    assert "123456" in assembly


def compiled_by(threads: int, texts: Sequence[str], engine: Engine) -> list[bytes]:
    """Return what several threads make of some modules."""
    with engine.side_by_side(threads) as builds:
        for text in texts:
            builds.put(text)
        return builds.results()


def test_modules_compiled_side_by_side_have_the_same_code(engine: Engine) -> None:
    texts = [constant_module(k, name=f"f{k}") for k in range(20)]
    alone = [engine.compile(text) for text in texts]
    assert compiled_by(4, texts, engine) == alone
    assert compiled_by(1, texts, engine) == alone
    library = engine.load(alone)
    assert [call_int(library, f"f{k}") for k in range(20)] == [*range(20)]


def test_an_error_in_one_of_several_modules_is_raised(engine: Engine) -> None:
    texts = [constant_module(k) for k in range(6)]
    texts[4] = "define i32 @value() {\n  ret i32 %nothing\n}\n"
    with pytest.raises(InternalError, match="nothing"):
        compiled_by(3, texts, engine)
    assert compiled_by(3, texts[:4], engine) == [*map(engine.compile, texts[:4])]


def test_modules_are_built_while_others_are_written() -> None:
    built = threading.Event()

    def build(text: str) -> bytes:
        built.set()
        return text.encode()

    with SideBySide(build, 2) as builds:
        builds.put("a")
        assert built.wait(60)  # by another thread than this one, which waits
        builds.put("b")
        assert builds.results() == [b"a", b"b"]


def test_a_helper_may_be_done_before_the_writer_goes_on() -> None:
    builds = SideBySide(str.encode, 2)

    class Slow(SimpleQueue):
        """A queue whose writer goes on when what it put has been taken and built."""

        def put(self, job: tuple[int, str] | None) -> None:
            super().put(job)
            stop = time.monotonic() + 1
            while job and builds._helpers and time.monotonic() < stop:
                if builds._found[job[0]]:
                    return
                time.sleep(1e-4)

    builds._waiting = Slow()
    for text in "abc":
        builds.put(text)
    assert builds.results() == [b"a", b"b", b"c"]


def test_what_is_not_built_is_left_alone_where_the_writer_fails() -> None:
    first, go_on, seen = threading.Event(), threading.Event(), []

    def build(text: str) -> bytes:
        seen.append(text)
        first.set()
        assert go_on.wait(60)
        return b""

    class Joining(SideBySide):
        def _join(self) -> None:
            go_on.set()
            super()._join()

    def write() -> None:
        with Joining(build, 2) as builds:
            for text in "abc":
                builds.put(text)
            assert first.wait(60)
            raise RuntimeError("no text")

    with pytest.raises(RuntimeError, match="no text"):
        write()
    assert seen == ["a"]


def test_engine_is_shared_per_target() -> None:
    target = host_target()
    with ThreadPoolExecutor(4) as pool:
        engines = set(pool.map(lambda _: engine_for(target), range(8)))
    assert engines == {engine_for(target)}


def test_threads_compile_and_load(engine: Engine) -> None:
    def work(k: int) -> int:
        return call_int(engine.load(constant_module(k)))

    with ThreadPoolExecutor(4) as pool:
        assert list(pool.map(work, range(40))) == list(range(40))


def resident_bytes() -> int:
    with open("/proc/self/statm") as file:
        return int(file.read().split()[1]) * 4096


@pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")
@pytest.mark.usefixtures("collected")
def test_unused_libraries_are_unloaded(engine: Engine) -> None:
    """Ten megabytes of data a library: leaking them would show in seconds."""
    megabytes = 10
    code = engine.compile(
        f"@data = global [{megabytes << 20} x i8] zeroinitializer\n"
        + constant_module(3)
    )
    before = 0
    for k in range(30):
        library = engine.load(code)
        ctypes.memset(library.address("data"), 1, megabytes << 20)
        del library
        gc.collect()
        if k == 5:
            before = resident_bytes()
    assert resident_bytes() - before < 5 * megabytes << 20


def test_addresses_keep_working_while_the_library_lives(engine: Engine) -> None:
    library = engine.load(constant_module(11))
    address = library.address("value")
    for k in range(20):
        engine.load(constant_module(k)).address("value")
    gc.collect()
    assert ctypes.CFUNCTYPE(ctypes.c_int32)(address)() == 11
    assert library.address("value") == address


def convert_text(source: str, operation: str, target: str, name: str) -> str:
    return f"""
define void @{name}(ptr %from, ptr %to, i64 %count) {{
entry:
  %none = icmp eq i64 %count, 0
  br i1 %none, label %done, label %loop
loop:
  %i = phi i64 [ 0, %entry ], [ %next, %loop ]
  %p = getelementptr {source}, ptr %from, i64 %i
  %x = load {source}, ptr %p
  %y = {operation} {source} %x to {target}
  %q = getelementptr {target}, ptr %to, i64 %i
  store {target} %y, ptr %q
  %next = add i64 %i, 1
  %more = icmp ult i64 %next, %count
  br i1 %more, label %loop, label %done
done:
  ret void
}}
"""


def convert(engine: Engine, text: str, source: np.ndarray, dtype: type) -> np.ndarray:
    out = np.empty(source.shape, dtype)
    library = engine.load(text)
    function = ctypes.CFUNCTYPE(None, ctypes.c_void_p, ctypes.c_void_p, ctypes.c_int64)(
        library.address("convert")
    )
    function(source.ctypes.data, out.ctypes.data, source.size)
    return out


def all_halves() -> np.ndarray:
    return np.arange(1 << 16, dtype=np.uint32).astype(np.uint16).view(np.float16)


def wide_values(dtype: type, narrow: type) -> np.ndarray:
    """Return every 16-bit value, the midpoints between, their neighbours, specials."""
    bits = np.arange(1 << 16, dtype=np.uint32).astype(np.uint16)
    with np.errstate(all="ignore"):
        exact = np.sort(bits.view(narrow).astype(dtype)[: 1 << 15])
        exact = exact[np.isfinite(exact)]
        middle = (exact[1:] + exact[:-1]) / 2
        values = np.concatenate([exact, middle])
        near = [np.nextafter(values, dtype(side)) for side in (-np.inf, np.inf)]
        limits = np.finfo(dtype)
        extremes = [0.0, limits.max, limits.tiny, limits.smallest_subnormal]
        special = np.array([*extremes, np.inf, np.nan], dtype)
        values = np.concatenate([values, *near, special])
        return np.concatenate([values, -values])


@pytest.mark.parametrize("isa", ["baseline", "auto"])
def test_half_extends_exactly(isa: str) -> None:
    halves = all_halves()
    text = convert_text("half", "fpext", "float", "convert")
    out = convert(engine_for(host_target(isa)), text, halves, np.float32)
    assert_same_numbers(out, halves.astype(np.float32))


@pytest.mark.parametrize("isa", ["baseline", "auto"])
@pytest.mark.parametrize(
    ("wide", "wide_llvm"), [(np.float32, "float"), (np.float64, "double")]
)
@pytest.mark.parametrize(
    ("narrow", "narrow_llvm"), [(np.float16, "half"), (ml_dtypes.bfloat16, "bfloat")]
)
def test_truncation_rounds_to_nearest_even(
    isa: str, wide: type, wide_llvm: str, narrow: type, narrow_llvm: str
) -> None:
    values = wide_values(wide, narrow)
    text = convert_text(wide_llvm, "fptrunc", narrow_llvm, "convert")
    out = convert(engine_for(host_target(isa)), text, values, narrow)
    assert_same_numbers(out, nearest(values, narrow))


def nearest(values: np.ndarray, narrow: type) -> np.ndarray:
    """Return the nearest narrow numbers; ml_dtypes itself rounds float64 twice."""
    with np.errstate(all="ignore"):
        if narrow is np.float16 or values.dtype == np.float32:
            return values.astype(narrow)
        return round_to_odd(values).astype(narrow)


def round_to_odd(values: np.ndarray) -> np.ndarray:
    """Return float32 whose last bit is set if inexact, so a next rounding is right."""
    single = values.astype(np.float32)
    above = np.abs(single.astype(np.float64)) > np.abs(values)
    truncated = np.where(above, np.nextafter(single, np.float32(0)), single)
    inexact = truncated.astype(np.float64) != values
    bits = truncated.view(np.uint32) | (inexact & ~np.isnan(values))
    return bits.astype(np.uint32).view(np.float32)


def assert_same_numbers(actual: np.ndarray, expected: np.ndarray) -> None:
    """Check equal bits, with any NaN equal to any other."""
    nan = np.isnan(expected)
    np.testing.assert_array_equal(np.isnan(actual), nan)
    unsigned = np.dtype(f"u{expected.itemsize}")
    np.testing.assert_array_equal(
        actual[~nan].view(unsigned), expected[~nan].view(unsigned)
    )


def test_no_llvmlite_without_the_engine() -> None:
    code = (
        "import sys, tracejit, tracejit.runtime, tracejit.runtime.cpu\n"
        "sys.exit('llvmlite' in sys.modules)"
    )
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


def test_exit_with_loaded_libraries_is_clean() -> None:
    code = (
        "import sys\n"
        "from tracejit.codegen.llvm.target import host_target\n"
        "from tracejit.runtime.cpu.engine import engine_for\n"
        "engine = engine_for(host_target())\n"
        "library = engine.load('define i32 @value() { ret i32 1 }')\n"
        "library.address('value')\n"
        "sys.keep = library\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], check=False, capture_output=True, text=True
    )
    assert (done.returncode, done.stderr) == (0, "")


def test_unload_in_another_thread(engine: Engine) -> None:
    library = engine.load(constant_module(1))
    library.address("value")
    thread = threading.Thread(target=library.close)
    thread.start()
    thread.join()
    with pytest.raises(InternalError, match="is closed"):
        library.address("value")


@pytest.mark.skipif(sys.platform != "linux", reason="reserves addresses as Linux does")
def test_sections_of_an_object_are_near_each_other():
    """LLVM's older linker aborts where free addresses are gigabytes apart."""
    script = Path(__file__).with_name("far_addresses.py")
    root = Path(__file__).parents[3]
    done = subprocess.run(
        [sys.executable, script],
        capture_output=True,
        text=True,
        env=os.environ | {"PYTHONPATH": str(root)},
    )
    assert done.stdout == "ok\n", done.stderr
