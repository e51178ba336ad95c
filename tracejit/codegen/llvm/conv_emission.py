"""What all forms of convolutions share: packed blocks, functions, parts.

Needs `conv_forms`. Establishes `Packing`, how a block of the operand lies in scratch,
and `Emission`, from which the forms derive.
"""

from collections.abc import Callable, Sequence
from dataclasses import replace
from itertools import product
from math import prod

from ...records import dataclass
from .conv_forms import parts_along, role_of
from .conv_rows import Rows
from .conv_shape import Convolution, Line, Role
from .conv_tile import Sums, Tiles, chunks
from .indices import Index, add, multiply
from .target import Target
from .text import Emitter

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


class Packing:
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


def height_of(lines: Sequence[Line], most: int) -> int:
    """Return the rows of places in equal blocks of `most` places, if a row has less."""
    inner = prod(line.places for line in lines[1:])
    blocks = -(-lines[0].places // max(1, most // inner))
    return -(-lines[0].places // blocks)


class Emission:
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
            role = role_of(self.found, name)
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

    def sum_blocks(
        self,
        packing: Packing,
        sums: tuple[str, int],
        block: Callable[[str, str, Index, int], None],
        store: Callable[[str], None],
    ) -> None:
        """Write the body of a form that sums over places: part by part.

        Parameters
        ----------
        packing : Packing
        sums : (str, int)
            Where sums lie, and how many numbers they are.
        block : callable
            ``(x, w, first, height)``: adds a block of rows of one channel.
        store : callable
            ``(out)``: stores the sums of all channels.
        """
        em, channels = self.em, self.found.channels
        with em.loop("%begin", "%end", 1) as part:
            x, w, out = self.part_at(part.index)
            self.rows.clear(*sums)
            with em.loop(0, channels.extent, 1) as c:
                here = self.moved(x, c.index, channels.x)
                there = self.moved(w, c.index, channels.w)
                chunks(
                    em,
                    packing.lines[0].places,
                    packing.height,
                    lambda first, height: block(here, there, first, height),
                )
                c.yield_([])
            store(out)
            part.yield_([])

    def blocks(self, places: int, height: int, block: Callable[[Index], None]) -> None:
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

    def packing_function(self, name: str, packing: Packing) -> None:
        """Add the function that packs `count` rows of places from `first` on."""
        self.function(name, lambda rows: _pack(rows, packing), "x to")


def _part_of(role: Role, parts: int) -> Role:
    return replace(role, extent=role.extent // parts)


def _pack(rows: Rows, packing: Packing) -> None:
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
    packing: Packing,
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
