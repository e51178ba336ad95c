"""What a convolution kernel computes, read off its index maps.

Needs a kernel of the form that `tracejit.kernels.conv` writes; establishes
`Convolution` (extents and strides by role) and, along each spatial axis, `Line`: places
that step evenly through the operand, and taps at offsets from them. A line is what a
block of the operand is packed by: taps whose offsets differ by a multiple of the step
see the same packed row, shifted.
"""

from dataclasses import dataclass
from math import gcd

import numpy as np

from ...kernels.kernel import Buffer, Contract, Kernel, Load, Store
from ...kernels.maps import Affine, AxisIndex, FloorDiv, Map

REALS = (np.dtype(np.float32), np.dtype(np.float64))


@dataclass(frozen=True)
class Window:
    """One spatial axis: result y and tap t read ``(y*stride + t*step - low) / holes``.

    Parameters
    ----------
    extent, places, taps : int
        Of the operand, the result and the filters.
    stride, step, low, holes : int
        `holes` is the dilation of the operand: where something remains nothing is read.
    x, w, out : int
        Strides in memory, in elements.
    """

    extent: int
    places: int
    taps: int
    stride: int
    step: int
    low: int
    holes: int
    x: int
    w: int
    out: int


@dataclass(frozen=True)
class Role:
    """An axis that is not spatial: its extent, and strides in x, w and the result."""

    extent: int
    x: int
    w: int
    out: int


@dataclass(frozen=True)
class Convolution:
    """A convolution.

    Parameters
    ----------
    dtype : numpy.dtype
    batch, group, filters, channels : Role
    windows : tuple of Window
        At least two; the first of one spatial axis is trivial.
    buffers : tuple of str
        Names of x, w and the result.
    """

    dtype: np.dtype
    batch: Role
    group: Role
    filters: Role
    channels: Role
    windows: tuple[Window, ...]
    buffers: tuple[str, str, str]


@dataclass(frozen=True)
class Line:
    """Places along one axis of a block: place q, tap k read ``q*stride + offset[k]``.

    Parameters
    ----------
    extent : int
        Of the operand.
    places, stride : int
    taps : tuple of (int, int)
        The number of each tap, and its offset.
    memory : int
        Stride of the operand, in elements.
    """

    extent: int
    places: int
    stride: int
    taps: tuple[tuple[int, int], ...]
    memory: int

    @property
    def first(self) -> int:
        """The least offset."""
        return min(offset for _, offset in self.taps)

    @property
    def phases(self) -> tuple[int, ...]:
        """Offsets from the first, modulo the stride, that taps have."""
        return tuple(sorted({(o - self.first) % self.stride for _, o in self.taps}))

    @property
    def halo(self) -> int:
        """How far packed rows go on after the places."""
        return max((o - self.first) // self.stride for _, o in self.taps)

    def tap(self, offset: int) -> tuple[int, int]:
        """Return which packed row a tap reads, and how far it is shifted."""
        shift, phase = divmod(offset - self.first, self.stride)
        return self.phases.index(phase), shift


def convolution_of(kernel: Kernel) -> Convolution | None:
    """Return the convolution that a kernel is; None if it is something else.

    Products of single elements without padding are left to matrix products.
    """
    if [type(op) for op in kernel.body] != [Load, Load, Contract, Store]:
        return None
    left, right, contract, store = kernel.body
    assert isinstance(left, Load)
    assert isinstance(right, Load)
    assert isinstance(contract, Contract)
    assert isinstance(store, Store)
    buffers = [kernel.buffer(op.buffer) for op in (left, right, store)]
    spatial = len(left.map) - 3
    fits = spatial >= 1 and len(right.map) == len(store.map) == spatial + 3
    if not fits or any(b.dtype not in REALS for b in buffers):
        return None
    if [contract.lhs, contract.rhs] != [left.result, right.result]:
        return None
    if contract.axes != tuple(map(_axis_name, right.map[2:])):
        return None
    roles = _roles(kernel, (left.map, right.map, store.map), buffers)
    if roles is None:
        return None
    windows = []
    for d in range(3, spatial + 3):
        at = [op.map[d] for op in (left, right, store)]
        window = _window(kernel, at[0], at[1], at[2], [b.strides[d] for b in buffers])
        if window is None:
            return None
        windows.append(window)
    if all(w.taps == 1 and w.holes == 1 for w in windows) and not left.bounds:
        return None
    if spatial == 1:
        windows.insert(0, Window(1, 1, 1, 1, 1, 0, 1, 0, 0, 0))
    names = (left.buffer, right.buffer, store.buffer)
    return Convolution(buffers[0].dtype, *roles, tuple(windows), names)


def _roles(
    kernel: Kernel, maps: tuple[Map, Map, Map], buffers: list[Buffer]
) -> tuple[Role, Role, Role, Role] | None:
    """Return batch, group, filters and channels."""
    places = (
        ((0, 0), (2, 0)),
        ((0, 1), (1, 0), (2, 1)),
        ((1, 1), (2, 2)),
        ((0, 2), (1, 2)),
    )
    out = []
    for uses in places:
        names = [_axis_name(maps[which][d]) for which, d in uses]
        if names[0] is None or len(set(names)) != 1:
            return None
        strides = [0, 0, 0]
        for which, d in uses:
            strides[which] = buffers[which].strides[d]
        out.append(Role(kernel.extent(names[0]), *strides))
    return out[0], out[1], out[2], out[3]


def _axis_name(index: Affine) -> str | None:
    """Return the axis that an index is, and nothing else."""
    if index.constant or len(index.terms) != 1:
        return None
    atom, coefficient = index.terms[0]
    return atom.axis if isinstance(atom, AxisIndex) and coefficient == 1 else None


def _window(
    kernel: Kernel, x: Affine, w: Affine, out: Affine, strides: list[int]
) -> Window | None:
    place, tap, holes = _axis_name(out), _axis_name(w), 1
    if place is None or tap is None:
        return None
    if len(x.terms) == 1 and isinstance(x.terms[0][0], FloorDiv):
        if x.constant or x.terms[0][1] != 1:
            return None
        holes = x.terms[0][0].divisor
        x = x.terms[0][0].inner
    factors = {a.axis: c for a, c in x.terms if isinstance(a, AxisIndex)}
    if len(factors) != len(x.terms) or set(factors) != {place, tap}:
        return None
    extent = kernel.buffer(_loaded(kernel)).shape[_dimension(kernel, place)]
    return Window(
        extent,
        kernel.extent(place),
        kernel.extent(tap),
        factors[place],
        factors[tap],
        -x.constant,
        holes,
        *strides,
    )


def _loaded(kernel: Kernel) -> str:
    load = kernel.body[0]
    assert isinstance(load, Load)
    return load.buffer


def _dimension(kernel: Kernel, place: str) -> int:
    store = kernel.body[-1]
    assert isinstance(store, Store)
    return next(d for d, i in enumerate(store.map) if _axis_name(i) == place)


@dataclass(frozen=True)
class Part:
    """The results along one axis that see the same taps.

    Parameters
    ----------
    line : Line or None
        None where no tap is seen: these results are zero.
    start, step : int
        Of the results.
    places : int
    """

    line: Line | None
    start: int
    step: int
    places: int


def parts_of(window: Window) -> list[Part]:
    """Return the results of one axis, by which taps they see.

    Where the operand is dilated by L and the stride is s, results repeat their taps
    with a period of L / gcd(s, L).
    """
    period = window.holes // gcd(window.stride, window.holes)
    out = []
    for start in range(min(period, window.places)):
        places = -(-(window.places - start) // period)
        taps = []
        for k in range(window.taps):
            at = start * window.stride + k * window.step - window.low
            if at % window.holes == 0:
                taps.append((k, at // window.holes))
        line = None
        if taps:
            stride = period * window.stride // window.holes
            line = Line(window.extent, places, stride, tuple(taps), window.x)
        out.append(Part(line, start, period, places))
    return out
