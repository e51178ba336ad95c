"""Programs: buffers and steps, what the native host function executes."""

import enum
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import replace
from math import prod
from typing import TypeAlias

import numpy as np

from ..ir.aval import Shape
from ..ir.graph import Graph, Var
from ..ir.ops.indexing import scatter_p
from ..ir.primitive import Params, Primitive
from ..kernels.kernel import Buffer, Kernel, dense_strides, has_overlaps
from ..kernels.schedule import Schedule
from ..records import dataclass


class Storage(enum.Enum):
    """Who owns the memory of a buffer."""

    INPUT = "input"  # an argument or capture, by pointer and strides
    OUTPUT = "output"  # a result: memory from the caller, or that of its `donor`
    ARENA = "arena"  # a place in the call's arena
    CONSTANT = "constant"  # data baked into the executable
    ALIAS = "alias"  # the memory of `base`, from `offset` elements on


@dataclass(frozen=True)
class Move:
    """How an alias moves: `step` elements on at each turn of the loop named `loop`."""

    loop: str
    step: int


@dataclass(frozen=True, eq=False)
class ProgramBuffer:
    """A region of memory with shape, dtype and strides (in elements).

    Parameters
    ----------
    name : str
    dtype : numpy.dtype
    shape, strides : tuple of int
    storage : Storage
    index : int
        Position among the inputs or outputs.
    base : str, optional
        For ALIAS, the buffer whose memory this is: of its dtype, or of the complex one
        whose parts it has.
    offset : int
        ARENA: bytes from the arena's start (64-byte aligned), -1 until planned.
        ALIAS: elements (of its own dtype) from the base's first one, at the first turn
        of loops.
    moves : tuple of Move
        For ALIAS: the loops that it moves with, outermost first.
    data : numpy.ndarray, optional
        For CONSTANT.
    donor : str, optional
        For OUTPUT, the input in whose memory it lies; see `donate`.
    """

    name: str
    dtype: np.dtype
    shape: Shape
    strides: Shape
    storage: Storage
    index: int = -1
    base: str | None = None
    offset: int = -1
    data: np.ndarray | None = None
    moves: tuple[Move, ...] = ()
    donor: str | None = None

    def as_parameter(self, name: str) -> Buffer:
        """Return what a kernel that takes it by a name of its own knows of it."""
        return Buffer(name, self.dtype, self.shape, self.strides)


@dataclass(frozen=True, eq=False)
class Run:
    """Run a kernel: ``run @name(inputs) -> (outputs)``.

    `groups` are the equations that it computes, where they are known: they tell which
    of the user's lines costs what. `results` are the variables of the program's graph
    that it computes, one for each output: they lead from a kernel back to the graph.
    """

    kernel: Kernel
    schedule: Schedule
    inputs: tuple[str, ...]
    outputs: tuple[str, ...]
    source: tuple[str, ...] = ()
    groups: tuple[Graph, ...] = ()
    results: tuple[Var, ...] = ()


@dataclass(frozen=True, eq=False)
class Extern:
    """Evaluate one primitive by NumPy's compiled ufunc loop, or by its `impl`.

    Which of the two is decided when code is emitted; the meaning is the primitive's.
    `results` are as those of `Run`.
    """

    primitive: Primitive
    params: Params
    inputs: tuple[str, ...]
    outputs: tuple[str, ...]
    source: tuple[str, ...] = ()
    results: tuple[Var, ...] = ()


class Purpose(enum.Enum):
    """What a copy is for."""

    RESULT = "result"  # what is a result lies in other memory
    RESHAPE = "reshape"  # a reshape of memory that is not contiguous
    PIECE = "piece"  # of an array that is put together
    PART = "part"  # of a complex array
    BRANCH = "branch"  # what a branch gives
    SLICE = "slice"  # what a turn of a loop stacks
    START = "start"  # of what a loop carries
    CARRY = "carry"  # from one turn of a loop to the next
    WHOLE = "whole"  # of an array that is written in part
    WRITE_BACK = "write back"  # to an argument that is written


@dataclass(frozen=True, eq=False)
class Copy:
    """Copy one buffer into another of the same shape and dtype, any strides.

    `purpose` is for explanations; text has none, so that a parsed copy is a result's.
    """

    input: str
    output: str
    source: tuple[str, ...] = ()
    purpose: Purpose = Purpose.RESULT


@dataclass(frozen=True, eq=False)
class Loop:
    """Run `steps` `count` times; aliases may move with its `name`."""

    count: int
    steps: tuple["Step", ...]
    source: tuple[str, ...] = ()
    name: str = ""


@dataclass(frozen=True, eq=False)
class While:
    """Run `test`, and then `steps` and `test` again as long as `predicate` holds."""

    predicate: str
    test: tuple["Step", ...]
    steps: tuple["Step", ...]
    source: tuple[str, ...] = ()


@dataclass(frozen=True, eq=False)
class If:
    """Run `on_true` or `on_false` by the boolean in buffer `predicate`."""

    predicate: str
    on_true: tuple["Step", ...]
    on_false: tuple["Step", ...]
    source: tuple[str, ...] = ()


Step: TypeAlias = Run | Extern | Copy | Loop | While | If


@dataclass(frozen=True, eq=False)
class Program:
    """What one call executes.

    Parameters
    ----------
    name : str
    buffers : tuple of ProgramBuffer
        In order of first use; inputs and outputs among them.
    inputs : tuple of str
        Buffers bound to the arguments, in order.
    outputs : tuple of str
        Buffers of the results, in order. A result that is an argument or a constant
        is copied into an OUTPUT buffer.
    steps : tuple of Step
    arena_bytes : int
        Size of the arena, 0 until planned.
    """

    name: str
    buffers: tuple[ProgramBuffer, ...]
    inputs: tuple[str, ...]
    outputs: tuple[str, ...]
    steps: tuple[Step, ...]
    arena_bytes: int = 0

    def buffer(self, name: str) -> ProgramBuffer:
        """Return the buffer called `name`."""
        return self.by_name[name]

    @property
    def by_name(self) -> dict[str, ProgramBuffer]:
        """Buffers by name."""
        return {b.name: b for b in self.buffers}

    @property
    def donors(self) -> dict[int, int]:
        """The outputs that lie in the memory of an input: output to input."""
        by_name = self.by_name
        return {
            k: by_name[donor].index
            for k, name in enumerate(self.outputs)
            if (donor := by_name[name].donor) is not None
        }

    @property
    def kernels(self) -> tuple[Kernel, ...]:
        """The kernels it runs, in order, each once."""
        runs = (s for s in nested(self.steps) if isinstance(s, Run))
        found: dict[str, Kernel] = {}
        for step in runs:
            found.setdefault(step.kernel.name, step.kernel)
        return tuple(found.values())


def owner_of(buffer: ProgramBuffer, by_name: Mapping[str, ProgramBuffer]) -> str:
    """Return the buffer whose memory another one is: base, and donor of that."""
    root = buffer if buffer.base is None else by_name[buffer.base]
    return root.donor or root.name


def is_nothing(step: Step, by_name: Mapping[str, ProgramBuffer]) -> bool:
    """Tell whether a step copies memory to where it is."""
    if not isinstance(step, Copy):
        return False
    one, two = by_name[step.input], by_name[step.output]
    return owner_of(one, by_name) == owner_of(two, by_name) and _place(one) == _place(
        two
    )


def is_update(step: Step, source: int, by_name: Mapping[str, ProgramBuffer]) -> bool:
    """Tell whether a step starts its result as a copy of an operand, where that is.

    So that it may write over it.

    Parameters
    ----------
    step : Step
    source : int
        Which operand.
    by_name : mapping of str to ProgramBuffer
    """
    if not isinstance(step, Extern) or step.primitive is not scatter_p or source:
        return False
    return is_nothing(Copy(step.inputs[0], step.outputs[0]), by_name)


def ahead_of(one: ProgramBuffer, two: ProgramBuffer) -> int:
    """Return the elements from the start of one buffer to that of another.

    Both are of one owner and dtype, and move alike.
    """
    first, second = (b.offset if b.storage is Storage.ALIAS else 0 for b in (one, two))
    return second - first


def can_lie_in(output: ProgramBuffer, donor: ProgramBuffer) -> bool:
    """Tell whether the layout of an input is that of an output, or as good."""
    if output.dtype != donor.dtype or has_overlaps(donor.shape, donor.strides):
        return False
    if (output.shape, output.strides) == (donor.shape, donor.strides):
        return True
    sizes = prod(output.shape), prod(donor.shape)
    both = (output.shape, output.strides), (donor.shape, donor.strides)
    return sizes[0] == sizes[1] and all(s == dense_strides(n) for n, s in both)


def _place(buffer: ProgramBuffer) -> tuple[object, ...]:
    offset = buffer.offset if buffer.storage is Storage.ALIAS else 0
    return buffer.dtype, buffer.shape, buffer.strides, offset, buffer.moves


def nested(steps: Sequence[Step]) -> Iterator[Step]:
    """Yield steps in order, each before those inside it."""
    for step in steps:
        yield step
        for part in parts_of(step):
            yield from nested(part)


def with_kernels(
    program: Program,
    change: Callable[[Kernel, Schedule], tuple[Kernel, Schedule]],
) -> Program:
    """Return a program with other kernels; the same object where none changes.

    Parameters
    ----------
    program : Program
    change : callable
        Called once for each kernel, by name.
    """
    runs = {s.kernel.name: s for s in nested(program.steps) if isinstance(s, Run)}
    found = {name: change(run.kernel, run.schedule) for name, run in runs.items()}
    if all(found[name][0] is run.kernel for name, run in runs.items()):
        return program

    def changed(step: Step) -> Step:
        if isinstance(step, Run):
            kernel, schedule = found[step.kernel.name]
            return replace(step, kernel=kernel, schedule=schedule)
        return with_parts(step, [tuple(map(changed, p)) for p in parts_of(step)])

    return replace(program, steps=tuple(map(changed, program.steps)))


def with_parts(step: Step, parts: Sequence[tuple[Step, ...]]) -> Step:
    """Return a step with other steps inside of it, as `parts_of` gives them."""
    if isinstance(step, Loop):
        return replace(step, steps=parts[0])
    if isinstance(step, While):
        return replace(step, test=parts[0], steps=parts[1])
    if isinstance(step, If):
        return replace(step, on_true=parts[0], on_false=parts[1])
    return step


def parts_of(step: Step) -> tuple[Sequence[Step], ...]:
    """Return the lists of steps inside of a step."""
    if isinstance(step, Loop):
        return (step.steps,)
    if isinstance(step, While):
        return step.test, step.steps
    if isinstance(step, If):
        return step.on_true, step.on_false
    return ()


def ends_of(step: Step) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """Return what a step itself reads and writes, without the steps inside of it."""
    if isinstance(step, Run | Extern):
        return step.inputs, step.outputs
    if isinstance(step, Copy):
        return (step.input,), (step.output,)
    return ((step.predicate,) if isinstance(step, If | While) else ()), ()
