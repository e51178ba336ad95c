"""Looking into compiled functions: prints, breakpoints and checks at run time."""

from ..tracing.callbacks import debug_breakpoint as breakpoint  # noqa: A004
from ..tracing.callbacks import debug_check as check
from ..tracing.callbacks import debug_print as print  # noqa: A004

__all__ = ["breakpoint", "check", "print"]
