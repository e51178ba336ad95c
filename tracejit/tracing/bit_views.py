"""Views of an array as another dtype: the same bytes, read as other numbers.

Real dtypes of one size are one `bitcast`. Others go through unsigned integers, which
shifts take apart and put together along the last axis; complex numbers are pairs of
real ones. The first byte is the lowest, as on all machines that programs run on.
"""

from collections.abc import Sequence

import numpy as np

from ..ir import dtypes as dt
from ..ir.builder import Builder
from ..ir.graph import Atom
from ..ir.ops.elementwise import (
    bitcast_p,
    complex_p,
    convert_p,
    eq_p,
    imag_p,
    or_p,
    real_p,
    select_p,
    shift_left_p,
    shift_right_p,
)
from ..ir.ops.shape import concatenate_p, reshape, slice_bounds, slice_p
from ..records import dataclass


@dataclass(frozen=True)
class BitView:
    """The same bytes as numbers of another dtype."""

    dtype: np.dtype

    def apply(self, base: np.ndarray) -> np.ndarray:
        """Return the view of an array."""
        return base.view(self.dtype)

    def read(self, b: Builder, base: Atom) -> Atom:
        """Return the view's value."""
        return reinterpreted(b, base, self.dtype)

    def write(self, b: Builder, base: Atom, view: Atom) -> Atom:
        """Return the base's value after the view was set to `view`."""
        if self.dtype == dt.BOOL:
            view = _bytes_of_truths(b, base, view)
        return reinterpreted(b, view, base.aval.dtype)


def _bytes_of_truths(b: Builder, base: Atom, truths: Atom) -> Atom:
    """Return bytes: those of `base`, unless their truth has changed."""
    old = reinterpreted(b, base, _unsigned(1))
    is_same = b.emit(eq_p, b.emit(convert_p, old, dtype=dt.BOOL), truths)
    return b.emit(select_p, is_same, old, reinterpreted(b, truths, _unsigned(1)))


def reinterpreted(b: Builder, x: Atom, dtype: np.dtype) -> Atom:
    """Return what the bytes of `x` are as numbers of `dtype`.

    Parameters
    ----------
    b : Builder
    x : Var or Literal
        Of rank 0 only if its items are as large as those of `dtype`.
    dtype : numpy.dtype
    """
    if x.aval.dtype == dtype:
        return x
    if dt.is_complex(x.aval.dtype) or dt.is_complex(dtype):
        return _as_pairs(b, x, dtype)
    before, after = x.aval.dtype.itemsize, dtype.itemsize
    if before == after:
        return b.emit(bitcast_p, x, dtype=dtype)
    bits = reinterpreted(b, x, _unsigned(before))
    if before > after:
        bits = _taken_apart(b, bits, _unsigned(after))
    else:
        bits = _put_together(b, bits, _unsigned(after))
    return reinterpreted(b, bits, dtype)


def _unsigned(size: int) -> np.dtype:
    return np.dtype(f"u{size}")


def _as_pairs(b: Builder, x: Atom, dtype: np.dtype) -> Atom:
    shape = x.aval.shape
    x = reshape(b, x, shape or (1,))
    if dt.is_complex(x.aval.dtype):
        x = _interleaved(b, [b.emit(real_p, x), b.emit(imag_p, x)])
    if dt.is_complex(dtype):
        x = reinterpreted(b, x, dt.real_dtype(dtype))
        x = b.emit(complex_p, _every(b, x, 0, 2), _every(b, x, 1, 2))
    else:
        x = reinterpreted(b, x, dtype)
    return x if shape else reshape(b, x, ())


def _taken_apart(b: Builder, x: Atom, dtype: np.dtype) -> Atom:
    """Return the parts of larger unsigned integers, the low ones first."""
    wide, width = x.aval.dtype, 8 * dtype.itemsize
    parts = []
    for k in range(wide.itemsize // dtype.itemsize):
        moved = b.emit(shift_right_p, x, b.literal(k * width, wide)) if k else x
        parts.append(b.emit(convert_p, moved, dtype=dtype))
    return _interleaved(b, parts)


def _put_together(b: Builder, x: Atom, dtype: np.dtype) -> Atom:
    """Return larger unsigned integers of parts, the low ones first."""
    count, width = dtype.itemsize // x.aval.dtype.itemsize, 8 * x.aval.dtype.itemsize
    total = b.emit(convert_p, _every(b, x, 0, count), dtype=dtype)
    for k in range(1, count):
        part = b.emit(convert_p, _every(b, x, k, count), dtype=dtype)
        part = b.emit(shift_left_p, part, b.literal(k * width, dtype))
        total = b.emit(or_p, total, part)
    return total


def _interleaved(b: Builder, parts: Sequence[Atom]) -> Atom:
    """Return the first elements of all parts, then the second ones, ..."""
    *lead, n = parts[0].aval.shape
    columns = [reshape(b, x, (*lead, n, 1)) for x in parts]
    rows = b.emit(concatenate_p, *columns, axis=len(lead) + 1)
    return reshape(b, rows, (*lead, n * len(parts)))


def _every(b: Builder, x: Atom, start: int, step: int) -> Atom:
    """Return each `step`-th element along the last axis."""
    *lead, n = x.aval.shape
    start = start if n else 0
    first, strides = (*(0 for _ in lead), start), (*(1 for _ in lead), step)
    stop = slice_bounds((*lead, n // step), first, strides)
    return b.emit(slice_p, x, start=first, stop=stop, stride=strides)
