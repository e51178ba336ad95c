"""The micro-kernel of convolutions: a tile of C kept in registers.

    C[i, j] (+)= sum over m < count, s in steps: A[i*a_row + m*a_outer + s.a]
                                                 * B[m*b_outer + s.b + j]

as in `gemm`, but what is summed over need not be evenly spaced: `steps` is a table of
offsets (the taps of a window), or a nest of even loops. Rows of B are read wherever
they start, so a packed image serves all taps.
"""

from collections.abc import Callable
from dataclasses import replace

import numpy as np

from ...records import dataclass
from .indices import multiply
from .target import Target
from .text import Emitter, constant, vec
from .values import register_type

_UNROLLED = 3  # steps from which a table is used
_WIDE_REGISTERS = 64  # bytes: the machines with 32 vector registers
Pair = tuple[int, int]
Places = tuple[str, str, str]  # addresses in A, B and C


@dataclass(frozen=True)
class Table:
    """Offsets in A and B of each step."""

    pairs: tuple[Pair, ...]

    @property
    def count(self) -> int:
        """How many steps."""
        return len(self.pairs)


@dataclass(frozen=True)
class Even:
    """Nested loops: extent, and strides in A and B, outermost first."""

    loops: tuple[tuple[int, int, int], ...]

    @property
    def count(self) -> int:
        """How many steps."""
        total = 1
        for extent, _, _ in self.loops:
            total *= extent
        return total


@dataclass(frozen=True)
class Sums:
    """What tiles compute; see the module.

    Parameters
    ----------
    dtype : numpy.dtype
    a_row, c_row : int
        Strides from one row to the next.
    outer : (int, int)
        Strides of A and B along the counted loop.
    steps : Table or Even
    """

    dtype: np.dtype
    a_row: int
    c_row: int
    outer: Pair
    steps: Table | Even


@dataclass(frozen=True)
class Lines:
    """Columns of a matrix: lines of whole vectors, and from line to line in B and C."""

    count: int
    vectors: int
    b: int
    c: int


@dataclass(frozen=True)
class Tile:
    """Rows, and for each vector of columns its offset in B and in C."""

    rows: int
    columns: tuple[Pair, ...]


def tile_rows(target: Target) -> tuple[int, ...]:
    """Return the rows of a tile of 1, 2, ... vectors."""
    if target.vector_bytes < _WIDE_REGISTERS:
        return (10, 6)
    return (16, 12, 8, 6)


class Tiles:
    """Writes micro-kernels, and calls of them over a matrix.

    Parameters
    ----------
    symbol : str
        What the functions' names start with.
    sums : Sums
    target : Target
    new_emitter : callable
        Returns an emitter for one more function of the module.
    """

    def __init__(
        self,
        symbol: str,
        sums: Sums,
        target: Target,
        new_emitter: Callable[[], Emitter],
    ) -> None:
        self.symbol, self.sums, self.target = symbol, sums, target
        self.new_emitter = new_emitter
        self.element = register_type(sums.dtype)
        self.size = sums.dtype.itemsize
        self.lanes = target.lanes(8 * self.size)
        self.type = vec(self.element, self.lanes)
        self.found: dict[Tile, tuple[str, str]] = {}

    def cover(
        self, em: Emitter, at: Places, shape: tuple[int, Lines], count: str, more: str
    ) -> None:
        """Compute a matrix: so many rows, and lines of vectors as columns."""
        rows, lines = shape
        widest = len(tile_rows(self.target))
        if lines.vectors >= widest:

            def line(k: str | int, _: int) -> None:
                here = self._moved(em, at, k, (0, lines.b, lines.c))
                one = Lines(1, widest, 0, 0)
                chunks(em, lines.vectors, widest, lambda j, n: strip(here, j, n, one))

            def strip(here: Places, j: str | int, n: int, one: Lines) -> None:
                to = self._moved(em, here, j, (0, self.lanes, self.lanes))
                self._panels(em, to, rows, replace(one, vectors=n), count, more)

            chunks(em, lines.count, 1, line)
            return

        def group(k: str | int, n: int) -> None:
            here = self._moved(em, at, k, (0, lines.b, lines.c))
            self._panels(em, here, rows, replace(lines, count=n), count, more)

        chunks(em, lines.count, widest // lines.vectors, group)

    def _panels(
        self, em: Emitter, at: Places, m: int, lines: Lines, count: str, more: str
    ) -> None:
        columns = tuple(
            (k * lines.b + v * self.lanes, k * lines.c + v * self.lanes)
            for k in range(lines.count)
            for v in range(lines.vectors)
        )

        def panel(i: str | int, height: int) -> None:
            here = self._moved(em, at, i, (self.sums.a_row, 0, self.sums.c_row))
            self._call(em, Tile(height, columns), here, count, more)

        chunks(em, m, tile_rows(self.target)[len(columns) - 1], panel)

    def _moved(
        self, em: Emitter, at: Places, index: str | int, by: tuple[int, int, int]
    ) -> Places:
        moved = [
            em.gep(self.element, p, multiply(em, index, s))
            for p, s in zip(at, by, strict=True)
        ]
        return moved[0], moved[1], moved[2]

    def _call(self, em: Emitter, tile: Tile, at: Places, count: str, more: str) -> None:
        if tile not in self.found:
            name = f"{self.symbol}.{tile.rows}x{len(tile.columns)}.{len(self.found)}"
            self.found[tile] = name, self._function(name, tile)
        arguments = [("ptr", p) for p in at]
        name, _ = self.found[tile]
        em.call("void", name, [*arguments, ("i64", count), ("i1", more)])

    def texts(self) -> list[str]:
        """Return the functions that were called."""
        return [text for _, text in self.found.values()]

    def _function(self, name: str, tile: Tile) -> str:
        em = self.new_emitter()
        zero = constant(self.element, 0.0, self.lanes)
        start = [(self.type, zero)] * (tile.rows * len(tile.columns))
        with em.loop(0, "%count", 1, start) as loop:
            a = em.gep(self.element, "%A", multiply(em, loop.index, self.sums.outer[0]))
            b = em.gep(self.element, "%B", multiply(em, loop.index, self.sums.outer[1]))
            loop.yield_(self._steps(em, tile, a, b, loop.carried))
        sums = [(self.type, value) for value in loop.results]
        with em.if_("%more", sums) as old:
            places = self._places(em, tile)
            kept = [em.load(self.type, at, self.size) for at in places]
            pairs = zip(kept, loop.results, strict=True)
            old.yield_([em.op(f"fadd {self.type} {x}, {y}") for x, y in pairs])
        for at, value in zip(self._places(em, tile), old.results, strict=True):
            em.store(self.type, value, at, self.size)
        em.ret()
        parameters = ["ptr %A", "ptr %B", "ptr %C", "i64 %count", "i1 %more"]
        return em.function(
            name, parameters, linkage="internal", attributes="nounwind noinline"
        )

    def _places(self, em: Emitter, tile: Tile) -> list[str]:
        return [
            em.gep(self.element, "%C", i * self.sums.c_row + column)
            for i in range(tile.rows)
            for _, column in tile.columns
        ]

    def _steps(
        self, em: Emitter, tile: Tile, a: str, b: str, sums: list[str]
    ) -> list[str]:
        steps = self.sums.steps
        if isinstance(steps, Even):
            return self._nest(em, tile, a, b, sums, steps.loops)
        if steps.count <= _UNROLLED:
            for pair in steps.pairs:
                at = [
                    em.gep(self.element, p, o)
                    for p, o in zip((a, b), pair, strict=True)
                ]
                sums = self._rank_one(em, tile, at[0], at[1], sums)
            return sums
        offsets = [o for pair in steps.pairs for o in pair]
        table = em.table(f"{self.symbol}.steps", "i64", offsets)
        carried = [(self.type, value) for value in sums]
        with em.loop(0, 2 * steps.count, 2, carried) as loop:
            row = em.gep("i64", table, loop.index)
            at = [
                em.gep(self.element, p, em.load("i64", em.gep("i64", row, k), 8))
                for k, p in enumerate((a, b))
            ]
            loop.yield_(self._rank_one(em, tile, at[0], at[1], loop.carried))
        return loop.results

    def _nest(
        self,
        em: Emitter,
        tile: Tile,
        a: str,
        b: str,
        sums: list[str],
        loops: tuple[tuple[int, int, int], ...],
    ) -> list[str]:
        if not loops:
            return self._rank_one(em, tile, a, b, sums)
        (extent, by_a, by_b), *inner = loops
        with em.loop(0, extent, 1, [(self.type, v) for v in sums]) as loop:
            left = em.gep(self.element, a, multiply(em, loop.index, by_a))
            right = em.gep(self.element, b, multiply(em, loop.index, by_b))
            out = self._nest(em, tile, left, right, loop.carried, tuple(inner))
            loop.yield_(out)
        return loop.results

    def _rank_one(
        self, em: Emitter, tile: Tile, a: str, b: str, sums: list[str]
    ) -> list[str]:
        """Add the product of one column of A and one row of B."""
        row = []
        for column, _ in tile.columns:
            at = em.gep(self.element, b, column)
            row.append(em.load(self.type, at, self.size))
        out = []
        for i in range(tile.rows):
            at = em.gep(self.element, a, i * self.sums.a_row)
            x = em.splat(self.element, em.load(self.element, at, self.size), self.lanes)
            for v, y in enumerate(row):
                z = sums[i * len(row) + v]
                out.append(multiply_add(em, self.target, self.type, x, y, z))
        return out


def multiply_add(
    em: Emitter, target: Target, type_: str, x: str, y: str, z: str
) -> str:
    """Return ``x*y + z``, rounded once where that is one instruction."""
    if target.has_fma:
        return em.intrinsic("llvm.fma", type_, x, y, z)
    return em.op(f"fadd {type_} {z}, {em.op(f'fmul {type_} {x}, {y}')}")


def chunks(
    em: Emitter, total: int, size: int, body: Callable[[str | int, int], None]
) -> None:
    """Run `body` with the start and extent of each chunk; a loop for full ones."""
    whole = total // size
    if whole == 1:
        body(0, size)
    elif whole:
        with em.loop(0, whole * size, size) as loop:
            body(loop.index, size)
            loop.yield_([])
    if total % size:
        body(whole * size, total % size)
