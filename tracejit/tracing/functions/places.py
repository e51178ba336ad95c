"""Rules for places: flat and multiple indices, choices by index, writes at a mask."""

import functools
import operator
from typing import Any

import numpy as np

from ...ir import dtypes as dt
from .. import ufuncs
from ..rule_bodies import chosen
from ..storage import Kind, own
from ..tracer import Tracer, check_cast
from .checks import require
from .registry import implements, in_rows, lift, normalize_axis, truths_of
from .searching import COUNTED, searchsorted
from .select import where
from .shape import moveaxis

MODES = ("raise", "wrap", "clip")
TABLE_PER_NUMBER = 6  # as in NumPy, which takes a table of up to so many truths
MOST_TABLE = 1 << 20


def _within(index: Any, n: int, mode: str, message: str) -> Any:
    """Indices from 0 to n - 1: wrapped, clipped, or an error where they are not."""
    if mode not in MODES:
        raise ValueError(f"clipmode must be one of {MODES} (got {mode!r})")
    if mode == "wrap":
        return index % n
    if mode == "clip":
        return np.clip(index, 0, n - 1)
    require((index >= 0) & (index < n), message)
    return index


def _steps(dims: tuple[int, ...], order: str) -> list[int]:
    """How far apart neighbours along each axis lie in flat order."""
    sizes = (*dims[1:], 1) if order == "C" else (1, *dims[:-1])
    ends = sizes[::-1] if order == "C" else sizes
    products = np.cumprod(ends).tolist()
    return products[::-1] if order == "C" else products


@implements(np.ravel_multi_index)
def ravel_multi_index(
    multi_index: Any, dims: Any, mode: Any = "raise", order: str = "C"
) -> Any:
    _, indices = lift(*multi_index)
    sizes = tuple(operator.index(d) for d in dims)
    modes = mode if isinstance(mode, tuple) else (mode,) * len(sizes)
    flat: Any = 0
    rows = zip(indices, sizes, _steps(sizes, order), modes, strict=True)
    for index, n, step, how in rows:
        flat = flat + step * _within(
            index, n, how, "invalid entry in coordinates array"
        )
    return flat


@implements(np.unravel_index)
def unravel_index(indices: Any, shape: Any, order: str = "C") -> Any:
    _, (flat,) = lift(indices)
    if flat.dtype.kind not in "iu":
        raise TypeError("only int indices permitted")
    sizes = tuple(operator.index(d) for d in np.atleast_1d(shape))
    flat = flat.astype(np.int64, copy=False)
    total = int(np.prod(sizes))
    flat = _within(flat, total, "raise", f"index is out of bounds for size {total}")
    rows = zip(_steps(sizes, order), sizes, strict=True)
    return tuple(flat // step % n for step, n in rows)


@implements(np.choose)
def choose(a: Any, choices: Any, out: Any = None, mode: str = "raise") -> Any:
    _, (index, *options) = lift(a, *choices)
    check_cast(index.dtype, dt.INT64, "safe")
    message = "invalid entry in choice array"
    index = _within(index, len(options), mode, message)
    dtype = np.result_type(*(c.dtype for c in options))
    shape = np.broadcast_shapes(index.shape, *(c.shape for c in options))
    result: Any = np.broadcast_to(options[-1].astype(dtype), shape)
    for k, choice in enumerate(options[:-1]):
        result = where(index == k, choice.astype(dtype), result)
    return in_rows(result)


@implements(np.isin)
def isin(
    element: Any,
    test_elements: Any,
    assume_unique: bool = False,
    invert: bool = False,
    *,
    kind: Any = None,
) -> Any:
    _, (x, members) = lift(element, test_elements)
    if kind not in (None, "sort", "table"):
        raise ValueError(f"Invalid kind: '{kind}'. Please use None, 'sort' or 'table'.")
    if kind == "table" and {x.dtype.kind, members.dtype.kind} - set("biu"):
        raise ValueError(
            "The 'table' method is only supported for boolean or integer arrays. "
            "Please select 'sort' or None for kind."
        )
    found = _is_one_of(x, members.reshape(-1))
    _, (truth,) = lift(~found if invert else found)
    return truth if truth.ndim else truth.as_scalar(Kind.ARRAY)


def _is_one_of(x: Tracer, members: Tracer) -> Any:
    """By places in order; few members, or ones that compare otherwise, one by one.

    Integers that lie close together have a table, as in NumPy.
    """
    dtype = np.result_type(x.dtype, members.dtype)
    is_exact = dtype.kind == "f" or dtype in (x.dtype, members.dtype)
    is_mixed = {x.dtype.kind, members.dtype.kind} == {"i", "u"}
    if members.size <= COUNTED or dt.is_complex(dtype) or is_mixed or not is_exact:
        return np.any(x[..., None] == members, axis=-1)
    x, members = x.astype(dtype), members.astype(dtype)

    if dtype.kind not in "iu":
        return _by_order(x, members)
    size = min(TABLE_PER_NUMBER * (x.size + members.size), MOST_TABLE)
    low: Any = np.min(members)
    span = _distance(np.max(members), low)

    def by_table(x: Any, members: Any, low: Any) -> Any:
        table: Any = np.zeros_like(members, bool, shape=(size,))
        table[_distance(members, low).astype(np.int64)] = True
        place = _distance(x, low)
        is_near = place < size
        return table[where(is_near, place, 0).astype(np.int64)] & is_near

    def by_order(x: Any, members: Any, low: Any) -> Any:
        return _by_order(x, members)

    return chosen(span < size, by_table, by_order, (x, members, low))


def _by_order(x: Any, members: Any) -> Any:
    row = np.sort(members)
    return np.take(row, searchsorted(row, x), mode="clip") == x


def _distance(numbers: Any, low: Any) -> Any:
    """How far above `low` integers lie; it wraps around below."""
    return numbers.astype(np.uint64) - low.astype(np.uint64)


@implements(np.place)
def place(arr: Any, mask: Any, vals: Any) -> None:
    """The n-th place of the mask takes the n-th value, over and over."""
    ufuncs.check_writable(arr)
    _, (truth, values) = lift(mask, vals)
    _check_safe(values, arr)
    values = values.reshape(-1)
    if not values.size:
        raise ValueError("Cannot insert from an empty array!")
    truth = truth.reshape(-1) != 0
    turn = (np.cumsum(truth) - 1) % values.size
    chosen = values[turn].astype(arr.dtype)
    arr[...] = where(truth, chosen, arr.reshape(-1)).reshape(arr.shape)


@implements(np.putmask)
def putmask(a: Any, /, mask: Any, values: Any) -> None:
    """Place n takes value n, over and over, where the mask is true."""
    ufuncs.check_writable(a)
    _, (truth, new) = lift(mask, values)
    _check_safe(new, a)
    new = new.reshape(-1)
    if not new.size:
        return
    chosen = new[own(np.arange(a.size) % new.size)].reshape(a.shape)
    a[...] = where(truth.reshape(a.shape) != 0, chosen.astype(a.dtype), a)


def _check_safe(values: Tracer, to: Tracer) -> None:
    """Raise NumPy's error for arrays, not numbers, that would lose something."""
    if values.ndim:
        check_cast(values.dtype, to.dtype, "safe")


@implements(np.piecewise)
def piecewise(x: Any, condlist: Any, funclist: Any, *args: Any, **kw: Any) -> Any:
    """Each function is computed everywhere; its condition says where it counts."""
    _, (v,) = lift(x)
    is_one = np.isscalar(condlist) or (
        v.ndim and not isinstance(condlist[0], list | np.ndarray)
    )
    conditions = [
        _spread(c != 0, v) for c in lift(*([condlist] if is_one else condlist))[1]
    ]
    if len(funclist) == len(conditions) + 1:
        others = ~np.any(np.stack(np.broadcast_arrays(*conditions)), axis=0)
        conditions.append(others)
    if len(funclist) != len(conditions):
        n = len(conditions)
        raise ValueError(
            f"with {n} condition(s), either {n} or {n + 1} functions are expected"
        )
    out = np.zeros_like(v)
    for condition, function in zip(conditions, funclist, strict=True):
        value = function(v, *args, **kw) if callable(function) else function
        out[...] = where(condition, lift(value)[1][0].astype(v.dtype), out)
    return out


def _spread(mask: Any, x: Tracer) -> Any:
    """A mask of the leading axes of `x`, over all of them."""
    if mask.shape != x.shape[: mask.ndim]:
        raise IndexError(
            f"boolean index of shape {mask.shape} did not match indexed array of shape "
            f"{x.shape}"
        )
    return np.broadcast_to(
        mask.reshape(mask.shape + (1,) * (x.ndim - mask.ndim)), x.shape
    )


@implements(np.ix_)
def ix_(*args: Any) -> Any:
    _, given = lift(*args)
    indices = [np.nonzero(x)[0] if x.dtype == np.bool_ else x for x in given]
    n = len(indices)
    if any(x.ndim != 1 for x in indices):
        raise ValueError("Cross index must be 1 dimensional")
    rows = enumerate(indices)
    return tuple(x.reshape((1,) * k + (-1,) + (1,) * (n - k - 1)) for k, x in rows)


@implements(np.may_share_memory, np.shares_memory)
def shares_memory(a: Any, b: Any, max_work: Any = None) -> bool:
    """Whether two traced arrays are views of the same one: not which parts of it."""
    if not isinstance(a, Tracer) or not isinstance(b, Tracer):
        return False
    return a.storage is b.storage


@implements(np.packbits)
def packbits(a: Any, /, axis: Any = None, bitorder: str = "big") -> Any:
    _, (x,) = lift(a)
    if x.dtype.kind not in "biu":
        raise TypeError("Expected an input array of integer or boolean data type")
    x, axis = (x.reshape(-1), 0) if axis is None else (x, axis)
    d = normalize_axis(axis, x.ndim)
    bits = np.moveaxis(truths_of(x), d, -1).astype(np.uint8)
    padding = [(0, 0)] * (x.ndim - 1) + [(0, -x.shape[d] % 8)]
    bits = np.pad(bits, padding)
    placed = [bits[..., k::8] << n for k, n in enumerate(_shifts(bitorder))]
    return moveaxis(functools.reduce(np.bitwise_or, placed), -1, d)


def _shifts(bitorder: str) -> np.ndarray:
    if bitorder not in ("big", "little"):
        raise ValueError("'order' must be either 'little' or 'big'")
    shifts = np.arange(8, dtype=np.uint8)
    return shifts[::-1].copy() if bitorder == "big" else shifts


@implements(np.unpackbits)
def unpackbits(
    a: Any, /, axis: Any = None, count: Any = None, bitorder: str = "big"
) -> Any:
    _, (x,) = lift(a)
    if x.dtype != np.uint8:
        raise TypeError("Expected an input array of unsigned byte data type")
    x, axis = (x.reshape(-1), 0) if axis is None else (x, axis)
    d = normalize_axis(axis, x.ndim)
    moved = moveaxis(x, d, -1)
    bits = (moved[..., None] >> own(_shifts(bitorder))) & np.uint8(1)
    bits = bits.reshape((*bits.shape[:-2], -1))
    if count is not None:
        n = bits.shape[-1]
        bits = (
            bits[..., :count]
            if count < n
            else np.pad(bits, [(0, 0)] * (bits.ndim - 1) + [(0, count - n)])
        )
    return np.moveaxis(bits, -1, d)
