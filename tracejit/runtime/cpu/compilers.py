"""LLVM modules to object code, on several threads at once.

llvmlite lets one thread at a time into LLVM. LLVM itself needs no such lock as long as
threads share no context and no target machine. So each thread has a machine, and each
module a context of its own, and code is generated, nine tenths of the time, by the same
function of the same library without the lock. Other Python threads run meanwhile, too.
"""

import ctypes
import threading
from collections.abc import Callable
from contextlib import suppress
from functools import cache
from queue import Empty, PriorityQueue
from types import ModuleType
from typing import TYPE_CHECKING, Any

from ...codegen.llvm.library import llvm_library
from ...codegen.llvm.target import Target
from ...errors import InternalError

if TYPE_CHECKING:
    from llvmlite.binding import ModuleRef, TargetMachine

OPT_LEVEL = 2
_END = (1, 0, "")  # after all texts, which come by their length, negative
MOST_THREADS = 8


def target_machine(target: Target) -> "TargetMachine":
    """Return a machine that compiles for a target."""
    llvm = llvm_library()
    return llvm.Target.from_triple(target.triple).create_target_machine(
        cpu=target.cpu,
        features=target.features,
        opt=OPT_LEVEL,
        reloc="pic",
        codemodel="default",
        jit=True,
    )


class Compilers:
    """Machines for one target, as many as threads have compiled at once.

    Parameters
    ----------
    target : Target
    """

    def __init__(self, target: Target) -> None:
        self._target = target
        self._idle: list[TargetMachine] = []  # `append` and `pop` need no lock

    def build(self, module: "ModuleRef") -> bytes:
        """Return the object code of a module whose context no other thread uses."""
        try:
            machine = self._idle.pop()
        except IndexError:
            machine = target_machine(self._target)
        try:
            return _object_code(machine, module)
        finally:
            self._idle.append(machine)


class SideBySide:
    """Builds texts on several threads while more are written, the longest first.

    Leave it by `results`, or as a context: then what is not built yet is left alone.

    Parameters
    ----------
    build : callable
        From a text to object code.
    threads : int
        How many at most, that of the caller, who writes at first, among them.

    Examples
    --------
    >>> with SideBySide(str.encode, threads=2) as builds:
    ...     builds.put("a")
    ...     builds.put("b")
    ...     builds.results()
    [b'a', b'b']
    """

    def __init__(self, build: Callable[[str], bytes], threads: int) -> None:
        self._build = build
        self._most_helpers = min(threads, MOST_THREADS) - 1
        self._helpers: list[threading.Thread] = []
        self._waiting: PriorityQueue[tuple[int, int, str]] = PriorityQueue()
        self._found: list[bytes | BaseException] = []

    def put(self, text: str) -> None:
        """Have a text built."""
        self._found.append(b"")  # before a helper that waits can be done with it
        self._waiting.put((-len(text), len(self._found) - 1, text))
        if len(self._helpers) < self._most_helpers:
            self._helpers.append(threading.Thread(target=self._work, daemon=True))
            self._helpers[-1].start()

    def results(self) -> list[bytes]:
        """Return what was built, in order.

        Raises
        ------
        Exception
            What the first text in order raised, when all threads have ended.
        """
        for _ in range(1 + len(self._helpers)):
            self._waiting.put(_END)
        self._work()
        self._join()
        out = []
        for one in self._found:
            if isinstance(one, BaseException):
                raise one
            out.append(one)
        return out

    def __enter__(self) -> "SideBySide":
        return self

    def __exit__(self, *error: object) -> None:
        with suppress(Empty):
            while self._helpers:
                self._waiting.get_nowait()
        for _ in self._helpers:
            self._waiting.put(_END)
        self._join()

    def _work(self) -> None:
        while (job := self._waiting.get()) is not _END:
            _, place, text = job
            try:
                self._found[place] = self._build(text)
            except BaseException as error:  # raised by the caller
                self._found[place] = error

    def _join(self) -> None:
        for helper in self._helpers:
            helper.join()
        self._helpers.clear()


def _object_code(machine: "TargetMachine", module: "ModuleRef") -> bytes:
    llvm, emit = llvm_library(), _emit_without_lock()
    if emit is None:
        return bytes(machine.emit_object(module))
    lib = llvm.ffi.lib
    with llvm.ffi.OutputString() as message:
        buffer = emit(machine, module, 1, message)
        if not buffer:
            raise InternalError(f"a module that LLVM cannot compile: {message}")
    try:
        start, size = (
            lib.LLVMPY_GetBufferStart(buffer),
            lib.LLVMPY_GetBufferSize(buffer),
        )
        return ctypes.string_at(start, size)
    finally:
        lib.LLVMPY_DisposeMemoryBuffer(buffer)


@cache
def _emit_without_lock() -> "Callable[..., Any] | None":
    """Return llvmlite's function that generates code, without its lock.

    None where this llvmlite has no such function; then modules take turns.
    """
    llvm: ModuleType = llvm_library()
    try:
        locked = llvm.ffi.lib.LLVMPY_TargetMachineEmitToMemory
        emit = ctypes.CDLL(llvm.ffi.lib._name).LLVMPY_TargetMachineEmitToMemory
        emit.argtypes, emit.restype = locked.argtypes, locked.restype
    except AttributeError:
        return None
    return emit
