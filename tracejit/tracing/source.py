"""Finding the user's line: the innermost frame that is no tracejit, NumPy or SciPy."""

import dis
import linecache
import os
import sys
from functools import lru_cache
from types import CodeType, FrameType

import numpy as np

_PACKAGE = os.path.dirname(os.path.dirname(os.path.abspath(__file__))) + os.sep
# The demo is a program that uses tracejit, though it ships inside of it.
_DEMO = os.path.join(_PACKAGE, "cli", "demo") + os.sep
_NUMPY = os.path.dirname(os.path.abspath(np.__file__)) + os.sep
_LIBRARIES = tuple(f"{os.sep}{d}{os.sep}" for d in ("site-packages", "dist-packages"))
_SCIPY = tuple(f"{d}scipy{os.sep}" for d in _LIBRARIES)
_CALL_CACHE = 16  # bytes, and more than any CPython since 3.11 has
_UFUNCS = frozenset(
    {
        *(name for name, value in vars(np).items() if isinstance(value, np.ufunc)),
        *("reduce", "accumulate", "reduceat", "outer"),
    }
)
_STDLIB = os.path.dirname(os.path.abspath(os.__file__)) + os.sep


@lru_cache(maxsize=4096)
def is_internal(filename: str) -> bool:
    """Tell whether a file belongs to tracejit, NumPy or SciPy."""
    if filename.startswith(_DEMO):
        return False
    is_ours = filename.startswith((_PACKAGE, _NUMPY, "<__array"))
    return is_ours or is_scipys(filename)


@lru_cache(maxsize=4096)
def is_scipys(filename: str) -> bool:
    """Tell whether a file belongs to SciPy."""
    return any(d in filename for d in _SCIPY)


@lru_cache(maxsize=4096)
def is_library(filename: str) -> bool:
    """Tell whether a file was installed, or belongs to Python, rather than written."""
    if is_internal(filename) or any(d in filename for d in _LIBRARIES):
        return True
    return filename.startswith((_STDLIB, "<frozen"))


def user_frame(depth: int = 1) -> FrameType | None:
    """Return the innermost frame outside of tracejit, NumPy and SciPy."""
    frame: FrameType | None = sys._getframe(depth)
    while frame is not None and is_internal(frame.f_code.co_filename):
        frame = frame.f_back
    return frame


def user_line(depth: int = 2) -> str:
    """Return the user's line as ``"file.py:12"``, or an empty string."""
    frame = user_frame(depth)
    return "" if frame is None else line_of(frame)


def scipy_call() -> tuple[str, str] | None:
    """Return the module and the function of SciPy that the user's code is calling.

    Examples
    --------
    >>> scipy_call() is None
    True
    """
    modules = []
    frame: FrameType | None = sys._getframe(1)
    while frame is not None and is_internal(frame.f_code.co_filename):
        if is_scipys(frame.f_code.co_filename):
            modules.append(str(frame.f_globals.get("__name__", "")))
            name = frame.f_code.co_name
        frame = frame.f_back
    if not modules or frame is None:
        return None
    name = _called_name(frame) or name
    public = [m.split(".")[1] for m in modules if m.count(".")]
    public = [m for m in public if not m.startswith("_")]
    return (public[-1] if public else _scipy_module_of(name)), name


def calls_ufunc(frame: FrameType) -> bool:
    """Tell whether the code of a frame, if it is the user's, is calling a ufunc."""
    if is_library(frame.f_code.co_filename):
        return False
    return _called_name(frame) in _UFUNCS


def _called_name(frame: FrameType) -> str | None:
    """Return the name of what a frame calls, perhaps known there under another."""
    callees = _callees(frame.f_code)
    # While Python code runs the last instruction may be the end of the call's cache.
    before = [at for at in callees if 0 <= frame.f_lasti - at <= _CALL_CACHE]
    if not before:
        return None
    kind, called = callees[max(before)]
    if kind == "attribute":
        return called
    found = {**frame.f_globals, **frame.f_locals}.get(called)
    return str(getattr(found, "__name__", called))


def _scipy_module_of(name: str) -> str:
    """Return the loaded public module of SciPy that has a function of that name."""
    for module in ("special", "linalg"):
        if hasattr(sys.modules.get(f"scipy.{module}"), name):
            return module
    return "_lib"


def depth_of_caller() -> int:
    """Return the `stacklevel` of the user's call, from the caller of this function."""
    depth, frame = 1, sys._getframe(1)
    while frame.f_back is not None and is_internal(frame.f_code.co_filename):
        depth, frame = depth + 1, frame.f_back
    return depth


def line_of(frame: FrameType) -> str:
    """Return the line that a frame is at, as ``"file.py:12"``."""
    code, at = frame.f_code, frame.f_lasti
    found = _LINES.get((id(code), at))
    if found is None:
        if len(_LINES) >= _MOST_LINES:
            _LINES.clear()
        line = _shown(code.co_filename, frame.f_lineno)
        found = _LINES[id(code), at] = code, line
    return found[1]


# By code and instruction: Python finds a line by reading a table from its start. The
# code is kept so that no other has its place.
_LINES: dict[tuple[int, int], tuple[CodeType, str]] = {}
_MOST_LINES = 1 << 14

# The files whose lines were named, by the names that stand in lines.
_PATHS: dict[str, str] = {}


@lru_cache(maxsize=4096)
def _shown(filename: str, line: int) -> str:
    return f"{_name_of(filename)}:{line}"


@lru_cache(maxsize=4096)
def _name_of(filename: str) -> str:
    """Return the shortest end of a file's path that no other file has so far.

    ``"model.py"``, and of a second file of that name ``"other/model.py"``.
    """
    path = os.path.abspath(filename) if os.path.exists(filename) else filename
    parts = path.split(os.sep)
    ends = (os.sep.join(parts[-n:]) for n in range(1, len(parts) + 1))
    return next(end for end in ends if _PATHS.setdefault(end, path) == path)


def file_of(line: str) -> str | None:
    """Return the path of the file of a user's line; None if it is not known.

    Parameters
    ----------
    line : str
        As `line_of` gave it in this process: ``"file.py:12"``.
    """
    return _PATHS.get(line.rpartition(":")[0])


def source_text(line: str) -> str:
    """Return the text of a user's line; empty if its file is not known.

    Examples
    --------
    >>> source_text("no_such_file.py:3")
    ''
    """
    path = file_of(line)
    number = line.rpartition(":")[2]
    if path is None or not number.isdecimal():
        return ""
    return linecache.getline(path, int(number)).strip()


def is_called_from(frame: FrameType, name: str, function: object) -> bool:
    """Tell whether `frame`'s Python code itself calls `function`, known as `name`.

    Compiled modules (NumPy's generators, SciPy) call ``np.empty`` too and leave no
    frame of their own; a traced array in place of the one they asked for would crash
    them.
    """
    callee = _callees(frame.f_code).get(frame.f_lasti)
    if callee is None:
        return name in frame.f_code.co_names
    kind, called = callee
    if kind == "attribute":
        return called == name
    scope = {**frame.f_globals, **frame.f_locals}
    return scope.get(called) is function


@lru_cache(maxsize=1024)
def _callees(code: CodeType) -> dict[int, tuple[str, str]]:
    """Offset of each call instruction to what its callee was loaded by.

    The load of a callee begins where the call expression begins, and is the widest
    such load inside of it.
    """
    loads: dict[tuple[int, int], list[tuple[tuple[int, int], str, str]]] = {}
    out: dict[int, tuple[str, str]] = {}
    for step in dis.get_instructions(code):
        at = step.positions
        if at is None or at.lineno is None or at.end_lineno is None:
            continue
        start = at.lineno, at.col_offset or 0
        end = at.end_lineno, at.end_col_offset or 0
        if step.opname in ("LOAD_ATTR", "LOAD_METHOD"):
            loads.setdefault(start, []).append((end, "attribute", str(step.argval)))
        elif step.opname.startswith("LOAD_") and isinstance(step.argval, str):
            loads.setdefault(start, []).append((end, "name", step.argval))
        elif step.opname.startswith("CALL"):
            inside = [x for x in loads.get(start, []) if x[0] < end]
            if inside:
                _, kind, name = max(inside, key=lambda x: x[0])
                out[step.offset] = kind, name
    return out
