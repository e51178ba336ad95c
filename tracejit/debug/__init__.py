"""Looking into compiled functions: prints, breakpoints and checks at run time."""

from ..tracing.callbacks import debug_breakpoint as breakpoint
from ..tracing.callbacks import debug_check as check
from ..tracing.callbacks import debug_print as print

__all__ = ["breakpoint", "check", "print"]
