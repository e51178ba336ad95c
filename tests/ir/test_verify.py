"""Each numbered invariant, broken once."""

from collections.abc import Iterator
from contextlib import contextmanager

import numpy as np
import pytest

from tracejit.errors import VerifyError
from tracejit.ir.aval import ShapedArray
from tracejit.ir.graph import Eqn, Graph, Literal, Var
from tracejit.ir.ops.control import call_p
from tracejit.ir.ops.elementwise import add_p, exp_p
from tracejit.ir.ops.shape import broadcast_in_dim_p, reshape_p, rev_p
from tracejit.ir.primitive import REGISTRY, Kind, Primitive
from tracejit.ir.verify import verify

F32 = np.dtype(np.float32)
VECTOR = ShapedArray((3,), F32)


def var(*shape: int) -> Var:
    return Var(ShapedArray(shape, F32))


def exp_of(x: Var | Literal, out: Var, source: tuple[str, ...] = ()) -> Eqn:
    return Eqn(exp_p, (x,), {}, (out,), source)


def check_breaks(number: str, graph: Graph, message: str) -> None:
    with pytest.raises(VerifyError) as error:
        verify(graph)
    assert f"invariant {number} is broken in @f" in str(error.value)
    assert message in str(error.value)


def test_a_valid_graph_is_returned():
    x, y = var(3), var(3)
    graph = Graph("f", [x], [y], [exp_of(x, y)])
    assert verify(graph) is graph


def test_v1_operand_is_not_bound_before_its_use():
    x, y, z = var(3), var(3), var(3)
    graph = Graph("f", [x], [z], [exp_of(y, z), exp_of(x, y)])
    check_breaks("V1", graph, "an operand is not bound before its use")


def test_v2_result_is_bound_twice():
    x, y = var(3), var(3)
    graph = Graph("f", [x], [y], [exp_of(x, y), exp_of(x, y)])
    check_breaks("V2", graph, "a result is bound twice")


def test_v2_input_is_bound_twice():
    x = var(3)
    check_breaks("V2", Graph("f", [x, x], [x], []), "an input is bound twice")


def test_v3_result_is_not_what_abstract_eval_gives():
    x, y = var(3), var(4)
    graph = Graph("f", [x], [y], [exp_of(x, y)])
    check_breaks("V3", graph, "results are [f32[4]], expected [f32[3]]")


def test_v3_operands_do_not_fit():
    x, y, z = var(3), var(4), var(3)
    graph = Graph("f", [x, y], [z], [Eqn(add_p, (x, y), {}, (z,))])
    check_breaks("V3", graph, "add takes operands of one shape")


def test_v4_param_is_missing():
    x, y = var(3), var(3)
    graph = Graph("f", [x], [y], [Eqn(rev_p, (x,), {}, (y,))])
    check_breaks("V4", graph, "params [], expected ['axes']")


def test_v4_param_is_of_the_wrong_kind():
    x, y = var(3), var(3)
    graph = Graph("f", [x], [y], [Eqn(rev_p, (x,), {"axes": (True,)}, (y,))])
    check_breaks("V4", graph, "param axes is a tuple, expected tuple of ints")


def test_v4_numpy_ints_are_not_ints():
    """They would make keys differ that must be equal."""
    x, y = var(3), var(3)
    params = {"shape": (np.int64(3),)}
    graph = Graph("f", [x], [y], [Eqn(reshape_p, (x,), params, (y,))])
    check_breaks("V4", graph, "param shape is a tuple, expected tuple of ints")


def test_v5_primitive_is_not_registered():
    mine = Primitive("exp", exp_p.abstract_eval, np.exp, kind=Kind.ELEMENTWISE)
    x, y = var(3), var(3)
    graph = Graph("f", [x], [y], [Eqn(mine, (x,), {}, (y,))])
    check_breaks("V5", graph, "exp is not the registered primitive")


def test_v6_literal_has_a_shape():
    wrong = Literal(1.0, F32)
    wrong.aval = VECTOR
    y = var(3)
    check_breaks("V6", Graph("f", [], [y], [exp_of(wrong, y)]), "has shape (3,)")


@contextmanager
def registered(primitive: Primitive) -> Iterator[None]:
    REGISTRY[primitive.name] = primitive
    try:
        yield
    finally:
        del REGISTRY[primitive.name]


def test_v7_elementwise_operand_has_another_shape():
    careless = Primitive(
        "careless", lambda x, y: VECTOR, lambda x, y: x, kind=Kind.ELEMENTWISE
    )
    x, y, z = var(3), var(1), var(3)
    graph = Graph("f", [x, y], [z], [Eqn(careless, (x, y), {}, (z,))])
    with registered(careless):
        check_breaks("V7", graph, "an operand's shape is neither () nor (3,)")


def test_v8_subgraph_closes_over_a_variable():
    x, inner_x, y, z = var(3), var(3), var(3), var(3)
    inner = Graph("inner", [inner_x], [y], [exp_of(x, y)])
    graph = Graph("f", [x], [z], [Eqn(call_p, (x,), {"graph": inner}, (z,))])
    check_breaks("V8", graph, "invariant V1 is broken in @inner")


def test_v9_output_is_not_bound():
    check_breaks("V9", Graph("f", [var(3)], [var(3)], []), "an output is not bound")


def test_v10_extent_is_negative():
    x = var(-3)
    check_breaks("V10", Graph("f", [x], [x], []), "f32[-3] is no aval")


def test_v10_result_has_a_negative_extent():
    y = var(-3)
    params = {"shape": (-3,), "dims": ()}
    eqn = Eqn(broadcast_in_dim_p, (Literal(1.0, F32),), params, (y,))
    check_breaks("V10", Graph("f", [], [y], [eqn]), "f32[-3] is no aval")


def test_error_shows_neighbours_and_the_users_line():
    x, y, z = var(3), var(3), var(4)
    eqns = [exp_of(x, y, ("model.py:1",)), exp_of(y, z, ("model.py:2",))]
    with pytest.raises(VerifyError) as error:
        verify(Graph("f", [x], [z], eqns))
    text = str(error.value)
    assert "    %1: f32[3] = exp %0  ; model.py:1" in text
    assert "  > %2: f32[4] = exp %1  ; model.py:2" in text
    assert "at model.py:2" in text
