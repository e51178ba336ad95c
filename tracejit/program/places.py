"""Kernels that differ only in where in an array they read become the same kernel.

    run @k0(%x0) -> (%a)        %x0: f32[9,4]   kernel @k0 reads %x[0, i]
    run @k1(%x0) -> (%b)                        kernel @k1 reads %x[1, i]
    ---
    run @k0(%t5) -> (%a)        %t5: f32[1,4] = alias %x0 + 0
    run @k1(%t6) -> (%b)        %t6: f32[1,4] = alias %x0 + 4

A Python loop over the rows of an array gives one kernel for each row. The part that a
kernel reads becomes an alias, whose address the host function computes. Kernels that
would be like no other stay as they are, as do steps inside of loops.
"""

from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import replace

from ..ir.aval import Shape
from ..kernels.kernel import Buffer, Kernel, KernelOp, Load, Repeat
from ..kernels.maps import Affine, AxisIndex
from ..kernels.printer import format_anonymous
from ..kernels.schedule import Schedule
from ..records import dataclass
from .program import Program, ProgramBuffer, Run, Step, Storage


@dataclass(frozen=True)
class _Moved:
    """A kernel that reads parts of its inputs, and where those begin."""

    kernel: Kernel
    starts: tuple[Shape, ...]


class Texts:
    """Texts of kernels without names; what has one body and schedule has one text."""

    def __init__(self) -> None:
        self._known: dict[tuple[int, int], tuple[str, Kernel, Schedule]] = {}

    def __call__(self, kernel: Kernel, schedule: Schedule) -> str:
        """Return a kernel's text with its names numbered as they come."""
        key = id(kernel.body), id(schedule)
        if key not in self._known:
            text, _ = format_anonymous(kernel, schedule)
            self._known[key] = text, kernel, schedule  # which live as long as the key
        return self._known[key][0]


def with_moved_places(program: Program) -> Program:
    """Return the program in which kernels read aliases where that makes them equal.

    The same object where there is nothing to gain.
    """
    chosen = _chosen(program.steps)
    if not chosen:
        return program
    parts = _Parts(program)
    steps = tuple(parts.step(step, chosen) for step in program.steps)
    buffers = (*program.buffers, *parts.made.values())
    return replace(program, steps=steps, buffers=buffers)


def _chosen(steps: Sequence[Step]) -> dict[str, _Moved]:
    """Return the kernels, by name, that are like others if they read parts."""
    text_of = Texts()
    moved: dict[str, _Moved] = {}
    names: dict[str, list[str]] = defaultdict(list)  # by the text of the moved kernel
    texts: dict[str, set[str]] = defaultdict(set)  # the same, of those before
    for step in steps:
        if isinstance(step, Run) and step.kernel.name not in moved:
            found = _moved(step.kernel)
            if found is not None:
                text, _ = format_anonymous(found.kernel, step.schedule)
                moved[step.kernel.name] = found
                names[text].append(step.kernel.name)
                texts[text].add(text_of(step.kernel, step.schedule))
    several = (text for text, before in texts.items() if len(before) > 1)
    return {name: moved[name] for text in several for name in names[text]}


def _moved(kernel: Kernel) -> _Moved | None:
    """Return the kernel as one of parts; None if it reads the whole of each input.

    Loops that each element runs for itself are long: there is one, or a few.
    """
    extents = {axis.name: axis.extent for axis in kernel.axes}
    if any(isinstance(op, Repeat) for op in kernel.body):
        return None
    loads: dict[str, list[Load]] = defaultdict(list)
    for op in kernel.body:
        if isinstance(op, Load):
            loads[op.buffer].append(op)
    starts: dict[str, Shape] = {}
    inputs = []
    for buffer in kernel.inputs:
        ranges = _ranges(buffer, loads[buffer.name], extents)
        starts[buffer.name] = tuple(low for low, _ in ranges)
        shape = tuple(high - low for low, high in ranges)
        inputs.append(replace(buffer, shape=shape))
    if all(a.shape == b.shape for a, b in zip(inputs, kernel.inputs, strict=True)):
        return None
    body = tuple(_from(op, starts) for op in kernel.body)
    changed = replace(kernel, inputs=tuple(inputs), body=body)
    return _Moved(changed, tuple(starts[b.name] for b in kernel.inputs))


def _ranges(
    buffer: Buffer, loads: Sequence[Load], extents: Mapping[str, int]
) -> list[tuple[int, int]]:
    """Return the first index that is read along each dimension, and the end.

    The whole of an array that is read at places that only the run shows.
    """
    whole = [(0, n) for n in buffer.shape]
    if not loads or any(x.bounds or x.check or x.clip for x in loads):
        return whole
    ranges = []
    for d in range(len(buffer.shape)):
        found = [_range(load.map[d], extents) for load in loads]
        known = [x for x in found if x is not None]
        if len(known) < len(found):
            return whole
        ranges.append((min(low for low, _ in known), max(end for _, end in known)))
    return ranges


def _range(index: Affine, extents: Mapping[str, int]) -> tuple[int, int] | None:
    """Return the least value of an index and the end of its values, if it is plain."""
    end = index.constant + 1
    for atom, factor in index.terms:
        if not isinstance(atom, AxisIndex) or factor < 0 or not extents.get(atom.axis):
            return None
        end += factor * (extents[atom.axis] - 1)
    return index.constant, end


def _from(op: KernelOp, starts: Mapping[str, Shape]) -> KernelOp:
    """Return an operation that counts from where the parts begin."""
    if not isinstance(op, Load) or not any(starts[op.buffer]):
        return op
    pairs = zip(op.map, starts[op.buffer], strict=True)
    return replace(op, map=tuple(index + -start for index, start in pairs))


class _Parts:
    """Makes the aliases that kernels read, one for each part."""

    def __init__(self, program: Program) -> None:
        self.buffers = program.by_name
        self.made: dict[tuple[str, int, Shape], ProgramBuffer] = {}

    def step(self, step: Step, chosen: Mapping[str, _Moved]) -> Step:
        """Return a step that runs the chosen form of its kernel."""
        if not isinstance(step, Run) or step.kernel.name not in chosen:
            return step
        moved = chosen[step.kernel.name]
        kernel = replace(moved.kernel, source=step.kernel.source)
        ends = zip(step.inputs, kernel.inputs, moved.starts, strict=True)
        inputs = tuple(self.part(*end) for end in ends)
        return replace(step, kernel=kernel, inputs=inputs)

    def part(self, name: str, parameter: Buffer, start: Shape) -> str:
        """Return the name of the part of a buffer that a parameter stands for."""
        whole = self.buffers[name]
        if whole.shape == parameter.shape:
            return name
        offset = sum(i * s for i, s in zip(start, whole.strides, strict=True))
        key = (name, offset, parameter.shape)
        if key not in self.made:
            is_alias = whole.storage is Storage.ALIAS
            self.made[key] = ProgramBuffer(
                f"t{len(self.buffers) + len(self.made)}",
                whole.dtype,
                parameter.shape,
                whole.strides,
                Storage.ALIAS,
                base=whole.base if is_alias else name,
                offset=offset + (whole.offset if is_alias else 0),
                moves=whole.moves,
            )
        return self.made[key].name
