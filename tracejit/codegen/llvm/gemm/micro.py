"""The micro-kernel: a tile of C in registers, along all of k.

Per value of k it loads one row of B and broadcasts one column of A; 24 to 28 vectors of
sums hide the latency of multiply-adds on machines with 32 registers, 12 on those with
16. Tails of columns are masked, other row counts are other tiles.

With 16 registers several values of k are taken in a turn of the loop, and rows of A
have pointers of their own: the fewer instructions there are beside the multiply-adds,
the further ahead of a load that waits for the cache the processor finds some.

Products of one module share micro-kernels (`shared_kernel`), which have strides as
arguments.
"""

from collections.abc import Callable
from dataclasses import replace

import numpy as np

from ....records import dataclass
from ..indices import Index, scaled
from ..memory import lanes_mask
from ..target import Target
from ..text import Emitter, constant, vec
from ..values import register_type
from .problem import Tile

_MOST_POINTERS = 6
_TURN = 4  # values of k in a turn, a power of two; by 8 some addresses are spilled


@dataclass(frozen=True)
class Operands:
    """What a micro-kernel knows of its operands.

    Parameters
    ----------
    dtype : numpy.dtype
    a_row, a_step : int
        Strides of A along i and k; these and those below may be names of registers.
    b_row, c_row : int
        From one row of B, or of C, to the next.
    filled : bool
        Whether the rows of B are filled up to whole vectors.
    far : bool
        Whether C is larger than what a core has near.
    """

    dtype: np.dtype
    a_row: Index
    a_step: Index
    b_row: Index
    c_row: Index
    filled: bool
    far: bool = False

    @property
    def strides(self) -> tuple[tuple[str, str], ...]:
        """The strides that are arguments of a shared micro-kernel."""
        given = (self.a_row, self.a_step, self.b_row, self.c_row)
        return tuple(("i64", str(stride)) for stride in given)

    def with_arguments(self, tile: Tile) -> "Operands":
        """Return what a shared micro-kernel knows of these."""
        row = self.a_row if self._keeps_row(tile) else "%a_row"
        step = 1 if self.a_step == 1 else "%a_step"
        return replace(self, a_row=row, a_step=step, b_row="%b_row", c_row="%c_row")

    def name(self, tile: Tile) -> str:
        """What tells shared micro-kernels apart, as a part of a symbol."""
        words = [tile.name, register_type(self.dtype)]
        if self._keeps_row(tile):
            words.append(f"by_{self.a_row}".replace("-", "m"))
        words += ["rows"] * (self.a_step == 1)
        words += ["filled"] * (self.filled and tile.tail > 0)
        return "_".join(words + ["far"] * self.far)

    def _keeps_row(self, tile: Tile) -> bool:
        """Tell whether the stride of A's rows is part of the addresses of loads.

        The pointers to many rows would not fit the registers.
        """
        return self.a_row == 1 or tile.rows > _MOST_POINTERS


def shared_kernel(
    tile: Tile, operands: Operands, target: Target, new_emitter: Callable[[], Emitter]
) -> str:
    """Return the symbol of a tile's micro-kernel, one for all products of the module.

    Its arguments are those of a `MicroKernel` and ``operands.strides``.
    """
    lanes = target.lanes(8 * operands.dtype.itemsize)
    symbol = f"tracejit_tile_{operands.name(tile)}_x{lanes}"
    em = new_emitter()
    if symbol not in em.globals_:
        known = operands.with_arguments(tile)
        kernel = MicroKernel(symbol, tile, known, target, em)
        em.globals_[symbol] = kernel.emit(("%a_row", "%a_step", "%b_row", "%c_row"))
    return symbol


class MicroKernel:
    """Writes ``void (ptr A, ptr B, ptr C, i64 k, i1 more)`` for one tile.

    Parameters
    ----------
    symbol : str
    tile : Tile
    operands : Operands
    target : Target
    em : Emitter
    """

    def __init__(
        self, symbol: str, tile: Tile, operands: Operands, target: Target, em: Emitter
    ) -> None:
        self.symbol, self.tile, self.operands, self.em = symbol, tile, operands, em
        self.element = register_type(operands.dtype)
        self.size = operands.dtype.itemsize
        self.lanes = target.lanes(8 * self.size)
        self.is_float = operands.dtype.kind == "f"
        self.fuses = self.is_float and target.has_fma
        # Products that are not fused need registers, too: turns would spill sums.
        self.has_turns = self.fuses and target.has_few_registers
        self.type = vec(self.element, self.lanes)
        self.zero = constant(self.element, 0.0, self.lanes)
        self.attributes = "nounwind noinline"

    def emit(self, strides: tuple[str, ...] = ()) -> str:
        """Return the function, with more parameters for `strides` if there are any."""
        em = self.em
        if self.operands.far:
            self._fetch_c()
        sums = self._sums()
        rows = self._rows_of_c()
        with em.if_("%more", [(self.type, value) for value in sums]) as old:
            old.yield_(self._add_old(rows, sums))
        self._store(rows, old.results)
        em.ret()
        parameters = ["ptr %A", "ptr %B", "ptr %C", "i64 %k", "i1 %more"]
        parameters += [f"i64 {name}" for name in strides]
        return em.function(
            self.symbol, parameters, linkage="internal", attributes=self.attributes
        )

    def _fetch_c(self) -> None:
        """Have the tile of C brought near while its sums are computed."""
        for row in self._rows_of_c():
            for v in range(self.tile.vectors):
                self.em.prefetch(self._at(row, v * self.lanes), True, locality=2)

    def _sums(self) -> list[str]:
        """Return the sums over all of k."""
        sums = [self.zero] * (self.tile.rows * self.tile.vectors)
        if not self.has_turns:
            return self._along_k(["%A"], (0, "%k"), 1, sums)
        rows = self._rows_of_a()
        whole = self.em.op(f"and i64 %k, {-_TURN}")
        sums = self._along_k(rows, (0, whole), _TURN, sums)
        return self._along_k(rows, (whole, "%k"), 1, sums)

    def _rows_of_a(self) -> list[str]:
        """Return where the rows of A begin; the first alone if others are near it.

        Frozen, so that LLVM takes them as they are. It would find each from the one
        before at every turn, load early to be done with the addresses, and spill sums.
        """
        if isinstance(self.operands.a_row, int):
            return ["%A"]
        rows = [
            self._at("%A", scaled(self.em, i, self.operands.a_row))
            for i in range(self.tile.rows)
        ]
        return [self.em.op(f"freeze ptr {row}") for row in rows]

    def _along_k(
        self, rows: list[str], limits: tuple[Index, Index], turn: int, sums: list[str]
    ) -> list[str]:
        """Add the products of a range of k, `turn` values in each turn of a loop."""
        em, step, b_row = self.em, self.operands.a_step, self.operands.b_row
        with em.loop(*limits, turn, [(self.type, value) for value in sums]) as loop:
            by = scaled(em, loop.index, step)
            a = [self._at(row, by) for row in rows]
            b = self._at("%B", scaled(em, loop.index, b_row))
            sums = self._rank_one(a, b, loop.carried)
            for _ in range(1, turn):
                a, b = [self._at(row, step) for row in a], self._at(b, b_row)
                sums = self._rank_one(a, b, sums)
            loop.yield_(sums)
        return loop.results

    def _rank_one(self, a: list[str], b: str, sums: list[str]) -> list[str]:
        """Add the product of one column of A, of `rows`, and one row of B."""
        if self.has_turns and self.tile.vectors > self.tile.rows:
            return self._row_by_row(a, b, sums)
        row = [self._load_b(b, v) for v in range(self.tile.vectors)]
        out = []
        for i in range(self.tile.rows):
            x = self._load_a(a, i)
            for v, y in enumerate(row):
                out.append(self._multiply_add(x, y, sums[i * len(row) + v]))
        return out

    def _row_by_row(self, a: list[str], b: str, sums: list[str]) -> list[str]:
        """Do the same with the column in registers, and one vector of the row."""
        column = [self._load_a(a, i) for i in range(self.tile.rows)]
        out = list(sums)
        for v in range(self.tile.vectors):
            y = self._load_b(b, v)
            for i, x in enumerate(column):
                at = i * self.tile.vectors + v
                out[at] = self._multiply_add(x, y, sums[at])
        return out

    def _load_a(self, rows: list[str], i: int) -> str:
        """Broadcast the value in row i."""
        scalar = self.em.load(self.element, self._row_of(rows, i), self.size)
        return self.em.splat(self.element, scalar, self.lanes)

    def _row_of(self, rows: list[str], i: int) -> str:
        """Return the address in row i, given those in all rows or in the first."""
        if i < len(rows):
            return rows[i]
        return self._at(rows[0], scaled(self.em, i, self.operands.a_row))

    def _multiply_add(self, x: str, y: str, z: str) -> str:
        if self.fuses:
            return self.em.intrinsic("llvm.fma", self.type, x, y, z)
        multiply = "fmul" if self.is_float else "mul"
        return self._add(z, self.em.op(f"{multiply} {self.type} {x}, {y}"))

    def _add(self, x: str, y: str) -> str:
        add = "fadd" if self.is_float else "add"
        return self.em.op(f"{add} {self.type} {x}, {y}")

    def _mask(self, vector: int) -> str | None:
        if vector < self.tile.vectors - 1 or not self.tile.tail:
            return None
        return lanes_mask(self.lanes, self.tile.tail)

    def _load(self, at: str, mask: str | None) -> str:
        if mask is None:
            return self.em.load(self.type, at, self.size)
        return self.em.masked_load(self.type, at, mask, self.size, self.zero)

    def _load_b(self, b: str, vector: int) -> str:
        mask = None if self.operands.filled else self._mask(vector)
        return self._load(self._at(b, vector * self.lanes), mask)

    def _rows_of_c(self) -> list[str]:
        """Return where the rows of C begin, each found from the one before."""
        rows = ["%C"]
        for _ in range(1, self.tile.rows):
            rows.append(self._at(rows[-1], self.operands.c_row))
        return rows

    def _add_old(self, rows: list[str], sums: list[str]) -> list[str]:
        out = []
        for k, value in enumerate(sums):
            row, vector = divmod(k, self.tile.vectors)
            at = self._at(rows[row], vector * self.lanes)
            out.append(self._add(self._load(at, self._mask(vector)), value))
        return out

    def _store(self, rows: list[str], sums: list[str]) -> None:
        for k, value in enumerate(sums):
            row, vector = divmod(k, self.tile.vectors)
            at, mask = self._at(rows[row], vector * self.lanes), self._mask(vector)
            if mask is None:
                self.em.store(self.type, value, at, self.size)
            else:
                self.em.masked_store(self.type, value, at, mask, self.size)

    def _at(self, pointer: str, offset: Index) -> str:
        return self.em.gep(self.element, pointer, offset)
