"""How convolutions are computed, and which parts of them are independent.

Needs `Convolution`. Establishes which of four forms it has (see `conv`, `conv_panels`
and `conv_sums`), and the parts that threads share.
"""

from math import prod

from .conv_shape import Convolution, Role, parts_of
from .target import Target

_ENOUGH = 4  # parts, so that a few threads get equal shares
# What each part packs for itself is used by so many filters, or images taps forward, or
# by so many vectors of filters there.
_LEAST_ROWS = 16
_LEAST_VECTORS = 2
_MOST_SUMS = 64  # results whose sums are written one by one, taps along vectors
_LEAST_RUN = 32  # elements that filters along vectors read one after another
_COPY_PLACES = 24  # places that take as long as the copies of filters
_SLOWER = 1.1  # than filters along vectors are places, with all lanes in use
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


def panel_of(found: Convolution, target: Target) -> int:
    """Return how many filters a panel should have; 0 if there should be none.

    A panel is two vectors wide, or one. Filters along vectors leave no lanes idle, but
    filters have to be copied, and runs must be worth a loop.
    """
    lanes, filters = _lanes(found, target), found.filters.extent
    widths = (n for n in (2 * lanes, lanes) if filters % n == 0)
    panel = next(widths, 0)
    if not panel or not target.has_few_registers or not _can_store(found):
        return 0
    if has_taps_along(found, target) or has_taps_forward(found, target):
        return 0
    last = found.windows[-1]
    run = found.channels.extent * (last.taps if last.step == 1 else 1)
    places = found.batch.extent * _places(found) + _COPY_PLACES
    here = places * filters // lanes
    there = _SLOWER * _places_cost(found, lanes)
    return panel if run >= _LEAST_RUN and here <= there else 0


def _can_store(found: Convolution) -> bool:
    """Tell whether tiles may store results, or sums that are turned to lines of them.

    They store for filters that lie side by side, if all parts have as many places.
    """
    parts = [parts_of(w) for w in found.windows]
    if not all(any(p.line for p in along) for along in parts):
        return False
    if found.filters.out != 1:
        return found.windows[-1].out == 1 or found.windows[-1].places == 1
    pairs = zip(found.windows, parts, strict=True)
    return all(w.places % len(p) == 0 and all(q.line for q in p) for w, p in pairs)


def parts_along(found: Convolution, target: Target) -> dict[str, int]:
    """Return how many parts ``batch``, ``group`` and ``filters`` are cut into.

    The outermost first. Parts need nothing of each other: none of these axes is summed
    over. One is an image and a group, or some filters of these where there are few;
    taps forward it is some images of a group, or some of the filters.
    """
    batch, group, filters = (
        r.extent for r in (found.batch, found.group, found.filters)
    )
    if found.panel:
        most = -(-_ENOUGH // (batch * group))
        cut = _equal_parts(filters // found.panel, most, 1)
        return {"batch": batch, "group": group, "filters": cut}
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
    if not found.panel and has_taps_forward(found, target):
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
