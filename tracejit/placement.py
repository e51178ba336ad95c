"""Which device a call runs on, and how arrays get there."""

from contextlib import AbstractContextManager
from typing import Any

import numpy as np

from . import config
from .errors import ArgumentError, TracejitError
from .runtime.cuda.array import Array, let_compute, on_device
from .runtime.cuda.device import CPU, Device, DeviceLike, device_count, find_device
from .runtime.cuda.dlpack import borrow, is_on
from .tracing.record import Recording
from .tracing.signature import Call

__all__ = [
    "Array",
    "Device",
    "device",
    "devices",
    "let_compute",
    "synchronize",
    "to_device",
]


def device_for(call: Call, wanted: DeviceLike) -> Device | None:
    """Return the device that a call runs on; None for the CPU.

    Parameters
    ----------
    call : Call
    wanted : str or Device, optional
        What the function was compiled for.

    Raises
    ------
    ArgumentError
        If its arrays are on another device.
    """
    place = call.place
    if place is None:
        return find_device(config.get("device") if wanted is None else wanted)
    own = next(x.device for x in call.given if isinstance(x, Array))
    if wanted is None:
        return own
    found = find_device(wanted)
    if found is not own:
        name = CPU if found is None else found.name
        raise ArgumentError(
            f"arguments are on {place}, but the function is compiled for {name}",
            hint=f"pass x.numpy(), or tj.to_device(x, {name!r})",
        )
    return own


def device_of_captures(recording: Recording, device: Device | None) -> Device | None:
    """Return the device that a call runs on, now that its captured arrays are known.

    Raises
    ------
    ArgumentError
        If they are on another device, or on several.
    """
    for capture in recording.captures:
        if isinstance(capture.owner, Array):
            device = device or capture.owner.device
            if capture.owner.device is not device:
                raise ArgumentError(
                    f"the captured array {capture.name} is on {capture.owner.place}, "
                    f"but the call runs on {device.name}",
                    hint=f"move it with tj.to_device({capture.name}, {device.name!r})",
                )
    return device


def to_device(x: Any, device: DeviceLike = "cuda") -> Any:
    """Copy an array to a device.

    Parameters
    ----------
    x : array_like or Array
        An array of another library that is on the device already (a PyTorch or CuPy
        one, say) is not copied: both see the same memory.
    device : str or Device
        ``"cpu"`` gives a NumPy array.

    Returns
    -------
    Array or numpy.ndarray
        `x` itself if it is there.

    Raises
    ------
    NoDeviceError
        If there is no such device here.

    Examples
    --------
    >>> to_device([1.0, 2.0], "cpu")
    array([1., 2.])
    """
    if isinstance(x, Array):
        return x.to_device(device)
    to = find_device(device)
    if to is not None and is_on(x, to):
        return Array(borrow(x, to))
    array = np.asarray(x)
    if to is None:
        return array
    return on_device(to, array)


def device(name: str) -> AbstractContextManager[Any]:
    """Run functions that are given NumPy arrays on a device, in one block.

    Examples
    --------
    >>> with device("cpu"):
    ...     pass
    """
    find_device(name)
    return config.override(device=name)


def devices() -> list[str]:
    """Return the names of the devices of this machine.

    Examples
    --------
    >>> devices()[0]
    'cpu'
    """
    return [CPU, *(f"cuda:{k}" for k in range(device_count()))]


def synchronize(device: DeviceLike = "cuda") -> None:
    """Wait until a device is done with what it was asked for.

    Raises
    ------
    IndexRangeError
        If an index in a kernel was out of range.
    DeviceError
        If the device failed.
    """
    found = find_device(device)
    if found is None:
        raise TracejitError("the CPU is never behind: its calls return when done")
    found.synchronize()
