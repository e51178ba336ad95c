"""Copies from one device to another that do not pass the host.

The stream of copies to the one device waits for what made the array on the other, and
copies; that other device's memory is not used again before. Where the hardware lets one
device see the other's memory, it is asked to, once for each pair.
"""

import ctypes

import numpy as np

from ..cpu.call import data_pointer
from .device import Device
from .shadow import mark_of, shadow_in

_DEVICE, _READ_AND_WRITE = 1, 3


class _Access(ctypes.Structure):
    """``CUmemAccessDesc``: who may do what."""

    _fields_ = (
        ("kind", ctypes.c_int),
        ("number", ctypes.c_int),
        ("flags", ctypes.c_int),
    )


def copy_to_peer(shadow: np.ndarray, source: Device, to: Device) -> np.ndarray:
    """Return the shadow of a copy on another device of the same driver.

    Parameters
    ----------
    shadow : numpy.ndarray
        C-contiguous.
    source, to : Device
    """
    _let_see(source, to)
    address, size = data_pointer(shadow), shadow.nbytes
    source.enter()
    mark = mark_of(shadow)
    if mark is None:
        source.settle((address,))
        mark = source.marks.make()
    to.enter()
    stream = to.transfers.inward
    allocation = to.pool.allocate_for(stream, size, "array")
    source.marks.wait(stream, mark)
    places = allocation.address, to.context, address, source.context
    to.driver.call("cuMemcpyPeerAsync", *places, size, stream)
    to.transfers.sent(allocation)
    source.arrivals.add(address, size, stream)
    return shadow_in(to, allocation, shadow.shape, shadow.dtype)


def _let_see(one: Device, other: Device) -> None:
    """Let two devices copy from and to each other's memory, if they can."""
    for device, peer in ((one, other), (other, one)):
        if peer.number in device.peers:
            continue
        device.peers.add(peer.number)
        if device.driver.integer("cuDeviceCanAccessPeer", peer.number, device.number):
            peer_access = _Access(_DEVICE, peer.number, _READ_AND_WRITE)
            pool = device.pool.handle
            device.driver.call("cuMemPoolSetAccess", pool, ctypes.byref(peer_access), 1)
