"""LU factors of matrices with partial pivoting.

Needs matrices of any shape on the last two axes. `impl` is LAPACK's ``getrf`` where
SciPy is installed, else the same elimination in NumPy.
"""

from collections.abc import Callable, Sequence
from importlib import import_module

import numpy as np

from ... import dtypes as dt
from ...aval import ShapedArray
from ...builder import Builder
from ...graph import Atom
from ...primitive import Array, Avals, BatchParams, Params, Primitive, register
from ..elementwise import add_p, convert_p, eq_p, ge_p
from ..shape import broadcast_in_dim_p, iota_p
from .matrices import (
    Atoms,
    check_matrix,
    columns,
    is_diagonal,
    keep,
    matmul,
    matrix_transpose,
    pad_to,
    triangle,
)
from .solve import triangular_solve_p


def _lu_eval(a: ShapedArray) -> Avals:
    check_matrix("lu", a)
    *lead, m, n = a.shape
    swaps = ShapedArray((*lead, min(m, n)), np.dtype(np.int32))
    return a, swaps, ShapedArray((*lead, m), dt.INT64)


def _lu(a: Array) -> tuple[Array, ...]:
    a = np.asarray(a)
    *lead, m, n = a.shape
    factors = np.array(a)
    swaps = np.empty((*lead, min(m, n)), np.int32)
    order = np.empty((*lead, m), np.int64)
    factorise = _lapack(a.dtype)
    for at in np.ndindex(*lead):
        if 0 not in (m, n):
            factors[at], swaps[at] = factorise(a[at])
        order[at] = row_order(swaps[at], m)
    return factors, swaps, order


def _lapack(dtype: np.dtype) -> Callable[[Array], tuple[Array, Array]]:
    """Return what factorises one matrix."""
    try:
        lapack = import_module("scipy.linalg.lapack")
    except ImportError:
        return _eliminate
    (getrf,) = lapack.get_lapack_funcs(("getrf",), dtype=dtype)

    def factorise(a: Array) -> tuple[Array, Array]:
        factors, swaps, _ = getrf(a)
        return factors, swaps

    return factorise


def _eliminate(a: Array) -> tuple[Array, Array]:
    """Gaussian elimination, column by column, the largest candidate as pivot."""
    a = np.array(a)
    m, n = a.shape
    swaps = np.empty(min(m, n), np.int32)
    for k in range(min(m, n)):
        p = swaps[k] = k + int(np.argmax(_size(a[k:, k])))
        a[[k, p]] = a[[p, k]]
        if a[k, k] != 0:
            a[k + 1 :, k] /= a[k, k]
            a[k + 1 :, k + 1 :] -= np.outer(a[k + 1 :, k], a[k, k + 1 :])
    return a, swaps


def _size(x: Array) -> Array:
    """The sum of absolute parts, by which LAPACK chooses pivots."""
    return np.asarray(np.abs(x.real) + np.abs(x.imag))


def row_order(swaps: Array, rows: int) -> Array:
    """Return the order of rows that exchanges, one after the other, lead to."""
    order = np.arange(rows)
    for k, p in enumerate(swaps):
        order[[k, p]] = order[[p, k]]
    return order


def _lu_jvp(
    b: Builder,
    tangents: Atoms,
    outs: Sequence[Atom],
    ins: Sequence[Atom],
    params: Params,
) -> Atoms:
    """Tangent of L U = P A for fixed P.

    With M = L⁻¹ P dA U⁻¹, dL = L · strict lower M and dU = upper M · U. Where A is not
    square, L is completed by columns, or U by rows, of the identity (S. Walter, L.
    Lehmann, "Algorithmic differentiation of linear algebra functions", 2010).
    """
    (t,), (factors, _, order) = tangents, outs
    assert t is not None
    *_, m, n = factors.aval.shape
    k = min(m, n)
    low = pad_to(b, columns(b, triangle(b, factors, True, strict=True), 0, k), m, m)
    low = b.emit(add_p, low, _ones_on_diagonal(b, low, 0))
    top = _rows(b, triangle(b, factors, lower=False), k)
    top = pad_to(b, top, n, n)
    top = b.emit(add_p, top, _ones_on_diagonal(b, top, k))
    turned = matmul(b, _permutation(b, order, t), t)
    left = b.emit(triangular_solve_p, low, turned, lower=True)
    inner = matrix_transpose(
        b,
        b.emit(
            triangular_solve_p,
            matrix_transpose(b, top),
            matrix_transpose(b, left),
            lower=True,
        ),
    )
    of_low = matmul(b, low, triangle(b, inner, lower=True, strict=True))
    of_top = matmul(b, triangle(b, inner, lower=False), top)
    return b.emit(add_p, of_low, of_top), None, None


def _rows(b: Builder, x: Atom, k: int) -> Atom:
    """The first `k` rows."""
    return matrix_transpose(b, columns(b, matrix_transpose(b, x), 0, k))


def _ones_on_diagonal(b: Builder, x: Atom, start: int) -> Atom:
    """Ones on the diagonal from place `start`, zeros elsewhere."""
    shape = x.aval.shape
    ones = b.emit(broadcast_in_dim_p, b.literal(1, x.aval.dtype), shape=shape, dims=())
    found = keep(b, is_diagonal(b, x), ones)
    if not start:
        return found
    n = len(shape)
    places = b.emit(iota_p, shape=shape, axis=n - 1, dtype=dt.INT64)
    return keep(b, b.emit(ge_p, places, start), found)


def _permutation(b: Builder, order: Atom, like: Atom) -> Atom:
    """The matrix that brings rows into an order, in the dtype of `like`."""
    *lead, m = order.aval.shape
    shape = (*lead, m, m)
    wanted = b.emit(
        broadcast_in_dim_p, order, shape=shape, dims=tuple(range(len(lead) + 1))
    )
    places = b.emit(iota_p, shape=shape, axis=len(lead) + 1, dtype=dt.INT64)
    return b.emit(convert_p, b.emit(eq_p, wanted, places), dtype=like.aval.dtype)


# L (without its diagonal of ones) and U in one matrix, the exchanges of rows that
# pivots took, from first to last, and the order of rows after all of them.
lu_p: Primitive = register(
    Primitive(
        "lu",
        _lu_eval,
        _lu,
        jvp=_lu_jvp,
        batch=BatchParams(),
        variadic_results=True,
        flops=lambda i, o, p: 2.0 * float(i[0].size) * min(i[0].shape[-2:]) / 3.0,
    )
)
