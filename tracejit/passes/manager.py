"""The pass manager: named passes run in order, verified, timed and counted."""

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field

from ..errors import ParseError
from ..ir.graph import Graph
from ..ir.rewrite import RuleStats
from ..ir.verify import verify

PassFn = Callable[[Graph, "PassContext"], Graph]


@dataclass(frozen=True)
class Pass:
    """One pass.

    Parameters
    ----------
    name : str
    run : callable
        ``(graph, context) -> graph``; returns the same graph when nothing changed.
    doc : str
        Why it stands where it stands.
    """

    name: str
    run: PassFn
    doc: str


@dataclass
class PassContext:
    """What passes are run with, and what running them recorded.

    Parameters
    ----------
    verify : bool
        Verify the graph after each pass.
    disabled_rules : frozenset of str
        Rules not to apply.
    after : callable, optional
        Called with the pass's name and the graph after it.
    stats : RuleStats
        Firings of rules; its limit is the bisector's.
    timings : dict of str to float
        Seconds per pass.
    """

    verify: bool = False
    disabled_rules: frozenset[str] = frozenset()
    after: Callable[[str, Graph], None] | None = None
    stats: RuleStats = field(default_factory=RuleStats)
    timings: dict[str, float] = field(default_factory=dict)


def run_passes(
    graph: Graph, passes: Sequence[Pass], context: PassContext | None = None
) -> Graph:
    """Run `passes` in order and return the last graph.

    Raises
    ------
    VerifyError
        When `context.verify` is set and a pass breaks an invariant.
    """
    context = context or PassContext()
    for one in passes:
        start = time.perf_counter()
        graph = one.run(graph, context)
        spent = time.perf_counter() - start
        context.timings[one.name] = context.timings.get(one.name, 0.0) + spent
        if context.verify:
            verify(graph)
        if context.after is not None:
            context.after(one.name, graph)
    return graph


def parse_pipeline(text: str, known: Mapping[str, Pass]) -> tuple[Pass, ...]:
    """Return the passes a string such as ``"canonicalize,cse"`` names.

    Raises
    ------
    ParseError
        For an unknown name; lists the known ones.
    """
    out = []
    for name in (part.strip() for part in text.split(",")):
        if name not in known:
            raise ParseError(
                f"no pass is called {name!r}; there are {', '.join(known)}"
            )
        out.append(known[name])
    return tuple(out)
