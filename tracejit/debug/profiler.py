"""Where the time of compiled functions goes: by step, by the user's line, by limit.

Needs executables that note what their steps take (the switch ``profile``), the work of
steps (`work`), the machine's limits (`machine`) and memory (`memory`). Establishes
`Profile`, plain data, for all functions that ran while a `Recorder` was on.

Times are those of machine code. A call's time is the sum of its steps, of waking
threads, and what is left: addresses, branches, the clocks themselves (some 20 ns for
each step). What Python does around a call is known where the caller measured it
(`JitFunction.profile`).
"""

import copy
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from functools import cached_property
from typing import TYPE_CHECKING, Any

import numpy as np

from .. import config
from ..errors import UnsupportedError
from ..program.memory import roots_of, users_of
from ..program.program import (
    Copy,
    Extern,
    If,
    Loop,
    Program,
    Run,
    Step,
    While,
    parts_of,
)
from ..records import dataclass
from ..runtime.cpu.probes import nanoseconds_per_tick, probes_of, watch
from . import chrome, machine, report
from .memory import Timeline, timeline, title_of
from .work import UNKNOWN, Share, Work, shares_of, time_shares, work_of

if TYPE_CHECKING:
    from ..api import JitFunction
    from ..runtime.cpu.executable import CpuExecutable

ENOUGH_S = 0.3
FEWEST, MOST = 3, 1000  # calls, if the caller does not say how many


@dataclass(frozen=True)
class StepProfile:
    """One step of a Program, over all calls.

    Parameters
    ----------
    number : int
        In the order of the Program, steps inside of others after these.
    kind : str
        ``kernel``, ``extern``, ``copy``, ``loop``, ``while`` or ``if``.
    name : str
        Of the kernel or of the operation.
    sources : tuple of str
        The user's lines.
    depth : int
        How many steps it is inside of.
    runs : int
        How often it ran.
    seconds : float
        In it, without the steps inside of it.
    work : Work
        Of all runs.
    limit_s : float
        The least time that all runs take on this machine, by the threads that may run
        it; 0 where nothing is known to be computed or moved.
    is_bound_by_arithmetic : bool
        Whether its operations take longer at the limit than its bytes.
    is_shared : bool
        Whether several threads may run it.
    lines : mapping of str to LineShare
        What each line has of it.
    """

    number: int
    kind: str
    name: str
    sources: tuple[str, ...]
    depth: int
    runs: int
    seconds: float
    work: Work
    limit_s: float
    is_bound_by_arithmetic: bool
    is_shared: bool
    lines: Mapping[str, "LineShare"]

    @property
    def intensity(self) -> float:
        """Operations for each byte."""
        return self.work.flops / self.work.bytes_moved if self.work.bytes_moved else 0.0

    @property
    def of_limit(self) -> float:
        """The part of the machine's limit that it reaches, from 0 to about 1."""
        return self.limit_s / self.seconds if self.seconds else 0.0


@dataclass(frozen=True)
class LineShare:
    """What one line of the user has of a step, or of a whole profile."""

    seconds: float
    flops: float
    bytes: float


@dataclass(frozen=True)
class LineProfile:
    """One line of the user, over all steps and calls.

    Parameters
    ----------
    source : str
    seconds, flops, bytes : float
    steps : tuple of str
        The names of the steps that compute it.
    is_estimate : bool
        Whether it shares a step with other lines, so that its part of the step's time
        is an estimate.
    """

    source: str
    seconds: float
    flops: float
    bytes: float
    steps: tuple[str, ...]
    is_estimate: bool


@dataclass(frozen=True)
class Event:
    """One run of a step: when it began and ended, in seconds from the first one.

    Step -1 is the whole call; the one after the last step wakes threads.
    """

    function: int
    call: int
    step: int
    start: float
    end: float


@dataclass(frozen=True)
class FunctionProfile:
    """One compiled function.

    Parameters
    ----------
    name : str
    calls : int
    seconds : float
        In machine code.
    waking : float
        Seconds of that, for waking the threads that share the work.
    steps : tuple of StepProfile
    memory : Timeline
    threads : int
        That its calls may use.
    """

    name: str
    calls: int
    seconds: float
    waking: float
    steps: tuple[StepProfile, ...]
    memory: Timeline
    threads: int

    @property
    def between(self) -> float:
        """Seconds in machine code that neither a step nor waking threads took."""
        return self.seconds - self.waking - sum(s.seconds for s in self.steps)


@dataclass(frozen=True)
class Profile:
    """Where time went.

    Parameters
    ----------
    functions : tuple of FunctionProfile
        Those that took the longest first.
    wall : float
        Seconds that passed, with all that Python did.
    is_block : bool
        Whether these are of a whole block, with tracing and compiling, or of the calls
        of one function alone.
    limits : mapping of int to Limits
        The machine, by the number of threads.
    events : tuple of Event
        The first runs of steps, in order.
    has_all_events : bool

    Examples
    --------
    >>> with tj.debug.profile() as p:  # doctest: +SKIP
    ...     model(x)
    >>> print(p.as_text())  # doctest: +SKIP
    """

    functions: tuple[FunctionProfile, ...]
    wall: float
    is_block: bool
    limits: Mapping[int, machine.Limits]
    events: tuple[Event, ...]
    has_all_events: bool

    @property
    def seconds(self) -> float:
        """Seconds in machine code."""
        return sum(f.seconds for f in self.functions)

    @cached_property
    def lines(self) -> tuple[LineProfile, ...]:
        """The user's lines, those that took the longest first."""
        found: dict[str, LineProfile] = {}
        for step in (s for f in self.functions for s in f.steps if s.runs):
            for source, part in step.lines.items():
                known = found.get(source) or LineProfile(source, 0, 0, 0, (), False)
                found[source] = replace(
                    known,
                    seconds=known.seconds + part.seconds,
                    flops=known.flops + part.flops,
                    bytes=known.bytes + part.bytes,
                    steps=tuple(dict.fromkeys((*known.steps, step.name))),
                    is_estimate=known.is_estimate or len(step.lines) > 1,
                )
        return tuple(sorted(found.values(), key=lambda x: -x.seconds))

    def as_text(self, order: str = "time") -> str:
        """Return the steps and the lines as tables.

        Parameters
        ----------
        order : str
            ``"time"``, what took the longest first, or ``"program"``.
        """
        return report.as_text(self, order == "time")

    def as_json(self) -> dict[str, object]:
        """Return everything but the events, ready for JSON."""
        return report.as_json(self)

    def _repr_html_(self) -> str:
        return report.as_html(self)

    def chrome_trace(self) -> dict[str, object]:
        """Return the events in the form that Perfetto and Chrome show.

        Written to a file as JSON it is opened in https://ui.perfetto.dev or in
        chrome://tracing. Calls that ran at the same time are beside each other.
        """
        return chrome.trace_of(self)


class Recorder:
    """Profiles what compiled functions do while it is on, in this thread.

    Functions are compiled for it, with clocks around their steps. Made by
    ``tj.debug.profile()``; has what a `Profile` has once the block has ended.

    Parameters
    ----------
    limits : mapping of int to Limits, optional
        The machine by the number of threads; measured if it is not known yet.
    """

    def __init__(self, limits: Mapping[int, machine.Limits] | None = None) -> None:
        self._limits = limits
        self._profile: Profile | None = None

    def __enter__(self) -> "Recorder":
        self._override = config.override(profile=True)
        self._override.__enter__()
        self._watch = watch()
        self._found = self._watch.__enter__()
        self._before = {}
        for executable in self._found:
            probes = probes_of(executable)
            probes.forget_events()
            self._before[executable] = probes.sums.copy()
        self._start = time.perf_counter()
        return self

    def __exit__(self, *error: Any) -> None:
        wall = time.perf_counter() - self._start
        self._watch.__exit__(None, None, None)
        self._override.__exit__(None, None, None)
        self._profile = profile_of(self._found, self._before, wall, self._limits)

    @property
    def profile(self) -> Profile:
        """What was found."""
        if self._profile is None:
            raise UnsupportedError(
                "the profile is not complete", hint="ask after the with block"
            )
        return self._profile

    @property
    def functions(self) -> tuple[FunctionProfile, ...]:
        """See `Profile`."""
        return self.profile.functions

    @property
    def lines(self) -> tuple[LineProfile, ...]:
        """See `Profile`."""
        return self.profile.lines

    def as_text(self, order: str = "time") -> str:
        """See `Profile`."""
        return self.profile.as_text(order)

    def as_json(self) -> dict[str, object]:
        """See `Profile`."""
        return self.profile.as_json()

    def _repr_html_(self) -> str:
        return self.profile._repr_html_()

    def chrome_trace(self) -> dict[str, object]:
        """See `Profile`."""
        return self.profile.chrome_trace()


def profile() -> Recorder:
    """Profile all compiled functions that are called in a ``with`` block.

    Returns
    -------
    Recorder
        With the methods and attributes of a `Profile` after the block.

    Examples
    --------
    >>> with tj.debug.profile() as p:  # doctest: +SKIP
    ...     model(x)
    >>> print(p.as_text())  # doctest: +SKIP
    """
    return Recorder()


def profile_call(
    function: "JitFunction",
    args: tuple[Any, ...],
    kwargs: Mapping[str, Any],
    calls: int | None = None,
) -> Profile:
    """Profile calls of one function, after one that compiles it.

    Arguments that a call would change are copied for each.

    Parameters
    ----------
    function : JitFunction
    args, kwargs
        Of the call.
    calls : int, optional
        How many; as many as take a third of a second if nothing is said, from 3 to
        1000.
    """
    with config.override(profile=True):
        is_changed = function.changes_arguments(*args, **kwargs)

        def call() -> float:
            own = copy.deepcopy((args, kwargs)) if is_changed else (args, kwargs)
            start = time.perf_counter()
            function(*own[0], **own[1])
            return time.perf_counter() - start

        call()
        once = call()
    count = calls or min(max(int(ENOUGH_S / max(once, 1e-9)), FEWEST), MOST)
    with Recorder() as recorder:
        wall = sum(call() for _ in range(count))
    return replace(recorder.profile, wall=wall, is_block=False)


# --- from tables of ticks to profiles ---------------------------------------------


def profile_of(
    executables: "Sequence[CpuExecutable]",
    before: "Mapping[CpuExecutable, np.ndarray]",
    wall: float,
    limits: Mapping[int, machine.Limits] | None = None,
) -> Profile:
    """Return what executables did since their sums were those of `before`.

    Parameters
    ----------
    executables : sequence of CpuExecutable
        With probes.
    before : mapping of CpuExecutable to numpy.ndarray
        Their sums then; those that are not there began at 0.
    wall : float
        Seconds that passed.
    limits : mapping of int to Limits, optional
        The machine, by the number of threads; measured if it is not given.
    """
    tick = nanoseconds_per_tick() * 1e-9
    ran = []
    for executable in dict.fromkeys(executables):
        sums = probes_of(executable).sums - before.get(executable, 0)
        if sums[0, 1]:
            ran.append((executable, sums))
    ran.sort(key=lambda row: -row[1][0, 0])
    counts = {1, *(e.threading.threads for e, _ in ran)}
    limits = limits or {n: machine.limits(n) for n in sorted(counts)}
    functions = tuple(_function(e, sums, tick, limits) for e, sums in ran)
    events = tuple(_events([e for e, _ in ran], tick))
    return Profile(
        functions,
        wall,
        True,
        limits,
        events,
        all(probes_of(e).are_all for e, _ in ran),
    )


def _function(
    executable: "CpuExecutable",
    sums: np.ndarray,
    tick: float,
    limits: Mapping[int, machine.Limits],
) -> FunctionProfile:
    program, threads = executable.program, executable.threading.threads
    steps = tuple(_steps(executable, sums, tick, limits))
    calls, seconds = int(sums[0, 1]), float(sums[0, 0] * tick)
    memory = timeline(program, executable.code)
    waking = float(sums[-1, 0] * tick)
    return FunctionProfile(program.name, calls, seconds, waking, steps, memory, threads)


def _steps(
    executable: "CpuExecutable",
    sums: np.ndarray,
    tick: float,
    limits: Mapping[int, machine.Limits],
) -> Iterator[StepProfile]:
    program, costs = executable.program, executable.code.costs
    buffers = program.by_name
    for number, place in enumerate(_places(program)):
        step, row = place.step, 1 + number
        ticks = sums[row, 0] - sum(sums[1 + inner, 0] for inner in place.inner)
        cost = costs.get(number)
        is_shared = cost is not None and cost.is_shared
        limit = limits.get(executable.threading.threads if is_shared else 1)
        assert limit is not None
        once, runs = work_of(step, buffers), int(sums[row, 1])
        seconds = max(float(ticks * tick), 0.0)
        work = once.times(runs)
        shares = shares_of(step, place.sources)
        yield StepProfile(
            number,
            kind_of(step),
            title_of(step),
            place.sources,
            place.depth,
            runs,
            seconds,
            work,
            runs * limit.seconds(once.flops, once.bytes_moved, once.arithmetic),
            limit.seconds(once.flops, 0, once.arithmetic)
            > limit.seconds(0, once.bytes_moved, once.arithmetic),
            is_shared,
            _line_shares(shares, seconds, work, once, limit),
        )


def _line_shares(
    shares: Mapping[str, Share],
    seconds: float,
    work: Work,
    once: Work,
    limit: machine.Limits,
) -> dict[str, LineShare]:
    times = time_shares(shares, once, limit)
    return {
        line: LineShare(
            seconds * times.get(line, 0.0),
            work.flops * share.flops,
            work.bytes_moved * share.bytes,
        )
        for line, share in shares.items()
    }


@dataclass(frozen=True)
class _Place:
    """A step in its Program: lines, depth, and the numbers of steps right inside."""

    step: Step
    sources: tuple[str, ...]
    depth: int
    inner: tuple[int, ...]


def _places(program: Program) -> list[_Place]:
    """Return the places of all steps, in the order of their numbers."""
    found: list[_Place] = []
    writers, readers = users_of(program)
    roots = roots_of(program)

    def lines_of(step: Step) -> tuple[str, ...]:
        """Copies have no lines of their own: those of what they are for."""
        if not isinstance(step, Copy):
            return step.source
        known = readers.get(roots[step.output]) or writers.get(roots[step.input])
        return step.source or tuple(known or ())

    def visit(
        steps: Sequence[Step], around: tuple[str, ...], depth: int
    ) -> tuple[int, ...]:
        numbers = []
        for step in steps:
            numbers.append(len(found))
            sources = step.source or around or lines_of(step)
            found.append(_Place(step, sources, depth, ()))
            number = numbers[-1]
            inner: list[int] = []
            for part in parts_of(step):
                inner += visit(part, sources, depth + 1)
            found[number] = _Place(step, sources, depth, tuple(inner))
        return tuple(numbers)

    visit(program.steps, (), 0)
    return found


def kind_of(step: Step) -> str:
    """Return what kind of step it is, in a word."""
    kinds: dict[type, str] = {
        Run: "kernel",
        Extern: "extern",
        Loop: "loop",
        While: "while",
        If: "if",
    }
    return kinds.get(type(step), "copy")


def _events(executables: "Sequence[CpuExecutable]", tick: float) -> Iterator[Event]:
    rows = [(k, probes_of(e).events) for k, e in enumerate(executables)]
    starts = [int(table[:, 2].min()) for _, table in rows if len(table)]
    first = min(starts, default=0)
    for k, table in rows:
        for call, row, start, end in table.tolist():
            yield Event(k, call, row - 1, (start - first) * tick, (end - first) * tick)


__all__ = [
    "UNKNOWN",
    "Event",
    "FunctionProfile",
    "LineProfile",
    "LineShare",
    "Profile",
    "Recorder",
    "StepProfile",
    "profile",
    "profile_call",
]
