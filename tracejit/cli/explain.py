"""The command `tracejit explain`: why a function is traced again, and what it costs.

Needs `debug.explanation`. Establishes its text, or one JSON document.
"""

from dataclasses import replace

import click

from ..debug.reasons import GROUPS
from .args import HELP_END, argument_option
from .functions import (
    args_from_option,
    called_target,
    json_option,
    print_json,
    user_errors,
)

EPILOG = f"""\b
Examples:
  tracejit explain model.py:predict --arg f32[8,16] --arg f32[16,4]
  tracejit explain model.py:step --args-from model.py:batches
  tracejit explain model.py:step --args-from model.py:batches --json

{HELP_END}"""


@click.command(epilog=EPILOG)
@click.argument("target", metavar="FILE.py:FUNC|MODULE:FUNC")
@argument_option
@args_from_option
@click.option(
    "--only",
    type=click.Choice(tuple(GROUPS)),
    multiple=True,
    help="A group of findings to show; can be repeated.",
)
@click.option("--all", "show_all", is_flag=True, help="Show all findings of a code.")
@json_option
def explain(
    target: str,
    arguments: tuple[str, ...],
    args_from: str | None,
    only: tuple[str, ...],
    show_all: bool,
    as_json: bool,
) -> None:
    """Say why a function is traced again, and what costs memory, copies and calls.

    FUNC is a plain NumPy function, or one under tj.jit or tj.grad. It is compiled for
    each of the given calls, but not run. Findings have a code each, listed in
    docs/reasons.md: retraces, refused fusions, copies, layouts, values in memory, steps
    on the host, written arguments, captures, and constants of the code.
    """
    with user_errors():
        function = called_target(target, arguments, args_from)
        explanation = function.explain()
    if only:
        explanation = replace(explanation, findings=explanation.of(*only))
    if as_json:
        print_json(explanation.as_json())
    else:
        click.echo(explanation.as_text(0) if show_all else explanation.as_text())
