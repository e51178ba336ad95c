"""Choosing a schedule: which axes become vectors, grids and loops, what is kept."""

from collections.abc import Sequence
from math import prod

from ..ir.aval import ShapedArray
from .joining import offset_of
from .kernel import (
    Compute,
    Contract,
    Kernel,
    KernelOp,
    Load,
    Reduce,
    Store,
    values_of,
    with_inner,
)
from .maps import AxisIndex, axes_in
from .schedule import Placement, Role, Schedule

SCRATCH_LIMIT = 1 << 22  # bytes of a row kept between phases: a shared cache has room
EXPENSIVE = 8.0  # flops an element from which recomputing costs more than a row buffer
# Elements of a block of a row: two leaves of the summation tree lie in the nearest
# cache, and what is done once a block costs little (docs/performance.md).
BLOCK = 2048
LEAST_BLOCK = 512
SHORT_ROW = 64  # elements of a row of which lanes have one each
MOST_APART = 4  # elements between such rows, to be loaded without gathers
BLOCKS_FROM = 4096  # elements reduced; fewer are in the nearest cache anyway


def schedule_of(kernel: Kernel, space_axes: Sequence[str]) -> Schedule:
    """Return the loops of a kernel: the last axis that it keeps becomes vectors.

    The axes of its space come first, and of these last the ones that its reductions
    remove: a row is reduced in vectors; columns are kept in vectors, and rows run by.
    Where there is a contraction, micro-kernels tile its axes.

    Parameters
    ----------
    kernel : Kernel
    space_axes : sequence of str
        The axes of the group's elements, outermost first.
    """
    added = [a.name for a in kernel.axes if a.name not in space_axes]
    if any(isinstance(op, Contract) for op in kernel.body):
        return _tiled(kernel, (*space_axes, *added))
    space_axes = _as_stored(kernel, space_axes)
    reduced = {a for op in kernel.body if isinstance(op, Reduce) for a in op.axes}
    own = _kept_first(space_axes, reduced)
    loops = _sums_inside(kernel, (*own, *added))
    kept = [a for a in space_axes if own != tuple(space_axes) and a not in reduced]
    vector = kept[-1] if kept else space_axes[-1] if space_axes else None
    vector = _along_short_rows(kernel, loops, reduced) or vector
    vector = vector or (loops[-1] if loops else None)
    roles = {}
    for name in loops:
        role = Role.SEQUENTIAL if name in reduced else Role.GRID
        roles[name] = Role.VECTOR if name == vector else role
    return Schedule(tuple(loops), roles, placements_of(kernel, vector))


def _as_stored(kernel: Kernel, axes: Sequence[str]) -> Sequence[str]:
    """Return axes in the order in which results of them all lie in memory."""
    steps = [
        tuple(_step_along(op, kernel, a) for a in axes)
        for op in kernel.body
        if isinstance(op, Store) and set(axes) <= set().union(*map(axes_in, op.map))
    ]
    if not steps or len({*steps}) > 1 or None in steps[0]:
        return axes
    along = dict(zip(axes, steps[0], strict=True))
    return sorted(axes, key=lambda a: -(along[a] or 0))


def _along_short_rows(
    kernel: Kernel, loops: Sequence[str], reduced: set[str]
) -> str | None:
    """Return the last axis kept if rows are short, and what is read lies along it.

    Windows are such rows, and pixels of few channels: with a row in each lane nothing
    is added up across lanes.
    """
    kept = [a for a in loops if a not in reduced]
    if not kept or not reduced or kernel.extent(kept[-1]) < SHORT_ROW:
        return None
    accesses = [op for op in with_inner(kernel.body) if isinstance(op, Load | Store)]
    steps = [_step_along(op, kernel, kept[-1]) for op in accesses]
    known = [s for s in steps if s is not None]
    stores = (s for op, s in zip(accesses, steps, strict=True) if isinstance(op, Store))
    if len(known) < len(steps) or any(s != 1 for s in stores):
        return None
    most = SHORT_ROW if max(known) <= 1 else MOST_APART
    return kept[-1] if prod(kernel.extent(a) for a in reduced) <= most else None


def _step_along(op: Load | Store, kernel: Kernel, name: str) -> int | None:
    """Return the elements between neighbours along an axis; None if that varies."""
    if isinstance(op, Load) and op.check:
        return None
    offset = offset_of(op, kernel.buffer(op.buffer))
    linear = {a.axis: c for a, c in offset.terms if isinstance(a, AxisIndex)}
    is_linear = len(linear) == len(offset.terms)
    return abs(linear.get(name, 0)) if is_linear else None


def _kept_first(axes: Sequence[str], reduced: set[str]) -> tuple[str, ...]:
    """Return axes in order, the reduced ones last; rows have them last already."""
    return (*(a for a in axes if a not in reduced), *(a for a in axes if a in reduced))


def _sums_inside(kernel: Kernel, loops: Sequence[str]) -> tuple[str, ...]:
    """Return loops in an order that has sums inside of what their results run along.

    The sum of a row of columns' sums needs the loop along columns inside. The order
    that is given stays as far as that allows.
    """
    before: dict[str, set[str]] = {a: set() for a in loops}
    for op in kernel.body:
        if isinstance(op, Reduce):
            for a in op.axes:
                before[a] |= op.result.axes
    out: list[str] = []
    while len(out) < len(loops):
        rest = [a for a in loops if a not in out]
        ready = (a for a in rest if before[a] <= set(out))
        out.append(next(ready, rest[0]))
    return tuple(out)


def _tiled(kernel: Kernel, loops: Sequence[str]) -> Schedule:
    roles = dict.fromkeys(loops, Role.GRID)
    for op in kernel.body:
        if isinstance(op, Reduce):  # an epilogue may reduce what products are apart in
            roles.update((a, Role.SEQUENTIAL) for a in op.axes)
    for op in kernel.body:
        if isinstance(op, Contract):
            tiles = (op.lhs.axes ^ op.rhs.axes) | set(op.axes)
            roles.update(dict.fromkeys(tiles, Role.TILE))
    return Schedule(tuple(loops), roles, {})


def placements_of(kernel: Kernel, vector: str | None) -> dict[str, Placement]:
    """Return which values are kept: expensive ones that a later phase uses again."""
    if vector is None:
        return {}
    phase: dict[str, int] = {}
    cost: dict[str, float] = {}
    out: dict[str, Placement] = {}
    row_axes = {a for op in kernel.body if isinstance(op, Reduce) for a in op.axes}
    row_axes.add(vector)
    for op in kernel.body:
        operands = list(values_of(op))
        here = max((phase.get(o.name, 0) for o in operands), default=0)
        for o in operands:
            later = phase.get(o.name, 0) < here and vector in o.axes
            elements = prod(kernel.extent(a) for a in o.axes & row_axes)
            fits = elements * o.dtype.itemsize <= SCRATCH_LIMIT
            if later and fits and cost.get(o.name, 0.0) >= EXPENSIVE:
                out[o.name] = Placement.SCRATCH
        if isinstance(op, Store):
            continue
        done = isinstance(op, Reduce) and vector in op.axes
        phase[op.result.name] = here + 1 if done else here
        spent = sum(cost.get(o.name, 0.0) for o in operands if vector in o.axes)
        cost[op.result.name] = 0.0 if done else spent + _op_cost(op)
    return out


def block_of(extent: int, rows: int = 1) -> int | None:
    """Return how many elements a block of rows has that are reduced together.

    Parameters
    ----------
    extent : int
        Of a row, the last axis reduced.
    rows : int
        Product of the extents of the other axes reduced.

    Returns
    -------
    int or None
        A divisor of `extent`; itself where whole rows are blocks. None where the
        reduction is too short, or has no divisor of a good size.
    """
    if extent * rows < BLOCKS_FROM:
        return None
    lengths = range(min(BLOCK, extent), LEAST_BLOCK - 1, -1)
    return next((n for n in lengths if extent % n == 0), None)


def _op_cost(op: KernelOp) -> float:
    if not isinstance(op, Compute):
        return 0.0
    one = ShapedArray((), op.result.dtype)
    return op.primitive.flops((one,), (one,), op.params)
