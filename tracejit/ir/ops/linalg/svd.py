"""Singular values and vectors, and what is made of them: inverses and least squares.

Needs matrices of any shape on the last two axes; `impl` is NumPy's own. Establishes
derivatives that divide by nothing they need not: singular values alone, pseudo-inverses
and least squares have right derivatives where singular values are equal; singular
vectors give infinities or NaN there, and where they belong to a singular value of 0.
"""

from collections.abc import Sequence

import numpy as np

from ....errors import DTypeError, ShapeError
from ... import dtypes as dt
from ...aval import ShapedArray
from ...builder import Builder
from ...graph import Atom, Graph
from ...primitive import (
    Array,
    Avals,
    BatchParams,
    Effect,
    ParamKind,
    Params,
    Primitive,
    register,
)
from ..elementwise import (
    add_p,
    div_p,
    eq_p,
    gt_p,
    mul_p,
    neg_p,
    select_p,
    sub_p,
    zero,
)
from ..reduce import reduce_max_p, reduce_sum_p
from ..shape import broadcast_in_dim_p, concatenate_p
from .matrices import (
    Atoms,
    adjoint,
    along_columns,
    along_rows,
    as_dtype,
    check_matrix,
    columns,
    conjugate,
    diagonal,
    drop,
    hermitian_part,
    is_diagonal,
    keep,
    matmul,
    quotient,
    real_part,
    skew_part,
    triangle,
)
from .spectral import eigh_p


def _values(a: ShapedArray) -> ShapedArray:
    return ShapedArray((*a.shape[:-2], min(a.shape[-2:])), dt.real_dtype(a.dtype))


# --- svd --------------------------------------------------------------------------


def _svd_eval(a: ShapedArray, full_matrices: bool) -> Avals:
    check_matrix("svd", a)
    *lead, m, n = a.shape
    k = min(m, n)
    left, right = (m, n) if full_matrices else (k, k)
    u, vh = a.with_shape((*lead, m, left)), a.with_shape((*lead, right, n))
    return u, _values(a), vh


def _svd(a: Array, full_matrices: bool) -> tuple[Array, ...]:
    return tuple(np.linalg.svd(a, full_matrices))


def _svd_jvp(
    b: Builder,
    tangents: Atoms,
    outs: Sequence[Atom],
    ins: Sequence[Atom],
    params: Params,
) -> Atoms:
    """Tangents of A = U S Vᴴ from P = Uᴴ dA V, H and K its Hermitian and skew parts.

    dS = Re diag P; UᴴdU = H/(s_j - s_i) + K/(s_j + s_i), without H on the diagonal;
    VᴴdV = H/(s_j - s_i) - K/(s_j + s_i); outside of the span of U, dU = dA V / s_j.
    This is J. Townsend, "Differentiating the singular value decomposition", 2016, with
    1/(s_j² - s_i²) taken apart, which keeps the digits of close values. The diagonal of
    K is the term of complex matrices, whose phases are free: it turns both vectors by
    half, as in Z.-Q. Wan and S.-X. Zhang, "Automatic differentiation for complex valued
    SVD", arXiv:1909.02659. Where s_i = s_j, or a value is 0, what mixes the vectors has
    no derivative. Bases of the complements, with `full_matrices`, turn no more than
    they must: what does not depend on their choice has its derivative.
    """
    (t,), (u, s, vh) = tangents, outs
    assert t is not None
    k = s.aval.shape[-1]
    v = adjoint(b, vh)
    left, right = columns(b, u, 0, k), columns(b, v, 0, k)
    moved = matmul(b, t, right)
    inner = matmul(b, adjoint(b, left), moved)
    ds = real_part(b, diagonal(b, inner))
    gap, total = (
        b.emit(p, along_rows(b, s, inner), along_columns(b, s, inner))
        for p in (sub_p, add_p)
    )
    mixed = quotient(b, hermitian_part(b, inner), gap)
    mixed = drop(b, is_diagonal(b, inner), mixed)
    turned = quotient(b, skew_part(b, inner), total)
    du = matmul(b, left, b.emit(add_p, mixed, turned))
    dv = matmul(b, right, b.emit(sub_p, mixed, turned))
    if u.aval.shape[-2] > k:
        du = _with_outside(b, du, u, moved, s)
    if v.aval.shape[-2] > k:
        dv = _with_outside(b, dv, v, matmul(b, adjoint(b, t), left), s)
    return du, ds, adjoint(b, dv)


def _with_outside(b: Builder, inside: Atom, u: Atom, moved: Atom, s: Atom) -> Atom:
    """Add what leaves the span of the first columns, and move the others along.

    Parameters
    ----------
    inside : Atom
        Tangent of the first columns of `u` within their span.
    moved : Atom
        dA V, or dAᴴ U for the other side.
    """
    k = s.aval.shape[-1]
    base = columns(b, u, 0, k)
    shadow = matmul(b, base, matmul(b, adjoint(b, base), moved))
    away = b.emit(sub_p, moved, shadow)
    first = b.emit(add_p, inside, quotient(b, away, along_rows(b, s, away)))
    return with_complement(b, first, u)


def with_complement(b: Builder, first: Atom, q: Atom) -> Atom:
    """Append the tangents of the columns of unitary `q` that follow the first ones.

    They are -Q₁ dQ₁ᴴ Q₂: `q` stays unitary, and its last columns do not turn.
    """
    k, size = first.aval.shape[-1], q.aval.shape[-1]
    if size == k:
        return first
    rest = matmul(b, adjoint(b, first), columns(b, q, k, size))
    after = b.emit(neg_p, matmul(b, columns(b, q, 0, k), rest))
    return b.emit(concatenate_p, first, after, axis=q.aval.ndim - 1)


svd_p: Primitive = register(
    Primitive(
        "svd",
        _svd_eval,
        _svd,
        params={"full_matrices": ParamKind.BOOL},
        jvp=_svd_jvp,
        batch=BatchParams(),
        effects=lambda p: frozenset({Effect.CHECK}),
        variadic_results=True,
        flops=lambda i, o, p: 20.0 * float(i[0].size) * o[1].shape[-1],
    )
)


def _svdvals_eval(a: ShapedArray) -> ShapedArray:
    check_matrix("svdvals", a)
    return _values(a)


def _svdvals_jvp(
    b: Builder,
    tangents: Atoms,
    outs: Sequence[Atom],
    ins: Sequence[Atom],
    params: Params,
) -> Atoms:
    """Tangent ds = Re diag(Uᴴ dA V) (M. Giles, 2008, as for `eigh`), 0 where s = 0.

    There s is an absolute value, and 0 its subgradient of least norm.
    """
    (t,), (a,), (s,) = tangents, ins, outs
    assert t is not None
    u, _, vh = b.emit_all(svd_p, (a,), {"full_matrices": False})
    moved = matmul(b, t, adjoint(b, vh))
    ds = real_part(b, diagonal(b, matmul(b, adjoint(b, u), moved)))
    return (drop(b, b.emit(eq_p, s, zero(b, s)), ds),)


svdvals_p: Primitive = register(
    Primitive(
        "svdvals",
        _svdvals_eval,
        lambda a: np.linalg.svd(a, compute_uv=False),
        jvp=_svdvals_jvp,
        batch=BatchParams(),
        effects=lambda p: frozenset({Effect.CHECK}),
        flops=lambda i, o, p: 4.0 * float(i[0].size) * o[0].shape[-1],
    )
)

# --- pinv -------------------------------------------------------------------------


def _check_cutoff(name: str, a: ShapedArray, rcond: ShapedArray) -> None:
    if rcond.shape != a.shape[:-2]:
        raise ShapeError(
            f"{name} takes one cut-off for each matrix of {a}, not {rcond}"
        )
    if rcond.dtype != dt.real_dtype(a.dtype):
        raise DTypeError(
            f"{name} of {a} takes a cut-off of its real dtype, not {rcond}"
        )


def _pinv_eval(a: ShapedArray, rcond: ShapedArray, hermitian: bool) -> ShapedArray:
    check_matrix("pinv", a)
    _check_cutoff("pinv", a, rcond)
    *lead, m, n = a.shape
    if hermitian and m != n:
        raise ShapeError(f"pinv of a Hermitian matrix takes a square one, not {a}")
    return a.with_shape((*lead, n, m))


def _pinv(a: Array, rcond: Array, hermitian: bool) -> Array:
    return np.linalg.pinv(a, rcond, hermitian)


def _pinv_graph(avals: Avals, params: Params) -> Graph:
    """V S⁻¹ Uᴴ, with 0 in place of 1/s for s up to rcond · max s."""
    b = Builder("pinv")
    a, rcond = (b.input(aval) for aval in avals)
    if params["hermitian"]:
        s, v = b.emit_all(eigh_p, (a,))
        u = adjoint(b, v)
        size = b.emit(select_p, b.emit(gt_p, s, zero(b, s)), s, b.emit(neg_p, s))
    else:
        u, s, vh = b.emit_all(svd_p, (a,), {"full_matrices": False})
        u, v, size = adjoint(b, u), adjoint(b, vh), s
    n = s.aval.ndim
    top = b.emit(mul_p, rcond, b.emit(reduce_max_p, size, axes=(n - 1,)))
    dims = tuple(range(n - 1))
    top = b.emit(broadcast_in_dim_p, top, shape=s.aval.shape, dims=dims)
    large = b.emit(gt_p, size, top)
    safe = b.emit(select_p, large, s, b.literal(1, s.aval.dtype))
    inverse = keep(b, large, b.emit(div_p, b.literal(1, s.aval.dtype), safe))
    scale = as_dtype(b, along_rows(b, inverse, v), v.aval.dtype)
    return b.build([matmul(b, b.emit(mul_p, v, scale), u)])


def _pinv_jvp(
    b: Builder,
    tangents: Atoms,
    outs: Sequence[Atom],
    ins: Sequence[Atom],
    params: Params,
) -> Atoms:
    """Tangent of the pseudo-inverse G among matrices of the same rank.

    dG = -G dA G + G Gᴴ dAᴴ (1 - A G) + (1 - G A) dAᴴ Gᴴ G (G. Golub and V. Pereyra,
    "The differentiation of pseudo-inverses and nonlinear least squares problems whose
    variables separate", 1973). No differences of singular values occur.
    """
    (t, _), (a, _), (g,) = tangents, ins, outs
    if t is None:
        return (None,)
    if params["hermitian"]:
        a, t = _read_lower(b, a), hermitian_part(b, t)
    gh, th = adjoint(b, g), adjoint(b, t)
    drift = matmul(b, matmul(b, g, t), g)
    left = matmul(b, matmul(b, g, gh), th)
    left = b.emit(sub_p, left, matmul(b, matmul(b, left, a), g))
    right = matmul(b, matmul(b, th, gh), g)
    right = b.emit(sub_p, right, matmul(b, g, matmul(b, a, right)))
    return (b.emit(sub_p, b.emit(add_p, left, right), drift),)


def _read_lower(b: Builder, a: Atom) -> Atom:
    """The Hermitian matrix that a lower triangle stands for."""
    low = triangle(b, a, lower=True, strict=True)
    main = keep(b, is_diagonal(b, a), as_dtype(b, real_part(b, a), a.aval.dtype))
    return b.emit(add_p, main, b.emit(add_p, low, adjoint(b, low)))


# The cut-off `rcond` is relative to the largest singular value, and has no derivative.
pinv_p: Primitive = register(
    Primitive(
        "pinv",
        _pinv_eval,
        _pinv,
        params={"hermitian": ParamKind.BOOL},
        jvp=_pinv_jvp,
        batch=BatchParams(),
        effects=lambda p: frozenset({Effect.CHECK}),
        flops=lambda i, o, p: 20.0 * float(i[0].size) * min(i[0].shape[-2:]),
        expand=_pinv_graph,
    )
)

# --- lstsq ------------------------------------------------------------------------


def _lstsq_eval(a: ShapedArray, y: ShapedArray, rcond: ShapedArray) -> Avals:
    check_matrix("lstsq", a)
    _check_cutoff("lstsq", a, rcond)
    *lead, n = (*a.shape[:-2], a.shape[-1])
    fits = y.ndim == a.ndim and y.shape[:-1] == a.shape[:-1] and y.dtype == a.dtype
    if not fits:
        raise ShapeError(f"lstsq cannot solve {a} for {y}")
    k = y.shape[-1]
    real = dt.real_dtype(a.dtype)
    return (
        a.with_shape((*lead, n, k)),
        ShapedArray((*lead, k), real),
        ShapedArray(tuple(lead), np.dtype(np.int32)),
        _values(a),
    )


def _lstsq(a: Array, y: Array, rcond: Array) -> tuple[Array, ...]:
    avals = (ShapedArray(v.shape, v.dtype) for v in (a, y, rcond))
    outs = tuple(np.empty(out.shape, out.dtype) for out in _lstsq_eval(*avals))
    for at in np.ndindex(a.shape[:-2]):
        x, residuals, rank, s = np.linalg.lstsq(a[at], y[at], float(rcond[at]))
        if not residuals.size:
            is_exact = a.shape[-2] == a.shape[-1] == rank
            residuals = np.asarray(0.0 if is_exact else np.nan)
        for out, part in zip(outs, (x, residuals, rank, s), strict=True):
            out[at] = part
    return outs


def _lstsq_jvp(
    b: Builder,
    tangents: Atoms,
    outs: Sequence[Atom],
    ins: Sequence[Atom],
    params: Params,
) -> Atoms:
    """Tangents among matrices of the same rank, with G the pseudo-inverse of A.

    dx = G (dy - dA x) + G Gᴴ dAᴴ r + (1 - G A) dAᴴ Gᴴ x for r = y - A x (G. Golub and
    V. Pereyra, 1973, as for `pinv`); d‖r‖² = 2 Re Σ r̄ (dy - dA x), for r is orthogonal
    to the columns of A.
    """
    (ta, ty, _), (a, y, rcond), (x, _, _, _) = tangents, ins, outs
    g = b.emit(pinv_p, a, rcond, hermitian=False)
    r = b.emit(sub_p, y, matmul(b, a, x))
    change = ty
    if ta is not None:
        moved = b.emit(neg_p, matmul(b, ta, x))
        change = moved if ty is None else b.emit(add_p, ty, moved)
    if change is None:
        return None, None, None, None
    dx = matmul(b, g, change)
    ds = None
    if ta is not None:
        dx = b.emit(add_p, dx, _bent(b, ta, a, g, x, r))
        (ds,) = _svdvals_jvp(b, (ta,), (outs[3],), (a,), {})
    product = b.emit(mul_p, conjugate(b, r), change)
    total = b.emit(reduce_sum_p, real_part(b, product), axes=(product.aval.ndim - 2,))
    return dx, b.emit(mul_p, total, 2.0), None, ds


def lstsq_graph(avals: Avals, params: Params) -> Graph:
    """Least squares by singular values, for targets that have no ``gelsd``.

    The solution of least norm is V S⁻¹ Uᴴ y, with 0 in place of 1/s for s up to
    rcond · max s, as many as the rank has not.
    """
    b = Builder("lstsq")
    a, y, rcond = (b.input(aval) for aval in avals)
    u, s, vh = b.emit_all(svd_p, (a,), {"full_matrices": False})
    last, (m, n) = s.aval.ndim - 1, a.aval.shape[-2:]
    top = b.emit(mul_p, rcond, b.emit(reduce_max_p, s, axes=(last,)))
    dims = tuple(range(last))
    top = b.emit(broadcast_in_dim_p, top, shape=s.aval.shape, dims=dims)
    large = b.emit(gt_p, s, top)
    safe = b.emit(select_p, large, s, b.literal(1, s.aval.dtype))
    inverse = keep(b, large, b.emit(div_p, b.literal(1, s.aval.dtype), safe))
    inner = matmul(b, adjoint(b, u), y)
    scale = as_dtype(b, along_columns(b, inverse, inner), inner.aval.dtype)
    x = matmul(b, adjoint(b, vh), b.emit(mul_p, inner, scale))
    rank = as_dtype(b, large, np.dtype(np.int32))
    rank = b.emit(reduce_sum_p, rank, axes=(last,))
    rest = b.emit(sub_p, y, matmul(b, a, x))
    squares = real_part(b, b.emit(mul_p, conjugate(b, rest), rest))
    total = b.emit(reduce_sum_p, squares, axes=(last,))
    if m <= n:
        total = b.emit(mul_p, total, 0.0 if m == n else float("nan"))
    full = b.emit(eq_p, rank, b.literal(n, rank.aval.dtype))
    full = b.emit(broadcast_in_dim_p, full, shape=total.aval.shape, dims=dims)
    undefined = b.literal(float("nan"), total.aval.dtype)
    return b.build([x, b.emit(select_p, full, total, undefined), rank, s])


def _bent(b: Builder, t: Atom, a: Atom, g: Atom, x: Atom, r: Atom) -> Atom:
    """G Gᴴ dAᴴ r + (1 - G A) dAᴴ Gᴴ x: what turns the spaces of A."""
    gh, th = adjoint(b, g), adjoint(b, t)
    left = matmul(b, g, matmul(b, gh, matmul(b, th, r)))
    right = matmul(b, th, matmul(b, gh, x))
    right = b.emit(sub_p, right, matmul(b, g, matmul(b, a, right)))
    return b.emit(add_p, left, right)


# Results: solution, sums of squared residuals (NaN where columns are dependent), rank,
# singular values; all as LAPACK's ``gelsd``.
lstsq_p: Primitive = register(
    Primitive(
        "lstsq",
        _lstsq_eval,
        _lstsq,
        jvp=_lstsq_jvp,
        batch=BatchParams(),
        effects=lambda p: frozenset({Effect.CHECK}),
        variadic_results=True,
        flops=lambda i, o, p: 10.0 * float(i[0].size) * min(i[0].shape[-2:]),
    )
)
