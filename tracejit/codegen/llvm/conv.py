"""Convolutions as implicit matrix products.

Blocks of the operand, a few rows of places at a time, are packed with their padding so
that every tap of the window is the packed block at another offset:

    places forward   C[filter, place]   = sum over channel, tap of w * packed
    taps forward     C[channel, filter] = sum over place of packed * w,  for each result

The first form serves convolutions and, since their gradient by the operand is one too
(of a dilated operand: its holes are left out by splitting the results into parts that
see the same taps), that gradient. The second is for windows of more elements than there
are results: the gradient by the filters. Two more are apart: `conv_panels`, vectors of
filters, and `conv_sums`, vectors of taps. The tiles are those of `conv_tile`; what they
give lies in scratch, in rows as wide as the packed ones, and is copied from there.

Sums run over blocks of channels and taps, or over images and rows of places, in an
order that the extents alone decide. Scratch is half a MiB at most where a row of places
fits, so as to stay in a cache of the second level.
"""

from collections.abc import Sequence
from itertools import product
from math import prod

from .conv_emission import ConvCode, Emission, NewEmitter, Packing, height_of
from .conv_forms import has_taps_along, has_taps_forward
from .conv_panels import FiltersAlong
from .conv_rows import Rows
from .conv_shape import Convolution, Line, Part, parts_of, places_as_taps
from .conv_sums import TapsAlong
from .conv_tile import Even, Lines, Sums, Table, Tiles, tile_rows
from .indices import Index, add, multiply
from .target import Target, aligned

_BLOCK_BYTES = 512 << 10  # of scratch for one block
_DEPTH = 512  # channels times taps that tiles sum before they store: so many fit L1
_POSITIONS = 192  # places that tiles sum before they store, taps forward
_TABLE = 256  # taps from which even loops replace a table


def emit_convolution(
    symbol: str, found: Convolution, target: Target, new_emitter: NewEmitter
) -> ConvCode:
    """Return functions that compute a convolution."""
    if found.panel:
        return FiltersAlong(symbol, found, target, new_emitter).emit()
    if has_taps_along(found, target):
        return TapsAlong(symbol, found, target, new_emitter).emit()
    if has_taps_forward(found, target):
        return _TapsForward(symbol, found, target, new_emitter).emit()
    return _PlacesForward(symbol, found, target, new_emitter).emit()


class _PlacesForward(Emission):
    """C[filter, place] = sum over channel, tap of w[filter, channel, tap] * packed."""

    def emit(self) -> ConvCode:
        """Return the code."""
        needed = 0
        with self.em.loop("%begin", "%end", 1) as loop:
            pointers = self.part_at(loop.index)
            for k, parts in enumerate(product(*map(parts_of, self.found.windows))):
                size = self._part(f"{self.symbol}.{k}", parts, pointers)
                needed = max(needed, size)
            loop.yield_([])
        return self.finish(needed)

    def _part(self, name: str, parts: Sequence[Part], pointers: Sequence[str]) -> int:
        """Compute results that see the same taps; return the scratch they need."""
        x, w, out = pointers
        start = sum(
            p.start * win.out for p, win in zip(parts, self.found.windows, strict=True)
        )
        out = self.at(out, start)
        lines = [p.line for p in parts if p.line is not None]
        if len(lines) < len(parts):
            height = parts[0].places
            self._copy_out(f"{name}.clear", parts, None, [out, out], 0, height)
            return 0
        packing = self._packing(lines)
        row = -(-packing.span // self.lanes) * self.lanes
        slack = self.lanes * len(tile_rows(self.target))
        packed = aligned((packing.rows.extent * packing.row + slack) * self.size)
        self.packing_function(f"{name}.pack", packing)
        vectors = self._whole_lines(parts)
        c_row = self.found.filters.out if vectors else row
        tiles = self.new_tiles(self._sums(packing, c_row))
        to = self.em.gep("i8", "%scratch", packed)
        columns = Lines(1, row // self.lanes, 0, 0)
        if vectors:
            by = self.found.windows[0].out
            columns = Lines(packing.height, vectors, packing.strides[0], by)

        def block(first: Index) -> None:
            height = packing.height
            self.call(f"{name}.pack", [x, "%scratch"], first, str(height))
            if vectors:
                here = self.moved(out, first, self.found.windows[0].out)
                self._multiply(tiles, packing, w, here, columns)
                return
            self._multiply(tiles, packing, w, to, columns)
            places = packing, row
            self._copy_out(f"{name}.copy", parts, places, [to, out], first, height)

        self.blocks(parts[0].places, packing.height, block)
        return packed + (0 if vectors else self.found.filters.extent * row * self.size)

    def _whole_lines(self, parts: Sequence[Part]) -> int:
        """Return the vectors of a line of results if lines are stored as they are.

        Else 0: lines are computed in rows as wide as the packed ones, and copied.
        """
        last = self.found.windows[-1]
        is_plain = len(parts) == 2 and all(p.step == 1 for p in parts)
        if not is_plain or last.out != 1 or last.places % self.lanes:
            return 0
        return last.places // self.lanes

    def _packing(self, lines: Sequence[Line]) -> Packing:
        """Choose as many rows of places as fit the block."""
        places = lines[0].places
        for blocks in range(1, places + 1):
            packing = Packing(self.found.channels, lines, -(-places // blocks))
            size = packing.rows.extent * packing.row
            size += self.found.filters.extent * packing.span
            if size * self.size <= _BLOCK_BYTES:
                break
        return packing

    def _sums(self, packing: Packing, row: int) -> Sums:
        found = self.found
        windows = found.windows
        steps: Table | Even = Table(
            tuple(
                (sum(k * win.w for k, win in zip(tap, windows, strict=True)), offset)
                for tap, offset in packing.taps()
            )
        )
        if steps.count > _TABLE and all(line.stride == 1 for line in packing.lines):
            steps = _even(found, packing)
        outer = (found.channels.w, packing.row)
        return Sums(found.dtype, found.filters.w, row, outer, steps)

    def _multiply(
        self, tiles: Tiles, packing: Packing, w: str, to: str, columns: Lines
    ) -> None:
        """Compute C of one block, a few channels at a time."""
        em, found = self.em, self.found
        base = w
        if isinstance(tiles.sums.steps, Even):
            base = self.at(
                w,
                sum(
                    line.taps[0][0] * win.w
                    for line, win in zip(packing.lines, found.windows, strict=True)
                ),
            )
        channels = found.channels.extent
        blocks = -(-channels * tiles.sums.steps.count // _DEPTH)
        depth = -(-channels // max(1, min(blocks, channels)))
        shape = found.filters.extent, columns
        for start in range(0, channels, depth):
            count = str(min(depth, channels - start))
            left = self.at(base, start * found.channels.w)
            right = self.at("%scratch", start * packing.row)
            more = "true" if start else "false"
            tiles.cover(em, (left, right, to), shape, count, more)

    def _copy_out(
        self,
        name: str,
        parts: Sequence[Part],
        block: tuple[Packing, int] | None,
        pointers: Sequence[str],
        first: Index,
        height: int,
    ) -> None:
        """Copy a block of results from scratch; write zeros if there is no block."""
        windows, filters = self.found.windows, self.found.filters
        steps = [p.step * w.out for p, w in zip(parts, windows, strict=True)]

        def lines(rows: Rows, d: int, source: str, to: str) -> None:
            em, stride = rows.em, block[0].strides[d] if block else 0
            if d == len(parts) - 1:
                count = parts[d].places
                rows.copy(source, 1, to, steps[d], count, (0, count if block else 0))
                return
            count_d: Index = "%count" if d == 0 else parts[d].places
            start: Index = "%first" if d == 0 else 0
            with em.loop(0, count_d, 1) as loop:
                at = add(em, start, loop.index)
                lines(
                    rows,
                    d + 1,
                    rows.at(source, multiply(em, loop.index, stride)),
                    rows.at(to, multiply(em, at, steps[d])),
                )
                loop.yield_([])

        def emit(rows: Rows) -> None:
            with rows.em.loop(0, filters.extent, 1) as loop:
                row = block[1] if block else 0
                source = rows.at("%from", multiply(rows.em, loop.index, row))
                to = rows.at("%to", multiply(rows.em, loop.index, filters.out))
                lines(rows, 0, source, to)
                loop.yield_([])

        self.function(name, emit, "from to")
        self.call(name, pointers, first, str(height))


def _even(found: Convolution, packing: Packing) -> Even:
    """Return taps that are even steps of each axis as loops."""
    loops = []
    for line, win, stride in zip(
        packing.lines, found.windows, packing.strides, strict=True
    ):
        step = line.taps[1][1] - line.taps[0][1] if len(line.taps) > 1 else 0
        by = line.taps[1][0] - line.taps[0][0] if len(line.taps) > 1 else 0
        loops.append((len(line.taps), by * win.w, step * stride))
    return Even(tuple(loops))


class _TapsForward(Emission):
    """C[image, filter] of each result = sum over channel, tap of packed * w.

    Taps and places change sides: a line's places are the taps of the window.
    """

    def emit(self) -> ConvCode:
        """Return the code."""
        em, found = self.em, self.found
        self.width = -(-found.filters.extent // self.lanes) * self.lanes
        lines = [places_as_taps(w) for w in found.windows]
        packing = Packing(found.batch, lines, height_of(lines, _POSITIONS))
        inner = prod(line.places for line in lines[1:])
        slack = self.lanes * len(tile_rows(self.target))
        packed = aligned(found.batch.extent * packing.row * self.size)
        turned = aligned((packing.height * inner * self.width + slack) * self.size)
        total = prod(w.places for w in found.windows) * found.batch.extent * self.width
        self.filters_at = em.gep("i8", "%scratch", packed)
        self.sums_at = em.gep("i8", "%scratch", packed + turned)
        self.packing_function(f"{self.symbol}.pack", packing)
        self._turning_function(lines)
        tiles = self.new_tiles(self._sums(packing))

        def block(x: str, w: str, first: Index, height: int) -> None:
            self._block(tiles, packing, x, w, first, height)

        self.sum_blocks(packing, (self.sums_at, total), block, self._copy_out)
        return self.finish(packed + turned + total * self.size)

    def _sums(self, packing: Packing) -> Sums:
        """Return what a tile sums: the places of the first line, then of the others."""
        loops: list[tuple[int, int, int]] = []
        by = self.width
        pairs = list(zip(packing.lines, packing.strides, strict=True))
        for line, stride in reversed(pairs[1:]):
            loops.insert(0, (line.places, stride, by))
            by *= line.places
        outer = (packing.strides[0], by)
        return Sums(
            self.found.dtype, packing.row, self.width, outer, Even(tuple(loops))
        )

    def _turning_function(self, lines: Sequence[Line]) -> None:
        """Add the function that writes filters as rows (place, filter)."""
        found = self.found
        shape = (found.filters.extent, lines[-1].places)
        strides = (found.filters.w, found.windows[-1].w)
        widths = [
            prod(line.places for line in lines[d + 1 :]) for d in range(len(lines))
        ]

        def nest(rows: Rows, d: int, source: str, to: str) -> None:
            em = rows.em
            if d == len(lines) - 1:
                rows.turn(source, strides, to, self.width, shape)
                return
            count: Index = "%count" if d == 0 else lines[d].places
            start: Index = "%first" if d == 0 else 0
            with em.loop(0, count, 1) as loop:
                at = add(em, start, loop.index)
                here = rows.at(source, multiply(em, at, found.windows[d].w))
                there = multiply(em, loop.index, widths[d] * self.width)
                nest(rows, d + 1, here, rows.at(to, there))
                loop.yield_([])

        name = f"{self.symbol}.turn"
        self.function(name, lambda rows: nest(rows, 0, "%w", "%to"), "w to")

    def _block(
        self, tiles: Tiles, packing: Packing, x: str, w: str, first: Index, height: int
    ) -> None:
        em, found = self.em, self.found
        self.call(f"{self.symbol}.pack", [x, "%scratch"], first, str(height))
        self.call(f"{self.symbol}.turn", [w, self.filters_at], first, str(height))
        shape = found.batch.extent, Lines(1, self.width // self.lanes, 0, 0)
        size = found.batch.extent * self.width
        table = em.table(f"{self.symbol}.taps", "i64", [o for _, o in packing.taps()])
        with em.loop(0, len(packing.taps()), 1) as loop:
            offset = em.load("i64", em.gep("i64", table, loop.index), 8)
            left = self.at("%scratch", offset)
            to = self.moved(self.sums_at, loop.index, size)
            at = left, self.filters_at, to
            tiles.cover(em, at, shape, str(height), "true")
            loop.yield_([])

    def _copy_out(self, out: str) -> None:
        """Copy sums (result, image, filter) to where they belong."""
        found = self.found
        places = [w.places for w in found.windows]

        def nest(d: int, source: str, to: str) -> None:
            if d == len(places):
                with self.em.loop(0, found.batch.extent, 1) as loop:
                    here = self.moved(source, loop.index, self.width)
                    there = self.moved(to, loop.index, found.batch.out)
                    count = found.filters.extent
                    self.rows.copy(here, 1, there, found.filters.out, count, (0, count))
                    loop.yield_([])
                return
            size = prod(places[d + 1 :]) * found.batch.extent * self.width
            with self.em.loop(0, places[d], 1) as loop:
                here = self.moved(source, loop.index, size)
                nest(d + 1, here, self.moved(to, loop.index, found.windows[d].out))
                loop.yield_([])

        nest(0, self.sums_at, out)
