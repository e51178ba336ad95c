"""Where the fields of CPython's and NumPy's objects are, for the native call entry."""

from ....records import dataclass


@dataclass(frozen=True)
class Layout:
    """Bytes from an object's start to a field, and sizes, on 64-bit CPython.

    `runtime.cpu.entry.support` compares them with objects before they are used.
    """

    type: int = 8
    size: int = 16
    tuple_items: int = 24
    list_items: int = 24
    scalar: int = 16
    array_data: int = 16
    array_rank: int = 24
    array_shape: int = 32
    array_strides: int = 40
    array_dtype: int = 56
    array_flags: int = 64
    first_slot: int = 16
    vectorcall: int = 16
    chain: int = 24
