"""``python -m benchmarks cliffs``: how much slower unusual numbers are than usual ones.

Processors may take a hundred times as long for subnormal numbers, and code may branch
where a number is NaN or out of range. Each function runs on arrays that lie in the
cache, filled with one kind of number each, by turns; a table has the time of each kind
over that of usual numbers. From `CLIFF` on a ratio is one to look into.
"""

from collections.abc import Callable, Mapping
from time import perf_counter

import click
import numpy as np
from rich.console import Console
from rich.table import Table

import tracejit as tj

from .rows.elementwise import gelu_chain
from .rows.normalise import softmax

COUNT = 1 << 14
ROUNDS, CALLS = 25, 20
CLIFF = 3.0
USUAL = "usual"
Function = Callable[[np.ndarray], np.ndarray]
Maker = Callable[[np.random.Generator, int, np.dtype], np.ndarray]


def subnormal(rng: np.random.Generator, count: int, dtype: np.dtype) -> np.ndarray:
    """Numbers below the least normal one."""
    return rng.uniform(0.01, 0.9, count) * float(np.finfo(dtype).tiny)


def underflowing(rng: np.random.Generator, count: int, dtype: np.dtype) -> np.ndarray:
    """Numbers whose exponentials are subnormal."""
    info = np.finfo(dtype)
    least, below = float(info.smallest_subnormal), float(info.tiny)
    return rng.uniform(np.log(least) + 1, np.log(below), count)


def mixed(rng: np.random.Generator, count: int, dtype: np.dtype) -> np.ndarray:
    """One in ten of usual numbers is NaN, infinite, zero, subnormal or very large."""
    tiny = float(np.finfo(dtype).tiny)
    odd = rng.choice([np.nan, np.inf, 0.0, tiny / 3, -800.0, 1e30], count)
    return np.where(rng.random(count) < 0.1, odd, rng.uniform(0.1, 3, count))


def filled(value: float) -> Maker:
    """All numbers the same."""
    return lambda rng, count, dtype: np.full(count, value)


KINDS: Mapping[str, Maker] = {
    USUAL: lambda rng, count, dtype: rng.uniform(0.1, 3, count),
    "subnormal": subnormal,
    "e^x subnormal": underflowing,
    "-1000": filled(-1000.0),
    "zero": filled(0.0),
    "NaN": filled(np.nan),
    "inf": filled(np.inf),
    "1e30": filled(1e30),
    "mixed": mixed,
}
FUNCTIONS: Mapping[str, Function] = {
    **{
        name: getattr(np, name)
        for name in (
            *("exp", "exp2", "expm1", "log", "log1p", "log2", "tanh", "sinh"),
            *("sin", "tan", "arctan", "arcsinh", "cbrt", "sqrt", "square"),
        )
    },
    "1 / x": lambda x: 1 / x,
    "x ** 2.7": lambda x: x ** x.dtype.type(2.7),
    "logistic": lambda x: 1 / (1 + np.exp(-x)),
    "gelu": gelu_chain,
    "silu": lambda x: x / (1 + np.exp(-x)),
    "softmax": softmax,
}


def ratios(
    function: Function, dtype: np.dtype, rounds: int = ROUNDS
) -> dict[str, float]:
    """The time for each kind of number over that for usual ones: least of rounds."""
    rng = np.random.default_rng(0)
    run = tj.jit(function)
    inputs = {k: make(rng, COUNT, dtype).astype(dtype) for k, make in KINDS.items()}
    best = dict.fromkeys(inputs, float("inf"))
    with np.errstate(all="ignore"):
        for _ in range(rounds):
            for kind, x in inputs.items():
                start = perf_counter()
                for _ in range(CALLS):
                    run(x)
                best[kind] = min(best[kind], perf_counter() - start)
    return {kind: seconds / best[USUAL] for kind, seconds in best.items()}


def table(dtype: str, pattern: str, rounds: int) -> Table:
    """The ratios of all functions whose name has `pattern` in it."""
    shown = Table(title=f"{dtype}: time over that of usual numbers")
    shown.add_column("function")
    for kind in KINDS:
        if kind != USUAL:
            shown.add_column(kind, justify="right")
    for name, function in FUNCTIONS.items():
        if pattern in name:
            found = ratios(function, np.dtype(dtype), rounds)
            cells = [_cell(found[kind]) for kind in KINDS if kind != USUAL]
            shown.add_row(name, *cells)
    return shown


def _cell(ratio: float) -> str:
    text = f"{ratio:.1f}"
    return f"[bold red]{text}[/]" if ratio >= CLIFF else text


@click.command()
@click.option("--only", default="", help="Only functions with this in their name.")
@click.option("--rounds", type=click.IntRange(1), default=ROUNDS, show_default=True)
def main(only: str, rounds: int) -> None:
    """Measure functions on unusual numbers; threads are not used."""
    console = Console(width=120)
    with tj.config.override(threads=1):
        for dtype in ("float32", "float64"):
            console.print(table(dtype, only, rounds))
