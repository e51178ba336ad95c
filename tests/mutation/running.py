"""Runs the tests of a bug's area on the package with the bug in it.

Where there is a map of what tests reach (`reach`), those that run the bug's lines come
first. Tests lie as the package does, so that a file names its tests: those of its own
folder and of what is built from it (`NEAR`), and for bugs that these do not find, all
others. Nothing is chosen for one bug. Of the nearest tests the quick files run first.

Each run is a process of its own, forked where all but the package is imported already.
"""

import hashlib
import json
import os
import resource
import signal
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from multiprocessing import get_context
from pathlib import Path

import pytest

from .mutant import ROOT, Mutant

HOOK = ROOT / "tests" / "mutation" / "hook"
RULES = ("tests/filetests", "tests/ir", "tests/passes")
PROGRAMS = ("tests/kernels", "tests/program")
DEVICE = ("tests/codegen/triton", "tests/runtime/cuda")  # in a slow interpreter
NEAR = {
    "ir": RULES,
    "ir/ops": ("tests/ir", "tests/transforms"),
    "passes": ("tests/filetests", "tests/passes", *PROGRAMS),
    "transforms": ("tests/transforms",),
    "kernels": PROGRAMS,
    "program": PROGRAMS,
    "codegen/llvm": ("tests/codegen",),
    "codegen/triton": DEVICE,
    "tracing": ("tests/tracing",),
}
LEFT_OUT = ("tests/benchmarks", "tests/docs", "tests/mutation")
TIMES = ROOT / "tests" / "mutation" / "times.json"  # seconds of each file
QUICK = 5.0  # seconds of a file
STAGES = ("reached", "quick", "near", "wide")
# Seconds of a processor: what else the machine does makes no difference.
LIMITS = {"reached": 30, "quick": 40, "near": 300, "wide": 1200}
ROUNDS = (2, 10)  # the first cases of each test that reach a bug, before all others
LONG = 2.0  # seconds of a test that waits for all others
TOGETHER = 6  # files that are collected at once
HANGS = 10.0, 20.0  # seconds of a test that hangs, and how many times its own they are
ASLEEP = 60  # how many times as long a run may take, if it gets no processor
Batches = Sequence[Sequence[str]]  # of tests or files, that are collected together
FOUND, CRASHED, HUNG = "found", "crashed", "hung"
SURVIVED, SLOW, BROKEN = "survived", "slow", "broken"


@dataclass(frozen=True)
class Outcome:
    """What the tests say of one bug.

    Parameters
    ----------
    name, edit : str
        Of the bug; `edit` is a digest, by which results are known to be of now.
    status : str
        ``found``: a test failed; ``crashed``: the tests' process died of it; ``hung``:
        a test took far longer than the map says; ``survived``; ``slow``: the time was
        over; ``broken``: the package does not import, so that the bug is none.
    test : str
        The first test that failed.
    stage : str
        The last stage that ran.
    seconds : float
        Of all stages.
    """

    name: str
    edit: str
    status: str
    test: str
    stage: str
    seconds: float

    @property
    def is_found(self) -> bool:
        """Tell whether the tests noticed."""
        return self.status in (FOUND, CRASHED, HUNG)


def digest(mutant: Mutant) -> str:
    """Return a short digest of the edit."""
    text = "\0".join((mutant.file, mutant.find, mutant.replace))
    return hashlib.sha256(text.encode()).hexdigest()[:12]


def plant(mutant: Mutant) -> None:
    """Plant a bug in this process and in those that it starts; nothing is imported."""
    assert "tracejit" not in sys.modules, "the package is imported already"
    paths = (str(HOOK), str(ROOT))
    os.environ["PYTHONPATH"] = os.pathsep.join(paths)
    os.environ["TRACEJIT_CACHE_DIR"] = "off"  # machine code of another emitter
    edit = {"find": mutant.find, "replace": mutant.replace}
    where = {"module": mutant.module, "file": str(mutant.path)}
    os.environ["TRACEJIT_MUTANT"] = json.dumps({**where, **edit})
    sys.path[:0] = paths
    from .hook import sitecustomize  # noqa: F401, PLC0415  # plants it


def batches_of(mutant: Mutant, stage: str, reached: Path) -> Batches:
    """Return the tests of a stage, or their files, as they run together."""
    if stage == "reached":
        return reaching(mutant, reached)
    return [[file] for file in files_of(mutant, stage)]


def reaching(mutant: Mutant, reached: Path) -> Batches:
    """Return the tests that reach a bug, few files at a time; none without a map.

    Those first that are quick and reach few other bugs: most likely they test the very
    lines. In a first round they are a few cases of each of the nearest tests, in the
    next one more of these and a few of the others, and so on; what takes long is last.
    """
    far, near = _far(mutant), _within(NEAR[mutant.area])
    rows = [r for r in _map(reached).get(mutant.name, []) if not r[1].startswith(far)]
    breadths = _breadths(reached)
    rows.sort(key=lambda r: (not r[1].startswith(near), breadths[r[1]] * (1 + r[0])))
    rounds: dict[int, list[str]] = {}
    cases: Counter[str] = Counter()
    for seconds, test in rows:
        function = test.partition("[")[0]
        number = sum(cases[function] >= n for n in ROUNDS) + (not test.startswith(near))
        number += len(ROUNDS) * (seconds > LONG)
        rounds.setdefault(number, []).append(test)
        cases[function] += 1
    return [batch for _, tests in sorted(rounds.items()) for batch in _joined(tests)]


@cache
def _map(reached: Path) -> dict[str, list[tuple[float, str]]]:
    return json.loads(reached.read_text("utf-8")) if reached.exists() else {}


@cache
def _breadths(reached: Path) -> Counter[str]:
    """Return how many planted bugs each test reaches."""
    return Counter(test for rows in _map(reached).values() for _, test in rows)


@cache
def _seconds(reached: Path) -> Mapping[str, float]:
    """Return how long each test takes that reaches a bug."""
    return {test: n for rows in _map(reached).values() for n, test in rows}


def _joined(tests: list[str]) -> Iterator[list[str]]:
    """Yield the tests of some files at a time, as they are ordered."""
    files = list(dict.fromkeys(map(_file, tests)))
    for k in range(0, len(files), TOGETHER):
        chosen = set(files[k : k + TOGETHER])
        yield [test for test in tests if _file(test) in chosen]


def _file(test: str) -> str:
    return test.partition("::")[0]


def files_of(mutant: Mutant, stage: str) -> list[str]:
    """Return the files of tests of a stage: what is named alike, then the quickest."""
    times: dict[str, float] = json.loads(TIMES.read_text("utf-8"))
    seconds = {n: times.get(n, QUICK + 1) for n in _names(("tests",))}
    near = _names(NEAR[mutant.area])
    kept = {n for n in seconds if not n.startswith(_far(mutant))}
    words = set(mutant.file.removesuffix(".py").split("/"))
    mirror = {n for n in near if Path(n).stem.removeprefix("test_") in words}
    quick = mirror | {n for n in near if seconds[n] <= QUICK}
    chosen = {"quick": quick, "near": near - quick, "wide": kept - near}[stage]
    return sorted(chosen & kept, key=lambda n: (n not in mirror, seconds[n], n))


def _far(mutant: Mutant) -> tuple[str, ...]:
    """Return the folders whose tests do not look for a bug."""
    is_triton = mutant.area == "codegen/triton"
    return _within(LEFT_OUT if is_triton else (*LEFT_OUT, *DEVICE))


def _within(folders: Sequence[str]) -> tuple[str, ...]:
    return tuple(f"{folder}/" for folder in folders)


def _names(folders: Sequence[str]) -> set[str]:
    found = (f for d in folders for f in (ROOT / d).rglob("test_*.py"))
    return {f.relative_to(ROOT).as_posix() for f in found}


def climb(
    mutant: Mutant, before: Outcome | None, last: str, reached: Path
) -> Iterator[Outcome]:
    """Run stages after those that have run, up to the last, until a test fails.

    A stage of files begins with those of the one before it if that was slow.
    """
    done = STAGES.index(before.stage) + 1 if before is not None else 0
    seconds = before.seconds if before is not None else 0.0
    left: Batches = ()
    if before is not None and before.status == SLOW and done > 1:
        left = batches_of(mutant, before.stage, reached)
    for stage in STAGES[done : STAGES.index(last) + 1]:
        batches = [*left, *batches_of(mutant, stage, reached)]
        start = time.perf_counter()
        status, test = SURVIVED, ""
        if batches:
            status, test = _run(mutant, batches, LIMITS[stage], _seconds(reached))
        seconds = round(seconds + time.perf_counter() - start, 1)
        outcome = Outcome(mutant.name, digest(mutant), status, test, stage, seconds)
        yield outcome
        left = batches if status == SLOW and stage != STAGES[0] else ()
        if status not in (SURVIVED, SLOW):
            return


def _run(
    mutant: Mutant, batches: Batches, limit: int, seconds: Mapping[str, float]
) -> tuple[str, str]:
    """Return the status of a run of tests, and the test that failed or was running."""
    with tempfile.TemporaryDirectory() as folder:
        notes = Path(folder) / "test"
        notes.touch()
        arguments = (mutant, batches, limit, _Notes(notes, seconds))
        process = get_context("fork").Process(target=_tests, args=arguments)
        process.start()
        process.join(ASLEEP * limit)
        if process.exitcode is None:  # it waits, for a lock perhaps
            process.kill()
            process.join()
        test = notes.read_text("utf-8")
    code = process.exitcode
    assert code is not None
    if code in (-signal.SIGXCPU, -signal.SIGKILL):
        return SLOW, test
    if code == -signal.SIGPROF:
        return HUNG, test
    if code < 0:
        return CRASHED, test
    if code == pytest.ExitCode.OK:
        return SURVIVED, ""
    has_failed = code == pytest.ExitCode.TESTS_FAILED and bool(test)
    return (FOUND if has_failed else BROKEN), test


def _tests(mutant: Mutant, batches: Batches, limit: int, notes: "_Notes") -> None:
    """Run tests in this process, and note which one is running."""
    resource.setrlimit(resource.RLIMIT_CPU, (limit, limit + 10))
    os.chdir(ROOT)
    quiet = os.open(os.devnull, os.O_WRONLY)
    for stream in (1, 2):
        os.dup2(quiet, stream)
    plant(mutant)
    options = ("-x", "-q", "-n0", "--tb=no", "-p", "no:cacheprovider")
    loaded = ("-W", "ignore::pytest.PytestAssertRewriteWarning")  # Hypothesis is
    for batch in batches:  # most bugs need the first ones alone
        files = dict.fromkeys(map(_file, batch))
        arguments = [*options, *loaded, "--hypothesis-seed=0", *files]
        code = pytest.main(arguments, plugins=[notes, _Chosen(batch)])
        if code not in (pytest.ExitCode.OK, pytest.ExitCode.NO_TESTS_COLLECTED):
            os._exit(code)
    os._exit(pytest.ExitCode.OK)


class _Notes:
    """A plugin of pytest: writes down which test runs, up to the first that fails.

    The process dies of a test that hangs, if it is known how long that takes.
    """

    def __init__(self, path: Path, seconds: Mapping[str, float]) -> None:
        self.path, self.seconds, self.has_failed = path, seconds, False

    def pytest_runtest_logstart(self, nodeid: str) -> None:
        if not self.has_failed:
            self.path.write_text(nodeid, "utf-8")
        least, times = HANGS
        known = self.seconds.get(nodeid)
        limit = 0.0 if known is None else max(least, times * known)
        signal.setitimer(signal.ITIMER_PROF, limit)

    def pytest_runtest_logfinish(self) -> None:
        signal.setitimer(signal.ITIMER_PROF, 0.0)

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        self.has_failed |= report.failed


class _Chosen:
    """A plugin of pytest: runs the tests that are named, those of named files if none.

    A test that is no more is none; pytest itself would stop there.
    """

    def __init__(self, names: Sequence[str]) -> None:
        self.order = {name: k for k, name in enumerate(names)}

    def pytest_collection_modifyitems(self, items: list[pytest.Item]) -> None:
        if any("::" in name for name in self.order):
            chosen = [i for i in items if i.nodeid in self.order]
            items[:] = sorted(chosen, key=lambda item: self.order[item.nodeid])
