"""Tiles: which axes of a kernel a program holds, as variables with masks.

A `Dim` is one dimension of a program's tile: some axes of the kernel, flattened. A
`Frame` is the dimensions that values are held along, with the text of the variables:
``xindex``, the positions ``x_i = xindex // 8 % 4`` along each axis, ``xmask``.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from math import prod

from .indices import identifier


@dataclass(frozen=True)
class Dim:
    """One dimension of a tile.

    Parameters
    ----------
    letter : str
        ``x``, ``r``, ...: what the names start with.
    axes : tuple of str
        Axes of the kernel, outermost first.
    extents : tuple of int
    block : int
        Elements held at a time, a power of two.
    place : str
        Its place in the tile's shape: ``""``, ``"[:, None]"`` or ``"[None, :]"``.
    block_name : str
        The constexpr of `block`.
    """

    letter: str
    axes: tuple[str, ...]
    extents: tuple[int, ...]
    block: int
    place: str
    block_name: str

    @property
    def numel(self) -> int:
        """Elements in all."""
        return prod(self.extents)

    @property
    def steps(self) -> int:
        """How many blocks there are."""
        return -(-self.numel // self.block)

    @property
    def index(self) -> str:
        """The variable of the flattened position."""
        return f"{self.letter}index"

    @property
    def mask(self) -> str | None:
        """The variable that says which positions exist; None if all do."""
        return (
            f"{self.letter}mask" if self.numel % self.block or not self.numel else None
        )

    @property
    def numel_name(self) -> str:
        """The constexpr of `numel`."""
        return f"{self.letter}numel"

    def axis_name(self, axis: str) -> str:
        """Return the variable of the position along one of its axes."""
        if len(self.axes) == 1:
            return self.index
        return identifier(axis, f"{self.letter}_")

    def lines(self, used: Iterable[str]) -> list[str]:
        """Return the mask, and the positions along the axes in `used`."""
        out = []
        if self.mask:
            out.append(f"{self.mask} = {self.index} < {self.numel_name}")
        if len(self.axes) == 1:
            return out
        wanted, inner = set(used), self.numel
        for axis, extent in zip(self.axes, self.extents, strict=True):
            inner //= max(extent, 1)
            text = self.index if inner == 1 else f"{self.index} // {inner}"
            if axis != self.axes[0]:
                text = f"{text} % {extent}"
            if axis in wanted:
                out.append(f"{self.axis_name(axis)} = {text}")
        return out


@dataclass(frozen=True)
class Frame:
    """The dimensions of a tile.

    Parameters
    ----------
    dims : tuple of Dim
    scalars : mapping of str to str
        Axes that a program has one position along, and the variable of it.
    """

    dims: tuple[Dim, ...]
    scalars: Mapping[str, str]

    @property
    def shape(self) -> str:
        """The shape of a tile, as text."""
        return "[" + ", ".join(d.block_name for d in self.dims) + "]"

    @property
    def point(self) -> str:
        """The shape of a tile of one element."""
        return "[" + ", ".join("1" for _ in self.dims) + "]"

    def axis_name(self, axis: str) -> str:
        """Return the variable of the position along an axis."""
        if axis in self.scalars:
            return self.scalars[axis]
        dim = next(d for d in self.dims if axis in d.axes)
        return dim.axis_name(axis)

    def masks(self, axes: Iterable[str]) -> list[str]:
        """Return the masks of the dimensions that `axes` are in."""
        along = set(axes)
        return [d.mask for d in self.dims if d.mask and along & set(d.axes)]

    def letters(self, axes: Iterable[str]) -> frozenset[str]:
        """Return the letters of the dimensions that `axes` are in."""
        along = set(axes)
        return frozenset(d.letter for d in self.dims if along & set(d.axes))
