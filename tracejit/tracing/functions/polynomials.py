"""Rules for polynomials by their coefficients, the highest power first.

NumPy leaves out leading zeros. That none is one is checked when the function runs: how
long results are would depend on it.
"""

from functools import partial
from typing import Any

import numpy as np

from ...errors import UnsupportedError
from ...ir import dtypes as dt
from ..storage import own
from ..tracer import Tracer
from .checks import require
from .products import convolve
from .registry import implements, lift

_NEARLY_ZERO = 1e-8  # numpy.allclose's absolute tolerance


def _coefficients(p: Any) -> Tracer:
    _, (c,) = lift(p)
    if c.ndim > 1:
        raise ValueError("Polynomial must be 1d only.")
    return c.reshape(-1) if c.ndim else c.reshape(1)  # type: ignore[no-any-return]


def _require_length(holds: Any, name: str, what: str) -> None:
    """Check that a result is as long as its trace has it."""
    hint = "slices of coefficients that are not 0, or call it outside of the function"
    message = f"the result of np.{name} is of another length here: {what}"
    require(holds, message, partial(UnsupportedError, hint=hint))


def _trimmed(c: Tracer, name: str) -> Any:
    """Leave out leading zeros that are known; there must not be others."""
    if c.is_known:
        kept = np.trim_zeros(c.shadow, "f").size
        return c[c.size - max(kept, 1) :]
    if c.size > 1:
        _require_length(c[0] != 0, name, "a leading coefficient is 0")
    return c


@implements(np.polymul)
def polymul(a1: Any, a2: Any) -> Any:
    first, second = (_trimmed(_coefficients(p), "polymul") for p in (a1, a2))
    product: Any = convolve(first, second)
    return product


@implements(np.polydiv)
def polydiv(u: Any, v: Any) -> Any:
    """Long division, as NumPy has it: the remainder is as long as it usually is."""
    rest, divisor = (_coefficients(p) + 0.0 for p in (u, v))
    dtype = np.result_type(rest.dtype, divisor.dtype)
    rest, scale = rest.astype(dtype), 1.0 / divisor[0]
    m, n = rest.size, divisor.size
    quotient = []
    for k in range(m - n + 1):
        factor = scale * rest[k]
        quotient.append(factor.astype(dtype))
        rest[k : k + n] -= factor * divisor
    cut = min(max(m - n + 1, 0), m - 1)
    is_usual = np.all(np.abs(rest[:cut]) <= _NEARLY_ZERO)
    if m - cut > 1:
        is_usual &= ~(np.abs(rest[cut]) <= _NEARLY_ZERO)
    _require_length(is_usual, "polydiv", "the remainder has other leading zeros")
    none = np.zeros_like(rest, shape=(1,))
    return np.stack(quotient) if quotient else none, rest[cut:]


@implements(np.roots)
def roots(p: Any) -> Any:
    """Eigenvalues of the companion matrix, the roots at 0 last and exact.

    A run-time number of final zeros leaves columns of the matrix 0; what would couple
    them to the others is left out, as NumPy makes a smaller matrix.
    """
    _, (c,) = lift(p)
    if c.ndim != 1:
        raise ValueError("Input must be a rank-1 array.")
    c = c if dt.is_inexact(c.dtype) else c.astype(np.float64)
    _trimmed(c, "roots")
    if c.size < 2:
        return np.zeros_like(c, shape=(0,))
    if c.size == 2:
        return -c[1:] / c[0]
    matrix: Any = np.zeros_like(c, shape=(c.size - 1, c.size - 1))
    is_final: Any = np.cumsum((c != 0)[::-1])[::-1] == 0  # zeros behind the others
    below = own(np.arange(c.size - 2))
    matrix[below + 1, below] = np.where(is_final[2:], 0, 1).astype(c.dtype)
    matrix[0] = np.where(is_final[1:], c.dtype.type(0), -c[1:] / c[0])
    return np.linalg.eigvals(matrix)


@implements(np.poly)
def poly(seq_of_zeros: Any) -> Any:
    """As NumPy, but complex wherever the roots are, unless a real matrix has them."""
    _, (given,) = lift(seq_of_zeros)
    zeros: Any = np.atleast_1d(given)
    if zeros.ndim == 2 and zeros.shape[0] == zeros.shape[1] and zeros.size:
        zeros = np.linalg.eigvals(zeros)
    elif zeros.ndim != 1:
        raise ValueError("input must be 1d or non-empty square 2d array.")
    if not zeros.size:
        return 1.0
    zeros = zeros.astype(np.mintypecode(zeros.dtype.char))
    out = np.ones_like(zeros, shape=(1,))
    for zero in zeros:
        out = np.convolve(out, np.stack([zeros.dtype.type(1), -zero]))
    has_pairs = given.ndim == 2 and not dt.is_complex(given.dtype)
    return out.real.copy() if has_pairs else out


@implements(np.polyfit)
def polyfit(
    x: Any,
    y: Any,
    deg: Any,
    rcond: Any = None,
    full: bool = False,
    w: Any = None,
    cov: Any = False,
) -> Any:
    """Least squares over scaled powers, as NumPy's; it does not warn of poor rank."""
    _, (points, values) = lift(x, y)
    _check_fit(points, values, deg)
    points, values = points + 0.0, values + 0.0
    rcond = points.size * np.finfo(points.dtype).eps if rcond is None else rcond
    left = np.vander(points, deg + 1)
    if w is not None:
        weight = _weight(w, values)
        left = left * weight[:, None]
        values = values * (weight[:, None] if values.ndim == 2 else weight)
    scale = np.sqrt(np.sum(left * left, axis=0))
    left = left / scale
    found, residuals, *others = np.linalg.lstsq(left, values, rcond)
    found = (found.T / scale).T
    if full:
        return found, residuals, *others, rcond
    if not cov:
        return found
    spread = np.linalg.inv(np.dot(left.T, left)) / np.outer(scale, scale)
    factor = 1 if isinstance(cov, str) else _variance(residuals, points.size, deg + 1)
    return found, (spread if values.ndim == 1 else spread[:, :, None]) * factor


def _check_fit(x: Tracer, y: Tracer, deg: Any) -> None:
    if deg < 0:
        raise ValueError("expected deg >= 0")
    if x.ndim != 1:
        raise TypeError("expected 1D vector for x")
    if not x.size:
        raise TypeError("expected non-empty vector for x")
    if y.ndim not in (1, 2):
        raise TypeError("expected 1D or 2D array for y")
    if x.shape[0] != y.shape[0]:
        raise TypeError("expected x and y to have same length")


def _weight(w: Any, values: Tracer) -> Any:
    (weight,) = lift(w)[1]
    if weight.ndim != 1:
        raise TypeError("expected a 1-d array for weights")
    if weight.shape[0] != values.shape[0]:
        raise TypeError("expected w and y to have the same length")
    return weight + 0.0


def _variance(residuals: Any, points: int, order: int) -> Any:
    if points <= order:
        raise ValueError(
            "the number of data points must exceed order to scale the covariance matrix"
        )
    return residuals / (points - order)
