"""Custom rules, checkpoints and barriers at the level of graphs."""

import numpy as np
import pytest

from tests.ir.samples import LAYER, SAMPLES
from tracejit.codegen.llvm.limits import LLVM
from tracejit.codegen.llvm.target import host_target
from tracejit.errors import UnsupportedError
from tracejit.ir.aval import ShapedArray
from tracejit.ir.builder import Builder
from tracejit.ir.graph import Graph
from tracejit.ir.interp import evaluate
from tracejit.ir.ops.callback import callback_p
from tracejit.ir.ops.control import call_p, cond_p
from tracejit.ir.ops.custom import barrier_p, checkpoint_p
from tracejit.ir.ops.elementwise import mul_p, sin_p
from tracejit.ir.primitive import HostFunction, Primitive
from tracejit.ir.verify import verify
from tracejit.passes.cse import cse
from tracejit.passes.dce import dce
from tracejit.passes.fold import fold
from tracejit.passes.manager import PassContext
from tracejit.passes.pipelines import compile_to_program, pipeline
from tracejit.passes.raising import expand_composites
from tracejit.program.interp import run_program
from tracejit.program.lower import lower_graph
from tracejit.runtime.cpu.executable import CpuExecutable
from tracejit.transforms.jvp import jvp_graph
from tracejit.transforms.vjp import vjp_graph

from .checks import check_derivatives

RNG = np.random.default_rng(0)
ARGS = [RNG.normal(size=3), RNG.normal(size=3)]
CTS = [RNG.normal(size=3), RNG.normal(size=3)]


def sample(name: str) -> Graph:
    one = next(s for s in SAMPLES if s.name == name)
    return one.graph(one.make(np.random.default_rng(0)))


def inside(graph: Graph, primitive: Primitive, **more: object) -> Graph:
    """Return a graph of one equation that holds `graph`."""
    b = Builder("outer")
    ins = [b.input(v.aval) for v in graph.invars]
    return b.build(b.emit_all(primitive, ins, {"graph": graph, **more}))


@pytest.mark.parametrize("held", [False, True], ids=["alone", "in a call"])
def test_custom_vjp_is_its_rule(held):
    graph = sample("custom_vjp")
    if held:
        graph = inside(graph, call_p)
    got = evaluate(verify(vjp_graph(graph, [0, 1])), [*ARGS, *CTS])
    want = evaluate(vjp_graph(LAYER, [0, 1]), [*ARGS, *CTS])
    for a, b in zip(got, want, strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-13)


@pytest.mark.parametrize("held", [False, True], ids=["alone", "in a call"])
def test_custom_vjp_has_no_forward_mode(held):
    graph = sample("custom_vjp")
    if held:
        graph = inside(graph, call_p)
    with pytest.raises(UnsupportedError, match="custom_jvp"):
        jvp_graph(graph, [0])
    jvp_graph(vjp_graph(graph, [0, 1]), [0, 1])  # of what `bwd` gives there is one


def test_backward_rule_is_differentiated():
    backward = vjp_graph(sample("custom_vjp"), [0, 1])
    check_derivatives(backward, [*ARGS, *CTS])


def test_custom_tangent_means_the_transpose_of_its_rule():
    one = next(s for s in SAMPLES if s.name == "custom_tangent")
    tangents = CTS
    got = evaluate(one.graph([*ARGS, *tangents]), [*ARGS, *tangents])
    want = evaluate(jvp_graph(LAYER, [0, 1]), [*ARGS, *tangents])[2:]
    for a, b in zip(got, want, strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-12)


# --- checkpoints ------------------------------------------------------------------


@pytest.mark.parametrize("save", [(), (("all", ""),), (("primitive", "mul"),)])
def test_checkpoint_of_checkpoint_and_calls(save):
    for graph in (
        inside(inside(LAYER, checkpoint_p, save=save), checkpoint_p, save=save),
        inside(inside(LAYER, checkpoint_p, save=save), call_p),
        inside(inside(LAYER, call_p), checkpoint_p, save=save),
    ):
        check_derivatives(graph, ARGS)
        check_derivatives(vjp_graph(graph, [0, 1]), [*ARGS, *CTS], rtol=1e-5)
        check_derivatives(jvp_graph(graph, [0, 1]), [*ARGS, *CTS], rtol=1e-5)


def test_recomputation_survives_the_passes():
    """No pass finds what is computed again equal to what was computed first."""
    graph = vjp_graph(inside(LAYER, checkpoint_p, save=()), [0, 1])
    for one in (expand_composites, fold, cse, dce):
        graph = verify(one(graph, PassContext()))
    products = [
        e
        for e in graph.eqns
        if e.primitive is mul_p and not set(e.invars) & set(graph.invars[2:])
    ]
    assert sum(e.primitive is sin_p for e in graph.eqns) == 1
    assert len([e for e in products if set(e.invars) == set(graph.invars[:2])]) == 1
    barriers = [e for e in graph.eqns if e.primitive is barrier_p]
    assert len(barriers) == 1
    after = set(barriers[0].outvars)
    assert any(after <= set(e.invars) for e in products)


# --- barriers ---------------------------------------------------------------------


def barrier(count: int, reads: tuple[int, ...]) -> Graph:
    b = Builder("f")
    ins = [b.input(ShapedArray((3,), np.dtype(np.float64))) for _ in range(3)]
    outs = b.emit_all(barrier_p, ins, {"count": count})
    return b.build([b.emit(sin_p, outs[i]) for i in reads])


def test_dce_drops_what_is_not_read_after_a_barrier():
    graph = verify(dce(barrier(2, (1,)), PassContext()))
    (eqn, _) = graph.eqns
    assert eqn.invars == graph.invars[1:]
    assert eqn.params == {"count": 1}
    assert dce(barrier(2, (0, 1)), PassContext()).eqns[0].params == {"count": 2}


def test_barrier_is_no_step():
    program = lower_graph(barrier(2, (0, 1)), [None] * 3)
    assert [s.primitive for s in program.steps] == [sin_p, sin_p]


def test_barrier_that_waits_for_tangents():
    """Linear in the tangent alone, which the values wait for."""
    b = Builder("f")
    aval = ShapedArray((3,), np.dtype(np.float64))
    x, t = b.input(aval), b.input(aval)
    (later,) = b.emit_all(barrier_p, [x, t], {"count": 1})
    graph = b.build([b.emit(mul_p, b.emit(sin_p, later), t)])
    check_derivatives(graph, ARGS)
    check_derivatives(graph, ARGS, {1: CTS[0]})


# --- effects ----------------------------------------------------------------------


def noting(log: list, name: str, effect: str = "ordered") -> dict:
    def call(x):
        log.append((name, float(x)))
        return ()

    return {"fn": HostFunction(name, call), "results": (), "effect": effect}


def branching(log: list) -> Graph:
    """Notes before, in a branch, in a call, and after."""
    scalar = ShapedArray((), np.dtype(np.float64))

    def part(name: str) -> Graph:
        b = Builder(name)
        x = b.input(scalar)
        b.emit_all(callback_p, [x], noting(log, name))
        return b.build([b.emit(sin_p, x)])

    b = Builder("f")
    p, x = b.input(ShapedArray((), np.dtype(bool))), b.input(scalar)
    b.emit_all(callback_p, [x], noting(log, "before"))
    b.emit_all(callback_p, [x], noting(log, "anywhere", "io"))
    branches = {"on_true": part("true"), "on_false": part("false")}
    (y,) = b.emit_all(cond_p, [p, x], branches)
    (z,) = b.emit_all(call_p, [y], {"graph": part("call")})
    (w,) = b.emit_all(checkpoint_p, [z], {"graph": part("again"), "save": ()})
    b.emit_all(callback_p, [w], noting(log, "after"))
    return b.build([w])


@pytest.mark.parametrize("p", [True, False])
@pytest.mark.parametrize("mode", ["value", "vjp", "jvp", "jvp of vjp"])
def test_effects_happen_once_and_in_order(p, mode):
    """Whatever is differentiated, in the interpreters and compiled."""
    log: list = []
    graph = branching(log)
    args = [np.asarray(p), np.asarray(0.5)]
    if mode != "value":
        graph = (jvp_graph if mode == "jvp" else vjp_graph)(graph, [1])
        args.append(np.asarray(1.0))
    if mode == "jvp of vjp":
        graph = jvp_graph(graph, [1])
        args.append(np.asarray(1.0))
    passes = pipeline(LLVM)
    context = PassContext(verify=True)
    fused, program = compile_to_program(graph, [None] * len(args), passes, context)
    compiled = CpuExecutable(program, host_target())
    want = ["before", "true" if p else "false", "call", "again", "after"]
    results = []
    for run in (
        lambda: evaluate(graph, args),
        lambda: evaluate(fused, args),
        lambda: run_program(program, args),
        lambda: compiled.run(args),
    ):
        results.append(run())
        assert [n for n, _ in log if n != "anywhere"] == want
        assert log.count(("anywhere", 0.5)) == 1
        log.clear()
    for got in results[1:]:
        for a, b in zip(got, results[0], strict=True):
            np.testing.assert_allclose(a, b, rtol=1e-12)
