"""Quasi-affine index expressions: +, ·const, floordiv, mod over axes and values.

A `Map` has one expression per dimension of a buffer. Transposes, reshapes, broadcasts
and slices become maps, so they cost nothing.
"""

from collections.abc import Iterator, Mapping
from typing import TypeAlias

from ..records import dataclass


@dataclass(frozen=True)
class AxisIndex:
    """The position along an axis, by name."""

    axis: str


@dataclass(frozen=True)
class ValueIndex:
    """An integer kernel value used as an index (a loaded index)."""

    value: str


@dataclass(frozen=True)
class FloorDiv:
    """⌊inner / divisor⌋ with a positive constant divisor."""

    inner: "Affine"
    divisor: int


@dataclass(frozen=True)
class Mod:
    """inner mod divisor, in [0, divisor)."""

    inner: "Affine"
    divisor: int


IndexAtom: TypeAlias = AxisIndex | ValueIndex | FloorDiv | Mod


@dataclass(frozen=True)
class Affine:
    """Σ coefficient · atom + constant.

    Parameters
    ----------
    terms : tuple of (IndexAtom, int)
        No atom twice, no coefficient zero.
    constant : int
    """

    terms: tuple[tuple[IndexAtom, int], ...] = ()
    constant: int = 0

    def __add__(self, other: "Affine | int") -> "Affine":
        other = other if isinstance(other, Affine) else Affine((), other)
        total = dict(self.terms)
        for atom, coefficient in other.terms:
            total[atom] = total.get(atom, 0) + coefficient
        terms = tuple((a, c) for a, c in total.items() if c)
        return Affine(terms, self.constant + other.constant)

    def __mul__(self, factor: int) -> "Affine":
        if factor == 0:
            return Affine()
        terms = tuple((a, c * factor) for a, c in self.terms)
        return Affine(terms, self.constant * factor)

    def substitute(self, values: Mapping[str, "Affine"]) -> "Affine":
        """Replace axes by expressions; axes not in `values` stay."""
        out = Affine((), self.constant)
        for atom, coefficient in self.terms:
            out = out + _substitute_atom(atom, values) * coefficient
        return out


Map: TypeAlias = tuple[Affine, ...]


def axis(name: str) -> Affine:
    """Return the position along axis `name` as an expression."""
    return Affine(((AxisIndex(name), 1),))


def _substitute_atom(atom: IndexAtom, values: Mapping[str, Affine]) -> Affine:
    if isinstance(atom, AxisIndex):
        return values.get(atom.axis, Affine(((atom, 1),)))
    if isinstance(atom, FloorDiv):
        return floordiv(atom.inner.substitute(values), atom.divisor)
    if isinstance(atom, Mod):
        return mod(atom.inner.substitute(values), atom.divisor)
    return Affine(((atom, 1),))


def floordiv(inner: Affine, divisor: int) -> Affine:
    """Return ⌊inner / divisor⌋, split where the terms divide exactly."""
    if divisor == 1:
        return inner
    whole = [(a, c // divisor) for a, c in inner.terms if c % divisor == 0]
    rest = [(a, c) for a, c in inner.terms if c % divisor]
    out = Affine(tuple(whole), 0)
    if not rest:
        return out + inner.constant // divisor
    return out + Affine(((FloorDiv(Affine(tuple(rest), inner.constant), divisor), 1),))


def mod(inner: Affine, divisor: int) -> Affine:
    """Return inner mod divisor, dropping terms that are multiples of it."""
    if divisor == 1:
        return Affine()
    rest = tuple((a, c) for a, c in inner.terms if c % divisor)
    if not rest:
        return Affine((), inner.constant % divisor)
    return Affine(((Mod(Affine(rest, inner.constant), divisor), 1),))


def recombined(index: Affine) -> Affine:
    """Return an expression with divisor · ⌊e / divisor⌋ + (e mod divisor) as e."""
    factors = dict(index.terms)
    for atom, factor in index.terms:
        whole = FloorDiv(atom.inner, atom.divisor) if isinstance(atom, Mod) else None
        if whole is not None and factors.get(whole) == factor * whole.divisor:
            parts = Affine(((atom, -factor), (whole, -factor * whole.divisor)))
            return recombined(index + parts + whole.inner * factor)
    return index


def atoms_in(index: Affine) -> Iterator[AxisIndex | ValueIndex]:
    """Yield the axes and values of an expression, from inside of divisions too."""
    for atom, _ in index.terms:
        if isinstance(atom, FloorDiv | Mod):
            yield from atoms_in(atom.inner)
        else:
            yield atom


def axes_in(index: Affine) -> set[str]:
    """Return the names of the axes in an expression."""
    return {a.axis for a in atoms_in(index) if isinstance(a, AxisIndex)}


def values_in(index: Affine) -> set[str]:
    """Return the names of the values in an expression."""
    return {a.value for a in atoms_in(index) if isinstance(a, ValueIndex)}
