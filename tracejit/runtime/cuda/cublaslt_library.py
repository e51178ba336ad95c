"""cuBLASLt by `ctypes`: descriptions of products, and the library's own heuristic.

Found where it is installed, never needed (see `libraries`). What is described here is
column-major, as the library has it. Descriptions live as long as the object that made
them, so that native code may point to them.

Source: the API reference of cuBLASLt, version 12; the numbers are those of
``cublasLt.h`` and ``library_types.h``.
"""

import ctypes
from collections.abc import Mapping
from ctypes import c_int, c_int32, c_int64, c_size_t, c_uint32, c_uint64
from ctypes import c_void_p as ptr
from dataclasses import dataclass
from functools import cache
from typing import Any

import numpy as np

from ...errors import DeviceError
from ...ir import dtypes as dt
from .libraries import library_named

MATMUL = "cublasLtMatmul"
_OUT = ctypes.POINTER(ptr)
SIGNATURES: Mapping[str, tuple[Any, ...]] = {
    "cublasLtCreate": (_OUT,),
    "cublasLtMatmulDescCreate": (_OUT, c_int, c_int),
    "cublasLtMatmulDescSetAttribute": (ptr, c_int, ptr, c_size_t),
    "cublasLtMatrixLayoutCreate": (_OUT, c_int, c_uint64, c_uint64, c_int64),
    "cublasLtMatrixLayoutSetAttribute": (ptr, c_int, ptr, c_size_t),
    "cublasLtMatmulPreferenceCreate": (_OUT,),
    "cublasLtMatmulPreferenceSetAttribute": (ptr, c_int, ptr, c_size_t),
    "cublasLtMatmulAlgoGetHeuristic": (
        *(ptr, ptr, ptr, ptr, ptr, ptr, ptr),
        *(c_int, ptr, ctypes.POINTER(c_int)),
    ),
    MATMUL: (
        *(ptr, ptr, ptr, ptr, ptr, ptr, ptr, ptr, ptr, ptr, ptr, ptr, ptr, ptr),
        *(c_size_t, ptr),
    ),
}
"""Functions of the library, and the types of their arguments; each returns a status."""

_TYPES: Mapping[np.dtype, int] = {
    dt.FLOAT32: 0,
    dt.FLOAT64: 1,
    dt.NAME_TO_DTYPE["f16"]: 2,
    dt.BFLOAT16: 14,
}
_COMPUTE, _COMPUTE_TF32, _COMPUTE_DOUBLE = 68, 77, 70
_TRANSPOSE_A, _TRANSPOSE_B = 3, 4  # attributes of a product
_BATCH_COUNT, _BATCH_STEP = 5, 6  # of a matrix
_WORKSPACE, _ALIGNMENTS = 1, (5, 6, 7, 8)  # of what is preferred
_MOST_WORKSPACE = 32 << 20  # bytes; what NVIDIA recommends for Hopper


class _Result(ctypes.Structure):
    """What the heuristic says of one algorithm."""

    _fields_ = (
        ("algorithm", c_uint64 * 8),
        ("workspace", c_size_t),
        ("state", c_int),
        ("waves", ctypes.c_float),
        ("reserved", c_int * 4),
    )


@dataclass(frozen=True)
class Columns:
    """A column-major matrix, or one for each place in a stack.

    Parameters
    ----------
    rows, columns : int
    leading : int
        Elements from one column to the next.
    batch, batch_step : int
        How many there are, and the elements from one to the next.
    """

    rows: int
    columns: int
    leading: int
    batch: int
    batch_step: int


@dataclass(frozen=True)
class Described:
    """A product that the library can compute, by one of its algorithms.

    Parameters
    ----------
    product, a, b, d, algorithm : int
        Addresses of descriptions.
    workspace : int
        Bytes that it works in.
    """

    product: int
    a: int
    b: int
    d: int
    algorithm: int
    workspace: int


class CublasLt:
    """The library, started in the current context.

    Parameters
    ----------
    addresses : mapping of str to int
        Of each function of `SIGNATURES`.

    Raises
    ------
    DeviceError
        If it does not start.
    """

    def __init__(self, addresses: Mapping[str, int]) -> None:
        self.addresses = dict(addresses)
        self.functions = {
            name: ctypes.CFUNCTYPE(c_int, *types)(addresses[name])
            for name, types in SIGNATURES.items()
        }
        self.handle = self._made("cublasLtCreate")
        self._results: list[ctypes.Array[_Result]] = []

    def ask(self, function: str, *arguments: Any) -> None:
        """Call a function.

        Raises
        ------
        DeviceError
            Unless it succeeds.
        """
        status = self.functions[function](*arguments)
        if status:
            raise DeviceError(f"{function} failed with status {status}", code=status)

    def _made(self, function: str, *arguments: Any) -> int:
        out = ptr()
        self.ask(function, ctypes.byref(out), *arguments)
        return out.value or 0

    def _set(self, kind: str, of: int, attribute: int, value: Any) -> None:
        name = f"cublasLt{kind}SetAttribute"
        self.ask(name, of, attribute, ctypes.byref(value), ctypes.sizeof(value))

    def _layout(self, dtype: np.dtype, matrix: Columns) -> int:
        m = matrix
        made = self._made(
            "cublasLtMatrixLayoutCreate", _TYPES[dtype], m.rows, m.columns, m.leading
        )
        if m.batch > 1:
            self._set("MatrixLayout", made, _BATCH_COUNT, c_int32(m.batch))
            self._set("MatrixLayout", made, _BATCH_STEP, c_int64(m.batch_step))
        return made

    def describe(
        self,
        dtype: np.dtype,
        a: tuple[Columns, bool],
        b: tuple[Columns, bool],
        d: Columns,
        alignment: int,
        most: int,
        tf32: bool = False,
    ) -> list[Described]:
        """Return ways to compute ``d = op(a) @ op(b)``, as the library ranks them.

        Parameters
        ----------
        dtype : numpy.dtype
            Of all matrices: float32, float64, float16 or bfloat16.
        a, b : tuple of Columns and bool
            Each with whether it is transposed.
        d : Columns
        alignment : int
            Bytes that all addresses are multiples of.
        most : int
            How many.
        tf32 : bool
            Whether float32 numbers may be rounded to tf32.
        """
        is_double = dtype == dt.FLOAT64
        compute = _COMPUTE_TF32 if tf32 and dtype == dt.FLOAT32 else _COMPUTE
        product = self._made(
            "cublasLtMatmulDescCreate",
            _COMPUTE_DOUBLE if is_double else compute,
            _TYPES[dt.FLOAT64 if is_double else dt.FLOAT32],
        )
        for attribute, is_turned in ((_TRANSPOSE_A, a[1]), (_TRANSPOSE_B, b[1])):
            self._set("MatmulDesc", product, attribute, c_int32(is_turned))
        of_a, of_b, of_d = (self._layout(dtype, x) for x in (a[0], b[0], d))
        found = self._ranked(product, (of_a, of_b, of_d, of_d), alignment, most)
        start, size = ctypes.addressof(found), ctypes.sizeof(_Result)
        return [
            Described(product, of_a, of_b, of_d, start + k * size, one.workspace)
            for k, one in enumerate(found)
            if not one.state
        ]

    def _ranked(
        self, product: int, layouts: tuple[int, ...], alignment: int, most: int
    ) -> "ctypes.Array[_Result]":
        """Return what the heuristic says, the best first."""
        preferred = self._made("cublasLtMatmulPreferenceCreate")
        size = c_uint64(_MOST_WORKSPACE)
        self._set("MatmulPreference", preferred, _WORKSPACE, size)
        for attribute in _ALIGNMENTS:
            value = c_uint32(alignment)
            self._set("MatmulPreference", preferred, attribute, value)
        results, count = (_Result * most)(), c_int()
        asked = self.handle, product, *layouts, preferred, most, results
        name = "cublasLtMatmulAlgoGetHeuristic"
        self.ask(name, *asked, ctypes.byref(count))
        self._results.append(results)  # calls point to its algorithms
        return (_Result * count.value).from_buffer(results)


@cache
def product_addresses() -> dict[str, int] | None:
    """Return the functions of this machine's library; None if it is missing."""
    library = library_named("cublasLt")
    if library is None:
        return None
    found = {}
    for name in SIGNATURES:
        function = getattr(library, name, None)
        if function is None:
            return None
        found[name] = ctypes.cast(function, ptr).value or 0
    return found
