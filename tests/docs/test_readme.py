"""The README's code runs: Python blocks as one session, commands in one folder."""

import re
import shlex
import sys
from pathlib import Path

import pytest
from click.testing import CliRunner

from tracejit.cli.main import main

README = Path(__file__).parents[2] / "README.md"
TEXT = README.read_text("utf-8")
PYTHON = re.findall(r"```python\n(.*?)```", TEXT, re.DOTALL)
COMMANDS = re.findall(r"^\$ tracejit (.*)\n((?:(?![$`]).*\n)*)", TEXT, re.MULTILINE)


@pytest.fixture
def folder(tmp_path, monkeypatch):
    """A folder with the first block as `model.py`; what it loads is forgotten."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", [*sys.path])
    monkeypatch.setitem(sys.modules, "model", None)
    del sys.modules["model"]
    (tmp_path / "model.py").write_text(PYTHON[0], "utf-8")
    return tmp_path


def run(command: str) -> str:
    """Run a command line of `tracejit`; ``> file`` writes its output there."""
    words, _, path = command.partition(" > ")
    result = CliRunner().invoke(main, shlex.split(words))
    assert result.exit_code == 0, result.output
    if path:
        Path(path).write_text(result.stdout, "utf-8")
        return ""
    return result.stdout


def test_python_blocks_run(capsys):
    assert len(PYTHON) >= 6
    scope: dict[str, object] = {"__name__": "readme"}
    for block in PYTHON:
        exec(compile(block, str(README), "exec"), scope)
    printed = capsys.readouterr().out
    assert "[  0.   1.  32. 243.]" in printed
    assert "kernel @softmax" in printed
    assert "1 kernel;" in printed
    assert "np.where(cond, a, b)" in printed


def test_commands_print_what_is_shown(folder):
    assert len(COMMANDS) >= 3
    for command, shown in COMMANDS:
        printed = run(command)
        if shown:
            assert printed.rstrip() == shown.rstrip()


def test_links_are_there():
    links = re.findall(r"\]\((?!http)([^)#]+)\)", TEXT)
    assert "docs/design.md" in links
    missing = [link for link in links if not (README.parent / link).exists()]
    assert not missing
