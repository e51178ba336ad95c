"""Derivatives of composites: the rules against the expansions, in both modes, twice."""

import dataclasses

import numpy as np
import pytest

import tracejit as tj
from tests.passes.spellings import (
    IMAGES,
    SPELLINGS,
    B,
    G,
    K,
    Q,
    Spelling,
    V,
    X,
    Y,
    batch_norm,
    causal,
    dropped,
    keepdims,
    kept,
    layer_norm,
    log_less_picked,
    over_root,
    shifted,
)
from tracejit import config
from tracejit.ir.expansion import expand_graph
from tracejit.ir.graph import Graph, subgraphs
from tracejit.ir.interp import evaluate
from tracejit.ir.ops.composite import COMPOSITES
from tracejit.ir.raising import raise_graph
from tracejit.ir.verify import verify
from tracejit.passes.canonicalize import canonicalize
from tracejit.passes.cse import cse
from tracejit.passes.manager import PassContext
from tracejit.transforms.composites import JVP_RULES
from tracejit.transforms.jvp import jvp_graph
from tracejit.transforms.vjp import value_and_grad_graph, vjp_graph

from .checks import check_derivatives, differentiable_inputs, random_like

RNG = np.random.default_rng(7)
# Two, three and all of a row are the largest.
TIES = np.array([[1, 3, 3, 0, 2], [2, 2, 2, 1, 0], [4, 4, 4, 4, 4.0]])


def traced(s: Spelling) -> Graph:
    return tj.jit(s.fn).trace(*s.args).graph


def weights_of(graph: Graph) -> list[np.ndarray]:
    return [np.asarray(RNG.normal(size=a.shape), a.dtype) for a in graph.out_avals]


def names(graph: Graph) -> set[str]:
    """All primitives, those of sub-graphs too."""
    found = {e.primitive.name for e in graph.eqns}
    for eqn in graph.eqns:
        for inner in subgraphs(eqn.params):
            found |= names(inner)
    return found


def assert_close(got, want, rtol=1e-11) -> None:
    for x, y in zip(got, want, strict=True):
        scale = np.max(np.abs(y), initial=1e-3)
        np.testing.assert_allclose(x, y, rtol=rtol, atol=rtol * scale)


def check_against_expansion(graph: Graph, args) -> None:
    """Rules and expansion agree forward, backward, and backward then forward."""
    raised = raise_graph(graph)
    assert raised is not graph
    wrt = differentiable_inputs(graph)
    ts = [random_like(RNG, np.asarray(args[i])) for i in wrt]
    first, second = (verify(jvp_graph(g, wrt)) for g in (raised, graph))
    assert_close(evaluate(first, [*args, *ts]), evaluate(second, [*args, *ts]))
    cts = weights_of(graph)
    first, second = (verify(vjp_graph(g, wrt)) for g in (raised, graph))
    assert_close(evaluate(first, [*args, *cts]), evaluate(second, [*args, *cts]))
    more = [i for i, a in enumerate(first.in_avals) if a.dtype.kind == "f"]
    ts = [random_like(RNG, np.asarray(([*args, *cts])[i])) for i in more]
    first, second = (verify(jvp_graph(g, more)) for g in (first, second))
    everything = [*args, *cts, *ts]
    assert_close(evaluate(first, everything), evaluate(second, everything), 1e-9)


@pytest.mark.parametrize("s", SPELLINGS, ids=str)
def test_rule_agrees_with_the_expansion(s: Spelling):
    check_against_expansion(traced(s), list(s.args))


@pytest.mark.parametrize("s", SPELLINGS, ids=str)
def test_rule_agrees_with_differences(s: Spelling):
    graph = raise_graph(traced(s))
    check_derivatives(graph, [np.asarray(x) for x in s.args], rtol=1e-5)


@pytest.mark.parametrize("s", SPELLINGS, ids=str)
def test_second_derivative_of_the_rule(s: Spelling):
    """Reverse over reverse: the rules' equations are differentiated again."""
    graph = raise_graph(traced(s))
    wrt = differentiable_inputs(graph)
    backward = vjp_graph(graph, wrt)
    args = [*(np.asarray(x) for x in s.args), *weights_of(graph)]
    chosen = {i: random_like(RNG, args[i]) for i in wrt}
    check_derivatives(backward, args, chosen, rtol=1e-5)


def test_rules_are_for_composites_that_there_are():
    assert set(JVP_RULES) <= set(COMPOSITES)


# --- ties -------------------------------------------------------------------------


@pytest.mark.parametrize("fn", [keepdims, shifted, dropped], ids=lambda f: f.__name__)
def test_ties_in_the_maximum_do_not_matter(fn):
    """The maximum cancels: no convention about ties enters, nor with the expansion."""
    s = Spelling("", (), fn, (TIES,))
    graph = traced(s)
    check_against_expansion(graph, [TIES])
    check_derivatives(raise_graph(graph), [TIES])


def test_gradient_of_logsumexp_at_ties_is_symmetric():
    gradient = tj.grad(lambda x: dropped(x).sum())(TIES)
    np.testing.assert_allclose(gradient[2], np.full(5, 0.2))
    assert gradient[0, 1] == gradient[0, 2]


# --- what the rules leave behind --------------------------------------------------


def gradient_names(fn, args, wrt) -> set[str]:
    graph = raise_graph(tj.jit(fn).trace(*args).graph)
    return names(expand_graph(value_and_grad_graph(graph, wrt)))


def cross_entropy(x, y):
    z = x - x.max(1, keepdims=True)
    p = np.exp(z)
    p /= p.sum(1, keepdims=True)
    return -np.log(p[np.arange(len(y)), y]).mean()


def test_gradient_of_cross_entropy_where_a_probability_underflows():
    """The value is infinite, as NumPy's; the gradient is that of the function."""
    x, y = np.array([[0.0, 1000.0]]), np.array([0])
    np.testing.assert_allclose(tj.grad(cross_entropy)(x, y), [[-1.0, 1.0]])
    np.testing.assert_allclose(tj.jit(tj.grad(cross_entropy))(x, y), [[-1.0, 1.0]])


def test_no_masks_and_no_scatters_in_cross_entropy():
    """The only comparison is that of the labels with an iota; one sum over rows."""
    graph = raise_graph(tj.jit(cross_entropy).trace(X, Y).graph)
    context = PassContext()
    gradient = expand_graph(value_and_grad_graph(graph, [0]))
    eqns = cse(canonicalize(gradient, context), context).eqns
    found = [e.primitive.name for e in eqns]
    assert "scatter" not in found
    assert found.count("eq") == found.count("exp") == found.count("reduce_max") == 1
    axes = [e.params["axes"] for e in eqns if e.primitive.name == "reduce_sum"]
    assert sorted(axes) == [(0,), (1,)]


@pytest.mark.parametrize("fn", [keepdims, shifted, dropped], ids=lambda f: f.__name__)
def test_no_masks_of_maxima(fn):
    found = gradient_names(lambda x: (fn(x) ** 2).sum(), (X,), [0])
    assert not found & {"eq", "select", "scatter"}


@pytest.mark.parametrize("fn", [kept, log_less_picked], ids=lambda f: f.__name__)
def test_derivative_shares_what_the_value_computed(fn):
    """The softmax of a logsumexp's rule is made of the equations that are there."""
    s = next(s for s in SPELLINGS if s.fn is fn)
    loss = raise_graph(tj.jit(lambda *a: (fn(*a) ** 2).sum()).trace(*s.args).graph)
    context = PassContext()
    gradient = expand_graph(value_and_grad_graph(loss, [0]))
    found = [
        e.primitive.name for e in cse(canonicalize(gradient, context), context).eqns
    ]
    assert found.count("exp") == found.count("reduce_max") == 1


def test_norm_backward_has_few_reductions():
    """Mean and variance forward, two sums over rows backward, and the loss."""

    def loss(x, w):
        return (over_root(x) * w).sum()

    context = PassContext()
    graph = raise_graph(tj.jit(loss).trace(X, X).graph)
    gradient = expand_graph(value_and_grad_graph(graph, [0]))
    eqns = cse(canonicalize(gradient, context), context).eqns
    axes = [e.params["axes"] for e in eqns if e.primitive.name == "reduce_sum"]
    assert sorted(axes) == [(0, 1), (1,), (1,), (1,), (1,)]


@pytest.mark.parametrize("dtype", [np.int8, np.uint8, np.int32, np.int64])
@pytest.mark.parametrize("n", [3, 200])
def test_pick_transposes_without_a_scatter(dtype, n):
    """One place for each row, whatever integer the index is; negative ones wrap."""
    x = RNG.normal(size=(4, n))
    y = np.array([0, 1, 2, n - 1 if dtype in (np.int64, np.int32) else 1]).astype(dtype)
    if y.dtype.kind == "i":
        y[1] = -1

    def loss(x):
        return (np.sin(x[np.arange(4), y]) * np.arange(4)).sum()

    want = np.zeros_like(x)
    want[np.arange(4), y] = np.cos(x[np.arange(4), y]) * np.arange(4)
    np.testing.assert_allclose(tj.grad(loss)(x), want)
    np.testing.assert_allclose(tj.jit(tj.grad(loss))(x), want)
    assert "scatter" not in gradient_names(lambda x, y: loss(x), (x, y), [0])


def test_pick_out_of_range_still_raises():
    def loss(x, y):
        return x[np.arange(6), y].sum()

    bad = Y + 7
    with pytest.raises(IndexError):
        tj.jit(tj.grad(loss))(X, bad)


def test_clipped_pick():
    def loss(x, y):
        return (np.take_along_axis(x, np.clip(y, 0, 4)[:, None], 1) ** 2).sum()

    y = np.array([9, -3, 0, 1, 2, 5])
    want = np.zeros_like(X)
    clipped = np.clip(y, 0, 4)
    want[np.arange(6), clipped] = 2 * X[np.arange(6), clipped]
    np.testing.assert_allclose(tj.jit(tj.grad(loss))(X, y), want)


# --- through the public functions -------------------------------------------------


PUBLIC = [
    (cross_entropy, (X, Y), (0,)),
    (lambda x, g, b: (layer_norm(x, g, b) ** 3).sum(), (X, G, B), (0, 1, 2)),
    (lambda x, g, b: (batch_norm(x, g, b) ** 3).sum(), (X, G, B), (0, 1, 2)),
    (lambda q, k, v: (causal(q, k, v) ** 2).sum(), (Q, K, V), (0, 1, 2)),
    (lambda x: (x.var((0, 2, 3)) * x.mean((0, 2, 3))).sum(), (IMAGES,), (0,)),
]


@pytest.mark.parametrize(("fn", "args", "wrt"), PUBLIC)
def test_gradients_with_and_without_composites(fn, args, wrt):
    """Eager and compiled, with one value to the bit and gradients that agree."""
    found = []
    for on in (True, False):
        with config.override(composites=on):
            both = tj.value_and_grad(fn, wrt)
            found += [both(*args), tj.jit(both)(*args)]
    for value, gradients in found[1:]:
        np.testing.assert_allclose(value, found[0][0], rtol=1e-14)
        assert_close(gradients, found[0][1])
    assert found[1][0] == found[3][0]  # compiled: the same equations, the same bits


def test_gradient_of_gradient():
    """Composites in a gradient's graph are differentiated by their rules again."""

    def loss(x):
        return (keepdims(x)[:, 0] ** 2).sum()

    def slope(x):
        return (tj.grad(loss)(x) ** 2).sum()

    with config.override(composites=False):
        want = tj.grad(slope)(X)
    np.testing.assert_allclose(tj.grad(slope)(X), want, rtol=1e-10, atol=1e-12)
    np.testing.assert_allclose(tj.jit(tj.grad(slope))(X), want, rtol=1e-10, atol=1e-12)


def test_composite_with_an_active_second_operand_is_expanded():
    """The rule is about x; a derivative by eps comes from the expansion."""

    def loss(x, eps):
        return (
            ((x - x.mean(1, keepdims=True)) / np.sqrt(x.var(1, keepdims=True) + eps))
            ** 3
        ).sum()

    eps = np.float64(0.1)
    gradient = tj.jit(tj.grad(loss, 1))(X, eps)
    step = 1e-6
    want = (loss(X, eps + step) - loss(X, eps - step)) / (2 * step)
    np.testing.assert_allclose(gradient, want, rtol=1e-6)


def test_spellings_in_float32_stay_float32():
    for s in SPELLINGS:
        args = [x.astype(np.float32) if x.dtype == np.float64 else x for x in s.args]
        if s.name == "attention" and s.attributes["scale"] == "div":
            continue  # dividing by a float64 scalar gives float64
        graph = raise_graph(traced(dataclasses.replace(s, args=tuple(args))))
        backward = vjp_graph(graph, differentiable_inputs(graph))
        dtypes = {str(a.dtype) for a in backward.out_avals}
        assert dtypes == {"float32"}, s
