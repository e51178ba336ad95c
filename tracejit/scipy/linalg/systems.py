"""Linear systems: triangular, by Cholesky and LU factors, general; inverses.

Arguments that only say how SciPy does its work (`overwrite_a`, `overwrite_b`,
`check_finite`) are taken and change nothing in a trace.
"""

from typing import Any

import numpy as np

from ...errors import ArgumentError, MatrixError
from ...ir.ops.linalg import row_order
from ...nn.operands import operand, positions
from ...tracing.control_flow import fori_loop
from ...tracing.source import user_line
from ...tracing.tracer import Tracer
from ..optional import like_scipy
from .operands import (
    adjoint,
    factors,
    identity,
    inexact,
    matrix,
    solve_triangle,
    upper_part,
    with_unit_diagonal,
)

TRANSPOSED: dict[Any, str] = {0: "N", 1: "T", 2: "C", "N": "N", "T": "T", "C": "C"}


def _transposition(name: str, trans: Any) -> str:
    if trans not in TRANSPOSED:
        raise ArgumentError(
            f"{name}: trans is {trans!r}; expected 0, 1, 2, 'N', 'T' or 'C'",
            source=user_line(),
        )
    return TRANSPOSED[trans]


@like_scipy("linalg")
def solve_triangular(
    a: Any,
    b: Any,
    trans: Any = 0,
    lower: bool = False,
    unit_diagonal: bool = False,
    overwrite_b: bool = False,
    check_finite: bool = True,
) -> Any:
    """Solve ``a x = b`` by one triangle of `a`.

    Parameters
    ----------
    a : array_like, (..., n, n)
    b : array_like, (n,) or (..., n, k)
    trans : 0, 1, 2, "N", "T" or "C"
        Whether the system is of `a`, its transpose, or its conjugate transpose.
    lower : bool
        Which triangle of `a` counts; the other is not looked at.
    unit_diagonal : bool
        Whether the diagonal is ones, whatever `a` has there.

    Returns
    -------
    array of the shape of `b`, broadcast

    Raises
    ------
    numpy.linalg.LinAlgError
        For a zero on the diagonal, also at run time.

    Examples
    --------
    >>> import numpy as np
    >>> solve_triangular(np.array([[2.0, 1.0], [0.0, 4.0]]), np.array([4.0, 8.0]))
    array([1., 2.])
    """
    a, b = matrix(a, "solve_triangular", square=True), inexact(b)
    how = _transposition("solve_triangular", trans)
    if unit_diagonal:
        a = with_unit_diagonal(a)
    if how != "N":
        a = adjoint(a) if how == "C" else a.swapaxes(-1, -2)
        lower = not lower
    return solve_triangle(a, b, bool(lower))


@like_scipy("linalg")
def cholesky(
    a: Any, lower: bool = False, overwrite_a: bool = False, check_finite: bool = True
) -> Any:
    """Return the Cholesky factor: U of ``a = Uᴴ U``, or L of ``a = L Lᴴ``.

    Parameters
    ----------
    a : array_like, (..., n, n)
        Positive definite; the triangle that is asked for counts.
    lower : bool

    Raises
    ------
    numpy.linalg.LinAlgError
        If `a` is not positive definite, also at run time.

    Examples
    --------
    >>> import numpy as np
    >>> cholesky(np.array([[4.0, 2.0], [2.0, 5.0]]))
    array([[2., 1.],
           [0., 2.]])
    """
    a = matrix(a, "cholesky", square=True)
    if lower:
        return np.linalg.cholesky(a)
    return adjoint(np.linalg.cholesky(adjoint(a)))


@like_scipy("linalg")
def cho_factor(
    a: Any, lower: bool = False, overwrite_a: bool = False, check_finite: bool = True
) -> tuple[Any, bool]:
    """Return a Cholesky factor and `lower`, for `cho_solve`.

    In a trace the other triangle of the factor is zero; SciPy leaves what `a` has
    there.

    Examples
    --------
    >>> import numpy as np
    >>> c, lower = cho_factor(np.array([[4.0]]))
    """
    return cholesky(a, lower), lower


@like_scipy("linalg")
def cho_solve(
    c_and_lower: Any, b: Any, overwrite_b: bool = False, check_finite: bool = True
) -> Any:
    """Solve ``a x = b`` by the Cholesky factor of `a`.

    Parameters
    ----------
    c_and_lower : tuple of (array_like (..., n, n), bool)
        What `cho_factor` returned.
    b : array_like, (n,) or (..., n, k)

    Examples
    --------
    >>> import numpy as np
    >>> cho_solve(cho_factor(np.array([[4.0]])), np.array([8.0]))
    array([2.])
    """
    factor, lower = c_and_lower
    c, b = matrix(factor, "cho_solve", square=True), inexact(b)
    first = solve_triangle(c if lower else adjoint(c), b, True)
    return solve_triangle(adjoint(c) if lower else c, first, False)


# --- LU ---------------------------------------------------------------------------


@like_scipy("linalg")
def lu_factor(
    a: Any, overwrite_a: bool = False, check_finite: bool = True
) -> tuple[Any, Any]:
    """Return the LU factors of `a`, with partial pivoting.

    Parameters
    ----------
    a : array_like, (..., m, n)

    Returns
    -------
    tuple of (array (..., m, n), array of int32 (..., min(m, n)))
        L below the diagonal, without its ones, and U; row i was exchanged with row
        ``piv[i]``. A singular matrix has a zero on the diagonal of U.

    Examples
    --------
    >>> import numpy as np
    >>> lu, piv = lu_factor(np.array([[1.0, 2.0], [2.0, 6.0]]))
    """
    both, swaps, _ = factors(matrix(a, "lu_factor"))
    return both, swaps


@like_scipy("linalg")
def lu(
    a: Any,
    permute_l: bool = False,
    overwrite_a: bool = False,
    check_finite: bool = True,
    p_indices: bool = False,
) -> tuple[Any, ...]:
    """Return P, L and U of ``a = P L U``.

    Parameters
    ----------
    a : array_like, (..., m, n)
    permute_l : bool
        Whether only ``P L`` and U are returned.
    p_indices : bool
        Whether P is given as the order of rows p, with ``a = L[p] U``.

    Returns
    -------
    tuple of array
        (..., m, m) or (..., m); (..., m, k); (..., k, n), k the lesser of m and n.

    Examples
    --------
    >>> import numpy as np
    >>> a = np.array([[1.0, 2.0], [2.0, 6.0]])
    >>> p, low, up = lu(a)
    >>> bool(np.all(p @ low @ up == a))
    True
    """
    a = matrix(a, "lu")
    both, _, order = factors(a)
    m, n = a.shape[-2:]
    k = min(m, n)
    low = with_unit_diagonal(both[..., :k] - upper_part(both[..., :k]))
    up = upper_part(both[..., :k, :])
    if p_indices and not permute_l:
        return np.argsort(order, axis=-1).astype(np.int32), low, up
    spread = order[..., None, :] == positions(m, a)[:, None]
    p = spread.astype(a.dtype if a.dtype.kind == "f" else a.real.dtype)
    return (p @ low, up) if permute_l else (p, low, up)


@like_scipy("linalg")
def lu_solve(
    lu_and_piv: Any,
    b: Any,
    trans: Any = 0,
    overwrite_b: bool = False,
    check_finite: bool = True,
) -> Any:
    """Solve ``a x = b`` by the LU factors of `a`.

    Parameters
    ----------
    lu_and_piv : tuple of (array_like (n, n), array_like (n,))
        What `lu_factor` returned, of one matrix: `tracejit.vmap` for more.
    b : array_like, (n,) or (n, k)
    trans : 0, 1, 2, "N", "T" or "C"
        Whether the system is of `a`, its transpose, or its conjugate transpose.

    Examples
    --------
    >>> import numpy as np
    >>> lu_solve(lu_factor(np.array([[1.0, 2.0], [2.0, 6.0]])), np.array([3.0, 8.0]))
    array([1., 1.])
    """
    both, swaps = lu_and_piv
    both, b = matrix(both, "lu_solve", square=True), inexact(b)
    if both.ndim != 2:
        raise ArgumentError(
            f"lu_solve: factors of shape {both.shape}; expected those of one matrix",
            source=user_line(),
            hint="tj.vmap over them",
        )
    if b.shape[:1] != both.shape[:1]:
        raise MatrixError(
            f"lu_solve: factors of shape {both.shape} and right-hand sides of shape "
            f"{b.shape}",
            source=user_line(),
        )
    how = _transposition("lu_solve", trans)
    order = _order(operand(swaps), both.shape[0])
    low = with_unit_diagonal(both)
    if how == "N":
        return solve_triangle(both, solve_triangle(low, b[order], True), False)
    flip = adjoint if how == "C" else np.matrix_transpose
    inner = solve_triangle(flip(low), solve_triangle(flip(both), b, True), False)
    return inner[np.argsort(order)]


def _order(swaps: Any, n: int) -> Any:
    """Return the order of rows that exchanges lead to."""
    if not isinstance(swaps, Tracer):
        return row_order(swaps, n)

    def exchange(k: Any, order: Any) -> Any:
        one, other = order[k], order[swaps[k]]
        places = positions(n, order)
        moved = np.where(places == k, other, order)
        return np.where(places == swaps[k], one, moved)

    return fori_loop(0, n, exchange, positions(n, swaps) + 0)


# --- general ----------------------------------------------------------------------


@like_scipy("linalg")
def solve(
    a: Any,
    b: Any,
    lower: bool = False,
    overwrite_a: bool = False,
    overwrite_b: bool = False,
    check_finite: bool = True,
    assume_a: str | None = None,
    transposed: bool = False,
) -> Any:
    """Solve ``a x = b``.

    Parameters
    ----------
    a : array_like, (..., n, n)
    b : array_like, (n,) or (..., n, k)
    lower : bool
        Which triangle counts where `assume_a` says that one is enough.
    assume_a : str, optional
        "pos" solves by Cholesky factors, "sym" and "her" by the triangle's mirror
        image, "upper triangular" and "lower triangular" by substitution; all others as
        general matrices.
    transposed : bool
        Whether the system is of the transpose of `a`.

    Raises
    ------
    numpy.linalg.LinAlgError
        If `a` is singular, also at run time.

    Examples
    --------
    >>> import numpy as np
    >>> solve(np.array([[2.0, 0.0], [0.0, 4.0]]), np.array([2.0, 8.0]))
    array([1., 2.])
    """
    a, b = matrix(a, "solve", square=True), inexact(b)
    kind = {"positive definite": "pos", "symmetric": "sym", "hermitian": "her"}.get(
        assume_a or "", assume_a or ""
    )
    if kind in ("upper triangular", "lower triangular"):
        is_lower = kind.startswith("lower")
        trans = "T" if transposed else "N"
        return solve_triangular(a, b, trans, is_lower)
    if kind in ("pos", "sym", "her"):
        a = _mirrored(a, lower, hermitian=kind != "sym")
    if transposed:
        a = a.swapaxes(-1, -2)
    if kind == "pos":
        return cho_solve((np.linalg.cholesky(a), True), b)
    return np.linalg.solve(a, b)


def _mirrored(a: Any, lower: bool, hermitian: bool) -> Any:
    """Return the matrix that one triangle of `a` stands for."""
    flip = adjoint if hermitian else np.matrix_transpose
    top = flip(a) if lower else a
    return upper_part(top) + flip(upper_part(top, 1))


@like_scipy("linalg")
def inv(
    a: Any,
    overwrite_a: bool = False,
    check_finite: bool = True,
    *,
    assume_a: str | None = None,
    lower: bool = False,
) -> Any:
    """Return the inverse of `a`, (..., n, n); `assume_a` as in `solve`.

    Raises
    ------
    numpy.linalg.LinAlgError
        If `a` is singular, also at run time.

    Examples
    --------
    >>> import numpy as np
    >>> inv(np.array([[2.0]]))
    array([[0.5]])
    """
    a = matrix(a, "inv", square=True)
    if assume_a in (None, "gen", "general"):
        return np.linalg.inv(a)
    right = identity(a.shape[-1], a)
    return solve(a, right, lower=lower, assume_a=assume_a)


@like_scipy("linalg")
def det(a: Any, overwrite_a: bool = False, check_finite: bool = True) -> Any:
    """Return the determinant of `a`, (..., n, n).

    Examples
    --------
    >>> import numpy as np
    >>> float(det(np.array([[2.0, 0.0], [0.0, 4.0]])))
    8.0
    """
    a = matrix(a, "det", square=True)
    # SciPy multiplies the pivots in double precision.
    return np.linalg.det(a.astype(np.result_type(a.dtype, np.float64)))


@like_scipy("linalg")
def pinv(
    a: Any,
    *,
    atol: Any = None,
    rtol: Any = None,
    return_rank: bool = False,
    check_finite: bool = True,
) -> Any:
    """Return the pseudo-inverse of `a`, (..., m, n).

    Parameters
    ----------
    a : array_like
    atol, rtol : float, optional
        Singular values up to ``atol + rtol * largest`` count as zero; by default 0 and
        ``max(m, n)`` units in the last place.
    return_rank : bool
        Whether the number of the others is returned too.

    Examples
    --------
    >>> import numpy as np
    >>> pinv(np.array([[2.0], [0.0]]))
    array([[0.5, 0. ]])
    """
    a = matrix(a, "pinv")
    if rtol is None:
        is_exact = atol is not None and not isinstance(atol, Tracer) and atol > 0
        rtol = 0.0 if is_exact else max(a.shape[-2:]) * np.finfo(a.dtype).eps
    if atol is None and not return_rank:
        return np.linalg.pinv(a, rtol=rtol)
    values = np.linalg.svdvals(a)
    top = values[..., :1]
    cutoff = (0.0 if atol is None else atol) + rtol * top
    share = (cutoff / np.where(top > 0, top, 1))[..., 0]
    found = np.linalg.pinv(a, rtol=share)
    return (found, np.sum(values > cutoff, axis=-1)) if return_rank else found
