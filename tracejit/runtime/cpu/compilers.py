"""LLVM modules to object code, on several threads at once.

llvmlite lets one thread at a time into LLVM. LLVM itself needs no such lock as long as
threads share no context and no target machine. So each thread has a machine, and each
module a context of its own, and code is generated, nine tenths of the time, by the same
function of the same library without the lock. Other Python threads run meanwhile, too.
"""

import ctypes
import itertools
import threading
from collections.abc import Callable, Sequence
from functools import cache
from types import ModuleType
from typing import TYPE_CHECKING, Any

from ...codegen.llvm.library import llvm_library
from ...codegen.llvm.target import Target
from ...errors import InternalError

if TYPE_CHECKING:
    from llvmlite.binding import ModuleRef, TargetMachine

OPT_LEVEL = 2
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


def side_by_side(
    build: Callable[[str], bytes], texts: Sequence[str], threads: int
) -> list[bytes]:
    """Build each of some texts; the longest first, on several threads.

    Parameters
    ----------
    build : callable
    texts : sequence of str
    threads : int
        How many at most.

    Returns
    -------
    list of bytes
        In the order of `texts`.

    Raises
    ------
    Exception
        What the first text in order raised, when all threads have ended.
    """
    found: list[bytes | BaseException] = [b""] * len(texts)
    order = sorted(range(len(texts)), key=lambda i: -len(texts[i]))
    places = itertools.count()  # which one is next: `next` is one step under the GIL

    def work() -> None:
        while (place := next(places)) < len(order):
            i = order[place]
            try:
                found[i] = build(texts[i])
            except BaseException as error:  # raised by the caller
                found[i] = error

    count = min(threads, len(texts), MOST_THREADS)
    helpers = [threading.Thread(target=work, daemon=True) for _ in range(count - 1)]
    for helper in helpers:
        helper.start()
    work()
    for helper in helpers:
        helper.join()
    out = []
    for one in found:
        if isinstance(one, BaseException):
            raise one
        out.append(one)
    return out


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
