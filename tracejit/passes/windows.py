"""Operations over windows become views and elementwise operations, which fuse.

A maximum over windows is a chain over the places in a window, each a slice of the
operand by the strides (padded where it leaves it); positions go along. Placing looks
the other way: each element asks the few windows that reach it whether it was theirs,
through repeated and shifted copies of their positions. Nothing is scattered.

Before → after::

    %0: f32[2] = window_max %x {window=(2), strides=(2), low=(0), high=(0)}
    ---
    %0: f32[2] = slice %x {start=(0), stop=(3), stride=(2)}
    %1: f32[2] = slice %x {start=(1), stop=(4), stride=(2)}
    ...                                               (%1 if greater or NaN, else %0)
"""

from collections.abc import Iterator
from itertools import product
from math import prod

from ..ir import dtypes as dt
from ..ir.aval import Shape
from ..ir.builder import Builder
from ..ir.graph import Atom, Eqn, Graph, Literal
from ..ir.ops.elementwise import (
    add_p,
    and_p,
    eq_p,
    ge_p,
    le_p,
    lt_p,
    not_p,
    or_p,
    select_p,
)
from ..ir.ops.shape import (
    broadcast_in_dim_p,
    full_like,
    ints,
    iota_p,
    pad_p,
    reshape,
    slice_p,
)
from ..ir.ops.window import (
    INT32,
    WINDOWS,
    lowest,
    window_max_p,
    window_pick_p,
    window_place_p,
)
from ..ir.primitive import Params
from ..records import dataclass
from .manager import PassContext, on_all_graphs


def expand_windows(graph: Graph, context: PassContext) -> Graph:
    """Expand the operations over windows, in sub-graphs too."""
    return on_all_graphs(graph, lambda g: _expand(g, context))


def _expand(graph: Graph, context: PassContext) -> Graph:
    if not any(e.primitive in WINDOWS for e in graph.eqns):
        return graph
    b = Builder(graph.name, value_number=True, stats=context.stats)

    def emit(eqn: Eqn, ins: list[Atom]) -> tuple[Atom, ...]:
        if eqn.primitive not in WINDOWS or not context.may_fire("expand_window"):
            return b.emit_all(eqn.primitive, ins, eqn.params)
        context.stats.fired["expand_window"] += 1
        return (_expansion(b, eqn, ins),)

    return b.build(b.replay(graph, b.inputs_of(graph), emit))


def _expansion(b: Builder, eqn: Eqn, ins: list[Atom]) -> Atom:
    shape = eqn.outvars[0].aval.shape
    if eqn.primitive is window_place_p:
        return _placed(b, ins[0], ins[1], shape, eqn.params)
    windows = _Windows(b, ins[0].aval.shape, shape, eqn.params)
    if eqn.primitive is window_pick_p:
        return _picked(windows, ins[0], ins[1])
    best, index = _maxima(windows, ins[0])
    return best if eqn.primitive is window_max_p else index


@dataclass(frozen=True)
class _Tap:
    """One place in a window: the part of the operand it sees, by the strides.

    Parameters
    ----------
    start, stop, stride : tuple of int
        Of the operand.
    low, high : tuple of int
        Results before and after, for which it lies in the padding.
    """

    start: Shape
    stop: Shape
    stride: Shape
    low: Shape
    high: Shape

    @property
    def is_padded(self) -> bool:
        """Whether it lies in the padding for any result."""
        return any(self.low) or any(self.high)


class _Windows:
    """The windows over one operand.

    Parameters
    ----------
    b : Builder
    shape, out : tuple of int
        Of the operand and of the result.
    params : mapping
    """

    def __init__(self, b: Builder, shape: Shape, out: Shape, params: Params) -> None:
        self.b, self.shape, self.out = b, shape, out
        self.window, self.strides = ints(params, "window"), ints(params, "strides")
        self.before = ints(params, "low")
        self.lead = len(shape) - len(self.window)

    def taps(self) -> Iterator[_Tap]:
        """Yield the places of a window, row-major; not those that are all padding."""
        for at in product(*map(range, self.window)):
            rows = [
                _along(self.shape[d], self.out[d], t - a, s)
                for d, t, a, s in zip(
                    range(self.lead, len(self.shape)),
                    at,
                    self.before,
                    self.strides,
                    strict=True,
                )
            ]
            if any(row is None for row in rows):
                continue
            lead = [(0, n, 1, 0, 0) for n in self.shape[: self.lead]]
            yield _Tap(*zip(*lead, *(row for row in rows if row), strict=True))

    def see(self, x: Atom, tap: _Tap, fill: Literal) -> Atom:
        """Return what one place in each window holds."""
        stride = tap.stride
        part = self.b.emit(slice_p, x, start=tap.start, stop=tap.stop, stride=stride)
        if not tap.is_padded:
            return part
        return self.b.emit(pad_p, part, fill, low=tap.low, high=tap.high)

    def positions(self) -> Atom:
        """Return the position of each element along the windowed axes, flat."""
        extents = self.shape[self.lead :]
        count = self.b.emit(iota_p, shape=(prod(extents),), axis=0, dtype=INT32)
        field = reshape(self.b, count, extents)
        dims = tuple(range(self.lead, len(self.shape)))
        return self.b.emit(broadcast_in_dim_p, field, shape=self.shape, dims=dims)


def _along(
    extent: int, count: int, offset: int, stride: int
) -> tuple[int, int, int, int, int] | None:
    """Return (start, stop, stride, low, high) of one axis; None if nothing is seen.

    Result y sees the element at ``y * stride + offset``.
    """
    first = max(0, -(offset // stride))
    last = min(count, -(-(extent - offset) // stride))
    if last <= first:
        return None
    start = first * stride + offset
    stop = (last - 1) * stride + offset + 1
    return start, stop, stride, first, count - last


def _maxima(windows: _Windows, x: Atom) -> tuple[Atom, Atom]:
    """Return the maxima and their positions: a later place wins if greater, or NaN."""
    b = windows.b
    fill = b.literal(lowest(x.aval.dtype), x.aval.dtype)
    field = windows.positions()
    best: Atom | None = None
    index: Atom | None = None
    for tap in windows.taps():
        value = windows.see(x, tap, fill)
        at = windows.see(field, tap, b.literal(-1, INT32))
        if best is None or index is None:
            best, index = value, at
            continue
        wins = _wins(b, value, best)
        # Padding as the best so far holds the lowest value, which others may equal.
        none_yet = b.emit(lt_p, index, 0)
        inside = b.emit(and_p, none_yet, b.emit(ge_p, at, 0))
        index_wins = b.emit(or_p, wins, inside) if any(windows.before) else wins
        best = b.emit(select_p, wins, value, best)
        index = b.emit(select_p, index_wins, at, index)
    assert best is not None
    assert index is not None
    return best, index


def _wins(b: Builder, value: Atom, best: Atom) -> Atom:
    above = b.emit(not_p, b.emit(le_p, value, best))  # greater, or one is NaN
    if value.aval.dtype not in dt.FLOATS:
        return above
    return b.emit(and_p, above, b.emit(eq_p, best, best))


def _picked(windows: _Windows, x: Atom, index: Atom) -> Atom:
    b = windows.b
    zero, none = b.literal(0, x.aval.dtype), b.literal(-1, INT32)
    field = windows.positions()
    out: Atom = full_like(b, 0, x.aval.with_shape(windows.out))
    for tap in windows.taps():
        hit = b.emit(eq_p, index, windows.see(field, tap, none))
        out = b.emit(select_p, hit, windows.see(x, tap, zero), out)
    return out


def _placed(b: Builder, x: Atom, index: Atom, shape: Shape, params: Params) -> Atom:
    """Sum, over the windows that reach an element, what they give to it.

    Along an axis these are the windows ``(p + low) // stride - j`` of element p, for
    ``j < ceil(window / stride)``.
    """
    windows = _Windows(b, shape, x.aval.shape, params)
    zero, none = b.literal(0, x.aval.dtype), b.literal(-1, INT32)
    field = windows.positions()
    reach = [-(-k // s) for k, s in zip(windows.window, windows.strides, strict=True)]
    total: Atom | None = None
    for back in product(*map(range, reach)):
        given = _reaching(windows, x, back, zero)
        at = _reaching(windows, index, back, none)
        if given is None or at is None:
            continue
        term = b.emit(select_p, b.emit(eq_p, at, field), given, zero)
        total = term if total is None else b.emit(add_p, total, term)
    return full_like(b, 0, x.aval.with_shape(shape)) if total is None else total


def _reaching(
    windows: _Windows, x: Atom, back: tuple[int, ...], fill: Literal
) -> Atom | None:
    """Return the value of the window that is `back` before the last over an element."""
    b, lead, strides = windows.b, windows.lead, windows.strides
    spread, dims = list(x.aval.shape[:lead]), list(range(lead))
    for n, s in zip(x.aval.shape[lead:], strides, strict=True):
        dims.append(len(spread))
        spread += [n, s]
    wide = b.emit(broadcast_in_dim_p, x, shape=tuple(spread), dims=tuple(dims))
    extents = [n * s for n, s in zip(x.aval.shape[lead:], strides, strict=True)]
    wide = reshape(b, wide, (*x.aval.shape[:lead], *extents))
    rows = [
        _along(extent, n, a - j * s, 1)
        for extent, n, a, j, s in zip(
            extents, windows.shape[lead:], windows.before, back, strides, strict=True
        )
    ]
    if any(row is None for row in rows):
        return None
    first = [(0, n, 1, 0, 0) for n in x.aval.shape[:lead]]
    tap = _Tap(*zip(*first, *(row for row in rows if row), strict=True))
    return windows.see(wide, tap, fill)
