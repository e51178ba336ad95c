"""The numeric contract: whether results are what a graph means.

Needs a graph and inputs. Establishes a `Reference`: what the graph gives on these
inputs in the interpreter, how far rounding may move each element of it (`noise`), and
`Reference.difference`, which says where other results are not right. docs/numerics.md
states the contract: integers, booleans, NaN, infinities and signed zeros are NumPy's;
floats agree to rounding.
"""

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from functools import cached_property

import numpy as np

from ..errors import TracejitError
from ..ir import dtypes as dt
from ..ir.graph import Graph
from ..ir.interp import evaluate
from ..ir.primitive import Array
from .noise import Noise, epsilon, nudged, wide

RUNS = 4  # of the graph with its roundings nudged
FACTOR = 8.0  # how much further results may be than these runs
TYPICAL = 2.0  # part of what a typical element moves that any element may move
FLOOR = 4.0  # roundings of the value itself, where anything is rounded

Outcome = tuple[Array, ...] | Exception
# What the user's data may raise at run time: NumPy raises it too.
RAISED = (IndexError, ArithmeticError, np.linalg.LinAlgError, AssertionError)


@dataclass(frozen=True)
class Difference:
    """The worst element that is not what it should be.

    Parameters
    ----------
    output : int
        Which result.
    index : tuple of int
        Where in it.
    got, want : str
    count, size : int
        How many elements of the result differ, of how many.
    detail : str
        How far it is off, or what else is wrong.
    """

    output: int
    index: tuple[int, ...]
    got: str
    want: str
    count: int
    size: int
    detail: str = ""

    def __str__(self) -> str:
        if self.detail and not self.size:
            return self.detail
        where = f"[{', '.join(map(str, self.index))}]" if self.index else ""
        more = f"; {self.detail}" if self.detail else ""
        return (
            f"result {self.output}{where} is {self.got}, expected {self.want} "
            f"({self.count} of {self.size} elements differ{more})"
        )


def outcome_of(run: Callable[[], Sequence[Array]]) -> Outcome:
    """Return results, or the error that the user's data raise.

    Raises
    ------
    Exception
        Any other error: it is the compiler's.
    """
    try:
        return tuple(np.asarray(x) for x in run())
    except RAISED as error:
        return error


@dataclass
class Reference:
    """What a graph gives on some inputs.

    Parameters
    ----------
    graph : Graph
    inputs : sequence of numpy.ndarray
    label : str
        Which inputs these are, for messages.
    """

    graph: Graph
    inputs: Sequence[Array]
    label: str = ""
    _runs: dict[Noise, list[Outcome]] = field(default_factory=dict, repr=False)

    @cached_property
    def _timed(self) -> tuple[Outcome, float]:
        start = time.process_time()
        outcome = outcome_of(lambda: evaluate(self.graph, self.inputs))
        return outcome, time.process_time() - start

    @property
    def outcome(self) -> Outcome:
        """The results, or the error, in the interpreter."""
        return self._timed[0]

    @property
    def seconds(self) -> float:
        """What that takes of the processor."""
        return self._timed[1]

    def bound(self, output: int, noise: Noise, count: int = RUNS) -> "Bound":
        """Return how far a result may be from `outcome`, by the first runs."""
        assert isinstance(self.outcome, tuple)
        runs = self._runs.setdefault(noise, [])
        for seed in range(len(runs), count):
            found = outcome_of(
                lambda s=seed: nudged(self.graph, self.inputs, s, noise)  # type: ignore[misc]
            )
            runs.append(found)
        moved = [r[output] for r in runs[:count] if isinstance(r, tuple)]
        return Bound.of(self.outcome[output], moved)

    def difference(self, got: Outcome, noise: Noise = Noise.ALL) -> Difference | None:
        """Return where results are beyond the contract; None if they keep it.

        Parameters
        ----------
        got : tuple of numpy.ndarray, or an exception
        noise : Noise
            Which roundings may differ.
        """
        want = self.outcome
        if isinstance(want, Exception) or isinstance(got, Exception):
            return _of_errors(got, want)
        for k, (x, y) in enumerate(zip(got, want, strict=True)):
            if x.shape != y.shape or x.dtype != y.dtype:
                text = f"result {k} is {x.dtype}{x.shape}, expected {y.dtype}{y.shape}"
                return Difference(k, (), "", "", 0, 0, text)
            found = self._beyond(k, x, y, noise)
            if found is not None:
                return found
        return None

    def _beyond(self, k: int, x: Array, y: Array, noise: Noise) -> Difference | None:
        """Return where one result is further off than rounding explains.

        Runs cost much, and with each of them more is explained: where one is enough,
        it is the last.
        """
        if x.tobytes() == y.tobytes():
            return None
        for count in (1, RUNS):
            found = self.bound(k, noise, count).difference(k, x, y)
            if found is None:
                break
        return found


def _of_errors(got: Outcome, want: Outcome) -> Difference | None:
    if isinstance(got, Exception) and isinstance(want, Exception):
        kinds = [_kind(e) for e in (got, want)]
        if kinds[0] is kinds[1]:
            return None
    return Difference(0, (), "", "", 0, 0, f"{_said(got)}, expected {_said(want)}")


def _kind(error: Exception) -> type:
    return next(k for k in RAISED if isinstance(error, k))


def _said(x: Outcome) -> str:
    if not isinstance(x, Exception):
        return "it gives results"
    text = x.message if isinstance(x, TracejitError) else str(x)
    return f"it raises {type(x).__name__}: {text}"


@dataclass(frozen=True)
class Bound:
    """How far the elements of one result may be from what they should be.

    Parameters
    ----------
    amount : numpy.ndarray
        The largest distance that is right; infinite where anything is.
    has_sign : numpy.ndarray
        Where zeros must have the sign they have.
    """

    amount: Array
    has_sign: Array

    @classmethod
    def of(cls, want: Array, runs: Sequence[Array]) -> "Bound":
        """Return the bound of a result from those of runs that were nudged."""
        value = wide(want) if want.dtype in dt.INEXACT else want
        if want.dtype not in dt.INEXACT:
            moved = np.zeros(want.shape, bool)
            for x in runs:
                moved |= x != want
            return cls(np.where(moved, np.inf, 0.0), np.zeros(want.shape, bool))
        spread = np.zeros(want.shape)
        has_sign = (value == 0) & np.isreal(value)
        for x in map(wide, runs):
            is_finite = np.isfinite(x) & np.isfinite(value)
            off = np.abs(np.where(is_finite, x, 0) - np.where(is_finite, value, 0))
            is_same = is_finite | (np.isnan(x) & np.isnan(value)) | (x == value)
            spread = np.maximum(spread, np.where(is_same, off, np.inf))
            has_sign &= (x == 0) & (np.signbit(x.real) == np.signbit(value.real))
        if not spread.any():
            return cls(spread, has_sign)
        own = (
            FLOOR * epsilon(want.dtype) * np.abs(np.where(np.isfinite(value), value, 0))
        )
        known = spread[np.isfinite(spread) & (spread > 0)]
        typical = float(np.median(known)) if known.size else 0.0
        amount = FACTOR * spread + own + TYPICAL * typical
        return cls(np.asarray(amount), has_sign)

    def difference(self, output: int, got: Array, want: Array) -> Difference | None:
        """Return the worst element that is out of bounds."""
        if want.dtype in dt.INEXACT:
            x, y = wide(got), wide(want)
        else:
            x, y = got, want
        with np.errstate(all="ignore"):
            both = (np.isnan(x) & np.isnan(y)) | (x == y)
            if want.dtype in dt.INEXACT:
                off = np.where(both, 0.0, np.abs(x - y))
                off = np.where(np.isnan(off), np.inf, off)
                is_bad = off > self.amount
                is_finite = np.isfinite(x) & np.isfinite(y)
                is_bad |= ~both & ~is_finite & np.isfinite(self.amount)
                signs = np.signbit(x.real) != np.signbit(y.real)
                is_bad |= both & signs & self.has_sign
            else:
                off = np.where(both, 0.0, 1.0)
                is_bad = ~both & (self.amount == 0)
        if not is_bad.any():
            return None
        return _worst(output, got, want, off, is_bad, self.amount)


def _worst(
    output: int, got: Array, want: Array, off: Array, is_bad: Array, amount: Array
) -> Difference:
    """Return a difference that shows the element that is furthest out."""
    with np.errstate(all="ignore"):
        ratio = np.where(is_bad, off / np.where(amount > 0, amount, 1e-300), -1.0)
    ratio = np.where(is_bad & ~np.isfinite(ratio), np.finfo(float).max, ratio)
    at = tuple(int(i) for i in np.unravel_index(int(np.argmax(ratio)), want.shape))
    detail = ""
    if want.dtype in dt.INEXACT and np.isfinite(off[at]) and off[at]:
        detail = f"it is off by {off[at]:.3g}, rounding explains {amount[at]:.3g}"
    return Difference(
        output, at, str(got[at]), str(want[at]), int(is_bad.sum()), want.size, detail
    )
