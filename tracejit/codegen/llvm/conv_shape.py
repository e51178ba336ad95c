"""What a convolution kernel computes, read off its index maps.

Needs a kernel of the form that `tracejit.kernels.conv` writes; establishes
`Convolution` (extents and strides by role) and, along each spatial axis, `Line`: places
that step evenly through the operand, and taps at offsets from them. A line is what a
block of the operand is packed by: taps whose offsets differ by a multiple of the step
see the same packed row, shifted.
"""

from dataclasses import replace
from math import gcd

import numpy as np

from ...ir.dtypes import FLOATS, NARROW_FLOATS
from ...ir.ops.conv import LEADING
from ...kernels.kernel import Buffer, Contract, Kernel, Load, Store, result_of
from ...kernels.maps import Affine, AxisIndex, FloorDiv, Mod, floordiv
from ...records import dataclass

REALS = FLOATS - NARROW_FLOATS


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
    axis : str or None
        The kernel's axis of places, if it has more than one.
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
    axis: str | None = None


@dataclass(frozen=True)
class Role:
    """An axis that is not spatial.

    Parameters
    ----------
    extent : int
    x, w, out : int
        Strides in memory, in elements.
    axis : str or None
        Its name in the kernel, if it has more than one element.
    """

    extent: int
    x: int
    w: int
    out: int
    axis: str | None = None


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
    panel : int
        How many filters lie side by side in panels, the last axis of w; 0 if w has no
        panels. From panel to panel are so many strides of filters.
    """

    dtype: np.dtype
    batch: Role
    group: Role
    filters: Role
    channels: Role
    windows: tuple[Window, ...]
    buffers: tuple[str, str, str]
    panel: int = 0


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


def places_as_taps(w: Window) -> Line:
    """Return the line whose places are the taps of a window, and the reverse."""
    taps = tuple((y, y * w.stride - w.low) for y in range(w.places))
    return Line(w.extent, w.taps, w.step, taps, w.x)


def has_convolution(kernel: Kernel) -> bool:
    """Tell whether the first contraction of a kernel is a convolution."""
    makers = {v.name: op for op in kernel.body if (v := result_of(op))}
    contract = next(op for op in kernel.body if isinstance(op, Contract))
    left, right = makers[contract.lhs.name], makers[contract.rhs.name]
    if not (isinstance(left, Load) and isinstance(right, Load)):
        return False
    stored = Buffer("out", contract.result.dtype, (), ())
    alone = replace(
        kernel,
        outputs=(stored,),
        body=(left, right, contract, Store(stored.name, (), contract.result)),
    )
    return convolution_of(alone) is not None


def convolution_of(kernel: Kernel) -> Convolution | None:
    """Return the convolution that a kernel is; None if it is something else.

    Products of all single elements are left to matrix products.
    """
    if [type(op) for op in kernel.body] != [Load, Load, Contract, Store]:
        return None
    left, right, contract, store = kernel.body
    assert isinstance(left, Load)
    assert isinstance(right, Load)
    assert isinstance(contract, Contract)
    assert isinstance(store, Store)
    right, filters, panel = _without_panels(right, kernel.buffer(right.buffer))
    kernel = replace(
        kernel,
        inputs=tuple(filters if b.name == filters.name else b for b in kernel.inputs),
    )
    buffers = [kernel.buffer(op.buffer) for op in (left, right, store)]
    spatial = len(left.map) - LEADING
    fits = spatial >= 1 and len(right.map) == len(left.map)
    if not fits or any(b.dtype not in REALS for b in buffers):
        return None
    if [contract.lhs, contract.rhs] != [left.result, right.result]:
        return None
    if contract.axes != tuple(map(_axis_name, right.map[2:])):
        return None
    reading = _Reading(kernel, left, right, _strides_along(store, buffers[2]))
    found = reading.convolution()
    if found is None:
        return None
    is_product = all(w.taps == w.holes == w.stride == 1 for w in found.windows)
    return None if is_product and not left.bounds else replace(found, panel=panel)


def _without_panels(load: Load, buffer: Buffer) -> tuple[Load, Buffer, int]:
    """Return a load of filters as if they were in no panels, and how many those have.

    Panels are read at ``[group, filter // p, *taps, channel, filter mod p]``.
    """
    last = load.map[-1].terms
    if len(last) != 1 or not isinstance(last[0][0], Mod):
        return load, buffer, 0
    inner, panel = last[0][0].inner, last[0][0].divisor
    if load.map[1] != floordiv(inner, panel) or buffer.strides[1] % panel:
        return load, buffer, 0
    groups, panels, *taps, channels, _ = buffer.shape
    shape = (groups, panels * panel, channels, *taps)
    group, by, *along, step, _ = buffer.strides
    plain = replace(buffer, shape=shape, strides=(group, by // panel, step, *along))
    place = (load.map[0], inner, load.map[-2], *load.map[2:-2])
    return replace(load, map=place), plain, panel


def _strides_along(store: Store, buffer: Buffer) -> dict[str, int] | None:
    """Return the stride of what is stored along each axis; None if it is no array."""
    out: dict[str, int] = {}
    for index, stride in zip(store.map, buffer.strides, strict=True):
        name = _axis_name(index)
        if name is not None and name not in out:
            out[name] = stride
        elif index.terms or index.constant:
            return None
    return out


@dataclass(frozen=True)
class _Reading:
    """What is read off the loads of a convolution.

    Parameters
    ----------
    kernel : Kernel
    left, right : Load
        Of the operand and of the filters.
    out : mapping of str to int or None
        Strides of the result.
    """

    kernel: Kernel
    left: Load
    right: Load
    out: dict[str, int] | None

    def convolution(self) -> Convolution | None:
        """Return the convolution, if it is one."""
        batch = self._role(0, None)
        group = self._role(1, 0)
        filters = self._role(None, 1)
        channels = self._role(2, 2)
        windows = [self._window(d) for d in range(LEADING, len(self.left.map))]
        if not (batch and group and filters and channels and all(windows)):
            return None
        found = [w for w in windows if w]
        roles = (batch, group, filters)
        known = {r.axis for r in roles} | {w.axis for w in found}
        if self.out is None or not self.out.keys() <= known:
            return None
        if len(found) == 1:
            found.insert(0, Window(1, 1, 1, 1, 1, 0, 1, 0, 0, 0))
        names = self.left.buffer, self.right.buffer, self._stored
        dtype = self.left.result.dtype
        return Convolution(dtype, *roles, channels, tuple(found), names)

    @property
    def _stored(self) -> str:
        store = self.kernel.body[-1]
        assert isinstance(store, Store)
        return store.buffer

    def _role(self, left: int | None, right: int | None) -> Role | None:
        """Return the axis at a dimension of one operand, or the same one of both."""
        names: list[str | None] = []
        strides = [0, 0]
        for k, (d, load) in enumerate(((left, self.left), (right, self.right))):
            if d is not None:
                names.append(_axis_name(load.map[d]))
                strides[k] = self.kernel.buffer(load.buffer).strides[d]
                if names[-1] is None and load.map[d] != Affine():
                    return None
        name = names[0]
        if any(n != name for n in names):
            return None
        if name is None:
            return Role(1, 0, 0, 0)
        by_x, by_w = strides
        return Role(self.kernel.extent(name), by_x, by_w, self._along(name), name)

    def _along(self, name: str | None) -> int:
        return (self.out or {}).get(name or "", 0)

    def _window(self, d: int) -> Window | None:
        """Return what is read along one spatial axis."""
        x, tap, holes = self.left.map[d], _axis_name(self.right.map[d]), 1
        if tap is None:
            return None
        if len(x.terms) == 1 and isinstance(x.terms[0][0], FloorDiv):
            if x.constant or x.terms[0][1] != 1:
                return None
            holes = x.terms[0][0].divisor
            x = x.terms[0][0].inner
        factors = {a.axis: c for a, c in x.terms if isinstance(a, AxisIndex)}
        if len(factors) != len(x.terms) or tap not in factors or len(factors) > 2:
            return None
        place = next((a for a in factors if a != tap), None)
        source, filters = (
            self.kernel.buffer(b.buffer) for b in (self.left, self.right)
        )
        return Window(
            source.shape[d],
            self.kernel.extent(place) if place else 1,
            self.kernel.extent(tap),
            factors.get(place or "", 1),
            factors[tap],
            -x.constant,
            holes,
            source.strides[d],
            filters.strides[d],
            self._along(place),
            place,
        )


def _axis_name(index: Affine) -> str | None:
    """Return the axis that an index is, and nothing else."""
    if index.constant or len(index.terms) != 1:
        return None
    atom, coefficient = index.terms[0]
    return atom.axis if isinstance(atom, AxisIndex) and coefficient == 1 else None


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
