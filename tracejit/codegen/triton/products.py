"""What a product is: its dimensions, their blocks, and operands that are plain tiles.

The axes of the left operand alone are rows (``m``), those of the right one columns
(``n``), the contracted ones ``k``, those of both that are kept batches (``b``).
"""

from collections.abc import Collection, Mapping
from dataclasses import dataclass
from math import prod

from ...ir import dtypes as dt
from ...kernels.kernel import (
    Contract,
    Load,
    Reduce,
    Store,
    Value,
    result_of,
    values_of,
)
from ...kernels.maps import Affine, AxisIndex, Map
from ...kernels.pieces import Piece, axes_of, needed_for
from .blocks import MatrixDim
from .code import power_of_two

LINE = 16  # bytes; what descriptors need addresses and strides to be multiples of
_PLACES = {"m": "[:, None]", "n": "[None, :]", "k": "[None, :]", "b": ""}


@dataclass(frozen=True)
class Shape:
    """The sizes of a product, and what else its cost depends on.

    Parameters
    ----------
    m, n, k, batch : int
    itemsize : int
        Bytes of an element.
    is_half : bool
    holds_rows : bool
        Whether a program has all columns, as something is reduced along them.
    tiles : int
        Values along rows and columns that a program holds at a time at most.
    """

    m: int
    n: int
    k: int
    batch: int
    itemsize: int
    is_half: bool
    holds_rows: bool
    tiles: int


class Product:
    """A piece with one contraction.

    Parameters
    ----------
    piece : Piece
    odd : collection of str
        Buffers whose addresses may not be multiples of 16 bytes.
    """

    def __init__(self, piece: Piece, odd: Collection[str] = ()) -> None:
        self.piece, self.odd = piece, frozenset(odd)
        (self.op,) = (op for op in piece.kernel.body if isinstance(op, Contract))
        both = self.op.lhs.axes & self.op.rhs.axes
        self.axes = {
            "m": self._order(self.op.lhs.axes - both),
            "n": self._order(self.op.rhs.axes - both),
            "k": self._order(frozenset(self.op.axes)),
            "b": self._order(both - set(self.op.axes)),
        }

    def _order(self, axes: frozenset[str]) -> tuple[str, ...]:
        return tuple(a for a in self.piece.loops if a in axes)

    def extents(self, letter: str) -> tuple[int, ...]:
        """Return the extents of the axes of a dimension."""
        return tuple(self.piece.kernel.extent(a) for a in self.axes[letter])

    @property
    def shape(self) -> Shape:
        """Its sizes."""
        body, dtype = self.piece.kernel.body, self.op.lhs.dtype
        m, n, k, batch = (prod(self.extents(letter)) for letter in "mnkb")
        return Shape(
            m,
            n,
            k,
            batch,
            itemsize=dt.FLOAT32.itemsize if dtype in dt.FLOAT8S else dtype.itemsize,
            is_half=dtype in dt.HALVES,
            holds_rows=any(isinstance(x, Reduce) for x in body),
            tiles=1 + bool(self._tiles_loaded()),
        )

    def _tiles_loaded(self) -> list[Load]:
        """Return what is loaded for each element of the result."""
        inside = set(needed_for(self.piece.kernel.body, [self.op]))
        wide = set(self.axes["m"]), set(self.axes["n"])
        return [
            op
            for op in self.piece.kernel.body
            if isinstance(op, Load) and op not in inside
            if all(axes_of(op) & axes for axes in wide)
        ]

    def dim(self, letter: str, blocks: Mapping[str, int]) -> MatrixDim:
        """Return a dimension, with its block."""
        name = f"BLOCK_{letter.upper()}"
        axes, extents = self.axes[letter], self.extents(letter)
        block = 1 if letter == "b" else blocks[name]
        return MatrixDim(letter, axes, extents, block, _PLACES[letter], name)

    def tile(self, value: Value) -> "Tile | None":
        """Return an operand as a tile of memory, if it is nothing else."""
        users = [x for x in self.piece.kernel.body if value in values_of(x)]
        load = next(x for x in self.piece.kernel.body if result_of(x) == value)
        if users != [self.op] or not isinstance(load, Load):
            return None
        if load.bounds or load.check or value.dtype in dt.FLOAT8S:
            return None
        return self._tile(load, "mk" if value is self.op.lhs else "kn")

    def stored_tile(self, store: Store) -> "Tile | None":
        """Return what is stored as a tile of memory, if it is one."""
        return self._tile(store, "mn") if isinstance(store.value, Value) else None

    def _tile(self, op: Load | Store, letters: str) -> "Tile | None":
        (offset,) = op.map
        terms = {a.axis: c for a, c in offset.terms if isinstance(a, AxisIndex)}
        if len(terms) != len(offset.terms) or op.buffer in self.odd:
            return None
        if any(len(self.axes[x]) != 1 for x in letters):
            return None
        steps = {x: terms.get(self.axes[x][0], 0) for x in letters}
        inner, outer = sorted(letters, key=lambda x: (steps[x], x != letters[1]))
        apart = [terms.get(a, 0) for a in self.axes["b"]]
        size = self.piece.kernel.buffer(op.buffer).dtype.itemsize
        far = [steps[outer], *apart, offset.constant]
        if steps[inner] != 1 or any(n * size % LINE for n in far):
            return None
        if steps[outer] < prod(self.extents(inner)):
            return None  # rows overlap
        return Tile(op.buffer, offset, (outer, inner), steps[outer], size)


@dataclass(frozen=True)
class Matrix:
    """A matrix in memory, or one for each place in a stack.

    Parameters
    ----------
    buffer : str
    offset : int
        Elements before its first one.
    row_step, column_step : int
        Elements from one row to the next, and from one column; one of them is 1.
    batch_step : int
        Elements from one matrix to the next.
    """

    buffer: str
    offset: int
    row_step: int
    column_step: int
    batch_step: int

    @property
    def leading(self) -> int:
        """Elements from one row, or column, to the next, whichever is no block."""
        return max(self.row_step, self.column_step)


@dataclass(frozen=True)
class Plain:
    """A product of matrices in memory, and nothing else.

    Parameters
    ----------
    shape : Shape
    lhs, rhs, out : Matrix
    """

    shape: Shape
    lhs: Matrix
    rhs: Matrix
    out: Matrix


def plain(piece: Piece) -> Plain | None:
    """Return a piece as a product of matrices in memory, if it is nothing else."""
    product = Product(piece)
    body, op = piece.kernel.body, product.op
    loads = {x.result: x for x in body if isinstance(x, Load)}
    store = body[-1]
    if len(body) != 4 or not isinstance(store, Store) or store.value != op.result:
        return None
    if {op.lhs, op.rhs} != set(loads) or any(len(a) > 1 for a in product.axes.values()):
        return None
    if any(x.bounds or x.check for x in loads.values()):
        return None
    found = (
        _matrix(product, loads[op.lhs].buffer, loads[op.lhs].map, "mk"),
        _matrix(product, loads[op.rhs].buffer, loads[op.rhs].map, "kn"),
        _matrix(product, store.buffer, store.map, "mn"),
    )
    lhs, rhs, out = found
    if lhs is None or rhs is None or out is None or out.column_step != 1:
        return None
    return Plain(product.shape, lhs, rhs, out)


def _matrix(product: Product, buffer: str, map_: Map, letters: str) -> Matrix | None:
    """Return what is at a map as a matrix with these dimensions, if it is one."""
    (offset,) = map_
    terms = {a.axis: c for a, c in offset.terms if isinstance(a, AxisIndex)}
    axes = [product.axes[letter] for letter in letters]
    if len(terms) != len(offset.terms) or not all(axes):
        return None
    rows, columns = (terms.pop(a[0], 0) for a in axes)
    batch = sum(terms.pop(a, 0) for a in product.axes["b"])
    lengths = [prod(product.extents(letter)) for letter in letters]
    inner = lengths[1] if columns == 1 else lengths[0]
    if terms or min(rows, columns) != 1 or max(rows, columns) < inner or batch < 0:
        return None
    return Matrix(buffer, offset.constant, rows, columns, batch)


@dataclass(frozen=True)
class Tile:
    """What a tensor descriptor can describe.

    Parameters
    ----------
    buffer : str
    offset : Affine
        Of an element, by the axes of the kernel.
    order : tuple of str
        The letters of its two dimensions, that of neighbours in memory last.
    row_step : int
        Elements from one row of memory to the next.
    itemsize : int
        Bytes of an element.
    """

    buffer: str
    offset: Affine
    order: tuple[str, str]
    row_step: int
    itemsize: int


def whole_block(length: int) -> int:
    """Return the block that has all of a dimension."""
    return power_of_two(max(length, 1))
