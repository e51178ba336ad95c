"""Whole programs of loops: jitted as in NumPy, with gradients, beside JAX."""

from collections.abc import Callable
from types import ModuleType

import numpy as np
import pytest

import tracejit as tj

try:
    import jax

    jax.config.update("jax_enable_x64", True)
    import jax.numpy as jnp
except ImportError:  # a test-only dependency
    jax = None

needs_jax = pytest.mark.skipif(jax is None, reason="JAX is not installed")


class Namespace:
    """What a program takes: the arrays' module, and control flow."""

    def __init__(self, xp: ModuleType, flow: object) -> None:
        self.np, self.flow = xp, flow


OURS = Namespace(np, tj)


def theirs() -> Namespace:
    return Namespace(jnp, jax.lax)


def lstm(m: Namespace, params: dict, xs: object) -> object:
    """Mean square of an LSTM's outputs over a sequence of batches."""
    xp = m.np
    batch, hidden = xs.shape[1], params["u"].shape[0]

    def turn(state, x):
        h, c = state
        z = x @ params["w"] + h @ params["u"] + params["b"]
        i, f, g, o = (z[:, k * hidden : (k + 1) * hidden] for k in range(4))
        c = c / (1 + xp.exp(-f)) + xp.tanh(g) / (1 + xp.exp(-i))
        h = xp.tanh(c) / (1 + xp.exp(-o))
        return (h, c), h

    start = xp.zeros((batch, hidden)), xp.zeros((batch, hidden))
    (h, c), hs = m.flow.scan(turn, start, xs)
    return xp.mean(hs**2) + xp.sum(h * c)


def lstm_args() -> tuple:
    rng = np.random.default_rng(0)
    shapes = {"w": (5, 16), "u": (4, 16), "b": (16,)}
    params = {k: rng.normal(size=s) / 2 for k, s in shapes.items()}
    return params, rng.normal(size=(7, 3, 5))


def sinkhorn(m: Namespace, cost: object) -> object:
    """Optimal transport between uniform weights: iterate until marginals agree."""
    xp = m.np
    kernel = xp.exp(-cost / 0.1)
    n, k = cost.shape
    ones = xp.ones(n) / n, xp.ones(k) / k

    def error(state):
        u, v, turns = state
        off = xp.max(xp.abs(u * (kernel @ v) - 1 / n))
        return (off > 1e-9) & (turns < 2000)

    def turn(state):
        _, v, turns = state
        u = (1 / n) / (kernel @ v)
        return u, (1 / k) / (kernel.T @ u), turns + 1

    u, v, _ = m.flow.while_loop(error, turn, (*ones, 0))
    return u[:, None] * kernel * v


def newton(m: Namespace, a: object) -> object:
    """Cube roots by Newton's method, all at once."""
    xp = m.np

    def off(x):
        return xp.max(xp.abs(x**3 - a)) > 1e-10

    return m.flow.while_loop(off, lambda x: x - (x**3 - a) / (3 * x * x), a)


def rk4(m: Namespace, start: object, rate: object) -> object:
    """The end of a pendulum's path by Runge–Kutta, and its energy on the way."""
    xp, h = m.np, 0.05

    def slope(y):
        return xp.stack([y[1], -rate * xp.sin(y[0])])

    def step(y):
        a = slope(y)
        b = slope(y + h / 2 * a)
        c = slope(y + h / 2 * b)
        d = slope(y + h * c)
        return y + h / 6 * (a + 2 * b + 2 * c + d)

    end = m.flow.fori_loop(0, 30, lambda i, y: step(y), start)

    def turn(y, _):
        y = step(y)
        return y, y[1] ** 2 / 2 - rate * xp.cos(y[0])

    last, energy = m.flow.scan(turn, end, None, length=20)
    return xp.sum(last) + xp.mean(energy)


PROGRAMS: dict[str, tuple[Callable, tuple]] = {
    "lstm": (lstm, lstm_args()),
    "sinkhorn": (sinkhorn, (np.random.default_rng(1).uniform(size=(6, 5)),)),
    "newton": (newton, (np.array([2.0, 9.0, 0.3]),)),
    "rk4": (rk4, (np.array([0.3, 1.1]), np.array(2.0))),
}
DIFFERENTIABLE = ["lstm", "rk4"]


def same(got: object, want: object, rtol: float = 1e-10) -> None:
    if isinstance(want, dict):
        for k in want:
            same(got[k], want[k], rtol)
    elif isinstance(want, tuple):
        for x, y in zip(got, want, strict=True):
            same(x, y, rtol)
    else:
        np.testing.assert_allclose(got, np.asarray(want), rtol=rtol, atol=1e-11)


def bound(name: str, m: Namespace) -> Callable:
    fn, _ = PROGRAMS[name]
    return lambda *args: fn(m, *args)


@pytest.mark.parametrize("name", PROGRAMS)
def test_jitted_program_is_numpys(name: str):
    fn, args = bound(name, OURS), PROGRAMS[name][1]
    same(tj.jit(fn)(*args), fn(*args))


@needs_jax
@pytest.mark.parametrize("name", PROGRAMS)
def test_values_are_those_of_jax(name: str):
    args = PROGRAMS[name][1]
    same(tj.jit(bound(name, OURS))(*args), bound(name, theirs())(*args), 1e-8)


@needs_jax
@pytest.mark.parametrize("name", DIFFERENTIABLE)
def test_gradients_are_those_of_jax(name: str):
    args = PROGRAMS[name][1]
    where = tuple(range(len(args)))
    want = jax.grad(bound(name, theirs()), argnums=where)(*args)
    ours = tj.grad(bound(name, OURS), argnums=where)
    same(ours(*args), want, 1e-8)
    same(tj.jit(ours)(*args), want, 1e-8)


@needs_jax
def test_second_derivatives_are_those_of_jax():
    args = PROGRAMS["rk4"][1]

    def curvature(grad: Callable, fn: Callable) -> Callable:
        def slope(start, rate):
            g = grad(fn)(start, rate)
            return (g * g)[0] + g[1]

        return grad(slope)

    want = curvature(jax.grad, bound("rk4", theirs()))(*args)
    ours = curvature(tj.grad, bound("rk4", OURS))
    same(ours(*args), want, 1e-7)
    same(tj.jit(ours)(*args), want, 1e-7)


@pytest.mark.parametrize("name", DIFFERENTIABLE)
def test_gradients_are_those_of_unrolled_loops(name: str):
    """Python's own loops under `grad`, which the tracer unrolls."""

    class Unrolled:
        @staticmethod
        def scan(f, state, xs, length=None):
            ys = []
            for i in range(len(xs) if xs is not None else length):
                state, y = f(state, None if xs is None else xs[i])
                ys.append(y)
            return state, np.stack(ys)

        @staticmethod
        def fori_loop(lower, upper, body, value):
            for i in range(lower, upper):
                value = body(i, value)
            return value

    args = PROGRAMS[name][1]
    want = tj.grad(bound(name, Namespace(np, Unrolled)))(*args)
    same(tj.jit(tj.grad(bound(name, OURS)))(*args), want, 1e-9)


def test_lstm_has_no_python_between_turns():
    program = tj.jit(bound("lstm", OURS)).lower(*PROGRAMS["lstm"][1]).program
    text = tj.jit(bound("lstm", OURS)).lower(*PROGRAMS["lstm"][1]).as_text()
    assert "loop i0: 7" in text
    assert "extern" not in text
    assert len(program.kernels) <= 10
