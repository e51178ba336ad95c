"""What a matrix product is, and how it is cut into blocks.

Needs the extents, strides and dtype of a product, and the target. Establishes the
constants of the blocking; nothing else in this package knows an instruction set.
"""

import enum
from dataclasses import replace
from math import lcm

import numpy as np

from ....ir.dtypes import BFLOAT16
from ....records import dataclass
from ..target import Target

KC = 512
PAD = 16  # elements between packed rows, against conflicts in the cache
# From this many multiplications and rows on, packing both operands pays.
_LARGE = 1 << 29
_LARGE_ROWS = 128
# With 16 registers a strip of B is narrow, so that lines of the cache are split and
# evict each other: packing it pays from this many rows on, and packing A, too.
_NARROW_LARGE = 1 << 27
_NARROW_ROWS = 128
_NARROW_SUMS = 12  # vectors
_WIDE_REGISTERS = 64  # bytes: the machines with 32 vector registers
# Rows of C that stay in the cache while an epilogue follows them.
_CHUNK = 96
_FEW_PANELS = 64  # rows up to which a last panel that is not whole matters
_WAY = 4096  # bytes after which lines share a set of the nearest cache, of 8 lines
_FEW_ROWS = 8
_MANY_STRIPS = 8  # of columns beside which a strip of one vector matters little
Pair = tuple[int, int]


class Split(enum.Enum):
    """What the range of a product counts."""

    ROWS = "rows"
    COLUMNS = "columns"
    BATCH = "batch"  # of the outermost batch axis


@dataclass(frozen=True)
class Problem:
    """A product of matrices, and loops around it.

    Parameters
    ----------
    dtype : numpy.dtype
        float32, float64, or an integer of 32 or 64 bits.
    m, n, k : int
    a, b, c : tuple of int
        Strides in elements: of A along (i, k), of B along (k, j), of C along (i, j).
        C's second one is 1.
    batch : tuple of (extent, stride in A, stride in B, stride in C)
        Outermost first.
    has_pairs : bool
        Whether A and B are bfloat16, multiplied in pairs along k; `dtype` is float32.
    """

    dtype: np.dtype
    m: int
    n: int
    k: int
    a: Pair
    b: Pair
    c: Pair
    batch: tuple[tuple[int, int, int, int], ...] = ()
    has_pairs: bool = False

    @property
    def values_per_step(self) -> int:
        """How many values of k are multiplied at a time."""
        return 2 if self.has_pairs else 1

    @property
    def steps(self) -> int:
        """How often a sum is added to along k."""
        return -(-self.k // self.values_per_step)

    @property
    def work(self) -> int:
        """How many multiply-adds each of the batches takes."""
        return self.m * self.n * self.k

    @property
    def operand(self) -> np.dtype:
        """The dtype of A and B."""
        return BFLOAT16 if self.has_pairs else self.dtype

    def extent(self, split: Split) -> int:
        """Return how much a range over the whole product counts."""
        if split is Split.BATCH:
            return self.batch[0][0] if self.batch else 1
        return self.m if split is Split.ROWS else self.n


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
        Rows of A that are packed at a time, and of C that an epilogue follows.
    pack_a, pack_b : bool
    panels : bool
        Whether A is packed in panels, column by column, and not row by row or as
        whole columns.
    """

    vectors: int
    rows: tuple[int, ...]
    chunk: int
    pack_a: bool
    pack_b: bool
    panels: bool = False


def fitted(problem: Problem, target: Target) -> Target:
    """Return the target with vectors of half the size where those hold all columns.

    Of such vectors two can be multiplied in a cycle, or as many as of whole ones.
    """
    half = target.vector_bytes // 2
    is_narrow = 0 < problem.n * problem.dtype.itemsize <= half
    if target.vector_bytes < _WIDE_REGISTERS or not is_narrow or problem.has_pairs:
        return target
    return replace(target, vector_bytes=half)


def blocking_of(problem: Problem, target: Target) -> Blocking:
    """Return how a problem is cut on a target."""
    target = fitted(problem, target)
    wide = target.vector_bytes >= _WIDE_REGISTERS
    sums = 24 if wide else _NARROW_SUMS
    must_pack = problem.b[1] != 1 or problem.has_pairs
    must_pack_a = problem.has_pairs
    if 0 < problem.m <= sums // 2:  # one panel, as wide as the registers allow
        vectors = sums // problem.m
        rows = (problem.m,) * vectors
        return Blocking(vectors, rows, problem.m, must_pack_a, must_pack)
    if not wide:
        return _narrow_blocking(problem, target)
    many = _rows_of_narrow_strips(problem)
    is_large = problem.work >= _LARGE and problem.m >= _LARGE_ROWS
    if is_large or problem.has_pairs:
        return Blocking(3, (16, 8, 8), 128, True, True)
    if problem.m <= _FEW_PANELS and -problem.m % 8 < -problem.m % 6:
        return Blocking(3, (8, 8, 8), _CHUNK, False, must_pack)
    return Blocking(4, (many, many, 6, 6), _CHUNK, False, must_pack)


def _narrow_blocking(problem: Problem, target: Target) -> Blocking:
    """Return how a problem of more than one panel is cut with 16 registers."""
    must_pack = problem.b[1] != 1
    least = _NARROW_ROWS
    if _collides(problem, problem.b):  # the third panel has paid for packing
        least = _NARROW_SUMS + 1
    pack_b = problem.m >= least and problem.n > 2 * target.vector_bytes // 4
    pack_a = pack_b and (problem.a[0] == 1 or problem.work >= _NARROW_LARGE)
    if pack_a and _has_panels(problem, target):
        return Blocking(2, (6, 6), _CHUNK, True, True, True)
    rows = _rows_of_narrow_strips(problem), 6
    return Blocking(2, rows, _CHUNK, pack_a, pack_b or must_pack)


def _rows_of_narrow_strips(problem: Problem) -> int:
    return _FEW_ROWS if _collides(problem, problem.a) else 12


def _has_panels(problem: Problem, target: Target) -> bool:
    """Tell whether columns of A that are contiguous are packed in panels.

    With 16 registers a tile reads six values of a column, less than half of each line
    of the cache it asks for. They are copied by masked loads, which SSE has not. Tiles
    of one vector have six rows then, too few to hide the latency of multiply-adds.
    """
    has_masks = target.has_few_registers and target.has_fma
    lanes = target.lanes(8 * problem.dtype.itemsize)
    is_lone = 0 < problem.n % (2 * lanes) <= lanes
    matters = is_lone and problem.n <= _MANY_STRIPS * 2 * lanes
    return problem.a[0] == 1 and has_masks and not matters


def _collides(problem: Problem, strides: Pair) -> bool:
    """Tell whether rows of an operand all begin in one set of the nearest cache."""
    row, column = strides
    return column == 1 and row * problem.dtype.itemsize % _WAY == 0


def quantum(problem: Problem, target: Target, split: Split) -> int:
    """Return what the ends of a range are multiples of, but for the last one."""
    target = fitted(problem, target)
    blocking = blocking_of(problem, target)
    lanes = target.lanes(8 * problem.dtype.itemsize)
    strip = blocking.vectors * lanes
    if split is Split.COLUMNS:
        return strip
    if split is Split.BATCH:
        return 1
    widths = [blocking.vectors] if problem.n >= strip else []
    if problem.n % strip:
        widths.append(-(-(problem.n % strip) // lanes))
    return lcm(*(blocking.rows[w - 1] for w in widths))
