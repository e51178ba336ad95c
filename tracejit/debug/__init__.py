"""Looking into compiled functions: prints, breakpoints, checks, profiles."""

import importlib
from typing import TYPE_CHECKING

from ..tracing.callbacks import debug_breakpoint as breakpoint
from ..tracing.callbacks import debug_check as check
from ..tracing.callbacks import debug_print as print

if TYPE_CHECKING:
    from .profiler import profile

__all__ = ["breakpoint", "check", "print", "profile"]
# What loads with its first use: name and module.
_LATER = {"profile": "profiler"}


def __getattr__(name: str) -> object:
    if name not in _LATER:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(importlib.import_module(f".{_LATER[name]}", __name__), name)
