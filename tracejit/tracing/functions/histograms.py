"""Rules for counting: bincount and histograms.

How many bins there are is a shape, and must be known; where they lie need not be.
"""

import operator
from typing import Any

import numpy as np

from ...ir import dtypes as dt
from .. import ufuncs
from ..tracer import Tracer
from .checks import require
from .create import linspace
from .registry import implements, lift


@implements(np.bincount)
def bincount(x: Any, /, weights: Any = None, minlength: Any = 0) -> Any:
    trace, (index,) = lift(x)
    if index.ndim != 1:
        what = "object too deep" if index.ndim else "object of too small depth"
        raise ValueError(f"{what} for desired array")
    if index.dtype.kind not in "biu":
        raise TypeError(
            f"Cannot cast array data from {index.dtype!r} to {np.dtype(np.int64)!r} "
            "according to the rule 'safe'"
        )
    index = index.astype(np.int64, copy=False)
    if index.is_known:
        minlength = max(minlength, 1 + np.max(index.shadow, initial=-1))
    elif not minlength:
        raise ufuncs.unsupported(
            "np.bincount without minlength=", "pass minlength=, the number of bins"
        )
    require(np.all(index >= 0), "'list' argument must have no negative elements")
    dtype = np.int64 if weights is None else np.float64
    out = trace.constant(np.zeros(operator.index(minlength), dtype), born_here=True)
    np.add.at(out, index, 1 if weights is None else weights)
    return out


def span(x: Any, bounds: Any) -> tuple[Any, Any]:
    """The outer edges: those given or those of the data, half a unit apart at least."""
    if bounds is not None:
        low, high = bounds
        if not isinstance(low, Tracer) and not isinstance(high, Tracer):
            return _given_span(low, high)
    elif not x.size:
        return 0.0, 1.0
    else:
        low, high = np.min(x), np.max(x)
        is_finite = np.isfinite(low) & np.isfinite(high)
        require(is_finite, "autodetected range is not finite")
    is_point = low == high
    return np.where(is_point, low - 0.5, low), np.where(is_point, high + 0.5, high)


def _given_span(low: Any, high: Any) -> tuple[Any, Any]:
    if low > high:
        raise ValueError("max must be larger than min in range parameter.")
    if not (np.isfinite(low) and np.isfinite(high)):
        raise ValueError(f"supplied range of [{low}, {high}] is not finite")
    return (low - 0.5, high + 0.5) if low == high else (low, high)


def _edges(x: Tracer, bins: Any, bounds: Any) -> Any:
    """The edges of the bins, in NumPy's dtype."""
    if isinstance(bins, str):
        raise ufuncs.unsupported(
            f"bins={bins!r} of histograms, whose number depends on the data",
            "pass the number of bins",
        )
    if np.ndim(bins):
        _, (edges,) = lift(bins)
        if edges.ndim > 1:
            raise ValueError("`bins` must be 1d, when an array")
        rises = edges[:-1] <= edges[1:]
        require(rises, "`bins` must increase monotonically, when an array")
        return edges
    count = operator.index(bins)
    if count < 1:
        raise ValueError("`bins` must be positive, when an integer")
    low, high = span(x, bounds)
    dtype = np.result_type(
        *(v.dtype if isinstance(v, Tracer | np.generic) else v for v in (low, high)),
        x.dtype,
    )
    if dtype.kind not in "fc":
        dtype = np.dtype(np.result_type(dtype, np.float64))
    return linspace(x.home, low, high, count + 1, dtype=dtype)


@implements(np.histogram_bin_edges)
def histogram_bin_edges(
    a: Any, bins: Any = 10, range: Any = None, weights: Any = None
) -> Any:
    _, (x,) = lift(a)
    return _edges(x, bins, range)


def _searched(x: Tracer, edges: Tracer, is_inside: Any) -> Any:
    """Return the bins of what is inside."""
    last = edges.shape[0] - 2
    return np.minimum(np.searchsorted(edges, x, side="right") - 1, last)


def _computed(x: Tracer, edges: Tracer, is_inside: Any) -> Any:
    """Return the bins of what is inside, all of one width but for roundings."""
    last = edges.shape[0] - 2
    x = x.astype(edges.dtype, copy=False)
    share = (x - edges[0]) / (edges[-1] - edges[0]) * (last + 1)
    place: Any = np.minimum(np.where(is_inside, share, 0).astype(np.int64), last)
    place = place - (is_inside & (x < edges[place]))
    return place + ((x >= edges[place + 1]) & (place < last))


@implements(np.histogram)
def histogram(
    a: Any, bins: Any = 10, range: Any = None, density: Any = None, weights: Any = None
) -> Any:
    _, (x,) = lift(a)
    x = x.reshape(-1)
    x = x.astype(np.uint8) if x.dtype == dt.BOOL else x
    edges = _edges(x, bins, range)
    count = edges.shape[0] - 1
    is_inside = (x >= edges[0]) & (x <= edges[-1])
    find = _searched if np.ndim(bins) else _computed
    place = np.where(is_inside, find(x, edges, is_inside), count)
    each: Any = 1 if weights is None else lift(weights)[1][0].reshape(-1)
    dtype = np.int64 if weights is None else each.dtype
    bins_and_rest = x.home.constant(np.zeros(count + 1, dtype), born_here=True)
    np.add.at(bins_and_rest, place, each)
    out = bins_and_rest[:count]
    if density:
        widths = np.diff(edges).astype(np.float64)
        return out / widths / np.sum(out), edges
    return out, edges
