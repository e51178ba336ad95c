"""The declared derivatives of all primitives, in both modes and twice."""

import numpy as np
import pytest

from tests.ir.samples import SAMPLES, Sample, sample_id
from tracejit.errors import DTypeError, ShapeError, UnsupportedError
from tracejit.ir.aval import ShapedArray
from tracejit.ir.builder import Builder
from tracejit.ir.graph import Graph
from tracejit.ir.interp import evaluate
from tracejit.ir.ops.elementwise import abs_p, add_p, convert_p, mul_p, real_p
from tracejit.ir.ops.reduce import reduce_sum_p
from tracejit.ir.parser import parse_graph
from tracejit.ir.verify import verify
from tracejit.transforms.jvp import jvp_graph
from tracejit.transforms.vjp import value_and_grad_graph, vjp_graph

from .checks import check_derivatives, differentiable_inputs, random_like

# Their derivative is not that of what they compute, or not declared (tested below), or
# only forward (in test_loops).
NOT_BY_DIFFERENCES = {
    *("stop_gradient", "while", "callback", "check", "custom_vjp", "custom_tangent"),
    *("geqrf", "householder_product"),
}
SMOOTH_TWICE = {
    *("add", "sub", "mul", "div", "fma", "pow", "sqrt", "cbrt", "exp", "exp2", "expm1"),
    *("log", "log2", "log10", "log1p", "logaddexp", "sin", "cos", "tan", "sinh"),
    *("cosh", "tanh", "arcsin", "arccos", "arctan", "arcsinh", "arccosh", "arctanh"),
    *("arctan2", "hypot", "erf", "erfc", "logistic", "select", "complex", "real"),
    *("reduce_sum", "reduce_prod", "cumsum", "cumprod", "broadcast_in_dim", "slice"),
    *("update_slice", "pad", "concatenate", "dot_general", "gather", "fft", "inv"),
    *("det", "slogdet", "solve", "call", "cond", "composite", "fusion", "neg", "conj"),
    *("conv_general", "window_max", "window_pick", "window_place", "scan"),
    *("custom_jvp", "checkpoint", "checkpoint_name", "barrier"),
    *("triangular_solve", "inv_or_nan", "eigvals", "eig", "svdvals", "svd", "pinv"),
    *("lstsq", "qr", "lu"),
}
DIFFERENTIABLE = [
    s
    for s in SAMPLES
    if s.name not in NOT_BY_DIFFERENCES
    and any(x.dtype.kind in "fc" for x in s.make(np.random.default_rng(0)))
]


def direction(sample: Sample, args: list[np.ndarray]) -> dict[int, np.ndarray]:
    rng = np.random.default_rng(3)
    chosen = {
        i: random_like(rng, x) for i, x in enumerate(args) if x.dtype.kind in "fc"
    }
    if sample.symmetric:
        t = chosen[0]
        chosen[0] = t + t.conj().swapaxes(-1, -2)
    return chosen


@pytest.mark.parametrize("sample", DIFFERENTIABLE, ids=sample_id)
def test_derivative(sample: Sample):
    args = sample.make(np.random.default_rng(2))
    check_derivatives(sample.graph(args), args, direction(sample, args))


@pytest.mark.parametrize(
    "sample",
    [s for s in SAMPLES if s.name in SMOOTH_TWICE and not s.symmetric],
    ids=sample_id,
)
def test_second_derivative(sample: Sample):
    """Differentiate the reverse-mode graph again."""
    args = sample.make(np.random.default_rng(4))
    graph = sample.graph(args)
    wrt = differentiable_inputs(graph)
    backward = vjp_graph(graph, wrt)
    rng = np.random.default_rng(5)
    cts = [ShapedArray(a.shape, a.dtype) for a in backward.in_avals[len(args) :]]
    weights = [random_like(rng, np.empty(a.shape, a.dtype)) for a in cts]
    full = [*args, *weights]
    chosen = {i: random_like(rng, args[i]) for i in wrt}
    check_derivatives(backward, full, chosen, rtol=1e-5)


def test_eigenvectors_of_hermitian_matrices():
    """What does not depend on the phase: eigenvalues, and a projector."""
    graph = parse_graph("""
    graph @f(%a: c128[3,3]) -> (f64[3], c128[3,3]) {
      %w: f64[3], %v: c128[3,3] = eigh %a
      %s: c128[3,1] = slice %v {start=(0, 0), stop=(3, 1), stride=(1, 1)}
      %c: c128[3,1] = conj %s
      %p: c128[3,3] = dot_general %s, %c {contract=((1), (1)), batch=((), ())}
      return %w, %p
    }""")
    rng = np.random.default_rng(0)
    x = rng.normal(size=(3, 3)) + 1j * rng.normal(size=(3, 3))
    t = rng.normal(size=(3, 3)) + 1j * rng.normal(size=(3, 3))
    a = x @ x.conj().T + np.diag([1.0, 3.0, 7.0])
    check_derivatives(graph, [a], {0: t + t.conj().T})


# --- whole graphs -----------------------------------------------------------------

MLP = """
graph @mlp(%x: f64[5,3], %w: f64[3,4], %b: f64[4], %v: f64[4,1], %n: i64[5]) -> (f64[], i64[5]) {
  %0: f64[5,4] = dot_general %x, %w {contract=((1), (0)), batch=((), ())}
  %1: f64[5,4] = broadcast_in_dim %b {shape=(5, 4), dims=(1)}
  %2: f64[5,4] = add %0, %1
  %3: f64[5,4] = tanh %2
  %4: f64[5,1] = dot_general %3, %v {contract=((1), (0)), batch=((), ())}
  %5: f64[5,1] = gather %4, %n {axes=(0), batch=0, mode="raise"}
  %6: f64[5,1] = mul %5, %5
  %7: f64[] = reduce_sum %6 {axes=(0, 1)}
  return %7, %n
}
"""  # noqa: E501


def mlp_args() -> list[np.ndarray]:
    rng = np.random.default_rng(0)
    shapes = [(5, 3), (3, 4), (4,), (4, 1)]
    return [*(rng.normal(size=s) for s in shapes), np.array([0, -1, 2, 2, 4])]


def test_graph_with_integer_values():
    """Integer outputs have neither tangent nor cotangent."""
    graph = parse_graph(MLP)
    assert len(vjp_graph(graph, [0]).invars) == len(graph.invars) + 1
    assert len(jvp_graph(graph, [0]).outvars) == len(graph.outvars) + 1
    check_derivatives(graph, mlp_args())


def test_value_and_gradient():
    graph = parse_graph(MLP)
    args = mlp_args()
    both = verify(value_and_grad_graph(graph, [1, 2]))
    assert both.out_avals[2:] == (graph.in_avals[1], graph.in_avals[2])
    value, _, *gradients = evaluate(both, args)
    cotangents = evaluate(vjp_graph(graph, [1, 2]), [*args, np.asarray(1.0)])[2:]
    np.testing.assert_array_equal(value, evaluate(graph, args)[0])
    for got, want in zip(gradients, cotangents, strict=True):
        np.testing.assert_allclose(got, want, rtol=1e-12)


def test_third_order():
    """d³/dx³ sin(x)·x² by three rounds of value_and_grad."""
    graph = parse_graph("""
    graph @f(%x: f64[]) -> (f64[]) {
      %0: f64[] = sin %x
      %1: f64[] = mul %x, %x
      %2: f64[] = mul %0, %1
      return %2
    }""")
    for _ in range(3):
        both = value_and_grad_graph(graph, [0])
        graph = Graph("g", both.invars, both.outvars[1:], both.eqns)
    x = 0.7
    want = 6 * np.cos(x) - 6 * x * np.sin(x) - x**2 * np.cos(x)
    np.testing.assert_allclose(evaluate(graph, [np.asarray(x)])[0], want, rtol=1e-13)


def test_independent_inputs_have_zero_gradients():
    graph = parse_graph("""
    graph @f(%x: f32[2], %y: c64[3]) -> (f32[], f32[2]) {
      %0: f32[] = reduce_sum %x {axes=(0)}
      %1: f32[2] = floor %x
      return %0, %1
    }""")
    args = [np.ones(2, "f4"), np.ones(3, "c8")]
    *_, gx, gy = evaluate(verify(value_and_grad_graph(graph, [0, 1])), args)
    np.testing.assert_array_equal(gx, np.ones(2, "f4"))
    np.testing.assert_array_equal(gy, np.zeros(3, "c8"))


def test_stop_gradient():
    graph = parse_graph("""
    graph @f(%x: f64[]) -> (f64[]) {
      %0: f64[] = stop_gradient %x
      %1: f64[] = mul %0, %x
      return %1
    }""")
    out = evaluate(value_and_grad_graph(graph, [0]), [np.asarray(3.0)])
    assert [float(x) for x in out] == [9.0, 3.0]


def test_integers_on_the_way_stop_the_gradient():
    b = Builder("f")
    x = b.input(ShapedArray((), np.dtype("f8")))
    n = b.emit(convert_p, x, dtype=np.dtype("i8"))
    back = b.emit(convert_p, b.emit(mul_p, n, n), dtype=np.dtype("f8"))
    graph = b.build([b.emit(add_p, back, x)])
    assert evaluate(value_and_grad_graph(graph, [0]), [np.asarray(3.7)])[1] == 1.0


@pytest.mark.parametrize("wide", ["f8", "c8", "c16"])
def test_convert_gives_back_the_dtype(wide):
    """The cotangent of float32 is float32, whatever it was computed in."""
    b = Builder("f")
    x = b.input(ShapedArray((2,), np.dtype("f4")))
    y = b.emit(convert_p, x, dtype=np.dtype(wide))
    y = b.emit(mul_p, y, y)
    part = b.emit(real_p, y) if wide[0] == "c" else y
    graph = b.build([b.emit(reduce_sum_p, part, axes=(0,))])
    args = [np.array([2.0, 3.0], "f4")]
    gradient = evaluate(verify(value_and_grad_graph(graph, [0])), args)[1]
    assert gradient.dtype == np.float32
    np.testing.assert_array_equal(gradient, np.array([4.0, 6.0], "f4"))


def test_complex_gradient_is_not_conjugated():
    """Re z² has derivative 2z in the pairing Re(g·dz), as in JAX."""
    graph = parse_graph("""
    graph @f(%z: c128[]) -> (f64[]) {
      %0: c128[] = mul %z, %z
      %1: f64[] = real %0
      return %1
    }""")
    z = np.asarray(1.5 - 2j)
    assert evaluate(value_and_grad_graph(graph, [0]), [z])[1] == 2 * z


def test_ties_are_shared():
    graph = parse_graph("""
    graph @f(%x: f64[4]) -> (f64[]) {
      %0: f64[] = reduce_max %x {axes=(0)}
      return %0
    }""")
    args = [np.array([1.0, 3.0, 3.0, 0.0])]
    gradient = evaluate(value_and_grad_graph(graph, [0]), args)[1]
    np.testing.assert_array_equal(gradient, [0, 0.5, 0.5, 0])


@pytest.mark.parametrize("name", ["reduce_prod", "cumprod"])
@pytest.mark.parametrize("zeros", [1, 2])
def test_products_with_zeros(name, zeros):
    """Quotients by the factor would give NaN."""
    x = np.array([2.0, 0.0, 3.0, 0.0 if zeros == 2 else 4.0, 5.0])
    params = {"axes": (0,)} if name == "reduce_prod" else {"axis": 0, "reverse": False}
    check_derivatives(Sample(name, lambda r: [x], params).graph([x]), [x])


# --- sub-graphs -------------------------------------------------------------------


def stacked_layers(n: int) -> Graph:
    """Return a graph that calls one layer `n` times."""
    layer = parse_graph("""
    graph @layer(%x: f64[3], %w: f64[3]) -> (f64[3], f64[3]) {
      %0: f64[3] = mul %x, %w
      %1: f64[3] = sin %0
      %2: f64[3] = exp %0
      return %1, %2
    }""")
    main = parse_graph("""
    graph @main(%x: f64[3], %w: f64[3]) -> (f64[3], f64[3]) {
      %0: f64[3], %1: f64[3] = call %x, %w {graph=graph @layer(%x: f64[3], %w: f64[3]) -> (f64[3], f64[3]) {
        return %x, %w
      }}
      return %0, %1
    }""")  # noqa: E501
    b = Builder("main")
    x, w = (b.input(a) for a in main.in_avals)
    call = main.eqns[0].primitive
    total = x
    for _ in range(n):
        x, e = b.emit_all(call, [x, w], {"graph": layer})
        total = b.emit(add_p, total, b.emit(mul_p, x, e))
    return b.build([b.emit(reduce_sum_p, total, axes=(0,))])


def distinct_subgraphs(graph: Graph) -> set[Graph]:
    return {e.params["graph"] for e in graph.eqns if "graph" in e.params}


def test_a_shared_layer_is_differentiated_once():
    """Calls stay calls; 12 layers need as many sub-graphs as 6."""
    counts = []
    for n in (6, 12):
        graph = stacked_layers(n)
        both = verify(value_and_grad_graph(graph, [0, 1]))
        counts.append(len(distinct_subgraphs(both)))
        assert sum(e.primitive.name == "call" for e in both.eqns) == 2 * n
    assert counts[0] == counts[1] <= 4


def test_derivatives_through_shared_layers():
    args = [np.array([0.1, 0.2, 0.3]), np.array([0.5, 0.6, 0.7])]
    graph = stacked_layers(3)
    check_derivatives(graph, args)
    both = value_and_grad_graph(graph, [0])
    check_derivatives(Graph("g", both.invars, both.outvars[1:], both.eqns), args)


def test_cond_branches_with_different_residuals():
    graph = parse_graph("""
    graph @main(%p: bool[], %x: f64[3], %y: f64[3]) -> (f64[3], f64[3]) {
      %0: f64[3], %1: f64[3] = cond %p, %x, %y {on_true=graph @a(%x: f64[3], %y: f64[3]) -> (f64[3], f64[3]) {
        %0: f64[3] = exp %x
        %1: f64[3] = mul %0, %y
        return %1, %x
      }, on_false=graph @b(%x: f64[3], %y: f64[3]) -> (f64[3], f64[3]) {
        %0: f64[3] = sin %y
        %1: f64[3] = floor %y
        return %0, %1
      }}
      return %0, %1
    }""")  # noqa: E501
    args = [np.array([0.1, 0.2, 0.3]), np.array([0.5, 0.6, 0.7])]
    for p in (True, False):
        check_derivatives(graph, [np.asarray(p), *args])


# --- structure --------------------------------------------------------------------


def test_tangent_equations_are_gone():
    """Reverse mode leaves primal and cotangent equations only, none of them dead."""
    graph = parse_graph("""
    graph @f(%x: f64[3]) -> (f64[]) {
      %0: f64[3] = sin %x
      %1: f64[] = reduce_sum %0 {axes=(0)}
      return %1
    }""")
    both = value_and_grad_graph(graph, [0])
    names = [e.primitive.name for e in both.eqns]
    assert names == ["sin", "cos", "reduce_sum"]  # the seed 1.0 multiplies nothing


def test_residual_checks_are_not_repeated_for_dropped_tangents():
    """Tangents of checked gathers go, though they have effects."""
    both = value_and_grad_graph(parse_graph(MLP), [0])
    gathers = [e for e in both.eqns if e.primitive.name == "gather"]
    assert len(gathers) == 1


def test_source_lines_reach_the_cotangents():
    graph = parse_graph("""
    graph @f(%x: f64[3]) -> (f64[]) {
      %0: f64[3] = sin %x  ; model.py:3
      %1: f64[] = reduce_sum %0 {axes=(0)}  ; model.py:4
      return %1
    }""")
    sources = [e.source for e in vjp_graph(graph, [0]).eqns]
    assert set(sources) == {("model.py:3",), ("model.py:4",)}


# --- refusals ---------------------------------------------------------------------


def test_primitive_without_derivative_is_named():
    graph = parse_graph("""
    graph @f(%x: f64[3]) -> (f64[]) {
      %0: f64[3] = ufunc %x {name="scipy.special.kolmogorov"}  ; model.py:7
      %1: f64[] = reduce_sum %0 {axes=(0)}
      return %1
    }""")
    with pytest.raises(
        UnsupportedError, match=r"scipy.special.kolmogorov.*\n.*model.py:7"
    ):
        value_and_grad_graph(graph, [0])


def test_integer_results_of_such_a_primitive_have_no_derivative():
    graph = parse_graph("""
    graph @f(%x: f64[], %n: i64[]) -> (f64[], i64[]) {
      %0: i64[] = ufunc %n, 4:i64 {name="numpy.gcd"}
      %1: f64[] = mul %x, %x
      return %1, %0
    }""")
    args = [np.asarray(3.0), np.asarray(6)]
    assert evaluate(value_and_grad_graph(graph, [0]), args)[2] == 6.0


@pytest.mark.parametrize("transform", [vjp_graph, jvp_graph, value_and_grad_graph])
def test_integer_input_is_refused(transform):
    with pytest.raises(DTypeError, match=r"input 4: i64\[5\] is not float or complex"):
        transform(parse_graph(MLP), [4])


def test_output_that_is_no_scalar_is_refused():
    b = Builder("f")
    x = b.input(ShapedArray((3,), np.dtype("f8")))
    with pytest.raises(ShapeError, match="needs a scalar output, not f64"):
        value_and_grad_graph(b.build([b.emit(abs_p, x)]), [0])


def test_output_that_is_no_float_is_refused():
    b = Builder("f")
    x = b.input(ShapedArray((), np.dtype("c16")))
    with pytest.raises(DTypeError, match="needs a real float output, not c128"):
        value_and_grad_graph(b.build([b.emit(mul_p, x, x)]), [0])
