"""Rules for functions that move elements: reshapes, joins, splits, repeats."""

import itertools
import operator
from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np

from ...ir import dtypes as dt
from ...ir.ops.shape import broadcast_in_dim_p, concatenate_p, pad_p, reshape
from ...ir.ops.shape import broadcast_to as broadcast_atom
from .. import ufuncs
from ..layouts import copied_layout, joined_layout, ordered_layout
from ..storage import Kind, own
from ..tracer import Tracer, check_cast
from ..views import Broadcasted, Order, Reshaped, Strided, Transposed, Windows
from .registry import (
    implements,
    lift,
    normalize_axes,
    normalize_axis,
    wrap,
)

MOST_RUNS = 8  # slices that are put together; indices of more are gathered


@implements(np.reshape)
def reshape_(
    a: Any, /, shape: Any = None, order: str = "C", *, copy: bool | None = None
) -> Tracer:
    _, (x,) = lift(a)
    sizes = tuple(shape) if isinstance(shape, tuple | list) else (shape,)
    return x.reshape(sizes, order=order, copy=copy)


@implements(np.ravel)
def ravel(a: Any, order: str = "C") -> Tracer:
    return lift(a)[1][0].ravel(order)


@implements(np.transpose, np.permute_dims)
def transpose(a: Any, axes: Any = None) -> Tracer:
    _, (x,) = lift(a)
    return x.transpose() if axes is None else x.transpose(tuple(axes))


@implements(np.swapaxes)
def swapaxes(a: Any, axis1: int, axis2: int) -> Tracer:
    _, (x,) = lift(a)
    return x.swapaxes(axis1, axis2)


@implements(np.moveaxis)
def moveaxis(a: Any, source: Any, destination: Any) -> Tracer:
    _, (x,) = lift(a)
    shadow = np.moveaxis(x.shadow, source, destination)
    extents = tuple(range(2, x.ndim + 2))
    perm = _permutation(extents, lambda probe: np.moveaxis(probe, source, destination))
    return x.derive(Transposed(perm), shadow)


def _permutation(extents: tuple[int, ...], move: Any) -> tuple[int, ...]:
    """Find which permutation `move` is by the extents of a memoryless probe."""
    probe = np.lib.stride_tricks.as_strided(
        np.empty(1, np.int8), extents, (0,) * len(extents)
    )
    return tuple(extents.index(n) for n in move(probe).shape)


@implements(np.rollaxis)
def rollaxis(a: Any, axis: int, start: int = 0) -> Tracer:
    _, (x,) = lift(a)
    shadow = np.rollaxis(x.shadow, axis, start)
    extents = tuple(range(2, x.ndim + 2))
    perm = _permutation(extents, lambda probe: np.rollaxis(probe, axis, start))
    return x.derive(Transposed(perm), shadow)


def matrix_transpose(x: Any) -> Tracer:
    _, (x,) = lift(x)
    if x.ndim < 2:
        raise ValueError(
            f"Input array must be at least 2-dimensional, but it is {x.ndim}"
        )
    return x.swapaxes(-1, -2)


implements(np.matrix_transpose)(matrix_transpose)
implements(np.linalg.matrix_transpose)(matrix_transpose)


@implements(np.squeeze)
def squeeze(a: Any, axis: Any = None) -> Tracer:
    _, (x,) = lift(a)
    return x.squeeze(axis)


@implements(np.expand_dims)
def expand_dims(a: Any, axis: Any) -> Tracer:
    _, (x,) = lift(a)
    shadow = np.expand_dims(x.shadow, axis)
    return x.derive(Reshaped(shadow.shape), shadow)


@implements(np.atleast_1d)
def atleast_1d(*arrays: Any) -> Any:
    return _at_least(np.atleast_1d, arrays)


@implements(np.atleast_2d)
def atleast_2d(*arrays: Any) -> Any:
    return _at_least(np.atleast_2d, arrays)


@implements(np.atleast_3d)
def atleast_3d(*arrays: Any) -> Any:
    return _at_least(np.atleast_3d, arrays)


def _at_least(grow: Any, arrays: Sequence[Any]) -> Any:
    _, xs = lift(*arrays)
    out = tuple(x.derive(Reshaped(s.shape), s) for x in xs for s in (grow(x.shadow),))
    return out[0] if len(out) == 1 else out


@implements(np.broadcast_to)
def broadcast_to(array: Any, shape: Any, subok: bool = False) -> Tracer:
    _, (x,) = lift(array)
    sizes = tuple(shape) if isinstance(shape, tuple | list) else (shape,)
    shadow = np.broadcast_to(x.shadow, sizes)
    return x.derive(Broadcasted(shadow.shape), shadow)


@implements(np.broadcast_arrays)
def broadcast_arrays(*args: Any, subok: bool = False) -> Any:
    _, xs = lift(*args)
    shape = np.broadcast_shapes(*(x.shape for x in xs))
    return tuple(broadcast_to(x, shape) for x in xs)


@implements(np.flip)
def flip(m: Any, axis: Any = None) -> Any:
    _, (x,) = lift(m)
    axes = normalize_axes(axis, x.ndim)
    step = slice(None, None, -1)
    return x[tuple(step if d in axes else slice(None) for d in range(x.ndim))]


@implements(np.flipud)
def flipud(m: Any) -> Any:
    return flip(m, 0)


@implements(np.fliplr)
def fliplr(m: Any) -> Any:
    return flip(m, 1)


@implements(np.rot90)
def rot90(m: Any, k: int = 1, axes: Any = (0, 1)) -> Any:
    _, (x,) = lift(m)
    if len(axes) != 2:
        raise ValueError("len(axes) must be 2.")
    first, second = (normalize_axis(a, x.ndim) for a in axes)
    if first == second:
        raise ValueError("Axes must be different.")
    if k % 4 == 0:
        return x[...]
    if k % 4 == 2:
        return flip(x, (first, second))
    swapped = flip(x, second) if k % 4 == 1 else x
    turned = swapped.swapaxes(first, second)
    return turned if k % 4 == 1 else flip(turned, second)


@implements(np.roll)
def roll(a: Any, shift: Any, axis: Any = None) -> Tracer:
    trace, (x,) = lift(a)
    if axis is None:
        return roll(x.reshape(-1), shift, 0).reshape(x.shape)
    if isinstance(shift, Tracer) and not shift.is_known:
        return _roll_by_traced(x, shift, axis)
    shifts = np.broadcast_arrays(np.atleast_1d(shift), np.atleast_1d(axis))
    for by, along in zip(*(s.tolist() for s in shifts), strict=True):
        d = normalize_axis(along, x.ndim)
        n = x.shape[d]
        by = int(by) % n if n else 0
        if by:
            lead = (slice(None),) * d
            tail, head = x[(*lead, slice(n - by, n))], x[(*lead, slice(0, n - by))]
            atom = trace.emit(concatenate_p, tail.read(), head.read(), axis=d)
            x = wrap(trace, atom, layout=copied_layout(x.shadow, atom.aval))
    return x.copy("K")


def _roll_by_traced(x: Tracer, shift: Tracer, axis: Any) -> Tracer:
    """Roll by numbers that are known when the function runs."""
    by: Any = np.atleast_1d(shift)
    along = np.broadcast_to(axis, np.broadcast_shapes(np.shape(axis), by.shape))
    for k, d in enumerate(along.reshape(-1).tolist()):
        d = normalize_axis(d, x.ndim)
        places = own(np.arange(x.shape[d])) - by[k if by.size > 1 else 0].astype(int)
        x = x[(*(slice(None),) * d, places % max(x.shape[d], 1))]
    return x


# --- joining and splitting --------------------------------------------------------


def _promoted(
    arrays: Sequence[Any], dtype: Any = None, casting: str = "same_kind"
) -> list[Tracer]:
    _, xs = lift(*arrays)
    target = np.result_type(*(x.dtype for x in xs)) if dtype is None else dtype
    return [x.astype(np.dtype(target), casting=casting, copy=False) for x in xs]


@implements(np.concatenate, np.concat)
def concatenate(
    arrays: Any, /, axis: Any = 0, *, dtype: Any = None, casting: str = "same_kind"
) -> Tracer:
    xs = _promoted(list(arrays), dtype, casting)
    if axis is None:
        xs, axis = [x.reshape(-1) for x in xs], 0
    if not xs[0].ndim:
        raise ValueError("zero-dimensional arrays cannot be concatenated")
    trace = xs[0].home
    d = normalize_axis(axis, xs[0].ndim)
    atom = trace.emit(concatenate_p, *(x.read() for x in xs), axis=d)
    layout = joined_layout([x.shadow for x in xs], atom.aval)
    return wrap(trace, atom, layout=layout)


@implements(np.stack)
def stack(
    arrays: Any, axis: int = 0, *, dtype: Any = None, casting: str = "same_kind"
) -> Tracer:
    _, xs = lift(*arrays)
    if len({x.shape for x in xs}) != 1:
        raise ValueError("all input arrays must have the same shape")
    rows = [expand_dims(x, axis) for x in xs]
    return concatenate(rows, axis, dtype=dtype, casting=casting)


@implements(np.vstack)
def vstack(tup: Any, *, dtype: Any = None, casting: str = "same_kind") -> Tracer:
    rows = [atleast_2d(x) for x in tup]
    return concatenate(rows, 0, dtype=dtype, casting=casting)


@implements(np.hstack)
def hstack(tup: Any, *, dtype: Any = None, casting: str = "same_kind") -> Tracer:
    xs = [atleast_1d(x) for x in tup]
    axis = 0 if xs[0].ndim == 1 else 1
    return concatenate(xs, axis, dtype=dtype, casting=casting)


@implements(np.dstack)
def dstack(tup: Any) -> Tracer:
    return concatenate([atleast_3d(x) for x in tup], 2)


@implements(np.column_stack)
def column_stack(tup: Any) -> Tracer:
    _, xs = lift(*tup)
    return concatenate([x[:, None] if x.ndim == 1 else x for x in xs], 1)


@implements(np.append)
def append(arr: Any, values: Any, axis: Any = None) -> Tracer:
    if axis is None:
        return concatenate([ravel(arr), ravel(values)], 0)
    return concatenate([arr, values], axis)


def _cuts(sections: Any, n: int, strict: bool) -> list[int]:
    if np.ndim(sections):
        return [0, *[int(s) for s in sections], n]
    count = operator.index(sections)
    if not strict and count <= 0:
        raise ValueError("number sections must be larger than 0.")
    if strict and n % count:
        raise ValueError("array split does not result in an equal division")
    small, extra = divmod(n, count)
    sizes = [small + 1] * extra + [small] * (count - extra)
    return [0, *np.cumsum(sizes).tolist()]


def _split(ary: Any, sections: Any, axis: int, strict: bool) -> list[Tracer]:
    _, (x,) = lift(ary)
    d = normalize_axis(axis, x.ndim)
    cuts = _cuts(sections, x.shape[d], strict)
    lead = (slice(None),) * d
    pairs = itertools.pairwise(cuts)
    return [x[(*lead, slice(a, z))] for a, z in pairs]


@implements(np.split)
def split(ary: Any, indices_or_sections: Any, axis: int = 0) -> list[Tracer]:
    return _split(ary, indices_or_sections, axis, True)


@implements(np.array_split)
def array_split(ary: Any, indices_or_sections: Any, axis: int = 0) -> list[Tracer]:
    return _split(ary, indices_or_sections, axis, False)


@implements(np.hsplit)
def hsplit(ary: Any, indices_or_sections: Any) -> list[Tracer]:
    _check_rank("hsplit", ary, 1)
    return _split(ary, indices_or_sections, 0 if np.ndim(ary) == 1 else 1, True)


def _check_rank(name: str, array: Any, least: int) -> None:
    if np.ndim(array) < least:
        raise ValueError(f"{name} only works on arrays of {least} or more dimensions")


@implements(np.vsplit)
def vsplit(ary: Any, indices_or_sections: Any) -> list[Tracer]:
    _check_rank("vsplit", ary, 2)
    return _split(ary, indices_or_sections, 0, True)


@implements(np.unstack)
def unstack(x: Any, /, *, axis: int = 0) -> tuple[Tracer, ...]:
    _, (x,) = lift(x)
    return tuple(moveaxis(x, axis, 0))


@implements(np.tile)
def tile(A: Any, reps: Any) -> Tracer:
    trace, (x,) = lift(A)
    given = reps if isinstance(reps, tuple | list | np.ndarray) else (reps,)
    counts = tuple(operator.index(n) for n in given)
    ndim = max(len(counts), x.ndim)
    counts = (1,) * (ndim - len(counts)) + counts
    shape = (1,) * (ndim - x.ndim) + x.shape
    pairs = tuple(n for c, s in zip(counts, shape, strict=True) for n in (c, s))
    source = reshape(trace.builder, x.read(), shape)
    dims = tuple(range(1, 2 * ndim, 2))
    wide = trace.emit(broadcast_in_dim_p, source, shape=pairs, dims=dims)
    final = tuple(c * s for c, s in zip(counts, shape, strict=True))
    return trace.result(reshape(trace.builder, wide, final))


@implements(np.pad)
def pad(array: Any, pad_width: Any, mode: str = "constant", **kwargs: Any) -> Any:
    trace, (x,) = lift(array)
    width = np.broadcast_to(_widths(pad_width, x.ndim), (x.ndim, 2)).tolist()
    order = "F" if x.flags.fnc else "C"
    if mode != "constant":
        padded = _pad_by_index(x, width, mode, kwargs)
        return padded if padded is NotImplemented else padded.copy(order)
    value = trace.lift(kwargs.get("constant_values", 0))
    if value.ndim:
        return NotImplemented  # a value for each side: as NumPy writes it
    low, high = (tuple(w) for w in zip(*width, strict=True))
    atom = trace.emit(pad_p, x.read(), value.convert(x.dtype), low=low, high=high)
    return wrap(trace, atom, layout=ordered_layout(order, x.shadow, atom.aval))


def _widths(given: Any, ndim: int) -> np.ndarray:
    """Widths of all axes, or of those that a dict names."""
    if isinstance(given, dict):
        rows = [(0, 0)] * ndim
        for axis, width in given.items():
            rows[axis] = (width, width) if isinstance(width, int) else width
        given = rows
    widths = np.asarray(given)
    if widths.dtype.kind != "i":
        raise TypeError("`pad_width` must be of integral type.")
    return widths


def _pad_by_index(
    x: Tracer, width: list[list[int]], mode: Any, kwargs: dict[str, Any]
) -> Any:
    is_odd = kwargs.get("reflect_type", "even") != "even"  # computes what it adds
    if is_odd or mode not in ("edge", "reflect", "symmetric", "wrap"):
        return NotImplemented
    if kwargs.get("reflect_type") == "odd":
        return NotImplemented
    for axis, (low, high) in enumerate(width):
        index = np.pad(np.arange(x.shape[axis]), (low, high), mode, **kwargs)
        x = _at_runs(x, axis, index) if low or high else x
    return x


def _at_runs(x: Tracer, axis: int, index: np.ndarray) -> Any:
    """Return elements along an axis: by slices, where indices run on by even steps."""
    runs = list(itertools.islice(_runs(index), MOST_RUNS + 1))
    if len(runs) > MOST_RUNS:
        return x[(*(slice(None),) * axis, own(index))]
    return np.concatenate([_at_run(x, axis, run.tolist()) for run in runs], axis)


def _runs(index: np.ndarray) -> Iterator[np.ndarray]:
    """Yield the longest pieces of even steps, from the first number on."""
    while index.size:
        steps = np.diff(index)
        uneven = np.flatnonzero(steps != steps[:1])
        length = int(uneven[0]) + 1 if uneven.size else len(index)
        yield index[:length]
        index = index[length:]


def _at_run(x: Tracer, axis: int, run: list[int]) -> Any:
    step = run[1] - run[0] if len(run) > 1 else 1
    before = (slice(None),) * axis
    if step == 0:
        first = x[(*before, slice(run[0], run[0] + 1))]
        shape = (*x.shape[:axis], len(run), *x.shape[axis + 1 :])
        return np.broadcast_to(first, shape)
    stop = run[-1] + step
    return x[(*before, slice(run[0], stop if stop >= 0 else None, step))]


# --- diagonals and triangles ------------------------------------------------------


def _grid(x: Tracer) -> tuple[Tracer, Tracer]:
    rows, cols = x.shape[-2:] if x.ndim > 1 else x.shape * 2
    trace = x.home
    i = trace.constant(np.arange(rows), born_here=True)
    j = trace.constant(np.arange(cols), born_here=True)
    return i.reshape(-1, 1), j.reshape(1, -1)


def _zero(x: Tracer) -> Any:
    return x.dtype.type(0)


@implements(np.tril)
def tril(m: Any, k: int = 0) -> Any:
    _, (x,) = lift(m)
    i, j = _grid(x)
    return np.where(j <= i + k, x, _zero(x))


@implements(np.triu)
def triu(m: Any, k: int = 0) -> Any:
    _, (x,) = lift(m)
    i, j = _grid(x)
    return np.where(j >= i + k, x, _zero(x))


@implements(np.diagonal)
def diagonal(a: Any, offset: int = 0, axis1: int = 0, axis2: int = 1) -> Any:
    _, (x,) = lift(a)
    shadow = np.diagonal(x.shadow, offset, axis1, axis2)
    return diagonal_view(x, shadow, axis1 % x.ndim, axis2 % x.ndim, offset)


def diagonal_view(
    x: Tracer, shadow: np.ndarray, first: int, second: int, offset: int = 0
) -> Tracer:
    """Every so-manieth element of rows in one row: a view, which may be written to."""
    rest = [d for d in range(x.ndim) if d not in (first, second)]
    lead, (rows, cols) = [x.shape[d] for d in rest], (x.shape[first], x.shape[second])
    n = shadow.shape[-1]
    start = (offset if offset > 0 else -offset * cols) if n else 0
    ones, zeros = (1,) * len(lead), (0,) * len(lead)
    shape = (*lead, n)
    steps = (
        Transposed((*rest, first, second)),
        Reshaped((*lead, rows * cols)),
        Strided((*zeros, start), (*ones, cols + 1), shape, (), shape),
    )
    return Tracer(x.storage, (*x.chain, *steps), shadow, Kind.ARRAY)


@implements(np.linalg.diagonal)
def diagonals(x: Any, /, *, offset: int = 0) -> Any:
    """Of each matrix of a stack."""
    return diagonal(x, offset, -2, -1)


@implements(np.diag)
def diag(v: Any, k: int = 0) -> Any:
    trace, (x,) = lift(v)
    if x.ndim == 2:
        return diagonal(x, k)
    if x.ndim != 1:
        raise ValueError("Input must be 1- or 2-d.")
    n = x.shape[0] + abs(k)
    out = trace.constant(np.zeros((n, n), x.dtype), born_here=True)
    at = own(np.arange(x.shape[0]))
    out[at + max(-k, 0), at + max(k, 0)] = x
    return out


@implements(np.trace)
def trace_(
    a: Any, offset: int = 0, axis1: int = 0, axis2: int = 1, dtype: Any = None
) -> Any:
    return np.sum(diagonal(a, offset, axis1, axis2), axis=-1, dtype=dtype)


@implements(np.linalg.trace)
def traces(x: Any, /, *, offset: int = 0, dtype: Any = None) -> Any:
    """Of each matrix of a stack."""
    return trace_(x, offset, -2, -1, dtype)


# --- copies and fields ------------------------------------------------------------


@implements(np.copy)
def copy(a: Any, order: Order = "K", subok: bool = False) -> Tracer:
    _, (x,) = lift(a)
    return x.copy(order)


def _like(value: int) -> Any:
    def rule(
        a: Any,
        dtype: Any = None,
        order: str = "K",
        subok: bool = True,
        shape: Any = None,
        *,
        device: Any = None,
    ) -> Tracer:
        return full_like(a, value, dtype, order, subok, shape)

    return rule


@implements(np.full_like)
def full_like(
    a: Any,
    fill_value: Any,
    dtype: Any = None,
    order: str = "K",
    subok: bool = True,
    shape: Any = None,
    *,
    device: Any = None,
) -> Tracer:
    trace, (x,) = lift(a)
    target = x.dtype if dtype is None else dt.canonical(dtype)
    sizes = x.shape if shape is None else np.empty(shape, np.bool_).shape
    value = trace.lift(fill_value)
    atom = broadcast_atom(trace.builder, value.convert(target), sizes)
    know = value.is_known and trace.may_know(int(np.prod(sizes)))
    asked = order if order != "K" or len(sizes) == x.ndim else "C"
    layout = ordered_layout(asked, x.shadow, atom.aval)
    known = np.full(sizes, value.shadow, target) if know else None
    if known is not None and layout is not None:
        known = np.full_like(layout, known)
    return trace.result(atom, known, layout)


zeros_like = implements(np.zeros_like, np.empty_like)(_like(0))
ones_like = implements(np.ones_like)(_like(1))


@implements(np.shape)
def shape_(a: Any) -> tuple[int, ...]:
    return lift(a)[1][0].shape


@implements(np.ndim)
def ndim(a: Any) -> int:
    return lift(a)[1][0].ndim


@implements(np.size)
def size(a: Any, axis: Any = None) -> int:
    (x,) = lift(a)[1]
    return x.size if axis is None else x.shape[axis]


@implements(np.astype)
def astype(x: Any, dtype: Any, /, *, copy: bool = True, device: Any = None) -> Any:
    return lift(x)[1][0].astype(dtype, copy=copy)


@implements(np.copyto)
def copyto(dst: Any, src: Any, casting: Any = "same_kind", where: Any = True) -> None:
    ufuncs.check_writable(dst)
    _, (value,) = lift(src)
    new: Any = value
    check_cast(value.dtype, dst.dtype, casting)
    if where is not True:
        check_truths(where)
        where = broadcast_to(where, dst.shape)
        if value.kind is not Kind.PYTHON:
            new = value.astype(dst.dtype, copy=False)  # and not what both promote to
        new = np.where(where, new, dst)
    dst[...] = new


def check_truths(where: Any) -> None:
    _, (mask,) = lift(where)
    check_cast(mask.dtype, dt.BOOL, "safe")


@implements(np.meshgrid)
def meshgrid(
    *xi: Any, copy: bool = True, sparse: bool = False, indexing: str = "xy"
) -> Any:
    if indexing not in ("xy", "ij"):
        raise ValueError("Valid values for `indexing` are 'xy' and 'ij'.")
    _, xs = lift(*xi)
    n = len(xs)
    axes = list(range(n))
    if indexing == "xy" and n > 1:
        axes[:2] = [1, 0]
    placed = [
        x.reshape(tuple(-1 if d == axes[i] else 1 for d in range(n)))
        for i, x in enumerate(xs)
    ]
    if sparse:
        return tuple(placed)
    shape = np.broadcast_shapes(*(p.shape for p in placed))
    return tuple(broadcast_to(p, shape).copy() for p in placed)


@implements(np.lib.stride_tricks.sliding_window_view)
def sliding_window_view(
    x: Any,
    window_shape: Any,
    axis: Any = None,
    *,
    subok: bool = False,
    writeable: bool = False,
) -> Any:
    _, (x,) = lift(x)
    sizes = window_shape if isinstance(window_shape, tuple | list) else (window_shape,)
    axes = range(x.ndim) if axis is None else axis
    axes = axes if isinstance(axes, tuple | list | range) else (axes,)
    windows = np.lib.stride_tricks.sliding_window_view
    windows(x.shadow, window_shape, axis)  # NumPy says what is wrong with them
    for n, d in zip(sizes, axes, strict=True):
        step = Windows(normalize_axis(d, x.ndim), operator.index(n))
        x = x.derive(step, windows(x.shadow, step.size, step.axis))
    return x


@implements(np.diagflat)
def diagflat(v: Any, k: int = 0) -> Any:
    return diag(ravel(v), k)


@implements(np.block)
def block(arrays: Any) -> Any:
    depth = _depth(arrays)
    ndim = max(depth, *(x.ndim for x in lift(*_leaves(arrays))[1]))
    return _join(arrays, depth, ndim)


def _depth(arrays: Any) -> int:
    return 1 + _depth(arrays[0]) if isinstance(arrays, list) else 0


def _leaves(arrays: Any) -> list[Any]:
    if not isinstance(arrays, list):
        return [arrays]
    return [leaf for a in arrays for leaf in _leaves(a)]


def _join(arrays: Any, depth: int, ndim: int) -> Any:
    if not isinstance(arrays, list):
        (x,) = lift(arrays)[1]
        return x.reshape((1,) * (ndim - x.ndim) + x.shape)
    return concatenate([_join(a, depth - 1, ndim) for a in arrays], -depth)
