"""Batching rules: each primitive on a batch gives what a loop over the batch gives."""

import itertools

import numpy as np
import pytest

from tests.ir.samples import LAYER, SAMPLES, Sample, sample_id
from tracejit.errors import IndexRangeError, UnsupportedError
from tracejit.ir.aval import ShapedArray
from tracejit.ir.builder import Builder
from tracejit.ir.graph import Graph, subgraphs
from tracejit.ir.interp import evaluate
from tracejit.ir.ops.control import call_p, cond_p
from tracejit.ir.parser import parse_graph
from tracejit.ir.primitive import REGISTRY, Effect, HostObject, Primitive
from tracejit.ir.verify import verify
from tracejit.transforms.vmap import (
    GUARDS,
    SUBGRAPH_RULES,
    batch_graph,
    batch_rule,
)

Arrays = list[np.ndarray]
SIZE = 3
NARROW = {"f8": "f4", "c16": "c8", "i8": "i4"}

# Primitives that cannot be batched, and why.
WITHOUT_RULE: dict[str, str] = {}


def operands(name: str) -> int:
    """The most operands that a sample of a primitive has."""
    return max(len(s.make(np.random.default_rng(0))) for s in SAMPLES if s.name == name)


@pytest.mark.parametrize("name", REGISTRY)
def test_every_primitive_has_a_batching_rule(name):
    p = REGISTRY[name]
    has_rule = p in SUBGRAPH_RULES or batch_rule(p) is not None
    assert has_rule or operands(name) == 0 or name in WITHOUT_RULE
    assert not (has_rule and name in WITHOUT_RULE)


def test_every_check_can_be_asked_of_some_examples_only():
    checking = {
        s.primitive for s in SAMPLES if Effect.CHECK in s.primitive.effects(s.params)
    }
    assert checking - set(SUBGRAPH_RULES) == set(GUARDS)


# --- rules against a loop ---------------------------------------------------------


def masks(n: int) -> list[tuple[bool, ...]]:
    """Return all ways to batch some of `n` operands, or of the first and the last."""
    if n <= 3:
        return [m for m in itertools.product((True, False), repeat=n) if any(m)]
    ones = [tuple(i == j for j in range(n)) for i in range(n)]
    return [(True,) * n, *ones, *(tuple(not m for m in one) for one in ones)]


def narrowed(x: np.ndarray) -> np.ndarray:
    return x.astype(NARROW.get(x.dtype.str[1:], x.dtype))


def check_batch(graph: Graph, examples: list[Arrays], mask: tuple[bool, ...]) -> None:
    """Compare the batched graph with one evaluation for each of `examples`.

    Operands that are not batched come from the first example.
    """
    batched = batch_graph(graph, mask, len(examples))
    verify(batched.graph)
    columns = list(zip(*examples, strict=True))
    args = [np.stack(c) if m else c[0] for c, m in zip(columns, mask, strict=True)]
    with np.errstate(all="ignore"):
        found = evaluate(batched.graph, args)
        each = [
            evaluate(graph, [x if m else y for x, y, m in rows])
            for rows in (zip(e, examples[0], mask, strict=True) for e in examples)
        ]
    for got, has, *want in zip(found, batched.outs, *each, strict=True):
        close(got, np.stack(want) if has else want[0])


def close(got: np.ndarray, want: np.ndarray) -> None:
    got, want = np.asarray(got), np.asarray(want)
    assert (got.shape, got.dtype) == (want.shape, want.dtype)
    if want.dtype.kind not in "fc":
        np.testing.assert_array_equal(got, want)
        return
    wide = np.finfo(want.dtype).eps < 1e-10
    scale = np.max(np.abs(want), initial=0, where=np.isfinite(want))
    rtol = 1e-13 if wide else 2e-6
    np.testing.assert_allclose(got, want, rtol=10 * rtol, atol=10 * rtol * scale)


CASES = [
    (s, mask) for s in SAMPLES for mask in masks(len(s.make(np.random.default_rng(0))))
]


def case_id(value: object) -> str:
    if isinstance(value, Sample):
        return value.name
    assert isinstance(value, tuple)
    return "".join("b" if m else "-" for m in value)


@pytest.mark.parametrize(("sample", "mask"), CASES, ids=case_id)
def test_rule(sample: Sample, mask: tuple[bool, ...]):
    examples = [sample.make(np.random.default_rng(i)) for i in range(SIZE)]
    check_batch(sample.graph(examples[0]), examples, mask)


def is_typed(param) -> bool:
    """Tell whether a param says which dtypes operands or results have."""
    return isinstance(param, HostObject) or any(subgraphs({"param": param}))


@pytest.mark.parametrize(
    ("sample", "mask"),
    [
        (s, m)
        for s, m in CASES
        if not any(map(is_typed, s.params.values())) and s.name != "bitcast"
    ],
    ids=case_id,
)
def test_rule_in_narrow_dtypes(sample: Sample, mask: tuple[bool, ...]):
    makers = [sample.make(np.random.default_rng(i)) for i in range(SIZE)]
    examples = [[narrowed(x) for x in arrays] for arrays in makers]
    check_batch(sample.graph(examples[0]), examples, mask)


@pytest.mark.parametrize(
    "sample", [s for s in SAMPLES if s.make(np.random.default_rng(0))], ids=sample_id
)
def test_rule_twice(sample: Sample):
    """A batch of batches: all operands in the outer, the first one in the inner."""
    rngs = [[np.random.default_rng(10 * i + j) for j in range(2)] for i in range(SIZE)]
    examples = []
    for row in rngs:
        first, second = (sample.make(rng) for rng in row)
        examples.append([np.stack([first[0], second[0]]), *first[1:]])
    one = [examples[0][0][0], *examples[0][1:]]
    mask = (True, *[False] * (len(one) - 1))
    inner = batch_graph(sample.graph(one), mask, 2).graph
    check_batch(inner, examples, (True,) * len(one))


@pytest.mark.parametrize("size", [0, 1])
@pytest.mark.parametrize(
    "sample", [s for s in SAMPLES if s.make(np.random.default_rng(0))], ids=sample_id
)
def test_small_batches(sample: Sample, size: int):
    args = sample.make(np.random.default_rng(0))
    graph = sample.graph(args)
    batched = batch_graph(graph, (True,) * len(args), size)
    verify(batched.graph)
    found = evaluate(batched.graph, [np.stack([x] * 2)[:size] for x in args])
    with np.errstate(all="ignore"):
        wanted = evaluate(graph, args)
    for got, want in zip(found, wanted, strict=True):
        close(got, np.stack([want] * 2)[:size])


def test_what_is_not_batched_is_computed_once():
    graph = parse_graph("""
    graph @f(%x: f64[3], %y: f64[3]) -> (f64[3], f64[3]) {
      %e: f64[3] = exp %y
      %z: f64[3] = mul %x, %e
      return %z, %e
    }
    """)
    batched = batch_graph(graph, (True, False), 5)
    assert batched.outs == (True, False)
    exp, spread, mul = batched.graph.eqns
    assert exp.outvars[0].aval.shape == (3,)
    assert spread.primitive.name == "broadcast_in_dim"
    assert mul.outvars[0].aval.shape == (5, 3)


def primitives(graph: Graph) -> list[str]:
    return [e.primitive.name for e in graph.eqns]


@pytest.mark.parametrize(
    ("mask", "wanted"),
    [
        ((True, False), ["dot_general"]),
        ((False, True), ["dot_general"]),
        ((True, True), ["dot_general"]),
    ],
)
def test_a_batch_of_vectors_times_a_matrix_is_one_product(mask, wanted):
    graph = parse_graph("""
    graph @f(%a: f64[4,3], %x: f64[3]) -> (f64[4]) {
      %0: f64[4] = dot_general %a, %x {contract=((1), (0)), batch=((), ())}
      return %0
    }
    """)
    assert primitives(batch_graph(graph, mask, 5).graph) == wanted


def test_one_matrix_is_factorised_once():
    graph = parse_graph("""
    graph @f(%a: f64[3,3], %x: f64[3,2]) -> (f64[3,2]) {
      %0: f64[3,2] = solve %a, %x
      return %0
    }
    """)
    batched = batch_graph(graph, (False, True), 5).graph
    (solve,) = (e for e in batched.eqns if e.primitive.name == "solve")
    assert solve.outvars[0].aval.shape == (3, 10)


# --- sub-graphs -------------------------------------------------------------------


def test_calls_of_one_graph_share_the_batched_one():
    b = Builder("f")
    x, y = (b.input(v.aval) for v in LAYER.invars)
    for _ in range(3):
        x, _ = b.emit_all(call_p, [x, y], {"graph": LAYER})
    batched = batch_graph(b.build([x]), (True, True), 5).graph
    assert primitives(batched) == ["call"] * 3
    assert len({e.params["graph"] for e in batched.eqns}) == 1


BRANCHES = """
graph @f(%p: bool[], %x: f64[3], %y: f64[3]) -> (f64[3], f64[3]) {
  %a: f64[3], %b: f64[3] = cond %p, %x, %y {on_true=graph @yes(%x: f64[3], %y: f64[3]) -> (f64[3], f64[3]) {
    %z: f64[3] = mul %x, 2.0
    return %z, %y
  }, on_false=graph @no(%x: f64[3], %y: f64[3]) -> (f64[3], f64[3]) {
    %z: f64[3] = add %y, 1.0
    return %y, %z
  }}
  return %a, %b
}
"""  # noqa: E501


@pytest.mark.parametrize("mask", masks(3), ids=case_id)
def test_cond(mask):
    """With one condition it stays a `cond`; with one for each example it selects."""
    graph = parse_graph(BRANCHES)
    rng = np.random.default_rng(0)
    preds = (True, False, True)
    examples = [[np.asarray(p), *rng.normal(size=(2, 3))] for p in preds]
    check_batch(graph, examples, mask)
    names = primitives(batch_graph(graph, mask, 3).graph)
    assert ("cond" in names) != mask[0]
    assert ("select" in names) == mask[0]


def test_an_output_that_one_branch_batches_is_batched():
    graph = parse_graph(BRANCHES)
    batched = batch_graph(graph, (False, True, False), 3)
    assert batched.outs == (True, False)


CHECKED = """
graph @f(%p: bool[], %i: i64[2], %x: f64[3], %a: f64[2,2]) -> (f64[2]) {
  %0: f64[2] = cond %p, %i, %x, %a {on_true=graph @yes(%i: i64[2], %x: f64[3], %a: f64[2,2]) -> (f64[2]) {
    %0: f64[2] = call %x, %i, %a {graph=graph @inner(%x: f64[3], %i: i64[2], %a: f64[2,2]) -> (f64[2]) {
      %0: f64[2] = gather %x, %i {axes=(0), batch=0, mode="raise"}
      %1: f64[2,2] = cholesky %a
      %2: f64[2] = reduce_sum %1 {axes=(0)}
      %3: f64[2] = add %0, %2
      return %3
    }}
    return %0
  }, on_false=graph @no(%i: i64[2], %x: f64[3], %a: f64[2,2]) -> (f64[2]) {
    %0: f64[2] = convert %i {dtype=f64}
    return %0
  }}
  return %0
}
"""  # noqa: E501


@pytest.mark.parametrize("mask", [(1, 1, 0, 0), (1, 1, 1, 1), (1, 0, 0, 1)])
def test_checks_are_asked_of_the_examples_that_take_the_branch(mask):
    """Indices out of range and indefinite matrices where the branch is not taken."""
    graph = parse_graph(CHECKED)
    rng = np.random.default_rng(0)
    good = [np.asarray(True), np.array([0, -1]), rng.normal(size=3), 2 * np.eye(2)]
    bad = [np.asarray(False), np.array([7, -9]), rng.normal(size=3), -np.eye(2)]
    check_batch(graph, [good, bad, good], tuple(map(bool, mask)))


@pytest.mark.parametrize("mask", [(1, 1, 0, 0), (1, 0, 0, 0)])
def test_checks_fail_for_an_example_that_takes_the_branch(mask):
    graph = parse_graph(CHECKED)
    rows = [
        [np.asarray(p), np.array([0, 3]), np.ones(3), np.eye(2)] for p in (False, True)
    ]
    batched = batch_graph(graph, tuple(map(bool, mask)), 2).graph
    columns = list(zip(*rows, strict=True))
    args = [np.stack(c) if m else c[0] for c, m in zip(columns, mask, strict=True)]
    with pytest.raises(IndexRangeError, match="index 3"):
        evaluate(batched, args)
    args[0] = np.array([False, False])
    evaluate(batched, args)


def effectful(name: str, effect: Effect) -> Primitive:
    """A primitive of its own, not in the registry."""
    return Primitive(
        name, lambda x: x, lambda x: x, effects=lambda p: frozenset({effect})
    )


@pytest.mark.parametrize(
    "effect", [Effect.ORDERED, Effect.CHECK], ids=["ordered", "check"]
)
def test_effects_of_a_branch_that_some_examples_take(effect):
    shout = effectful("shout", effect)
    aval = ShapedArray((3,), np.dtype("f8"))
    inner = Builder("yes")
    inner.source = ("model.py:7",)
    yes = inner.build([inner.emit(shout, inner.input(aval))])
    other = Builder("no")
    no = other.build([other.input(aval)])
    b = Builder("f")
    pred, x = b.input(ShapedArray((), np.dtype(bool))), b.input(aval)
    graph = b.build(b.emit_all(cond_p, [pred, x], {"on_true": yes, "on_false": no}))
    message = "shout has effects in a branch that only some"
    with pytest.raises(UnsupportedError, match=message) as error:
        batch_graph(graph, (True, False), 2)
    assert "model.py:7" in str(error.value)


def test_a_primitive_without_a_rule_names_the_line():
    b = Builder("f")
    b.source = ("model.py:3",)
    x = b.input(ShapedArray((3,), np.dtype("f8")))
    graph = b.build([b.emit(effectful("odd", Effect.CHECK), x)])
    with pytest.raises(UnsupportedError, match="odd cannot be batched") as error:
        batch_graph(graph, (True,), 2)
    assert "model.py:3" in str(error.value)


def test_a_fusion_group_becomes_a_call():
    """Its space is that of one example; fusion comes after batching."""
    sample = next(s for s in SAMPLES if s.name == "fusion")
    args = sample.make(np.random.default_rng(0))
    (eqn,) = batch_graph(sample.graph(args), (True, True), 2).graph.eqns
    assert eqn.primitive is call_p


# --- loops ------------------------------------------------------------------------

CHAIN = """
graph @f(%x: f64[], %y: f64[], %z: f64[]) -> (f64[], f64[], f64[], f64[4]) {
  %a: f64[], %b: f64[], %c: f64[], %ys: f64[4] = scan %x, %y, %z {body=graph @turn(%a: f64[], %b: f64[], %c: f64[]) -> (f64[], f64[], f64[], f64[]) {
    %n: f64[] = add %a, %b
    %m: f64[] = mul %b, %c
    return %n, %m, %c, %n
  }, length=4, reverse=false, consts=0, carries=3, unroll=1}
  return %a, %b, %c, %ys
}
"""  # noqa: E501


@pytest.mark.parametrize(
    ("mask", "outs"),
    [
        ((False, False, True), (True, True, True, True)),
        ((False, True, False), (True, True, False, True)),
        ((True, False, False), (True, False, False, True)),
    ],
)
def test_carries_are_batched_that_depend_on_the_batch_after_any_turn(mask, outs):
    graph = parse_graph(CHAIN)
    examples = [list(np.random.default_rng(i).normal(size=3)) for i in range(3)]
    assert batch_graph(graph, mask, 3).outs == outs
    check_batch(graph, [[np.asarray(x) for x in e] for e in examples], mask)


COLLATZ = """
graph @f(%n: i64[], %table: i64[4]) -> (i64[], i64[], i64[]) {
  %0: i64[], %1: i64[], %2: i64[] = while %n, %table, %n, 0, 0 {test=graph @test(%k: i64[], %n: i64[], %turns: i64[], %sum: i64[]) -> (bool[]) {
    %t: bool[] = lt %turns, %k
    return %t
  }, body=graph @turn(%table: i64[4], %n: i64[], %turns: i64[], %sum: i64[]) -> (i64[], i64[], i64[]) {
    %v: i64[] = gather %table, %turns {axes=(0), batch=0, mode="raise"}
    %s: i64[] = add %sum, %v
    %t: i64[] = add %turns, 1
    return %n, %t, %s
  }, test_consts=1, body_consts=1}
  return %0, %1, %2
}
"""  # noqa: E501


@pytest.mark.parametrize("mask", [(True, False), (True, True), (False, True)])
def test_a_while_runs_until_all_are_done(mask):
    """Those that are done ask for nothing: the index would be out of range."""
    graph = parse_graph(COLLATZ)
    tables = np.arange(12).reshape(3, 4)
    examples = [[np.asarray(n), t] for n, t in zip((4, 0, 2), tables, strict=True)]
    check_batch(graph, examples, mask)
    batched = batch_graph(graph, mask, 3).graph
    with pytest.raises(IndexRangeError):
        args = [np.array([1, 5, 0]) if mask[0] else np.asarray(5)]
        args.append(tables if mask[1] else tables[0])
        evaluate(batched, args)
