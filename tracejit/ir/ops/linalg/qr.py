"""Orthogonal factors of matrices.

Needs matrices of any shape on the last two axes; `impl` is NumPy's own. `qr` expands
into LAPACK's two halves, reflectors and their product, which are steps of their own.
"""

from collections.abc import Sequence

import numpy as np

from ....errors import InternalError, ShapeError
from ... import dtypes as dt
from ...aval import ShapedArray
from ...builder import Builder
from ...graph import Atom, Graph
from ...primitive import (
    Array,
    Avals,
    BatchParams,
    ParamKind,
    Params,
    Primitive,
    register,
)
from ..elementwise import add_p, complex_p, imag_p, sub_p, zero
from ..shape import slice_p
from .matrices import (
    Atoms,
    adjoint,
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
from .svd import with_complement

MODES = ("reduced", "complete", "r")

# --- LAPACK's halves --------------------------------------------------------------


def _geqrf_eval(a: ShapedArray) -> Avals:
    check_matrix("geqrf", a)
    return a, a.with_shape((*a.shape[:-2], min(a.shape[-2:])))


def _geqrf(a: Array) -> tuple[Array, ...]:
    h, tau = np.linalg.qr(a, "raw")
    return np.swapaxes(h, -1, -2), tau


def _refuse_jvp(
    b: Builder,
    tangents: Atoms,
    outs: Sequence[Atom],
    ins: Sequence[Atom],
    params: Params,
) -> Atoms:
    raise InternalError("a half of qr is differentiated, and only qr can be")


# R in the upper triangle, reflectors below it; and the reflectors' factors.
geqrf_p: Primitive = register(
    Primitive(
        "geqrf",
        _geqrf_eval,
        _geqrf,
        jvp=_refuse_jvp,
        batch=BatchParams(),
        variadic_results=True,
        flops=lambda i, o, p: 2.0 * float(i[0].size) * min(i[0].shape[-2:]),
    )
)


def _product_eval(h: ShapedArray, tau: ShapedArray, complete: bool) -> ShapedArray:
    check_matrix("householder_product", h)
    *lead, m, n = h.shape
    k = min(m, n)
    if complete and m < n:
        raise ShapeError(f"{h} has fewer rows than reflectors: complete is not for it")
    if tau.shape != (*lead, k) or tau.dtype != h.dtype:
        raise ShapeError(f"the reflectors {h} take {(*lead, k)} factors, not {tau}")
    return h.with_shape((*lead, m, m if complete else k))


def _product(h: Array, tau: Array, complete: bool) -> Array:
    m, k = h.shape[-2], tau.shape[-1]
    q = np.eye(m, m if complete else k, dtype=h.dtype)
    q = np.broadcast_to(q, (*h.shape[:-2], *q.shape)).copy()
    for i in reversed(range(k)):
        v = np.concatenate([np.ones_like(h[..., :1, 0]), h[..., i + 1 :, i]], -1)
        moved = v[..., None, :].conj() @ q[..., i:, :]
        q[..., i:, :] -= tau[..., i, None, None] * v[..., None] * moved
    return q


# The unitary matrix of `geqrf`: its first columns, or all of them.
householder_product_p: Primitive = register(
    Primitive(
        "householder_product",
        _product_eval,
        _product,
        params={"complete": ParamKind.BOOL},
        jvp=_refuse_jvp,
        batch=BatchParams(),
        flops=lambda i, o, p: 2.0 * float(o[0].size) * i[1].shape[-1],
    )
)

# --- qr ---------------------------------------------------------------------------


def _qr_eval(a: ShapedArray, mode: str) -> Avals:
    check_matrix("qr", a)
    if mode not in MODES:
        raise ShapeError(f"mode {mode!r} of qr is none of {', '.join(MODES)}")
    *lead, m, n = a.shape
    size = m if mode == "complete" else min(m, n)
    r = a.with_shape((*lead, size, n))
    return (r,) if mode == "r" else (a.with_shape((*lead, m, size)), r)


def _qr(a: Array, mode: str) -> tuple[Array, ...]:
    if mode == "r":
        return (np.asarray(np.linalg.qr(a, "r")),)
    return tuple(np.linalg.qr(a, "complete" if mode == "complete" else "reduced"))


def _qr_graph(avals: Avals, params: Params) -> Graph:
    """Reflectors, their product, and the triangle above them."""
    b = Builder("qr")
    (aval,) = avals
    h, tau = b.emit_all(geqrf_p, (b.input(aval),))
    *lead, m, n = aval.shape
    is_complete = params["mode"] == "complete" and m > n
    size = m if is_complete else min(m, n)
    rows = b.emit(
        slice_p,
        h,
        start=(0,) * aval.ndim,
        stop=(*lead, size, n),
        stride=(1,) * aval.ndim,
    )
    r = triangle(b, rows, lower=False)
    if params["mode"] == "r":
        return b.build([r])
    q = b.emit(householder_product_p, h, tau, complete=is_complete)
    return b.build([q, r])


def _qr_jvp(
    b: Builder,
    tangents: Atoms,
    outs: Sequence[Atom],
    ins: Sequence[Atom],
    params: Params,
) -> Atoms:
    """Tangents from the first k = min(m, n) columns A₁ = Q₁ R₁, of full rank.

    With X = dA₁ R₁⁻¹ and M = Q₁ᴴ X, the turn is W = L - Lᴴ + i Im diag M for L the
    strict lower triangle of M: R stays triangular, with a real diagonal. Then
    dQ₁ = X - Q₁ M + Q₁ W, and dR = Qᴴ dA - W R on the upper triangle (S. Walter and
    L. Lehmann, "Algorithmic differentiation of linear algebra functions", 2010). The
    other columns of a complete Q move as `with_complement` says.
    """
    (t,), (a,) = tangents, ins
    assert t is not None
    if params["mode"] == "r":
        q, r = b.emit_all(qr_p, (a,), {"mode": "reduced"})
    else:
        q, r = outs
    *_, m, n = a.aval.shape
    k = min(m, n)
    first = columns(b, q, 0, k)
    x = _over_triangle(b, columns(b, t, 0, k), columns(b, _rows(b, r, k), 0, k))
    inner = matmul(b, adjoint(b, first), x)
    turn = _turn(b, inner)
    within = matmul(b, first, b.emit(sub_p, turn, inner))
    dq = with_complement(b, b.emit(add_p, x, within), q)
    change = matmul(b, adjoint(b, first), t)
    top = _rows(b, r, k)
    dr = triangle(b, b.emit(sub_p, change, matmul(b, turn, top)), lower=False)
    dr = pad_to(b, dr, r.aval.shape[-2], n)
    return (dr,) if params["mode"] == "r" else (dq, dr)


def _rows(b: Builder, x: Atom, k: int) -> Atom:
    """The first `k` rows."""
    return matrix_transpose(b, columns(b, matrix_transpose(b, x), 0, k))


def _over_triangle(b: Builder, x: Atom, r: Atom) -> Atom:
    """X R⁻¹ for an upper triangle R."""
    turned = b.emit(
        triangular_solve_p, matrix_transpose(b, r), matrix_transpose(b, x), lower=True
    )
    return matrix_transpose(b, turned)


def _turn(b: Builder, inner: Atom) -> Atom:
    """The skew part that keeps R triangular and its diagonal real."""
    low = triangle(b, inner, lower=True, strict=True)
    turn = b.emit(sub_p, low, adjoint(b, low))
    if not dt.is_complex(inner.aval.dtype):
        return turn
    angle = b.emit(imag_p, keep(b, is_diagonal(b, inner), inner))
    return b.emit(add_p, turn, b.emit(complex_p, zero(b, angle), angle))


qr_p: Primitive = register(
    Primitive(
        "qr",
        _qr_eval,
        _qr,
        params={"mode": ParamKind.STR},
        jvp=_qr_jvp,
        batch=BatchParams(),
        variadic_results=True,
        flops=lambda i, o, p: 4.0 * float(i[0].size) * min(i[0].shape[-2:]),
        expand=_qr_graph,
    )
)
