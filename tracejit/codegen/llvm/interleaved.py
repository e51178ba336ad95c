"""Stores of several values whose elements alternate in memory, as whole vectors.

The parts of complex numbers, and arrays that are stacked along a last axis, are stored
a few elements apart each. Where a kernel stores all of what lies between, their vectors
are woven into vectors that lie in memory as they are:

    store y[2 i] = a; store y[2 i + 1] = b   →   store y[2 i ...] = a0 b0 a1 b1 ...
"""

from collections.abc import Sequence

from ...kernels.kernel import KernelOp, Store
from .shuffles import woven
from .strips import StripNest
from .text import vec
from .values import memory_type, narrow

_MOST = 4  # values that are woven together


class WeavingNest(StripNest):
    """A nest that stores what alternates in memory together."""

    def _straight(self, ops: Sequence[KernelOp]) -> None:
        groups = self._woven(ops)
        rest = [op for op in ops if not any(op in group for group in groups)]
        super()._straight(rest)
        for unit in range(self.block.units if groups and self.block else 0):
            for group in groups:
                if self._mask(unit) is None:
                    self._store_together(group, unit)
                    continue
                for op in group:
                    self._operation(op, unit)

    def _woven(self, ops: Sequence[KernelOp]) -> list[tuple[Store, ...]]:
        """Return stores of which each element of memory is one of one of them."""
        found: dict[tuple[object, int], dict[int, Store]] = {}
        for op in ops:
            if not isinstance(op, Store) or self.block is None:
                continue
            access = self.access(op)
            step = access.linear.get(self.axis or "", 0)
            if 2 <= step <= _MOST and not access.dynamic:
                place = access.buffer, tuple(sorted(access.linear.items()))
                found.setdefault((place, step), {})[access.constant] = op
        groups = []
        for (_, step), stores in found.items():
            first = min(stores)
            if sorted(stores) == list(range(first, first + step)):
                groups.append(tuple(stores[first + k] for k in range(step)))
        return groups

    def _store_together(self, group: Sequence[Store], unit: int) -> None:
        em, access = self.em, self.access(group[0])
        cell = memory_type(access.dtype)
        place = self._place(group[0], access, unit, True)
        values = [
            narrow(
                em, access.dtype, self._operand(op.value, unit, self.lanes), self.lanes
            )
            for op in group
        ]
        for k, value in enumerate(woven(em, cell, values, self.lanes)):
            at = em.gep(cell, place.pointer, k * self.lanes)
            em.store(vec(cell, self.lanes), value, at, access.dtype.itemsize)
