"""Functions of matrices, matrices of a pattern, and norms."""

from typing import Any

import numpy as np

from ...nn.operands import filled, operand, positions
from ...tracing.control_flow import cond, scan
from ..optional import is_traced, like_scipy
from .operands import identity, matrix

# Of N. Higham, "The scaling and squaring method for the matrix exponential revisited",
# SIAM J. Matrix Anal. Appl. 26 (2005): the largest norm for which degree 13 is enough,
# and the coefficients of the Padé approximant.
LARGEST_NORM = 5.371920351148152
PADE = (
    *(64764752532480000.0, 32382376266240000.0, 7771770303897600.0, 1187353796428800.0),
    *(129060195264000.0, 10559470521600.0, 670442572800.0, 33522128640.0),
    *(1323241920.0, 40840800.0, 960960.0, 16380.0, 182.0, 1.0),
)
MOST_SQUARINGS = 32


@like_scipy("linalg")
def expm(A: Any) -> Any:
    """Return the exponential of square matrices.

    Parameters
    ----------
    A : array_like, (..., n, n)
        In a trace of a norm up to 2³⁴; NaN beyond.

    Returns
    -------
    array, (..., n, n)

    Notes
    -----
    By the Padé approximant of degree 13, scaling and squaring: N. Higham, SIAM J.
    Matrix Anal. Appl. 26 (2005), algorithm 2.3. Derivatives are those of the formula.

    Examples
    --------
    >>> import numpy as np
    >>> expm(np.zeros((2, 2)))
    array([[1., 0.],
           [0., 1.]])
    """
    a = matrix(A, "expm", square=True)
    norms = np.max(np.sum(np.abs(a), axis=-2), axis=-1) if a.size else np.zeros(0)
    if not a.size:
        return a
    halvings = np.ceil(np.log2(np.maximum(norms, 1e-30) / LARGEST_NORM))
    halvings = np.maximum(halvings, 0).astype(np.int64)
    scale = np.exp2(-halvings.astype(norms.dtype))[..., None, None]
    return _squared(_approximant(a * scale), halvings)


def _approximant(a: Any) -> Any:
    """Return the quotient of polynomials in `a` that is near its exponential."""
    b = PADE
    one = identity(a.shape[-1], a)
    a2 = a @ a
    a4 = a2 @ a2
    a6 = a4 @ a2
    odd = a6 @ (b[13] * a6 + b[11] * a4 + b[9] * a2)
    odd = a @ (odd + b[7] * a6 + b[5] * a4 + b[3] * a2 + b[1] * one)
    even = a6 @ (b[12] * a6 + b[10] * a4 + b[8] * a2)
    even = even + b[6] * a6 + b[4] * a4 + b[2] * a2 + b[0] * one
    return np.linalg.solve(even - odd, even + odd)


def _squared(x: Any, times: Any) -> Any:
    """Square each matrix as often as it was halved."""
    if not is_traced(x):
        for k in range(int(np.max(times))):
            x = np.where((k < times)[..., None, None], x @ x, x)
        return x
    most = np.max(times)

    def turn(x: Any, k: Any) -> Any:
        def square(x: Any) -> Any:
            return np.where((k < times)[..., None, None], x @ x, x)

        return cond(k < most, square, lambda x: x + 0, x), None

    x, _ = scan(turn, x, positions(MOST_SQUARINGS, x))
    return np.where((times <= MOST_SQUARINGS)[..., None, None], x, np.nan)


@like_scipy("linalg")
def block_diag(*arrs: Any) -> Any:
    """Return a matrix with matrices along its diagonal, and zeros beside them.

    Parameters
    ----------
    *arrs : array_like
        Of up to two axes: a vector is a row, a number a matrix of one element. Further
        axes, as many of each, are a batch.

    Examples
    --------
    >>> import numpy as np
    >>> block_diag(np.array([[1, 2]]), 3)
    array([[1, 2, 0],
           [0, 0, 3]])
    """
    if not arrs:
        return filled((1, 0), 0.0, float)
    blocks = [_as_block(operand(x)) for x in arrs]
    dtype = np.result_type(*(x.dtype for x in blocks))
    lead = np.broadcast_shapes(*(x.shape[:-2] for x in blocks))
    width, before, rows = sum(x.shape[-1] for x in blocks), 0, []
    for x in blocks:
        x = np.broadcast_to(x.astype(dtype), (*lead, *x.shape[-2:]))
        after = width - before - x.shape[-1]
        pad = [*[(0, 0)] * (x.ndim - 1), (before, after)]
        rows.append(np.pad(x, pad))
        before += x.shape[-1]
    return np.concatenate(rows, axis=-2)


def _as_block(x: Any) -> Any:
    return x if x.ndim >= 2 else x.reshape((1, x.size))


@like_scipy("linalg")
def toeplitz(c: Any, r: Any = None) -> Any:
    """Return the matrix whose diagonals are constant.

    Parameters
    ----------
    c : array_like, (m,)
        The first column.
    r : array_like, (n,), optional
        The first row, without its first element; by default the conjugate of `c`.

    Returns
    -------
    array, (m, n)

    Examples
    --------
    >>> import numpy as np
    >>> toeplitz(np.array([1, 2, 3]), np.array([0, 4]))
    array([[1, 4],
           [2, 1],
           [3, 2]])
    """
    c = operand(c).ravel()
    r = np.conj(c) if r is None else operand(r).ravel()
    m, n = c.shape[0], r.shape[0]
    both = np.concatenate([c[::-1], r[1:]])
    places = m - 1 - positions(m, both)[:, None] + positions(n, both)
    return both[places]


@like_scipy("linalg")
def norm(
    a: Any,
    ord: Any = None,
    axis: Any = None,
    keepdims: bool = False,
    check_finite: bool = True,
) -> Any:
    """Return the norm of vectors or matrices, as `numpy.linalg.norm`.

    Examples
    --------
    >>> import numpy as np
    >>> float(norm(np.array([3.0, 4.0])))
    5.0
    """
    return np.linalg.norm(operand(a), ord=ord, axis=axis, keepdims=keepdims)


def kron(a: Any, b: Any) -> Any:
    """Return the Kronecker product of two matrices, as `numpy.kron`.

    Examples
    --------
    >>> import numpy as np
    >>> kron(np.eye(2, dtype=int), np.array([[1, 2]]))
    array([[1, 2, 0, 0],
           [0, 0, 1, 2]])
    """
    return np.kron(operand(a), operand(b))
