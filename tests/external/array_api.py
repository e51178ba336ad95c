"""Run the public suite of the Array API against NumPy, `tracejit.numpy`, and `jit`.

The suite is not on the package index::

    git clone --recurse-submodules https://github.com/data-apis/array-api-tests
    pip install pytest hypothesis ndindex pytest-json-report
    python -m tests.external.array_api array-api-tests

from the folder of this project. The first run calls NumPy's own functions, the second
those of `tracejit.numpy` on NumPy arrays, the third calls these through `jit`, and
operators too (`jitted_numpy`, `jitted_operators`): arrays are arguments, all else is
constant; results whose length depends on values are told their ``size=``.
Tests that fail in the second or third run and pass in the first are printed, and are
the exit status. What a name after the folder says (``test_fft.py``) is run alone.

Examples are derived from the tests' names, and from numbers that Hypothesis finds in
the modules that a run has loaded, which are the same in all. They still differ a
little; what NumPy passes by luck alone is told by giving it many more.
"""

import argparse
import os
import subprocess
import sys
import tempfile
import xml.etree.ElementTree as ET
from collections import Counter
from dataclasses import dataclass
from pathlib import Path

VERSION = "2024.12"
ROOT = Path(__file__).parents[2]
MORE = 500  # times as many examples, for NumPy, of what another run fails
LOADED = ("-p", "tests.external.jitted_numpy")
RUNS = {
    "numpy": ("numpy", LOADED),
    "tracejit.numpy": ("tracejit.numpy", LOADED),
    "jit": ("tests.external.jitted_numpy", ("-p", "tests.external.jitted_operators")),
}


@dataclass(frozen=True)
class Outcome:
    """What a run of the suite gave.

    Parameters
    ----------
    counts : Counter
        Tests that passed, failed, and were skipped.
    failed : set of str
        Names of tests.
    """

    counts: Counter[str]
    failed: set[str]


def outcome_of(report: Path) -> Outcome:
    """Read a report in JUnit's format."""
    counts: Counter[str] = Counter()
    failed = set()
    for case in ET.parse(report).iter("testcase"):
        tags = {child.tag for child in case}
        name = f"{case.get('classname')}::{case.get('name')}"
        if tags & {"failure", "error"}:
            failed.add(name)
        bad = "failed" if name in failed else "passed"
        counts["skipped" if "skipped" in tags else bad] += 1
    return Outcome(counts, failed)


def run(suite: Path, name: str, tests: list[str], examples: int) -> Outcome:
    """Run the suite against one of `RUNS`, in a process of its own."""
    module, plugins = RUNS[name]
    path = os.pathsep.join([str(ROOT), *filter(None, [os.getenv("PYTHONPATH")])])
    variables = {
        "ARRAY_API_TESTS_MODULE": module,
        "ARRAY_API_TESTS_VERSION": VERSION,
        "PYTHONPATH": path,
    }
    where = [f"array_api_tests/{t}" for t in tests] or ["array_api_tests"]
    with tempfile.TemporaryDirectory() as folder:
        report = Path(folder) / "report.xml"
        command = [
            *(sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider"),
            *plugins,
            *("--derandomize", "--disable-deadline", f"--max-examples={examples}"),
            *(f"--junit-xml={report}", "--tb=short", *where),
        ]
        environment = {**os.environ, **variables}
        subprocess.run(command, cwd=suite, env=environment, check=False)
        return outcome_of(report)


def path_of(name: str) -> str:
    """Return what pytest calls a test, from what a report does.

    Examples
    --------
    >>> path_of("array_api_tests.test_fft::test_fft[1.5]")
    'test_fft.py::test_fft[1.5]'
    """
    module, _, test = name.partition("::")
    return f"{module.rpartition('.')[2]}.py::{test}"


def main() -> int:
    """Run what the command line says; return how many tests fail beyond NumPy's."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("suite", type=Path, help="folder of array-api-tests")
    parser.add_argument("tests", nargs="*", help="files of tests, in place of all")
    parser.add_argument("--max-examples", type=int, default=20)
    given = parser.parse_args()
    found = {
        name: run(given.suite, name, given.tests, given.max_examples) for name in RUNS
    }
    passed = set().union(*(x.failed for x in found.values())) - found["numpy"].failed
    tests, many = [path_of(name) for name in sorted(passed)], MORE * given.max_examples
    by_luck = run(given.suite, "numpy", tests, many).failed if tests else set()
    beyond = 0
    for name, outcome in found.items():
        counts = ", ".join(f"{n} {what}" for what, n in sorted(outcome.counts.items()))
        print(f"{name}: {counts}")
        for test in sorted(outcome.failed & passed):
            print(f"  fails, {'in' if test in by_luck else 'not in'} NumPy: {test}")
            beyond += test not in by_luck
    return min(beyond, 100)


if __name__ == "__main__":
    sys.exit(main())
