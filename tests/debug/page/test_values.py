"""Values keep their names through passes; what a pass did is found by them."""

from itertools import pairwise

import pytest

from tracejit.debug.page.graphs import (
    ADDED,
    CHANGED,
    REMOVED,
    SAME,
    Lines,
    stages_of,
)
from tracejit.debug.page.values import Flat, Values
from tracejit.ir.parser import parse_graphs

from . import models


def graph(body, head="%x: f32[8]", result="f32[8]"):
    [found] = parse_graphs(f"graph @f({head}) -> ({result}) {{\n{body}\n}}")
    return found


def compared(before, after, **kind):
    """Return the marked lines of a pass from one graph to another."""
    values, lines = Values(), Lines()
    flats = [
        ("traced", values.add(graph(before, **kind))),
        ("pass", values.add(graph(after, **kind))),
    ]
    stages = stages_of(flats, values, lines)
    if len(stages) == 1:
        return []
    return [
        (mark, lines.all[line].text)
        for line, _, mark, _ in stages[1].rows
        if mark != SAME
    ]


CHAIN = """
  %0: f32[8] = tanh %x
  %1: f32[8] = exp %0
  %2: f32[8] = mul %1, %x
  return %2"""


def test_a_graph_made_anew_is_the_same():
    assert compared(CHAIN, CHAIN) == []


def test_numbers_of_what_stays_stay():
    dead = CHAIN.replace("%1: f32[8] = exp", "%9: f32[8] = sin %x\n  %1: f32[8] = exp")
    assert compared(dead, CHAIN) == [(REMOVED, "%1: f32[8] = sin %x")]


def test_what_replaces_an_equation_is_a_change_of_its_value():
    after = CHAIN.replace("exp %0", "sin %0")
    assert compared(CHAIN, after) == [(CHANGED, "%1: f32[8] = sin %0")]


def test_a_contraction_is_one_change_and_one_removal():
    before = """
  %0: f32[8] = mul %x, %x
  %1: f32[8] = add %0, 1.0
  %2: f32[8] = sin %1
  return %2"""
    after = """
  %0: f32[8] = fma %x, %x, 1.0
  %1: f32[8] = sin %0
  return %1"""
    assert compared(before, after) == [
        (REMOVED, "%0: f32[8] = mul %x, %x"),
        (CHANGED, "%1: f32[8] = fma %x, %x, 1.0"),
    ]


def test_a_new_equation_is_added_where_it_stands():
    after = """
  %0: f32[8] = tanh %x
  %1: f32[8] = exp %0
  %5: f32[8] = neg %x
  %2: f32[8] = mul %1, %5
  return %2"""
    assert compared(CHAIN, after) == [
        (ADDED, "%3: f32[8] = neg %x"),
        (CHANGED, "%2: f32[8] = mul %1, %3"),
    ]


def test_equations_that_go_into_a_group_are_the_same():
    after = """
  %2: f32[8] = fusion %x {graph=graph @k(%x: f32[8]) -> (f32[8]) {
      %0: f32[8] = tanh %x
      %1: f32[8] = exp %0
      %2: f32[8] = mul %1, %x
      return %2
    }, space=(8), reduced=()}
  return %2"""
    found = compared(CHAIN, after)
    assert {mark for mark, _ in found} == {ADDED}
    assert [text.split(" {")[0] for _, text in found] == [
        "%2: f32[8] = fusion %x",
        "return %2",
        "}, space=(8), reduced=()}",
    ]


def test_repeated_equations_are_paired_each_once():
    twice = """
  %0: f32[8] = tanh %x
  %1: f32[8] = tanh %x
  %2: f32[8] = add %0, %1
  return %2"""
    once = """
  %0: f32[8] = tanh %x
  %1: f32[8] = add %0, %0
  return %1"""
    assert compared(twice, once) == [
        (REMOVED, "%1: f32[8] = tanh %x"),
        (CHANGED, "%2: f32[8] = add %0, %0"),
    ]


def test_results_without_equations():
    assert compared("  return %x", "  return %x") == []
    kind = {"result": "f32[]"}
    assert compared("  return 1.0:f32", "  return 1.0:f32", **kind) == []


@pytest.fixture(scope="module")
def lowered():
    return models.lowered_gradient()


def test_lines_of_each_stage_are_the_graph(lowered):
    """What the page shows parses, and is the graph after that pass."""
    values, lines = Values(), Lines()
    graphs = [("traced", lowered.recording.graph), *lowered.graphs]
    flats = [(name, values.add(g)) for name, g in graphs]
    stages = stages_of(flats, values, lines)
    assert stages[0].name == "traced"
    assert "fuse" in [s.name for s in stages]
    after = dict(graphs)
    for stage in stages:
        text = "\n".join(
            "  " * depth + lines.all[line].text
            for line, depth, mark, _ in stage.rows
            if mark != REMOVED
        )
        [parsed] = parse_graphs(text)
        assert parsed.key == after[stage.name].key


def test_marks_count_equations(lowered):
    values, lines = Values(), Lines()
    graphs = [("traced", lowered.recording.graph), *lowered.graphs]
    stages = stages_of([(n, values.add(g)) for n, g in graphs], values, lines)
    by_name = {s.name: s for s in stages}
    for before, after in pairwise(stages):
        added, removed = after.counts.get(ADDED, 0), after.counts.get(REMOVED, 0)
        assert after.equations == before.equations + added - removed
    assert by_name["cse"].counts[REMOVED] > 5
    assert by_name["fuse"].groups > 1
    assert set(by_name["fuse"].counts) == {SAME}


def test_names_are_different_and_can_be_parsed():
    values = Values()
    body = "  %h: f32[8] = tanh %x\n  %1: f32[8] = exp %h\n  return %1"
    flat = values.add(graph(body))
    var = flat.graph.eqns[0].outvars[0]
    names = [values._name(n) for n in ("h", "h", "x", "", "12", "a-b")]
    assert var.name == "h"
    assert names == ["h.1", "h.2", "x.1", "1", "2", "a_b"]
    assert len({*values.names, *names}) == len(values.names) + len(names)


def test_bodies_of_loops_are_inside():
    lowered = models.tj.jit(models.walk).lower(models.floats(3))
    flat = Flat(lowered.recording.graph)
    [scan] = [n for n in flat.nodes if n.eqn.primitive.name == "scan"]
    inside = [n for n in flat.nodes if n.depth > scan.depth]
    assert "sin" in {n.eqn.primitive.name for n in inside}
