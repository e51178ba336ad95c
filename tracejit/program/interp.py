"""The interpreter of programs: runs their steps in NumPy, in real memory.

Arguments are laid out by the strides that the program expects, and intermediate values
live in an arena of the planned size that starts as garbage: a wrong alias, offset or
live range gives wrong results here too, and every access is in bounds.
"""

from collections.abc import Callable, Mapping, Sequence
from typing import TypeAlias

import numpy as np

from ..errors import InternalError
from ..ir.aval import Shape
from ..ir.strided import strided
from ..kernels.interp import run_kernel
from ..kernels.kernel import extent_of
from .program import (
    Copy,
    Extern,
    Loop,
    Move,
    Program,
    ProgramBuffer,
    Run,
    Step,
    Storage,
    While,
    ends_of,
)

Array = np.ndarray
GARBAGE = 0xA5
Watch: TypeAlias = Callable[[Step, int, Sequence[Array], Sequence[Array]], None]


def run_program(
    program: Program, args: Sequence[Array], watch: Watch | None = None
) -> tuple[Array, ...]:
    """Run a program.

    Parameters
    ----------
    program : Program
        With its arena planned.
    args : sequence of numpy.ndarray
        One per input, of its shape and dtype; any strides.
    watch : callable, optional
        Called after each step that computes or copies: with the step, its number among
        all those that ran, copies of what it read, and what it wrote.

    Returns
    -------
    tuple of numpy.ndarray
        One per output, fresh: what lies in the memory of an input, in that of a copy.

    Raises
    ------
    InternalError
        When an argument or the result of a step does not fit its buffer.
    """
    memory = _Memory(program)
    memory.watch = watch
    for name, value in zip(program.inputs, args, strict=True):
        _put(memory.arrays[name], np.asarray(value), name)
    _run(program.steps, memory)
    return tuple(memory.arrays[name] for name in program.outputs)


class _Memory:
    """The arrays of all buffers, over the memory they share."""

    def __init__(self, program: Program) -> None:
        self.arena = np.full(program.arena_bytes, GARBAGE, np.uint8)
        self.starts: dict[str, tuple[Array, int]] = {}
        self.arrays: dict[str, Array] = {}
        self.moving: dict[str, list[ProgramBuffer]] = {}
        self.turns: dict[str, int] = {}
        self.watch: Watch | None = None
        self.count = 0
        for buffer in sorted(program.buffers, key=lambda b: b.storage is Storage.ALIAS):
            self.add(buffer)

    def add(self, buffer: ProgramBuffer) -> None:
        """Make the array of a buffer; `starts` says where its first element lies."""
        size = buffer.dtype.itemsize
        if buffer.storage is Storage.ALIAS:
            assert buffer.base is not None
            block, start = self.starts[buffer.base]
            start += buffer.offset * size
        elif buffer.storage is Storage.ARENA:
            block, start = self.arena, buffer.offset
        elif buffer.donor is not None:
            block, start = self.starts[buffer.donor]
        else:
            low, high = extent_of(buffer.shape, buffer.strides)
            block = np.full((high - low) * size, GARBAGE, np.uint8)
            start = -low * size
        self.starts[buffer.name] = block, start
        self.arrays[buffer.name] = _array(buffer, block, start)
        for move in buffer.moves:
            self.moving.setdefault(move.loop, []).append(buffer)
        if buffer.storage is Storage.CONSTANT:
            assert buffer.data is not None
            self.arrays[buffer.name][...] = buffer.data

    def turn(self, loop: str, number: int) -> None:
        """Move what moves with a loop to a turn."""
        self.turns[loop] = number
        for buffer in self.moving.get(loop, ()):
            block, start = self.starts[buffer.name]
            start += self.moved(buffer.moves) * buffer.dtype.itemsize
            self.arrays[buffer.name] = _array(buffer, block, start)

    def moved(self, moves: Sequence[Move]) -> int:
        return sum(m.step * self.turns.get(m.loop, 0) for m in moves)


def _array(buffer: ProgramBuffer, block: Array, start: int) -> Array:
    if 0 in buffer.shape:
        return np.empty(buffer.shape, buffer.dtype)
    strides = tuple(s * buffer.dtype.itemsize for s in buffer.strides)
    return np.ndarray(buffer.shape, buffer.dtype, block, start, strides)


def _put(target: Array, value: Array, what: str) -> None:
    if value.shape != target.shape or value.dtype != target.dtype:
        raise InternalError(
            f"{what} is {target.dtype}{list(target.shape)}, "
            f"given {value.dtype}{list(value.shape)}"
        )
    target[...] = value


def _run(steps: Sequence[Step], memory: _Memory) -> None:
    arrays = memory.arrays
    for step in steps:
        if isinstance(step, Run | Extern | Copy):
            _run_one(step, memory)
        elif isinstance(step, Loop):
            for turn in range(step.count):
                memory.turn(step.name, turn)
                _run(step.steps, memory)
        elif isinstance(step, While):
            _run(step.test, memory)
            while arrays[step.predicate][()]:
                _run(step.steps, memory)
                _run(step.test, memory)
        else:
            chosen = arrays[step.predicate][()]
            _run(step.on_true if chosen else step.on_false, memory)


def _run_one(step: Run | Extern | Copy, memory: _Memory) -> None:
    arrays = memory.arrays
    reads, writes = ends_of(step)
    given = [] if memory.watch is None else [arrays[n].copy() for n in reads]
    if isinstance(step, Run):
        _run_kernel(step, [arrays[n] for n in reads], [arrays[n] for n in writes])
    elif isinstance(step, Extern):
        _run_extern(step, arrays)
    else:
        arrays[step.output][...] = arrays[step.input]
    if memory.watch is not None:
        memory.watch(step, memory.count, given, [arrays[n] for n in writes])
        memory.count += 1


def _run_extern(step: Extern, arrays: Mapping[str, Array]) -> None:
    # of what it is given, a step may return the very memory
    ins = [arrays[n].copy() for n in step.inputs]
    with np.errstate(all="ignore"):
        outs = step.primitive.evaluate(ins, step.params)
    for name, out in zip(step.outputs, outs, strict=True):
        _put(arrays[name], np.asarray(out), name)


def _run_kernel(step: Run, ins: Sequence[Array], outs: Sequence[Array]) -> None:
    """Present each buffer to the kernel in the kernel's own shape."""
    kernel = step.kernel
    ins = [
        _viewed(x, b.shape, b.strides) for x, b in zip(ins, kernel.inputs, strict=True)
    ]
    outs = [
        _viewed(x, b.shape, b.strides)
        for x, b in zip(outs, kernel.outputs, strict=True)
    ]
    run_kernel(kernel, ins, outs)


def _viewed(x: Array, shape: Shape, strides: Shape) -> Array:
    """Contractions join and permute axes of buffers: the same memory otherwise seen."""
    if not x.size:
        return x.reshape(shape)
    steps = tuple(s * x.itemsize for s in strides)
    return strided(x, shape, steps)
