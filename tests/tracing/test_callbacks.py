"""Prints, checks, breakpoints and callbacks: each once, in order, with the line."""

import sys
import threading

import numpy as np
import pytest

import tracejit as tj
from tracejit.callback import ShapeDtype
from tracejit.errors import CheckError, ParseError, ShapeError, UnsupportedError
from tracejit.ir.interp import evaluate
from tracejit.ir.parser import parse_graph
from tracejit.ir.printer import format_graph
from tracejit.program.interp import run_program
from tracejit.program.parser import parse_program
from tracejit.program.printer import format_program

X = np.array([0.5, 1.0, 2.0])
MODES = pytest.mark.parametrize("wrap", [lambda f: f, tj.jit], ids=["eager", "jit"])


@MODES
def test_prints_in_order(wrap, capsys):
    def f(x):
        tj.debug.print("first {} {n:.1f} {kind}", x, n=x.sum(), kind="text")
        y = np.sin(x).sum()
        tj.debug.print("second {:.3f}", y)
        tj.debug.print("third")
        return y

    f = wrap(f)
    for _ in range(2):
        f(X)
        lines = capsys.readouterr().out.splitlines()
        assert lines == [
            "first [0.5 1.  2. ] 3.5 text",
            f"second {np.sin(X).sum():.3f}",
            "third",
        ]


@MODES
def test_prints_once_in_the_forward_pass(wrap, capsys):
    def f(x):
        tj.debug.print("x {}", x)
        y = np.exp(x)
        tj.debug.print("y {:.3f}", y)
        return y * x

    wrap(tj.grad(f))(1.0)
    wrap(tj.grad(tj.grad(f)))(1.0)
    wrap(tj.grad(lambda x: tj.grad(f)(x) ** 2))(1.0)
    assert capsys.readouterr().out == 3 * "x 1.0\ny 2.718\n"


@MODES
def test_prints_of_rules(wrap, capsys):
    """Differentiated, a custom function is its rule; `bwd` prints cotangents."""
    f = tj.custom_vjp(lambda x: x * 2)

    def fwd(x):
        tj.debug.print("fwd {}", x)
        return x * 2, x

    def bwd(x, g):
        tj.debug.print("bwd {} {}", x, g)
        return (g * 2,)

    f.defvjp(fwd, bwd)
    wrap(tj.grad(lambda x: f(x) * 3))(1.0)
    assert capsys.readouterr().out == "fwd 1.0\nbwd 1.0 3.0\n"


def test_prints_happen_while_python_runs(capsys):
    """Outside of jit a differentiated function prints at its line, as NumPy would."""

    def f(x):
        tj.debug.print("traced")
        print("python")
        tj.debug.print("traced")
        return x

    tj.grad(f)(1.0)
    assert capsys.readouterr().out == "traced\npython\ntraced\n"


def test_effects_in_calls_are_kept_by_every_pass(capsys):
    """Nothing needs the results; equal prints are two; levels run it the same."""

    def f(x):
        for _ in range(2):
            tj.debug.print("again {}", x)
        tj.callback.io(lambda v: print("unordered", v), None, x[0])
        np.exp(x)
        return x + 1

    f = tj.jit(f)
    lowered = f.lower(X)
    names = [str(s.primitive) for s in lowered.program.steps if hasattr(s, "primitive")]
    assert names == ["callback"] * 3
    want = ["again [0.5 1.  2. ]"] * 2 + ["unordered 0.5"]
    runs = [
        lambda: f(X),
        lambda: evaluate(f.trace(X).graph, [X]),
        lambda: evaluate(lowered.graph, [X]),
        lambda: run_program(lowered.program, [X]),
    ]
    for run in runs:
        run()
        lines = capsys.readouterr().out.splitlines()
        assert sorted(lines) == sorted(want)


def test_text_is_read_back_in_this_process_only():
    f = tj.jit(lambda x: tj.callback.pure(np.sin, X, x) + 1)
    traced, lowered = f.trace(X), f.lower(X)
    text = format_graph(traced.graph)
    graph = parse_graph(text)
    assert format_graph(graph) == text
    np.testing.assert_array_equal(evaluate(graph, [X])[0], np.sin(X) + 1)
    program = format_program(lowered.program)
    assert format_program(parse_program(program)) == program
    with pytest.raises(ParseError, match="no Python function of this process"):
        parse_graph(text.replace("sin#", "lost#"))


# --- checks -----------------------------------------------------------------------


@MODES
def test_check_names_the_line(wrap):
    def f(x):
        y = x * x
        tj.debug.check(x > 0, "x is {}, at least {:.1f}", x, x.min())
        return y.sum()

    for fn in (wrap(f), wrap(tj.grad(f)), wrap(tj.grad(tj.checkpoint(f)))):
        fn(X)
        with pytest.raises(CheckError) as info:
            fn(-X)
        assert str(info.value).startswith("x is [-0.5 -1.  -2. ], at least -2.0")
        assert "test_callbacks.py:" in info.value.source
        fn(X)
        with pytest.raises(AssertionError):
            fn(-X)


def test_failed_check_leaves_arguments_alone(capsys):
    @tj.jit
    def step(x, y):
        x += 1
        tj.debug.print("before")
        tj.debug.check(y < 1, "too large")
        tj.debug.print("after")
        x += y
        return x

    x = np.zeros(3)
    step(x, 0.5)
    np.testing.assert_array_equal(x, np.full(3, 1.5))
    assert capsys.readouterr().out == "before\nafter\n"
    with pytest.raises(CheckError):
        step(x, 2.0)
    np.testing.assert_array_equal(x, np.full(3, 1.5))
    assert capsys.readouterr().out == "before\n"


def test_check_calls_python_only_to_raise():
    f = tj.jit(lambda x: tj.debug.check(x > 0, "never") or x * 2)
    text = f.compile(X).as_text()
    before, _, _ = text.partition("call i64 @tracejit_host_call")
    assert "br i1" in before.rpartition("define")[2]


# --- callbacks --------------------------------------------------------------------


@MODES
def test_pure(wrap):
    def host(a, *, b):
        return {"s": a[::-1] + b, "n": 3}

    like = {"s": X, "n": ShapeDtype((), np.int64)}

    def f(x):
        out = tj.callback.pure(host, like, np.sin(x), b=1.5)
        return out["s"] * out["n"]

    np.testing.assert_allclose(wrap(f)(X), (np.sin(X)[::-1] + 1.5) * 3)


def test_pure_is_dropped():
    calls = []
    f = tj.jit(lambda x: tj.callback.pure(calls.append, X, x)[:0].sum() + x)
    g = tj.jit(lambda x: (tj.callback.pure(calls.append, X, x), x + 1)[1])
    g(X)
    assert calls == []
    with pytest.raises(ShapeError, match="gave None, whose structure"):
        f(X)


@MODES
def test_io_runs_once_each_time(wrap):
    log = []

    def host(v):
        log.append(v)
        return len(log)

    like = ShapeDtype((), np.int64)
    f = wrap(lambda x: tj.callback.io(host, like, x.sum(), ordered=True) + 0.0 * x)
    np.testing.assert_array_equal(f(X), np.full(3, 1.0))
    np.testing.assert_array_equal(f(X + 1), np.full(3, 2.0))
    assert log == [3.5, 6.5]


@MODES
def test_callbacks_may_keep_what_they_are_given(wrap):
    kept = []
    f = wrap(lambda x: tj.callback.io(kept.append, None, np.sin(x)) or np.cos(x) * 2)
    f(X)
    f(X + 1)
    np.testing.assert_allclose(kept, [np.sin(X), np.sin(X + 1)])


@MODES
def test_derivative_of_callbacks(wrap):
    f = lambda x: np.sum(tj.callback.pure(np.sin, X, x))  # noqa: E731
    with pytest.raises(UnsupportedError, match="has no derivative") as info:
        wrap(tj.grad(f))(X)
    assert "test_callbacks.py:" in str(info.value)
    io = lambda x: np.sum(tj.callback.io(np.sin, X, x))  # noqa: E731
    with pytest.raises(UnsupportedError, match="has no derivative"):
        wrap(tj.grad(io))(X)

    sine = tj.custom_jvp(lambda x: tj.callback.pure(np.sin, x, x))
    sine.defjvp(lambda p, t: (sine(*p), t[0] * tj.callback.pure(np.cos, p[0], p[0])))
    got = wrap(tj.grad(lambda x: np.sum(sine(x) * 2)))(X)
    np.testing.assert_allclose(got, 2 * np.cos(X), rtol=1e-12)

    index = lambda x: x[tj.callback.pure(np.argmax, ShapeDtype((), np.int64), x)]  # noqa: E731
    np.testing.assert_array_equal(wrap(tj.grad(index))(X), [0, 0, 1])


def test_exceptions_come_through():
    class Mine(Exception):
        pass

    def host(v):
        if v[0] > 1:
            raise Mine("from the callback")
        return v

    f = tj.jit(lambda x: tj.callback.pure(host, x, np.sin(x) + x) * 2)
    f(X - 1)
    with pytest.raises(Mine, match="from the callback") as info:
        f(X + 1)
    assert any("test_callbacks.py:" in note for note in info.value.__notes__)
    np.testing.assert_allclose(f(X - 1), (np.sin(X - 1) + X - 1) * 2)


@MODES
def test_results_are_checked(wrap):
    f = wrap(lambda x: tj.callback.pure(lambda v: v[:2], x, x) + 1)
    with pytest.raises(
        ShapeError, match=r"gave float64\[2\], but promised float64\[3\]"
    ):
        f(X)


def test_callbacks_call_compiled_functions():
    inner = tj.jit(lambda x: np.sin(x).sum())

    def host(v):
        return inner(v) if v[0] > 0 else outer(-v)

    outer = tj.jit(lambda x: tj.callback.pure(host, ShapeDtype((), np.float64), x) + 1)
    assert np.isclose(outer(X), np.sin(X).sum() + 1)
    assert np.isclose(outer(-X), np.sin(X).sum() + 2)


def test_callbacks_run_on_the_calling_thread():
    seen = {}
    f = tj.jit(
        lambda x: (
            tj.callback.io(
                lambda v: seen.setdefault(v[0], threading.get_ident()),
                ShapeDtype((), np.int64),
                x,
            ),
            x + 1,
        )[1]
    )
    f(X)
    idents = {}

    def run(k):
        idents[float(k)] = threading.get_ident()
        f(np.array([k, 0.0, 0.0]))

    threads = [threading.Thread(target=run, args=(k,)) for k in (10.0, 20.0, 30.0)]
    for t in threads:
        t.start()
    for t in threads:
        t.join()
    assert {k: seen[k] for k in idents} == idents


@MODES
def test_breakpoint(wrap, monkeypatch):
    stops = []

    def hook():
        stops.append(sys._getframe(1).f_locals["values"])

    monkeypatch.setattr(sys, "breakpointhook", hook)

    def f(x):
        y = x * 2
        tj.debug.breakpoint()
        tj.debug.breakpoint(total=y.sum())
        return y

    wrap(f)(X)
    np.testing.assert_array_equal(stops[0]["y"], X * 2)
    assert stops[1] == {"total": 7.0}
