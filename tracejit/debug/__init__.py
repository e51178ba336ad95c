"""Looking into compiled functions: prints, breakpoints, checks, profiles."""

from importlib import import_module
from typing import Any

from ..tracing.callbacks import debug_breakpoint as breakpoint
from ..tracing.callbacks import debug_check as check
from ..tracing.callbacks import debug_print as print

# What looks into the compiler loads it, and so waits until it is asked for.
_LATE = {
    "profile": "profiler",
}

__all__ = ["breakpoint", "check", "print", "profile"]


def __getattr__(name: str) -> Any:
    if name in _LATE:
        return getattr(import_module(f"{__name__}.{_LATE[name]}"), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
