"""A Program as one LLVM module: its kernels, and the native host function.

``i64 @tracejit_main(ptr pointers, ptr arena)`` takes the data pointers of the inputs,
then of the outputs (aligned to 64 bytes from `UNCACHED_FROM` bytes on), and an arena of
`ProgramCode.arena_bytes` bytes aligned to 64. What it returns says `host`. The arena
holds the Program's own buffers, then the error word of kernels, the arrays of pointers
for calls, and the scratch memory of kernels.

What the module calls outside of itself is in `ProgramCode.imports`: the addresses of
NumPy's loops, found by the resolver that the caller passes, and constants.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from math import prod
from typing import TypeAlias

import numpy as np

from ...ir.primitive import Params, Primitive
from ...kernels.kernel import Buffer, Kernel
from ...kernels.schedule import Schedule
from ...program.program import (
    Copy,
    Extern,
    Program,
    ProgramBuffer,
    Run,
    Step,
    Storage,
    ends_of,
    is_update,
    nested,
)
from ...records import dataclass
from ..error_word import ALIGNMENT_ERROR, LINALG_ERROR
from .collapse import Beside
from .copies import copy_kernel
from .emission import KernelCode, ModuleScope, symbol_of
from .externs import ExternLoop, LoopCall, pointer_count
from .host import MAIN_SYMBOL, HostEmitter
from .kernels import emit_kernel
from .modules import Modules
from .probes import begin_call, note, note_text, read_clock
from .sharing import JOB_SYMBOL, SERIAL, WAKE_SYMBOL, Threading
from .steps import write_step
from .steps.code import Setting, StepCode
from .steps.factor import LapackRoutine, write_lu
from .target import CACHE_LINE, Target, aligned

# Bytes of a result from which on it is stored past the caches: half of a large cache.
UNCACHED_FROM = 1 << 24
# Steps from which on addresses are not all written at the start.
MANY_STEPS = 32

Dtypes: TypeAlias = tuple[np.dtype, ...]
Resolver: TypeAlias = Callable[
    [Primitive, Params, Dtypes, Dtypes], ExternLoop | LapackRoutine | None
]


@dataclass(frozen=True)
class StepCost:
    """What the code of one step needs.

    Parameters
    ----------
    scratch_bytes : int
        Memory while it runs, besides its buffers.
    is_shared : bool
        Whether several threads may run it.
    """

    scratch_bytes: int = 0
    is_shared: bool = False


@dataclass(frozen=True, eq=False)
class ProgramCode:
    """The code of a Program, before it is compiled.

    Parameters
    ----------
    text : str
        One LLVM module.
    imports : mapping of str to int
        Addresses of NumPy's loops and of constants.
    needs_host : bool
        Whether `HOST_SYMBOL` must be imported too.
    needs_pool : bool
        Whether the symbols of `jobs` must be imported too.
    constants : mapping of str to numpy.ndarray
        The constants by symbol; they must live as long as the code.
    arena_bytes : int
    error_offset : int
        Bytes from the arena's start to the kernels' error word; the index that was
        out of range follows it.
    steps : tuple of Step
        By number, as error words and host calls have them.
    kernels : mapping of str to str
        The text of each kernel.
    costs : mapping of int to StepCost
        What steps need, by number; steps that are not there need nothing.
    """

    text: str
    imports: Mapping[str, int]
    needs_host: bool
    needs_pool: bool
    constants: Mapping[str, np.ndarray]
    arena_bytes: int
    error_offset: int
    steps: tuple[Step, ...]
    kernels: Mapping[str, str]
    costs: Mapping[int, StepCost]


def emit_program(
    program: Program,
    target: Target,
    resolve: Resolver,
    threading: Threading = SERIAL,
    probed: bool = False,
    annotated: bool = False,
    ready: Callable[[str], None] = lambda text: None,
) -> ProgramCode:
    """Return the code of a Program.

    Parameters
    ----------
    program : Program
        With its arena planned.
    target : Target
    resolve : callable
        ``(primitive, params, input dtypes, output dtypes)`` to the compiled loop that
        computes it, or None.
    threading : Threading
    probed : bool
        Whether the time of each step is noted (see `probes`).
    annotated : bool
        Whether comments of the text name the values of kernels that lines compute.
    ready : callable
        Takes the text of each module as soon as it is written, so that it is compiled
        meanwhile.

    Raises
    ------
    InternalError
        If a buffer has no place.
    """
    kind = _ProbedEmitter if probed else _ProgramEmitter
    return kind(program, target, resolve, threading, annotated, ready).emit()


def buffers_read(steps: Sequence[Step]) -> set[str]:
    """Return the buffers that any step reads."""
    return {name for step in nested(steps) for name in ends_of(step)[0]}


class _ProgramEmitter(HostEmitter):
    """Kernels are functions of the module, and memory is that of the host."""

    def __init__(
        self,
        program: Program,
        target: Target,
        resolve: Resolver,
        threading: Threading,
        annotated: bool,
        ready: Callable[[str], None],
    ) -> None:
        scope = self.scope = ModuleScope(annotated=annotated)
        self.modules = Modules(target, scope.declarations, scope.globals_, ready)
        super().__init__(program, scope.emitter())
        self.target, self.resolve, self.threading = target, resolve, threading
        self.kernels: dict[str, KernelCode] = {}
        self.written: dict[str, StepCode] = {}
        self.names: dict[tuple[str, frozenset[str], Beside], str] = {}
        self.imports: dict[str, int] = {}
        self.costs: dict[int, StepCost] = {}
        unread = set(program.outputs) - buffers_read(program.steps)
        self.large = {name for name in unread if self._is_large(name)}
        self.error_offset = aligned(program.arena_bytes)
        self.calls_offset = self.error_offset + CACHE_LINE
        calls = pointer_count(program.steps) * 8
        self.scratch_offset = self.calls_offset + aligned(calls)

    def _is_large(self, name: str) -> bool:
        buffer = self.buffers[name]
        if buffer.donor is not None:  # what is read is in the caches already
            return False
        size = prod(buffer.shape) * buffer.dtype.itemsize
        return buffer.storage is Storage.OUTPUT and size >= UNCACHED_FROM

    def emit(self) -> ProgramCode:
        """Return everything."""
        em, self.arena = self.em, "%arena"
        self.error = em.gep("i8", self.arena, self.error_offset)
        self.calls = em.gep("i8", self.arena, self.calls_offset)
        self.scratch = em.gep("i8", self.arena, self.scratch_offset)
        em.store("i64", "0", self.error, 8)
        steps = self.program.steps
        is_long = len(steps) > MANY_STEPS
        is_straight = all(isinstance(s, Run | Copy | Extern) for s in steps)
        self._begin()
        self._place_buffers(steps if not is_long else ())
        self._check_alignment(self._used(steps))
        start = len(em.lines)
        shared_ns = self._run_each(steps) if is_long else self._run_all(steps)
        if shared_ns >= self.threading.wake_ns and self._needs_pool:
            em.declarations[WAKE_SYMBOL] = f"declare void @{WAKE_SYMBOL}()"
            end = len(em.lines)
            self._wake()
            em.lines[start:start] = [em.lines.pop() for _ in em.lines[end:]][::-1]
        self._end()
        em.ret("i64", "0")
        main = em.function(
            MAIN_SYMBOL,
            ["ptr %pointers", "ptr %arena"],
            result="i64",
            # of many calls in a row nothing becomes faster
            attributes="nounwind noinline optnone"
            if is_long and is_straight
            else "nounwind",
        )
        text = self.modules.finish(self._with_helpers(main))
        codes: dict[str, KernelCode | StepCode] = {**self.kernels, **self.written}
        scratch = max((code.scratch_bytes for code in codes.values()), default=0)
        return ProgramCode(
            text,
            {**self.imports, **{k: x.ctypes.data for k, x in self.constants.items()}},
            self.needs_host,
            self._needs_pool,
            self.constants,
            self.scratch_offset + scratch,
            self.error_offset,
            tuple(self.steps),
            {name: code.text for name, code in codes.items()},
            self.costs,
        )

    def _with_helpers(self, main: str) -> str:
        """Return the host function with those that it alone calls."""
        return main

    def _begin(self) -> None:
        """Write what comes first in a call."""

    def _wake(self) -> None:
        """Write what wakes threads for the work to come."""
        self.em.call("void", WAKE_SYMBOL, [])

    def _end(self) -> None:
        """Write what comes last in a call that succeeds."""

    def _note_cost(self, number: int, code: KernelCode | StepCode) -> None:
        self.costs[number] = StepCost(code.scratch_bytes, code.shared_ns > 0)

    @property
    def _needs_pool(self) -> bool:
        return JOB_SYMBOL in self.scope.declarations

    def _run_each(self, steps: Sequence[Step]) -> int:
        """Write steps, each after the addresses that it needs.

        LLVM would take as long for hundreds of addresses that are kept, in memory in
        any case, as for all kernels.
        """
        shared_ns = 0
        for step in steps:
            constants = (n for n, p in self.pointers.items() if p.startswith("@"))
            self.pointers = {name: self.pointers[name] for name in constants}
            self._place_buffers([step])
            shared_ns += self._step(step)
        return shared_ns

    def _check_alignment(self, used: Sequence[str]) -> None:
        """Leave at once if a large result is not where its stores expect it."""
        em = self.em
        for name in sorted(self.large.intersection(used)):
            address = em.op(f"ptrtoint ptr {self._pointer(name)} to i64")
            odd = em.op(f"and i64 {address}, {CACHE_LINE - 1}")
            failed = em.op(f"icmp ne i64 {odd}, 0")
            word = em.op(f"select i1 {failed}, i64 {ALIGNMENT_ERROR}, i64 0")
            self._return_error(word, 0)

    def _kernel(
        self,
        kernel: Kernel,
        schedule: Schedule,
        uncached: frozenset[str] = frozenset(),
        beside: Beside = frozenset(),
    ) -> KernelCode:
        """Return the code of a kernel, once for each way in which its buffers lie."""
        name = self.names.get((kernel.name, uncached, beside))
        if name is None:
            others = sum(kernel.name == known for known, *_ in self.names)
            name = f"{kernel.name}.{others}" if others else kernel.name
            self.names[kernel.name, uncached, beside] = name
            code = self.kernels[name] = emit_kernel(
                replace(kernel, name=name),
                schedule,
                self.target,
                self.scope,
                threading=self.threading,
                uncached=uncached,
                beside=beside,
            )
            self.modules.add(code.symbol, code.text)
        return self.kernels[name]

    def _beside(self, step: Run) -> Beside:
        """Return which buffers of a kernel begin an element after which others."""
        found = set()
        for params, names in (
            (step.kernel.inputs, step.inputs),
            (step.kernel.outputs, step.outputs),
        ):
            starts: dict[object, str] = {}
            pairs = [
                (p.name, self.buffers[n]) for p, n in zip(params, names, strict=True)
            ]
            parts = [(name, b) for name, b in pairs if b.storage is Storage.ALIAS]
            for name, b in sorted(parts, key=lambda pair: pair[1].offset):
                place = b.base, b.strides, b.moves, b.dtype
                other = starts.get((*place, b.offset - 1))
                if other is not None and all(abs(s) > 1 for s in b.strides):
                    found.add((name, other))
                starts.setdefault((*place, b.offset), name)
        return frozenset(found)

    def _uncached(self, step: Run) -> frozenset[str]:
        """Return the outputs of a kernel that are results too large for the caches.

        Those that a later step reads are worth having there.
        """
        pairs = zip(step.kernel.outputs, step.outputs, strict=True)
        large = {b.name for b, name in pairs if name in self.large}
        return frozenset(large)

    def _run(self, step: Run, number: int) -> int:
        code = self._kernel(
            step.kernel, step.schedule, self._uncached(step), self._beside(step)
        )
        self._note_cost(number, code)
        self._call_kernel(code, (*step.inputs, *step.outputs))
        if code.can_fail:
            word = self.em.load("i64", self.error, 8)
            self._return_error(word, number)
        return code.shared_ns

    def _call_kernel(self, code: KernelCode, buffers: Sequence[str]) -> None:
        pointers = [*map(self._pointer, buffers), self.scratch, self.error]
        self.em.call("void", code.symbol, [("ptr", p) for p in pointers])

    def _copy(self, step: Copy, number: int) -> int:
        source, to = self.buffers[step.input], self.buffers[step.output]
        code = self._kernel(*copy_kernel(source, to))
        self._note_cost(number, code)
        self._call_kernel(code, (step.input, step.output))
        return code.shared_ns

    def _byte(self, name: str, number: int) -> str:
        return self.em.load("i8", self._pointer(name), 1)

    def _extern(self, step: Extern, number: int) -> int:
        written = self._written(step)
        if written is not None:
            return self._call_step(step, *written, number)
        ins = [self.buffers[name] for name in step.inputs]
        outs = [self.buffers[name] for name in step.outputs]
        dtypes = tuple(b.dtype for b in ins), tuple(b.dtype for b in outs)
        loop = self.resolve(step.primitive, step.params, *dtypes)
        if isinstance(loop, LapackRoutine):
            return self._call_routine(step, loop, number)
        if loop is None:
            self._host_call(step, number)
        else:
            self._call_loop(step, loop, ins, outs, number)
        return 0

    def _setting(self, step: Extern) -> Setting:
        """Return where a function for a step is written, under a name of its own."""
        symbol = f"{symbol_of(self.program.name)}_{step.primitive.name}"
        symbol = f"{symbol}{len(self.written)}"
        return Setting(symbol, self.target, self.scope.emitter, self.threading)

    def _ends(self, step: Extern) -> tuple[list[Buffer], list[Buffer]]:
        """Return the inputs and the outputs of a step, as its function has them."""
        ins, outs = (
            [self.buffers[name].as_parameter(name) for name in names]
            for names in (step.inputs, step.outputs)
        )
        return ins, outs

    def _written(self, step: Extern) -> tuple[str, StepCode] | None:
        """Return our own code of a step, and its symbol; None if there is none."""
        setting = self._setting(step)
        code = write_step(setting, step.primitive, step.params, *self._ends(step))
        if code is None:
            return None
        self.written[setting.symbol] = code
        self.modules.add(setting.symbol, code.text)
        return setting.symbol, code

    def _call_routine(self, step: Extern, routine: LapackRoutine, number: int) -> int:
        setting = self._setting(step)
        code = write_lu(setting, routine, *self._ends(step))
        if code is None:
            self._host_call(step, number)
            return 0
        self.written[setting.symbol] = code
        self.modules.add(setting.symbol, code.text)
        self.imports[routine.symbol] = routine.function
        return self._call_step(step, setting.symbol, code, number)

    def _call_step(self, step: Extern, symbol: str, code: StepCode, number: int) -> int:
        copied = 0
        inputs = step.inputs
        if code.in_place:
            if not is_update(step, 0, self.buffers):
                start = Copy(inputs[0], step.outputs[0], step.source)
                copied = self._copy(start, number)
            inputs = inputs[1:]
        self._note_cost(number, code)
        names = (*inputs, *step.outputs)
        pointers = [*map(self._pointer, names), self.scratch, self.error]
        self.em.call("void", symbol, [("ptr", p) for p in pointers])
        if code.can_fail:
            self._return_error(self.em.load("i64", self.error, 8), number)
        return copied + code.shared_ns

    def _call_loop(
        self,
        step: Extern,
        loop: ExternLoop,
        ins: Sequence[ProgramBuffer],
        outs: Sequence[ProgramBuffer],
        number: int,
    ) -> None:
        self.imports.update(loop.imports)
        names = (*step.inputs, *step.outputs)
        if loop.in_place:
            self._copy(Copy(step.inputs[0], step.outputs[0], step.source), number)
            names, ins, outs = step.outputs, outs[:1], outs[1:]
        pointers = [self._pointer(name) for name in names]
        call = LoopCall(self.em, loop, (*ins, *outs), len(ins), self.calls)
        if loop.status is None:
            call.emit(pointers)
            return
        flags = ("i32", str(loop.status.invalid))
        self.em.extern("i32", loop.status.clear_symbol, [flags])
        call.emit(pointers)
        bits = self.em.extern("i32", loop.status.test_symbol, [flags])
        failed = self.em.op(f"icmp ne i32 {bits}, 0")
        word = self.em.op(f"select i1 {failed}, i64 {LINALG_ERROR}, i64 0")
        self._return_error(word, number)


class _ProbedEmitter(_ProgramEmitter):
    """A host function that notes what its steps take."""

    def _begin(self) -> None:
        self.note = note_text(self.scope.emitter(), self.target)
        self.call = begin_call(self.em)
        self.start = read_clock(self.em, self.target)

    def _wake(self) -> None:
        start = read_clock(self.em, self.target)
        super()._wake()
        note(self.em, self.call, 1 + len(self.steps), start)

    def _end(self) -> None:
        note(self.em, self.call, 0, self.start)

    def _with_helpers(self, main: str) -> str:
        return f"{self.note}\n{main}"

    def _step(self, step: Step) -> int:
        row = 1 + len(self.steps)
        start = read_clock(self.em, self.target)
        shared_ns = super()._step(step)
        note(self.em, self.call, row, start)
        return shared_ns
