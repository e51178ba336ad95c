"""Transposed arrays, read by strips of whole cache lines and turned in registers.

A loop nest whose vectors run along one axis and whose loads lie in memory along the
loop outside of it would gather each vector from as many cache lines:

    for i:  for j in vectors:  y[i, j] = f(x[j, i])

Instead, what a cache line of x has for some turns of the outer loop is read at once,
square by square, transposed by shuffles, and kept in a strip of memory with a row for
each of those turns, which the inner loop reads as it reads everything else:

    for i by 16:  strip[0:16, :] = x[:, i:i+16].T
                  for k < 16:  for j in vectors:  y[i + k, j] = f(strip[k, j])

A kernel that only copies has the result in place of the strip. The last strip reaches
back over turns that are done rather than be short.
"""

from collections.abc import Sequence
from dataclasses import replace

from ...kernels.kernel import Buffer, Compute, Iota, Kernel, KernelOp, Load, Store
from ...kernels.maps import AxisIndex, axis
from ...kernels.schedule import Schedule
from .indices import Index, add, multiply
from .memory import MOST_APART
from .nest import Nest
from .reduce import State
from .shuffles import transposed
from .target import CACHE_LINE
from .text import vec
from .values import memory_type

_STRIP_BYTES = 1 << 20  # of all strips of a loop: a core's own cache has room
_SQUARE = 8  # elements along the side of a square that registers transpose


class StripNest(Nest):
    """A nest that transposes what lies along the loop outside of the vectors."""

    def _rows(
        self,
        depth: int,
        ops: Sequence[KernelOp],
        states: Sequence[State],
        start: Index,
        stop: Index,
    ) -> None:
        turned = self._turned(depth, ops)
        if not turned:
            super()._rows(depth, ops, states, start, stop)
            return
        em, outer = self.em, self.loops[depth]
        extent = self.extents[outer]
        width = CACHE_LINE // min(self.access(op).dtype.itemsize for op in turned)
        to = self._copied_to(ops)
        with self._carrying(start, stop, width, () if to else states) as first:
            at = em.intrinsic("llvm.smin", "i64", first, str(extent - width))
            if to is not None:
                access = self.access(to)
                place = self._moved(access, self._pointer(access), outer, at)
                self._transpose(turned[0], at, width, place, access.linear[outer])
                return
            inner = [
                self._in_strip(op, at, width) if op in turned else op for op in ops
            ]
            after = str(add(em, first, width))
            after = em.intrinsic("llvm.smin", "i64", after, str(stop))
            super()._rows(depth, inner, states, first, after)

    def _turned(self, depth: int, ops: Sequence[KernelOp]) -> list[Load]:
        """Return the loads for which strips are made."""
        if self.loops[depth + 1 :] != (self.axis,):
            return []
        extent, length = self.extents[self.loops[depth]], self.extents[self.loops[-1]]
        found = [op for op in ops if isinstance(op, Load) and self._is_turned(op)]
        sizes = [self.access(op).dtype.itemsize for op in found]
        width = CACHE_LINE // min(sizes, default=CACHE_LINE)
        is_small = self._copied_to(ops) or sum(sizes) * width * length <= _STRIP_BYTES
        return found if extent >= width and length >= _SQUARE and is_small else []

    def _is_turned(self, op: Load) -> bool:
        """Tell whether a load runs along the outer loop, far apart in a vector."""
        if op.check or op.bounds or op.buffer not in self.parameters:
            return False
        access, (outer, inner) = self.access(op), self.loops[-2:]
        is_far = abs(access.linear.get(inner, 0)) > MOST_APART
        is_turned = is_far and abs(access.linear.get(outer, 0)) == 1
        return is_turned and not access.dynamic

    def _copied_to(self, ops: Sequence[KernelOp]) -> Store | None:
        """Return the store of a kernel that copies and does nothing else."""
        if [type(op) for op in ops] != [Load, Store]:
            return None
        load, store = ops
        assert isinstance(load, Load)
        assert isinstance(store, Store)
        access, (outer, inner) = self.access(store), self.loops[-2:]
        is_row = access.linear.get(inner) == 1 and outer in access.linear
        return store if store.value == load.result and is_row else None

    def _in_strip(self, op: KernelOp, at: str, width: int) -> Load:
        """Write a strip of what a load reads for `width` turns; return one of that."""
        assert isinstance(op, Load)
        em, (outer, inner) = self.em, self.loops[-2:]
        access, length = self.access(op), self.extents[inner]
        name, cell = f"strip.{op.result.name}", memory_type(access.dtype)
        size = width * length * access.dtype.itemsize
        strip = self.scratch(f"memory.{name}", size)
        self._transpose(op, at, width, strip, length)
        shape = (self.extents[outer], length)
        self.views[name] = Buffer(name, access.dtype, shape, (length, 1))
        self.parameters[name] = em.gep(cell, strip, multiply(em, at, -length))
        return Load(op.result, name, (axis(outer), axis(inner)))

    def _transpose(self, op: Load, at: str, width: int, to: str, step: int) -> None:
        """Write `width` rows, `step` elements apart, of what a load reads.

        Parameters
        ----------
        at : str
            The turn of the first row.
        to : str
            Address of the rows.
        """
        em, (outer, inner) = self.em, self.loops[-2:]
        access, length = self.access(op), self.extents[inner]
        cell, apart = memory_type(access.dtype), access.linear[inner]
        is_forward = access.linear[outer] > 0
        lowest = at if is_forward else add(em, at, width - 1)
        source = self._moved(access, self._pointer(access), outer, lowest)
        align = access.dtype.itemsize
        side = min(_SQUARE, width, max(2, 2 * self.target.vector_bytes // align))
        type_ = vec(cell, side)
        with em.loop(0, length, side) as loop:
            last = em.intrinsic("llvm.smin", "i64", loop.index, str(length - side))
            corner = em.gep(cell, source, multiply(em, last, apart))
            for first in range(0, width, side):
                rows = [
                    em.load(type_, em.gep(cell, corner, k * apart + first), align)
                    for k in range(side)
                ]
                for k, column in enumerate(transposed(em, cell, rows), first):
                    row = k if is_forward else width - 1 - k
                    place = em.gep(cell, to, add(em, last, row * step))
                    em.store(type_, column, place, align)
            loop.yield_([])


def with_turned_axis(kernel: Kernel, schedule: Schedule) -> Schedule:
    """Return a schedule whose last loop but that of vectors is one for strips.

    Parameters
    ----------
    kernel : Kernel
        Whose loads have offsets in memory as indices.
    schedule : Schedule
        Itself where the order of loops means something, or no other one is better.
    """
    *outer, inner = schedule.loops or ("",)
    is_free = all(isinstance(op, Load | Compute | Iota | Store) for op in kernel.body)
    if not is_free or schedule.vector_axis != inner:
        return schedule
    loads = (op for op in kernel.body if isinstance(op, Load) and not op.check)
    steps = [dict(op.map[0].terms) for op in loads if len(op.map) == 1]
    far = [s for s in steps if abs(s.get(AxisIndex(inner), 0)) > MOST_APART]
    turned = (a for s in far for a in outer if abs(s.get(AxisIndex(a), 0)) == 1)
    last = next(turned, None)
    if last is None or outer[-1] == last:
        return schedule
    return replace(schedule, loops=(*(a for a in outer if a != last), last, inner))
