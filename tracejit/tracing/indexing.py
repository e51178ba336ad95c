"""Indexing: `x[i]` and `x[i] = v` for every form of index.

An index is split into its *basic* part (ints, slices, new axes: a view) and its
*advanced* part (integer arrays: a gather or scatter). Boolean masks of known value are
turned into integer arrays; others can only be assigned through.
"""

from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np

from ..errors import IndexRangeError, ShapeError, UnsupportedError
from ..ir import dtypes as dt
from ..ir.aval import ShapedArray
from ..ir.graph import Atom
from ..ir.ops.elementwise import select_p
from ..ir.ops.indexing import gather_p, scatter_p
from ..ir.ops.shape import broadcast_to, reshape, transpose_p
from ..records import dataclass
from . import layouts
from .creation import call
from .masked import Masked, unsupported_mask
from .source import user_line
from .storage import Kind, own
from .trace import trace_of
from .tracer import Tracer
from .views import Strided

Array = np.ndarray
_INDICES: dict[bool, tuple[Any, ...]] = {False: (), True: (np.intp,)}  # by emptiness


@dataclass(frozen=True)
class Advanced:
    """The advanced part of an index.

    Parameters
    ----------
    axes : tuple of int
        Axes of the basic view that are indexed.
    indices : tuple of Tracer
        One integer array each, broadcast to one shape.
    at : int
        Where the axes of the indices go in the result.
    """

    axes: tuple[int, ...]
    indices: tuple[Tracer, ...]
    at: int


def get(x: Tracer, index: Any) -> Any:
    """Return ``x[index]``: a view, a scalar or a gathered copy."""
    items = _as_tuple(index)
    x = trace_of([x, *items]).lift(x)
    if not any(_is_advanced(i) for i in items):
        return _basic(x, items)
    mask = _unknown_mask(items)
    if mask is not None:
        if not _are_adjacent(expand_ellipsis(items, x.ndim)):
            raise _beside_others()
        view, axis = _beside_mask(x, items, mask)
        return Masked(view, mask, axis)
    view, advanced = _split(*_without_truths(x, items))
    return _gather(view, advanced)


def set_item(x: Tracer, index: Any, value: object) -> None:
    """Carry out ``x[index] = value``."""
    items = _as_tuple(index)
    trace = x.home
    trace.check_innermost()
    if isinstance(value, Masked):
        _set_selection(x, items, value)
        return
    new = trace.lift(value)
    if not any(_is_advanced(i) for i in items):
        target = _basic(x, items, keep_view=True)
        _check_assignable(new.shape, target.shape)
        target.assign(_drop_leading_ones(new, target.ndim))
        return
    mask = _unknown_mask(items)
    if mask is not None:
        _set_masked(*_beside_mask(x, items, mask), mask, new)
        return
    view, advanced = _split(*_without_truths(x, items))
    _scatter(view, advanced, new, "set")


def at(x: Tracer, index: Any, value: object, op: str) -> None:
    """Carry out ``ufunc.at(x, index, value)`` for op add, mul, max or min."""
    items = _as_tuple(index)
    x.home.check_innermost()
    new = x.home.lift(value)
    if not any(_is_advanced(i) for i in items):
        items = (own(np.asarray(items[0])), *items[1:])
    view, advanced = _split(*_without_truths(x, items))
    _scatter(view, advanced, new, op)


def _as_tuple(index: Any) -> tuple[Any, ...]:
    """Return the items of an index; tuples and lists in it stand for arrays."""
    items = index if type(index) is tuple else (index,)
    return tuple(
        call(np.asarray, i, *_INDICES[not i]) if type(i) in (list, tuple) else i
        for i in items
    )


def _is_advanced(item: object) -> bool:
    """Tell whether an index item is an array (or stands for one)."""
    if isinstance(item, np.bool_ | bool):
        return True
    if isinstance(item, Tracer):
        is_int = not item.ndim and item.dtype.kind in "iu"
        return not (is_int and item.is_known)
    return isinstance(item, np.ndarray) and not (
        item.ndim == 0 and item.dtype.kind in "iu"
    )


def _is_mask(item: object) -> bool:
    if isinstance(item, bool | np.bool_):
        return True
    return bool(getattr(item, "dtype", None) == dt.BOOL)


def _unknown_mask(items: tuple[Any, ...]) -> Tracer | None:
    for item in items:
        if _is_mask(item) and not getattr(item, "is_known", True):
            return item  # type: ignore[no-any-return]
    return None


def _beside_mask(x: Tracer, items: tuple[Any, ...], mask: Tracer) -> tuple[Tracer, int]:
    """Return what a traced mask selects from, and the first axis that it is of."""
    others = [i for i in items if i is not mask]
    if any(_is_advanced(i) for i in others):
        raise _beside_others()
    expanded = expand_ellipsis(items, x.ndim)
    at_ = next(k for k, i in enumerate(expanded) if i is mask)
    before, after = expanded[:at_], expanded[at_ + 1 :]
    if len(expanded) > 1:
        basic = (*before, *(slice(None),) * mask.ndim, *after)
        x = _basic(x, basic, keep_view=True)
    axis = sum(i is None or isinstance(i, slice) for i in before)
    extent = x.shape[axis : axis + mask.ndim]
    if mask.shape != extent:
        raise IndexRangeError(
            f"boolean index of shape {mask.shape} did not match indexed array along "
            f"axes of shape {extent}",
            source=user_line(),
        )
    return x, axis


def _are_adjacent(items: Sequence[Any]) -> bool:
    """Tell whether the result has their axes where theirs were, not in front."""
    places = [k for k, i in enumerate(items) if not (i is None or isinstance(i, slice))]
    return places == list(range(places[0], places[-1] + 1))


def _beside_others() -> UnsupportedError:
    return UnsupportedError(
        "a traced boolean mask beside other indices is not traced",
        source=user_line(),
        hint="index first, then assign through the mask with np.where",
    )


def _without_truths(
    x: Tracer, items: tuple[Any, ...]
) -> tuple[Tracer, tuple[Any, ...]]:
    """``x[True]`` is ``x[None][[0]]``, and ``x[False]`` is ``x[None][[]]``."""
    if not any(_is_mask(i) and not np.ndim(i) for i in items):
        return x, items
    view, indices = list[Any](), list[Any]()
    for item in expand_ellipsis(items, x.ndim):
        is_truth = _is_mask(item) and not np.ndim(item)
        truth = np.atleast_1d(getattr(item, "shadow", item)) if is_truth else item
        view += [None] if is_truth else [slice(None)] * _consumed(item)
        indices.append(own(np.flatnonzero(truth)) if is_truth else item)
    return _basic(x, tuple(view), keep_view=True), tuple(indices)


# --- basic ------------------------------------------------------------------------


def _basic(x: Tracer, items: tuple[Any, ...], keep_view: bool = False) -> Tracer:
    items = tuple(_plain(i) for i in items)
    has_dots = any(i is Ellipsis for i in items)
    try:  # a view, never an element: a shadow may be an address on a device
        shadow = x.shadow[items if has_dots else (*items, ...)]
    except IndexError as error:
        raise IndexRangeError(str(error), source=user_line()) from None
    is_scalar = not has_dots and not shadow.ndim
    view = x.derive(_strided(x.shape, items), shadow)
    return view.as_scalar() if is_scalar and not keep_view else view


def _plain(item: Any) -> Any:
    """Ints of any type become int; slices of tracers ask for their values."""
    if isinstance(item, slice):
        parts = (item.start, item.stop, item.step)
        return slice(*(p if p is None else p.__index__() for p in parts))
    if item is None or item is Ellipsis:
        return item
    if isinstance(item, str) or not hasattr(item, "__index__"):
        raise IndexError(
            "only integers, slices (`:`), ellipsis (`...`), numpy.newaxis (`None`) and "
            "integer or boolean arrays are valid indices"
        )
    return item.__index__()


def expand_ellipsis(items: Sequence[Any], ndim: int) -> list[Any]:
    """Return the items with the ellipsis, or a final one, spelt out as slices."""
    used = sum(_consumed(i) for i in items)
    if used > ndim:
        raise IndexRangeError(
            f"too many indices for array: array is {ndim}-dimensional, but {used} "
            "were indexed",
            source=user_line(),
        )
    fill = [slice(None)] * (ndim - used)
    at_ = next((i for i, x in enumerate(items) if x is Ellipsis), len(items))
    return [*items[:at_], *fill, *items[at_ + 1 :]]


def _consumed(item: Any) -> int:
    """Axes an index item uses up."""
    if item is None or item is Ellipsis:
        return 0
    if _is_mask(item):
        return np.ndim(item)
    return 1


def _strided(shape: tuple[int, ...], items: tuple[Any, ...]) -> Strided:
    rows: list[tuple[int, int, int, bool]] = []
    out: list[int] = []
    sizes = iter(shape)
    for item in expand_ellipsis(items, len(shape)):
        if item is None:
            out.append(1)
            continue
        n = next(sizes)
        if isinstance(item, slice):
            row = _slice_row(item, n)
            out.append(row[2])
        else:
            row = (item + n if item < 0 else item, 1, 1, False)
        rows.append(row)
    start, stride, count, backwards = zip(*rows, strict=True) if rows else ((),) * 4
    reversed_ = tuple(d for d, r in enumerate(backwards) if r)
    return Strided(start, stride, count, reversed_, tuple(out))


def _slice_row(item: slice, n: int) -> tuple[int, int, int, bool]:
    start, stop, step = item.indices(n)
    count = len(range(start, stop, step))
    if not count:
        return 0, 1, 0, False
    if step > 0:
        return start, step, count, False
    return start + (count - 1) * step, -step, count, True


# --- advanced ---------------------------------------------------------------------


def _split(x: Tracer, items: tuple[Any, ...]) -> tuple[Tracer, Advanced]:
    """Take the basic part as a view; return it with the advanced part."""
    expanded = list(_arrays_of_masks(x, expand_ellipsis(items, x.ndim)))
    is_array = [not (i is None or isinstance(i, slice)) for i in expanded]
    basic = tuple(
        slice(None) if a else i for i, a in zip(expanded, is_array, strict=True)
    )
    view = _basic(x, basic, keep_view=True)
    axes = tuple(d for d, a in enumerate(is_array) if a)
    trace = x.home
    lifted = [
        trace.lift(i) for i in expanded if not (i is None or isinstance(i, slice))
    ]
    for axis, index in zip(axes, lifted, strict=True):
        _check_known_index(index, view.shape[axis], axis)
    at_ = axes[0] if _are_adjacent(expanded) else 0
    return view, Advanced(axes, tuple(lifted), at_)


def _arrays_of_masks(x: Tracer, items: list[Any]) -> Iterator[Any]:
    axis = 0
    for item in items:
        if _is_mask(item):
            mask = np.asarray(getattr(item, "shadow", item))
            extent = x.shape[axis : axis + mask.ndim]
            if mask.shape != extent:
                raise IndexRangeError(
                    f"boolean index of shape {mask.shape} did not match indexed array "
                    f"along axes of shape {extent}",
                    source=user_line(),
                )
            yield from (own(i) for i in np.nonzero(mask))
            axis += mask.ndim
            continue
        axis += item is not None
        yield item


def _check_known_index(index: Tracer, extent: int, axis: int) -> None:
    if index.dtype.kind not in "iu" and index.size:
        raise IndexError("arrays used as indices must be of integer (or boolean) type")
    if not index.is_known:
        return
    values = index.shadow
    bad = (values < -extent) | (values >= extent)
    if bad.any():
        raise IndexRangeError(
            f"index {values[bad].flat[0]} is out of bounds for axis {axis} with size "
            f"{extent}",
            source=user_line(),
        )


def _index_atoms(
    view: Tracer, advanced: Advanced
) -> tuple[list[Atom], tuple[int, ...], str]:
    """Indices of one shape and dtype, that shape, and the bounds mode."""
    trace = view.home
    try:
        shape = np.broadcast_shapes(*(i.shape for i in advanced.indices))
    except ValueError:
        shapes = " ".join(str(i.shape) for i in advanced.indices)
        raise IndexRangeError(
            "shape mismatch: indexing arrays could not be broadcast together with "
            f"shapes {shapes}",
            source=user_line(),
        ) from None
    atoms = []
    safe = True
    for axis, index in zip(advanced.axes, advanced.indices, strict=True):
        if index.is_known:
            wide = np.asarray(index.shadow).astype(np.int64)  # extents may not fit int8
            wrapped = np.where(wide < 0, wide + view.shape[axis], wide)
            index = trace.constant(wrapped, born_here=True)
        else:
            safe = False
        atom = index.convert(dt.INT64)
        atoms.append(broadcast_to(trace.builder, atom, shape))
    return atoms, shape, "clip" if safe else "raise"


def _gather(view: Tracer, advanced: Advanced) -> Tracer:
    trace = view.home
    atoms, shape, mode = _index_atoms(view, advanced)
    out = trace.emit(
        gather_p, view.read(), *atoms, axes=advanced.axes, batch=0, mode=mode
    )
    n = len(shape)
    if advanced.at and n:
        out = trace.emit(transpose_p, out, perm=_place(advanced.at, n, out.aval.ndim))
    known = _known_gather(view, advanced)
    kind = Kind.ARRAY if out.aval.shape else Kind.SCALAR
    return trace.result(out, known, _gathered_layout(view, advanced, n), kind)


def _gathered_layout(view: Tracer, advanced: Advanced, n: int) -> Array | None:
    """NumPy lays the axes of the indices outermost, then the rest as in the source.

    Several index arrays that pick single elements are gone through in their own order.
    """
    rest = [d for d in range(view.ndim) if d not in advanced.axes]
    first = tuple(0 if d in advanced.axes else slice(None) for d in range(view.ndim))
    inner = np.asarray(view.shadow[(*first, ...)]) if 0 not in view.shape else None
    if inner is None:
        return None
    shape = np.broadcast_shapes(*(i.shape for i in advanced.indices))
    aval = ShapedArray((*shape, *(view.shape[d] for d in rest)), view.dtype)
    outer = [*range(n)]
    if len(advanced.indices) > 1 and not rest:
        outer = layouts.result_layout([i.shadow for i in advanced.indices], shape)
    order = (*outer, *(n + d for d in layouts.copied_order(inner)))
    blank = layouts.layout_of(order, aval)
    if advanced.at and n:
        blank = blank.transpose(_place(advanced.at, n, blank.ndim))
    return blank


def _place(at_: int, n: int, ndim: int) -> tuple[int, ...]:
    """Permutation that moves `n` leading axes to position `at_`."""
    return (*range(n, n + at_), *range(n), *range(n + at_, ndim))


def _known_gather(view: Tracer, advanced: Advanced) -> Array | None:
    if not view.is_known or not all(i.is_known for i in advanced.indices):
        return None
    return np.array(view.shadow[_shadow_index(view, advanced)])


def _shadow_index(view: Tracer, advanced: Advanced) -> tuple[Any, ...]:
    index: list[Any] = [slice(None)] * view.ndim
    for axis, i in zip(advanced.axes, advanced.indices, strict=True):
        index[axis] = i.shadow
    return tuple(index)


def _scatter(view: Tracer, advanced: Advanced, new: Tracer, op: str) -> None:
    trace = view.home
    atoms, shape, mode = _index_atoms(view, advanced)
    rest = [n for d, n in enumerate(view.shape) if d not in advanced.axes]
    at_ = advanced.at
    target = (*rest[:at_], *shape, *rest[at_:])
    _check_assignable(new.shape, target)
    new = _drop_leading_ones(new, len(target))
    value = broadcast_to(trace.builder, new.convert(view.dtype), target)
    if at_ and shape:
        back = np.argsort(_place(at_, len(shape), len(target)))
        value = trace.emit(transpose_p, value, perm=tuple(int(i) for i in back))
    out = trace.emit(
        scatter_p,
        view.read(),
        value,
        *atoms,
        axes=advanced.axes,
        batch=0,
        mode=mode,
        op=op,
    )
    view.write(out, _known_scatter(view, advanced, new, op))


def _known_scatter(
    view: Tracer, advanced: Advanced, new: Tracer, op: str
) -> Array | None:
    known = view.is_known and new.is_known and all(i.is_known for i in advanced.indices)
    if not known or op != "set":
        return None
    copy = view.shadow.copy()
    copy[_shadow_index(view, advanced)] = new.shadow
    return copy


def _set_selection(x: Tracer, items: tuple[Any, ...], value: Masked) -> None:
    """``x[mask] = selection`` by the same mask."""
    mask = _unknown_mask(items)
    if mask is None:
        raise unsupported_mask()
    view, axis = _beside_mask(x, items, mask)
    if not value.is_of(mask, axis) or value.full.shape != view.shape:
        raise unsupported_mask()
    _select(view, axis, mask, value.full.convert(x.dtype))


def _select(x: Tracer, axis: int, mask: Tracer, new: Atom) -> None:
    """Set `x`, of which the mask is axes, to elements of `new` where that is true."""
    rest = (1,) * (x.ndim - axis - mask.ndim)
    b = x.home.builder
    full = broadcast_to(b, reshape(b, mask.read(), (*mask.shape, *rest)), x.shape)
    x.write(x.home.emit(select_p, full, new, x.read()), None)


def _set_masked(x: Tracer, axis: int, mask: Tracer, new: Tracer) -> None:
    """``x[mask] = v`` for a scalar `v`, or one broadcast over the axes behind it."""
    rest = x.shape[axis + mask.ndim :]
    if new.ndim > len(rest):
        raise UnsupportedError(
            f"assigning values of shape {new.shape} through a traced mask of shape "
            f"{mask.shape} depends on how many are true",
            source=user_line(),
            hint="assign a scalar, or write x[...] = np.where(mask, values, x) with "
            "values of the shape of x",
        )
    b = x.home.builder
    value = broadcast_to(b, new.convert(x.dtype), rest)
    _select(x, axis, mask, broadcast_to(b, value, x.shape))


def _check_assignable(shape: tuple[int, ...], target: tuple[int, ...]) -> None:
    while len(shape) > len(target) and shape[0] == 1:
        shape = shape[1:]
    lead = len(target) - len(shape)
    fits = lead >= 0 and all(
        n in (1, m) for n, m in zip(shape, target[lead:], strict=True)
    )
    if not fits:
        raise ShapeError(
            f"could not broadcast input array from shape {shape} into shape {target}",
            source=user_line(),
            hint="give the value the shape of what it is assigned to",
        )


def _drop_leading_ones(x: Tracer, ndim: int) -> Tracer:
    """NumPy lets an assigned value have more axes when the extra ones are 1."""
    while x.ndim > ndim:
        x = x[0]
    return x
