"""The command `tracejit opt`: passes over graphs in `.tir` text.

Needs the parser, the verifier and the table of passes. Establishes a filter: what goes
to stdout is `.tir` text again; what is reported on the way goes to stderr, so that
commands can be piped.
"""

import difflib
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import TextIO

import click
from rich.console import Console
from rich.table import Table

from ..errors import ParseError, VerifyError
from ..ir.graph import Eqn, Graph, Var
from ..ir.parser import TextParser
from ..ir.printer import format_graph
from ..ir.raising import RAISE_RULES
from ..ir.rewrite import RuleStats
from ..ir.simplify import LOWERING_RULES
from ..ir.verify import verify
from ..passes.manager import Pass, PassContext, parse_pipeline, run_passes
from ..passes.pipelines import known_passes
from .functions import json_option, print_json

EPILOG = """\b
Examples:
  tracejit opt graph.tir -p "canonicalize,cse,fuse"
  tracejit opt graph.tir -p "canonicalize,cse" --print-after=cse --verify-each
  tracejit opt graph.tir -p canonicalize --bisect-limit=3 --stats
  tracejit trace model.py:f --arg f32[8] --level graph | tracejit opt - -p cse
  tracejit opt graph.tir -p "canonicalize,cse" --stats --time-passes --json
  tracejit opt --list

\b
Exit codes:
  0  done
  1  the text is not a graph, or breaks an invariant
  2  the command line is wrong
"""


# What passes that are no sets of rules count their rewrites as.
PASS_RULES = {
    "fold": "an equation of constants -> a constant",
    "value_number": "an equation like an earlier one -> that one's results",
    "share_subgraph": "sub-graphs of equal structure -> one of them",
    "dead_equation": "an equation that nothing needs -> nothing",
    "dead_gather": "gather x, i for its check alone -> gather zeros, i",
    "dead_result": "a result of a call that nothing reads -> nothing",
    "dead_in_loop": "what nothing needs of a loop -> nothing",
    "expand_composite": "a composite -> the equations it stands for",
    "contract_fma": "add (mul x, y), z -> fma x, y, z; reduce_sum -> sum_products",
    "reroll": "windows of equations that do the same -> scan",
    "pointwise_loop": "scan of elements by themselves -> one that a kernel can hold",
    "split_complex": "complex arithmetic -> that of real and imaginary parts",
    "expand_power": "a power with a small constant exponent -> products, roots",
    "by_component": "arrays of short vectors -> an array a component",
    "join_pieces": "writes into an array, piece by piece -> a join of the pieces",
    "sort_once": "a sort of what is ordered too -> taken in that order",
    "only_places": "a sort of which a few places are read -> what comes there",
    "gather_by_rows": "transpose (gather x, i) -> gather x, i, with rows shared",
    "sum_short_product": "a product with a short vector -> products, summed",
    "lay_out": "a transposed matrix that many products read -> a copy of it",
    "fuse": "an equation -> into the group of an operand, or of a sibling",
    "fuse_siblings": "groups that read the same array in the same loops -> one",
    "recompute": "a value that groups load -> computed again in them",
    "expand_window": "an operation over windows -> slices and elementwise operations",
}


@dataclass(frozen=True)
class Report:
    """What to report on stderr.

    Parameters
    ----------
    after : frozenset of str
        Passes after which the graph is printed.
    changed : bool
        Print it after each pass that changed it.
    times, stats : bool
        Print a table of seconds and one of rewrites.
    as_json : bool
        Print nothing: `shown` has the graphs.
    shown : list of (str, str)
        Filled in: passes, and graphs as text.
    """

    after: frozenset[str] = frozenset()
    changed: bool = False
    times: bool = False
    stats: bool = False
    as_json: bool = False
    shown: list[tuple[str, str]] = field(default_factory=list)


@click.command(epilog=EPILOG)
@click.argument("file", type=click.File("r", encoding="utf-8"))
@click.option(
    "-p",
    "--passes",
    "pipeline",
    default="",
    metavar="PIPELINE",
    help="Passes in order, e.g. 'canonicalize,cse,fuse'; without it the graph is "
    "parsed, verified and printed.",
)
@click.option(
    "--print-after",
    "after",
    multiple=True,
    metavar="PASS",
    help="Print the graph after this pass (or 'all') on stderr.",
)
@click.option(
    "--print-changed", is_flag=True, help="Print each changed graph on stderr."
)
@click.option("--verify-each", is_flag=True, help="Verify the graph after each pass.")
@click.option("--time-passes", is_flag=True, help="Print seconds per pass on stderr.")
@click.option("--stats", is_flag=True, help="Print rewrites per rule on stderr.")
@click.option(
    "--bisect-limit",
    type=click.IntRange(min=0),
    default=None,
    metavar="N",
    help="Stop after N rewrites in all; finds the one that is wrong.",
)
@click.option(
    "--disable-rule",
    "disabled",
    multiple=True,
    metavar="NAME",
    help="Do not apply this rule; --list gives the names.",
)
@json_option
@click.option(
    "--list",
    "list_only",
    is_flag=True,
    is_eager=True,
    expose_value=False,
    callback=lambda ctx, _, wanted: print_known(ctx) if wanted else None,
    help="List the passes and the rules that can be disabled.",
)
def opt(
    file: TextIO,
    pipeline: str,
    after: tuple[str, ...],
    print_changed: bool,
    verify_each: bool,
    time_passes: bool,
    stats: bool,
    bisect_limit: int | None,
    disabled: tuple[str, ...],
    as_json: bool,
) -> None:
    """Run passes over the graphs in FILE ('-' for stdin) and print the result.

    The result on stdout is .tir text again. It is verified before the first pass and
    after the last.
    """
    passes = find_passes(pipeline)
    wanted = find_after(after, passes)
    report = Report(wanted, print_changed, time_passes, stats, as_json)
    check_rules(disabled)
    context = PassContext(
        verify=verify_each,
        disabled_rules=frozenset(disabled),
        stats=RuleStats(limit=bisect_limit),
    )
    results = []
    for graph in read_graphs(file.read(), file.name):
        results.append(format_graph(run(graph, passes, context, report)))
        if not as_json:
            click.echo(results[-1])
    if as_json:
        print_json(document(results, context, report))
        return
    if report.times:
        print_times(context)
    if report.stats:
        print_stats(context)


def run(
    graph: Graph, passes: Sequence[Pass], context: PassContext, report: Report
) -> Graph:
    """Run the passes over one graph, reporting after each."""
    last = graph

    def after(name: str, now: Graph) -> None:
        nonlocal last
        changed = now is not last and format_graph(now) != format_graph(last)
        last = now
        if name in report.after or (report.changed and changed):
            report.shown.append((name, format_graph(now)))
            if not report.as_json:
                click.echo(f"; after {name}\n{report.shown[-1][1]}", err=True)
        elif report.as_json:
            return
        elif report.changed:
            click.echo(f"; after {name}: no change", err=True)

    context.after = after
    try:
        result = run_passes(graph, passes, context)
        return verify(result)
    except VerifyError as error:  # the input was right: a pass is wrong
        error.add_note(f"in graph @{graph.name}")
        raise


# --- the text ---------------------------------------------------------------------


class PositionedParser(TextParser):
    """A parser that notes where each equation of a graph stands."""

    def __init__(self, text: str) -> None:
        super().__init__(text)
        self.offsets: dict[Eqn, int] = {}

    def eqn(self, env: dict[str, Var]) -> Eqn:
        """Parse an equation and note its offset."""
        offset = self.peek().offset
        eqn = super().eqn(env)
        self.offsets[eqn] = offset
        return eqn


def read_graphs(text: str, name: str) -> Iterator[Graph]:
    """Yield the graphs of a text, verified.

    Raises
    ------
    click.ClickException
        With line and column, and the line itself, if the text is no graph or the graph
        breaks an invariant.
    """
    try:
        parser = PositionedParser(text)
        while not parser.at_end():
            start = parser.peek().offset
            graph = parser.graph()
            yield verified(graph, start, parser, name)
    except ParseError as error:
        message = error.message.removesuffix(
            f" (line {error.line}, column {error.column})"
        )
        raise located(name, text, error.line, error.column, message) from error


def verified(graph: Graph, start: int, parser: PositionedParser, name: str) -> Graph:
    """Return a graph that was parsed from `start` on, if it holds all invariants."""
    try:
        return verify(graph)
    except VerifyError as error:
        at = start
        if error.equation is not None:
            at = parser.offsets[graph.eqns[error.equation]]
        line = parser.text.count("\n", 0, at) + 1
        column = at - parser.text.rfind("\n", 0, at)
        message = error.message.partition("\n")[0]  # the text shows the neighbours
        raise located(name, parser.text, line, column, message) from error


def located(
    name: str, text: str, line: int, column: int, message: str
) -> click.ClickException:
    """Return an error that shows a place in a text: ``file:3:5: message``."""
    lines = text.splitlines()
    shown = lines[line - 1] if 0 < line <= len(lines) else ""
    return click.ClickException(
        f"{name}:{line}:{column}: {message}\n  {shown}\n  {' ' * (column - 1)}^"
    )


# --- passes and rules -------------------------------------------------------------


def find_passes(pipeline: str) -> tuple[Pass, ...]:
    """Return the passes of a pipeline; raise `click.UsageError` if it is none."""
    try:
        return parse_pipeline(pipeline, known_passes())
    except ParseError as error:
        raise click.UsageError(f"-p {pipeline}: {error}") from error


def find_after(names: Iterable[str], passes: Sequence[Pass]) -> frozenset[str]:
    """Return the passes to print after; raise `click.UsageError` for others."""
    there = [one.name for one in passes]
    found = frozenset(there if "all" in names else names)
    for name in sorted(found.difference(there)):
        raise click.UsageError(
            f"--print-after={name}: the pipeline runs {', '.join(there) or 'no pass'}"
        )
    return found


def rules() -> dict[str, str]:
    """Return the rules that can be disabled, with what each does."""
    both = (*LOWERING_RULES.rules, *RAISE_RULES.rules)
    local = {rule.name: rule.before_after for rule in both}
    return {**local, **PASS_RULES}


def check_rules(names: Iterable[str]) -> None:
    """Raise `click.UsageError` for a rule that does not exist."""
    for name in names:
        if name not in rules():
            close = difflib.get_close_matches(name, rules(), n=3, cutoff=0.5)
            like = f"; do you mean {' or '.join(close)}?" if close else ""
            raise click.UsageError(
                f"--disable-rule={name}: there is no such rule{like}\n"
                "tracejit opt --list shows all"
            )


def document(
    results: Sequence[str], context: PassContext, report: Report
) -> dict[str, object]:
    """Return all there is to report as one document; only what was asked for."""
    found: dict[str, object] = {"graphs": list(results)}
    if report.after or report.changed:
        found["after"] = [{"pass": name, "graph": text} for name, text in report.shown]
    if report.times:
        found["seconds"] = dict(context.timings)
    if report.stats:
        found["rewrites"] = {name: dict(n) for name, n in context.fired.items()}
    return found


# --- tables -----------------------------------------------------------------------


def print_known(ctx: click.Context) -> None:
    """List passes and rules, and end the command."""
    for title, rows in (
        ("passes", {p.name: p.doc for p in known_passes().values()}),
        ("rules", rules()),
    ):
        click.secho(title, bold=True)
        width = max(map(len, rows))
        for name, doc in rows.items():
            click.echo(f"  {name:<{width}}  {doc}")
    ctx.exit()


def print_times(context: PassContext) -> None:
    """Print what each pass took, in the order they ran first."""
    total = sum(context.timings.values())
    table = Table(title="time", title_justify="left")
    for name in ("pass", "ms", "%"):
        table.add_column(name, justify="left" if name == "pass" else "right")
    for name, seconds in context.timings.items():
        share = 100 * seconds / total if total else 0.0
        table.add_row(name, f"{1e3 * seconds:.3f}", f"{share:.1f}")
    table.add_section()
    table.add_row("all", f"{1e3 * total:.3f}", "100.0")
    Console(stderr=True).print(table)


def print_stats(context: PassContext) -> None:
    """Print how often each rule fired in each pass."""
    table = Table(title="rewrites", title_justify="left")
    for name in ("pass", "rule", "count"):
        table.add_column(name, justify="right" if name == "count" else "left")
    for name, fired in context.fired.items():
        for rule, count in Counter(fired).most_common():
            table.add_row(name, rule, str(count))
    table.add_section()
    table.add_row("all", "", str(context.stats.total))
    Console(stderr=True).print(table)
