"""Write NumPy, add `@jit`: a tracing compiler for NumPy functions.

>>> import numpy as np, tracejit as tj
>>> @tj.jit
... def norm(x):
...     return np.sqrt(np.sum(x * x))
>>> norm(np.array([3.0, 4.0]))
np.float64(5.0)
"""

from . import config, errors, nn, testing
from ._version import __version__
from .api import JitFunction, grad, jit, stop_gradient, value_and_grad, vmap
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
    "JitFunction",
    "__version__",
    "associative_scan",
    "cond",
    "config",
    "errors",
    "fori_loop",
    "grad",
    "jit",
    "map",
    "nn",
    "scan",
    "stop_gradient",
    "switch",
    "testing",
    "value_and_grad",
    "vmap",
    "while_loop",
]
