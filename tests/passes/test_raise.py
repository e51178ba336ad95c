"""The passes `raise` and `expand`: what is found, what is not, and that bits stay."""

import numpy as np
import pytest

import tracejit as tj
from tests.sampling import sampled
from tracejit import config
from tracejit.ir.graph import Eqn, Graph, subgraph
from tracejit.ir.interp import evaluate
from tracejit.ir.ops.composite import COMPOSITES, composite_p
from tracejit.ir.parser import parse_graph
from tracejit.ir.printer import format_graph
from tracejit.ir.raising import RAISE_RULES
from tracejit.ir.rewrite import RuleStats
from tracejit.ir.verify import verify
from tracejit.passes.canonicalize import canonicalize
from tracejit.passes.cse import cse
from tracejit.passes.dce import dce
from tracejit.passes.manager import PassContext
from tracejit.passes.raising import expand_composites, raise_composites

from .spellings import NEAR_MISSES, SPELLINGS, G, Spelling, X, Y, normalised


def traced(fn, *args) -> Graph:
    return tj.jit(fn).trace(*args).graph


def raised(graph: Graph) -> Graph:
    return verify(raise_composites(graph, PassContext()))


def composites(graph: Graph) -> list[Eqn]:
    return [e for e in graph.eqns if e.primitive is composite_p]


def nested_names(graph: Graph) -> set[str]:
    """The composites of a graph and of their expansions."""
    found = set()
    for eqn in composites(graph):
        found |= {eqn.params["name"]} | nested_names(subgraph(eqn.params))
    return found


def assert_same_bits(first: Graph, second: Graph, args) -> None:
    pairs = zip(evaluate(first, args), evaluate(second, args), strict=True)
    for x, y in pairs:
        assert x.tobytes() == y.tobytes()


def cleaned(graph: Graph) -> Graph:
    context = PassContext(verify=True)
    for run in (canonicalize, cse, dce):
        graph = run(graph, context)
    return graph


@pytest.mark.parametrize("s", SPELLINGS, ids=str)
def test_spelling_is_found(s: Spelling):
    graph = raised(traced(s.fn, *s.args))
    found = composites(graph)[-1]
    assert (found.params["name"], found.params["axes"]) == (s.name, s.axes)
    assert dict(found.params["attributes"]) == s.attributes
    others = {e.params["name"] for e in composites(graph)[:-1]}
    # What it is made of went into it. A check of indices stays where it was, too.
    checked = {"pick", "softmax"} if s.name == "log_likelihood" else set()
    assert others <= checked


@pytest.mark.parametrize("s", NEAR_MISSES, ids=str)
def test_near_miss_is_left(s: Spelling):
    graph = traced(s.fn, *s.args)
    assert s.name not in nested_names(raised(graph))
    assert_same_bits(graph, raised(graph), s.args)


@pytest.mark.parametrize("s", SPELLINGS, ids=str)
def test_value_keeps_its_bits(s: Spelling):
    graph = traced(s.fn, *s.args)
    assert_same_bits(graph, raised(graph), s.args)


@pytest.mark.parametrize("s", SPELLINGS, ids=str)
def test_expand_undoes_raise(s: Spelling):
    """After both and the usual cleaning the graph is the one without either."""
    graph = traced(s.fn, *s.args)
    expanded = verify(expand_composites(raised(graph), PassContext()))
    assert not composites(expanded)
    assert sorted(names_of(cleaned(expanded))) == sorted(names_of(cleaned(graph)))
    assert_same_bits(graph, expanded, s.args)


def names_of(graph: Graph) -> list[str]:
    return [e.primitive.name for e in graph.eqns]


@pytest.mark.parametrize("s", SPELLINGS, ids=str)
def test_text_round_trip(s: Spelling):
    graph = raised(traced(s.fn, *s.args))
    again = verify(parse_graph(format_graph(graph)))
    assert format_graph(again) == format_graph(graph)
    assert again.key == graph.key


@pytest.mark.parametrize("s", sampled([*SPELLINGS, *NEAR_MISSES], 2), ids=str)
def test_jit_gives_the_same_bits_with_and_without(s: Spelling):
    results = []
    for on in (True, False):
        with config.override(composites=on):
            results.append(np.asarray(tj.jit(s.fn)(*s.args)))
    assert results[0].tobytes() == results[1].tobytes()


def test_every_composite_and_rule_has_a_spelling():
    assert {s.name for s in SPELLINGS} == set(COMPOSITES)
    stats = RuleStats()
    for s in SPELLINGS:
        context = PassContext(stats=stats)
        raise_composites(traced(s.fn, *s.args), context)
    assert set(stats.fired) == {r.name for r in RAISE_RULES.rules}


# --- intermediates with another use -----------------------------------------------


def centred_and_rooted(x, index):
    m = x.mean(1, keepdims=True)
    d = x - m
    v = (d * d).mean(1, keepdims=True)
    s = np.sqrt(v + 1e-5)
    return d / s, {"mean": m, "centred": d, "variance": v, "deviation": s}


def exponentials_and_total(x, index):
    m = x.max(1, keepdims=True)
    z = x - m
    e = np.exp(z)
    t = e.sum(1, keepdims=True)
    return e / t, {"maximum": m, "shifted": z, "exponentials": e, "total": t}


def scores_and_weights(x, index):
    s = x @ x.T
    p = normalised(s)
    return p @ x, {"scores": s, "weights": p}


def rows_picked(x, index):
    z = x - x.max(1, keepdims=True)
    t = np.log(np.exp(z).sum(1))
    p = z[np.arange(6), index]
    return p - t, {"shifted": z, "logarithm": t, "picked": p}


# What also reads it, and the composites that are left.
OTHER_USES = [
    # With the centred value as its x there is a norm that holds no mean of x.
    (centred_and_rooted, "mean", ["mean", "rms_standardise"]),
    (centred_and_rooted, "centred", ["mean", "rms_standardise"]),
    (centred_and_rooted, "variance", ["mean", "mean"]),
    (centred_and_rooted, "deviation", ["mean", "mean"]),
    (exponentials_and_total, "maximum", []),
    (exponentials_and_total, "shifted", []),
    (exponentials_and_total, "exponentials", []),
    (exponentials_and_total, "total", []),
    (scores_and_weights, "scores", ["softmax"]),
    (scores_and_weights, "weights", ["softmax"]),
    (rows_picked, "shifted", ["pick"]),
    (rows_picked, "logarithm", ["pick"]),
    (rows_picked, "picked", ["pick"]),
]


@pytest.mark.parametrize("how", ["returned", "read"])
@pytest.mark.parametrize(("fn", "name", "left"), OTHER_USES)
def test_intermediate_used_elsewhere_keeps_a_composite_from_being_made(
    fn, name, left, how
):
    def with_another_use(x, index):
        y, inside = fn(x, index)
        return y, inside[name] if how == "returned" else np.sin(inside[name])

    graph = traced(with_another_use, X, Y)
    found = raised(graph)
    assert sorted(e.params["name"] for e in composites(found)) == left
    assert_same_bits(graph, found, (X, Y))
    expanded = expand_composites(found, PassContext())
    assert len(cleaned(expanded).eqns) == len(cleaned(graph).eqns)


@pytest.mark.parametrize("fn", [centred_and_rooted, exponentials_and_total])
def test_without_another_use_it_is_made(fn):
    found = raised(traced(lambda x: fn(x, Y)[0], X))
    assert len(composites(found)) == len(found.eqns) == 1


def test_the_result_of_a_composite_may_be_used_again():
    def fn(x):
        y = centred_and_rooted(x, Y)[0]
        return y * G, np.sin(y)

    names = [e.params["name"] for e in composites(raised(traced(fn, X)))]
    assert names == ["standardise"]  # and no layer norm around it


def test_what_depends_on_no_data_may_be_shared():
    """The counts of rows, and the broadcast of an operand, are no intermediates."""

    def fn(x, y, eps):
        rows = np.arange(6)
        first, second = x[rows, y], np.sin(x)[rows, y]
        norms = [z / np.sqrt((z * z).mean(1, keepdims=True) + eps) for z in (x, x.T)]
        return first, second, norms

    names = [e.params["name"] for e in composites(raised(traced(fn, X, Y, 1e-5)))]
    assert sorted(names) == ["pick", "pick", "rms_standardise", "rms_standardise"]


@pytest.mark.parametrize("inner", ["softmax", "log_softmax"])
def test_likelihood_shares_a_whole_softmax(inner):
    """The derivative of the loss is one of x, whoever reads the probabilities."""

    def fn(x, y):
        p = normalised(x)
        if inner == "log_softmax":
            p = np.log(p)
        loss = p[np.arange(6), y]
        return loss if inner == "log_softmax" else np.log(loss), p

    graph = traced(fn, X, Y)
    found = raised(graph)
    names = {e.params["name"] for e in composites(found)}
    assert names >= {"log_likelihood", inner}
    assert_same_bits(graph, found, (X, Y))


# --- the pass ---------------------------------------------------------------------


def test_nothing_found_is_the_same_graph():
    graph = traced(lambda x: np.sin(x).sum(), X)
    assert raise_composites(graph, PassContext()) is graph
    assert expand_composites(graph, PassContext()) is graph


def test_raising_again_finds_nothing():
    for s in SPELLINGS:
        graph = raised(traced(s.fn, *s.args))
        assert raise_composites(graph, PassContext()) is graph, s


def test_rules_can_be_disabled_and_limited():
    graph = traced(normalised, X)
    off = PassContext(disabled_rules=frozenset(["raise_softmax"]))
    assert raise_composites(graph, off) is graph
    none = PassContext(stats=RuleStats(limit=0))
    assert raise_composites(graph, none) is graph
    one = PassContext(stats=RuleStats(limit=1))
    left = raise_composites(graph, one)
    assert expand_composites(left, one) is left


def test_subgraphs_are_raised_and_expanded():
    text = """
    graph @f(%x: f64[6,5]) -> (f64[6]) {
      %0: f64[6] = call %x {graph=graph @g(%x: f64[6,5]) -> (f64[6]) {
        %0: f64[6] = reduce_sum %x {axes=(1)}
        %1: f64[6] = div %0, 5.0
        return %1
      }}
      return %0
    }"""
    graph = parse_graph(text)
    found = raised(graph)
    inner = found.eqns[0].params["graph"]
    assert [e.params["name"] for e in composites(inner)] == ["mean"]
    expanded = expand_composites(found, PassContext())
    assert expanded.key == graph.key
