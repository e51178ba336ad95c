"""The runner, on a few bugs: tests find one, and `bisect` names others."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

from .bugs import MUTANTS
from .mutant import ROOT, Mutant
from .reach import lines
from .running import STAGES, files_of, reaching

NAMED = (
    "logic_known absorbs the wrong way",
    "view_of_view composes permutations the wrong way",
    "fold takes arrays that begin alike for constant fields",
    "fma forgets to negate a literal",
)


def results_of(tmp_path, *options: str) -> list[dict[str, object]]:
    """Run the suite on chosen bugs in a process of its own; return its results."""
    path = tmp_path / "results.json"
    command = [sys.executable, "-m", "tests.mutation", *options, "--results", str(path)]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr
    return json.loads(path.read_text("utf-8"))


def map_of(tmp_path, mutant: Mutant, *rows: tuple[float, str], **others) -> Path:
    """Write a map of what tests reach: of one bug, and of others."""
    path = tmp_path / "reached.json"
    path.write_text(json.dumps({mutant.name: rows, **others}), "utf-8")
    return path


def bug(name: str) -> Mutant:
    return next(m for m in MUTANTS if m.name == name)


def test_tests_find_a_bug(tmp_path):
    options = ("--upto", "quick", "--map", str(tmp_path / "none"))
    (found,) = results_of(tmp_path, NAMED[0], *options)
    assert found["status"] == "found"
    assert str(found["test"]).startswith("tests/passes/test_rules.py::test_rewrite[")


def test_tests_that_reach_a_bug_find_it(tmp_path):
    """One that is no more does no harm, and one of other lines finds nothing."""
    notices = "tests/passes/test_rules.py::test_rule_names_are_unique"
    rule = "tests/passes/test_rules.py::test_rewrite[logic_known-%c: bool[3] => "
    finds = f"{rule}and %c, true-%c: bool[3] => return %c]"
    rows = [(0.0, "tests/passes/test_rules.py::test_was"), (0.1, notices), (0.2, finds)]
    path = map_of(tmp_path, bug(NAMED[0]), *rows)
    options = ("--upto", "reached", "--map", str(path))
    (found,) = results_of(tmp_path, NAMED[0], *options)
    assert (found["status"], found["test"]) == ("found", finds)


def test_the_nearest_tests_of_all_kinds_run_first(tmp_path):
    near, other = "tests/passes/test_rules.py", "tests/codegen/test_kernels.py"
    rows = [(0.1, f"{other}::test_a"), (0.2, "tests/docs/test_guides.py::test_b")]
    cases = [f"{near}::test_c[{k}]" for k in range(4)]
    rows += [(0.3 + k / 10, case) for k, case in enumerate(cases)]
    path = map_of(tmp_path, bug(NAMED[0]), *rows)
    batches = reaching(bug(NAMED[0]), path)
    assert batches == [cases[:2], [*cases[2:], f"{other}::test_a"]]


def test_tests_that_reach_few_bugs_run_first(tmp_path):
    """Unless they take long."""
    folder = "tests/passes"
    general, special = (
        f"{folder}/test_cse.py::test_a",
        f"{folder}/test_rules.py::test_b",
    )
    other, long = f"{folder}/test_rules.py::test_c", f"{folder}/test_cse.py::test_d"
    rows = [(0.1, general), (0.2, special), (0.3, other), (9.0, long)]
    more = {"one": [(0.1, general)], "two": [(0.1, general), (0.3, other)]}
    path = map_of(tmp_path, bug(NAMED[0]), *rows, **more)
    assert reaching(bug(NAMED[0]), path) == [[special, other, general], [long]]


def test_constants_are_reached_where_they_are_read():
    text = (
        "ONE = 1\nTWO = ONE + 1\nOTHER = 3\n\ndef f():\n    x = TWO\n    return OTHER\n"
    )
    assert lines(Mutant("x", "ir/x.py", "= 1", "= 2"), text) == {1, 6}
    assert lines(Mutant("x", "ir/x.py", "x = TWO", "x = ONE"), text) == {6}


def test_without_a_map_no_test_is_known_to_reach(tmp_path):
    assert reaching(bug(NAMED[0]), tmp_path / "none") == []


def test_bisect_names_bugs(tmp_path):
    answers = results_of(tmp_path, *NAMED, "--bisect")
    assert {a["name"] for a in answers} == {*NAMED}
    for answer in answers:
        assert answer["seen"] and answer["is_right"], answer


def test_every_bug_has_tests_near_it():
    for mutant in {m.area: m for m in MUTANTS}.values():
        stages = [files_of(mutant, stage) for stage in STAGES[1:]]
        assert stages[0] or stages[1], mutant.file
        names = [n for stage in stages for n in stage]
        assert len(set(names)) == len(names)


def test_an_edit_has_one_place():
    several = Mutant("x", "ir/simplify.py", "return None", "return ()")
    with pytest.raises(ValueError, match=r"has its text \d+ times"):
        several.applied(several.path.read_text("utf-8"))
