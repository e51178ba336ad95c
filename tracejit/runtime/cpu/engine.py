"""LLVM text to machine code, and machine code into this process.

Needs the text of a whole LLVM module whose triple and data layout are those of the
target. Establishes object code as bytes (`Engine.compile`), which a cache may keep, and
loaded libraries with addresses (`Engine.load`). The two are separate so that callers
time and cache them separately. No mid-end optimiser runs: the emitters write vectors
and unrolled loops themselves, and LLVM only selects instructions (level 2), which is
several times faster to compile and as fast to run.
"""

import ctypes
import itertools
import re
import sys
import threading
from collections.abc import Mapping, Sequence
from functools import cached_property
from typing import TYPE_CHECKING

from ..._version import __version__
from ...codegen.llvm.library import llvm_library
from ...codegen.llvm.target import Target
from ...disk import configured, key_of
from ...errors import InternalError
from .builtins import BUILTINS, builtins_text
from .compilers import OPT_LEVEL, Compilers, SideBySide, target_machine
from .elf import Unlinkable, link
from .image import Image

if TYPE_CHECKING:
    from llvmlite.binding import ContextRef, ModuleRef, ResourceTracker
    from llvmlite.binding.orcjit import LLJIT

_POSITION = re.compile(r"<string>:(\d+):(\d+): error: (.*)")
_CONTEXT_LINES = 2


class Library:
    """Machine code that is loaded into this process.

    The code stays loaded as long as the library lives; whoever calls an address must
    hold the library. `close` (or garbage collection) unloads it.

    Parameters
    ----------
    engine : Engine
        The engine that loaded it, kept alive.
    name : str
        Unique within the engine; names never clash between libraries.
    tracker : llvmlite.binding.orcjit.ResourceTracker
        The loaded code.
    """

    __slots__ = ("_addresses", "_engine", "_trackers", "name")

    def __init__(self, engine: "Engine", name: str, tracker: "ResourceTracker") -> None:
        self.name = name
        self._engine = engine
        self._trackers = [tracker]
        self._addresses: dict[str, int] = {}

    def address(self, symbol: str) -> int:
        """Return the address of a function or global with external linkage.

        Raises
        ------
        InternalError
            If there is no such symbol, something it calls is not found, or the library
            is closed.
        """
        if not self._trackers:
            raise InternalError(f"library {self.name!r} is closed")
        known = self._addresses.get(symbol)
        if known is None:
            tracker = self._engine.lookup(self.name, symbol)
            self._trackers.append(tracker)
            known = self._addresses[symbol] = tracker[symbol]
        return known

    def close(self) -> None:
        """Unload the code; its addresses must not be used any more."""
        self._addresses.clear()
        while self._trackers:
            self._trackers.pop().close()


class Engine:
    """Compiles and loads for one target. Share it through `engine_for`.

    Safe to use from several threads; llvmlite lets one of them into LLVM at a time.

    Parameters
    ----------
    target : Target
        The machine to compile for.

    Examples
    --------
    >>> from tracejit.codegen.llvm.target import host_target
    >>> engine = engine_for(host_target())
    >>> code = engine.compile("define i32 @one() { ret i32 1 }")
    >>> library = engine.load(code)
    >>> ctypes.CFUNCTYPE(ctypes.c_int32)(library.address("one"))()
    1
    """

    def __init__(self, target: Target) -> None:
        _initialize()
        self.target = target
        self._machine = target_machine(target)
        self._compilers = Compilers(target)
        self._numbers = itertools.count()
        self._lock, self._jit_lock = threading.Lock(), threading.Lock()
        self._made_jit: LLJIT | None = None
        self._builtins: Library | None = None

    def compile(self, text: str) -> bytes:
        """Return the object code of an LLVM module, from disk if it is there.

        What it depends on is the text, the machine it is for and the compiler. Text
        holds no addresses (`load` is given those), so that it is the same in every
        process.

        Raises
        ------
        InternalError
            If the text is not a valid module; shows the line.
        """
        disk = configured("objects")
        if disk is None:
            return self._build(text)
        key = key_of(*self._compiler, text)
        parts = disk.get(key)
        if parts is not None and "object" in parts:
            return parts["object"]
        image = self._build(text)
        disk.put(key, {"object": image})
        return image

    def side_by_side(self, threads: int = 1) -> SideBySide:
        """Return what compiles modules on several threads while others are written."""
        return SideBySide(self.compile, threads)

    def _build(self, text: str) -> bytes:
        context = llvm_library().create_context()
        with context, parse_module(text, context) as module:
            return self._compilers.build(module)

    @cached_property
    def _compiler(self) -> tuple[object, ...]:
        """All that object code depends on besides the text."""
        llvm = llvm_library()
        return __version__, llvm.llvm_version_info, OPT_LEVEL, self.target

    def assembly(self, text: str) -> str:
        """Return the assembly of an LLVM module, as `compile` would encode it.

        Raises
        ------
        InternalError
            If the text is not a valid module; shows the line.
        """
        return str(self._machine.emit_assembly(parse_module(text)))

    def load(
        self,
        code: bytes | str | Sequence[bytes],
        symbols: Mapping[str, int] | None = None,
    ) -> Library:
        """Load object code (or an LLVM module's text, compiled first).

        Parameters
        ----------
        code : bytes, str or sequence of bytes
            Object code from `compile` for the same target, or LLVM text; several pieces
            see each other's functions.
        symbols : mapping of str to int, optional
            Addresses of what the code imports: functions of other libraries, NumPy
            loops, data. Whatever they belong to must outlive the library. Functions of
            libc and libm need no entry.

        Raises
        ------
        InternalError
            If the text is not a valid module, or the bytes are not object code. A
            symbol that is not found is reported by `Library.address`, since linking is
            lazy.
        """
        if isinstance(code, str):
            code = self.compile(code)
        images = [code] if isinstance(code, bytes) else code
        imports = {**self._builtins_in(images), **(symbols or {})}
        return self._link(images, imports)

    def image(self, objects: Sequence[bytes]) -> Image | None:
        """Return the linked code of some objects; None where only `load` links them.

        Loading it takes no LLVM (`image.LoadedImage`), so that it may be kept.
        """
        builtins = [self.compile(builtins_text())] if _names_builtins(objects) else []
        try:
            return link([*objects, *builtins])
        except Unlinkable:
            return None

    def _jit(self) -> "LLJIT":
        """Return LLVM's linker, the same one at each call."""
        with self._jit_lock:
            if self._made_jit is None:
                # JITLink keeps the sections of an object together; the older linker
                # aborts where free addresses are further apart than relative addresses
                # reach.
                self._made_jit = llvm_library().create_lljit_compiler(
                    self._machine, use_jit_link=True, suppress_errors=True
                )
            return self._made_jit

    def lookup(self, library: str, symbol: str) -> "ResourceTracker":
        """Return a tracker that knows the address of `symbol` in a loaded library.

        Raises
        ------
        InternalError
            If the symbol, or one it needs, is not found.
        """
        try:
            return self._jit().lookup(library, symbol)
        except RuntimeError as error:
            raise InternalError(
                f"cannot resolve {symbol!r} in library {library!r}: {error}",
                hint="pass the address of every function it calls in `symbols`",
            ) from error

    def _link(self, images: Sequence[bytes], imports: Mapping[str, int]) -> Library:
        builder = llvm_library().JITLibraryBuilder().add_current_process()
        for image in images:
            builder.add_object_img(image)
        for symbol, address in imports.items():
            builder.import_symbol(symbol, address)
        name = f"tracejit.{next(self._numbers)}"
        try:
            return Library(self, name, builder.link(self._jit(), name))
        except RuntimeError as error:
            raise InternalError(f"cannot load object code: {error}") from error

    def _builtins_in(self, images: Sequence[bytes]) -> dict[str, int]:
        """Return addresses of the helper functions that this object code names.

        LLVM inserts calls to them while it selects instructions, so that only the
        object code shows which are needed. A name that is there by chance is harmless.
        """
        needed = _names_builtins(images)
        if not needed:
            return {}
        with self._lock:
            if self._builtins is None:
                self._builtins = self._link([self.compile(builtins_text())], {})
        return {name: self._builtins.address(name) for name in needed}


def _names_builtins(objects: Sequence[bytes]) -> list[str]:
    return [n for n in BUILTINS if any(n.encode() in data for data in objects)]


def parse_module(text: str, context: "ContextRef | None" = None) -> "ModuleRef":
    """Parse and verify an LLVM module, in LLVM's own context if none is given.

    Raises
    ------
    InternalError
        If it is not valid; shows the lines around the error.
    """
    try:
        module = llvm_library().parse_assembly(text, context)
        module.verify()
    except RuntimeError as error:
        raise InternalError(_explain(str(error), text)) from error
    return module


def _explain(error: str, text: str) -> str:
    """Return LLVM's error with the numbered lines of text that it is about."""
    position = _POSITION.search(error)
    if position is None:
        return f"invalid LLVM module: {error.strip()}"
    line, column = int(position[1]), int(position[2])
    lines = text.splitlines()
    shown = []
    for number in range(max(1, line - _CONTEXT_LINES), min(line, len(lines)) + 1):
        shown.append(f"{number:6d} | {lines[number - 1]}")
    caret = " " * (len("123456 | ") + column - 1) + "^"
    return "\n".join([f"invalid LLVM text: {position[3]}", *shown, caret])


_engines: dict[Target, Engine] = {}
_engines_lock = threading.Lock()


def engine_for(target: Target) -> Engine:
    """Return the engine for a target, the same one at each call."""
    with _engines_lock:
        engine = _engines.get(target)
        if engine is None:
            engine = _engines[target] = Engine(target)
        return engine


def _initialize() -> None:
    """Set up LLVM's native target and make libm's functions visible to linking."""
    llvm = llvm_library()
    llvm.initialize_native_target()
    llvm.initialize_native_asmprinter()
    if sys.platform.startswith("linux"):
        _expose_libm()


def _expose_libm() -> None:
    """Load libm for all, where the interpreter itself does not depend on it.

    On macOS and Windows the math functions are in a library that every process has.
    """
    if hasattr(ctypes.CDLL(None), "fma"):
        return
    try:
        llvm_library().load_library_permanently("libm.so.6")
    except RuntimeError as error:
        raise InternalError(f"cannot load the math library: {error}") from error
