"""The command `tracejit repro`: what an internal error wrote, run again.

Needs `debug.repro`. Establishes what fails now, and an exit code that says whether
anything does.
"""

import click

from ..debug.repro import read, rerun
from .functions import json_option, print_json, user_errors
from .graphs import read_text

EPILOG = """\b
Examples:
  tracejit repro /tmp/tracejit-repro/step-1a2b3c4d.tir
  tracejit bisect /tmp/tracejit-repro/step-1a2b3c4d.tir
  tracejit reduce /tmp/tracejit-repro/step-1a2b3c4d.tir -o small.tir

\b
Exit codes:
  0  nothing fails: the fault is mended, or depends on something else
  1  the file is no repro
  2  the command line is wrong
  3  it fails again
"""
FAILS = 3


@click.command(epilog=EPILOG)
@click.argument("file", metavar="FILE")
@json_option
def repro(file: str, as_json: bool) -> None:
    """Compile the graph of FILE as it was compiled when it was written.

    Internal errors say where their file is. It is .tir text, so that `opt`, `run`,
    `bisect` and `reduce` take it too.
    """
    with user_errors():
        found = rerun(read(read_text(file)))
    if as_json:
        print_json(found.as_json())
    else:
        click.echo(found.as_text())
    if found.wrong:
        raise click.exceptions.Exit(FAILS)
