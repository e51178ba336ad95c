"""Whether `bisect` names the planted bug, and how long it takes.

Programs that may show a bug are the graphs that tests of rules and passes have, first
those of the rule or pass itself, then random ones. The first that gives something wrong
is bisected; the search for it is not part of the time. For bugs of rules and
passes the interpreter runs the graphs; for those below them, machine code does, too.
"""

import resource
import time
from collections.abc import Iterator
from dataclasses import dataclass, replace
from itertools import chain
from multiprocessing import get_context
from multiprocessing.queues import SimpleQueue
from typing import Any

from .mutant import ROOT, Mutant
from .running import ASLEEP, digest, plant

PASS_OF = {  # that counts rewrites under another name
    "value_number": "cse",
    "share_subgraph": "cse",
    "dead_equation": "dce",
    "dead_gather": "dce",
    "dead_in_loop": "dce",
    "contract_fma": "fma",
    "expand_power": "powers",
    "join_pieces": "joins",
    "sort_once": "sorts",
    "expand_window": "windows",
    "split_complex": "split-complex",
    "by_component": "components",
    "pointwise_loop": "turns",
    "lay_out": "layouts",
}
BELOW = ("kernels", "program", "codegen/llvm")
LOWERING = {"kernel": "lower"}
SEEDS = 50  # random graphs, and as many with loops
SPECIAL = 12  # inputs of the graphs of one rule
LIMIT = 60  # seconds of a processor for a bug, the search included


@dataclass(frozen=True)
class Answer:
    """What `bisect` says of one bug.

    Parameters
    ----------
    name, edit : str
        Of the bug, and a digest of it.
    seen : bool
        Whether a program was found that shows it.
    named : str
        The pass and the rule that `bisect` names.
    is_right : bool
    seconds : float
        Of `bisect` alone.
    """

    name: str
    edit: str
    seen: bool
    named: str = ""
    is_right: bool = False
    seconds: float = 0.0


def is_below_passes(mutant: Mutant) -> bool:
    """Tell whether a bug lies in what is made of a graph after its passes."""
    return mutant.area in BELOW


def ask(mutant: Mutant) -> Answer:
    """Plant a bug in a process of its own, and ask there."""
    context = get_context("fork")
    answers = context.SimpleQueue()
    process = context.Process(target=_asked, args=(mutant, answers))
    process.start()
    process.join(ASLEEP * LIMIT)
    if process.exitcode is None:
        process.kill()
        process.join()
    if answers.empty():  # the search took too long
        return Answer(mutant.name, digest(mutant), False)
    answer: Answer = answers.get()
    return answer


def _asked(mutant: Mutant, answers: "SimpleQueue[Answer]") -> None:
    resource.setrlimit(resource.RLIMIT_CPU, (LIMIT, LIMIT + 5))
    plant(mutant)
    answers.put(answer_of(mutant))


def answer_of(mutant: Mutant) -> Answer:
    """Search a program that shows a bug of this process, and bisect it."""
    from tracejit.codegen.llvm.limits import LLVM  # noqa: PLC0415
    from tracejit.debug.bisect import bisect, bisect_passes  # noqa: PLC0415
    from tracejit.debug.levels import Setting  # noqa: PLC0415  # is planted now
    from tracejit.passes.pipelines import pipeline  # noqa: PLC0415

    limits = replace(LLVM, splits_complex=mutant.culprit == "split_complex")
    passes = pipeline(limits)
    for graph, inputs in _programs(mutant):
        start = time.perf_counter()
        if is_below_passes(mutant):
            found = bisect(graph, Setting(passes), inputs=inputs)
        else:
            found = bisect_passes(graph, passes, inputs=inputs)
        seconds = time.perf_counter() - start
        if found is not None:
            names = [found.name, found.rule]
            if found.level != "pass":  # kernels are what the step "lower" makes
                names[:0] = [LOWERING.get(found.level, found.level)]
            named = " ".join(n for n in names if n)
            is_right = mutant.culprit in names
            return Answer(
                mutant.name, digest(mutant), True, named, is_right, round(seconds, 2)
            )
    return Answer(mutant.name, digest(mutant), False)


def _programs(mutant: Mutant) -> Iterator[tuple[Any, list[Any]]]:
    """Yield graphs, those nearest to the bug first, and inputs that tests run them on.

    Those of the tests of rules are zeros of both signs, infinities, NaN and so on.
    """
    from tests.ir.test_loop_rules import FIRES, MUST_NOT  # noqa: PLC0415
    from tests.passes.rewriting import body, special_arguments  # noqa: PLC0415
    from tests.passes.test_rules import MUST_NOT_FIRE, REWRITES  # noqa: PLC0415
    from tests.program.random_graphs import LOOP_SEEDS, random_graph  # noqa: PLC0415
    from tracejit.ir.parser import parse_graph, parse_graphs  # noqa: PLC0415

    if mutant.program:
        yield parse_graph(mutant.program), []
    rules = [(name, body(text)) for name, text, _ in (*REWRITES, *MUST_NOT_FIRE)]
    own_rules = [g for name, g in rules if name == mutant.culprit]
    for graph in own_rules:
        yield graph, special_arguments(graph.in_avals)[:SPECIAL]
    yield from (
        (g, []) for name, g, *_ in (*FIRES, *MUST_NOT) if name == mutant.culprit
    )
    own = PASS_OF.get(mutant.culprit, mutant.culprit)
    files = sorted((ROOT / "tests" / "filetests").glob("*.tir"))
    mine = [f for f in files if f.stem in (own, f"{own}-keeps")]
    for file in (*mine, *(f for f in files if f not in mine)):
        yield from ((g, []) for g in parse_graphs(file.read_text("utf-8")))
    for _, graph in rules:
        yield graph, special_arguments(graph.in_avals)[:SPECIAL]
    yield from ((g, []) for _, g, *_ in (*FIRES, *MUST_NOT))
    seeds = chain.from_iterable((k, LOOP_SEEDS + k) for k in range(SEEDS))
    yield from ((random_graph(seed)[0], []) for seed in seeds)
