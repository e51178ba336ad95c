"""LU factors of matrices by LAPACK, which wants each column in one piece.

    before:  %lu, %swaps, %order = lu(%a)
    after:   for each matrix: copy it by columns to scratch, getrf, copy it back by
             rows; count exchanged rows from 0; apply the exchanges to 0, 1, 2, ...

Needs the address of ``getrf`` and matrices that are not empty.
"""

from collections.abc import Sequence
from math import prod

from ....kernels.kernel import Buffer
from ....records import dataclass
from ..indices import Index, add, multiply
from ..target import aligned
from ..text import Emitter
from .code import Setting, StepCode


@dataclass(frozen=True)
class LapackRoutine:
    """A routine of LAPACK, as C and Fortran call it: all arguments by address.

    Parameters
    ----------
    symbol : str
        A name for it, the same for the same routine.
    function : int
        Its address.
    """

    symbol: str
    function: int


def write_lu(
    setting: Setting,
    routine: LapackRoutine,
    inputs: Sequence[Buffer],
    outputs: Sequence[Buffer],
) -> StepCode | None:
    """Return the function of a step of the primitive `lu`; None for empty matrices."""
    (a,), (factors, swaps, order) = inputs, outputs
    if not prod(a.shape) or swaps.strides[-1] != 1:
        return None
    em = setting.new_emitter()
    _Matrices(em, routine, (a, factors, swaps, order)).emit()
    names = ("a", "factors", "swaps", "order", "scratch", "err")
    parameters = [f"ptr %{name}" for name in names]
    text = em.function(setting.symbol, parameters, linkage="internal")
    size = prod(a.shape[-2:]) * a.dtype.itemsize
    return StepCode(text, aligned(aligned(size) + 4))


class _Matrices:
    """Writes the body of the function, one matrix after the other."""

    def __init__(
        self, em: Emitter, routine: LapackRoutine, buffers: Sequence[Buffer]
    ) -> None:
        self.em, self.routine, self.buffers = em, routine, buffers
        self.a, self.factors, self.swaps, self.order = buffers
        *self.lead, self.m, self.n = self.a.shape
        self.element = f"i{8 * self.a.dtype.itemsize}"  # bits, which are only moved
        self.align = min(self.a.dtype.itemsize, 8)

    def emit(self) -> None:
        """Write the whole body."""
        self._each(0, ["%a", "%factors", "%swaps", "%order"])
        self.em.ret()

    def _each(self, axis: int, pointers: Sequence[str]) -> None:
        if axis == len(self.lead):
            self._factorise(*pointers)
            return
        with self.em.loop(0, self.lead[axis], 1) as loop:
            moved = [
                self._at(pointer, buffer, [(axis, loop.index)])
                for pointer, buffer in zip(pointers, self.buffers, strict=True)
            ]
            self._each(axis + 1, moved)
            loop.yield_([])

    def _at(
        self, pointer: str, buffer: Buffer, places: Sequence[tuple[int, Index]]
    ) -> str:
        """Return the address of a place; axes from the end are negative."""
        offset: Index = 0
        for axis, index in places:
            step = buffer.strides[axis] * buffer.dtype.itemsize
            offset = add(self.em, offset, multiply(self.em, index, step))
        return self.em.gep("i8", pointer, offset)

    def _factorise(self, a: str, factors: str, swaps: str, order: str) -> None:
        em = self.em
        size = self.m * self.n * self.a.dtype.itemsize
        info = em.gep("i8", "%scratch", aligned(size))
        self._transpose(a, self.a, into_scratch=True)
        sizes = em.table(f"sizes.{self.m}.{self.n}", "i32", (self.m, self.n))
        columns = em.gep("i32", sizes, 1)
        # rows, columns, matrix, elements from column to column, exchanges, status
        given = (sizes, columns, "%scratch", sizes, swaps, info)
        em.extern("void", self.routine.symbol, [("ptr", p) for p in given])
        self._transpose(factors, self.factors, into_scratch=False)
        self._follow(swaps, order)

    def _transpose(self, matrix: str, buffer: Buffer, into_scratch: bool) -> None:
        """Copy a matrix to or from the scratch, where columns lie in one piece."""
        em = self.em
        with em.loop(0, self.m, 1) as rows:
            with em.loop(0, self.n, 1) as columns:
                place = self._at(
                    matrix, buffer, [(-2, rows.index), (-1, columns.index)]
                )
                first = multiply(em, columns.index, self.m)
                there = em.gep(self.element, "%scratch", add(em, first, rows.index))
                source, target = (place, there) if into_scratch else (there, place)
                value = em.load(self.element, source, self.align)
                em.store(self.element, value, target, self.align)
                columns.yield_([])
            rows.yield_([])

    def _follow(self, swaps: str, order: str) -> None:
        """Count exchanged rows from 0, and apply the exchanges to the rows' numbers."""
        em = self.em
        with em.loop(0, self.m, 1) as rows:
            em.store("i64", str(rows.index), self._row(order, rows.index), 8)
            rows.yield_([])
        with em.loop(0, min(self.m, self.n), 1) as turns:
            place = self._at(swaps, self.swaps, [(-1, turns.index)])
            other = em.op(f"sub i32 {em.load('i32', place, 4)}, 1")
            em.store("i32", other, place, 4)
            index = em.op(f"sext i32 {other} to i64")
            here, there = self._row(order, turns.index), self._row(order, index)
            first, second = em.load("i64", here, 8), em.load("i64", there, 8)
            em.store("i64", second, here, 8)
            em.store("i64", first, there, 8)
            turns.yield_([])

    def _row(self, order: str, index: Index) -> str:
        return self._at(order, self.order, [(-1, index)])
