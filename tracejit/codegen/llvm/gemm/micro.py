"""The micro-kernel: a tile of C in registers, along all of k.

Per value of k it loads one row of B and broadcasts one column of A; 24 to 28 vectors of
sums hide the latency of multiply-adds on machines with 32 registers, 12 on those with
16. Tails of columns are masked, other row counts are other tiles.

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
    """

    dtype: np.dtype
    a_row: Index
    a_step: Index
    b_row: Index
    c_row: Index
    filled: bool

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
        return "_".join(words + ["filled"] * (self.filled and tile.tail > 0))

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
        self.has_fma = target.has_fma
        self.is_float = operands.dtype.kind == "f"
        self.type = vec(self.element, self.lanes)
        self.zero = constant(self.element, 0.0, self.lanes)
        self.attributes = "nounwind noinline"

    def emit(self, strides: tuple[str, ...] = ()) -> str:
        """Return the function, with more parameters for `strides` if there are any."""
        em = self.em
        start = [(self.type, self.zero)] * (self.tile.rows * self.tile.vectors)
        with em.loop(0, "%k", 1, start) as loop:
            a = self._at("%A", scaled(em, loop.index, self.operands.a_step))
            b = self._at("%B", scaled(em, loop.index, self.operands.b_row))
            loop.yield_(self._rank_one(a, b, loop.carried))
        sums = [(self.type, value) for value in loop.results]
        rows = self._rows_of_c()
        with em.if_("%more", sums) as old:
            old.yield_(self._add_old(rows, loop.results))
        self._store(rows, old.results)
        em.ret()
        parameters = ["ptr %A", "ptr %B", "ptr %C", "i64 %k", "i1 %more"]
        parameters += [f"i64 {name}" for name in strides]
        return em.function(
            self.symbol, parameters, linkage="internal", attributes=self.attributes
        )

    def _rank_one(self, a: str, b: str, sums: list[str]) -> list[str]:
        """Add the product of one column of A and one row of B."""
        row = [self._load_b(b, v) for v in range(self.tile.vectors)]
        out = []
        for i in range(self.tile.rows):
            at = self._at(a, scaled(self.em, i, self.operands.a_row))
            scalar = self.em.load(self.element, at, self.size)
            x = self.em.splat(self.element, scalar, self.lanes)
            for v, y in enumerate(row):
                out.append(self._multiply_add(x, y, sums[i * len(row) + v]))
        return out

    def _multiply_add(self, x: str, y: str, z: str) -> str:
        if self.is_float and self.has_fma:
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
