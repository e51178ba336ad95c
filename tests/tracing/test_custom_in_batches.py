"""Custom derivatives and checkpoints of many examples and turns."""

import numpy as np
import pytest

import tracejit as tj
from tracejit.errors import CheckError, IndexRangeError, UnsupportedError

X = np.array([-0.7, 0.2, 1.4])
ROWS = np.stack([X, 2 * X, X - 0.3, X[::-1]])
MODES = pytest.mark.parametrize("wrap", [lambda f: f, tj.jit], ids=["eager", "jit"])
KINDS = pytest.mark.parametrize("kind", ["jvp", "vjp"])


def make(kind):
    """``sin(x) * k``, whose derivative is twice what it is, to see the rule."""
    if kind == "jvp":
        f = tj.custom_jvp(lambda x, k: np.sin(x) * k)

        @f.defjvp
        def rule(primals, tangents):
            (x, k), (t, s) = primals, tangents
            return f(x, k), 2 * (np.cos(x) * k * t + np.sin(x) * s)

        return f
    f = tj.custom_vjp(lambda x, k: np.sin(x) * k)
    f.defvjp(
        lambda x, k: (f(x, k), (x, k)),
        lambda r, g: (2 * g * np.cos(r[0]) * r[1], 2 * np.sum(g * np.sin(r[0]))),
    )
    return f


@MODES
@KINDS
class TestRules:
    def test_vmap_of_the_value_and_of_grad(self, wrap, kind):
        f = make(kind)
        np.testing.assert_allclose(wrap(tj.vmap(f, (0, None)))(X, 3.0), np.sin(X) * 3)
        each = wrap(tj.vmap(tj.grad(f, (0, 1)), (0, None)))(X, 3.0)
        np.testing.assert_allclose(each[0], 6 * np.cos(X))
        np.testing.assert_allclose(each[1], 2 * np.sin(X))

    def test_grad_of_vmap(self, wrap, kind):
        f = make(kind)
        total = lambda x, k: tj.vmap(f, (0, None))(x, k).sum()  # noqa: E731
        dx, dk = wrap(tj.grad(total, (0, 1)))(ROWS, 3.0)
        np.testing.assert_allclose(dx, 6 * np.cos(ROWS))
        np.testing.assert_allclose(dk, 2 * np.sin(ROWS).sum())
        shared = lambda x, ks: tj.vmap(f, (None, 0))(x, ks).sum()  # noqa: E731
        dx, dk = wrap(tj.grad(shared, (0, 1)))(X, X)
        np.testing.assert_allclose(dx, 2 * np.cos(X) * X.sum())
        np.testing.assert_allclose(dk, [2 * np.sin(X).sum()] * 3)

    def test_nested(self, wrap, kind):
        f = make(kind)
        g = lambda x: f(x, 3.0)  # noqa: E731
        want = 6 * np.cos(ROWS)
        for h in (
            tj.vmap(tj.vmap(tj.grad(g))),
            tj.vmap(tj.grad(lambda x: tj.vmap(g)(x).sum())),
            tj.grad(lambda x: tj.vmap(tj.vmap(g))(x).sum()),
        ):
            np.testing.assert_allclose(wrap(h)(ROWS), want)

    def test_second_order(self, wrap, kind):
        f = make(kind)
        g = lambda x: f(x, 3.0)  # noqa: E731
        want = {"jvp": -6 * np.sin(X), "vjp": -6 * np.sin(X)}[kind]
        np.testing.assert_allclose(wrap(tj.vmap(tj.grad(tj.grad(g))))(X), want)
        first = tj.grad(lambda x: tj.vmap(g)(x).sum())
        second = tj.grad(lambda x: first(x).sum())
        np.testing.assert_allclose(wrap(second)(X), want)

    def test_in_scan_bodies(self, wrap, kind):
        f = make(kind)

        def loop(x):
            return tj.scan(lambda c, k: (c + f(x, k), None), 0.0, np.arange(1.0, 4.0))[
                0
            ]

        want = 2 * np.cos(X) * 6
        np.testing.assert_allclose(wrap(tj.vmap(loop))(X), np.sin(X) * 6)
        np.testing.assert_allclose(wrap(tj.vmap(tj.grad(loop)))(X), want)
        got = wrap(tj.grad(lambda x: tj.vmap(loop)(x).sum()))(X)
        np.testing.assert_allclose(got, want)

    def test_through_carries(self, wrap, kind):
        """The derivative of each turn is twice that of the sine."""
        f = make(kind)
        loop = lambda x: tj.scan(lambda c, _: (f(c, 1.0), c), x, None, length=3)[0]  # noqa: E731
        want = np.ones(3)
        x = X
        for _ in range(3):
            want, x = want * 2 * np.cos(x), np.sin(x)
        np.testing.assert_allclose(wrap(tj.vmap(tj.grad(loop)))(X), want)
        got = wrap(tj.grad(lambda x: tj.vmap(loop)(x).sum()))(X)
        np.testing.assert_allclose(got, want)

    def test_in_branches(self, wrap, kind):
        f = make(kind)
        g = lambda x: tj.cond(x > 0, lambda x: f(x, 3.0), lambda x: -x, x)  # noqa: E731
        want = np.where(X > 0, 6 * np.cos(X), -1)
        np.testing.assert_allclose(wrap(tj.vmap(tj.grad(g)))(X), want)
        got = wrap(tj.grad(lambda x: tj.vmap(g)(x).sum()))(X)
        np.testing.assert_allclose(got, want)

    def test_arrays_around_are_not_batched(self, wrap, kind):
        w = np.arange(9.0).reshape(3, 3)
        if kind == "jvp":
            f = tj.custom_jvp(lambda x: x @ w)
            f.defjvp(lambda p, t: (f(*p), 2 * t[0] @ w))
        else:
            f = tj.custom_vjp(lambda x: x @ w)
            f.defvjp(lambda x: (f(x), None), lambda r, g: (2 * g @ w.T,))
        total = lambda x: f(x).sum()  # noqa: E731
        want = np.stack([2 * w.sum(axis=1)] * 4)
        np.testing.assert_allclose(wrap(tj.vmap(f))(ROWS), ROWS @ w)
        np.testing.assert_allclose(wrap(tj.vmap(tj.grad(total)))(ROWS), want)
        whole = tj.grad(lambda x: tj.vmap(f)(x).sum())
        np.testing.assert_allclose(wrap(whole)(ROWS), want)

    def test_values_around_may_be_batched(self, wrap, kind):
        def outer(x, k):
            if kind == "jvp":
                f = tj.custom_jvp(lambda x: x * k)
                f.defjvp(lambda p, t: (f(*p), 2 * t[0] * k))
            else:
                f = tj.custom_vjp(lambda x: x * k)
                f.defvjp(lambda x: (f(x), None), lambda r, g: (2 * g * k,))
            return f(x)

        np.testing.assert_allclose(wrap(tj.vmap(tj.grad(outer)))(X, X), 2 * X)
        whole = tj.grad(lambda x: tj.vmap(lambda x, k: outer(x, k))(x, X).sum())
        np.testing.assert_allclose(wrap(whole)(X), 2 * X)
        shared = tj.grad(lambda x: tj.vmap(outer, (0, None))(x, 3.0).sum())
        np.testing.assert_allclose(wrap(shared)(X), [6.0] * 3)


@MODES
def test_forward_mode_in_while_bodies(wrap):
    f = make("jvp")
    loop = lambda x: tj.while_loop(  # noqa: E731
        lambda c: c[1] < 2, lambda c: (f(c[0], 3.0), c[1] + 1), (x, 0)
    )[0]
    slope = lambda x: tj.jvp(loop, (x,), (np.ones_like(x),))[1]  # noqa: E731
    want = 36 * np.cos(3 * np.sin(X)) * np.cos(X)
    np.testing.assert_allclose(wrap(slope)(X), want)
    np.testing.assert_allclose(wrap(tj.vmap(slope))(X), want)
    np.testing.assert_allclose(wrap(lambda x: slope(x))(X), want)
    until = lambda x: tj.while_loop(lambda c: c < 1, lambda c: f(c, 1.0) + 0.9, x)  # noqa: E731
    each = [tj.jvp(until, (x,), (1.0,))[1] for x in X]
    many = lambda x: tj.jvp(tj.vmap(until), (x,), (np.ones_like(x),))[1]  # noqa: E731
    np.testing.assert_allclose(wrap(many)(X), each)
    single = tj.vmap(lambda x: tj.jvp(until, (x,), (1.0,))[1])
    np.testing.assert_allclose(wrap(single)(X), each)


@MODES
def test_custom_vjp_has_no_forward_mode_in_batches_either(wrap):
    f = make("vjp")
    g = lambda x: tj.jvp(tj.vmap(lambda x: f(x, 1.0)), (x,), (x,))  # noqa: E731
    with pytest.raises(UnsupportedError, match="forward mode cannot pass a custom_vjp"):
        wrap(g)(X)


@MODES
@KINDS
def test_checks_in_a_branch_that_some_examples_take(wrap, kind):
    """Those of the function and of its rules: indices, and `check`."""
    table = lambda: np.cumsum(np.ones(2))  # noqa: E731

    def look(x, i):
        tj.debug.check(x < 5, "x is {}", x)
        return x * table()[i]

    if kind == "jvp":
        f = tj.custom_jvp(look)
        f.defjvp(lambda p, t: (f(*p), 10 * table()[p[1]] * t[0]))
    else:
        f = tj.custom_vjp(look)
        f.defvjp(
            lambda x, i: (f(x, i), i),
            lambda i, g: (10 * g * table()[i], np.zeros_like(i)),
        )
    g = lambda x, i: tj.cond(i < 5, lambda: f(x, i), lambda: -x)  # noqa: E731
    i = np.array([0, 7, 1])
    x = np.array([1.0, 9.0, 2.0])
    gradient = tj.grad(lambda x, i: tj.vmap(g)(x, i).sum())
    np.testing.assert_array_equal(wrap(tj.vmap(g))(x, i), [1, -9, 4])
    np.testing.assert_array_equal(wrap(tj.vmap(tj.grad(g)))(x, i), [10, -1, 20])
    np.testing.assert_array_equal(wrap(gradient)(x, i), [10, -1, 20])
    for h in (tj.vmap(g), tj.vmap(tj.grad(g)), gradient):
        with pytest.raises(CheckError, match=r"x is 9\.0"):
            wrap(h)(x[::-1] * [1, 1, 9], np.array([0, 7, 1]))
        with pytest.raises(IndexRangeError):
            wrap(h)(x, np.array([0, 7, 3]))


@MODES
@KINDS
def test_static_arguments_and_containers(wrap, kind):
    if kind == "jvp":
        f = tj.custom_jvp(lambda name, p: {name: p["a"] * p["b"]}, nondiff_argnums=0)
        f.defjvp(
            lambda name, p, t: (f(name, *p), {name: 2 * t[0]["a"] * p[0]["b"]}),
        )
    else:
        f = tj.custom_vjp(lambda name, p: {name: p["a"] * p["b"]}, nondiff_argnums=0)
        f.defvjp(
            lambda name, p: (f(name, p), p["b"]),
            lambda name, b, g: ({"a": 2 * g[name] * b, "b": None},),
        )
    loss = lambda a, b: f("out", {"a": a, "b": b})["out"].sum()  # noqa: E731
    got = wrap(tj.vmap(tj.grad(loss, (0, 1)), (0, None)))(ROWS, X)
    np.testing.assert_allclose(got[0], np.stack([2 * X] * 4))
    np.testing.assert_array_equal(got[1], np.zeros((4, 3)))


# --- checkpoints ------------------------------------------------------------------

LAYERS = 16


def block(x, ws):
    for w in ws:
        x = np.sin(np.tanh(x @ w))
    return x


def deep(x, ws, wrap):
    for i in range(0, LAYERS, 4):
        x = wrap(block)(x, ws[i : i + 4])
    return np.sum(x)


WS = [np.eye(8) * (1 + i / 20) for i in range(LAYERS)]
BATCH = np.linspace(-1, 1, 64 * 8 * 8).reshape(64, 8, 8)


def arena(f, *args):
    return tj.jit(f).lower(*args).program.arena_bytes


@MODES
def test_checkpoint_means_its_function(wrap):
    for make_loss in (
        lambda c: tj.vmap(tj.grad(lambda x: deep(x, WS, c))),
        lambda c: tj.grad(lambda x: tj.vmap(lambda x: deep(x, WS, c))(x).sum()),
        lambda c: tj.vmap(c(lambda x: deep(x, WS, lambda f: f))),
        lambda c: tj.vmap(tj.vmap(tj.grad(c(np.prod))), 1, 1),
    ):
        got = wrap(make_loss(tj.checkpoint))(BATCH[:3])
        np.testing.assert_allclose(got, make_loss(lambda f: f)(BATCH[:3]), rtol=1e-9)


@pytest.mark.parametrize(
    "order", ["vmap of grad", "grad of vmap", "checkpoint of vmap"]
)
def test_memory_of_checkpoints_in_batches(order):
    """As without a batch, about a half of 16 layers in blocks of 4."""

    def loss(wrap):
        if order == "vmap of grad":
            return tj.vmap(tj.grad(lambda x: deep(x, WS, wrap)))
        if order == "grad of vmap":
            one = lambda x: deep(x, WS, wrap)  # noqa: E731
            return tj.grad(lambda x: tj.vmap(one)(x).sum())
        shared = (0, None)
        many = lambda f: wrap(lambda x, ws: tj.vmap(f, shared)(x, ws))  # noqa: E731
        return tj.grad(lambda x: deep(x, WS, many))

    kept, again = (arena(loss(w), BATCH) for w in (lambda f: f, tj.checkpoint))
    assert kept >= LAYERS * BATCH.nbytes
    assert again <= kept / 2
    one = [
        arena(tj.grad(lambda x, w=w: deep(x, WS, w)), BATCH[0])
        for w in (lambda f: f, tj.checkpoint)
    ]
    assert again / kept <= 1.3 * one[1] / one[0]


def test_memory_of_checkpoints_in_scans():
    """A turn keeps its carry, however many values it makes."""
    w = WS[3]

    def loss(x, wrap):
        turn = wrap(lambda x: block(x, [w] * 4))
        return np.sum(tj.scan(lambda c, _: (turn(c), None), x, None, length=50)[0])

    x = BATCH[0]
    kept, again = (
        arena(tj.grad(lambda x, c=c: loss(x, c)), x)
        for c in (lambda f: f, tj.checkpoint)
    )
    stack = 50 * x.nbytes
    assert kept >= 7 * stack
    assert again <= 1.5 * stack
    gradient = tj.grad(lambda x: loss(x, tj.checkpoint))
    want = tj.grad(lambda x: loss(x, lambda f: f))(x)
    np.testing.assert_allclose(tj.jit(gradient)(x), want, rtol=1e-9)
    many = tj.vmap(gradient)
    bytes_of_batch = arena(many, BATCH)
    assert bytes_of_batch <= 1.5 * stack * len(BATCH)
    np.testing.assert_allclose(tj.jit(many)(BATCH)[0], want, rtol=1e-9)


def test_policies_in_batches():
    """What is saved is a value of each example."""

    def f(x):
        return np.sum(np.sin(tj.checkpoint_name(np.exp(x), "e")))

    policy = tj.checkpoint_policies.save_only_these_names("e")
    want = np.cos(np.exp(ROWS)) * np.exp(ROWS)
    for wrap in (lambda f: f, tj.jit):
        g = tj.checkpoint(f, policy=policy)
        np.testing.assert_allclose(wrap(tj.vmap(tj.grad(g)))(ROWS), want)
        whole = tj.grad(lambda x, g=g: tj.vmap(g)(x).sum())
        np.testing.assert_allclose(wrap(whole)(ROWS), want)
