"""Index maps through views: where in its operand an element of a view comes from."""

from collections.abc import Mapping, Sequence
from math import prod

from ..ir.aval import Shape
from ..ir.graph import Eqn
from ..ir.ops.shape import (
    broadcast_in_dim_p,
    ints,
    reshape_p,
    rev_p,
    slice_p,
    sliding_window_p,
    transpose_p,
)
from .maps import Affine, AxisIndex, FloorDiv, IndexAtom, Map, Mod, floordiv, mod

VIEWS = (
    broadcast_in_dim_p,
    reshape_p,
    rev_p,
    slice_p,
    sliding_window_p,
    transpose_p,
)
Extents = Mapping[str, int]


def through_view(eqn: Eqn, at: Map, extents: Extents) -> Map:
    """Return the index into the operand of a view for index `at` of its result.

    Parameters
    ----------
    eqn : Eqn
        Of a primitive in `VIEWS`.
    at : Map
        One expression per axis of the result.
    extents : mapping of str to int
        Of the axes in `at`; known ranges let divisions be dropped.
    """
    shape, params = eqn.invars[0].aval.shape, eqn.params
    if eqn.primitive is transpose_p:
        out: list[Affine] = [Affine()] * len(at)
        for d, p in enumerate(ints(params, "perm")):
            out[p] = at[d]
        return tuple(out)
    if eqn.primitive is broadcast_in_dim_p:
        dims = ints(params, "dims")
        return tuple(
            Affine() if n == 1 else at[d] for n, d in zip(shape, dims, strict=True)
        )
    if eqn.primitive is slice_p:
        start, stride = ints(params, "start"), ints(params, "stride")
        return tuple(i * s + a for i, a, s in zip(at, start, stride, strict=True))
    if eqn.primitive is rev_p:
        axes = ints(params, "axes")
        return tuple(
            i * -1 + (n - 1) if d in axes else i
            for d, (i, n) in enumerate(zip(at, shape, strict=True))
        )
    if eqn.primitive is sliding_window_p:
        *out, place = at
        axis = params["axis"]
        assert isinstance(axis, int)
        out[axis] = out[axis] + place
        return tuple(out)
    return reshaped(at, eqn.outvars[0].aval.shape, shape, extents)


def reshaped(at: Map, shape: Shape, target: Shape, extents: Extents) -> Map:
    """Return the index into an array of `target` shape for index `at` of `shape`.

    Axes are matched in groups of equal size, so that only what is really split or
    merged is divided.
    """
    if 0 in shape:
        return (Affine(),) * len(target)
    out: list[Affine] = []
    i = j = 0
    while i < len(shape) or j < len(target):
        first_i, first_j = i, j
        left = shape[i] if i < len(shape) else 1
        right = target[j] if j < len(target) else 1
        i, j = min(i + 1, len(shape)), min(j + 1, len(target))
        while left != right:
            if left < right:
                left *= shape[i]
                i += 1
            else:
                right *= target[j]
                j += 1
        linear = linear_index(at[first_i:i], shape[first_i:i])
        out.extend(_delinearized(linear, target[first_j:j], extents))
    return tuple(out)


def linear_index(at: Sequence[Affine], shape: Sequence[int]) -> Affine:
    """Return the row-major position of `at` in `shape`."""
    total = Affine()
    for index, n in zip(at, shape, strict=True):
        total = total * n + index
    return total


def _delinearized(
    linear: Affine, shape: Sequence[int], extents: Extents
) -> list[Affine]:
    out = []
    for d, n in enumerate(shape):
        step = prod(shape[d + 1 :])
        index = simplified(floordiv(linear, step), extents)
        out.append(Affine() if n == 1 else index if d == 0 else _mod(index, n, extents))
    return out


def _mod(index: Affine, n: int, extents: Extents) -> Affine:
    low, high = bounds_of(index, extents)
    return index if low >= 0 and high < n else simplified(mod(index, n), extents)


def simplified(index: Affine, extents: Extents) -> Affine:
    """Drop divisions and remainders that the ranges of the axes decide."""
    out = Affine((), index.constant)
    for atom, coefficient in index.terms:
        out = out + _simplified_atom(atom, extents) * coefficient
    return out


def _simplified_atom(atom: IndexAtom, extents: Extents) -> Affine:
    if isinstance(atom, FloorDiv):
        low, high = bounds_of(atom.inner, extents)
        if low // atom.divisor == high // atom.divisor:
            return Affine((), low // atom.divisor)
    if isinstance(atom, Mod):
        low, high = bounds_of(atom.inner, extents)
        if low >= 0 and high < atom.divisor:
            return atom.inner
    return Affine(((atom, 1),))


def bounds_of(index: Affine, extents: Extents) -> tuple[int, int]:
    """Return the least and greatest value of an expression."""
    low = high = index.constant
    for atom, coefficient in index.terms:
        a, z = _atom_bounds(atom, extents)
        low += min(a * coefficient, z * coefficient)
        high += max(a * coefficient, z * coefficient)
    return low, high


UNKNOWN = 1 << 62


def _atom_bounds(atom: IndexAtom, extents: Extents) -> tuple[int, int]:
    if isinstance(atom, AxisIndex):
        return 0, max(extents[atom.axis] - 1, 0)
    if isinstance(atom, FloorDiv):
        low, high = bounds_of(atom.inner, extents)
        return low // atom.divisor, high // atom.divisor
    if isinstance(atom, Mod):
        return 0, atom.divisor - 1
    return -UNKNOWN, UNKNOWN
