"""The events of a profile in the Trace Event Format, for Perfetto and chrome://tracing.

Complete events (``X``) of calls and, below them, of their steps; a counter (``C``) of
the bytes that are live; names of the rows (``M``). Times are microseconds. Calls that
ran at the same time are on rows ("threads") of their own.

Perfetto counts nanoseconds: it cuts off the rest of a time and of a duration, each by
itself, and drops an event that then ends after the one around it. So times are whole
nanoseconds and a quarter, of which no rounding changes the whole part. It took
``displayTimeUnit`` for the unit of times once; without it all versions agree.

The format: https://docs.google.com/document/d/1CvAClvFfyA5R-PhYUmn5OOQtYMH4h6I0nSsKchNAySU
"""

import math
from collections.abc import Iterator
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from .profiler import Event, Profile

_PROCESS = 1


def trace_of(profile: "Profile") -> dict[str, object]:
    """Return the document."""
    rows = _rows(profile)
    events = [_name("process_name", 0, "tracejit")]
    events += [_name("thread_name", n, f"calls {n}") for n in sorted({*rows.values()})]
    for event in sorted(profile.events, key=lambda e: (e.start, -e.end)):
        row = rows.get((event.function, event.call))
        if row is not None:
            events.append(_complete(profile, event, row))
            events += _counters(profile, event)
    return {
        "traceEvents": events,
        "otherData": {"has_all_events": profile.has_all_events},
    }


def _rows(profile: "Profile") -> dict[tuple[int, int], int]:
    """Return the row of each call: the first that is free when it begins.

    A call whose end was not kept takes as long as its steps.
    """
    spans: dict[tuple[int, int], list[float]] = {}
    for e in profile.events:
        span = spans.setdefault((e.function, e.call), [e.start, e.end])
        span[0], span[1] = min(span[0], e.start), max(span[1], e.end)
    free: list[float] = []
    rows = {}
    for call, (start, end) in sorted(spans.items(), key=lambda item: item[1]):
        row = next((k for k, t in enumerate(free) if t <= start), len(free))
        free[row : row + 1] = [end]
        rows[call] = row + 1
    return rows


def _name(kind: str, row: int, name: str) -> dict[str, object]:
    return {
        "ph": "M",
        "name": kind,
        "pid": _PROCESS,
        "tid": row,
        "args": {"name": name},
    }


def _complete(profile: "Profile", event: "Event", row: int) -> dict[str, object]:
    function = profile.functions[event.function]
    about: dict[str, object] = {"function": function.name, "call": event.call}
    name, category, start = function.name, "call", _nanoseconds(event.start)
    if event.step == len(function.steps):
        name, category = "wake threads", "wake"
    elif event.step >= 0:
        step = function.steps[event.step]
        name, category = step.name, step.kind
        runs = max(step.runs, 1)
        about |= {
            "lines": ", ".join(step.sources),
            "flops": step.work.flops / runs,
            "bytes": step.work.bytes_moved / runs,
        }
    return {
        "ph": "X",
        "name": name,
        "cat": category,
        "pid": _PROCESS,
        "tid": row,
        "ts": _microseconds(start),
        "dur": _microseconds(_nanoseconds(event.end) - start),
        "args": about,
    }


def _counters(profile: "Profile", event: "Event") -> Iterator[dict[str, object]]:
    moments = profile.functions[event.function].memory.moments
    if not 0 <= event.step < len(moments):
        return
    moment = moments[event.step]
    yield {
        "ph": "C",
        "name": f"live bytes of {profile.functions[event.function].name}",
        "pid": _PROCESS,
        "ts": _microseconds(_nanoseconds(event.start)),
        "args": {"bytes": moment.total},
    }


def _nanoseconds(seconds: float) -> int:
    return math.floor(seconds * 1e9)


def _microseconds(nanoseconds: int) -> float:
    return (nanoseconds + 0.25) / 1e3
