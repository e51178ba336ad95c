"""The command: ``python -m benchmarks gpu --out DIR --minutes 8``."""

import re
import time
from pathlib import Path
from typing import Any

import click
from rich.console import Console
from rich.table import Table

from tracejit import config
from tracejit.devices import Device, find_device

from .. import machine
from .contenders import OURS, PEERS
from .measure import limits, measure, ratio, write
from .rows import all_rows


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
    """Measure on the first CUDA device; rows are written as they come."""
    device = find_device("cuda")
    assert device is not None
    if tune:
        out.mkdir(parents=True, exist_ok=True)
        config.set("tune", "on")
        config.set("tuning_file", str(out / "tuning.json"))
    run(device, out, minutes, pattern, [p for p in peers.split(",") if p], scale)


def run(
    device: Device,
    out: Path,
    minutes: float,
    pattern: str,
    peers: list[str],
    scale: int,
) -> list[dict[str, Any]]:
    """Measure rows until the time is over; return what was found."""
    end = time.monotonic() + 60 * minutes
    console = Console(width=150)
    about = machine.describe() | {"device": repr(device)}
    about["limits"] = limits(device, scale)
    console.print(about["limits"], device)
    results: list[dict[str, Any]] = []
    for row in all_rows(scale):
        if not re.search(pattern, row.name) or time.monotonic() > end:
            continue
        results.append(measure(row, [OURS, *peers], device))
        write(out / "gpu.json", {"about": about, "rows": results})
        console.print(line(results[-1]), markup=False, highlight=False)
    console.print(table(results, peers))
    return results


def line(result: dict[str, Any]) -> str:
    """Return one row in words, with what failed."""
    parts = [f"{result['row']}: {ratio(result):.2f}x of the best peer"]
    for name, c in result["contenders"].items():
        if "failed" in c:
            parts.append(f"  {name} failed: {c['failed']}")
        else:
            parts.append(
                f"  {name} {c['seconds'] * 1e6:.1f} µs, host {c['host_s'] * 1e6:.1f} "
                f"µs, {c['gb_s']:.0f} GB/s, {c['tflop_s']:.1f} TFLOP/s"
            )
    return "\n".join(parts)


def table(results: list[dict[str, Any]], peers: list[str]) -> Table:
    """Return all rows as a table of microseconds."""
    shown = Table(title="µs per call, median")
    for name in ("row", *peers, OURS, "best/ours"):
        shown.add_column(name, justify="left" if name == "row" else "right")
    for result in results:
        times = (
            result["contenders"].get(name, {}).get("seconds") for name in (*peers, OURS)
        )
        cells = ["-" if t is None else f"{t * 1e6:.1f}" for t in times]
        shown.add_row(result["row"], *cells, f"{ratio(result):.2f}")
    return shown
