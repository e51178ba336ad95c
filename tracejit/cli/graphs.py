"""Graphs, as commands that take either a file of .tir text or a function read them.

Needs the parser and `functions.traced_target`. Establishes `graphs_of`.
"""

from collections.abc import Iterator, Sequence
from pathlib import Path

import click

from ..ir.graph import Graph
from .functions import traced_target
from .opt import read_graphs


def graphs_of(
    source: str, arguments: Sequence[str], args_from: str | None = None
) -> Iterator[Graph]:
    """Yield each graph of a file, or that of a function as traced.

    Parameters
    ----------
    source : str
        ``FILE.tir``, ``FILE.py:FUNC`` or ``MODULE:FUNC``.
    arguments : sequence of str
        The texts of ``--arg``, for functions.
    args_from : str, optional
        That of ``--args-from``.

    Raises
    ------
    click.ClickException
        The file cannot be read, its text is no graph, or there is no such function.
    """
    if not source.endswith(".tir"):
        yield traced_target(source, arguments, args_from).graph
        return
    if arguments or args_from is not None:
        raise click.UsageError(
            f"{source} says the types of its graphs' inputs; leave out --arg and "
            "--args-from"
        )
    yield from read_graphs(read_text(source), source)


def read_text(path: str) -> str:
    """Return the text of a file of graphs.

    Raises
    ------
    click.UsageError
        It cannot be read.
    """
    try:
        return Path(path).read_text("utf-8")
    except OSError as error:
        raise click.UsageError(f"{path} cannot be read: {error.strerror}") from error
