"""Kernels in parts: independent loop nests that one kernel runs one after another.

`joined` puts kernels together, with names of their own; `parts_of` finds the parts
again, as operations that share neither values nor axes. Backends give each part loops
or blocks of its own; the interpreter, arrays over its own axes.
"""

from collections.abc import Callable, Hashable, Iterable, Mapping, Sequence
from dataclasses import replace

from ..records import dataclass
from .kernel import (
    Axis,
    Bound,
    Carried,
    Compute,
    Contract,
    Iota,
    Kernel,
    KernelOp,
    Load,
    Operand,
    Reduce,
    Repeat,
    Store,
    Value,
    indices_of,
    result_of,
    values_of,
    with_inner,
)
from .maps import (
    Affine,
    AxisIndex,
    FloorDiv,
    IndexAtom,
    Mod,
    ValueIndex,
    axes_in,
    values_in,
)
from .schedule import Role, Schedule

Part = tuple[Kernel, Schedule]


def joined(name: str, parts: Sequence[Part]) -> Part:
    """Return one kernel that runs several, and its schedule.

    Its buffers are the inputs of the parts, in order, then their outputs.
    """
    made = [_Renaming(n).part(*part) for n, part in enumerate(parts)]
    kernels = [kernel for kernel, _ in made]
    schedules = [schedule for _, schedule in made]
    kernel = Kernel(
        name,
        tuple(b for k in kernels for b in k.inputs),
        tuple(b for k in kernels for b in k.outputs),
        tuple(a for k in kernels for a in k.axes),
        tuple(op for k in kernels for op in k.body),
        tuple(dict.fromkeys(s for k in kernels for s in k.source)),
    )
    schedule = Schedule(
        tuple(a for s in schedules for a in s.loops),
        {a: r for s in schedules for a, r in s.roles.items()},
        {v: p for s in schedules for v, p in s.placements.items()},
    )
    return kernel, schedule


@dataclass(frozen=True)
class _Renaming:
    """Gives the names of a kernel a prefix: that of its place among the parts."""

    place: int

    def name(self, name: str) -> str:
        return f"p{self.place}_{name}"

    def part(self, kernel: Kernel, schedule: Schedule) -> Part:
        inputs, outputs = (
            tuple(replace(b, name=self.name(b.name)) for b in buffers)
            for buffers in (kernel.inputs, kernel.outputs)
        )
        axes = tuple(Axis(self.name(a.name), a.extent) for a in kernel.axes)
        body = tuple(self.op(op) for op in kernel.body)
        made = Kernel(kernel.name, inputs, outputs, axes, body, kernel.source)
        roles = {self.name(a): r for a, r in schedule.roles.items()}
        placements = {self.name(v): p for v, p in schedule.placements.items()}
        loops = tuple(self.name(a) for a in schedule.loops)
        return made, Schedule(loops, roles, placements)

    def op(self, op: KernelOp) -> KernelOp:
        if isinstance(op, Store):
            value = self.operand(op.value)
            return Store(self.name(op.buffer), self.map(op.map), value)
        result = self.value(op.result)
        if isinstance(op, Load):
            bounds = tuple(Bound(self.index(b.index), b.extent) for b in op.bounds)
            place = self.map(op.map)
            buffer = self.name(op.buffer)
            return replace(op, result=result, buffer=buffer, map=place, bounds=bounds)
        if isinstance(op, Compute):
            operands = tuple(self.operand(x) for x in op.operands)
            return replace(op, result=result, operands=operands)
        if isinstance(op, Iota):
            return Iota(result, self.index(op.index))
        if isinstance(op, Carried):
            return Carried(result, self.value(op.loop), op.place)
        if isinstance(op, Repeat):
            return Repeat(
                result,
                self.value(op.turn),
                op.count,
                tuple(map(self.value, op.carries)),
                tuple(map(self.operand, op.inits)),
                tuple(map(self.op, op.body)),
                tuple(map(self.operand, op.nexts)),
            )
        axes = tuple(self.name(a) for a in op.axes)
        if isinstance(op, Contract):
            return Contract(result, axes, self.value(op.lhs), self.value(op.rhs))
        assert isinstance(op, Reduce)
        return replace(op, result=result, axes=axes, operand=self.operand(op.operand))

    def operand(self, x: Operand) -> Operand:
        return self.value(x) if isinstance(x, Value) else x

    def value(self, value: Value) -> Value:
        axes = frozenset(self.name(a) for a in value.axes)
        return Value(self.name(value.name), axes, value.dtype)

    def map(self, place: Sequence[Affine]) -> tuple[Affine, ...]:
        return tuple(self.index(i) for i in place)

    def index(self, index: Affine) -> Affine:
        terms = tuple((self.atom(a), c) for a, c in index.terms)
        return Affine(terms, index.constant)

    def atom(self, atom: IndexAtom) -> IndexAtom:
        if isinstance(atom, AxisIndex):
            return AxisIndex(self.name(atom.axis))
        if isinstance(atom, ValueIndex):
            return ValueIndex(self.name(atom.value))
        kind = FloorDiv if isinstance(atom, FloorDiv) else Mod
        return kind(self.index(atom.inner), atom.divisor)


def parts_of(kernel: Kernel, schedule: Schedule) -> list[Part]:
    """Return the independent parts of a kernel; itself where there is but one."""
    kernels = separated(kernel)
    if len(kernels) < 2:
        return [(kernel, schedule)]
    return [(part, restricted(schedule, part)) for part in kernels]


def separated(kernel: Kernel) -> list[Kernel]:
    """Return the independent parts of a kernel, without schedules."""
    if sum(isinstance(op, Store) for op in kernel.body) < 2:
        return [kernel]  # all that it computes is stored
    bodies = components(kernel.body, _names)
    return [with_body(kernel, body) for body in bodies] if len(bodies) > 1 else [kernel]


def components(
    ops: Sequence[KernelOp], names_of: Callable[[KernelOp], Iterable[Hashable]]
) -> list[list[KernelOp]]:
    """Return operations in groups of which no two have a name in common."""
    sets = _Sets()
    for op in ops:
        for name in names_of(op):
            sets.unite(op, name)
    groups: dict[Hashable, list[KernelOp]] = {}
    for op in ops:
        groups.setdefault(sets.root(op), []).append(op)
    return list(groups.values())


def _names(op: KernelOp) -> set[tuple[str, str]]:
    """Return the axes and values an operation has to do with."""
    values = {v.name for v in values_of(op)}
    result = result_of(op)
    axes = set(result.axes) if result else set()
    if result is not None:
        values.add(result.name)
    if isinstance(op, Reduce | Contract):
        axes |= set(op.axes)
    for index in indices_of(op):
        axes |= axes_in(index)
        values |= values_in(index)
    return {("axis", a) for a in axes} | {("value", v) for v in values}


class _Sets:
    """Sets of things that belong together, by union and find."""

    def __init__(self) -> None:
        self.parent: dict[Hashable, Hashable] = {}

    def root(self, x: Hashable) -> Hashable:
        """Return the one that stands for the set of `x`."""
        at = self.parent.setdefault(x, x)
        while at is not self.parent[at]:
            self.parent[at] = at = self.parent[self.parent[at]]
        return at

    def unite(self, x: Hashable, y: Hashable) -> None:
        """Put the sets of two things together."""
        self.parent[self.root(y)] = self.root(x)


def with_body(kernel: Kernel, body: Sequence[KernelOp]) -> Kernel:
    """Return the kernel with other operations, and the buffers and axes of these."""
    every = with_inner(body)
    buffers = {op.buffer for op in every if isinstance(op, Load | Store)}
    axes = {name for op in body for kind, name in _names(op) if kind == "axis"}
    return replace(
        kernel,
        inputs=tuple(b for b in kernel.inputs if b.name in buffers),
        outputs=tuple(b for b in kernel.outputs if b.name in buffers),
        axes=tuple(a for a in kernel.axes if a.name in axes),
        body=tuple(body),
    )


def restricted(schedule: Schedule, part: Kernel) -> Schedule:
    """Return a schedule without the axes that a part of its kernel has not."""
    axes = {a.name for a in part.axes}
    loops = tuple(a for a in schedule.loops if a in axes)
    return replace(schedule, loops=loops, roles=_only(schedule.roles, axes))


def _only(mapping: Mapping[str, Role], names: set[str]) -> dict[str, Role]:
    return {k: v for k, v in mapping.items() if k in names}
