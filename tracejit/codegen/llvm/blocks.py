"""Which stages of a kernel with contractions run block by block.

Needs the stages of `contraction`. Establishes a `Plan`: stages that run once, before,
and stages that run over a range of one axis, in blocks of it where scratch is passed
from stage to stage. So a block of a product is still in the cache when its epilogue
reads it, and the scratch that holds it is as small as a block:

    once:    pack w                        (where the product is large)
    over i:  %p = x[i:i+96] @ w            → scratch of 96 rows
             y[i:i+96] = gelu(%p + b)

Ranges of the axis are independent of each other: they may run on different threads,
each with scratch of its own. A product of few rows is one block. It runs over ranges of
its columns, if it is large enough to be shared, and what follows it once, after them:

    over columns:  %p = x @ w                  → scratch of all 8 rows
    after:         y = gelu(%p + b)
"""

from collections.abc import Sequence
from dataclasses import replace
from math import lcm, prod

from ...kernels.kernel import Kernel, Reduce, Store
from ...kernels.schedule import Schedule
from ...records import dataclass
from .contraction import Nested, Product, Stages, stages_of
from .conv_forms import quantum_along
from .conv_shape import Convolution, convolution_of
from .gemm import Split, blocking_of, is_packed, quantum
from .indices import axes_in
from .target import Target

# A block of a batch axis has at least so many elements.
_BATCH_ELEMENTS = 1 << 14
# A product of few rows takes as long as reading B: from so many bytes threads share it.
_LEAST_B_BYTES = 1 << 19
# B is read again for each block of rows: it should stay in the last cache.
MOST_B_BYTES = 1 << 24

Stage = Nested | Product


@dataclass(frozen=True)
class Plan:
    """How the stages of a kernel run.

    Parameters
    ----------
    stages : Stages
    once : tuple of Nested or Product
        In order, before the others.
    ranged : tuple of Nested or Product
        Run over a range of `axis`, or of `split` of the only product.
    axis : str or None
        The axis that the range counts; None for a product alone.
    split : Split
        What it counts of a product alone.
    extent : int
        Of the whole range.
    quantum : int
        What the ends of ranges are multiples of, but for the last one.
    step : int
        Extent of a block.
    after : tuple of Nested or Product
        Run once, after all ranges.
    """

    stages: Stages
    once: tuple[Stage, ...]
    ranged: tuple[Stage, ...]
    axis: str | None
    split: Split
    extent: int
    quantum: int
    step: int
    after: tuple[Stage, ...] = ()


def plan_of(kernel: Kernel, schedule: Schedule, target: Target) -> Plan:
    """Return how the stages of a kernel run on a target."""
    plan = None
    if schedule.loops:
        plan = _blocked(kernel, schedule, target, schedule.loops[0])
        if plan is not None and plan.extent > plan.quantum:
            return plan
    stages = stages_of(kernel, schedule, target=target)
    in_columns = _in_columns(stages, target)
    if in_columns is not None:
        return in_columns
    if plan is not None:
        return plan
    *once, last = stages.stages
    if not isinstance(last, Product):
        return Plan(stages, stages.stages, (), None, Split.ROWS, 0, 1, 1)
    split = best_split(last, target)
    extent = last.problem.extent(split)
    unit = quantum(last.problem, target, split)
    return Plan(stages, tuple(once), (last,), None, split, extent, unit, extent)


def _in_columns(stages: Stages, target: Target) -> Plan | None:
    """Return a plan for a product of few rows that something follows; else None."""
    places = [k for k, s in enumerate(stages.stages) if isinstance(s, Product)]
    if len(places) != 1 or places[0] == len(stages.stages) - 1:
        return None
    (place,) = places
    product = stages.stages[place]
    assert isinstance(product, Product)
    problem = product.problem
    size = problem.k * problem.n * problem.operand.itemsize
    rows, unit = (quantum(problem, target, s) for s in (Split.ROWS, Split.COLUMNS))
    if problem.batch or problem.m > rows or problem.n <= unit or size < _LEAST_B_BYTES:
        return None
    return Plan(
        stages,
        stages.stages[:place],
        (product,),
        None,
        Split.COLUMNS,
        problem.n,
        unit,
        problem.n,
        stages.stages[place + 1 :],
    )


def best_split(product: Product, target: Target) -> Split:
    """Return what a product should be cut along for threads.

    Along rows each thread packs all of B, along columns all of A: the smaller one.
    """
    problem = product.problem
    if problem.batch and problem.batch[0][0] >= _ENOUGH:
        return Split.BATCH
    rows = -(-problem.m // quantum(problem, target, Split.ROWS)) if problem.n else 0
    strip = quantum(problem, target, Split.COLUMNS)
    columns = -(-problem.n // strip)
    if min(rows, columns) < _ENOUGH:
        return Split.ROWS if rows >= columns else Split.COLUMNS
    return Split.ROWS if problem.n <= problem.m else Split.COLUMNS


_ENOUGH = 4  # pieces, so that a few threads get equal shares


def _blocked(
    kernel: Kernel, schedule: Schedule, target: Target, axis: str
) -> Plan | None:
    """Return a plan in blocks of an axis; None if that cannot be or has no use."""
    stages = stages_of(kernel, schedule, axis, target=target)
    once = tuple(s for s in stages.stages if not _varies(s, axis))
    ranged = tuple(s for s in stages.stages if _varies(s, axis))
    products = [s for s in ranged if isinstance(s, Product)]
    convolved = _convolutions(ranged)
    if not convolved and (len(ranged) < 2 or not products):
        return None
    if not all(_can_range(s, axis, target) for s in ranged):
        return None
    units = [quantum_along(c, axis, target) for c in convolved]
    known = [u for u in units if u is not None]
    if len(known) < len(units):
        return None
    extent = kernel.extent(axis)
    known += [quantum(p.problem, target, p.split or Split.ROWS) for p in products]
    unit = lcm(*known)
    blocks = [_block(p, target) for p in products]
    blocks += [_image_block(c, extent) for c in convolved]
    step = min(-(-min(blocks) // unit) * unit, -(-extent // unit) * unit)
    small = _shrunk(stages, axis, step)
    return Plan(small, once, ranged, axis, Split.ROWS, extent, unit, max(step, 1))


def _convolutions(stages: Sequence[Stage]) -> list[Convolution]:
    found = (convolution_of(s.kernel) for s in stages if isinstance(s, Nested))
    return [c for c in found if c is not None]


def _image_block(found: Convolution, extent: int) -> int:
    """Return how much of an axis a block has, so that it stays in the cache."""
    roles = (found.batch, found.group, found.filters)
    results = prod(r.extent for r in roles) * prod(w.places for w in found.windows)
    return max(1, _BATCH_ELEMENTS * extent // max(results, 1))


def _varies(stage: Stage, axis: str) -> bool:
    if isinstance(stage, Product):
        return any(axis in m.strides for m in (stage.lhs, stage.rhs, stage.out))
    return any(a.name == axis for a in stage.kernel.axes)


def _can_range(stage: Stage, axis: str, target: Target) -> bool:
    if isinstance(stage, Product):
        return _can_range_product(stage, target)
    kernel, schedule = stage.kernel, stage.schedule
    if schedule.loops[0] != axis or schedule.vector_axis == axis:
        return False
    for op in kernel.body:
        if isinstance(op, Reduce) and axis in op.axes:
            return False
        if isinstance(op, Store) and not any(axis in axes_in(i) for i in op.map):
            return False
    return True


def _can_range_product(stage: Product, target: Target) -> bool:
    problem = stage.problem
    if stage.split is None:  # summed over the axis
        return False
    if problem.k * problem.n * problem.dtype.itemsize > MOST_B_BYTES:
        return False
    if stage.split is Split.ROWS:
        return not (problem.batch and is_packed(problem, target))
    return True


def _block(product: Product, target: Target) -> int:
    """Return the extent that a block should have for a product."""
    problem = product.problem
    if product.split is Split.BATCH:
        inner = prod(row[0] for row in problem.batch[1:]) * problem.m * problem.n
        return max(1, _BATCH_ELEMENTS // max(inner, 1))
    if product.split is Split.ROWS:
        return blocking_of(problem, target).chunk
    return quantum(problem, target, Split.COLUMNS)


def _shrunk(stages: Stages, axis: str, step: int) -> Stages:
    """Return the stages with temporaries that hold one block of an axis.

    The axis is the outermost of a temporary that varies along it: its stride, and so
    the maps of loads and stores, stay as they are.
    """
    temporaries = []
    for buffer in stages.temporaries:
        if is_blocked(buffer.name, stages.stages, axis):
            buffer = replace(buffer, shape=(step, *buffer.shape[1:]))
        temporaries.append(buffer)
    return Stages(tuple(temporaries), stages.stages)


def is_blocked(name: str, stages: Sequence[Stage], axis: str) -> bool:
    """Tell whether the temporary of that name varies along an axis."""
    for stage in stages:
        if isinstance(stage, Product):
            if stage.out.buffer == name:
                return axis in stage.out.strides
            continue
        for op in stage.kernel.body:
            if isinstance(op, Store) and op.buffer == name:
                return any(axis in axes_in(i) for i in op.map)
    return False
