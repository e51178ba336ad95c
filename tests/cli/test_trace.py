"""`tracejit trace`: its arguments, what it prints at each level, its errors."""

import subprocess
import sys

import click
import numpy as np
import pytest
from click.testing import CliRunner

from tracejit.cli.args import parse_argument
from tracejit.cli.functions import find_function
from tracejit.cli.main import COMMANDS, main
from tracejit.errors import InternalError, ParseError
from tracejit.ir.parser import parse_graphs
from tracejit.stages import Traced

MODEL = """
import numpy as np
import tracejit as tj

def softmax(x):
    e = np.exp(x - x.max(axis=1, keepdims=True))
    return e / e.sum(axis=1, keepdims=True)

@tj.jit
def scaled(x, factor=2.0):
    return x * factor

def mlp(layers, x):
    for w, b in layers:
        x = np.maximum(x @ w + b, 0)
    return x

def heat(u, n):
    for _ in range(n):
        u[1:-1] += 0.1 * (u[2:] - 2 * u[1:-1] + u[:-2])

def decides(x):
    return x if x[0] > 0 else -x

def fails(x):
    return helper(x)

def helper(x):
    raise KeyError("no such weight")

class Model: ...
value = 3
slope = tj.grad(lambda x: x * x)
"""


@pytest.fixture
def model(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "model.py").write_text(MODEL)
    return tmp_path


def run(*args):
    return CliRunner().invoke(main, ["trace", *args])


def shown(*args):
    result = run(*args)
    assert result.exit_code == 0, result.output
    return result.stdout


def refused(*args, code=2):
    result = run(*args)
    assert result.exit_code == code, result.output
    assert "tracejit/tracing" not in result.stderr
    return result.stderr


def headings(text):
    rows = [r for r in text.splitlines() if r.startswith("; ===")]
    return [r.removeprefix("; === ").removesuffix(" ===") for r in rows]


# --- levels -----------------------------------------------------------------------


def test_prints_every_level_in_order(model):
    text = shown("model.py:softmax", "--arg", "f32[4,8]")
    titles = headings(text)
    assert titles[0] == "graph as traced"
    after = [t for t in titles if t.startswith("graph after")]
    assert after == ["graph after fuse"]
    assert titles[-3:] == ["program", "kernels: 1", "llvm"]
    assert "graph @softmax(%x: f32[4,8]) -> (f32[4,8])" in text
    assert "; model.py:6" in text
    assert "reduce max over j" in text
    assert "schedule i: grid, j: vector" in text
    assert "define internal void @softmax_k0_max_exp_sum" in text


def test_names_passes_that_changed_nothing(model):
    text = shown("model.py:scaled", "--arg", "f32[4]", "--level", "passes")
    after = [t for t in headings(text) if t.startswith("graph after")]
    (same,) = [t for t in headings(text) if t.startswith("graph not changed by: ")]
    assert after == ["graph after fuse"]
    assert "cse" in same


def test_pass_that_changed_the_graph_is_shown(model):
    args = ("model.py:heat", "--arg", "f64[10]", "--arg", "n=2", "--level", "passes")
    text = shown(*args)
    assert "graph after fma" in headings(text)
    assert "fma %" in text


@pytest.mark.parametrize(
    ("level", "title", "text"),
    [
        ("graph", "graph as traced", "mul %x, "),
        ("program", "program", "run @scaled_k0"),
        ("kernels", "kernels: 1", "kernel @scaled_k0"),
        ("llvm", "llvm", "define"),
    ],
)
def test_one_level(model, level, title, text):
    found = shown(
        "model.py:scaled", "--arg", "f32[4]", "--arg", "0.5", "--level", level
    )
    assert headings(found) == [title]
    assert text in found


def test_levels_can_be_combined(model):
    args = ("--level", "program", "--level", "kernels")
    found = shown("model.py:scaled", "--arg", "f32[4]", *args)
    assert headings(found) == ["program", "kernels: 1"]


def test_graph_level_is_tir_text(model):
    found = shown("model.py:softmax", "--arg", "f32[4,8]", "--level", "graph")
    assert [g.name for g in parse_graphs(found)] == ["softmax"]


def test_compiles_no_further_than_asked(model, monkeypatch):
    def lower(self):
        raise InternalError("lowered")

    monkeypatch.setattr(Traced, "lower", lower)
    assert "mul" in shown("model.py:scaled", "--arg", "f32[4]", "--level", "graph")


def test_instruction_set(model):
    args = ("model.py:softmax", "--arg", "f32[4,64]", "--level", "llvm", "--isa")
    assert "x float>" in (text := shown(*args, "baseline"))
    assert "<16 x float>" not in text
    assert "<8 x float>" not in text


def test_function_of_a_module(model):
    assert "exp" in shown("model:softmax", "--arg", "f32[4,8]", "--level", "graph")


def test_function_is_not_run_on_arrays(model):
    np.save("x.npy", np.full((2, 2), np.nan, np.float32))
    text = shown("model.py:softmax", "--arg", "@x.npy", "--level", "graph")
    assert "%x: f32[2,2]" in text


def test_nested_and_keyword_arguments(model):
    layers = "[(f32[4,8], f32[8]), (f32[8,2], f32[2])]"
    args = ("--arg", layers, "--arg", "x=f32[3,4]", "--level", "graph")
    assert "-> (f32[3,2])" in shown("model.py:mlp", *args)


def test_derivative(model):
    assert "-> (f64[])" in shown("model.py:slope", "--arg", "0.5", "--level", "graph")


def test_file_that_imports_another_beside_it(model):
    (model / "sub").mkdir()
    (model / "sub" / "near.py").write_text("def f(x):\n    return x + 1\n")
    (model / "sub" / "user.py").write_text("from near import f\n")
    assert "add" in shown("sub/user.py:f", "--arg", "i32[3]", "--level", "graph")


def test_what_the_users_code_prints_goes_to_stderr(model):
    (model / "loud.py").write_text(
        "print('loading')\ndef f(x):\n    print('tracing')\n    return x + 1\n"
    )
    result = run("loud.py:f", "--arg", "i32[3]", "--level", "graph")
    assert result.stdout.startswith("; === graph as traced ===")
    assert result.stderr == "loading\ntracing\n"


def test_file_does_not_hide_a_module_of_its_name(model):
    (model / "json.py").write_text("def f(x):\n    return x + 1\n")
    json = sys.modules["json"]
    assert "add" in shown("json.py:f", "--arg", "i32[3]", "--level", "graph")
    assert sys.modules["json"] is json


# --- errors -----------------------------------------------------------------------


def test_missing_file_names_those_there_are(model):
    assert "there is no file modle.py; . has model.py" in refused("modle.py:softmax")


def test_missing_function_names_those_of_the_file(model):
    text = refused("model.py:soft")
    assert "no function 'soft'; it has softmax, scaled, mlp, heat" in text
    assert "Model" not in text


def test_missing_module(model):
    assert "there is no module 'modle'" in refused("modle:f")


@pytest.mark.parametrize(
    ("name", "kind"), [("Model", "class"), ("value", "int"), ("np", "module")]
)
def test_what_is_no_function(model, name, kind):
    assert f"is a {kind}, not a function" in refused(f"model.py:{name}")


@pytest.mark.parametrize("target", ["model.py", ":f", "model.py:"])
def test_target_without_a_function(target):
    with pytest.raises(click.UsageError, match="names no function"):
        find_function(target)


def test_bad_argument_shows_the_grammar(model):
    text = refused("model.py:softmax", "--arg", "f33[2]")
    assert "--arg f33[2]: expected a value, found 'f33[2]'" in text
    assert "f32[8,16]        an array of that dtype and shape" in text
    assert "dtypes: bool, i8" in text


def test_too_few_arguments(model):
    text = refused("model.py:softmax")
    assert "softmax(x) does not take these arguments: missing" in text


def test_positional_after_keyword(model):
    text = refused("model.py:mlp", "--arg", "x=1", "--arg", "2")
    assert "must stand before keyword ones" in text


def test_function_without_a_signature(model):
    assert "write a Python function" in refused("builtins:iter", "--arg", "1")


def test_trace_error_has_the_users_line_and_no_traceback(model):
    text = refused("model.py:decides", "--arg", "f32[3]", code=1)
    assert "truth value" in text
    assert "at model.py:23" in text
    assert "Traceback" not in text


def test_error_of_the_function_has_only_its_own_frames(model):
    text = refused("model.py:fails", "--arg", "f32[3]", code=1)
    assert text.count("File ") == 2
    assert "in fails" in text
    assert text.endswith("KeyError: 'no such weight'\n")


def test_error_in_the_file_itself(model):
    (model / "broken.py").write_text("import nowhere_to_be_found\n")
    text = refused("broken.py:f", code=1)
    assert "broken.py" in text
    assert "No module named 'nowhere_to_be_found'" in text
    assert "importlib" not in text


def test_fault_of_the_compiler_keeps_its_traceback(model, monkeypatch):
    def lower(self):
        raise InternalError("a bug")

    monkeypatch.setattr(Traced, "lower", lower)
    result = run("model.py:softmax", "--arg", "f32[4,8]")
    assert result.exit_code == 1
    assert isinstance(result.exception, InternalError)


# --- arguments --------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "shape", "dtype"),
    [
        ("f32[8,16]", (8, 16), np.float32),
        ("f64[]", (), np.float64),
        ("bool[0]", (0,), np.bool_),
        (" u8[ 2 , 3, ] ", (2, 3), np.uint8),
        ("c128[1]", (1,), np.complex128),
    ],
)
def test_array_argument(text, shape, dtype):
    _, value = parse_argument(text)
    assert isinstance(value, np.ndarray)
    assert (value.shape, value.dtype) == (shape, dtype)


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("3", 3),
        ("-0.5", -0.5),
        ("1e-3", 1e-3),
        ("2+1j", 2 + 1j),
        ("true", True),
        ("None", None),
        ("inf", float("inf")),
        ("'a, b'", "a, b"),
        ("[]", []),
        ("()", ()),
        ("(1)", 1),
        ("(1,)", (1,)),
        ("[1, (2, 3), none]", [1, (2, 3), None]),
        ("{'a': 1, 'b': {2: [3]}}", {"a": 1, "b": {2: [3]}}),
    ],
)
def test_python_argument(text, value):
    assert parse_argument(text) == (None, value)
    assert type(parse_argument(text)[1]) is type(value)


def test_numpy_scalar_argument():
    assert isinstance(parse_argument("f32")[1], np.float32)


def test_keyword_argument():
    assert parse_argument("rate = 0.1") == ("rate", 0.1)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "expected a value, found the end (line 1, column 1)"),
        ("f32[2", "expected a value, found 'f32[2' (line 1, column 1)"),
        ("[1, 2", "expected ',' or ']', found the end (line 1, column 6)"),
        ("[1 2]", "expected ',' or ']', found '2]' (line 1, column 4)"),
        ("{1 2}", "expected ':', found '2}' (line 1, column 4)"),
        ("{1: 2 3: 4}", "expected ',' or '}', found '3: 4}' (line 1, column 7)"),
        ("{[1]: 2}", "cannot be a key of a dict, found '[1]: 2}' (line 1, column 2)"),
        ("1 2", "expected the end of the argument, found '2' (line 1, column 3)"),
        ("3+", "expected a value, found '3+' (line 1, column 1)"),
        ("@no.npy", "cannot read no.npy: no such file or directory"),
        ("f64[9999999999999999,9]", "does not fit in memory"),
    ],
)
def test_bad_argument(text, message, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(ParseError) as error:
        parse_argument(text)
    assert message in str(error.value)


def test_files_that_are_no_array(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "text.npy").write_text("no array")
    np.savez("two.npz", a=np.ones(2), b=np.ones(3))
    with pytest.raises(ParseError, match=r"text.npy is not a .npy file"):
        parse_argument("@text.npy")
    with pytest.raises(ParseError, match="several arrays"):
        parse_argument("[@two.npz]")


# --- the command itself -----------------------------------------------------------


def test_help_shows_commands_examples_and_exit_codes():
    text = CliRunner().invoke(main, ["--help"]).stdout
    for name in ("trace", "opt", "demo", "Examples:", "Exit codes:"):
        assert name in text


@pytest.mark.parametrize("name", COMMANDS)
def test_help_of_each_command(name):
    result = CliRunner().invoke(main, [name, "--help"])
    assert result.exit_code == 0
    assert COMMANDS[name].help.split()[0] in result.stdout


def test_unknown_command():
    result = CliRunner().invoke(main, ["trcae"])
    assert result.exit_code == 2
    assert "No such command 'trcae'" in result.stderr


def test_help_loads_neither_compiler_nor_commands():
    code = (
        "import sys; from tracejit.cli.main import main\n"
        "try: main(['--help'])\n"
        "except SystemExit: pass\n"
        "heavy = ('llvmlite', 'sklearn', 'matplotlib', 'tracejit.cli.trace',"
        " 'tracejit.cli.opt', 'tracejit.cli.demo')\n"
        "sys.exit(', '.join(m for m in heavy if m in sys.modules) or 0)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
