"""What groups compute again instead of loading it; values keep their bits."""

from collections.abc import Sequence

import numpy as np
import pytest

import tracejit as tj
from tracejit.codegen.llvm.limits import LLVM
from tracejit.ir.graph import Graph, subgraph
from tracejit.ir.interp import evaluate
from tracejit.ir.ops.control import fusion_p
from tracejit.ir.parser import parse_graph
from tracejit.ir.verify import verify
from tracejit.passes.fuse import fuse_with
from tracejit.passes.manager import PassContext

OFF = frozenset({"recompute"})
FORWARD = """
  %0: f32[64,48] = dot_general %x, %w {contract=((1), (0)), batch=((), ())}
  %1: f32[64,48] = mul %0, 0.5
  %2: f32[64,48] = mul %0, %0
  %3: f32[64,48] = tanh %2
  %4: f32[64,48] = add %3, 1.0
  %5: f32[64,48] = mul %1, %4
  %6: f32[64,16] = dot_general %5, %v {contract=((1), (0)), batch=((), ())}
"""


def graph_of(body: str, results: str, between: str = FORWARD) -> Graph:
    """Return a graph of a product, what follows it, and a second product."""
    inputs = "%x: f32[64,32], %w: f32[32,48], %v: f32[48,16], %g: f32[64,48]"
    return parse_graph(f"graph @f({inputs}) -> ({results}) {{\n{between}{body}\n}}")


def fused(graph: Graph, off: frozenset[str] = frozenset()) -> Graph:
    return fuse_with(LLVM)(graph, PassContext(disabled_rules=off))


def kernels(graph: Graph) -> list[Graph]:
    return [subgraph(e.params) for e in graph.eqns if e.primitive is fusion_p]


def stored(kernel: Graph) -> list[str]:
    """Return the primitives whose results a kernel stores."""
    made = {v: e.primitive.name for e in kernel.eqns for v in e.outvars}
    return [made[v] for v in kernel.outvars]


BACKWARD = """
  %7: f32[64,48] = dot_general %6, %v {contract=((1), (1)), batch=((), ())}
  %8: f32[64,48] = mul %7, %4
  %9: f32[64,48] = mul %8, %1
  %10: f32[64,48] = mul %9, %2
  return %10"""


def test_what_follows_from_few_values_is_computed_again():
    """Of four values that are read, none is stored: all follow from the product."""
    graph = graph_of(BACKWARD, "f32[64,48]")
    before, after = kernels(fused(graph, OFF)), kernels(fused(graph))
    assert sorted(stored(before[0])) == ["add", "mul", "mul", "mul"]
    assert sorted(stored(after[0])) == ["dot_general", "mul"]
    assert len(before) == len(after)


@pytest.mark.parametrize("tanhs", [1, 2])
def test_what_costs_more_than_its_bytes_is_stored(tanhs):
    """A tanh is 12 operations; the eight bytes that it costs are worth 24."""
    body = """
  %7: f32[64,48] = dot_general %6, %v {contract=((1), (1)), batch=((), ())}
  %8: f32[64,48] = mul %7, %3
  %9: f32[64,48] = mul %8, %0
  return %9"""
    twice = FORWARD.replace("= tanh %2", "= tanh %t").replace(
        "%3:", "%t: f32[64,48] = tanh %2\n  %3:"
    )
    graph = graph_of(body, "f32[64,48]", FORWARD if tanhs == 1 else twice)
    names = sorted(stored(kernels(fused(graph))[0]))
    assert names == ["dot_general", "mul", *["tanh"] * (tanhs > 1)]


def test_results_and_operands_of_products_are_stored():
    body = """
  %7: f32[64,48] = add %g, %2
  %8: f32[64,48] = dot_general %7, %w {contract=((1), (1)), batch=((), ())}
  return %1, %8""".replace("64,48] = dot", "64,32] = dot")
    graph = graph_of(body, "f32[64,48], f32[64,32]")
    assert "mul" in stored(kernels(fused(graph))[0])
    verify(fused(graph))


TURNED = """
  %7: f32[48,64] = transpose %1 {perm=(1, 0)}
  %8: f32[48,64] = sort %7 {axis=0}
  return %6, %8"""
REVERSED = """
  %7: f32[64,48] = rev %1 {axes=(0)}
  %8: f32[64,48] = mul %7, %g
  return %6, %8"""


@pytest.mark.parametrize(
    ("body", "shape"), [(TURNED, "f32[48,64]"), (REVERSED, "f32[64,48]")]
)
def test_what_is_read_elsewhere_is_stored(body, shape):
    graph = graph_of(body, f"f32[64,16], {shape}")
    found, before = kernels(fused(graph)), kernels(fused(graph, OFF))
    assert [*map(stored, found)] == [*map(stored, before)]


def arguments(graph: Graph) -> list[np.ndarray]:
    rng = np.random.default_rng(3)
    return [rng.normal(size=v.aval.shape).astype(v.aval.dtype) for v in graph.invars]


def assert_equal(found: Sequence[object], wanted: Sequence[object]) -> None:
    for a, b in zip(found, wanted, strict=True):
        np.testing.assert_array_equal(a, b)


def test_values_keep_their_bits():
    graph = graph_of(BACKWARD, "f32[64,48]")
    assert_equal(
        *(evaluate(fused(graph, off), arguments(graph)) for off in (frozenset(), OFF))
    )


def two_stages(seed: int) -> Graph:
    """Return random arithmetic on a product and an array, a sort, and more of it."""
    rng = np.random.default_rng(seed)
    binary, unary = ("add", "mul", "sub", "maximum"), ("neg", "tanh", "abs", "sqrt")
    names, lines = ["%x", "%y"], []

    def step(text: str) -> None:
        name = f"%{len(lines)}"
        lines.append(f"  {name}: f32[6,6] = {text}")
        names.append(name)

    def arithmetic(count: int) -> None:
        for _ in range(count):
            a, b = rng.choice(names, 2)
            if rng.random() < 0.6:
                step(f"{rng.choice(binary)} {a}, {b}")
            else:
                step(f"{rng.choice(unary)} {a}")

    step("dot_general %x, %y {contract=((1), (0)), batch=((), ())}")
    names.remove("%x")
    arithmetic(rng.integers(3, 12))
    early = [*names]
    step(f"sort {names[-1]} {{axis=0}}")
    for _ in range(rng.integers(3, 12)):
        step(f"{rng.choice(binary)} {names[-1]}, {rng.choice(early)}")
    head = "graph @f(%x: f32[6,6], %y: f32[6,6]) -> (f32[6,6])"
    return parse_graph("\n".join([f"{head} {{", *lines, f"  return {names[-1]}", "}"]))


def test_random_graphs_keep_their_bits():
    fired = 0
    for seed in range(300):
        graph = two_stages(seed)
        args = [np.abs(x) for x in arguments(graph)]
        context = PassContext()
        found = fuse_with(LLVM)(graph, context)
        verify(found)
        fired += context.stats.fired["recompute"]
        with np.errstate(all="ignore"):
            assert_equal(evaluate(found, args), evaluate(fused(graph, OFF), args))
    assert fired >= 100


def gelu(x):
    return 0.5 * x * (1 + np.tanh(0.7978846 * (x + 0.044715 * x**3)))


def loss(w, v, b, x):
    return np.sum(gelu(x @ w + b) @ v)


def test_gradients_of_a_hidden_layer_store_two_arrays_of_its_size():
    """The operand of gelu for the backward pass, its result for a product."""
    rng = np.random.default_rng(0)
    shapes = (64, 256), (256, 64), (256,), (128, 64)
    args = [rng.normal(size=s).astype(np.float32) for s in shapes]
    lowered = tj.jit(tj.grad(loss, argnums=(0, 1, 2))).trace(*args).lower()
    hidden = [
        sum(v.aval.shape == (128, 256) for v in kernel.outvars)
        for kernel in kernels(lowered.graph)
    ]
    assert max(hidden) == 2
