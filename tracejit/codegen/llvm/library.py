"""LLVM itself, as a library: loaded when it is first needed.

Most of what a process does with tracejit before its first compilation, and all that it
does for a GPU, needs no LLVM; so nothing else imports llvmlite.
"""

from functools import cache
from types import ModuleType


@cache
def llvm_library() -> ModuleType:
    """Return ``llvmlite.binding``."""
    import llvmlite.binding  # noqa: PLC0415

    return llvmlite.binding  # type: ignore[no-any-return]
