"""cuBLAS and cuSOLVER, by `ctypes`: found where they are installed, never needed.

NVIDIA's toolkit has them, and so have the Python packages ``nvidia-cusolver-cu12`` and
the like, which PyTorch, CuPy and JAX bring along. Native code calls them by address;
what it must know beforehand (handles, how much memory a routine works in) is asked for
here. Establishes `Libraries` of one device, with one handle of each: one thread at a
time may use it, which `lock` sees to.

Source: the API references of cuBLAS and cuSOLVER, version 12.
"""

import ctypes
import importlib.util
import threading
from collections.abc import Iterator, Mapping
from ctypes import c_int
from ctypes import c_void_p as ptr
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np

from ...codegen.llvm.launch import Argument, Call, Handle
from ...errors import DeviceError

_OUT = ctypes.POINTER(c_int)
_LETTERS: Mapping[np.dtype, str] = {
    np.dtype(np.float32): "S",
    np.dtype(np.float64): "D",
}

SOLVER: Mapping[str, tuple[Any, ...]] = {
    "potrf": (c_int, c_int, ptr, c_int, ptr, c_int, ptr),
    "potrf_bufferSize": (c_int, c_int, ptr, c_int, _OUT),
    "potrfBatched": (c_int, c_int, ptr, c_int, ptr, c_int),
    "getrf": (c_int, c_int, ptr, c_int, ptr, ptr, ptr),
    "getrf_bufferSize": (c_int, c_int, ptr, c_int, _OUT),
    "getrs": (c_int, c_int, c_int, ptr, c_int, ptr, ptr, c_int, ptr),
    "geqrf": (c_int, c_int, ptr, c_int, ptr, ptr, c_int, ptr),
    "geqrf_bufferSize": (c_int, c_int, ptr, c_int, _OUT),
    "orgqr": (c_int, c_int, c_int, ptr, c_int, ptr, ptr, c_int, ptr),
    "orgqr_bufferSize": (c_int, c_int, c_int, ptr, c_int, ptr, _OUT),
    "syevd": (c_int, c_int, c_int, ptr, c_int, ptr, ptr, c_int, ptr),
    "syevd_bufferSize": (c_int, c_int, c_int, ptr, c_int, ptr, _OUT),
    "gesvd": (
        *(c_int, c_int, c_int, c_int, ptr, c_int, ptr),
        *(ptr, c_int, ptr, c_int, ptr, c_int, ptr, ptr),
    ),
    "gesvd_bufferSize": (c_int, c_int, _OUT),
}
"""Routines of cuSOLVER, and the types of their arguments after the handle.

Characters (of ``gesvd``) are passed as ints, which is how C passes them.
"""
BLAS: Mapping[str, tuple[Any, ...]] = {
    "trsm": (*(c_int,) * 6, ptr, ptr, c_int, ptr, c_int),
    "getrfBatched": (c_int, ptr, c_int, ptr, ptr, c_int),
    "getrsBatched": (c_int, c_int, c_int, ptr, c_int, ptr, ptr, c_int, ptr, c_int),
    "trsmBatched": (*(c_int,) * 6, ptr, ptr, c_int, ptr, c_int, c_int),
}
"""The same of cuBLAS."""


def solver_name(routine: str, dtype: np.dtype) -> str:
    """Return the name of a routine of cuSOLVER.

    Examples
    --------
    >>> solver_name("potrf_bufferSize", np.dtype(np.float32))
    'cusolverDnSpotrf_bufferSize'
    """
    return f"cusolverDn{_LETTERS[dtype]}{routine}"


def blas_name(routine: str, dtype: np.dtype) -> str:
    """Return the name of a routine of cuBLAS.

    Examples
    --------
    >>> blas_name("trsm", np.dtype(np.float64))
    'cublasDtrsm_v2'
    """
    version = "" if routine.endswith("Batched") else "_v2"
    return f"cublas{_LETTERS[dtype]}{routine}{version}"


def signatures() -> dict[str, tuple[Any, ...]]:
    """Return every function that is called, and the types of its arguments."""
    found: dict[str, tuple[Any, ...]] = {
        "cusolverDnCreate": (ctypes.POINTER(ptr),),
        "cusolverDnSetStream": (ptr, ptr),
        "cublasCreate_v2": (ctypes.POINTER(ptr),),
        "cublasSetStream_v2": (ptr, ptr),
    }
    for dtype in _LETTERS:
        found |= {solver_name(n, dtype): (ptr, *types) for n, types in SOLVER.items()}
        found |= {blas_name(n, dtype): (ptr, *types) for n, types in BLAS.items()}
    return found


class Libraries:
    """The libraries of one device, whose context is current when this is made.

    Parameters
    ----------
    addresses : mapping of str to int
        Of each function of `signatures`.

    Attributes
    ----------
    lock : threading.RLock
        For whoever calls them; a callback of such a call may call them too.

    Raises
    ------
    DeviceError
        If a library does not start.
    """

    def __init__(self, addresses: Mapping[str, int]) -> None:
        self._addresses = addresses
        self._functions = {
            name: ctypes.CFUNCTYPE(c_int, *types)(addresses[name])
            for name, types in signatures().items()
        }
        self.lock = threading.RLock()
        # Most of cuSOLVER waits for the device on its way, or cannot be recorded.
        self._solver = self._handle("cusolverDn", "Create", "SetStream", False)
        self._blas = self._handle("cublas", "Create_v2", "SetStream_v2", True)

    def _handle(self, name: str, create: str, select: str, recorded: bool) -> Handle:
        out = ptr()
        self._ask(name + create, ctypes.byref(out))
        select = name + select
        return Handle(name, out.value or 0, select, self._addresses[select], recorded)

    def _ask(self, function: str, *arguments: Any) -> None:
        status = self._functions[function](*arguments)
        if status:
            raise DeviceError(f"{function} failed with status {status}", code=status)

    def work_size(self, routine: str, dtype: np.dtype, *arguments: int | None) -> int:
        """Return how many elements of `dtype` a routine of cuSOLVER works in."""
        out, name = c_int(), solver_name(f"{routine}_bufferSize", dtype)
        self._ask(name, self._solver.address, *arguments, ctypes.byref(out))
        return out.value

    def solver(
        self,
        routine: str,
        dtype: np.dtype,
        arguments: tuple[Argument, ...],
        count: int,
    ) -> Call:
        """Return the calls of a routine of cuSOLVER."""
        name = solver_name(routine, dtype)
        return Call(name, self._addresses[name], self._solver, arguments, count)

    def blas(
        self,
        routine: str,
        dtype: np.dtype,
        arguments: tuple[Argument, ...],
        count: int,
    ) -> Call:
        """Return the calls of a routine of cuBLAS."""
        name = blas_name(routine, dtype)
        return Call(name, self._addresses[name], self._blas, arguments, count)


@cache
def system_addresses() -> dict[str, int] | None:
    """Return the functions of this machine's libraries; None if one is missing."""
    blas = library_named("cublas")
    solver = library_named("cusolver") if blas is not None else None
    if blas is None or solver is None:
        return None
    found = {}
    for name in signatures():
        library = blas if name.startswith("cublas") else solver
        function = getattr(library, name, None)
        if function is None:
            return None
        found[name] = ctypes.cast(function, ptr).value or 0
    return found


def library_named(name: str) -> ctypes.CDLL | None:
    """Return a library of NVIDIA's, from wherever it is; None if it is nowhere."""
    for path in _candidates(name):
        try:
            return ctypes.CDLL(path)
        except OSError:
            continue
    return None


def _candidates(name: str) -> Iterator[str]:
    """Yield where a library may be: the linker's own places, then Python packages."""
    for version in (13, 12, 11):
        yield f"lib{name}.so.{version}"
    package = importlib.util.find_spec("nvidia")
    for folder in (package and package.submodule_search_locations) or ():
        for path in sorted(Path(folder).glob(f"*/lib/lib{name}.so.*"), reverse=True):
            yield str(path)
