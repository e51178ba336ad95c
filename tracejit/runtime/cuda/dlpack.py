"""Arrays of other libraries on the same device, and ours for them, by DLPack.

Nothing is copied: one library keeps the memory until the other lets go of it. NumPy
makes the struct for an array's shadow, of which the device and, for dtypes that NumPy
has not itself, the dtype are put right. Source: dlpack.h, versions 0.8, 1.0 and 1.1.
"""

import ctypes
from typing import Any

import numpy as np

from ...errors import ArgumentError, DTypeError
from ...ir import dtypes as dt
from ...ir.strided import raw_dtype
from .device import Device
from .shadow import shadow_at

CUDA = 2  # kDLCUDA
_CODES = {"i": 0, "u": 1, "f": 2, "c": 5, "b": 6}
# Of dtypes that NumPy's own capsules do not have; of one size each.
_ML_CODES = {dt.BFLOAT16: 4, dt.FLOAT8_E4M3FN: 10, dt.FLOAT8_E5M2: 12}
_OLD, _NEW = b"dltensor", b"dltensor_versioned"
_LEGACY_STREAM, _NO_WAIT = 1, -1


class _Tensor(ctypes.Structure):
    """A DLTensor."""

    _fields_ = (
        ("data", ctypes.c_void_p),
        ("device_type", ctypes.c_int32),
        ("device_id", ctypes.c_int32),
        ("ndim", ctypes.c_int32),
        ("code", ctypes.c_uint8),
        ("bits", ctypes.c_uint8),
        ("lanes", ctypes.c_uint16),
        ("shape", ctypes.POINTER(ctypes.c_int64)),
        ("strides", ctypes.POINTER(ctypes.c_int64)),
        ("byte_offset", ctypes.c_uint64),
    )


class _Managed(ctypes.Structure):
    """A DLManagedTensor."""

    _fields_ = (
        ("tensor", _Tensor),
        ("context", ctypes.c_void_p),
        ("deleter", ctypes.c_void_p),
    )


class _ManagedVersioned(ctypes.Structure):
    """A DLManagedTensorVersioned."""

    _fields_ = (
        ("major", ctypes.c_uint32),
        ("minor", ctypes.c_uint32),
        ("context", ctypes.c_void_p),
        ("deleter", ctypes.c_void_p),
        ("flags", ctypes.c_uint64),
        ("tensor", _Tensor),
    )


_USED = {_OLD: b"used_dltensor", _NEW: b"used_dltensor_versioned"}  # names must live
_STRUCTS = {_OLD: _Managed, _NEW: _ManagedVersioned}
_api = ctypes.pythonapi
_api.PyCapsule_IsValid.argtypes = (ctypes.py_object, ctypes.c_char_p)
_api.PyCapsule_GetPointer.argtypes = (ctypes.py_object, ctypes.c_char_p)
_api.PyCapsule_GetPointer.restype = ctypes.c_void_p
_api.PyCapsule_SetName.argtypes = (ctypes.py_object, ctypes.c_char_p)


def _managed(capsule: Any) -> tuple[bytes, Any]:
    """Return the name of a capsule and the struct in it."""
    for name, struct in _STRUCTS.items():
        if _api.PyCapsule_IsValid(capsule, name):
            address = _api.PyCapsule_GetPointer(capsule, name)
            return name, struct.from_address(address)
    raise ArgumentError("this DLPack capsule was used before, or is none")


def capsule_of(
    x: np.ndarray,
    device: Device,
    stream: int | None,
    max_version: tuple[int, int] | None,
) -> object:
    """Return the DLPack capsule of an array.

    Parameters
    ----------
    x : numpy.ndarray
        Its shadow.
    device : Device
    stream : int, optional
        Of the consumer, which waits for the array; -1 if it sees to that itself.
    max_version : tuple of int, optional
        The newest DLPack that it reads.
    """
    if stream not in (None, _LEGACY_STREAM, _NO_WAIT):
        device.let_wait(stream)
    capsule = x.view(raw_dtype(x.dtype)).__dlpack__(max_version=max_version)
    _, managed = _managed(capsule)
    managed.tensor.device_type, managed.tensor.device_id = CUDA, device.ordinal
    if x.dtype in _ML_CODES:
        managed.tensor.code = _ML_CODES[x.dtype]
    return capsule


def is_on(x: Any, device: Device) -> bool:
    """Tell whether an object is an array that can be borrowed on a device."""
    ask = getattr(x, "__dlpack_device__", None)
    return ask is not None and tuple(ask()) == (CUDA, device.ordinal)


class _Borrowed:
    """Memory of another library, given back with this object."""

    def __init__(self, managed: Any) -> None:
        self.managed = managed

    def __del__(self) -> None:
        if self.managed.deleter:
            release = ctypes.CFUNCTYPE(None, ctypes.c_void_p)(self.managed.deleter)
            release(ctypes.addressof(self.managed))


def borrow(x: Any, device: Device) -> np.ndarray:
    """Return the shadow of another library's array on `device`, without a copy.

    Parameters
    ----------
    x : object
        With ``__dlpack__``.
    device : Device

    Raises
    ------
    DTypeError
        If its elements are none that tracejit has.
    """
    try:
        capsule = x.__dlpack__(stream=device.stream, max_version=(1, 0))
    except TypeError:  # written before DLPack 1.0
        capsule = x.__dlpack__(stream=device.stream)
    name, managed = _managed(capsule)
    tensor = managed.tensor
    dtype = _dtype(tensor)
    _api.PyCapsule_SetName(capsule, _USED[name])
    shape = tuple(tensor.shape[k] for k in range(tensor.ndim))
    strides = None
    if tensor.strides:
        strides = tuple(tensor.strides[k] * dtype.itemsize for k in range(tensor.ndim))
    address = (tensor.data or 0) + tensor.byte_offset
    owner = _Borrowed(managed)
    return shadow_at(device, address, shape, dtype, strides, owner)


def _dtype(tensor: _Tensor) -> np.dtype:
    for dtype, code in _ML_CODES.items():
        size = 8 * dtype.itemsize
        if (tensor.code, tensor.bits, tensor.lanes) == (code, size, 1):
            return dtype
    kind = next((k for k, code in _CODES.items() if code == tensor.code), None)
    if kind is None or tensor.lanes != 1:
        raise DTypeError(
            f"elements of DLPack's type code {tensor.code}, {tensor.bits} bits and "
            f"{tensor.lanes} lanes are not supported"
        )
    return np.dtype("?" if kind == "b" else f"{kind}{tensor.bits // 8}")
