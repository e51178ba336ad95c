"""`checkpoint`: less memory, the same gradients."""

import numpy as np
import pytest

import tracejit as tj
from tracejit.errors import ConcretizationError

POLICIES = tj.checkpoint_policies
ROWS, WIDTH = 32, 16
BUFFER = ROWS * WIDTH * 8  # bytes of the values between layers


def layers(n):
    rng = np.random.default_rng(n)
    ws = [rng.normal(size=(WIDTH, WIDTH)) / 4 for _ in range(n)]
    return rng.normal(size=(ROWS, WIDTH)), ws


def chain(wrap, block):
    """Layers that keep several values each, in blocks that are wrapped."""

    def run(x, ws):
        for w in ws:
            x = np.tanh(x @ w)
            x = np.sin(x) * np.exp(-x)
        return x

    def loss(x, ws):
        for i in range(0, len(ws), block):
            x = wrap(run)(x, ws[i : i + block])
        return np.sum(x)

    return loss


def plain(f):
    return f


def peak(n, wrap=plain, block=1, argnums=0):
    """Return the arena of the gradient, in values between layers."""
    f = tj.jit(tj.grad(chain(wrap, block), argnums))
    return f.lower(*layers(n)).program.arena_bytes / BUFFER


@pytest.mark.parametrize("argnums", [0, 1, (0, 1)])
def test_memory_grows_as_promised(argnums):
    """Without it one value a layer or two; one for each layer; two for each root."""
    few, many = 4, 25
    grown = peak(many, argnums=argnums) - peak(few, argnums=argnums)
    assert grown >= many - few
    one = peak(many, tj.checkpoint, 1, argnums) - peak(few, tj.checkpoint, 1, argnums)
    assert one <= 1.1 * (many - few)
    assert peak(many, tj.checkpoint, 5, argnums) <= 5 + 4 * 5 + 4
    assert peak(64, tj.checkpoint, 8, argnums) <= 8 + 4 * 8 + 4


def test_nested_checkpoints_keep_less_still():
    """Eight blocks in two halves: values of one half, of one block, of one layer."""

    def wrap(f):
        def half(x, ws):
            for i in range(0, len(ws), 4):
                x = tj.checkpoint(f)(x, ws[i : i + 4])
            return x

        return tj.checkpoint(half)

    assert peak(32, wrap, 16) < peak(32, tj.checkpoint, 4)


def test_policies_keep_what_they_name():
    n = 16
    dots = peak(n, tj.checkpoint(policy=POLICIES.dots_saveable), n)
    assert n <= dots <= n + 6
    nothing = peak(n, tj.checkpoint(policy=POLICIES.nothing_saveable), 4)
    assert nothing == peak(n, tj.checkpoint, 4)
    everything = peak(n, tj.checkpoint(policy=POLICIES.everything_saveable), 1)
    assert everything == peak(n)


def test_names():
    def f(x, policy):
        def inner(x):
            y = tj.checkpoint_name(np.exp(np.sin(x)), "a")
            return np.sum(np.cos(y) * y)

        return tj.checkpoint(inner, policy=policy)(x)

    def exps(policy):
        both = tj.jit(tj.value_and_grad(lambda x: f(x, policy)))
        return both.lower(np.ones(4)).stages[-1][1].count("= exp ")

    named = POLICIES.save_only_these_names
    assert exps(named()) == exps(named("b")) == 2
    assert exps(named("a")) == exps(named("b") | named("a")) == 1
    x = np.linspace(0, 1, 4)
    want = tj.grad(lambda x: f(x, POLICIES.everything_saveable))(x)
    for policy in (named("a"), named("b")):
        np.testing.assert_array_equal(tj.grad(lambda x, p=policy: f(x, p))(x), want)


@pytest.mark.parametrize("block", [1, 2, 4])
@pytest.mark.parametrize("argnums", [0, (0, 1)])
def test_gradients_have_the_same_bits(block, argnums):
    x, ws = layers(4)
    want, _ = flat(tj.jit(tj.grad(chain(plain, block), argnums))(x, ws))
    for wrap in (tj.checkpoint, tj.checkpoint(policy=POLICIES.dots_saveable)):
        got, _ = flat(tj.jit(tj.grad(chain(wrap, block), argnums))(x, ws))
        assert all(map(np.array_equal, got, want))
    eager, _ = flat(tj.grad(chain(tj.remat, block), argnums)(x, ws))
    for a, b in zip(eager, want, strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-9, atol=1e-12)


def flat(tree):
    leaves = []
    for part in tree if isinstance(tree, tuple | list) else [tree]:
        leaves.extend(flat(part)[0] if isinstance(part, tuple | list) else [part])
    return leaves, None


def test_gradient_of_gradient():
    x, ws = layers(3)

    def twice(wrap):
        inner = tj.grad(lambda x: chain(wrap, 1)(x, ws))
        return tj.grad(lambda x: np.sum(inner(x) ** 2))

    want = twice(plain)(x)
    for wrap in (tj.checkpoint, tj.checkpoint(policy=POLICIES.dots_saveable)):
        np.testing.assert_allclose(twice(wrap)(x), want, rtol=1e-10, atol=1e-12)
        np.testing.assert_allclose(tj.jit(twice(wrap))(x), want, rtol=1e-9, atol=1e-11)


def test_checkpoint_of_gradient():
    f = tj.checkpoint(tj.grad(lambda x: np.sum(np.sin(x) ** 3)))
    x = np.linspace(0, 1, 5)
    want = tj.grad(lambda x: np.sum(tj.grad(lambda x: np.sum(np.sin(x) ** 3))(x)))(x)
    np.testing.assert_allclose(tj.grad(lambda x: np.sum(f(x)))(x), want, rtol=1e-12)


def test_without_derivatives_nothing_is_left():
    f = tj.checkpoint(lambda x: np.sin(x) * 2)
    assert f(1.0) == np.sin(1.0) * 2
    lowered = tj.jit(lambda x: np.exp(f(x)) + 1).lower(np.ones(3))
    assert "= checkpoint" not in lowered.stages[0][1]
    assert len(lowered.program.steps) == 1


def test_arguments_of_any_kind():
    """Keywords, containers, strings, integers that decide shapes, closures."""
    w = np.linspace(0, 1, 3)

    @tj.checkpoint
    def f(x, mode, *, n, extra=None):
        assert mode == "sum"
        assert extra == {"a": None}
        return {"y": sum(np.sin(x * w) ** i for i in range(1, n)), "mode": mode}

    def loss(x, n):
        return np.sum(f(x, "sum", n=n, extra={"a": None})["y"])

    want = np.cos(w * w) * w + 2 * np.sin(w * w) * np.cos(w * w) * w
    np.testing.assert_allclose(tj.grad(loss)(w, 3), want, rtol=1e-12)
    np.testing.assert_allclose(tj.jit(tj.grad(loss))(w, 3), want, rtol=1e-12)


def test_prints_once(capsys):
    @tj.checkpoint
    def f(x):
        tj.debug.print("value {}", x)
        return np.exp(np.sin(x))

    tj.jit(tj.grad(f))(0.5)
    assert capsys.readouterr().out == "value 0.5\n"


def test_callbacks_run_once():
    """Their results are kept, whatever else is computed again."""
    calls = []

    def factor(x):
        calls.append(x)
        return 2 * x

    @tj.checkpoint
    def f(x):
        kept = tj.callback.io(factor, tj.stop_gradient(x), tj.stop_gradient(x))
        return np.exp(np.sin(x) * kept)

    got = tj.jit(tj.grad(f))(0.5)
    assert calls == [0.5]
    np.testing.assert_allclose(got, np.exp(np.sin(0.5)) * np.cos(0.5))


def test_conversions_that_drop_the_gradient():
    f = tj.checkpoint(lambda x: x * float(x))
    with pytest.raises(ConcretizationError, match="would drop its gradient"):
        tj.grad(f)(2.0)


def test_wrong_policy():
    with pytest.raises(TypeError, match="checkpoint_policies"):
        tj.checkpoint(lambda x: x, policy="dots")
