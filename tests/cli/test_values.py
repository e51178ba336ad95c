"""`tracejit nan`, `bench`, `cache`, `doctor`: what they print, and exit codes."""

import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner

import tracejit as tj
from tracejit.cli.main import COMMANDS, main
from tracejit.debug import cache_files, doctor

GRAPH = """
graph @f(%x: f32[2]) -> (f32[2]) {
  %0: f32[2] = log %x
  return %0
}
"""
MODEL = str(Path(__file__).with_name("values_model.py"))


def run(*words):
    return CliRunner().invoke(main, [*map(str, words)])


# --- nan --------------------------------------------------------------------------


def test_nan_names_the_line():
    done = run("nan", f"{MODEL}:loss", "--arg", "f32[4]")
    assert done.exit_code == 3, done.output
    assert "NaN was first made in values_model.py:" in done.stdout
    assert "return np.sum(np.sqrt(y))  # NaN" in done.stdout
    assert "  try: sqrt of a negative number" in done.stdout


def test_nan_of_a_gradient_with_arguments_from_python():
    words = ["nan", f"{MODEL}:slope", "--args-from", f"{MODEL}:zero_slope"]
    done = run(*words, "--json")
    assert done.exit_code == 3, done.output
    finding = json.loads(done.stdout)["finding"]
    assert finding["in_gradient"] is True
    assert finding["line"].startswith("values_model.py:")


def test_no_nan():
    done = run("nan", f"{MODEL}:predict", "--arg", "f32[4]")
    assert (done.exit_code, done.stdout) == (0, "no NaN\n")
    done = run("nan", f"{MODEL}:predict", "--arg", "f32[4]", "--json")
    assert json.loads(done.stdout) == {"finding": None}


def test_values_in_files_are_taken_as_they_are(tmp_path):
    np.save(tmp_path / "x.npy", np.full(4, 11.0))
    done = run("nan", f"{MODEL}:loss", "--arg", f"@{tmp_path / 'x.npy'}")
    assert (done.exit_code, done.stdout) == (0, "no NaN\n")


def test_run_names_the_line_too(tmp_path):
    words = ["run", f"{MODEL}:loss", "--arg", "f32[4]"]
    assert run(*words).exit_code == 0
    done = run(*words, "--nan")
    assert done.exit_code == 3
    assert "NaN was first made in values_model.py:" in done.stdout
    (ran,) = json.loads(run(*words, "--nan", "--json").stdout)["runs"]
    assert "sqrt" in ran["nan"]
    graph = (
        "graph @f(%x: f32[2]) -> (f32[2]) {\n  %0: f32[2] = log %x\n  return %0\n}\n"
    )
    (tmp_path / "f.tir").write_text(graph)
    done = run("run", tmp_path / "f.tir", "--nan", "--samples", "special")
    assert "f gave NaN" in done.stdout


@pytest.mark.parametrize("command", ["nan", "bench"])
def test_mistakes(command):
    assert run(command, f"{MODEL}:nothing").exit_code == 2
    assert run(command, f"{MODEL}:predict").exit_code == 2
    done = run(command, f"{MODEL}:fails", "--arg", "f32[3]")
    assert done.exit_code == 1
    assert "no such weight" in done.stderr


# --- bench ------------------------------------------------------------------------


def test_bench_measures_each_way():
    words = ["bench", f"{MODEL}:predict", "--arg", "f32[8]", "--seconds", "0.02"]
    found = json.loads(run(*words, "--json").stdout)
    names = [row["name"] for row in found["rows"]]
    assert names == ["jit", "Python and NumPy", "interpreter of the graph"]
    for row in found["rows"]:
        assert 0 < row["fastest"] <= row["median"]
        assert row["calls"] >= 5
    assert found["compile_seconds"] == pytest.approx(sum(found["stages"].values()))
    text = run(*words).stdout
    assert text.splitlines()[0].split()[0] == "median"
    assert "to compile: " in text


def test_bench_keeps_output_and_arguments_apart():
    words = ["bench", f"{MODEL}:adds_one", "--arg", "f32[8]", "--seconds", "0"]
    done = run(*words, "--json")
    json.loads(done.stdout)
    assert "adding" in done.stderr


# --- cache ------------------------------------------------------------------------


@pytest.fixture
def cache(tmp_path):
    """Fill a cache with what two functions compile to."""
    with tj.config.override(cache_dir=str(tmp_path / "cache")):
        for n in (3, 4):
            tj.jit(lambda x: np.exp(x) + 1)(np.ones(n))
        yield tmp_path / "cache"


def test_cache_show_and_list(cache):
    shown = json.loads(run("cache", "show", "--json").stdout)
    assert shown["folder"] == str(cache)
    entries = json.loads(run("cache", "list", "--json").stdout)["entries"]
    assert len(entries) == sum(p["files"] for p in shown["parts"].values()) > 0
    assert sum(e["bytes"] for e in entries) == shown["bytes"]
    assert all(e["contents"] for e in entries)
    assert str(cache) in run("cache", "show").stdout
    assert len(run("cache", "list").stdout.splitlines()) == len(entries)


def test_cache_clear_leaves_what_is_not_its_own(cache):
    other = cache / "notes.txt"
    other.write_text("mine")
    removed = json.loads(run("cache", "clear", "--json").stdout)
    assert removed["removed"] > 0
    assert cache_files.entries(cache) == []
    assert other.exists()
    assert run("cache", "clear").stdout == "removed 0 files, 0 B\n"


def test_cache_prune(cache):
    entries = cache_files.entries(cache)
    assert (
        json.loads(run("cache", "prune", "--days", 1, "--json").stdout)["removed"] == 0
    )
    old = entries[0].path
    os.utime(old, (0, 0))
    assert (
        json.loads(run("cache", "prune", "--days", 1, "--json").stdout)["removed"] == 1
    )
    assert not old.exists()
    run("cache", "prune", "--megabytes", 0)
    assert cache_files.entries(cache) == []
    assert run("cache", "prune").exit_code == 2


def test_cache_that_is_off():
    with tj.config.override(cache_dir="off"):
        assert "switch cache_dir is off" in run("cache", "show").stdout
        assert json.loads(run("cache", "show", "--json").stdout)["folder"] is None
        assert run("cache", "clear").exit_code == 0


# --- doctor -----------------------------------------------------------------------


def test_doctor_is_content(tmp_path):
    with tj.config.override(cache_dir=str(tmp_path / "new")):
        done = run("doctor", "--json")
    assert done.exit_code == 0, done.output
    items = json.loads(done.stdout)["items"]
    assert {x["name"] for x in items} == {
        "versions",
        "llvm",
        "processor",
        "native calls",
        "cache",
        "gpu",
        "switches",
        "self-test",
    }
    texts = [x["text"] for x in items]
    assert f"tracejit {tj.__version__}" in texts
    assert "gradients are right" in texts
    assert f"cache_dir = {str(tmp_path / 'new')!r}, set by this process" in texts


def test_doctor_finds_a_folder_that_cannot_be_written(tmp_path):
    (tmp_path / "file").write_text("")
    with tj.config.override(cache_dir=str(tmp_path / "file")):
        done = run("doctor")
    assert done.exit_code == 1
    assert "x cannot write there" in done.stdout


def test_doctor_reports_what_raises(monkeypatch):
    def broken():
        raise OSError("no such library")

    monkeypatch.setattr(doctor, "_LOOKS", (("llvm", broken),))
    done = run("doctor", "--json")
    assert done.exit_code == 1
    (item,) = json.loads(done.stdout)["items"]
    assert item == {
        "name": "llvm",
        "state": "broken",
        "text": "OSError: no such library",
    }


def test_doctor_names_variables_that_are_no_switches(monkeypatch):
    monkeypatch.setenv("TRACEJIT_THREAD", "2")
    items = doctor.examine()
    assert any(x.text == "TRACEJIT_THREAD is set, but is no switch" for x in items)


# --- completion -------------------------------------------------------------------


@pytest.fixture
def shell(tmp_path):
    """Run bash with `tracejit` on its path, after the line that the help gives."""
    command = tmp_path / "tracejit"
    command.write_text(f'#!/bin/sh\nexec "{sys.executable}" -m tracejit "$@"\n')
    command.chmod(0o755)
    package = Path(tj.__file__).parent.parent
    env = {**os.environ, "PYTHONPATH": str(package)}
    env["PATH"] = f"{tmp_path}{os.pathsep}{env['PATH']}"
    (line,) = (x for x in run("--help").stdout.splitlines() if "bash_source" in x)

    def complete(*words):
        text = f"""
        {line.strip()}
        COMP_WORDS=({" ".join(words)}) COMP_CWORD={len(words) - 1}
        _tracejit_completion tracejit
        printf '%s\\n' "${{COMPREPLY[@]}}"
        """
        done = subprocess.run(
            ["bash", "-c", text], env=env, capture_output=True, text=True, check=True
        )
        return done.stdout.split()

    return complete


def test_bash_completes_commands(shell):
    assert shell("tracejit", "do") == ["doctor"]
    assert shell("tracejit", "''") == [*COMMANDS]


def test_bash_completes_options_and_values(shell):
    assert shell("tracejit", "nan", "--inf") == ["--infinities"]
    assert shell("tracejit", "cache", "pr") == ["prune"]
