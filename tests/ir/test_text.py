"""The text form: what is printed parses back to the same graph."""

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings

from tracejit.errors import ParseError
from tracejit.ir.aval import ShapedArray
from tracejit.ir.graph import Eqn, Graph, Literal, Var
from tracejit.ir.ops.elementwise import exp_p
from tracejit.ir.parser import parse_graph, parse_graphs
from tracejit.ir.primitive import ArrayConstant
from tracejit.ir.printer import format_array, format_eqn, format_graph, format_scalar
from tracejit.ir.verify import verify

from .random_graphs import graphs

EXAMPLE = """graph @mlp(%x: f32[8,16], %w: f32[16,4]) -> (f32[8,4]) {
  %0: f32[8,4] = dot_general %x, %w {contract=((1), (0)), batch=((), ())}  ; model.py:12
  %1: f32[8,4] = maximum %0, 0.0
  return %1
}"""


def sources(graph: Graph) -> list[tuple[str, ...]]:
    return [e.source for e in graph.eqns]


@given(graphs())
@settings(max_examples=200, deadline=None, suppress_health_check=list(HealthCheck))
def test_round_trip(graph):
    text = format_graph(verify(graph))
    again = verify(parse_graph(text))
    assert format_graph(again) == text
    assert again.key == graph.key  # structure, params and the bits of all constants
    assert sources(again) == sources(graph)


def test_example_is_printed_as_documented():
    assert format_graph(parse_graph(EXAMPLE)) == EXAMPLE


def test_comments_are_no_sources():
    text = EXAMPLE.replace("  %1", "  ; a comment\n  %1").replace(
        "{\n", "{ ; head\n", 1
    )
    assert sources(parse_graph(f"; file\n{text}\n; end")) == [("model.py:12",), ()]


def test_several_graphs():
    assert [g.name for g in parse_graphs(EXAMPLE + EXAMPLE.replace("mlp", "g"))] == [
        "mlp",
        "g",
    ]


def test_names_of_python_functions_are_made_printable():
    x = Var(ShapedArray((), np.dtype("f4")), "params['w']")
    graph = Graph("<lambda>", [x], [x], [])
    assert format_graph(graph).startswith("graph @_lambda_(%params__w__: f32[])")
    assert parse_graph(format_graph(graph)).key == graph.key


@pytest.mark.parametrize(
    ("value", "dtype", "text"),
    [
        (0.1, "f4", "0.1"),
        (0.1, "f8", "0.1"),
        (-0.0, "f4", "-0.0"),
        (np.inf, "f8", "inf"),
        (-np.inf, "f2", "-inf"),
        (np.nan, "f4", "nan"),
        (1e-45, "f4", "1e-45"),
        (2**63 - 1, "i8", "9223372036854775807"),
        (True, "?", "true"),
        (1 - 0.5j, "c8", "complex(1.0, -0.5)"),
    ],
)
def test_scalars(value, dtype, text):
    dtype = np.dtype(dtype)
    assert format_scalar(np.asarray(value, dtype)[()], dtype) == text


def test_nan_with_payload_keeps_its_bits():
    value = np.frombuffer(b"\x01\x00\xc0\xff", np.float32)[0]
    assert format_scalar(value, value.dtype) == "bits(0xffc00001)"


def test_arrays():
    assert format_array(ArrayConstant(np.arange(2.0))) == "dense<f64[2]: 0.0 1.0>"
    assert format_array(ArrayConstant(np.zeros((0, 2), "i4"))) == "dense<i32[0,2]: >"


def test_one_equation():
    x, y = (Var(ShapedArray((2,), np.dtype("f4"))) for _ in range(2))
    eqn = Eqn(exp_p, (x,), {}, (y,), ("a.py:1",))
    assert format_eqn(eqn) == "%1: f32[2] = exp %0  ; a.py:1"


def test_literal_of_another_dtype_says_so():
    graph = parse_graph("graph @f() -> (bool[]) {\n  %0: bool[] = eq 1.0:f32, nan:f32\n"
                        "  return %0\n}")  # fmt: skip
    assert "eq 1.0:f32, nan:f32" in format_graph(graph)
    assert isinstance(graph.eqns[0].invars[1], Literal)


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("maximum %0, 0.0", "maximux %0, 0.0", "expected the name of a primitive"),
        ("maximum %0", "maximum %q", "%q is not bound"),
        ("%1: f32[8,4] =", "%0: f32[8,4] =", "%0 is bound twice"),
        ("%w: f32[16,4])", "%x: f32[16,4])", "%x is bound twice"),
        ("contract=", "contrast=", "expected a param of dot_general (contract, batch)"),
        ("return %1", "return", "expected results of types (f32[8,4]), found ()"),
        ("-> (f32[8,4])", "-> (f32[8,5])", "types (f32[8,5]), found (f32[8,4])"),
        ("%x: f32[8,16]", "%x: f31[8,16]", "expected a type such as f32[2,3]"),
        ("%x: f32[8,16]", "%x: f32[8,a]", "expected an extent"),
        ("graph @mlp", "grape @mlp", "expected 'graph'"),
        ("return %1", "return 1.0", "expected a literal with its dtype, e.g. 1.0:f32"),
        ("maximum %0, 0.0", "maximum %0, $", "unexpected character '$'"),
    ],
)
def test_errors_say_what_was_expected(old, new, message):
    assert old in EXAMPLE
    with pytest.raises(ParseError) as error:
        parse_graph(EXAMPLE.replace(old, new, 1))
    assert message in str(error.value)


def test_errors_carry_line_and_column():
    with pytest.raises(ParseError, match=r"\(line 3, column 18\)") as error:
        parse_graph(EXAMPLE.replace("maximum", "maximux"))
    assert (error.value.line, error.value.column) == (3, 18)


def test_two_graphs_where_one_is_expected():
    with pytest.raises(ParseError, match="expected one graph, found 2"):
        parse_graph(EXAMPLE + EXAMPLE)
