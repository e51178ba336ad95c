"""Reductions over long rows, block by block: tuples of results that are one reduction.

A sum of exp(x - max x) reads its row twice, a variance too: what is summed depends on a
first result over the whole row. Over a block that lies in the nearest cache both are
computed at once, relative to the block's own maximum or mean. The pair of a block is an
element of a monoid, and pairs are combined when all are there:

    (m, s)   m = max m_b      s = Σ s_b · exp(m_b - m)
    (t, q)   t = Σ t_b        q = Σ q_b + n·(t_b/n - mean)²       (Chan et al. 1979)

So the memory is read once. Needs a kernel and its schedule; establishes an equal kernel
over blocks, in plain operations that print, verify and run like all others:

    %v1{i} = reduce max over j: %v0
    %v4{i} = reduce add over j: exp(%v0 - %v1)
    ---
    %u1{b,i} = reduce max over j: %v0
    %v1{i} = reduce max over b: %u1
    %u6{b,i} = reduce add over j: exp(%v0 - %u3)    ; u3 is u1, or 0 if that is infinite
    %v4{i} = reduce add over b: %u6 * exp(%u1 - %v1)

Blocks have a fixed length, and each of both sums follows the fixed tree, so bits do not
depend on threads or vectors. What is known of one block is kept in a row (placement
`block`), and the loop over blocks has no accumulators: threads can share it.
"""

from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from ..ir.graph import Literal
from ..ir.ops.elementwise import (
    add_p,
    div_p,
    exp_p,
    isinf_p,
    mul_p,
    select_p,
    sub_p,
)
from ..ir.primitive import Primitive
from ..records import dataclass
from .kernel import (
    Axis,
    Bound,
    Compute,
    Contract,
    Iota,
    Kernel,
    KernelOp,
    Load,
    Operand,
    Reduce,
    Store,
    Value,
    computed_dtype,
    indices_of,
    needed,
    result_of,
    values_of,
)
from .maps import Affine, axis, values_in
from .schedule import Placement, Role, Schedule
from .schedules import block_of

Part = tuple[Kernel, Schedule]
PLAIN = ("add", "mul", "max", "min", "and", "or")
NAMES = "bcdefgh"


def by_blocks(kernel: Kernel, schedule: Schedule) -> Part:
    """Return the kernel with its dependent reductions block by block.

    The same objects where no reduction depends on another one in a way that is known,
    or where rows are so short that reading them again costs nothing.
    """
    rows = _rows_of(kernel, schedule)
    if rows is None:
        return kernel, schedule
    pairs = _Pairs(kernel, rows)
    if not any(pairs.kinds.values()) or pairs.is_kept_otherwise(schedule):
        return kernel, schedule
    return _Blocked(kernel, schedule, rows, pairs).part()


# --- what can be cut into blocks --------------------------------------------------


@dataclass(frozen=True)
class _Rows:
    """The axes that all reductions of a kernel remove.

    Parameters
    ----------
    axes : tuple of str
    inner : str
        The last of them, along which vectors run.
    length : int
        Elements of a block, along `inner`.
    """

    axes: tuple[str, ...]
    inner: str
    length: int


def _rows_of(kernel: Kernel, schedule: Schedule) -> _Rows | None:
    reductions = [op for op in kernel.body if isinstance(op, Reduce)]
    inner = schedule.vector_axis
    if len(reductions) < 2 or any(isinstance(op, Contract) for op in kernel.body):
        return None
    axes = reductions[0].axes
    is_one = all(op.axes == axes and op.op in PLAIN for op in reductions)
    if not is_one or inner != axes[-1] or inner != schedule.loops[-1]:
        return None
    count = int(np.prod([kernel.extent(a) for a in axes[:-1]], dtype=np.int64))
    length = block_of(kernel.extent(inner), count)
    return None if length is None else _Rows(axes, inner, length)


class _Pairs:
    """Which reductions need another one only to be of a good size.

    Attributes
    ----------
    kinds : dict of Reduce to Reduce or None
        For sums of exp(x - m) the maximum of x, for sums of (x - m)² the sum of x; None
        for all others.
    """

    def __init__(self, kernel: Kernel, rows: _Rows) -> None:
        self.rows = rows
        self.made: dict[str, KernelOp] = {}
        self.after: dict[str, set[Reduce]] = {}  # the reductions a value depends on
        for op in kernel.body:
            result = result_of(op)
            if result is not None:
                self.made[result.name] = op
                self.after[result.name] = self._after(op)
        reductions = [op for op in kernel.body if isinstance(op, Reduce)]
        self.kinds = {op: self._first(op) for op in reductions}

    def _after(self, op: KernelOp) -> set[Reduce]:
        names = {v.name for v in values_of(op)}
        for index in indices_of(op):
            names |= values_in(index)
        found = set[Reduce]().union(*(self.after[n] for n in names))
        return found | {op} if isinstance(op, Reduce) else found

    def _first(self, op: Reduce) -> Reduce | None:
        """Return the reduction to whose result the terms of a sum are relative."""
        if op.op != "add" or op.result.dtype not in (np.float32, np.float64):
            return None
        difference = self.difference(op)
        if difference is None:
            return None
        x, level = difference.operands
        if not isinstance(x, Value) or not isinstance(level, Value):
            return None
        wanted = "max" if self._made_by(op.operand, exp_p) else "add"
        if self.after[x.name] or set(self.rows.axes) & level.axes:
            return None
        found = (r for r in self.after[level.name] if r.op == wanted and r.operand == x)
        return next(found, None)

    def difference(self, op: Reduce) -> Compute | None:
        """Return the ``x - m`` whose exponentials or squares are summed."""
        made = self._made_by(op.operand, exp_p) or self._made_by(op.operand, mul_p)
        if made is None or len({*made.operands}) != 1:
            return None
        return self._made_by(made.operands[0], sub_p)

    def _made_by(self, x: Operand, primitive: Primitive) -> Compute | None:
        op = self.made.get(x.name) if isinstance(x, Value) else None
        is_it = isinstance(op, Compute) and op.primitive is primitive
        return op if is_it and isinstance(op, Compute) else None

    def is_kept_otherwise(self, schedule: Schedule) -> bool:
        """Tell whether terms of a sum are kept for later: that saves more."""
        terms = {op.operand for op, first in self.kinds.items() if first}
        return any(
            isinstance(x, Value) and x.name in schedule.placements for x in terms
        )


# --- the kernel over blocks -------------------------------------------------------


class _Blocked:
    """The kernel under construction."""

    def __init__(
        self, kernel: Kernel, schedule: Schedule, rows: _Rows, pairs: _Pairs
    ) -> None:
        self.kernel, self.schedule = kernel, schedule
        self.rows, self.pairs = rows, pairs
        self.extent = kernel.extent(rows.inner)
        taken = {a.name for a in kernel.axes}
        is_cut = rows.length < self.extent
        self.outer = next(n for n in NAMES if n not in taken) if is_cut else None
        self.over = (*rows.axes[:-1], *([self.outer] if self.outer else []))
        self.body: list[KernelOp] = []
        self.partial: dict[Reduce, Value] = {}  # the result for a block
        self.count = 0

    def part(self) -> Part:
        """Return the kernel and its schedule."""
        for op in self.kernel.body:
            if isinstance(op, Reduce):
                self.reduce(op)
            else:
                self.body.append(self.moved(op))
        body = needed(self.body)
        kernel = replace(self.kernel, axes=self.axes(), body=body)
        return kernel, self.plan({v.name for v in map(result_of, body) if v})

    def axes(self) -> tuple[Axis, ...]:
        inner = Axis(self.rows.inner, self.rows.length)
        axes: list[Axis] = []
        for a in self.kernel.axes:
            if a.name == inner.name and self.outer:
                axes.append(Axis(self.outer, self.extent // self.rows.length))
            axes.append(inner if a.name == inner.name else a)
        return tuple(axes)

    def plan(self, names: set[str]) -> Schedule:
        """Return the schedule; `names` are those of the values there are."""
        old = self.schedule
        roles, loops = dict(old.roles), list(old.loops)
        if self.outer:
            loops.insert(-1, self.outer)
            roles[self.outer] = Role.SEQUENTIAL
        kept = {v.name: Placement.BLOCK for v in self.partial.values()}
        placements = {n: p for n, p in old.placements.items() if n in names}
        return Schedule(tuple(loops), roles, {**placements, **kept})

    # --- the same operations, with the axis cut in two

    def moved(self, op: KernelOp) -> KernelOp:
        if isinstance(op, Store):
            return replace(op, map=self.map(op.map), value=self.operand(op.value))
        result = self.value(op.result)
        if isinstance(op, Load):
            bounds = tuple(Bound(self.index(b.index), b.extent) for b in op.bounds)
            return replace(op, result=result, map=self.map(op.map), bounds=bounds)
        if isinstance(op, Compute):
            operands = tuple(self.operand(x) for x in op.operands)
            return replace(op, result=result, operands=operands)
        assert isinstance(op, Iota)
        return Iota(result, self.index(op.index))

    def value(self, value: Value) -> Value:
        if self.outer is None or self.rows.inner not in value.axes:
            return value
        return replace(value, axes=value.axes | {self.outer})

    def operand(self, x: Operand) -> Operand:
        return self.value(x) if isinstance(x, Value) else x

    def index(self, index: Affine) -> Affine:
        if self.outer is None:
            return index
        inner = axis(self.outer) * self.rows.length + axis(self.rows.inner)
        return index.substitute({self.rows.inner: inner})

    def map(self, place: Sequence[Affine]) -> tuple[Affine, ...]:
        return tuple(self.index(i) for i in place)

    # --- reductions

    def reduce(self, op: Reduce) -> None:
        first = self.pairs.kinds[op]
        if first is None:
            partial = self.partial[op] = self.over_block(op, self.operand(op.operand))
            self.combine(op, partial)
            return
        difference = self.pairs.difference(op)
        assert difference is not None
        x, level = (self.operand(v) for v in difference.operands)
        assert isinstance(x, Value)
        if first.op == "max":
            self.exponentials(op, x, level, self.partial[first])
        else:
            self.squares(op, x, level, self.partial[first])

    def over_block(self, op: Reduce, operand: Operand) -> Value:
        """Emit the reduction of one block."""
        assert isinstance(operand, Value)
        axes = operand.axes - {self.rows.inner}
        value = Value(self.name(), axes, op.result.dtype)
        over = (self.rows.inner,)
        self.body.append(replace(op, result=value, axes=over, operand=operand))
        return value

    def combine(self, op: Reduce, parts: Value) -> None:
        self.body.append(Reduce(op.result, op.op, self.over, parts))

    def exponentials(self, op: Reduce, x: Value, level: Operand, top: Value) -> None:
        """Emit a sum of exp(x - level); `top` is the maximum of x in a block."""
        # Nothing can be measured from an infinite maximum. Then exp(x) itself is
        # summed, which is 0 or inf, and scaled by exp of that maximum.
        is_infinite = self.compute(isinf_p, top)
        start = self.compute(select_p, is_infinite, self.number(0.0, x), top)
        terms = self.compute(exp_p, self.compute(sub_p, x, start))
        partial = self.partial[op] = self.over_block(op, terms)
        scale = self.compute(exp_p, self.compute(sub_p, top, level))
        self.combine(op, self.compute(mul_p, partial, scale))

    def squares(self, op: Reduce, x: Value, level: Operand, total: Value) -> None:
        """Emit a sum of (x - level)²; `total` is the sum of x in a block."""
        count = self.number(float(self.rows.length), x)
        mean = self.compute(div_p, total, count)
        centred = self.compute(sub_p, x, mean)
        partial = self.partial[op] = self.over_block(
            op, self.compute(mul_p, centred, centred)
        )
        # From an infinite mean all squares of the block are infinite, or NaN, already.
        apart = self.compute(
            select_p,
            self.compute(isinf_p, mean),
            self.number(0.0, x),
            self.compute(sub_p, mean, level),
        )
        between = self.compute(mul_p, self.compute(mul_p, apart, apart), count)
        self.combine(op, self.compute(add_p, partial, between))

    def compute(self, primitive: Primitive, *operands: Operand) -> Value:
        axes = frozenset[str]().union(
            *(x.axes for x in operands if isinstance(x, Value))
        )
        like = Value(self.name(), axes, np.dtype(np.float32))
        op = Compute(like, primitive, operands, {})
        result = replace(like, dtype=computed_dtype(op))
        self.body.append(replace(op, result=result))
        return result

    def number(self, value: float, like: Value) -> Literal:
        return Literal(value, like.dtype)

    def name(self) -> str:
        self.count += 1
        return f"u{self.count}"
