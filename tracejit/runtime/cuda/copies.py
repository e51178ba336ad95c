"""Copies from one array on a device to another, of any strides."""

import ctypes

import numpy as np

from ...codegen.llvm.copies import copy_kernel
from ...codegen.triton.emit import emit_kernel
from ...program.program import ProgramBuffer, Storage
from ...program.verify import is_dense
from ..cpu.call import data_pointer
from ..overlap import byte_range
from .device import Device
from .loading import loaded
from .shadow import set_mark, shadow_at


def copy_on_device(device: Device, to: np.ndarray, source: np.ndarray) -> None:
    """Copy between shadows of one shape and dtype that share no memory."""
    if not to.size:
        return
    addresses = [data_pointer(x) for x in (to, source)]
    device.settle(addresses)
    _ask_for_copy(device, to, source, addresses)
    set_mark(to, device.marks.make())


def _ask_for_copy(
    device: Device, to: np.ndarray, source: np.ndarray, addresses: list[int]
) -> None:
    target = _buffer("to", to)
    if to.strides == source.strides and is_dense(target.shape, target.strides):
        device.driver.call("cuMemcpyDtoDAsync", *addresses, to.nbytes, device.stream)
        return
    kernel, schedule = copy_kernel(_buffer("source", source), target)
    found = loaded(
        device, emit_kernel(kernel, schedule, device.tuning), ("source", "to")
    )
    places = {"to": addresses[0], "source": addresses[1]}
    for launch in found.kernels:
        values = [*(places[name] for name in launch.arguments), 0, 0]
        slots = (ctypes.c_uint64 * len(values))(*values)
        start = ctypes.addressof(slots)
        arguments = (ctypes.c_void_p * len(values))(
            *(start + 8 * k for k in range(len(values)))
        )
        device.driver.call(
            "cuLaunchKernel",
            launch.function,
            *(launch.grid, 1, 1, launch.threads, 1, 1, launch.shared),
            device.stream,
            arguments,
            None,
        )


def aligned_copy(device: Device, shadow: np.ndarray, alignment: int) -> np.ndarray:
    """Return a copy of the same strides whose first element is aligned."""
    low, high = byte_range(shadow)
    size = high - low
    allocation = device.pool.allocate(size + alignment, "an argument, aligned")
    first = allocation.address - low + low % alignment
    source = data_pointer(shadow)
    device.settle((source,))
    device.driver.call(
        "cuMemcpyDtoDAsync", first + low, source + low, size, device.stream
    )
    return shadow_at(
        device, first, shadow.shape, shadow.dtype, shadow.strides, allocation
    )


def _buffer(name: str, shadow: np.ndarray) -> ProgramBuffer:
    strides = tuple(s // shadow.itemsize for s in shadow.strides)
    return ProgramBuffer(name, shadow.dtype, shadow.shape, strides, Storage.INPUT)
