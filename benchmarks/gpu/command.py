"""The command: ``python -m benchmarks gpu --out DIR --minutes 8``."""

import math
import re
import time
from collections.abc import Callable
from pathlib import Path

import click
from rich.console import Console

from tracejit import config
from tracejit.placement import Device, find_device

from .. import machine, report
from ..cold import Table
from ..keep import keep
from ..row import BEST, OURS, Measurement, Row, RowResult, Status
from .contenders import MAX, PEERS
from .measure import device_limits, measure
from .rows import all_rows, autotuned, telling

NAME = "gpu"


@click.command()
@click.option("--out", type=click.Path(path_type=Path), default=Path("."))
@click.option("--minutes", type=float, default=8.0, show_default=True)
@click.option("--rows", "pattern", default="", help="Only rows matching this regex.")
@click.option("--peers", default=",".join(PEERS), show_default=True)
@click.option("--scale", type=click.IntRange(1), default=1, help="Divide the sizes.")
@click.option("--tune", is_flag=True, help="Tune our kernels; keeps OUT/tuning.json.")
def main(
    out: Path, minutes: float, pattern: str, peers: str, scale: int, tune: bool
) -> None:
    """Measure on the first CUDA device; rows are written as they come.

    The most telling rows come first. Those that compute much run once more beside
    torch.compile's max-autotune, whose search takes longest, before all other rows.
    """
    device = find_device("cuda")
    if device is None:
        raise click.ClickException("there is no CUDA device")
    if tune:
        out.mkdir(parents=True, exist_ok=True)
        config.set("tune", "on")
        config.set("tuning_file", str(out / "tuning.json"))
    run(device, out, minutes, pattern, [p for p in peers.split(",") if p], scale)


def plan(pattern: str, peers: list[str], scale: int) -> list[tuple[Row, list[str]]]:
    """Rows with their contenders, in the order in which they are measured."""
    usual = [OURS, *(name for name in peers if name != MAX)]
    rows = all_rows(scale)
    first = [row for row in rows if row.name in {r.name for r in telling(scale)}]
    rest = [row for row in rows if row not in first]
    tuned = autotuned(first) if MAX in peers else []
    planned = [
        *((row, usual) for row in first),
        *((row, [OURS, MAX]) for row in tuned),
        *((row, usual) for row in rest),
    ]
    return [entry for entry in planned if re.search(pattern, entry[0].name)]


def run(
    device: Device,
    out: Path,
    minutes: float,
    pattern: str,
    peers: list[str],
    scale: int,
) -> report.Run:
    """Measure rows until the time is over; return what was found."""
    end = time.monotonic() + 60 * minutes
    console = Console(width=200)
    about = machine.describe() | {"device": repr(device)}
    found = report.Run(NAME, about, device_limits(scale))
    console.print(found.limits, device)
    for row, names in plan(pattern, peers, scale):
        if time.monotonic() > end:
            break
        found.results.append(measure(row, names, device, end))
        found.tables[:] = [host_table(found.results), compile_table(found.results)]
        keep(found, out, NAME)
        console.print(line(found.results[-1]), markup=False, highlight=False)
    if found.results:
        report.show(found, console)
    return found


def line(result: RowResult) -> str:
    """Return one row in words, with what failed."""
    parts = [f"{result.row.name}: {result.ratios()[BEST]:.2f}x of the best peer"]
    for name, m in result.measurements.items():
        if m.status is not Status.OK:
            parts.append(f"  {name} {m.status}: {m.note}")
            continue
        rate = result.row.bytes / m.median_s / 1e9
        work = result.row.flops / m.median_s / 1e12
        parts.append(
            f"  {name} {m.median_s * 1e6:.1f} µs, host {m.host_s * 1e6:.1f} µs, "
            f"{rate:.0f} GB/s, {work:.1f} TFLOP/s, first call {m.first_call_s:.1f} s"
        )
    return "\n".join(parts)


def host_table(results: list[RowResult]) -> Table:
    """What asking for a run takes, while the device is idle."""
    return _table("host time of a call", "µs", results, lambda m: 1e6 * m.host_s)


def compile_table(results: list[RowResult]) -> Table:
    """First calls: tracing, compilation, autotuning."""
    return _table("first call", "s", results, lambda m: m.first_call_s)


def _table(
    title: str,
    unit: str,
    results: list[RowResult],
    value: Callable[[Measurement], float],
) -> Table:
    names = [*dict.fromkeys(n for r in results for n in r.measurements)]
    rows = {}
    for result in results:
        given = {n: value(m) for n, m in result.measurements.items()}
        known = {n: v for n, v in given.items() if not math.isnan(v)}
        rows[result.row.name] = {n: known.get(n) for n in names}
    return Table(title, unit, rows)
