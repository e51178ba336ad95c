"""Whether this process can have native call entries, found out by looking.

The entry reads fields of Python objects and NumPy arrays where the C structs of CPython
and NumPy 2 have them (`Layout`), and relies on the GIL. `why_not` says what is wrong
where that does not hold; calls then go through Python, with the same results.
"""

import ctypes
import sys
from functools import cache

import numpy as np

from ....codegen.llvm.entry.layout import Layout

LAYOUT = Layout()
FLAGS_OFFSET = 168  # of `tp_flags` in the struct of a type
_COPY_FLAGS = 0x3000  # of arrays that write back, which `flags.num` may leave out
_NO_ADDRESS = 1 << 16
_SCALARS = (
    np.bool_(True),
    np.int8(-3),
    np.int16(-300),
    np.int32(-70000),
    np.int64(-(1 << 40)),
    np.uint8(200),
    np.uint16(60000),
    np.uint32(1 << 31),
    np.uint64(1 << 63),
    np.float16(1.5),
    np.float32(1.1),
    np.float64(1.1),
    np.complex64(1 - 2j),
    np.complex128(1.1 - 2j),
)
# Types whose objects have their value at `Layout.scalar`, and its size in bytes.
SCALAR_BYTES: dict[type, int] = {
    float: 8,
    complex: 16,
    **{type(x): x.dtype.itemsize for x in _SCALARS},
}


class _Slot:
    __slots__ = ("value",)
    value: object


def word_at(address: int) -> int:
    """Return the word at an address."""
    return ctypes.c_size_t.from_address(address).value


def _interpreter(which: str) -> int:
    name = f"PyInterpreterState_{which}"
    ask = ctypes.PYFUNCTYPE(ctypes.c_void_p)((name, ctypes.pythonapi))
    address: int = ask()
    return address


@cache
def why_not() -> str:
    """Return why there can be no native entries in this process; "" if they can."""
    if sys.implementation.name != "cpython" or sys.version_info < (3, 11):
        return "the interpreter is not CPython 3.11 or newer"
    if not getattr(sys, "_is_gil_enabled", lambda: True)():
        return "the interpreter has no lock"
    if ctypes.sizeof(ctypes.c_void_p) != 8 or sys.byteorder != "little":
        return "the machine does not have 64-bit little-endian words"
    if hasattr(sys, "gettotalrefcount"):
        return "the interpreter is a debug build"
    if _interpreter("Get") != _interpreter("Main"):
        return "this is a subinterpreter"
    for name, has_field in _CHECKS.items():
        if not has_field():
            return f"{name} have another layout than CPython and NumPy 2 give them"
    return ""


def _objects_fit() -> bool:
    slot = _Slot()
    slot.value = object()
    at_slot = word_at(id(slot) + LAYOUT.first_slot) == id(slot.value)
    at_flags = word_at(id(_Slot) + FLAGS_OFFSET) == _Slot.__flags__
    return at_slot and at_flags and word_at(id(slot) + LAYOUT.type) == id(_Slot)


def _containers_fit() -> bool:
    a, b = object(), object()
    pair, row = (a, b), [a, b]
    items = id(pair) + LAYOUT.tuple_items
    in_tuple = (word_at(items), word_at(items + 8)) == (id(a), id(b))
    in_list = _words(id(row) + LAYOUT.list_items, 2) == (id(a), id(b))
    sizes = [word_at(id(x) + LAYOUT.size) for x in (pair, row, (), [])]
    return in_tuple and in_list and sizes == [2, 2, 0, 0]


def _arrays_fit() -> bool:
    base = np.arange(24.0).reshape(4, 6)
    frozen = base.astype(np.int8)
    frozen.flags.writeable = False
    odd = np.empty(17, np.uint8)[1:].view(np.float64)
    return all(
        _array_fits(x)
        for x in (base, base[::-1, 2::3], base.T, frozen, base[4:], np.array(1j), odd)
    )


def _array_fits(x: np.ndarray) -> bool:
    at = id(x)
    flags = x.flags.num & ~_COPY_FLAGS
    return (
        word_at(at + LAYOUT.array_data) == x.__array_interface__["data"][0]
        and word_at(at + LAYOUT.array_dtype) == id(x.dtype)
        and ctypes.c_int32.from_address(at + LAYOUT.array_rank).value == x.ndim
        and ctypes.c_int32.from_address(at + LAYOUT.array_flags).value & flags == flags
        and _words(at + LAYOUT.array_shape, x.ndim) == x.shape
        and _words(at + LAYOUT.array_strides, x.ndim) == x.strides
    )


def _words(place: int, count: int) -> tuple[int, ...]:
    """Return the words that a pointer leads to; none where it cannot be one."""
    address = word_at(place)
    if count == 0 or address < _NO_ADDRESS:
        return ()
    return tuple((ctypes.c_int64 * count).from_address(address))


def _scalars_fit() -> bool:
    return all(
        ctypes.string_at(id(x) + LAYOUT.scalar, SCALAR_BYTES[type(x)])
        == np.asarray(x).tobytes()
        for x in (*_SCALARS, 1.1, 1.1 - 2j)
    )


_CHECKS = {
    "objects": _objects_fit,
    "tuples and lists": _containers_fit,
    "arrays": _arrays_fit,
    "scalars": _scalars_fit,
}
