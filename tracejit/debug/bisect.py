"""Which rewrite is wrong: the pass at fault, and in it the one application of a rule.

Needs a graph, a check and passes. Establishes a `Culprit`: the first pass whose graph
fails the check, the first rewrite in it with which it fails (by `RuleStats.limit`), the
equations before and after, and the user's lines. Each step is verified: the graph
passes the check without this rewrite, and fails it with it. Where all passes are right,
`bisect` goes on below them: see `levels`.
"""

import time
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace

from ..collection import paused
from ..errors import TracejitError
from ..ir.graph import Graph
from ..ir.rewrite import RuleStats
from ..ir.verify import verify
from ..passes.manager import Pass, PassContext
from .checks import Check, Inputs, limited, references, same_results
from .contract import Reference
from .culprit import Culprit, Failure
from .diff import diff
from .levels import Setting, below_the_graph
from .limits import SECONDS, computing_limit, patience
from .noise import Noise

Probe = Callable[[Graph], str | None]


def bisect(
    graph: Graph,
    setting: Setting,
    check: Check | None = None,
    inputs: Iterable[Inputs] = (),
    seed: int = 0,
) -> Culprit | None:
    """Find what makes the results of a graph wrong: a rewrite, a kernel, or code.

    Parameters
    ----------
    graph : Graph
        As traced.
    setting : Setting
        Its passes, and how it is lowered.
    check : callable, optional
        A `Check`, which sees graphs alone. Without one results are compared, of
        graphs, Programs and machine code.
    inputs : iterable of sequences of numpy.ndarray
        To be run on besides the samples.
    seed : int
        Of the samples.

    Returns
    -------
    Culprit or None
        None if nothing is wrong.

    Raises
    ------
    TracejitError
        If the check fails for the graph as traced.

    Examples
    --------
    >>> bisect(graph, Setting(pipeline(LLVM)))  # doctest: +SKIP
    """
    given, passes = list(inputs), setting.passes
    if check is not None:
        return bisect_passes(
            graph, passes, check, given, seed, setting.disabled, setting.seconds
        )
    wanted = references(graph, given, seed)
    found, made = _bisect_results(graph, wanted, setting)
    if found is not None:
        return found
    if not setting.offers:  # no pass is needed again
        graph, setting = made, replace(setting, passes=())
    return below_the_graph(graph, setting, wanted)


def bisect_passes(
    graph: Graph,
    passes: Sequence[Pass],
    check: Check | None = None,
    inputs: Iterable[Inputs] = (),
    seed: int = 0,
    disabled: Iterable[str] = (),
    seconds: float = SECONDS,
) -> Culprit | None:
    """Find the first rewrite of a pipeline with which a graph fails a check.

    Parameters
    ----------
    graph : Graph
        As traced.
    passes : sequence of Pass
    check : callable, optional
        A `Check`. Without one: the verifier, and results in the interpreter on samples,
        to the bit where the pass keeps every bit, else to the numeric contract.
    inputs : iterable of sequences of numpy.ndarray
        To be run on besides the samples.
    seed : int
        Of the samples.
    disabled : iterable of str
        Rules not to apply.
    seconds : float
        Of the processor, after which a pass that still runs is taken to hang; a graph
        that it made has what `limits.patience` says.

    Returns
    -------
    Culprit or None
        None if the graph after all passes is right.

    Raises
    ------
    TracejitError
        If the check fails for the graph as traced.
    """
    setting = Setting(passes, disabled=frozenset(disabled), seconds=seconds)
    if check is None:
        wanted = references(graph, list(inputs), seed)
        return _bisect_results(graph, wanted, setting)[0]
    start = time.process_time()
    wrong = check(graph)
    check = limited(check, patience(time.process_time() - start, seconds))
    if wrong is not None:
        raise TracejitError(
            f"the graph as traced fails the check already: {wrong}",
            hint="bisect finds the rewrite that makes a right graph wrong",
        )
    graphs, crash = _graphs(graph, setting)
    last = len(graphs) - 1
    if _failure(check, graphs[-1]) is None:
        if crash is None:
            return None
        return _rewrite_at_fault(passes[last], graphs[-1], check, setting)
    good, bad = 0, last
    while bad - good > 1:
        middle = (good + bad) // 2
        if _failure(check, graphs[middle]) is None:
            good = middle
        else:
            bad = middle
    return _rewrite_at_fault(passes[bad - 1], graphs[bad - 1], check, setting)


def _graphs(graph: Graph, setting: Setting) -> tuple[list[Graph], Exception | None]:
    """Return the graph and that after each pass, and the error of one that raises."""
    graphs = [graph]
    for one in setting.passes:
        try:
            graphs.append(_made(one, graphs[-1], setting.context, setting.seconds))
        except Exception as error:  # whatever a pass may raise
            return graphs, error
    return graphs, None


def _bisect_results(
    graph: Graph, wanted: Sequence[Reference], setting: Setting
) -> tuple[Culprit | None, Graph]:
    """Walk through the passes, comparing each graph with the one before it.

    Returns what is wrong, and the last graph that is right.
    """
    base = list(wanted)
    for one in setting.passes:
        probe = exact_or_close(one, wanted, base, setting.seconds)
        try:
            made = _made(one, graph, setting.context, setting.seconds)
        except Exception:  # whatever a pass may raise
            return _rewrite_at_fault(one, graph, probe, setting), graph
        if made is not graph and _failure(probe, made) is not None:
            return _rewrite_at_fault(one, graph, probe, setting), graph
        if not one.is_exact and made is not graph:
            base = [replace(r, graph=made, _runs={}) for r in base]
        graph = made
    return None, graph


def _made(one: Pass, graph: Graph, context: PassContext, seconds: float) -> Graph:
    """Return what a pass makes of a graph, verified."""
    with paused(), computing_limit(seconds):
        made = one.run(graph, context)
        return made if made is graph else verify(made)


def _failure(probe: Probe, graph: Graph) -> Failure | None:
    """Return what a check says of a graph, or what the graph raises or does then."""
    try:
        wrong = probe(graph)
    except Exception as error:  # whatever the interpreter may raise
        return Failure.of(error)
    return None if wrong is None else Failure(wrong)


def exact_or_close(
    one: Pass,
    wanted: Sequence[Reference],
    base: Sequence[Reference],
    seconds: float = SECONDS,
) -> Probe:
    """Return the check of a pass: bits if it is exact, else the contract."""
    if one.is_exact:
        return same_results(base, Noise.ORDER, seconds)
    return same_results(wanted, Noise.ALL, seconds)


# --- the rewrite ------------------------------------------------------------------


@dataclass(frozen=True)
class _Trial:
    """A pass with a limit of rewrites: what it gave, and what is wrong with it."""

    graph: Graph | None
    fired: Counter[str]
    failure: Failure | None

    @property
    def total(self) -> int:
        return self.fired.total()


def _rewrite_at_fault(
    one: Pass, graph: Graph, probe: Probe, setting: Setting
) -> Culprit:
    """Find the first rewrite of a pass with which its result fails.

    Of those of a pass that does not end, the one that is half way to where it is.
    """
    disabled = setting.disabled

    def attempt(limit: int | None, off: frozenset[str] = disabled) -> _Trial:
        context = PassContext(disabled_rules=off, stats=RuleStats(limit=limit))
        try:
            made = _made(one, graph, context, setting.seconds)
        except Exception as error:  # whatever a pass may raise
            return _Trial(None, context.stats.fired, Failure.of(error))
        return _Trial(made, context.stats.fired, _failure(probe, made))

    whole = attempt(None)
    assert whole.failure is not None, f"{one.name} is right when it is run again"
    good, bad = 0, whole.total
    best, worst = attempt(0), whole
    if best.failure is not None or not bad:
        trial, failure = (
            (best, best.failure) if best.failure else (whole, whole.failure)
        )
        return _atomic(one, graph, trial.graph, failure)
    if whole.graph is None and whole.failure.died:
        bad, best, worst = _half_way(bad, attempt)
        good = bad - 1
    while bad - good > 1:
        middle = (good + bad) // 2
        trial = attempt(middle)
        if trial.failure is None:
            good, best = middle, trial
        else:
            bad, worst = middle, trial
    names = list(worst.fired - best.fired) or list(whole.fired)
    rule = _guilty(names, lambda off: attempt(bad, disabled | {off}).failure is None)
    change = None
    if best.graph is not None and worst.graph is not None:
        change = diff(best.graph, worst.graph)
    failure = worst.failure or whole.failure
    return Culprit(
        "pass",
        one.name,
        failure.reason,
        rule,
        best.total + 1,
        max(worst.total, best.total + 1),
        whole.total,
        change,
        change.source if change else (),
        died=failure.died,
    )


def _half_way(
    total: int, attempt: Callable[[int], _Trial]
) -> tuple[int, _Trial, _Trial]:
    """Return the number of a rewrite half way, and the trials before and with it.

    Further down where these do not end in time either: a machine with other load may
    be half as fast as it was when the rewrites were counted.
    """
    number = (total + 1) // 2
    best, worst = attempt(number - 1), attempt(number)
    if number > 1 and (best.graph is None or worst.graph is None):
        return _half_way(number, attempt)
    return number, best, worst


def _atomic(one: Pass, graph: Graph, made: Graph | None, failure: Failure) -> Culprit:
    """Return the culprit where a pass is wrong without any rewrite that it counts."""
    change = diff(graph, made) if made is not None else None
    source = change.source if change is not None else ()
    notes = ("the pass counts no rewrites there: this is all it did",)
    return Culprit(
        "pass",
        one.name,
        failure.reason,
        change=change,
        source=source,
        notes=notes,
        died=failure.died,
    )


def _guilty(names: Sequence[str], is_cured_without: Callable[[str], bool]) -> str:
    """Return which rule is wrong, of those applied at once."""
    if len(names) > 1:
        for name in names:
            if is_cured_without(name):
                return name
    return names[-1] if names else ""
