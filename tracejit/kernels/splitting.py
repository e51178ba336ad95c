"""Axes split into the digits that accesses divide them into.

A reshape that merges axes makes one axis of a kernel, and where the merged ones lie
apart in memory, accesses divide it:

    for l < 768: y[l] = x[l // 64, l mod 64]   →   for l0 < 12: for l1 < 64:
                                                     y[64 l0 + l1] = x[l0, l1]

With an axis for each digit, rows are read as they lie in memory, and transposes are
seen as such. What is summed over keeps its axes, as sums have an order, and so do
products, whose tiles know one axis of each kind. Needs a kernel; establishes an equal
one with the same operations, in the same order.
"""

from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import replace
from itertools import pairwise

from .joining import over_axes, with_offsets
from .kernel import (
    Axis,
    Compute,
    Contract,
    Iota,
    Kernel,
    KernelOp,
    Load,
    Reduce,
    Repeat,
    Store,
    indices_of,
    values_of,
    with_inner,
)
from .maps import (
    Affine,
    AxisIndex,
    FloorDiv,
    IndexAtom,
    Mod,
    ValueIndex,
    axes_in,
    axis,
    floordiv,
    mod,
    values_in,
)
from .views import Extents, simplified

# Elements that a last digit has at least: a loop along fewer is no loop of vectors.
LEAST_DIGIT = 32


def with_split_axes(kernel: Kernel) -> tuple[Kernel, Mapping[str, tuple[str, ...]]]:
    """Return an equal kernel, and the digits of each axis that is split.

    Examples
    --------
    An axis ``l`` of 768 that is read at ``l // 64`` and ``l mod 64`` becomes ``l0`` of
    12 and ``l1`` of 64.
    """
    steps = {
        name: tuple(found)
        for name, found in _divisors(kernel).items()
        if _is_chain([*found, kernel.extent(name)])
    }
    if not steps:
        return kernel, {}
    digits, axes = {}, []
    for old in kernel.axes:
        parts = _digits(old, steps.get(old.name, ()))
        digits[old.name] = tuple(a.name for a in parts)
        axes.extend(parts)
    places = {name: _place(digits[name], of) for name, of in steps.items()}
    extents = {a.name: a.extent for a in axes}

    def at(index: Affine) -> Affine:
        return _over_digits(index, places, extents)

    def along(names: Iterable[str]) -> Iterator[str]:
        return (digit for name in names for digit in digits[name])

    axes_of = _axes_of(kernel.body, at, along)
    body = tuple(over_axes(op, at, along, axes_of) for op in kernel.body)
    split = {name: digits[name] for name in steps}
    return replace(kernel, axes=tuple(axes), body=body), split


def _axes_of(
    body: Iterable[KernelOp],
    at: Callable[[Affine], Affine],
    along: Callable[[Iterable[str]], Iterable[str]],
) -> dict[str, frozenset[str]]:
    """Return the digits that values vary along: an index may have some of an axis."""
    found: dict[str, frozenset[str]] = {}
    for op in with_inner(body):
        if isinstance(op, Load | Iota):
            indices = [at(i) for i in indices_of(op)]
            through = (found[name] for i in indices for name in values_in(i))
            found[op.result.name] = frozenset().union(*map(axes_in, indices), *through)
        elif isinstance(op, Compute | Reduce):
            over = along(op.axes) if isinstance(op, Reduce) else ()
            read = frozenset().union(*(found[v.name] for v in values_of(op)))
            found[op.result.name] = read.difference(over)
        elif not isinstance(op, Store):
            carries = (op.turn, *op.carries) if isinstance(op, Repeat) else ()
            for value in (op.result, *carries):
                found[value.name] = frozenset(along(value.axes))
    return found


def _divisors(kernel: Kernel) -> dict[str, list[int]]:
    """Return what the axes that may be split are divided by, from the least on."""
    body = with_offsets(kernel).body  # reshapes of what lies dense divide nothing
    whole = {name for op in body for name in _kept_whole(op)}
    found: dict[str, set[int]] = {}
    indices = (index for op in with_inner(body) for index in indices_of(op))
    for name, divisor in (division for i in indices for division in _divisions(i)):
        if name not in whole and LEAST_DIGIT <= divisor < kernel.extent(name):
            found.setdefault(name, set()).add(divisor)
    return {name: sorted(of) for name, of in found.items()}


def _kept_whole(op: KernelOp) -> Iterator[str]:
    if isinstance(op, Reduce | Contract):
        yield from op.axes
    if isinstance(op, Contract):
        yield from op.lhs.axes | op.rhs.axes


def _divisions(index: Affine) -> Iterator[tuple[str, int]]:
    """Yield the axes that an expression divides, and by what their positions are."""
    for atom, _ in index.terms:
        if isinstance(atom, FloorDiv | Mod):
            yield from _divisions(atom.inner)
            of = _digit_of(atom.inner)
            if of is not None:
                yield of[0], of[1] * atom.divisor


def _digit_of(index: Affine) -> tuple[str, int] | None:
    """Return the axis that an expression is a digit of, and the digit's step."""
    if len(index.terms) != 1 or index.constant:
        return None
    atom, coefficient = index.terms[0]
    if coefficient != 1:
        return None
    if isinstance(atom, AxisIndex):
        return atom.axis, 1
    if isinstance(atom, ValueIndex):
        return None
    inner = _digit_of(atom.inner)
    if inner is None or isinstance(atom, Mod):
        return inner
    return inner[0], inner[1] * atom.divisor


def run_of(offset: Affine) -> str | None:
    """Return the axis along which an access runs through memory, or through pieces."""
    for atom, coefficient in offset.terms:
        if isinstance(atom, Mod) and atom.divisor < LEAST_DIGIT:
            continue
        of = _digit_of(Affine(((atom, coefficient),)))
        if of is not None and of[1] == 1:
            return of[0]
    return None


def _is_chain(steps: list[int]) -> bool:
    """Tell whether each number divides the next one."""
    return all(b % a == 0 for a, b in pairwise(steps))


def _digits(old: Axis, steps: tuple[int, ...]) -> list[Axis]:
    """Return the axes for the digits of an axis, the slowest first."""
    if not steps:
        return [old]
    ends = (*steps[1:], old.extent)
    lengths = [steps[0], *(b // a for a, b in zip(steps, ends, strict=True))]
    return [Axis(f"{old.name}{k}", n) for k, n in enumerate(reversed(lengths))]


def _place(digits: tuple[str, ...], steps: tuple[int, ...]) -> Affine:
    """Return the position along an axis, by its digits."""
    total = Affine()
    for name, step in zip(digits, (*reversed(steps), 1), strict=True):
        total = total + axis(name) * step
    return total


def _over_digits(
    index: Affine, places: Mapping[str, Affine], extents: Extents
) -> Affine:
    """Return an expression over digits, without the divisions that they make plain."""
    out = Affine((), index.constant)
    for atom, coefficient in index.terms:
        inner = simplified(_atom_over_digits(atom, places, extents), extents)
        out = out + inner * coefficient
    return out


def _atom_over_digits(
    atom: IndexAtom, places: Mapping[str, Affine], extents: Extents
) -> Affine:
    if isinstance(atom, AxisIndex):
        return places.get(atom.axis, Affine(((atom, 1),)))
    if isinstance(atom, FloorDiv | Mod):
        inner = _over_digits(atom.inner, places, extents)
        whole = isinstance(atom, FloorDiv)
        return (floordiv if whole else mod)(inner, atom.divisor)
    return Affine(((atom, 1),))
