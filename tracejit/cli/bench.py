"""The command `tracejit bench`: a function's time, compiled and not.

Needs `debug.bench`. Establishes its table, or one JSON document.
"""

import sys
from contextlib import redirect_stdout

import click

from ..debug.bench import bench as measured
from .args import HELP_END, argument_option
from .functions import (
    args_from_option,
    json_option,
    print_json,
    sampled_call,
    user_errors,
)

EPILOG = f"""\b
Examples:
  tracejit bench model.py:predict --arg f32[512,784] --arg f32[784,10]
  tracejit bench model.py:step --args-from model.py:batch --seconds 5 --json

{HELP_END}"""


@click.command(epilog=EPILOG)
@click.argument("target", metavar="FILE.py:FUNC|MODULE:FUNC")
@argument_option
@args_from_option
@click.option(
    "--seconds",
    type=click.FloatRange(min=0.0),
    default=1.0,
    show_default=True,
    help="How long to measure, about.",
)
@click.option("--seed", default=0, show_default=True, help="Of the sample values.")
@json_option
def bench(
    target: str,
    arguments: tuple[str, ...],
    args_from: str | None,
    seconds: float,
    seed: int,
    as_json: bool,
) -> None:
    """Measure a function: under jit, as it is in NumPy, in the interpreter.

    The three take turns, and medians are shown, with the fastest call of each and what
    tracing and compiling took. What the function prints goes to stderr.
    """
    with user_errors():
        function, (args, kwargs) = sampled_call(target, arguments, args_from, seed)
        with redirect_stdout(sys.stderr):
            found = measured(function, args, kwargs, seconds)
    if as_json:
        print_json(found.as_json())
    else:
        click.echo(found.as_text())
