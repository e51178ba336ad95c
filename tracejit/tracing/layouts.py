"""How NumPy lays new arrays out in memory: like those that they are computed from."""

from collections.abc import Sequence
from functools import lru_cache

import numpy as np

from ..ir.aval import ShapedArray
from ..ir.strided import strided
from .storage import contiguous_strides

# Strides of an array's axes; None where they tell nothing of their order.
Strides = list[int | None]


def result_layout(shadows: Sequence[np.ndarray], shape: tuple[int, ...]) -> list[int]:
    """Return the axes in the order NumPy lays a new result out, outermost first.

    As NumPy's iterator does for order "K": axes that are broadcast tell nothing.
    """
    if all(s.flags.c_contiguous for s in shadows):
        return [*range(len(shape))]
    told = [_told(s, len(shape), True) for s in shadows if s.ndim]
    return _ordered(told, len(shape))


def _told(shadow: np.ndarray, ndim: int, is_iterated: bool) -> Strides:
    """Return strides; those of 0 tell an iterator nothing, where copies heed them."""
    told: Strides = [None] * (ndim - shadow.ndim)
    for n, s in zip(shadow.shape, shadow.strides, strict=True):
        told.append(None if n == 1 or (is_iterated and not s) else abs(s))
    return told


def _ordered(told: Sequence[Strides], ndim: int) -> list[int]:
    """Return the order of axes: swapped where no array objects and one asks for it."""
    order = list(range(ndim))
    for i in range(1, ndim):
        at = i
        for j in range(i - 1, -1, -1):
            swap = _should_swap(told, order[j], order[at])
            if swap is None:
                continue
            if not swap:
                break
            order.insert(j, order.pop(at))
            at = j
    return order


def _should_swap(told: Sequence[Strides], outer: int, inner: int) -> bool | None:
    """True to bring `inner` outside of `outer`; None when no array tells."""
    should: bool | None = None
    for strides in told:
        a, b = strides[outer], strides[inner]
        if a is not None and b is not None:
            if b <= a:
                return False
            should = True
    return should


def joined_layout(
    shadows: Sequence[np.ndarray], aval: ShapedArray
) -> np.ndarray | None:
    """Return a blank for arrays that are joined; None for C order."""
    if all(s.flags.c_contiguous for s in shadows):
        return None
    order = _ordered([_told(s, aval.ndim, False) for s in shadows], aval.ndim)
    return _unless_in_rows(order, aval)


def reduced_layout(
    shadow: np.ndarray, axes: Sequence[int], aval: ShapedArray
) -> np.ndarray | None:
    """Return a blank for what is reduced along axes; None for C order."""
    if shadow.flags.c_contiguous:
        return None
    rest = [d for d in result_layout([shadow], shadow.shape) if d not in axes]
    return _unless_in_rows([sorted(rest).index(d) for d in rest], aval)


def copied_layout(shadow: np.ndarray, aval: ShapedArray) -> np.ndarray | None:
    """Return a blank laid out as a copy in order "K" is; None for C order.

    Axes are ordered by their strides, those of 0 innermost.
    """
    return None if shadow.flags.c_contiguous else layout_of(copied_order(shadow), aval)


def copied_order(shadow: np.ndarray) -> list[int]:
    """Return the axes in the order that a copy has them in memory, outermost first."""
    return sorted(range(shadow.ndim), key=lambda d: -abs(shadow.strides[d]))


def ordered_layout(
    asked: str, shadow: np.ndarray, aval: ShapedArray
) -> np.ndarray | None:
    """Return a blank laid out as ``order=`` asks for; None for C order."""
    if asked == "K":
        return copied_layout(shadow, aval)
    is_turned = asked == "F" or (asked == "A" and shadow.flags.f_contiguous)
    return layout_of(range(aval.ndim)[::-1], aval) if is_turned else None


def kept_layout(shadows: Sequence[np.ndarray], aval: ShapedArray) -> np.ndarray | None:
    """Return a blank laid out as NumPy lays out a new result; None for C order."""
    return _unless_in_rows(result_layout(shadows, aval.shape), aval)


def _unless_in_rows(order: list[int], aval: ShapedArray) -> np.ndarray | None:
    return None if order == [*range(aval.ndim)] else layout_of(order, aval)


def layout_of(order: Sequence[int], aval: ShapedArray) -> np.ndarray:
    """Return a dense blank whose axes lie in memory in `order`, outermost first."""
    return _layout_of(tuple(order), aval)


@lru_cache(maxsize=1 << 12)
def _layout_of(order: tuple[int, ...], aval: ShapedArray) -> np.ndarray:
    inner = ShapedArray(tuple(aval.shape[d] for d in order), aval.dtype)
    blank = strided(np.empty(1, aval.dtype), inner.shape, contiguous_strides(inner))
    return blank.transpose(np.argsort(order))
