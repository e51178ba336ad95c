"""Sorting along one axis."""

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
    order = b.emit(argsort_p, ins[0], axis=axis)
    return (take_along(b, tangents[0], order, axis),)


sort_p: Primitive = register(
    Primitive(
        "sort",
        _sort_eval,
        # Of equal values the order shows nowhere: NumPy's fastest way will do.
        lambda x, axis: np.sort(x, axis=axis),
        params={"axis": ParamKind.INT},
        jvp=_sort_jvp,
        batch=shifted("axis"),
    )
)
argsort_p: Primitive = register(
    Primitive(
        "argsort",
        _argsort_eval,
        lambda x, axis: np.argsort(x, axis=axis, kind="stable"),
        params={"axis": ParamKind.INT},
        batch=shifted("axis"),
        nondifferentiable=True,
    )
)
