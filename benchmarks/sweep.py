"""``python -m benchmarks sweep``: what people write in NumPy, ours beside NumPy.

Rows of the suites are what one expects to be slow. Here is nearly all of NumPy, an
expression each, to find what nobody expected. Results are compared with NumPy's; the
table begins with what loses most. All run on one thread.
"""

import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import click
import numpy as np
from rich.console import Console
from rich.table import Table

import tracejit as tj

from .contenders import Contender
from .machine import limit_threads
from .timing import interleave

EXPRESSIONS = Path(__file__).with_name("expressions.txt")
ROUNDS = 5
TOLERANCE = 1e-3  # of float32 numbers, of which sums are added up in another order
Function = Callable[..., Any]


def arrays() -> dict[str, np.ndarray]:
    """What expressions read, by name."""
    rng = np.random.default_rng(0)
    vector = rng.normal(size=1_000_000).astype(np.float32)
    matrix = rng.normal(size=(1000, 1000)).astype(np.float32)
    positive = np.abs(vector) + np.float32(0.1)
    return {
        "V": vector,
        "P": positive,
        "C": (vector + 1j * positive)[:300_000].astype(np.complex64),
        "B": (positive * 40).astype(np.int8),
        "M": matrix,
        "S": matrix[:100, :100].copy(),
        "D": rng.normal(size=(500, 400)),
        "T": rng.normal(size=(64, 56, 56)).astype(np.float32),
        "A": rng.normal(size=(8, 16, 32, 32)).astype(np.float32),
        "I": rng.integers(0, 1000, 1_000_000),
    }


def expressions(pattern: str = "") -> list[str]:
    """Those that the regular expression is found in."""
    lines = (line.strip() for line in EXPRESSIONS.read_text("utf-8").splitlines())
    return [e for e in lines if e and not e.startswith("#") and re.search(pattern, e)]


def program(expression: str, given: dict[str, np.ndarray]) -> tuple[Function, tuple]:
    """Return the expression as a function of the arrays that it names, and these."""
    names = [n for n in given if re.search(rf"(?<![.\w]){n}\b", expression)]
    function = eval(f"lambda {', '.join(names)}: {expression}", {"np": np})
    return function, tuple(given[n] for n in names)


@dataclass(frozen=True, slots=True)
class Found:
    """Seconds of one expression; `problem` says why there are none, or is empty."""

    expression: str
    ours: float = 0.0
    numpy: float = 0.0
    problem: str = ""

    @property
    def ratio(self) -> float:
        """How many times as fast as NumPy."""
        return self.numpy / self.ours if self.ours else 0.0


def measured(
    expression: str, given: dict[str, np.ndarray], rounds: int = ROUNDS
) -> Found:
    """Compare and measure one expression."""
    function, args = program(expression, given)
    run = tj.jit(function)
    try:
        results = [np.asarray(f(*args)) for f in (run, function)]
        if "partition" in expression:  # which leaves the order within parts open
            results = [np.sort(x) for x in results]
        problem = _difference(*results)
    except Exception as error:  # whatever it is, the other expressions are measured
        problem = f"{type(error).__name__}: {error}".splitlines()[0]
    if problem:
        return Found(expression, problem=problem)
    both = [Contender("tracejit", run, args), Contender("numpy", function, args)]
    seconds = interleave(both, rounds).seconds
    return Found(expression, min(seconds["tracejit"]), min(seconds["numpy"]))


def _difference(got: np.ndarray, want: np.ndarray) -> str:
    if got.shape != want.shape or got.dtype != want.dtype:
        return f"{got.dtype}{got.shape}, not {want.dtype}{want.shape}"
    size = float(np.max(np.abs(want[np.isfinite(want)]), initial=1))
    holds = np.allclose(got, want, TOLERANCE, TOLERANCE * size, equal_nan=True)
    return "" if holds else "other values than NumPy's"


def table(found: list[Found]) -> Table:
    """The slowest beside NumPy first."""
    shown = Table("expression", title="times as fast as NumPy, one thread")
    for name in ("ratio", "tracejit µs", "NumPy µs"):
        shown.add_column(name, justify="right")
    for f in sorted(found, key=lambda f: f.ratio):
        cells = (f"{f.ratio:.2f}", f"{1e6 * f.ours:.1f}", f"{1e6 * f.numpy:.1f}")
        shown.add_row(f.expression, *((f.problem,) if f.problem else cells))
    return shown


def sweep(pattern: str, rounds: int, tell: Callable[[str], None]) -> Iterator[Found]:
    """Measure all expressions that have the pattern, on one thread."""
    given = arrays()
    with tj.config.override(threads=1), np.errstate(all="ignore"):
        for expression in expressions(pattern):
            tell(expression)
            yield measured(expression, given, rounds)


@click.command()
@click.option("--only", default="", help="Only expressions matching this regex.")
@click.option("--rounds", type=click.IntRange(1), default=ROUNDS, show_default=True)
def main(only: str, rounds: int) -> None:
    """Measure expressions beside NumPy; exit with 1 if a result differs."""
    limit_threads(1)  # of NumPy's products too
    with Console(stderr=True).status("") as status:
        found = list(sweep(only, rounds, status.update))
    Console(width=120).print(table(found), markup=False)
    if any(f.problem for f in found):
        raise SystemExit(1)
