"""The user's files, found by the names that source lines give them.

A source line is ``"file.py:12"``, with as much of its path as tells it from others that
were traced. Needs those lines, and of lines that were not traced in this process, those
of a .tir file say, the files that are likelier than others. Establishes `SourceFile`:
the text around the lines, from modules that are loaded and from the cells of notebooks.
"""

import linecache
import os
import sys
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass

from ...tracing.source import file_of, is_internal

WHOLE = 5_000  # lines of a file that is shown whole
AROUND = 60  # lines shown around each one that is known, in longer files


@dataclass(frozen=True)
class SourceFile:
    """A file of the user.

    Parameters
    ----------
    name : str
        As source lines have it.
    path : str
        Empty where it was not found.
    lines : list of (int, str)
        Numbered from 1; without text where the file was not found.
    note : str
        What is to be said of it, or nothing.
    """

    name: str
    path: str
    lines: list[tuple[int, str]]
    note: str = ""


def source_files(source: Iterable[str], likely: Sequence[str] = ()) -> list[SourceFile]:
    """Return the files of source lines, in the order in which they come.

    Parameters
    ----------
    source : iterable of str
        ``"file.py:12"``.
    likely : sequence of str
        Paths to prefer where a name was not traced here and several loaded files have
        it.
    """
    wanted: dict[str, set[int]] = {}
    for line in source:
        name, _, number = line.rpartition(":")
        if number.isdigit():
            wanted.setdefault(name, set()).add(int(number))
    paths = [*likely, *_loaded()]
    return [_file(name, numbers, paths) for name, numbers in wanted.items()]


def _loaded() -> Iterator[str]:
    """Yield the files of loaded modules, and what Python keeps as a file."""
    for module in list(sys.modules.values()):
        path = getattr(module, "__file__", None)
        if isinstance(path, str) and path.endswith(".py"):
            yield path
    yield from list(linecache.cache)


def _file(name: str, numbers: set[int], paths: Sequence[str]) -> SourceFile:
    traced = file_of(f"{name}:1")
    found = [traced] if traced is not None else _alike(name, paths)
    for path in (unique := list(dict.fromkeys(found))):
        text = linecache.getlines(path)
        if len(text) >= max(numbers):
            others = len(unique) - 1
            note = f"{others} more loaded files have this name" if others else ""
            return SourceFile(name, path, _excerpt(text, numbers), note)
    note = "This file was not found; its lines are known by their numbers."
    return SourceFile(name, "", [(n, "") for n in sorted(numbers)], note)


def _alike(name: str, paths: Sequence[str]) -> list[str]:
    """Return the paths that end with the name of a file."""
    return [
        os.path.abspath(p) if os.path.exists(p) else p
        for p in paths
        if f"{os.sep}{p}".endswith(f"{os.sep}{name}") and not is_internal(p)
    ]


def _excerpt(text: Sequence[str], numbers: set[int]) -> list[tuple[int, str]]:
    shown = set(range(1, len(text) + 1))
    if len(text) > WHOLE:
        near = {n + d for n in numbers for d in range(-AROUND, AROUND + 1)}
        shown &= near
    return [(n, text[n - 1].rstrip("\r\n")) for n in sorted(shown)]
