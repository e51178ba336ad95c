"""Where NaN and inf come from: values that carry, for each element, who made it so.

Needs a graph and its inputs. An `OriginFinder` runs the graph in NumPy; beside each
array with elements that are not finite stands an array of numbers, one per element: 0
where it is finite, otherwise the number of its `Origin`. Those above 0 are equations
that made NaN or inf of finite operands, or NaN of operands that are not NaN; those
below 0 are arguments and constants that held it from the start. A number goes with the
element: what a `where` leaves out is forgotten, as are infinities that become 0.

An inf that was given (a mask of -inf) is not blamed for the NaN that a difference makes
of it: the difference is. An inf that was made is.
"""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from ..records import dataclass
from . import dtypes as dt
from .aval import ShapedArray
from .graph import Eqn, Graph, Literal, Var
from .interp import INTERPRETER, Follower, Step
from .lines import is_derivative
from .ops.elementwise import select_p
from .primitive import Array, Kind, Linearity

MOST = 8  # origins that one linear equation tells apart
_NONE = np.iinfo(np.int32).max


class Tracked(NamedTuple):
    """A value, and where its elements that are not finite come from.

    Parameters
    ----------
    value : numpy.ndarray
    origins : numpy.ndarray, optional
        Of its shape; None if all elements are finite.
    """

    value: Array
    origins: Array | None = None


class Operand(NamedTuple):
    """What an operand of a faulty equation held.

    Parameters
    ----------
    aval : ShapedArray
    value : object
        Its element that went into the faulty one; None where many did.
    low, high : object
        Of its finite elements; None if there are none, or they have no order.
    bad : int
        How many elements are not finite.
    """

    aval: ShapedArray
    value: object
    low: object
    high: object
    bad: int


@dataclass(frozen=True)
class Fault:
    """An equation that gave what is not finite.

    Parameters
    ----------
    eqn : Eqn
    path : tuple of Step
        The equations around it, from the outermost.
    result : int
        Which of its results.
    index : tuple of int
        Of the first such element, in C order.
    value : object
        That element.
    count : int
        How many there are.
    operands : tuple of Operand
    """

    eqn: Eqn
    path: tuple[Step, ...]
    result: int
    index: tuple[int, ...]
    value: object
    count: int
    operands: tuple[Operand, ...]


@dataclass
class Origin:
    """Where elements that are not finite come from.

    Parameters
    ----------
    number : int
        Above 0 of those that were made, below 0 of those that were given.
    fault : Fault, optional
        The equation that made it.
    input : int
        The graph's input that held it; -1 if it is a constant.
    index, value, count
        As of a `Fault`.
    in_derivative : bool
        Whether the equation computes a derivative.
    became : Fault, optional
        The equation that first made NaN of the inf that this one made.
    slope : Fault, optional
        Where a value made it, the first equation of a derivative that reads it.
    """

    number: int
    fault: Fault | None = None
    input: int = -1
    index: tuple[int, ...] = ()
    value: object = None
    count: int = 0
    in_derivative: bool = False
    became: Fault | None = None
    slope: Fault | None = None


@dataclass(frozen=True)
class Found:
    """What the outputs of a graph hold that is not finite.

    Parameters
    ----------
    output : int
    index : tuple of int
    value : object
    count : int
        How many such elements that output has.
    origin : Origin
        The first equation in order of execution that an output's element comes from;
        what was given, if none made it.
    """

    output: int
    index: tuple[int, ...]
    value: object
    count: int
    origin: Origin


def is_bad(value: Array, nans_only: bool = False) -> Array:
    """Tell which elements are NaN or inf; of integers none is."""
    if not dt.is_inexact(value.dtype):
        return np.zeros(value.shape, np.bool_)
    bad = np.isnan(value) if nans_only else ~np.isfinite(value)
    return np.asarray(bad)


def find_origin(
    graph: Graph, args: Sequence[Array], nans_only: bool = True
) -> Found | None:
    """Run a graph and say where the first NaN of its outputs comes from.

    Parameters
    ----------
    graph : Graph
        As traced: before passes, with the user's lines.
    args : sequence of numpy.ndarray
        One per input.
    nans_only : bool
        Leave outputs alone that are inf.

    Returns
    -------
    Found or None
        None if the outputs hold nothing of the kind.
    """
    finder = OriginFinder()
    outs = finder.run(graph, [finder.given(x, i) for i, x in enumerate(args)])
    found = [
        finder.first(k, out, nans_only)
        for k, out in enumerate(outs)
        if is_bad(out.value, nans_only).any()
    ]
    return min(found, key=_order, default=None)


def _order(found: Found) -> int:
    """Put what was made before what was given, each in its order."""
    number = found.origin.number
    return number if number > 0 else _NONE + number


class OriginFinder(Follower[Tracked]):
    """Runs graphs and numbers the origins of what is not finite."""

    def __init__(self) -> None:
        super().__init__()
        self.origins: dict[int, Origin] = {}
        self._made = 0
        self._given = 0

    # --- values

    def given(self, value: Array, input: int = -1) -> Tracked:
        """Return an argument or a constant."""
        value = np.asarray(value)
        bad = is_bad(value)
        if not bad.any():
            return Tracked(value)
        self._given -= 1
        index = _first(bad)
        self.origins[self._given] = Origin(
            self._given, None, input, index, value[index], int(bad.sum())
        )
        return Tracked(value, np.where(bad, np.int32(self._given), np.int32(0)))

    def literal(self, x: Literal) -> Tracked:
        """Return the value of a literal."""
        return self.given(np.asarray(x.value))

    def checked(self, value: Tracked, var: Var, what: str) -> Tracked:
        """Return a value of the variable's aval."""
        return Tracked(INTERPRETER.checked(value.value, var, what), value.origins)

    def is_true(self, value: Tracked) -> bool:
        """Tell whether a boolean holds."""
        return INTERPRETER.is_true(value.value)

    def row(self, value: Tracked, index: int) -> Tracked:
        """Return one slice along axis 0."""
        origins = None if value.origins is None else np.asarray(value.origins[index])
        return Tracked(INTERPRETER.row(value.value, index), origins)

    def stacked(self, rows: Sequence[Tracked], aval: ShapedArray) -> Tracked:
        """Return slices stacked along a new axis 0."""
        value = INTERPRETER.stacked([x.value for x in rows], aval)
        if all(x.origins is None for x in rows):
            return Tracked(value)
        origins = np.zeros(value.shape, np.int32)
        for i, x in enumerate(rows):
            if x.origins is not None:
                origins[i] = x.origins
        return Tracked(value, origins)

    def first(self, output: int, value: Tracked, nans_only: bool) -> Found:
        """Return what an output comes from that is bad."""
        bad = is_bad(value.value, nans_only)
        assert value.origins is not None
        numbers = np.unique(value.origins[bad])
        made = numbers[numbers > 0]
        number = int(made[0] if len(made) else numbers[-1])
        index = _first(bad & (value.origins == number))
        origin = self.origins[number]
        return Found(output, index, value.value[index], int(bad.sum()), origin)

    # --- equations

    def compute(self, eqn: Eqn, ins: Sequence[Tracked]) -> Sequence[Tracked]:
        """Return the results of one equation, with their origins."""
        if not eqn.outvars:
            return ()  # prints and checks have happened
        p = eqn.primitive
        outs = p.evaluate([x.value for x in ins], eqn.params)
        if not ins:
            return [self.given(x) for x in outs]
        return [self._traced(eqn, ins, k, np.asarray(x)) for k, x in enumerate(outs)]

    def _traced(
        self, eqn: Eqn, ins: Sequence[Tracked], result: int, out: Array
    ) -> Tracked:
        bad = is_bad(out)
        if not bad.any():
            return Tracked(out)
        origins = _inherited(eqn, ins, out.shape)
        origins = np.where(bad, origins, np.int32(0))
        is_nan = is_bad(out, nans_only=True)
        fresh = is_nan & ~_had_nan(eqn, ins, origins)
        new = bad & ((origins == 0) | (fresh & (origins < 0)))
        if new.any():
            origins = np.where(
                new, np.int32(self._enter(eqn, ins, result, out, new)), origins
            )
        old = bad & ~new
        became = origins[fresh & old]
        for number in np.unique(became)[:MOST] if became.size else ():
            origin = self.origins[int(number)]
            if origin.became is None:
                mask = fresh & (origins == number)
                origin.became = self._fault(eqn, ins, result, out, mask)
        if self._in_derivative(eqn):
            self._read_by(eqn, ins, result, out, np.where(old, origins, 0))
        return Tracked(out, np.asarray(origins))

    def _in_derivative(self, eqn: Eqn) -> bool:
        around = (s.eqn for s in self.path)
        return any(is_derivative(e.source) for e in (eqn, *around))

    def _read_by(
        self, eqn: Eqn, ins: Sequence[Tracked], result: int, out: Array, origins: Array
    ) -> None:
        """Note which values a derivative takes on."""
        for number in np.unique(origins[origins > 0])[:MOST]:
            origin = self.origins[int(number)]
            assert origin.fault is not None
            if origin.slope is None and not origin.in_derivative:
                origin.slope = self._fault(eqn, ins, result, out, origins == number)

    def _enter(
        self, eqn: Eqn, ins: Sequence[Tracked], result: int, out: Array, new: Array
    ) -> int:
        """Note that an equation made elements; return the origin's number."""
        self._made += 1
        fault = self._fault(eqn, ins, result, out, new)
        self.origins[self._made] = Origin(
            self._made,
            fault,
            -1,
            fault.index,
            fault.value,
            fault.count,
            self._in_derivative(eqn),
        )
        return self._made

    def _fault(
        self, eqn: Eqn, ins: Sequence[Tracked], result: int, out: Array, bad: Array
    ) -> Fault:
        index = _first(bad)
        operands = tuple(_operand(eqn, x.value, out.shape, index) for x in ins)
        path = tuple(self.path)
        return Fault(eqn, path, result, index, out[index], int(bad.sum()), operands)


def _first(bad: Array) -> tuple[int, ...]:
    """Return the index of the first true element."""
    return tuple(int(i) for i in np.unravel_index(int(np.argmax(bad)), bad.shape))


def _operand(
    eqn: Eqn, value: Array, shape: tuple[int, ...], index: tuple[int, ...]
) -> Operand:
    at: object = None
    if value.ndim == 0:
        at = value[()]
    elif eqn.primitive.kind is Kind.ELEMENTWISE and value.shape == shape:
        at = value[index]
    bad = is_bad(value)
    good = value[~bad]
    has_order = good.size and value.dtype.kind != "c"
    low, high = (good.min(), good.max()) if has_order else (None, None)
    return Operand(ShapedArray(value.shape, value.dtype), at, low, high, int(bad.sum()))


# --- which operand an element comes from ------------------------------------------


def _inherited(eqn: Eqn, ins: Sequence[Tracked], shape: tuple[int, ...]) -> Array:
    """Return for each element of a result the origin that it has from operands."""
    if all(x.origins is None for x in ins):
        return np.zeros(shape, np.int32)
    p = eqn.primitive
    if p is select_p:
        pred = np.broadcast_to(ins[0].value, shape)
        xs, ys = (_spread(x, shape) for x in ins[1:])
        return np.where(pred, xs, ys)
    if p.kind is Kind.ELEMENTWISE:
        return _earliest([_spread(x, shape) for x in ins if x.origins is not None])
    if p.kind is Kind.REDUCE and "axes" in eqn.params:
        terms = _earliest([_spread(x, x.value.shape) for x in ins])
        return _earliest_along(terms, eqn.params["axes"])
    if p.linearity is not Linearity.NONE and p.name != "fft":
        return _through_linear(eqn, ins, shape)
    every = [x.origins.reshape(-1) for x in ins if x.origins is not None]
    return np.full(shape, _earliest_of(np.concatenate(every)), np.int32)


def _spread(x: Tracked, shape: tuple[int, ...]) -> Array:
    if x.origins is None:
        return np.zeros(shape, np.int32)
    return np.broadcast_to(x.origins, shape)


def _rank(origins: Array) -> Array:
    """Order origins: those made, from the first, then those given, then none."""
    made = origins.astype(np.int64)
    return np.where(made > 0, made, np.where(made < 0, _NONE - made, 2 * _NONE))


def _unranked(rank: Array) -> Array:
    origins = np.where(rank < _NONE, rank, _NONE - rank)
    return np.where(rank == 2 * _NONE, 0, origins).astype(np.int32)


def _earliest(many: Sequence[Array]) -> Array:
    if len(many) == 1:
        return many[0]
    return _unranked(np.minimum.reduce([_rank(x) for x in many]))


def _earliest_along(origins: Array, axes: object) -> Array:
    ranks = np.min(_rank(origins), axis=axes, initial=2 * _NONE)  # type: ignore[call-overload]
    return _unranked(np.asarray(ranks))


def _earliest_of(origins: Array) -> np.int32:
    return np.int32(_unranked(np.min(_rank(origins))))


def _through_linear(eqn: Eqn, ins: Sequence[Tracked], shape: tuple[int, ...]) -> Array:
    """See which elements the ones of each origin reach, as 1 among 0.

    The other operands are 1 where the result is linear in each of them, 0 where it is
    in all together.
    """
    p = eqn.primitive
    rank = np.full(shape, 2 * _NONE, np.int64)
    other = 1 if p.linearity is Linearity.MULTI else 0
    for i, x in enumerate(ins):
        if x.origins is None or not p.is_linear_in(i):
            continue
        for number in np.unique(x.origins[x.origins != 0])[:MOST]:
            operands = [
                np.full_like(y.value, other) if p.is_linear_in(k) else y.value
                for k, y in enumerate(ins)
            ]
            operands[i] = (x.origins == number).astype(x.value.dtype)
            (out, *_) = p.evaluate(operands, eqn.params)
            reached = np.broadcast_to(np.asarray(out) != 0, shape)
            rank = np.where(reached, np.minimum(rank, _rank(number)), rank)
    return _unranked(rank)


def _had_nan(eqn: Eqn, ins: Sequence[Tracked], origins: Array) -> Array:
    """Tell which elements of a result had NaN among the operands they come from.

    `origins` are those that the result has from operands.
    """
    if not any(x.origins is not None and np.isinf(x.value).any() for x in ins):
        return np.asarray(origins != 0)
    nans = [
        Tracked(x.value, is_bad(x.value, nans_only=True).astype(np.int32))
        if x.origins is not None
        else x
        for x in ins
    ]
    return np.asarray(_inherited(eqn, nans, origins.shape) != 0)
