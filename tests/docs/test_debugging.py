"""docs/debugging.md: its commands print what it shows; docs/reasons.md is the table.

`TRACEJIT_BLESS=1 pytest tests/docs/test_debugging.py` writes both anew.
"""

import os
import re
import shutil
import sys

import pytest

from tracejit.debug import machine
from tracejit.debug.reasons import REASONS, page
from tracejit.log import ARTIFACTS

from .blocks import run_blocks
from .commands import BLESS, DOCS, bless, normalised, printed, shown

PAGE = DOCS / "debugging.md"
COMMANDS = shown(PAGE)


@pytest.fixture(autouse=True)
def known_machine(monkeypatch):
    """Shares of limits are by numbers made up, which no test waits for."""
    rates = {1 << 18: 90.0, 1 << 20: 80.0, 1 << 23: 50.0, 1 << 25: 25.0, 1 << 28: 10.0}
    limits = machine.Limits({"float32": 100.0, "float64": 50.0}, rates)
    monkeypatch.setattr(machine, "limits", lambda threads=None: limits)


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """A copy of docs/examples, where the commands run; what they load is forgotten."""
    path = tmp_path_factory.mktemp("docs") / "examples"
    shutil.copytree(DOCS / "examples", path)
    before, old = {*sys.modules}, os.getcwd()
    os.chdir(path)
    found = [*sys.path]
    yield path
    os.chdir(old)
    sys.path[:] = found
    for name in {*sys.modules} - before:
        if str(path) in str(getattr(sys.modules[name], "__file__", "")):
            del sys.modules[name]


@pytest.mark.parametrize("number", range(len(COMMANDS)))
def test_command_prints_what_is_shown(folder, number):
    row = COMMANDS[number]
    output = printed(row.command, folder)
    if os.environ.get(BLESS):
        bless(PAGE, number, output)
        row = shown(PAGE)[number]
    assert normalised(output) == normalised(row.output), (
        f"`{row.command}` prints something else than {PAGE.name} shows; "
        f"{BLESS}=1 writes it there"
    )


def test_python_blocks_run():
    assert run_blocks(PAGE.name) >= 1


def test_links_are_there():
    links = re.findall(r"\]\((?!http)([^)#]+)\)", PAGE.read_text("utf-8"))
    assert "reasons.md" in links
    assert not [link for link in links if not (DOCS / link).exists()]


def test_every_log_is_described():
    text = PAGE.read_text("utf-8").partition("## Logs")[2]
    assert tuple(re.findall(r"^\| `(\w+)` \|", text, re.M)) == ARTIFACTS


def test_numbers_of_machines_are_normalised():
    text = "exp   12.5 µs  (8%) 3.2 GB/s  f32[8,4] 4 KiB model.py:12"
    assert normalised(text) == "exp # (#) # f32[8,4] 4 KiB model.py:12"


def test_reasons_page_is_the_table():
    path = DOCS / "reasons.md"
    if os.environ.get(BLESS):
        path.write_text(page(), "utf-8")
    assert path.read_text("utf-8") == page(), f"{BLESS}=1 writes it anew"
    codes = re.findall(r"^\| `(\w+)` \|", path.read_text("utf-8"), re.M)
    assert codes == [*REASONS]
