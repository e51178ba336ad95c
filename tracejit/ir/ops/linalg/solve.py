"""Linear systems, Cholesky factors, inverses and determinants.

`impl` is NumPy's own. A singular or indefinite matrix raises
`numpy.linalg.LinAlgError`, so these equations carry the CHECK effect. Derivatives of
functions of symmetric (Hermitian) matrices see the symmetric part of the tangent.
"""

import contextlib
from collections.abc import Callable, Sequence

import numpy as np

from ....errors import ShapeError
from ... import dtypes as dt
from ...aval import ShapedArray
from ...builder import Builder
from ...graph import Atom, Graph
from ...primitive import (
    Array,
    Avals,
    BatchParams,
    Effect,
    JvpRule,
    ParamKind,
    Params,
    Primitive,
    register,
)
from ..elementwise import (
    add_p,
    complex_p,
    eq_p,
    gt_p,
    imag_p,
    mul_p,
    neg_p,
    real_p,
    select_p,
    zero,
)
from ..shape import move_axis, reshape, rev_p, spread_all
from .matrices import (
    Atoms,
    adjoint,
    check_square,
    hermitian_part,
    matmul,
    matrix_transpose,
    positions,
    trace,
    triangle,
)


def _square_primitive(
    name: str,
    impl: Callable[[Array], Array],
    jvp: JvpRule,
    shape_of: Callable[[ShapedArray], ShapedArray],
) -> Primitive:
    def abstract_eval(a: ShapedArray) -> ShapedArray:
        check_square(name, a)
        return shape_of(a)

    return register(
        Primitive(
            name,
            abstract_eval,
            impl,
            jvp=jvp,
            batch=BatchParams(),
            effects=lambda p: frozenset({Effect.CHECK}),
            flops=lambda i, o, p: float(i[0].size) * i[0].shape[-1],
        )
    )


# --- cholesky ---------------------------------------------------------------------


def _lower_half(b: Builder, x: Atom) -> Atom:
    """Keep the lower triangle and half of the diagonal."""
    rows, cols = positions(b, x)
    half = b.emit(mul_p, x, 0.5)
    from_diagonal = b.emit(select_p, b.emit(eq_p, rows, cols), half, zero(b, x))
    return b.emit(select_p, b.emit(gt_p, rows, cols), x, from_diagonal)


def _cholesky_jvp(
    b: Builder,
    tangents: Atoms,
    outs: Sequence[Atom],
    ins: Sequence[Atom],
    params: Params,
) -> Atoms:
    """Tangent dL = L Φ(L⁻¹ dA L⁻ᴴ), Φ the lower half (I. Murray, arXiv:1602.07527)."""
    (t,), (low,) = tangents, outs
    assert t is not None
    left = b.emit(triangular_solve_p, low, hermitian_part(b, t), lower=True)
    right = b.emit(triangular_solve_p, low, adjoint(b, left), lower=True)
    inner = adjoint(b, right)
    return (matmul(b, low, _lower_half(b, inner)),)


# --- solve ------------------------------------------------------------------------


def _check_system(name: str, a: ShapedArray, x: ShapedArray) -> None:
    check_square(name, a)
    fits = x.ndim == a.ndim and x.shape[:-1] == a.shape[:-1] and x.dtype == a.dtype
    if not fits:
        raise ShapeError(f"{name} cannot apply the inverse of {a} to {x}")


def _solve_eval(a: ShapedArray, x: ShapedArray) -> ShapedArray:
    _check_system("solve", a, x)
    return x


def _solve_jvp(
    b: Builder,
    tangents: Atoms,
    outs: Sequence[Atom],
    ins: Sequence[Atom],
    params: Params,
) -> Atoms:
    """Tangent d(A⁻¹B) = A⁻¹ (dB - dA X)."""
    (ta, tb), (a, _), (x,) = tangents, ins, outs
    total = tb
    if ta is not None:
        drop = b.emit(neg_p, matmul(b, ta, x))
        total = drop if tb is None else b.emit(add_p, tb, drop)
    assert total is not None
    return (b.emit(solve_p, a, total),)


def _solve_transpose(
    b: Builder,
    cotangents: Atoms,
    ins: Sequence[Atom],
    linear: Sequence[bool],
    params: Params,
) -> Atoms:
    (ct,) = cotangents
    assert ct is not None
    return None, b.emit(solve_p, matrix_transpose(b, ins[0]), ct)


def _solve_batch(
    b: Builder,
    primitive: Primitive,
    ins: Sequence[Atom],
    batched: Sequence[bool],
    params: Params,
) -> Sequence[Atom]:
    """Right-hand sides of one matrix become more columns: it is factorised once."""
    a, x = ins
    if batched[0]:
        return (b.emit(primitive, *spread_all(b, ins, batched), **params),)
    size, *lead, n, k = x.aval.shape
    x = move_axis(b, x, 0, x.aval.ndim - 2)
    columns = reshape(b, x, (*lead, n, size * k))
    out = reshape(b, b.emit(primitive, a, columns, **params), (*lead, n, size, k))
    return (move_axis(b, out, out.aval.ndim - 2, 0),)


solve_p: Primitive = register(
    Primitive(
        "solve",
        _solve_eval,
        np.linalg.solve,
        jvp=_solve_jvp,
        transpose=_solve_transpose,
        linear_in=(1,),
        batch=_solve_batch,
        effects=lambda p: frozenset({Effect.CHECK}),
        flops=lambda i, o, p: float(i[0].size) * (i[0].shape[-1] + o[0].shape[-1]),
    )
)

# --- triangular_solve -------------------------------------------------------------


def _triangular_eval(a: ShapedArray, x: ShapedArray, lower: bool) -> ShapedArray:
    _check_system("triangular_solve", a, x)
    return x


def _triangular_solve(a: Array, x: Array, lower: bool) -> Array:
    if lower:
        flipped = np.triu(a[..., ::-1, ::-1])
        return np.linalg.solve(flipped, x[..., ::-1, :])[..., ::-1, :]
    return np.linalg.solve(np.triu(a), x)


def _triangular_graph(avals: Avals, params: Params) -> Graph:
    """The system as one of an upper triangle, which `solve` need not eliminate in.

    Every column has its only candidate for a pivot on the diagonal: the factors are
    the identity and the triangle, and what remains is back substitution, with its
    small errors row by row (N. Higham, "Accuracy and Stability of Numerical
    Algorithms", 2002, chapter 8). A lower triangle in reverse order is an upper one.
    """
    b = Builder("triangular_solve")
    a, x = (b.input(aval) for aval in avals)
    lower, n = bool(params["lower"]), avals[0].ndim
    half = triangle(b, a, lower)
    if not lower:
        return b.build([b.emit(solve_p, half, x)])
    half = b.emit(rev_p, half, axes=(n - 2, n - 1))
    out = b.emit(solve_p, half, b.emit(rev_p, x, axes=(n - 2,)))
    return b.build([b.emit(rev_p, out, axes=(n - 2,))])


def _triangular_jvp(
    b: Builder,
    tangents: Atoms,
    outs: Sequence[Atom],
    ins: Sequence[Atom],
    params: Params,
) -> Atoms:
    """Tangent d(T⁻¹B) = T⁻¹ (dB - dT X), dT the same triangle of the tangent."""
    (ta, tb), (a, _), (x,) = tangents, ins, outs
    total = tb
    if ta is not None:
        half = triangle(b, ta, bool(params["lower"]))
        less = b.emit(neg_p, matmul(b, half, x))
        total = less if tb is None else b.emit(add_p, tb, less)
    assert total is not None
    return (b.emit(triangular_solve_p, a, total, **params),)


def _triangular_transpose(
    b: Builder,
    cotangents: Atoms,
    ins: Sequence[Atom],
    linear: Sequence[bool],
    params: Params,
) -> Atoms:
    (ct,) = cotangents
    assert ct is not None
    lower = not params["lower"]
    turned = matrix_transpose(b, ins[0])
    return None, b.emit(triangular_solve_p, turned, ct, lower=lower)


# Reads one triangle of its first operand alone, as `scipy.linalg.solve_triangular`.
triangular_solve_p: Primitive = register(
    Primitive(
        "triangular_solve",
        _triangular_eval,
        _triangular_solve,
        params={"lower": ParamKind.BOOL},
        jvp=_triangular_jvp,
        transpose=_triangular_transpose,
        linear_in=(1,),
        batch=_solve_batch,
        effects=lambda p: frozenset({Effect.CHECK}),
        flops=lambda i, o, p: float(i[0].size) * o[0].shape[-1],
        expand=_triangular_graph,
    )
)

# --- inv --------------------------------------------------------------------------


def _inv_jvp(
    b: Builder,
    tangents: Atoms,
    outs: Sequence[Atom],
    ins: Sequence[Atom],
    params: Params,
) -> Atoms:
    (t,), (inv,) = tangents, outs
    assert t is not None
    return (b.emit(neg_p, matmul(b, matmul(b, inv, t), inv)),)


def _inv_or_nan(a: Array) -> Array:
    out = np.full_like(a, np.nan)
    for place in np.ndindex(a.shape[:-2]):
        with contextlib.suppress(np.linalg.LinAlgError):
            out[place] = np.linalg.inv(a[place])
    return out


def _cholesky(a: Array) -> Array:
    return np.linalg.cholesky(a)


cholesky_p: Primitive = _square_primitive(
    "cholesky", _cholesky, _cholesky_jvp, lambda a: a
)
inv_p: Primitive = _square_primitive("inv", np.linalg.inv, _inv_jvp, lambda a: a)


def _inv_or_nan_eval(a: ShapedArray) -> ShapedArray:
    check_square("inv_or_nan", a)
    return a


# The inverse where there is one, and NaN in place of an error.
inv_or_nan_p: Primitive = register(
    Primitive(
        "inv_or_nan",
        _inv_or_nan_eval,
        _inv_or_nan,
        jvp=_inv_jvp,
        batch=BatchParams(),
        flops=lambda i, o, p: float(i[0].size) * i[0].shape[-1],
    )
)

# --- determinant ------------------------------------------------------------------


def _slogdet_eval(a: ShapedArray) -> Avals:
    check_square("slogdet", a)
    sign = a.with_shape(a.shape[:-2])
    return sign, sign.with_dtype(dt.real_dtype(a.dtype))


def _slogdet_jvp(
    b: Builder,
    tangents: Atoms,
    outs: Sequence[Atom],
    ins: Sequence[Atom],
    params: Params,
) -> Atoms:
    """Tangents d log|det A| = Re tr(A⁻¹ dA) and d sign = sign · i · Im tr(A⁻¹ dA)."""
    (t,), (a,), (sign, _) = tangents, ins, outs
    assert t is not None
    change = trace(b, b.emit(solve_p, a, t))
    if not dt.is_complex(change.aval.dtype):
        return None, change
    angle = b.emit(imag_p, change)
    turn = b.emit(complex_p, zero(b, angle), angle)
    return b.emit(mul_p, sign, turn), b.emit(real_p, change)


slogdet_p: Primitive = register(
    Primitive(
        "slogdet",
        _slogdet_eval,
        lambda a: tuple(np.linalg.slogdet(a)),
        jvp=_slogdet_jvp,
        batch=BatchParams(),
        variadic_results=True,
        flops=lambda i, o, p: float(i[0].size) * i[0].shape[-1],
    )
)


def _det_jvp(
    b: Builder,
    tangents: Atoms,
    outs: Sequence[Atom],
    ins: Sequence[Atom],
    params: Params,
) -> Atoms:
    """Tangent d det A = det A · tr(A⁻¹ dA)."""
    (t,), (a,), (det,) = tangents, ins, outs
    assert t is not None
    return (b.emit(mul_p, det, trace(b, b.emit(solve_p, a, t))),)


det_p: Primitive = _square_primitive(
    "det", np.linalg.det, _det_jvp, lambda a: a.with_shape(a.shape[:-2])
)
