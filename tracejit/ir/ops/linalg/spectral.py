"""Eigenvalues and eigenvectors, of Hermitian matrices and of any.

Needs square matrices; NumPy's own `impl`, whose failure to converge raises
`numpy.linalg.LinAlgError`. Establishes that results of `eig` are complex, whatever
their values: NumPy gives real arrays where all imaginary parts are 0, which a graph of
known dtypes cannot. Where eigenvalues are equal, directions that mix their vectors have
no derivative, and give infinities or NaN in place of a wrong number.
"""

from collections.abc import Sequence

import numpy as np

from ... import dtypes as dt
from ...aval import ShapedArray
from ...builder import Builder
from ...graph import Atom
from ...primitive import (
    Array,
    Avals,
    BatchParams,
    Effect,
    Params,
    Primitive,
    register,
)
from ..elementwise import (
    add_p,
    complex_p,
    div_p,
    eq_p,
    imag_p,
    mul_p,
    real_p,
    sub_p,
)
from ..reduce import argmax_p, reduce_sum_p
from .matrices import (
    Atoms,
    adjoint,
    along_columns,
    along_rows,
    as_dtype,
    check_square,
    conjugate,
    diagonal,
    drop,
    hermitian_part,
    is_diagonal,
    keep,
    matmul,
    positions,
    quotient,
    real_part,
)
from .solve import solve_p

# --- of Hermitian matrices --------------------------------------------------------


def _eigh_eval(a: ShapedArray) -> Avals:
    check_square("eigh", a)
    return ShapedArray(a.shape[:-1], dt.real_dtype(a.dtype)), a


def _eigh_jvp(
    b: Builder,
    tangents: Atoms,
    outs: Sequence[Atom],
    ins: Sequence[Atom],
    params: Params,
) -> Atoms:
    """Tangents dw = diag(Vᴴ dA V) and dV = V (F ∘ Vᴴ dA V).

    F_ij = 1/(w_j - w_i) off the diagonal and 0 on it (M. Giles, "Collected matrix
    derivative results for algorithmic differentiation", 2008). Where eigenvalues are
    equal F is infinite: directions that do not mix their vectors count nothing, all
    others have no derivative, and give infinities or NaN in place of a wrong number.
    """
    (t,), (w, v) = tangents, outs
    assert t is not None
    inner = matmul(b, matmul(b, adjoint(b, v), hermitian_part(b, t)), v)
    dw = real_part(b, diagonal(b, inner))
    return dw, matmul(b, v, _turned(b, inner, w))


def _turned(b: Builder, inner: Atom, w: Atom) -> Atom:
    """Divide by the gaps w_j - w_i off the diagonal; 0 on it."""
    gap = b.emit(sub_p, along_rows(b, w, inner), along_columns(b, w, inner))
    return drop(b, is_diagonal(b, inner), quotient(b, inner, gap))


eigh_p: Primitive = register(
    Primitive(
        "eigh",
        _eigh_eval,
        lambda a: tuple(np.linalg.eigh(a)),
        jvp=_eigh_jvp,
        batch=BatchParams(),
        effects=lambda p: frozenset({Effect.CHECK}),
        variadic_results=True,
        flops=lambda i, o, p: 9.0 * float(i[0].size) * i[0].shape[-1],
    )
)

# --- of any matrices --------------------------------------------------------------


def _complex_dtype(dtype: np.dtype) -> np.dtype:
    return np.dtype(f"c{2 * dt.real_dtype(dtype).itemsize}")


def _eigvals_eval(a: ShapedArray) -> ShapedArray:
    check_square("eigvals", a)
    return ShapedArray(a.shape[:-1], _complex_dtype(a.dtype))


def _eig_eval(a: ShapedArray) -> Avals:
    check_square("eig", a)
    dtype = _complex_dtype(a.dtype)
    return ShapedArray(a.shape[:-1], dtype), a.with_dtype(dtype)


def _eigvals(a: Array) -> Array:
    return np.linalg.eigvals(a).astype(_complex_dtype(a.dtype))


def _eig(a: Array) -> tuple[Array, ...]:
    dtype = _complex_dtype(a.dtype)
    return tuple(x.astype(dtype) for x in np.linalg.eig(a))


def _in_eigenbasis(b: Builder, t: Atom, v: Atom) -> Atom:
    """V⁻¹ dA V."""
    moved = matmul(b, as_dtype(b, t, v.aval.dtype), v)
    return b.emit(solve_p, v, moved)


def _eigvals_jvp(
    b: Builder,
    tangents: Atoms,
    outs: Sequence[Atom],
    ins: Sequence[Atom],
    params: Params,
) -> Atoms:
    """Tangent dw = diag(V⁻¹ dA V) (M. Giles, 2008, as for `eigh`)."""
    (t,), (a,) = tangents, ins
    assert t is not None
    _, v = b.emit_all(eig_p, (a,))
    return (diagonal(b, _in_eigenbasis(b, t, v)),)


def _eig_jvp(
    b: Builder,
    tangents: Atoms,
    outs: Sequence[Atom],
    ins: Sequence[Atom],
    params: Params,
) -> Atoms:
    """Tangents dw = diag(V⁻¹ dA V) and dV = V (F ∘ V⁻¹ dA V - C).

    F_ij = 1/(w_j - w_i) off the diagonal and 0 on it (M. Giles, 2008, as for `eigh`).
    The diagonal C keeps what LAPACK's ``geev`` promises of each vector: length 1, and
    a real component of largest size.
    """
    (t,), (w, v) = tangents, outs
    assert t is not None
    if not v.aval.size:
        return None, None
    inner = _in_eigenbasis(b, t, v)
    raw = matmul(b, v, _turned(b, inner, w))
    scale = along_rows(b, _drift(b, raw, v), v)
    return diagonal(b, inner), b.emit(sub_p, raw, b.emit(mul_p, v, scale))


def _drift(b: Builder, raw: Atom, v: Atom) -> Atom:
    """The multiple of each vector that `raw` has and its normal form has not."""
    n = v.aval.ndim
    overlap = b.emit(mul_p, conjugate(b, v), raw)
    longer = b.emit(real_p, b.emit(reduce_sum_p, overlap, axes=(n - 2,)))
    squares = [b.emit(mul_p, x, x) for x in (b.emit(real_p, v), b.emit(imag_p, v))]
    largest = b.emit(argmax_p, b.emit(add_p, *squares), axis=n - 2)
    rows, _ = positions(b, v)
    chosen = b.emit(eq_p, rows, along_rows(b, largest, rows))
    top, turn = (
        b.emit(reduce_sum_p, keep(b, chosen, part), axes=(n - 2,))
        for part in (b.emit(real_p, v), b.emit(imag_p, raw))
    )
    return b.emit(complex_p, longer, b.emit(div_p, turn, top))


eigvals_p: Primitive = register(
    Primitive(
        "eigvals",
        _eigvals_eval,
        _eigvals,
        jvp=_eigvals_jvp,
        batch=BatchParams(),
        effects=lambda p: frozenset({Effect.CHECK}),
        flops=lambda i, o, p: 10.0 * float(i[0].size) * i[0].shape[-1],
    )
)
eig_p: Primitive = register(
    Primitive(
        "eig",
        _eig_eval,
        _eig,
        jvp=_eig_jvp,
        batch=BatchParams(),
        effects=lambda p: frozenset({Effect.CHECK}),
        variadic_results=True,
        flops=lambda i, o, p: 25.0 * float(i[0].size) * i[0].shape[-1],
    )
)
