"""The pass manager: order, timings, counts, verification, pipelines as text."""

import sys
from collections.abc import Callable
from types import FrameType

import numpy as np
import pytest

from tests.program.random_graphs import LOOP_SEEDS, random_graph
from tracejit.errors import ParseError, VerifyError
from tracejit.ir.aval import ShapedArray
from tracejit.ir.builder import Builder
from tracejit.ir.graph import Eqn, Graph, Var, subgraphs
from tracejit.ir.interp import evaluate
from tracejit.ir.ops.elementwise import add_p, exp_p, mul_p, neg_p, sin_p
from tracejit.ir.parser import parse_graph
from tracejit.ir.printer import format_graph
from tracejit.ir.rewrite import RuleStats
from tracejit.passes.canonicalize import canonicalize
from tracejit.passes.contract_fma import contract_fma
from tracejit.passes.cse import cse
from tracejit.passes.dce import dce
from tracejit.passes.fold import fold
from tracejit.passes.manager import Pass, PassContext, parse_pipeline, run_passes
from tracejit.passes.pipelines import known_passes

PASSES = {
    "canonicalize": Pass("canonicalize", canonicalize, "rules"),
    "fold": Pass("fold", fold, "constants"),
    "cse": Pass("cse", cse, "equal equations"),
    "dce": Pass("dce", dce, "dead equations"),
    "fma": Pass("fma", contract_fma, "fused multiply-add"),
}
ALL = tuple(PASSES.values())

TEXT = """graph @f(%x: f32[3]) -> (f32[3]) {
  %a: f32[3] = mul %x, 1.0
  %b: f32[3] = exp %a
  %c: f32[3] = exp %a
  %d: f32[3] = mul %b, %c
  %e: f32[3] = add %d, %x
  return %e
}"""
FIXED = """graph @f(%x: f32[3]) -> (f32[3]) {
  %b: f32[3] = exp %x
  %e: f32[3] = fma %b, %b, %x
  return %e
}"""


def test_passes_in_order():
    context = PassContext(verify=True)
    seen: list[tuple[str, int]] = []
    context.after = lambda name, graph: seen.append((name, len(graph.eqns)))
    out = run_passes(parse_graph(TEXT), ALL, context)
    assert format_graph(out) == FIXED  # names survive
    assert seen == [
        ("canonicalize", 4),
        ("fold", 4),
        ("cse", 3),
        ("dce", 3),
        ("fma", 2),
    ]


def test_timings_and_counts_per_pass():
    context = PassContext()
    run_passes(parse_graph(TEXT), [*ALL, PASSES["dce"]], context)
    assert list(context.timings) == list(PASSES)
    assert all(t >= 0 for t in context.timings.values())
    assert context.fired["canonicalize"] == {"mul_one": 1}
    assert context.fired["cse"] == {"value_number": 1}
    assert context.fired["fma"] == {"contract_fma": 1}
    assert context.stats.total == 3


@pytest.mark.parametrize("name", PASSES)
def test_the_same_object_when_nothing_changes(name):
    nested = """graph @f(%x: f32[3]) -> (f32[3]) {
      %0: f32[3] = call %x {graph=graph @g(%x: f32[3]) -> (f32[3]) {
        %0: f32[3] = exp %x
        return %0
      }}
      return %0
    }"""
    for text in (FIXED, nested):
        graph = parse_graph(text)
        assert run_passes(graph, [PASSES[name]]) is graph


def test_a_shared_subgraph_is_rewritten_once_and_stays_shared():
    layer = parse_graph(TEXT)
    b = Builder("main")
    x = b.input(layer.in_avals[0])
    call = parse_graph(
        "graph @f(%x: f32[3]) -> (f32[3]) { %0: f32[3] = call %x "
        "{graph=graph @g(%x: f32[3]) -> (f32[3]) { return %x }} return %0 }"
    ).eqns[0]
    for _ in range(3):
        (x,) = b.emit_all(call.primitive, [x], {"graph": layer})
    context = PassContext(verify=True)
    out = run_passes(b.build([x]), ALL, context)
    inner = {g for e in out.eqns for g in subgraphs(e.params)}
    assert len(inner) == 1
    assert format_graph(inner.pop()) == FIXED
    assert context.fired["canonicalize"] == {"mul_one": 1}


def test_disabled_rules():
    context = PassContext(disabled_rules=frozenset({"mul_one", "contract_fma"}))
    out = run_passes(parse_graph(TEXT), ALL, context)
    assert [e.primitive.name for e in out.eqns] == ["mul", "exp", "mul", "add"]


@pytest.mark.parametrize("limit", range(5))
def test_the_limit_counts_rewrites_of_all_passes(limit):
    """Every prefix of the rewrites gives a valid graph of the same meaning."""
    context = PassContext(verify=True, stats=RuleStats(limit=limit))
    graph = parse_graph(TEXT)
    out = run_passes(graph, ALL, context)
    assert context.stats.total == min(limit, 3)
    args = [np.array([0.1, 0.2, 0.3], "f4")]
    pairs = zip(evaluate(graph, args), evaluate(out, args), strict=True)
    for want, got in pairs:
        np.testing.assert_allclose(got, want, rtol=1e-6)


def test_verification_names_the_pass():
    def broken(graph: Graph, context: PassContext) -> Graph:
        return Graph(graph.name, graph.invars, graph.outvars, graph.eqns[1:])

    with pytest.raises(VerifyError, match="V1") as error:
        run_passes(
            parse_graph(TEXT), [Pass("bad", broken, "")], PassContext(verify=True)
        )
    assert error.value.__notes__ == ["after pass bad"]


def test_what_no_pass_changes_is_verified_once(monkeypatch):
    verified: list[Graph] = []
    monkeypatch.setattr("tracejit.ir.verify.verify", verified.append)
    graph = parse_graph(TEXT)
    out = run_passes(graph, [ALL[2], ALL[2], ALL[2]], PassContext(verify=True))
    assert verified == [out] and out is not graph


# --- pipelines as text ------------------------------------------------------------


def scaled(
    max_factor: int = 2, deep: bool = False
) -> Callable[[Graph, PassContext], Graph]:
    def run(graph: Graph, context: PassContext) -> Graph:
        context.stats.fired[f"{max_factor}{deep}"] += 1
        return graph

    return run


KNOWN = {
    **PASSES,
    "scale": Pass("scale", scaled(), "", {"max-factor": int, "deep": bool}, scaled),
}


def test_parse_pipeline():
    names = [p.name for p in parse_pipeline(" cse, dce ,canonicalize", KNOWN)]
    assert names == ["cse", "dce", "canonicalize"]
    assert parse_pipeline("", KNOWN) == ()


@pytest.mark.parametrize(
    ("text", "fired"),
    [
        ("scale", "2False"),
        ("scale{}", "2False"),
        ("scale{max-factor=7}", "7False"),
        ("cse, scale{ deep=true, max-factor = 3 },dce", "3True"),
    ],
)
def test_options(text, fired):
    context = PassContext()
    run_passes(parse_graph(FIXED), parse_pipeline(text, KNOWN), context)
    assert context.fired["scale"] == {fired: 1}


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("cse,ces", "no pass is called 'ces'; there are canonicalize, fold, cse, dce"),
        ("cse dce", "expected a pass such as 'cse' or 'fuse{max-ops=32}'"),
        ("scale{max=3}", "pass scale has no option 'max'; it has max-factor, deep"),
        ("cse{max=3}", "pass cse has no option 'max'; it has none"),
        ("scale{max-factor=x}", "max-factor of pass scale takes a int, not 'x'"),
        ("scale{deep=1}", "option deep of pass scale takes a bool, not '1'"),
        ("scale{deep=true", "expected a pass such as"),
    ],
)
def test_pipeline_errors(text, message):
    with pytest.raises(ParseError) as error:
        parse_pipeline(text, KNOWN)
    assert message in str(error.value)


# --- cost -------------------------------------------------------------------------


def long_graph(n: int) -> Graph:
    """Return a chain with work for every pass: equal, dead and folded equations."""
    aval = ShapedArray((3,), np.dtype(np.float32))
    x = Var(aval, "x")
    eqns: list[Eqn] = []

    def emit(primitive, *ins) -> Var:
        out = Var(aval)
        eqns.append(Eqn(primitive, ins, {}, (out,)))
        return out

    value = x
    while len(eqns) < n:
        twice = emit(neg_p, emit(neg_p, value))
        a, b = emit(exp_p, twice), emit(exp_p, value)
        emit(sin_p, a)
        value = emit(add_p, emit(mul_p, a, b), x)
    return Graph("long", [x], [value], eqns)


def count_calls(run: Callable[[], object]) -> int:
    """Count calls of Python and C functions while `run` runs."""
    count = 0

    def profile(frame: FrameType, event: str, arg: object) -> None:
        nonlocal count
        count += event in ("call", "c_call")

    before = sys.getprofile()
    sys.setprofile(profile)
    try:
        run()
    finally:
        sys.setprofile(before)
    return count


def test_passes_are_linear():
    """20,000 equations cost ten times what 2,000 do, counted in calls."""
    short, long = long_graph(2_000), long_graph(20_000)
    few = count_calls(lambda: run_passes(short, ALL))
    many = count_calls(lambda: run_passes(long, ALL))
    assert many < 10.5 * few


def test_long_graphs_do_not_recurse():
    graph = long_graph(20_000)
    out = run_passes(graph, ALL)
    assert len(out.eqns) < len(graph.eqns) / 2


@pytest.mark.parametrize("seed", [*range(40), *range(LOOP_SEEDS, LOOP_SEEDS + 20)])
def test_passes_find_nothing_in_graphs_that_they_are_not_for(seed):
    graph, _ = random_graph(seed)
    for one in known_passes().values():
        if not one.concerns(graph):
            assert one.run(graph, PassContext()) is graph, one.name


def test_a_pass_is_called_for_what_it_is_for():
    called = []

    def note(graph, context):
        called.append(graph.name)
        return graph

    nested = parse_graph("""graph @outer(%x: f32[3]) -> (f32[3]) {
      %0: f32[3] = call %x {graph=graph @inner(%x: f32[3]) -> (f32[3]) {
        %0: f32[3] = exp %x
        return %0
      }}
      return %0
    }""")
    for primitive, times in ((exp_p, 1), (sin_p, 0)):
        called.clear()
        run_passes(nested, [Pass("note", note, "", only_for=(primitive,))])
        assert called == ["outer"] * times
