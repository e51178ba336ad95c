"""How many vectors of a kernel's loops are written out together.

Budgets count operations: what a block of several vectors, or all turns of a short sum,
may have, so that code stays small and sums in registers.
"""

from collections.abc import Mapping, Sequence

from ...ir.graph import Literal
from ...kernels.kernel import (
    Compute,
    KernelOp,
    Reduce,
    Repeat,
    Value,
    operands_of,
    result_of,
    values_of,
    with_inner,
)
from ...kernels.tree import LANES
from ...records import dataclass
from . import elementwise
from .phases import Analysis
from .reduce import is_float_sum
from .target import Target
from .widths import Width

# How many operations a block of several vectors may have; see `Planner.units`.
_ROW_SUM_BUDGET = 300
_COLUMN_BUDGET = 128
_POINTWISE_BUDGET = 24
_MOST_POINTWISE_UNITS = 4
_MATH_WEIGHT = 20
UNROLL_BUDGET = 400  # operations of all turns of a short sum that is written out
_TURN_BUDGET = 300  # operations of all vectors that go through a loop together
_TEMPORARIES = 2  # registers that a turn needs besides carries, sums and constants
_SLOW = {"div": 3, "sqrt": 9}  # operations that such an operation takes the time of


@dataclass(frozen=True)
class Planner:
    """Counts what a loop nest holds.

    Parameters
    ----------
    analysis : Analysis
    extents : mapping of str to int
        Of the axes.
    width : Width
        Of a vector.
    axis : str or None
        That of vectors; None if there is none.
    target : Target
    """

    analysis: Analysis
    extents: Mapping[str, int]
    width: Width
    axis: str | None
    target: Target

    def units(self, ops: Sequence[KernelOp]) -> int:
        """Return how many vectors a block has: as many as keep the code small.

        Sums along the axis want 64 elements. Loops inside want many columns, for
        memory is read line by line. What is left gains little.
        """
        extent = self.extents[self.axis or ""]
        most = self._units_of_lanes
        loops = [op for op in ops if isinstance(op, Repeat)]
        weight = self.weight(ops)
        needed = 1 << (-(-max(extent, 1) // self.width.lanes) - 1).bit_length()
        if any(self.is_packed(op) for op in ops):
            units = 1
        elif any(self._is_row_sum(op) for op in ops):
            units = most if self.fit_registers(ops) else 1
        elif loops:
            units = min(map(self._units_of_turns, loops))
        elif any(self.analysis.depth(op) > self._vector_depth for op in ops):
            units = _power_below(_COLUMN_BUDGET // weight, most)
            units = self._units_of_short_sum(ops, units)
        else:
            units = _power_below(_POINTWISE_BUDGET // weight, _MOST_POINTWISE_UNITS)
        return min(units, most, needed)

    def fit_registers(self, ops: Sequence[KernelOp]) -> bool:
        """Tell whether the 64 lanes of sums that a loop holds may be in registers."""
        return self.weight(ops) * self._units_of_lanes <= _ROW_SUM_BUDGET

    @property
    def _units_of_lanes(self) -> int:
        """How many vectors have the 64 lanes of the summation tree."""
        return max(1, LANES // self.width.lanes)

    def _units_of_short_sum(self, ops: Sequence[KernelOp], units: int) -> int:
        """Return so many vectors, or fewer for which a short sum can be written out."""
        inner = [op for op in ops if self.analysis.depth(op) > self._vector_depth]
        sums = (op for op in inner if isinstance(op, Reduce) and is_float_sum(op))
        turns = max((self.extents[a] for op in sums for a in op.axes), default=0)
        few = units
        while few and self.unrolled_size(inner, turns, few) > UNROLL_BUDGET:
            few //= 2
        return few or units

    def unrolled_size(self, ops: Sequence[KernelOp], turns: int, units: int) -> int:
        """Return how many operations all turns of a loop are, on several vectors."""
        wide = self.width.registers * sum(
            self._weight(op) for op in ops if self.is_vector(op)
        )
        return turns * (self.weight(ops) + (units - 1) * wide)

    def _units_of_turns(self, op: Repeat) -> int:
        """Return how many vectors go through a loop together.

        As many as have room in the registers, to wait less for one another's results.
        """
        outside = {v.name for v in values_of(op) if self.axis in v.axes}
        held = len(op.carries) + len(outside) + _TEMPORARIES
        room = self.target.vector_registers // (held * self.width.registers)
        room = min(room, _TURN_BUDGET // self.weight(op.body))
        return _power_below(room, _MOST_POINTWISE_UNITS)

    def units_of_pass(self, ops: Sequence[KernelOp], units: int, sums: int) -> int:
        """Return how many of a block's vectors are summed in a loop of their own.

        All of them if registers hold `sums` sums of each, or else as many as there is
        room for beside constants.
        """
        registers = self.target.vector_registers
        held = sums * self.width.registers
        if held * units <= registers:
            return units
        read = {x for op in with_inner(ops) for x in operands_of(op)}
        fixed = {x for x in read if isinstance(x, Literal) or self.axis not in x.axes}
        return _power_below((registers - len(fixed) - _TEMPORARIES) // held, units)

    @property
    def _vector_depth(self) -> int:
        return self.analysis.position[self.axis or ""] + 1

    def _is_row_sum(self, op: KernelOp) -> bool:
        return isinstance(op, Reduce) and op.axes == (self.axis,) and is_float_sum(op)

    def weight(self, ops: Sequence[KernelOp]) -> int:
        """Return about how many instructions operations are, at least 1."""
        return max(1, sum(map(self._weight, ops))) * self.width.registers

    def _weight(self, op: KernelOp) -> int:
        if not isinstance(op, Compute) or self.axis not in op.result.axes:
            return 1
        is_math = elementwise.is_math(op.primitive.name)
        return _MATH_WEIGHT if is_math else 1

    def time(self, op: KernelOp) -> int:
        """Return how many simple operations take the time of one."""
        if isinstance(op, Repeat):
            return op.count * sum(map(self.time, op.body))
        if not isinstance(op, Compute) or self.axis not in op.result.axes:
            return 1
        return max(self._weight(op), _SLOW.get(op.primitive.name, 1))

    def is_vector(self, op: KernelOp) -> bool:
        """Tell whether an operation is done once per vector of a block."""
        if self.axis is None:
            return False
        result = result_of(op)
        if isinstance(op, Reduce):
            operand = op.operand
            varies = isinstance(operand, Value) and self.axis in operand.axes
            return varies or self.axis in op.axes
        if result is not None:
            return self.axis in result.axes
        return self.axis in self.analysis.axes(op)

    def is_packed(self, op: KernelOp) -> bool:
        """Tell whether vectors of a sum meet other lanes of the tree in each row."""
        if not isinstance(op, Reduce) or not is_float_sum(op) or len(op.axes) == 1:
            return False
        return self.axis in op.axes and bool(self.extents[self.axis or ""] % LANES)


def _power_below(limit: int, most: int) -> int:
    """Return the greatest power of two up to both limits, at least 1."""
    return 1 << (max(1, min(limit, most)).bit_length() - 1)
