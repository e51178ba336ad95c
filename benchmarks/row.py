"""What is measured (`Row`) and what came out of it (`Measurement`).

Needs NumPy alone. Establishes the vocabulary of this package: a *row* is one
program with its inputs, a *contender* is one way of running it, a *measurement* is
one contender on one row.
"""

import math
from collections.abc import Callable
from dataclasses import dataclass, field
from enum import StrEnum
from statistics import median
from types import ModuleType

import numpy as np

Function = Callable[..., object]
Builder = Callable[[ModuleType], Function]


@dataclass(frozen=True, slots=True, kw_only=True)
class Row:
    """One program, the same for every contender.

    Parameters
    ----------
    name : str
        Name in tables and for ``--rows``.
    make_inputs : callable
        ``rng -> tuple`` of arguments: nested dicts, lists and tuples of float32
        arrays and Python scalars.
    numpy_fn : callable
        The program in plain NumPy; on float64 inputs it is the reference too.
    jax_fn, torch_fn : callable
        ``module -> function``: the twin, given the imported ``jax`` or ``torch``,
        not yet compiled.
    tracejit_fn : callable, optional
        ``module -> function`` where ours is not `numpy_fn` itself: train steps, whose
        NumPy column has hand-written gradients.
    flops, bytes : int
        Operations and memory traffic (each input read once, each output written
        once) that the program needs at least, per call.
    rtol : float
        Largest error accepted, relative to the largest element of each output.
    """

    name: str
    make_inputs: Callable[[np.random.Generator], tuple]
    numpy_fn: Function
    jax_fn: Builder
    torch_fn: Builder
    flops: int
    bytes: int
    rtol: float = 1e-5
    tracejit_fn: Builder | None = None


class Status(StrEnum):
    """Whether a measurement can be believed."""

    OK = "ok"
    WRONG = "WRONG"
    FAILED = "FAILED"
    MISSING = "missing"


@dataclass(slots=True, kw_only=True)
class Measurement:
    """One contender on one row.

    `seconds` holds one entry a round: seconds per call, output allocation and the
    release of the result included. `error` is the largest deviation from the
    float64 reference, `first_call_s` the cold first call with compilation.
    """

    contender: str
    status: Status
    note: str = ""
    error: float = math.nan
    first_call_s: float = math.nan
    calls_per_round: int = 0
    seconds: list[float] = field(default_factory=list)

    @property
    def median_s(self) -> float:
        """Median seconds per call; NaN unless the result was right."""
        is_timed = self.status is Status.OK and self.seconds
        return median(self.seconds) if is_timed else math.nan
