"""Control flow of users: jitted as in NumPy, differentiated, and what errors say."""

import inspect
from collections.abc import Callable
from typing import NamedTuple

import numpy as np
import pytest

import tracejit as tj
from tracejit.errors import (
    ConcretizationError,
    DTypeError,
    IndexRangeError,
    ShapeError,
    TraceError,
    UnsupportedError,
)
from tracejit.ir.graph import Graph, subgraphs
from tracejit.program.program import Copy, Extern, If, Loop, Run, While, nested
from tracejit.tracing.tree import flatten

X = np.array([0.5, -1.0, 2.0])


def same(got, want, rtol: float = 1e-12) -> None:
    """Compare containers of arrays; dtypes and shapes too."""
    mine, spec = flatten(got)
    theirs, wanted = flatten(want)
    assert spec == wanted
    for x, y in zip(mine, theirs, strict=True):
        x, y = np.asarray(x), np.asarray(y)
        assert (x.dtype, x.shape) == (y.dtype, y.shape)
        np.testing.assert_allclose(x, y, rtol=rtol, atol=1e-12)


def check(fn: Callable, *args, rtol: float = 1e-12) -> None:
    """The jitted function gives what plain Python gives, at two calls."""
    jitted = tj.jit(fn)
    for _ in range(2):
        same(jitted(*args), fn(*args), rtol)


def primitives(graph: Graph) -> set[str]:
    found = {e.primitive.name for e in graph.eqns}
    return found.union(
        *(primitives(g) for e in graph.eqns for g in subgraphs(e.params))
    )


# --- cond and switch --------------------------------------------------------------


@pytest.mark.parametrize("x", [X, -X])
def test_cond(x):
    def f(x):
        return tj.cond(x[0] > 0, lambda v: {"a": v * 2, "b": 1}, lambda v: other(v), x)

    def other(v):
        return {"b": 2, "a": -v}

    got, want = tj.jit(f)(x), f(x)
    same(got["a"], want["a"])
    assert got["b"] == want["b"]
    assert "cond" in primitives(tj.jit(f).trace(x).graph)


def test_cond_takes_numbers_and_what_is_around():
    def f(x, n, y):
        return tj.cond(n, lambda: x + y, lambda: x - y)

    for n in (np.int64(0), np.int64(3), np.float64(0.0)):
        check(f, X, n, X + 1)


def test_cond_of_weak_numbers():
    """A Python number takes the dtype of the other branch."""

    def f(x):
        return tj.cond(x[0] > 0, lambda v: v[0], lambda v: 0.0, x)

    for x in (X.astype(np.float32), -X.astype(np.float32)):
        got = tj.jit(f)(x)
        assert got == f(x)
        assert np.asarray(got).dtype == np.float32


@pytest.mark.parametrize("index", [-3, 0, 1, 2, 9])
def test_switch_clamps(index: int):
    branches = [lambda x: x, lambda x: 2 * x, lambda x: 3 * x]
    check(lambda i, x: tj.switch(i, branches, x), np.int64(index), X)
    same(tj.switch(index, branches, X), branches[min(max(index, 0), 2)](X))


def test_switch_of_one_branch():
    check(lambda i, x: tj.switch(i, [lambda x: x + 1], x), np.int64(4), X)


def test_conditions_that_are_known_leave_no_choice():
    def f(x):
        return tj.cond(True, lambda v: v + 1, lambda v: v - 1, x)

    assert "cond" not in primitives(tj.jit(f).trace(X).graph)
    check(f, X)


@pytest.mark.parametrize("x", [X, -X])
def test_gradient_of_cond_and_switch(x):
    def f(x):
        a = tj.cond(x[0] > 0, lambda v: np.sum(v * v), lambda v: np.sum(np.sin(v)), x)
        i = np.where(x[0] > 0, 1, 0)
        return a * tj.switch(i, [lambda v: v[1], lambda v: v[2] ** 2], x)

    def plain(x):
        a = np.sum(x * x) if x[0] > 0 else np.sum(np.sin(x))
        return a * (x[2] ** 2 if x[0] > 0 else x[1])

    for run in (tj.grad(f), tj.jit(tj.grad(f))):
        same(run(x), tj.grad(plain)(x))


# --- loops ------------------------------------------------------------------------


def test_while_loop():
    def f(x):
        return tj.while_loop(
            lambda s: s["x"] < 100, lambda s: {"n": s["n"] + 1, "x": s["x"] * x}, start
        )

    start = {"x": 1.5, "n": 0}
    got, want = tj.jit(f)(np.float64(3.0)), f(np.float64(3.0))
    assert (got["n"], got["x"]) == (want["n"], want["x"])


def test_while_loop_that_never_runs():
    check(lambda x: tj.while_loop(lambda v: v[0] > 9, lambda v: v * 2, x), X)


def test_forward_bounds_known_and_unknown():
    def f(x, n):
        return tj.fori_loop(1, n, lambda i, v: v * 0.5 + i, x)

    jitted = tj.jit(f)
    for n in (4, 7, 0, -2):  # known at first, a value of the run from the second on
        same(jitted(X, n), f(X, n))
    known = tj.jit(lambda x: f(x, 5))
    assert "scan" in primitives(known.trace(X).graph)
    assert "while" in primitives(tj.jit(f).trace(X, np.int64(3)).graph)
    same(known(X), f(X, 5))


def test_long_fori_loop_counts_in_its_carry():
    def f(x):
        return tj.fori_loop(0, 200_000, lambda i, v: v + i % 2, x)

    check(f, np.float64(0.0))


@pytest.mark.parametrize("reverse", [False, True])
@pytest.mark.parametrize("unroll", [1, 2, 3, 99])
@pytest.mark.parametrize("n", [0, 1, 5, 6])
def test_scan(reverse: bool, unroll: int, n: int):
    rng = np.random.default_rng(0)
    xs = {"a": rng.normal(size=(n, 3)), "b": rng.integers(0, 9, n)}

    def f(w, h, xs):
        def turn(carry, x):
            h, total = carry
            h = np.tanh(h * w + x["a"]) * x["b"]
            return (h, total + x["b"]), {"y": h[:2], "n": x["b"], "w": w}

        return tj.scan(turn, (h, np.int64(1)), xs, reverse=reverse, unroll=unroll)

    check(f, X, X + 1, xs)


def test_scan_without_xs():
    def f(x):
        return tj.scan(lambda v, _: (v * 2, v), x, None, length=4)

    check(f, X)
    check(lambda x: tj.scan(lambda v, x: (v + x, None), np.float64(1), x), X)


def test_carries_that_stay_swap_and_become_constants():
    def f(w, a, b, c):
        def turn(s, x):
            a, b, c, d = s
            return (b, a, w, d), (a.copy(), c + x)

        return tj.scan(turn, (a, b, c, w * 2), np.arange(3.0))

    check(f, X, X + 1, X + 2, X + 3)


def test_carries_that_are_views_of_carries():
    def f(m, x):
        def turn(s, _):
            m, x = s
            return (m.T, x[::-1]), m[0]

        return tj.scan(turn, (m, x), None, 3)

    check(f, np.arange(9.0).reshape(3, 3), X)


def test_views_of_arguments_are_slices():
    m = np.arange(24.0).reshape(4, 6)
    for xs in (m.T, m[::2], m[::-1, 1:], np.broadcast_to(m[0], (5, 6))):
        check(lambda xs: tj.scan(lambda c, x: (c + x.sum(), x * 2), 0.0, xs), xs)


def test_weak_numbers_take_the_type_of_the_turn():
    x = X.astype(np.float32)

    def f(x):
        return tj.scan(lambda c, v: (c + v, c), 0, x)

    carry, ys = tj.jit(f)(x)
    assert (np.asarray(carry).dtype, ys.dtype) == (np.float32, np.float32)
    np.testing.assert_allclose(carry, x.sum())
    total = tj.jit(lambda x: tj.fori_loop(0, 3, lambda i, s: s + x[i], 0))(x)
    assert np.asarray(total).dtype == np.float32


def test_loops_in_loops_and_branches():
    def f(m):
        def row(total, r):
            def step(t, v):
                t = tj.cond(v > 0, lambda t: t + v, lambda t: t * 2, t)
                return t, t

            total, ts = tj.scan(step, total, r)
            n = tj.while_loop(lambda n: n * n < total, lambda n: n + 1, 0.0)
            return total, (ts, n)

        return tj.cond(
            m[0, 0] > 0,
            lambda m: tj.scan(row, 0.0, m),
            lambda m: tj.scan(row, 1.0, m),
            m,
        )

    rng = np.random.default_rng(0)
    for m in (np.abs(rng.normal(size=(4, 3))), -np.abs(rng.normal(size=(4, 3)))):
        check(f, m)


def test_map():
    m = np.arange(12.0).reshape(4, 3)
    check(lambda m: tj.map(lambda r: (r.sum(), r * 2), m), m)


@pytest.mark.parametrize("n", [0, 1, 2, 3, 4, 7, 8, 13])
@pytest.mark.parametrize("reverse", [False, True])
def test_associative_scan(n: int, reverse: bool):
    """Products of matrices do not commute; sums along another axis."""
    rng = np.random.default_rng(0)
    m, x = rng.normal(size=(n, 2, 2)), rng.normal(size=(3, n))

    def f(m, x):
        products = tj.associative_scan(lambda a, b: a @ b, m, reverse)
        sums = tj.associative_scan(np.add, {"x": x}["x"], reverse, axis=-1)
        return products, sums

    rows = m[::-1] if reverse else m
    want = [rows[0]] if n else []
    for r in rows[1:]:
        want.append(want[-1] @ r)
    want = np.stack(want[::-1] if reverse else want) if n else m
    sums = np.cumsum(x[:, ::-1] if reverse else x, axis=1)
    sums = sums[:, ::-1] if reverse else sums
    same(f(m, x), (want, sums), rtol=1e-9)
    same(tj.jit(f)(m, x), (want, sums), rtol=1e-9)


def test_associative_scan_of_containers():
    """A linear recurrence ``h = a h + b`` as a prefix of affine maps."""
    rng = np.random.default_rng(0)
    a, b = rng.normal(size=(9, 2)), rng.normal(size=(9, 2))

    def f(a, b):
        def after(one, two):
            return {"a": one["a"] * two["a"], "b": two["a"] * one["b"] + two["b"]}

        return tj.associative_scan(after, {"a": a, "b": b})["b"]

    h, want = np.zeros(2), []
    for i in range(9):
        h = a[i] * h + b[i]
        want.append(h)
    same(tj.jit(f)(a, b), np.stack(want), rtol=1e-9)


class Pair(NamedTuple):
    a: object
    b: object


def test_containers_of_carries():
    def f(x):
        def turn(s, v):
            return {"q": Pair(s["q"].b, s["q"].a + v), "p": [s["p"][0] * v]}, None

        start = {"p": [x], "q": Pair(x, x * 2)}
        return tj.scan(turn, start, x)[0]

    got, want = tj.jit(f)(X), f(X)
    same(got["q"], want["q"])
    same(got["p"], want["p"])


def test_outside_of_jit_functions_run_in_python():
    seen = []

    def turn(total, x):
        seen.append(float(x))
        return total + x, None

    tj.scan(turn, 0.0, X)
    assert seen == list(X)
    assert tj.fori_loop(0, 5, lambda i, s: s + i, 0) == 10
    assert tj.while_loop(lambda n: n < 9, lambda n: n * 2, 1) == 16


# --- what runs --------------------------------------------------------------------


def steps_of(fn: Callable, *args) -> list:
    return list(nested(tj.jit(fn).lower(*args).program.steps))


def test_bodies_are_fused_and_native():
    def f(h, xs):
        return tj.scan(lambda h, x: (np.tanh(h * 0.5 + x) ** 2, h.sum()), h, xs)

    steps = steps_of(f, X, np.ones((4, 3)))
    loops = [s for s in steps if isinstance(s, Loop)]
    assert [s.count for s in loops] == [2]  # to and fro between two carries
    assert not any(isinstance(s, Extern) for s in steps)
    assert sum(isinstance(s, Run) for s in nested(loops[0].steps)) <= 4


def test_invariant_code_runs_once():
    def f(w, h, xs):
        return tj.scan(lambda h, x: (h @ np.exp(w.T) + x, None), h, xs)[0]

    steps = steps_of(f, np.ones((3, 3)), X, np.ones((4, 3)))
    (loop,) = [s for s in steps if isinstance(s, Loop)]
    inside = " ".join(str(k.kernel.body) for k in loop.steps if isinstance(k, Run))
    assert "exp" not in inside
    check(f, np.ones((3, 3)) / 9, X, np.ones((4, 3)))


# --- what bodies compute of what is around them ------------------------------------


def of_closures(p, x, i):
    return tj.cond(p, lambda: np.sort(x).astype(np.float32)[i], lambda: np.float32(0))


def test_a_branch_that_is_not_taken_computes_nothing():
    lowered = tj.jit(of_closures).lower(np.array(True), X, np.array(1))
    assert not any(isinstance(s, Extern) for s in lowered.program.steps)
    (branches,) = (s for s in lowered.program.steps if isinstance(s, If))
    assert any(isinstance(s, Extern) for s in branches.on_true)


def test_a_branch_that_is_not_taken_raises_nothing():
    chosen = tj.jit(of_closures)
    assert chosen(np.array(True), X, np.array(1)) == np.float32(0.5)
    assert chosen(np.array(False), X, np.array(9)) == 0
    with pytest.raises(IndexRangeError):
        chosen(np.array(True), X, np.array(9))


def test_a_turn_that_does_not_run_raises_nothing():
    def sums(n, x, i):
        return tj.fori_loop(0, n, lambda k, c: c + x[i], 0.0)

    compiled = tj.jit(sums)
    assert compiled(np.array(0), X, np.array(9)) == 0
    assert compiled(np.array(2), X, np.array(2)) == 4
    with pytest.raises(IndexRangeError):
        compiled(np.array(1), X, np.array(9))


def test_prints_and_checks_of_what_is_around_wait_for_their_branch(capsys):
    def noisy(p, x):
        is_small = x[0] < 1

        def look():
            tj.debug.print("first: {}", x[0])
            tj.debug.check(is_small, "too large: {}", x[0])
            return x.sum()

        return tj.cond(p, look, lambda: x.max())

    compiled = tj.jit(noisy)
    assert compiled(np.array(False), X + 9) == 11
    assert capsys.readouterr().out == ""
    assert compiled(np.array(True), X) == 1.5
    assert capsys.readouterr().out == "first: 0.5\n"


@pytest.mark.parametrize("p", [True, False])
def test_gradients_by_what_branches_close_over(p):
    def loss(x, p):
        return tj.cond(p, lambda: np.sum(np.sin(x) * x[1]), lambda: x[2] * 3)

    want = np.cos(X) * X[1] + np.sum(np.sin(X)) * np.eye(3)[1]
    for wrap in (tj.jit, lambda f: f):
        got = wrap(tj.grad(loss))(X, np.array(p))
        same(got, want if p else 3 * np.eye(3)[2])


def test_derivatives_inside_of_branches_are_of_the_branch():
    def slope(p, x):
        return tj.cond(p, lambda: tj.grad(lambda y: np.sum(y**3 * x))(x), lambda: x)

    compiled = tj.jit(slope)
    steps = compiled.lower(np.array(True), X).program.steps
    assert [type(s) for s in steps] == [If]
    same(compiled(np.array(True), X), 3 * X**3)


def test_composites_in_bodies_have_their_derivatives():
    """A softmax in a turn is differentiated without a mask of maxima."""

    def f(x):
        def turn(c, v):
            e = np.exp(c - np.max(c))
            return e / np.sum(e) + v, None

        return np.sum(tj.scan(turn, x, x)[0] * x)

    found = primitives(tj.jit(tj.grad(f)).trace(X).graph)
    assert "scan" in found
    assert "composite" in found
    assert "eq" not in found
    same(tj.jit(tj.grad(f))(X), tj.grad(f)(X))


def test_branches_write_results_in_place():
    def f(x):
        return tj.cond(x[0] > 0, lambda x: np.sin(x), lambda x: np.cos(x), x)

    steps = steps_of(f, X)
    assert any(isinstance(s, If) for s in steps)
    assert not any(isinstance(s, Copy) for s in steps)


def test_unrolled_turns_are_fused():
    def f(h, xs, unroll):
        return tj.scan(lambda h, x: (np.tanh(h + x), None), h, xs, unroll=unroll)[0]

    steps = steps_of(lambda h, xs: f(h, xs, 4), X, np.ones((8, 3)))
    (loop,) = [s for s in steps if isinstance(s, Loop)]
    assert loop.count == 2
    assert sum(isinstance(s, Run) for s in loop.steps) == 1


def test_a_while_is_a_step():
    steps = steps_of(
        lambda x: tj.while_loop(lambda v: v < 9, lambda v: v * 2, x), np.float64(1)
    )
    assert any(isinstance(s, While) for s in steps)


# --- errors -----------------------------------------------------------------------


def line_of(fn: Callable, text: str) -> str:
    """Return the user's line, ``file:number``, that holds `text`."""
    lines, start = inspect.getsourcelines(fn)
    number = next(i for i, row in enumerate(lines) if text in row)
    return f"test_control_flow.py:{start + number}"


def message(fn: Callable, *args, error: type[Exception] = TraceError) -> str:
    with pytest.raises(error) as caught:
        fn(*args)
    return str(caught.value)


def test_carry_changes_its_dtype():
    def f(x):
        return tj.scan(lambda c, v: ({"h": c["h"].astype("f8")}, v), {"h": x}, x)

    x = X.astype(np.float32)
    assert message(tj.jit(f), x, error=DTypeError) == (
        "carry leaf ['h'] of scan changes from f32[3] to f64[3]\n"
        f"  at {line_of(f, 'tj.scan')}\n"
        "  try: convert one of them, e.g. x.astype(np.float32)"
    )


def test_carry_changes_its_shape():
    def f(x):
        return tj.while_loop(lambda v: v[0][0] < 9, lambda v: (v[0][:1],), (x,))

    assert message(tj.jit(f), X, error=ShapeError) == (
        "carry leaf [0] of while_loop changes from f64[3] to f64[1]\n"
        f"  at {line_of(f, 'tj.while_loop')}\n"
        "  try: each turn must give the shapes it was given"
    )


def test_carry_changes_its_structure():
    def f(x):
        return tj.scan(lambda c, v: ((c, c), v), x, x)

    assert message(tj.jit(f), X) == (
        "the carry of scan changes its structure:\n"
        "  before: f64[3]\n"
        "  after:  (f64[3], f64[3])\n"
        f"  at {line_of(f, 'tj.scan')}\n"
        "  try: return the carry in the containers that it came in"
    )


def test_branches_differ():
    def f(x):
        return tj.cond(x[0] > 0, lambda x: {"a": x}, lambda x: {"a": x[:2]}, x)

    assert message(tj.jit(f), X) == (
        "the branches of cond give different results:\n"
        "  on false: {'a': f64[2]}\n"
        "  on true : {'a': f64[3]}\n"
        f"  at {line_of(f, 'tj.cond')}\n"
        "  try: return the same containers, shapes and dtypes from each"
    )


def test_branches_of_switch_differ():
    def f(x, i):
        return tj.switch(i, [lambda x: x, lambda x: (x, 1)], x)

    assert message(tj.jit(f), X, np.int64(1)) == (
        "the branches of switch give different results:\n"
        "  branch 0: f64[3]\n"
        "  branch 1: (f64[3], i64[])\n"
        f"  at {line_of(f, 'tj.switch')}\n"
        "  try: return the same containers, shapes and dtypes from each"
    )


@pytest.mark.parametrize("wrap", [tj.jit, lambda f: f])
def test_lengths_differ(wrap):
    def f(x, y):
        return tj.scan(lambda c, v: (c, v), 0.0, {"x": x, "y": y})

    assert message(wrap(f), X, X[:2], error=ShapeError) == (
        "scan takes xs of one length, not xs['x']: 3, xs['y']: 2\n"
        f"  at {line_of(f, 'tj.scan')}"
    )


@pytest.mark.parametrize(
    ("fn", "start"),
    [
        (lambda x: tj.scan(lambda c, v: (c, v), x, None), "scan without xs needs"),
        (lambda x: tj.scan(lambda c, v: (c, v), x, x, 4), "not xs: 3, length: 4"),
        (lambda x: tj.scan(lambda c, v: (c, v), x, (x, x[0])), "xs[1] is a scalar"),
        (lambda x: tj.scan(lambda c, v: (c, v), x, x, unroll=0), "unroll=0"),
        (lambda x: tj.scan(lambda c, v: c, x, x), "returned ndarray, not a pair"),
        (lambda x: tj.scan(lambda c, v: (c, v, v), x, x), "returned a tuple of 3"),
        (lambda x: tj.switch(0, [], x), "switch has no branches"),
        (
            lambda x: tj.associative_scan(np.add, (x, x[:1])),
            "one extent along axis 0, not those of elems[0]: (3,), elems[1]: (1,)",
        ),
    ],
)
@pytest.mark.parametrize("wrap", [tj.jit, lambda f: f])
def test_wrong_arguments(fn: Callable, start: str, wrap):
    with pytest.raises(
        (TraceError, ShapeError), match=r"test_control_flow\.py"
    ) as error:
        wrap(fn)(X)
    assert start in str(error.value)


def test_predicates_must_be_one_boolean():
    def f(x):
        return tj.cond(x > 0, lambda: x, lambda: x)

    assert message(tj.jit(f), X, error=DTypeError) == (
        "the predicate of cond is bool[3], not one boolean\n"
        f"  at {line_of(f, 'tj.cond')}\n"
        "  try: compare, or reduce with np.all or np.any"
    )

    def g(x):
        return tj.while_loop(lambda v: v[0], lambda v: v, x)

    assert message(tj.jit(g), X, error=DTypeError) == (
        "the condition of while_loop is f64[], not one boolean\n"
        f"  at {line_of(g, 'tj.while_loop')}\n"
        "  try: compare, or reduce with np.all or np.any"
    )


def test_python_may_not_ask_in_a_body():
    def turn(c, x):
        if c > 1:
            return c, x
        return c + 1, x

    text = message(
        tj.jit(lambda x: tj.scan(turn, x[0], x)), X, error=ConcretizationError
    )
    assert "which changes while the loop or branch runs" in text
    assert line_of(turn, "if c > 1") in text


@pytest.mark.parametrize("what", ["item", "in place", "at"])
def test_writes_to_what_is_around(what: str):
    def f(x):
        y = np.zeros(3)

        def turn(c, v):
            if what == "item":
                y[0] = 1
            elif what == "in place":
                np.add(y, 1, out=y)
            else:
                np.add.at(y, np.array([0, 0]), 1)
            return c, v

        return tj.scan(turn, 0.0, x), y

    text = message(tj.jit(f), X)
    assert text.startswith(
        "cannot write into this array: it belongs to the trace around 'turn'\n"
    )


@pytest.mark.parametrize("copy", [lambda y: y.copy(), np.copy, lambda y: np.array(y)])
def test_copies_of_what_is_around_are_the_bodys_own(copy):
    def f(x):
        y = x * 2

        def turn(c, v):
            own = copy(y)
            own[1:] += v
            return c + own, own

        return tj.scan(turn, x, x), y

    check(f, X)


def test_writes_to_arguments_of_a_body():
    def turn(c, v):
        c[0] = v
        return c, v

    text = message(tj.jit(lambda x: tj.scan(turn, x, x)), X)
    assert "argument of a looped or chosen function, whose caller keeps it" in text


def test_what_a_body_makes_it_may_write():
    def f(x):
        def turn(c, v):
            c = c.copy()
            c[1:] += v
            y = np.zeros(2)
            y[0] = v
            return c, y

        return tj.scan(turn, x, x)

    check(f, X)


def test_index_errors_in_a_loop():
    def f(x, i):
        def turn(c, k):
            return c, x[k]

        return tj.scan(turn, 0.0, i)

    check(f, X, np.array([0, -1]))
    text = message(tj.jit(f), X, np.array([0, 5]), error=IndexRangeError)
    assert text.startswith("index 5 is out of bounds for axis 0 with size 3\n")
    assert line_of(f, "return c, x[k]") in text


def test_gradient_of_a_while_loop():
    def f(x):
        return tj.while_loop(lambda v: v < 9, lambda v: v * x, x)

    for run in (tj.grad(f), tj.jit(tj.grad(f))):
        text = message(run, np.float64(2.0), error=UnsupportedError)
        assert line_of(f, "tj.while_loop") in text
        assert "fori_loop with bounds that are known" in text


def test_gradient_beside_a_while_loop():
    def f(x):
        n = tj.while_loop(lambda n: n * n < 50, lambda n: n + 1, 0)
        return np.sum(x * n)

    same(tj.jit(tj.grad(f))(X), np.full(3, 8.0))
