"""The CUDA driver's functions, by name.

Needs ``libcuda.so.1``, which comes with NVIDIA's driver, and nothing else: compiled
programs call the driver by address, so that no binding for Python stands between, and a
table of other functions takes the driver's place in tests. Establishes `Driver.call`,
which raises what fails.

Source: the CUDA driver API reference, version 12.0, which every driver from 525 on has.
"""

import contextlib
import ctypes
import sys
from collections.abc import Mapping
from ctypes import POINTER, c_char_p, c_float, c_int, c_size_t, c_uint, c_uint64
from ctypes import c_void_p as ptr
from functools import cache, cached_property
from typing import Any

from ...errors import DeviceError, NoDeviceError

_VERSION = 12000
_INTEGERS, _SIZES, _POINTERS = POINTER(c_int), POINTER(c_size_t), POINTER(ptr)

SIGNATURES: Mapping[str, tuple[Any, ...]] = {
    "cuInit": (c_uint,),
    "cuDriverGetVersion": (_INTEGERS,),
    "cuDeviceGetCount": (_INTEGERS,),
    "cuDeviceGet": (_INTEGERS, c_int),
    "cuDeviceGetName": (ptr, c_int, c_int),
    "cuDeviceGetAttribute": (_INTEGERS, c_int, c_int),
    "cuDeviceTotalMem": (_SIZES, c_int),
    "cuDevicePrimaryCtxRetain": (_POINTERS, c_int),
    "cuCtxSetCurrent": (ptr,),
    "cuStreamCreate": (_POINTERS, c_uint),
    "cuStreamSynchronize": (ptr,),
    "cuStreamWaitEvent": (ptr, ptr, c_uint),
    "cuMemGetInfo": (_SIZES, _SIZES),
    "cuMemAllocAsync": (POINTER(c_uint64), c_size_t, ptr),
    "cuMemFreeAsync": (c_uint64, ptr),
    "cuDeviceGetDefaultMemPool": (_POINTERS, c_int),
    "cuMemPoolSetAttribute": (ptr, c_int, ptr),
    "cuMemPoolTrimTo": (ptr, c_size_t),
    "cuMemPoolSetAccess": (ptr, ptr, c_size_t),
    "cuDeviceCanAccessPeer": (_INTEGERS, c_int, c_int),
    "cuMemHostAlloc": (_POINTERS, c_size_t, c_uint),
    "cuMemFreeHost": (ptr,),
    "cuMemcpyHtoDAsync": (c_uint64, ptr, c_size_t, ptr),
    "cuMemcpyDtoHAsync": (ptr, c_uint64, c_size_t, ptr),
    "cuMemcpyDtoDAsync": (c_uint64, c_uint64, c_size_t, ptr),
    "cuMemcpyPeerAsync": (c_uint64, ptr, c_uint64, ptr, c_size_t, ptr),
    "cuPointerGetAttribute": (ptr, c_int, c_uint64),
    "cuModuleLoadData": (_POINTERS, c_char_p),
    "cuModuleUnload": (ptr,),
    "cuModuleGetFunction": (_POINTERS, ptr, c_char_p),
    "cuFuncGetAttribute": (_INTEGERS, c_int, ptr),
    "cuFuncSetAttribute": (ptr, c_int, c_int),
    "cuLaunchKernel": (ptr, *([c_uint] * 7), ptr, _POINTERS, _POINTERS),
    "cuEventCreate": (_POINTERS, c_uint),
    "cuEventRecord": (ptr, ptr),
    "cuEventSynchronize": (ptr,),
    "cuEventElapsedTime": (POINTER(c_float), ptr, ptr),
    "cuEventDestroy": (ptr,),
    "cuStreamBeginCapture": (ptr, c_int),
    "cuStreamEndCapture": (ptr, _POINTERS),
    "cuGraphInstantiateWithFlags": (_POINTERS, ptr, c_uint64),
    "cuGraphLaunch": (ptr, ptr),
    "cuGraphExecDestroy": (ptr,),
    "cuGraphDestroy": (ptr,),
    "cuGetErrorName": (c_int, POINTER(c_char_p)),
    "cuGetErrorString": (c_int, POINTER(c_char_p)),
}
"""What is called, and the types of its arguments; each returns a CUresult."""

CONDITIONS: Mapping[str, tuple[int, tuple[Any, ...]]] = {
    "cuGraphConditionalHandleCreate": (
        12030,
        (POINTER(c_uint64), ptr, ptr, c_uint, c_uint),
    ),
    "cuGraphAddNode": (12020, (_POINTERS, ptr, ptr, c_size_t, ptr)),
    "cuStreamBeginCaptureToGraph": (12030, (ptr, ptr, ptr, ptr, c_size_t, c_int)),
    "cuStreamGetCaptureInfo": (
        12020,
        (ptr, _INTEGERS, POINTER(c_uint64), _POINTERS, _POINTERS, _SIZES),
    ),
    "cuStreamUpdateCaptureDependencies": (12020, (ptr, _POINTERS, c_size_t, c_uint)),
}
"""The same of what drivers of CUDA 12.4 have, with the version that is meant."""
_CONDITIONS_FROM = 12040


class Driver:
    """The functions of a driver.

    Parameters
    ----------
    addresses : mapping of str to int
        Of each function of `SIGNATURES`, and of those of `CONDITIONS` that there are.

    Examples
    --------
    >>> driver = system_driver()  # doctest: +SKIP
    >>> driver.integer("cuDriverGetVersion")  # doctest: +SKIP
    13000
    """

    def __init__(self, addresses: Mapping[str, int]) -> None:
        self.addresses = dict(addresses)
        types = {**SIGNATURES, **{name: row[1] for name, row in CONDITIONS.items()}}
        self._functions = {
            name: ctypes.CFUNCTYPE(c_int, *types[name])(address)
            for name, address in addresses.items()
        }

    @cached_property
    def has_conditions(self) -> bool:
        """Whether CUDA graphs may have branches and loops."""
        is_new = self.integer("cuDriverGetVersion") >= _CONDITIONS_FROM
        return is_new and all(name in self.addresses for name in CONDITIONS)

    def call(self, function: str, *arguments: Any) -> None:
        """Call a function by name.

        Raises
        ------
        DeviceError
            Unless it succeeds.
        """
        code = self._functions[function](*arguments)
        if code:
            raise self.error(function, code)

    def integer(self, function: str, *arguments: Any) -> int:
        """Call a function whose first argument points to the integer it returns."""
        out = c_int()
        self.call(function, ctypes.byref(out), *arguments)
        return out.value

    def handle(self, function: str, *arguments: Any) -> int:
        """Call a function whose first argument points to the handle it returns."""
        out = ptr()
        self.call(function, ctypes.byref(out), *arguments)
        return out.value or 0

    def handle_last(self, function: str, *arguments: Any) -> int:
        """Call a function whose last argument points to the handle it returns."""
        out = ptr()
        self.call(function, *arguments, ctypes.byref(out))
        return out.value or 0

    def error(self, function: str, code: int) -> DeviceError:
        """Return the error that a CUresult is."""
        texts = []
        for describe in ("cuGetErrorName", "cuGetErrorString"):
            text = c_char_p()
            self._functions[describe](code, ctypes.byref(text))
            texts.append((text.value or b"unknown").decode())
        name, meaning = texts
        return DeviceError(f"{function} failed: {name} ({code}): {meaning}", code=code)


def free_host(driver: Driver, address: int) -> None:
    """Give page-locked memory back."""
    with contextlib.suppress(DeviceError):  # the driver may be gone by now
        driver.call("cuMemFreeHost", address)


@cache
def system_driver() -> Driver:
    """Return the driver of this machine, initialised.

    Raises
    ------
    NoDeviceError
        Without one, saying what is missing.
    """
    driver = Driver(_addresses(_library()))
    try:
        driver.call("cuInit", 0)
    except DeviceError as error:
        raise NoDeviceError(f"there is no CUDA device: {error.message}") from error
    return driver


def _library() -> ctypes.CDLL:
    name = "nvcuda.dll" if sys.platform == "win32" else "libcuda.so.1"
    try:
        return ctypes.CDLL(name)
    except OSError as error:
        raise NoDeviceError(
            f"there is no CUDA driver: {name} cannot be loaded",
            hint="install NVIDIA's driver, or run on the CPU: jit(device='cpu')",
        ) from error


def _addresses(library: ctypes.CDLL) -> dict[str, int]:
    """Return the addresses of the versions of functions that `SIGNATURES` means."""
    find = getattr(library, "cuGetProcAddress_v2", None)
    if find is None:
        raise NoDeviceError(
            "the CUDA driver is too old", hint="driver 525 or newer is needed"
        )
    find.argtypes = (c_char_p, _POINTERS, c_int, c_uint64, ptr)
    found: dict[str, int] = {}
    wanted = dict.fromkeys(SIGNATURES, _VERSION)
    wanted |= {name: version for name, (version, _) in CONDITIONS.items()}
    for name, version in wanted.items():
        address, status = ptr(), c_int()
        code = find(
            name.encode(), ctypes.byref(address), version, 0, ctypes.byref(status)
        )
        if not code and address.value:
            found[name] = address.value
        elif name in SIGNATURES:
            raise NoDeviceError(
                f"the CUDA driver has no {name}", hint="driver 525 or newer is needed"
            )
    return found
