"""Convolutions with filters along vectors.

    C[place, filter] = sum over runs of packed[place + run] * panel[run, filter]

Blocks of the operand are packed with their padding, channels last, so that the
channels of a place, and of its neighbours if taps are neighbours, are one run. Filters
lie in panels of one or two vectors, in the order of the runs; `contraction` has them
copied there, once for all images. Tiles read from a table where their places begin in
the packed block, and where their sums belong, so that lines may be of any length and
places of any stride: no lane is idle, as with vectors along places.

A tile sums over all runs in registers. Its sums are stored as results where those have
their filters last; else they lie in scratch, (place, filter), and are turned.

Results that see other taps, of a dilated operand, are parts with runs of their own.
"""

from collections.abc import Sequence
from itertools import product
from math import gcd, prod

from ...kernels.kernel import dense_strides
from ...records import dataclass
from .conv_emission import ConvCode, Emission
from .conv_rows import Rows
from .conv_shape import Window, parts_of
from .conv_tile import multiply_add
from .indices import Index, add, multiply
from .target import aligned
from .text import Emitter, constant

_TILES = (6, 5)  # places of a tile: two vectors of sums and a pointer for each
_BLOCK_BYTES = 512 << 10  # of scratch for one block
_TURN = 4  # elements of a run in a turn of the loop
_ENTRY = 2  # numbers of a place, or of a run, in its table
Taps = tuple[tuple[int, int], ...]  # the number of each, and its offset


@dataclass(frozen=True)
class Grid:
    """One axis: results in parts that see the same taps, and what they read.

    Packed element r is element ``first + r*by`` of the operand. Place q of a part is
    result ``q*len(parts) + part``, and its tap reads packed element
    ``q*step + offset``.
    """

    window: Window
    first: int
    by: int
    step: int
    parts: tuple[Taps, ...]

    @property
    def places(self) -> int:
        """Places of the part that has the most."""
        return -(-self.window.places // len(self.parts))

    def reach(self, places: int) -> int:
        """Return how many packed elements so many places see."""
        furthest = max(offset for taps in self.parts for _, offset in taps)
        return (places - 1) * self.step + furthest + 1


def grid_of(window: Window) -> Grid | None:
    """Return the grid of an axis; None if no result sees a tap.

    Examples
    --------
    What lies between places that are read alone is left out:

    >>> grid_of(Window(56, 28, 1, 2, 1, 0, 1, 1, 1, 1)).by
    2
    """
    lines = [part.line for part in parts_of(window)]
    seen = [line for line in lines if line is not None]
    if not seen:
        return None
    first, stride = min(line.first for line in seen), seen[0].stride
    by = gcd(stride, *(offset - first for line in seen for _, offset in line.taps))
    parts = (
        tuple((k, (offset - first) // by) for k, offset in line.taps) if line else ()
        for line in lines
    )
    return Grid(window, first, by, stride // by, tuple(parts))


class FiltersAlong(Emission):
    """Writes the functions of a convolution whose filters lie in panels."""

    def emit(self) -> ConvCode:
        """Return the code."""
        self._lay_out()
        self.function(f"{self.symbol}.pack", self._pack, "x to")
        if not self.is_direct:
            self.function(f"{self.symbol}.turn", self._turn, "from to")
        tiles = self._tiles(prod(self.places))
        self._note_places(prod(self.places))
        with self.em.loop("%begin", "%end", 1) as part:
            pointers = self.part_at(part.index)

            def block(first: Index) -> None:
                self._block(pointers, first, tiles)

            self.blocks(self.grids[0].places, self.places[0], block)
            part.yield_([])
        return self.finish(self.scratch_bytes)

    # How a block lies

    def _lay_out(self) -> None:
        """Find the extents and strides of a block, and what lies where in scratch.

        First the table of places, then the packed block, then sums.
        """
        found = self.found
        grids = (grid_of(window) for window in found.windows)
        self.grids = [grid for grid in grids if grid is not None]
        self.channels, self.filters = found.channels.extent, found.filters.extent
        self.places = [self._height(), *(grid.places for grid in self.grids[1:])]
        axes = list(zip(self.grids, self.places, strict=True))
        self.strides = _dense([grid.reach(n) for grid, n in axes], self.channels)
        self.extents = [n * len(grid.parts) for grid, n in axes]
        self.lines = _dense(self.extents, self.filters)
        self.is_direct = found.filters.out == 1
        count = prod(self.places)
        self.tile = min(_TILES, key=lambda n: -(-count // n) * n)
        table = aligned((count + self.tile) * _ENTRY * 8)
        sums_at = table + aligned(self._packed_bytes(self.places[0]))
        self.packed_at = self.em.gep("i8", "%scratch", table)
        self.sums_at = self.em.gep("i8", "%scratch", sums_at)
        sums = 0 if self.is_direct else self._sums() + self.tile * self.filters
        self.scratch_bytes = sums_at + sums * self.size

    def _height(self) -> int:
        """Return how many rows of places fit a block, in equal blocks."""
        first, *others = self.grids
        row = prod(grid.places * len(grid.parts) for grid in others)
        size = row * len(first.parts) * self.filters * self.size
        for blocks in range(1, first.places + 1):
            height = -(-first.places // blocks)
            if self._packed_bytes(height) + height * size <= _BLOCK_BYTES:
                break
        return height

    def _packed_bytes(self, height: int) -> int:
        first, *others = self.grids
        reach = prod(grid.reach(grid.places) for grid in others)
        return first.reach(height) * reach * self.channels * self.size

    def _sums(self) -> int:
        """Return how many sums a block has."""
        return prod(self.extents) * self.filters

    def _note_places(self, count: int) -> None:
        """Write the table of places: where they begin, and where their sums belong.

        Tiles that go beyond it read the first place again, and store behind the sums.
        """
        em = self.em

        def note(number: Index, packed: Index, sums: Index) -> None:
            at = em.gep("i64", "%scratch", multiply(em, number, _ENTRY))
            em.store("i64", str(packed), at, 8)
            em.store("i64", str(sums), em.gep("i64", at, 1), 8)

        def nest(d: int, number: Index, packed: Index, sums: Index) -> None:
            if d == len(self.grids):
                note(number, packed, sums)
                return
            step = self.grids[d].step * self.strides[d]
            with em.loop(0, self.places[d], 1) as loop:
                base = multiply(em, number, self.places[d])
                here = add(em, packed, multiply(em, loop.index, step))
                along = self._result(d) * len(self.grids[d].parts)
                there = add(em, sums, multiply(em, loop.index, along))
                nest(d + 1, add(em, base, loop.index), here, there)
                loop.yield_([])

        nest(0, 0, 0, 0)
        for k in range(0 if self.is_direct else self.tile):
            note(count + k, 0, self._sums() + k * self.filters)

    def _result(self, d: int) -> int:
        """Return the stride of results where tiles store them."""
        return self.grids[d].window.out if self.is_direct else self.lines[d]

    # One block

    def _block(
        self,
        pointers: Sequence[str],
        first: Index,
        tiles: list[tuple[range, str]],
    ) -> None:
        em, found, (x, w, out) = self.em, self.found, pointers
        height = str(self.places[0])
        self.call(f"{self.symbol}.pack", [x, self.packed_at], first, height)
        row = found.windows[0].out * len(self.grids[0].parts)
        to = self.moved(out, first, row)
        sums = to if self.is_direct else self.sums_at
        if not all(taps for grid in self.grids for taps in grid.parts):
            self.rows.clear(sums, self._sums())
        with em.loop(0, self.filters, found.panel) as panel:
            at = self.moved(w, panel.index, found.filters.w), self.at(sums, panel.index)
            start = 0
            for part in product(*(range(len(grid.parts)) for grid in self.grids)):
                runs = range(start, start + len(self._runs(part)))
                self._part(part, runs, at, tiles)
                start = runs.stop
            panel.yield_([])
        if not self.is_direct:
            self.call(f"{self.symbol}.turn", [sums, to], first, height)

    def _part(
        self,
        part: tuple[int, ...],
        runs: range,
        at: tuple[str, str],
        tiles: list[tuple[range, str]],
    ) -> None:
        """Compute a part of a block, for the filters of one panel."""
        if not runs:
            return
        em, (b, c) = self.em, at
        c = self.at(c, sum(k * self._result(d) for d, k in enumerate(part)))
        table = em.gep("i64", f"@{self.symbol}.runs", runs.start * _ENTRY)
        for places, name in tiles:
            with em.loop(places.start, places.stop, places.step) as loop:
                place = em.gep("i64", "%scratch", multiply(em, loop.index, _ENTRY))
                pointers = (self.packed_at, place, table, b, c)
                arguments = [("ptr", p) for p in pointers]
                em.call("void", name, [*arguments, ("i64", str(len(runs)))])
                loop.yield_([])

    def _turn(self, rows: Rows) -> None:
        """Turn sums (place, filter) to where they belong."""
        em, windows = rows.em, self.found.windows
        counts: list[Index] = [self.extents[0], *(w.places for w in windows[1:])]
        is_whole = windows[0].places % len(self.grids[0].parts) == 0
        if not is_whole:
            done = multiply(em, "%first", len(self.grids[0].parts))
            left = em.op(f"sub nsw i64 {windows[0].places}, {done}")
            counts[0] = em.intrinsic("llvm.smin", "i64", left, str(counts[0]))
        run, outer = windows[-1].places, len(windows) - 1
        while outer and self.extents[outer] == windows[outer].places:
            count, out = counts[outer - 1], windows[outer - 1].out
            if not isinstance(count, int) or (count > 1 and out != run):
                break
            run, outer = run * count, outer - 1

        def nest(d: int, source: str, to: str) -> None:
            if d == outer:
                shape, strides = (run, self.filters), (self.filters, 1)
                by = self.found.filters.out
                rows.turn(source, strides, to, by, shape, is_filled=False)
                return
            with em.loop(0, counts[d], 1) as loop:
                here = rows.at(source, multiply(em, loop.index, self.lines[d]))
                there = rows.at(to, multiply(em, loop.index, windows[d].out))
                nest(d + 1, here, there)
                loop.yield_([])

        nest(0, "%from", "%to")

    # Packing

    def _pack(self, rows: Rows) -> None:
        """Write a block of the operand, from the row of places ``%first`` on."""
        em = rows.em

        def nest(d: int, source: str, to: str) -> None:
            grid = self.grids[d]
            if d == len(self.grids) - 1:
                self._pack_row(rows, source, to)
                return
            start: Index = grid.first
            if d == 0:
                before = multiply(em, "%first", grid.step * grid.by)
                start = add(em, before, grid.first)
            with em.loop(0, grid.reach(self.places[d]), 1) as loop:
                at = add(em, start, multiply(em, loop.index, grid.by))
                there = rows.at(to, multiply(em, loop.index, self.strides[d]))

                def inside() -> list[str]:
                    nest(d + 1, rows.at(source, multiply(em, at, grid.window.x)), there)
                    return []

                def outside() -> list[str]:
                    rows.clear(there, self.strides[d])
                    return []

                holds = em.op(f"icmp ult i64 {at}, {grid.window.extent}")
                em.if_else(holds, [], inside, outside)
                loop.yield_([])

        nest(0, "%x", "%to")

    def _pack_row(self, rows: Rows, source: str, to: str) -> None:
        """Write the last axis: what exists of it, and zeros around."""
        grid, size = self.grids[-1], self.channels
        reach, extent = grid.reach(self.places[-1]), grid.window.extent
        low = min(reach, max(0, -(grid.first // grid.by)))
        high = max(low, min(reach, -((grid.first - extent) // grid.by)))
        for start, stop in ((0, low), (high, reach)):
            if stop > start:
                rows.clear(rows.at(to, start * size), (stop - start) * size)
        if high > low:
            by = grid.by * grid.window.x
            here = rows.at(source, (grid.first + low * grid.by) * grid.window.x)
            shape, strides = (size, high - low), (self.found.channels.x, by)
            there = rows.at(to, low * size)
            rows.turn(here, strides, there, size, shape, is_filled=False)

    # Tiles

    def _runs(self, part: tuple[int, ...]) -> list[tuple[int, int]]:
        """Return where the runs of a part begin: seen from a place, and in a panel."""
        windows = self.found.windows
        taps = [g.parts[k] for g, k in zip(self.grids, part, strict=True)]
        if self._joins_taps():
            taps[-1] = taps[-1][:1]
        by = [w.w for w in windows]
        return [
            (
                sum(o * s for (_, o), s in zip(tap, self.strides, strict=True)),
                sum(k * s for (k, _), s in zip(tap, by, strict=True)),
            )
            for tap in product(*taps)
        ]

    def _joins_taps(self) -> bool:
        """Tell whether the taps along the last axis are one run."""
        parts = self.grids[-1].parts
        return len(parts) == 1 and all(k == offset for k, offset in parts[0])

    def _tiles(self, count: int) -> list[tuple[range, str]]:
        """Write the tiles; return from which places on each is called."""
        parts = product(*(range(len(grid.parts)) for grid in self.grids))
        numbers = [n for part in parts for run in self._runs(part) for n in run]
        self.em.table(f"{self.symbol}.runs", "i64", numbers)
        if not self.is_direct:
            return [(range(0, count, self.tile), self._tile(self.tile))]
        whole = count // self.tile * self.tile
        tiles = [(range(0, whole, self.tile), self._tile(self.tile))] if whole else []
        if count > whole:
            tiles.append((range(whole, count, count), self._tile(count - whole)))
        return tiles

    def _tile(self, count: int) -> str:
        """Write the micro-kernel of so many places; return its symbol.

        ``void (ptr packed, ptr places, ptr runs, ptr panel, ptr sums, i64 count)``
        """
        em, type_ = self.new_emitter(), self.rows.type
        vectors = self.found.panel // self.lanes
        rows = []
        for k in range(count):
            place = em.load("i64", em.gep("i64", "%places", k * _ENTRY), 8)
            # Frozen, so that LLVM keeps an address of each (see gemm.micro).
            rows.append(em.op(f"freeze ptr {self._at(em, '%packed', place)}"))
        zero = constant(self.rows.element, 0.0, self.lanes)
        start = [(type_, zero)] * (count * vectors)
        with em.loop(0, "%count", 1, start) as loop:
            run = em.gep("i64", "%runs", multiply(em, loop.index, _ENTRY))
            by, there = (em.load("i64", em.gep("i64", run, k), 8) for k in range(2))
            a = [self._at(em, row, by) for row in rows]
            b = self._at(em, "%panel", there)
            loop.yield_(self._run(em, a, b, loop.carried))
        for k in range(count):
            place = em.load("i64", em.gep("i64", "%places", k * _ENTRY + 1), 8)
            to = self._at(em, "%sums", place)
            for v, value in enumerate(loop.results[k * vectors : (k + 1) * vectors]):
                em.store(type_, value, self._at(em, to, v * self.lanes), self.size)
        em.ret()
        name = f"{self.symbol}.tile{count}"
        names = ("packed", "places", "runs", "panel", "sums")
        parameters = [*(f"ptr %{n}" for n in names), "i64 %count"]
        attributes = "nounwind noinline"
        text = em.function(name, parameters, linkage="internal", attributes=attributes)
        self.texts.append(text)
        return name

    def _run(self, em: Emitter, a: list[str], b: str, sums: list[str]) -> list[str]:
        """Add the products of one run, some elements in each turn of a loop."""
        taps = len(self.grids[-1].parts[0]) if self._joins_taps() else 1
        length, turn = taps * self.channels, _TURN if self.target.has_fma else 1
        whole, panel = length // turn * turn, self.found.panel
        if whole:
            with em.loop(0, whole, turn, [(self.rows.type, s) for s in sums]) as loop:
                here = [self._at(em, row, loop.index) for row in a]
                there = self._at(em, b, multiply(em, loop.index, panel))
                loop.yield_(self._rank_ones(em, here, there, turn, loop.carried))
            sums = loop.results
        here = [self._at(em, row, whole) for row in a]
        there = self._at(em, b, whole * panel)
        return self._rank_ones(em, here, there, length - whole, sums)

    def _rank_ones(
        self, em: Emitter, a: list[str], b: str, count: int, sums: list[str]
    ) -> list[str]:
        """Add the products of so many columns of A and rows of B."""
        type_, element, size = self.rows.type, self.rows.element, self.size
        for k in range(count):
            starts = range(0, self.found.panel, self.lanes)
            at = (self._at(em, b, k * self.found.panel + v) for v in starts)
            row = [em.load(type_, place, size) for place in at]
            out: list[str] = []
            for pointer in a:
                scalar = em.load(element, self._at(em, pointer, k), size)
                x = em.splat(element, scalar, self.lanes)
                for y in row:
                    z = sums[len(out)]
                    out.append(multiply_add(em, self.target, type_, x, y, z))
            sums = out
        return sums

    def _at(self, em: Emitter, pointer: str, offset: Index) -> str:
        return em.gep(self.rows.element, pointer, offset)


def _dense(extents: list[int], last: int) -> list[int]:
    """Return the strides of a dense array whose elements are so many numbers."""
    return [stride * last for stride in dense_strides(tuple(extents))]
