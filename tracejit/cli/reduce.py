"""The command `tracejit reduce`: the smallest program that fails in the same way.

Needs `debug.reduce`, and `debug.bisect` to see what fails. Establishes .tir text, with
the pipeline that is left in its first line, on stdout or in a file.
"""

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import click

from .. import config
from ..debug import reduce as reducing
from ..debug.bisect import bisect, bisect_passes
from ..debug.checks import Check, is_valid, references
from ..debug.culprit import Culprit
from ..debug.levels import Setting, code_failure
from ..debug.limits import HANG
from ..debug.reduce import Failing, Reduced
from ..debug.repro import HEAD, read
from ..errors import TracejitError
from ..ir.graph import Graph
from ..ir.printer import format_graph
from ..lowering import host_limits, passes_of
from ..passes.manager import Pass, run_passes
from .args import argument_option
from .checking import check_of, check_option, passes_option, timeout_option
from .functions import (
    args_from_option,
    json_option,
    print_json,
    seed_option,
    user_errors,
)
from .graphs import graphs_of, read_text
from .opt import find_passes

EPILOG = """\b
Examples:
  tracejit reduce graph.tir
  tracejit reduce graph.tir --check verify -o small.tir
  tracejit reduce graph.tir --check "python check.py" -p "canonicalize,cse"
  tracejit reduce /tmp/tracejit-repro/step-1a2b3c4d.tir -o small.tir

\b
Checks:
  interp   what `tracejit bisect` finds: the same pass and rule, or the same level
  nan      a result has a NaN or an infinity
  verify   a pass raises, or breaks an invariant
  COMMAND  a program that is run with the path of the graph in .tir text (or in place
           of {}) and ends with another exit code than 0: for the graph itself, or
           if that is right for what the passes make of it

\b
Exit codes:
  0  done: the smaller program is printed
  1  the text is no graph, or it does not fail
  2  the command line is wrong
"""
HANGING = 1.0  # seconds of a smaller program than one that hangs


@click.command(epilog=EPILOG)
@click.argument("file", metavar="FILE.tir|FILE.py:FUNC|MODULE:FUNC")
@argument_option
@args_from_option
@check_option
@seed_option
@passes_option
@click.option(
    "--seconds",
    default=reducing.SECONDS,
    show_default=True,
    help="After which what was found so far is printed.",
)
@click.option("-o", "--output", type=click.Path(dir_okay=False), help="File to write.")
@timeout_option
@json_option
def reduce(
    file: str,
    arguments: tuple[str, ...],
    args_from: str | None,
    check: str,
    seed: int,
    pipeline: str | None,
    seconds: float,
    output: str | None,
    timeout: float,
    as_json: bool,
) -> None:
    """Make the first graph of FILE that fails as small as it can be.

    Results, equations, sub-graphs, extents and passes are left out as long as it fails
    in the same way.
    """
    with user_errors():
        setting, switches = setting_of(file, pipeline)
        with config.override(**{"simplify": False, **switches}):
            found = reduced(
                list(graphs_of(file, arguments, args_from)),
                replace(setting, seconds=timeout),
                check,
                seed,
                seconds,
            )
    head = f'; RUN: tracejit opt %s -p "{found.pipeline}"\n'
    result = f"{head}{format_graph(found.graph)}\n"
    if output is not None:
        Path(output).write_text(result, "utf-8")
    if as_json:
        print_json(
            {
                "graph": format_graph(found.graph),
                "pipeline": found.pipeline,
                "equations": len(found.graph.eqns),
                "tried": found.tried,
                "complete": found.is_complete,
            }
        )
    elif output is None:
        click.echo(result, nl=False)
    else:
        click.echo(f"{output}: {len(found.graph.eqns)} equations")
    if not found.is_complete:
        click.echo("time ran out; --seconds gives it more", err=True)


def setting_of(
    file: str, pipeline: str | None
) -> tuple[Setting, dict[str, config.Value]]:
    """Return how graphs are lowered, and the switches of a repro."""
    content = read_text(file) if file.endswith(".tir") else ""
    setting, switches = Setting(passes_of(host_limits())), {}
    if content.startswith(HEAD):
        repro = read(content)
        setting, switches = repro.setting, dict(repro.switches)
    if pipeline is not None:
        setting = replace(setting, passes=find_passes(pipeline))
    return setting, switches


def reduced(
    graphs: Sequence[Graph], setting: Setting, check: str, seed: int, seconds: float
) -> Reduced:
    """Reduce the first graph that fails."""
    passes = setting.passes
    for graph in graphs:
        failing = failing_of(check, graph, setting, seed)
        if failing is not None and failing(graph, passes):
            return reducing.reduce(graph, passes, failing, seconds)
    raise TracejitError(
        "no graph fails", hint="tracejit bisect says what is wrong, if anything is"
    )


def failing_of(check: str, graph: Graph, setting: Setting, seed: int) -> Failing | None:
    """Return what tells whether a program fails as the first one does."""
    if check == "verify":
        return lambda g, ps: _broken(g, ps) is not None
    own = check_of(check, graph, seed, setting.seconds)
    if own is not None:
        return _of_own(own, graph)
    first = bisect(graph, setting, seed=seed)
    if first is None:
        return None
    if first.died == HANG:
        setting = replace(setting, seconds=min(setting.seconds, HANGING))
    if first.level == "pass":
        return lambda g, ps: _alike(
            bisect_passes(g, ps, seed=seed, seconds=setting.seconds), first
        )
    inputs = graph.in_avals

    def fails(graph: Graph, passes: Sequence[Pass]) -> bool:
        is_strided = graph.in_avals == inputs
        strides = setting.in_strides if is_strided else ()
        tried = replace(setting, passes=passes, in_strides=strides)
        if first.died:
            return _death(graph, tried, seed) == first.died
        return _alike(bisect(graph, tried, seed=seed), first)

    return fails


def _death(graph: Graph, setting: Setting, seed: int) -> str:
    """Return how machine code ends its process; empty where it does not."""
    found = code_failure(graph, setting, references(graph, seed=seed))
    return "" if found is None else found.died


def _of_own(own: Check, graph: Graph) -> Failing:
    """Return what a check says: of graphs, or of graphs that passes make wrong."""
    if own(graph) is not None:
        return lambda g, ps: own(g) is not None
    return lambda g, ps: own(g) is None and own(run_passes(g, ps)) is not None


def _broken(graph: Graph, passes: Sequence[Pass]) -> Culprit | None:
    return bisect_passes(graph, passes, is_valid)


def _alike(found: Culprit | None, first: Culprit) -> bool:
    """Tell whether two culprits are the same fault, as far as names tell."""
    if found is None or found.level != first.level:
        return False
    if first.level == "pass":
        return (found.name, found.rule) == (first.name, first.rule)
    return first.level != "program" or found.name == first.name
