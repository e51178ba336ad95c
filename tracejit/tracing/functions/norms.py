"""Rules for norms, ranks and condition numbers of `numpy.linalg`."""

import math
from collections.abc import Callable
from functools import cache
from typing import Any

import numpy as np

from ...errors import MatrixError
from ...ir import dtypes as dt
from ...ir.ops import linalg as la
from ..source import user_line
from ..storage import Kind
from ..tracer import Tracer
from .decompositions import check_square, narrow, precisions
from .registry import implements, lift, normalize_axes, normalize_axis


@implements(np.linalg.norm)
def norm(x: Any, ord: Any = None, axis: Any = None, keepdims: bool = False) -> Any:
    _, (v,) = lift(x)
    is_wide = dt.is_inexact(v.dtype) and v.dtype not in dt.FLOAT8S
    v = v if is_wide else v.astype(np.float64)
    is_plain = ord is None or (ord in ("f", "fro") and v.ndim == 2)
    if axis is None and (is_plain or (ord == 2 and v.ndim == 1)):
        return _euclidean(v, None, keepdims)
    axes = _axes(axis, v.ndim)
    if len(axes) == 1:
        return _of_vectors(v, ord, axes[0], keepdims)
    if len(axes) == 2:
        row, col = (normalize_axis(a, v.ndim) for a in axes)
        if row == col:
            raise ValueError("Duplicate axes given.")
        out = _of_matrices(v, ord, row, col)
        shape = [1 if d in (row, col) else n for d, n in enumerate(v.shape)]
        return out.reshape(shape) if keepdims else out
    raise ValueError("Improper number of dimensions to norm.")


def _axes(axis: Any, ndim: int) -> tuple[Any, ...]:
    if axis is None:
        return tuple(range(ndim))
    if isinstance(axis, tuple):
        return axis
    try:
        return (int(axis),)
    except Exception as error:
        message = "'axis' must be None, an integer or a tuple of integers"
        raise TypeError(message) from error


def _euclidean(v: Tracer, axis: Any, keepdims: bool) -> Any:
    square = v.real**2 + v.imag**2 if dt.is_complex(v.dtype) else v * v
    return np.sqrt(np.sum(square, axis=axis, keepdims=keepdims))


def _max(x: Any, axis: int, keepdims: bool = False) -> Any:
    """Maximum of what is not negative; 0 of nothing."""
    initial = np._NoValue if x.shape[axis] else 0
    return np.max(x, axis=axis, keepdims=keepdims, initial=initial)


def _of_vectors(v: Tracer, ord: Any, axis: Any, keepdims: bool) -> Any:
    if ord is None or ord == 2:
        return _euclidean(v, axis, keepdims)
    size = np.abs(v)
    if ord == np.inf:
        return _max(size, axis, keepdims)
    if ord == -np.inf:
        return np.min(size, axis=axis, keepdims=keepdims)
    if ord == 0:
        return np.sum((v != 0).astype(size.dtype), axis=axis, keepdims=keepdims)
    if isinstance(ord, str):
        raise ValueError(f"Invalid norm order '{ord}' for vectors")
    if ord == 1:
        return np.sum(size, axis=axis, keepdims=keepdims)
    total = np.sum(size**ord, axis=axis, keepdims=keepdims)
    # The root of 0 has an infinite slope; the norm has a subgradient of 0 there.
    at_zero = total == 0
    root = np.where(at_zero, total.dtype.type(1), total) ** (1 / ord)
    return np.where(at_zero, total.dtype.type(0), root)[()]


def _of_matrices(v: Any, ord: Any, row: int, col: int) -> Any:
    if ord is None or ord in ("f", "fro"):
        return _euclidean(v, (row, col), False)
    if ord in _SINGULAR:
        values = np.linalg.svdvals(np.moveaxis(v, (row, col), (-2, -1)))
        return _SINGULAR[ord](values)
    if ord not in _SUMS:
        raise ValueError("Invalid norm order for matrices.")
    along, largest = _SUMS[ord]
    across = col if along == 0 else row
    summed = row if along == 0 else col
    total = np.sum(np.abs(v), axis=summed)
    return largest(total, across - (across > summed))


# By order: of singular values; and which axis is summed, and what is taken of the sums.
_SINGULAR: dict[Any, Callable[[Any], Any]] = {
    2: lambda s: _max(s, -1),
    -2: lambda s: np.min(s, axis=-1),
    "nuc": lambda s: np.sum(s, axis=-1),
}
_SUMS: dict[Any, tuple[int, Callable[[Any, int], Any]]] = {
    1: (0, _max),
    np.inf: (1, _max),
    -1: (0, lambda x, axis: np.min(x, axis=axis)),
    -np.inf: (1, lambda x, axis: np.min(x, axis=axis)),
}


@implements(np.linalg.matrix_norm)
def matrix_norm(x: Any, /, *, keepdims: bool = False, ord: Any = "fro") -> Any:
    return norm(x, ord, (-2, -1), keepdims)


@implements(np.linalg.vector_norm)
def vector_norm(
    x: Any, /, *, axis: Any = None, keepdims: bool = False, ord: Any = 2
) -> Any:
    _, (v,) = lift(x)
    if axis is not None and not isinstance(axis, tuple):
        return norm(v, ord, axis, keepdims)
    axes = normalize_axes(axis, v.ndim)
    rest = tuple(d for d in range(v.ndim) if d not in axes)
    size = math.prod(v.shape[d] for d in axes)
    moved = v.transpose((*axes, *rest)).reshape(size, *(v.shape[d] for d in rest))
    out = norm(moved, ord, 0)
    shape = [1 if d in axes else n for d, n in enumerate(v.shape)]
    return out.reshape(shape) if keepdims else out


@implements(np.linalg.matrix_rank)
def matrix_rank(
    A: Any, tol: Any = None, hermitian: Any = False, *, rtol: Any = None
) -> Any:
    if rtol is not None and tol is not None:
        raise ValueError("`tol` and `rtol` can't be both set.")
    _, (x,) = lift(A)
    if x.ndim < 2:
        return lift(np.any(x != 0).astype(np.int64))[1][0].as_scalar(Kind.PYTHON)
    s = np.linalg.svd(x, compute_uv=False, hermitian=hermitian)
    if tol is not None:
        return np.count_nonzero(s > _last_axis(tol), axis=-1)
    if rtol is None:
        relative = max(x.shape[-2:]) * np.finfo(s.dtype).eps
    else:
        relative = _last_axis(rtol)
    top = np.max(s, axis=-1, keepdims=True, initial=0)
    return np.count_nonzero(s > top * relative, axis=-1)


def _last_axis(x: Any) -> Any:
    return x[..., None] if isinstance(x, Tracer) else np.asarray(x)[..., None]


@implements(np.linalg.cond)
def cond(x: Any, p: Any = None) -> Any:
    _, (v,) = lift(x)
    if not v.size and not math.prod(v.shape[-2:]):
        raise MatrixError("cond is not defined on empty arrays", source=user_line())
    with np.errstate(all="ignore"):
        if p is None or p in (2, -2):
            s = np.linalg.svdvals(v)
            r = s[..., -1] / s[..., 0] if p == -2 else s[..., 0] / s[..., -1]
        else:
            r = _product_of_norms(v, p)
            if dt.is_complex(v.dtype) and _gives_complex():
                r = r.astype(np.result_type(r.dtype, np.complex64))
    is_none = np.isnan(r) & ~np.any(np.isnan(v), axis=(-2, -1))
    return np.where(is_none, r.dtype.type(np.inf), r)[()]


@cache
def _gives_complex() -> bool:
    """Tell whether this NumPy's condition numbers have the dtype of the matrix."""
    return bool(np.linalg.cond(np.eye(1, dtype=complex), 1).dtype.kind == "c")


def _product_of_norms(v: Tracer, p: Any) -> Any:
    """‖A‖ ‖A⁻¹‖, NaN where there is no inverse."""
    trace, _ = lift(v)
    check_square(v)
    work, like = precisions(v)
    wide = v.astype(work)
    inverse = narrow(trace, trace.emit(la.inv_or_nan_p, wide.read()), work)
    product = norm(wide, p, (-2, -1)) * norm(inverse, p, (-2, -1))
    return product.astype(dt.real_dtype(like))
