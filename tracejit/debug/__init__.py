"""Looking into compiled functions: prints, breakpoints and checks at run time."""

from ..tracing.callbacks import debug_breakpoint as breakpoint
from ..tracing.callbacks import debug_check as check
from ..tracing.callbacks import debug_print as print
from .nans import nans

__all__ = ["breakpoint", "check", "nans", "print"]
