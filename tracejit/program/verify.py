"""The verifier of programs: what is true of every program that lowering gives.

P1  Every buffer that is named is declared, once and before those that are its aliases.
P2  Inputs and outputs are the INPUT and OUTPUT buffers, each once, with its position.
P3  A buffer has a stride for each axis; outputs are C-contiguous, or have the layout of
    the input in whose memory they lie; constants have data of their shape and dtype.
P4  An alias has a base that is no alias itself, its dtype or that of the base's parts,
    and lies inside of it, at every turn of the loops that it moves with.
P5  Once one arena buffer is planned all are: aligned, and inside of the arena.
P6  No step reads an arena buffer of which another one has taken the place meanwhile.
P7  No step reads an arena or output buffer before it is written.
P8  Inputs and constants are not written.
P9  Every output is written, whatever branches are taken.
P10 What a step writes overlaps neither what it reads nor what else it writes, but for
    a kernel that reads of a buffer only the element that it writes, and a scatter
    that updates its operand.
P11 Buffers agree with what a step does: with the parameters of the kernel (dtype, and
    the same elements, perhaps with axes joined), with the avals of the primitive, and
    with one another in a copy; a predicate is one boolean; counts are not negative.
P12 Kernels hold their own invariants, with their schedules; a name is of one kernel.
P13 Loops have names of their own; what moves with a loop is named inside of it only.
P14 An output that lies in the memory of an input has its dtype, and its layout or as
    many elements without gaps; no other output does. No step reads of an input what an
    output may have overwritten by then, whatever turns and branches came before.

Before the memory plan (no arena buffer has an offset) P5 and P6 hold trivially.
"""

import math
from collections import Counter
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import replace
from typing import NoReturn

from ..errors import TracejitError, VerifyError
from ..ir.aval import Shape, ShapedArray
from ..ir.dtypes import BOOL, DTYPE_TO_NAME, real_dtype
from ..kernels.in_place import can_write_in_place
from ..kernels.kernel import Buffer, Kernel, extent_of, has_overlaps
from ..kernels.schedule import Schedule
from ..kernels.verify import verify_kernel
from ..records import dataclass
from .plan import ALIGNMENT
from .printer import format_buffer, format_step
from .program import (
    Copy,
    Extern,
    If,
    Loop,
    Move,
    Program,
    ProgramBuffer,
    Run,
    Step,
    Storage,
    While,
    ahead_of,
    can_lie_in,
    ends_of,
    is_nothing,
    is_update,
    nested,
    owner_of,
)


def verify_program(program: Program) -> Program:
    """Check every invariant and return `program`.

    Raises
    ------
    VerifyError
        Naming the invariant, the buffer or the step with its neighbours, and the
        user's line.
    """
    _Buffers(program).all()
    _Steps(program).all()
    return program


def fail(program: Program, number: str, message: str) -> NoReturn:
    """Raise the error of a broken invariant of the whole program."""
    raise VerifyError(
        f"invariant {number} is broken in program @{program.name}: {message}"
    )


# --- buffers ----------------------------------------------------------------------


class _Buffers:
    """Checks what is declared, P1 to P5."""

    def __init__(self, program: Program) -> None:
        self.program = program
        self.declared: dict[str, ProgramBuffer] = {}
        self.counts = {s.name: s.count for s in loops_of(program)}

    def all(self) -> None:
        for buffer in self.program.buffers:
            if buffer.name in self.declared:
                self.fail("P1", buffer, "it is declared twice")
            self.form(buffer)
            if buffer.storage is Storage.ALIAS:
                self.alias(buffer)
            self.declared[buffer.name] = buffer
        self.ends("input", Storage.INPUT, self.program.inputs)
        self.ends("output", Storage.OUTPUT, self.program.outputs)
        self.arena()

    def fail(self, number: str, buffer: ProgramBuffer, message: str) -> NoReturn:
        fail(self.program, number, f"{message}\n  > {described(buffer)}")

    def form(self, buffer: ProgramBuffer) -> None:
        shape, strides = buffer.shape, buffer.strides
        if len(shape) != len(strides) or min(shape, default=0) < 0:
            message = f"shape {list(shape)} and strides {list(strides)} do not fit"
            self.fail("P3", buffer, message)
        if buffer.dtype not in DTYPE_TO_NAME:
            self.fail("P3", buffer, f"{buffer.dtype} is no dtype that can be computed")
        if buffer.storage is Storage.OUTPUT:
            self.output(buffer)
        elif buffer.donor is not None:
            self.fail("P14", buffer, "only outputs lie in the memory of an input")
        if buffer.storage is Storage.CONSTANT:
            data = buffer.data
            if data is None or (data.shape, data.dtype) != (shape, buffer.dtype):
                self.fail("P3", buffer, "the data of a constant do not fit it")

    def output(self, buffer: ProgramBuffer) -> None:
        """Check the layout of an output, and of the input in whose memory it lies."""
        if buffer.donor is None:
            if 0 not in buffer.shape and not is_dense(buffer.shape, buffer.strides):
                self.fail("P3", buffer, "an output is not one block of memory")
            return
        donor = self.declared.get(buffer.donor)
        if donor is None or donor.storage is not Storage.INPUT:
            self.fail("P14", buffer, f"%{buffer.donor} is no input declared before it")
        if any(b.donor == donor.name for b in self.declared.values()):
            self.fail("P14", buffer, f"another output lies in %{donor.name}")
        if not can_lie_in(buffer, donor):
            self.fail("P14", buffer, f"its layout is not that of {described(donor)}")

    def alias(self, buffer: ProgramBuffer) -> None:
        base = self.declared.get(buffer.base or "")
        if base is None:
            self.fail("P1", buffer, f"%{buffer.base} is not declared before its alias")
        if base.storage is Storage.ALIAS:
            self.fail("P4", buffer, f"its base is an alias: {described(base)}")
        if buffer.dtype not in (base.dtype, real_dtype(base.dtype)):
            self.fail("P4", buffer, f"its base is of {base.dtype}")
        parts = base.dtype.itemsize // buffer.dtype.itemsize
        low, high = (parts * end for end in extent_of(base.shape, base.strides))
        for move in buffer.moves:
            if move.loop not in self.counts:
                self.fail("P13", buffer, f"there is no loop {move.loop} to move with")
        places = over_turns(buffer.shape, buffer.strides, buffer.moves, self.counts)
        first, last = extent_of(*places)
        start, stop = buffer.offset + first, buffer.offset + last
        if 0 not in places[0] and not low <= start <= stop <= high:
            self.fail(
                "P4",
                buffer,
                f"elements [{start}, {stop}) are not all inside of [{low}, {high})",
            )

    def ends(self, what: str, storage: Storage, names: Sequence[str]) -> None:
        """Check the inputs or the outputs."""
        for i, name in enumerate(names):
            buffer = self.declared.get(name)
            if buffer is None:
                fail(self.program, "P1", f"{what} %{name} is not declared")
            if buffer.storage is not storage or buffer.index != i:
                self.fail("P2", buffer, f"{what} {i} is another buffer")
        for buffer in self.program.buffers:
            if buffer.storage is storage and buffer.name not in names:
                self.fail("P2", buffer, f"it is none of the program's {what}s")

    def arena(self) -> None:
        buffers = [b for b in self.program.buffers if b.storage is Storage.ARENA]
        if all(b.offset < 0 for b in buffers):
            return
        size = self.program.arena_bytes
        for buffer in buffers:
            start, stop = place_in_arena(buffer)
            if start < 0 or start % ALIGNMENT:
                self.fail(
                    "P5", buffer, f"byte {start} is not a multiple of {ALIGNMENT}"
                )
            if stop > size:
                message = f"bytes [{start}, {stop}) are not inside of {size}"
                self.fail("P5", buffer, message)


def described(buffer: ProgramBuffer) -> str:
    """Return the declaration of a buffer, right or wrong, without its data."""
    if buffer.storage is Storage.CONSTANT or buffer.dtype not in DTYPE_TO_NAME:
        return f"%{buffer.name}: {buffer.storage.value}"
    return format_buffer(buffer)


def place_in_arena(buffer: ProgramBuffer) -> tuple[int, int]:
    """Return the bytes of an arena buffer: [start, stop)."""
    low, high = extent_of(buffer.shape, buffer.strides)
    size = buffer.dtype.itemsize
    return buffer.offset + low * size, buffer.offset + high * size


def loops_of(program: Program) -> Iterator[Loop]:
    """Yield the loops that have names."""
    return (s for s in nested(program.steps) if isinstance(s, Loop) and s.name)


def over_turns(
    shape: Shape, strides: Shape, moves: Sequence[Move], counts: Mapping[str, int]
) -> tuple[Shape, Shape]:
    """Return shape and strides of what an array is in all turns of some loops."""
    turns = tuple(counts[m.loop] for m in moves)
    steps = tuple(m.step for m in moves)
    return (*turns, *shape), (*steps, *strides)


# --- steps ------------------------------------------------------------------------


@dataclass(frozen=True)
class _Region:
    """Elements of a buffer that owns its memory.

    Parameters
    ----------
    root : str
        Whose memory.
    start : int
        The first element, at the first turn of loops.
    axes : tuple of (stride, extent)
        As `joined_axes` gives them.
    moves : tuple of Move
        The loops that it moves with.
    """

    root: str
    start: int
    axes: tuple[tuple[int, int], ...]
    moves: tuple[Move, ...] = ()

    @property
    def shape(self) -> Shape:
        return tuple(n for _, n in self.axes)

    @property
    def strides(self) -> Shape:
        return tuple(s for s, _ in self.axes)

    def over(self, loops: Collection[str], counts: Mapping[str, int]) -> "_Region":
        """Return the elements in all turns of some of the loops that it moves with."""
        turned = [m for m in self.moves if m.loop in loops]
        places = over_turns(self.shape, self.strides, turned, counts)
        rest = tuple(m for m in self.moves if m.loop not in loops)
        return _Region(self.root, *normalized(*places, self.start), rest)

    def parts(self) -> Iterator[tuple["_Region", "_Region"]]:
        """Yield the region as every other element and those between, if it is both."""
        for k, (stride, n) in enumerate(self.axes):
            if stride == 1 and n % 2 == 0:
                halved = ((2, n // 2),) if n > 2 else ()
                axes = (*self.axes[:k], *halved, *self.axes[k + 1 :])
                yield (
                    replace(self, axes=axes),
                    replace(self, axes=axes, start=self.start + 1),
                )

    def covers(self, other: "_Region", counts: Mapping[str, int]) -> bool:
        """Tell whether all of another region is in this one, as far as is known.

        It is if both are the same, and if this one has no gaps and the other, in all
        turns of the loops that it alone moves with, lies inside of it.
        """
        if self.root != other.root or not set(self.moves) <= set(other.moves):
            return False
        part = other.over({m.loop for m in other.moves if m not in self.moves}, counts)
        if (part.start, part.axes) == (self.start, self.axes):
            return True
        stops = [r.start + extent_of(r.shape, r.strides)[1] for r in (part, self)]
        inside = self.start <= part.start and stops[0] <= stops[1]
        return inside and is_dense(self.shape, self.strides)


@dataclass(frozen=True)
class _State:
    """What is known of memory at one point of the program.

    Parameters
    ----------
    written : frozenset of _Region
        Elements that are there.
    lost : frozenset of (str, str)
        Buffers that were there, and which buffer took their place.
    spoiled : frozenset of str
        Buffers in the memory of inputs that may have been written.
    """

    written: frozenset[_Region] = frozenset()
    lost: frozenset[tuple[str, str]] = frozenset()
    spoiled: frozenset[str] = frozenset()


class _Steps:
    """Follows the steps, and what is in memory, P6 to P13."""

    def __init__(self, program: Program) -> None:
        self.program = program
        self.buffers = program.by_name
        self.kernels: dict[str, tuple[Kernel, Schedule]] = {}
        self.steps: tuple[Sequence[Step], int] = ((), 0)
        self.counts = {s.name: s.count for s in loops_of(program)}
        self.running: list[str] = []  # the loops around, by name
        arena = [b for b in program.buffers if b.storage is Storage.ARENA]
        planned = [(b.name, place_in_arena(b)) for b in arena if b.offset >= 0]
        self.rivals = dict(_overlapping(planned))

    def all(self) -> None:
        names = Counter(s.name for s in loops_of(self.program))
        for name in (n for n, count in names.items() if count > 1):
            fail(self.program, "P13", f"{names[name]} loops are called {name}")
        state = self.follow(self.program.steps, _State())
        for name in self.program.outputs:
            if not self.is_written(name, state):
                fail(self.program, "P9", f"output %{name} may not be written")

    def fail(self, number: str, message: str) -> NoReturn:
        steps, index = self.steps
        raise VerifyError(
            f"invariant {number} is broken in program @{self.program.name}: {message}"
            f"\n{_neighbours(steps, index)}",
            equation=index,
            source=", ".join(steps[index].source) or None,
        )

    def follow(self, steps: Sequence[Step], state: _State) -> _State:
        """Check steps from one state of memory; return the state after them."""
        outer = self.steps
        for i, step in enumerate(steps):
            self.steps = steps, i
            state = self.step(step, state)
        self.steps = outer
        return state

    def step(self, step: Step, state: _State) -> _State:
        if isinstance(step, Loop):
            return self.loop(step, state)
        if isinstance(step, If):
            return self.branches(step, state)
        if isinstance(step, While):
            return self.while_(step, state)
        ins, outs = ends_of(step)
        for name in (*ins, *outs):
            self.named(name)
        self.agreement(step)
        self.overlaps(step, ins, outs)
        for name in ins:
            self.read(name, state)
        known = state
        for name in outs:
            state = self.write(name, state)
        if is_nothing(step, self.buffers):
            return replace(state, spoiled=known.spoiled)
        return state

    def loop(self, step: Loop, state: _State) -> _State:
        """Follow a loop until another turn tells nothing new."""
        if step.count < 0:
            self.fail("P11", f"a loop runs {step.count} times")
        self.running.append(step.name)
        before, after = state, self.turn(step, state)
        while (known := self.kept(before, after)) != before:
            before = known
            after = self.turn(step, before)
        self.running.pop()
        if not step.count:
            return state
        return self.after_turns(step.name, after)

    def turn(self, step: Loop, state: _State) -> _State:
        """Follow one turn; what moves with the loop is at a new place."""
        fresh = _moving_with(step.name, state)
        return self.follow(step.steps, replace(state, written=state.written - fresh))

    def after_turns(self, loop: str, state: _State) -> _State:
        """Return the state after a loop: what is written in pieces is there."""
        pieces = _moving_with(loop, state)
        parts = pieces | _side_by_side(pieces)
        wholes = {p.over({loop}, self.counts) for p in parts}
        known = {w for w in wholes if not has_overlaps(w.shape, w.strides)}
        return replace(state, written=state.written - pieces | known)

    def branches(self, step: If, state: _State) -> _State:
        self.predicate(step.predicate)
        self.read(step.predicate, state)
        one = self.follow(step.on_true, state)
        other = self.follow(step.on_false, state)
        both = self.kept(one, other), self.kept(other, one)
        return replace(both[0], written=both[0].written | both[1].written)

    def while_(self, step: While, state: _State) -> _State:
        """Follow the test and the steps until another turn tells nothing new."""
        self.predicate(step.predicate)
        before = state
        while True:
            tested = self.follow(step.test, before)
            self.read(step.predicate, tested)
            after = self.kept(before, self.follow(step.steps, tested))
            if after == before:
                return tested
            before = after

    def predicate(self, name: str) -> None:
        found = self.named(name)
        if (found.shape, found.dtype) != ((), BOOL):
            self.fail("P11", f"the predicate is {typed(found)}, expected bool[]")

    def named(self, name: str) -> ProgramBuffer:
        """Return a buffer that a step names."""
        found = self.buffers.get(name)
        if found is None:
            self.fail("P1", f"%{name} is not declared")
        for move in found.moves:
            if move.loop not in self.running:
                self.fail("P13", f"%{name} moves with loop {move.loop} outside of it")
        return found

    # --- memory

    def root(self, name: str) -> ProgramBuffer:
        """Return the buffer that owns the memory of a buffer."""
        buffer = self.buffers[name]
        return self.buffers[buffer.base] if buffer.base is not None else buffer

    def region(self, name: str) -> _Region:
        shape, strides, start, moves = in_parts(self.buffers[name])
        places = normalized(shape, strides, start)
        return _Region(self.root(name).name, *places, moves)

    def is_written(self, name: str, state: _State) -> bool:
        if 0 in self.buffers[name].shape:
            return True
        return self.is_there(self.region(name), state)

    def kept(self, one: _State, other: _State) -> _State:
        """Return what of one state is there in another, in whatever pieces."""
        written = frozenset(r for r in one.written if self.is_there(r, other))
        return _State(written, one.lost | other.lost, one.spoiled | other.spoiled)

    def is_there(self, region: _Region, state: _State) -> bool:
        """Tell whether all of a region is written."""
        return self.is_covered(region, state) or any(
            all(self.is_covered(part, state) for part in parts)
            for parts in region.parts()
        )

    def is_covered(self, region: "_Region", state: _State) -> bool:
        if region in state.written:
            return True
        if any(w.covers(region, self.counts) for w in state.written):
            return True
        mine = [w for w in state.written if w.root == region.root]
        return any(w.covers(region, self.counts) for w in _side_by_side(mine))

    def read(self, name: str, state: _State) -> None:
        root = self.root(name)
        if root.storage in (Storage.INPUT, Storage.CONSTANT):
            self.intact(name, state)
            return
        if self.is_written(name, state):
            return
        for lost, by in sorted(state.lost):
            if lost == root.name:
                self.fail("P6", f"%{name} is read, but %{by} has taken its place")
        self.fail("P7", f"%{name} is read before it is written")

    def intact(self, name: str, state: _State) -> None:
        """Check that no output has been written where a part of an input is read."""
        for other in sorted(state.spoiled):
            if self.may_meet(name, other, at_once=False):
                self.fail("P14", f"%{name} is read, but %{other} may have taken it")

    def write(self, name: str, state: _State) -> _State:
        """Return the state after `name` is written."""
        root = self.root(name)
        if root.storage in (Storage.INPUT, Storage.CONSTANT):
            kind = "an input" if root.storage is Storage.INPUT else "a constant"
            self.fail("P8", f"%{name} is written, but it is {kind}")
        buffer = self.buffers[name]
        if has_overlaps(buffer.shape, buffer.strides):
            self.fail("P10", f"elements of %{name} share places")
        rivals = self.rivals.get(root.name, frozenset())
        gone = {w for w in state.written if w.root in rivals}
        lost = state.lost | {(w.root, root.name) for w in gone}
        if _bytes_of(buffer) == _bytes_of(root):
            lost = frozenset(pair for pair in lost if pair[0] != root.name)
        spoiled = state.spoiled
        if root.donor is not None:
            spoiled |= {name}
        return _State(state.written - gone | {self.region(name)}, lost, spoiled)

    def overlaps(self, step: Step, ins: Sequence[str], outs: Sequence[str]) -> None:
        for i, name in enumerate(outs):
            for k, other in enumerate((*ins, *outs[:i])):
                if self.may_meet(name, other) and not self.is_in_place(step, k, i):
                    self.fail("P10", f"%{name} is written and overlaps %{other}")

    def is_in_place(self, step: Step, source: int, target: int) -> bool:
        """Tell whether a step may write an output over an operand, by positions."""
        if is_nothing(step, self.buffers) or is_update(step, source, self.buffers):
            return True
        if not isinstance(step, Run) or source >= len(step.inputs):
            return False
        one, two = (
            self.buffers[n] for n in (step.inputs[source], step.outputs[target])
        )
        if self.owner(one.name) is not self.owner(two.name) or one.moves != two.moves:
            return False
        ends = step.kernel.inputs[source].name, step.kernel.outputs[target].name
        return can_write_in_place(step.kernel, *ends, ahead_of(one, two))

    def owner(self, name: str) -> ProgramBuffer:
        return self.buffers[owner_of(self.buffers[name], self.buffers)]

    def may_meet(self, name: str, other: str, at_once: bool = True) -> bool:
        """Tell whether two buffers may have bytes in common.

        At the same turn of loops, or one of them at any turn.
        """
        one, two = self.owner(name), self.owner(other)
        if 0 in self.buffers[name].shape or 0 in self.buffers[other].shape:
            return False
        if one is not two:
            return two.name in self.rivals.get(one.name, ())
        if is_interleaved(*(in_parts(self.buffers[n]) for n in (name, other))):
            return False
        moves = self.buffers[name].moves, self.buffers[other].moves
        together = at_once and moves[0] == moves[1]
        (a, b), (c, d) = (self.span(n, not together) for n in (name, other))
        return a < d and c < b

    def span(self, name: str, in_turns: bool) -> tuple[int, int]:
        """Return the elements of the owner that a buffer reaches: [low, high).

        In all turns of the loops that it moves with, or at the first one.
        """
        shape, strides, start, moves = in_parts(self.buffers[name])
        places = over_turns(shape, strides, moves if in_turns else (), self.counts)
        low, high = extent_of(*places)
        return start + low, start + high

    # --- agreement

    def agreement(self, step: Run | Extern | Copy) -> None:
        if isinstance(step, Run):
            self.run(step)
        elif isinstance(step, Extern):
            self.extern(step)
        else:
            self.same("P11", self.buffers[step.output], self.buffers[step.input])

    def same(self, number: str, one: ProgramBuffer, two: ProgramBuffer) -> None:
        if (one.shape, one.dtype) != (two.shape, two.dtype):
            self.fail(number, f"%{one.name} is {typed(one)}, %{two.name} {typed(two)}")

    def extern(self, step: Extern) -> None:
        avals = [_aval(self.buffers[n]) for n in step.inputs]
        try:
            wanted = step.primitive.out_avals(avals, step.params)
        except TracejitError as error:
            self.fail("P11", str(error))
        have = tuple(_aval(self.buffers[n]) for n in step.outputs)
        if have != wanted:
            self.fail("P11", f"results are {list(have)}, expected {list(wanted)}")

    def run(self, step: Run) -> None:
        kernel = step.kernel
        for names, params in (
            (step.inputs, kernel.inputs),
            (step.outputs, kernel.outputs),
        ):
            if len(names) != len(params):
                message = f"{len(names)} buffers for {len(params)} parameters"
                self.fail("P11", f"{message} of @{kernel.name}")
            for name, param in zip(names, params, strict=True):
                self.parameter(self.buffers[name], param)
        if kernel.name not in self.kernels:
            self.kernels[kernel.name] = kernel, step.schedule
            try:
                verify_kernel(kernel, step.schedule)
            except VerifyError as error:
                self.fail("P12", error.message)
        if self.kernels[kernel.name] != (kernel, step.schedule):
            self.fail("P12", f"there are two kernels @{kernel.name}")

    def parameter(self, buffer: ProgramBuffer, param: Buffer) -> None:
        """Check that a parameter is a buffer, perhaps with its axes joined."""
        mine = buffer.dtype, joined_axes(buffer.shape, buffer.strides)
        if mine != (param.dtype, joined_axes(param.shape, param.strides)):
            strides = list(param.strides)
            self.fail(
                "P11",
                f"parameter %{param.name} is {param.dtype}{list(param.shape)} with "
                f"strides {strides}, %{buffer.name} is {typed(buffer)} with strides "
                f"{list(buffer.strides)}",
            )


def _side_by_side(regions: Collection[_Region]) -> set[_Region]:
    """Return the blocks that regions without gaps form with those beside them."""
    found: dict[tuple[str, tuple[Move, ...]], list[tuple[int, int]]] = {}
    for r in regions:
        if is_dense(r.shape, r.strides):
            block = r.start, r.start + math.prod(r.shape)
            found.setdefault((r.root, r.moves), []).append(block)
    out: set[_Region] = set()
    for (root, moves), blocks in found.items():
        for start, stop in _joined_spans(blocks):
            out.add(_Region(root, *normalized((stop - start,), (1,), start), moves))
    return out


def _joined_spans(spans: Sequence[tuple[int, int]]) -> list[tuple[int, int]]:
    out: list[tuple[int, int]] = []
    for start, stop in sorted(spans):
        if out and start <= out[-1][1]:
            out[-1] = out[-1][0], max(stop, out[-1][1])
        else:
            out.append((start, stop))
    return out


_Places = tuple[Shape, Shape, int, tuple[Move, ...]]


def in_parts(buffer: ProgramBuffer) -> _Places:
    """Return shape, strides, start and moves, complex elements counted as two."""
    start = buffer.offset if buffer.storage is Storage.ALIAS else 0
    if buffer.dtype.kind != "c":
        return buffer.shape, buffer.strides, start, buffer.moves
    strides = (*(2 * s for s in buffer.strides), 1)
    moves = tuple(Move(m.loop, 2 * m.step) for m in buffer.moves)
    return (*buffer.shape, 2), strides, 2 * start, moves


def is_interleaved(one: _Places, two: _Places) -> bool:
    """Tell whether two arrays take turns in memory, as complex numbers' parts do."""
    (_, first, start, moves), (_, second, other, more) = one, two
    step = math.gcd(*first, *second, *(m.step for m in (*moves, *more)))
    return step > 1 and (start - other) % step != 0


def _bytes_of(buffer: ProgramBuffer) -> int:
    return _aval(buffer).size * buffer.dtype.itemsize


def normalized(
    shape: Shape, strides: Shape, start: int
) -> tuple[int, tuple[tuple[int, int], ...]]:
    """Return the first place and the axes of an array, as if none ran backwards."""
    low, _ = extent_of(shape, strides)
    return start + low, joined_axes(shape, tuple(abs(s) for s in strides))


def joined_axes(shape: Shape, strides: Shape) -> tuple[tuple[int, int], ...]:
    """Return the axes of an array, in no order and joined where they can be.

    Arrays that start at one place have the same elements if these are equal. Extents
    and strides; the first of each pair is the stride's size.
    """
    if 0 in shape:
        return ((0, 0),)
    axes = sorted(
        ((s, n) for s, n in zip(strides, shape, strict=True) if n > 1),
        key=lambda a: (abs(a[0]), a),
    )
    out: list[tuple[int, int]] = []
    for stride, n in axes:
        if out and stride == out[-1][0] * out[-1][1]:
            inner, m = out.pop()
            stride, n = inner, m * n
        out.append((stride, n))
    return tuple(out)


def is_dense(shape: Shape, strides: Shape) -> bool:
    """Tell whether the elements of an array, in some order, are one block of memory."""
    return joined_axes(shape, strides) in ((), ((1, math.prod(shape)),))


def _overlapping(
    places: Sequence[tuple[str, tuple[int, int]]],
) -> Iterator[tuple[str, frozenset[str]]]:
    """Yield each buffer of the arena with those that it shares bytes with."""
    for name, (start, stop) in places:
        met = (n for n, (a, z) in places if n != name and a < stop and start < z)
        yield name, frozenset(met)


def _aval(buffer: ProgramBuffer) -> ShapedArray:
    return ShapedArray(buffer.shape, buffer.dtype)


def typed(buffer: ProgramBuffer) -> str:
    """Return the aval of a buffer as text."""
    return str(_aval(buffer))


def _moving_with(loop: str, state: _State) -> frozenset[_Region]:
    """Return the regions that are at a new place at each turn of a loop."""
    return frozenset(w for w in state.written if any(m.loop == loop for m in w.moves))


def _neighbours(steps: Sequence[Step], index: int) -> str:
    rows = []
    for i in range(max(index - 1, 0), min(index + 2, len(steps))):
        mark = ">" if i == index else " "
        rows.append(f"  {mark} {format_step(steps[i])}")
    return "\n".join(rows)
