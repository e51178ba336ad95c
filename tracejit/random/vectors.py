"""Random vectors and matrices: the multivariate normal distribution, rotations."""

from typing import Any

import numpy as np

from ..errors import ArgumentError, ShapeError
from ..ir import dtypes as dt
from ..ir.aval import Shape
from ..tracing.control_flow import scan
from ..tracing.source import user_line
from .arguments import (
    REAL_FLOATS,
    ShapeLike,
    checked_dtype,
    checked_key,
    checked_shape,
    fitted_shape,
    split_last,
)
from .drawing import counted, drawn
from .normal import standard_normal
from .uniform import as_dtype

METHODS = ("cholesky", "eigh")
SOLVED = (dt.FLOAT32, dt.FLOAT64)


def multivariate_normal(
    key: Any,
    mean: Any,
    cov: Any,
    shape: ShapeLike | None = None,
    dtype: Any = None,
    method: str = "cholesky",
) -> Any:
    """Return normal vectors.

    Parameters
    ----------
    key : uint32[2]
    mean : array_like, (..., n)
    cov : array_like, (..., n, n)
        Symmetric and positive definite; with ``method="eigh"`` zero eigenvalues too.
    shape : int or tuple of int, optional
        Of the results without their last axis; by default that of `mean` and `cov`.
    dtype : float32 or float64, optional
        By default that of `mean` and `cov`.
    method : str
        ``"cholesky"`` or ``"eigh"``: how the covariance is factorised.

    Returns
    -------
    array, (*shape, n)
        Derivatives go through `mean` and `cov`.

    Raises
    ------
    ShapeError, DTypeError, ArgumentError
        When arguments do not fit.
    numpy.linalg.LinAlgError
        When `cov` has no Cholesky factor.
    """
    key = checked_key("multivariate_normal", key)
    if method not in METHODS:
        raise ArgumentError(
            f"multivariate_normal: the method is {method!r}; expected 'cholesky' or "
            "'eigh'",
            source=user_line(),
        )
    mean, cov = (x if hasattr(x, "dtype") else np.asarray(x) for x in (mean, cov))
    batch, n = split_last("multivariate_normal", "mean", mean)
    if cov.shape[-2:] != (n, n):
        raise ShapeError(
            f"multivariate_normal: mean of shape {mean.shape} needs cov of shape "
            f"(..., {n}, {n}), not {cov.shape}",
            source=user_line(),
        )
    dtype = _float_dtype(mean, cov) if dtype is None else dtype
    name = checked_dtype("multivariate_normal", dtype, SOLVED).name
    rows = fitted_shape("multivariate_normal", shape, batch, cov.shape[:-2])
    return _multivariate(key, mean, cov, shape=(*rows, n), dtype=name, method=method)


def _float_dtype(*arrays: Any) -> np.dtype:
    found = np.result_type(*(x.dtype for x in arrays))
    return found if found == dt.FLOAT32 else np.dtype(np.float64)


@drawn
def _multivariate(
    key: Any, mean: Any, cov: Any, *, shape: Shape, dtype: str, method: str
) -> Any:
    kind = np.dtype(dtype)
    mean, cov = as_dtype(mean, kind), as_dtype(cov, kind)
    z = standard_normal(key, shape, kind)
    if method == "cholesky":
        factor = np.linalg.cholesky(cov)
    else:
        values, vectors = np.linalg.eigh(cov)
        factor = vectors * np.sqrt(np.maximum(values, 0))[..., None, :]
    if z.ndim == 1:  # a sum, which is the same for each of many vectors under vmap
        return mean + np.sum(factor * z, -1)
    return mean + np.einsum("...ij,...j->...i", factor, z)


# --- rotations --------------------------------------------------------------------


def orthogonal(
    key: Any, n: int, shape: ShapeLike = (), dtype: Any = float, m: int | None = None
) -> Any:
    """Return orthogonal matrices, uniform in the sense of Haar.

    Parameters
    ----------
    key : uint32[2]
    n : int
    shape : int or tuple of int
        How many.
    dtype : float16, bfloat16, float32 or float64
    m : int, optional
        For matrices of n rows and m columns: the shorter of both are orthonormal.

    Returns
    -------
    array, (*shape, n, m or n)

    Examples
    --------
    >>> import tracejit as tj
    >>> q = orthogonal(tj.random.key(0), 3)
    >>> bool(np.allclose(q @ q.T, np.eye(3)))
    True
    """
    key = checked_key("orthogonal", key)
    shape = checked_shape("orthogonal", shape)
    rows, columns = checked_shape("orthogonal", (n, n if m is None else m))
    name = checked_dtype("orthogonal", dtype, REAL_FLOATS).name
    return _orthogonal(key, shape=shape, rows=rows, columns=columns, dtype=name)


@drawn
def _orthogonal(key: Any, *, shape: Shape, rows: int, columns: int, dtype: str) -> Any:
    kind = np.dtype(dtype)
    long, short = max(rows, columns), min(rows, columns)
    computed = kind if kind in SOLVED else dt.FLOAT32
    q = _product_of_reflections(key, shape, long, short, computed).astype(kind)
    return q if rows >= columns else np.swapaxes(q, -1, -2)


def _product_of_reflections(
    key: Any, shape: Shape, long: int, short: int, dtype: np.dtype
) -> Any:
    """Return the first `short` columns of H₁ H₂ ... D.

    Hₖ reflects the tail of a normal vector, from its k-th element on, to the k-th axis;
    D has the signs that these elements had (Stewart, "The efficient generation of
    random orthogonal matrices", 1980). The last reflection is applied first.
    """
    vectors = standard_normal(key, (short, *shape, long), dtype)
    places, columns = counted(long)[1], counted(short)[1]
    identity = (places[:, None] == columns).astype(dtype)
    start = np.broadcast_to(identity, (*shape, long, short))

    def turn(q: Any, x: Any) -> Any:
        k, vector = x
        tail = np.where(places >= k, vector, dtype.type(0))
        here = (places == k).astype(dtype)
        first = np.sum(tail * here, -1, keepdims=True)
        length = np.sqrt(np.sum(tail * tail, -1, keepdims=True))
        sign = np.where(first < 0, dtype.type(-1), dtype.type(1))
        v = tail + sign * length * here
        half_square = length * (length + np.abs(first))
        along = np.einsum("...i,...ij->...j", v / half_square, q)
        return q - v[..., None] * along[..., None, :], -sign[..., 0]

    q, signs = scan(turn, start, (columns, vectors), reverse=True)
    return q * np.moveaxis(signs, 0, -1)[..., None, :]
