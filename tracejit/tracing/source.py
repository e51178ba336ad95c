"""Finding the user's line: the innermost frame that is neither tracejit nor NumPy."""

import os
import sys
from functools import lru_cache
from types import FrameType

import numpy as np

_PACKAGE = os.path.dirname(os.path.dirname(os.path.abspath(__file__))) + os.sep
_NUMPY = os.path.dirname(os.path.abspath(np.__file__)) + os.sep
_LIBRARIES = tuple(f"{os.sep}{d}{os.sep}" for d in ("site-packages", "dist-packages"))
_STDLIB = os.path.dirname(os.path.abspath(os.__file__)) + os.sep


@lru_cache(maxsize=4096)
def is_internal(filename: str) -> bool:
    """Tell whether a file belongs to tracejit or NumPy."""
    return filename.startswith((_PACKAGE, _NUMPY)) or filename.startswith("<__array")


@lru_cache(maxsize=4096)
def is_library(filename: str) -> bool:
    """Tell whether a file was installed, or belongs to Python, rather than written."""
    if is_internal(filename) or any(d in filename for d in _LIBRARIES):
        return True
    return filename.startswith((_STDLIB, "<frozen"))


def user_frame(depth: int = 1) -> FrameType | None:
    """Return the innermost frame outside of tracejit and NumPy."""
    frame: FrameType | None = sys._getframe(depth)
    while frame is not None and is_internal(frame.f_code.co_filename):
        frame = frame.f_back
    return frame


def user_line(depth: int = 2) -> str:
    """Return the user's line as ``"file.py:12"``, or an empty string."""
    frame = user_frame(depth)
    if frame is None:
        return ""
    return f"{os.path.basename(frame.f_code.co_filename)}:{frame.f_lineno}"
