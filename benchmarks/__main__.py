"""``python -m benchmarks SUITE``: measure ours beside its peers, in one process.

Suites of rows: core, overhead, models. Suites of numbers from processes of their own:
compile, memory, commands. ``gpu``, ``cliffs``, ``sweep``, ``compare`` and ``readme``
are commands of their own.
"""

import re
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import click
from rich.console import Console

from tracejit.debug.machine import measure_limits

from . import cliffs, cold, commands, compare, machine, readme, report, sweep
from .contenders import ONE_THREAD, OURS, PEERS
from .gpu.command import main as gpu
from .keep import keep
from .measure import measure
from .row import Row
from .rows import SUITES

TABLES = {
    "compile": cold.compile_tables,
    "memory": cold.memory_tables,
    "commands": commands.command_tables,
}
COMMANDS = {
    "gpu": gpu,
    "compare": compare.main,
    "readme": readme.main,
    "cliffs": cliffs.main,
    "sweep": sweep.main,
}
ALL = "all"
PEERS_HELP = f"Of {', '.join(PEERS)}; default all. Or {ONE_THREAD}: ours on one thread."


def chosen_rows(suite: str, pattern: str) -> list[Row]:
    """The rows of `suite` whose name the regular expression is found in."""
    suites = [*SUITES] if suite == ALL else [suite]
    known = [row for name in suites for row in SUITES.get(name, [])]
    rows = [row for row in known if re.search(pattern, row.name)]
    if known and not rows:
        names = ", ".join(row.name for row in known)
        raise click.UsageError(f"no row matches {pattern!r}; rows are {names}")
    return rows


def parse_peers(text: str) -> list[str]:
    """Contender names, ours last; all of them for an empty text."""
    names = [name.strip() for name in text.split(",") if name.strip()]
    known = (*PEERS, ONE_THREAD)
    unknown = [name for name in names if name not in known]
    if unknown:
        raise click.UsageError(f"unknown peers {unknown}; peers are {[*known]}")
    return [*dict.fromkeys(names or PEERS), OURS]


def measured(
    suite: str,
    rows: list[Row],
    names: list[str],
    rounds: int | None,
    out: Path | None,
    tell: Callable[[str], None],
) -> report.Run:
    """Measure rows and tables, the machine before and after them."""
    limits = measure_limits() if rows else None
    run = report.Run(suite, machine.describe(), limits)
    for row in rows:
        tell(row.name)
        run.results.append(measure(row, names, rounds))
        keep(run, out, suite)
    for name in TABLES if suite == ALL else {suite} & {*TABLES}:
        tell(name)
        run.tables.extend(TABLES[name](names))
        keep(run, out, suite)
    if limits is not None:
        run = replace(run, limits=limits.best(measure_limits()))
        keep(run, out, suite)
    return run


@click.command()
@click.argument("suite", type=click.Choice([*SUITES, *TABLES, ALL]))
@click.option("--peers", default="", help=PEERS_HELP)
@click.option("--rows", "pattern", default="", help="Only rows matching this regex.")
@click.option("--rounds", type=click.IntRange(1), help="Instead of about 2 s a row.")
@click.option("--threads", type=click.IntRange(1), help="Run on this many cores only.")
@click.option("--json", "is_json", is_flag=True, help="Print JSON, not a table.")
@click.option("--out", type=click.Path(path_type=Path), help="Folder of JSON and page.")
@click.option("--save", "save_as", metavar="NAME", help="Write results/NAME.json.")
def main(
    suite: str,
    peers: str,
    pattern: str,
    rounds: int | None,
    threads: int | None,
    is_json: bool,
    out: Path | None,
    save_as: str | None,
) -> None:
    """Measure SUITE; exit with 1 if any contender was wrong or failed.

    What is written to --out is written after each row, so that a run that is cut short
    leaves what it measured.
    """
    if threads is not None:
        machine.limit_threads(threads)
    rows, names = chosen_rows(suite, pattern), parse_peers(peers)
    with Console(stderr=True).status("") as status:
        run = measured(suite, rows, names, rounds, out, status.update)
    if is_json:
        click.echo(report.as_json(run))
    else:
        report.show(run, Console() if sys.stdout.isatty() else Console(width=200))
    if save_as is not None:
        keep(run, report.RESULTS, save_as)
    sys.exit(0 if report.is_clean(run.results) else 1)


if __name__ == "__main__":
    if sys.argv[1:2] and sys.argv[1] in COMMANDS:
        COMMANDS[sys.argv[1]](sys.argv[2:])
    main()
