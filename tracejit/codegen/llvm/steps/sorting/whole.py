"""A row that one function sorts, by halves or by digits."""

from .....ir.ops.sort import Places
from ...target import aligned
from ...text import Emitter
from .keys import Cells
from .pieces import Functions
from .quick import QuickWriter, is_parted
from .row import ROW_TYPES, RowWriter, digits_of


def row_writer(
    functions: Functions,
    source: Cells,
    cells: Cells,
    length: int,
    places: Places = (),
) -> RowWriter | QuickWriter:
    """Return what writes the function of rows of about a length.

    Parameters
    ----------
    functions : Functions
    source, cells : Cells
        How a row comes, and how it lies between passes.
    length : int
    places : tuple of (int, int)
        See `WholeRow`.
    """
    if is_parted(functions.target, cells, places):
        return QuickWriter(functions, cells, length, places)
    return RowWriter(functions, source, cells, digits_of(cells.width, length))


class WholeRow:
    """A row of one length.

    Parameters
    ----------
    functions : Functions
    cells : Cells
    length : int
    by_digits : bool
        Whether that is the only way; see `RowWriter`.
    places : tuple of (int, int)
        Ranges that matter, if `is_parted` says that the rest can be left; none for all.
    """

    def __init__(
        self,
        functions: Functions,
        cells: Cells,
        length: int,
        by_digits: bool = False,
        places: Places = (),
    ) -> None:
        source = Cells(cells.dtype, False)
        self.row = (
            RowWriter(functions, source, cells, digits_of(cells.width, length))
            if by_digits
            else row_writer(functions, source, cells, length, places)
        )
        self.length, self.room_bytes = length, aligned(self.row.room_bytes)
        self.array_bytes = aligned(length * cells.bytes)
        # The result holds cells too, unless they are wider than places.
        is_alone = isinstance(self.row, QuickWriter) or cells.bytes == 16
        self.arrays = 2 if is_alone else 1

    @property
    def scratch_bytes(self) -> int:
        """What a row needs."""
        return self.room_bytes + self.arrays * self.array_bytes

    @property
    def work(self) -> int:
        """Estimated nanoseconds for a row."""
        return 500 + self.length * self.row.element_ns

    def emit(self) -> None:
        """Write everything."""
        self.row.emit()

    def call(self, em: Emitter, x: str, out: str, scratch: str) -> None:
        """Write the call that sorts a row."""
        ours = em.gep("i8", scratch, self.room_bytes)
        others = em.gep("i8", ours, self.array_bytes) if self.arrays > 1 else out
        values = (x, out, ours, others, scratch, str(self.length))
        pairs = list(zip(ROW_TYPES, values, strict=True))
        symbol = self.row.functions.symbol_of(self.row.name)
        em.call("void", symbol, pairs)
