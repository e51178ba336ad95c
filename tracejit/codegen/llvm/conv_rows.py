"""Copies between arrays and the packed blocks of convolutions, row by row.

A row is written whole, in vectors: elements before and after those that exist are zero,
by masks that are known when the code is emitted. Rows that do not lie along memory are
gathered or scattered.
"""

from collections.abc import Sequence

import numpy as np

from .conv_tile import chunks
from .indices import Index, add, multiply
from .memory import lanes_mask
from .shuffles import transposed
from .target import Target
from .text import Emitter, constant, suffix, vec
from .values import register_type

_UNROLLED = 4  # whole vectors from which a row is copied by a loop


class Rows:
    """Writes copies of rows of one dtype.

    Parameters
    ----------
    em : Emitter
    dtype : numpy.dtype
    target : Target
    """

    def __init__(self, em: Emitter, dtype: np.dtype, target: Target) -> None:
        self.em = em
        self.element, self.size = register_type(dtype), dtype.itemsize
        self.lanes = target.lanes(8 * self.size)
        self.type = vec(self.element, self.lanes)
        self.zero = constant(self.element, 0.0, self.lanes)

    def at(self, pointer: str, offset: Index) -> str:
        """Return the address of an element."""
        return self.em.gep(self.element, pointer, offset)

    def copy(
        self,
        source: str,
        step: int,
        to: str,
        to_step: int,
        count: int,
        inside: tuple[int, int],
    ) -> None:
        """Write `count` elements; those outside of the range `inside` are zero."""
        low, high = inside
        lanes = self.lanes
        first, last = -(-low // lanes), min(high, count) // lanes
        if last - first <= _UNROLLED:
            first = last = 0
        for start in range(0, count, lanes):
            if start == first * lanes and last > first:
                with self.em.loop(first * lanes, last * lanes, lanes) as loop:
                    self._move(source, step, to, to_step, loop.index, (0, lanes), lanes)
                    loop.yield_([])
            if first * lanes <= start < last * lanes:
                continue
            there = min(max(low - start, 0), lanes), min(max(high - start, 0), lanes)
            written = min(lanes, count - start)
            self._move(source, step, to, to_step, start, there, written)

    def clear(self, to: str, count: int) -> None:
        """Write `count` zeros, one after another."""
        whole = count // self.lanes * self.lanes
        if whole:
            with self.em.loop(0, whole, self.lanes) as loop:
                at = self.at(to, loop.index)
                self.em.store(self.type, self.zero, at, self.size)
                loop.yield_([])
        if count > whole:
            self._store(self.zero, self.at(to, whole), 1, count - whole)

    def _move(
        self,
        source: str,
        step: int,
        to: str,
        to_step: int,
        start: Index,
        inside: tuple[int, int],
        written: int,
    ) -> None:
        value = self.zero
        inside = inside[0], min(inside[1], written)
        if inside[1] > inside[0]:
            at = self.at(source, multiply(self.em, start, step))
            value = self.load(at, step, inside)
        there = self.at(to, multiply(self.em, start, to_step))
        self._store(value, there, to_step, written)

    def load(self, at: str, step: int, inside: tuple[int, int]) -> str:
        """Load a vector of elements `step` apart: zeros outside of `inside`."""
        em, lanes = self.em, self.lanes
        low, high = inside
        bits = (f"i1 {'true' if low <= k < high else 'false'}" for k in range(lanes))
        mask = f"<{', '.join(bits)}>"
        if step == 1:
            if (low, high) == (0, lanes):
                return em.load(self.type, at, self.size)
            return em.masked_load(self.type, at, mask, self.size, self.zero)
        if step == 2:
            return self._every_second(at, low, high)
        arguments = [
            (vec("ptr", lanes), self._addresses(at, step)),
            ("i32", str(self.size)),
            (vec("i1", lanes), mask),
            (self.type, self.zero),
        ]
        name = f"llvm.masked.gather.{suffix(self.type)}.v{lanes}p0"
        return em.extern(self.type, name, arguments)

    def _every_second(self, at: str, low: int, high: int) -> str:
        """Load elements 0, 2, ... of two vectors, of which the second starts earlier by
        one so as not to read past the last element.
        """
        em, lanes = self.em, self.lanes
        parts, order = [], []
        for k in range(lanes):
            order.append(2 * k if 2 * k < lanes else lanes + 2 * k - (lanes - 1))
        for start in (0, lanes - 1):
            wanted = {2 * k - start for k in range(low, high)}
            there = self.at(at, start)
            if (low, high) == (0, lanes):
                parts.append(em.load(self.type, there, self.size))
                continue
            bits = (f"i1 {'true' if k in wanted else 'false'}" for k in range(lanes))
            mask = f"<{', '.join(bits)}>"
            parts.append(em.masked_load(self.type, there, mask, self.size, self.zero))
        return em.shuffle(self.type, parts[0], parts[1], order)

    def _store(self, value: str, at: str, step: int, count: int) -> None:
        em, lanes = self.em, self.lanes
        mask = lanes_mask(lanes, count)
        if step == 1:
            if count == lanes:
                em.store(self.type, value, at, self.size)
            else:
                em.masked_store(self.type, value, at, mask, self.size)
            return
        arguments = [
            (self.type, value),
            (vec("ptr", lanes), self._addresses(at, step)),
            ("i32", str(self.size)),
            (vec("i1", lanes), mask),
        ]
        em.extern(
            "void", f"llvm.masked.scatter.{suffix(self.type)}.v{lanes}p0", arguments
        )

    def _addresses(self, at: str, step: int) -> str:
        along = ", ".join(f"i64 {k * step}" for k in range(self.lanes))
        type_ = vec("i64", self.lanes)
        return self.em.op(f"getelementptr {self.element}, ptr {at}, {type_} <{along}>")

    # Columns: rows of the source become columns of what is written

    def turn(
        self,
        source: str,
        strides: tuple[int, int],
        to: str,
        row: int,
        shape: Sequence[int],
        is_filled: bool = True,
    ) -> None:
        """Write ``to[j*row + i] = source[i*strides[0] + j*strides[1]]``.

        `shape` is (rows i, columns j) of the source; if what is written `is_filled`,
        `row` is at least the rows, filled up to whole vectors.
        """
        rows, columns = shape
        if strides[0] == 1 or strides[1] not in (1, 2):  # row by row that is written
            with self.em.loop(0, columns, 1) as loop:
                here = self.at(source, multiply(self.em, loop.index, strides[1]))
                there = self.at(to, multiply(self.em, loop.index, row))
                self.copy(here, strides[0], there, 1, rows, (0, rows))
                loop.yield_([])
            return

        def lines(i: Index, height: int) -> None:
            here = self.at(source, multiply(self.em, i, strides[0]))
            there = self.at(to, i)

            def square(j: Index, width: int) -> None:
                shape = height, width
                self._square(here, there, (*strides, row), j, shape, is_filled)

            chunks(self.em, columns, self.lanes, square)

        chunks(self.em, rows, self.lanes, lines)

    def _square(
        self,
        source: str,
        to: str,
        strides: tuple[int, int, int],
        j: Index,
        shape: tuple[int, int],
        is_filled: bool,
    ) -> None:
        (step, by, row), (height, width) = strides, shape
        first, lines = multiply(self.em, j, by), []
        for i in range(self.lanes):
            if i >= height:
                lines.append(self.zero)
                continue
            at = self.at(source, add(self.em, first, i * step))
            lines.append(self.load(at, by, (0, width)))
        turned = transposed(self.em, self.element, lines)[:width]
        base = multiply(self.em, j, row)
        for k, value in enumerate(turned):
            at = self.at(to, add(self.em, base, k * row))
            self._store(value, at, 1, self.lanes if is_filled else height)
