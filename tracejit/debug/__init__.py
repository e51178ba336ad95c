"""Looking into compiled functions: prints, breakpoints, checks, and what explains."""

from importlib import import_module
from typing import TYPE_CHECKING

from ..tracing.callbacks import debug_breakpoint as breakpoint
from ..tracing.callbacks import debug_check as check
from ..tracing.callbacks import debug_print as print

if TYPE_CHECKING:
    from .calls import bisect_call
    from .divergence import compare
    from .explanation import Explanation, explain
    from .finding import Finding
    from .nan_check import nans
    from .profiler import profile
    from .reasons import REASONS
    from .stepping import interpret, watch

__all__ = [
    "REASONS",
    "Explanation",
    "Finding",
    "bisect_call",
    "breakpoint",
    "check",
    "compare",
    "explain",
    "interpret",
    "nans",
    "print",
    "profile",
    "watch",
]
# What looks into the compiler loads it, and so waits until it is asked for.
_LATER = {
    "Explanation": "explanation",
    "Finding": "finding",
    "REASONS": "reasons",
    "bisect_call": "calls",
    "compare": "divergence",
    "explain": "explanation",
    "interpret": "stepping",
    "nans": "nan_check",
    "profile": "profiler",
    "watch": "stepping",
}


def __getattr__(name: str) -> object:
    if name in _LATER:
        return getattr(import_module(f"{__name__}.{_LATER[name]}"), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
