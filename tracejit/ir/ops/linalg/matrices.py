"""Steps on matrices in the last two axes that the rules of this package are made of.

Needs operands of matching batch axes; establishes nothing beyond their docstrings.
"""

from collections.abc import Sequence

import numpy as np

from ....errors import ShapeError
from ... import dtypes as dt
from ...aval import ShapedArray
from ...builder import Builder
from ...graph import Atom
from ..contract import dot_general_p
from ..elementwise import (
    add_p,
    check_dtype,
    conj_p,
    convert_p,
    div_p,
    eq_p,
    ge_p,
    gt_p,
    le_p,
    mul_p,
    real_p,
    select_p,
    sub_p,
    zero,
)
from ..reduce import reduce_sum_p
from ..shape import broadcast_in_dim_p, iota_p, pad_p, slice_p, transpose_p

Atoms = Sequence[Atom | None]
LAPACK = frozenset(d for d in dt.INEXACT if d.itemsize >= 4)


def check_matrix(name: str, a: ShapedArray) -> None:
    """Raise unless `a` is a stack of matrices of a dtype that LAPACK has."""
    check_dtype(name, a, LAPACK)
    if a.ndim < 2:
        raise ShapeError(f"{name} takes matrices on the last two axes, not {a}")


def check_square(name: str, a: ShapedArray) -> None:
    """Raise unless `a` is a stack of square matrices of a dtype that LAPACK has."""
    check_dtype(name, a, LAPACK)
    if a.ndim < 2 or a.shape[-1] != a.shape[-2]:
        raise ShapeError(f"{name} takes square matrices on the last two axes, not {a}")


def matmul(b: Builder, x: Atom, y: Atom) -> Atom:
    """Product of stacks of matrices with the same batch axes."""
    n = x.aval.ndim
    lead = tuple(range(n - 2))
    return b.emit(
        dot_general_p, x, y, contract=((n - 1,), (n - 2,)), batch=(lead, lead)
    )


def matrix_transpose(b: Builder, x: Atom) -> Atom:
    """Swap the last two axes."""
    n = x.aval.ndim
    return b.emit(transpose_p, x, perm=(*range(n - 2), n - 1, n - 2))


def conjugate(b: Builder, x: Atom) -> Atom:
    """Complex conjugate of `x`, which may be real."""
    return b.emit(conj_p, x) if dt.is_complex(x.aval.dtype) else x


def adjoint(b: Builder, x: Atom) -> Atom:
    """Conjugate transpose of the last two axes."""
    return conjugate(b, matrix_transpose(b, x))


def real_part(b: Builder, x: Atom) -> Atom:
    """Real part of `x`, which may be real."""
    return b.emit(real_p, x) if dt.is_complex(x.aval.dtype) else x


def hermitian_part(b: Builder, x: Atom) -> Atom:
    """Half the sum of `x` and its conjugate transpose."""
    return b.emit(mul_p, b.emit(add_p, x, adjoint(b, x)), 0.5)


def skew_part(b: Builder, x: Atom) -> Atom:
    """Half the difference of `x` and its conjugate transpose."""
    return b.emit(mul_p, b.emit(sub_p, x, adjoint(b, x)), 0.5)


def positions(b: Builder, x: Atom) -> tuple[Atom, Atom]:
    """Row and column number of each element of `x`, i64."""
    shape, n = x.aval.shape, x.aval.ndim
    rows, cols = (
        b.emit(iota_p, shape=shape, axis=d, dtype=dt.INT64) for d in (n - 2, n - 1)
    )
    return rows, cols


def is_diagonal(b: Builder, x: Atom) -> Atom:
    """Mask of the diagonals of `x`."""
    return b.emit(eq_p, *positions(b, x))


def keep(b: Builder, mask: Atom, x: Atom) -> Atom:
    """Return `x` where the mask is true, and 0 elsewhere."""
    return b.emit(select_p, mask, x, zero(b, x))


def drop(b: Builder, mask: Atom, x: Atom) -> Atom:
    """Return 0 where the mask is true, and `x` elsewhere."""
    return b.emit(select_p, mask, zero(b, x), x)


def triangle(b: Builder, x: Atom, lower: bool, strict: bool = False) -> Atom:
    """Keep one triangle of `x`, without the diagonal if `strict`."""
    rows, cols = positions(b, x)
    table = {
        (True, True): gt_p,
        (True, False): ge_p,
        (False, False): le_p,
    }
    return keep(b, b.emit(table[lower, strict], rows, cols), x)


def diagonal(b: Builder, x: Atom) -> Atom:
    """Diagonals of square matrices, as vectors."""
    n = x.aval.ndim
    return b.emit(reduce_sum_p, keep(b, is_diagonal(b, x), x), axes=(n - 2,))


def trace(b: Builder, x: Atom) -> Atom:
    """Sums of the diagonals."""
    n = x.aval.ndim
    return b.emit(reduce_sum_p, keep(b, is_diagonal(b, x), x), axes=(n - 2, n - 1))


def along_rows(b: Builder, v: Atom, like: Atom) -> Atom:
    """Vectors as matrices of the shape of `like`: each row is the vector."""
    n = like.aval.ndim
    dims = (*range(n - 2), n - 1)
    return b.emit(broadcast_in_dim_p, v, shape=like.aval.shape, dims=dims)


def along_columns(b: Builder, v: Atom, like: Atom) -> Atom:
    """Vectors as matrices of the shape of `like`: each column is the vector."""
    n = like.aval.ndim
    dims = tuple(range(n - 1))
    return b.emit(broadcast_in_dim_p, v, shape=like.aval.shape, dims=dims)


def columns(b: Builder, x: Atom, start: int, stop: int) -> Atom:
    """``x[..., start:stop]``."""
    if (start, stop) == (0, x.aval.shape[-1]):
        return x
    lead = x.aval.shape[:-1]
    return b.emit(
        slice_p,
        x,
        start=(*(0 for _ in lead), start),
        stop=(*lead, stop),
        stride=(1,) * x.aval.ndim,
    )


def pad_to(b: Builder, x: Atom, rows: int, cols: int) -> Atom:
    """Append zeros to matrices until they have that many rows and columns."""
    n = x.aval.ndim
    high = (*(0,) * (n - 2), rows - x.aval.shape[-2], cols - x.aval.shape[-1])
    if not any(high):
        return x
    return b.emit(pad_p, x, zero(b, x), low=(0,) * n, high=high)


def as_dtype(b: Builder, x: Atom, dtype: np.dtype) -> Atom:
    """Convert `x` unless it has that dtype."""
    return x if x.aval.dtype == dtype else b.emit(convert_p, x, dtype=dtype)


def infinite_multiple(b: Builder, x: Atom) -> Atom:
    """Return 0 where `x` is 0 and infinity elsewhere, by steps linear in `x`."""
    big = float(np.finfo(x.aval.dtype).max)
    return b.emit(mul_p, b.emit(mul_p, x, big), big)


def quotient(b: Builder, x: Atom, y: Atom) -> Atom:
    """Return x / y, linear in `x`; where y is 0 an infinite multiple of `x`.

    That is 0 where x is 0 too, and else infinite or NaN: no wrong number is given.
    """
    vanishes = b.emit(eq_p, y, zero(b, y))
    safe = b.emit(select_p, vanishes, b.literal(1, y.aval.dtype), y)
    plain = b.emit(div_p, x, as_dtype(b, safe, x.aval.dtype))
    return b.emit(select_p, vanishes, infinite_multiple(b, x), plain)
