"""Write NumPy, add `@jit`: a tracing compiler for NumPy functions.

>>> import numpy as np, tracejit as tj
>>> @tj.jit
... def norm(x):
...     return np.sqrt(np.sum(x * x))
>>> norm(np.array([3.0, 4.0]))
np.float64(5.0)
"""

from . import callback, config, debug, errors, nn, random, testing
from ._version import __version__
from .api import (
    JitFunction,
    checkpoint,
    checkpoint_name,
    checkpoint_policies,
    custom_batching,
    custom_jvp,
    custom_vjp,
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
from .devices import Array, Device, device, devices, synchronize, to_device
from .tracing.control_flow import (
    associative_scan,
    cond,
    fori_loop,
    map,
    scan,
    switch,
    while_loop,
)

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
    "random",
    "register_primitive",
    "remat",
    "scan",
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
