"""`tracejit profile`: functions, scripts, JSON, traces, mistakes. No times."""

import json

import numpy as np
import pytest
from click.testing import CliRunner

from tracejit import config
from tracejit.cli.main import main
from tracejit.cli.profile import with_samples
from tracejit.debug import machine

from ..debug.conftest import LIMITS

MODEL = """
import sys
import threading
import numpy as np
import tracejit as tj

def softmax(x):
    e = np.exp(x - x.max(axis=1, keepdims=True))
    return e / e.sum(axis=1, keepdims=True)

@tj.jit
def total(x):
    return np.sort(x).sum()

def main():
    x = np.ones((20, 30))
    total(x)
    worker = threading.Thread(target=lambda: total(x))
    worker.start()
    worker.join()
    print("arguments:", sys.argv[1:])

if __name__ == "__main__":
    main()
    sys.exit(int(sys.argv[2]) if len(sys.argv) > 2 else 0)
"""


@pytest.fixture(autouse=True)
def known_machine(monkeypatch):
    monkeypatch.setattr(machine, "limits", lambda threads=None: LIMITS)


@pytest.fixture
def model(tmp_path):
    path = tmp_path / "profiled_model.py"
    path.write_text(MODEL)
    return path


def run(*arguments, code=0):
    result = CliRunner().invoke(main, ["profile", *map(str, arguments)])
    assert result.exit_code == code, result.output
    return result


def test_a_function_is_called_with_samples(model):
    text = run(f"{model}:softmax", "--arg", "f32[16,8]", "--calls", "3").stdout
    assert "softmax: 3 calls" in text
    assert "kernel softmax_k0_max_exp_sum" in text
    assert "profiled_model.py:8" in text
    assert "memory: peak" in text


def test_json_has_the_same(model):
    arguments = ("--arg", "f64[16,8]", "--calls", "2", "--threads", "1", "--json")
    document = json.loads(run(f"{model}:total", *arguments).stdout)
    [function] = document["functions"]
    assert (function["name"], function["calls"]) == ("total", 2)
    assert function["threads"] == 1
    assert list(document["limits"]) == ["1"]


def test_a_script_runs_once_with_its_arguments(model, tmp_path):
    trace = tmp_path / "trace.json"
    result = run(model, "--json", "--trace", trace, "--", "--epochs", "0")
    document = json.loads(result.stdout)
    assert {f["name"]: f["calls"] for f in document["functions"]} == {"total": 2}
    assert "arguments: ['--epochs', '0']" in result.stderr
    assert json.loads(trace.read_text())["traceEvents"]
    assert not config.get("profile")


def test_a_script_that_ends_with_an_error_is_said_to(model):
    assert "ended with exit code 3" in run(model, "--", "x", "3").stderr


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["{model}:missing"], "has no function 'missing'"),
        (["{model}", "--arg", "f32[3]"], "need a function"),
        (["{model}", "--calls", "3"], "need a function"),
        (["{model}x.py"], "there is no file"),
        (["{model}:softmax", "--", "f32[3]"], "takes its arguments by --arg"),
        (["{model}:softmax"], "does not take these arguments"),
    ],
)
def test_mistakes_on_the_command_line(model, arguments, message):
    result = run(*(a.format(model=model) for a in arguments), code=2)
    assert message in result.output


def test_errors_of_the_function_show_its_line(tmp_path):
    path = tmp_path / "wrong.py"
    path.write_text("def f(x):\n    return x @ x\n")
    result = run(f"{path}:f", "--arg", "f32[2,3]", code=1)
    assert "wrong.py" in result.output


def test_arrays_given_as_types_get_values_and_others_keep_theirs():
    kept = np.arange(3.0)
    args, kwargs = with_samples(([np.zeros((4, 5)), kept, 2], {"n": np.zeros(3)}), 0)
    assert args[0].any()
    assert args[1] is kept
    assert args[2] == 2
    assert kwargs["n"].any()
