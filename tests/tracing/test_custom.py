"""`custom_jvp` and `custom_vjp`: rules of one's own, in any nesting."""

from typing import NamedTuple

import numpy as np
import pytest

import tracejit as tj
from tracejit.errors import DTypeError, ShapeError, TraceError, UnsupportedError

X = np.array([-0.7, 0.2, 1.4])


def make_softplus():
    """A function whose rule is twice its derivative, to see which was used."""

    @tj.custom_jvp
    def softplus(x):
        return np.log1p(np.exp(x))

    @softplus.defjvp
    def rule(primals, tangents):
        (x,), (t,) = primals, tangents
        return softplus(x), 2 * t / (1 + np.exp(-x))

    return softplus


def sigmoid(x):
    return 1 / (1 + np.exp(-x))


def make_clipped():
    @tj.custom_vjp
    def clipped(x, limit):
        return x * 1.0

    def fwd(x, limit):
        return clipped(x, limit), limit

    def bwd(limit, g):
        return np.clip(g, -limit, limit), None

    clipped.defvjp(fwd, bwd)
    return clipped


@pytest.mark.parametrize("wrap", [lambda f: f, tj.jit], ids=["eager", "jit"])
class TestRules:
    def test_jvp_rule_is_used(self, wrap):
        softplus = make_softplus()
        gradient = wrap(tj.grad(lambda x: np.sum(softplus(x))))
        np.testing.assert_allclose(gradient(X), 2 * sigmoid(X), rtol=1e-12)

    def test_rule_that_calls_its_function_at_second_order(self, wrap):
        softplus = make_softplus()
        first = tj.grad(lambda x: np.sum(softplus(x)))
        second = wrap(tj.grad(lambda x: np.sum(first(x))))
        want = 2 * sigmoid(X) * (1 - sigmoid(X))
        np.testing.assert_allclose(second(X), want, rtol=1e-12)

    def test_rule_whose_tangent_calls_its_function(self, wrap):
        """``d exp = t · exp`` by itself: every order has the same rule."""

        @tj.custom_jvp
        def growth(x):
            return np.exp(x)

        growth.defjvps(lambda t, out, x: 3 * t * growth(x))
        f = lambda x: np.sum(growth(x))  # noqa: E731
        for order in range(1, 4):
            gradient = tj.grad(f)
            np.testing.assert_allclose(wrap(gradient)(X), 3**order * np.exp(X))
            f = lambda x, g=gradient: np.sum(g(x))  # noqa: E731

    def test_vjp_rule_is_used(self, wrap):
        clipped = make_clipped()
        gradient = wrap(tj.grad(lambda x: np.sum(clipped(x, 1.0) ** 2)))
        np.testing.assert_array_equal(gradient(X), np.clip(2 * X, -1, 1))

    def test_backward_pass_is_differentiated(self, wrap):
        clipped = make_clipped()
        inner = tj.grad(lambda x: np.sum(clipped(x, 1.0) ** 2))
        outer = wrap(tj.grad(lambda x: np.sum(inner(x) ** 2)))
        want = np.where(np.abs(2 * X) < 1, np.clip(8 * X, -1, 1), 0)  # clipped again
        np.testing.assert_allclose(outer(X), want)

    def test_trees(self, wrap):
        class Pair(NamedTuple):
            a: object
            b: object

        @tj.custom_vjp
        def f(p, scale):
            return {"s": np.sum(p.a) * scale, "n": 3, "t": [p.b["x"] * 2]}

        def fwd(p, scale):
            return f(p, scale), (p.a, {"kept": "as it is", "none": None})

        def bwd(residuals, ct):
            a, rest = residuals
            assert rest == {"kept": "as it is", "none": None}
            return Pair(ct["s"] * np.cos(a), {"x": ct["t"][0] * 10, "i": None}), None

        f.defvjp(fwd, bwd)

        def loss(p):
            out = f(p, 2.0)
            return out["s"] + np.sum(out["t"][0]) * 3 + out["n"]

        p = Pair(X, {"x": X + 1, "i": np.arange(3)})
        got = wrap(tj.grad(loss))(p)
        np.testing.assert_allclose(got.a, np.cos(X))
        np.testing.assert_allclose(got.b["x"], np.full(3, 30.0))
        np.testing.assert_array_equal(got.b["i"], np.zeros(3))

    def test_static_arguments(self, wrap):
        @tj.custom_vjp
        def scale(name, x, power):
            return {"double": 2}[name] * x**power

        scale = tj.custom_vjp(scale.fun, nondiff_argnums=(0, 2))

        def fwd(name, x, power):
            return scale(name, x, power), x

        def bwd(name, power, x, ct):
            return (ct * x * power * {"double": 100}[name],)

        scale.defvjp(fwd, bwd)
        gradient = wrap(tj.grad(lambda x: np.sum(scale("double", x, power=3))))
        np.testing.assert_allclose(gradient(X), 300 * X)

        jvp = tj.custom_jvp(lambda n, x: n * x, nondiff_argnums=0)
        jvp.defjvp(lambda n, primals, tangents: (jvp(n, *primals), n * tangents[0] * 7))
        np.testing.assert_allclose(wrap(tj.grad(lambda x: np.sum(jvp(2, x))))(X), 14)

    def test_closure_over_a_traced_value(self, wrap):
        def loss(x, c):
            @tj.custom_jvp
            def f(x):
                return np.sin(x) * c

            @f.defjvp
            def rule(primals, tangents):
                return f(*primals), tangents[0] * c * 5

            return np.sum(f(x))

        np.testing.assert_allclose(wrap(tj.grad(loss))(X, X + 2), 5 * (X + 2))
        with pytest.raises(UnsupportedError, match="'f' closes over a value that is"):
            wrap(tj.grad(loss, 1))(X, X)

    def test_inside_of_another(self, wrap):
        softplus, clipped = make_softplus(), make_clipped()

        @tj.custom_vjp
        def outer(x):
            return clipped(softplus(x), 0.5)

        def fwd(x):
            return outer(x), x

        def bwd(x, g):
            return (g * tj.grad(lambda x: np.sum(softplus(x)))(x),)

        outer.defvjp(fwd, bwd)
        got = wrap(tj.grad(lambda x: np.sum(outer(x))))(X)
        np.testing.assert_allclose(got, 2 * sigmoid(X))

    def test_integer_arguments_and_results(self, wrap):
        @tj.custom_jvp
        def take(x, i):
            return x[i], i + 1

        @take.defjvp
        def rule(primals, tangents):
            (x, i), (t, ti) = primals, tangents
            assert ti.dtype == np.int64
            return take(x, i), (t[i] * 4, None)

        i = np.array([2, 0])
        got = wrap(tj.grad(lambda x: np.sum(take(x, i)[0])))(X)
        np.testing.assert_array_equal(got, [4, 0, 4])


def test_plain_calls_run_the_function():
    seen = []

    @tj.custom_vjp
    def f(x):
        seen.append(type(x))
        return x

    f.defvjp(None, lambda r, g: g)
    with pytest.raises(TraceError, match="'f' has no derivative yet"):
        f(X)
    f.defvjp(lambda x: (x, None), lambda r, g: (g,))
    assert f(X) is X
    assert seen == [np.ndarray]


def test_undifferentiated_calls_fuse():
    softplus, clipped = make_softplus(), make_clipped()
    f = tj.jit(lambda x: np.exp(clipped(softplus(x * 2), 1.0)) + 1)
    lowered = f.lower(X)
    assert len(lowered.kernels) == len(lowered.program.steps) == 1
    np.testing.assert_allclose(f(X), 2 + np.exp(2 * X), rtol=1e-12)


def test_forward_part_fuses_with_what_is_around():
    clipped = make_clipped()
    f = tj.jit(tj.grad(lambda x: np.sum(np.exp(clipped(np.sin(x), 1.0)))))
    assert len(f.lower(X).kernels) == 1


def test_branches_on_known_values():
    @tj.custom_vjp
    def f(x, flag):
        return np.sin(x) if x > 0 else x

    f.defvjp(
        lambda x, flag: (f(x, flag), x),
        lambda x, g: (g * 10 if x > 0 else g * 20, None),
    )
    assert tj.grad(f)(1.0, flag=True) == 10
    assert tj.grad(f)(-1.0, flag=True) == 20


def test_method():
    class Model:
        scale = 3.0

        @tj.custom_jvp
        def apply(self, x):
            return x * self.scale

    Model.apply = tj.custom_jvp(Model.apply.fun, nondiff_argnums=(0,))

    @Model.apply.defjvp
    def rule(self, primals, tangents):
        return self.apply(*primals), tangents[0] * 11

    assert tj.grad(lambda x: Model().apply(x))(1.0) == 11


# --- mistakes ---------------------------------------------------------------------


def custom(fwd, bwd):
    f = tj.custom_vjp(lambda x, y: x * y)
    f.defvjp(fwd, bwd)
    return tj.grad(lambda x: np.sum(f(x, X)))


def good_fwd(x, y):
    return x * y, (x, y)


@pytest.mark.parametrize(
    ("bwd", "error", "words"),
    [
        (lambda r, g: g, ShapeError, ["bwd of", "f64[3]", "(f64[3], f64[3])"]),
        (lambda r, g: (g,), ShapeError, ["(f64[3],)", "(f64[3], f64[3])"]),
        (lambda r, g: (g, {"a": g}), ShapeError, ["{'a': f64[3]}"]),
        (lambda r, g: (g[:2], g), ShapeError, ["f64[2]", "[0]", "f64[3]"]),
        (
            lambda r, g: (g.astype(np.float32), g),
            DTypeError,
            ["f32[3]", "f64[3]"],
        ),
    ],
)
def test_wrong_cotangents(bwd, error, words):
    with pytest.raises(error) as info:
        custom(good_fwd, bwd)(X)
    assert all(w in str(info.value) for w in [*words, "test_custom.py:"])


def test_wrong_forward():
    with pytest.raises(TraceError, match=r"not a pair \(result, residuals\)"):
        custom(lambda x, y: x * y, lambda r, g: (g, g))(X)
    with pytest.raises(ShapeError, match=r"fwd of '<lambda>' gives the result f64\[\]"):
        custom(lambda x, y: (np.sum(x * y), None), lambda r, g: (g, g))(X)


def test_wrong_tangent():
    f = tj.custom_jvp(lambda x: x * 2)
    f.defjvp(lambda p, t: (f(*p), np.sum(t[0])))
    with pytest.raises(ShapeError, match=r"the tangent .* is f64\[\] at the result"):
        tj.grad(lambda x: np.sum(f(x)))(X)
    f.defjvp(lambda p, t: t[0])
    with pytest.raises(TraceError, match=r"not a pair \(result, tangent\)"):
        tj.grad(lambda x: np.sum(f(x)))(X)


@pytest.mark.parametrize(
    ("tangent", "name"),
    [
        (lambda x, t: t * t, "mul"),
        (lambda x, t: np.exp(t), "exp"),
        (lambda x, t: x / t, "div"),
        (lambda x, t: np.maximum(t, 0), "maximum"),
        (lambda x, t: t @ t * t, "dot_general|mul"),
    ],
)
def test_rules_that_are_not_linear(tangent, name):
    f = tj.custom_jvp(lambda x: x * 2)
    f.defjvp(lambda p, t: (f(*p), tangent(p[0], t[0])))
    with pytest.raises(UnsupportedError, match=f"uses ({name}) on tangents") as info:
        tj.grad(lambda x: np.sum(f(x)))(X)
    assert "test_custom.py:" in str(info.value)


def test_arguments_that_are_no_arrays():
    clipped = make_clipped()
    with pytest.raises(DTypeError, match=r"given a str as argument\[1\]"):
        tj.grad(lambda x: np.sum(clipped(x, "a")))(X)


def test_keywords_and_defaults():
    @tj.custom_jvp
    def f(x, y=2.0):
        return x * y

    f.defjvp(lambda p, t: (f(*p), t[0] * p[1] * 10))
    assert tj.grad(lambda x: f(x))(1.0) == 20
    assert tj.grad(lambda x: f(y=3.0, x=x))(1.0) == 30

    g = tj.custom_jvp(lambda x, *, k=1: x)
    g.defjvp(lambda p, t: (p[0], t[0]))
    with pytest.raises(TypeError, match="cannot take keyword-only arguments"):
        g(1.0)


# --- nesting ----------------------------------------------------------------------

WRAPPERS = [lambda f: f, tj.jit, tj.checkpoint]


def weighted(f):
    return lambda x: np.sum(f(x) * np.arange(3.0))


@pytest.mark.parametrize("inner", WRAPPERS)
@pytest.mark.parametrize("outer", WRAPPERS)
def test_any_order(inner, outer):
    """Third derivatives through custom rules, checkpoints and jit, in any nesting."""
    softplus = tj.custom_jvp(lambda x: np.log1p(np.exp(x)))
    softplus.defjvp(lambda p, t: (softplus(*p), t[0] / (1 + np.exp(-p[0]))))
    square = tj.custom_vjp(lambda x: x**2)
    square.defvjp(lambda x: (square(x), x), lambda x, g: (2 * x * g,))

    def plain(x):
        return np.sum(np.log1p(np.exp(x)) * np.sin(x) ** 2 * x)

    def custom(x):
        return np.sum(softplus(x) * square(np.sin(x)) * x)

    def third(f, inner, outer):
        first = outer(tj.grad(inner(f)))
        second = inner(tj.grad(weighted(first)))
        return outer(tj.grad(weighted(second)))

    want = third(plain, WRAPPERS[0], WRAPPERS[0])(X)
    np.testing.assert_allclose(third(custom, inner, outer)(X), want, rtol=1e-9)


def both(x, t):
    """Values and tangents in one function, tangents first and last among operands."""
    return np.sin(x), np.cos(x) * t


def scanned_rule(x, t):
    return tj.scan(lambda c, _: (both(*c), None), (x, t), None, length=2)[0]


def stacked_rule(x, t):
    """Slices of values and tangents, and a residual that changes with the turns."""

    def turn(c, v):
        s, t = v
        y, dy = both(s, t)
        return (c[0] + 1, c[1] + dy), (y * c[0], dy * c[0])

    _, (ys, dys) = tj.scan(turn, (1.0, 0.0), (x, t))
    scale = np.arange(1.0, 4.0)
    return np.sin(ys / scale), np.cos(ys / scale) * dys / scale


def chosen_rule(x, t):
    """Each branch has a residual of its own."""

    def twice(t, x):
        y, dy = both(*both(x, t))
        return dy, y

    dy, y = tj.cond(np.sum(x) > 100, lambda t, x: (t * np.exp(x), x), twice, t, x)
    return y, dy


def counted_rule(x, t):
    return tj.fori_loop(0, 2, lambda i, c: both(*c), (x, t))


def nested_rule(x, t):
    """A branch in a loop in a call."""

    def turn(i, c):
        return tj.cond(i < 2, both, lambda x, t: (x, t), *c)

    return tj.jit(lambda t, x: tj.fori_loop(0, 4, turn, (x, t)))(t, x)


def derived_rule(x, t):
    return tj.jvp(lambda x: tj.fori_loop(0, 2, lambda i, c: np.sin(c), x), (x,), (t,))


def batching_rule(x, t):
    """Tangents before values, in a function with a rule for batches."""
    function = tj.custom_batching(lambda t, x: both(*both(x, t)))
    function.def_vmap(lambda n, mapped, t, x: (both(*both(x, t)), (True, True)))
    return function(t, x)


RULES = [
    batching_rule,
    *(scanned_rule, stacked_rule, chosen_rule, counted_rule, nested_rule),
    *(derived_rule, lambda x, t: tj.checkpoint(counted_rule)(x, t)),
]


@pytest.mark.parametrize("wrap", [lambda f: f, tj.jit], ids=["eager", "jit"])
@pytest.mark.parametrize("rule", RULES)
def test_rules_that_compute_values_and_tangents_together(rule, wrap):
    """The transpose is that of the tangents alone, to the second order."""
    twice = tj.custom_jvp(lambda x: np.sin(np.sin(x)))
    twice.defjvp(lambda xs, ts: rule(*xs, *ts))

    def plain(x):
        return np.sin(np.sin(x))

    def derivatives(f):
        gradient = tj.grad(lambda x: np.sum(f(x) ** 2))
        second = tj.grad(weighted(gradient))
        value, along = tj.linearize(f, X)
        return gradient(X), second(X), value, along(X), tj.jacrev(f)(X)

    pairs = zip(derivatives(wrap(twice)), derivatives(plain), strict=True)
    for got, want in pairs:
        np.testing.assert_allclose(got, want, rtol=1e-12, atol=1e-14)


def test_while_loop_of_values_and_tangents():
    """Linearised it works; its transpose is an error, as that of every while."""
    twice = tj.custom_jvp(lambda x: np.sin(np.sin(x)))

    def rule(xs, ts):
        def turn(state):
            return *both(*state[:2]), state[2] + 1

        return tj.while_loop(lambda s: s[2] < 2, turn, (*xs, *ts, 0))[:2]

    twice.defjvp(rule)
    value, along = tj.linearize(twice, X)
    np.testing.assert_allclose(value, np.sin(np.sin(X)))
    np.testing.assert_allclose(along(X), np.cos(np.sin(X)) * np.cos(X) * X)
    with pytest.raises(UnsupportedError, match="gradient of a while_loop"):
        tj.grad(lambda x: np.sum(twice(x)))(X)
