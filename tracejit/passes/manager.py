"""The pass manager: runs passes in order, verified, timed and counted.

A pass is graph → graph and keeps the meaning. It returns the same object when nothing
changed. A pipeline can be written as text: ``canonicalize,cse,fuse{max-ops=32}``.
"""

import re
import time
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import field, replace

from .. import log
from ..errors import ParseError, TracejitError
from ..ir.builder import Builder
from ..ir.graph import Eqn, Graph
from ..ir.primitive import Param, Params, Primitive
from ..ir.rewrite import RuleSet, RuleStats
from ..program.program import Program
from ..records import dataclass
from .notes import Note

Option = bool | int | float | str


@dataclass
class PassContext:
    """What passes are given, and what they leave behind.

    Parameters
    ----------
    verify : bool
        Check every invariant after each pass, and those of Programs and kernels.
    disabled_rules : frozenset of str
        Rules not to apply.
    after : callable, optional
        Called with the name of each pass and the graph it gave.
    after_program : callable, optional
        Called with the name of each step of lowering and the Program it gave.
    stats : RuleStats
        Rewrites of all passes together; its limit is the bisector's.
    fired : dict of str to Counter
        Filled in: rewrites per pass and rule.
    timings : dict of str to float
        Filled in: seconds per pass.
    notes : list of Note
        Filled in: decisions that users may ask about, such as why two kernels did not
        become one.
    """

    verify: bool = False
    disabled_rules: frozenset[str] = frozenset()
    after: Callable[[str, Graph], None] | None = None
    after_program: Callable[[str, Program], None] | None = None
    stats: RuleStats = field(default_factory=RuleStats)
    fired: dict[str, Counter[str]] = field(default_factory=dict)
    timings: dict[str, float] = field(default_factory=dict)
    notes: list[Note] = field(default_factory=list)

    def may_fire(self, rule: str) -> bool:
        """Tell whether `rule` is enabled and another rewrite is allowed."""
        return rule not in self.disabled_rules and self.stats.can_fire()


PassFn = Callable[[Graph, PassContext], Graph]


@dataclass(frozen=True)
class Pass:
    """One step of a pipeline.

    Parameters
    ----------
    name : str
        As written in pipelines; keys statistics and timings.
    run : callable
        ``(graph, context) -> graph``; the same object when nothing changed.
    doc : str
        Why it stands where it stands.
    options : mapping of str to type
        Names, as written in pipelines, and types of its options.
    with_options : callable, optional
        Takes options by keyword (``max-ops`` as ``max_ops``) and returns the `run` of
        the pass with those options.
    is_exact : bool
        Whether it keeps every bit, but for the order of sums; `debug.bisect` holds it
        to that.
    only_for : tuple of Primitive
        Graphs that have none of these, in sub-graphs either, stay as they are: the pass
        is not called. If empty, it is called for all.
    kinds : str
        The same for dtypes: NumPy's letters for them. If empty, it is called for all.
    """

    name: str
    run: PassFn
    doc: str
    options: Mapping[str, type[Option]] = field(default_factory=dict)
    with_options: Callable[..., PassFn] | None = None
    is_exact: bool = True
    only_for: tuple[Primitive, ...] = ()
    kinds: str = ""

    def concerns(self, graph: Graph) -> bool:
        """Tell whether it may find something in a graph."""
        if self.kinds and graph.kinds.isdisjoint(self.kinds):
            return False
        return not self.only_for or not graph.primitives.isdisjoint(self.only_for)


def run_passes(
    graph: Graph, passes: Sequence[Pass], context: PassContext | None = None
) -> Graph:
    """Run `passes` in order.

    Parameters
    ----------
    graph : Graph
    passes : sequence of Pass
    context : PassContext, optional
        Receives statistics and timings.

    Returns
    -------
    Graph
        The same object when no pass changed anything.

    Raises
    ------
    VerifyError
        With ``context.verify``, when a pass broke an invariant; names the pass.
    """
    context = context or PassContext()
    verified: Graph | None = None  # what a pass leaves alone is not verified again
    for one in passes:
        before, given = context.stats.fired.copy(), graph
        start = time.perf_counter()
        if one.concerns(graph):
            graph = one.run(graph, context)
        seconds = time.perf_counter() - start
        context.timings[one.name] = context.timings.get(one.name, 0.0) + seconds
        fired = context.stats.fired - before
        context.fired[one.name] = context.fired.get(one.name, Counter()) + fired
        if log.is_enabled("passes") and graph is not given:
            log.emit("passes", _changed(one, given, graph, fired))
        if context.verify and graph is not verified:
            _verify_after(one, graph)
            verified = graph
        if context.after is not None:
            context.after(one.name, graph)
    return graph


def _changed(one: Pass, old: Graph, new: Graph, fired: Counter[str]) -> str:
    """Say what a pass did: ``f: cse: 12 → 9 equations (equal 3)``."""
    rules = ", ".join(f"{rule} {times}" for rule, times in fired.items() if times)
    count = f"{len(old.eqns)} → {len(new.eqns)} equations"
    return f"{new.name}: {one.name}: {count}" + (f" ({rules})" if rules else "")


def _verify_after(one: Pass, graph: Graph) -> None:
    from ..ir.verify import verify  # noqa: PLC0415  # if it is wanted

    try:
        verify(graph)
    except TracejitError as error:
        error.add_note(f"after pass {one.name}")
        raise


# --- pipelines as text ------------------------------------------------------------

_STEP = re.compile(r"\s*([A-Za-z_][\w-]*)\s*(?:\{([^{}]*)\})?\s*(?:,|$)")


def parse_pipeline(text: str, known: Mapping[str, Pass]) -> tuple[Pass, ...]:
    """Return the passes a pipeline names.

    Parameters
    ----------
    text : str
        ``"canonicalize,cse,fuse{max-ops=32}"``.
    known : mapping of str to Pass
        The passes there are, by name.

    Raises
    ------
    ParseError
        For unknown passes, unknown options and values of the wrong type.

    Examples
    --------
    >>> parse_pipeline("", {})
    ()
    """
    passes = []
    at = 0
    while at < len(text):
        match = _STEP.match(text, at)
        if match is None:
            raise ParseError(
                "expected a pass such as 'cse' or 'fuse{max-ops=32}', "
                f"found {text[at:]!r}",
                line=1,
                column=at + 1,
            )
        passes.append(_find_pass(match.group(1), match.group(2) or "", known))
        at = match.end()
    return tuple(passes)


def _find_pass(name: str, options: str, known: Mapping[str, Pass]) -> Pass:
    if name not in known:
        names = ", ".join(known)
        raise ParseError(f"no pass is called {name!r}; there are {names}")
    one = known[name]
    pairs = [o.partition("=") for o in options.split(",") if o.strip()]
    if not pairs:
        return one
    given = {k.strip(): _option(one, k.strip(), v.strip()) for k, _, v in pairs}
    assert one.with_options is not None, f"{name} declares options it cannot take"
    keywords = {k.replace("-", "_"): v for k, v in given.items()}
    return replace(one, run=one.with_options(**keywords))


def _option(one: Pass, name: str, text: str) -> Option:
    kind = one.options.get(name)
    if kind is None:
        names = ", ".join(one.options) or "none"
        raise ParseError(f"pass {one.name} has no option {name!r}; it has {names}")
    if kind is bool and text in ("true", "false"):
        return text == "true"
    try:
        if kind is bool:
            raise ValueError
        return kind(text)
    except ValueError as error:
        raise ParseError(
            f"option {name} of pass {one.name} takes a {kind.__name__}, not {text!r}"
        ) from error


# --- helpers for passes -----------------------------------------------------------


def replay(
    graph: Graph, rules: RuleSet, value_number: bool, context: PassContext
) -> Graph:
    """Emit every equation anew through a builder; the same object if no rule fired.

    Parameters
    ----------
    graph : Graph
    rules : RuleSet
    value_number : bool
        Give equal pure equations one result.
    context : PassContext
        Counts rule firings.
    """
    before = context.stats.total
    b = Builder(graph.name, rules, value_number, context.stats)
    outs = b.inline(graph, b.inputs_of(graph))
    return graph if context.stats.total == before else b.build(outs)


def on_all_graphs(graph: Graph, run: Callable[[Graph], Graph]) -> Graph:
    """Apply `run` to `graph` after its sub-graphs: inner first, and once each."""
    done: dict[Graph, Graph] = {}

    def visit(inner: Graph) -> Graph:
        if inner not in done:
            done[inner] = run(map_subgraphs(inner, visit))
        return done[inner]

    return visit(graph)


def map_subgraphs(graph: Graph, visit: Callable[[Graph], Graph]) -> Graph:
    """Replace the graphs held in params of `graph`; the same object if none changed."""
    if not graph.has_subgraphs:
        return graph
    eqns = tuple(with_subgraphs(e, visit) for e in graph.eqns)
    if all(a is b for a, b in zip(eqns, graph.eqns, strict=True)):
        return graph
    return Graph(graph.name, graph.invars, graph.outvars, eqns)


def with_subgraphs(eqn: Eqn, visit: Callable[[Graph], Graph]) -> Eqn:
    """Replace the graphs in the params of one equation; itself if none changed."""
    if not eqn.params:
        return eqn
    params: Params = {k: _mapped(v, visit) for k, v in eqn.params.items()}
    if all(params[k] is v for k, v in eqn.params.items()):
        return eqn
    return Eqn(eqn.primitive, eqn.invars, params, eqn.outvars, eqn.source)


def _mapped(value: Param, visit: Callable[[Graph], Graph]) -> Param:
    if isinstance(value, Graph):
        return visit(value)
    if isinstance(value, tuple) and any(isinstance(v, Graph) for v in value):
        mapped = tuple(_mapped(v, visit) for v in value)
        same = all(a is b for a, b in zip(mapped, value, strict=True))
        return value if same else mapped
    return value
