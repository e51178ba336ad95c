"""What the clocks of probed executables noted, and how fast the clock ticks.

Needs the tables of `codegen.llvm.probes`. Establishes `Probes`, which owns them, and
`watch`, which finds the probed executables that exist or are made while it is on.
"""

import ctypes
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from functools import cache
from typing import TYPE_CHECKING
from weakref import WeakSet

import numpy as np

from ...codegen.llvm.probes import (
    CLOCK_SYMBOL,
    EVENT_WORDS,
    EVENTS,
    EVENTS_SYMBOL,
    SUM_WORDS,
    SUMS_SYMBOL,
    clock_text,
    has_clock,
)
from ...codegen.llvm.target import Target, host_target
from ...errors import UnsupportedError
from .engine import engine_for

if TYPE_CHECKING:
    from .executable import CpuExecutable

_CALIBRATION_S = 0.02


class Probes:
    """The tables of one executable.

    Parameters
    ----------
    steps : int
        How many steps the Program has, those inside of others too.

    Attributes
    ----------
    sums : numpy.ndarray of int64, shape (2 + steps, 2)
        Ticks, and how often it ran: of the whole call, of each step, of waking threads.
    """

    def __init__(self, steps: int) -> None:
        self.sums = np.zeros((2 + steps, SUM_WORDS), np.int64)
        self._events = np.zeros((1 + EVENTS, EVENT_WORDS), np.int64)

    @property
    def symbols(self) -> Mapping[str, int]:
        """Addresses of what probed code imports."""
        return {
            SUMS_SYMBOL: self.sums.ctypes.data,
            EVENTS_SYMBOL: self._events.ctypes.data,
        }

    def forget_events(self) -> None:
        """Have the next events be the first ones."""
        self._events[0, 0] = 0

    @property
    def events(self) -> np.ndarray:
        """The first events: call, row of the sums, ticks at start and end."""
        count = min(int(self._events[0, 0]), EVENTS)
        return self._events[1 : 1 + count].copy()

    @property
    def are_all(self) -> bool:
        """Whether no event was too many to be kept."""
        return bool(self._events[0, 0] <= EVENTS)


def probes_of(executable: "CpuExecutable") -> Probes:
    """Return the tables of a probed executable."""
    assert executable.probes is not None, "it has no clocks"
    return executable.probes


class _Probed:
    """The probed executables of this process, and who wants to know of new ones."""

    def __init__(self) -> None:
        self.known: WeakSet[CpuExecutable] = WeakSet()
        self.watchers: list[list[CpuExecutable]] = []


_PROBED = _Probed()


def announce(executable: "CpuExecutable") -> None:
    """Tell those who watch of a probed executable."""
    _PROBED.known.add(executable)
    for found in _PROBED.watchers:
        found.append(executable)


@contextmanager
def watch() -> "Iterator[list[CpuExecutable]]":
    """Give a list of all probed executables, to which new ones are added meanwhile."""
    found = list(_PROBED.known)
    _PROBED.watchers.append(found)
    try:
        yield found
    finally:
        _PROBED.watchers = [x for x in _PROBED.watchers if x is not found]


def check_clock(target: Target) -> None:
    """Raise `UnsupportedError` where programs cannot read the processor's clock."""
    if not has_clock(target):
        raise UnsupportedError(
            f"the clock of {target.triple} cannot be read by programs",
            hint="profile on an x86-64 or AArch64 processor",
        )


@cache
def nanoseconds_per_tick() -> float:
    """Return how long a tick takes, measured once in a process within 0.1 %."""
    target = host_target()
    check_clock(target)
    library = engine_for(target).load(
        f'target triple = "{target.triple}"\n{clock_text(target)}'
    )
    clock = ctypes.CFUNCTYPE(ctypes.c_int64)(library.address(CLOCK_SYMBOL))
    first, start = clock(), time.perf_counter_ns()
    time.sleep(_CALIBRATION_S)
    last, end = clock(), time.perf_counter_ns()
    library.close()
    return (end - start) / (last - first)
