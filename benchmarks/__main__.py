"""``python -m benchmarks SUITE``: measure ours beside its peers, in one process."""

import os
import re
import sys

import click
from rich.console import Console

from . import machine, report
from .contenders import OURS, PEERS
from .gpu.command import main as gpu
from .measure import measure
from .row import Row
from .rows import SUITES, UNITS

THREAD_VARIABLES = ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS")


def limit_threads(count: int) -> None:
    """Start this process anew on the first `count` of its cores.

    Thread pools are sized when libraries load, so the limit has to be there before
    they are: by affinity, which JAX and OpenMP honour, and by their variables.
    """
    wanted = {name: str(count) for name in THREAD_VARIABLES}
    has_affinity = hasattr(os, "sched_setaffinity")
    is_narrow = not has_affinity or machine.usable_cores() <= count
    if is_narrow and wanted.items() <= os.environ.items():
        return
    if has_affinity:
        os.sched_setaffinity(0, sorted(os.sched_getaffinity(0))[:count])
    sys.stdout.flush()
    os.execve(sys.executable, sys.orig_argv, os.environ | wanted)


def chosen_rows(suite: str, pattern: str) -> list[Row]:
    """The rows of `suite` whose name the regular expression is found in."""
    rows = [row for row in SUITES[suite] if re.search(pattern, row.name)]
    if not rows:
        names = ", ".join(row.name for row in SUITES[suite])
        raise click.UsageError(f"no row matches {pattern!r}; rows are {names}")
    return rows


def parse_peers(text: str) -> list[str]:
    """Contender names, ours last."""
    names = [name.strip() for name in text.split(",") if name.strip()]
    unknown = [name for name in names if name not in PEERS]
    if unknown:
        raise click.UsageError(f"unknown peers {unknown}; peers are {[*PEERS]}")
    return [*dict.fromkeys(names), OURS]


@click.command()
@click.argument("suite", type=click.Choice([*SUITES]))
@click.option("--peers", default="numpy,jax", show_default=True, help=", ".join(PEERS))
@click.option("--rows", "pattern", default="", help="Only rows matching this regex.")
@click.option("--rounds", type=click.IntRange(1), help="Instead of about 2 s a row.")
@click.option("--threads", type=click.IntRange(1), help="Run on this many cores only.")
@click.option("--json", "is_json", is_flag=True, help="Print JSON, not a table.")
@click.option("--save", "save_as", metavar="NAME", help="Write results/NAME.json.")
def main(
    suite: str,
    peers: str,
    pattern: str,
    rounds: int | None,
    threads: int | None,
    is_json: bool,
    save_as: str | None,
) -> None:
    """Measure SUITE; exit with 1 if any contender was wrong or failed."""
    if threads is not None:
        limit_threads(threads)
    rows, names = chosen_rows(suite, pattern), parse_peers(peers)
    about = machine.describe()
    results = []
    progress = Console(stderr=True)
    with progress.status("") as status:
        for row in rows:
            status.update(row.name)
            found = {m.contender: m for m in measure(row, names, rounds)}
            results.append(report.RowResult(row, found))
    text = report.as_json(suite, results, about)
    if is_json:
        click.echo(text)
    else:
        _show(suite, results, about)
    if save_as is not None:
        progress.print(f"saved {report.save(text, save_as)}")
    sys.exit(0 if report.is_clean(results) else 1)


def _show(
    suite: str, results: list[report.RowResult], about: dict[str, object]
) -> None:
    """Print the table; piped output keeps its full width."""
    console = Console() if sys.stdout.isatty() else Console(width=160)
    console.print(report.table(results, suite, UNITS[suite]))
    for line in report.notes(results):
        console.print(line, markup=False, highlight=False)
    threads, date = about["threads"], about["date"]
    console.print(
        f"{about['cpu']}, {threads} threads, commit {about['commit']}, {date}"
    )


if __name__ == "__main__":
    if sys.argv[1:2] == ["gpu"]:
        gpu(sys.argv[2:])
    main()
