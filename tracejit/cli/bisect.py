"""The command `tracejit bisect`: which rewrite makes a program wrong.

Needs `debug.bisect`, which does the work, and graphs in .tir text or functions.
Establishes the answer as text or JSON, and an exit code for scripts.
"""

import click

from .. import config
from ..debug import bisect as debug
from ..debug.culprit import Culprit
from ..debug.levels import Setting
from ..lowering import host_limits, passes_of
from .args import argument_option
from .checking import (
    check_compared,
    check_of,
    check_option,
    passes_option,
    timeout_option,
)
from .functions import (
    args_from_option,
    json_option,
    print_json,
    seed_option,
    user_errors,
)
from .graphs import graphs_of
from .opt import check_rules, find_passes

EPILOG = """\b
Examples:
  tracejit bisect graph.tir
  tracejit bisect model.py:step --arg f32[8,16] --arg f32[16,4]
  tracejit bisect graph.tir --check nan --seed 3
  tracejit bisect graph.tir --check "python check.py" -p "canonicalize,cse,dce"
  tracejit bisect graph.tir --json

\b
Checks:
  interp   results in the interpreter, to the bit where a pass keeps every bit and
           to the numeric contract elsewhere; and every invariant (the default)
  nan      no result has a NaN or an infinity
  verify   every invariant
  COMMAND  a program that is run with the path of a graph in .tir text (or in place
           of {}); it ends with 0 if the graph is right

\b
Exit codes:
  0  nothing is wrong
  1  the function or graph failed before anything could be compared
  2  the command line is wrong
  3  something is wrong: what, is printed
"""
FOUND = 3


@click.command(epilog=EPILOG)
@click.argument("source", metavar="FILE.tir|FILE.py:FUNC|MODULE:FUNC")
@argument_option
@args_from_option
@check_option
@seed_option
@passes_option
@click.option(
    "--disable-rule",
    "disabled",
    multiple=True,
    metavar="NAME",
    help="Do not apply this rule.",
)
@timeout_option
@json_option
def bisect(
    source: str,
    arguments: tuple[str, ...],
    args_from: str | None,
    check: str,
    seed: int,
    pipeline: str | None,
    disabled: tuple[str, ...],
    timeout: float,
    as_json: bool,
) -> None:
    """Find the pass, the rewrite and the lines that make a program wrong.

    The graph is run by NumPy's functions after each pass, on sample inputs: normal,
    positive and special ones. Machine code is run in a process of its own: it may crash
    or hang. So may a pass: it has as many seconds. Rules that are applied while a
    function is traced are left to the passes here.
    """
    check_rules(disabled)
    passes = passes_of(host_limits()) if pipeline is None else find_passes(pipeline)
    setting = Setting(passes, disabled=frozenset(disabled), seconds=timeout)
    culprits: list[Culprit] = []
    with user_errors(), config.override(simplify=False):
        for graph in graphs_of(source, arguments, args_from):
            own = check_of(check, graph, seed, timeout)
            found = debug.bisect(graph, setting, own, seed=seed)
            culprits += [found] if found is not None else []
            if own is None and found is None:
                check_compared(graph, seed)
    if as_json:
        print_json({"culprits": [c.as_json() for c in culprits]})
    for culprit in culprits if not as_json else ():
        click.echo(culprit.as_text())
    if not culprits and not as_json:
        click.echo("nothing is wrong")
    if culprits:
        raise click.exceptions.Exit(FOUND)
