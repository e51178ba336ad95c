"""The runner, on a few bugs: tests find one, and `bisect` names others."""

import json
import subprocess
import sys

import pytest

from .bugs import MUTANTS
from .mutant import ROOT, Mutant
from .running import STAGES, files_of

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


def test_tests_find_a_bug(tmp_path):
    (found,) = results_of(tmp_path, NAMED[0], "--upto", "quick")
    assert found["status"] == "found"
    assert str(found["test"]).startswith("tests/passes/test_rules.py::test_rewrite[")


def test_bisect_names_bugs(tmp_path):
    answers = results_of(tmp_path, *NAMED, "--bisect")
    assert {a["name"] for a in answers} == {*NAMED}
    for answer in answers:
        assert answer["seen"] and answer["is_right"], answer


def test_every_bug_has_tests_near_it():
    for mutant in {m.area: m for m in MUTANTS}.values():
        stages = [files_of(mutant, stage) for stage in STAGES]
        assert stages[0] or stages[1], mutant.file
        names = [n for stage in stages for n in stage]
        assert len(set(names)) == len(names)


def test_an_edit_has_one_place():
    several = Mutant("x", "ir/simplify.py", "return None", "return ()")
    with pytest.raises(ValueError, match=r"has its text \d+ times"):
        several.applied(several.path.read_text("utf-8"))
