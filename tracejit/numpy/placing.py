"""Where arrays of the namespace are made: in NumPy, in the running trace, on a device.

Creation functions have no operand that NumPy could dispatch on. Those here ask for the
running trace, then for the ``device`` they are given.
"""

from collections.abc import Callable
from typing import Any

import numpy as np

from ..api import device_parts
from ..errors import UnsupportedError
from ..ir.placed import Placed
from ..tracing import creation
from ..tracing.source import user_line
from ..tracing.trace import current_trace
from ..tracing.tracer import Tracer

CPU = "cpu"


def make(fn: Callable[..., Any], args: Any, kwargs: Any, device: Any) -> Any:
    """Call one of NumPy's creation functions for a device.

    Parameters
    ----------
    fn : callable
    args : tuple
    kwargs : dict
    device : str or Device, optional
        While a trace runs, that of the trace.

    Raises
    ------
    UnsupportedError
        If a trace runs, and the device is another.
    """
    check_in_trace(device)
    return place(creation.call(fn, *args, **kwargs), device)


def check_in_trace(device: Any) -> None:
    """Raise if a trace runs on another device than this one."""
    trace = current_trace()
    if trace is not None and device is not None and device != trace.device:
        raise UnsupportedError(
            f"an array on {device} inside of a function compiled for {trace.device}",
            source=user_line(),
            hint="a compiled function runs on one device: move arrays outside of it",
        )


def place(x: Any, device: Any) -> Any:
    """Return arrays that are there already, or else copies that are.

    Parameters
    ----------
    x : array or tuple of arrays
    device : str or Device, optional
        None leaves them where they are.
    """
    if device is None or current_trace() is not None:
        return x
    if isinstance(x, tuple):
        return tuple(place(v, device) for v in x)
    is_on_host = not isinstance(x, Placed)
    return x if device == CPU and is_on_host else device_parts().to_device(x, device)


def device_of(x: Any) -> Any:
    """Return the device of an array, ``"cpu"`` for NumPy's."""
    return x.device if isinstance(x, Tracer | Placed) else CPU


def through_host(fn: Callable[..., Any], x: Any) -> Any:
    """Call a function whose result's shape depends on values; NumPy's has them."""
    if not isinstance(x, Placed) or current_trace() is not None:
        return fn(x)
    found = fn(np.asarray(x))
    parts = [device_parts().to_device(v, x.device) for v in _as_tuple(found)]
    if not isinstance(found, tuple):
        return parts[0]
    return tuple(parts) if type(found) is tuple else type(found)(*parts)


def _as_tuple(x: Any) -> tuple[Any, ...]:
    return x if isinstance(x, tuple) else (x,)
