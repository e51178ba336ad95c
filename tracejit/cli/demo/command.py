"""The command `tracejit demo`: its options, and what it prints."""

import importlib.util
from pathlib import Path
from typing import NoReturn

import click
from rich.console import Console
from rich.table import Table

from .data import load_digits
from .page import write_page
from .run import run, stage_levels, step_source
from .run_conv import SETTINGS, conv_settings, run_conv
from .summary import CONV_GOAL, GOAL, ConvSummary, Summary
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
    "--conv-epochs",
    type=click.IntRange(min=1),
    default=SETTINGS.epochs,
    show_default=True,
    help="The same, for the convolutional network.",
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
def demo(epochs: int, conv_epochs: int, out: Path, seed: int, device: str) -> None:
    """Train networks on handwritten digits, each with one jitted NumPy function."""
    require_extra()
    out.mkdir(parents=True, exist_ok=True)
    console = Console()
    console.print(f"one train step in plain NumPy, compiled for the {device}")
    digits, settings = load_digits(), Settings(epochs=epochs, seed=seed)
    summary, stages = run(settings, digits, out, console)
    print_summary(summary, console)
    console.print("a convolutional network, its train step compiled as well")
    second = run_conv(conv_settings(settings, conv_epochs), digits, out, console)
    print_conv_summary(second, console)
    write_page(summary, step_source(), stage_levels(stages), second, out)
    console.print(f"report: {out / 'index.html'}", soft_wrap=True)
    if not summary.reaches_goal():
        fail(summary.accuracy, GOAL, "--epochs", max(2 * epochs, Settings.epochs))
    if not second.reaches_goal():
        fail(second.accuracy, CONV_GOAL, "--conv-epochs", 2 * conv_epochs)


def fail(accuracy: float, goal: float, option: str, epochs: int) -> NoReturn:
    """Raise: the test accuracy is not what the demo promises."""
    raise click.ClickException(
        f"test accuracy {accuracy:.2%} is below the goal of {goal:.0%}\n"
        f"  try: {option} {epochs}"
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


def print_conv_summary(summary: ConvSummary, console: Console) -> None:
    """Print the list of kernels with what each costs, and the results."""
    table = Table(title="kernels of the step", title_justify="left")
    for name in ("kernel", "what", "lines"):
        table.add_column(name, overflow="fold")
    for name in ("Mflop", "bytes"):
        table.add_column(name, justify="right", no_wrap=True)
    for kernel in summary.kernels:
        table.add_row(*kernel.cells())
    console.print(table)
    console.print(make_table("results", summary.result_rows()))


def make_table(title: str, rows: list[tuple[str, str]]) -> Table:
    """A table of names and values; a line sets the last row apart."""
    table = Table(title=title, title_justify="left", show_header=False, min_width=56)
    table.add_column(ratio=1)
    table.add_column(justify="right")
    for row in rows:
        table.add_row(*row, end_section=row is rows[-2])
    return table
