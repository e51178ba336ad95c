"""The command `tracejit doctor`: whether everything that tracejit needs is in order.

Needs `debug.doctor`. Establishes its list as text or JSON, and exit code 1 if
something is broken.
"""

import click

from ..debug.doctor import BROKEN, NOTE, examine
from .functions import json_option, print_json

EPILOG = """\b
Examples:
  tracejit doctor
  tracejit doctor --json

\b
Exit codes:
  0  nothing is broken
  1  something is; it is marked with an x
  2  the command line is wrong
"""
_MARKS = {NOTE: "-", BROKEN: "x"}
_COLOURS = {NOTE: "yellow", BROKEN: "red"}


@click.command(epilog=EPILOG)
@json_option
def doctor(as_json: bool) -> None:
    """Look at versions, processor, cache, GPU and switches, and compile a function."""
    items = examine()
    if as_json:
        print_json({"items": [vars(x) for x in items]})
    else:
        before = ""
        for x in items:
            title = x.name if x.name != before else ""
            mark = click.style(_MARKS.get(x.state, "+"), fg=_COLOURS.get(x.state))
            click.echo(f"{title:13} {mark} {x.text}")
            before = x.name
    if any(x.state == BROKEN for x in items):
        raise click.exceptions.Exit(1)
