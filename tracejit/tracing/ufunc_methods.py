"""The methods of ufuncs: reduce, accumulate, reduceat, outer, at.

Sums, products, extrema and truths are primitives. Any other ufunc of two operands is
applied as NumPy applies it, from the first element to the last, in a loop of the graph
where that takes many turns; one whose order does not matter is applied to halves
instead, in as many steps as the length has bits.
"""

import math
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import numpy as np

from ..ir import dtypes as dt
from ..ir.ops import reduce as red
from ..ir.primitive import Primitive
from . import functions, indexing, ufuncs
from .functions.registry import is_given, lift, normalize_axes, normalize_axis
from .rule_bodies import carried
from .storage import own
from .tracer import Tracer

REDUCTIONS: dict[np.ufunc, Callable[..., Any]] = {
    np.add: np.sum,
    np.multiply: np.prod,
    np.maximum: np.max,
    np.minimum: np.min,
}
TRUTHS: dict[np.ufunc, Callable[..., Any]] = {
    np.logical_and: np.all,
    np.logical_or: np.any,
}
ACCUMULATIONS: dict[np.ufunc, Primitive] = {
    np.add: red.cumsum_p,
    np.multiply: red.cumprod_p,
    np.maximum: red.cummax_p,
    np.minimum: red.cummin_p,
}
SCATTERS = {np.add: "add", np.multiply: "mul", np.maximum: "max", np.minimum: "min"}
# Any order of application gives the same, but for rounding. Not of lcm, which wraps.
ASSOCIATIVE = frozenset(
    {
        np.bitwise_and,
        np.bitwise_or,
        np.bitwise_xor,
        np.fmax,
        np.fmin,
        np.gcd,
        np.hypot,
        np.logaddexp,
        np.logaddexp2,
        np.logical_and,
        np.logical_or,
        np.logical_xor,
    }
)
IN_ANY_ORDER = ASSOCIATIVE | ACCUMULATIONS.keys()
# These pick elements or tell truths, whatever dtype the result is asked for in.
IN_ANY_DTYPE = frozenset(
    {
        *(np.maximum, np.minimum, np.fmax, np.fmin),
        *(np.logical_and, np.logical_or, np.logical_xor),
        *ufuncs.COMPARISONS,
    }
)
# Fewer steps than this are written out, and fuse with what is around them.
WRITTEN_OUT = 32
_FEW_PAIRS = 4096  # of an element and a piece: all are looked at


def call(
    ufunc: np.ufunc, method: str, inputs: tuple[Any, ...], kwargs: dict[str, Any]
) -> Any:
    """Trace ``ufunc.method(*inputs, **kwargs)``, without ``out=``.

    Raises
    ------
    UnsupportedError
    ValueError
        Where NumPy raises it.
    """
    return _METHODS[method](ufunc, *inputs, **kwargs)


# --- reduce -----------------------------------------------------------------------


def _reduce(
    ufunc: np.ufunc,
    array: Any,
    axis: Any = 0,
    dtype: Any = None,
    keepdims: Any = False,
    initial: Any = np._NoValue,
    where: Any = True,
) -> Any:
    if ufunc in TRUTHS and not is_given(initial) and dtype is None:
        given = {"axis": axis, "keepdims": keepdims, "where": where}
        return functions.dispatch(TRUTHS[ufunc], (array,), given)
    function = REDUCTIONS.get(ufunc)
    options = {"keepdims": keepdims, "initial": initial, "where": where}
    if function is not None and (dtype is None or ufunc in (np.add, np.multiply)):
        with_dtype = {} if dtype is None else {"dtype": dtype}
        given = {"axis": axis, **with_dtype, **options}
        return functions.dispatch(function, (array,), given)
    _, (x,) = lift(array)
    axes = normalize_axes(axis, x.ndim)
    _check_order(ufunc, axes)
    rows = _one_axis(_operand(ufunc, x, dtype), axes)
    if where is not True:
        functions.reduce.check_mask(x.shape, where)
        where = _one_axis(np.broadcast_to(lift(where)[1][0], x.shape), axes)
    total = _folded(ufunc, rows, initial, where)
    kept = tuple(1 if d in axes else n for d, n in enumerate(x.shape))
    return np.reshape(total, kept) if keepdims else total[()]


def _one_axis(x: Any, axes: tuple[int, ...]) -> Any:
    """Join the axes that are reduced, as the last one."""
    last = np.moveaxis(x, axes, tuple(range(-len(axes), 0)))
    lead = last.shape[: x.ndim - len(axes)]
    return last.reshape((*lead, math.prod(last.shape[len(lead) :])))


def _check_order(ufunc: np.ufunc, axes: tuple[int, ...]) -> None:
    if len(axes) > 1 and ufunc not in ASSOCIATIVE:
        raise ValueError(
            f"reduction operation {ufunc.__name__!r} is not reorderable, so at most "
            "one axis may be specified"
        )


def _operand(ufunc: np.ufunc, x: Tracer, dtype: Any) -> Tracer:
    """The array in the dtype of the loop that NumPy reduces it in."""
    if ufunc in (np.logical_and, np.logical_or, np.logical_xor):
        return x != 0
    given: dict[str, Any] = {}
    if dtype is not None:
        given["signature"] = (np.dtype(dtype), None, None)
    loop = ufunc.resolve_dtypes((None, x.dtype, None), reduction=True, **given)
    if loop[0] != loop[1]:
        raise TypeError(
            f"the resolved dtypes are not compatible with {ufunc.__name__}.reduce. "
            f"Resolved {loop}"
        )
    return x.astype(loop[1], copy=False)


def _folded(ufunc: np.ufunc, rows: Any, initial: Any, where: Any) -> Any:
    """Apply a ufunc to the elements along the last axis."""
    n = rows.shape[-1]
    if not is_given(initial) and (n < 2 or where is not True):
        initial = _identity(ufunc, n, where)
    if is_given(initial):
        initial = lift(initial)[1][0].astype(rows.dtype)
        initial = np.broadcast_to(initial, rows.shape[:-1])
    if not n:
        return initial
    if where is not True or ufunc not in ASSOCIATIVE:
        return _in_order(ufunc, rows, initial, where)
    total = _by_halves(ufunc, rows)
    return ufunc(initial, total) if is_given(initial) else total


def _identity(ufunc: np.ufunc, n: int, where: Any) -> Any:
    """What a reduction starts with, if there is such a number."""
    if ufunc.identity is not None:
        return np.asarray(ufunc.identity)[()]
    if where is not True:
        raise ValueError(
            f"reduction operation {ufunc.__name__!r} does not have an identity, so to "
            "use a where mask one has to specify 'initial'"
        )
    if not n:
        raise ValueError(
            f"zero-size array to reduction operation {ufunc.__name__} which has no "
            "identity"
        )
    return np._NoValue


def _by_halves(ufunc: np.ufunc, rows: Any) -> Any:
    while rows.shape[-1] > 1:
        n = rows.shape[-1] // 2 * 2
        pairs = ufunc(rows[..., :n:2], rows[..., 1:n:2])
        odd = rows[..., n:]
        rows = np.concatenate([pairs, odd], axis=-1) if odd.shape[-1] else pairs
    return rows[..., 0]


def _in_order(ufunc: np.ufunc, rows: Any, initial: Any, where: Any) -> Any:
    """Apply a ufunc from the first element to the last, where a mask holds."""
    masks = [] if where is True else [where]

    def turn(total: Any, x: Any, *mask: Any) -> Any:
        new = ufunc(total, x)
        return functions.where(*mask, new, total) if mask else new

    total, *xs = initial, rows, *masks
    if not is_given(initial):
        total, xs = rows[..., 0], [rows[..., 1:]]
    return _turned(turn, total, [functions.shape.moveaxis(x, -1, 0) for x in xs])


def _turned(turn: Callable[..., Any], total: Any, xs: Sequence[Any]) -> Any:
    n = xs[0].shape[0]
    if n > WRITTEN_OUT:
        return carried(turn, lift(total)[1][0], xs)
    for k in range(n):
        total = turn(total, *(x[k] for x in xs))
    return total


# --- accumulate and reduceat --------------------------------------------------------


def _accumulate(ufunc: np.ufunc, array: Any, axis: int = 0, dtype: Any = None) -> Any:
    _, (x,) = lift(array)
    primitive = ACCUMULATIONS.get(ufunc)
    if primitive is not None:
        adds = ufunc in (np.add, np.multiply)
        widened = functions.reduce.accumulator(x.dtype) if adds else x.dtype
        target = widened if dtype is None else dtype
        return functions.reduce.cumulative(x, primitive, axis, target)
    rows = functions.shape.moveaxis(_operand(ufunc, x, dtype), axis, 0)
    parts = [rows[k] for k in range(min(rows.shape[0], WRITTEN_OUT))]
    for k, part in enumerate(parts[1:]):
        parts[k + 1] = ufunc(parts[k], part)
    if not parts:
        return functions.shape.moveaxis(rows.copy(), 0, axis)
    found = functions.stack(parts)
    if rows.shape[0] > WRITTEN_OUT:
        rest = carried(ufunc, lift(parts[-1])[1][0], [rows[WRITTEN_OUT:]], stacks=True)
        found = np.concatenate([found, rest])
    return functions.shape.moveaxis(found, 0, axis)


def _reduceat(
    ufunc: np.ufunc, array: Any, indices: Any, axis: Any = 0, dtype: Any = None
) -> Any:
    """Each index to the next one; alone where the next one is not beyond."""
    _, (x, at) = lift(array, indices)
    d = normalize_axis(axis, x.ndim)
    n = x.shape[d]
    at = at.astype(np.int64, casting="safe", copy=False)
    if at.ndim != 1:
        raise ValueError(f"indices of {ufunc.__name__}.reduceat have {at.ndim} axes")
    if not at.is_known:
        return _reduceat_traced(ufunc, x, at, d, dtype)
    starts = at.shadow
    outside = starts[(starts < 0) | (starts >= n)]
    if outside.size:
        raise IndexError(
            f"index {outside[0]} out-of-bounds in {ufunc.__name__}.reduceat [0, {n})"
        )
    steps = np.unique(np.diff(starts))
    if steps.size == 1 and steps[0] > 0:
        return _reduceat_evenly(ufunc, x, d, dtype, starts)
    if starts.size > WRITTEN_OUT and ufunc in IN_ANY_ORDER:
        return _reduceat_traced(ufunc, x, at, d, dtype)
    ends = np.append(starts[1:], n)
    pairs = zip(starts.tolist(), ends.tolist(), strict=True)
    lead = (slice(None),) * d
    pieces = [x[(*lead, slice(a, max(z, a + 1)))] for a, z in pairs]
    parts = [_reduce(ufunc, piece, d, dtype, **_nothing(ufunc, x)) for piece in pieces]
    return np.stack(parts, axis=d)


def _reduceat_evenly(
    ufunc: np.ufunc, x: Tracer, axis: int, dtype: Any, starts: np.ndarray
) -> Any:
    """Reduce pieces of one length, of which the last may have another."""
    n, first, step = x.shape[axis], int(starts[0]), int(starts[1] - starts[0])
    count = starts.size - (first + starts.size * step != n)
    lead = (slice(None),) * axis
    start = _nothing(ufunc, x)
    pieces = x[(*lead, slice(first, first + count * step))]
    shape = (*x.shape[:axis], count, step, *x.shape[axis + 1 :])
    found = _reduce(ufunc, pieces.reshape(shape), axis + 1, dtype, **start)
    if count == starts.size:
        return found
    last = x[(*lead, slice(first + count * step, n))]
    rest = _reduce(ufunc, last, axis, dtype, keepdims=True, **start)
    return np.concatenate([found, rest], axis)


def _nothing(ufunc: np.ufunc, x: Tracer) -> dict[str, float]:
    """Sums start at 0.0; these start with their first element, which may be -0.0."""
    return {"initial": -0.0} if ufunc == np.add and dt.is_float(x.dtype) else {}


def _reduceat_traced(
    ufunc: np.ufunc, x: Tracer, starts: Tracer, axis: int, dtype: Any
) -> Any:
    """Reduce pieces that begin anywhere, as the graph has no lengths."""
    n = x.shape[axis]
    functions.require(
        (starts >= 0) & (starts < n),
        f"an index is out-of-bounds in {ufunc.__name__}.reduceat [0, {n})",
        IndexError,
    )
    ends = np.append(starts[1:], n)
    if ufunc not in ACCUMULATIONS:
        x = _operand(ufunc, x, dtype)
    rows = functions.shape.moveaxis(x, axis, -1)
    is_few = n * starts.size <= _FEW_PAIRS
    if is_few or ufunc not in IN_ANY_ORDER:
        found = _under_masks(ufunc, rows, starts, ends, dtype)
    else:
        found = _by_levels(ufunc, rows, starts, ends, dtype)
    return functions.shape.moveaxis(found, -1, axis)


def _under_masks(
    ufunc: np.ufunc, rows: Any, starts: Tracer, ends: Any, dtype: Any
) -> Any:
    """All of a row for each piece."""
    n = rows.shape[-1]
    place, start = own(np.arange(n)), starts[:, None]
    follows = (place > start) & (place < ends[:, None])
    first = np.take(rows, starts, -1, mode="clip")
    wide = np.broadcast_to(rows[..., None, :], (*first.shape, n))
    if ufunc not in ACCUMULATIONS:
        return _folded(ufunc, wide, first, follows)
    if ufunc in (np.add, np.multiply):
        counts = follows | (place == start)
        return _reduce(ufunc, wide, -1, dtype, where=counts, **_nothing(ufunc, rows))
    wide = functions.where(follows, wide, first[..., None])
    return _reduce(ufunc, wide, -1, dtype)


def _by_levels(
    ufunc: np.ufunc, rows: Any, starts: Tracer, ends: Any, dtype: Any
) -> Any:
    """Pieces from pairs of elements, pairs of pairs, and so on: a segment tree.

    At each level a piece has at most one node of its own at either end; what is between
    is whole nodes of the next level.
    """
    result = rows.dtype
    if ufunc in (np.add, np.multiply):
        result = np.dtype(dtype or functions.reduce.accumulator(rows.dtype))
        is_narrow = dt.is_float(result) and result.itemsize < 4
        rows = rows.astype(np.float32 if is_narrow else result)
    total = np.take(rows, starts, -1, mode="clip")
    low, high = starts + 1, ends
    while rows.shape[-1]:
        for is_low in (True, False):
            at = low if is_low else high - 1
            is_own = (low < high) & (at % 2 == int(is_low))
            node = np.take(rows, at, -1, mode="clip")
            total = functions.where(is_own, ufunc(total, node), total)
            low, high = (low + is_own, high) if is_low else (low, high - is_own)
        low, high = low // 2, high // 2
        whole = rows.shape[-1] // 2 * 2
        rows = ufunc(rows[..., :whole:2], rows[..., 1:whole:2])
    return total.astype(result)


# --- outer and at -------------------------------------------------------------------


def _outer(ufunc: np.ufunc, first: Any, second: Any, **kwargs: Any) -> Any:
    _, (x, y) = lift(first, second)
    return ufunc(x.reshape(x.shape + (1,) * y.ndim), y, **kwargs)


def _at(ufunc: np.ufunc, x: Any, index: Any, *values: Any) -> None:
    ufuncs.check_writable(x)
    if ufunc in (np.subtract, *SCATTERS):
        (value,) = values
        add = ufunc == np.subtract
        value = np.negative(value) if add else value
        indexing.at(x, index, value, SCATTERS[np.add if add else ufunc])
        return
    items = index if isinstance(index, tuple) else (index,)
    if any(isinstance(i, Tracer) and not i.is_known for i in items):
        _at_traced(ufunc, x, index, values)
        return
    places = np.arange(x.size).reshape(x.shape)[_known(index)]
    values = tuple(
        np.broadcast_to(lift(v)[1][0], places.shape).reshape(-1) for v in values
    )
    for turn in _turns(places.reshape(-1)):
        at = own(places.reshape(-1)[turn])
        operands = (v[own(turn)] for v in values)
        x.flat[at] = ufunc(x.reshape(-1)[at], *operands)


def _at_traced(ufunc: np.ufunc, x: Tracer, index: Any, values: tuple[Any, ...]) -> None:
    """One place after the other, in a loop that carries the array."""
    numbers = own(np.arange(x.size).reshape(x.shape))
    places = x.home.lift(numbers)[index]
    if not isinstance(places, Tracer):
        raise ufuncs.unsupported(
            f"np.{ufunc.__name__}.at at a traced mask", "x[mask] = ufunc(x[mask], ...)"
        )
    values = tuple(np.broadcast_to(lift(v)[1][0], places.shape) for v in values)

    def turn(flat: Any, place: Any, *operands: Any) -> Any:
        flat[place] = ufunc(flat[place], *operands)
        return flat

    xs = [v.reshape(-1) for v in (places, *values)]
    x[...] = carried(turn, x.reshape(-1), xs).reshape(x.shape)


def _known(index: Any) -> Any:
    if isinstance(index, tuple):
        return tuple(_known(i) for i in index)
    return index.shadow if isinstance(index, Tracer) else index


def _turns(places: np.ndarray) -> Iterator[np.ndarray]:
    """Positions of the first mention of each place, then of the second, and so on."""
    order = np.argsort(places, kind="stable")
    ordered = places[order]
    is_first = np.ones(places.size, np.bool_)
    is_first[1:] = ordered[1:] != ordered[:-1]
    starts = np.flatnonzero(is_first)
    sizes = np.diff(np.append(starts, places.size))
    rank = np.arange(places.size) - np.repeat(starts, sizes)
    for turn in range(int(sizes.max(initial=0))):
        yield np.sort(order[rank == turn])


_METHODS: dict[str, Callable[..., Any]] = {
    "reduce": _reduce,
    "accumulate": _accumulate,
    "reduceat": _reduceat,
    "outer": _outer,
    "at": _at,
}
