"""Write NumPy, add `@jit`: a tracing compiler for NumPy functions.

>>> import numpy as np, tracejit as tj
>>> @tj.jit
... def norm(x):
...     return np.sqrt(np.sum(x * x))
>>> norm(np.array([3.0, 4.0]))
np.float64(5.0)
"""

from . import callback, config, debug, errors, nn, testing
from ._version import __version__
from .api import (
    JitFunction,
    checkpoint,
    checkpoint_name,
    checkpoint_policies,
    custom_jvp,
    custom_vjp,
    grad,
    jit,
    register_primitive,
    remat,
    stop_gradient,
    value_and_grad,
)

__all__ = [
    "JitFunction",
    "__version__",
    "callback",
    "checkpoint",
    "checkpoint_name",
    "checkpoint_policies",
    "config",
    "custom_jvp",
    "custom_vjp",
    "debug",
    "errors",
    "grad",
    "jit",
    "nn",
    "register_primitive",
    "remat",
    "stop_gradient",
    "testing",
    "value_and_grad",
]
