"""Steps that the host computes for a device: copied there, evaluated, copied back."""

from collections.abc import Mapping, Sequence

import numpy as np

from ...kernels.kernel import extent_of
from ...program.program import ProgramBuffer, Step
from ..cpu.externs import Block, HostCalls
from .device import Device


class DeviceCalls(HostCalls):
    """Runs steps in Python on what lies on a device; see `HostCalls`.

    Parameters
    ----------
    steps : sequence of Step
    buffers : mapping of str to ProgramBuffer
    device : Device
    """

    def __init__(
        self,
        steps: Sequence[Step],
        buffers: Mapping[str, ProgramBuffer],
        device: Device,
    ) -> None:
        super().__init__(steps, buffers)
        self._device = device

    def _block(self, address: int, buffer: ProgramBuffer) -> Block:
        return _DeviceBlock(self._device, address, buffer)


class _DeviceBlock:
    """The elements that a buffer spans on a device."""

    def __init__(self, device: Device, address: int, buffer: ProgramBuffer) -> None:
        self.device, self.buffer = device, buffer
        low, high = extent_of(buffer.shape, buffer.strides)
        self.first = -low
        self.start = address + low * buffer.dtype.itemsize
        self.memory = np.empty(high - low, buffer.dtype)

    @property
    def array(self) -> np.ndarray:
        buffer, size = self.buffer, self.buffer.dtype.itemsize
        if 0 in buffer.shape:
            return np.empty(buffer.shape, buffer.dtype)
        strides = [s * size for s in buffer.strides]
        return np.ndarray(
            buffer.shape, buffer.dtype, self.memory.data, self.first * size, strides
        )

    def fetch(self) -> np.ndarray:
        """Return the buffer's elements."""
        self.device.read(self.start, self.memory)
        return self.array

    def put(self, values: np.ndarray) -> None:
        """Store into the buffer; what lies between its elements stays."""
        if self.array.size != self.memory.size:
            self.device.read(self.start, self.memory)
        self.array[...] = values
        self.device.write(self.start, self.memory)
