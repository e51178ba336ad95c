"""Whether `bisect` names the planted bug, and how long it takes.

The first of the programs that may show a bug (`showing`) that gives something wrong is
bisected; the search for it is not part of the time. For bugs of rules and passes the
interpreter runs the graphs; for those below them, machine code does, too.
"""

import resource
import signal
import time
from dataclasses import dataclass, replace
from multiprocessing import get_context
from multiprocessing.queues import SimpleQueue

from .mutant import Mutant
from .running import ASLEEP, digest, plant
from .showing import is_below_passes, programs_of

LOWERING = {"kernel": "lower"}
NATIVE = ("code", "blocks")  # what is done for machine code alone
LIMIT = 200  # seconds of a processor for a bug, the search included
HANG = 1.0  # seconds of a call, or a pass


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


def ask(mutant: Mutant) -> Answer:
    """Plant a bug in a process of its own, and ask there.

    Raises
    ------
    RuntimeError
        The process fails; it prints why. Where it has no time left, no program was
        found.
    """
    context = get_context("fork")
    answers = context.SimpleQueue()
    process = context.Process(target=_asked, args=(mutant, answers))
    process.start()
    process.join(ASLEEP * LIMIT)
    if process.exitcode is None:
        process.kill()
        process.join()
    if answers.empty():
        if process.exitcode not in (-signal.SIGXCPU, -signal.SIGKILL):
            raise RuntimeError(f"{mutant.name}: exit code {process.exitcode}")
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
    from tracejit.ir import dtypes as dt  # noqa: PLC0415
    from tracejit.passes.pipelines import pipeline  # noqa: PLC0415

    limits = replace(LLVM, splits_complex=False)
    if mutant.culprit == "split_complex":  # as on GPUs: all of them
        limits = replace(LLVM, keeps_complex=frozenset())
    passes = pipeline(limits)
    whole = Setting(passes, seconds=HANG)
    below = replace(whole, is_native=False)
    for graph, inputs in programs_of(mutant):
        start = time.perf_counter()
        if not is_below_passes(mutant):
            found = bisect_passes(graph, passes, inputs=inputs)
        elif mutant.culprit in NATIVE:
            found = bisect(graph, whole, inputs=inputs)
        else:  # machine code would be wrong, too
            has_parts = any(dt.is_complex(v.aval.dtype) for v in graph.invars)
            setting = replace(below, complex_views=has_parts)
            found = bisect(graph, setting, inputs=inputs)
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
