"""`debug.reduce`: planted faults in large programs become small ones."""

from unittest import mock

import numpy as np
import pytest

import tracejit as tj
from tracejit.codegen.llvm.limits import LLVM
from tracejit.debug.bisect import bisect_passes
from tracejit.debug.reduce import reduce
from tracejit.errors import TracejitError
from tracejit.ir.graph import Graph, subgraphs
from tracejit.ir.ops.elementwise import add_p, sub_p, tanh_p
from tracejit.ir.ops.loops import scan_p
from tracejit.ir.ops.shape import reduce_sum_p
from tracejit.ir.verify import verify
from tracejit.passes.pipelines import pipeline

from .faults import wrong_rule

PASSES = pipeline(LLVM)


def add_for_sub(b, primitive, ins, params):
    return (b.emit(add_p, *ins),) if len({x.aval for x in ins}) == 1 else None


def network(x, w, v):
    h = np.tanh(x @ w) @ v
    h = np.exp(h - h.max(axis=1, keepdims=True))
    return h / h.sum(axis=1, keepdims=True), np.sort(h, axis=0), x.T


def traced(function, *args) -> Graph:
    return tj.jit(function).trace(*args).graph


def is_wrong(graph, passes):
    found = bisect_passes(graph, passes)
    return found is not None and found.rule == "add_for_sub"


def test_a_wrong_rule_is_left_with_the_equation_it_rewrites():
    args = np.ones((12, 20)), np.ones((20, 16)), np.ones((16, 16))
    with wrong_rule("add_for_sub", sub_p, add_for_sub):
        found = reduce(traced(network, *args), PASSES, is_wrong)
    assert found.is_complete
    assert [e.primitive.name for e in found.graph.eqns] == ["sub"]
    assert found.pipeline == "canonicalize"
    assert all(set(a.shape) <= {1} for a in found.graph.in_avals)
    verify(found.graph)


def test_what_does_not_fail_is_refused():
    graph = traced(lambda x: x - 1, np.ones(3))
    with pytest.raises(TracejitError, match="does not fail"):
        reduce(graph, PASSES, is_wrong)


def names(graph: Graph) -> list[str]:
    return [e.primitive.name for e in graph.eqns]


def test_checks_of_ones_own():
    def has_sum_of_tanh(graph, passes):
        made = {v for e in graph.eqns if e.primitive is tanh_p for v in e.outvars}
        sums = [e for e in graph.eqns if e.primitive is reduce_sum_p]
        return any(e.invars[0] in made for e in sums)

    def long(x):
        for k in range(40):
            x = np.sin(x) + k
        y = np.tanh(x)
        return np.exp(y), y.sum(axis=1), np.cos(y)

    found = reduce(traced(long, np.ones((8, 30))), PASSES, has_sum_of_tanh)
    assert names(found.graph) == ["tanh", "reduce_sum"]
    assert len(found.graph.invars) == 1
    assert found.passes == ()


def test_loops_are_opened_or_shortened():
    def loop(x):
        return tj.scan(lambda c, _: (np.tanh(c) * 2 - c, None), x, None, length=50)[0]

    graph = traced(loop, np.ones(5))

    def has_tanh(graph, passes=()):
        inner = (g for e in graph.eqns for g in subgraphs(e.params))
        return "tanh" in names(graph) or any(map(has_tanh, inner))

    assert names(reduce(graph, PASSES, has_tanh).graph) == ["tanh"]

    def has_loop(graph, passes):
        return any(e.primitive is scan_p for e in graph.eqns)

    (left,) = reduce(graph, PASSES, has_loop).graph.eqns
    assert left.params["length"] == 1
    assert not left.params["body"].eqns


def test_time_runs_out():
    graph = traced(lambda x: np.sin(np.cos(np.tanh(x))), np.ones(3))
    now = [0.0]

    def fails_slowly(graph, passes):
        now[0] += 4.0
        return True

    with mock.patch("time.monotonic", lambda: now[0]):
        found = reduce(graph, PASSES, fails_slowly, seconds=5.0)
    assert not found.is_complete
    assert found.tried == 2
    assert len(found.graph.eqns) < 3
