"""How convolutions are computed, and which parts of them are independent.

Needs `Convolution`. Establishes which of three forms it has (see `conv` and
`conv_sums`), and the parts that threads share.
"""

from math import prod

from .conv_shape import Convolution, Role
from .target import Target

_ENOUGH = 4  # parts, so that a few threads get equal shares
# What each part packs for itself is used by so many filters, or images taps forward, or
# by so many vectors of filters there.
_LEAST_ROWS = 16
_LEAST_VECTORS = 2
_MOST_SUMS = 64  # results whose sums are written one by one, taps along vectors
_UNEVEN = 1.5  # there each product reads a vector that crosses lines


def has_taps_forward(found: Convolution, target: Target) -> bool:
    """Tell whether a convolution sums over places rather than over taps.

    It must have more taps than places, and not waste the lanes of vectors.
    """
    if not _has_many_taps(found) or has_taps_along(found, target):
        return False
    lanes = _lanes(found, target)
    return _taps_cost(found, lanes) <= 2 * _places_cost(found, lanes)


def has_taps_along(found: Convolution, target: Target) -> bool:
    """Tell whether vectors of a convolution are taps: there are few filters for each.

    So it is with gradients by filters of which each has a channel of its own.
    """
    last = found.windows[-1]
    if not _has_many_taps(found) or last.w != 1 or _places(found) > _MOST_SUMS:
        return False
    lanes = _lanes(found, target)
    used = last.taps / -(-last.taps // lanes)
    here = found.batch.extent * found.filters.extent * _places(found) / used
    there = min(_taps_cost(found, lanes), _places_cost(found, lanes))
    return _UNEVEN * here <= there


def _has_many_taps(found: Convolution) -> bool:
    taps = prod(w.taps for w in found.windows)
    return taps > _places(found) and all(w.holes == 1 for w in found.windows)


def _taps_cost(found: Convolution, lanes: int) -> int:
    """Count the vectors that are multiplied for each tap where taps come forward."""
    vectors = -(-found.filters.extent // lanes)
    return max(found.batch.extent, 4) * vectors * _places(found)


def _places_cost(found: Convolution, lanes: int) -> int:
    """Count them where places come forward."""
    vectors = -(-_places(found) // lanes)
    return found.batch.extent * vectors * max(found.filters.extent, 4)


def _places(found: Convolution) -> int:
    return prod(w.places for w in found.windows)


def _lanes(found: Convolution, target: Target) -> int:
    return target.lanes(8 * found.dtype.itemsize)


def parts_along(found: Convolution, target: Target) -> dict[str, int]:
    """Return how many parts ``batch``, ``group`` and ``filters`` are cut into.

    The outermost first. Parts need nothing of each other: none of these axes is summed
    over. One is an image and a group, or some filters of these where there are few;
    taps forward it is some images of a group, or some of the filters.
    """
    batch, group, filters = (
        r.extent for r in (found.batch, found.group, found.filters)
    )
    if not has_taps_forward(found, target):
        cut = _equal_parts(filters, -(-_ENOUGH // (batch * group)), _LEAST_ROWS)
        return {"batch": batch, "group": group, "filters": cut}
    most = -(-_ENOUGH // group)
    images = _equal_parts(batch, most, _LEAST_ROWS)
    vectors, rest = divmod(filters, target.lanes(8 * found.dtype.itemsize))
    can_cut = images == 1 and not rest
    cut = _equal_parts(vectors, most, _LEAST_VECTORS) if can_cut else 1
    return {"group": group, "batch": images, "filters": cut}


def quantum_along(found: Convolution, axis: str, target: Target) -> int | None:
    """Return what ranges of a kernel's axis are multiples of; None if it has none.

    A range is a range of parts if the axis is the outermost that parts are cut from.
    """
    if has_taps_forward(found, target):
        return None
    for name, count in parts_along(found, target).items():
        role = role_of(found, name)
        if role.axis == axis:
            return role.extent // count
        if role.extent > 1:
            return None
    return None


def role_of(found: Convolution, name: str) -> Role:
    """Return the axis that parts are cut from, by its name."""
    return {"batch": found.batch, "group": found.group, "filters": found.filters}[name]


def _equal_parts(extent: int, most: int, least: int) -> int:
    """Return into how many equal parts to cut an axis: not too many or too small."""
    counts = (n for n in range(most, 1, -1) if extent % n == 0 and extent // n >= least)
    return next(counts, 1)
