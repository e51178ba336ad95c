"""Dense linear algebra on the last two axes, batched over the others.

`impl` is NumPy's own. A singular or indefinite matrix raises
`numpy.linalg.LinAlgError`, so these equations carry the CHECK effect. Derivatives of
functions of symmetric (Hermitian) matrices see the symmetric part of the tangent.
"""

from collections.abc import Callable, Sequence

import numpy as np

from ...errors import ShapeError
from .. import dtypes as dt
from ..aval import ShapedArray
from ..builder import Builder
from ..graph import Atom
from ..primitive import (
    Array,
    Avals,
    BatchParams,
    Effect,
    JvpRule,
    Params,
    Primitive,
    register,
)
from .contract import dot_general_p
from .elementwise import (
    add_p,
    check_dtype,
    complex_p,
    conj_p,
    convert_p,
    div_p,
    eq_p,
    gt_p,
    imag_p,
    mul_p,
    neg_p,
    real_p,
    select_p,
    sub_p,
    zero,
)
from .reduce import reduce_sum_p
from .shape import (
    broadcast_in_dim_p,
    iota_p,
    move_axis,
    reshape,
    spread_all,
    transpose_p,
)

Atoms = Sequence[Atom | None]
_LAPACK = frozenset(d for d in dt.INEXACT if d.itemsize >= 4)


def _check_square(name: str, a: ShapedArray) -> None:
    check_dtype(name, a, _LAPACK)
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


def adjoint(b: Builder, x: Atom) -> Atom:
    """Conjugate transpose of the last two axes."""
    t = matrix_transpose(b, x)
    return b.emit(conj_p, t) if dt.is_complex(x.aval.dtype) else t


def real_part(b: Builder, x: Atom) -> Atom:
    """Real part of `x`, which may be real."""
    return b.emit(real_p, x) if dt.is_complex(x.aval.dtype) else x


def _square_primitive(
    name: str,
    impl: Callable[[Array], Array],
    jvp: JvpRule,
    shape_of: Callable[[ShapedArray], ShapedArray],
) -> Primitive:
    def abstract_eval(a: ShapedArray) -> ShapedArray:
        _check_square(name, a)
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
    shape = x.aval.shape
    n = len(shape)
    rows, cols = (
        b.emit(iota_p, shape=shape, axis=d, dtype=dt.INT64) for d in (n - 2, n - 1)
    )
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
    sym = b.emit(mul_p, b.emit(add_p, t, adjoint(b, t)), 0.5)
    left = b.emit(solve_p, low, sym)
    inner = adjoint(b, b.emit(solve_p, low, adjoint(b, left)))
    return (matmul(b, low, _lower_half(b, inner)),)


# --- solve, inv -------------------------------------------------------------------


def _solve_eval(a: ShapedArray, x: ShapedArray) -> ShapedArray:
    _check_square("solve", a)
    fits = x.ndim == a.ndim and x.shape[:-1] == a.shape[:-1] and x.dtype == a.dtype
    if not fits:
        raise ShapeError(f"solve cannot apply the inverse of {a} to {x}")
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
        return (b.emit(solve_p, *spread_all(b, ins, batched)),)
    size, *lead, n, k = x.aval.shape
    x = move_axis(b, x, 0, x.aval.ndim - 2)
    columns = reshape(b, x, (*lead, n, size * k))
    out = reshape(b, b.emit(solve_p, a, columns), (*lead, n, size, k))
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


def _cholesky(a: Array) -> Array:
    return np.linalg.cholesky(a)


cholesky_p: Primitive = _square_primitive(
    "cholesky", _cholesky, _cholesky_jvp, lambda a: a
)
inv_p: Primitive = _square_primitive("inv", np.linalg.inv, _inv_jvp, lambda a: a)

# --- determinant ------------------------------------------------------------------


def _trace(b: Builder, x: Atom) -> Atom:
    n = x.aval.ndim
    shape = x.aval.shape
    rows, cols = (
        b.emit(iota_p, shape=shape, axis=d, dtype=dt.INT64) for d in (n - 2, n - 1)
    )
    diagonal = b.emit(select_p, b.emit(eq_p, rows, cols), x, zero(b, x))
    return b.emit(reduce_sum_p, diagonal, axes=(n - 2, n - 1))


def _slogdet_eval(a: ShapedArray) -> Avals:
    _check_square("slogdet", a)
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
    trace = _trace(b, b.emit(solve_p, a, t))
    if not dt.is_complex(trace.aval.dtype):
        return None, trace
    angle = b.emit(imag_p, trace)
    turn = b.emit(complex_p, zero(b, angle), angle)
    return b.emit(mul_p, sign, turn), b.emit(real_p, trace)


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
    return (b.emit(mul_p, det, _trace(b, b.emit(solve_p, a, t))),)


det_p: Primitive = _square_primitive(
    "det", np.linalg.det, _det_jvp, lambda a: a.with_shape(a.shape[:-2])
)

# --- eigenvalues of Hermitian matrices --------------------------------------------


def _eigh_eval(a: ShapedArray) -> Avals:
    _check_square("eigh", a)
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
    sym = b.emit(mul_p, b.emit(add_p, t, adjoint(b, t)), 0.5)
    inner = matmul(b, matmul(b, adjoint(b, v), sym), v)
    shape, n = inner.aval.shape, inner.aval.ndim
    lead = tuple(range(n - 2))
    cols = b.emit(broadcast_in_dim_p, w, shape=shape, dims=(*lead, n - 1))
    rows = b.emit(broadcast_in_dim_p, w, shape=shape, dims=(*lead, n - 2))
    gap = b.emit(sub_p, cols, rows)
    same = b.emit(eq_p, gap, 0)
    safe = b.emit(select_p, same, b.literal(1, gap.aval.dtype), gap)
    if dt.is_complex(inner.aval.dtype):
        safe = b.emit(convert_p, safe, dtype=inner.aval.dtype)
    turned = b.emit(
        select_p, same, _infinite_multiple(b, inner), b.emit(div_p, inner, safe)
    )
    i, j = (b.emit(iota_p, shape=shape, axis=d, dtype=dt.INT64) for d in (n - 2, n - 1))
    is_diagonal = b.emit(eq_p, i, j)
    on_diagonal = b.emit(select_p, is_diagonal, inner, zero(b, inner))
    dw = real_part(b, b.emit(reduce_sum_p, on_diagonal, axes=(n - 2,)))
    return dw, matmul(b, v, b.emit(select_p, is_diagonal, zero(b, inner), turned))


def _infinite_multiple(b: Builder, x: Atom) -> Atom:
    """Return 0 where `x` is 0 and infinity elsewhere, by steps linear in `x`."""
    big = float(np.finfo(x.aval.dtype).max)
    return b.emit(mul_p, b.emit(mul_p, x, big), big)


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
