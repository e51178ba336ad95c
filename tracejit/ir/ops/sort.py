"""Sorting along one axis, of all or of what comes to some places.

``kth`` and ``argkth`` are slices of ``sort`` and ``argsort``, one after another:

    kth %x {axis=0, places=((0, 2), (9, 10))}   the first two of ten, and the last
"""

from collections.abc import Sequence

import numpy as np

from ...errors import ShapeError
from .. import dtypes as dt
from ..aval import ShapedArray
from ..builder import Builder
from ..graph import Atom
from ..primitive import ParamKind, Params, Primitive, register, shifted
from .indexing import gather_p
from .shape import inverse_permutation, transpose_p

Atoms = Sequence[Atom | None]
Places = tuple[tuple[int, int], ...]  # ranges, of which none begins in another


def _sort_eval(x: ShapedArray, axis: int) -> ShapedArray:
    if not 0 <= axis < x.ndim:
        raise ShapeError(f"cannot sort {x} along axis {axis}")
    return x


def _argsort_eval(x: ShapedArray, axis: int) -> ShapedArray:
    return _sort_eval(x, axis).with_dtype(dt.INT64)


def take_along(b: Builder, x: Atom, index: Atom, axis: int) -> Atom:
    """``np.take_along_axis`` for an index of the extents of `x` but along `axis`."""
    last = x.aval.ndim - 1
    order = (*(d for d in range(last + 1) if d != axis), axis)
    rows = [
        v if axis == last else b.emit(transpose_p, v, perm=order) for v in (x, index)
    ]
    out = b.emit(gather_p, *rows, axes=(last,), batch=last, mode="clip")
    if axis == last:
        return out
    return b.emit(transpose_p, out, perm=inverse_permutation(order))


def _sort_jvp(
    b: Builder,
    tangents: Atoms,
    outs: Sequence[Atom],
    ins: Sequence[Atom],
    params: Params,
) -> Atoms:
    axis = params["axis"]
    assert isinstance(axis, int)
    assert tangents[0] is not None
    order = b.emit(argkth_p if "places" in params else argsort_p, ins[0], **params)
    return (take_along(b, tangents[0], order, axis),)


def picked(places: object, length: int) -> int:
    """Return how many places there are.

    Parameters
    ----------
    places : tuple of (int, int)
        Ranges, of which each begins behind the one before it.
    length : int
        Of the axis.

    Raises
    ------
    ShapeError
        Where they are no such ranges.
    """
    total = end = 0
    assert isinstance(places, tuple)
    for start, stop in places:
        if not end <= start < stop <= length:
            raise ShapeError(f"no ranges in order of an axis of {length}: {places}")
        total, end = total + stop - start, stop
    return total


def _kth_eval(x: ShapedArray, axis: int, places: object) -> ShapedArray:
    shape = list(_sort_eval(x, axis).shape)
    shape[axis] = picked(places, shape[axis])
    return x.with_shape(tuple(shape))


def _argkth_eval(x: ShapedArray, axis: int, places: object) -> ShapedArray:
    return _kth_eval(x, axis, places).with_dtype(dt.INT64)


def _at(x: np.ndarray, axis: int, places: Places) -> np.ndarray:
    index = np.concatenate([np.arange(*ends) for ends in places])
    return np.take(x, index, axis)


def _comparable(x: np.ndarray) -> np.ndarray:
    """Return an array that NumPy sorts right: bfloat16 and float8 as float32.

    Their own comparison finds what is no number equal to everything.
    """
    is_ours = x.dtype in dt.NARROW_FLOATS and x.dtype != dt.FLOAT16
    return x.astype(np.float32) if is_ours else x


def _sorted(x: np.ndarray, axis: int) -> np.ndarray:
    # Of equal values the order shows nowhere: NumPy's fastest way will do.
    return np.sort(_comparable(x), axis=axis).astype(x.dtype, copy=False)


def _argsorted(x: np.ndarray, axis: int) -> np.ndarray:
    return np.argsort(_comparable(x), axis=axis, kind="stable")


sort_p: Primitive = register(
    Primitive(
        "sort",
        _sort_eval,
        _sorted,
        params={"axis": ParamKind.INT},
        jvp=_sort_jvp,
        batch=shifted("axis"),
    )
)
argsort_p: Primitive = register(
    Primitive(
        "argsort",
        _argsort_eval,
        _argsorted,
        params={"axis": ParamKind.INT},
        batch=shifted("axis"),
        nondifferentiable=True,
    )
)
kth_p: Primitive = register(
    Primitive(
        "kth",
        _kth_eval,
        lambda x, axis, places: _at(_sorted(x, axis), axis, places),
        params={"axis": ParamKind.INT, "places": ParamKind.PAIRS},
        jvp=_sort_jvp,
        batch=shifted("axis"),
    )
)
argkth_p: Primitive = register(
    Primitive(
        "argkth",
        _argkth_eval,
        lambda x, axis, places: _at(_argsorted(x, axis), axis, places),
        params={"axis": ParamKind.INT, "places": ParamKind.PAIRS},
        batch=shifted("axis"),
        nondifferentiable=True,
    )
)
SORTS = (sort_p, kth_p)  # of values: zeros are equal, and come in any order
