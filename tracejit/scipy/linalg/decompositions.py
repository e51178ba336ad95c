"""Decompositions: singular values, eigenvalues of Hermitian matrices, QR."""

from typing import Any

import numpy as np

from ..optional import like_scipy, unsupported
from .operands import adjoint, matrix, solve_triangle


@like_scipy("linalg")
def svd(
    a: Any,
    full_matrices: bool = True,
    compute_uv: bool = True,
    overwrite_a: bool = False,
    check_finite: bool = True,
    lapack_driver: str = "gesdd",
) -> Any:
    """Return U, the singular values, and Vᴴ; or the singular values alone.

    Parameters
    ----------
    a : array_like, (..., m, n)
    full_matrices : bool
        Whether U is (..., m, m) and Vᴴ (..., n, n), or both have as many vectors as
        there are values.
    compute_uv : bool
    lapack_driver : str
        Changes nothing in a trace.

    Examples
    --------
    >>> import numpy as np
    >>> svd(np.array([[3.0, 0.0], [0.0, 4.0]]), compute_uv=False)
    array([4., 3.])
    """
    a = matrix(a, "svd")
    if not compute_uv:
        return np.linalg.svdvals(a)
    return tuple(np.linalg.svd(a, full_matrices=full_matrices))


@like_scipy("linalg")
def svdvals(a: Any, overwrite_a: bool = False, check_finite: bool = True) -> Any:
    """Return the singular values of `a`, the largest first.

    Examples
    --------
    >>> import numpy as np
    >>> svdvals(np.array([[3.0, 0.0], [0.0, 4.0]]))
    array([4., 3.])
    """
    return np.linalg.svdvals(matrix(a, "svdvals"))


@like_scipy("linalg")
def eigh(
    a: Any,
    b: Any = None,
    *,
    lower: bool = True,
    eigvals_only: bool = False,
    overwrite_a: bool = False,
    overwrite_b: bool = False,
    type: int = 1,
    check_finite: bool = True,
    subset_by_index: Any = None,
    subset_by_value: Any = None,
    driver: str | None = None,
) -> Any:
    """Return eigenvalues, ascending, and eigenvectors of Hermitian matrices.

    Parameters
    ----------
    a : array_like, (..., n, n)
    b : array_like, (..., n, n), optional
        Positive definite, for ``a v = w b v``.
    lower : bool
        Which triangle of `a` and `b` counts.
    eigvals_only : bool
    subset_by_index : tuple of int, optional
        The first and the last eigenvalue to return.
    driver : str, optional
        Changes nothing in a trace.

    Raises
    ------
    UnsupportedError
        In a trace, for other values of `type`, and for `subset_by_value`, whose results
        have a shape that depends on the numbers.

    Examples
    --------
    >>> import numpy as np
    >>> w, v = eigh(np.array([[4.0, 0.0], [0.0, 3.0]]))
    >>> print(w)
    [3. 4.]
    """
    unsupported("eigh", {"type": type != 1}, "write it as a problem of type 1")
    unsupported(
        "eigh",
        {"subset_by_value": subset_by_value is not None},
        "subset_by_index, or np.where on the eigenvalues",
    )
    uplo: Any = "L" if lower else "U"
    a = matrix(a, "eigh", square=True)
    if b is None:
        if eigvals_only:
            return _chosen(np.linalg.eigvalsh(a, UPLO=uplo), subset_by_index)
        values, vectors = np.linalg.eigh(a, UPLO=uplo)
    else:
        values, vectors = _generalised(a, matrix(b, "eigh", square=True), lower)
    values = _chosen(values, subset_by_index)
    return values if eigvals_only else (values, _chosen(vectors, subset_by_index))


def _generalised(a: Any, b: Any, lower: bool) -> tuple[Any, Any]:
    """By ``C = L⁻¹ a L⁻ᴴ`` for ``b = L Lᴴ``; its vectors are Lᴴ v."""
    a, b = (x if lower else adjoint(x) for x in (a, b))
    low = np.linalg.cholesky(b)
    whole = np.tril(a) + adjoint(np.tril(a, -1))
    half = solve_triangle(low, whole, True)
    values, vectors = np.linalg.eigh(adjoint(solve_triangle(low, adjoint(half), True)))
    return values, solve_triangle(adjoint(low), vectors, False)


def _chosen(x: Any, subset: Any) -> Any:
    if subset is None:
        return x
    first, last = subset
    return x[..., first : last + 1]


@like_scipy("linalg")
def eigvalsh(a: Any, b: Any = None, **options: Any) -> Any:
    """Return the eigenvalues of Hermitian matrices; arguments as in `eigh`.

    Examples
    --------
    >>> import numpy as np
    >>> eigvalsh(np.array([[4.0, 0.0], [0.0, 3.0]]))
    array([3., 4.])
    """
    return eigh(a, b, eigvals_only=True, **options)


@like_scipy("linalg")
def qr(
    a: Any,
    overwrite_a: bool = False,
    lwork: Any = None,
    mode: str = "full",
    pivoting: bool = False,
    check_finite: bool = True,
) -> Any:
    """Return Q and R of ``a = Q R``.

    Parameters
    ----------
    a : array_like, (..., m, n)
    mode : "full", "r" or "economic"
        Q is (..., m, m), left out, or (..., m, min(m, n)).

    Raises
    ------
    UnsupportedError
        In a trace, for `pivoting` and for ``mode="raw"``.

    Examples
    --------
    >>> import numpy as np
    >>> q, r = qr(np.array([[3.0], [4.0]]), mode="economic")
    >>> print(abs(r))
    [[5.]]
    """
    unsupported("qr", {"pivoting": pivoting}, "svd finds the rank")
    unsupported("qr", {"mode": mode == "raw"}, "mode='economic'")
    a = matrix(a, "qr")
    m, n = a.shape[-2:]
    if mode == "r":
        r: Any = np.linalg.qr(a, mode="r")
        pad = [(0, 0)] * (r.ndim - 2) + [(0, m - min(m, n)), (0, 0)]
        return (np.pad(r, pad),)
    if mode not in ("full", "economic"):
        raise ValueError(
            "Mode argument should be one of ['full', 'r', 'economic', 'raw']"
        )
    return tuple(np.linalg.qr(a, mode="complete" if mode == "full" else "reduced"))
