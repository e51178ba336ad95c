"""Matrix products of float32 and float64: C[i, j] = Σ_k A[i, k] · B[k, j].

A micro-kernel keeps a tile of C in registers (6 rows of four vectors, say), and per k
loads one row of B and broadcasts one column of A. Drivers run it over strips of columns
and panels of rows. A is read with any strides; a row of B must be contiguous, or B is
packed into strips first, as it is, with A, where the product is large. Every element is
summed in blocks of `KC` values of k, in order, by fused multiply-adds where the machine
has them: the order depends on the extent of k alone.

Blocking after Goto and van de Geijn, "Anatomy of high-performance matrix
multiplication", 2008.
"""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from .indices import Index, add, multiply
from .memory import lanes_mask
from .target import Target
from .text import Emitter, constant, vec
from .values import register_type

KC = 512
# From this many multiplications and rows on, packing operands pays.
_LARGE = 1 << 27
_LARGE_ROWS = 128
_PAD = 16  # elements between packed rows, against conflicts in the cache
_WIDE_REGISTERS = 64  # bytes: the machines with 32 vector registers
Pair = tuple[int, int]


@dataclass(frozen=True)
class Problem:
    """A product of matrices, and loops around it.

    Parameters
    ----------
    dtype : numpy.dtype
        float32 or float64.
    m, n, k : int
    a, b, c : tuple of int
        Strides in elements: of A along (i, k), of B along (k, j), of C along (i, j).
        C's second one is 1.
    batch : tuple of (extent, stride in A, stride in B, stride in C)
    """

    dtype: np.dtype
    m: int
    n: int
    k: int
    a: Pair
    b: Pair
    c: Pair
    batch: tuple[tuple[int, int, int, int], ...] = ()


@dataclass(frozen=True)
class Tile:
    """The part of C that the micro-kernel computes: rows, vectors, a masked tail.

    `tail` is the number of columns in the last vector; 0 if it is whole.
    """

    rows: int
    vectors: int
    tail: int = 0

    @property
    def name(self) -> str:
        """A suffix for the function."""
        return f"{self.rows}x{self.vectors}" + (f"t{self.tail}" if self.tail else "")


@dataclass(frozen=True)
class Blocking:
    """How a problem is cut.

    Parameters
    ----------
    vectors : int
        Of a full strip of columns.
    rows : tuple of int
        Rows of a panel for strips of 1, 2, ... vectors.
    chunk : int
        Rows of A that are packed at a time.
    pack_a, pack_b : bool
    """

    vectors: int
    rows: tuple[int, ...]
    chunk: int
    pack_a: bool
    pack_b: bool


def blocking_of(problem: Problem, target: Target) -> Blocking:
    """Return how a problem is cut on a target."""
    large = problem.m * problem.n * problem.k >= _LARGE
    large = large and problem.m >= _LARGE_ROWS
    pack_b = large or problem.b[1] != 1
    if target.vector_bytes < _WIDE_REGISTERS:
        return Blocking(2, (10, 6), 120, large, pack_b)
    if large:
        return Blocking(2, (16, 14), 112, True, True)
    return Blocking(4, (16, 12, 8, 6), 112, False, pack_b)


def scratch_bytes(problem: Problem, target: Target) -> int:
    """Return the scratch memory that `emit_gemm` needs."""
    gemm = _Gemm("", problem, target, Emitter())
    return gemm.packed_a_bytes + gemm.packed_b_bytes


def emit_gemm(
    symbol: str,
    problem: Problem,
    target: Target,
    new_emitter: Callable[[], Emitter],
) -> str:
    """Return functions that compute a problem.

    Parameters
    ----------
    symbol : str
        The name of ``void (ptr A, ptr B, ptr C, ptr scratch)``; other functions have
        names that start with it.
    new_emitter : callable
        Returns an emitter for one more function of the module.
    """
    gemm = _Gemm(symbol, problem, target, new_emitter())
    main = gemm.emit()
    micros = [
        _MicroKernel(symbol, tile, gemm, new_emitter()).emit()
        for tile in gemm.tiles.values()
    ]
    return "\n".join([*micros, main])


class _Gemm:
    """Writes the driver and finds out which tiles it needs."""

    def __init__(
        self, symbol: str, problem: Problem, target: Target, em: Emitter
    ) -> None:
        self.symbol, self.problem, self.target, self.em = symbol, problem, target, em
        self.element = register_type(problem.dtype)
        self.size = problem.dtype.itemsize
        self.lanes = target.lanes(8 * self.size)
        self.blocking = blocking_of(problem, target)
        self.strip = self.blocking.vectors * self.lanes
        self.depth = min(problem.k, KC)
        self.tiles: dict[str, Tile] = {}
        self.a_strides = self._packed_a() if self.blocking.pack_a else problem.a
        self.b_row = self.strip if self.blocking.pack_b else problem.b[0]

    def _packed_a(self) -> Pair:
        """Return the strides of packed A: the contiguous axis stays so."""
        return (
            (1, self.blocking.chunk)
            if self.problem.a[0] == 1
            else (self.depth + _PAD, 1)
        )

    @property
    def packed_a_bytes(self) -> int:
        """Bytes of a packed block of A."""
        if not self.blocking.pack_a:
            return 0
        size = self.blocking.chunk * (self.depth + _PAD) * self.size
        return -(-size // 64) * 64

    @property
    def packed_b_bytes(self) -> int:
        """Bytes of packed strips of B, one block of k deep."""
        if not self.blocking.pack_b:
            return 0
        strips = -(-self.problem.n // self.strip)
        return strips * self.strip * self.depth * self.size

    def emit(self) -> str:
        """Return the driver."""
        self._batches(0, ("%A", "%B", "%C"))
        self.em.ret()
        parameters = [f"ptr {p}" for p in ("%A", "%B", "%C", "%scratch")]
        return self.em.function(self.symbol, parameters, linkage="internal")

    def _batches(self, level: int, pointers: tuple[str, str, str]) -> None:
        if level == len(self.problem.batch):
            if self.problem.m and self.problem.n:
                self._product(*pointers)
            return
        extent, *strides = self.problem.batch[level]
        with self.em.loop(0, extent, 1) as loop:
            moved = [
                self._at(p, self._times(loop.index, s))
                for p, s in zip(pointers, strides, strict=True)
            ]
            self._batches(level + 1, (moved[0], moved[1], moved[2]))
            loop.yield_([])

    def _product(self, a: str, b: str, c: str) -> None:
        whole = self.problem.k // KC if self.problem.k > KC else 0
        if whole:
            with self.em.loop(0, whole, 1) as loop:
                more = self.em.op(f"icmp ne i64 {loop.index}, 0")
                start = self._times(loop.index, KC)
                self._block(a, b, c, start, KC, more)
                loop.yield_([])
        rest = self.problem.k - whole * KC
        if rest or not whole:
            more = "true" if whole else "false"
            self._block(a, b, c, whole * KC, rest, more)

    def _block(
        self, a: str, b: str, c: str, start: Index, depth: int, more: str
    ) -> None:
        """Add the products of `depth` values of k; to C itself if `more`."""
        a = self._at(a, self._times(start, self.problem.a[1]))
        b = self._at(b, self._times(start, self.problem.b[0]))
        if self.blocking.pack_b:
            packed = self.em.gep("i8", "%scratch", self.packed_a_bytes)
            _PackB(self, b, packed, depth).emit()
            b = packed
        if not self.blocking.pack_a:
            self._panels(a, b, c, self.problem.m, depth, more)
            return
        self.chunks(
            self.problem.m,
            self.blocking.chunk,
            lambda i, rows: self._packed_panels(a, b, c, i, rows, depth, more),
        )

    def _packed_panels(
        self, a: str, b: str, c: str, i: Index, rows: int, depth: int, more: str
    ) -> None:
        block = self._at(a, self._times(i, self.problem.a[0]))
        _pack_a(self, block, "%scratch", rows, depth)
        to = self._at(c, self._times(i, self.problem.c[0]))
        self._panels("%scratch", b, to, rows, depth, more)

    def _panels(self, a: str, b: str, c: str, m: int, depth: int, more: str) -> None:
        """Run the micro-kernel over all strips of columns and panels of `m` rows."""

        def strip(j: Index, columns: int) -> None:
            vectors = -(-columns // self.lanes)
            tail = columns % self.lanes
            at = self._times(j, self.problem.b[1])
            if self.blocking.pack_b:
                at = self._times(j, depth)
            to = self._at(c, j)
            rows = self.blocking.rows[vectors - 1]
            self.chunks(
                m,
                rows,
                lambda i, r: self._call(
                    Tile(r, vectors, tail),
                    self._at(a, self._times(i, self.a_strides[0])),
                    self._at(b, at),
                    self._at(to, self._times(i, self.problem.c[0])),
                    depth,
                    more,
                ),
            )

        self.chunks(self.problem.n, self.strip, strip)

    def _call(self, tile: Tile, a: str, b: str, c: str, depth: int, more: str) -> None:
        self.tiles[tile.name] = tile
        arguments = [("ptr", a), ("ptr", b), ("ptr", c)]
        arguments += [("i64", str(depth)), ("i1", more)]
        self.em.call("void", f"{self.symbol}.{tile.name}", arguments)

    # Helpers

    def chunks(self, total: int, size: int, body: Callable[[Index, int], None]) -> None:
        """Run `body` with the start and extent of each chunk; a loop for full ones."""
        whole = total // size
        if whole == 1:
            body(0, size)
        elif whole:
            with self.em.loop(0, whole * size, size) as loop:
                body(loop.index, size)
                loop.yield_([])
        if total % size:
            body(whole * size, total % size)

    def _times(self, index: Index, factor: int) -> Index:
        return multiply(self.em, index, factor)

    def _at(self, pointer: str, offset: Index) -> str:
        return self.em.gep(self.element, pointer, offset)


class _MicroKernel:
    """Writes ``void (ptr A, ptr B, ptr C, i64 k, i1 more)`` for one tile."""

    def __init__(self, symbol: str, tile: Tile, gemm: _Gemm, em: Emitter) -> None:
        self.symbol, self.tile, self.gemm, self.em = symbol, tile, gemm, em
        self.element, self.lanes, self.size = gemm.element, gemm.lanes, gemm.size
        self.type = vec(self.element, self.lanes)

    def emit(self) -> str:
        """Return the function."""
        em, gemm = self.em, self.gemm
        zero = constant(self.element, 0.0, self.lanes)
        count = self.tile.rows * self.tile.vectors
        start = [(self.type, zero)] * count
        with em.loop(0, "%k", 1, start) as loop:
            a = self._at("%A", multiply(em, loop.index, gemm.a_strides[1]))
            b = self._at("%B", multiply(em, loop.index, gemm.b_row))
            loop.yield_(self._rank_one(a, b, loop.carried))
        sums = [(self.type, value) for value in loop.results]
        with em.if_("%more", sums) as old:
            old.yield_(self._add_old(loop.results))
        self._store(old.results)
        em.ret()
        parameters = ["ptr %A", "ptr %B", "ptr %C", "i64 %k", "i1 %more"]
        name = f"{self.symbol}.{self.tile.name}"
        return em.function(
            name, parameters, linkage="internal", attributes="nounwind noinline"
        )

    def _rank_one(self, a: str, b: str, sums: list[str]) -> list[str]:
        """Add the product of one column of A and one row of B."""
        row = [self._load_b(b, v) for v in range(self.tile.vectors)]
        out = []
        for i in range(self.tile.rows):
            at = self._at(a, i * self.gemm.a_strides[0])
            scalar = self.em.load(self.element, at, self.size)
            x = self.em.splat(self.element, scalar, self.lanes)
            for v, y in enumerate(row):
                out.append(self._multiply_add(x, y, sums[i * len(row) + v]))
        return out

    def _multiply_add(self, x: str, y: str, z: str) -> str:
        if self.gemm.target.has_fma:
            return self.em.intrinsic("llvm.fma", self.type, x, y, z)
        return self.em.op(
            f"fadd {self.type} {z}, {self.em.op(f'fmul {self.type} {x}, {y}')}"
        )

    def _mask(self, vector: int) -> str | None:
        if vector < self.tile.vectors - 1 or not self.tile.tail:
            return None
        return lanes_mask(self.lanes, self.tile.tail)

    def _load_b(self, b: str, vector: int) -> str:
        at = self._at(b, vector * self.lanes)
        mask = self._mask(vector)
        if mask is None or self.gemm.blocking.pack_b:  # packed rows are filled up
            return self.em.load(self.type, at, self.size)
        zero = constant(self.element, 0.0, self.lanes)
        return self.em.masked_load(self.type, at, mask, self.size, zero)

    def _c(self, row: int, vector: int) -> str:
        return self._at("%C", row * self.gemm.problem.c[0] + vector * self.lanes)

    def _add_old(self, sums: list[str]) -> list[str]:
        out = []
        zero = constant(self.element, 0.0, self.lanes)
        for k, value in enumerate(sums):
            row, vector = divmod(k, self.tile.vectors)
            at, mask = self._c(row, vector), self._mask(vector)
            if mask is None:
                old = self.em.load(self.type, at, self.size)
            else:
                old = self.em.masked_load(self.type, at, mask, self.size, zero)
            out.append(self.em.op(f"fadd {self.type} {old}, {value}"))
        return out

    def _store(self, sums: list[str]) -> None:
        for k, value in enumerate(sums):
            row, vector = divmod(k, self.tile.vectors)
            at, mask = self._c(row, vector), self._mask(vector)
            if mask is None:
                self.em.store(self.type, value, at, self.size)
            else:
                self.em.masked_store(self.type, value, at, mask, self.size)

    def _at(self, pointer: str, offset: Index) -> str:
        return self.em.gep(self.element, pointer, offset)


def _pack_a(gemm: _Gemm, source: str, to: str, rows: int, depth: int) -> None:
    """Copy a block of A, its contiguous axis (or that of k) along vectors."""
    steps = gemm.problem.a
    along_rows = steps[0] == 1
    outer, inner = (depth, rows) if along_rows else (rows, depth)
    strides = (steps[1], steps[0]) if along_rows else steps
    row = max(gemm.a_strides)
    em = gemm.em
    with em.loop(0, outer, 1) as loop:
        here = em.gep(gemm.element, source, multiply(em, loop.index, strides[0]))
        there = em.gep(gemm.element, to, multiply(em, loop.index, row))
        _copy_row(gemm, here, there, inner, strides[1])
        loop.yield_([])


def _copy_row(gemm: _Gemm, source: str, to: str, count: int, stride: int) -> None:
    """Copy `count` elements to a contiguous row."""
    em, element = gemm.em, gemm.element
    lanes = gemm.lanes if stride == 1 else 1
    type_ = vec(element, lanes)
    whole = count // lanes * lanes
    with em.loop(0, whole, lanes) as loop:
        at = em.gep(element, source, multiply(em, loop.index, stride))
        value = em.load(type_, at, gemm.size)
        em.store(type_, value, em.gep(element, to, loop.index), gemm.size)
        loop.yield_([])
    if count > whole:
        mask = lanes_mask(lanes, count - whole)
        zero = constant(element, 0.0, lanes)
        at = em.gep(element, source, whole)
        value = em.masked_load(type_, at, mask, gemm.size, zero)
        em.masked_store(type_, value, em.gep(element, to, whole), mask, gemm.size)


class _PackB:
    """Copies a block of B into strips, each row of a strip contiguous and filled up.

    Parameters
    ----------
    gemm : _Gemm
    source, to : str
        Addresses of the block and of the strips.
    depth : int
        Rows of the block.
    """

    def __init__(self, gemm: _Gemm, source: str, to: str, depth: int) -> None:
        self.gemm, self.em, self.element = gemm, gemm.em, gemm.element
        self.source, self.to, self.depth = source, to, depth
        self.lanes, self.size = gemm.lanes, gemm.size
        self.type = vec(self.element, self.lanes)
        self.zero = constant(self.element, 0.0, self.lanes)

    def emit(self) -> None:
        """Write the copy."""
        self.gemm.chunks(self.gemm.problem.n, self.gemm.strip, self._strip)

    def _strip(self, j: Index, columns: int) -> None:
        em, (by_row, by_column) = self.em, self.gemm.problem.b
        source = self._at(self.source, multiply(em, j, by_column))
        to = self._at(self.to, multiply(em, j, self.depth))
        for vector in range(self.gemm.blocking.vectors):
            count = min(self.lanes, columns - vector * self.lanes)
            if count <= 0:
                break
            first = vector * self.lanes
            here = self._at(source, first * by_column)
            there = self._at(to, first)
            if by_column == 1:
                self._rows(here, there, count)
            elif by_row == 1:
                self._transposed(here, there, count)
            else:
                self._scattered(here, there, count)

    def _rows(self, source: str, to: str, count: int) -> None:
        """Copy one vector of each row."""
        em = self.em
        with em.loop(0, self.depth, 1) as loop:
            at = self._at(source, multiply(em, loop.index, self.gemm.problem.b[0]))
            self._store(to, loop.index, self._load(at, count))
            loop.yield_([])

    def _load(self, at: str, count: int) -> str:
        if count == self.lanes:
            return self.em.load(self.type, at, self.size)
        mask = lanes_mask(self.lanes, count)
        return self.em.masked_load(self.type, at, mask, self.size, self.zero)

    def _store(self, to: str, row: Index, value: str) -> None:
        at = self._at(to, multiply(self.em, row, self.gemm.strip))
        self.em.store(self.type, value, at, self.size)

    def _transposed(self, source: str, to: str, count: int) -> None:
        """Copy squares of lanes x lanes through registers, k being contiguous."""
        self.gemm.chunks(
            self.depth,
            self.lanes,
            lambda k, rows: self._square(source, to, k, rows, count),
        )

    def _square(self, source: str, to: str, k: Index, rows: int, count: int) -> None:
        em = self.em
        columns = []
        for j in range(self.lanes):
            if j >= count:
                columns.append(self.zero)
                continue
            at = self._at(source, add(em, k, j * self.gemm.problem.b[1]))
            columns.append(self._load(at, rows))
        for r, value in enumerate(transpose(em, self.element, columns)[:rows]):
            self._store(to, add(em, k, r), value)

    def _scattered(self, source: str, to: str, count: int) -> None:
        """Copy element by element."""
        em, (by_row, by_column) = self.em, self.gemm.problem.b
        with em.loop(0, self.depth, 1) as loop:
            row = self._at(source, multiply(em, loop.index, by_row))
            self._store(to, loop.index, self.zero)
            there = self._at(to, multiply(em, loop.index, self.gemm.strip))
            with em.loop(0, count, 1) as inner:
                at = self._at(row, multiply(em, inner.index, by_column))
                value = em.load(self.element, at, self.size)
                em.store(self.element, value, self._at(there, inner.index), self.size)
                inner.yield_([])
            loop.yield_([])

    def _at(self, pointer: str, offset: Index) -> str:
        return self.em.gep(self.element, pointer, offset)


def transpose(em: Emitter, element: str, rows: list[str]) -> list[str]:
    """Transpose as many vectors as they have lanes, by interleaving halves.

    log2(n) rounds; each joins vectors k and k + n/2 into their interleaved halves.
    """
    n = len(rows)
    type_ = vec(element, n)
    picks = []
    for start in (0, n // 2):
        order = [f"i32 {start + k // 2 + (k % 2) * n}" for k in range(n)]
        picks.append(f"<{n} x i32> <{', '.join(order)}>")
    for _ in range(n.bit_length() - 1):
        joined = []
        for k in range(n // 2):
            for pick in picks:
                pair = f"{type_} {rows[k]}, {type_} {rows[k + n // 2]}"
                joined.append(em.op(f"shufflevector {pair}, {pick}"))
        rows = joined
    return rows
