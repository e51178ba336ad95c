"""Convolutions as implicit matrix products.

Blocks of the operand, a few rows of places at a time, are packed with their padding so
that every tap of the window is the packed block at another offset:

    places forward   C[filter, place]   = sum over channel, tap of w * packed
    taps forward     C[channel, filter] = sum over place of packed * w,  for each result

The first form serves convolutions and, since their gradient by the operand is one too
(of a dilated operand: its holes are left out by splitting the results into parts that
see the same taps), that gradient. The second is for windows of more elements than there
are results: the gradient by the filters. The tiles are those of `conv_tile`; what they
give lies in scratch, in rows as wide as the packed ones, and is copied from there.

Sums run over blocks of channels and taps, or over images and rows of places, in an
order that the extents alone decide. Scratch is half a MiB at most where a row of places
fits, so as to stay in a cache of the second level.
"""

from collections.abc import Callable, Sequence
from dataclasses import replace
from itertools import product
from math import prod

from ...records import dataclass
from .conv_rows import Rows
from .conv_shape import Convolution, Line, Part, Role, Window, parts_of
from .conv_tile import Even, Lines, Sums, Table, Tiles, tile_rows
from .indices import Index, add, multiply
from .target import Target, aligned
from .text import Emitter

_BLOCK_BYTES = 512 << 10  # of scratch for one block
_DEPTH = 1024  # channels times taps that tiles sum before they store
_POSITIONS = 192  # places that tiles sum before they store, taps forward
_TABLE = 256  # taps from which even loops replace a table
_ENOUGH = 4  # parts, so that a few threads get equal shares
# What each part packs for itself is used by so many filters, or images taps forward, or
# by so many vectors of filters there.
_LEAST_ROWS = 16
_LEAST_VECTORS = 2
NewEmitter = Callable[[], Emitter]


@dataclass(frozen=True)
class ConvCode:
    """The functions of a convolution.

    Parameters
    ----------
    texts : tuple of str
        ``void @symbol(ptr x, ptr w, ptr out, ptr scratch, i64 begin, i64 end)`` is the
        last one: it computes parts of the result.
    scratch_bytes : int
        Of one call.
    extent : int
        The number of parts, as `parts_along` counts them.
    """

    texts: tuple[str, ...]
    scratch_bytes: int
    extent: int


def emit_convolution(
    symbol: str, found: Convolution, target: Target, new_emitter: NewEmitter
) -> ConvCode:
    """Return functions that compute a convolution."""
    if has_taps_forward(found, target):
        return _TapsForward(symbol, found, target, new_emitter).emit()
    return _PlacesForward(symbol, found, target, new_emitter).emit()


def has_taps_forward(found: Convolution, target: Target) -> bool:
    """Tell whether a convolution sums over places rather than over taps.

    It must have more taps than places, and not waste the lanes of vectors.
    """
    lanes = target.lanes(8 * found.dtype.itemsize)
    places = prod(w.places for w in found.windows)
    taps = prod(w.taps for w in found.windows)
    if taps <= places or any(w.holes > 1 for w in found.windows):
        return False
    here = max(found.batch.extent, 4) * -(-found.filters.extent // lanes) * places
    there = found.batch.extent * -(-places // lanes) * max(found.filters.extent, 4)
    return here <= 2 * there


def parts_along(found: Convolution, target: Target) -> dict[str, int]:
    """Return how many parts ``batch``, ``group`` and ``filters`` are cut into.

    The outermost first. Parts need nothing of each other: none of these axes is summed
    over. One is an image and a group, or some filters of these where there are few;
    taps forward it is some images of a group, or some of the filters.
    """
    batch, group, filters = (
        r.extent for r in (found.batch, found.group, found.filters)
    )
    if not has_taps_forward(found, target):
        cut = _equal_parts(filters, -(-_ENOUGH // (batch * group)), _LEAST_ROWS)
        return {"batch": batch, "group": group, "filters": cut}
    most = -(-_ENOUGH // group)
    images = _equal_parts(batch, most, _LEAST_ROWS)
    vectors, rest = divmod(filters, target.lanes(8 * found.dtype.itemsize))
    can_cut = images == 1 and not rest
    cut = _equal_parts(vectors, most, _LEAST_VECTORS) if can_cut else 1
    return {"group": group, "batch": images, "filters": cut}


def quantum_along(found: Convolution, axis: str, target: Target) -> int | None:
    """Return what ranges of a kernel's axis are multiples of; None if it has none.

    A range is a range of parts if the axis is the outermost that parts are cut from.
    """
    if has_taps_forward(found, target):
        return None
    for name, count in parts_along(found, target).items():
        role = _role(found, name)
        if role.axis == axis:
            return role.extent // count
        if role.extent > 1:
            return None
    return None


def _role(found: Convolution, name: str) -> Role:
    return {"batch": found.batch, "group": found.group, "filters": found.filters}[name]


def _equal_parts(extent: int, most: int, least: int) -> int:
    """Return into how many equal parts to cut an axis: not too many or too small."""
    counts = (n for n in range(most, 1, -1) if extent % n == 0 and extent // n >= least)
    return next(counts, 1)


class _Packing:
    """How a block of the operand lies in scratch: (rows, phases, *reach).

    Parameters
    ----------
    rows : Role
        The axis packed whole: channels, or images.
    lines : sequence of Line
    height : int
        Places along the first line in a block.
    """

    def __init__(self, rows: Role, lines: Sequence[Line], height: int) -> None:
        self.rows, self.lines, self.height = rows, lines, height
        places = [height, *(line.places for line in lines[1:])]
        reach = [n + line.halo for n, line in zip(places, lines, strict=True)]
        self.strides = [prod(reach[d + 1 :]) for d in range(len(reach))]
        self.plane = prod(reach)
        self.phases = list(product(*(line.phases for line in lines)))
        self.row = self.plane * len(self.phases)
        self.reach = reach
        # From the first place to the last, in rows as wide as the packed ones.
        pairs = zip(places, self.strides, strict=True)
        self.span = sum((n - 1) * s for n, s in pairs) + 1

    def offset(self, taps: Sequence[int]) -> int:
        """Return where the first place of a block reads, for offsets of a tap."""
        found = [line.tap(o) for line, o in zip(self.lines, taps, strict=True)]
        phase = 0
        for line, (p, _) in zip(self.lines, found, strict=True):
            phase = phase * len(line.phases) + p
        pairs = zip(found, self.strides, strict=True)
        return phase * self.plane + sum(shift * s for (_, shift), s in pairs)

    def taps(self) -> list[tuple[tuple[int, ...], int]]:
        """Return the numbers of each tap, and its offset in the packed block."""
        return [
            (tuple(k for k, _ in tap), self.offset([o for _, o in tap]))
            for tap in product(*(line.taps for line in self.lines))
        ]


class _Emission:
    """What both forms share: functions, packing, and loops over batch and groups."""

    def __init__(
        self, symbol: str, found: Convolution, target: Target, new_emitter: NewEmitter
    ) -> None:
        self.symbol, self.target, self.new_emitter = symbol, target, new_emitter
        self.parts = parts_along(found, target)
        self.found = replace(  # what one part is
            found,
            batch=_part_of(found.batch, self.parts["batch"]),
            group=_part_of(found.group, self.parts["group"]),
            filters=_part_of(found.filters, self.parts["filters"]),
        )
        self.size = found.dtype.itemsize
        self.lanes = target.lanes(8 * self.size)
        self.em = new_emitter()
        self.rows = Rows(self.em, found.dtype, target)
        self.texts: list[str] = []
        self.tiles: list[Tiles] = []

    def part_at(self, part: str) -> list[str]:
        """Return where a part begins in x, w and the result."""
        em, rest = self.em, part
        pointers = ["%x", "%w", "%out"]
        for name, count in reversed(self.parts.items()):
            if count == 1:
                continue
            index = em.op(f"urem i64 {rest}, {count}")
            rest = em.op(f"udiv i64 {rest}, {count}")
            role = _role(self.found, name)
            steps = (role.extent * s for s in (role.x, role.w, role.out))
            moved = zip(pointers, steps, strict=True)
            pointers = [self.moved(p, index, step) for p, step in moved]
        return pointers

    def finish(self, scratch_bytes: int) -> ConvCode:
        """Return all functions, the entry last."""
        self.em.ret()
        parameters = [f"ptr {n}" for n in ("%x", "%w", "%out", "%scratch")]
        parameters += ["i64 %begin", "i64 %end"]
        entry = self.em.function(self.symbol, parameters, linkage="internal")
        for tiles in self.tiles:
            self.texts.extend(tiles.texts())
        extent = prod(self.parts.values())
        return ConvCode((*self.texts, entry), scratch_bytes, extent)

    def new_tiles(self, sums: Sums) -> Tiles:
        """Return the tiles of one kind of sums."""
        name = f"{self.symbol}.tile{len(self.tiles)}"
        self.tiles.append(Tiles(name, sums, self.target, self.new_emitter))
        return self.tiles[-1]

    def at(self, pointer: str, offset: Index) -> str:
        """Return the address of an element."""
        return self.rows.at(pointer, offset)

    def moved(self, pointer: str, index: Index, stride: int) -> str:
        """Return the address `index` steps on."""
        return self.at(pointer, multiply(self.em, index, stride))

    def function(self, name: str, emit: Callable[[Rows], None], names: str) -> None:
        """Add ``void name(ptr x, ptr to, i64 first, i64 count)``."""
        em = self.new_emitter()
        emit(Rows(em, self.found.dtype, self.target))
        em.ret()
        pointers = [f"ptr %{n}" for n in names.split()]
        parameters = [*pointers, "i64 %first", "i64 %count"]
        text = em.function(
            name, parameters, linkage="internal", attributes="nounwind noinline"
        )
        self.texts.append(text)

    def call(
        self, name: str, pointers: Sequence[str], first: Index, count: str
    ) -> None:
        """Call such a function."""
        arguments = [("ptr", p) for p in pointers]
        arguments += [("i64", str(first)), ("i64", count)]
        self.em.call("void", name, arguments)

    def packing_function(self, name: str, packing: _Packing) -> None:
        """Add the function that packs `count` rows of places from `first` on."""
        self.function(name, lambda rows: _pack(rows, packing), "x to")


def _part_of(role: Role, parts: int) -> Role:
    return replace(role, extent=role.extent // parts)


def _pack(rows: Rows, packing: _Packing) -> None:
    """Write a block, plane by plane."""
    em = rows.em
    with em.loop(0, packing.rows.extent, 1) as loop:
        source = rows.at("%x", multiply(em, loop.index, packing.rows.x))
        to = rows.at("%to", multiply(em, loop.index, packing.row))
        for k, phase in enumerate(packing.phases):
            here = rows.at(to, k * packing.plane)
            _pack_lines(rows, packing, phase, 0, source, here, None)
        loop.yield_([])


def _pack_lines(
    rows: Rows,
    packing: _Packing,
    phase: Sequence[int],
    d: int,
    source: str,
    to: str,
    inside: str | None,
) -> None:
    """Write a plane from axis `d` on; `inside` tells if outer axes are in range."""
    em, line = rows.em, packing.lines[d]
    start = line.first + phase[d]
    if d == len(packing.lines) - 1:
        _pack_row(rows, line, start, packing.reach[d], source, to, inside)
        return
    count: Index = packing.reach[d]
    first: Index = start
    if d == 0:
        count = add(em, "%count", line.halo)
        first = add(em, multiply(em, "%first", line.stride), start)
    with em.loop(0, count, 1) as loop:
        at = add(em, first, multiply(em, loop.index, line.stride))
        holds = em.op(f"icmp ult i64 {at}, {line.extent}")
        if inside is not None:
            holds = em.op(f"and i1 {holds}, {inside}")
        here = rows.at(source, multiply(em, at, line.memory))
        there = rows.at(to, multiply(em, loop.index, packing.strides[d]))
        _pack_lines(rows, packing, phase, d + 1, here, there, holds)
        loop.yield_([])


def _pack_row(
    rows: Rows,
    line: Line,
    start: int,
    count: int,
    source: str,
    to: str,
    inside: str | None,
) -> None:
    """Write the last axis: what exists of it, or zeros where an outer index is out."""
    low = max(0, -(start // line.stride))
    high = max(low, min(count, -(-(line.extent - start) // line.stride)))

    def copy() -> list[str]:
        here = rows.at(source, start * line.memory)
        step = line.stride * line.memory
        rows.copy(here, step, to, 1, count, (low, high))
        return []

    def clear() -> list[str]:
        rows.clear(to, count)
        return []

    if inside is None:
        copy()
    else:
        rows.em.if_else(inside, [], copy, clear)


class _PlacesForward(_Emission):
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

        self._blocks(parts[0].places, packing.height, block)
        return packed + (0 if vectors else self.found.filters.extent * row * self.size)

    def _blocks(self, places: int, height: int, block: Callable[[Index], None]) -> None:
        """Run blocks of `height` rows of places.

        The last one reaches back over rows that are done rather than be short.
        """
        with self.em.loop(0, -(-places // height), 1) as loop:
            first = multiply(self.em, loop.index, height)
            if places % height:
                last = str(places - height)
                first = self.em.intrinsic("llvm.smin", "i64", str(first), last)
            block(first)
            loop.yield_([])

    def _whole_lines(self, parts: Sequence[Part]) -> int:
        """Return the vectors of a line of results if lines are stored as they are.

        Else 0: lines are computed in rows as wide as the packed ones, and copied.
        """
        last = self.found.windows[-1]
        is_plain = len(parts) == 2 and all(p.step == 1 for p in parts)
        if not is_plain or last.out != 1 or last.places % self.lanes:
            return 0
        return last.places // self.lanes

    def _packing(self, lines: Sequence[Line]) -> _Packing:
        """Choose as many rows of places as fit the block."""
        places = lines[0].places
        for blocks in range(1, places + 1):
            packing = _Packing(self.found.channels, lines, -(-places // blocks))
            size = packing.rows.extent * packing.row
            size += self.found.filters.extent * packing.span
            if size * self.size <= _BLOCK_BYTES:
                break
        return packing

    def _sums(self, packing: _Packing, row: int) -> Sums:
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
        self, tiles: Tiles, packing: _Packing, w: str, to: str, columns: Lines
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
        block: tuple[_Packing, int] | None,
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


def _even(found: Convolution, packing: _Packing) -> Even:
    """Return taps that are even steps of each axis as loops."""
    loops = []
    for line, win, stride in zip(
        packing.lines, found.windows, packing.strides, strict=True
    ):
        step = line.taps[1][1] - line.taps[0][1] if len(line.taps) > 1 else 0
        by = line.taps[1][0] - line.taps[0][0] if len(line.taps) > 1 else 0
        loops.append((len(line.taps), by * win.w, step * stride))
    return Even(tuple(loops))


def _places_as_taps(w: Window) -> Line:
    """Return the line whose places are the taps of a window, and the reverse."""
    taps = tuple((y, y * w.stride - w.low) for y in range(w.places))
    return Line(w.extent, w.taps, w.step, taps, w.x)


class _TapsForward(_Emission):
    """C[image, filter] of each result = sum over channel, tap of packed * w.

    Taps and places change sides: a line's places are the taps of the window.
    """

    def emit(self) -> ConvCode:
        """Return the code."""
        em, found = self.em, self.found
        self.width = -(-found.filters.extent // self.lanes) * self.lanes
        lines = [_places_as_taps(w) for w in found.windows]
        packing = _Packing(found.batch, lines, self._height(lines))
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
        with em.loop("%begin", "%end", 1) as part:
            x, w, out = self.part_at(part.index)
            self.rows.clear(self.sums_at, total)
            with em.loop(0, found.channels.extent, 1) as c:
                here = self.moved(x, c.index, found.channels.x)
                filters = self.moved(w, c.index, found.channels.w)
                self._blocks(tiles, packing, here, filters)
                c.yield_([])
            self._copy_out(out)
            part.yield_([])
        return self.finish(packed + turned + total * self.size)

    def _sums(self, packing: _Packing) -> Sums:
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

    def _height(self, lines: Sequence[Line]) -> int:
        """Return the rows of places in a block."""
        inner = prod(line.places for line in lines[1:])
        most = max(1, _POSITIONS // inner)
        blocks = -(-lines[0].places // most)
        return -(-lines[0].places // blocks)

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

    def _blocks(self, tiles: Tiles, packing: _Packing, x: str, w: str) -> None:
        """Add the products of one channel, block by block of places."""
        em, places = self.em, packing.lines[0].places
        whole = places // packing.height
        with em.loop(0, whole, 1) as loop:
            first = multiply(em, loop.index, packing.height)
            self._block(tiles, packing, x, w, first, packing.height)
            loop.yield_([])
        if places % packing.height:
            first = whole * packing.height
            self._block(tiles, packing, x, w, first, places - first)

    def _block(
        self, tiles: Tiles, packing: _Packing, x: str, w: str, first: Index, height: int
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
