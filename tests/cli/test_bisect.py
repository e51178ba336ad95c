"""`tracejit run`, `diff`, `bisect`, `reduce` and `repro`: output, JSON, exit codes."""

import json
import sys
from pathlib import Path
from unittest import mock

import click
import numpy as np
import pytest
from click.testing import CliRunner

import tracejit as tj
from tests.debug.faults import CRASH, HANG, deadly_code, wrong_rule
from tracejit import config
from tracejit.cli.functions import user_errors
from tracejit.cli.main import main
from tracejit.debug import levels
from tracejit.debug.repro import Repro
from tracejit.errors import InternalError
from tracejit.ir import simplify
from tracejit.ir.ops.elementwise import add_p, sub_p
from tracejit.ir.parser import parse_graph
from tracejit.ir.rewrite import RuleSet
from tracejit.passes import canonicalize, pipelines
from tracejit.program.lower import lower_graph

GRAPH = """\
graph @f(%x: f32[4], %y: f32[4]) -> (f32[4], f32[4]) {
  %0: f32[4] = sub %x, %y  ; a.py:1
  %1: f32[4] = exp %0  ; a.py:2
  %2: f32[4] = sin %y  ; a.py:3
  return %1, %2
}
"""


def add_for_sub(b, primitive, ins, params):
    return (b.emit(add_p, *ins),) if len({x.aval for x in ins}) == 1 else None


@pytest.fixture
def wrong():
    with wrong_rule("add_for_sub", sub_p, add_for_sub):
        yield


@pytest.fixture
def file(tmp_path):
    path = tmp_path / "graph.tir"
    path.write_text(GRAPH)
    return str(path)


def run(*args, code=0):
    found = CliRunner().invoke(main, [*map(str, args)], catch_exceptions=False)
    assert found.exit_code == code, found.output
    return found.output


COMMANDS = ("run", "diff", "bisect", "reduce", "repro")


@pytest.mark.parametrize("name", COMMANDS)
def test_help_has_examples_and_exit_codes(name):
    text = run(name, "--help")
    assert f"tracejit {name} " in text
    assert "Exit codes:" in text
    assert name in run("--help")


# --- run --------------------------------------------------------------------------


def test_run_shows_results_and_checks_them(file):
    text = run("run", file, "--check", "interp", "--samples", "all", "--seed", 3)
    assert text.count("@f, ") == 3
    assert "0: f32[4] = " in text
    assert text.count("right: as in the interpreter") == 3


def test_run_takes_functions(tmp_path):
    path = tmp_path / "model.py"
    path.write_text("import numpy as np\n\n\ndef f(x):\n    return np.exp(x).sum()\n")
    document = json.loads(run("run", f"{path}:f", "--arg", "f32[3]", "--json"))
    (ran,) = document["runs"]
    assert ran["graph"] == "f"
    assert ran["results"][0].startswith("0: f32[] = ")
    assert not ran["wrong"]


def test_run_says_what_is_wrong(file, wrong):
    text = run("run", file, "--check", "interp", code=3)
    assert "wrong: result 0[" in text


# --- diff -------------------------------------------------------------------------


def test_diff_of_equal_graphs(file, tmp_path):
    other = tmp_path / "other.tir"
    other.write_text(GRAPH.replace("%x", "%first").replace("a.py", "b.py"))
    assert run("diff", file, other) == "@f: equal\n"
    assert json.loads(run("diff", file, other, "--json"))["graphs"][0]["equal"]


def test_diff_of_different_graphs(file, tmp_path):
    other = tmp_path / "other.tir"
    other.write_text(GRAPH.replace("exp", "log"))
    assert run("diff", file, other, code=3) == (
        "@f\n- %1: f32[4] = exp %0  ; a.py:2\n+ %1: f32[4] = log %0  ; a.py:2\n"
    )
    other.write_text(GRAPH + GRAPH)
    assert "in the second file alone" in run("diff", file, other, code=3)
    assert "cannot be read" in run("diff", file, tmp_path / "none.tir", code=2)


# --- bisect -----------------------------------------------------------------------


def test_bisect_finds_nothing(file):
    assert run("bisect", file) == "nothing is wrong\n"
    assert json.loads(run("bisect", file, "--json")) == {"culprits": []}


def test_bisect_prints_the_rewrite(file, wrong):
    text = run("bisect", file, code=3)
    assert "pass at fault: canonicalize\nrewrite: 1 of 1, by add_for_sub\n" in text
    assert "lines: a.py:1" in text
    assert "  - %0: f32[4] = sub %x, %y  ; a.py:1" in text
    (found,) = json.loads(run("bisect", file, "--json", code=3))["culprits"]
    assert (found["level"], found["rule"]) == ("pass", "add_for_sub")
    assert found["change"]["changes"][0]["kind"] == "changed"


SETTLE = """\
import numpy as np
import tracejit as tj


def settle(x, turns):
    def goes_on(state):
        return state[1] < turns

    def turn(state):
        return np.tanh(state[0] - x), state[1] + 1

    return tj.while_loop(goes_on, turn, (x, np.int64(0)))
"""


@pytest.fixture
def settle(tmp_path):
    path = tmp_path / "settle.py"
    path.write_text(SETTLE)
    return f"{path}:settle", "--arg", "f32[4]"


def test_rules_that_traces_apply_are_named_too(settle, wrong):
    rules = RuleSet(canonicalize.LOWERING_RULES.rules[:1])  # the wrong one
    with mock.patch.object(simplify, "SIMPLIFY", rules):
        text = run("bisect", *settle, "--arg", "9", code=3)
        assert "by add_for_sub" in text
        assert "settle.py:10" in text
        assert "wrong: " in run("run", *settle, "--arg", "9", "--check=interp", code=3)


def test_where_no_sample_ends_nothing_is_right(settle):
    said = run("bisect", *settle, "--arg", "3000", code=1)
    assert "on all samples a loop runs for more than 2000 turns" in said
    assert "try: another --seed" in said


def test_readers_may_leave():
    """Click ends the command then: `tracejit trace FILE:FUNC | head`."""
    with pytest.raises(BrokenPipeError), user_errors():
        click.echo("text", file=mock.Mock(write=mock.Mock(side_effect=BrokenPipeError)))


def test_bisect_with_a_program_as_the_check(file, tmp_path):
    script = tmp_path / "check.py"
    script.write_text(
        "import sys\ntext = open(sys.argv[1]).read()\n"
        "sys.exit('no sub' if ' sub ' not in text else 0)\n"
    )
    check = f"{sys.executable} {script}"
    passes = ("-p", "canonicalize,cse,dce")
    assert run("bisect", file, "--check", check, *passes) == "nothing is wrong\n"
    with wrong_rule("add_for_sub", sub_p, add_for_sub):
        text = run("bisect", file, "--check", check, *passes, code=3)
    assert "by add_for_sub" in text
    assert "wrong: exit code 1: no sub" in text


def test_a_program_that_hangs_is_a_check_too(file, tmp_path):
    script = tmp_path / "check.py"
    script.write_text(
        "import sys, time\ntext = open(sys.argv[1]).read()\n"
        "if ' sub ' not in text:\n    time.sleep(600)\n"
    )
    options = ("--check", f"{sys.executable} {script}", "--timeout", "3")
    with wrong_rule("add_for_sub", sub_p, add_for_sub):
        text = run("bisect", file, *options, "-p", "canonicalize", code=3)
    assert "by add_for_sub" in text
    assert "wrong: the command has not ended after 3 s" in text


def test_bisect_with_nan_and_verify(file, wrong):
    assert run("bisect", file, "--check", "nan") == "nothing is wrong\n"
    assert run("bisect", file, "--check", "verify") == "nothing is wrong\n"


def test_bisect_of_unknown_passes_and_rules(file):
    assert "no pass is called" in run("bisect", file, "-p", "nope", code=2)
    assert "no such rule" in run("bisect", file, "--disable-rule", "nope", code=2)


def test_bisect_without_the_rule(file, wrong):
    rule = ("--disable-rule", "mul_one")
    assert "add_for_sub" in run("bisect", file, *rule, code=3)


def test_run_says_what_the_compiler_raises(file):
    broken = mock.Mock(side_effect=RuntimeError("out of luck"))
    with mock.patch.object(pipelines, "plan_memory", broken):
        text = run("run", file, code=3)
    assert "wrong: the compiler: it raises RuntimeError: out of luck (" in text


# --- code that crashes or hangs ---------------------------------------------------


def test_run_goes_on_where_code_crashes(file):
    with deadly_code("fma", CRASH):
        assert "right" in run("run", file, "--check", "interp")
    text = GRAPH.replace("exp %0", "floor %0")
    Path(file).write_text(f"{text}{GRAPH.replace('@f', '@g')}")
    with deadly_code("floor", CRASH):
        said = run("run", file, "--check", "interp", "--samples", "all", code=3)
    assert said.startswith("@f, normal inputs\n  wrong: machine code: it kills the")
    assert said.count("right: as in the interpreter") == 3  # @g on all samples
    with deadly_code("floor", HANG):
        said = run("run", file, "--timeout", "0.5", "--json", code=3)
    first, second = json.loads(said)["runs"]
    assert first["wrong"] == "machine code: it has not ended after 0.5 s"
    assert not second["wrong"]


def test_reduce_of_code_that_crashes(file):
    Path(file).write_text(GRAPH.replace("sin %y", "floor %y"))
    with deadly_code("floor", CRASH):
        assert "SIGSEGV" in run("bisect", file, code=3)
        text = run("reduce", file)
    assert [e.primitive.name for e in parse_graph(text).eqns] == ["floor"]


# --- reduce and repro -------------------------------------------------------------


def test_reduce_prints_a_graph_that_is_run_again(file, tmp_path, wrong):
    text = run("reduce", file)
    assert text.startswith('; RUN: tracejit opt %s -p "canonicalize"\n')
    graph = parse_graph(text)
    assert [e.primitive.name for e in graph.eqns] == ["sub"]
    output = tmp_path / "small.tir"
    assert "1 equations" in run("reduce", file, "-o", output)
    assert "add_for_sub" in run("bisect", output, code=3)
    document = json.loads(run("reduce", file, "--json"))
    assert (document["pipeline"], document["equations"]) == ("canonicalize", 1)


def test_reduce_of_what_does_not_fail(file):
    assert "no graph fails" in run("reduce", file, code=1)


def test_reduce_with_a_program_as_the_check(file, tmp_path):
    script = tmp_path / "check.py"
    script.write_text(
        "import sys\nsys.exit(' exp ' in open(sys.argv[1]).read())  # 1 is wrong\n"
    )
    text = run("reduce", file, "--check", f"{sys.executable} {script}")
    assert [e.primitive.name for e in parse_graph(text).eqns] == ["exp"]


def test_reduce_with_nan_as_the_check(file):
    Path(file).write_text(GRAPH.replace("sin %y", "log %y"))
    text = run("reduce", file, "--check", "nan")
    assert [e.primitive.name for e in parse_graph(text).eqns] == ["log"]


def test_repro_runs_again_what_an_error_wrote(tmp_path, wrong):

    with (
        config.override(validate="end", repro_dir=str(tmp_path)),
        pytest.raises(InternalError),
    ):
        tj.jit(lambda x: x - np.sin(x))(np.ones(5))
    (path,) = tmp_path.glob("*.tir")
    said = run("repro", path, code=3)
    assert said.startswith("it fails again\npass at fault: canonicalize\n")
    assert said.count("wrong: result 0") == 1
    assert json.loads(run("repro", path, "--json", code=3))["fails"]
    assert "sub" in run("reduce", path)


def test_repro_after_the_fault_is_mended(tmp_path):
    with (
        config.override(validate="end", repro_dir=str(tmp_path)),
        wrong_rule("add_for_sub", sub_p, add_for_sub),
        pytest.raises(InternalError),
    ):
        tj.jit(lambda x: x - np.sin(x))(np.ones(5))
    (path,) = tmp_path.glob("*.tir")
    assert run("repro", path) == "nothing failed\n"


def repro_of_two(folder, target, strides):
    """Write a repro of a graph of two results; what it says is left to the caller."""
    graph = tj.jit(lambda x: (np.sin(x), np.cos(x))).trace(np.ones(3)).graph
    path = folder / "repro.tir"
    path.write_text(Repro(graph, "", "error", "", target, strides).as_text())
    assert "no graph fails" in run("reduce", path, code=1)
    return path


@pytest.mark.parametrize(("target", "strides"), [("cuda", [None]), ("cpu", [(2,)])])
def test_reduce_lowers_a_repro_with_its_strides(tmp_path, monkeypatch, target, strides):
    def broken(graph, in_strides, *rest):
        if list(in_strides) == strides:
            raise RuntimeError("out of luck")
        return lower_graph(graph, in_strides, *rest)

    path = repro_of_two(tmp_path, target, strides)
    monkeypatch.setattr(pipelines, "lower_graph", broken)
    assert len(parse_graph(run("reduce", path)).outvars) == 1


def test_reduce_lowers_a_repro_for_its_target(tmp_path, monkeypatch):
    def broken(program):  # what the CPU alone does
        raise RuntimeError("out of luck")

    folders = [tmp_path / target for target in ("cpu", "cuda")]
    for folder in folders:
        folder.mkdir()
    cpu, cuda = (repro_of_two(folder, folder.name, [None]) for folder in folders)
    monkeypatch.setattr(levels, "with_blocks", broken)
    assert len(parse_graph(run("reduce", cpu)).outvars) == 1
    assert "no graph fails" in run("reduce", cuda, code=1)


def test_repro_of_another_text(file):
    assert "this is no repro" in run("repro", file, code=1)
