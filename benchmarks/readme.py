"""``python -m benchmarks readme``: the README's table, from the results that are kept.

Needs ``results/core-cpu.json`` and two marks in README.md. With ``--check``
nothing is written, and the exit status says whether the table is that of the results.
"""

import sys
from collections.abc import Mapping
from pathlib import Path

import click

from .compare import load
from .machine import ROOT
from .page import medians
from .report import RESULTS
from .row import BEST, OURS

START, END = "<!-- benchmarks: made by python -m benchmarks readme -->", "<!-- end -->"
KEPT = "core-cpu.json"
TITLES = {"inductor": "torch.compile", "numpy": "NumPy", "jax": "JAX", "numba": "Numba"}
TITLES |= {"drjit": "Dr.Jit"}


def table(document: Mapping[str, object]) -> str:
    """The rows of a run as Markdown: milliseconds, and how often the best peer's."""
    rows = document["rows"]
    names = [*dict.fromkeys(n for row in rows.values() for n in row["contenders"])]
    names = [OURS, *(n for n in names if n != OURS)]
    titles = [TITLES.get(name, name) for name in names]
    lines = [
        f"| ms per call | {' | '.join(titles)} | best peer / tracejit |",
        "|---" * (len(names) + 2) + "|",
    ]
    for name, row in rows.items():
        times = medians(row)
        cells = [f"{times[n] * 1e3:.3g}" if n in times else "" for n in names]
        best = row["ratios"].get(BEST)
        lines.append(f"| `{name}` | {' | '.join(cells)} | {_times(best)} |")
    means = document["means"]
    cells = ["", *(_times(means.get(n)) for n in names[1:]), _times(means.get(BEST))]
    lines.append(f"| geometric mean, over tracejit's time | {' | '.join(cells)} |")
    return "\n".join([*lines, "", source(document)])


def source(document: Mapping[str, object]) -> str:
    """What the numbers were measured on, as a sentence."""
    about = document["machine"]
    peers = {k: v for k, v in about["versions"].items() if v}
    versions = ", ".join(f"{name} {version}" for name, version in peers.items())
    return (
        f"Medians over interleaved rounds, in float32 unless a name says otherwise, on "
        f"{about['cpu']}, {about['threads']} threads; {versions}; commit "
        f"{about['commit']}, {about['date'][:10]}."
    )


def _times(ratio: float | None) -> str:
    return "" if ratio is None else f"{ratio:.2f}×"


def replaced(text: str, table: str) -> str:
    """The text with what is between the marks replaced.

    Raises
    ------
    ValueError
        If the marks are not there.
    """
    before, mark, rest = text.partition(START)
    _, end, after = rest.partition(END)
    if not (mark and end):
        raise ValueError(f"no marks {START!r} and {END!r} in the text")
    return f"{before}{START}\n{table}\n{END}{after}"


@click.command()
@click.option("--check", is_flag=True, help="Write nothing; exit with 1 if it differs.")
@click.option(
    "--readme",
    "path",
    type=click.Path(exists=True, path_type=Path),
    default=ROOT / "README.md",
)
def main(check: bool, path: Path) -> None:
    """Write the README's table from the results that are kept."""
    text = path.read_text(encoding="utf-8")
    new = replaced(text, table(load(RESULTS / KEPT)))
    if check:
        sys.exit(0 if new == text else 1)
    path.write_text(new, encoding="utf-8")
