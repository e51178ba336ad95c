"""Looking into compiled functions: prints, breakpoints, checks, and what explains."""

from importlib import import_module
from typing import TYPE_CHECKING

from ..tracing.callbacks import debug_breakpoint as breakpoint
from ..tracing.callbacks import debug_check as check
from ..tracing.callbacks import debug_print as print

if TYPE_CHECKING:
    from .explain import Explanation, explain
    from .finding import Finding
    from .profiler import profile
    from .reasons import REASONS

__all__ = [
    "REASONS",
    "Explanation",
    "Finding",
    "breakpoint",
    "check",
    "explain",
    "print",
    "profile",
]
# What looks into the compiler loads it, and so waits until it is asked for.
_LATER = {
    "Explanation": "explain",
    "Finding": "finding",
    "REASONS": "reasons",
    "explain": "explain",
    "profile": "profiler",
}


def __getattr__(name: str) -> object:
    if name in _LATER:
        return getattr(import_module(f"{__name__}.{_LATER[name]}"), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
