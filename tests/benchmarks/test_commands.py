"""The table of commands: what is run, what is kept, and what counts as a failure."""

import subprocess

import numpy as np

import tracejit as tj
from benchmarks import commands, ten_thousand
from benchmarks.commands import COMMANDS, FOUND, GRAPH, OTHER, PLANTED


def test_the_program_has_about_ten_thousand_equations(monkeypatch):
    """Of three of its layers, taken as many times as there are."""
    monkeypatch.setattr(ten_thousand, "LAYERS", 3)
    x, weights = np.ones((8, 16), np.float32), np.ones((4, 16, 16), np.float32)
    count = len(tj.jit(ten_thousand.step).trace(x, weights).graph.eqns)
    assert 70 < count / 3 < 130


def test_each_command_has_seconds_or_a_reason(monkeypatch):
    seen = []

    def run(command, **kwargs):
        folder, name = kwargs["cwd"], command[3]
        seen.append((command[2], name))
        if name == "diff":
            assert (folder / GRAPH).read_text() == "trace"
            assert (folder / OTHER).read_text() == "opt"
        if name == "nan":
            return subprocess.CompletedProcess(command, 1, "", "a\nno luck\n")
        if name == "view":
            raise subprocess.TimeoutExpired(command, 1)
        key = PLANTED if command[2] != "tracejit" else name
        return subprocess.CompletedProcess(command, FOUND.get(key, 0), name, "")

    monkeypatch.setattr(commands.subprocess, "run", run)
    [table] = commands.command_tables()
    assert list(table.rows) == list(COMMANDS)
    missing = [name for name, row in table.rows.items() if row["tracejit"] is None]
    assert missing == ["view", "nan"]
    assert table.notes == (
        f"view: more than {commands.PATIENCE_S} s",
        "nan: exit code 1: no luck",
    )
    assert ("benchmarks.commands", "bisect") in seen
