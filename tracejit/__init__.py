"""Write NumPy, add `@jit`: a tracing compiler for NumPy functions."""

from . import testing
from .api import jit

__all__ = ["jit", "testing"]
