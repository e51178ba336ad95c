"""The command `tracejit demo`: its options, and what it prints."""

import importlib.util
from pathlib import Path

import click
from rich.console import Console
from rich.table import Table

from .run import run
from .summary import GOAL, Summary
from .train import Settings

EXTRA = {"sklearn": "scikit-learn", "matplotlib": "matplotlib"}


@click.command()
@click.option(
    "--epochs",
    type=click.IntRange(min=1),
    default=Settings.epochs,
    show_default=True,
    help="Passes over the training images.",
)
@click.option(
    "--out",
    type=click.Path(file_okay=False, path_type=Path),
    default="demo-report",
    show_default=True,
    help="Folder of the report.",
)
@click.option(
    "--seed",
    type=click.IntRange(min=0),
    default=Settings.seed,
    show_default=True,
    help="Seed of initial weights, order of images and noise.",
)
@click.option(
    "--device",
    type=click.Choice(["cpu"]),
    default="cpu",
    show_default=True,
    help="Where the step runs.",
)
def demo(epochs: int, out: Path, seed: int, device: str) -> None:
    """Train a network on handwritten digits with one jitted NumPy function."""
    require_extra()
    out.mkdir(parents=True, exist_ok=True)
    console = Console()
    console.print(f"one train step in plain NumPy, compiled for the {device}")
    summary = run(Settings(epochs=epochs, seed=seed), out, console)
    print_summary(summary, console)
    console.print(f"report: {out / 'index.html'}", soft_wrap=True)
    if not summary.reaches_goal():
        raise click.ClickException(
            f"test accuracy {summary.accuracy:.2%} is below the goal of {GOAL:.0%}\n"
            f"  try: --epochs {max(2 * epochs, Settings.epochs)}"
        )


def require_extra() -> None:
    """Raise before any work is done if a package of the extra `demo` is missing."""
    missing = [p for module, p in EXTRA.items() if not is_installed(module)]
    if missing:
        raise click.ClickException(
            f"the demo needs {' and '.join(missing)}, not installed here\n"
            '  try: pip install "tracejit[demo]"'
        )


def is_installed(module: str) -> bool:
    """Tell whether a module can be imported, without importing it."""
    return importlib.util.find_spec(module) is not None


def print_summary(summary: Summary, console: Console) -> None:
    """Print the tables of compile times and of results."""
    console.print(make_table("compile time of the step", summary.compile_rows()))
    console.print(make_table("results", summary.result_rows()))


def make_table(title: str, rows: list[tuple[str, str]]) -> Table:
    """A table of names and values; a line sets the last row apart."""
    table = Table(title=title, title_justify="left", show_header=False, min_width=56)
    table.add_column(ratio=1)
    table.add_column(justify="right")
    for row in rows:
        table.add_row(*row, end_section=row is rows[-2])
    return table
