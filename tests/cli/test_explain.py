"""`tracejit explain`: calls from the command line and from Python, text and JSON."""

import json

import pytest
from click.testing import CliRunner

from tracejit.cli.main import main

MODEL = """
import numpy as np
import tracejit as tj

W = np.ones(4)
print("loading")

def scaled(x, n=2):
    return x * W * n

def centred(x):
    return x - x.mean(0)

one_call = (np.ones(4),)
keywords = {"x": np.ones(4), "n": 5}
calls = [(np.ones(4),), np.ones(4, np.float32), {"x": np.ones(4), "n": 3}]
nothing = []

def forgetful():
    scaled(np.ones(4))

def replacing():
    global W
    yield np.ones(4)
    W = np.zeros(4)
    yield np.ones(4)

def deep():
    return [(np.ones((4, n)),) for n in range(1, 12)]
"""


@pytest.fixture
def model(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "model.py").write_text(MODEL)
    return tmp_path


def run(*args):
    return CliRunner().invoke(main, args)


def shown(*args):
    result = run("explain", *args)
    assert result.exit_code == 0, result.output
    return result.stdout


def document(*args):
    return json.loads(shown(*args, "--json"))


def codes(*args):
    return [f["code"] for f in document(*args)["findings"]]


def test_one_call_from_the_command_line(model):
    text = shown("model.py:centred", "--arg", "f64[4,3]")
    assert text.startswith("centred: 1 trace, 2 kernels, 2 steps")
    assert "BACK: elements cannot use sums" in text
    assert "at model.py:12 → sub at model.py:12" in text
    assert "try: put the reduced axis last" in text


def test_json_has_all_of_a_finding(model):
    found = document("model.py:centred", "--arg", "f64[4,3]")
    assert found["function"] == "centred"
    assert found["summary"]["kernels"] == 2
    (back,) = [f for f in found["findings"] if f["group"] == "fusion"]
    assert back["code"] == "BACK"
    assert back["sources"] == ["model.py:12"]
    assert back["bytes"] == 24
    assert back["made_at"] == back["used_at"] == "model.py:12"
    assert back["remedy"] == "put the reduced axis last"


@pytest.mark.parametrize("name", ["one_call", "keywords"])
def test_one_call_from_python(model, name):
    found = document("model.py:scaled", "--args-from", f"model.py:{name}")
    assert found["summary"]["traces"] == 1


def test_calls_from_python_show_retraces(model):
    found = document("model.py:scaled", "--args-from", "model.py:calls")
    rows = [f for f in found["findings"] if f["group"] == "retrace"]
    assert [r["code"] for r in rows] == ["RETRACE_DTYPE", "RETRACE_INT"]
    assert rows[0]["subject"] == "x"
    assert (rows[0]["before"], rows[0]["after"]) == ("f64[4]", "f32[4]")
    assert (rows[1]["trace"], rows[1]["closest"]) == (3, 1)


def test_a_generator_may_change_what_is_captured(model):
    found = codes("model.py:scaled", "--args-from", "model.py:replacing")
    assert found[0] == "RETRACE_CAPTURE"


def test_long_lists_are_cut_unless_all_is_asked_for(model):
    args = ("model.py:centred", "--args-from", "model.py:deep", "--only", "retrace")
    assert "... and 2 more" in shown(*args)
    assert "... and" not in shown(*args, "--all")
    assert "fusion" not in shown(*args)


def test_stdout_has_the_explanation_alone(model):
    result = run("explain", "model.py:scaled", "--arg", "f64[4]", "--json")
    assert "loading" in result.stderr
    json.loads(result.stdout)


def test_trace_and_emit_take_arguments_from_python(model):
    args = ("model.py:scaled", "--args-from", "model.py:keywords")
    traced = run("trace", *args, "--level", "graph")
    assert "graph @scaled(%x: f64[4]" in traced.stdout
    emitted = run("emit", *args)
    assert "kernel @scaled_k0" in emitted.stdout


@pytest.mark.parametrize(
    ("args", "message"),
    [
        (("--args-from", "model.py:calls", "--arg", "1"), "either --arg or --args-fr"),
        (("--args-from", "model.py:nothing"), "holds no calls"),
        (("--args-from", "model.py:forgetful"), "it returns nothing; return the"),
        (("--args-from", "model.py:missing"), "has no arguments 'missing'"),
        (("--args-from", "model.py"), "names no arguments"),
        (("--arg", "f64[4]", "--arg", "1", "--arg", "2"), "does not take these"),
    ],
)
def test_wrong_command_lines(model, args, message):
    result = run("explain", "model.py:scaled", *args)
    assert result.exit_code == 2
    assert message in result.stderr


def test_profile_and_view_take_arguments_from_python(model):
    args = ("model.py:centred", "--args-from", "model.py:deep")
    found = json.loads(run("view", *args, "--json").stdout)
    assert found
    result = run("profile", *args, "--calls", "2", "--arg", "f64[4]")
    assert "either --arg or --args-from" in result.stderr
