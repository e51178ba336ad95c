"""The methods of ufuncs: reduce, accumulate, reduceat, outer, at.

Sums, products, extrema and truths are primitives. Any other ufunc of two operands is
applied as NumPy applies it, from the first element to the last; one whose order does
not matter is applied to halves instead, in as many steps as the length has bits.
"""

from collections.abc import Callable, Iterator
from typing import Any

import numpy as np

from ..ir.ops import reduce as red
from ..ir.primitive import Primitive
from . import functions, indexing, ufuncs
from .functions.registry import is_given, lift, normalize_axes, normalize_axis
from .storage import own
from .tracer import Tracer

REDUCTIONS: dict[np.ufunc, Callable[..., Any]] = {
    np.add: np.sum,
    np.multiply: np.prod,
    np.maximum: np.max,
    np.minimum: np.min,
}
ACCUMULATIONS: dict[np.ufunc, Primitive] = {
    np.add: red.cumsum_p,
    np.multiply: red.cumprod_p,
    np.maximum: red.cummax_p,
    np.minimum: red.cummin_p,
}
SCATTERS = {np.add: "add", np.multiply: "mul", np.maximum: "max", np.minimum: "min"}
# Any order of application gives the same, but for rounding.
ASSOCIATIVE = frozenset(
    {
        np.bitwise_and,
        np.bitwise_or,
        np.bitwise_xor,
        np.fmax,
        np.fmin,
        np.gcd,
        np.hypot,
        np.lcm,
        np.logaddexp,
        np.logaddexp2,
        np.logical_and,
        np.logical_or,
        np.logical_xor,
    }
)
# A trace of more steps than this would take seconds.
MOST_STEPS = 4096


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
    function = REDUCTIONS.get(ufunc)
    options = {"keepdims": keepdims, "initial": initial, "where": where}
    if function is not None and (dtype is None or ufunc in (np.add, np.multiply)):
        with_dtype = {} if dtype is None else {"dtype": dtype}
        given = {"axis": axis, **with_dtype, **options}
        return functions.dispatch(function, (array,), given)
    _, (x,) = lift(array)
    axes = normalize_axes(axis, x.ndim)
    _check_order(ufunc, axes)
    rows = _operand(ufunc, x, dtype)
    masks = None
    if where is not True:
        functions.reduce.check_mask(x.shape, where)
    if where is not True and ufunc.identity is not None:
        rows = functions.where(where, rows, rows.dtype.type(ufunc.identity))
    elif where is not True:
        masks = _one_axis(np.broadcast_to(lift(where)[1][0], x.shape), axes)
    if is_given(initial):
        initial = lift(initial)[1][0].astype(rows.dtype)
    total = _folded(ufunc, _one_axis(rows, axes), initial, masks)
    kept = tuple(1 if d in axes else n for d, n in enumerate(x.shape))
    return np.reshape(total, kept) if keepdims else total


def _one_axis(x: Any, axes: tuple[int, ...]) -> list[Any]:
    """The parts of an array that are reduced to one, in NumPy's order."""
    last = np.moveaxis(x, axes, tuple(range(-len(axes), 0)))
    return list(_parts(last.reshape((*last.shape[: x.ndim - len(axes)], -1))))


def _check_order(ufunc: np.ufunc, axes: tuple[int, ...]) -> None:
    if len(axes) > 1 and (ufunc not in ASSOCIATIVE or ufunc is np.lcm):
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
        given["signature"] = (None, None, np.dtype(dtype))
    loop = ufunc.resolve_dtypes((None, x.dtype, None), reduction=True, **given)
    if loop[0] != loop[1]:
        raise TypeError(
            f"the resolved dtypes are not compatible with {ufunc.__name__}.reduce. "
            f"Resolved {loop}"
        )
    return x.astype(loop[1], copy=False)


def _parts(x: Any) -> Iterator[Any]:
    """The elements along the last axis, one after the other; halves are not cut."""
    if x.shape[-1] > MOST_STEPS:
        raise ufuncs.unsupported(
            f"a ufunc's method over {x.shape[-1]} elements",
            "np.add, multiply, maximum and minimum, or tj.scan",
        )
    for k in range(x.shape[-1]):
        yield x[..., k]


def _folded(
    ufunc: np.ufunc, parts: list[Any], initial: Any, masks: list[Any] | None = None
) -> Any:
    """Apply a ufunc from the first part to the last, or in halves."""
    if masks is not None:
        return _folded_where(ufunc, parts, initial, masks)
    if is_given(initial):
        parts = [initial, *parts]
    if not parts:
        raise ufuncs.unsupported(f"np.{ufunc.__name__}.reduce of no elements")
    if ufunc not in ASSOCIATIVE:
        total = parts[0]
        for part in parts[1:]:
            total = ufunc(total, part)
        return total
    while len(parts) > 1:
        pairs = zip(parts[::2], parts[1::2], strict=False)
        rest = parts[len(parts) // 2 * 2 :]
        parts = [*(ufunc(a, b) for a, b in pairs), *rest]
    return parts[0]


def _folded_where(
    ufunc: np.ufunc, parts: list[Any], initial: Any, masks: list[Any]
) -> Any:
    if not is_given(initial):
        raise ValueError(
            f"reduction operation {ufunc.__name__!r} does not have an identity, so to "
            "use a where mask one has to specify 'initial'"
        )
    total = initial
    for part, mask in zip(parts, masks, strict=True):
        total = functions.where(mask, ufunc(total, part), total)
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
    rows = functions.shape.moveaxis(_operand(ufunc, x, dtype), axis, -1)
    parts: list[Any] = []
    for part in _parts(rows):
        parts.append(ufunc(parts[-1], part) if parts else part)
    return np.stack(parts, axis=axis) if parts else rows.copy()


def _reduceat(
    ufunc: np.ufunc, array: Any, indices: Any, axis: Any = 0, dtype: Any = None
) -> Any:
    """Each index to the next one; alone where the next one is not beyond."""
    _, (x,) = lift(array)
    d = normalize_axis(axis, x.ndim)
    n = x.shape[d]
    starts = _known_indices(ufunc, indices)
    if starts.size and not (starts.min() >= 0 and starts.max() < n):
        raise IndexError(
            f"index {starts.max()} out-of-bounds in {ufunc.__name__}.reduceat [0, {n})"
        )
    ends = np.append(starts[1:], n)
    pairs = zip(starts.tolist(), ends.tolist(), strict=True)
    lead = (slice(None),) * d
    parts = [
        _reduce(ufunc, x[(*lead, slice(a, max(z, a + 1)))], d, dtype) for a, z in pairs
    ]
    return np.stack(parts, axis=d)


def _known_indices(ufunc: np.ufunc, indices: Any) -> np.ndarray:
    if isinstance(indices, Tracer):
        if not indices.is_known:
            raise ufuncs.unsupported(f"np.{ufunc.__name__}.reduceat at traced indices")
        indices = indices.shadow
    return np.asarray(indices).astype(np.intp)


# --- outer and at -------------------------------------------------------------------


def _outer(ufunc: np.ufunc, first: Any, second: Any, **kwargs: Any) -> Any:
    _, (x, y) = lift(first, second)
    return ufunc(x.reshape(x.shape + (1,) * y.ndim), y, **kwargs)


def _at(ufunc: np.ufunc, x: Any, index: Any, *values: Any) -> None:
    ufuncs.check_writable(x)
    if ufunc in (np.subtract, *SCATTERS):
        (value,) = values
        add = ufunc is np.subtract
        value = np.negative(value) if add else value
        indexing.at(x, index, value, SCATTERS[np.add if add else ufunc])
        return
    items = index if isinstance(index, tuple) else (index,)
    if any(isinstance(i, Tracer) and not i.is_known for i in items):
        names = ", ".join(u.__name__ for u in (np.subtract, *SCATTERS))
        raise ufuncs.unsupported(f"np.{ufunc.__name__}.at at traced indices", names)
    places = np.arange(x.size).reshape(x.shape)[_known(index)]
    values = tuple(
        np.broadcast_to(lift(v)[1][0], places.shape).reshape(-1) for v in values
    )
    for turn in _turns(places.reshape(-1)):
        at = own(places.reshape(-1)[turn])
        operands = (v[own(turn)] for v in values)
        x.flat[at] = ufunc(x.reshape(-1)[at], *operands)


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
