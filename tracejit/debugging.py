"""The way from stages and compiled functions up to `tracejit.debug`.

What looks into the compiler stands above it, and loads when it is asked for.
"""

from importlib import import_module
from types import ModuleType


def debug_module(name: str) -> ModuleType:
    """Return a module of `tracejit.debug`."""
    return import_module(f"{__package__}.debug.{name}")
