"""Object code of Linux on x86-64 to one image, as a linker does it.

LLVM writes relocatable ELF files: sections, and places in them where the distance to a
symbol belongs. Sections are laid one after another, those that are written to on pages
of their own; distances within the image are filled in. A function of another library is
called through a jump to the address in a word of the image, which loading fills in.

Only what LLVM's small code model with position-independent code needs is here. What is
anything else raises `Unlinkable`, and LLVM's own linker does it (`engine`).
"""

from collections.abc import Iterator, Sequence
from dataclasses import field
from struct import Struct, pack_into

from ...records import dataclass
from .image import PAGE, Image, Slot, aligned_up

_HEADER = Struct("<16sHHIQQQIHHHHHH")
_SECTION = Struct("<IIQQQQIIQQ")
_SYMBOL = Struct("<IBBHQQ")
_RELOCATION = Struct("<QQq")
_MAGIC = b"\x7fELF\x02\x01\x01"  # 64 bits, little-endian
_RELOCATABLE, _X86_64 = 1, 62
_PROGRAM_BITS, _SYMBOLS, _RELA, _NO_BITS = 1, 2, 4, 8
_WRITE, _ALLOCATE, _THREAD_LOCAL = 1, 2, 0x400
_UNDEFINED, _RESERVED = 0, 0xFF00
_LOCAL = 0
_FUNCTION = 2
_ABS64, _PC32, _PLT32 = 1, 2, 4
_WORDS = (9, 41, 42)  # GOTPCREL and its kin: the distance to a word with an address
_UNWINDING = ".eh_frame"  # nothing unwinds through this code
_JUMP = b"\xff\x25"  # jmp *distance(%rip)
_STUB_BYTES = 8
_WORD = 8
_CODE_ALIGNMENT = 64


class Unlinkable(Exception):
    """Object code that this module does not link."""


@dataclass(frozen=True)
class _Section:
    name: str
    kind: int
    flags: int
    offset: int
    size: int
    link: int
    info: int
    alignment: int

    @property
    def is_loaded(self) -> bool:
        """Whether it is in memory when the code runs."""
        return bool(self.flags & _ALLOCATE) and self.name != _UNWINDING


@dataclass(frozen=True)
class _Symbol:
    name: str
    is_local: bool
    section: int
    value: int
    size: int
    is_function: bool


class _Object:
    """One ELF file, taken apart.

    Attributes
    ----------
    places : dict of int to int
        Offset in the image of each section that is loaded, by its number.
    """

    def __init__(self, data: bytes) -> None:
        self.data = data
        self.places: dict[int, int] = {}
        if not data.startswith(_MAGIC) or len(data) < _HEADER.size:
            raise Unlinkable("no ELF file")
        head = _HEADER.unpack_from(data)
        if head[1:3] != (_RELOCATABLE, _X86_64):
            raise Unlinkable("no object code of x86-64")
        start, size, count, names = head[6], head[11], head[12], head[13]
        raw = [_SECTION.unpack_from(data, start + k * size) for k in range(count)]
        strings = raw[names][4]
        self.sections = [
            _Section(self._text(strings + r[0]), r[1], r[2], *r[4:9]) for r in raw
        ]
        self.symbols = [*self._symbols()]

    def _text(self, start: int) -> str:
        return self.data[start : self.data.index(0, start)].decode()

    def _symbols(self) -> Iterator[_Symbol]:
        for table in self.sections:
            if table.kind == _SYMBOLS:
                strings = self.sections[table.link].offset
                rows = _SYMBOL.iter_unpack(self._bytes(table))
                for name, info, _, section, value, size in rows:
                    text = self._text(strings + name)
                    is_local, is_function = info >> 4 == _LOCAL, info & 0xF == _FUNCTION
                    yield _Symbol(text, is_local, section, value, size, is_function)

    def _bytes(self, section: _Section) -> bytes:
        return self.data[section.offset : section.offset + section.size]

    def content(self, number: int) -> bytes:
        """Return the bytes of a section; none where all are zero."""
        section = self.sections[number]
        return b"" if section.kind == _NO_BITS else self._bytes(section)

    def relocations(self) -> Iterator[tuple[int, int, int, _Symbol, int]]:
        """Yield section, offset, kind, symbol and addend of what is to be filled in."""
        for table in self.sections:
            if table.kind != _RELA or table.info not in self.places:
                continue
            for offset, info, addend in _RELOCATION.iter_unpack(self._bytes(table)):
                symbol = self.symbols[info >> 32]
                yield table.info, offset, info & 0xFFFFFFFF, symbol, addend


@dataclass
class _Layout:
    """The image as far as it is laid out.

    Parameters
    ----------
    size : int
        Bytes so far.
    parts : list of (int, bytes)
        Where which bytes go.
    stubs, words : dict of str to int
        Offsets of the jumps to imported functions, and of the words with addresses.
    """

    size: int = 0
    parts: list[tuple[int, bytes]] = field(default_factory=list)
    stubs: dict[str, int] = field(default_factory=dict)
    words: dict[str, int] = field(default_factory=dict)

    def place(self, content: bytes, size: int, alignment: int) -> int:
        """Give some bytes a place."""
        start = aligned_up(self.size, max(alignment, 1))
        self.size = start + size
        self.parts.append((start, content))
        return start


def link(objects: Sequence[bytes]) -> Image:
    """Return the image of object files that call each other.

    Parameters
    ----------
    objects : sequence of bytes

    Raises
    ------
    Unlinkable
        If one is no ELF file for x86-64, or has what this module does not know.

    Examples
    --------
    >>> image = link([engine.compile(text)])  # doctest: +SKIP
    >>> LoadedImage(image, {}).address("f")  # doctest: +SKIP
    """
    return _Linker([_Object(data) for data in objects]).image()


class _Linker:
    def __init__(self, objects: Sequence[_Object]) -> None:
        self.objects = objects
        self.layout = _Layout()
        self.slots: list[Slot] = []
        self.exports: dict[str, int] = {}

    def image(self) -> Image:
        """Lay out all sections and fill in the distances between them."""
        self._place(is_written=False)
        called, read = self._imported()
        for name in called:
            self.layout.stubs[name] = self.layout.place(b"", _STUB_BYTES, _STUB_BYTES)
        writeable = self.layout.size = aligned_up(self.layout.size, PAGE)
        for name in dict.fromkeys((*called, *read)):
            self.layout.words[name] = self.layout.place(b"", _WORD, _WORD)
        self._place(is_written=True)
        self.slots = [Slot(at, name) for name, at in self.layout.words.items()]
        self.memory = bytearray(self.layout.size)
        for start, content in self.layout.parts:
            self.memory[start : start + len(content)] = content
        self._find_exports()
        self._internal_words()
        self._fill()
        content = bytes(self.memory).rstrip(b"\0")
        size = self.layout.size
        slots, functions = tuple(self.slots), tuple(self._functions())
        return Image(content, writeable, size, self.exports, slots, functions)

    def _functions(self) -> Iterator[tuple[str, int, int]]:
        for one in self.objects:
            for symbol in one.symbols:
                if symbol.is_function and symbol.section != _UNDEFINED:
                    yield symbol.name, self._offset(one, symbol), symbol.size

    def _place(self, is_written: bool) -> None:
        for one in self.objects:
            for number, section in enumerate(one.sections):
                if section.flags & _THREAD_LOCAL:
                    raise Unlinkable(f"thread-local memory: {section.name}")
                if section.is_loaded and bool(section.flags & _WRITE) == is_written:
                    alignment = max(section.alignment, _CODE_ALIGNMENT)
                    content = one.content(number)
                    place = self.layout.place(content, section.size, alignment)
                    one.places[number] = place

    def _defined(self) -> set[str]:
        return {
            symbol.name
            for one in self.objects
            for symbol in one.symbols
            if not symbol.is_local and symbol.section != _UNDEFINED
        }

    def _imported(self) -> tuple[list[str], list[str]]:
        """Return what is called, and whose address is read, of what is not here."""
        defined = self._defined()
        called: dict[str, None] = {}
        read: dict[str, None] = {}
        for one in self.objects:
            # before what is written to has its place: calls and reads are in code
            for _, _, kind, symbol, _ in one.relocations():
                is_here = symbol.section != _UNDEFINED or symbol.name in defined
                if kind in _WORDS:
                    if symbol.is_local:
                        raise Unlinkable(
                            f"the address of {symbol.name}, which is local"
                        )
                    read[symbol.name] = None
                elif not is_here and kind == _PLT32:
                    called[symbol.name] = None
        return [*called], [*read]

    def _find_exports(self) -> None:
        for one in self.objects:
            for symbol in one.symbols:
                if not symbol.is_local and symbol.section != _UNDEFINED:
                    if symbol.name in self.exports:
                        raise Unlinkable(f"{symbol.name} is defined twice")
                    self.exports[symbol.name] = self._offset(one, symbol)

    def _internal_words(self) -> None:
        """Words with addresses of what is in the image itself."""
        self.slots = [
            Slot(slot.offset, "", self.exports[slot.symbol])
            if slot.symbol in self.exports
            else slot
            for slot in self.slots
        ]

    def _offset(self, one: _Object, symbol: _Symbol) -> int:
        """Return where a symbol is in the image; of an import, its jump."""
        if symbol.section == _UNDEFINED:
            found = self.exports.get(symbol.name, self.layout.stubs.get(symbol.name))
            if found is None:
                raise Unlinkable(f"the distance to {symbol.name} is not known")
            return found
        if symbol.section >= _RESERVED or symbol.section not in one.places:
            raise Unlinkable(f"{symbol.name} is in no section")
        return one.places[symbol.section] + symbol.value

    def _fill(self) -> None:
        for name, stub in self.layout.stubs.items():
            self.memory[stub : stub + 2] = _JUMP
            self._put(stub + 2, self.layout.words[name] - (stub + 6))
        for one in self.objects:
            for section, offset, kind, symbol, addend in one.relocations():
                self._relocate(one, one.places[section] + offset, kind, symbol, addend)

    def _relocate(
        self, one: _Object, place: int, kind: int, symbol: _Symbol, addend: int
    ) -> None:
        if kind in (_PC32, _PLT32):
            self._put(place, self._offset(one, symbol) + addend - place)
        elif kind in _WORDS:
            self._put(place, self.layout.words[symbol.name] + addend - place)
        elif kind == _ABS64:
            is_import = symbol.section == _UNDEFINED and symbol.name not in self.exports
            name = symbol.name if is_import else ""
            start = 0 if is_import else self._offset(one, symbol)
            self.slots.append(Slot(place, name, start + addend))
        else:
            raise Unlinkable(f"relocation {kind}")

    def _put(self, place: int, distance: int) -> None:
        pack_into("<i", self.memory, place, distance)
