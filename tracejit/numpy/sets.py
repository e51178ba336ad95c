"""Functions whose results are as long as values say; with ``size=`` the caller says.

Under `jit` shapes are fixed before values are known. With ``size=n`` these functions
keep the first `n` of what they find and fill up what is missing, on NumPy arrays too.
"""

from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np

from ..ir.placed import Placed
from ..tracing import creation
from ..tracing.trace import current_trace
from .placing import through_host


class UniqueAllResult(NamedTuple):
    """Result of `unique_all`."""

    values: Any
    indices: Any
    inverse_indices: Any
    counts: Any


class UniqueCountsResult(NamedTuple):
    """Result of `unique_counts`."""

    values: Any
    counts: Any


class UniqueInverseResult(NamedTuple):
    """Result of `unique_inverse`."""

    values: Any
    inverse_indices: Any


def nonzero(
    x: Any, /, *, size: int | None = None, fill_value: int = 0
) -> tuple[Any, ...]:
    """Return the indices of elements that are not zero, in row-major order.

    Parameters
    ----------
    x : array
    size : int, optional
        Length of the results; under `jit` it must be given. It is no part of the
        standard.
    fill_value : int
        What results end with where there are fewer.

    Returns
    -------
    tuple of arrays of int64, one for each axis of `x`

    Examples
    --------
    >>> nonzero(np.array([0, 5, 0, 7]), size=3, fill_value=-1)
    (array([ 1,  3, -1]),)
    """
    if size is None:
        found: tuple[Any, ...] = through_host(np.nonzero, x)
        return found
    if not x.ndim:
        raise ValueError("nonzero takes an array of at least one axis")
    sized: tuple[Any, ...] = _where_it_is(_indices, x, size, fill_value)
    return sized


def _indices(x: Any, size: int, fill_value: int) -> tuple[Any, ...]:
    flat = _first(np.reshape(x, (-1,)) != 0, size, -1)
    out, step = [], x.size
    for n in x.shape:
        step //= max(n, 1)
        place = flat // max(step, 1) % max(n, 1)
        out.append(np.where(flat >= 0, place, np.int64(fill_value)))
    return tuple(out)


def _first(mask: Any, size: int, fill: int) -> Any:
    """Return the places of the first `size` true elements of one axis."""
    n = mask.shape[0]
    rank = np.cumsum(mask) - 1
    slot = np.where(mask & (rank < size), rank, size)  # the last takes the rest
    out = creation.call(np.full, size + 1, fill, np.int64)
    out[slot] = creation.call(np.arange, n)
    return out[:size]


def _where_it_is(fn: Callable[..., Any], x: Any, *args: Any) -> Any:
    """Call a function that makes arrays of its own beside `x`."""
    if isinstance(x, Placed) and current_trace() is None:
        return x.compute(fn, x, *args)
    return fn(x, *args)


def unique_all(
    x: Any, /, *, size: int | None = None, fill_value: Any = None
) -> UniqueAllResult:
    """Return distinct values, where each is first, which each element is, and counts.

    Parameters
    ----------
    x : array
        Each NaN counts as a value of its own.
    size : int, optional
        Length of `values`, `indices` and `counts`; under `jit` it must be given. It is
        no part of the standard.
    fill_value : number, optional
        What `values` ends with where there are fewer; by default the smallest value.
        Their `indices` and `counts` are 0.

    Returns
    -------
    UniqueAllResult
        Values in ascending order if there is a `size`.
    """
    if size is None:
        return UniqueAllResult(*through_host(np.unique_all, x))
    return _sized(x, size, fill_value)


def unique_counts(
    x: Any, /, *, size: int | None = None, fill_value: Any = None
) -> UniqueCountsResult:
    """Return distinct values and how often each is there; see `unique_all`."""
    if size is None:
        return UniqueCountsResult(*through_host(np.unique_counts, x))
    found = _sized(x, size, fill_value)
    return UniqueCountsResult(found.values, found.counts)


def unique_inverse(
    x: Any, /, *, size: int | None = None, fill_value: Any = None
) -> UniqueInverseResult:
    """Return distinct values and which of them each element is; see `unique_all`."""
    if size is None:
        return UniqueInverseResult(*through_host(np.unique_inverse, x))
    found = _sized(x, size, fill_value)
    return UniqueInverseResult(found.values, found.inverse_indices)


def unique_values(x: Any, /, *, size: int | None = None, fill_value: Any = None) -> Any:
    """Return distinct values; see `unique_all`.

    Examples
    --------
    >>> unique_values(np.array([3, 1, 3]), size=3, fill_value=0)
    array([1, 3, 0])
    """
    if size is None:
        return through_host(np.unique_values, x)
    return _sized(x, size, fill_value).values


def _sized(x: Any, size: int, fill_value: Any) -> UniqueAllResult:
    if not x.size and size and fill_value is None:
        raise ValueError(f"no elements: fill_value= must say what {size} values are")
    out: UniqueAllResult = _where_it_is(_unique, x, size, fill_value)
    return out


def _unique(x: Any, size: int, fill_value: Any) -> UniqueAllResult:
    flat = np.reshape(x, (-1,))
    n = flat.shape[0]
    if not n:
        numbers = creation.call(np.zeros, size, np.int64)
        values = creation.call(np.full, size, fill_value or 0, flat.dtype)
        return UniqueAllResult(
            values, numbers, creation.call(np.zeros, x.shape, np.int64), numbers
        )
    order = np.argsort(flat, stable=True)
    ordered = flat[order]
    is_first = np.concatenate(
        [np.ones_like(flat[:1], dtype=np.bool), ordered[1:] != ordered[:-1]]
    )
    starts = _first(is_first, size + 1, n)
    is_found, at = starts[:-1] < n, np.minimum(starts[:-1], n - 1)
    fill = ordered[0] if fill_value is None else flat.dtype.type(fill_value)
    inverse = np.zeros_like(order)
    inverse[order] = np.cumsum(is_first) - 1
    return UniqueAllResult(
        np.where(is_found, ordered[at], fill),
        np.where(is_found, order[at], 0),
        np.reshape(inverse, x.shape),
        starts[1:] - starts[:-1],
    )


def _none_of(x: Any, size: int, fill_value: Any) -> UniqueAllResult:
    """Return the result for an `x` of no elements."""
    values = creation.call(np.full, size, fill_value or 0, x.dtype)
    zeros = creation.call(np.zeros, size, np.int64)
    return UniqueAllResult(
        values, zeros, creation.call(np.zeros, x.shape, np.int64), zeros
    )
