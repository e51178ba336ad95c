"""Loops around the micro-kernel: batches, blocks of k, strips of columns, panels.

A product runs over a range of its rows, its columns or its outermost batch axis, so
that several threads, or a loop that follows each block of rows with an epilogue, may
share it. `quantum` says where ranges may begin and end. An element has the same bits
however the product is cut: it is summed in blocks of `KC` values of k, in order, the
first into a register from zero, every later one added to memory.

The order of loops is

    batch → k in blocks of KC → [pack B] → [rows in chunks, pack A] → strips → panels

A block of B that was packed before (`emit_pack`) is not packed again.
"""

from collections.abc import Callable
from dataclasses import dataclass

from ..indices import Index, multiply
from ..target import Target, aligned
from ..text import Emitter
from ..values import register_type
from .micro import MicroKernel, Operands
from .packing import PackA, PackB, Transposition, subtract
from .problem import KC, PAD, Pair, Problem, Split, Tile, blocking_of

Range = tuple[Index, Index]


@dataclass(frozen=True)
class Form:
    """How a product is called.

    Parameters
    ----------
    split : Split
        What the range counts.
    packed : bool
        Whether B is what `emit_pack`'s function wrote, and not B itself. The problem
        has no batch axes then.
    adds : bool
        Whether products are added to C as it is.
    """

    split: Split = Split.ROWS
    packed: bool = False
    adds: bool = False


def is_packed(problem: Problem, target: Target) -> bool:
    """Tell whether B is copied before it is multiplied."""
    return blocking_of(problem, target).pack_b


def scratch_bytes(problem: Problem, target: Target, form: Form) -> int:
    """Return the scratch memory that a call of the product needs."""
    gemm = _Gemm("", problem, target, form, Emitter())
    return gemm.packed_a_bytes + (0 if form.packed else gemm.packed_b_bytes(gemm.depth))


def packed_bytes(problem: Problem, target: Target) -> int:
    """Return the size of B as `emit_pack`'s function writes it."""
    gemm = _Gemm("", problem, target, Form(packed=True), Emitter())
    return gemm.packed_b_bytes(problem.k)


def emit_gemm(
    symbol: str,
    problem: Problem,
    target: Target,
    new_emitter: Callable[[], Emitter],
    form: Form,
) -> str:
    """Return functions that compute a problem.

    Parameters
    ----------
    symbol : str
        The name of ``void (ptr A, ptr B, ptr C, ptr scratch, i64 begin, i64 end)``;
        other functions have names that start with it. The pointers are those of the
        whole matrices, whatever the range.
    new_emitter : callable
        Returns an emitter for one more function of the module.
    """
    gemm = _Gemm(symbol, problem, target, form, new_emitter())
    texts = [gemm.emit()]
    for tile in gemm.tiles.values():
        em = new_emitter()
        name = f"{symbol}.{tile.name}"
        texts.append(MicroKernel(name, tile, gemm.operands, target, em).emit())
    if gemm.blocking.pack_b and not form.packed:
        texts.append(gemm.transposition(new_emitter()))
    return "\n".join(texts)


def emit_pack(
    symbol: str, problem: Problem, target: Target, new_emitter: Callable[[], Emitter]
) -> str:
    """Return functions that pack the whole of B: ``void symbol(ptr B, ptr packed)``."""
    gemm = _Gemm(symbol, problem, target, Form(packed=True), new_emitter())
    return f"{gemm.emit_pack()}\n{gemm.transposition(new_emitter())}"


class _Gemm:
    """Writes the driver and finds out which tiles it needs."""

    def __init__(
        self, symbol: str, problem: Problem, target: Target, form: Form, em: Emitter
    ) -> None:
        self.symbol, self.problem, self.target, self.em = symbol, problem, target, em
        self.form = form
        self.element = register_type(problem.dtype)
        self.size = problem.dtype.itemsize
        self.lanes = target.lanes(8 * self.size)
        self.blocking = blocking_of(problem, target)
        self.strip = self.blocking.vectors * self.lanes
        self.depth = min(problem.k, KC)
        self.tiles: dict[str, Tile] = {}
        self.operands = Operands(
            problem.dtype,
            self._packed_a() if self.blocking.pack_a else problem.a,
            self.strip if self.blocking.pack_b else problem.b[0],
            problem.c[0],
            self.blocking.pack_b,
        )

    def _packed_a(self) -> Pair:
        """Return the strides of packed A: the contiguous axis stays so."""
        if self.problem.a[0] == 1:
            return 1, self.blocking.chunk
        return self.depth + PAD, 1

    @property
    def packed_a_bytes(self) -> int:
        """Bytes of a packed block of A."""
        if not self.blocking.pack_a:
            return 0
        size = self.blocking.chunk * (self.depth + PAD) * self.size
        return aligned(size)

    def packed_b_bytes(self, depth: int) -> int:
        """Bytes of packed strips of `depth` rows of B.

        Transposed squares are whole: the last may write some rows behind the end.
        """
        if not self.blocking.pack_b:
            return 0
        strips = -(-self.problem.n // self.strip)
        return (strips * depth + self.lanes) * self.strip * self.size

    # The functions

    def emit(self) -> str:
        """Return the driver."""
        self._batches(0, ("%A", "%B", "%C"))
        self.em.ret()
        parameters = [f"ptr {p}" for p in ("%A", "%B", "%C", "%scratch")]
        parameters += ["i64 %begin", "i64 %end"]
        return self.em.function(self.symbol, parameters, linkage="internal")

    def emit_pack(self) -> str:
        """Return the function that packs the whole of B."""
        for start, depth in self._static_blocks():
            source = self._at("%B", start * self.problem.b[0])
            to = self._at("%packed", self._packed_offset(start))
            self._pack_b(source, to, depth, (0, self.problem.n))
        self.em.ret()
        parameters = ["ptr %B", "ptr %packed"]
        return self.em.function(self.symbol, parameters, linkage="internal")

    def transposition(self, em: Emitter) -> str:
        """Return the function that transposes squares, if B needs it."""
        by_row, by_column = self.problem.b
        if by_row != 1 or by_column == 1:
            return ""
        square = Transposition(
            em, self.problem.dtype, self.target, by_column, self.strip
        )
        return square.emit(f"{self.symbol}.square")

    # Loops from the outermost in

    def _range(self, split: Split) -> Range:
        if split is self.form.split:
            return "%begin", "%end"
        return 0, self.problem.extent(split)

    def _batches(self, level: int, pointers: tuple[str, str, str]) -> None:
        if level == len(self.problem.batch):
            if self.problem.m and self.problem.n:
                self._product(*pointers)
            return
        extent, *strides = self.problem.batch[level]
        limits = (0, extent) if level else self._range(Split.BATCH)
        with self.em.loop(*limits, 1) as loop:
            moved = [
                self._at(p, multiply(self.em, loop.index, s))
                for p, s in zip(pointers, strides, strict=True)
            ]
            self._batches(level + 1, (moved[0], moved[1], moved[2]))
            loop.yield_([])

    def _static_blocks(self) -> list[tuple[int, int]]:
        """Return the first value and the number of values of each block of k."""
        k = self.problem.k
        return [(start, min(KC, k - start)) for start in range(0, k, KC)]

    def _product(self, a: str, b: str, c: str) -> None:
        whole = self.problem.k // KC if self.problem.k > KC else 0
        if whole:
            with self.em.loop(0, whole, 1) as loop:
                more = self.em.op(f"icmp ne i64 {loop.index}, 0")
                more = "true" if self.form.adds else more
                start = multiply(self.em, loop.index, KC)
                self._block(a, b, c, start, KC, more)
                loop.yield_([])
        rest = self.problem.k - whole * KC
        if rest or not whole:
            more = "true" if whole or self.form.adds else "false"
            self._block(a, b, c, whole * KC, rest, more)

    def _packed_offset(self, start: Index) -> Index:
        """Return where a block of k starts in the whole of B, packed."""
        strips = -(-self.problem.n // self.strip)
        return multiply(self.em, start, strips * self.strip)

    def _block(
        self, a: str, b: str, c: str, start: Index, depth: int, more: str
    ) -> None:
        """Add the products of `depth` values of k; to C itself if `more`."""
        a = self._at(a, multiply(self.em, start, self.problem.a[1]))
        if self.blocking.pack_b and self.form.packed:
            b = self._at(b, self._packed_offset(start))
        else:
            b = self._at(b, multiply(self.em, start, self.problem.b[0]))
        if self.blocking.pack_b and not self.form.packed:
            packed = self.em.gep("i8", "%scratch", self.packed_a_bytes)
            self._pack_b(b, packed, depth, self._range(Split.COLUMNS))
            b = packed
        rows = self._range(Split.ROWS)
        if not self.blocking.pack_a:
            self._panels(a, b, c, rows, depth, more)
            return
        self._packed_chunks(a, b, c, rows, depth, more)

    def _packed_chunks(
        self, a: str, b: str, c: str, rows: Range, depth: int, more: str
    ) -> None:
        em, chunk = self.em, self.blocking.chunk
        pack = PackA(
            em, self.problem.dtype, self.target, self.problem.a, self.operands.a
        )
        with em.loop(*rows, chunk) as loop:
            end = em.intrinsic(
                "llvm.smin",
                "i64",
                em.op(f"add i64 {loop.index}, {chunk}"),
                str(rows[1]),
            )
            source = self._at(a, multiply(em, loop.index, self.problem.a[0]))
            count = subtract(em, end, loop.index)
            pack.emit(source, "%scratch", count, depth)
            first = multiply(em, loop.index, -self.operands.a[0])
            packed = self._at("%scratch", first)  # where row 0 would be
            self._panels(packed, b, c, (loop.index, end), depth, more)
            loop.yield_([])

    def _panels(
        self, a: str, b: str, c: str, rows: Range, depth: int, more: str
    ) -> None:
        """Run the micro-kernel over strips of columns and panels of rows."""

        def strip(j: Index, columns: int) -> None:
            vectors = -(-columns // self.lanes)
            step = depth if self.blocking.pack_b else self.problem.b[1]
            right = self._at(b, multiply(self.em, j, step))
            to = self._at(c, j)

            def panel(i: Index, count: int) -> None:
                tile = Tile(count, vectors, columns % self.lanes)
                left = self._at(a, multiply(self.em, i, self.operands.a[0]))
                out = self._at(to, multiply(self.em, i, self.problem.c[0]))
                self._call(tile, left, right, out, depth, more)

            self._pieces(self.problem.m, self.blocking.rows[vectors - 1], rows, panel)

        self._strips(self._range(Split.COLUMNS), strip)

    def _call(self, tile: Tile, a: str, b: str, c: str, depth: int, more: str) -> None:
        self.tiles[tile.name] = tile
        arguments = [("ptr", a), ("ptr", b), ("ptr", c)]
        arguments += [("i64", str(depth)), ("i1", more)]
        self.em.call("void", f"{self.symbol}.{tile.name}", arguments)

    # Helpers

    def _pack_b(self, source: str, to: str, depth: int, columns: Range) -> None:
        pack = PackB(
            self.em,
            self.problem.dtype,
            self.target,
            self.problem.b,
            self.strip,
            f"{self.symbol}.square",
        )
        pack.emit(source, to, depth, lambda body: self._strips(columns, body))

    def _strips(self, columns: Range, body: Callable[[Index, int], None]) -> None:
        self._pieces(self.problem.n, self.strip, columns, body)

    def _pieces(
        self, total: int, size: int, limits: Range, body: Callable[[Index, int], None]
    ) -> None:
        """Run `body` with the start and extent of the pieces of a range.

        A loop for pieces of `size`; the last, shorter one only if the range has it.
        """
        em, (begin, end) = self.em, limits
        whole = total // size * size
        if isinstance(begin, int) and isinstance(end, int):
            self._known_pieces(begin, end, size, body)
            return
        if whole:
            stop = em.intrinsic("llvm.smin", "i64", str(end), str(whole))
            with em.loop(begin, stop, size) as loop:
                body(loop.index, size)
                loop.yield_([])
        if total > whole:
            with em.if_(em.op(f"icmp eq i64 {end}, {total}")):
                body(whole, total - whole)

    def _known_pieces(
        self, begin: int, end: int, size: int, body: Callable[[Index, int], None]
    ) -> None:
        whole = (end - begin) // size * size
        if whole == size:
            body(begin, size)
        elif whole:
            with self.em.loop(begin, begin + whole, size) as loop:
                body(loop.index, size)
                loop.yield_([])
        if end - begin > whole:
            body(begin + whole, end - begin - whole)

    def _at(self, pointer: str, offset: Index) -> str:
        return self.em.gep(self.element, pointer, offset)
