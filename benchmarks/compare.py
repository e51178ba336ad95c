"""``python -m benchmarks compare A.json B.json``: two runs side by side.

Works on the JSON of every suite, GPUs' among them. Each row's time in both, their
ratio, and the ratio to the best peer in both: times drift with the machine, ratios to
peers that were measured in the same run hold.
"""

import json
from collections.abc import Mapping
from pathlib import Path

import click
from rich.console import Console
from rich.table import Table

from .page import medians, microseconds
from .report import geometric_mean
from .row import BEST, OURS

Document = Mapping[str, object]


def compare(before: Document, after: Document, name: str = OURS) -> Table:
    """The rows that both runs have, with geometric means below.

    Parameters
    ----------
    before, after : mapping
        What JSON files hold.
    name : str
        The contender whose times are compared.
    """
    shown = Table(title=f"{name}, µs per call", show_footer=True)
    lines, faster, gains = [], [], []
    for row in (row for row in before["rows"] if row in after["rows"]):
        first, second = before["rows"][row], after["rows"][row]
        old, new = medians(first).get(name), medians(second).get(name)
        best = first["ratios"].get(BEST), second["ratios"].get(BEST)
        faster.append(old / new if old and new else float("nan"))
        gains.append(best[1] / best[0] if all(best) else float("nan"))
        cells = [*map(microseconds, (old, new)), *map(_ratio, (faster[-1], *best))]
        lines.append([row, *cells])
    shown.add_column("row", "geometric mean")
    for title, foot in (
        ("before", ""),
        ("after", ""),
        ("before / after", _ratio(geometric_mean(faster))),
        ("best/ours before", ""),
        ("best/ours after", _ratio(geometric_mean(gains)) + " of before"),
    ):
        shown.add_column(title, foot, justify="right")
    for line in lines:
        shown.add_row(*line)
    return shown


def _ratio(value: float | None) -> str:
    return "-" if value is None or value != value else f"{value:.2f}x"


def load(path: Path) -> Document:
    """A run that was kept."""
    return json.loads(path.read_text(encoding="utf-8"))


@click.command()
@click.argument("before", type=click.Path(exists=True, path_type=Path))
@click.argument("after", type=click.Path(exists=True, path_type=Path))
@click.option("--of", "name", default=OURS, show_default=True, help="A contender.")
def main(before: Path, after: Path, name: str) -> None:
    """Show the runs of two JSON files side by side."""
    runs = [load(path) for path in (before, after)]
    console = Console(width=120)
    for path, run in zip((before, after), runs, strict=True):
        about = run["machine"]
        console.print(
            f"{path}: {about['cpu']}, {about['threads']} threads, "
            f"commit {about['commit']}, {about['date']}",
            highlight=False,
        )
    console.print(compare(*runs, name))
