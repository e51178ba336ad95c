"""Random orders and choices of the elements of arrays."""

from math import prod
from typing import Any

import numpy as np

from ..errors import ArgumentError, ShapeError
from ..ir import dtypes as dt
from ..ir.aval import Shape
from ..tracing.functions.registry import normalize_axis
from ..tracing.source import user_line
from ..tracing.tracer import Tracer
from .arguments import ShapeLike, checked_key, checked_shape
from .continuous import standard_gumbel
from .drawing import drawn
from .integers import scaled
from .uniform import U64, as_dtype, float_of, fraction, some_bits


def permutation(key: Any, x: Any, axis: int = 0, independent: bool = False) -> Any:
    """Return the elements along an axis in random order.

    Parameters
    ----------
    key : uint32[2]
    x : int or array_like
        An int stands for ``np.arange(x)``.
    axis : int
    independent : bool
        Give each row along `axis` an order of its own.

    Notes
    -----
    The order is that of 64 random bits for each element; that two have the same, and
    keep their order, has a probability of n² / 2^65.

    Examples
    --------
    >>> import tracejit as tj
    >>> order = permutation(tj.random.key(0), 10)
    """
    return _shuffled("permutation", key, x, axis, independent)


def shuffle(key: Any, x: Any, axis: int = 0) -> Any:
    """Return a copy of an array with the elements along an axis in random order.

    Keys make pure functions: unlike ``np.random.shuffle`` it does not change `x`.
    """
    return _shuffled("shuffle", key, x, axis, False)


def _shuffled(name: str, key: Any, x: Any, axis: int, independent: bool) -> Any:
    key = checked_key(name, key)
    if isinstance(x, int):
        return _order(key, size=checked_shape(name, x)[0])
    x = x if isinstance(x, Tracer) else np.asarray(x)
    if not x.ndim:
        return _order(key, size=_whole(name, x))
    axis = normalize_axis(axis, x.ndim)
    return _permuted(key, x, axis=axis, independent=independent)


def _whole(name: str, x: Any) -> int:
    """Return an integer scalar as the number it is."""
    if x.dtype.kind not in "iu":
        raise ShapeError(
            f"{name}: x is one {x.dtype}; expected an int or an array",
            source=user_line(),
        )
    return checked_shape(name, (x[()],))[0]


@drawn
def _order(key: Any, *, size: int) -> Any:
    return random_order(key, size)


@drawn
def _permuted(key: Any, x: Any, *, axis: int, independent: bool) -> Any:
    if independent:
        order = np.argsort(some_bits(key, x.shape, U64), axis)
        return np.take_along_axis(x, order, axis)
    return np.take(x, random_order(key, x.shape[axis]), axis)


def random_order(key: Any, size: int) -> Any:
    """Return 0, 1, ..., size - 1 in random order."""
    return np.argsort(some_bits(key, (size,), U64))


def choice(
    key: Any,
    a: Any,
    shape: ShapeLike = (),
    replace: bool = True,
    p: Any = None,
    axis: int = 0,
) -> Any:
    """Return random elements of an array.

    Parameters
    ----------
    key : uint32[2]
    a : int or array_like
        An int stands for ``np.arange(a)``.
    shape : int or tuple of int
    replace : bool
        Whether an element can be drawn more than once.
    p : array_like, (n,), optional
        Probabilities of the elements, up to a factor; all alike by default.
    axis : int
        Whose elements are drawn.

    Returns
    -------
    array
        ``a`` with `axis` replaced by the axes of `shape`.

    Raises
    ------
    ArgumentError
        When more elements are drawn without replacement than there are.
    ShapeError
        When there are no elements, or as many probabilities as elements are not given.

    Examples
    --------
    >>> import tracejit as tj
    >>> batch = choice(tj.random.key(0), 1000, (32,), replace=False)
    """
    key = checked_key("choice", key)
    shape = checked_shape("choice", shape)
    source = None
    if not isinstance(a, int):
        a = a if isinstance(a, Tracer) else np.asarray(a)
        source = a if a.ndim else None
    if source is None:
        size = a if isinstance(a, int) else _whole("choice", a)
    else:
        axis = normalize_axis(axis, source.ndim)
        size = source.shape[axis]
    _check_choice(size, prod(shape), replace, p)
    chosen = _choice(key, p, size=size, shape=shape, replace=replace)
    return chosen if source is None else _taken(source, chosen, axis=axis)


def _check_choice(size: int, count: int, replace: bool, p: Any) -> None:
    if p is not None and np.shape(p) != (size,):
        raise ShapeError(
            f"choice: p has shape {np.shape(p)}; expected ({size},), one for each "
            "element",
            source=user_line(),
        )
    if count and size < 1:
        raise ShapeError("choice: a has no elements", source=user_line())
    if not replace and count > size:
        raise ArgumentError(
            f"choice: {count} of {size} elements cannot be drawn without replacement",
            source=user_line(),
            hint="replace=True",
        )


@drawn
def _taken(a: Any, chosen: Any, *, axis: int) -> Any:
    return np.take(a, chosen, axis)


@drawn
def _choice(key: Any, p: Any, *, size: int, shape: Shape, replace: bool) -> Any:
    if p is None and replace:
        return scaled(key, np.uint64(size), shape, wide=False).astype(np.int64)
    if p is None:
        return random_order(key, size)[: prod(shape)].reshape(shape)
    dtype = np.dtype(float_of(p))
    p = as_dtype(p, dtype)
    if not replace:
        order = np.argsort(-standard_gumbel(key, (size,), dtype) - np.log(p))
        return order[: prod(shape)].reshape(shape)
    total = np.cumsum(p)
    u = fraction(key, shape, dt.FLOAT64) * total[-1]
    found = np.searchsorted(total, u.astype(dtype), side="right")
    return np.minimum(found, size - 1)
