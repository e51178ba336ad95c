"""The command `tracejit diff`: in which equations two files of graphs differ.

Needs `debug.diff`. Establishes the difference as text or JSON, and an exit code for
scripts.
"""

from itertools import zip_longest

import click

from ..debug.diff import diff as difference
from ..ir.graph import Graph
from .functions import json_option, print_json, user_errors
from .graphs import graphs_of

EPILOG = """\b
Examples:
  tracejit diff before.tir after.tir
  tracejit diff before.tir after.tir --json

\b
Exit codes:
  0  the graphs are equal, up to names and source lines
  1  a text is no graph
  2  the command line is wrong
  3  they differ
"""
DIFFERENT = 3


@click.command(epilog=EPILOG)
@click.argument("before", metavar="A.tir")
@click.argument("after", metavar="B.tir")
@json_option
def diff(before: str, after: str, as_json: bool) -> None:
    """Compare the graphs of two files, whatever their variables are called.

    Equations of A alone begin with '-', those of B alone with '+'. Variables that stand
    for the same value have the names of A.
    """
    with user_errors():
        pairs = zip_longest(graphs_of(before, ()), graphs_of(after, ()))
        found = [compared(one, two) for one, two in pairs]
    if as_json:
        print_json({"graphs": found})
    else:
        for entry in found:
            click.echo(entry["text"])
    if not all(entry["equal"] for entry in found):
        raise click.exceptions.Exit(DIFFERENT)


def compared(before: Graph | None, after: Graph | None) -> dict[str, object]:
    """Return the difference of two graphs, of which one may be missing."""
    graph = before or after
    assert graph is not None
    if before is None or after is None:
        where = "the first" if after is None else "the second"
        text = f"@{graph.name}: in {where} file alone"
        return {"name": graph.name, "equal": False, "text": text}
    found = difference(before, after)
    text = f"@{graph.name}: equal"
    if not found.is_equal:
        text = f"@{graph.name}\n{found.as_text()}"
    return {"name": graph.name, "text": text, **found.as_json()}
