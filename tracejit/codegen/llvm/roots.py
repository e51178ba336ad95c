"""Which square roots are taken by products, while the divider works on others.

A processor has one divider, and it takes as long for a root as multiply-adds do. In
loops that wait for it some vectors of each block have their roots by products
(`vmath.roots`), to the same bits: as many as make both ends take the same time.
"""

from collections.abc import Callable, Sequence
from math import prod

from ...ir.dtypes import FLOAT32
from ...kernels.kernel import Compute, KernelOp, Load, Reduce, dtype_of
from ...kernels.pieces import axes_of
from . import elementwise
from .indices import Access
from .memory import MOST_APART
from .target import Target
from .text import Emitter
from .units import Planner
from .vmath.roots import root_by_products
from .vmath.vector import Vector

# Cycles of a register of 64 bytes on Zen 4: in the divider, and by other operations.
_DIVIDER = {"sqrt": 9.0, "div": 6.5}
_BY_PRODUCTS = 10.0


def compute(
    em: Emitter,
    target: Target,
    op: Compute,
    operands: Sequence[str],
    lanes: int,
    by_products: bool,
) -> str:
    """Write an elementwise operation; return the register of its result.

    Parameters
    ----------
    by_products : bool
        Whether it is done without the divider, if it can be.
    """
    if by_products and _is_root(op):
        return root_by_products(Vector(em, "float", lanes, "f32", target), operands[0])
    dtypes = [dtype_of(x) for x in op.operands]
    return elementwise.emit(
        em, target, op.primitive, op.params, dtypes, operands, lanes
    )


def vectors_by_products(
    plan: Planner,
    ops: Sequence[KernelOp],
    units: int,
    access: Callable[[Load], Access],
) -> int:
    """Return how many of a block's vectors have their roots by products."""
    if plan.target.name != "avx512" or plan.width.lanes % 16:
        return 0
    roots = sum(_turns(plan, op) for op in ops if plan.is_vector(op) and _is_root(op))
    if not roots:
        return 0
    divider, others = _cycles(plan, ops, access)

    def cycles(count: int) -> float:
        moved = roots * count / units
        saved = moved * _DIVIDER["sqrt"]
        return max(divider - saved, others + moved * _BY_PRODUCTS)

    return min(range(units + 1), key=cycles)


def _cycles(
    plan: Planner, ops: Sequence[KernelOp], access: Callable[[Load], Access]
) -> tuple[float, float]:
    """Return the cycles of a vector in the divider, and those of other arithmetic."""
    divider = others = 0.0
    sums = [op for op in ops if isinstance(op, Reduce)]
    fused = {op.operand for op in sums if op.unrounded}  # products that are no work
    for op in ops:
        if not plan.is_vector(op):
            continue
        if isinstance(op, Reduce):
            others += _turns(plan, op)
        elif isinstance(op, Compute) and op.primitive.name in _DIVIDER:
            divider += _turns(plan, op) * _DIVIDER[op.primitive.name]
        elif isinstance(op, Compute) and op.result not in fused:
            others += _turns(plan, op) * plan.time(op)
        elif isinstance(op, Load):
            others += _turns(plan, op) * _picks(plan, access(op))
    return divider, others


def _picks(plan: Planner, access: Access) -> int:
    """Return how many operations put a vector together that lies apart in memory."""
    step = abs(access.linear.get(plan.axis or "", 0))
    is_near = step <= MOST_APART and not access.dynamic and not access.checked
    return plan.width.lanes if not is_near else step if step > 1 else 0


def _turns(plan: Planner, op: KernelOp) -> int:
    """Return how often an operation is done for a vector: in loops inside of its."""
    position = plan.analysis.position
    inner = (a for a in axes_of(op) if position[a] > position[plan.axis or a])
    return prod(plan.extents[a] for a in inner)


def _is_root(op: KernelOp) -> bool:
    if not isinstance(op, Compute) or op.primitive.name != "sqrt":
        return False
    return op.result.dtype == FLOAT32
