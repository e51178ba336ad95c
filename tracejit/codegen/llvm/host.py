"""The native host function of a Program, whatever runs its kernels.

A walk over the steps that writes what every backend does the same way: addresses of
buffers, loops with what moves with them, tests, branches, error words, and calls back
into Python. A backend derives `HostEmitter` and says how a kernel runs, what copies
are, and how the host reads one byte of memory.

The host function returns 0, or an error word at once when a step fails: the code in the
lowest byte, what the step says in the bytes above, and the number of the step from bit
40 on. `Extern` steps that no native function computes call `HOST_SYMBOL`,
``i64 (i64 step, ptr pointers)``, with the pointers of the step's inputs and outputs;
the caller provides it.
"""

from abc import ABC, abstractmethod
from collections.abc import Sequence

import numpy as np

from ...errors import InternalError
from ...ir.ops.callback import check_p
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
    is_nothing,
    nested,
)
from ..error_word import STEP_SHIFT
from .text import Emitter

HOST_SYMBOL = "tracejit_host_call"
MAIN_SYMBOL = "tracejit_main"


class HostEmitter(ABC):
    """Writes the steps of a Program into one function.

    Parameters
    ----------
    program : Program
        With its arena planned.
    em : Emitter
        Of the function; its first parameter is ``ptr %pointers``, the addresses of the
        inputs, then of the outputs.

    Attributes
    ----------
    arena : str
        The address of the arena; set before the first step is written.
    calls : str
        Where the pointers of a call back into Python are put; likewise.
    constants : dict of str to numpy.ndarray
        The constants by symbol, C-contiguous.
    steps : list of Step
        By number, as error words and host calls have them.
    needs_host : bool
        Whether `HOST_SYMBOL` must be imported.
    """

    def __init__(self, program: Program, em: Emitter) -> None:
        self.program, self.em = program, em
        self.buffers = program.by_name
        self.constants: dict[str, np.ndarray] = {}
        self.steps: list[Step] = []
        self.needs_host = False
        self.pointers: dict[str, str] = {}
        self.turns: dict[str, str] = {}  # the counters of the loops around, by name
        self.arena = self.calls = ""

    # What a backend says

    @abstractmethod
    def _run(self, step: Run, number: int) -> int:
        """Write a kernel's run; return the nanoseconds that threads may share."""

    @abstractmethod
    def _copy(self, step: Copy, number: int) -> int:
        """Write a copy; see `_run`."""

    @abstractmethod
    def _extern(self, step: Extern, number: int) -> int:
        """Write what computes a primitive outside of kernels; see `_run`."""

    @abstractmethod
    def _byte(self, name: str, number: int) -> str:
        """Write what gives the host the byte of a boolean buffer; return it."""

    # Buffers

    def _place_buffers(self, steps: Sequence[Step]) -> None:
        """Write the addresses of all that steps name and that does not move."""
        for name in self._used(steps):
            buffer = self.buffers[name]
            self._pointer(buffer.base if buffer.moves and buffer.base else name)

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
            return em.gep("i8", self.arena, buffer.offset)
        if buffer.storage is Storage.CONSTANT:
            return self._constant(buffer)
        if buffer.donor is not None:
            return self._pointer(buffer.donor)
        index = buffer.index
        if buffer.storage is Storage.OUTPUT:
            index += len(self.program.inputs)
        return em.load("ptr", em.gep("ptr", "%pointers", index), 8)

    def _constant(self, buffer: ProgramBuffer) -> str:
        assert buffer.data is not None
        symbol = f"constant.{len(self.constants)}"
        self.constants[symbol] = np.ascontiguousarray(buffer.data)
        self.em.globals_[symbol] = f"@{symbol} = external global i8"
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
        if is_nothing(step, self.buffers):
            return 0
        if isinstance(step, Copy):
            return self._copy(step, number)
        if isinstance(step, Loop):
            return self._loop(step)
        if isinstance(step, While):
            return self._while(step, number)
        if isinstance(step, Extern):
            if step.primitive is not check_p:
                return self._extern(step, number)
            self._check_step(step, number)
            return 0
        return self._if(step, number)

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

    def _while(self, step: While, number: int) -> int:
        """Write both lists of steps once: test, leave or go on, steps, test again."""
        em = self.em
        test, body, done = em.fresh("test"), em.fresh("body"), em.fresh("done")
        em.line(f"br label %{test}")
        em.label(test)
        shared_ns = self._run_all(step.test)
        holds = self._holds(step.predicate, number)
        em.line(f"br i1 {holds}, label %{body}, label %{done}")
        em.label(body)
        shared_ns += self._run_all(step.steps)
        em.line(f"br label %{test}")
        em.label(done)
        return shared_ns

    def _holds(self, predicate: str, number: int) -> str:
        return self.em.op(f"icmp ne i8 {self._byte(predicate, number)}, 0")

    def _if(self, step: If, number: int) -> int:
        em = self.em
        chosen = self._holds(step.predicate, number)
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

    def _check_step(self, step: Extern, number: int) -> None:
        """Call what raises, unless the first operand is true."""
        byte = self._byte(step.inputs[0], number)
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
