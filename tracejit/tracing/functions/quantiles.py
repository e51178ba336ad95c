"""Rules for order statistics: medians, quantiles and percentiles, with and without NaN.

The sample is sorted once and read where the method says. Where NaN are left out, how
many numbers remain is known at run time only, and so is where they are read.
"""

import math
from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.lib import NumpyVersion

from ...ir import dtypes as dt
from ...records import dataclass
from ..storage import Kind, own
from ..tracer import Tracer
from .checks import require
from .reduce import weights_along
from .registry import implements, in_rows, is_given, lift, normalize_axes
from .select import take_along_axis
from .shape import broadcast_to
from .sort import argsort, sort

# Where sample i lies among n sorted ones: (n, q) -> place. Hyndman and Fan, "Sample
# Quantiles in Statistical Packages", The American Statistician 50 (1996).
_CONTINUOUS: dict[str, tuple[float, float]] = {
    "interpolated_inverted_cdf": (0, 1),
    "hazen": (0.5, 0.5),
    "weibull": (0, 0),
    "median_unbiased": (1 / 3, 1 / 3),
    "normal_unbiased": (3 / 8, 3 / 8),
}
_DISCRETE = ("inverted_cdf", "closest_observation", "lower", "higher", "nearest")
METHODS = (*_CONTINUOUS, *_DISCRETE, "linear", "midpoint", "averaged_inverted_cdf")
# Before 2.5, NumPy had `reshape` find the length of rows of several axes, which is an
# error where there are no rows.
_INFERS_LENGTH = NumpyVersion(np.__version__) < "2.5.0.dev0"


def _rows(x: Tracer, axis: Any) -> tuple[Tracer, tuple[int, ...]]:
    """Put the axes that are reduced last, as one; also the result's kept shape."""
    axes = normalize_axes(axis, x.ndim)
    rest = tuple(d for d in range(x.ndim) if d not in axes)
    kept = tuple(1 if d in axes else n for d, n in enumerate(x.shape))
    moved = x.transpose((*rest, *axes))
    length = math.prod(x.shape[d] for d in axes)
    if _INFERS_LENGTH and isinstance(axis, tuple) and len(axis) > 1:
        length = -1
    return moved.reshape((*(x.shape[d] for d in rest), length)), kept


def _whole(n: Any, place: Any, takes_lower: Any) -> Any:
    """The sample at or after `place`, whichever `takes_lower` says, as an index."""
    low = np.floor(place)
    return np.clip(np.where(takes_lower, low, low + 1), 0, n - 1)


def _discrete(method: str, n: Any, q: Any) -> Any:
    """The index of the sample that a method without interpolation takes."""
    if method in ("lower", "higher", "nearest"):
        place = (n - 1) * q
        if method == "nearest":
            return _nearest(place)
        return np.floor(place) if method == "lower" else np.ceil(place)
    if method == "inverted_cdf":
        place = n * q - 1
        return _whole(n, place, place == np.floor(place))
    place = n * q - 1 - 0.5
    low = np.floor(place)
    return _whole(n, place, (place == low) & (low % 2 == 1))


def _nearest(place: Any) -> Any:
    """To the nearest sample, halves to the even one."""
    low = np.floor(place)
    part = place - low
    is_lower = (part < 0.5) | ((part == 0.5) & (low % 2 == 0))
    return np.where(is_lower, low, low + 1)


def _places(method: str, n: Any, q: Any) -> tuple[Any, Any, Any]:
    """Two samples and how far between them the quantile lies, in float64."""
    if method in _DISCRETE:
        at = _discrete(method, n, q)
        return at, at, 0.0
    if method in _CONTINUOUS:
        alpha, beta = _CONTINUOUS[method]
        place = n * q + (alpha + q * (1 - alpha - beta)) - 1
    elif method == "averaged_inverted_cdf":
        place = n * q - 1
    else:
        place = (n - 1) * q
    low = np.floor(place)
    part = place - low
    if method == "midpoint":
        part = np.where(part == 0, 0.0, 0.5)
    if method == "averaged_inverted_cdf":
        part = np.where(part == 0, 0.5, 1.0)
    return np.clip(low, 0, n - 1), np.clip(low + 1, 0, n - 1), part


@dataclass(frozen=True)
class _Level:
    """Which quantile: parts of 1, and the method.

    Places are computed in the dtype `exact`, how far it lies between two samples is
    rounded to `within`: that of the samples where the level is a Python number.
    """

    q: Any
    method: str
    exact: np.dtype
    within: np.dtype


def _level(x: Tracer, q: Any, per: int, method: str) -> _Level:
    q = own(np.asarray(q)) if isinstance(q, list | tuple) else q
    share = q if per == 1 else q / per
    if method not in METHODS:
        raise ValueError(f"{method!r} is not a valid method. Use one of: {METHODS}")
    if not isinstance(share, Tracer):
        numbers = np.asarray(share)
        if not np.all((numbers >= 0) & (numbers <= 1)):
            raise ValueError("Quantiles must be in the range [0, 1]")
        if method == "linear" and numbers.dtype.kind in "biu":
            method = "lower"  # the samples at the ends
    is_weak = type(q) in (int, float)
    is_weak |= isinstance(q, Tracer) and q.kind is Kind.PYTHON
    exact = np.dtype(np.float64) if is_weak else np.result_type(share.dtype, np.float16)
    within = x.dtype if is_weak and dt.is_float(x.dtype) else exact
    return _Level(share, method, exact, within)


def _interpolated(low: Any, high: Any, part: Any) -> Any:
    """Between two samples, from the nearer one, as NumPy does: exact at both ends."""
    step = high - low
    return np.where(part >= 0.5, high - step * (1 - part), low + step * part)


def _between(
    level: _Level, read: Callable[[Any], Any], n: Any, q: Any, trailing: int
) -> Any:
    """The quantile of samples that `read` gives at a place.

    `trailing` axes of the samples come after those of `q`.
    """
    low, high, part = _places(level.method, n, q)
    lower = read(low)
    if level.method in _DISCRETE:
        return lower
    part = part.astype(level.within)
    if np.ndim(part):
        part = np.reshape(part, np.shape(part) + (1,) * trailing)
    return _interpolated(lower, read(high), part)


def _quantile(x: Tracer, level: _Level, axis: Any, keepdims: Any) -> Any:
    rows, kept = _rows(x, axis)
    ordered = np.moveaxis(sort(rows, -1), -1, 0)

    def read(place: Any) -> Any:
        return ordered[_index(place)]

    q = level.q
    out = _between(level, read, ordered.shape[0], q, ordered.ndim - 1)
    if dt.is_float(x.dtype):
        out = np.where(np.isnan(ordered[-1]), ordered[-1], out)
    return _shaped(in_rows(out), np.ndim(q), kept, keepdims)


def _index(place: Any) -> Any:
    if isinstance(place, Tracer):
        return place.astype(np.int64)
    return own(np.asarray(place).astype(np.int64)) if np.ndim(place) else int(place)


def _shaped(out: Any, levels: int, kept: tuple[int, ...], keepdims: Any) -> Any:
    if is_given(keepdims) and keepdims:
        out = np.reshape(out, np.shape(out)[:levels] + kept)
        return out if np.ndim(out) else lift(out)[1][0].as_scalar(Kind.ARRAY)
    return out[()] if not np.ndim(out) else out


def _nan_quantile(x: Tracer, level: _Level, axis: Any, keepdims: Any) -> Any:
    if not dt.is_float(x.dtype):
        return _quantile(x, level, axis, keepdims)
    rows, kept = _rows(x, axis)
    ordered = sort(rows, -1)
    count = np.sum(~np.isnan(rows), axis=-1)
    q, levels = level.q, np.ndim(level.q)
    if levels:
        q = np.reshape(q, np.shape(q) + (1,) * np.ndim(count))

    def read(place: Any) -> Any:
        return _at(ordered, place, levels)

    out = _between(level, read, count.astype(level.exact), q, 0)
    out = np.where(count == 0, x.dtype.type(np.nan), out)
    return _shaped(out, levels, kept, keepdims)


def _at(ordered: Any, place: Any, levels: int) -> Any:
    """The samples of each row at its own places."""
    index = np.maximum(place, 0).astype(np.int64)
    wide = ordered if not levels else ordered[(None,) * levels]
    return np.take_along_axis(wide, index[..., None], axis=-1)[..., 0]


def _weights(x: Tracer, weights: Any, axis: Any, method: str) -> Tracer:
    """Return weights of the shape of the samples."""
    if method != "inverted_cdf":
        raise ValueError(f"Only method 'inverted_cdf' supports weights. Got: {method}.")
    _, (w,) = lift(weights)
    require(w >= 0, "Weights must be non-negative.")
    return broadcast_to(weights_along(x, w, axis), x.shape)


def _weighted(
    x: Tracer, weights: Tracer, level: _Level, axis: Any, keepdims: Any, ignores: bool
) -> Any:
    """The first sample at which the share of the weights up to it reaches the level."""
    rows, kept = _rows(x, axis)
    order = argsort(rows, -1)
    samples: Any = take_along_axis(rows, order, -1)
    heavy: Any = take_along_axis(_rows(weights, axis)[0], order, -1)
    has_nan = dt.is_float(x.dtype)
    if has_nan and ignores:
        heavy = np.where(np.isnan(samples), 0, heavy)
    share: Any = np.cumsum(heavy, axis=-1, dtype=np.float64)
    share = share / share[..., -1:]
    is_empty = np.isnan(samples[..., 0]) if has_nan and ignores else False
    require(
        ~np.isnan(share[..., -1]) | is_empty,
        "Weights included NaN, inf or were all zero.",
    )
    share = share.astype(level.exact)
    q, levels = level.q, np.ndim(level.q)
    q = np.reshape(q, np.shape(q) + (1,) * rows.ndim) if levels else q
    before = np.sum((share < q) | (share == 0), axis=-1)
    out = _at(samples, np.minimum(before, rows.shape[-1] - 1), levels)
    if has_nan and ignores:
        out = np.where(is_empty, x.dtype.type(np.nan), out)
    elif has_nan:
        out = np.where(np.isnan(samples[..., -1]), samples[..., -1], out)
    if np.ndim(out) or keepdims is True:
        return _shaped(out, levels, kept, keepdims)
    return lift(out)[1][0].as_scalar(Kind.ARRAY)  # as NumPy, with weights


def _rule(ignores_nan: bool, per: int) -> Any:
    """The rule of a function whose levels are parts of `per`."""

    def rule(
        a: Any,
        q: Any,
        axis: Any = None,
        out: Any = None,
        overwrite_input: bool = False,
        method: str = "linear",
        keepdims: Any = np._NoValue,
        *,
        weights: Any = None,
        interpolation: Any = None,
    ) -> Any:
        method = method if interpolation is None else interpolation
        _, (x,) = lift(a)
        if dt.is_complex(x.dtype):
            raise TypeError("a must be an array of real numbers")
        level = _level(x, q, per, method)
        w = None if weights is None else _weights(x, weights, axis, method)
        if ignores_nan and not x.size:
            return np.nanmean(x, axis, keepdims=keepdims)  # as NumPy, whatever `q`
        if w is not None:
            return _weighted(x, w, level, axis, keepdims, ignores_nan)
        compute = _nan_quantile if ignores_nan else _quantile
        return compute(x, level, axis, keepdims)

    return rule


quantile = implements(np.quantile)(_rule(False, 1))
percentile = implements(np.percentile)(_rule(False, 100))
nanquantile = implements(np.nanquantile)(_rule(True, 1))
nanpercentile = implements(np.nanpercentile)(_rule(True, 100))


@implements(np.median)
def median(
    a: Any,
    axis: Any = None,
    out: Any = None,
    overwrite_input: bool = False,
    keepdims: Any = False,
) -> Any:
    """The mean of the one or two numbers in the middle."""
    _, (x,) = lift(a)
    rows, kept = _rows(x, axis)
    n = rows.shape[-1]
    ordered = sort(rows, -1)
    result = np.mean(ordered[..., (n - 1) // 2 : n // 2 + 1], axis=-1)
    if dt.is_float(x.dtype) and n:
        last = ordered[..., -1]
        result = np.where(np.isnan(last), last, result)
    return _shaped(result, 0, kept, keepdims)


@implements(np.nanmedian)
def nanmedian(
    a: Any,
    axis: Any = None,
    out: Any = None,
    overwrite_input: bool = False,
    keepdims: Any = np._NoValue,
) -> Any:
    """The mean of the one or two numbers in the middle of those that are not NaN."""
    _, (x,) = lift(a)
    if not x.size:
        return np.nanmean(x, axis, keepdims=keepdims)  # as NumPy
    rows, kept = _rows(x, axis)
    if not dt.is_float(x.dtype):
        return median(x, axis, keepdims=keepdims)
    ordered = sort(rows, -1)
    count = np.sum(~np.isnan(rows), axis=-1)
    low = _at(ordered, (count - 1) // 2, 0)
    high = _at(ordered, count // 2, 0)
    high = np.where(count == 0, low, high)
    middle = np.where(count % 2 == 1, low, np.mean(np.stack([low, high]), axis=0))
    return _shaped(middle, 0, kept, keepdims)
