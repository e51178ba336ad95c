"""A Program, compiled by LLVM now, as a `NativeProgram`.

Building it emits LLVM text, compiles that to object code and links it, each timed. An
error word becomes the exception that NumPy would have raised, with the user's line.
"""

import ctypes
import math
import time
from collections.abc import Mapping, Sequence
from threading import Thread

from ...codegen.error_word import (
    ALIGNMENT_ERROR,
    HOST_ERROR,
    INDEX_ERROR,
    LINALG_ERROR,
    STEP_SHIFT,
)
from ...codegen.llvm.host import HOST_SYMBOL, MAIN_SYMBOL
from ...codegen.llvm.program import ProgramCode, emit_program
from ...codegen.llvm.sharing import SERIAL, Threading
from ...codegen.llvm.target import Target
from ...errors import InternalError
from ...kernels.cost import work_ns
from ...program.program import Copy, Loop, Program, ProgramBuffer, Run, Step
from .engine import engine_for
from .externs import HostCalls, resolve_loop
from .image import LoadedImage
from .native import Interface, Layout, Loaded, NativeProgram
from .probes import Probes, announce, check_clock
from .threads import pool, pool_symbols

# Estimated work from which on other Python threads run meanwhile, 30 ns of a call.
_RELEASE_FROM_NS = 5_000
_COPY_NS = 1_000


class CpuExecutable(NativeProgram):
    """A Program, compiled for one target.

    Parameters
    ----------
    program : Program
        With its arena planned.
    target : Target
    threading : Threading
        How many threads its kernels may use.
    probed : bool
        Whether it notes what its steps take.
    named : bool
        Whether perf and gdb are told its functions; its code then stays in memory.

    Attributes
    ----------
    probes : Probes or None
        What it noted.
    timings : dict of str to float
        Seconds for each stage of building: ``emit``, ``build`` (what is left of it
        when all is emitted), ``link``.
    image : Image, optional
        The linked code, where it was not LLVM that linked it.

    Examples
    --------
    >>> executable = CpuExecutable(program, host_target())  # doctest: +SKIP
    >>> [y] = executable.run([x])  # doctest: +SKIP
    """

    def __init__(
        self,
        program: Program,
        target: Target,
        threading: Threading = SERIAL,
        probed: bool = False,
        named: bool = False,
    ) -> None:
        self.program, self.target, self.threading = program, target, threading
        if probed:
            check_clock(target)
        start = time.perf_counter()
        engine = engine_for(target)
        with engine.side_by_side(threading.threads) as builds:
            code = emit_program(
                program, target, resolve_loop, threading, probed, ready=builds.put
            )
            emitted = time.perf_counter()
            if code.needs_pool:  # compiled meanwhile
                Thread(target=pool, args=(target,), daemon=True).start()
            objects = builds.results()
        built = time.perf_counter()
        self._code = code
        self._host = HostCalls(code.steps, program.by_name)
        self.probes = Probes(len(code.steps)) if probed else None
        self.image = engine.image(objects)
        imports = self._imports()
        library: Loaded
        if self.image is None:
            library = engine.load(objects, imports)
        else:
            library = LoadedImage(self.image, imports)
        super().__init__(_interface(program, code), library)
        linked = time.perf_counter()
        self.timings = {
            "emit": emitted - start,
            "build": built - emitted,
            "link": linked - built,
        }
        if probed:
            announce(self)
        if named and isinstance(library, LoadedImage) and self.image is not None:
            from .names import named_functions, tell  # noqa: PLC0415  # if wanted

            tell(library, named_functions(self.image, program, code))

    def _imports(self) -> Mapping[str, int]:
        code, imports = self._code, dict(self._code.imports)
        if code.needs_host:
            imports[HOST_SYMBOL] = self._host.address
        if code.needs_pool:
            imports.update(pool_symbols(self.target))
        if self.probes is not None:
            imports.update(self.probes.symbols)
        return imports

    @property
    def kernels(self) -> Mapping[str, str]:
        """LLVM text of each kernel, by name."""
        return self._code.kernels

    @property
    def code(self) -> ProgramCode:
        """The code before it was compiled."""
        return self._code

    def as_text(self) -> str:
        """Return the LLVM module."""
        return self._code.text

    def memory_error(self) -> MemoryError:
        """Return the exception for a call that gets no memory."""
        from ..failures import memory_error  # noqa: PLC0415

        return memory_error(self.program, self.interface.arena_bytes)

    def error_of(self, word: int, arena: int) -> BaseException:
        """Return the exception that an error word stands for, in that arena."""
        return self._error(word, arena)

    def _error(self, word: int, arena: int) -> BaseException:
        from .. import failures  # noqa: PLC0415  # with the first

        step = self._code.steps[word >> STEP_SHIFT]
        kind = word & 0xFF
        if kind == HOST_ERROR:
            return self._host.take_error()
        if kind == ALIGNMENT_ERROR:
            return InternalError("a large result is not aligned to 64 bytes")
        if kind == LINALG_ERROR:
            return failures.linalg_error(step)
        assert kind == INDEX_ERROR, f"unknown error word {word:#x}"
        place = arena + self._code.error_offset + 8
        index = ctypes.c_int64.from_address(place).value
        return failures.index_error(self.program, step, word, index)


def _interface(program: Program, code: ProgramCode) -> Interface:
    buffers = program.by_name
    outputs = (buffers[name] for name in program.outputs)
    is_alone = not code.needs_host and not code.needs_pool
    return Interface(
        program.name,
        MAIN_SYMBOL,
        tuple(_layout(buffers[name]) for name in program.inputs),
        tuple(map(_layout, outputs)),
        program.donors,
        code.arena_bytes,
        code.error_offset,
        is_alone and _work_ns(program.steps) < _RELEASE_FROM_NS,
    )


def _layout(buffer: ProgramBuffer) -> Layout:
    """Return dtype, shape, and strides in bytes."""
    size = buffer.dtype.itemsize
    return buffer.dtype, buffer.shape, tuple(s * size for s in buffer.strides)


def _work_ns(steps: Sequence[Step]) -> float:
    """Estimate the time that steps take; infinite where nothing is known."""
    total = 0.0
    for step in steps:
        if isinstance(step, Run):
            total += work_ns(step.kernel.body, step.kernel)
        elif isinstance(step, Loop):
            total += step.count * _work_ns(step.steps)
        elif isinstance(step, Copy):
            total += _COPY_NS
        else:
            return math.inf
    return total
