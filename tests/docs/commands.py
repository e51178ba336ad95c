"""The commands of a page, run; and their outputs on it, compared or written anew.

A block of a page begins with ```` ```console ````; each line ``$ ...`` in it is a
command, with what it prints below. `tracejit` runs in this process, `python` in
another one. `TRACEJIT_BLESS=1` writes what the commands print into the page.
"""

import os
import re
import shlex
import subprocess
import sys
from dataclasses import dataclass
from itertools import count
from pathlib import Path

from click.testing import CliRunner

from tracejit.cli.main import main

DOCS = Path(__file__).parents[2] / "docs"
BLESS = "TRACEJIT_BLESS"
FOUND = 3  # the exit code of commands that find something wrong
_BLOCK = re.compile(r"```console\n(.*?)```", re.DOTALL)
_COMMAND = re.compile(r"^\$ (.*)\n((?:(?!\$ ).*\n)*)", re.MULTILINE)
# What differs from run to run and from machine to machine. Columns that are as wide as
# the number that stands in them are closed up.
_TIMES = re.compile(r"(?<![\w.])\d[\d.,]*(?:e[-+]?\d+)? ?(?:ns|µs|us|ms|s|%)(?!\w)")
_RATES = re.compile(r"(?<![\w.])\d[\d.,]* ?(?:[GMT]B/s|[GMT]flop/s|[GMT]FLOP/s)")


@dataclass(frozen=True)
class Shown:
    """A command of a page, and the output that the page shows."""

    command: str
    output: str


def shown(page: Path) -> list[Shown]:
    """Return the commands of a page, in order."""
    text = page.read_text("utf-8")
    blocks = _BLOCK.findall(text)
    return [Shown(*row) for block in blocks for row in _COMMAND.findall(block)]


def printed(command: str, folder: Path) -> str:
    """Run a command line in the folder of the examples; return all that it prints."""
    words = shlex.split(command)
    switches = {}
    while "=" in words[0]:
        name, _, value = words.pop(0).partition("=")
        switches[name] = value
    if words[0] == "tracejit":
        environment = {**switches, "PYTHONPATH": str(DOCS.parent)}
        result = CliRunner().invoke(main, words[1:], env=environment)
        assert result.exit_code in (0, FOUND), f"{command}: {result.output}"
        return result.output
    assert words[0] == "python"
    root = str(DOCS.parent)
    environment = {**os.environ, **switches, "PYTHONPATH": root}
    done = subprocess.run(
        [sys.executable, *words[1:]],
        cwd=folder,
        env=environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )
    assert done.returncode == 0, done.stdout
    return done.stdout


def normalised(text: str) -> str:
    """Replace times, percentages and rates by ``#``, and close up columns.

    Examples
    --------
    >>> normalised("exp   12.5 µs  (8%)")
    'exp # (#)'
    >>> normalised("    3 ns  f")
    '# f'
    """
    for pattern in (_RATES, _TIMES):
        text = pattern.sub("#", text)
    text = re.sub(r"^ +(?=#)", "", text, flags=re.MULTILINE)
    rows = (re.sub(r"(?<=\S) +", " ", row).rstrip() for row in text.splitlines())
    return "\n".join(rows).strip()


def bless(page: Path, number: int, output: str) -> None:
    """Write the output of one command, counted from 0, into a page."""
    numbers = count()

    def command(found: re.Match[str]) -> str:
        if next(numbers) != number:
            return found.group()
        return f"$ {found.group(1)}\n{output.rstrip()}\n"

    def block(found: re.Match[str]) -> str:
        return f"```console\n{_COMMAND.sub(command, found.group(1))}```"

    page.write_text(_BLOCK.sub(block, page.read_text("utf-8")), "utf-8")
