"""`tracejit opt`: passes over graphs in text form, for tests and by hand."""

from dataclasses import dataclass

from ..ir.graph import Graph
from ..ir.parser import parse_graphs
from ..ir.printer import format_graph
from ..ir.verify import verify
from ..passes.manager import PassContext, parse_pipeline, run_passes
from ..passes.pipelines import known_passes


@dataclass(frozen=True)
class OptOptions:
    """What to run and what to print; the fields are the command's options."""

    passes: str
    print_after: tuple[str, ...] = ()
    print_changed: bool = False
    verify_each: bool = False
    time_passes: bool = False
    stats: bool = False
    bisect_limit: int | None = None
    disable_rule: tuple[str, ...] = ()


def optimize_text(text: str, options: OptOptions) -> str:
    """Return what `tracejit opt` prints for the graphs in `text`.

    Raises
    ------
    ParseError
        With line and column, for text that is no graph.
    VerifyError
        Naming the invariant that does not hold.
    """
    return "\n\n".join(_optimized(graph, options) for graph in parse_graphs(text))


def _optimized(graph: Graph, options: OptOptions) -> str:
    verify(graph)
    printed: list[str] = []
    last = graph

    def after(name: str, graph: Graph) -> None:
        nonlocal last
        changed = graph is not last
        last = graph
        if name in options.print_after or (options.print_changed and changed):
            printed.append(f"; after {name}\n{format_graph(graph)}")

    context = PassContext(
        verify=options.verify_each,
        disabled_rules=frozenset(options.disable_rule),
        after=after,
    )
    context.stats.limit = options.bisect_limit
    result = run_passes(graph, parse_pipeline(options.passes, known_passes()), context)
    verify(result)
    return "\n\n".join([*printed, format_graph(result), *_figures(context, options)])


def _figures(context: PassContext, options: OptOptions) -> list[str]:
    out = []
    if options.time_passes:
        rows = (f"; {name}: {1e3 * s:.3f} ms" for name, s in context.timings.items())
        out.append("\n".join(rows))
    if options.stats:
        out.append(_fired(context))
    return out


def _fired(context: PassContext) -> str:
    rows = [
        f"; {name}: {rule}: {count}"
        for name, fired in context.fired.items()
        for rule, count in sorted(fired.items())
    ]
    return "\n".join(rows) or "; no rule fired"
