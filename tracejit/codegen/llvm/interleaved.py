"""Loads and stores of values whose elements alternate in memory, as whole vectors.

The parts of complex numbers, arrays that are stacked along a last axis, and the columns
of short rows lie a few elements apart each. Where a kernel reads or stores all of what
lies between, it does so by vectors that lie in memory as they are:

    store y[2 i] = a; store y[2 i + 1] = b   →   store y[2 i ...] = a0 b0 a1 b1 ...
    a = load x[2 i]; b = load x[2 i + 1]     →   load x[2 i ...] = a0 b0 a1 b1 ...

Where the index falls, the vectors lie before the first element, and lanes are turned.
"""

from collections.abc import Sequence
from typing import TypeGuard, TypeVar

from ...kernels.kernel import KernelOp, Load, Store
from .indices import Access
from .shuffles import unwoven, woven
from .strips import StripNest
from .text import vec
from .values import memory_type, narrow, widen

_MOST = 4  # values that are woven together
_Op = TypeVar("_Op", Load, Store)


class WeavingNest(StripNest):
    """A nest that reads and stores what alternates in memory together."""

    def _straight(self, ops: Sequence[KernelOp]) -> None:
        loads = self._alternating([op for op in ops if self._may_join(op)])
        stores = self._alternating([op for op in ops if isinstance(op, Store)])
        together = {op for group in (*loads, *stores) for op in group}
        units = range(self.block.units if together and self.block else 0)
        self.memory.begin()
        for unit in units:
            for group in loads:
                if self._mask(unit) is None:
                    self._load_together(group, unit)
                    continue
                for op in group:
                    self._operation(op, unit)
        super()._straight([op for op in ops if op not in together])
        for unit in units:
            for stored in stores:
                if self._mask(unit) is None:
                    self._store_together(stored, unit)
                    continue
                for store in stored:
                    self._operation(store, unit)

    def _alternating(self, ops: Sequence[_Op]) -> list[tuple[_Op, ...]]:
        """Return accesses of which each element of memory is one of one of them."""
        found: dict[tuple[object, int], dict[int, _Op]] = {}
        for op in ops:
            access = self.access(op)
            step = access.linear.get(self.axis or "", 0)
            if self.block and 2 <= abs(step) <= _MOST and not access.dynamic:
                place = access.buffer, tuple(sorted(access.linear.items()))
                found.setdefault((place, abs(step)), {})[access.constant] = op
        groups = []
        for (_, step), accesses in found.items():
            for first in sorted(accesses):
                run = [accesses.get(first + k) for k in range(step)]
                whole = tuple(op for op in run if op is not None)
                if len(whole) == step:
                    groups.append(whole)
                    for k in range(step):
                        del accesses[first + k]
        return groups

    def _may_join(self, op: KernelOp) -> TypeGuard[Load]:
        """Tell whether an operation is a load without bounds and checks."""
        return isinstance(op, Load) and not op.bounds and not op.check

    def _load_together(self, group: Sequence[Load], unit: int) -> None:
        em, access = self.em, self.access(group[0])
        cell, size = memory_type(access.dtype), access.dtype.itemsize
        starts = self._starts(group, access, unit)
        vectors = [em.load(vec(cell, self.lanes), at, size) for at in starts]
        values = unwoven(em, cell, vectors, self.lanes)
        for op, value in zip(group, values, strict=True):
            value = self._in_order(access, value)
            self._set(op.result, unit, widen(em, access.dtype, value, self.lanes))

    def _store_together(self, group: Sequence[Store], unit: int) -> None:
        em, access = self.em, self.access(group[0])
        cell = memory_type(access.dtype)
        values = [
            self._in_order(
                access,
                narrow(
                    em,
                    access.dtype,
                    self._operand(op.value, unit, self.lanes),
                    self.lanes,
                ),
            )
            for op in group
        ]
        starts = self._starts(group, access, unit)
        for at, value in zip(starts, woven(em, cell, values, self.lanes), strict=True):
            em.store(vec(cell, self.lanes), value, at, access.dtype.itemsize)

    def _starts(self, group: Sequence[_Op], access: Access, unit: int) -> list[str]:
        """Return the addresses of the vectors that a group reads or stores."""
        em, cell, count = self.em, memory_type(access.dtype), len(group)
        pointer = self._place(group[0], access, unit, True).pointer
        lowest = 0 if self._rises(access) else -count * (self.lanes - 1)
        return [em.gep(cell, pointer, lowest + k * self.lanes) for k in range(count)]

    def _rises(self, access: Access) -> bool:
        return access.linear.get(self.axis or "", 0) > 0

    def _in_order(self, access: Access, value: str) -> str:
        """Return a vector of memory in the order of its index, or the other way."""
        if self._rises(access) or self.lanes == 1:
            return value
        type_ = vec(memory_type(access.dtype), self.lanes)
        return self.em.shuffle(type_, value, "poison", range(self.lanes)[::-1])
