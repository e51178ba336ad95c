"""Matrices as functions of `tracejit.scipy.linalg` take them.

Establishes float or complex matrices of one dtype, and the steps that NumPy has no
function for: triangular systems and LU factors.
"""

from typing import Any

import numpy as np

from ...errors import MatrixError
from ...ir import dtypes as dt
from ...ir.ops import linalg as la
from ...ir.ops.shape import broadcast_to
from ...nn.operands import operand, positions
from ...tracing.functions.registry import dispatch, implements, lift, wrap
from ...tracing.source import user_line
from ...tracing.tracer import Tracer


def matrix(x: Any, name: str = "", square: bool = False) -> Any:
    """Return an array of two axes at least, of floats or complex numbers.

    Raises
    ------
    MatrixError
    """
    x = inexact(x)
    if x.ndim < 2 or (square and x.shape[-1] != x.shape[-2]):
        kind = "square matrices" if square else "matrices"
        raise MatrixError(
            f"{name}: an array of shape {x.shape}; expected {kind} on the last axes",
            source=user_line(),
        )
    return x


def inexact(x: Any) -> Any:
    """Return `x` in float32, float64, complex64 or complex128."""
    x = operand(x)
    if dt.is_inexact(x.dtype):
        return x.astype(np.float32) if x.dtype.itemsize < 4 else x
    return x.astype(np.float64)


def adjoint(x: Any) -> Any:
    """Return the conjugate transpose."""
    return np.conj(x.swapaxes(-1, -2))


def upper_part(x: Any, first: int = 0) -> Any:
    """Return `x` with zeros below a diagonal."""
    rows, columns = (positions(n, x) for n in x.shape[-2:])
    return np.where(columns - rows[:, None] >= first, x, x.dtype.type(0))


def with_unit_diagonal(x: Any) -> Any:
    """Return `x` with ones on the diagonal."""
    rows, columns = (positions(n, x) for n in x.shape[-2:])
    return np.where(rows[:, None] == columns, x.dtype.type(1), x)


def identity(n: int, like: Any) -> Any:
    """Return the identity matrix in the dtype of `like`."""
    return (positions(n, like)[:, None] == positions(n, like)).astype(like.dtype)


# --- systems ----------------------------------------------------------------------


def solve_triangle(a: Any, b: Any, lower: bool) -> Any:
    """Solve by one triangle of `a`; `b` has its batch and dtype, or broadcasts.

    Raises
    ------
    MatrixError
        If the extents do not fit.
    numpy.linalg.LinAlgError
        If there is a zero on the diagonal.
    """
    is_vector = b.ndim == 1
    right = b[:, None] if is_vector else b
    if right.shape[-2] != a.shape[-1]:
        raise MatrixError(
            f"a system of {a.shape[-1]} equations and right-hand sides of shape "
            f"{b.shape}",
            source=user_line(),
        )
    dtype = np.result_type(a.dtype, right.dtype)
    out = triangular(
        a.astype(dtype, copy=False), right.astype(dtype, copy=False), lower
    )
    return out[..., 0] if is_vector else out


def triangular(a: Any, b: Any, lower: bool) -> Any:
    """Solve systems of matrices and matrices of one dtype."""
    if isinstance(a, Tracer) or isinstance(b, Tracer):
        return dispatch(triangular, (a, b), {"lower": lower})
    return la.triangular_solve_p.impl(a, b, lower=lower)


@implements(triangular)
def _traced_triangular(a: Any, b: Any, lower: bool) -> Any:
    trace, (x, y) = lift(a, b)
    lead = np.broadcast_shapes(x.shape[:-2], y.shape[:-2])
    full = [
        broadcast_to(trace.builder, v.read(), (*lead, *v.shape[-2:])) for v in (x, y)
    ]
    return wrap(trace, trace.emit(la.triangular_solve_p, *full, lower=lower))


def factors(a: Any) -> tuple[Any, Any, Any]:
    """Return L and U in one matrix, the exchanges of rows, and their order."""
    if isinstance(a, Tracer):
        found: tuple[Any, Any, Any] = dispatch(factors, (a,), {})
        return found
    return la.lu_p.impl(a)  # type: ignore[return-value]


@implements(factors)
def _traced_factors(a: Any) -> Any:
    trace, (x,) = lift(a)
    outs = trace.emit_all(la.lu_p, (x.read(),), {})
    return tuple(wrap(trace, out) for out in outs)
