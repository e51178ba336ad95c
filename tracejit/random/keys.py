"""Keys: two words that stand for a stream of random numbers.

A key is a plain ``uint32[2]`` array: it can be an argument, a carry of a loop, a leaf
of a container, a row of an array that `vmap` maps over. A function of one key gives the
same numbers each time; `split` and `fold_in` make further keys.
"""

from math import prod
from typing import Any

import numpy as np

from ..errors import ArgumentError, DTypeError
from ..ir.aval import Shape
from ..tracing.source import user_line
from ..tracing.trace import current_trace
from ..tracing.tracer import Tracer
from .arguments import ShapeLike, checked_key, checked_shape
from .drawing import UINT32, counted, drawn
from .threefry import threefry2x32


def key(seed: Any) -> Any:
    """Return the key of a seed.

    Parameters
    ----------
    seed : int or integer scalar
        Any 64-bit number; negative ones wrap. A NumPy or traced integer of up to
        64 bits does too.

    Returns
    -------
    uint32[2]
        The high and the low word of the seed.

    Raises
    ------
    DTypeError
        For seeds that are not integers.
    ArgumentError
        For seeds beyond 64 bits, and for arrays of seeds.

    Examples
    --------
    >>> key(42)
    array([ 0, 42], dtype=uint32)
    """
    if isinstance(seed, int | np.integer) and not isinstance(seed, Tracer):
        return _key_of_number(int(seed))
    dtype = getattr(seed, "dtype", None)
    if dtype is None or dtype.kind not in "iu":
        raise DTypeError(
            f"key: the seed is {seed if dtype is None else dtype}, not an integer",
            source=user_line(),
            hint="tj.random.key(42)",
        )
    if seed.shape:
        raise ArgumentError(
            f"key: one seed makes a key, not an array of shape {seed.shape}",
            source=user_line(),
            hint="tj.random.split(key, n), or tj.vmap(tj.random.key)(seeds)",
        )
    return _key_of(seed)


def _key_of_number(seed: int) -> Any:
    if not -(2**63) <= seed < 2**64:
        raise ArgumentError(
            f"key: the seed {seed} has more than 64 bits", source=user_line()
        )
    high, low = divmod(seed % 2**64, 2**32)
    found = np.array([high, low], UINT32)
    trace = current_trace()
    return found if trace is None else trace.constant(found, born_here=True)


@drawn
def _key_of(seed: Any) -> Any:
    wide = seed.astype(np.int64).astype(np.uint64)
    high = (wide >> np.uint64(32)).astype(UINT32)
    return np.stack([high, wide.astype(UINT32)])


def split(key: Any, num: ShapeLike = 2) -> Any:
    """Return new keys, independent of each other; do not use `key` again.

    Parameters
    ----------
    key : uint32[2]
    num : int or tuple of int
        How many, or the shape that they fill.

    Returns
    -------
    uint32[*num, 2]

    Examples
    --------
    >>> import tracejit as tj
    >>> key, use = split(tj.random.key(0))
    """
    shape = checked_shape("split", num)
    return _split(checked_key("split", key), shape=shape)


@drawn
def _split(key: Any, *, shape: Shape) -> Any:
    high, low = counted(prod(shape))
    x0, x1 = threefry2x32(key[0], key[1], high, low)
    return np.stack([x0, x1], -1).reshape((*shape, 2))


def fold_in(key: Any, data: Any) -> Any:
    """Return the key that `data`, say a step or the number of a layer, makes of a key.

    Parameters
    ----------
    key : uint32[2]
    data : int or integer scalar
        Its low 32 bits count.

    Returns
    -------
    uint32[2]

    Raises
    ------
    DTypeError, ArgumentError
        For `data` that is not one integer.
    """
    key = checked_key("fold_in", key)
    if isinstance(data, int) and not isinstance(data, Tracer):
        data = np.uint32(data % 2**32)
    kind = getattr(getattr(data, "dtype", None), "kind", "")
    if kind not in "iu" or not kind:
        raise DTypeError(
            f"fold_in: the data is {data!r}, not an integer",
            source=user_line(),
            hint="tj.random.fold_in(key, step)",
        )
    if np.shape(data):
        raise ArgumentError(
            f"fold_in: one number is folded in, not an array of shape {data.shape}",
            source=user_line(),
            hint="tj.vmap(tj.random.fold_in, (None, 0))(key, numbers)",
        )
    return _fold_in(
        key,
        data.astype(UINT32)
        if isinstance(data, Tracer)
        else np.asarray(data).astype(UINT32),
    )


@drawn
def _fold_in(key: Any, data: Any) -> Any:
    return np.stack(threefry2x32(key[0], key[1], np.uint32(0), data))
