"""Machine code that is linked but for addresses: bytes to copy, words to fill in.

`elf` makes images of object code. Loading one takes no LLVM: memory, a copy, and one
word for each function of other libraries that it calls. Within an image everything is
found relative to the code, so that the same bytes do at any address.
"""

import ctypes
import mmap
import sys
from collections.abc import Mapping, Sequence
from functools import cache

from ...errors import InternalError
from ...records import dataclass

PAGE = mmap.PAGESIZE


def aligned_up(size: int, to: int) -> int:
    """Return a size, rounded up to a multiple."""
    return -(-size // to) * to


@dataclass(frozen=True)
class Slot:
    """A word that is to hold an address.

    Parameters
    ----------
    offset : int
        Of the word, from the image's start.
    symbol : str
        What is imported; empty for the image itself.
    addend : int
        Added to its address.
    """

    offset: int
    symbol: str
    addend: int = 0


@dataclass(frozen=True)
class Image:
    """Linked code.

    Parameters
    ----------
    content : bytes
        Code and constants, then from `writeable` on what code writes to.
    writeable : int
        A multiple of `PAGE`.
    size : int
        Bytes in memory; those beyond `content` are zero.
    exports : mapping of str to int
        Offsets of the functions that others may call.
    slots : sequence of Slot
    functions : tuple of (str, int, int)
        Name, offset and bytes of each function, for who shows them; not kept on disk.
    """

    content: bytes
    writeable: int
    size: int
    exports: Mapping[str, int]
    slots: Sequence[Slot]
    functions: tuple[tuple[str, int, int], ...] = ()

    @property
    def imports(self) -> frozenset[str]:
        """What must be given addresses to load it."""
        return frozenset(slot.symbol for slot in self.slots if slot.symbol)

    def as_data(self) -> dict[str, object]:
        """Return all but `content` as what JSON can hold; `from_data` undoes it."""
        slots = [[s.offset, s.symbol, s.addend] for s in self.slots]
        exports = dict(self.exports)
        return {
            "writeable": self.writeable,
            "size": self.size,
            "exports": exports,
            "slots": slots,
        }

    @staticmethod
    def from_data(data: Mapping[str, object], content: bytes) -> "Image":
        """Return the image of such data.

        Raises
        ------
        KeyError, TypeError, ValueError
            If it is no such data.
        """
        writeable, size = data["writeable"], data["size"]
        exports, slots = data["exports"], data["slots"]
        if not (isinstance(writeable, int) and isinstance(size, int)):
            raise TypeError("an image without sizes")
        if not (isinstance(exports, dict) and isinstance(slots, list)):
            raise TypeError("an image without symbols")
        return Image(content, writeable, size, exports, [Slot(*s) for s in slots])


class LoadedImage:
    """An image in this process's memory, as long as this lives.

    Parameters
    ----------
    image : Image
    imports : mapping of str to int
        Addresses of what it calls; functions of libc and libm need no entry. What they
        belong to must outlive this.

    Raises
    ------
    InternalError
        If a function is found nowhere, or the system gives no memory for code.
    """

    __slots__ = ("_exports", "_memory", "_pinned", "_start")

    def __init__(self, image: Image, imports: Mapping[str, int]) -> None:
        self._exports = image.exports
        private = mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS  # a forked child has its own
        self._memory = mmap.mmap(-1, aligned_up(image.size, PAGE), flags=private)
        self._memory[: len(image.content)] = image.content
        self._pinned = ctypes.c_char.from_buffer(self._memory)
        self._start = ctypes.addressof(self._pinned)
        for slot in image.slots:
            address = self._start
            if slot.symbol:
                address = imports.get(slot.symbol) or process_symbol(slot.symbol)
            place = self._start + slot.offset
            ctypes.c_uint64.from_address(place).value = address + slot.addend
        self._protect(image.writeable)

    @property
    def start(self) -> int:
        """The address of its first byte."""
        return self._start

    def _protect(self, size: int) -> None:
        """Make the first bytes code: readable, to be run, and not to be written."""
        protect = ctypes.CDLL(None, use_errno=True).mprotect
        protect.argtypes = [ctypes.c_void_p, ctypes.c_size_t, ctypes.c_int]
        if size and protect(self._start, size, mmap.PROT_READ | mmap.PROT_EXEC):
            raise InternalError(
                f"the system gives no memory for code: error {ctypes.get_errno()}"
            )

    def address(self, symbol: str) -> int:
        """Return the address of an exported function.

        Raises
        ------
        InternalError
            If there is none of that name.
        """
        if symbol not in self._exports:
            raise InternalError(f"an image without {symbol!r}")
        return self._start + self._exports[symbol]


@cache
def process_symbol(name: str) -> int:
    """Return the address of a function of libc or libm.

    Raises
    ------
    InternalError
        If there is none of that name.
    """
    for library in _libraries():
        function = getattr(library, name, None)
        if function is not None:
            return ctypes.cast(function, ctypes.c_void_p).value or 0
    raise InternalError(
        f"cannot resolve {name!r}", hint="pass the address of every function it calls"
    )


@cache
def _libraries() -> tuple[ctypes.CDLL, ...]:
    process = ctypes.CDLL(None)
    if hasattr(process, "fma") or not sys.platform.startswith("linux"):
        return (process,)
    return process, ctypes.CDLL("libm.so.6")
