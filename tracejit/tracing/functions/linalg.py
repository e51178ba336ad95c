"""Rules for `numpy.linalg`: systems, determinants, eigenvalues, products."""

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from ...errors import MatrixError
from ...ir import dtypes as dt
from ...ir.ops import linalg as la
from ...ir.ops.shape import broadcast_to, reshape
from ..source import user_line
from ..tracer import Tracer
from .decompositions import check_square
from .registry import implements, lift, wrap

Splits = dict[tuple[int, int], int]  # by first and last factor


def _inexact(x: Tracer) -> Tracer:
    """Integers compute in f64, as in NumPy."""
    return x if dt.is_inexact(x.dtype) else x.astype(np.float64)


@implements(np.linalg.cholesky)
def cholesky(a: Any, /, *, upper: bool = False) -> Any:
    trace, (x,) = lift(a)
    check_square(x)
    x = _inexact(x)
    low = wrap(trace, trace.emit(la.cholesky_p, x.read()))
    return low.mT.conj() if upper else low


@implements(np.linalg.inv)
def inv(a: Any) -> Any:
    trace, (x,) = lift(a)
    check_square(x)
    return wrap(trace, trace.emit(la.inv_p, _inexact(x).read()))


@implements(np.linalg.det)
def det(a: Any) -> Any:
    trace, (x,) = lift(a)
    check_square(x)
    return wrap(trace, trace.emit(la.det_p, _inexact(x).read()))


@implements(np.linalg.slogdet)
def slogdet(a: Any) -> Any:
    trace, (x,) = lift(a)
    check_square(x)
    sign, logabs = trace.emit_all(la.slogdet_p, (_inexact(x).read(),), {})
    result = type(np.linalg.slogdet(np.eye(1)))
    return result(wrap(trace, sign), wrap(trace, logabs))


@implements(np.linalg.eigh)
def eigh(a: Any, UPLO: str = "L") -> Any:
    trace, (x,) = lift(a)
    check_square(x)
    if UPLO not in ("L", "l", "U", "u"):
        raise ValueError("UPLO argument must be 'L' or 'U'")
    if UPLO not in ("L", "l"):
        x = x.mT.conj()
    w, v = trace.emit_all(la.eigh_p, (_inexact(x).read(),), {})
    result: Callable[..., Any] = type(np.linalg.eigh(np.eye(1)))
    return result(wrap(trace, w), wrap(trace, v))


@implements(np.linalg.eigvalsh)
def eigvalsh(a: Any, UPLO: str = "L") -> Any:
    return eigh(a, UPLO)[0]


@implements(np.linalg.solve)
def solve(a: Any, b: Any) -> Any:
    trace, (x, y) = lift(a, b)
    check_square(x)
    dtype = np.result_type(x.dtype, y.dtype)
    dtype = dtype if dt.is_inexact(dtype) else np.dtype(np.float64)
    build = trace.builder
    m, rhs = x.convert(dtype), y.convert(dtype)
    is_vector = y.ndim == 1
    if is_vector:
        rhs = reshape(build, rhs, (*y.shape, 1))
    lead = np.broadcast_shapes(x.shape[:-2], rhs.aval.shape[:-2])
    m = broadcast_to(build, m, (*lead, *x.shape[-2:]))
    rhs = broadcast_to(build, rhs, (*lead, *rhs.aval.shape[-2:]))
    out = trace.emit(la.solve_p, m, rhs)
    return wrap(trace, reshape(build, out, out.aval.shape[:-1]) if is_vector else out)


@implements(np.linalg.matrix_power)
def matrix_power(a: Any, n: int) -> Any:
    _trace, (x,) = lift(a)
    check_square(x)
    if n < 0:
        x, n = inv(x), -n
    if n == 0:
        return x * 0 + np.eye(x.shape[-1], dtype=x.dtype)
    out = None
    while n:
        if n & 1:
            out = x if out is None else out @ x
        n >>= 1
        x = x @ x if n else x
    return out


@implements(np.linalg.multi_dot)
def multi_dot(arrays: Any, *, out: Any = None) -> Any:
    if len(arrays) < 2:
        raise ValueError("Expecting at least two arrays.")
    if len(arrays) == 2:
        return np.dot(*arrays)
    _, xs = lift(*arrays)
    row, column = xs[0].ndim == 1, xs[-1].ndim == 1
    chain: list[Any] = list(xs)
    chain[0] = chain[0][None] if row else chain[0]
    chain[-1] = chain[-1][:, None] if column else chain[-1]
    for x in chain:
        if x.ndim != 2:
            raise MatrixError(
                f"{x.ndim}-dimensional array given. Array must be two-dimensional",
                source=user_line(),
            )
    splits = _cheapest_order([chain[0].shape[0], *(x.shape[1] for x in chain)])
    out = _chained(chain, splits, 0, len(chain) - 1)
    return out[(0 if row else slice(None), 0 if column else slice(None))]


def _cheapest_order(sizes: Sequence[int]) -> Splits:
    """Return where to split each run of a chain of products.

    T. Cormen et al., "Introduction to Algorithms", chapter 15.2, as in NumPy.
    """
    count = len(sizes) - 1
    cost = {(i, i): 0 for i in range(count)}
    splits: Splits = {}
    for length in range(1, count):
        for i in range(count - length):
            j = i + length
            ends = sizes[i] * sizes[j + 1]
            ways = [
                (cost[i, k] + cost[k + 1, j] + ends * sizes[k + 1], k)
                for k in range(i, j)
            ]
            cost[i, j], splits[i, j] = min(ways)
    return splits


def _chained(
    xs: Sequence[Any], splits: dict[tuple[int, int], int], i: int, j: int
) -> Any:
    if i == j:
        return xs[i]
    k = splits[i, j]
    return _chained(xs, splits, i, k) @ _chained(xs, splits, k + 1, j)


@implements(np.linalg.matmul)
def matmul(x1: Any, x2: Any, /) -> Any:
    return np.matmul(x1, x2)
