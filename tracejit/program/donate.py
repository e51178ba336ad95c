"""Results in the memory of arguments: what is written in place, and what is donated.

A function that writes to an argument gives its new value as an output, which the caller
copies back. Where the program can write it into the argument at once, it does:

    %x0: f32[8] = input 0                   %x0: f32[8] = input 0
    %y1: f32[8] = output 0           →      %y1: f32[8] = output 0 in %x0
    run @k0(%x0) -> (%y1)                   run @k0(%x0) -> (%y1)

It can if no step reads the argument once the output may have been written over it, but
the step that writes an element may read that element (`can_write_in_place`); a copy
between the two is nothing to do then. A call that fails leaves arguments as they were,
so no step that may fail comes after the first write, unless the caller gave the
argument away. Arguments that are given away (`Offer.outputs` of several) take any
output of their size and dtype.

Small writes that cannot be done in place are copied to their argument by the program
itself, at its end (`with_final_copies`).

Needs a program as it is lowered, before its memory is planned. The verifier proves
what this pass decides a second time, its own way (P10, P14).
"""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import replace
from itertools import count
from math import prod

from ..ir.ops.indexing import scatter_p
from ..kernels.in_place import can_write_in_place
from ..kernels.kernel import Load, extent_of, with_inner
from ..records import dataclass
from .plan import touched
from .program import (
    Copy,
    Extern,
    Program,
    ProgramBuffer,
    Purpose,
    Run,
    Step,
    Storage,
    ahead_of,
    can_lie_in,
    ends_of,
    is_nothing,
    is_update,
    nested,
)

MOST_COPIED = 1 << 20  # bytes of a write that the arena holds for good


@dataclass(frozen=True)
class Offer:
    """An input whose memory outputs may take.

    Parameters
    ----------
    input : int
    outputs : tuple of int
        Which may; the first that can does.
    is_lost : bool
        Whether nobody sees the input after a call that fails.
    is_written : bool
        Whether the one output is what the input is to hold.
    """

    input: int
    outputs: tuple[int, ...]
    is_lost: bool = False
    is_written: bool = False


def with_donations(program: Program, offers: Sequence[Offer]) -> Program:
    """Return the program with outputs in the memory of inputs, as far as that can be.

    The same object if none can.

    Parameters
    ----------
    program : Program
        Before its memory is planned.
    offers : sequence of Offer
        In order; an output that is taken is not offered again.
    """
    taken: dict[str, str] = {}
    history = _History(program)
    for offer in offers:
        donor = program.inputs[offer.input]
        for k in offer.outputs:
            name = program.outputs[k]
            if name not in taken and history.can_take(donor, name, offer.is_lost):
                taken[name] = donor
                break
    if not taken:
        return program
    placed = (replace(b, donor=taken.get(b.name)) for b in program.buffers)
    return replace(program, buffers=_inputs_first(tuple(placed)))


def with_final_copies(program: Program, offers: Sequence[Offer]) -> Program:
    """Return the program with the writes that are left copied back at its end.

    What is written is computed in the arena, and then copied to the argument: after all
    that may fail, by threads, without memory of its own for each call.
    """
    done = program.donors
    left = [o for o in offers if o.is_written and o.outputs[0] not in done]
    buffers, outputs, steps = program.by_name, [*program.outputs], [*program.steps]
    for offer in left:
        old = buffers[outputs[offer.outputs[0]]]
        donor = buffers[program.inputs[offer.input]]
        name = next(n for k in count(len(buffers)) if (n := f"y{k}") not in buffers)
        new = replace(old, name=name, strides=donor.strides, donor=donor.name)
        is_small = prod(old.shape) * old.dtype.itemsize <= MOST_COPIED
        if not (is_small and can_lie_in(new, donor)):
            continue
        buffers[old.name] = replace(old, storage=Storage.ARENA, index=-1)
        buffers[new.name] = new
        outputs[offer.outputs[0]] = new.name
        steps.append(Copy(old.name, new.name, purpose=Purpose.WRITE_BACK))
    if len(steps) == len(program.steps):
        return program
    found = _inputs_first(tuple(buffers.values()))
    return replace(program, buffers=found, outputs=tuple(outputs), steps=tuple(steps))


def _inputs_first(buffers: tuple[ProgramBuffer, ...]) -> tuple[ProgramBuffer, ...]:
    """Return buffers in order, but an input before what lies in its memory."""
    inputs = [b for b in buffers if b.storage is Storage.INPUT]
    return (*inputs, *(b for b in buffers if b.storage is not Storage.INPUT))


class _History:
    """Which steps touch what, in order, to be asked about single pairs."""

    def __init__(self, program: Program) -> None:
        self.buffers = program.by_name
        self.steps = program.steps
        self.touching: dict[str, list[int]] = {}
        self.failing = -1  # the last step that may fail
        for i, step in enumerate(program.steps):
            for name in dict.fromkeys(map(self.root, touched(step))):
                self.touching.setdefault(name, []).append(i)
            if any(map(may_fail, nested([step]))):
                self.failing = i

    def root(self, name: str) -> str:
        return self.buffers[name].base or name

    def can_take(self, donor: str, output: str, is_lost: bool) -> bool:
        """Tell whether an output can lie in the memory of an input."""
        if not can_lie_in(self.buffers[output], self.buffers[donor]):
            return False
        placed = {**self.buffers, output: replace(self.buffers[output], donor=donor)}
        spoiled: list[str] = []  # parts of the output that were written by now
        steps = {*self.touching.get(donor, ()), *self.touching.get(output, ())}
        for i in sorted(steps):
            step = self.steps[i]
            if is_nothing(step, placed):
                continue
            reads = {n for n in touched(step) if self.root(n) == donor}
            writes = [n for n in _written([step]) if self.root(n) == output]
            if any(_may_meet(placed, a, b) for a in reads for b in spoiled):
                return False
            if writes and not is_lost and self.failing >= i:
                return False
            if reads and writes and not _is_elementwise(step, reads, writes, placed):
                return False
            spoiled += writes
        return True


def may_fail(step: Step) -> bool:
    """Tell whether a step may set the error word, or call what may raise."""
    if isinstance(step, Extern):
        return step.primitive is not scatter_p or step.params["mode"] == "raise"
    if not isinstance(step, Run):
        return False
    loads = (op for op in with_inner(step.kernel.body) if isinstance(op, Load))
    return any(op.check and not op.clip for op in loads)


def _written(steps: Sequence[Step]) -> list[str]:
    return [name for step in nested(steps) for name in ends_of(step)[1]]


def _may_meet(buffers: Mapping[str, ProgramBuffer], one: str, two: str) -> bool:
    """Tell whether parts of a donor and of the output in it may have elements alike."""
    both = buffers[one], buffers[two]
    if any(b.moves for b in both):
        return True
    (a, b), (c, d) = map(_span, both)
    return a < d and c < b


def _span(buffer: ProgramBuffer) -> tuple[int, int]:
    start = buffer.offset if buffer.storage is Storage.ALIAS else 0
    low, high = extent_of(buffer.shape, buffer.strides)
    size = buffer.dtype.itemsize
    return (start + low) * size, (start + high) * size


def _is_elementwise(
    step: Step,
    reads: Collection[str],
    writes: Sequence[str],
    buffers: Mapping[str, ProgramBuffer],
) -> bool:
    """Tell whether a step reads of an input only the elements that it writes over it.

    Or parts of it that it does not write.
    """
    if isinstance(step, Copy):
        return not _may_meet(buffers, step.input, step.output)
    if isinstance(step, Extern) and is_update(step, 0, buffers):
        return not any(
            _may_meet(buffers, a, b)
            for a in step.inputs[1:]
            if a in reads
            for b in writes
        )
    if not isinstance(step, Run):
        return False
    ins = [
        (p.name, n)
        for p, n in zip(step.kernel.inputs, step.inputs, strict=True)
        if n in reads
    ]
    outs = [
        (p.name, n)
        for p, n in zip(step.kernel.outputs, step.outputs, strict=True)
        if n in writes
    ]
    return all(
        not _may_meet(buffers, a, b)
        or can_write_in_place(step.kernel, x, y, ahead_of(buffers[a], buffers[b]))
        for x, a in ins
        for y, b in outs
    )
