"""Rules for places in sorted arrays: searchsorted, digitize, interp."""

from typing import Any

import numpy as np

from ...ir import dtypes as dt
from ...ir.ops.elementwise import stop_gradient_p
from ..tracer import Tracer
from .checks import require
from .registry import complex_of, implements, in_rows, lift, wrap

_NOTHING = np.empty(0)
COUNTED = 256  # elements: to compare with so many takes as long as to read some


@implements(np.searchsorted)
def searchsorted(a: Any, v: Any, side: Any = "left", sorter: Any = None) -> Any:
    """By bisection; in a short array by counting what lies before. NaN is last."""
    np.searchsorted(_NOTHING, 0.0, side)  # NumPy's error for a side that there is not
    _, (x, y) = lift(a, v)
    _check_row(x)
    x = x if sorter is None else _sorted_by(x, sorter)
    dtype = np.result_type(x.dtype, y.dtype)
    x, y = x.astype(dtype, copy=False), y.astype(dtype, copy=False)
    if x.size <= COUNTED:
        place = np.sum(_is_before(x, y[..., None], side), axis=-1)
    else:
        place = _bisected(x, y, side)
    return in_rows(place)


def _is_before(x: Any, y: Any, side: str) -> Any:
    """Tell where y has its place behind x."""
    found = x < y if side == "left" else x <= y
    if not dt.is_inexact(x.dtype):
        return found
    return found | (np.isnan(y) & ~np.isnan(x) if side == "left" else np.isnan(y))


def _bisected(x: Tracer, y: Tracer, side: str) -> Any:
    """Return how many elements are before each of `y`, from the highest bit down."""
    n: int = x.size
    place: Any = np.zeros_like(y, dtype=np.int64)
    for bit in reversed(range(n.bit_length())):
        more = place + (1 << bit)
        at = np.take(x, more - 1, mode="clip")
        place = np.where((more <= n) & _is_before(at, y, side), more, place)
    return place[()]


def _check_row(x: Tracer) -> None:
    if x.ndim != 1:
        what = "object too deep" if x.ndim else "object of too small depth"
        raise ValueError(f"{what} for desired array")


def _sorted_by(x: Tracer, sorter: Any) -> Tracer:
    _, (order,) = lift(sorter)
    if order.dtype.kind not in "iu":
        raise TypeError("sorter must only contain integers")
    if order.size != x.size:
        raise ValueError("sorter.size must equal a.size")
    return x[order]  # type: ignore[no-any-return]


@implements(np.digitize)
def digitize(x: Any, bins: Any, right: bool = False) -> Any:
    """Edges that fall are counted from the other end."""
    _, (v, edges) = lift(x, bins)
    if dt.is_complex(v.dtype):
        raise TypeError("x may not be complex")
    _check_row(edges)
    rises: Any = np.all(edges[1:] >= edges[:-1])
    falls: Any = np.all(edges[1:] <= edges[:-1]) & ~rises
    require(rises | falls, "bins must be monotonically increasing or decreasing")
    place = searchsorted(edges, v, "left" if right else "right")
    if edges.is_known:
        return edges.size - place if falls.shadow else place
    return np.where(falls, edges.size - place, place)[()]


@implements(np.interp)
def interp(
    x: Any, xp: Any, fp: Any, left: Any = None, right: Any = None, period: Any = None
) -> Any:
    _, (v, px, py) = lift(x, xp, fp)
    px, v = (a.astype(np.float64, copy=False) for a in (px, v))
    py = py.astype(np.result_type(py.dtype, np.float64), copy=False)
    if period is not None:
        _check_period(px, py, period)
        v, px, py = _over_periods(v, px, py, abs(period))
        left = right = None
    _check_points(px, py)
    ends = tuple(
        edge if given is None else given
        for edge, given in ((py[0], left), (py[-1], right))
    )
    if not dt.is_complex(py.dtype):
        return _interpolated(v, px, py, ends)
    real = _interpolated(v, px, py.real, tuple(np.real(e) for e in ends))
    imag = _interpolated(v, px, py.imag, tuple(np.imag(e) for e in ends))
    return complex_of(real, imag)


def _check_points(px: Tracer, py: Tracer) -> None:
    _check_row(px)
    _check_row(py)
    if not px.size:
        raise ValueError("array of sample points is empty")
    if px.size != py.size:
        raise ValueError("fp and xp are not of the same length.")


def _interpolated(v: Any, px: Any, py: Any, ends: tuple[Any, ...]) -> Any:
    """On the lines between points, as NumPy: at a point, exactly its value.

    A line from an infinite value gives NaN; its other end, if there is any, counts.
    """
    n = px.shape[0]
    place = searchsorted(px, v, "right")
    inside = np.clip(place - 1, 0, n - 1)
    lo, hi = np.clip(inside, 0, max(n - 2, 0)), np.minimum(inside + 1, n - 1)
    slope = (py[hi] - py[lo]) / (px[hi] - px[lo])
    line = slope * (v - px[lo]) + py[lo]
    line = np.where(np.isnan(line), slope * (v - px[hi]) + py[hi], line)
    line = np.where(np.isnan(line) & (py[lo] == py[hi]), py[lo], line)
    is_point = (v == px[inside]) | (inside == n - 1)
    # The slope at a point is that of the line after it.
    at_point = line + _constant(py[inside] - line)
    out = np.where(is_point & np.isfinite(line), at_point, line)
    out = np.where(is_point & ~np.isfinite(line), py[inside], out)
    out = np.where(np.isnan(v), v, out) if n > 1 else out
    out = np.where(v < px[0], ends[0], out)
    return np.where(v > px[-1], ends[1], out)[()]


def _constant(x: Any) -> Any:
    """Return a value as a constant to differentiation."""
    trace, (x,) = lift(x)
    return wrap(trace, trace.emit(stop_gradient_p, x.read()))


def _check_period(px: Tracer, py: Tracer, period: Any) -> None:
    require(period != 0, "period must be a non-zero value")
    if px.ndim != 1 or py.ndim != 1:
        raise ValueError("Data points must be 1-D sequences")
    if px.size != py.size:
        raise ValueError("fp and xp are not of the same length")


def _over_periods(v: Any, px: Any, py: Any, period: Any) -> tuple[Any, Any, Any]:
    """One period of sorted points, and the point beside it at each end."""
    px = px % period
    order = np.argsort(px)
    px, py = px[order], py[order]
    px = np.concatenate([px[-1:] - period, px, px[:1] + period])
    return v % period, px, np.concatenate([py[-1:], py, py[:1]])
