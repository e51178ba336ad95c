"""Calling machine code through `ctypes`: works on every Python and platform.

Needs the address of a function that takes an array of data pointers. Establishes a
callable that returns the function's result, its error word by convention. `ctypes`
releases the GIL during the call, so calls from several threads run in parallel; the
caller's arguments keep the arrays alive meanwhile.
"""

import ctypes
import sys
from collections.abc import Callable, Sequence
from functools import cache
from struct import Struct
from typing import TypeAlias

import numpy as np

CType: TypeAlias = type[ctypes.c_void_p] | type[ctypes.c_int64] | type[ctypes.c_int32]

# Whether array data pointers are read where NumPy's public C struct has them, which is
# eight times as fast as `array.ctypes.data`. See `_has_known_layout`.
_DATA_OFFSET = object.__basicsize__
_read_address = ctypes.c_size_t.from_address


def _data_by_struct(array: np.ndarray) -> int:
    return _read_address(id(array) + _DATA_OFFSET).value


def _data_by_interface(array: np.ndarray) -> int:
    address: int = array.__array_interface__["data"][0]
    return address


@cache
def _has_known_layout() -> bool:
    """Return whether `_data_by_struct` agrees with NumPy on several kinds of array."""
    if sys.implementation.name != "cpython":
        return False
    base = np.arange(24.0).reshape(4, 6)
    frozen = base.astype(np.int8)
    frozen.flags.writeable = False
    samples = (base, base[::-1, 2::3], base.T, frozen, base[4:], np.array(1j))
    return all(_data_by_struct(a) == _data_by_interface(a) for a in samples)


data_pointer: Callable[[np.ndarray], int] = (
    _data_by_struct if _has_known_layout() else _data_by_interface
)
"""Return the address of an array's first element, whatever its flags and strides."""


@cache
def _pointers(count: int) -> Struct:
    return Struct(f"{count}P")


class NativeFunction:
    """A native function ``result f(void *const *pointers, rest...)``.

    Parameters
    ----------
    address : int
    restype : ctypes type
        Of the result, by convention an error word that is 0 for success.
    argtypes : sequence of ctypes types
        Of the arguments after the pointers, for example the arena's address.
    owner : object, optional
        What keeps the code loaded (a `Library`); kept alive with this.

    Examples
    --------
    >>> function = NativeFunction(library.address("main"), owner=library)
    ... # doctest: +SKIP
    >>> error = function([x, y, out], arena.address)  # doctest: +SKIP
    """

    __slots__ = ("_function", "_owner", "address")

    def __init__(
        self,
        address: int,
        restype: CType | None = ctypes.c_int64,
        argtypes: Sequence[CType] = (ctypes.c_void_p,),
        owner: object = None,
    ) -> None:
        prototype = ctypes.CFUNCTYPE(restype, ctypes.c_char_p, *argtypes)
        self.address = address
        self._function = prototype(address)
        self._owner = owner

    def __call__(self, arrays: Sequence[np.ndarray], *rest: int) -> int | None:
        """Call with the data pointers of `arrays`, without the GIL.

        Returns
        -------
        int or None
            The result, None if `restype` is.
        """
        return self.at([data_pointer(x) for x in arrays], *rest)

    def at(self, addresses: Sequence[int], *rest: int) -> int | None:
        """Call with data pointers, without the GIL; see `__call__`."""
        pack = _pointers(len(addresses)).pack
        result: int | None = self._function(pack(*addresses), *rest)
        return result
