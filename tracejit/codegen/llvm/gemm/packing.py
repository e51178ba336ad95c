"""Copies of A and B that the micro-kernel reads from one end to the other.

A block of B becomes strips of columns, each row of a strip contiguous and filled up to
whole vectors. A block of A keeps its contiguous axis, with a row length that does not
fall on the same lines of the cache again and again, or becomes panels of few rows.
"""

from collections.abc import Callable, Iterable

import numpy as np

from ..indices import Index, multiply, scaled
from ..memory import lanes_mask
from ..shuffles import transposed
from ..target import Target
from ..text import Emitter, constant, vec
from ..values import register_type
from .problem import Pair

Pieces = Callable[[Callable[[Index, int], None]], None]


def subtract(em: Emitter, a: Index, b: Index) -> Index:
    """Return a - b, folded where both are known."""
    if isinstance(a, int) and isinstance(b, int):
        return a - b
    return a if b == 0 else em.op(f"sub nsw i64 {a}, {b}")


class _Copies:
    """What copies of one dtype share."""

    def __init__(self, em: Emitter, dtype: np.dtype, target: Target) -> None:
        self.em = em
        self.element = register_type(dtype)
        self.size = dtype.itemsize
        self.lanes = target.lanes(8 * self.size)
        self.type = vec(self.element, self.lanes)
        self.zero = constant(self.element, 0.0, self.lanes)

    def _at(self, pointer: str, offset: Index) -> str:
        return self.em.gep(self.element, pointer, offset)

    def _row_at(self, pointer: str, offset: Index) -> str:
        return self.em.row(self.element, pointer, offset)

    def _load(self, at: str, mask: str | None) -> str:
        if mask is None:
            return self.em.load(self.type, at, self.size)
        return self.em.masked_load(self.type, at, mask, self.size, self.zero)


class PackA(_Copies):
    """Copies a block of A.

    Parameters
    ----------
    em, dtype, target
    strides : tuple of int
        Of A along (i, k).
    packed : tuple of int
        Of the copy.
    """

    def __init__(
        self,
        em: Emitter,
        dtype: np.dtype,
        target: Target,
        strides: Pair,
        packed: Pair,
    ) -> None:
        super().__init__(em, dtype, target)
        self.strides, self.packed = strides, packed

    def emit(self, source: str, to: str, rows: Index, depth: int) -> None:
        """Write the copy of `rows` rows and `depth` columns."""
        em = self.em
        along_rows = self.packed[0] == 1
        outer: Index = depth if along_rows else rows
        inner: Index = rows if along_rows else depth
        axis = 1 if along_rows else 0
        with em.loop(0, outer, 1) as loop:
            here = self._row_at(source, multiply(em, loop.index, self.strides[axis]))
            there = self._row_at(to, multiply(em, loop.index, self.packed[axis]))
            self._row(here, there, inner, self.strides[1 - axis])
            loop.yield_([])

    def _row(self, source: str, to: str, count: Index, stride: int) -> None:
        """Copy `count` elements to a contiguous row."""
        if stride != 1:
            self._elements(source, to, count, stride)
            return
        em, rest = self.em, _rest(self.em, count, self.lanes)
        whole = subtract(em, count, rest)
        with em.loop(0, whole, self.lanes) as loop:
            value = self._load(self._at(source, loop.index), None)
            em.store(self.type, value, self._at(to, loop.index), self.size)
            loop.yield_([])
        if isinstance(rest, int):
            if rest:
                mask = lanes_mask(self.lanes, rest)
                self._masked(self._at(source, whole), self._at(to, whole), mask)
            return
        with em.if_(em.op(f"icmp ne i64 {rest}, 0")):
            mask = em.lane_mask(self.lanes, rest)
            self._masked(self._at(source, whole), self._at(to, whole), mask)

    def _masked(self, source: str, to: str, mask: str) -> None:
        value = self._load(source, mask)
        self.em.masked_store(self.type, value, to, mask, self.size)

    def _elements(self, source: str, to: str, count: Index, stride: int) -> None:
        with self.em.loop(0, count, 1) as loop:
            at = self._at(source, multiply(self.em, loop.index, stride))
            value = self.em.load(self.element, at, self.size)
            self.em.store(self.element, value, self._at(to, loop.index), self.size)
            loop.yield_([])


class PackPanels(_Copies):
    """Copies a block of A, whose columns are contiguous, in panels of few rows.

    A panel has its columns one after the other: what a tile reads lies together.

    Parameters
    ----------
    em, dtype, target
    step : int
        From one column of A to the next.
    height : int
        Rows of a panel.
    apart : int
        Elements between panels, for each row. More than there are columns, so that the
        places that are written for one column share no set of the cache.
    """

    def __init__(
        self,
        em: Emitter,
        dtype: np.dtype,
        target: Target,
        step: int,
        height: int,
        apart: int,
    ) -> None:
        super().__init__(em, dtype, target)
        self.step, self.height, self.apart = step, height, apart

    def emit(self, source: str, to: str, depth: int, panels: Pieces) -> None:
        """Write the copy of `depth` columns of the rows that `panels` runs over."""
        em = self.em
        with em.loop(0, depth, 1) as loop:
            column = self._row_at(source, multiply(em, loop.index, self.step))
            to_column = self._row_at(to, multiply(em, loop.index, self.height))

            def panel(i: Index, rows: int) -> None:
                there = self._at(to_column, multiply(em, i, self.apart))
                self._part(self._at(column, i), there, rows)

            panels(panel)
            loop.yield_([])

    def _part(self, source: str, to: str, rows: int) -> None:
        """Copy a panel's part of a column.

        Whole vectors are written: what is too much the next column replaces.
        """
        for first in range(0, rows, self.lanes):
            mask = lanes_mask(self.lanes, min(rows - first, self.lanes))
            value = self._load(self._at(source, first), mask)
            self.em.store(self.type, value, self._at(to, first), self.size)


def _rest(em: Emitter, count: Index, lanes: int) -> Index:
    if isinstance(count, int):
        return count % lanes
    return em.op(f"and i64 {count}, {lanes - 1}")


class PackB(_Copies):
    """Copies a block of B into strips.

    Parameters
    ----------
    em, dtype, target
    strides : tuple of int
        Of B along (k, j).
    width : int
        Columns of a strip.
    square : str
        The symbol of a `shared_square`.
    """

    def __init__(
        self,
        em: Emitter,
        dtype: np.dtype,
        target: Target,
        strides: Pair,
        width: int,
        square: str,
    ) -> None:
        super().__init__(em, dtype, target)
        self.strides, self.width, self.square = strides, width, square

    def emit(self, source: str, to: str, depth: int, strips: Pieces) -> None:
        """Write the copy of `depth` rows of the strips that `strips` runs over."""

        def strip(j: Index, columns: int) -> None:
            here = self._row_at(source, multiply(self.em, j, self.strides[1]))
            there = self._row_at(to, multiply(self.em, j, depth))
            if self.strides[1] == 1:
                self._rows(here, there, depth, columns)
            elif self.strides[0] == 1:
                self._transposed(here, there, depth, columns)
            else:
                self._scattered(here, there, depth, columns)

        strips(strip)

    def _vectors(self, columns: int) -> Iterable[tuple[int, int]]:
        """Yield the first column of each vector, and how many columns it has."""
        for first in range(0, columns, self.lanes):
            yield first, min(self.lanes, columns - first)

    def _rows(self, source: str, to: str, depth: int, columns: int) -> None:
        em = self.em
        with em.loop(0, depth, 1) as loop:
            here = self._row_at(source, multiply(em, loop.index, self.strides[0]))
            there = self._row_at(to, multiply(em, loop.index, self.width))
            for first, count in self._vectors(columns):
                mask = lanes_mask(self.lanes, count) if count < self.lanes else None
                value = self._load(self._at(here, first), mask)
                em.store(self.type, value, self._at(there, first), self.size)
            loop.yield_([])

    def _transposed(self, source: str, to: str, depth: int, columns: int) -> None:
        """Copy squares of lanes x lanes through registers, k being contiguous."""
        whole = depth // self.lanes * self.lanes
        with self.em.loop(0, whole, self.lanes) as loop:
            self._squares(source, to, loop.index, self.lanes, columns)
            loop.yield_([])
        if depth > whole:
            self._squares(source, to, whole, depth - whole, columns)

    def _squares(self, source: str, to: str, k: Index, rows: int, columns: int) -> None:
        here = self._row_at(source, k)
        there = self._row_at(to, multiply(self.em, k, self.width))
        for first, count in self._vectors(columns):
            values = [
                ("ptr", self._at(here, first * self.strides[1])),
                ("ptr", self._at(there, first)),
                ("i64", str(rows)),
                ("i64", str(count)),
                ("i64", str(self.strides[1])),
                ("i64", str(self.width)),
            ]
            self.em.call("void", self.square, values)

    def _scattered(self, source: str, to: str, depth: int, columns: int) -> None:
        """Copy element by element."""
        em, (by_row, by_column) = self.em, self.strides
        with em.loop(0, depth, 1) as loop:
            row = self._row_at(source, multiply(em, loop.index, by_row))
            there = self._row_at(to, multiply(em, loop.index, self.width))
            last = (columns - 1) // self.lanes * self.lanes
            em.store(self.type, self.zero, self._at(there, last), self.size)
            with em.loop(0, columns, 1) as inner:
                at = self._at(row, multiply(em, inner.index, by_column))
                value = em.load(self.element, at, self.size)
                em.store(self.element, value, self._at(there, inner.index), self.size)
                inner.yield_([])
            loop.yield_([])


def shared_square(
    dtype: np.dtype, target: Target, new_emitter: Callable[[], Emitter]
) -> str:
    """Return the symbol of a `Transposition`, one for all products of the module.

    ``i64 step`` and ``i64 width`` are its last arguments.
    """
    lanes = target.lanes(8 * dtype.itemsize)
    symbol = f"tracejit_square_{register_type(dtype)}x{lanes}"
    em = new_emitter()
    if symbol not in em.globals_:
        square = Transposition(em, dtype, target, "%step", "%width")
        em.globals_[symbol] = square.emit(symbol, ("%step", "%width"))
    return symbol


class Transposition(_Copies):
    """Writes ``void (ptr from, ptr to, i64 rows, i64 columns)``: a square, transposed.

    Reads `columns` (at least one) runs of `rows` contiguous elements, and writes `rows`
    rows of whole vectors: columns beyond `columns` are copies of the last. What follows
    them may be another thread's.

    Parameters
    ----------
    em, dtype, target
    step : int or str
        Elements between the runs.
    width : int or str
        Elements between the rows that are written.
    """

    def __init__(
        self, em: Emitter, dtype: np.dtype, target: Target, step: Index, width: Index
    ) -> None:
        super().__init__(em, dtype, target)
        self.step, self.width = step, width
        self.source, self.alignment = self.element, self.size  # what runs are read as

    def emit(self, symbol: str, sizes: tuple[str, ...] = ()) -> str:
        """Return the function, with more parameters for `sizes` if there are any."""
        em = self.em
        last = em.op("sub nsw i64 %columns, 1")
        runs = ["%from"]
        for j in range(1, self.lanes):
            column = em.intrinsic("llvm.smin", "i64", str(j), last)
            at = scaled(em, column, self.step)
            runs.append(em.gep(self.source, "%from", at))
        whole = em.op(f"icmp eq i64 %rows, {self.lanes}")
        columns = em.if_else(
            whole,
            [self.type] * self.lanes,
            lambda: [em.load(self.type, run, self.alignment) for run in runs],
            lambda: self._partial(runs),
        )
        for r, value in enumerate(transposed(em, self.element, columns)):
            with em.if_(em.op(f"icmp sgt i64 %rows, {r}")):
                to = self._at("%to", scaled(em, r, self.width))
                em.store(self.type, value, to, self.size)
        em.ret()
        parameters = ["ptr %from", "ptr %to", "i64 %rows", "i64 %columns"]
        return em.function(
            symbol,
            [*parameters, *(f"i64 {name}" for name in sizes)],
            linkage="internal",
            attributes="nounwind noinline",
        )

    def _partial(self, runs: list[str]) -> list[str]:
        mask = self.em.lane_mask(self.lanes, "%rows")
        align, zero = self.alignment, self.zero
        return [self.em.masked_load(self.type, run, mask, align, zero) for run in runs]
