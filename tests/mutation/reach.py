"""Which tests run the lines that bugs are planted in: a plugin of pytest.

::

    python3.12 -m pytest -n 2 -p tests.mutation.reach

writes `REACHED`, a JSON object of the name of a bug → [[seconds, test], …], quickest
first; a run of chosen tests replaces what is there. It needs `sys.monitoring`, that is
Python 3.12, and costs little: only functions with a bug in them report their lines.
Tests that run the package in a process of their own, or find the result of another
test in a cache, reach less than they show.
"""

import ast
import json
import os
import sys
from collections import defaultdict
from collections.abc import Iterator
from pathlib import Path
from types import CodeType

import pytest

from .bugs import MUTANTS
from .mutant import ROOT, Mutant

REACHED = ROOT / "tests" / "mutation" / "reached.json"
TOOL = 4  # neither a debugger, nor a profiler, nor Python's optimizer


def span(mutant: Mutant, text: str) -> range:
    """Return the lines of the statements that an edit touches.

    Of those with a body the line of the condition counts, or of the definition.
    """
    first = text[: text.index(mutant.find)].count("\n") + 1
    last = first + mutant.find.rstrip("\n").count("\n")
    statements = (n for n in ast.walk(ast.parse(text)) if isinstance(n, ast.stmt))
    touched = [s for s in statements if s.lineno <= last and _end(s) >= first]
    return range(
        min((first, *(s.lineno for s in touched))),
        max((last, *(_end(s) for s in touched))) + 1,
    )


def lines(mutant: Mutant, text: str) -> set[int]:
    """Return the lines that tell that a test reaches a bug.

    Of a constant, which is made at import, those of functions that read it, or what
    other constants of the module are made of it.
    """
    own = set(span(mutant, text))
    tree = ast.parse(text)
    names: set[str] = set()
    for one in tree.body:
        if isinstance(one, ast.Assign | ast.AnnAssign) and (
            own & _lines_of(one) or names & _names(one, ast.Load)
        ):
            names |= _names(one, ast.Store)
    functions = (f for f in ast.walk(tree) if isinstance(f, ast.FunctionDef))
    inner = (s for f in functions for s in ast.walk(f) if isinstance(s, ast.stmt))
    for one in inner:
        if not getattr(one, "body", []) and names & _names(one, ast.Load):
            own |= _lines_of(one)
    return own


def _lines_of(statement: ast.stmt) -> set[int]:
    return set(range(statement.lineno, _end(statement) + 1))


def _names(statement: ast.stmt, context: type[ast.expr_context]) -> set[str]:
    """Return the names that a statement reads, or binds."""
    found = (n for n in ast.walk(statement) if isinstance(n, ast.Name))
    return {n.id for n in found if isinstance(n.ctx, context)}


def _end(statement: ast.stmt) -> int:
    body: list[ast.stmt] = getattr(statement, "body", [])
    if body:
        return max(statement.lineno, body[0].lineno - 1)
    return statement.end_lineno or statement.lineno


class Reach:
    """Notes the bugs whose lines the running test runs."""

    def __init__(self) -> None:
        self.at: dict[tuple[str, int], list[str]] = defaultdict(list)
        self.running: set[str] = set()
        self.tests: dict[str, list[tuple[float, str]]] = defaultdict(list)
        texts: dict[Path, str] = {}
        for mutant in MUTANTS:
            text = texts.setdefault(mutant.path, mutant.path.read_text("utf-8"))
            for line in lines(mutant, text):
                self.at[str(mutant.path), line].append(mutant.name)
        self.files = {str(path) for path in texts}

    def start(self) -> None:
        """Ask for the lines of functions with a bug, as they are first called."""
        events = sys.monitoring.events
        sys.monitoring.use_tool_id(TOOL, "tracejit-reach")
        sys.monitoring.register_callback(TOOL, events.PY_START, self._first_call)
        sys.monitoring.register_callback(TOOL, events.LINE, self._line)
        sys.monitoring.set_events(TOOL, events.PY_START)

    def _first_call(self, code: CodeType, offset: int) -> object:
        if code.co_filename in self.files and any(
            (code.co_filename, line) in self.at for line in _lines(code)
        ):
            sys.monitoring.set_local_events(TOOL, code, sys.monitoring.events.LINE)
        return sys.monitoring.DISABLE

    def _line(self, code: CodeType, line: int) -> None:
        self.running.update(self.at.get((code.co_filename, line), ()))

    @pytest.hookimpl(wrapper=True)
    def pytest_runtest_protocol(self, item: pytest.Item) -> Iterator[None]:
        """Begin with nothing reached."""
        self.running.clear()
        return (yield)

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        """Note what a test that passed has reached."""
        if report.when == "call" and report.passed:
            for name in self.running:
                self.tests[name].append((round(report.duration, 3), report.nodeid))

    def pytest_sessionfinish(self, session: pytest.Session) -> None:
        """Write what this process found; the controlling one joins all."""
        sys.monitoring.set_events(TOOL, 0)
        own = REACHED.with_suffix(f".{os.getpid()}.part")
        own.write_text(json.dumps(self.tests), "utf-8")
        if not hasattr(session.config, "workerinput"):
            _join()


def _lines(code: CodeType) -> set[int]:
    return {line for *_, line in code.co_lines() if line is not None}


def _join() -> None:
    all_tests: dict[str, list[tuple[float, str]]] = defaultdict(list)
    for part in REACHED.parent.glob(f"{REACHED.stem}.*.part"):
        for name, tests in json.loads(part.read_text("utf-8")).items():
            all_tests[name] += [(seconds, test) for seconds, test in tests]
        part.unlink()
    rows = {name: sorted(tests) for name, tests in sorted(all_tests.items())}
    REACHED.write_text(json.dumps(rows, indent=0), "utf-8")


def pytest_configure(config: pytest.Config) -> None:
    """Begin; the controller of several processes runs no test itself."""
    reach = Reach()
    reach.start()
    config.pluginmanager.register(reach)
