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
from functools import partial

from ....records import dataclass
from ..indices import Index, multiply, scaled
from ..target import Target, aligned
from ..text import Emitter
from ..values import memory_type, register_type
from .micro import Operands, shared_kernel
from .packing import PackA, PackB, PackPanels, shared_square, subtract
from .pairs import LANES as PAIRS
from .pairs import (
    PackPairsA,
    PackPairsB,
    PairKernel,
    PairTransposition,
    emit_choice,
    minima_bytes,
)
from .problem import KC, PAD, Pair, Problem, Split, Tile, blocking_of, fitted

_NEAR = 1 << 20  # bytes of C that a core has near
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
    gemm = _Gemm("", problem, target, form, Emitter)
    return gemm.packed_a_bytes + (0 if form.packed else gemm.packed_b_bytes(gemm.depth))


def packed_bytes(problem: Problem, target: Target) -> int:
    """Return the size of B as `emit_pack`'s function writes it."""
    gemm = _Gemm("", problem, target, Form(packed=True), Emitter)
    return gemm.packed_b_bytes(problem.steps)


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
    gemm = _Gemm(symbol, problem, target, form, new_emitter)
    return "\n".join([gemm.emit(), *gemm.own])


def emit_pack(
    symbol: str, problem: Problem, target: Target, new_emitter: Callable[[], Emitter]
) -> str:
    """Return functions that pack columns of B.

    ``void symbol(ptr B, ptr packed, i64 begin, i64 end)``, of a range as `quantum` has
    them along columns; all of them together are what the product wants.
    """
    gemm = _Gemm(symbol, problem, target, Form(packed=True), new_emitter)
    return "\n".join([gemm.emit_pack(), *gemm.own])


class _Gemm:
    """Writes the driver, and `own` functions that it calls and shares with none."""

    def __init__(
        self,
        symbol: str,
        problem: Problem,
        target: Target,
        form: Form,
        new_emitter: Callable[[], Emitter],
    ) -> None:
        self.symbol, self.problem = symbol, problem
        self.target = target = fitted(problem, target)
        self.form, self.new_emitter = form, new_emitter
        self.em = new_emitter()
        self.own: list[str] = []
        self.has_square = False  # among them
        self.element = register_type(problem.dtype)
        self.operand = memory_type(problem.operand)
        self.minima = ("", "")  # of rows and columns, where those of the first are
        self.size = problem.dtype.itemsize
        self.lanes = target.lanes(8 * self.size)
        self.blocking = blocking_of(problem, target)
        self.strip = self.blocking.vectors * self.lanes
        self.depth = min(problem.steps, KC)
        self.kernels: dict[Tile, str] = {}
        a = self._packed_a() if self.blocking.pack_a else problem.a
        # From one panel of A to the next, for each row.
        self.apart = self.depth + PAD if self.blocking.panels else a[0]
        self.operands = Operands(
            problem.dtype,
            *a,
            self.strip if self.blocking.pack_b else problem.b[0],
            problem.c[0],
            self.blocking.pack_b,
            problem.m * problem.n * self.size > _NEAR,
        )

    def _packed_a(self) -> Pair:
        """Return the strides of packed A: the contiguous axis stays so."""
        if self.blocking.panels:
            return 1, self.blocking.rows[-1]
        if self.problem.a[0] == 1:
            whole = aligned(self.blocking.chunk, PAIRS)
            return 1, whole if self.problem.has_pairs else self.blocking.chunk
        return self.depth + PAD, 1

    @property
    def packed_a_bytes(self) -> int:
        """Bytes of a packed block of A, with its minima if there are pairs."""
        if not self.blocking.pack_a:
            return 0
        more = minima_bytes(self.blocking.chunk) if self.problem.has_pairs else 0
        return self._minima_of_a + more

    @property
    def _minima_of_a(self) -> int:
        """Where the minima of a packed block of A begin, in bytes."""
        chunk = self.blocking.chunk
        rows = aligned(chunk, PAIRS) if self.problem.has_pairs else chunk
        return aligned(rows * (self.depth + PAD) * self.size)

    def packed_b_bytes(self, depth: int) -> int:
        """Bytes of packed strips of `depth` rows of B.

        Transposed squares are whole: the last may write some rows behind the end.
        """
        if not self.blocking.pack_b:
            return 0
        blocks = -(-depth // KC)
        return self._minima_of_b(depth) + blocks * self._minima_bytes

    def _minima_of_b(self, depth: int) -> int:
        """Where the minima of `depth` rows of B begin, in bytes, behind its strips."""
        strips = -(-self.problem.n // self.strip)
        return (strips * depth + self.lanes) * self.strip * self.size

    @property
    def _minima_bytes(self) -> int:
        """Bytes of the minima of the columns of a block of k."""
        if not self.problem.has_pairs:
            return 0
        return minima_bytes(-(-self.problem.n // self.strip) * self.strip)

    # The functions

    def emit(self) -> str:
        """Return the driver."""
        self._batches(0, ("%A", "%B", "%C"))
        self.em.ret()
        parameters = [f"ptr {p}" for p in ("%A", "%B", "%C", "%scratch")]
        parameters += ["i64 %begin", "i64 %end"]
        return self.em.function(self.symbol, parameters, linkage="internal")

    def emit_pack(self) -> str:
        """Return the function that packs columns of B."""
        for start, values in self._static_blocks():
            source = self._of_operand("%B", start, self.problem.b[0])
            to = self._at("%packed", self._packed_offset(start))
            has_pairs = self.problem.has_pairs
            minima = self._minima_at("%packed", start) if has_pairs else to
            self._pack_b(source, to, values, ("%begin", "%end"), minima)
        self.em.ret()
        parameters = ["ptr %B", "ptr %packed", "i64 %begin", "i64 %end"]
        return self.em.function(self.symbol, parameters, linkage="internal")

    def _square(self) -> str:
        """Return the symbol of what transposes squares; empty if B needs none."""
        by_row, by_column = self.problem.b
        if by_row != 1 or by_column == 1:
            return ""
        dtype, target = self.problem.dtype, self.target
        if not self.problem.has_pairs:
            return shared_square(dtype, target, self.new_emitter)
        symbol = f"{self.symbol}.square"
        if not self.has_square:
            em = self.new_emitter()
            square = PairTransposition(em, dtype, target, by_column, self.strip)
            self.own.append(square.emit(symbol))
            self.has_square = True
        return symbol

    def _kernel(self, tile: Tile) -> str:
        """Return the symbol of a tile's function."""
        symbol = self.kernels.get(tile)
        if symbol is None:
            pairs = self.problem.has_pairs
            symbol = self._pair_kernel(tile) if pairs else self._shared_kernel(tile)
            self.kernels[tile] = symbol
        return symbol

    def _shared_kernel(self, tile: Tile) -> str:
        return shared_kernel(tile, self.operands, self.target, self.new_emitter)

    def _pair_kernel(self, tile: Tile) -> str:
        name, new = f"{self.symbol}.{tile.name}", self.new_emitter
        ways = {f"{name}.pairs": False, f"{name}.exact": True}
        for way, is_exact in ways.items():
            kernel = PairKernel(way, tile, self.operands, self.target, new(), is_exact)
            self.own.append(kernel.emit())
        self.own.append(emit_choice(name, list(ways), tile, new()))
        return name

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
            types = (self.operand, self.operand, self.element)
            moved = [
                self.em.row(t, p, multiply(self.em, loop.index, s))
                for t, p, s in zip(types, pointers, strides, strict=True)
            ]
            self._batches(level + 1, (moved[0], moved[1], moved[2]))
            loop.yield_([])

    def _static_blocks(self) -> list[tuple[int, int]]:
        """Return the first step and the number of values of each block of k."""
        problem = self.problem
        size = KC * problem.values_per_step
        return [
            (start, min(size, problem.k - start * problem.values_per_step))
            for start in range(0, problem.steps, KC)
        ]

    def _product(self, a: str, b: str, c: str) -> None:
        k, each = self.problem.k, self.problem.values_per_step
        size = KC * each
        whole = k // size if k > size else 0
        if whole:
            with self.em.loop(0, whole, 1) as loop:
                more = self.em.op(f"icmp ne i64 {loop.index}, 0")
                more = "true" if self.form.adds else more
                start = multiply(self.em, loop.index, KC)
                self._block(a, b, c, start, size, more)
                loop.yield_([])
        rest = k - whole * size
        if rest or not whole:
            more = "true" if whole or self.form.adds else "false"
            self._block(a, b, c, whole * KC, rest, more)

    def _packed_offset(self, start: Index) -> Index:
        """Return where a block of k starts in the whole of B, packed."""
        strips = -(-self.problem.n // self.strip)
        return multiply(self.em, start, strips * self.strip)

    def _block(
        self, a: str, b: str, c: str, start: Index, values: int, more: str
    ) -> None:
        """Add the products of `values` values of k; to C itself if `more`."""
        depth = self._steps(values)
        a = self._of_operand(a, start, self.problem.a[1])
        self.minima = ("", "")
        columns = ""
        if self.blocking.pack_b and self.form.packed:
            columns = self._minima_at(b, start) if self.problem.has_pairs else b
            b = self._at(b, self._packed_offset(start))
        else:
            b = self._of_operand(b, start, self.problem.b[0])
        if self.blocking.pack_b and not self.form.packed:
            packed = self.em.gep("i8", "%scratch", self.packed_a_bytes)
            columns = packed
            if self.problem.has_pairs:
                columns = self.em.gep("i8", packed, self._minima_of_b(self.depth))
            self._pack_b(b, packed, values, self._range(Split.COLUMNS), columns)
            b = packed
        self.minima = ("", columns)
        rows = self._range(Split.ROWS)
        if not self.blocking.pack_a:
            self._panels(a, b, c, rows, depth, more)
            return
        self._packed_chunks(a, b, c, rows, values, more)

    def _packed_chunks(
        self, a: str, b: str, c: str, rows: Range, values: int, more: str
    ) -> None:
        em, chunk = self.em, self.blocking.chunk
        minima = "%scratch"
        if self.problem.has_pairs:
            minima = em.gep("i8", "%scratch", self._minima_of_a)
        with em.loop(*rows, chunk) as loop:
            end = em.intrinsic(
                "llvm.smin",
                "i64",
                em.op(f"add i64 {loop.index}, {chunk}"),
                str(rows[1]),
            )
            limits = loop.index, end
            self._pack_a(a, limits, values, minima)
            if self.problem.has_pairs:
                back = em.gep("i32", minima, multiply(em, loop.index, -1))
                self.minima = (back, self.minima[1])
            packed = self._packed_row_zero(loop.index)
            self._panels(packed, b, c, limits, self._steps(values), more)
            loop.yield_([])

    def _panels(
        self, a: str, b: str, c: str, rows: Range, depth: int, more: str
    ) -> None:
        """Run the micro-kernel over strips of columns and panels of rows."""

        def strip(j: Index, columns: int) -> None:
            vectors = -(-columns // self.lanes)
            step = depth if self.blocking.pack_b else self.problem.b[1]
            right = self._row_at(b, multiply(self.em, j, step))
            to = self._row_at(c, j)

            def panel(i: Index, count: int) -> None:
                tile = Tile(count, vectors, columns % self.lanes)
                left = self._row_at(a, scaled(self.em, i, self.apart))
                out = self._row_at(to, multiply(self.em, i, self.problem.c[0]))
                self._call(tile, left, right, out, depth, more, (i, j))

            self._pieces(self.problem.m, self.blocking.rows[vectors - 1], rows, panel)

        self._strips(self._range(Split.COLUMNS), strip)

    def _call(
        self,
        tile: Tile,
        a: str,
        b: str,
        c: str,
        depth: int,
        more: str,
        place: tuple[Index, Index],
    ) -> None:
        arguments = [("ptr", a), ("ptr", b), ("ptr", c)]
        arguments += [("i64", str(depth)), ("i1", more)]
        if self.problem.has_pairs:
            pairs = zip(self.minima, place, strict=True)
            arguments += [("ptr", self.em.gep("i32", p, at)) for p, at in pairs]
        else:
            arguments += self.operands.strides
        self.em.call("void", self._kernel(tile), arguments)

    # Helpers

    def _steps(self, values: int) -> int:
        return -(-values // self.problem.values_per_step)

    def _packed_row_zero(self, first: Index) -> str:
        """Return where row 0 of packed A would be, given which row is there first."""
        return self._at("%scratch", multiply(self.em, first, -self.apart))

    def _pack_a(self, a: str, rows: Range, values: int, minima: str) -> None:
        em, problem, (begin, end) = self.em, self.problem, rows
        if self.blocking.panels:
            self._pack_panels(a, rows, values)
            return
        source = em.gep(self.operand, a, multiply(em, begin, problem.a[0]))
        count = subtract(em, end, begin)
        if problem.has_pairs:
            pairs = PackPairsA(em, problem.a, self._packed_a())
            pairs.emit(source, "%scratch", count, values, minima)
            return
        pack = PackA(em, problem.dtype, self.target, problem.a, self._packed_a())
        pack.emit(source, "%scratch", count, values)

    def _pack_panels(self, a: str, rows: Range, depth: int) -> None:
        problem, height = self.problem, self.blocking.rows[-1]
        shape = problem.a[1], height, self.apart
        pack = PackPanels(self.em, problem.dtype, self.target, *shape)
        panels = partial(self._pieces, problem.m, height, rows)
        pack.emit(a, self._packed_row_zero(rows[0]), depth, panels)

    def _pack_b(
        self, source: str, to: str, values: int, columns: Range, minima: str
    ) -> None:
        if self.problem.has_pairs:
            pairs = PackPairsB(self.em, self.problem.b, self.strip, self._square())
            strips = partial(self._strips, columns)
            pairs.emit(source, to, values, strips, minima)
            return
        pack = PackB(
            self.em,
            self.problem.dtype,
            self.target,
            self.problem.b,
            self.strip,
            self._square(),
        )
        pack.emit(source, to, values, partial(self._strips, columns))

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

    def _of_operand(self, pointer: str, step: Index, stride: int) -> str:
        """Return where a step of k begins in A or B, whose stride along k is given."""
        by = stride * self.problem.values_per_step
        return self.em.gep(self.operand, pointer, multiply(self.em, step, by))

    def _minima_at(self, packed: str, start: Index) -> str:
        """Return where the minima of a block of k are in the whole of B, packed."""
        at = self.em.gep("i8", packed, self._minima_of_b(self.problem.steps))
        if isinstance(start, int):
            return self.em.gep("i8", at, start // KC * self._minima_bytes)
        block = self.em.op(f"sdiv exact i64 {start}, {KC}")
        return self.em.gep("i8", at, multiply(self.em, block, self._minima_bytes))

    def _at(self, pointer: str, offset: Index) -> str:
        return self.em.gep(self.element, pointer, offset)

    def _row_at(self, pointer: str, offset: Index) -> str:
        return self.em.row(self.element, pointer, offset)
