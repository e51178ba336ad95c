"""Interleaved rounds: every contender takes one turn a round, in shuffled order.

Machines drift (clock, neighbours, caches), so contenders are never timed one after
the other but side by side. A turn is an untimed warm-up, then as many calls as make
the clock's resolution irrelevant. A round in which other processes used more than
`CALM` of the cores is thrown away and repeated, within limits; where too few calm
ones come, the calmest are kept, and the results say so.

The warm-up has to outlast the previous contender's threads: OpenBLAS and OpenMP
workers spin on after their work. On 2 busy cores, with NumPy, JAX and torch in turn,
the 256-row MLP forward took NumPy 3.1 and torch 3.5 ms after 3 ms of warm-up, and
both 2.0 ms after 60 (means of three runs each). On another machine OpenBLAS's workers
spin for 105 ms: beside NumPy a product of 256 × 256 took us 0.45 ms after 60 ms of
warm-up, and 0.24 after 150. NumPy's Adam step did not gain, and
varies from 6.5 to 14 ms with torch in the process: compare with torch in runs of
its own before believing a ratio there.
"""

import gc
import math
import random
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import repeat
from time import perf_counter

from .contenders import Contender
from .load import CALM, Meter

WARM_S = 0.15
SAMPLE_S = 0.02
BUDGET_S = 2.0
MIN_ROUNDS, MAX_ROUNDS = 7, 200
PATIENCE = 3  # rounds tried for each one that is wanted


@dataclass(frozen=True, slots=True)
class Rounds:
    """Seconds per call of each contender, one entry a kept round, by name.

    `others` is what other processes used of the cores in each of these rounds.
    """

    seconds: dict[str, list[float]]
    calls: dict[str, int]
    others: list[float]
    dropped: int


def seconds_per_call(contender: Contender, calls: int) -> float:
    """Mean of `calls` whole calls, each result released at once."""
    function, args = contender.function, contender.args
    start = perf_counter()
    for _ in repeat(None, calls):
        function(*args)
    return (perf_counter() - start) / calls


def estimate(contender: Contender) -> float:
    """A first guess at the seconds per call, the better of several tries."""
    best = seconds_per_call(contender, 1)
    tries = min(50, math.ceil(SAMPLE_S / best))
    return min(best, seconds_per_call(contender, tries))


def plan_rounds(per_call: Sequence[float], budget: float = BUDGET_S) -> int:
    """How many rounds fit `budget` seconds, within sensible bounds."""
    turns = sum(max(WARM_S, s) + max(SAMPLE_S, s) for s in per_call)
    return min(MAX_ROUNDS, max(MIN_ROUNDS, round(budget / turns)))


def turn_order(names: Sequence[str], rounds: int, seed: int = 0) -> Iterator[list[str]]:
    """For each round, every name exactly once, in an order that varies."""
    shuffled = random.Random(seed)
    for _ in range(rounds):
        yield shuffled.sample(names, len(names))


@contextmanager
def _no_garbage_collection() -> Iterator[None]:
    gc.collect()
    gc.disable()
    try:
        yield
    finally:
        gc.enable()


def take_turn(contender: Contender, calls: int) -> float:
    """Warm up, then time `calls` calls; seconds per call."""
    deadline = perf_counter() + WARM_S
    while True:
        contender.function(*contender.args)
        if perf_counter() >= deadline:
            return seconds_per_call(contender, calls)


def interleave(contenders: Sequence[Contender], rounds: int | None = None) -> Rounds:
    """Time contenders in turns.

    Parameters
    ----------
    contenders : sequence of Contender
        With different names; already called once, so that nothing compiles here.
    rounds : int, optional
        Instead of as many as fit `BUDGET_S`.
    """
    by_name = {contender.name: contender for contender in contenders}
    guesses = {name: estimate(contender) for name, contender in by_name.items()}
    calls = {name: math.ceil(SAMPLE_S / guess) for name, guess in guesses.items()}
    wanted = rounds or plan_rounds([*guesses.values()])
    tried: list[tuple[float, dict[str, float]]] = []
    meter = Meter()
    with _no_garbage_collection():
        for order in turn_order([*by_name], PATIENCE * wanted):
            meter.read()
            times = {name: take_turn(by_name[name], calls[name]) for name in order}
            tried.append((meter.read(), times))
            if sum(others <= CALM for others, _ in tried) == wanted:
                break
    kept = calmest(tried, wanted)
    seconds = {name: [times[name] for _, times in kept] for name in by_name}
    others = [share for share, _ in kept]
    return Rounds(seconds, calls, others, len(tried) - len(kept))


def calmest(
    tried: Sequence[tuple[float, dict[str, float]]], wanted: int
) -> list[tuple[float, dict[str, float]]]:
    """The calm rounds; the `wanted` calmest where there are fewer than half of that."""
    calm = [entry for entry in tried if entry[0] <= CALM]
    if 2 * len(calm) >= wanted:
        return calm
    return sorted(tried, key=lambda entry: entry[0])[:wanted]
