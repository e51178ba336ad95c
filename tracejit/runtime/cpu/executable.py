"""A compiled Program that can be called with arrays.

Building it emits LLVM text, compiles that to object code and links it, each timed.
A call checks the inputs, allocates the outputs, takes an arena and calls the host
function without the GIL, so that calls from several threads run at once. An error word
becomes the exception that NumPy would have raised, with the user's line.
"""

import ctypes
import math
import time
from collections.abc import Callable, Mapping, Sequence
from threading import Thread
from typing import TypeAlias

import numpy as np

from ...codegen.error_word import (
    ALIGNMENT_ERROR,
    HOST_ERROR,
    INDEX_ERROR,
    LINALG_ERROR,
    STEP_SHIFT,
)
from ...codegen.llvm.host import HOST_SYMBOL, MAIN_SYMBOL
from ...codegen.llvm.jobs import SERIAL, Threading
from ...codegen.llvm.program import ProgramCode, emit_program
from ...codegen.llvm.target import Target
from ...errors import InternalError
from ...kernels.cost import work_ns
from ...program.program import Copy, Loop, Program, ProgramBuffer, Run, Step
from ..failures import index_error, linalg_error
from .arena import ArenaPool, aligned_empty
from .call import NativeFunction, data_pointer
from .engine import engine_for
from .externs import HostCalls, resolve_loop
from .memory.pool import OutputPool
from .probes import Probes, announce, check_clock
from .threads import pool

# From these sizes on, results are worth aligning to whole cache lines, and worth memory
# that was used before.
_ALIGN_FROM = 4096
_POOL_FROM = 1 << 16
OUTPUTS = OutputPool()
# Estimated work from which on other Python threads run meanwhile, 30 ns of a call.
_RELEASE_FROM_NS = 5_000
_COPY_NS = 1_000

Allocator: TypeAlias = Callable[[tuple[int, ...], np.dtype], np.ndarray]


class CpuExecutable:
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

    Attributes
    ----------
    probes : Probes or None
        What it noted.
    timings : dict of str to float
        Seconds for each stage of building: ``emit``, ``build``, ``link``.
    kernels : mapping of str to str
        LLVM text of each kernel.

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
    ) -> None:
        self.program, self.target, self.threading = program, target, threading
        if probed:
            check_clock(target)
        start = time.perf_counter()
        code = emit_program(program, target, resolve_loop, threading, probed)
        emitted = time.perf_counter()
        engine = engine_for(target)
        if code.needs_pool:  # compiled meanwhile
            Thread(target=pool, args=(target,), daemon=True).start()
        images = engine.compile_all(code.pieces, threading.threads)
        built = time.perf_counter()
        self._code = code
        self._host = HostCalls(code.steps, program.by_name)
        imports = dict(code.imports)
        if code.needs_host:
            imports[HOST_SYMBOL] = self._host.address
        if code.needs_pool:
            imports.update(_pool_symbols(target))
        self.probes = Probes(len(code.steps)) if probed else None
        if self.probes is not None:
            imports.update(self.probes.symbols)
        library = engine.load(images, imports)
        self._function = NativeFunction(library.address(MAIN_SYMBOL), owner=library)
        linked = time.perf_counter()
        self.timings = {
            "emit": emitted - start,
            "build": built - emitted,
            "link": linked - built,
        }
        self._arenas = ArenaPool(code.arena_bytes)
        buffers = program.by_name
        self._inputs = [buffers[name] for name in program.inputs]
        self._expected = [_layout(buffer) for buffer in self._inputs]
        self._outputs = [_output(buffers[name]) for name in program.outputs]
        self._donors = program.donors
        if probed:
            announce(self)

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

    def run(self, inputs: Sequence[np.ndarray]) -> list[np.ndarray]:
        """Run the program once.

        Parameters
        ----------
        inputs : sequence of numpy.ndarray
            Of the dtypes, shapes and strides that the program was compiled for.

        Returns
        -------
        list of numpy.ndarray
            The results: new C-contiguous arrays, of rank 0 for scalars, and for those
            in the memory of an input an array of that memory.

        Raises
        ------
        InternalError
            If an input has another layout.
        IndexRangeError
            If an index that is known at run time only is out of range.
        numpy.linalg.LinAlgError
            For a matrix that is singular or not positive definite.
        """
        self._check(inputs)
        outs = self.run_at([data_pointer(x) for x in inputs])
        return [
            inputs[self._donors[k]].view(np.ndarray).reshape(self._outputs[k][1])
            if out is None
            else out
            for k, out in enumerate(outs)
        ]

    def run_at(self, addresses: Sequence[int]) -> list[np.ndarray | None]:
        """Run the program once, on inputs that are known to fit.

        Parameters
        ----------
        addresses : sequence of int
            Of the first element of each input, which the caller keeps alive.

        Returns
        -------
        list of (numpy.ndarray or None)
            None for what lies in the memory of an input.

        Raises
        ------
        IndexRangeError, numpy.linalg.LinAlgError
            As `run`.
        """
        outputs = [
            None if k in self._donors else allocate(shape, dtype)
            for k, (allocate, shape, dtype) in enumerate(self._outputs)
        ]
        arena = self._arenas.acquire()
        places = [*addresses, *(0 if x is None else data_pointer(x) for x in outputs)]
        word = self._function.at(places, arena.address)
        if word:
            error = self._error(int(word), arena.address)
            self._arenas.release(arena)
            raise error
        self._arenas.release(arena)
        return outputs

    def _check(self, inputs: Sequence[np.ndarray]) -> None:
        if len(inputs) != len(self._expected):
            raise InternalError(f"{len(inputs)} inputs for {len(self._expected)}")
        rows = zip(inputs, self._expected, strict=True)
        for number, (array, (dtype, shape, strides)) in enumerate(rows):
            if array.dtype != dtype or array.shape != shape:
                raise self._mismatch(number, array)
            if array.strides != strides and not _same_strides(array, strides):
                raise self._mismatch(number, array)
            if not array.flags.aligned:
                raise InternalError(
                    f"input {number} of {self.program.name} is not aligned",
                    hint="pass a copy of it",
                )

    def _mismatch(self, number: int, array: np.ndarray) -> InternalError:
        dtype, shape, strides = self._expected[number]
        return InternalError(
            f"input {number} of {self.program.name} is {array.dtype}{array.shape} with "
            f"strides {array.strides}; it was compiled for {dtype}{shape} with strides "
            f"{strides}"
        )

    # For callers in machine code

    @property
    def address(self) -> int:
        """Where the host function is."""
        return self._function.address

    @property
    def arenas(self) -> ArenaPool:
        """Memory for calls."""
        return self._arenas

    @property
    def results(self) -> Sequence[tuple[Allocator, tuple[int, ...], np.dtype]]:
        """How each result is allocated, its shape and its dtype."""
        return self._outputs

    @property
    def donors(self) -> Mapping[int, int]:
        """The results in the memory of an input: result to input."""
        return self._donors

    @property
    def pool(self) -> OutputPool:
        """Memory of large results, whose allocator is its `empty`."""
        return OUTPUTS

    @property
    def is_short(self) -> bool:
        """Whether it runs alone, and for no longer than letting others run pays."""
        return (
            not self._code.needs_host
            and not self._code.needs_pool
            and _work_ns(self.program.steps) < _RELEASE_FROM_NS
        )

    def raise_error(self, word: int, arena: int) -> None:
        """Raise what an error word says."""
        raise self._error(word, arena)

    # Errors

    def _error(self, word: int, arena: int) -> BaseException:
        step = self._code.steps[word >> STEP_SHIFT]
        kind = word & 0xFF
        if kind == HOST_ERROR:
            return self._host.take_error()
        if kind == ALIGNMENT_ERROR:
            return InternalError("a large result is not aligned to 64 bytes")
        if kind == LINALG_ERROR:
            return linalg_error(step)
        assert kind == INDEX_ERROR, f"unknown error word {word:#x}"
        place = arena + self._code.error_offset + 8
        index = ctypes.c_int64.from_address(place).value
        return index_error(self.program, step, word, index)


def _pool_symbols(target: Target) -> Mapping[str, int]:
    workers = pool(target)
    assert workers is not None, "code for threads where there are none"
    return workers.symbols


def _layout(buffer: ProgramBuffer) -> tuple[np.dtype, tuple[int, ...], tuple[int, ...]]:
    """Return dtype, shape, and strides in bytes."""
    size = buffer.dtype.itemsize
    return buffer.dtype, buffer.shape, tuple(s * size for s in buffer.strides)


def _output(
    buffer: ProgramBuffer,
) -> tuple[Allocator, tuple[int, ...], np.dtype]:
    """Return how a result is allocated, its shape and its dtype."""
    size = int(np.prod(buffer.shape, dtype=np.int64)) * buffer.dtype.itemsize
    if size >= _POOL_FROM:
        return OUTPUTS.empty, buffer.shape, buffer.dtype
    return (
        aligned_empty if size >= _ALIGN_FROM else np.empty,
        buffer.shape,
        buffer.dtype,
    )


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


def _same_strides(array: np.ndarray, strides: Sequence[int]) -> bool:
    """Tell whether strides agree where they matter."""
    rows = zip(array.shape, array.strides, strides, strict=True)
    return 0 in array.shape or all(n == 1 or a == b for n, a, b in rows)
