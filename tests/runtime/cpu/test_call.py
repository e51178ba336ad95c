"""Native functions through ctypes: pointers, results, threads."""

import ctypes
import sys
import threading

import ml_dtypes
import numpy as np
import pytest

from tracejit.codegen.llvm.target import host_target
from tracejit.runtime.cpu import call
from tracejit.runtime.cpu.call import NativeFunction, data_pointer
from tracejit.runtime.cpu.engine import Library, engine_for

# f(pointers, n): the sum of the first int32 behind each of n pointers.
SUM_FIRST = """
define i64 @f(ptr %pointers, i64 %n) {
entry:
  %none = icmp eq i64 %n, 0
  br i1 %none, label %done, label %loop
loop:
  %i = phi i64 [ 0, %entry ], [ %next, %loop ]
  %sum = phi i64 [ 0, %entry ], [ %more, %loop ]
  %slot = getelementptr ptr, ptr %pointers, i64 %i
  %data = load ptr, ptr %slot
  %first = load i32, ptr %data
  %wide = sext i32 %first to i64
  %more = add i64 %sum, %wide
  %next = add i64 %i, 1
  %again = icmp ult i64 %next, %n
  br i1 %again, label %loop, label %done
done:
  %result = phi i64 [ 0, %entry ], [ %more, %loop ]
  ret i64 %result
}
"""

# f(pointers): spins until *pointers[0] is not 0, then stores 7 at pointers[1]; gives
# up after some seconds.
WAIT = """
define i64 @f(ptr %pointers) {
entry:
  %flag = load ptr, ptr %pointers
  %slot = getelementptr ptr, ptr %pointers, i64 1
  %done = load ptr, ptr %slot
  br label %spin
spin:
  %i = phi i64 [ 0, %entry ], [ %next, %wait ]
  %value = load atomic i64, ptr %flag acquire, align 8
  %zero = icmp eq i64 %value, 0
  br i1 %zero, label %wait, label %stop
wait:
  %next = add i64 %i, 1
  %again = icmp ult i64 %next, 10000000000
  br i1 %again, label %spin, label %tired
tired:
  ret i64 1
stop:
  store i64 7, ptr %done
  ret i64 0
}
"""


def load(text: str) -> Library:
    return engine_for(host_target()).load(text)


def arrays_of_all_kinds() -> dict[str, np.ndarray]:
    base = np.arange(24.0).reshape(4, 6)
    frozen = base.copy()
    frozen.flags.writeable = False
    record = np.zeros(4, np.dtype([("a", "i1"), ("b", "f8")]))
    return {
        "contiguous": base,
        "strided": base[1::2, ::-3],
        "transposed": base.T,
        "readonly": frozen,
        "broadcast": np.broadcast_to(base[:1], (9, 6)),
        "empty": np.empty((3, 0)),
        "empty slice": base[4:],
        "zero-dimensional": np.array(2.0),
        "unaligned": record["b"],
        "bfloat16": np.ones(3, ml_dtypes.bfloat16),
        "from bytes": np.frombuffer(b"0123456789abcdef", np.int64),
    }


@pytest.mark.parametrize("kind", arrays_of_all_kinds())
def test_data_pointer(kind: str) -> None:
    array = arrays_of_all_kinds()[kind]
    expected = array.__array_interface__["data"][0]
    assert data_pointer(array) == expected
    assert call._data_by_interface(array) == expected


def test_layout_is_known_on_cpython() -> None:
    assert call._has_known_layout() == (sys.implementation.name == "cpython")


def test_layout_mismatch_is_noticed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(call, "_DATA_OFFSET", call._DATA_OFFSET + 8)
    assert not call._has_known_layout.__wrapped__()


@pytest.mark.parametrize("count", [0, 1, 5, 20, 300])
def test_call_passes_all_pointers(count: int) -> None:
    library = load(SUM_FIRST)
    function = NativeFunction(
        library.address("f"), argtypes=(ctypes.c_int64,), owner=library
    )
    arrays = [np.array([k * k, -1], np.int32) for k in range(count)]
    assert function(arrays, count) == sum(k * k for k in range(count))


def test_owner_is_kept_alive() -> None:
    library = load(SUM_FIRST)
    function = NativeFunction(
        library.address("f"), argtypes=(ctypes.c_int64,), owner=library
    )
    del library
    assert function([np.array([-5], np.int32)], 1) == -5


def test_result_may_be_void() -> None:
    library = load("define void @f(ptr %pointers) {\n  ret void\n}\n")
    function = NativeFunction(library.address("f"), None, (), library)
    assert function([np.zeros(1)]) is None


def test_result_keeps_its_sign_and_width() -> None:
    library = load("define i64 @f(ptr %p, ptr %a) {\n  ret i64 -4294967297\n}\n")
    function = NativeFunction(library.address("f"), owner=library)
    assert function([], 0) == -(1 << 32) - 1


def test_gil_is_released() -> None:
    """The call waits for a value that this thread writes meanwhile."""
    library = load(WAIT)
    function = NativeFunction(library.address("f"), ctypes.c_int64, (), library)
    flag, done = np.zeros(1, np.int64), np.zeros(1, np.int64)
    thread = threading.Thread(target=function, args=([flag, done],), daemon=True)
    thread.start()
    flag[0] = 1
    thread.join(timeout=30)
    assert done[0] == 7
