"""Calls of ufuncs of vectors and matrices, with ``axes=``, ``axis=`` and ``keepdims=``.

What a call computes over last axes is in `functions.products`. Here the axes that it is
about are brought to the end, and those of the result to where they were asked for.
"""

import re
from collections.abc import Sequence
from typing import Any

import numpy as np

from . import functions, ufuncs
from .functions.registry import lift, normalize_axis
from .tracer import Tracer

Axes = list[tuple[int, ...]]


def call(
    ufunc: np.ufunc,
    inputs: Sequence[Any],
    *,
    axes: Any = None,
    axis: Any = None,
    keepdims: bool = False,
    dtype: Any = None,
    signature: Any = None,
    casting: str = "same_kind",
    order: str = "K",
    subok: bool = True,
) -> Any:
    """Trace a call of a generalized ufunc, without ``out=``.

    Raises
    ------
    UnsupportedError
        Of a ufunc that there is no rule for.
    TypeError, ValueError
        As NumPy, for axes and dtypes that the ufunc does not take. A `ValueError`
        may be a `numpy.exceptions.AxisError`.
    """
    lowering = functions.GENERALIZED.get(ufunc)
    if lowering is None:
        raise ufuncs.unsupported(f"the ufunc {ufunc.__name__!r}")
    _, xs = lift(*inputs)
    wanted = ufuncs.signature_of(ufunc, dtype, signature)
    if wanted is not None or casting != "same_kind":
        dtypes = ufuncs.loop(ufunc, xs, wanted, casting)
        pairs = zip(xs, dtypes, strict=False)
        xs = tuple(x.astype(d, copy=False) for x, d in pairs)
    if axes is None and axis is None and not keepdims:
        return lowering(*xs)
    places = _places(ufunc, xs, axes, axis, keepdims)
    moved = (_to_end(x, at) for x, at in zip(xs, places, strict=False))
    return _from_end(lowering(*moved), places[-1], keepdims)


def _cores(ufunc: np.ufunc, xs: Sequence[Tracer]) -> list[int]:
    """How many axes of each operand, and of the result, the ufunc is about."""
    terms = re.findall(r"\((.*?)\)", str(ufunc.signature))
    named = [[name for name in term.split(",") if name] for term in terms]
    missing = {
        name
        for names, x in zip(named, xs, strict=False)
        for name in names
        if name.endswith("?") and x.ndim < len(names)
    }
    return [len([name for name in names if name not in missing]) for names in named]


def _places(
    ufunc: np.ufunc, xs: Sequence[Tracer], axes: Any, axis: Any, keepdims: bool
) -> Axes:
    """The axes of each operand and of the result, as ``axes=`` has them."""
    cores = _cores(ufunc, xs)
    is_reduction = len(set(cores[:-1])) == 1 and not cores[-1]
    if keepdims and not is_reduction:
        raise TypeError(
            f"{ufunc.__name__} does not support keepdims: its signature "
            f"{ufunc.signature} has a result of its own axes"
        )
    if axis is not None:
        if axes is not None:
            raise TypeError("cannot specify both 'axis' and 'axes'")
        if not is_reduction:
            raise TypeError(
                f"{ufunc.__name__}: axis can only be used with a single shared core "
                f"dimension, not with signature {ufunc.signature}"
            )
        axes = [(axis,)] * (len(xs) + keepdims)
    if axes is None:
        axes = [tuple(range(-n, 0)) for n in cores[:-1]]
    if not isinstance(axes, list):
        raise TypeError("axes should be a list.")
    if keepdims:
        cores[-1] = cores[0]
    if len(axes) == len(xs) and is_reduction:
        axes = [*axes, tuple(range(-cores[-1], 0))]
    return _checked(ufunc, axes, cores)


def _checked(ufunc: np.ufunc, axes: Any, cores: Sequence[int]) -> Axes:
    if len(axes) != len(cores):
        raise ValueError(
            f"axes should be a list with an entry for all {len(cores)} inputs and "
            f"outputs; it has {len(axes)}"
        )
    places = [at if isinstance(at, tuple) else (at,) for at in axes]
    for i, (at, n) in enumerate(zip(places, cores, strict=True)):
        if len(at) != n:
            raise np.exceptions.AxisError(
                f"{ufunc.__name__}: operand {i} has {n} core dimensions, but {len(at)} "
                "dimensions are specified by axes tuple"
            )
    return places


def _to_end(x: Tracer, at: tuple[int, ...]) -> Any:
    axes = tuple(normalize_axis(d, x.ndim) for d in at)
    return functions.shape.moveaxis(x, axes, tuple(range(-len(axes), 0)))


def _from_end(x: Any, at: tuple[int, ...], keepdims: bool) -> Any:
    if keepdims:
        x = np.expand_dims(x, tuple(range(-len(at), 0)))
    return functions.shape.moveaxis(x, tuple(range(-len(at), 0)), at) if at else x
