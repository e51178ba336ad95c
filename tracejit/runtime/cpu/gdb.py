"""gdb's JIT interface: an object file in memory that has names and lines of code.

Needs the address and the functions of code that is loaded. gdb sets a breakpoint in
``__jit_debug_register_code``, which LLVM has in its library, and reads a list of object
files from ``__jit_debug_descriptor``. The object made here has no code: a ``.text``
that is where the code is, symbols, and DWARF that says which line of the user a
function is for, so that ``break model.py:12`` stops in the kernel. Where llvmlite's
library has been stripped of these two names nothing is registered.

Sources: "JIT Compilation Interface" in gdb's manual; DWARF version 2, sections 6.2 and
7.5.
"""

import ctypes
import os
from collections.abc import Iterator, Mapping, Sequence
from functools import cache
from itertools import accumulate
from mmap import ACCESS_READ, mmap
from struct import Struct, pack

from ...records import dataclass

_LIBRARY = "libllvmlite.so"
_REGISTER, _DESCRIPTOR = "__jit_debug_register_code", "__jit_debug_descriptor"
_DONE = 1  # JIT_REGISTER_FN
_HEADER = Struct("<16sHHIQQQIHHHHHH")
_SECTION = Struct("<IIQQQQIIQQ")
_SYMBOL = Struct("<IBBHQQ")
_MAGIC = b"\x7fELF\x02\x01\x01".ljust(16, b"\0")
_RELOCATABLE, _X86_64 = 1, 62
_BITS, _SYMBOLS, _STRINGS, _NO_BITS = 1, 2, 3, 8
_CODE = 6  # allocated, executable
_GLOBAL_FUNCTION = 0x12
_TEXT = 1  # number of the section


@dataclass(frozen=True)
class Function:
    """A function: name, place in the code, and the user's line, if there is one."""

    name: str
    offset: int
    size: int
    sources: tuple[str, ...]

    @property
    def line(self) -> tuple[str, int] | None:
        """File and line."""
        file, _, number = "".join(self.sources[:1]).rpartition(":")
        return (file, int(number)) if file and number.isdecimal() else None


class _Entry(ctypes.Structure):
    """``struct jit_code_entry``."""


_Pointer = ctypes.POINTER(_Entry)
_Entry._fields_ = [
    ("next_entry", _Pointer),
    ("prev_entry", _Pointer),
    ("symfile_addr", ctypes.c_void_p),
    ("symfile_size", ctypes.c_uint64),
]


class _Descriptor(ctypes.Structure):
    """``struct jit_descriptor``."""

    _fields_ = (
        ("version", ctypes.c_uint32),
        ("action_flag", ctypes.c_uint32),
        ("relevant_entry", _Pointer),
        ("first_entry", _Pointer),
    )


class _Registered:
    """What gdb may read: alive as long as the process."""

    def __init__(self) -> None:
        self.objects: list[tuple[object, object]] = []


_REGISTERED = _Registered()


def register(start: int, size: int, functions: Sequence[Function]) -> bool:
    """Tell gdb of code; return whether there is a way to.

    Parameters
    ----------
    start : int
        The address of the code, which stays as long as the process.
    size : int
        In bytes.
    functions : sequence of Function
    """
    addresses = _interface()
    if addresses is None:
        return False
    data = object_file(start, size, functions)
    memory = ctypes.create_string_buffer(data, len(data))
    descriptor = _Descriptor.from_address(addresses[_DESCRIPTOR])
    entry = _Entry(
        descriptor.first_entry, None, ctypes.addressof(memory), ctypes.sizeof(memory)
    )
    if descriptor.first_entry:
        descriptor.first_entry.contents.prev_entry = ctypes.pointer(entry)
    descriptor.first_entry = descriptor.relevant_entry = ctypes.pointer(entry)
    descriptor.action_flag = _DONE
    _REGISTERED.objects.append((entry, memory))
    ctypes.CFUNCTYPE(None)(addresses[_REGISTER])()
    return True


# --- the object file --------------------------------------------------------------


def object_file(start: int, size: int, functions: Sequence[Function]) -> bytes:
    """Return an ELF object that says what is where in code.

    Parameters
    ----------
    start, size : int
    functions : sequence of Function
    """
    names, offsets = _strings(f.name for f in functions)
    symbols = _SYMBOL.pack(0, 0, 0, 0, 0, 0) + b"".join(
        _SYMBOL.pack(at, _GLOBAL_FUNCTION, 0, _TEXT, f.offset, f.size)
        for at, f in zip(offsets, functions, strict=True)
    )
    content = {
        "": b"",
        ".text": b"",
        ".symtab": symbols,
        ".strtab": names,
        ".debug_info": _unit(start, size),
        ".debug_abbrev": _ABBREVIATIONS,
        ".debug_line": _lines(start, functions),
        ".shstrtab": b"",
    }
    titles, places = _strings(content)
    content[".shstrtab"] = titles
    starts = [*accumulate(map(len, content.values()), initial=_HEADER.size)]
    kinds = (0, _NO_BITS, _SYMBOLS, _STRINGS, _BITS, _BITS, _BITS, _STRINGS)
    table = b""
    for k, data in enumerate(content.values()):
        is_text, is_symbols = k == _TEXT, kinds[k] == _SYMBOLS
        table += _SECTION.pack(
            places[k],
            kinds[k],
            _CODE if is_text else 0,
            start if is_text else 0,
            starts[k],
            size if is_text else len(data),
            3 if is_symbols else 0,
            1 if is_symbols else 0,
            1,
            _SYMBOL.size if is_symbols else 0,
        )
    head = (_MAGIC, _RELOCATABLE, _X86_64, 1, 0, 0, starts[-1], 0)
    sizes = (_HEADER.size, 0, 0, _SECTION.size, len(content), len(content) - 1)
    return _HEADER.pack(*head, *sizes) + b"".join(content.values()) + table


def _strings(names: "Iterator[str] | Mapping[str, bytes]") -> tuple[bytes, list[int]]:
    """Return a table of strings, and where each of them is."""
    parts = [name.encode() + b"\0" for name in names]
    places = [*accumulate(map(len, parts), initial=1)][:-1]
    return b"\0" + b"".join(parts), places


# A unit without children: name, language (C), first and last address, line table.
_ABBREVIATIONS = bytes(
    (1, 0x11, 0, 0x03, 0x08, 0x13, 0x05, 0x11, 0x01, 0x12, 0x01, 0x10, 0x06, 0, 0, 0)
)


def _unit(start: int, size: int) -> bytes:
    body = bytes((1,)) + b"tracejit\0" + pack("<HQQI", 2, start, start + size, 0)
    return pack("<IHIB", len(body) + 7, 2, 0, 8) + body


def _lines(start: int, functions: Sequence[Function]) -> bytes:
    """Return the line table: each function is of one line."""
    files: dict[str, int] = {}
    program = b""
    for f in functions:
        if f.line is not None:
            file, line = f.line
            number = files.setdefault(file, len(files) + 1)
            program += bytes((0, 9, 2)) + pack("<Q", start + f.offset)  # address
            program += bytes((4,)) + _unsigned(number)  # file
            program += bytes((3,)) + _signed(line - 1)  # lines to advance
            program += bytes((1,))  # a row
            program += bytes((2,)) + _unsigned(f.size)  # bytes to advance
            program += bytes((0, 1, 1))  # the end of a sequence
    # least instruction 1, statements, line base -5, line range 14, 10 opcodes
    head = pack("<BBbBB", 1, 1, -5, 14, 10) + bytes((0, 1, 1, 1, 1, 0, 0, 0, 1))
    head += b"\0" + b"".join(name.encode() + b"\0\0\0\0" for name in files) + b"\0"
    body = pack("<HI", 2, len(head)) + head + program
    return pack("<I", len(body)) + body


def _unsigned(value: int) -> bytes:
    out = bytearray()
    while value >= 0x80:
        out.append(value & 0x7F | 0x80)
        value >>= 7
    return bytes((*out, value))


def _signed(value: int) -> bytes:
    """Encode a number that is not negative, with a sign bit."""
    data = bytearray(_unsigned(value))
    if data[-1] & 0x40:
        data[-1] |= 0x80
        data.append(0)
    return bytes(data)


# --- LLVM's side of the interface -------------------------------------------------


@cache
def _interface() -> Mapping[str, int] | None:
    """Return the addresses of the function and of the descriptor; None without them."""
    found = _library()
    if found is None:
        return None
    path, base = found
    with open(path, "rb") as file, mmap(file.fileno(), 0, access=ACCESS_READ) as data:
        values = _values(data, (_REGISTER, _DESCRIPTOR))
    if len(values) < 2:
        return None
    return {name: base + value for name, value in values.items()}


def _library() -> tuple[str, int] | None:
    """Return where LLVM's library is, in files and in memory."""
    with open("/proc/self/maps", encoding="utf-8") as lines:
        for line in lines:
            place, _, offset, _, _, *path = line.split(maxsplit=5)
            name = path[0].strip() if path else ""
            if os.path.basename(name) == _LIBRARY and int(offset, 16) == 0:
                return name, int(place.partition("-")[0], 16)
    return None


def _values(data: mmap, names: Sequence[str]) -> dict[str, int]:
    """Return the values of local and other symbols of a library."""
    head = _HEADER.unpack_from(data)
    start, size, count = head[6], head[11], head[12]
    sections = [_SECTION.unpack_from(data, start + k * size) for k in range(count)]
    found: dict[str, int] = {}
    for section in sections:
        if section[1] == _SYMBOLS:
            strings = sections[section[6]]
            text = data[strings[4] : strings[4] + strings[5]]
            wanted = {text.find(f"\0{n}\0".encode()) + 1: n for n in names}
            table = data[section[4] : section[4] + section[5]]
            for place, _, _, _, value, _ in _SYMBOL.iter_unpack(table):
                if place in wanted and place:
                    found[wanted[place]] = value
    return found
