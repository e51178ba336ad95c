"""The micro-kernel: a tile of C in registers, along all of k.

Per value of k it loads one row of B and broadcasts one column of A; 24 to 28 vectors of
sums hide the latency of multiply-adds on machines with 32 registers, 12 on those with
16. Tails of columns are masked, other row counts are other tiles.
"""

from dataclasses import dataclass

import numpy as np

from ..indices import Index, multiply
from ..memory import lanes_mask
from ..target import Target
from ..text import Emitter, constant, vec
from ..values import register_type
from .problem import Pair, Tile


@dataclass(frozen=True)
class Operands:
    """What a micro-kernel knows of its operands.

    Parameters
    ----------
    dtype : numpy.dtype
    a : tuple of int
        Strides of A along (i, k).
    b_row, c_row : int
        From one row of B, or of C, to the next.
    filled : bool
        Whether the rows of B are filled up to whole vectors.
    """

    dtype: np.dtype
    a: Pair
    b_row: int
    c_row: int
    filled: bool


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

    def emit(self) -> str:
        """Return the function."""
        em = self.em
        start = [(self.type, self.zero)] * (self.tile.rows * self.tile.vectors)
        with em.loop(0, "%k", 1, start) as loop:
            a = self._at("%A", multiply(em, loop.index, self.operands.a[1]))
            b = self._at("%B", multiply(em, loop.index, self.operands.b_row))
            loop.yield_(self._rank_one(a, b, loop.carried))
        sums = [(self.type, value) for value in loop.results]
        with em.if_("%more", sums) as old:
            old.yield_(self._add_old(loop.results))
        self._store(old.results)
        em.ret()
        parameters = ["ptr %A", "ptr %B", "ptr %C", "i64 %k", "i1 %more"]
        return em.function(
            self.symbol, parameters, linkage="internal", attributes=self.attributes
        )

    def _rank_one(self, a: str, b: str, sums: list[str]) -> list[str]:
        """Add the product of one column of A and one row of B."""
        row = [self._load_b(b, v) for v in range(self.tile.vectors)]
        out = []
        for i in range(self.tile.rows):
            at = self._at(a, i * self.operands.a[0])
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

    def _c(self, row: int, vector: int) -> str:
        return self._at("%C", row * self.operands.c_row + vector * self.lanes)

    def _add_old(self, sums: list[str]) -> list[str]:
        out = []
        for k, value in enumerate(sums):
            row, vector = divmod(k, self.tile.vectors)
            old = self._load(self._c(row, vector), self._mask(vector))
            out.append(self._add(old, value))
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
