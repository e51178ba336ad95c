"""Counting traces."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

from ..api import COUNTER


@dataclass
class Traces:
    """Traces and compilations counted in a block."""

    traces: int = 0
    compiles: int = 0


@contextmanager
def count_traces() -> Iterator[Traces]:
    """Count the traces made while the block runs.

    Examples
    --------
    >>> with count_traces() as counter:
    ...     pass
    >>> counter.traces
    0
    """
    counter = Traces()
    traces, compiles = COUNTER.traces, COUNTER.compiles
    try:
        yield counter
    finally:
        counter.traces = COUNTER.traces - traces
        counter.compiles = COUNTER.compiles - compiles
