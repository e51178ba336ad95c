"""Rules of control flow: what each does, that bits stay, where it must not fire."""

import numpy as np
import pytest

from tests.passes.rewriting import bits
from tracejit.ir.graph import Graph
from tracejit.ir.interp import evaluate
from tracejit.ir.loop_rules import LOOP_RULES
from tracejit.ir.parser import parse_graph
from tracejit.ir.rewrite import RuleSet
from tracejit.ir.verify import verify
from tracejit.passes.dce import dce
from tracejit.passes.manager import PassContext, replay

SCAN = """
graph @f(%w: f64[3], %h: f64[3], %c: f64[3], %xs: f64[LEN,3]) -> (f64[3], f64[3], f64[LEN,3]) {
  %0: f64[3], %1: f64[3], %2: f64[LEN,3] = scan %w, %h, %c, %xs {body=graph @turn(%w: f64[3], %h: f64[3], %c: f64[3], %x: f64[3]) -> (f64[3], f64[3], f64[3]) {
    BODY
    return %after, %kept, %y
  }, length=LEN, reverse=REV, consts=1, carries=2, unroll=UNROLL}
  return %0, %1, %2
}
"""  # noqa: E501
PLAIN = """%s: f64[3] = mul %h, %w
    %after: f64[3] = add %s, %x
    %kept: f64[3] = mul %c, %h
    %y: f64[3] = sin %after"""
WITH_INVARIANT = PLAIN.replace("mul %h, %w", "mul %h, %e")
WITH_INVARIANT = f"%e: f64[3] = exp %w\n    {WITH_INVARIANT}"
FIXED = PLAIN.replace("%kept: f64[3] = mul %c, %h", "").replace(
    "mul %h, %w", "mul %h, %c"
)
FIXED_FIRST = """
graph @f(%a: f64[3], %h: f64[3], %c: f64[3]) -> (f64[3], f64[3], f64[3]) {
  %0: f64[3], %1: f64[3], %2: f64[3] = scan %a, %h, %c {body=graph @turn(%a: f64[3], %h: f64[3], %c: f64[3]) -> (f64[3], f64[3], f64[3]) {
    %0: f64[3] = add %h, %a
    %1: f64[3] = sin %c
    return %a, %0, %1
  }, length=4, reverse=false, consts=0, carries=3, unroll=1}
  return %0, %1, %2
}
"""  # noqa: E501
# A count compared with a count is made faster than it is loaded.
MASK = PLAIN.replace("mul %h, %w", "select %m, %h, %w")
MASK = f"""%i: i64[3] = iota {{shape=(3), axis=0, dtype=i64}}
    %m: bool[3] = lt %i, 2:i64
    {MASK}"""


def scan(body: str, length: int = 5, reverse: bool = False, unroll: int = 1) -> Graph:
    text = SCAN.replace("BODY", body).replace("LEN", str(length))
    text = text.replace("REV", str(reverse).lower()).replace("UNROLL", str(unroll))
    return parse_graph(text.replace("%kept", "%c") if "%kept:" not in body else text)


WHILE = """
graph @f(%w: f64[3], %h: f64[3]) -> (f64[3]) {
  %0: f64[3] = while %w, %w, %h {test=graph @test(%w: f64[3], %h: f64[3]) -> (bool[]) {
      %e: f64[3] = exp %w
      %0: f64[3] = mul %e, %h
      %1: f64[] = reduce_sum %0 {axes=(0)}
      %2: bool[] = lt %1, 30.0:f64
      return %2
    }, body=graph @turn(%w: f64[3], %h: f64[3]) -> (f64[3]) {
      %e: f64[3] = exp %w
      %0: f64[3] = mul %h, %e
      return %0
    }, test_consts=1, body_consts=1}
  return %0
}
"""
COND = """
graph @f(%p: bool[], %x: f64[3]) -> (f64[3]) {
  %0: f64[3] = cond PRED, %x {on_true=graph @a(%x: f64[3]) -> (f64[3]) {
      %0: f64[3] = sin %x
      return %0
    }, on_false=graph @b(%x: f64[3]) -> (f64[3]) {
      return %x
    }}
  return %0
}
"""

# rule, graph, primitives afterwards
FIRES = [
    ("cond_known", parse_graph(COND.replace("PRED", "true:bool")), ["sin"]),
    ("cond_known", parse_graph(COND.replace("PRED", "false:bool")), []),
    ("scan_short", scan(PLAIN, 0), ["broadcast_in_dim"]),
    (
        "scan_short",
        scan(PLAIN, 1),
        ["reshape", "mul", "add", "mul", "sin", "reshape"],
    ),
    ("scan_fixed_carry", scan(FIXED), ["scan"]),
    ("scan_fixed_carry", parse_graph(FIXED_FIRST), ["scan"]),
    ("hoist_scan", scan(WITH_INVARIANT), ["exp", "scan"]),
    ("hoist_while", parse_graph(WHILE), ["exp", "exp", "while"]),
    ("scan_unroll", scan(PLAIN, 6, unroll=3), ["reshape", "scan", "reshape"]),
    (
        "scan_unroll",
        scan(PLAIN, 7, unroll=3),
        ["slice", "reshape", "scan", "reshape", "slice", "scan", "concatenate"],
    ),
    (
        "scan_unroll",
        scan(PLAIN, 7, reverse=True, unroll=2),
        ["slice", "reshape", "scan", "reshape", "slice", "scan", "concatenate"],
    ),
    ("scan_unroll", scan(PLAIN, 3, unroll=9), ["reshape", "scan", "reshape"]),
]
MUST_NOT = [
    ("cond_known", parse_graph(COND.replace("PRED", "%p"))),
    ("scan_short", scan(PLAIN, 2)),
    ("scan_fixed_carry", scan(PLAIN)),
    ("hoist_scan", scan(PLAIN)),
    ("hoist_scan", scan(MASK)),
    ("hoist_scan", scan(WITH_INVARIANT, 0)),
    ("hoist_while", parse_graph(WHILE.replace("exp %w", "neg %h"))),
    ("scan_unroll", scan(PLAIN, 5, unroll=1)),
]


def applied(name: str, graph: Graph) -> tuple[Graph, int]:
    rules = RuleSet([r for r in LOOP_RULES if r.name == name])
    context = PassContext()
    out = dce(verify(replay(graph, rules, False, context)), context)
    return verify(out), context.stats.fired[name]


@pytest.mark.parametrize(("name", "graph", "primitives"), FIRES)
def test_rule(name: str, graph: Graph, primitives: list[str]):
    got, fired = applied(name, verify(graph))
    assert fired
    found = [e.primitive.name for e in got.eqns]
    if name == "scan_unroll":  # views between may come in any number
        assert [p for p in found if p == "scan"] == ["scan"] * primitives.count("scan")
        assert ("concatenate" in found) == ("concatenate" in primitives)
    else:
        assert found == primitives
    rng = np.random.default_rng(0)
    args = [
        np.asarray(rng.uniform(0.2, 1, a.shape) > 0.5)
        if a.dtype == bool
        else rng.uniform(0.2, 1, a.shape)
        for a in graph.in_avals
    ]
    for x, y in zip(evaluate(graph, args), evaluate(got, args), strict=True):
        assert bits(np.asarray(x)) == bits(np.asarray(y))


@pytest.mark.parametrize(("name", "graph"), MUST_NOT)
def test_must_not_fire(name: str, graph: Graph):
    assert not applied(name, verify(graph))[1]


def test_every_rule_is_tested():
    rules = {r.name for r in LOOP_RULES}
    assert {name for name, *_ in FIRES} == rules
    assert {name for name, *_ in MUST_NOT} == rules


def test_a_fixed_carry_is_a_constant():
    got, _ = applied("scan_fixed_carry", scan(FIXED))
    (eqn,) = got.eqns
    assert (eqn.params["consts"], eqn.params["carries"]) == (1, 1)  # %w is not read
    assert got.outvars[1] is got.invars[2]


GATHERS = """%i: i64[3] = constant {value=dense<i64[3]: 0 1 7>}
    %g: f64[3] = gather %w, %i {axes=(0), batch=0, mode="raise"}
    """
GATHERED = PLAIN.replace("mul %h, %w", "mul %h, %g")


def gathers_inside(graph: Graph) -> int:
    (eqn,) = (e for e in graph.eqns if e.primitive.name in ("scan", "while"))
    body = eqn.params["body"]
    return sum(e.primitive.name == "gather" for e in body.eqns)


def test_what_raises_at_the_first_turn_raises_before_it():
    got, fired = applied("hoist_scan", scan(GATHERS + GATHERED))
    assert fired
    assert gathers_inside(got) == 0
    assert [e.primitive.name for e in got.eqns].count("gather") == 1


def test_what_may_raise_is_not_hoisted_over_what_raises_before_it():
    first = """%p: i64[3] = convert %h {dtype=i64}
    %q: f64[3] = gather %h, %p {axes=(0), batch=0, mode="raise"}
    """
    body = first + GATHERS + GATHERED.replace("add %s, %x", "add %s, %q")
    got, _ = applied("hoist_scan", scan(body))
    assert gathers_inside(got) == 2
    got, _ = applied("hoist_scan", scan(body.replace("raise", "clip")))
    assert gathers_inside(got) == 1


def test_what_may_raise_is_not_hoisted_where_no_turn_may_run():
    looked_up = f"{GATHERS}%0: f64[3] = mul %h, %g"
    text = WHILE.replace("%0: f64[3] = mul %h, %e", looked_up)
    assert looked_up in text
    got, _ = applied("hoist_while", parse_graph(text))
    assert gathers_inside(got) == 1


# --- what nobody reads ------------------------------------------------------------


def after_dce(graph: Graph, wanted: list[int]) -> Graph:
    less = Graph("f", graph.invars, [graph.outvars[i] for i in wanted], graph.eqns)
    return verify(dce(less, PassContext()))


@pytest.mark.parametrize(
    ("wanted", "counts", "operands", "results"),
    [
        ([0, 1, 2], (1, 2), 4, 3),
        ([0], (1, 1), 3, 1),  # %c is read by nothing that is left
        ([2], (1, 1), 3, 2),  # %h is needed for the next turn
        ([1], (1, 2), 4, 2),
    ],
)
def test_dead_parts_of_a_scan(wanted, counts, operands, results):
    (eqn,) = after_dce(scan(PLAIN), wanted).eqns
    assert (eqn.params["consts"], eqn.params["carries"]) == counts
    assert (len(eqn.invars), len(eqn.outvars)) == (operands, results)


def test_dead_parts_of_a_while():
    text = """
    graph @f(%n: i64[], %x: f64[3], %y: f64[3], %w: f64[3]) -> (i64[], f64[3], f64[3]) {
      %0: i64[], %1: f64[3], %2: f64[3] = while %n, %w, %n, %x, %y {test=graph @t(%n: i64[], %i: i64[], %x: f64[3], %y: f64[3]) -> (bool[]) {
          %0: bool[] = lt %i, %n
          return %0
        }, body=graph @b(%w: f64[3], %i: i64[], %x: f64[3], %y: f64[3]) -> (i64[], f64[3], f64[3]) {
          %0: i64[] = add %i, 1
          %1: f64[3] = mul %x, %w
          %2: f64[3] = add %y, %x
          return %0, %1, %2
        }, test_consts=1, body_consts=1}
      return %0, %1, %2
    }"""  # noqa: E501
    graph = verify(parse_graph(text))
    assert after_dce(graph, [0, 1, 2]).eqns[0].invars == graph.eqns[0].invars
    assert len(after_dce(graph, [1]).eqns[0].outvars) == 2  # the test needs the count
    (eqn,) = after_dce(graph, [0]).eqns
    assert len(eqn.outvars) == 1
    assert eqn.params["body_consts"] == 0
