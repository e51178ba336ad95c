"""What is measured (`Row`) and what came out of it (`Measurement`, `RowResult`).

Needs NumPy alone. Establishes the vocabulary of this package: a *row* is one
program with its inputs, a *contender* is one way of running it, a *measurement* is
one contender on one row.
"""

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from statistics import median
from types import ModuleType

import numpy as np

Function = Callable[..., object]
Builder = Callable[[ModuleType], Function]

OURS = "tracejit"
BEST = "best"


@dataclass(frozen=True, slots=True, kw_only=True)
class Row:
    """One program, the same for every contender.

    Parameters
    ----------
    name : str
        Name in tables and for ``--rows``.
    make_inputs : callable
        ``rng -> tuple`` of arguments: nested dicts, lists and tuples of float32 and
        integer arrays and Python scalars.
    numpy_fn : callable, optional
        The program in plain NumPy; on float64 inputs it is the reference too. None for
        gradients that nobody writes by hand: `tracejit_fn` takes them of a NumPy
        program, and the reference is `torch_fn` in float64.
    tracejit_fn, jax_fn, torch_fn, numba_fn, drjit_fn : callable, optional
        ``module -> function``: the twin, given the imported module; of jax and torch
        not yet compiled. Ours is needed only where it is not `numpy_fn` itself. Twins
        for Dr.Jit take and give flat arrays.
    torch_reference : callable, optional
        As `torch_fn`, for a reference in float64 where `torch_fn` itself casts.
    without : mapping of str to str
        Contenders that are left out, and why.
    dtype : str
        What floating inputs are cast to, and what floating results must have.
    flops, bytes : int
        Operations and memory traffic (each input read once, each output written
        once) that the program needs at least, per call.
    rtol : float
        Largest error accepted, relative to the largest element of each output.
    outliers : float
        The share of elements that may err by more: of counts of a chaotic iteration.
    has_images : bool
        Whether arrays of four axes are images, which torch prefers channels last.
    arithmetic : str, optional
        The dtype that most is computed in, where it is another one than `dtype`.
    """

    name: str
    make_inputs: Callable[[np.random.Generator], tuple]
    numpy_fn: Function | None = None
    tracejit_fn: Builder | None = None
    jax_fn: Builder | None = None
    torch_fn: Builder | None = None
    numba_fn: Builder | None = None
    drjit_fn: Builder | None = None
    torch_reference: Builder | None = None
    without: Mapping[str, str] = field(default_factory=dict)
    dtype: str = "float32"
    flops: int
    bytes: int
    rtol: float = 1e-5
    outliers: float = 0.0
    has_images: bool = False
    arithmetic: str | None = None


class Status(StrEnum):
    """Whether a measurement can be believed."""

    OK = "ok"
    WRONG = "WRONG"
    FAILED = "FAILED"
    MISSING = "missing"
    NO_TWIN = "no twin"


@dataclass(slots=True, kw_only=True)
class Measurement:
    """One contender on one row.

    `seconds` holds one entry a round: seconds per call, output allocation and the
    release of the result included. `error` is the largest deviation from the
    float64 reference, `first_call_s` the cold first call with compilation, `host_s`
    what asking a device for a run takes, if there is one.
    """

    contender: str
    status: Status
    note: str = ""
    error: float = math.nan
    first_call_s: float = math.nan
    host_s: float = math.nan
    calls_per_round: int = 0
    seconds: list[float] = field(default_factory=list)

    @property
    def median_s(self) -> float:
        """Median seconds per call; NaN unless the result was right."""
        is_timed = self.status is Status.OK and self.seconds
        return median(self.seconds) if is_timed else math.nan


@dataclass(frozen=True, slots=True)
class RowResult:
    """A row with its measurements, by contender.

    `others` is the share of the cores that other processes used, for each round that
    was kept; `dropped` counts the rounds that were thrown away for it.
    """

    row: Row
    measurements: dict[str, Measurement]
    others: list[float] = field(default_factory=list)
    dropped: int = 0

    @property
    def ours_s(self) -> float:
        """Our median; NaN where there is none."""
        ours = self.measurements.get(OURS)
        return ours.median_s if ours else math.nan

    def ratios(self) -> dict[str, float]:
        """Peer time over ours, for each peer and for the best; NaN where unknown."""
        times = {n: m.median_s for n, m in self.measurements.items() if n != OURS}
        known = [time for time in times.values() if not math.isnan(time)]
        times[BEST] = min(known, default=math.nan)
        return {name: time / self.ours_s for name, time in times.items()}
