"""View steps: how a view reads from, and writes to, what it is a view of.

A traced array is a storage and a chain of steps. `read` gives the view's value from the
base's; `write` gives the base's new value from the view's.
"""

from collections.abc import Sequence
from typing import Literal, Protocol, TypeAlias

import numpy as np

from ..ir.aval import Shape
from ..ir.builder import Builder
from ..ir.graph import Atom
from ..ir.ops.elementwise import complex_p, imag_p, real_p
from ..ir.ops.shape import (
    broadcast_to,
    inverse_permutation,
    reshape,
    rev_p,
    slice_bounds,
    slice_p,
    sliding_window_p,
    transpose_p,
    update_slice_p,
)
from ..records import dataclass

# How a copy is laid out: by rows, by columns, or as the array it is made of.
Order: TypeAlias = Literal["C", "F", "A", "K"]


class ViewStep(Protocol):
    """One step from a base to a view of it."""

    def read(self, b: Builder, base: Atom) -> Atom:
        """Return the view's value."""

    def write(self, b: Builder, base: Atom, view: Atom) -> Atom:
        """Return the base's value after the view was set to `view`."""

    def apply(self, base: np.ndarray) -> np.ndarray:
        """Return the view of an array."""


@dataclass(frozen=True)
class Strided:
    """Basic indexing: start, positive stride and count per axis, some reversed.

    Parameters
    ----------
    start, stride, count : tuple of int
        Per axis of the base, in increasing order of position.
    reversed : tuple of int
        Axes read backwards.
    shape : tuple of int
        The view's shape: integer indices dropped, new axes of one inserted.
    """

    start: Shape
    stride: Shape
    count: Shape
    reversed: Shape
    shape: Shape

    def apply(self, base: np.ndarray) -> np.ndarray:
        stop = slice_bounds(self.count, self.start, self.stride)
        spans = zip(self.start, stop, self.stride, strict=True)
        x = np.flip(base[tuple(slice(*s) for s in spans)], self.reversed)
        return x.reshape(self.shape)

    def read(self, b: Builder, base: Atom) -> Atom:
        stop = slice_bounds(self.count, self.start, self.stride)
        x = b.emit(slice_p, base, start=self.start, stop=stop, stride=self.stride)
        if self.reversed:
            x = b.emit(rev_p, x, axes=self.reversed)
        return reshape(b, x, self.shape)

    def write(self, b: Builder, base: Atom, view: Atom) -> Atom:
        x = reshape(b, view, self.count)
        if self.reversed:
            x = b.emit(rev_p, x, axes=self.reversed)
        return b.emit(update_slice_p, base, x, start=self.start, stride=self.stride)


@dataclass(frozen=True)
class Transposed:
    """Axes permuted."""

    perm: Shape

    def apply(self, base: np.ndarray) -> np.ndarray:
        return base.transpose(self.perm)

    def read(self, b: Builder, base: Atom) -> Atom:
        return b.emit(transpose_p, base, perm=self.perm)

    def write(self, b: Builder, base: Atom, view: Atom) -> Atom:
        return b.emit(transpose_p, view, perm=inverse_permutation(self.perm))


@dataclass(frozen=True)
class Reshaped:
    """Another shape over the same elements in the same order."""

    shape: Shape

    def apply(self, base: np.ndarray) -> np.ndarray:
        return base.reshape(self.shape)

    def read(self, b: Builder, base: Atom) -> Atom:
        return reshape(b, base, self.shape)

    def write(self, b: Builder, base: Atom, view: Atom) -> Atom:
        return reshape(b, view, base.aval.shape)


@dataclass(frozen=True)
class Broadcasted:
    """`np.broadcast_to`: read-only, so `write` is never reached."""

    shape: Shape

    def apply(self, base: np.ndarray) -> np.ndarray:
        return np.broadcast_to(base, self.shape)

    def read(self, b: Builder, base: Atom) -> Atom:
        return broadcast_to(b, base, self.shape)

    def write(self, b: Builder, base: Atom, view: Atom) -> Atom:
        raise ValueError("assignment destination is read-only")


@dataclass(frozen=True)
class Windows:
    """`sliding_window_view` along one axis: read-only, so `write` is never reached."""

    axis: int
    size: int

    def apply(self, base: np.ndarray) -> np.ndarray:
        return np.lib.stride_tricks.sliding_window_view(base, self.size, self.axis)

    def read(self, b: Builder, base: Atom) -> Atom:
        return b.emit(sliding_window_p, base, axis=self.axis, size=self.size)

    def write(self, b: Builder, base: Atom, view: Atom) -> Atom:
        raise ValueError("assignment destination is read-only")


@dataclass(frozen=True)
class RealPart:
    """The real parts of a complex array."""

    def apply(self, base: np.ndarray) -> np.ndarray:
        return base.real

    def read(self, b: Builder, base: Atom) -> Atom:
        return b.emit(real_p, base)

    def write(self, b: Builder, base: Atom, view: Atom) -> Atom:
        return b.emit(complex_p, view, b.emit(imag_p, base))


@dataclass(frozen=True)
class ImaginaryPart:
    """The imaginary parts of a complex array."""

    def apply(self, base: np.ndarray) -> np.ndarray:
        return base.imag

    def read(self, b: Builder, base: Atom) -> Atom:
        return b.emit(imag_p, base)

    def write(self, b: Builder, base: Atom, view: Atom) -> Atom:
        return b.emit(complex_p, b.emit(real_p, base), view)


def read_chain(b: Builder, base: Atom, chain: Sequence[ViewStep]) -> Atom:
    """Return the value at the end of `chain`."""
    for step in chain:
        base = step.read(b, base)
    return base


def write_chain(b: Builder, base: Atom, chain: Sequence[ViewStep], view: Atom) -> Atom:
    """Return the base's value after the end of `chain` was set to `view`."""
    values = [base]
    for step in chain[:-1]:
        values.append(step.read(b, values[-1]))
    for step, value in zip(reversed(chain), reversed(values), strict=False):
        view = step.write(b, value, view)
    return view
