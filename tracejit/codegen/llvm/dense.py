"""Rows of few columns, one after another in memory, as long rows.

Vectors along a short axis are mostly empty: of three columns, say the coordinates of
points or the colours of pixels. Where rows lie dense, 64 of them are one row of whole
vectors. What varies along columns alone is read from copies of it, one for each of the
64 rows:

    for i < n: for j < 3: y[i, j] = x[i, j] - m[j]

    m64[k] = m[k mod 3] for k < 192
    for i < n by 64: for k < 192: y[3 i + k] = x[3 i + k] - m64[k]
"""

from collections.abc import Callable, Sequence

from ...kernels.kernel import Compute, KernelOp, Load, Reduce, Store
from ...kernels.tree import LANES
from .gathers import GatherNest
from .indices import Access, Index, add
from .memory import lanes_mask
from .nest import Block
from .reduce import State
from .values import memory_type

# Columns of rows that are joined: copies of what varies along them stay in the cache.
_MOST_COLUMNS = 64


class DenseNest(GatherNest):
    """A nest that runs through several short rows at a time where it can."""

    def _rows(
        self,
        depth: int,
        ops: Sequence[KernelOp],
        states: Sequence[State],
        start: Index,
        stop: Index,
    ) -> None:
        columns = self._short_columns(depth, ops)
        if states or not columns:
            super()._rows(depth, ops, states, start, stop)
            return
        middle = self._whole(start, stop)
        if middle != start:
            pointers = dict(self.pointers)
            self.repeat_rows(ops, self.loops[depth + 1], columns)
            with self._carrying(start, middle, LANES, ()) as row:
                self._long_row(depth, ops, row, columns)
            self.pointers = pointers
        if middle != stop:
            super()._rows(depth, ops, states, middle, stop)

    def _short_columns(self, depth: int, ops: Sequence[KernelOp]) -> int:
        """Return how many columns rows have that may be joined; 0 if they may not."""
        if depth + 2 != len(self.loops) or self.loops[depth + 1] != self.axis:
            return 0
        rows, axis = self.loops[depth:]
        columns = self.extents[axis]
        if columns > _MOST_COLUMNS or columns % self.lanes == 0:
            return 0
        if any(isinstance(op, Reduce) for op in ops):
            return 0
        return columns if self.is_dense(depth, ops, rows, axis, columns) else 0

    def is_dense(
        self, depth: int, ops: Sequence[KernelOp], rows: str, axis: str, columns: int
    ) -> bool:
        """Tell whether all that is read and written is rows without gaps, or is one.

        A row is repeated once, before all loops.
        """
        known = {(columns, 1), (0, 0)} | ({(0, 1)} if depth == 0 else set())
        for op in ops:
            if isinstance(op, Compute | Reduce):
                continue
            if not isinstance(op, Load | Store):
                return False
            access = self.access(op)
            steps = (access.linear.get(rows, 0), access.linear.get(axis, 0))
            is_bounded = isinstance(op, Load) and bool(op.bounds)
            if is_bounded or access.dynamic or access.checked or steps not in known:
                return False
            if isinstance(op, Store) and steps != (columns, 1):
                return False
        return True

    def _whole(self, start: Index, stop: Index) -> Index:
        """Return where rows end that are joined."""
        if isinstance(start, int) and isinstance(stop, int):
            return start + (stop - start) // LANES * LANES
        count = self.em.op(f"sub i64 {stop}, {start}")
        return add(self.em, start, self.em.op(f"and i64 {count}, {-LANES}"))

    def _long_row(
        self, depth: int, ops: Sequence[KernelOp], row: str, columns: int
    ) -> None:
        """Run through some rows as if they were one."""
        rows, pointers = self.loops[depth], dict(self.pointers)
        self.index[rows] = row
        self.advance(ops, rows, row)
        self.across(depth + 1, 0, LANES * columns, ops, lambda _: self.segment(ops))
        del self.index[rows]
        self.pointers = pointers

    def repeat_rows(self, ops: Sequence[KernelOp], axis: str, columns: int) -> None:
        """Have loads that vary along columns alone read copies, a row after a row."""
        loads = (self.access(op) for op in ops if isinstance(op, Load))
        rows = {self._key(x): x for x in loads if x.linear == {axis: 1}}
        for number, access in enumerate(rows.values()):
            self._repeat_row(f"repeated{number}", access, columns)

    def _repeat_row(self, name: str, access: Access, columns: int) -> None:
        em, cell = self.em, memory_type(access.dtype)
        size = access.dtype.itemsize
        copies = self.scratch(name, LANES * columns * size)
        source = self._pointer(access)
        with em.loop(0, LANES * columns, 1) as loop:
            column = em.op(f"urem i64 {loop.index}, {columns}")
            value = em.load(cell, em.gep(cell, source, column), size)
            em.store(cell, value, em.gep(cell, copies, loop.index), size)
            loop.yield_([])
        self.pointers[self._key(access)] = copies

    def across(
        self,
        depth: int,
        start: Index,
        columns: int,
        ops: Sequence[KernelOp],
        body: Callable[[Index], None],
    ) -> None:
        """Run `body` for each vector of a chunk of columns, with pointers advanced."""
        axis = self.loops[depth]

        def vector(column: Index, mask: str | None) -> None:
            env, pointers, outer = dict(self.env), dict(self.pointers), self.block
            self.block = Block(1, mask)
            self.index[axis] = add(self.em, start, column)
            self.advance(ops, axis, self.index[axis])
            body(column)
            del self.index[axis]
            self.env, self.pointers, self.block = env, pointers, outer

        full = columns // self.lanes * self.lanes
        if full:
            with self._carrying(0, full, self.lanes, ()) as column:
                vector(column, None)
        if columns > full:
            vector(full, lanes_mask(self.lanes, columns - full))
