"""Rules for factorisations of matrices in `numpy.linalg`, and what solves by them.

As NumPy, they compute in f64 or c128 and give results in the operand's precision: what
counts as rank deficient depends on it. A graph's dtypes and shapes do not depend on
values: `eig` and `eigvals` are always complex, and `lstsq` gives NaN where NumPy leaves
the residuals of a matrix out that is found rank deficient.
"""

import math
import warnings
from collections.abc import Callable
from typing import Any

import numpy as np

from ...errors import MatrixError
from ...ir import dtypes as dt
from ...ir.graph import Atom
from ...ir.ops import linalg as la
from ...ir.ops.elementwise import convert_p
from ...ir.ops.shape import broadcast_to, reshape
from ...ir.primitive import Param
from .. import ufuncs
from ..source import user_line
from ..trace import Trace
from ..tracer import Tracer
from .registry import implements, is_given, lift, wrap

# NumPy's named tuples.
_SVD: Callable[..., Any] = type(np.linalg.svd(np.eye(1)))
_EIG: Callable[..., Any] = type(np.linalg.eig(np.eye(1)))
_QR: Callable[..., Any] = type(np.linalg.qr(np.eye(1)))


# --- operands ---------------------------------------------------------------------


def check_stacked(x: Tracer) -> None:
    """Raise as NumPy does unless `x` has two axes at least."""
    if x.ndim < 2:
        raise MatrixError(
            f"{x.ndim}-dimensional array given. Array must be at least two-dimensional",
            source=user_line(),
        )


def check_square(x: Tracer) -> None:
    """Raise as NumPy does unless the last two axes of `x` are square matrices."""
    check_stacked(x)
    if x.shape[-1] != x.shape[-2]:
        raise MatrixError(
            f"the last 2 dimensions of the array must be square, not {x.shape[-2:]}",
            source=user_line(),
        )


def precisions(*operands: Tracer) -> tuple[np.dtype, np.dtype]:
    """Return the dtype to compute in, f64 or c128, and that of the results.

    Raises
    ------
    TypeError
        For dtypes that `numpy.linalg` refuses, as float16.
    """
    single = True
    for x in operands:
        if not issubclass(x.dtype.type, np.inexact):
            single = False
        elif x.dtype.itemsize < (8 if dt.is_complex(x.dtype) else 4):
            raise TypeError(f"array type {x.dtype.name} is unsupported in linalg")
        elif dt.real_dtype(x.dtype) == np.float64:
            single = False
    if any(dt.is_complex(x.dtype) for x in operands):
        return np.dtype("c16"), np.dtype("c8" if single else "c16")
    return np.dtype("f8"), np.dtype("f4" if single else "f8")


def narrow(trace: Trace, atom: Atom, like: np.dtype) -> Tracer:
    """Return a result, if it is inexact in the precision of `like`."""
    dtype = atom.aval.dtype
    if not dt.is_inexact(dtype):
        return wrap(trace, atom)
    size = dt.real_dtype(like).itemsize
    wanted = np.dtype(f"c{2 * size}" if dt.is_complex(dtype) else f"f{size}")
    if wanted != dtype:
        atom = trace.emit(convert_p, atom, dtype=wanted)
    return wrap(trace, atom)


# --- svd --------------------------------------------------------------------------


@implements(np.linalg.svd)
def svd(
    a: Any, full_matrices: Any = True, compute_uv: Any = True, hermitian: Any = False
) -> Any:
    trace, (x,) = lift(a)
    if hermitian:
        check_square(x)
        work, like = precisions(x)
        wide = x.astype(work)
        if not compute_uv:
            return narrow(trace, _hermitian_values(wide).read(), like)
        return _SVD(*(narrow(trace, v.read(), like) for v in _hermitian_svd(wide)))
    if not compute_uv:
        return svdvals(x)
    check_stacked(x)
    work, like = precisions(x)
    params: dict[str, Param] = {"full_matrices": bool(full_matrices)}
    outs = trace.emit_all(la.svd_p, (x.convert(work),), params)
    return _SVD(*(narrow(trace, out, like) for out in outs))


@implements(np.linalg.svdvals)
def svdvals(x: Any, /) -> Any:
    trace, (v,) = lift(x)
    check_stacked(v)
    work, like = precisions(v)
    return narrow(trace, trace.emit(la.svdvals_p, v.convert(work)), like)


def _hermitian_svd(x: Any) -> tuple[Any, Any, Any]:
    """From the eigenvalues by size; V takes their signs (as in NumPy)."""
    s, u = np.linalg.eigh(x)
    sign = np.copysign(1.0, s)
    order = np.argsort(np.abs(s))[..., ::-1]
    sign = np.take_along_axis(sign, order, axis=-1)
    u = np.take_along_axis(u, order[..., None, :], axis=-1)
    s = np.take_along_axis(np.abs(s), order, axis=-1)
    vh = np.matrix_transpose(u * sign.astype(u.dtype)[..., None, :]).conj()
    return u, s, vh


def _hermitian_values(x: Any) -> Any:
    return np.sort(np.abs(np.linalg.eigvalsh(x)))[..., ::-1]


# --- qr ---------------------------------------------------------------------------


@implements(np.linalg.qr)
def qr(a: Any, mode: Any = "reduced") -> Any:
    trace, (x,) = lift(a)
    mode = _mode(mode)
    check_stacked(x)
    work, like = precisions(x)
    outs = trace.emit_all(la.qr_p, (x.convert(work),), {"mode": mode})
    results = [narrow(trace, out, like) for out in outs]
    return results[0] if mode == "r" else _QR(*results)


def _mode(mode: Any) -> str:
    if mode in ("f", "full"):
        message = (
            "The 'full' option is deprecated in favor of 'reduced'.\n"
            "For backward compatibility let mode default."
        )
        warnings.warn(message, DeprecationWarning, stacklevel=2)
        return "reduced"
    if mode in ("raw", "e", "economic"):
        raise ufuncs.unsupported(
            f"np.linalg.qr with mode={mode!r}", "mode='reduced', 'complete' or 'r'"
        )
    if mode not in ("reduced", "complete", "r"):
        raise ValueError(f"Unrecognized mode '{mode}'")
    return str(mode)


# --- eigenvalues ------------------------------------------------------------------


@implements(np.linalg.eig)
def eig(a: Any) -> Any:
    trace, (x,) = lift(a)
    check_square(x)
    work, like = precisions(x)
    outs = trace.emit_all(la.eig_p, (x.convert(work),), {})
    return _EIG(*(narrow(trace, out, like) for out in outs))


@implements(np.linalg.eigvals)
def eigvals(a: Any) -> Any:
    trace, (x,) = lift(a)
    check_square(x)
    work, like = precisions(x)
    return narrow(trace, trace.emit(la.eigvals_p, x.convert(work)), like)


# --- pseudo-inverse and least squares ---------------------------------------------


@implements(np.linalg.pinv)
def pinv(
    a: Any, rcond: Any = None, hermitian: Any = False, *, rtol: Any = np._NoValue
) -> Any:
    trace, (x,) = lift(a)
    if rcond is not None and rtol is not np._NoValue:
        raise ValueError("`rtol` and `rcond` can't be both set.")
    if rcond is None and rtol is None:
        rcond = max(x.shape[-2:]) * np.finfo(x.dtype).eps
    elif rcond is None:
        rcond = rtol if is_given(rtol) else 1e-15
    check_stacked(x)
    *lead, m, n = x.shape
    if not m or not n:
        return np.zeros_like(x, shape=(*lead, n, m))
    work, like = precisions(x)
    if hermitian:
        check_square(x)
    cutoff = _cutoff(trace, rcond, tuple(lead), work)
    out = trace.emit(la.pinv_p, x.convert(work), cutoff, hermitian=bool(hermitian))
    return narrow(trace, out, like)


def _cutoff(trace: Trace, rcond: Any, lead: tuple[int, ...], work: np.dtype) -> Atom:
    """Return one cut-off for each matrix."""
    atom = trace.lift(rcond).convert(dt.real_dtype(work))
    if np.broadcast_shapes(atom.aval.shape, lead) != lead:
        raise ValueError(
            f"the shape {atom.aval.shape} of the cut-offs does not broadcast to {lead}"
        )
    return broadcast_to(trace.builder, atom, lead)


@implements(np.linalg.lstsq)
def lstsq(a: Any, b: Any, rcond: Any = None) -> Any:
    trace, (x, y) = lift(a, b)
    m, n, columns = _check_system(x, y)
    work, like = precisions(x, y)
    if rcond is None:
        rcond = np.finfo(np.float64).eps * max(n, m)
    build = trace.builder
    right = reshape(build, y.convert(work), (m, columns))
    if not columns:  # LAPACK wants one
        right = broadcast_to(build, build.literal(0, work), (m, 1))
    cutoff = _cutoff(trace, rcond, (), work)
    outs = trace.emit_all(la.lstsq_p, (x.convert(work), right, cutoff), {})
    results: list[Any] = [narrow(trace, out, like) for out in outs]
    solution, residuals, rank, values = results
    if not m:
        solution = np.zeros_like(solution)
    if not columns:
        solution, residuals = solution[:, :0], residuals[:0]
    if m <= n:
        residuals = np.zeros_like(residuals, shape=(0,))
    return solution[:, 0] if y.ndim == 1 else solution, residuals, rank, values


def _check_system(x: Tracer, y: Tracer) -> tuple[int, int, int]:
    """Return rows, columns and right-hand sides."""
    for v, ndims in ((x, (2,)), (y, (1, 2))):
        if v.ndim not in ndims:
            raise MatrixError(
                f"{v.ndim}-dimensional array given. Array must be two-dimensional",
                source=user_line(),
                hint="use np.linalg.pinv(a) @ b, or tracejit.vmap, for stacks",
            )
    if x.shape[0] != y.shape[0]:
        raise MatrixError(
            f"incompatible dimensions: {x.shape[0]} rows, and right-hand sides of "
            f"{y.shape[0]}",
            source=user_line(),
        )
    return x.shape[0], x.shape[1], math.prod(y.shape[1:])


# --- systems in tensors -----------------------------------------------------------


@implements(np.linalg.tensorsolve)
def tensorsolve(a: Any, b: Any, axes: Any = None) -> Any:
    _, (x, y) = lift(a, b)
    if axes is not None:
        order = list(range(x.ndim))
        for axis in axes:
            order.remove(axis)
            order.insert(x.ndim, axis)
        x = x.transpose(order)
    shape = x.shape[-(x.ndim - y.ndim) :]
    size = math.prod(shape)
    if x.size != size**2:
        raise MatrixError(
            "input arrays must satisfy the requirement "
            "prod(a.shape[b.ndim:]) == prod(a.shape[:b.ndim]), not "
            f"{x.shape} and {y.shape}",
            source=user_line(),
        )
    return np.linalg.solve(x.reshape(size, size), y.ravel()).reshape(shape)


@implements(np.linalg.tensorinv)
def tensorinv(a: Any, ind: int = 2) -> Any:
    _, (x,) = lift(a)
    if ind <= 0:
        raise ValueError("Invalid ind argument.")
    first, last = x.shape[:ind], x.shape[ind:]
    inverse = np.linalg.inv(x.reshape(math.prod(last), -1))
    return inverse.reshape(*last, *first)
