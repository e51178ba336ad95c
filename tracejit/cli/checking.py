"""Options that `bisect` and `reduce` share: a check, passes, a limit of time.

Needs `debug.checks`. Establishes `check_option`, which tells right programs from wrong
ones, with `check_of`, the check that it names, and `check_compared`, whether there was
anything to tell by; `passes_option` and `timeout_option`.
"""

import click

from ..debug.checks import Check, command, is_valid, no_nan, references
from ..debug.limits import SECONDS
from ..debug.noise import MOST_TURNS
from ..debug.samples import sample_inputs
from ..errors import TracejitError
from ..ir.graph import Graph

check_option = click.option(
    "--check",
    default="interp",
    show_default=True,
    metavar="interp|nan|verify|COMMAND",
    help="What tells a right program from a wrong one; see below.",
)
passes_option = click.option(
    "-p",
    "--passes",
    "pipeline",
    metavar="PIPELINE",
    help="Passes in order, as of `tracejit opt`; without it those of the CPU, or of "
    "the repro.",
)
timeout_option = click.option(
    "--timeout",
    default=SECONDS,
    show_default=True,
    help="Seconds after which machine code, or the COMMAND of --check, that still runs "
    "is taken to hang.",
)


def check_of(text: str, graph: Graph, seed: int, seconds: float) -> Check | None:
    """Return the check that the command line names; None for the usual one."""
    if text == "interp":
        return None
    if text == "verify":
        return is_valid
    if text == "nan":
        return no_nan([sample_inputs(graph.in_avals, seed)])
    return command(text, seconds)


def check_compared(graph: Graph, seed: int) -> None:
    """Raise `TracejitError` where there are no samples that results can be compared on.

    That is so where a loop does not end soon on any of them.
    """
    if not references(graph, seed=seed):
        raise TracejitError(
            f"nothing of @{graph.name} was compared: on all samples a loop runs for "
            f"more than {MOST_TURNS} turns",
            hint="another --seed, --check COMMAND, or in Python "
            "tj.debug.bisect_call(function, *arguments) with arguments of your own",
        )
