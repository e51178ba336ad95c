"""Index expressions as LLVM text: scalars, vectors of lanes, and what is known of both.

Needs the extents of a kernel's axes. `bounds_of` gives static bounds, by which checks
are dropped and division becomes unsigned; `Access` splits a load's or store's address
into what is linear in the axes (added up loop by loop) and the rest (evaluated where
the access is).
"""

from collections.abc import Iterator, Mapping

import numpy as np

from ...kernels.kernel import Buffer, Load, Store
from ...kernels.maps import Affine, AxisIndex, FloorDiv, IndexAtom, Mod, ValueIndex
from ...records import dataclass
from .text import Emitter, constant, iota, vec

Interval = tuple[int, int]
Index = int | str
_NARROW = 2**31


def bounds_of(index: Affine, extents: Mapping[str, int]) -> Interval | None:
    """Return the least and greatest value of an expression; None if unknown."""
    low = high = index.constant
    for atom, coefficient in index.terms:
        inner = _atom_bounds(atom, extents)
        if inner is None:
            return None
        ends = (inner[0] * coefficient, inner[1] * coefficient)
        low, high = low + min(ends), high + max(ends)
    return low, high


def _atom_bounds(atom: IndexAtom, extents: Mapping[str, int]) -> Interval | None:
    if isinstance(atom, AxisIndex):
        return 0, max(extents[atom.axis] - 1, 0)
    if isinstance(atom, ValueIndex):
        return None
    inner = bounds_of(atom.inner, extents)
    if isinstance(atom, FloorDiv):
        return inner and (inner[0] // atom.divisor, inner[1] // atom.divisor)
    if inner and inner[0] >= 0 and inner[1] < atom.divisor:
        return inner
    return 0, atom.divisor - 1


def axes_in(index: Affine) -> set[str]:
    """Return the axes that an expression names."""
    return {atom.axis for atom in _names_in(index) if isinstance(atom, AxisIndex)}


def values_in(index: Affine) -> set[str]:
    """Return the kernel values that an expression names."""
    return {atom.value for atom in _names_in(index) if isinstance(atom, ValueIndex)}


def _names_in(index: Affine) -> Iterator[AxisIndex | ValueIndex]:
    for atom, _ in index.terms:
        if isinstance(atom, FloorDiv | Mod):
            yield from _names_in(atom.inner)
        else:
            yield atom


@dataclass(frozen=True)
class Checked:
    """An index computed at run time: wrapped, checked and clamped, or only clamped."""

    index: Affine
    dimension: int
    extent: int
    clip: bool


@dataclass(frozen=True)
class Access:
    """The address of a load or store, in elements from the buffer's pointer.

    Parameters
    ----------
    buffer : str
    dtype : numpy.dtype
    constant : int
    linear : mapping of axis to int
        Coefficients of the axes that enter linearly.
    dynamic : tuple of (expression, stride)
        What has to be evaluated where the access is.
    checked : tuple of (Checked, stride)
    """

    buffer: str
    dtype: np.dtype
    constant: int
    linear: Mapping[str, int]
    dynamic: tuple[tuple[Affine, int], ...]
    checked: tuple[tuple[Checked, int], ...]


def access_of(op: Load | Store, buffer: Buffer) -> Access:
    """Return where `op` touches `buffer`."""
    checks = op.check if isinstance(op, Load) else ()
    clip = isinstance(op, Load) and op.clip
    start = 0
    linear: dict[str, int] = {}
    dynamic: list[tuple[Affine, int]] = []
    checked: list[tuple[Checked, int]] = []
    rows = zip(op.map, buffer.shape, buffer.strides, strict=True)
    for dimension, (index, extent, stride) in enumerate(rows):
        if dimension in checks:
            checked.append((Checked(index, dimension, extent, clip), stride))
            continue
        start += index.constant * stride
        for atom, coefficient in index.terms:
            if isinstance(atom, AxisIndex):
                at = linear.get(atom.axis, 0) + coefficient * stride
                linear[atom.axis] = at
            else:
                dynamic.append((Affine(((atom, 1),)), coefficient * stride))
    kept = {axis: c for axis, c in linear.items() if c}
    useful = tuple((index, s) for index, s in dynamic if s)
    return Access(buffer.name, buffer.dtype, start, kept, useful, tuple(checked))


def add(em: Emitter, a: Index, b: Index) -> Index:
    """Return a + b, folded where both are known."""
    if isinstance(a, int) and isinstance(b, int):
        return a + b
    if a == 0 or b == 0:
        return b if a == 0 else a
    return em.op(f"add nsw i64 {a}, {b}")


def multiply(em: Emitter, a: Index, factor: int) -> Index:
    """Return a · factor, folded where it is known."""
    if isinstance(a, int):
        return a * factor
    if factor in (0, 1):
        return a if factor else 0
    return em.op(f"mul nsw i64 {a}, {factor}")


def scaled(em: Emitter, a: Index, factor: Index) -> Index:
    """Return a · factor, which may be a register."""
    if isinstance(factor, int):
        return multiply(em, a, factor)
    if isinstance(a, int):
        return multiply(em, factor, a)
    return em.op(f"mul nsw i64 {a}, {factor}")


class Evaluator:
    """Writes index expressions at one place of the loop nest.

    Parameters
    ----------
    em : Emitter
    extents : mapping of axis to int
    index : mapping of axis to Index
        Positions along the axes of open loops; of the vector axis, that of the first
        vector of a block.
    vector_axis : str or None
    lanes : int
    values : mapping of name to (register, is vector)
        Integer kernel values, for indices read from memory, widened to i64.
    offset : int
        How far lane 0 is from the start of the block.
    """

    def __init__(
        self,
        em: Emitter,
        extents: Mapping[str, int],
        index: Mapping[str, Index],
        vector_axis: str | None,
        lanes: int,
        values: Mapping[str, tuple[str, bool]],
        offset: int,
    ) -> None:
        self._em = em
        self._extents = extents
        self._index = index
        self._axis = vector_axis
        self._lanes = lanes
        self._values = values
        self._offset = offset

    def is_vector(self, index: Affine) -> bool:
        """Tell whether an expression differs between lanes."""
        return any(self._differs(atom) for atom, _ in index.terms)

    def step(self, index: Affine) -> int | None:
        """Return how much an expression grows from lane to lane; None if it varies."""
        total = 0
        for atom, coefficient in index.terms:
            if self._differs(atom):
                if not self._is_step(atom):
                    return None
                total += coefficient
        return total

    def _differs(self, atom: IndexAtom) -> bool:
        if isinstance(atom, AxisIndex):
            return atom.axis == self._axis
        if isinstance(atom, ValueIndex):
            return self._values[atom.value][1]
        is_same = isinstance(atom, FloorDiv) and self._is_run(atom)
        return self.is_vector(atom.inner) and not is_same

    def _is_step(self, atom: IndexAtom) -> bool:
        """Tell whether an atom grows by one from lane to lane."""
        if isinstance(atom, Mod):
            return self._is_run(atom)
        return atom == AxisIndex(self._axis or "")

    def _is_run(self, atom: FloorDiv | Mod) -> bool:
        """Tell whether no multiple of the divisor lies inside of a vector.

        Vectors begin at multiples of their length: all loops along them do.
        """
        ends = atom.divisor % self._lanes == 0 == atom.inner.constant % self._lanes
        return ends and all(self._begins_whole(*term) for term in atom.inner.terms)

    def _begins_whole(self, atom: IndexAtom, coefficient: int) -> bool:
        """Tell whether a term is a multiple of a vector's length in lane 0."""
        if self._is_step(atom):
            return coefficient == 1
        return not self._differs(atom) and coefficient % self._lanes == 0

    def bounds(self, index: Affine) -> Interval | None:
        """Return static bounds of an expression."""
        return bounds_of(index, self._extents)

    def narrowest(self, index: Affine) -> str:
        """Return the integer type that holds an expression and its parts."""
        parts = [index]
        for atom, _ in index.terms:
            if isinstance(atom, FloorDiv | Mod):
                parts.append(atom.inner)
        for part in parts:
            known = self.bounds(part)
            if known is None or known[0] <= -_NARROW or known[1] >= _NARROW:
                return "i64"
        return "i32"

    # Scalars

    def scalar(self, index: Affine) -> Index:
        """Return an expression that is the same in all lanes, as i64."""
        total: Index = index.constant
        for atom, coefficient in index.terms:
            value = multiply(self._em, self._scalar_atom(atom), coefficient)
            total = add(self._em, total, value)
        return total

    def _scalar_atom(self, atom: IndexAtom) -> Index:
        if isinstance(atom, AxisIndex):
            first = self._index[atom.axis]
            is_moved = atom.axis == self._axis
            return add(self._em, first, self._offset) if is_moved else first
        if isinstance(atom, ValueIndex):
            return self._values[atom.value][0]
        inner = self.scalar(atom.inner)
        if isinstance(inner, int):
            whole = isinstance(atom, FloorDiv)
            return inner // atom.divisor if whole else inner % atom.divisor
        return self._divide(atom, inner, "i64", 1)

    # Vectors

    def vector(self, index: Affine, element: str) -> str:
        """Return an expression in all lanes, in the integer type `element`."""
        em, lanes = self._em, self._lanes
        type_ = vec(element, lanes)
        total = ""
        shared = Affine((), index.constant)
        for atom, coefficient in index.terms:
            part = Affine(((atom, 1),))
            if not self.is_vector(part):
                shared = shared + part * coefficient
                continue
            if self._is_step(atom):
                shared = shared + part * coefficient
            value = self._vector_atom(atom, element)
            if coefficient != 1:
                factor = constant(element, coefficient, lanes)
                value = em.op(f"mul {type_} {value}, {factor}")
            total = em.op(f"add {type_} {total}, {value}") if total else value
        start = self._splat(self.scalar(shared), element)
        return em.op(f"add {type_} {total}, {start}") if total else start

    def _splat(self, value: Index, element: str) -> str:
        em = self._em
        if isinstance(value, int):
            return constant(element, value, self._lanes)
        if element != "i64":
            value = em.op(f"trunc i64 {value} to {element}")
        return em.splat(element, value, self._lanes)

    def _vector_atom(self, atom: IndexAtom, element: str) -> str:
        """What counts lanes gives their offsets only: `vector` adds where lane 0 is."""
        if isinstance(atom, AxisIndex) or self._is_step(atom):
            return iota(element, self._lanes)
        if isinstance(atom, ValueIndex):
            return self._values[atom.value][0]
        return self._divide(
            atom, self.vector(atom.inner, element), element, self._lanes
        )

    def _divide(
        self, atom: FloorDiv | Mod, inner: str, element: str, lanes: int
    ) -> str:
        em, type_ = self._em, vec(element, lanes)
        divisor = constant(element, atom.divisor, lanes)
        known = self.bounds(atom.inner)
        if known is not None and known[0] >= 0:
            op = "udiv" if isinstance(atom, FloorDiv) else "urem"
            return em.op(f"{op} {type_} {inner}, {divisor}")
        rest = em.op(f"srem {type_} {inner}, {divisor}")
        zero = constant(element, 0, lanes)
        below = em.op(f"icmp slt {type_} {rest}, {zero}")
        mask = vec("i1", lanes)
        if isinstance(atom, Mod):
            up = em.op(f"add {type_} {rest}, {divisor}")
            return em.op(f"select {mask} {below}, {type_} {up}, {type_} {rest}")
        quotient = em.op(f"sdiv {type_} {inner}, {divisor}")
        less = em.op(f"sext {mask} {below} to {type_}")
        return em.op(f"add {type_} {quotient}, {less}")
