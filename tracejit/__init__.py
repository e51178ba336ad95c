"""Write NumPy, add `@jit`: a tracing compiler for NumPy functions.

>>> import numpy as np, tracejit as tj
>>> @tj.jit
... def norm(x):
...     return np.sqrt(np.sum(x * x))
>>> norm(np.array([3.0, 4.0]))
np.float64(5.0)
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

from . import callback, config, debug, errors
from ._version import __version__
from .api import (
    JitFunction,
    checkpoint,
    checkpoint_name,
    checkpoint_policies,
    custom_batching,
    custom_jvp,
    custom_vjp,
    device_parts,
    grad,
    hessian,
    jacfwd,
    jacobian,
    jacrev,
    jit,
    jvp,
    linearize,
    register_primitive,
    remat,
    stop_gradient,
    value_and_grad,
    vjp,
    vmap,
)
from .tracing.control_flow import (
    associative_scan,
    cond,
    fori_loop,
    map,
    scan,
    switch,
    while_loop,
)

if TYPE_CHECKING:
    from . import nn, numpy, random, scipy, testing
    from .placement import Array, Device, device, devices, synchronize, to_device

__all__ = [
    "Array",
    "Device",
    "JitFunction",
    "__version__",
    "associative_scan",
    "callback",
    "checkpoint",
    "checkpoint_name",
    "checkpoint_policies",
    "cond",
    "config",
    "custom_batching",
    "custom_jvp",
    "custom_vjp",
    "debug",
    "device",
    "devices",
    "errors",
    "fori_loop",
    "grad",
    "hessian",
    "jacfwd",
    "jacobian",
    "jacrev",
    "jit",
    "jvp",
    "linearize",
    "map",
    "nn",
    "numpy",
    "random",
    "register_primitive",
    "remat",
    "scan",
    "scipy",
    "stop_gradient",
    "switch",
    "synchronize",
    "testing",
    "to_device",
    "value_and_grad",
    "vjp",
    "vmap",
    "while_loop",
]

# Loaded when they are asked for: programs that do without them start faster.
_MODULES = ("nn", "numpy", "random", "scipy", "testing")
_OF_DEVICES = ("Array", "Device", "device", "devices", "synchronize", "to_device")


def __getattr__(name: str) -> Any:
    if name in _MODULES:
        return import_module(f"{__name__}.{name}")
    if name in _OF_DEVICES:
        return getattr(device_parts(), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
