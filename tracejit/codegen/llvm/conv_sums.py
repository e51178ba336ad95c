"""Convolutions of many taps and few filters: taps along vectors.

    S[place] += packed[place + tap : + vector] * w[tap : + vector]

for each channel, and at the end the sum over S. So gradients by the filters run where
each channel has a filter or few of its own: a product of matrices would have a row, or
a column, of one element.

The vectors of S have 64 bytes on every machine, so that sums are the same there. A sum
runs over blocks of rows of taps, then over channels.
"""

from collections.abc import Sequence
from math import prod

from .conv_emission import ConvCode, Emission, Packing, height_of
from .conv_rows import Rows
from .conv_shape import Role, places_as_taps
from .conv_tile import multiply_add
from .indices import Index, multiply
from .reduce import halves, splits
from .target import aligned
from .text import vec

_SUM_BYTES = 64
_TAPS = 4096  # that are summed before sums are stored


class TapsAlong(Emission):
    """S[filter, place] = sum over channel, tap of packed * w; the sum of each."""

    def emit(self) -> ConvCode:
        """Return the code."""
        em, found = self.em, self.found
        lines = [places_as_taps(w) for w in found.windows]
        packing = Packing(Role(1, 0, 0, 0), lines, height_of(lines, _TAPS))
        packed = aligned(packing.row * self.size)
        self.sums = [offset for _, offset in packing.taps()]
        self.width = _SUM_BYTES // self.size
        total = found.filters.extent * len(self.sums) * self.width
        sums_at = em.gep("i8", "%scratch", packed)
        self.packing_function(f"{self.symbol}.pack", packing)
        name = f"{self.symbol}.sum"
        self.function(name, lambda rows: self._filters(rows, packing), "x w to")

        def block(x: str, w: str, first: Index, height: int) -> None:
            self.call(f"{self.symbol}.pack", [x, "%scratch"], first, str(height))
            self.call(name, ["%scratch", w, sums_at], first, str(height))

        def store(out: str) -> None:
            self._store(out, sums_at)

        self.sum_blocks(packing, (sums_at, total), block, store)
        return self.finish(packed + total * self.size)

    def _filters(self, rows: Rows, packing: Packing) -> None:
        """Add a block of one channel to the sums of all filters."""
        em, found = rows.em, self.found
        first = multiply(em, "%first", found.windows[0].w)
        start = rows.at("%w", first)
        units = self.width // self.lanes
        registers = self.target.vector_registers
        most = max(1, registers // units - 2)
        count = -(-len(self.sums) // -(-len(self.sums) // most))
        with em.loop(0, found.filters.extent, 1) as loop:
            w = rows.at(start, multiply(em, loop.index, found.filters.w))
            by = len(self.sums) * self.width
            to = rows.at("%to", multiply(em, loop.index, by))
            for k in range(0, len(self.sums), count):
                places = self.sums[k : k + count]
                zeros = [rows.zero] * (len(places) * units)
                added = self._nest(rows, packing, places, 0, ("%x", w), zeros)
                for i, value in enumerate(added):
                    at = rows.at(to, k * self.width + i * self.lanes)
                    old = em.load(rows.type, at, self.size)
                    value = em.op(f"fadd {rows.type} {old}, {value}")
                    em.store(rows.type, value, at, self.size)
            loop.yield_([])

    def _nest(
        self,
        rows: Rows,
        packing: Packing,
        places: Sequence[int],
        d: int,
        at: tuple[str, str],
        sums: Sequence[str],
    ) -> list[str]:
        """Return the sums with what axes from `d` on add to them."""
        em = rows.em
        taps = packing.lines[d].places
        is_last = d == len(packing.lines) - 1
        count: Index = taps // self.width * self.width if is_last else taps
        step = self.width if is_last else 1
        steps = (1, 1) if is_last else (packing.strides[d], self.found.windows[d].w)
        carried = [(rows.type, value) for value in sums]
        with em.loop(0, "%count" if d == 0 else count, step, carried) as loop:
            x, w = (
                rows.at(p, multiply(em, loop.index, s))
                for p, s in zip(at, steps, strict=True)
            )
            if is_last:
                found = self._add(rows, places, (x, w), self.width, loop.carried)
            else:
                found = self._nest(rows, packing, places, d + 1, (x, w), loop.carried)
            loop.yield_(found)
        if not is_last or count == taps:
            return loop.results
        x, w = (rows.at(p, count) for p in at)
        return self._add(rows, places, (x, w), taps % self.width, loop.results)

    def _add(
        self,
        rows: Rows,
        places: Sequence[int],
        at: tuple[str, str],
        count: int,
        sums: Sequence[str],
    ) -> list[str]:
        """Return the sums with the products of the next `count` taps."""
        em, units = rows.em, self.width // self.lanes
        out = list(sums)
        for u in range(-(-count // self.lanes)):
            there = min(self.lanes, count - u * self.lanes)
            w = rows.load(rows.at(at[1], u * self.lanes), 1, (0, there))
            for k, place in enumerate(places):
                here = rows.at(at[0], place + u * self.lanes)
                x = rows.load(here, 1, (0, there))
                old = out[k * units + u]
                new = multiply_add(em, self.target, rows.type, x, w, old)
                out[k * units + u] = new
        return out

    def _store(self, out: str, sums_at: str) -> None:
        """Store the sum over each vector of sums."""
        em, found, width = self.em, self.found, self.width
        type_ = vec(self.rows.element, width)
        windows = found.windows
        with em.loop(0, found.filters.extent, 1) as loop:
            source = self.moved(sums_at, loop.index, len(self.sums) * width)
            to = self.moved(out, loop.index, found.filters.out)
            for k in range(prod(w.places for w in windows)):
                value = em.load(type_, self.at(source, k * width), self.size)
                for lanes in splits(width):
                    low, high = halves(em, self.rows.element, value, 2 * lanes)
                    kind = vec(self.rows.element, lanes)
                    value = em.op(f"fadd {kind} {low}, {high}")
                at, rest = 0, k
                for w in reversed(windows):
                    rest, place = divmod(rest, w.places)
                    at += place * w.out
                em.store(self.rows.element, value, self.at(to, at), self.size)
            loop.yield_([])
