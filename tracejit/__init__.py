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
from .api import (
    JitFunction,
    grad,
    hessian,
    jacfwd,
    jacobian,
    jacrev,
    jit,
    jvp,
    linearize,
    stop_gradient,
    value_and_grad,
    vjp,
    vmap,
)

__all__ = [
    "JitFunction",
    "__version__",
    "config",
    "errors",
    "grad",
    "hessian",
    "jacfwd",
    "jacobian",
    "jacrev",
    "jit",
    "jvp",
    "linearize",
    "nn",
    "stop_gradient",
    "testing",
    "value_and_grad",
    "vjp",
    "vmap",
]
