"""A Program as one LLVM module: its kernels, and the native host function.

``i64 @tracejit_main(ptr pointers, ptr arena)`` takes the data pointers of the inputs,
then of the outputs (aligned to 64 bytes from `UNCACHED_FROM` bytes on), and an arena of
`ProgramCode.arena_bytes` bytes aligned to 64. It returns 0, or an error word at once
when a step fails: the code in the lowest byte, what the step says in the bytes above,
and the number of the step from bit 40 on. The arena holds the Program's own buffers,
then the error word of kernels, the arrays of pointers for calls, and the scratch memory
of kernels.

What the module calls outside of itself is in `ProgramCode.imports`: the addresses of
NumPy's loops, found by the resolver that the caller passes, and constants. All other
`Extern` steps call `HOST_SYMBOL`, ``i64 (i64 step, ptr pointers)``, with the pointers
of the step's inputs and outputs; the caller provides it.
"""

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from math import prod
from typing import TypeAlias

import numpy as np

from ...errors import InternalError
from ...ir.ops.callback import check_p
from ...ir.primitive import Params, Primitive
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
    ends_of,
    nested,
)
from .copies import copy_kernel
from .externs import ExternLoop, LoopCall, pointer_count
from .jobs import JOB_SYMBOL, SERIAL, WAKE_SYMBOL, Threading
from .kernels import KernelCode, ModuleScope, emit_kernel
from .target import Target
from .text import Emitter, module_text

HOST_SYMBOL = "tracejit_host_call"
MAIN_SYMBOL = "tracejit_main"
STEP_SHIFT = 40
LINALG_ERROR = 2
HOST_ERROR = 3
ALIGNMENT_ERROR = 4
# Bytes of a result from which on it is stored past the caches: half of a large cache.
UNCACHED_FROM = 1 << 24
_ALIGN = 64

Dtypes: TypeAlias = tuple[np.dtype, ...]
Resolver: TypeAlias = Callable[[Primitive, Params, Dtypes, Dtypes], ExternLoop | None]


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


def emit_program(
    program: Program,
    target: Target,
    resolve: Resolver,
    threading: Threading = SERIAL,
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

    Raises
    ------
    InternalError
        If a buffer has no place.
    """
    return _ProgramEmitter(program, target, resolve, threading).emit()


def _aligned(size: int) -> int:
    return -(-size // _ALIGN) * _ALIGN


def buffers_read(steps: Sequence[Step]) -> set[str]:
    """Return the buffers that any step reads."""
    return {name for step in nested(steps) for name in ends_of(step)[0]}


class _ProgramEmitter:
    """Writes the host function and collects what the module needs."""

    def __init__(
        self, program: Program, target: Target, resolve: Resolver, threading: Threading
    ) -> None:
        self.program, self.target, self.resolve = program, target, resolve
        self.threading = threading
        self.buffers = program.by_name
        self.scope = ModuleScope()
        self.em: Emitter = self.scope.emitter()
        self.kernels: dict[str, KernelCode] = {}
        self.imports: dict[str, int] = {}
        self.constants: dict[str, np.ndarray] = {}
        self.steps: list[Step] = []
        self.needs_host = False
        self.pointers: dict[str, str] = {}
        self.turns: dict[str, str] = {}  # the counters of the loops around, by name
        runs = [s for s in nested(program.steps) if isinstance(s, Run)]
        self.uses = Counter(run.kernel.name for run in runs)
        unread = set(program.outputs) - buffers_read(program.steps)
        self.large = {name for name in unread if self._is_large(name)}
        self.error_offset = _aligned(program.arena_bytes)
        self.calls_offset = self.error_offset + _ALIGN
        calls = pointer_count(program.steps) * 8
        self.scratch_offset = self.calls_offset + _aligned(calls)

    def _is_large(self, name: str) -> bool:
        buffer = self.buffers[name]
        size = prod(buffer.shape) * buffer.dtype.itemsize
        return buffer.storage is Storage.OUTPUT and size >= UNCACHED_FROM

    def emit(self) -> ProgramCode:
        """Return everything."""
        em = self.em
        self.error = em.gep("i8", "%arena", self.error_offset)
        self.calls = em.gep("i8", "%arena", self.calls_offset)
        self.scratch = em.gep("i8", "%arena", self.scratch_offset)
        em.store("i64", "0", self.error, 8)
        for name in self._used(self.program.steps):
            buffer = self.buffers[name]
            self._pointer(buffer.base if buffer.moves and buffer.base else name)
        self._check_alignment()
        start = len(em.lines)
        shared_ns = self._run_all(self.program.steps)
        if shared_ns >= self.threading.wake_ns and self._needs_pool:
            em.declarations[WAKE_SYMBOL] = f"declare void @{WAKE_SYMBOL}()"
            em.lines.insert(start, f"  call void @{WAKE_SYMBOL}()")
        em.ret("i64", "0")
        main = em.function(MAIN_SYMBOL, ["ptr %pointers", "ptr %arena"], result="i64")
        functions = [code.text for code in self.kernels.values()]
        text = module_text(
            self.target,
            self.scope.declarations.values(),
            [*functions, main],
            self.scope.globals_.values(),
        )
        scratch = max((k.scratch_bytes for k in self.kernels.values()), default=0)
        return ProgramCode(
            text,
            self.imports,
            self.needs_host,
            self._needs_pool,
            self.constants,
            self.scratch_offset + scratch,
            self.error_offset,
            tuple(self.steps),
            {name: code.text for name, code in self.kernels.items()},
        )

    @property
    def _needs_pool(self) -> bool:
        return JOB_SYMBOL in self.scope.declarations

    def _check_alignment(self) -> None:
        """Leave at once if a large result is not where its stores expect it."""
        em = self.em
        for name in sorted(self.large & self.pointers.keys()):
            address = em.op(f"ptrtoint ptr {self.pointers[name]} to i64")
            odd = em.op(f"and i64 {address}, {_ALIGN - 1}")
            failed = em.op(f"icmp ne i64 {odd}, 0")
            word = em.op(f"select i1 {failed}, i64 {ALIGNMENT_ERROR}, i64 0")
            self._return_error(word, 0)

    # Buffers

    def _used(self, steps: Sequence[Step]) -> list[str]:
        """Return the buffers that steps name, each once, in order."""
        ends = (name for s in nested(steps) for part in ends_of(s) for name in part)
        return list(dict.fromkeys(ends))

    def _pointer(self, name: str) -> str:
        """Return the address of a buffer; written at the start of the function.

        That of a moving alias is written at the start of each turn.
        """
        if name not in self.pointers:
            self.pointers[name] = self._address(self.buffers[name])
        return self.pointers[name]

    def _address(self, buffer: ProgramBuffer) -> str:
        em = self.em
        if buffer.storage is Storage.ALIAS:
            assert buffer.base is not None
            start = self._pointer(buffer.base)
            return em.gep("i8", start, buffer.offset * buffer.dtype.itemsize)
        if buffer.storage is Storage.ARENA:
            if buffer.offset < 0:
                raise InternalError(f"buffer {buffer.name} has no place in the arena")
            return em.gep("i8", "%arena", buffer.offset)
        if buffer.storage is Storage.CONSTANT:
            return self._constant(buffer)
        index = buffer.index
        if buffer.storage is Storage.OUTPUT:
            index += len(self.program.inputs)
        return em.load("ptr", em.gep("ptr", "%pointers", index), 8)

    def _constant(self, buffer: ProgramBuffer) -> str:
        assert buffer.data is not None
        symbol = f"constant.{len(self.constants)}"
        data = np.ascontiguousarray(buffer.data)
        self.constants[symbol] = data
        self.imports[symbol] = data.ctypes.data
        self.scope.globals_[symbol] = f"@{symbol} = external global i8"
        return f"@{symbol}"

    # Steps

    def _run_all(self, steps: Sequence[Step]) -> int:
        """Write steps; return the estimated work in them that threads may share."""
        return sum(self._step(step) for step in steps)

    def _step(self, step: Step) -> int:
        number = len(self.steps)
        self.steps.append(step)
        if isinstance(step, Run):
            return self._run(step, number)
        if isinstance(step, Copy):
            return self._copy(step)
        if isinstance(step, Loop):
            return self._loop(step)
        if isinstance(step, While):
            return self._while(step)
        if isinstance(step, Extern):
            self._extern(step, number)
            return 0
        return self._if(step)

    def _kernel(
        self,
        kernel: Kernel,
        schedule: Schedule,
        uncached: frozenset[str] = frozenset(),
    ) -> KernelCode:
        """Return the code of a kernel, emitted once."""
        code = self.kernels.get(kernel.name)
        if code is None:
            code = emit_kernel(
                kernel,
                schedule,
                self.target,
                self.scope,
                threading=self.threading,
                uncached=uncached,
            )
            self.kernels[kernel.name] = code
        return code

    def _uncached(self, step: Run) -> frozenset[str]:
        """Return the outputs of a kernel that are results too large for the caches.

        Those that a later step reads are worth having there. Steps that share a
        kernel's code have none: their buffers differ.
        """
        if self.uses[step.kernel.name] > 1:
            return frozenset()
        pairs = zip(step.kernel.outputs, step.outputs, strict=True)
        large = {b.name for b, name in pairs if name in self.large}
        return frozenset(large)

    def _run(self, step: Run, number: int) -> int:
        code = self._kernel(step.kernel, step.schedule, self._uncached(step))
        self._call_kernel(code, (*step.inputs, *step.outputs))
        if code.can_fail:
            word = self.em.load("i64", self.error, 8)
            self._return_error(word, number)
        return code.shared_ns

    def _call_kernel(self, code: KernelCode, buffers: Sequence[str]) -> None:
        pointers = [*map(self._pointer, buffers), self.scratch, self.error]
        self.em.call("void", code.symbol, [("ptr", p) for p in pointers])

    def _copy(self, step: Copy) -> int:
        source, to = self.buffers[step.input], self.buffers[step.output]
        code = self._kernel(*copy_kernel(source, to))
        self._call_kernel(code, (step.input, step.output))
        return code.shared_ns

    def _loop(self, step: Loop) -> int:
        with self.em.loop(0, step.count, 1) as loop:
            moving = self._move(step, loop.index)
            shared_ns = self._run_all(step.steps)
            loop.yield_([])
        for name in moving:
            del self.pointers[name]
        return shared_ns * step.count

    def _move(self, step: Loop, index: str) -> list[str]:
        """Write the addresses of what moves with a loop, and with none inside of it."""
        self.turns[step.name] = index
        used = (self.buffers[name] for name in self._used(step.steps))
        moving = [b for b in used if b.moves and b.moves[-1].loop == step.name]
        for buffer in moving:
            self.pointers[buffer.name] = self._moved(buffer)
        return [b.name for b in moving]

    def _moved(self, buffer: ProgramBuffer) -> str:
        em, size = self.em, buffer.dtype.itemsize
        pointer = self._address(buffer)
        for move in buffer.moves:
            moved = em.op(f"mul i64 {self.turns[move.loop]}, {move.step * size}")
            pointer = em.gep("i8", pointer, moved)
        return pointer

    def _while(self, step: While) -> int:
        """Write both lists of steps once: test, leave or go on, steps, test again."""
        em = self.em
        test, body, done = em.fresh("test"), em.fresh("body"), em.fresh("done")
        em.line(f"br label %{test}")
        em.label(test)
        shared_ns = self._run_all(step.test)
        holds = self._holds(step.predicate)
        em.line(f"br i1 {holds}, label %{body}, label %{done}")
        em.label(body)
        shared_ns += self._run_all(step.steps)
        em.line(f"br label %{test}")
        em.label(done)
        return shared_ns

    def _holds(self, predicate: str) -> str:
        byte = self.em.load("i8", self._pointer(predicate), 1)
        return self.em.op(f"icmp ne i8 {byte}, 0")

    def _if(self, step: If) -> int:
        em = self.em
        chosen = self._holds(step.predicate)
        shared_ns: list[int] = []

        def then() -> list[str]:
            shared_ns.append(self._run_all(step.on_true))
            return []

        def otherwise() -> list[str]:
            shared_ns.append(self._run_all(step.on_false))
            return []

        em.if_else(chosen, [], then, otherwise)
        return max(shared_ns)

    def _return_error(self, word: str, number: int) -> None:
        """Leave the function if an error word is not 0."""
        em = self.em
        failed = em.op(f"icmp ne i64 {word}, 0")
        with em.if_(failed, unlikely=True) as branch:
            whole = em.op(f"or i64 {word}, {number << STEP_SHIFT}")
            after = em.fresh("unreachable")
            em.ret("i64", whole)
            em.label(after)
            branch.yield_([])

    # Calls to the outside

    def _extern(self, step: Extern, number: int) -> None:
        ins = [self.buffers[name] for name in step.inputs]
        outs = [self.buffers[name] for name in step.outputs]
        dtypes = tuple(b.dtype for b in ins), tuple(b.dtype for b in outs)
        if step.primitive is check_p:
            self._check_step(step, number)
            return
        loop = self.resolve(step.primitive, step.params, *dtypes)
        if loop is None:
            self._host_call(step, number)
            return
        self.imports.update(loop.imports)
        names = (*step.inputs, *step.outputs)
        if loop.in_place:
            self._copy(Copy(step.inputs[0], step.outputs[0], step.source))
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

    def _check_step(self, step: Extern, number: int) -> None:
        """Call what raises, unless the first operand is true."""
        byte = self.em.load("i8", self._pointer(step.inputs[0]), 1)
        failed = self.em.op(f"icmp eq i8 {byte}, 0")
        with self.em.if_(failed, unlikely=True) as branch:
            self._host_call(step, number)
            branch.yield_([])

    def _host_call(self, step: Extern, number: int) -> None:
        em = self.em
        self.needs_host = True
        for k, name in enumerate((*step.inputs, *step.outputs)):
            em.store("ptr", self._pointer(name), em.gep("ptr", self.calls, k), 8)
        arguments = [("i64", str(number)), ("ptr", self.calls)]
        word = em.extern("i64", HOST_SYMBOL, arguments)
        self._return_error(word, number)
