"""The command `tracejit run`: compiled code on sample inputs, and whether it is right.

Needs the compiler and, to check, `debug.contract`. Establishes the results' types and
first elements as text or JSON, and an exit code that says whether they are right.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import click
import numpy as np

from .. import config
from ..debug.checks import Inputs
from ..debug.contract import Outcome, Reference
from ..debug.culprit import said
from ..debug.levels import Setting, outcomes
from ..debug.limits import ProcessDied
from ..debug.repro import is_fault
from ..debug.samples import varied_inputs
from ..errors import TracejitError
from ..ir.graph import Graph
from ..ir.primitive import Array
from ..lowering import host_limits, passes_of
from ..tracing.nonfinite import explain_nonfinite
from .args import argument_option, isa_option
from .checking import timeout_option
from .functions import (
    args_from_option,
    json_option,
    print_json,
    seed_option,
    user_errors,
)
from .graphs import graphs_of

EPILOG = """\b
Examples:
  tracejit run graph.tir
  tracejit run graph.tir --check interp --seed 3
  tracejit run model.py:predict --arg f32[8,16] --arg f32[16,4] --check interp
  tracejit run graph.tir --samples special --check interp --json
  tracejit run model.py:loss --arg f32[8,16] --nan

\b
Exit codes:
  0  done; with --check: all results are right
  1  the function or graph failed
  2  the command line is wrong
  3  a result is wrong, the compiler fails, the code crashes or hangs, or with --nan:
     a line makes NaN
"""
WRONG = 3
SHOWN = 6  # elements of a result
SAMPLES = ("normal", "positive", "special", "all")


@dataclass(frozen=True)
class Ran:
    """One run of one graph.

    Parameters
    ----------
    graph, sample : str
        Names.
    results : tuple of str
        A line for each, or one for the error that was raised.
    wrong : str
        Where a result is wrong, how the code ended its process, or what the compiler
        raises; empty if all are right or nothing was checked.
    nan : str
        Which line makes NaN; empty if none does or nobody asked.
    """

    graph: str
    sample: str
    results: tuple[str, ...]
    wrong: str = ""
    nan: str = ""


@click.command(epilog=EPILOG)
@click.argument("source", metavar="FILE.tir|FILE.py:FUNC|MODULE:FUNC")
@argument_option
@args_from_option
@click.option(
    "--check",
    type=click.Choice(["interp"]),
    help="Compare with the interpreter: integers, NaN and signs of zeros exactly, "
    "other floats to what rounding explains.",
)
@seed_option
@click.option(
    "--samples",
    type=click.Choice(SAMPLES),
    default="normal",
    show_default=True,
    help="Kind of inputs: numbers around zero, around one, or NaN, infinities, zeros "
    "of both signs, subnormal and largest numbers among others.",
)
@click.option(
    "--nan",
    "with_nan",
    is_flag=True,
    help="Name the line that makes NaN in the results; `tracejit nan` does so for "
    "values of your own.",
)
@isa_option("the code that runs")
@timeout_option
@json_option
def run(
    source: str,
    arguments: tuple[str, ...],
    args_from: str | None,
    check: str | None,
    with_nan: bool,
    seed: int,
    samples: str,
    isa: str | None,
    timeout: float,
    as_json: bool,
) -> None:
    """Compile a function or graphs, run them on sample inputs, and show results."""
    switches: dict[str, config.Value] = {} if isa is None else {"isa": isa}
    if check is not None:  # so that what is compared has no rules applied yet
        switches["simplify"] = False
    with user_errors(), config.override(**switches):
        setting = Setting(passes_of(host_limits()), seconds=timeout)
        found = [
            ran
            for graph in graphs_of(source, arguments, args_from)
            for ran in runs_of(
                graph, samples, setting, seed, check is not None, with_nan
            )
        ]
    if as_json:
        print_json({"runs": [vars(ran) for ran in found]})
    else:
        print_runs(found, check is not None)
    if any(ran.wrong or ran.nan for ran in found):
        raise click.exceptions.Exit(WRONG)


def runs_of(
    graph: Graph,
    kind: str,
    setting: Setting,
    seed: int,
    is_checked: bool,
    with_nan: bool = False,
) -> list[Ran]:
    """Compile a graph and run it on samples of a kind, in a process of its own."""
    chosen = {
        name: inputs
        for name, inputs in varied_inputs(graph.in_avals, seed)
        if kind in (name, "all")
    }
    found: list[Ran] = []
    try:
        got = outcomes(graph, setting, chosen.values())
        for (name, inputs), outcome in zip(chosen.items(), got, strict=True):
            found.append(run_of(graph, name, inputs, outcome, is_checked, with_nan))
    except ProcessDied as error:
        wrong = f"machine code: {error.message}"
    except Exception as error:
        if not is_fault(error):
            raise
        wrong = f"the compiler: {said(error)}; tracejit bisect names the step"
    else:
        return found
    name = next(iter([*chosen][len(found) :]), kind)
    return [*found, Ran(graph.name, name, (), wrong)]


def run_of(
    graph: Graph,
    name: str,
    inputs: Inputs,
    got: Outcome,
    is_checked: bool,
    with_nan: bool = False,
) -> Ran:
    """Say what compiled code gave, and compare it if that is wanted."""
    wrong = Reference(graph, inputs).difference(got) if is_checked else None
    if isinstance(got, Exception):
        text = got.message if isinstance(got, TracejitError) else str(got)
        rows = [f"raises {type(got).__name__}: {text}"]
    else:
        pairs = zip(got, graph.out_avals, strict=True)
        rows = [f"{k}: {aval} = {shown(x)}" for k, (x, aval) in enumerate(pairs)]
    finding = None
    if with_nan and not isinstance(got, Exception):
        finding = explain_nonfinite(graph.name, graph, inputs, nans_only=True)
    nan = "" if finding is None else finding.as_text()
    wrong_text = "" if wrong is None else str(wrong)
    return Ran(graph.name, name, tuple(rows), wrong_text, nan)


def shown(x: Array) -> str:
    """Return the first elements of an array as text."""
    rows = [str(v) for v in np.asarray(x).reshape(-1)[:SHOWN]]
    more = " ..." if x.size > SHOWN else ""
    return f"{' '.join(rows)}{more}" if x.shape else rows[0]


def print_runs(found: Sequence[Ran], is_checked: bool) -> None:
    """Write runs as text."""
    for ran in found:
        click.echo(f"@{ran.graph}, {ran.sample} inputs")
        for row in ran.results:
            click.echo(f"  {row}")
        if ran.nan:
            click.echo(ran.nan)
        if ran.wrong:
            click.echo(f"  wrong: {ran.wrong}")
        elif is_checked:
            click.echo("  right: as in the interpreter, to the numeric contract")
