"""Linked code on disk, found without LLVM by what it was made from.

`disk` keeps object code under a hash of LLVM's text; but to write that text takes
passes and emitters. What is kept here is named by the *source* of the text, which
callers give as a string, together with everything that turns one into the other:
this package's files, the versions of NumPy, LLVM and Python, and the processor. Each of
them is told apart by what is cheap to look at: sizes and times of files, and the
features of the processor as the kernel lists them.
"""

import json
import os
import sys
from collections.abc import Mapping
from functools import cache
from importlib.machinery import PathFinder
from typing import Any

import ml_dtypes
import numpy as np

from ... import config
from ..._version import __version__
from ...disk import configured, key_of
from .image import Image

_PROCESSOR = "/sys/devices/system/cpu/modalias"
_PACKAGE = os.path.abspath(os.path.join(os.path.dirname(__file__), "..", ".."))
_IMAGE, _ABOUT = "image", "about"
_PART = "programs"  # of the folder


def is_on() -> bool:
    """Tell whether anything is kept, and could be found."""
    return configured(_PART) is not None and made_by() is not None


def find(source: str) -> tuple[Image, dict[str, Any], dict[str, bytes]] | None:
    """Return an image, what was noted of it, and its data; None if there is none.

    Parameters
    ----------
    source : str
        Everything that the code depends on besides machine and versions.
    """
    cache, compiler = configured(_PART), made_by()
    if cache is None or compiler is None:
        return None
    parts = cache.get(key_of(*compiler, source))
    if parts is None or not {_IMAGE, _ABOUT} <= parts.keys():
        return None
    content, about = parts.pop(_IMAGE), json.loads(parts.pop(_ABOUT))
    return Image.from_data(about[_IMAGE], content), about[_ABOUT], parts


def keep(
    source: str, image: Image, about: Mapping[str, object], data: Mapping[str, bytes]
) -> None:
    """Keep an image on disk, if anything is kept there.

    Parameters
    ----------
    source : str
        As `find` will be asked.
    image : Image
    about : mapping
        What JSON can hold.
    data : mapping of str to bytes
    """
    cache, compiler = configured(_PART), made_by()
    if cache is None or compiler is None:
        return
    noted = json.dumps({_IMAGE: image.as_data(), _ABOUT: about}).encode()
    parts = {**data, _IMAGE: image.content, _ABOUT: noted}
    cache.put(key_of(*compiler, source), parts)


@cache
def made_by() -> tuple[str, ...] | None:
    """Return all that made code depends on besides its source; None if unknown.

    It is not known where files changed after some were loaded: then this process may
    run what neither the old files nor the new ones say.
    """
    processor, llvm, ours = _processor(), _llvm_files(), files_below(_PACKAGE, ".py")
    has_changed = any(changed_ns > config.LOADED_NS for _, _, changed_ns in ours)
    if processor is None or llvm is None or has_changed:
        return None
    versions = __version__, np.__version__, ml_dtypes.__version__, sys.version
    return *versions, repr(ours), llvm, processor


def files_below(folder: str, suffix: str) -> list[tuple[str, int, int]]:
    """Return path, size and time of change of the files of a kind, in order."""
    found = []
    with os.scandir(folder) as entries:
        for entry in entries:
            if entry.name.endswith(suffix):
                about = entry.stat()
                found.append((entry.path, about.st_size, about.st_mtime_ns))
            elif "." not in entry.name and entry.is_dir():
                found += files_below(entry.path, suffix)
    return sorted(found)


def _llvm_files() -> str | None:
    """Return what tells llvmlite's library from another, without loading it."""
    found = PathFinder.find_spec("llvmlite")
    if found is None or found.origin is None:
        return None
    folder = os.path.join(os.path.dirname(found.origin), "binding")
    return repr(files_below(folder, ".so"))


def _processor() -> str | None:
    """Return family, model and features of the processor, as the kernel sees them."""
    try:
        with open(_PROCESSOR, "rb") as file:
            return repr(file.read())
    except OSError:
        return None
