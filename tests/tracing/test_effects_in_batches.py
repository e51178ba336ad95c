"""Prints, checks and callbacks of many examples and turns: each once, in order."""

import numpy as np
import pytest

import tracejit as tj
from tracejit.callback import ShapeDtype
from tracejit.errors import CheckError

X = np.array([0.5, 1.0, 2.0])
MODES = pytest.mark.parametrize("wrap", [lambda f: f, tj.jit], ids=["eager", "jit"])


def shout(x):
    tj.debug.print("a {}", x)
    y = x * 2
    tj.debug.print("b {}", y)
    return y


def each(*numbers):
    """What `shout` prints for each example: all of one line, then of the next."""
    lines = [f"a {x}" for x in numbers] + [f"b {2 * x}" for x in numbers]
    return [line.replace(".0000", ".0") for line in lines]


def by_turn(*numbers):
    return [line for x in numbers for line in (f"a {x}", f"b {2 * x}")]


def scanned(f):
    return lambda xs: tj.scan(lambda c, x: (c + f(x), f(x)), 0.0, xs)


PROGRAMS = {
    "vmap": (tj.vmap(shout), X, each(*X)),
    "vmap of grad": (tj.vmap(tj.grad(shout)), X, each(*X)),
    "grad of vmap": (tj.grad(lambda x: tj.vmap(shout)(x).sum()), X, each(*X)),
    "map": (lambda x: tj.map(shout, x), X, by_turn(*X)),
    "grad of map": (tj.grad(lambda x: tj.map(shout, x).sum()), X, by_turn(*X)),
    "grad of grad of map": (
        tj.grad(lambda x: tj.grad(lambda x: (tj.map(shout, x) ** 2).sum())(x).sum()),
        X,
        by_turn(*X),
    ),
    "reverse": (
        lambda x: tj.scan(lambda c, x: (c, shout(x)), 0.0, x, reverse=True)[1],
        X,
        by_turn(*X[::-1]),
    ),
    "unrolled": (
        lambda x: tj.scan(lambda c, x: (c, shout(x)), 0.0, x, unroll=2)[1],
        X,
        by_turn(*X),
    ),
    "vmap of map": (
        tj.vmap(lambda x: tj.map(shout, x)),
        np.stack([X, 10 * X]),
        [line for x in X for line in each(x, 10 * x)],
    ),
    "map of vmap": (
        lambda x: tj.map(tj.vmap(shout), x),
        np.stack([X, 10 * X]),
        [*each(*X), *each(*(10 * X))],
    ),
    "grad of vmap of map": (
        tj.grad(lambda x: tj.vmap(lambda x: tj.map(shout, x))(x).sum()),
        np.stack([X, 10 * X]),
        [line for x in X for line in each(x, 10 * x)],
    ),
    "vmap of vmap": (
        tj.vmap(tj.vmap(shout)),
        np.stack([X, 10 * X]),
        each(*X, *(10 * X)),
    ),
    "vmap along axis 1": (tj.vmap(tj.vmap(shout), 1), np.stack([X, 10 * X]), None),
    "while": (
        lambda x: tj.while_loop(lambda x: x < 8, shout, x),
        1.0,
        by_turn(1.0, 2.0, 4.0),
    ),
    "fori": (
        lambda x: tj.fori_loop(0, 3, lambda i, x: shout(x), x),
        1.0,
        by_turn(1.0, 2.0, 4.0),
    ),
    "cond": (
        lambda x: tj.cond(x > 0, shout, lambda x: x, x) + tj.cond(x < 0, shout, abs, x),
        1.0,
        by_turn(1.0),
    ),
    "cond of one truth in vmap": (
        lambda x: tj.vmap(lambda y: tj.cond(x[0] > 0, shout, lambda y: y, y))(x),
        X,
        each(*X),
    ),
    "checkpoint": (tj.grad(lambda x: tj.checkpoint(shout)(x)), 1.0, by_turn(1.0)),
    "vmap of grad of checkpoint": (
        tj.vmap(tj.grad(tj.checkpoint(shout))),
        X,
        each(*X),
    ),
    "grad of vmap of checkpoint": (
        tj.grad(lambda x: tj.vmap(tj.checkpoint(shout))(x).sum()),
        X,
        each(*X),
    ),
    "grad of map of checkpoint": (
        tj.grad(lambda x: tj.map(tj.checkpoint(shout), x).sum()),
        X,
        by_turn(*X),
    ),
    "jvp of vmap": (lambda x: tj.jvp(tj.vmap(shout), (x,), (x,)), X, each(*X)),
    "linearize of map": (
        lambda x: tj.linearize(lambda x: tj.map(shout, x), x)[0],
        X,
        by_turn(*X),
    ),
}
PROGRAMS["vmap along axis 1"] = (
    *PROGRAMS["vmap along axis 1"][:2],
    each(*np.stack([X, 10 * X]).T.ravel()),
)


@MODES
@pytest.mark.parametrize("name", PROGRAMS)
def test_prints_of_examples_and_turns(name, wrap, capsys):
    """Nothing is lost, repeated or out of order, and a second call does the same."""
    f, x, want = PROGRAMS[name]
    f = wrap(f)
    for _ in range(2):
        f(x)
        assert capsys.readouterr().out.splitlines() == want


@MODES
@pytest.mark.parametrize("transform", ["vmap", "map", "grad of vmap", "grad of map"])
def test_unordered_prints_are_not_lost(transform, wrap, capsys):
    def f(x):
        tj.debug.print("x {}", x, ordered=False)
        tj.debug.print("y {}", 2 * x, ordered=False)
        return x * x

    many = tj.vmap(f) if "vmap" in transform else lambda x: tj.map(f, x)
    if "grad" in transform:
        many = tj.grad(lambda x, g=many: g(x).sum())
    wrap(many)(X)
    lines = sorted(capsys.readouterr().out.splitlines())
    assert lines == sorted([f"x {x}" for x in X] + [f"y {2 * x}" for x in X])


@MODES
def test_what_all_examples_share_is_printed_once(wrap, capsys):
    def f(x, y):
        tj.debug.print("shared {}", y)
        tj.debug.print("both {} {}", x, y)
        tj.debug.print("constant")
        return x * y

    wrap(tj.vmap(f, (0, None)))(X, 3.0)
    want = ["shared 3.0", *(f"both {x} 3.0" for x in X), "constant"]
    assert capsys.readouterr().out.splitlines() == want


@MODES
def test_no_examples_print_nothing(wrap, capsys):
    assert wrap(tj.vmap(shout))(X[:0]).shape == (0,)
    assert wrap(lambda x: tj.map(shout, x))(X[:0]).shape == (0,)
    assert capsys.readouterr().out == ""


@MODES
def test_prints_of_nested_containers(wrap, capsys):
    def f(p):
        tj.debug.print("{} {w[b]} {}", p["a"], "text", w=p)
        return p["a"]

    wrap(tj.vmap(f, ({"a": 0, "b": 1},)))({"a": X, "b": np.eye(2, 3)})
    want = ["0.5 [1. 0.] text", "1.0 [0. 1.] text", "2.0 [0. 0.] text"]
    assert capsys.readouterr().out.splitlines() == want


def branches(x):
    tj.debug.print("in {}", x)

    def large(x):
        y = shout(x)
        tj.cond(y > 3, lambda: tj.debug.print("huge {}", y), lambda: None)
        return y

    return tj.cond(x > 0.7, large, lambda x: (tj.debug.print("small {}", x), x)[1], x)


BRANCHED = {
    "vmap": tj.vmap(branches),
    "vmap of grad": tj.vmap(tj.grad(branches)),
    "grad of vmap": tj.grad(lambda x: tj.vmap(branches)(x).sum()),
    "vmap of jit": tj.vmap(tj.jit(branches)),
    "vmap of checkpoint": tj.vmap(tj.grad(tj.checkpoint(branches))),
}


@MODES
@pytest.mark.parametrize("name", BRANCHED)
def test_prints_in_a_branch_that_some_examples_take(name, wrap, capsys):
    wrap(BRANCHED[name])(X)
    inside = ["in 0.5", "in 1.0", "in 2.0"]
    taken = ["a 1.0", "a 2.0", "b 2.0", "b 4.0", "huge 4.0"]
    assert capsys.readouterr().out.splitlines() == [*inside, *taken, "small 0.5"]


@MODES
def test_prints_in_a_branch_in_a_batch_of_batches(wrap, capsys):
    f = lambda x: tj.cond(x > 0.7, shout, lambda x: x, x)  # noqa: E731
    got = wrap(tj.vmap(tj.vmap(f)))(np.stack([X, -X]))
    np.testing.assert_array_equal(got, [[0.5, 2, 4], -X])
    assert capsys.readouterr().out.splitlines() == each(1.0, 2.0)


@MODES
def test_prints_of_a_while_stop_with_the_example(wrap, capsys):
    f = lambda x: tj.while_loop(lambda x: x < 4, shout, x)  # noqa: E731
    np.testing.assert_array_equal(wrap(tj.vmap(f))(X), [4.0, 4.0, 4.0])
    want = [*each(0.5, 1.0, 2.0), *each(1.0, 2.0), *each(2.0)]
    assert capsys.readouterr().out.splitlines() == want


@MODES
@pytest.mark.parametrize("ordered", [False, True])
def test_io_in_a_branch_that_some_examples_take(wrap, ordered):
    seen = []

    def note(x):
        seen.append(float(x))
        return x * 10

    def f(x):
        like = ShapeDtype((), np.float64)
        call = lambda x: tj.callback.io(note, like, x, ordered=ordered)  # noqa: E731
        return tj.cond(x > 0.7, call, lambda x: x, x)

    np.testing.assert_array_equal(wrap(tj.vmap(f))(X), [0.5, 10, 20])
    assert seen == [1.0, 2.0]


# --- checks -----------------------------------------------------------------------


def careful(x):
    tj.debug.check(x > 0, "x is {} of {}", x, "text")
    return np.sqrt(x)


def fails_at(f, x, text):
    with pytest.raises(CheckError) as info:
        f(x)
    assert str(info.value).startswith(text)
    assert "test_effects_in_batches.py:" in info.value.source


@MODES
def test_check_shows_the_first_example_that_fails(wrap):
    bad = np.array([1.0, -2.0, -3.0])
    functions = [
        tj.vmap(careful),
        tj.vmap(tj.grad(careful)),
        tj.grad(lambda x: tj.vmap(careful)(x).sum()),
        lambda x: tj.map(careful, x),
        tj.grad(lambda x: tj.map(careful, x).sum()),
        lambda x: tj.vmap(tj.vmap(careful))(np.stack([X, x])),
        lambda x: tj.map(tj.vmap(careful), np.stack([X, x])),
        tj.vmap(tj.checkpoint(careful)),
        tj.grad(lambda x: tj.vmap(tj.checkpoint(careful))(x).sum()),
    ]
    for f in map(wrap, functions):
        f(X)
        fails_at(f, bad, "x is -2.0 of text")
        f(X)


@MODES
def test_check_of_a_shared_condition(wrap):
    def f(x, limit):
        tj.debug.check(limit > 0, "limit {}, x {}", limit, x)
        return x * limit

    g = wrap(lambda limit: tj.vmap(f, (0, None))(X, limit))
    g(1.0)
    fails_at(g, -1.0, "limit -1.0, x 0.5")


@MODES
def test_check_of_arrays(wrap):
    def f(x):
        tj.debug.check(x > 0, "row {}", x)
        return x

    g = wrap(tj.vmap(f))
    g(np.ones((2, 2)))
    fails_at(g, np.array([[1.0, 1.0], [1.0, -1.0]]), "row [ 1. -1.]")


@MODES
@pytest.mark.parametrize("outer", ["vmap", "vmap of vmap", "vmap of map", "grad"])
def test_check_in_a_branch_that_some_examples_take(outer, wrap):
    """Only those that take it are asked, in both branches and in nested ones."""

    def f(x):
        def big(x):
            tj.debug.check(x < 10, "big {}", x)
            return tj.cond(x > 5, huge, lambda x: x, x)

        def huge(x):
            tj.debug.check(x != 7, "seven {}", x)
            return x

        def small(x):
            tj.debug.check(x > -10, "small {}", x)
            return -x

        return tj.cond(x > 0, big, small, x)

    many = {
        "vmap": tj.vmap(f),
        "vmap of vmap": lambda x: tj.vmap(tj.vmap(f))(np.stack([x, x])),
        "vmap of map": lambda x: tj.vmap(lambda y: tj.map(f, y))(np.stack([x, x])),
        "grad": tj.grad(lambda x: tj.vmap(f)(x).sum()),
    }[outer]
    g = wrap(many)
    g(np.array([-9.0, 9.0, 1.0, 0.0]))
    fails_at(g, np.array([1.0, 12.0, 13.0, -3.0]), "big 12.0")
    fails_at(g, np.array([1.0, 7.0, 2.0, -3.0]), "seven 7.0")
    fails_at(g, np.array([1.0, 8.0, -30.0, -20.0]), "small -30.0")


@MODES
def test_check_in_a_while_of_some_examples(wrap):
    """Those that are done are not asked again."""

    def f(x):
        def body(x):
            tj.debug.check(x != 3, "three {}", x)
            return x + 1

        return tj.while_loop(lambda x: x < 3, body, x)

    g = wrap(tj.vmap(f))
    np.testing.assert_array_equal(g(np.array([3.0, 0.5, 3.5, 0.0])), [3, 3.5, 3.5, 3])


# --- callbacks --------------------------------------------------------------------


@MODES
def test_pure_of_examples_and_turns(wrap):
    like = ShapeDtype((2,), np.float64)
    f = lambda x, k: tj.callback.pure(lambda x, k: x[::-1] * k, like, x, k) + 1  # noqa: E731
    rows = np.arange(6.0).reshape(3, 2)
    want = rows[:, ::-1] * 2 + 1
    np.testing.assert_array_equal(wrap(tj.vmap(f, (0, None)))(rows, 2.0), want)
    got = wrap(tj.vmap(tj.vmap(f, (0, None)), (0, 0)))(np.stack([rows] * 2), X[1:])
    np.testing.assert_array_equal(got, np.stack([rows[:, ::-1] + 1, want]))
    np.testing.assert_array_equal(
        wrap(lambda r: tj.map(lambda x: f(x, 2.0), r))(rows), want
    )
    both = wrap(tj.vmap(lambda r: tj.map(lambda x: f(x, 2.0), r)))
    np.testing.assert_array_equal(both(np.stack([rows, rows])), np.stack([want, want]))


@MODES
@pytest.mark.parametrize("ordered", [False, True])
def test_io_of_examples_and_turns(wrap, ordered):
    seen = []

    def note(x, k):
        seen.append((float(x), k))
        return x + len(seen)

    def f(x):
        like = ShapeDtype((), np.float64)
        return tj.callback.io(note, like, x, "k", ordered=ordered)

    got = wrap(tj.vmap(f))(X)
    np.testing.assert_array_equal(got - X, [1, 2, 3])
    assert seen == [(x, "k") for x in X]
    seen.clear()
    got = wrap(lambda x: tj.map(f, x))(X)
    np.testing.assert_array_equal(got - X, [1, 2, 3])
    seen.clear()
    wrap(tj.vmap(lambda x: tj.map(f, x)))(np.stack([X, -X]))
    assert seen == [(s * x, "k") for x in X for s in (1, -1)]


@MODES
def test_io_without_results(wrap):
    seen = []
    f = lambda x: tj.callback.io(lambda v: seen.append(v.item()), None, x)  # noqa: E731
    wrap(tj.vmap(lambda x: (f(x), x)[1]))(X)
    assert seen == [*X]


@MODES
def test_exceptions_of_an_example_come_through(wrap):
    def fn(x):
        if x > 1:
            raise KeyError(float(x))
        return x

    f = wrap(tj.vmap(lambda x: tj.callback.pure(fn, ShapeDtype((), "f8"), x)))
    with pytest.raises(KeyError, match=r"2\.0"):
        f(X)


@MODES
def test_callbacks_with_a_derivative_of_their_own(wrap):
    sine = tj.custom_jvp(lambda x: tj.callback.pure(np.sin, x, x))
    sine.defjvp(lambda p, t: (sine(*p), t[0] * tj.callback.pure(np.cos, p[0], p[0])))
    for f in (
        tj.vmap(tj.grad(sine)),
        tj.grad(lambda x: tj.vmap(sine)(x).sum()),
        tj.grad(lambda x: tj.map(sine, x).sum()),
    ):
        np.testing.assert_allclose(wrap(f)(X), np.cos(X))
