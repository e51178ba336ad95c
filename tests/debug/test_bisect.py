"""`debug.bisect`: planted faults are found, at each level, and nothing else is."""

import os
from dataclasses import replace
from unittest import mock

import numpy as np
import pytest

import tracejit as tj
from tracejit.codegen.llvm import elementwise
from tracejit.codegen.llvm.limits import LLVM
from tracejit.debug.bisect import bisect, bisect_passes
from tracejit.debug.checks import no_nan
from tracejit.debug.levels import Setting
from tracejit.errors import TracejitError
from tracejit.ir.graph import Eqn, Graph
from tracejit.ir.ops.elementwise import add_p, exp_p, mul_p, sub_p
from tracejit.ir.ops.shape import concatenate_p
from tracejit.ir.parser import parse_graph
from tracejit.ir.printer import format_graph
from tracejit.kernels import lower as kernel_lowering
from tracejit.passes import pipelines
from tracejit.passes.manager import Pass, PassContext
from tracejit.passes.pipelines import pipeline
from tracejit.program.plan import plan_memory
from tracejit.program.program import Storage, While
from tracejit.runtime.cpu import executable as native

from .faults import CRASH, HANG, deadly_code, wrong_rule

PASSES = pipeline(LLVM)
CHAIN = parse_graph(
    """graph @f(%x: f32[4], %y: f32[4]) -> (f32[4]) {
  %0: f32[4] = sub %x, %y  ; a.py:1
  %1: f32[4] = exp %0  ; a.py:2
  %2: f32[4] = sub %1, 0.5  ; a.py:3
  %3: f32[4] = mul %2, %2  ; a.py:4
  %4: f32[4] = sub %3, %x  ; a.py:5
  return %4
}"""
)


def add_for_sub(b, primitive, ins, params):
    return (b.emit(add_p, *ins),) if len({x.aval for x in ins}) == 1 else None


def network(x, w):
    h = np.tanh(x @ w)
    return np.exp(h - h.max(axis=1, keepdims=True)).sum(axis=0) ** 2


def traced_network() -> Graph:
    return tj.jit(network).trace(np.ones((8, 16)), np.ones((16, 4))).graph


def test_right_pipelines_have_no_culprit():
    assert bisect_passes(CHAIN, PASSES) is None
    assert bisect_passes(traced_network(), PASSES) is None


def test_the_wrong_rewrite_of_several_is_named():
    def second_alone(b, primitive, ins, params):
        is_second = b.definition(ins[0]) is not None and ins[0].aval == ins[1].aval
        return (b.emit(add_p, *ins),) if is_second else None

    with wrong_rule("second_alone", sub_p, second_alone):
        found = bisect_passes(CHAIN, PASSES)
    assert (found.level, found.name, found.rule) == (
        "pass",
        "canonicalize",
        "second_alone",
    )
    assert found.first == found.last
    assert found.source == ("a.py:5",)
    text = found.change.as_text().split("\n")
    assert text == [
        "- %4: f32[4] = sub %3, %x  ; a.py:5",
        "+ %4: f32[4] = add %3, %x  ; a.py:5",
    ]


def test_right_rewrites_before_the_wrong_one_are_not_blamed():
    with wrong_rule("add_for_sub", sub_p, add_for_sub):
        found = bisect_passes(traced_network(), PASSES)
    assert found.rule == "add_for_sub"
    assert any("test_bisect.py" in line for line in found.source)


def test_passes_that_raise_are_found():
    def broken(graph: Graph, context: PassContext) -> Graph:
        raise RuntimeError("out of luck")

    passes = [*PASSES[:4], Pass("broken", broken, ""), *PASSES[4:]]
    found = bisect_passes(CHAIN, passes)
    assert found.name == "broken"
    assert "RuntimeError: out of luck" in found.reason


def test_rules_that_raise_are_named():
    """Not one that fired before, nor one that raises for what it is given."""

    def misplaced(b, primitive, ins, params):
        return (b.emit(concatenate_p, *ins, axis=1),)

    text = "graph @f(%x: f32[4]) -> (f32[4]) {\n  %0: f32[4] = mul %x, 1.0\n"
    graph = parse_graph(f"{text}  %1: f32[4] = exp %0\n  return %1\n}}")
    with wrong_rule("misplaced", exp_p, misplaced):
        found = bisect_passes(graph, PASSES)
    assert (found.name, found.rule) == ("canonicalize", "misplaced")
    assert found.first == 2


def test_passes_that_never_end_are_found():
    def endless(graph: Graph, context: PassContext) -> Graph:
        while True:
            pass

    found = bisect_passes(
        CHAIN, [*PASSES[:4], Pass("endless", endless, "")], seconds=0.2
    )
    assert (found.name, found.rule, found.died) == ("endless", "", "hang")
    assert found.reason == "it has not ended after 0.2 s"


@pytest.mark.parametrize("slower", (1, 5))
def test_rules_that_never_end_are_named(slower):
    """By one of the rewrites that go to and fro; where trials take longer as well."""

    def turned(graph: Graph, context: PassContext) -> Graph:
        while context.may_fire("turn"):
            for _ in range(1 if context.stats.limit is None else slower):
                (e,) = graph.eqns
                e = Eqn(e.primitive, e.invars[::-1], e.params, e.outvars, e.source)
                graph = Graph(graph.name, graph.invars, graph.outvars, [e])
            context.stats.fired["turn"] += 1
        return graph

    text = "graph @f(%x: f32[4], %y: f32[4]) -> (f32[4]) {\n  %0: f32[4] = add %x, %y"
    graph = parse_graph(f"{text}  ; a.py:1\n  return %0\n}}")
    for check in (None, lambda graph: None):
        found = bisect_passes(graph, [Pass("turned", turned, "")], check, seconds=0.2)
        assert (found.name, found.rule, found.died) == ("turned", "turn", "hang")
        assert found.first == found.last < found.total
        assert found.source == ("a.py:1",)


COUNTING = parse_graph(
    """graph @f(%x: f32[4]) -> (f32[4]) {
  %0: f32[4], %1: i64[] = while %x, 0:i64 {test=graph @test(%x: f32[4], %n: i64[]) -> (bool[]) {
      %0: bool[] = lt %n, 9:i64
      return %0
    }, body=graph @body(%x: f32[4], %n: i64[]) -> (f32[4], i64[]) {
      %0: f32[4] = sin %x
      %1: i64[] = add %n, 1:i64  ; a.py:1
      return %0, %1
    }, test_consts=0, body_consts=0}
  return %0
}"""  # noqa: E501
)


def sub_for_add(b, primitive, ins, params):
    return (b.emit(sub_p, *ins),)


@pytest.mark.parametrize("check", [None, no_nan([[np.ones(4, np.float32)]])])
def test_rewrites_that_give_a_graph_an_endless_loop_are_named(check):
    assert bisect_passes(COUNTING, PASSES, check) is None
    with wrong_rule("sub_for_add", add_p, sub_for_add):
        found = bisect_passes(COUNTING, PASSES, check, seconds=0.2)
    assert (found.name, found.rule, found.died) == (
        "canonicalize",
        "sub_for_add",
        "hang",
    )
    assert found.first == found.last
    assert found.source == ("a.py:1",)
    assert found.reason.startswith("it has not ended after 0.")


def test_invalid_graphs_are_found():
    def unbound(graph: Graph, context: PassContext) -> Graph:
        return Graph(graph.name, graph.invars, graph.outvars, graph.eqns[1:])

    found = bisect_passes(CHAIN, [*PASSES[:4], Pass("unbound", unbound, "")])
    assert found.name == "unbound"
    assert "VerifyError" in found.reason
    assert found.rule == ""


def test_inputs_of_another_graph_are_no_fault_of_a_pass():
    given = [np.ones(4, np.float32)]
    with pytest.raises(TracejitError, match=r"0 are f32\[4\]; @f takes f32\[4\], f32"):
        bisect_passes(CHAIN, PASSES, inputs=[given])
    with pytest.raises(TracejitError, match=r"inputs 1 are f32\[4\], f32\[3\]; @f"):
        bisect(CHAIN, SETTING, inputs=[given * 2, [*given, np.ones(3, np.float32)]])


def test_last_bits_count_where_passes_keep_them():
    def nearly(graph: Graph, context: PassContext) -> Graph:
        x = np.float32(0.5) + np.spacing(np.float32(0.5))
        text = graph_text.replace("0.5", str(x))
        return parse_graph(text)

    graph_text = format_graph(CHAIN)
    assert bisect_passes(CHAIN, [Pass("nearly", nearly, "")]).name == "nearly"
    assert bisect_passes(CHAIN, [Pass("nearly", nearly, "", is_exact=False)]) is None


def test_checks_of_ones_own():
    def no_exp(graph: Graph) -> str | None:
        return "it has exp" if any(e.primitive is exp_p for e in graph.eqns) else None

    with pytest.raises(TracejitError, match="as traced fails the check already"):
        bisect_passes(CHAIN, PASSES, no_exp)

    def has_product(graph: Graph) -> str | None:
        has = any(e.primitive is mul_p for e in graph.eqns)
        return None if has else "no product"

    found = bisect_passes(CHAIN, PASSES, has_product)
    assert (found.name, found.rule) == ("fma", "contract_fma")
    assert found.reason == "no product"


# --- below the graph --------------------------------------------------------------


SETTING = Setting(PASSES)


def rows(x):
    shifted = x - x.max(axis=1, keepdims=True)
    return np.exp(shifted) / np.exp(shifted).sum(axis=1, keepdims=True)


def twice(x, w):
    return np.sort(np.tanh(x) @ w, axis=0) + np.cos(x) @ w


def graph_of(function, *args) -> Graph:
    return tj.jit(function).trace(*args).graph


ROWS = graph_of(rows, np.ones((6, 40), np.float32))
TWICE = graph_of(twice, np.ones((20, 20), np.float32), np.ones((20, 20), np.float32))


@pytest.mark.parametrize("graph", [CHAIN, ROWS, TWICE])
def test_nothing_is_wrong_below_the_graph(graph):
    assert bisect(graph, SETTING) is None


@pytest.mark.parametrize(
    ("function", "shape", "dtype"),
    [
        (lambda x: x.sum(0), (100000, 3), "f4"),  # NumPy adds them one by one
        (np.cumsum, (9001,), "f4"),
        (np.prod, (40000,), "f8"),  # which is subnormal
    ],
)
def test_errors_of_long_sums_grow(function, shape, dtype):
    assert bisect(graph_of(function, np.ones(shape, dtype)), SETTING) is None


def test_extrema_of_two_zeros_are_either():
    """As in NumPy, where the place in the array decides which."""
    x = np.resize(np.array([0.0, -0.0, -0.0]), 67)
    y = -x
    for function in (np.fmax, np.fmin, np.maximum, np.minimum):
        assert bisect(graph_of(function, x, y), SETTING, inputs=[(x, y)]) is None


def test_wrong_kernels_of_right_groups_are_named():
    ops = {**kernel_lowering.REDUCE_OPS, "reduce_sum": "mul"}
    with mock.patch.object(kernel_lowering, "REDUCE_OPS", ops):
        found = bisect(ROWS, SETTING)
    assert found.level == "kernel"
    assert "_k0" in found.name
    assert any("reduce_sum" in note for note in found.notes)
    assert found.source


def overlapping(program):
    """Plan memory as if all intermediate buffers could share it."""
    planned = plan_memory(program)
    buffers = tuple(
        replace(b, offset=0) if b.storage is Storage.ARENA else b
        for b in planned.buffers
    )
    return replace(planned, buffers=buffers)


def test_wrong_steps_of_lowering_are_named():
    with mock.patch.object(pipelines, "plan_memory", overlapping):
        found = bisect(TWICE, SETTING)
    assert (found.level, found.name) == ("program", "plan")

    def unmerged(program):
        raise ValueError("cannot merge")

    with mock.patch.object(pipelines, "merge_alike", unmerged):
        found = bisect(TWICE, SETTING)
    assert (found.level, found.name) == ("program", "merge")
    assert "cannot merge" in found.reason


def test_programs_that_never_end_are_named():
    def endless(program):
        steps = (
            replace(s, steps=()) if isinstance(s, While) else s for s in program.steps
        )
        return replace(program, steps=tuple(steps))

    with mock.patch.object(pipelines, "merge_alike", endless):
        found = bisect(COUNTING, Setting(PASSES, seconds=0.2))
    assert (found.level, found.name, found.died) == ("program", "merge", "hang")
    assert found.reason.startswith("it has not ended after 0.")


@pytest.mark.parametrize(
    ("table", "name", "other"),
    [
        (elementwise._EXACT_FLOAT, "maximum", "minimum"),
        (elementwise._EXACT_FLOAT, "floor", "ceil"),
        (elementwise._ROUNDED_FLOAT, "sub", "add"),
    ],
)
def test_wrong_code_of_right_kernels_is_named(table, name, other):
    graph = graph_of(
        lambda x, y: np.sort(np.floor(np.maximum(x, y)) - np.abs(x)),
        np.ones((33,), np.float32),
        np.ones((33,), np.float32),
    )
    assert bisect(graph, SETTING) is None
    with mock.patch.dict(table, {name: table[other]}):
        found = bisect(graph, SETTING)
    assert found.level == "code"
    assert "_k0" in found.name
    assert "in machine code" in found.reason
    assert any("test_bisect.py" in line for line in found.source)


def test_small_errors_of_the_only_step_are_its_own():
    """Errors of a step alone are seen from 64 roundings on; these are 40."""
    usual = elementwise._ROUNDED_FLOAT["mul"]

    def inexact(x, a, b):
        return usual(x, usual(x, a, b), x.const(1 + 40 * 2.0**-23))

    graph = graph_of(np.multiply, *np.ones((2, 33), np.float32))
    with mock.patch.dict(elementwise._ROUNDED_FLOAT, {"mul": inexact}):
        found = bisect(graph, SETTING)
    assert (found.level, found.name) == ("code", "multiply_k0_mul")


# --- code that crashes or hangs ---------------------------------------------------

STEPS = graph_of(
    lambda x, y: np.maximum(np.sort(np.floor(x)), y).sum(),
    np.ones((33,), np.float32),
    np.ones((33,), np.float32),
)


@pytest.mark.parametrize(
    ("instruction", "died", "reason"),
    [
        (CRASH, "SIGSEGV", "it kills the process: SIGSEGV, segmentation fault"),
        (HANG, "hang", "it has not ended after 0.5 s"),
    ],
    ids=["crash", "hang"],  # their texts have addresses
)
def test_code_that_ends_the_process_or_never_ends_is_named(instruction, died, reason):
    with deadly_code("maximum", instruction):
        found = bisect(STEPS, Setting(PASSES, seconds=0.5))
    assert (found.level, found.died, found.reason) == ("code", died, reason)
    assert "_k1" in found.name
    assert any("test_bisect.py" in line for line in found.source)
    assert found.as_json()["died"] == died


def test_a_compiler_that_ends_the_process_is_no_end_of_bisect():
    def emit(*args, **kwargs):
        os.abort()

    with mock.patch.object(native, "emit_program", emit):
        found = bisect(STEPS, SETTING)
    assert (found.level, found.died) == ("code", "SIGABRT")


# --- calls ------------------------------------------------------------------------


def halve(x, index):
    x -= x / 2
    return x[index]


def test_calls_are_bisected_with_their_own_arguments():
    x = np.arange(24.0).reshape(4, 6)
    before = x.copy()
    for given in (x, x.T, x[::2]):
        assert tj.debug.bisect_call(halve, given, np.array([1])) is None
    np.testing.assert_array_equal(x, before)
    with wrong_rule("add_for_sub", sub_p, add_for_sub):
        found = tj.debug.bisect_call(halve, x.T, np.array([5]))
    assert found.rule == "add_for_sub"
    assert "inputs 0" in found.reason
