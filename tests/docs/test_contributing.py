"""The worked examples of CONTRIBUTING.md, done to a copy of the package."""

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
TEXT = (ROOT / "CONTRIBUTING.md").read_text("utf-8")
PYTHON = [b.partition("\n") for b in re.findall(r"```python\n(.*?)```", TEXT, re.S)]
EDITS = [(head, code) for head, _, code in PYTHON if head != "# check"]
CHECKS = [code for head, _, code in PYTHON if head == "# check"]
(FILETEST,) = re.findall(r"```\n(; RUN.*?)```", TEXT, re.S)


def target(head: str) -> str:
    """The file that a block's first line names."""
    return head.removeprefix("# ").partition(",")[0]


def apply(root: Path, head: str, code: str) -> None:
    """Put a block where its first line says: by a line, or at the end of a file."""
    path = root / target(head)
    place = re.search(", (above|below): (.*)", head)
    if place is None:
        old = path.read_text("utf-8") if path.exists() else ""
        path.write_text(old + code, "utf-8")
        return
    lines = path.read_text("utf-8").splitlines(keepends=True)
    found = [i for i, line in enumerate(lines) if place[2] in line]
    assert len(found) == 1, f"{path.name} has {len(found)} lines with {place[2]!r}"
    gap = "\n\n" if code.startswith("def ") else ""  # the formatter drops it in docs
    lines.insert(found[0] + (place[1] == "below"), code + gap)
    path.write_text("".join(lines), "utf-8")


@pytest.fixture(scope="module")
def edited(tmp_path_factory):
    """A copy of the package with every example applied."""
    root = tmp_path_factory.mktemp("copy")
    shutil.copytree(
        ROOT / "tracejit",
        root / "tracejit",
        ignore=shutil.ignore_patterns("__pycache__"),
    )
    for head, code in EDITS:
        apply(root, head, code)
    return root


def python(root: Path, code: str, *args: str, text: str = "") -> str:
    done = subprocess.run(
        [sys.executable, "-W", "error", "-c", code, *args],
        cwd=root,
        env={**os.environ, "PYTHONPATH": str(root)},
        input=text,
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_blocks_say_where_they_go():
    assert len(EDITS) >= 6
    assert all(head.startswith("# tracejit/") for head, _ in EDITS)


@pytest.mark.parametrize("code", CHECKS)
def test_checks_hold(edited, code):
    python(edited, "import numpy as np\nimport tracejit as tj\n" + code)


def test_pass_does_what_its_file_test_says(edited):
    (passes,) = re.findall(r'opt %s -p "([^"]*)"', FILETEST)
    code = "import tracejit.cli.main as m; m.main()"
    out = python(edited, code, "opt", "-", "-p", passes, "--verify-each", text=FILETEST)
    wanted = re.findall(r"; CHECK-NEXT: +(.*)", FILETEST)
    assert [line.strip() for line in out.splitlines()[1:-1]] == wanted


@pytest.mark.parametrize("tool", [["check"], ["format", "--check"]], ids=str)
def test_examples_are_in_house_style(edited, tool):
    ruff = shutil.which("ruff", path=str(Path(sys.executable).parent)) or "ruff"
    config = str(ROOT / "pyproject.toml")
    files = [str(edited / target(head)) for head, _ in EDITS]
    done = subprocess.run(
        [ruff, *tool, "--no-cache", "--config", config, *files],
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stdout
