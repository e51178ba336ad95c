"""Names and lines of machine code, for Linux perf and gdb.

Needs a loaded image with its functions. Establishes, where the switch ``perf_map`` is
on, a line for each function in ``/tmp/perf-PID.map``, which perf reads, and an object
file in memory that gdb is told of by its JIT interface (`gdb`). Code whose names are
known elsewhere stays in memory, so that an address never is another function's.
"""

import os
import sys
from collections.abc import Iterator, Sequence

from ...codegen.llvm.emission import symbol_of
from ...codegen.llvm.host import MAIN_SYMBOL
from ...codegen.llvm.program import ProgramCode
from ...program.program import Extern, Program
from ...records import dataclass
from .gdb import Function, register
from .image import Image, LoadedImage

FOLDER = "/tmp"  # where perf looks, whatever TMPDIR says


@dataclass(frozen=True)
class NamedFunction:
    """A function of an image.

    Parameters
    ----------
    name : str
    offset, size : int
        In bytes from the image's start.
    sources : tuple of str
        The user's lines that it computes.
    """

    name: str
    offset: int
    size: int
    sources: tuple[str, ...]


class _Kept:
    """Code that stays as long as the process."""

    def __init__(self) -> None:
        self.images: list[LoadedImage] = []


_KEPT = _Kept()


def named_functions(
    image: Image, program: Program, code: ProgramCode
) -> list[NamedFunction]:
    """Return the functions of a Program's image, with names that say what they are.

    The host function is called after the Program. Functions that kernels call have the
    kernel's name and more, and its lines.
    """
    lines = _lines(program, code)
    found = []
    for symbol, offset, size in image.functions:
        sources = next((lines[x] for x in _owners(symbol) if x in lines), ())
        name = f"{symbol_of(program.name)}_main" if symbol == MAIN_SYMBOL else symbol
        found.append(NamedFunction(name, offset, size, sources))
    return found


def _owners(symbol: str) -> Iterator[str]:
    """Yield what a function may be a part of: itself, and names before its dots."""
    while symbol:
        yield symbol
        symbol = symbol.rpartition(".")[0]


def _lines(program: Program, code: ProgramCode) -> dict[str, tuple[str, ...]]:
    """Return the user's lines by the symbols of kernels and of other steps."""
    found = {symbol_of(k.name): k.source for k in program.kernels}
    written = iter(code.kernels)
    externs = [s for s in code.steps if isinstance(s, Extern)]
    for symbol in written:
        if symbol in found:
            continue
        for step in externs:
            start = f"{symbol_of(program.name)}_{step.primitive.name}"
            if symbol.startswith(start) and symbol[len(start) :].isdecimal():
                found[symbol] = step.source
                externs.remove(step)
                break
    return found


def tell(library: LoadedImage, functions: Sequence[NamedFunction]) -> None:
    """Tell perf and gdb of functions, on Linux; the code stays in memory."""
    if not sys.platform.startswith("linux"):
        return
    _KEPT.images.append(library)
    _write_map(library.start, functions)
    register(
        library.start,
        max((f.offset + f.size for f in functions), default=0),
        [Function(f.name, f.offset, f.size, f.sources[:1]) for f in functions],
    )


def map_path() -> str:
    """Return the file that perf reads for this process."""
    return os.path.join(FOLDER, f"perf-{os.getpid()}.map")


def _write_map(start: int, functions: Sequence[NamedFunction]) -> None:
    text = "".join(
        f"{start + f.offset:x} {f.size:x} {_shown(f)}\n" for f in functions if f.size
    )
    flags = os.O_WRONLY | os.O_CREAT | os.O_APPEND | getattr(os, "O_NOFOLLOW", 0)
    handle = os.open(map_path(), flags, 0o600)
    with os.fdopen(handle, "w", encoding="utf-8") as file:
        file.write(text)


def _shown(function: NamedFunction) -> str:
    lines = ",".join(function.sources)
    return f"{function.name} [{lines}]" if lines else function.name
