"""How long a function takes: compiled, as Python, in the interpreter; and to compile.

Needs a function and a call. The ways to run it take turns, so that what else the
machine does meets all of them; medians are of all turns. Arguments that a call changes
are copied before each, outside of the time.
"""

import copy
import statistics
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from .. import config
from ..api import JitFunction, jit
from ..ir.interp import evaluate
from .stepping import traced_with_inputs
from .text import in_seconds, text_table

LEAST, MOST = 5, 1000  # turns
WARM = 300  # calls, after which calls go to machine code (`api.PATIENCE`)


@dataclass(frozen=True)
class Row:
    """One way to run it.

    Parameters
    ----------
    name : str
    median, fastest : float
        Seconds of a call.
    calls : int
    """

    name: str
    median: float
    fastest: float
    calls: int


@dataclass(frozen=True)
class Bench:
    """What was measured.

    Parameters
    ----------
    function : str
    rows : tuple of Row
        The compiled function first.
    stages : mapping of str to float
        Seconds of tracing and compiling, nothing taken from disk.
    """

    function: str
    rows: tuple[Row, ...]
    stages: Mapping[str, float]

    @property
    def compile_seconds(self) -> float:
        """What tracing and compiling took together."""
        return sum(self.stages.values())

    def as_text(self) -> str:
        """Return it as a table."""
        first = self.rows[0].median
        rows = [
            [
                in_seconds(x.median),
                in_seconds(x.fastest),
                str(x.calls),
                f"{x.median / first:.3g}",
                x.name,
            ]
            for x in self.rows
        ]
        head = ["median", "fastest", "calls", "times jit", "way"]
        stages = ", ".join(f"{k} {in_seconds(v)}" for k, v in self.stages.items())
        total = in_seconds(self.compile_seconds)
        return f"{text_table(head, rows, 1)}\nto compile: {total} ({stages})"

    def as_json(self) -> dict[str, object]:
        """Return it as a document of strings, numbers, lists and dicts."""
        return {
            "function": self.function,
            "rows": [vars(x) for x in self.rows],
            "stages": dict(self.stages),
            "compile_seconds": self.compile_seconds,
        }


def bench(
    fn: Callable[..., Any],
    args: Sequence[Any],
    kwargs: Mapping[str, Any],
    seconds: float = 1.0,
) -> Bench:
    """Measure calls of a function.

    Parameters
    ----------
    fn : callable
        Jitted or not.
    args, kwargs
        Of the call.
    seconds : float
        How long to measure, about; each way is called 5 times at least.
    """
    function: JitFunction = fn if isinstance(fn, JitFunction) else jit(fn)
    with config.override(cache_dir="off"):
        stages = function.compile(*args, **kwargs).timings
        is_changed = function.changes_arguments(*args, **kwargs)
    traced, inputs = traced_with_inputs(function, args, kwargs)
    ways: dict[str, Callable[..., Any]] = {
        "jit": function,
        "Python and NumPy": function.__wrapped__,
        "interpreter of the graph": lambda *_, **__: evaluate(traced.graph, inputs),
    }

    def once(way: Callable[..., Any]) -> float:
        own = copy.deepcopy((args, kwargs)) if is_changed else (args, kwargs)
        start = time.perf_counter()
        way(*own[0], **own[1])
        return time.perf_counter() - start

    typical = sum(_warm(once, way, seconds / 6) for way in ways.values())
    turns = min(max(int(seconds / max(typical, 1e-7)), LEAST), MOST)
    times: dict[str, list[float]] = {name: [] for name in ways}
    for _ in range(turns):
        for name, way in ways.items():
            times[name].append(once(way))
    rows = [Row(k, statistics.median(v), min(v), len(v)) for k, v in times.items()]
    return Bench(function.__name__, tuple(rows), dict(stages))


def _warm(
    once: Callable[[Callable[..., Any]], float], way: Callable[..., Any], seconds: float
) -> float:
    """Call until calls are as they stay, or time is over; return what one takes."""
    once(way)
    start = time.perf_counter()
    fastest = once(way)
    for _ in range(WARM):
        fastest = min(fastest, once(way))
        if time.perf_counter() - start > seconds:
            break
    return fastest
