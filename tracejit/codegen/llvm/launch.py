"""A Program as one native function that launches the kernels of a CUDA device.

``i64 @tracejit_main(ptr pointers)`` takes device addresses of the inputs, then of the
outputs, of the arena, then the stream and the context. What it does between launches
(loops, tests, addresses that move) is the same machine code as on a CPU, so that no
Python runs between two kernels, and a launch costs what the driver takes.

Each kernel's arguments are slots on the stack, and the array of pointers to the slots
that the driver wants is filled once. Triton adds two arguments to each kernel, scratch
memory and the profiler's, which is null. The driver's functions are imported by name,
as `DRIVER_SYMBOLS` lists them; a call of one that fails gives the error word
`DRIVER_ERROR` with the CUDA error above it.

A step may also be calls of a library of the device, such as cuSOLVER, by address and
with a handle: `Call`, once for each matrix of a stack, the addresses counted on by
machine code. Such a library is told the stream before; its failures give the error word
`LIBRARY_ERROR` with its status above it.

Loads that are out of range store into error words of their own (two i64 for each step,
in host memory that the device sees), which the caller reads once the device is done.
"""

import enum
from collections import defaultdict
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import field
from typing import TypeAlias

import numpy as np

from ...kernels.kernel import Kernel
from ...kernels.schedule import Schedule
from ...program.program import (
    Copy,
    Extern,
    If,
    Loop,
    Program,
    ProgramBuffer,
    Run,
    Step,
    Storage,
    While,
    nested,
)
from ...program.verify import is_dense
from ...records import dataclass
from ..error_word import CODE_SHIFT, DRIVER_ERROR, LIBRARY_ERROR
from .copies import copy_kernel
from .externs import pointer_count
from .host import MAIN_SYMBOL, HostEmitter
from .target import Target, aligned
from .text import Emitter, module_text

DRIVER_SYMBOLS = (
    "cuCtxSetCurrent",
    "cuLaunchKernel",
    "cuMemcpyDtoDAsync",
    "cuMemcpyDtoHAsync",
    "cuStreamSynchronize",
)
VECTOR = 16  # bytes; addresses that are multiples can be read by vectors
_ALIGN = 256  # bytes; what the driver's allocations are aligned to
SCRATCH = "scratch"  # memory that Triton asks for, beside the workspace of kernels


@dataclass(frozen=True)
class Launch:
    """One kernel of the device, loaded.

    Parameters
    ----------
    name : str
    function : int
        The driver's handle.
    arguments : tuple of str
        Names of the buffers that it points to: of the kernel of the IR, or of its
        workspace.
    can_fail : bool
        Whether the address of an error word follows.
    grid : int
        Programs; nothing is launched for zero.
    threads : int
        Of a program.
    shared : int
        Bytes of shared memory.
    scratch : int
        Bytes of global memory that all programs together need.
    """

    name: str
    function: int
    arguments: tuple[str, ...]
    can_fail: bool
    grid: int
    threads: int
    shared: int
    scratch: int = 0


@dataclass(frozen=True)
class At:
    """An argument of a call: an address on the device.

    Parameters
    ----------
    buffer : str
    step : int
        Bytes from one turn to the next.
    offset : int
        Bytes before the first.
    """

    buffer: str
    step: int = 0
    offset: int = 0


@dataclass(frozen=True)
class Number:
    """An argument of a call: the address of a number in the host's memory."""

    value: float
    dtype: np.dtype


@dataclass(frozen=True)
class Wide:
    """An argument of a call: an integer of 64 bits."""

    value: int


@dataclass(frozen=True)
class Host:
    """An argument of a call: an address in the host's memory.

    Parameters
    ----------
    name : str
        Of what lies there, different from that of all else.
    address : int
    """

    name: str
    address: int


@dataclass(frozen=True)
class Stream:
    """An argument of a call: the stream."""


@dataclass(frozen=True)
class HostInt:
    """An argument of a call: where a routine puts an int for the host, unread here."""


# Ints have 32 bits, None is null.
Argument: TypeAlias = At | Number | Wide | Host | HostInt | Stream | int | None


REGION_SYMBOL = "tracejit_region"


class Region(enum.IntEnum):
    """What native code that is recorded says to `REGION_SYMBOL`.

    ``ptr (i64 region, ptr stream, ptr predicate)`` returns the stream to go on with,
    null for a failure.
    """

    IF = 0  # what follows runs if the predicate holds
    UNLESS = 1  # if it does not
    LOOP = 2  # once, and again as long as `AGAIN` says so
    AGAIN = 3
    END = 4


@dataclass(frozen=True)
class Handle:
    """A library that is ready to work on a device.

    Parameters
    ----------
    name : str
    address : int
        Its handle.
    select : str
        The function that tells it the stream; empty if its functions are told.
    select_address : int
    is_recorded : bool
        Whether its work may be part of a CUDA graph.
    """

    name: str
    address: int
    select: str
    select_address: int
    is_recorded: bool


@dataclass(frozen=True)
class Call:
    """A call of a library, once for each of `count` turns.

    Parameters
    ----------
    name : str
        Of the function, which returns 0 or a status.
    function : int
        Its address.
    handle : Handle
        What its first argument is.
    arguments : tuple of Argument
        The others.
    count : int
    """

    name: str
    function: int
    handle: Handle
    arguments: tuple[Argument, ...]
    count: int = 1


@dataclass(frozen=True)
class Launches:
    """What a kernel of the IR, or another step, is on the device.

    Parameters
    ----------
    launches : tuple of Launch or Call
        In the order they run.
    workspace : mapping of str to int
        Memory between them: bytes by name.
    """

    launches: tuple[Launch | Call, ...]
    workspace: Mapping[str, int] = field(default_factory=dict)

    @property
    def kernels(self) -> list[Launch]:
        """The kernels among them."""
        return [x for x in self.launches if isinstance(x, Launch)]

    @property
    def can_fail(self) -> bool:
        """Whether one of them may write the error word."""
        return any(launch.can_fail for launch in self.kernels)


Loader = Callable[[Kernel, Schedule, Collection[str]], Launches]
# Operands are called in0, in1, ..., results out0, ...; None for what the host does.
ExternLoader = Callable[[Extern], Launches | None]


@dataclass(frozen=True, eq=False)
class LaunchCode:
    """The code of a Program for a device, before it is compiled.

    Parameters
    ----------
    text : str
        One LLVM module.
    functions : mapping of str to int
        Handles of kernels and libraries, and addresses of functions of these, by
        symbol, to be imported.
    constants : mapping of str to numpy.ndarray
        By symbol; to be imported as their addresses on the device.
    needs_host : bool
        Whether `HOST_SYMBOL` must be imported.
    needs_bytes : bool
        Whether the host waits for what the device computes.
    libraries : frozenset of Handle
        What it calls, which one thread may do at a time.
    launches : int
        How many kernels a run without tests launches.
    arena_bytes : int
    error_words : tuple of int
        Numbers of the steps that may fail, in the order of their error words.
    steps : tuple of Step
        By number, as error words and host calls have them.
    """

    text: str
    functions: Mapping[str, int]
    constants: Mapping[str, np.ndarray]
    needs_host: bool
    needs_bytes: bool
    libraries: frozenset[Handle]
    launches: int
    arena_bytes: int
    error_words: tuple[int, ...]
    steps: tuple[Step, ...]


def emit_launches(
    program: Program,
    target: Target,
    load: Loader,
    load_extern: ExternLoader,
    errors: str,
    is_recorded: bool = False,
) -> LaunchCode:
    """Return the native function that runs a Program on a device.

    Parameters
    ----------
    program : Program
        With its arena planned.
    target : Target
        The host.
    load : callable
        ``(kernel, schedule, odd)`` to what is launched for it, where `odd` are the
        buffers that may lie at an address that is not a multiple of `VECTOR` bytes.
    load_extern : callable
        The same for a step that is no kernel of the IR; None if the host computes it.
    errors : str
        Symbol of the error words.
    is_recorded : bool
        Whether what it asks for is recorded as a CUDA graph: then tests, loops with
        tests and branches are regions of that (see `Region`), and nothing waits.
    """
    emitter = _RecordingEmitter if is_recorded else _LaunchEmitter
    return emitter(program, target, load, load_extern, errors).emit()


def odd_buffers(program: Program) -> dict[str, frozenset[str]]:
    """Return, for each kernel, its buffers that are not at multiples of `VECTOR` bytes.

    All else are: what the driver allocates, and what a call passes.
    """
    found: dict[str, set[str]] = defaultdict(set)
    for step in nested(program.steps):
        if isinstance(step, Run):
            params = (*step.kernel.inputs, *step.kernel.outputs)
            buffers = (program.by_name[n] for n in (*step.inputs, *step.outputs))
            odd = {p.name for p, b in zip(params, buffers, strict=True) if _is_odd(b)}
            found[step.kernel.name] |= odd
    return {name: frozenset(odd) for name, odd in found.items()}


def _is_odd(buffer: ProgramBuffer) -> bool:
    if buffer.storage is not Storage.ALIAS:
        return False
    places = [buffer.offset, *(move.step for move in buffer.moves)]
    return any(place * buffer.dtype.itemsize % VECTOR for place in places)


def is_one_block(program: Program, step: Copy) -> bool:
    """Tell whether a copy moves one block of memory to another in the same order."""
    source, to = (program.by_name[name] for name in (step.input, step.output))
    return source.strides == to.strides and is_dense(source.shape, source.strides)


class _LaunchEmitter(HostEmitter):
    """Kernels are launches, and memory is that of the device."""

    def __init__(
        self,
        program: Program,
        target: Target,
        load: Loader,
        load_extern: ExternLoader,
        errors: str,
    ) -> None:
        super().__init__(program, Emitter())
        self.target, self.load, self.load_extern = target, load, load_extern
        self.errors = errors
        self.kernels: dict[str, Launches] = {}
        self.odd = odd_buffers(program)
        self.functions: dict[str, int] = {}
        self.error_words: list[int] = []
        self.needs_bytes = False
        self.libraries: set[Handle] = set()
        self.slots = 1
        self.times, self.launches = 1, 0
        self.arena_bytes = aligned(program.arena_bytes, _ALIGN)

    def emit(self) -> LaunchCode:
        """Return everything."""
        em = self.em
        first = len(self.program.inputs) + len(self.program.outputs)
        own = [em.load("ptr", em.gep("ptr", "%pointers", first + k), 8) for k in (0, 1)]
        self.arena, self.stream = own
        self.context = em.load("ptr", em.gep("ptr", "%pointers", first + 2), 8)
        self.calls = em.op(f"alloca [{pointer_count(self.program.steps)} x ptr]")
        self.byte = em.op("alloca i64")  # for a byte of the device, or an int
        at = len(em.lines)  # where the slots go, once their number is known
        self._call_driver("cuCtxSetCurrent", [("ptr", self.context)], 0)
        self._place_buffers(self.program.steps)
        self._run_all(self.program.steps)
        em.ret("i64", "0")
        em.lines[at:at] = self._slots()
        main = em.function(MAIN_SYMBOL, ["ptr %pointers"], result="i64")
        text = module_text(
            self.target, em.declarations.values(), [main], em.globals_.values()
        )
        return LaunchCode(
            text,
            self.functions,
            self.constants,
            self.needs_host,
            self.needs_bytes,
            frozenset(self.libraries),
            self.launches,
            self.arena_bytes,
            tuple(self.error_words),
            tuple(self.steps),
        )

    def _slots(self) -> list[str]:
        """Return the lines that make slots for arguments, and point to them."""
        lines = [
            f"  %slots = alloca [{self.slots} x ptr]",
            f"  %arguments = alloca [{self.slots} x ptr]",
        ]
        for k in range(self.slots):
            lines += [
                f"  %slot.{k} = getelementptr ptr, ptr %slots, i64 {k}",
                f"  %argument.{k} = getelementptr ptr, ptr %arguments, i64 {k}",
                f"  store ptr %slot.{k}, ptr %argument.{k}, align 8",
            ]
        return lines

    def _call_driver(
        self, symbol: str, arguments: list[tuple[str, str]], number: int
    ) -> None:
        """Write a call of the driver, and leave the function if it fails."""
        self._leave_unless(self.em.extern("i32", symbol, arguments), number)

    def _leave_unless(self, code: str, number: int, kind: int = DRIVER_ERROR) -> None:
        """Leave the function unless a status is 0."""
        em = self.em
        failed = em.op(f"icmp ne i32 {code}, 0")
        with em.if_(failed, unlikely=True) as branch:
            wide = em.op(f"zext i32 {code} to i64")
            shifted = em.op(f"shl i64 {wide}, {CODE_SHIFT}")
            self._return_error(em.op(f"or i64 {shifted}, {kind}"), number)
            branch.yield_([])

    # Kernels

    def _run(self, step: Run, number: int) -> int:
        names = [b.name for b in (*step.kernel.inputs, *step.kernel.outputs)]
        buffers = dict(zip(names, (*step.inputs, *step.outputs), strict=True))
        self._launch(step.kernel, step.schedule, buffers, number)
        return 0

    def _launch(
        self,
        kernel: Kernel,
        schedule: Schedule,
        buffers: Mapping[str, str],
        number: int,
    ) -> None:
        """Write the launches of a kernel; `buffers` are the Program's by its names."""
        found = self.kernels.get(kernel.name)
        if found is None:
            odd = self.odd.get(kernel.name, frozenset(buffers))
            found = self.kernels[kernel.name] = self.load(kernel, schedule, odd)
        self._launch_all(found, buffers, number)

    def _launch_all(
        self, found: Launches, buffers: Mapping[str, str], number: int
    ) -> None:
        """Write launches; `buffers` are the Program's by the names that these use."""
        places = {name: self._pointer(b) for name, b in buffers.items()}
        places.update(self._workspace(found))
        error = self._error_word(number) if found.can_fail else ""
        for launch in found.launches:
            if isinstance(launch, Call):
                self._call_library(launch, places, number)
            elif launch.grid:
                pointers = [places[name] for name in launch.arguments]
                pointers += [error] if launch.can_fail else []
                scratch = places[SCRATCH] if launch.scratch else "null"
                self._write_launch(launch, [*pointers, scratch, "null"], number)

    def _workspace(self, found: Launches) -> dict[str, str]:
        """Return places behind the Program's own buffers; kernels share them."""
        scratch = max((x.scratch for x in found.kernels), default=0)
        sizes = {**found.workspace, SCRATCH: scratch}
        places, start = {}, aligned(self.program.arena_bytes, _ALIGN)
        for name, size in sizes.items():
            if size:
                places[name] = self.em.gep("i8", self.arena, start)
            start += aligned(size, _ALIGN)
        self.arena_bytes = max(self.arena_bytes, start)
        return places

    def _error_word(self, number: int) -> str:
        self.em.globals_[self.errors] = f"@{self.errors} = external global i8"
        place = self.em.gep("i8", f"@{self.errors}", 16 * len(self.error_words))
        self.error_words.append(number)
        return place

    def _write_launch(self, launch: Launch, values: list[str], number: int) -> None:
        em = self.em
        self.launches += self.times
        self.slots = max(self.slots, len(values))
        for k, value in enumerate(values):
            em.store("ptr", value, f"%slot.{k}", 8)
        sizes = [launch.grid, 1, 1, launch.threads, 1, 1, launch.shared]
        arguments = [("ptr", self._function(launch))]
        arguments += [("i32", str(n)) for n in sizes]
        arguments += [("ptr", self.stream), ("ptr", "%arguments"), ("ptr", "null")]
        self._call_driver("cuLaunchKernel", arguments, number)

    def _function(self, launch: Launch) -> str:
        symbol = f"function.{launch.name}.{launch.function}"
        return self._imported(symbol, launch.function)

    # Libraries

    def _call_library(self, call: Call, places: Mapping[str, str], number: int) -> None:
        """Write the calls for all turns."""
        em, handle = self.em, call.handle
        self.libraries.add(handle)
        self.launches += self.times * call.count
        self.functions[call.name] = call.function
        own = self._imported(f"handle.{handle.name}", handle.address)
        if handle.select:
            self.functions[handle.select] = handle.select_address
            told = [("ptr", own), ("ptr", self.stream)]
            status = em.extern("i32", handle.select, told)
            self._leave_unless(status, number, LIBRARY_ERROR)
        with em.loop(0, call.count, 1) as loop:
            arguments = [self._argument(x, places, loop.index) for x in call.arguments]
            status = em.extern("i32", call.name, [("ptr", own), *arguments])
            self._leave_unless(status, number, LIBRARY_ERROR)
            loop.yield_([])

    def _argument(
        self, argument: Argument, places: Mapping[str, str], turn: str
    ) -> tuple[str, str]:
        """Return type and value of an argument of a call of a library."""
        em = self.em
        if argument is None:
            return "ptr", "null"
        if isinstance(argument, int):
            return "i32", str(argument)
        if isinstance(argument, Wide):
            return "i64", str(argument.value)
        if isinstance(argument, Host):
            return "ptr", self._imported(argument.name, argument.address)
        if isinstance(argument, Stream):
            return "ptr", self.stream
        if isinstance(argument, Number):
            kind = "float" if argument.dtype.itemsize == 4 else "double"
            symbol = f"number.{kind}.{argument.value}".replace("-", "m")
            return "ptr", em.table(symbol, kind, [argument.value])
        if isinstance(argument, HostInt):
            return "ptr", self.byte
        place = places[argument.buffer]
        if argument.offset:
            place = em.gep("i8", place, argument.offset)
        if not argument.step:
            return "ptr", place
        return "ptr", em.gep("i8", place, em.op(f"mul i64 {turn}, {argument.step}"))

    def _imported(self, symbol: str, value: int) -> str:
        self.functions[symbol] = value
        self.em.globals_[symbol] = f"@{symbol} = external global i8"
        return f"@{symbol}"

    # Other steps

    def _loop(self, step: Loop) -> int:
        before, self.times = self.times, self.times * step.count
        shared_ns = super()._loop(step)
        self.times = before
        return shared_ns

    def _copy(self, step: Copy, number: int) -> int:
        source, to = self.buffers[step.input], self.buffers[step.output]
        if 0 in source.shape:
            return 0
        if is_one_block(self.program, step):
            places = [self._integer(step.output), self._integer(step.input)]
            size = source.dtype.itemsize * int(np.prod(source.shape))
            arguments = [("i64", places[0]), ("i64", places[1]), ("i64", str(size))]
            arguments.append(("ptr", self.stream))
            self._call_driver("cuMemcpyDtoDAsync", arguments, number)
            return 0
        kernel, schedule = copy_kernel(source, to)
        buffers = {"source": step.input, "to": step.output}
        self._launch(kernel, schedule, buffers, number)
        return 0

    def _integer(self, name: str) -> str:
        return self.em.op(f"ptrtoint ptr {self._pointer(name)} to i64")

    def _extern(self, step: Extern, number: int) -> int:
        found = self.load_extern(step)
        if found is None:
            self._host_call(step, number)
            return 0
        buffers = {f"in{k}": name for k, name in enumerate(step.inputs)}
        buffers |= {f"out{k}": name for k, name in enumerate(step.outputs)}
        self._launch_all(found, buffers, number)
        return 0

    def _byte(self, name: str, number: int) -> str:
        """Wait for the device, and fetch the byte."""
        self.needs_bytes = True
        source = self._integer(name)
        arguments = [("ptr", self.byte), ("i64", source), ("i64", "1")]
        self._call_driver(
            "cuMemcpyDtoHAsync", [*arguments, ("ptr", self.stream)], number
        )
        self._call_driver("cuStreamSynchronize", [("ptr", self.stream)], number)
        return self.em.load("i8", self.byte, 1)


class _RecordingEmitter(_LaunchEmitter):
    """Loops with tests, and branches, are regions of a recording."""

    def _while(self, step: While, number: int) -> int:
        """Write a region that tests, and does the rest and comes again if that held."""
        outer = self.stream
        self._region(Region.LOOP, None, number)
        self._run_all(step.test)
        self._region(Region.AGAIN, step.predicate, number)
        self._chosen(Region.IF, step.predicate, step.steps, number)
        self._region(Region.END, None, number)
        self.stream = outer
        return 0

    def _if(self, step: If, number: int) -> int:
        self._chosen(Region.IF, step.predicate, step.on_true, number)
        self._chosen(Region.UNLESS, step.predicate, step.on_false, number)
        return 0

    def _chosen(
        self, region: Region, predicate: str, steps: Sequence[Step], number: int
    ) -> None:
        """Write steps that run, or do not, once."""
        outer = self.stream
        self._region(region, predicate, number)
        self._run_all(steps)
        self._region(Region.END, None, number)
        self.stream = outer

    def _region(self, region: Region, predicate: str | None, number: int) -> None:
        """Write a call that says what follows, and go on with the stream it returns."""
        em = self.em
        place = "null" if predicate is None else self._pointer(predicate)
        arguments = [("i64", str(int(region))), ("ptr", self.stream), ("ptr", place)]
        self.stream = em.extern("ptr", REGION_SYMBOL, arguments)
        failed = em.op(f"icmp eq ptr {self.stream}, null")
        self._leave_unless(em.op(f"zext i1 {failed} to i32"), number)
