"""`tracejit opt`: what it prints where, its switches, its errors."""

import json
import re
from pathlib import Path

from click.testing import CliRunner

from tracejit import passes
from tracejit.cli import opt as opt_module
from tracejit.cli.main import main
from tracejit.cli.opt import PASS_RULES, rules
from tracejit.errors import VerifyError
from tracejit.ir.graph import Graph
from tracejit.passes.manager import Pass
from tracejit.passes.pipelines import known_passes

GRAPH = """\
graph @f(%x: f32[3], %y: f32[3]) -> (f32[3]) {
  %0: f32[3] = exp %x  ; a.py:1
  %1: f32[3] = exp %x  ; a.py:2
  %2: f32[3] = mul %0, 1.0
  %3: f32[3] = mul %2, %1
  %4: f32[3] = add %3, %y
  %5: f32[3] = log %y
  return %4
}
"""
SHORTEST = """\
graph @f(%x: f32[3], %y: f32[3]) -> (f32[3]) {
  %0: f32[3] = exp %x  ; a.py:1
  %1: f32[3] = fma %0, %0, %y
  return %1
}
"""
ALL = "canonicalize,cse,dce,fma"


def run(*args, text=GRAPH):
    return CliRunner().invoke(main, ["opt", "-", *args], input=text)


def result(*args, text=GRAPH):
    found = run(*args, text=text)
    assert found.exit_code == 0, found.output
    return found


def refused(*args, text=GRAPH, code=2):
    found = run(*args, text=text)
    assert found.exit_code == code, found.output
    assert not found.stdout
    return found.stderr


# --- results ----------------------------------------------------------------------


def test_without_passes_the_text_comes_back():
    found = result()
    assert found.stdout == GRAPH
    assert not found.stderr


def test_passes_run_in_order():
    assert result("-p", ALL).stdout == SHORTEST


def test_reads_a_file(tmp_path):
    path = tmp_path / "graph.tir"
    path.write_text(GRAPH)
    found = CliRunner().invoke(main, ["opt", str(path), "-p", ALL])
    assert found.stdout == SHORTEST


def test_result_can_be_piped_on():
    first = result("-p", "canonicalize,cse").stdout
    assert result("-p", "dce,fma", text=first).stdout == SHORTEST


def test_each_graph_of_a_text():
    two = GRAPH + GRAPH.replace("@f", "@g")
    assert result("-p", ALL, text=two).stdout == SHORTEST + SHORTEST.replace("@f", "@g")


# --- reports ----------------------------------------------------------------------


def test_print_after_goes_to_stderr():
    found = result("-p", ALL, "--print-after=cse", "--verify-each")
    assert found.stdout == SHORTEST
    assert found.stderr.startswith("; after cse\ngraph @f")
    assert found.stderr.count("; after") == 1
    assert "mul %0, %0" in found.stderr


def test_print_after_all():
    found = result("-p", ALL, "--print-after=all")
    assert re.findall("; after (.*)", found.stderr) == ALL.split(",")


def test_print_changed_says_what_did_not_change():
    found = result("-p", "fold,cse", "--print-changed")
    assert found.stderr.startswith("; after fold: no change\n; after cse\ngraph")


def test_time_passes():
    text = result("-p", ALL, "--time-passes").stderr
    for name in (*ALL.split(","), "all"):
        assert re.search(rf"{name}\s+│\s+\d+\.\d+ │", text)


def test_stats_count_rewrites_by_pass_and_rule():
    text = result("-p", ALL, "--stats").stderr
    assert re.search(r"canonicalize\s+│ mul_one\s+│\s+1 │", text)
    assert re.search(r"dce\s+│ dead_equation\s+│\s+1 │", text)
    assert re.search(r"all\s+│\s+│\s+4 │", text)


# --- switches of rewriting --------------------------------------------------------


def test_bisect_limit_stops_after_that_many_rewrites():
    assert result("-p", ALL, "--bisect-limit=0").stdout == GRAPH
    assert "mul %0, 1.0" not in result("-p", ALL, "--bisect-limit=1").stdout
    assert "log" in result("-p", ALL, "--bisect-limit=2").stdout
    assert result("-p", ALL, "--bisect-limit=4").stdout == SHORTEST


def test_disable_rule():
    assert "mul %0, 1.0" in result("-p", ALL, "--disable-rule=mul_one").stdout
    text = result("-p", ALL, "--disable-rule=dead_equation").stdout
    assert "log" in text
    assert "fma" in text


def test_rules_of_passes_are_those_that_passes_ask_for():
    texts = (p.read_text("utf-8") for p in Path(passes.__file__).parent.glob("*.py"))
    asked = {name for text in texts for name in re.findall(r'may_fire\("(\w+)"', text)}
    assert asked == set(PASS_RULES)


def test_list_names_passes_and_rules():
    found = CliRunner().invoke(main, ["opt", "--list"])
    assert found.exit_code == 0
    for name in (*known_passes(), *rules()):
        assert f"  {name} " in found.stdout


# --- errors -----------------------------------------------------------------------


def test_parse_error_has_line_and_column():
    text = GRAPH.replace("log %y", "lug %y")
    assert refused(text=text, code=1) == (
        "Error: <stdin>:7:16: expected the name of a primitive, found 'lug'\n"
        "    %5: f32[3] = lug %y\n"
        "                 ^\n"
    )


def test_verify_error_has_line_and_column():
    text = GRAPH.replace("%3: f32[3] = mul", "%3: f32[4] = mul")
    assert refused(text="\n" + text, code=1) == (
        "Error: <stdin>:6:3: invariant V3 is broken in @f: results are [f32[4]], "
        "expected [f32[3]]\n"
        "    %3: f32[4] = mul %2, %1\n"
        "    ^\n"
    )


def test_error_in_the_second_graph_names_its_line():
    bad = GRAPH.replace("%3: f32[3] = mul", "%3: f32[4] = mul")
    found = run(text=GRAPH + bad)
    assert found.exit_code == 1
    assert "<stdin>:14:3: invariant V3" in found.stderr


def test_end_of_text():
    assert "<stdin>:2:" in refused(text=GRAPH.splitlines()[0] + "\n", code=1)


def test_unknown_pass_names_those_there_are():
    text = refused("-p", "canonicalise")
    assert "no pass is called 'canonicalise'; there are raise, reroll, expand" in text


def test_unknown_option_of_a_pass():
    text = refused("-p", "cse{most=32}")
    assert "pass cse has no option 'most'; it has none" in text


def test_options_of_passes_are_passed_on(monkeypatch):
    given = []

    def with_options(max_ops):
        given.append(max_ops)
        return lambda graph, context: graph

    one = Pass("fuse", lambda g, c: g, "", {"max-ops": int}, with_options)
    monkeypatch.setattr(opt_module, "known_passes", lambda: {"fuse": one})
    assert result("-p", "fuse{max-ops=32}").stdout == GRAPH
    assert given == [32]
    assert "takes a int, not 'many'" in refused("-p", "fuse{max-ops=many}")


def test_fusion_up_to_a_number_of_equations():
    assert result("-p", "dce,fuse").stdout.count(" = fusion ") == 1
    assert result("-p", "dce,fuse{max-ops=2}").stdout.count(" = fusion ") > 1


def test_unknown_rule_names_those_like_it():
    text = refused("-p", "cse", "--disable-rule=mul_on")
    assert "no such rule; do you mean mul_one" in text


def test_print_after_a_pass_that_does_not_run():
    text = refused("-p", "cse", "--print-after=dce")
    assert "--print-after=dce: the pipeline runs cse" in text


def test_missing_file():
    found = CliRunner().invoke(main, ["opt", "nowhere.tir"])
    assert found.exit_code == 2
    assert "nowhere.tir" in found.stderr


def test_pass_that_breaks_the_graph_is_a_fault_of_the_compiler(monkeypatch):
    def drop_first(graph, context):
        return Graph(graph.name, graph.invars, graph.outvars, graph.eqns[1:])

    broken = Pass("drop", drop_first, "breaks every graph")
    monkeypatch.setattr(opt_module, "known_passes", lambda: {"drop": broken})
    found = run("-p", "drop", "--verify-each")
    assert found.exit_code == 1
    assert isinstance(found.exception, VerifyError)
    assert "after pass drop" in found.exception.__notes__


# --- JSON -------------------------------------------------------------------------


def test_json_has_what_was_asked_for():
    document = json.loads(result("-p", ALL, "--json").stdout)
    assert document == {"graphs": [SHORTEST.rstrip()]}
    options = ("--stats", "--time-passes", "--print-after=cse", "--json")
    found = result("-p", ALL, *options)
    document = json.loads(found.stdout)
    assert not found.stderr
    assert list(document["seconds"]) == ALL.split(",")
    assert document["rewrites"]["canonicalize"] == {"mul_one": 1}
    (after,) = document["after"]
    assert after["pass"] == "cse"
    assert after["graph"].startswith("graph @f")


def test_json_of_changed_graphs():
    document = json.loads(result("-p", "dce,dce", "--print-changed", "--json").stdout)
    assert [x["pass"] for x in document["after"]] == ["dce"]
