"""Milliseconds a step, of several steps side by side; and how far they differ."""

import statistics
import time
from collections.abc import Sequence

import numpy as np

from .model import State, Step

Arguments = tuple[State, int, np.ndarray, np.ndarray, float]


def milliseconds(
    steps: Sequence[Step], args: Arguments, rounds: int = 25, calls: int = 10
) -> list[float]:
    """Median over `rounds` of the time of one call of each step.

    The steps take turns within a round, so that what else the machine does meets all
    of them. One round before the first warms caches and thread pools.
    """
    times: list[list[float]] = [[] for _ in steps]
    for _ in range(rounds + 1):
        for step, found in zip(steps, times, strict=True):
            start = time.perf_counter()
            for _ in range(calls):
                step(*args)
            found.append((time.perf_counter() - start) / calls)
    return [1e3 * statistics.median(found[1:]) for found in times]


def largest_difference(a: State, b: State) -> float:
    """Largest absolute difference of any parameter in two states."""
    return max(
        float(np.max(np.abs(p[k] - q[k])))
        for p, q in zip(a["params"], b["params"], strict=True)
        for k in p
    )
