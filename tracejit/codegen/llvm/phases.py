"""Which operations of a kernel run where: depths, phases, recomputation.

The axes of a kernel are loops in the schedule's order. An operation lives at the depth
of the innermost axis it varies along. A `Reduce` is updated at the depth of its operand
and done after the loop of its outermost reduced axis; what depends on it runs after
that loop. So a loop is run in phases, each with the stores and updates that became
possible, and with what these need: values that several phases need are computed again
in each, or are kept in scratch rows where the schedule says so.

    softmax over loops (i, j):  for i:  for j: max    | phase 0
                                        for j: sum    | phase 1
                                        for j: store  | phase 2

Loops lie in each other, but not all that is in an inner one is about an outer one. Of
two reductions along different axes, each with a result for each i, neither runs in the
loop of the other: what has nothing to do with a loop is a phase of its own beside it.

    over loops (i, j, k):  for i:  for j: a = sum      | phase 0
                                   for k: b = max      | phase 0, beside the loop over j
                                   store a + b

A loop that reduces more arrays than registers hold is cut into loops that share no
array and no value (`unrelated`): it reads nothing twice so.

A reduction that combines what the schedule keeps for each block runs after the loop
over blocks that computes it, in a loop of its own: that over blocks has no accumulators
then, and is one that threads can share.
"""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import replace

from ...errors import InternalError
from ...kernels.kernel import (
    Buffer,
    Iota,
    Kernel,
    KernelOp,
    Load,
    Reduce,
    Repeat,
    Store,
    Value,
    operands_of,
    result_of,
    with_inner,
)
from ...kernels.maps import Affine, Map, axis
from ...kernels.parts import components
from ...kernels.schedule import Placement, Schedule
from ...records import dataclass
from .indices import axes_in, values_in


@dataclass(frozen=True)
class Phase:
    """One pass through a loop, and what runs before it.

    Parameters
    ----------
    direct : tuple of KernelOp
        Outside the loop, before it.
    inner : tuple of KernelOp
        Inside it; empty if there is no loop in this phase.
    done : tuple of Reduce
        Reductions whose results are there after it.
    is_beside : bool
        Whether `inner` runs once beside the loop, in loops further in.
    """

    direct: tuple[KernelOp, ...]
    inner: tuple[KernelOp, ...]
    done: tuple[Reduce, ...]
    is_beside: bool = False


class Analysis:
    """Depths and dependencies of the operations of a kernel under a schedule.

    Parameters
    ----------
    kernel : Kernel
        Without contractions.
    schedule : Schedule

    Raises
    ------
    InternalError
        If a reduced axis lies outside a kept one, or sums run in another order than
        their elements have.
    """

    def __init__(self, kernel: Kernel, schedule: Schedule) -> None:
        self.kernel = kernel
        self.schedule = schedule
        self.position = {name: k for k, name in enumerate(schedule.loops)}
        self.values: dict[str, Value] = {}
        self.makers: dict[str, KernelOp] = {}
        self.depths: dict[KernelOp, int] = {}
        self._uses: dict[KernelOp, list[str]] = {}
        for op in with_inner(kernel.body):
            result = result_of(op)
            if result is not None:
                self.values[result.name] = result
            if isinstance(op, Repeat):
                self.values.update((v.name, v) for v in (op.turn, *op.carries))
        for op in kernel.body:
            result = result_of(op)
            if result is not None:
                self.makers[result.name] = op
        for op in kernel.body:
            if isinstance(op, Reduce):
                self._check(op)

    def _check(self, op: Reduce) -> None:
        reduced = [self.position[a] for a in op.axes]
        if any(self.position[a] > min(reduced) for a in op.result.axes):
            raise InternalError(
                f"kernel {self.kernel.name}: {op.result.name} is reduced over "
                f"{op.axes} but varies along an axis inside of them",
                hint="put the reduced axes innermost in the schedule",
            )
        if op.op in ("add", "argmax", "argmin") and reduced != sorted(reduced):
            raise InternalError(
                f"kernel {self.kernel.name}: {op.result.name} runs over {op.axes} in "
                f"another order than the loops {self.schedule.loops}"
            )

    def axes(self, op: KernelOp) -> set[str]:
        """Return the axes whose loops an operation runs in."""
        found: set[str] = set()
        result = result_of(op)
        if isinstance(op, Reduce):
            found |= set(op.axes)
        elif result is not None:
            found |= result.axes
        for value in self.uses(op):
            found |= self.values[value].axes
        for index in self.indices(op):
            found |= axes_in(index)
        return found

    def indices(self, op: KernelOp) -> list[Affine]:
        """Return the index expressions of an operation."""
        if isinstance(op, Load):
            return [*op.map, *(b.index for b in op.bounds)]
        if isinstance(op, Store):
            return list(op.map)
        return [op.index] if isinstance(op, Iota) else []

    def uses(self, op: KernelOp) -> list[str]:
        """Return the names of the values an operation reads, in indices too."""
        names = self._uses.get(op)
        if names is None:
            names = [v.name for v in operands_of(op) if isinstance(v, Value)]
            for index in self.indices(op):
                names.extend(sorted(values_in(index)))
            self._uses[op] = names
        return names

    def depth(self, op: KernelOp) -> int:
        """Return in how many loops an operation runs.

        Those of its axes, and those that a reduction it reads is done in, which may be
        inside of loops that its result does not vary along.
        """
        if op not in self.depths:
            own = max((self.position[a] + 1 for a in self.axes(op)), default=0)
            read = (self.makers[v] for v in self.uses(op) if v in self.makers)
            inside = (
                self.completion(r) if isinstance(r, Reduce) else self.depth(r)
                for r in read
            )
            self.depths[op] = max(own, *inside, 0)
        return self.depths[op]

    def is_of_block(self, value: Value) -> bool:
        """Tell whether a value is kept for each block until all are combined."""
        return self.schedule.placements.get(value.name) is Placement.BLOCK

    def completion(self, op: Reduce) -> int:
        """Return the number of loops outside those of a reduction."""
        return min(self.position[a] for a in op.axes)


class Phases:
    """Cuts the loop at one depth into phases.

    Parameters
    ----------
    analysis : Analysis
    depth : int
    ops : sequence of KernelOp
        What runs inside the loops so far, in SSA order, with all it needs.
    """

    def __init__(self, analysis: Analysis, depth: int, ops: Sequence[KernelOp]) -> None:
        self.analysis, self.depth = analysis, depth
        self.ops = ops
        self.phase: dict[KernelOp, int] = {}
        self.defined: dict[str, KernelOp] = {}
        self.combined: set[str] = set()  # values of blocks that are combined here
        self._number()

    def _number(self) -> None:
        ready: dict[str, int] = {}
        blocks: dict[str, set[str]] = {}  # which values of blocks a value depends on
        for op in self.ops:
            uses = self.analysis.uses(op)
            number = max((ready.get(v, 0) for v in uses), default=0)
            found = set[str]().union(*(blocks.get(v, ()) for v in uses))
            if found and self._is_done_here(op):
                self.combined |= found
                number = max(number, *(ready[v] + 1 for v in found))
            self.phase[op] = number
            result = result_of(op)
            if result is None:
                continue
            ready[result.name] = number + (1 if self._is_done_here(op) else 0)
            self.defined[result.name] = op
            if self.analysis.is_of_block(result):
                found = {*found, result.name}
            blocks[result.name] = found if not self._is_done_here(op) else set()

    def _is_done_here(self, op: KernelOp) -> bool:
        if not isinstance(op, Reduce):
            return False
        return self.analysis.completion(op) == self.depth

    def _is_inner(self, op: KernelOp) -> bool:
        return self.analysis.depth(op) > self.depth

    def _is_root(self, op: KernelOp) -> bool:
        """Tell whether a phase runs an operation for its own sake."""
        result = result_of(op)
        if result is not None and result.name in self.combined:
            return True
        if isinstance(op, Reduce):
            return self.analysis.completion(op) <= self.depth
        return isinstance(op, Store)

    def cut(self) -> list[Phase]:
        """Return the phases in order, before scratch rows are put in."""
        phases = []
        for number in range(max(self.phase.values(), default=-1) + 1):
            mine = [op for op in self.ops if self.phase[op] == number]
            direct = tuple(op for op in mine if not self._is_inner(op))
            reductions = (op for op in mine if isinstance(op, Reduce))
            done = tuple(op for op in reductions if self._is_done_here(op))
            roots = [op for op in mine if self._is_inner(op) and self._is_root(op)]
            beside = [op for op in roots if not self._is_along(op)]
            inside = [op for op in roots if self._is_along(op)]
            phases.append(Phase(direct, self.closure(inside), done))
            if beside:
                phases.append(Phase((), self.closure(beside), (), is_beside=True))
        return phases

    def _is_along(self, op: KernelOp) -> bool:
        """Tell whether an operation runs in the loop at this depth.

        What it needs in that loop, it reads along the loop's axis, or from a reduction
        that is done here.
        """
        return self.analysis.schedule.loops[self.depth] in self.analysis.axes(op)

    def closure(self, roots: Iterable[KernelOp]) -> tuple[KernelOp, ...]:
        """Return `roots` and what they need inside the loop, in SSA order."""
        needed = set(roots)
        for op in reversed(self.ops):
            if op not in needed:
                continue
            for name in self.analysis.uses(op):
                producer = self.defined.get(name)
                if producer is None or not self._is_inner(producer):
                    continue
                if not self._is_done_here(producer):
                    needed.add(producer)
        return tuple(op for op in self.ops if op in needed)


def unrelated(
    phase: Phase, analysis: Analysis, fits: Callable[[Sequence[KernelOp]], bool]
) -> list[Phase]:
    """Cut the loop of a phase that reduces too much into ones that share nothing.

    Parameters
    ----------
    phase : Phase
    analysis : Analysis
    fits : callable
        ``(operations) -> bool``, of those inside a loop: whether they stay together.

    Returns
    -------
    list of Phase
        Each fits, or holds operations that all share arrays or values.
    """
    if phase.is_beside or len(phase.done) < 2 or fits(phase.inner):
        return [phase]
    loops: list[list[KernelOp]] = []
    for ops in _sharing(phase.inner, analysis):
        if loops and fits([*loops[-1], *ops]):
            loops[-1] += ops
        else:
            loops.append(ops)
    direct, out = phase.direct, []
    for ops in loops:
        mine = set(ops)
        inner = tuple(op for op in phase.inner if op in mine)
        done = tuple(op for op in phase.done if op in mine)
        out.append(Phase(direct, inner, done))
        direct = ()
    return out


def _sharing(ops: Sequence[KernelOp], analysis: Analysis) -> list[list[KernelOp]]:
    """Return operations in groups that share no array and none of their values."""
    own = {v.name for v in map(result_of, ops) if v is not None}
    return components(ops, lambda op: _shared_names(op, own, analysis))


def _shared_names(op: KernelOp, own: set[str], analysis: Analysis) -> set[str]:
    """Return what an operation makes or reads of a loop's own values, and arrays."""
    result = result_of(op)
    names = own.intersection(analysis.uses(op))
    names |= {result.name} if result is not None else set()
    return names | ({f"array {op.buffer}"} if isinstance(op, Load | Store) else set())


def with_scratch(
    phases: Sequence[Phase], analysis: Analysis, depth: int
) -> tuple[list[Phase], dict[str, Buffer]]:
    """Keep values that several phases need in rows, where the schedule says so.

    The first phase that computes such a value stores it, later ones load it.

    Returns
    -------
    phases : list of Phase
    rows : mapping of buffer name to Buffer
        The rows, without memory; along the loops from `depth` inwards.
    """
    rows: dict[str, Buffer] = {}
    kept: dict[str, Value] = {}
    out: list[Phase] = []
    for number, phase in enumerate(phases):
        inner, loaded = _load_kept(phase.inner, kept, rows, analysis, depth)
        later = [_results(p.inner) for p in phases[number + 1 :]]
        stored: list[KernelOp] = []
        for op in inner:
            stored.append(op)
            value = result_of(op)
            if value is None or value.name in loaded or value.name in kept:
                continue
            placed = analysis.schedule.placements.get(value.name)
            if placed is not None and any(value.name in r for r in later):
                row = _row(value, analysis, depth)
                kept[value.name], rows[row.name] = value, row
                stored.append(Store(row.name, _row_map(value, analysis, depth), value))
        out.append(replace(phase, inner=tuple(stored)))
    return out, rows


def _results(ops: Sequence[KernelOp]) -> set[str]:
    return {v.name for v in map(result_of, ops) if v is not None}


def _load_kept(
    ops: Sequence[KernelOp],
    kept: Mapping[str, Value],
    rows: Mapping[str, Buffer],
    analysis: Analysis,
    depth: int,
) -> tuple[list[KernelOp], set[str]]:
    """Replace kept values by loads and drop what only they needed."""
    replaced: list[KernelOp] = []
    loaded: set[str] = set()
    for op in ops:
        value = result_of(op)
        if value is not None and value.name in kept:
            loaded.add(value.name)
            name = _row(value, analysis, depth).name
            replaced.append(Load(value, name, _row_map(value, analysis, depth)))
        else:
            replaced.append(op)
    needed: set[str] = set()
    out: list[KernelOp] = []
    for op in reversed(replaced):
        value = result_of(op)
        is_root = (
            value is None
            or (isinstance(op, Reduce) and analysis.completion(op) <= depth)
            or (analysis.is_of_block(value) and value.name not in kept)
        )
        if is_root or (value is not None and value.name in needed):
            needed.update(analysis.uses(op))
            out.append(op)
    return out[::-1], loaded


def _row_axes(value: Value, analysis: Analysis, depth: int) -> list[str]:
    """Return the axes a row extends along, the vector axis last."""
    vector = analysis.schedule.vector_axis
    inner = [
        a
        for a in analysis.schedule.loops
        if a in value.axes and (analysis.position[a] >= depth or a == vector)
    ]
    return sorted(inner, key=lambda a: a == vector)


def _row_map(value: Value, analysis: Analysis, depth: int) -> Map:
    return tuple(axis(a) for a in _row_axes(value, analysis, depth))


def _row(value: Value, analysis: Analysis, depth: int) -> Buffer:
    extents = {a.name: a.extent for a in analysis.kernel.axes}
    shape = tuple(extents[a] for a in _row_axes(value, analysis, depth))
    strides, total = [], 1
    for extent in reversed(shape):
        strides.append(total)
        total *= extent
    return Buffer(f"row.{value.name}.{depth}", value.dtype, shape, tuple(strides[::-1]))
