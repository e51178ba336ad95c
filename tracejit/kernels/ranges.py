"""What index expressions reach: proofs that they are in range and meet no place twice.

Ranges of terms decide almost everything. Where they do not, positions are counted out;
of more than `MOST` positions only a sample is (each axis at its ends and in between).
"""

from collections.abc import Iterator, Mapping, Sequence
from math import prod
from typing import TypeAlias

import numpy as np

from ..ir.aval import Shape
from .maps import Affine, AxisIndex, FloorDiv, IndexAtom, Map, Mod, axes_in, values_in

MOST = 1 << 20
Extents: TypeAlias = Mapping[str, int]
# Conditions ``0 <= index < extent`` that hold where it counts.
Limits: TypeAlias = Sequence[tuple[Affine, int]]
_FAR = 1 << 62  # run-time values can be anything


def is_in_range(index: Affine, extent: int, extents: Extents, limits: Limits) -> bool:
    """Tell whether ``0 <= index < extent`` wherever `limits` hold.

    Parameters
    ----------
    index : Affine
    extent : int
    extents : mapping of str to int
        Of the axes; none of them is 0.
    limits : sequence of (Affine, int)
    """
    if any(n <= 0 for _, n in limits):
        return True  # they never hold
    low, high = range_of(index, extents, limits)
    if low >= 0 and high < extent:
        return True
    if values_in(index):
        return False
    return _counted_in_range(index, extent, extents, limits)


def range_of(index: Affine, extents: Extents, limits: Limits) -> tuple[int, int]:
    """Return bounds of an expression, the tightest that terms and limits give."""
    low = high = index.constant
    for atom, factor in index.terms:
        ends = [e * factor for e in _range_of_atom(atom, extents, limits)]
        low, high = low + min(ends), high + max(ends)
    for i, (limit, n) in enumerate(limits):
        factor = _ratio(index, limit)
        if factor:
            rest = index + limit * -factor
            a, z = range_of(rest, extents, [*limits[:i], *limits[i + 1 :]])
            ends = [0, (n - 1) * factor]
            low, high = max(low, a + min(ends)), min(high, z + max(ends))
    return low, high


def _ratio(index: Affine, limit: Affine) -> int:
    """Return how often `limit` goes into `index` by its first term; 0 if not at all."""
    if not limit.terms:
        return 0
    atom, factor = limit.terms[0]
    have = dict(index.terms).get(atom, 0)
    return 0 if have % factor else have // factor


def _range_of_atom(
    atom: IndexAtom, extents: Extents, limits: Limits
) -> tuple[int, int]:
    if isinstance(atom, AxisIndex):
        return 0, max(extents[atom.axis] - 1, 0)
    if isinstance(atom, FloorDiv):
        low, high = range_of(atom.inner, extents, limits)
        return low // atom.divisor, high // atom.divisor
    if isinstance(atom, Mod):
        low, high = range_of(atom.inner, extents, limits)
        if low // atom.divisor == high // atom.divisor:
            return low % atom.divisor, high % atom.divisor
        return 0, atom.divisor - 1
    return -_FAR, _FAR


# --- counting out -----------------------------------------------------------------


def _counted_in_range(
    index: Affine, extent: int, extents: Extents, limits: Limits
) -> bool:
    known = [(i, n) for i, n in limits if not values_in(i)]
    names = sorted(set[str]().union(*(axes_in(i) for i in (index, *_firsts(known)))))
    grid = _positions(names, extents)
    at = evaluated(index, grid)
    bad = (at < 0) | (at >= extent)
    for limit, n in known:
        inside = evaluated(limit, grid)
        bad = bad & (inside >= 0) & (inside < n)
    return not bad.any()


def _firsts(limits: Limits) -> Iterator[Affine]:
    return (index for index, _ in limits)


def _positions(names: Sequence[str], extents: Extents) -> dict[str, np.ndarray]:
    """Return positions along each axis, each array along a dimension of its own."""
    each = int(MOST ** (1 / max(len(names), 1)))
    is_all = prod(extents[n] for n in names) <= MOST
    grid = {}
    for d, name in enumerate(names):
        n = extents[name]
        at = np.arange(n)
        if not is_all and n > each:
            at = np.unique(np.linspace(0, n - 1, each).astype(np.int64))
        grid[name] = at.reshape([-1 if e == d else 1 for e in range(len(names))])
    return grid


def evaluated(index: Affine, at: Mapping[str, np.ndarray]) -> np.ndarray:
    """Return an expression of axes at positions along them."""
    total = np.asarray(index.constant, np.int64)
    for atom, factor in index.terms:
        total = total + _evaluated_atom(atom, at) * factor
    return total


def _evaluated_atom(atom: IndexAtom, at: Mapping[str, np.ndarray]) -> np.ndarray:
    if isinstance(atom, AxisIndex):
        return at[atom.axis]
    assert isinstance(atom, FloorDiv | Mod), "run-time values are not counted out"
    inner = evaluated(atom.inner, at)
    if isinstance(atom, FloorDiv):
        return inner // atom.divisor
    return inner % atom.divisor


# --- stores -----------------------------------------------------------------------


def stores_each_once(maps: Sequence[Map], shape: Shape, extents: Extents) -> bool:
    """Tell whether stores by `maps`, in range, reach each element of `shape` once.

    Parameters
    ----------
    maps : sequence of Map
        One for each store; each runs over the axes that it names.
    shape : tuple of int
    extents : mapping of str to int
        Of the axes.
    """
    if 0 in shape:
        return True
    if len(maps) == 1 and _is_plain(maps[0], shape, extents):
        return True
    sizes = [prod(extents[a] for a in _axes(m)) for m in maps]
    if sum(sizes) != prod(shape):
        return False
    if sum(sizes) > MOST:
        return True  # as many as there are; that none meet is left to small shapes
    counts = np.zeros(shape, np.int64)
    for at in maps:
        grid = _positions(_axes(at), extents)
        places = np.broadcast_arrays(*(evaluated(i, grid) for i in at))
        np.add.at(counts, tuple(places), 1)
    return bool((counts == 1).all())


def _axes(at: Map) -> list[str]:
    return sorted(set[str]().union(*(axes_in(i) for i in at)))


def _is_plain(at: Map, shape: Shape, extents: Extents) -> bool:
    """Tell whether each index is an axis of its own, from end to end."""
    names = []
    for index, n in zip(at, shape, strict=True):
        if n == 1 and index == Affine():
            continue
        if len(index.terms) != 1 or index.constant:
            return False
        atom, factor = index.terms[0]
        if not isinstance(atom, AxisIndex) or factor != 1 or extents[atom.axis] != n:
            return False
        names.append(atom.axis)
    return len(set(names)) == len(names)
