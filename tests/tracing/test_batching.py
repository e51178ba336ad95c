"""`custom_batching`: a rule of one's own for a batch, in any nesting."""

from typing import NamedTuple

import numpy as np
import pytest

import tracejit as tj
from tracejit.errors import ShapeError, TraceError, UnsupportedError
from tracejit.ir.parser import parse_graph
from tracejit.ir.printer import format_graph

X = np.linspace(-1, 1, 12).reshape(4, 3)
MODES = pytest.mark.parametrize("wrap", [lambda f: f, tj.jit], ids=["eager", "jit"])


def make(seen=None, scale=100.0):
    """The sine of one example; a batch is multiplied by `scale`, to see the rule."""

    @tj.custom_batching
    def f(x):
        return np.sin(x)

    @f.def_vmap
    def rule(axis_size, in_batched, x):
        if seen is not None:
            seen.append((axis_size, in_batched, x.shape))
        return scale * np.sin(x), in_batched[0]

    return f


@MODES
class TestRule:
    def test_is_used_by_vmap_alone(self, wrap):
        f = make()
        np.testing.assert_allclose(wrap(f)(X), np.sin(X))
        np.testing.assert_allclose(wrap(tj.grad(f))(1.0), np.cos(1.0))
        got = wrap(tj.vmap(lambda x: f(x) + 1))(X)
        np.testing.assert_allclose(got, 100 * np.sin(X) + 1)

    def test_is_told_what_is_batched(self, wrap):
        seen = []

        f = tj.custom_batching(lambda tree, y: {"sum": tree["a"] + y, "b": tree["b"]})

        @f.def_vmap
        def rule(axis_size, in_batched, tree, y):
            seen.append((axis_size, in_batched, tree["a"].shape, np.shape(y)))
            out = {"sum": 2 * (tree["a"] + y), "b": tree["b"]}
            return out, {"sum": True, "b": False}

        got = wrap(tj.vmap(lambda a, b: f({"a": a, "b": b}, 1.0), (1, None)))(X, X[0])
        np.testing.assert_allclose(got["sum"], 2 * (X.T + 1))
        np.testing.assert_array_equal(got["b"], np.stack([X[0]] * 3))
        assert seen == [(3, [{"a": True, "b": False}, False], (3, 4), ())]

    def test_what_is_shared_is_left_alone(self, wrap):
        seen = []
        f = make(seen)
        got = wrap(tj.vmap(lambda x, y: x + f(y), (0, None)))(X, X[0])
        np.testing.assert_allclose(got, X + np.sin(X[0]))
        assert not seen

    def test_nested(self, wrap):
        """The inner batch is the rule's; the outer one is of what the rule gives."""
        seen = []
        f = make(seen)
        got = wrap(tj.vmap(tj.vmap(f)))(X)
        np.testing.assert_allclose(got, 100 * np.sin(X))
        assert seen == [(3, [True], (3,))]

    def test_rule_that_calls_its_function(self, wrap):
        """In the rule the examples are those of the `vmap` around."""
        seen = []

        @tj.custom_batching
        def f(x):
            return np.sin(x)

        @f.def_vmap
        def rule(axis_size, in_batched, x):
            seen.append((axis_size, x.shape))
            return 2 * f(x), True

        got = wrap(tj.vmap(tj.vmap(f)))(X)
        np.testing.assert_allclose(got, 4 * np.sin(X))
        assert seen == [(3, (3,)), (4, (4, 3))]

    def test_derivatives(self, wrap):
        f = make()
        each = wrap(tj.vmap(tj.grad(lambda x: np.sum(f(x)))))(X)
        np.testing.assert_allclose(each, np.cos(X))
        of_batch = wrap(tj.grad(lambda x: np.sum(tj.vmap(f)(x))))
        np.testing.assert_allclose(of_batch(X), 100 * np.cos(X))
        twice = tj.grad(lambda x: np.sum(tj.grad(lambda x: tj.vmap(f)(x).sum())(x)))
        np.testing.assert_allclose(wrap(twice)(X), -100 * np.sin(X))
        value, tangent = wrap(lambda x: tj.jvp(tj.vmap(f), (x,), (x,)))(X)
        np.testing.assert_allclose(tangent, 100 * np.cos(X) * X)
        np.testing.assert_allclose(value, 100 * np.sin(X))

    def test_rules_of_functions_in_derivatives(self, wrap):
        """A `custom_jvp` in the rule keeps its derivative."""
        halved = tj.custom_jvp(lambda x: x)
        halved.defjvp(lambda primals, ts: (halved(*primals), ts[0] / 2))
        f = tj.custom_batching(lambda x: x)
        f.def_vmap(lambda size, batched, x: (halved(x), True))
        gradient = wrap(tj.grad(lambda x: np.sum(tj.vmap(f)(x))))
        np.testing.assert_array_equal(gradient(X), np.full_like(X, 0.5))

    def test_in_loops_and_branches(self, wrap):
        seen = []
        f = make(seen, scale=2.0)

        def loop(x):
            return tj.scan(lambda c, _: (f(c), c), x, None, length=3)[0]

        want = X
        for _ in range(3):
            want = 2 * np.sin(want)
        np.testing.assert_allclose(wrap(tj.vmap(loop))(X), want)
        branch = lambda x: tj.cond(x > 0, f, lambda x: x, x)  # noqa: E731
        x = X[:, 0]
        want = np.where(x > 0, 2 * np.sin(x), x)
        np.testing.assert_allclose(wrap(tj.vmap(branch))(x), want)
        until = lambda x: tj.while_loop(lambda x: x < 1, lambda x: f(x) + 1, x)  # noqa: E731
        want = [next(w for w in _turns(v) if w >= 1) for v in x]
        np.testing.assert_allclose(wrap(tj.vmap(until))(x), want)
        assert seen

    def test_in_a_jitted_function_and_a_custom_one(self, wrap):
        f = make()
        np.testing.assert_allclose(wrap(tj.vmap(tj.jit(f)))(X), 100 * np.sin(X))
        g = tj.custom_vjp(f)
        g.defvjp(lambda x: (g(x), x), lambda x, t: (3 * t,))
        np.testing.assert_allclose(wrap(tj.vmap(g))(X), 100 * np.sin(X))
        gradient = wrap(tj.grad(lambda x: tj.vmap(g)(x).sum()))
        np.testing.assert_array_equal(gradient(X), np.full_like(X, 3.0))

    def test_closure_over_shared_values(self, wrap):
        w = np.arange(3.0)
        f = tj.custom_batching(lambda x: x @ w)
        f.def_vmap(lambda size, batched, x: (np.sum(x, axis=1), True))
        np.testing.assert_allclose(wrap(tj.vmap(f))(X), X.sum(axis=1))
        np.testing.assert_allclose(wrap(f)(X), X @ w)


def _turns(x):
    while True:
        yield x
        x = 2 * np.sin(x) + 1


def test_checks_of_rules_in_branches():
    """Where some examples ask, the function is asked: a rule has no such mask."""

    @tj.custom_batching
    def pick(x, i):
        return x[i]

    @pick.def_vmap
    def rule(axis_size, in_batched, x, i):
        return x[i] if not in_batched[0] else x[np.arange(axis_size), i], True

    def f(x, i):
        return tj.cond(i < 3, lambda: pick(x, i), lambda: -1.0)

    got = tj.jit(tj.vmap(f, (None, 0)))(X[0], np.array([0, 7, 2]))
    np.testing.assert_array_equal(got, [X[0, 0], -1, X[0, 2]])


def test_the_function_fuses_where_nothing_is_batched():
    f = make()
    lowered = tj.jit(lambda x: f(x * 2) + 1).lower(X)
    assert len(lowered.kernels) == 1
    outer = tj.jit(tj.vmap(lambda x, y: x + f(y * 2), (0, None))).lower(X, X[0])
    assert "custom_batching" not in str(outer.graph)


def test_text_is_read_back():
    f = make()
    traced = tj.jit(tj.vmap(lambda x, y: x + f(y * 2), (0, None))).trace(X, X[0])
    text = format_graph(traced.graph)
    assert "custom_batching" in text
    assert format_graph(parse_graph(text)) == text


class Pair(NamedTuple):
    a: object
    b: object


@pytest.mark.parametrize(
    ("rule", "error", "words"),
    [
        (lambda n, m, x: x, TraceError, "not a pair"),
        (lambda n, m, x: ((x, x), True), ShapeError, "but the function gives f64[3]"),
        (lambda n, m, x: (x[0], True), ShapeError, "gives f64[3] for 4 examples"),
        (lambda n, m, x: (x, False), ShapeError, "(batched: False)"),
        (lambda n, m, x: (x.astype("f4"), True), ShapeError, "gives f32[4,3]"),
        (lambda n, m, x: (x, (True, True)), TraceError, "has not the form"),
    ],
)
def test_wrong_rules(rule, error, words):
    f = tj.custom_batching(lambda x: x)
    f.def_vmap(rule)
    for wrap in (lambda g: g, tj.jit):
        with pytest.raises(error) as info:
            wrap(tj.vmap(f))(X)
        assert words in str(info.value)
        assert "the vmap rule of '<lambda>'" in str(info.value)
        assert "test_batching.py:" in info.value.source


def test_results_of_any_form():
    f = tj.custom_batching(lambda p: Pair(p.b, {"a": p.a}))
    f.def_vmap(lambda n, m, p: (Pair(p.b, {"a": -p.a}), Pair(m[0].b, m[0].a)))
    got = tj.vmap(lambda x: f(Pair(x, 3.0)))(X)
    np.testing.assert_array_equal(got.b["a"], -X)
    np.testing.assert_array_equal(got.a, [3.0] * 4)


def test_closures_that_a_rule_cannot_have():
    f = tj.custom_batching(lambda x: x)

    def g(x, c):
        f.def_vmap(lambda n, m, x: (x * c, True))
        return f(x)

    with pytest.raises(TraceError, match="uses values that are no arguments of it"):
        tj.vmap(g, (0, None))(X, X[0])
    with pytest.raises(TraceError, match="uses values that are no arguments of it"):
        tj.jit(lambda x, c: tj.vmap(lambda x: g(x, c))(x))(X, X[0])
    h = tj.vmap(lambda x, c: _closed(c)(x))
    with pytest.raises(UnsupportedError, match="closes over a value that differs"):
        h(X, X)


def _closed(c):
    f = tj.custom_batching(lambda x: x * c)
    f.def_vmap(lambda n, m, x: (x, True))
    return f


def test_calls_without_a_rule_and_methods():
    f = tj.custom_batching(np.sin)
    with pytest.raises(TraceError, match="'sin' has no rule yet"):
        f(1.0)

    class Model:
        @tj.custom_batching
        def apply(self, x, k=2):
            return x * k

    Model.apply.def_vmap(lambda n, m, self, x, k: (x * k * 10, True))
    np.testing.assert_array_equal(tj.vmap(Model().apply)(X), 20 * X)
    assert Model().apply(1.0, k=3) == 3.0
