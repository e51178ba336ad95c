"""Python loops that were traced turn by turn: found, and what they were to the bit."""

import numpy as np
import pytest

import tracejit as tj
from tracejit import config
from tracejit.ir.interp import evaluate
from tracejit.ir.ops.loops import ScanParams, scan_p
from tracejit.ir.parser import parse_graph
from tracejit.ir.printer import format_graph
from tracejit.ir.rerolling import Worth, reroll
from tracejit.ir.verify import verify
from tracejit.kernels.kernel import Repeat
from tracejit.program.program import Loop
from tracejit.transforms.vjp import value_and_grad_graph

X = np.linspace(-1, 1, 24)
Y = np.linspace(0.5, 0.25, 24)
ANY = Worth(elementwise=1, others=1)


def heat(x, y):
    for _ in range(20):
        x = x + 0.1 * (np.roll(x, 1) - 2 * x + np.roll(x, -1))
    return x


def leapfrog(x, y):
    old = x
    for _ in range(15):
        old, x = x, 2 * x - old - 0.1 * np.roll(x, 1)
    return x - old


def varying(x, y):
    for i in range(12):
        x = np.sin(x) + i * y + 1 / (i + 1)
    return x


def powers(x, y):
    x = x.reshape(4, 6)[:, :4]
    for _ in range(10):
        x = x @ x.T / 2 + y[:4]
    return x


def runge_kutta(x, y):
    def slope(x):
        return np.sin(x) * y - x

    for _ in range(9):
        a = slope(x)
        b = slope(x + 0.05 * a)
        c = slope(x + 0.05 * b)
        d = slope(x + 0.1 * c)
        x = x + 0.1 / 6 * (a + 2 * b + 2 * c + d)
    return x


def two_loops(x, y):
    for _ in range(10):
        x = np.cos(x) * y
    z = np.sort(x)
    for _ in range(11):
        z = z * 0.5 + np.exp(-z)
    return x + z


def several_states(x, y):
    a, b, c = x, y, x * y
    for _ in range(13):
        a, b, c = b + np.sin(a), c - a, a * 0.5
    return a, b, c


def inside(x, y):
    """The first turn, of zeros, is another one."""
    z, n = np.zeros_like(x), np.zeros(x.shape, np.int64)
    for _ in range(14):
        z = z * z + x
        n = n + (np.abs(z) < 2)
    return n


def last_two(x, y):
    before = x
    for _ in range(10):
        before = x
        x = np.tanh(x) + y
    return x, before


def products(x, y):
    """A product goes from each turn into a sum of the next one."""
    for _ in range(12):
        x = (x + y) * np.sin(x - y)
    return x + 1


def rows_in_order(x, y):
    rows, h = x.reshape(12, 2), y[:2]
    for t in range(12):
        h = np.tanh(h) + rows[t]
    return h


def columns_backwards(x, y):
    rows, h = x.reshape(2, 12), y[:2]
    for t in reversed(range(12)):
        h = np.tanh(h) * rows[:, t] + rows[:, 0]
    return h


def every_second(x, y):
    total = y[0]
    for t in range(11):
        total = np.sin(total) + x[2 * t + 1] * y[3]
    return total


ROLLED = {
    rows_in_order: [12],
    columns_backwards: [12],
    every_second: [11],
    heat: [20],
    leapfrog: [15],
    varying: [12],
    powers: [10],
    runge_kutta: [9],
    two_loops: [10, 11],
    several_states: [13],
    inside: [14],
    last_two: [10],
    products: [12],
}


def graph_of(function, *args):
    return tj.jit(function).trace(*args).graph


def lengths(graph):
    scans = (e for e in graph.eqns if e.primitive is scan_p)
    return [ScanParams.of(e.params).length for e in scans]


@pytest.mark.parametrize("function", ROLLED)
def test_loops_are_found_and_keep_their_bits(function):
    graph = graph_of(function, X, Y)
    made, found = reroll(graph, ANY)
    want = ROLLED[function]
    have = lengths(verify(made))
    assert len(have) == len(want)
    assert all(n - 4 <= m <= n for m, n in zip(have, want, strict=True))
    assert [r.turns for r in found] == have
    for a, b in zip(evaluate(made, [X, Y]), evaluate(graph, [X, Y]), strict=True):
        np.testing.assert_array_equal(a, b)
    text = format_graph(made)
    assert format_graph(parse_graph(text)) == text


@pytest.mark.parametrize("function", ROLLED)
def test_gradients_are_those_of_the_unrolled_graph(function):
    def loss(x, y):
        out = function(x, y)
        parts = out if isinstance(out, tuple) else (out,)
        return sum((p * 1.0).sum() for p in parts)

    graph = graph_of(loss, X, Y)
    made, _ = reroll(graph, ANY)
    assert lengths(made)
    pairs = [evaluate(value_and_grad_graph(g, [0, 1]), [X, Y]) for g in (made, graph)]
    for a, b in zip(*pairs, strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-10, atol=1e-12)


def trajectory(x, y):
    out = []
    for _ in range(12):
        x = np.sin(x) + y
        out.append(x)
    return np.stack(out)


def layers(x, y):
    for w in np.split(y, 12):
        x = np.tanh(x * w.sum())
    return x


def in_no_order(x, y):
    total = y[0]
    for t in (3, 1, 4, 15, 9, 2, 6, 5, 8, 7, 12, 11):
        total = np.sin(total) + x[t]
    return total


def short(x, y):
    for _ in range(6):
        x = np.sin(x) + y
    return x


def apart(x, y):
    return tuple(np.sin(part) + 1.0 for part in np.split(x, 12))


def printed(x, y):
    for _ in range(12):
        x = np.sin(x) + y
        tj.debug.print("x is {}", x[0])
    return x


@pytest.mark.parametrize(
    "function", [trajectory, layers, in_no_order, short, apart, printed]
)
def test_what_is_no_loop_stays(function):
    graph = graph_of(function, X, Y)
    made, found = reroll(graph, ANY)
    assert made is graph
    assert not found


def test_few_equations_are_not_worth_a_loop():
    graph = graph_of(runge_kutta, X, Y)
    made, _ = reroll(graph, Worth(elementwise=10_000, others=10_000))
    assert made is graph


def test_products_between_turns_wait_for_their_rounding():
    graph = graph_of(products, X, Y)
    early = Worth(elementwise=1, others=1, is_contracted=False)
    assert reroll(graph, early)[0] is graph
    graph = graph_of(heat, X, Y)
    assert lengths(reroll(graph, early)[0]) == [20]


def test_numbers_of_turns_are_one_array():
    made, _ = reroll(graph_of(varying, X, Y), ANY)
    (scan,) = (e for e in made.eqns if e.primitive is scan_p)
    p = ScanParams.of(scan.params)
    _, carries, xs = p.split(scan.invars)
    assert len(carries) == 1
    assert [x.aval.shape for x in xs] == [(p.length,)] * 2


def test_a_stencil_carries_its_state_alone():
    made, found = reroll(graph_of(heat, X, Y), ANY)
    (scan,) = (e for e in made.eqns if e.primitive is scan_p)
    assert ScanParams.of(scan.params).carries == 1
    (line,) = found[0].source
    assert line.startswith("test_rerolling.py:")
    assert str(found[0]).startswith("re-rolled: 20 turns of 11 equations (test_re")


# --- compiled


def long_heat(x):
    for _ in range(100):
        x = x + 0.1 * (np.roll(x, 1) - 2 * x + np.roll(x, -1))
    return x


def long_map(x):
    z, n = x, np.zeros(x.shape, np.int64)
    for i in range(60):
        z = z * z * 0.25 + x * 0.5 - 0.001 * i
        n = n + (z > 0)
    return n + z


@pytest.mark.parametrize("function", [long_heat, long_map])
def test_compiled_loops_have_the_bits_of_unrolled_ones(function):
    found = tj.jit(lambda x: function(x))(X)
    with config.override(reroll=False):
        want = tj.jit(lambda x: function(x))(X)
    np.testing.assert_array_equal(found, want)
    np.testing.assert_allclose(found, function(X), rtol=1e-9)


def test_a_long_stencil_is_a_loop_of_one_kernel():
    lowered = tj.jit(long_heat).lower(X)
    assert len(lowered.kernels) == 1
    assert any(isinstance(s, Loop) and s.count == 50 for s in lowered.program.steps)
    assert any(n.startswith("re-rolled: 100 turns of 11") for n in lowered.notes)


def test_long_elementwise_code_is_one_kernel_with_a_loop():
    lowered = tj.jit(long_map).lower(X)
    (kernel,) = lowered.kernels
    (loop,) = (op for op in kernel.body if isinstance(op, Repeat))
    assert loop.count >= 58
    assert len(kernel.body) < 40


def test_gradients_of_long_loops_are_loops():
    def loss(x):
        for _ in range(300):
            x = x + 0.1 * (np.roll(x, 1) - 2 * x + np.roll(x, -1)) - 0.01 * np.sin(x)
        return (x * x).sum()

    traced = tj.jit(tj.grad(loss)).trace(X)
    assert len(traced.graph.eqns) < 200
    found = tj.jit(tj.grad(loss))(X)
    with config.override(reroll=False):
        want = tj.grad(loss)(X)
    np.testing.assert_allclose(found, want, rtol=1e-9, atol=1e-12)


# --- random loops


def random_turn(rng):
    """Return a random function of three arrays to three others."""
    steps = [
        lambda a, b, i: a + b,
        lambda a, b, i: a * 0.5 - b,
        lambda a, b, i: np.sin(a),
        lambda a, b, i: np.roll(a, 1),
        lambda a, b, i: np.where(a > b, a, b * 0.25),
        lambda a, b, i: a * (1 / (i + 2)),
        lambda a, b, i: a - b.mean(),
    ]
    plan = [
        (steps[rng.integers(len(steps))], *rng.integers(0, 4, 2), rng.integers(0, 3))
        for _ in range(rng.integers(2, 7))
    ]

    def turn(values, fixed, i):
        values = list(values)
        for step, a, b, to in plan:
            both = [*values, fixed]
            values[to] = step(both[a], both[b], i)
        order = plan[0][3]
        return tuple(values[order:] + values[:order])

    return turn


@pytest.mark.parametrize("seed", range(30))
def test_random_loops(seed):
    rng = np.random.default_rng(seed)
    turn, turns = random_turn(rng), int(rng.integers(8, 14))

    def function(x, y):
        values = (x, y, x - y)
        for i in range(turns):
            values = turn(values, y, i)
        return values[: rng.integers(1, 4)]

    graph = graph_of(function, X, Y)
    made, _ = reroll(graph, ANY)
    verify(made)
    for a, b in zip(evaluate(made, [X, Y]), evaluate(graph, [X, Y]), strict=True):
        np.testing.assert_array_equal(a, b)
