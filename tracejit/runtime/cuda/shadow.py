"""Shadows: NumPy arrays at addresses of a device.

See `ir.placed` for what they are for. What keeps a shadow's memory is found through
NumPy's own chain of bases, so that views keep it too.
"""

import math
from typing import Any

import numpy as np

from .device import Device
from .memory import Allocation


class Memory:
    """Bytes on a device, for NumPy to make shadows of.

    Parameters
    ----------
    device : Device
    address : int
    size : int
    owner : object
        What keeps the bytes.
    """

    __slots__ = ("__array_interface__", "device", "owner")

    def __init__(self, device: Device, address: int, size: int, owner: object) -> None:
        self.device, self.owner = device, owner
        self.__array_interface__ = {
            "data": (address, False),
            "shape": (size,),
            "typestr": "|u1",
            "version": 3,
        }


def shadow_at(
    device: Device,
    address: int,
    shape: tuple[int, ...],
    dtype: np.dtype,
    strides: tuple[int, ...] | None = None,
    owner: object = None,
) -> np.ndarray:
    """Return the shadow of an array whose elements are at an address on a device.

    Parameters
    ----------
    strides : tuple of int, optional
        In bytes; C-contiguous if none are given.
    owner : object
        What keeps the memory.
    """
    steps = strides or np.empty(0, dtype).reshape((0, *shape)).strides[1:]
    reach = [(n - 1) * s for n, s in zip(shape, steps, strict=True)]
    first = sum(min(r, 0) for r in reach)
    size = sum(max(r, 0) for r in reach) - first + dtype.itemsize
    if 0 in shape:
        first = size = 0
    block = np.asarray(Memory(device, address + first, size, owner))
    return np.ndarray(shape, dtype, block, -first, steps)


def size_of(shape: tuple[int, ...], dtype: np.dtype) -> int:
    """Return the bytes of a contiguous array."""
    return math.prod(shape) * dtype.itemsize


def shadow_in(
    device: Device, allocation: Allocation, shape: tuple[int, ...], dtype: np.dtype
) -> np.ndarray:
    """Return the shadow of a C-contiguous array in a block of memory."""
    return shadow_at(device, allocation.address, shape, dtype, owner=allocation)


def uploaded(device: Device, array: np.ndarray, label: str = "array") -> np.ndarray:
    """Return the shadow of a C-contiguous copy of an array."""
    block = device.upload(np.ascontiguousarray(array), label)
    return shadow_in(device, block, array.shape, array.dtype)


def mark_of(shadow: np.ndarray) -> int | None:
    """Return the mark after which a shadow's elements are there, if that is known."""
    memory = memory_of(shadow)
    owner = None if memory is None else memory.owner
    return owner.mark if isinstance(owner, Allocation) else None


def set_mark(shadow: np.ndarray, mark: int | None) -> None:
    """Say when what was written to a shadow is there, unless others may write too.

    Parameters
    ----------
    mark : int, optional
        None from now on, if other libraries see the memory.
    """
    memory = memory_of(shadow)
    owner = None if memory is None else memory.owner
    if isinstance(owner, Allocation) and (mark is None or owner.mark is not None):
        owner.mark = mark


def memory_of(shadow: np.ndarray) -> Memory | None:
    """Return the device's memory that a shadow lies in; None for other arrays."""
    owner: Any = shadow
    while owner is not None and type(owner) is not Memory:
        owner = getattr(owner, "base", None)
    return owner
