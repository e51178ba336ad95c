"""Reductions along a tile's columns that a program holds, whole or block by block.

Where the columns end inside the tile, the reduced value is neutral there.
"""

from collections.abc import Mapping

from ...kernels.kernel import Reduce, dtype_of
from .reductions import Reduction
from .tiles import Dim
from .writer import Writer, value_name


class Row:
    """The rows of a tile, each reduced along one dimension.

    Parameters
    ----------
    writer : Writer
    rows, dim : Dim
        The first dimension of the tile, and the one that is reduced.
    extents : mapping of str to int
        Of the axes.
    """

    def __init__(
        self, writer: Writer, rows: Dim, dim: Dim, extents: Mapping[str, int]
    ) -> None:
        self.writer, self.rows, self.dim, self.extents = writer, rows, dim, extents

    def reduction(self, op: Reduce) -> Reduction:
        """Return how a reduction is written."""
        return Reduction(
            op.op, dtype_of(op.operand), op.result.dtype, not self.dim.numel
        )

    @property
    def letters(self) -> frozenset[str]:
        """The dimension that results have."""
        return frozenset({self.rows.letter})

    @property
    def tile(self) -> str:
        """The shape of a tile."""
        return f"[{self.rows.block_name}, {self.dim.block_name}]"

    def whole(self, value: str) -> str:
        """Return a value along both dimensions of the tile."""
        return f"tl.broadcast_to({value}, {self.tile})"

    def masked(self, op: Reduce) -> str:
        """Return what is reduced, neutral where the row has ended."""
        how, dim = self.reduction(op), self.dim
        value = how.widened(self.writer.argument(op.operand))
        if dim.mask:
            return f"tl.where({dim.mask}, {value}, {how.neutral})"
        if dim.letter not in self.writer.along([op.operand]):
            return self.whole(value)
        return value

    def position(self, op: Reduce) -> str:
        """Return the flat position along the axes of a reduction."""
        if op.axes == self.dim.axes:
            return self.whole(self.dim.index)
        text, step = "", 1
        for axis in reversed(op.axes):
            name = self.dim.axis_name(axis)
            text = f"{name} * {step} + {text}" if text else name
            step *= self.extents[axis]
        return self.whole(text)

    def write(self, op: Reduce) -> None:
        """Write a reduction of a row that is held whole."""
        how, value = self.reduction(op), self.masked(op)
        if not how.is_arg:
            text = how.finished(how.over_tile(value))
            self.writer.bind(op.result.name, text, self.letters)
            return
        name = value_name(op.result.name)
        pair = f"({self.whole(value)}, {self.position(op)})"
        self.writer.line(f"{name}_best, {name} = tl.reduce({pair}, 1, {how.combine})")
        index = f"{name}[:, None].to(tl.int64)"
        self.writer.bind(op.result.name, index, self.letters)
