"""Derivatives of loops: any order, both modes, and what of each turn is kept."""

import numpy as np
import pytest

from tests.ir.samples import LOOPS, Sample, sample_id
from tracejit.errors import UnsupportedError
from tracejit.ir.graph import Graph, Var
from tracejit.ir.interp import evaluate
from tracejit.ir.ops.loops import scan_p, while_p
from tracejit.ir.parser import parse_graph
from tracejit.ir.verify import verify
from tracejit.passes.dce import dce
from tracejit.passes.manager import PassContext
from tracejit.transforms.jvp import jvp_graph
from tracejit.transforms.vjp import value_and_grad_graph, vjp_graph

from .checks import (
    central_difference,
    check_derivatives,
    differentiable_inputs,
    random_like,
)

WHILES = [s for s in LOOPS if s.name == "while"]
SCANS = [s for s in LOOPS if s.name == "scan"]


def loop(head: str, results: str, body: str, params: str) -> Graph:
    """Return the graph of one scan; `body` is ``inputs -> types: lines``."""
    ins, _, rest = body.partition("->")
    types, _, lines = rest.partition(":=")
    names = [f"%r{i}" for i in range(len(results.split(", ")))]
    pairs = zip(names, results.split(", "), strict=True)
    binders = ", ".join(f"{n}: {t}" for n, t in pairs)
    operands = ", ".join(w.split(":")[0] for w in head.split(", "))
    text = f"""
    graph @f({head}) -> ({results}) {{
      {binders} = scan {operands} {{body=graph @turn({ins}) -> ({types}) {{
        {lines}
      }}, {params}, unroll=1}}
      return {", ".join(names)}
    }}"""
    return verify(parse_graph(text))


# h -> tanh(h w + x): the slices, the constant and the results are what is needed.
RNN = loop(
    "%w: f64[3], %h: f64[3], %xs: f64[4,3]",
    "f64[3], f64[4,3]",
    """%w: f64[3], %h: f64[3], %x: f64[3] -> f64[3], f64[3] :=
        %0: f64[3] = mul %h, %w
        %1: f64[3] = add %0, %x
        %2: f64[3] = tanh %1
        return %2, %2""",
    "length=4, reverse=false, consts=1, carries=1",
)
# A carry that gets its tangent at the second turn only, through another one.
LATE = loop(
    "%x: f64[], %a: f64[], %b: f64[], %n: i64[]",
    "f64[], f64[], i64[]",
    """%x: f64[], %a: f64[], %b: f64[], %n: i64[] -> f64[], f64[], i64[] :=
        %0: f64[] = mul %b, %b
        %1: f64[] = mul %b, %x
        %2: i64[] = add %n, 1
        return %0, %1, %2""",
    "length=4, reverse=false, consts=1, carries=3",
)
# Swapped carries, a carry that becomes a constant, results that are operands.
SWAPPED = loop(
    "%w: f64[2], %a: f64[2], %b: f64[2], %c: f64[2], %xs: f64[3,2]",
    "f64[2], f64[2], f64[2], f64[3,2], f64[3,2], f64[3,2]",
    """%w: f64[2], %a: f64[2], %b: f64[2], %c: f64[2], %x: f64[2] -> f64[2], f64[2], f64[2], f64[2], f64[2], f64[2] :=
        %0: f64[2] = mul %a, %c
        return %b, %0, %w, %x, %w, %a""",  # noqa: E501
    "length=3, reverse=true, consts=1, carries=3",
)
NESTED = verify(
    parse_graph("""
    graph @f(%w: f64[2], %h: f64[2], %xs: f64[3,4,2]) -> (f64[2], f64[3,4,2]) {
      %0: f64[2], %1: f64[3,4,2] = scan %w, %h, %xs {body=graph @outer(%w: f64[2], %h: f64[2], %xs: f64[4,2]) -> (f64[2], f64[4,2]) {
          %0: f64[2], %1: f64[4,2] = scan %w, %h, %xs {body=graph @inner(%w: f64[2], %h: f64[2], %x: f64[2]) -> (f64[2], f64[2]) {
              %0: f64[2] = mul %h, %w
              %1: f64[2] = sin %0
              %2: f64[2] = add %1, %x
              %3: f64[2] = mul %2, %h
              return %2, %3
            }, length=4, reverse=true, consts=1, carries=1, unroll=1}
          return %0, %1
        }, length=3, reverse=false, consts=1, carries=1, unroll=1}
      return %0, %1
    }""")  # noqa: E501
)
GRAPHS = {"rnn": RNN, "late": LATE, "swapped": SWAPPED, "nested": NESTED}


def arguments(graph: Graph, seed: int = 0) -> list[np.ndarray]:
    rng = np.random.default_rng(seed)
    return [
        rng.uniform(0.4, 0.9, a.shape)
        if a.dtype.kind == "f"
        else np.zeros(a.shape, a.dtype)
        for a in graph.in_avals
    ]


@pytest.mark.parametrize("name", GRAPHS)
def test_derivatives(name: str):
    check_derivatives(GRAPHS[name], arguments(GRAPHS[name]))


@pytest.mark.parametrize("name", GRAPHS)
@pytest.mark.parametrize("inner", [jvp_graph, vjp_graph])
def test_second_derivatives(name: str, inner):
    """Both modes of what each mode gives."""
    graph = GRAPHS[name]
    once = verify(inner(graph, differentiable_inputs(graph)))
    check_derivatives(once, arguments(once, 1), rtol=1e-5)


def test_third_derivative():
    graph = verify(
        parse_graph("""
        graph @f(%x: f64[], %w: f64[]) -> (f64[]) {
          %0: f64[] = scan %w, %x {body=graph @turn(%w: f64[], %h: f64[]) -> (f64[]) {
              %0: f64[] = mul %h, %w
              %1: f64[] = sin %0
              return %1
            }, length=3, reverse=false, consts=1, carries=1, unroll=1}
          return %0
        }""")
    )
    for _ in range(2):
        again = value_and_grad_graph(graph, [0])
        graph = Graph("f", again.invars, again.outvars[-1:], again.eqns)
    check_derivatives(verify(graph), [np.asarray(0.7), np.asarray(1.3)], rtol=1e-5)


def test_only_some_operands():
    """Only the constant; only the slices; only the carry."""
    args = arguments(RNN)
    for i in range(3):
        rng = np.random.default_rng(i)
        check_derivatives(RNN, args, {i: random_like(rng, args[i])})


# --- what is kept -----------------------------------------------------------------


def loops_of(graph: Graph) -> list[Graph]:
    clean = dce(graph, PassContext())
    return [e for e in clean.eqns if e.primitive is scan_p]


def test_what_a_turn_keeps():
    """The carry before each turn is stacked; slices and results are where they are."""
    forward, backward = loops_of(vjp_graph(RNN, [0, 1, 2]))
    stacked = [v.aval.shape for v in forward.outvars]
    assert stacked == [(3,), (4, 3), (4, 3)]  # the carry, the ys, the carries before
    shapes = [x.aval.shape for x in backward.invars if isinstance(x, Var)]
    assert shapes.count((4, 3)) == 3  # the ys, the carries before, cotangents of ys
    assert backward.params["reverse"]


def test_nothing_is_kept_of_a_constant():
    """The derivative by the slices needs no stack of what is the same at each turn."""
    graph = loop(
        "%w: f64[3], %h: f64[3], %xs: f64[4,3]",
        "f64[3]",
        """%w: f64[3], %h: f64[3], %x: f64[3] -> f64[3] :=
            %0: f64[3] = exp %w
            %1: f64[3] = mul %0, %x
            %2: f64[3] = add %h, %1
            return %2""",
        "length=4, reverse=false, consts=1, carries=1",
    )
    whole = vjp_graph(graph, [2])
    less = Graph("f", whole.invars, whole.outvars[-1:], whole.eqns)
    (backward,) = loops_of(less)  # the values are not needed
    assert all(x.aval.shape != (4, 3) for x in backward.invars if isinstance(x, Var))
    check_derivatives(graph, arguments(graph))


def test_cheap_residuals_are_computed_again():
    graph = loop(
        "%h: f64[], %xs: f64[4]",
        "f64[], f64[4,9]",
        """%h: f64[], %x: f64[] -> f64[], f64[9] :=
            %0: f64[9] = broadcast_in_dim %x {shape=(9), dims=()}
            %1: f64[9] = mul %0, 2.0
            %2: f64[9] = broadcast_in_dim %h {shape=(9), dims=()}
            %3: f64[9] = mul %1, %2
            %4: f64[] = mul %h, %x
            return %4, %3""",
        "length=4, reverse=false, consts=0, carries=1",
    )
    forward, _ = loops_of(vjp_graph(graph, [0, 1]))
    extra = [v.aval.shape for v in forward.outvars[2:]]
    assert extra == [(4,)]  # the carry alone, nothing of nine elements
    check_derivatives(graph, arguments(graph))


def test_one_of_a_sigmoid_is_kept():
    """Of 1 / (1 + exp(-z)) the exponential: the sum and the quotient are made of it."""
    graph = loop(
        "%h: f64[3], %xs: f64[4,3]",
        "f64[3]",
        """%h: f64[3], %x: f64[3] -> f64[3] :=
            %0: f64[3] = mul %h, %x
            %1: f64[3] = neg %0
            %2: f64[3] = exp %1
            %3: f64[3] = add %2, 1.0
            %4: f64[3] = div 1.0, %3
            return %4""",
        "length=4, reverse=false, consts=0, carries=1",
    )
    forward, _ = loops_of(vjp_graph(graph, [0]))
    assert [v.aval.shape for v in forward.outvars] == [(3,), (4, 3)]
    check_derivatives(graph, arguments(graph))


def test_what_two_residuals_are_made_of_is_kept():
    """The carry, instead of two numbers computed from it."""
    graph = loop(
        "%h: f64[3], %xs: f64[4,3]",
        "f64[3]",
        """%h: f64[3], %x: f64[3] -> f64[3] :=
            %0: f64[3] = mul %h, 2.0
            %1: f64[3] = add %h, 1.0
            %2: f64[3] = sin %x
            %3: f64[3] = mul %0, %2
            %4: f64[3] = mul %3, %1
            return %4""",
        "length=4, reverse=false, consts=0, carries=1",
    )
    forward, _ = loops_of(vjp_graph(graph, [0]))
    kept = [v.aval.shape for v in forward.outvars[1:]]
    assert kept == [(4, 3)] * 2  # the carry and the sine
    check_derivatives(graph, arguments(graph))


def test_forward_mode_runs_one_loop():
    (eqn,) = jvp_graph(RNN, [0, 1, 2]).eqns
    assert eqn.primitive is scan_p
    assert len(eqn.outvars) == 4


# --- while ------------------------------------------------------------------------


@pytest.mark.parametrize("sample", WHILES, ids=sample_id)
def test_while_forward(sample: Sample):
    rng = np.random.default_rng(0)
    args = sample.make(rng)
    graph = sample.graph(args)
    for _ in range(2):  # and the derivative of the derivative
        wrt = differentiable_inputs(graph)
        tangents = {i: random_like(rng, args[i]) for i in wrt}
        n = len(graph.outvars)
        forward = verify(jvp_graph(graph, wrt))
        full = [*args, *tangents.values()]
        got = evaluate(forward, full)[n:]
        want = central_difference(graph, args, tangents)
        for x, y in zip(got, want, strict=True):
            np.testing.assert_allclose(x, y, rtol=1e-6, atol=1e-6)
        graph, args = forward, full


def test_while_forward_is_one_loop():
    sample = WHILES[0]
    graph = sample.graph(sample.make(np.random.default_rng(0)))
    forward = jvp_graph(graph, differentiable_inputs(graph))
    assert [e.primitive for e in forward.eqns] == [while_p]


def test_while_in_reverse():
    text = """
    graph @f(%x: f64[]) -> (f64[], f64[]) {
      %0: f64[] = while %x {test=graph @t(%x: f64[]) -> (bool[]) {
          %0: bool[] = lt %x, 9.0:f64
          return %0
        }, body=graph @b(%x: f64[]) -> (f64[]) {
          %0: f64[] = mul %x, 2.0
          return %0
        }, test_consts=0, body_consts=0}  ; model.py:7
      %1: f64[] = sin %x
      return %0, %1
    }"""
    graph = parse_graph(text)
    with pytest.raises(UnsupportedError) as error:
        value_and_grad_graph(graph, [0])
    assert str(error.value) == (
        "the gradient of a while_loop needs the values of every turn, and how many "
        "turns there are is not known\n"
        "  at model.py:7\n"
        "  try: use scan, or fori_loop with bounds that are known; or differentiate "
        "forward with jvp"
    )
    other = Graph("f", graph.invars, graph.outvars[::-1], graph.eqns)
    found = evaluate(verify(value_and_grad_graph(other, [0])), [np.asarray(2.0)])
    np.testing.assert_allclose(found[-1], np.cos(2.0))


def test_while_of_nothing_differentiated_passes():
    """A loop that only counts, inside of what is differentiated."""
    text = """
    graph @f(%x: f64[]) -> (f64[]) {
      %0: i64[] = while 0:i64 {test=graph @t(%n: i64[]) -> (bool[]) {
          %0: bool[] = lt %n, 5:i64
          return %0
        }, body=graph @b(%n: i64[]) -> (i64[]) {
          %0: i64[] = add %n, 2
          return %0
        }, test_consts=0, body_consts=0}
      %1: f64[] = convert %0 {dtype=f64}
      %2: f64[] = mul %x, %1
      return %2
    }"""
    graph = verify(parse_graph(text))
    found = evaluate(verify(value_and_grad_graph(graph, [0])), [np.asarray(2.0)])
    assert [float(x) for x in found] == [12.0, 6.0]
