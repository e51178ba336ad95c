"""Avals, dtypes, graphs and their keys, the builder and the interpreter."""

import pickle

import ml_dtypes
import numpy as np
import pytest

from tracejit.errors import DTypeError, IndexRangeError, InternalError, ShapeError
from tracejit.ir import dtypes as dt
from tracejit.ir.aval import ShapedArray
from tracejit.ir.builder import Builder
from tracejit.ir.graph import Graph
from tracejit.ir.interp import evaluate
from tracejit.ir.liveness import live_equations
from tracejit.ir.ops.elementwise import add_p, exp_p, mul_p
from tracejit.ir.ops.shape import constant_p
from tracejit.ir.parser import parse_graph
from tracejit.ir.primitive import ArrayConstant
from tracejit.ir.rewrite import RuleStats
from tracejit.ir.simplify import SIMPLIFY

F32 = np.dtype(np.float32)
VECTOR = ShapedArray((3,), F32)

# --- dtypes and avals -------------------------------------------------------------


@pytest.mark.parametrize("name", dt.NAME_TO_DTYPE)
def test_canonical_keeps_supported_dtypes(name):
    dtype = dt.NAME_TO_DTYPE[name]
    assert dt.canonical(dtype) is dtype
    assert dt.dtype_name(dtype) == name


def test_canonical_takes_what_numpy_takes():
    assert dt.canonical(float) == np.float64
    assert dt.canonical("longlong") is dt.INT64
    assert dt.canonical(ml_dtypes.bfloat16) is dt.BFLOAT16
    assert dt.canonical(ml_dtypes.float8_e4m3fn) is dt.FLOAT8_E4M3FN
    assert dt.canonical("float8_e5m2") is dt.FLOAT8_E5M2


@pytest.mark.parametrize(
    "dtype",
    [
        object,
        "U3",
        "datetime64[s]",
        [("a", "f4")],
        np.longdouble,
        ml_dtypes.float8_e4m3b11fnuz,
        ml_dtypes.float8_e5m2fnuz,
    ],
    ids=str,
)
def test_canonical_refuses_other_dtypes(dtype):
    if np.dtype(dtype) == np.float64:
        pytest.skip("long double is float64 on this platform")
    with pytest.raises(DTypeError, match="is not supported; supported are bool, i8"):
        dt.canonical(dtype)


def test_canonical_refuses_a_foreign_byte_order():
    with pytest.raises(DTypeError, match=r"non-native byte order\n  try: .*float32"):
        dt.canonical(np.dtype(np.float32).newbyteorder("S"))


def test_avals_are_interned_and_frozen():
    assert ShapedArray((3,), F32) is VECTOR
    assert ShapedArray((np.int64(3),), F32) is VECTOR
    assert pickle.loads(pickle.dumps(VECTOR)) is VECTOR
    assert (VECTOR.ndim, VECTOR.size, VECTOR.nbytes) == (1, 3, 12)
    with pytest.raises(AttributeError, match="frozen"):
        VECTOR.shape = (4,)


# --- keys -------------------------------------------------------------------------

TEXT = """graph @f(%x: f32[3]) -> (f32[3]) {
  %0: f32[3] = mul %x, 2.0  ; a.py:1
  %1: f32[3] = rev %0 {axes=(0)}
  return %1
}"""


@pytest.mark.parametrize(
    ("old", "new", "same"),
    [
        ("@f", "@g", True),
        ("%x", "%y", True),
        ("a.py:1", "b.py:2", True),
        ("2.0", "2.5", False),
        ("mul", "add", False),
        ("axes=(0)", "axes=()", False),
        ("[3]", "[4]", False),
        ("return %1", "return %0", False),
        ("f32", "f64", False),
    ],
)
def test_key_is_of_the_structure(old, new, same):
    graph, other = parse_graph(TEXT), parse_graph(TEXT.replace(old, new))
    assert (graph.key == other.key) == same


def test_key_tells_zeros_and_constants_apart():
    def key(value: str) -> str:
        return parse_graph(TEXT.replace("2.0", value)).key

    assert key("0.0") != key("-0.0")
    assert key("nan") == key("nan")


def test_key_sees_into_subgraphs():
    inner = """graph @f(%x: f32[3]) -> (f32[3]) {{
      %0: f32[3] = call %x {{graph=graph @{0}(%x: f32[3]) -> (f32[3]) {{
        %0: f32[3] = {1} %x
        return %0
      }}}}
      return %0
    }}"""
    keys = [parse_graph(inner.format(*w)).key for w in (("a", "exp"), ("b", "exp"))]
    assert keys[0] == keys[1] != parse_graph(inner.format("a", "sin")).key


def test_array_constants_compare_by_bits():
    assert ArrayConstant(np.array([np.nan])) == ArrayConstant(np.array([np.nan]))
    assert ArrayConstant(np.array([0.0])) != ArrayConstant(np.array([-0.0]))
    assert ArrayConstant(np.zeros(2, "f4")) != ArrayConstant(np.zeros(1, "f8"))
    with pytest.raises(ValueError, match="read-only"):
        ArrayConstant(np.zeros(2)).array[0] = 1


# --- builder ----------------------------------------------------------------------


def test_builder_value_numbers_by_bits():
    b = Builder("f", value_number=True)
    x = b.input(VECTOR)
    assert b.emit(mul_p, x, np.nan) is b.emit(mul_p, x, np.nan)
    assert b.emit(add_p, x, 0.0) is not b.emit(add_p, x, -0.0)
    assert b.stats.fired["value_number"] == 1


def test_value_numbering_ignores_the_order_of_params():
    b = Builder("f", value_number=True)
    c = ArrayConstant(np.zeros(2))
    assert b.emit(constant_p, value=c) is b.emit(
        constant_p, value=ArrayConstant(c.array)
    )


def test_rules_stop_at_the_limit():
    stats = RuleStats(limit=1)
    b = Builder("f", SIMPLIFY, stats=stats)
    x = b.input(VECTOR)
    assert b.emit(mul_p, x, 1.0) is x
    assert b.emit(mul_p, x, 1.0) is not x
    assert stats.total == 1


def test_literals_need_a_dtype():
    with pytest.raises(InternalError, match="no operand"):
        Builder("f").emit(add_p, 1.0, 2.0)


def test_inline_replays():
    b = Builder("g", SIMPLIFY, value_number=True)
    x = b.input(VECTOR)
    outs = b.inline(parse_graph(TEXT), [x])
    again = b.inline(parse_graph(TEXT), [x])
    assert outs == again
    assert [e.source for e in b.eqns] == [("a.py:1",), ()]


# --- interpreter ------------------------------------------------------------------


def test_evaluate():
    (out,) = evaluate(parse_graph(TEXT), [np.array([1, 2, 3], "f4")])
    np.testing.assert_array_equal(out, np.array([6, 4, 2], "f4"))


@pytest.mark.parametrize("wrong", [np.zeros(3), np.zeros(4, "f4"), 1.0])
def test_evaluate_wants_exact_arguments(wrong):
    with pytest.raises(
        InternalError, match=r"argument of @f gave .*, expected f32\[3\]"
    ):
        evaluate(parse_graph(TEXT), [wrong])


def test_evaluate_gives_no_warnings():
    graph = parse_graph(TEXT.replace("mul %x, 2.0", "log %x"))
    (out,) = evaluate(graph, [np.array([-1, 0, np.inf], "f4")])
    np.testing.assert_array_equal(out, np.array([np.inf, -np.inf, np.nan], "f4"))


def gather(mode: str) -> Graph:
    return parse_graph(f"""graph @f(%x: f32[3], %i: i64[2]) -> (f32[2]) {{
      %0: f32[2] = gather %x, %i {{axes=(0), batch=0, mode="{mode}"}}
      return %0
    }}""")


def test_gather_modes():
    x = np.array([1, 2, 3], "f4")
    (wrapped,) = evaluate(gather("raise"), [x, np.array([-1, 0])])
    (clamped,) = evaluate(gather("clip"), [x, np.array([-1, 9])])
    np.testing.assert_array_equal(wrapped, np.array([3, 1], "f4"))
    np.testing.assert_array_equal(clamped, np.array([1, 3], "f4"))
    with pytest.raises(
        IndexRangeError, match="index 3 is out of bounds for an axis of 3"
    ):
        evaluate(gather("raise"), [x, np.array([0, 3])])


def test_gather_refuses_other_modes():
    graph = gather("wrap")
    with pytest.raises(ShapeError, match="mode is 'wrap'"):
        evaluate_types(graph)


def evaluate_types(graph: Graph) -> None:
    for eqn in graph.eqns:
        eqn.primitive.out_avals([x.aval for x in eqn.invars], eqn.params)


def test_fma_rounds_once():
    graph = parse_graph("""graph @f(%x: f64[1], %y: f64[1], %z: f64[1]) -> (f64[1]) {
      %0: f64[1] = fma %x, %y, %z
      return %0
    }""")
    x = 1 + 2.0**-30
    args = [np.array([x]), np.array([x]), np.array([-1 - 2.0**-29])]
    assert evaluate(graph, args)[0][0] == 2.0**-60


def test_live_equations_keep_checks():
    graph = gather("raise")
    assert live_equations(graph.eqns, []) == list(graph.eqns)
    assert live_equations(gather("clip").eqns, []) == []


def test_graphs_compare_by_identity():
    b = Builder("f")
    graph = b.build([b.emit(exp_p, b.input(VECTOR))])
    assert graph == graph
    assert graph != Graph("f", graph.invars, graph.outvars, graph.eqns)
