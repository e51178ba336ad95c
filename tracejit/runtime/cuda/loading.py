"""Kernels of the IR and others, built and loaded for a device."""

from collections.abc import Collection

from ...codegen.llvm.launch import Launch, Launches
from ...codegen.triton.code import TritonKernel
from ...kernels.kernel import Buffer, extent_of
from .device import Device

WARP = 32  # threads


def loaded(device: Device, source: TritonKernel, odd: Collection[str]) -> Launches:
    """Build and load what a kernel of the IR became.

    Parameters
    ----------
    device : Device
    source : TritonKernel
    odd : collection of str
        Buffers whose addresses may not be multiples of 16 bytes.
    """
    launches = []
    for code in source.codes:
        function, built = device.function(code, odd)
        launches.append(
            Launch(
                code.name,
                function,
                tuple(b.name for b in code.buffers),
                code.can_fail,
                code.grid,
                WARP * built.facts.num_warps,
                built.facts.shared,
                built.global_scratch * code.grid,
            )
        )
    return Launches(tuple(launches), {b.name: bytes_of(b) for b in source.workspace})


def bytes_of(buffer: Buffer) -> int:
    """Return the bytes that a buffer spans."""
    low, high = extent_of(buffer.shape, buffer.strides)
    return (high - low) * buffer.dtype.itemsize
