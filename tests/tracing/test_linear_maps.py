"""`jvp`, `linearize` and `vjp`: values, trees, repeated calls, nesting, and errors."""

import dataclasses
import warnings

import ml_dtypes
import numpy as np
import pytest

import tracejit as tj
from tracejit.errors import ArgumentError, DTypeError, ShapeError, TraceError

X = np.linspace(0.2, 1.7, 6).reshape(2, 3)
V = np.linspace(-1.0, 1.0, 6).reshape(2, 3)


@dataclasses.dataclass
class Params:
    w: np.ndarray
    b: np.ndarray


def layer(p, x):
    y = np.tanh(x @ p.w + p.b)
    return {"y": y, "size": [np.sum(y * y), 3.0]}


P = Params(np.arange(6.0).reshape(3, 2) / 7, np.array([0.1, -0.2]))
DP = Params(np.ones((3, 2)), np.array([0.5, 2.0]))


def differences(f, x, v, h=1e-6):
    return (f(x + h * v) - f(x - h * v)) / (2 * h)


def under_jit(f):
    """Return `f` outside and inside of jit."""
    return [f, tj.jit(f)]


# --- values -----------------------------------------------------------------------


def test_jvp_of_trees():
    for run in under_jit(lambda p, x, dp, dx: tj.jvp(layer, (p, x), (dp, dx))):
        out, tangent = run(P, X, DP, V)
        np.testing.assert_allclose(out["y"], layer(P, X)["y"], rtol=1e-12)
        h = 1e-6
        up = layer(Params(P.w + h * DP.w, P.b + h * DP.b), X + h * V)
        down = layer(Params(P.w - h * DP.w, P.b - h * DP.b), X - h * V)
        want = (up["y"] - down["y"]) / (2 * h)
        np.testing.assert_allclose(tangent["y"], want, rtol=1e-7)
        want = (up["size"][0] - down["size"][0]) / (2 * h)
        np.testing.assert_allclose(tangent["size"][0], want, rtol=1e-7)
        assert tangent["size"][1] == 0.0


def test_vjp_of_trees():
    for run in under_jit(lambda p, x, ct: tj.vjp(layer, p, x)[1](ct)):
        ct = {"y": np.ones((2, 2)), "size": [2.0, 5.0]}
        found, gx = run(P, X, ct)
        assert type(found) is Params
        wanted = tj.grad(
            lambda p, x: np.sum(layer(p, x)["y"]) + 2 * layer(p, x)["size"][0], (0, 1)
        )(P, X)
        np.testing.assert_allclose(found.w, wanted[0].w, rtol=1e-12)
        np.testing.assert_allclose(found.b, wanted[0].b, rtol=1e-12)
        np.testing.assert_allclose(gx, wanted[1], rtol=1e-12)


def test_linearize_gives_the_same_tangents_as_jvp():
    out, push = tj.linearize(layer, P, X)
    for scale in (1.0, -2.0):
        dp, dx = Params(scale * DP.w, scale * DP.b), scale * V
        want_out, want = tj.jvp(layer, (P, X), (dp, dx))
        got = push(dp, dx)
        np.testing.assert_array_equal(out["y"], want_out["y"])
        np.testing.assert_allclose(got["y"], want["y"], rtol=1e-13)
        np.testing.assert_allclose(got["size"][0], want["size"][0], rtol=1e-13)


@pytest.mark.parametrize("name", ["jvp", "vjp", "linearize"])
def test_aux_is_returned_as_it_is(name):
    def f(x):
        return np.sin(x), {"twice": 2 * x, "label": "sine"}

    if name == "jvp":
        out, derivative, aux = tj.jvp(f, (X,), (V,), has_aux=True)
    else:
        out, apply, aux = getattr(tj, name)(f, X, has_aux=True)
        derivative = apply(V)[0] if name == "vjp" else apply(V)
    np.testing.assert_allclose(out, np.sin(X), rtol=1e-15)
    np.testing.assert_allclose(derivative, V * np.cos(X), rtol=1e-14)
    np.testing.assert_array_equal(aux["twice"], 2 * X)
    assert aux["label"] == "sine"


def test_results_have_the_types_of_numpy():
    value, tangent = tj.jvp(np.sin, (0.5,), (2.0,))
    assert type(value) is type(tangent) is np.float64
    value, pull = tj.vjp(np.sum, X)
    assert type(value) is np.float64
    assert type(pull(1.0)[0]) is np.ndarray
    _, tangent = tj.jvp(lambda x: x[0, 0], (X.astype("f4"),), (V.astype("f4"),))
    assert type(tangent) is np.float32


# --- repeated calls ---------------------------------------------------------------


def test_primal_part_runs_once(monkeypatch):
    runs = []

    def f(x):
        runs.append(1)
        return np.exp(x)

    _, pull = tj.vjp(f, X)
    _, push = tj.linearize(f, X)
    for _ in range(3):
        np.testing.assert_allclose(pull(V)[0], V * np.exp(X), rtol=1e-15)
        np.testing.assert_allclose(push(V), V * np.exp(X), rtol=1e-15)
    assert len(runs) == 2


def test_pullback_has_the_linear_part_only():
    """Under jit, calling it twice repeats no exponential."""

    def f(x, a, b):
        _, pull = tj.vjp(lambda x: np.exp(np.sin(x)), x)
        return pull(a)[0], pull(b)[0]

    names = [e.primitive.name for e in tj.jit(f).trace(X, V, -V).recording.graph.eqns]
    assert sorted(names) == ["cos", "exp", "mul", "mul", "mul", "mul", "sin"]


def test_later_writes_change_nothing():
    x = X.copy()
    out, pull = tj.vjp(lambda x: np.exp(x) * x, x)
    _, push = tj.linearize(lambda x: x * x, x)
    x[...] = np.nan
    out[...] = np.nan
    np.testing.assert_allclose(pull(V)[0], V * np.exp(X) * (1 + X), rtol=1e-14)
    np.testing.assert_allclose(push(V), 2 * X * V, rtol=1e-14)


def test_pullback_made_outside_works_inside_of_jit_and_grad():
    _, pull = tj.vjp(np.sin, X)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        got = tj.jit(lambda v: pull(v)[0])(V)
        np.testing.assert_allclose(got, V * np.cos(X), rtol=1e-12)
        got = tj.grad(lambda v: np.sum(pull(v)[0] ** 2))(V)
        np.testing.assert_allclose(got, 2 * V * np.cos(X) ** 2, rtol=1e-12)


# --- nesting ----------------------------------------------------------------------


def cube_or_minus(x):
    return x**3 if x > 0 else -x


def test_python_branches_on_values():
    assert tj.jvp(cube_or_minus, (2.0,), (1.0,)) == (8.0, 12.0)
    assert tj.vjp(cube_or_minus, -2.0)[1](1.0) == (-1.0,)
    slope = lambda x: tj.jvp(cube_or_minus, (x,), (1.0,))[1]  # noqa: E731
    assert tj.grad(slope)(2.0) == 12.0
    assert tj.jvp(slope, (2.0,), (1.0,)) == (12.0, 12.0)
    assert tj.grad(lambda x: tj.vjp(cube_or_minus, x)[1](1.0)[0])(2.0) == 12.0


def test_branch_on_what_a_pullback_gives():
    def f(x):
        slope = tj.vjp(lambda y: y**3, x)[1](1.0)[0]
        return slope * x if slope > 5 else x

    assert tj.grad(f)(2.0) == 36.0  # of 3 x³
    assert tj.grad(f)(0.5) == 1.0


@pytest.mark.parametrize(
    "outer", ["jvp(jvp)", "jvp(vjp)", "vjp(jvp)", "vjp(vjp)", "linearize(jvp)"]
)
def test_second_derivatives_in_all_ways(outer):
    def f(x):
        return np.sin(x) * x**2

    def inner(x):
        if "(jvp" in outer:
            return tj.jvp(f, (x,), (np.ones_like(x),))[1]
        return tj.vjp(f, x)[1](np.ones_like(x))[0]

    def twice(x):
        if outer.startswith("jvp"):
            return tj.jvp(inner, (x,), (np.ones_like(x),))[1]
        if outer.startswith("vjp"):
            return tj.vjp(inner, x)[1](np.ones_like(x))[0]
        return tj.linearize(inner, x)[1](np.ones_like(x))

    want = -np.sin(X) * X**2 + 4 * X * np.cos(X) + 2 * np.sin(X)
    for run in under_jit(twice):
        np.testing.assert_allclose(run(X), want, rtol=1e-12)


def test_tangents_of_two_levels_are_not_confused():
    """d/dx (x · d/dy (x + y)) is 1, not 2."""
    assert tj.jvp(
        lambda x: x * tj.jvp(lambda y: x + y, (1.0,), (1.0,))[1], (3.0,), (1.0,)
    ) == (3.0, 1.0)
    assert tj.grad(lambda x: x * tj.grad(lambda y: x + y)(1.0))(3.0) == 1.0


def test_values_around_are_differentiated_through():
    """The direction, and what the function closes over, have derivatives too."""

    def f(w):
        _, pull = tj.vjp(lambda x: np.sin(x) * w, X)
        return np.sum(pull(w * V)[0])

    w = 1.3
    np.testing.assert_allclose(tj.grad(f)(w), np.sum(2 * w * V * np.cos(X)), rtol=1e-12)
    np.testing.assert_allclose(tj.jit(tj.grad(f))(w), tj.grad(f)(w), rtol=1e-12)


# --- dtypes -----------------------------------------------------------------------

FLOAT0 = np.dtype([("float0", np.void, 0)])


def test_integers_and_booleans_have_zeros_of_their_dtype():
    n, mask = np.arange(3), np.array([True, False, True])

    def f(x, n, mask):
        return np.where(mask, x * n, x), n + 1

    for zeros in (np.zeros(3, int), np.zeros(3, FLOAT0)):
        dm = np.zeros(3, bool) if zeros.dtype == int else zeros
        out, tangent = tj.jvp(f, (X, n, mask), (V, zeros, dm))
        np.testing.assert_allclose(tangent[0], np.where(mask, V * n, V))
        np.testing.assert_array_equal(out[1], n + 1)
        assert tangent[1].dtype == n.dtype
        assert not tangent[1].any()
        cts = tj.vjp(f, X, n, mask)[1]((V, zeros))
        np.testing.assert_allclose(cts[0], np.where(mask, V * n, V))
        assert [c.dtype for c in cts[1:]] == [n.dtype, bool]
        assert not cts[1].any()
        assert not cts[2].any()


@pytest.mark.parametrize("half", ["f2", "bf16"])
def test_mixed_dtypes(half):
    """Parameters keep their dtype, whatever they are computed with."""
    half = np.dtype(ml_dtypes.bfloat16 if half == "bf16" else half)
    w, h = np.float32([0.5, 1.5, 2.0]), np.array([1, 2, 3], half)

    def f(w, h, x):
        return np.sum((x * w) ** 2) + np.sum(h.astype(np.float32) * w)

    for run in under_jit(tj.grad(f, (0, 1, 2))):
        gw, gh, gx = run(w, h, X)
        assert (gw.dtype, gh.dtype, gx.dtype) == (np.float32, half, np.float64)
        np.testing.assert_allclose(
            gw, 2 * w * np.sum(X**2, 0) + h.astype("f4"), rtol=1e-6
        )
        np.testing.assert_allclose(gh.astype("f4"), w, rtol=1e-2)
        np.testing.assert_allclose(gx, 2 * X * w**2, rtol=1e-6)
    _, tangent = tj.jvp(f, (w, h, X), (w, h, X))
    assert tangent.dtype == np.float64


def test_complex_pairing():
    """<w, Jv> is Re Σ w·v; a holomorphic function multiplies by its derivative."""
    z, v = np.array([0.5 + 1j, -0.3 + 0.2j]), np.array([1 - 2j, 0.5j])
    _, tangent = tj.jvp(np.exp, (z,), (v,))
    np.testing.assert_allclose(tangent, np.exp(z) * v, rtol=1e-15)
    np.testing.assert_allclose(tj.vjp(np.exp, z)[1](v)[0], np.exp(z) * v, rtol=1e-15)
    _, tangent = tj.jvp(np.conj, (z,), (v,))
    np.testing.assert_array_equal(tangent, np.conj(v))
    np.testing.assert_array_equal(tj.vjp(np.conj, z)[1](v)[0], np.conj(v))
    np.testing.assert_allclose(
        tj.grad(lambda z: np.sum(np.abs(z) ** 2))(z), 2 * np.conj(z), rtol=1e-15
    )


def test_python_numbers_are_weak_tangents():
    out = tj.jvp(lambda x: x * 2, (np.float32(3),), (1,))
    assert out == (6.0, 2.0)
    assert out[1].dtype == np.float32
    assert tj.vjp(lambda z: z * 2j, 1j)[1](1.0) == (2j,)


# --- errors -----------------------------------------------------------------------

ERRORS = {
    "tangent shape": (
        lambda: tj.jvp(layer, (P, X), (P, V[0])),
        ShapeError,
        r"tangent of x has shape \(3,\), the primal is f64\[2,3\]",
    ),
    "tangent dtype": (
        lambda: tj.jvp(layer, (P, X), (Params(DP.w.astype("f4"), DP.b), V)),
        DTypeError,
        r"tangent of p\['w'\] is float32, the primal is f64\[3,2\]",
    ),
    "complex tangent": (
        lambda: tj.jvp(np.sin, (X,), (V * 1j,)),
        DTypeError,
        r"is complex128, the primal is f64\[2,3\]",
    ),
    "number of tangents": (
        lambda: tj.jvp(layer, (P, X), (DP,)),
        ArgumentError,
        "given as tangents is a list of 1, the primal there is a list of 2",
    ),
    "tangent tree": (
        lambda: tj.jvp(lambda p: p["a"][0], ({"a": [1.0]},), ({"b": [1.0]},)),
        ArgumentError,
        r"tangents\[0\] is a dict with keys \['b'\], the primal there is a dict with "
        r"keys \['a'\]",
    ),
    "tangent is a container": (
        lambda: tj.jvp(np.sin, (X,), (V.tolist(),)),
        ArgumentError,
        r"tangents\[0\] is a list of 2, the primal there is a leaf",
    ),
    "tangents not in a tuple": (
        lambda: tj.jvp(np.sin, (X,), V),
        ArgumentError,
        r"tangents of jvp are a tuple or a list, one per argument, not a ndarray",
    ),
    "tangent of an integer": (
        lambda: tj.jvp(np.multiply, (X, 3), (V, 1)),
        DTypeError,
        r"is not zero, but i64\[\] has no derivative",
    ),
    "float tangent of an integer": (
        lambda: tj.jvp(np.multiply, (X, 3), (V, 1.0)),
        DTypeError,
        r"is float, the primal is i64\[\]",
    ),
    "push shape": (
        lambda: tj.linearize(np.sin, X)[1](V.T),
        ShapeError,
        r"has shape \(3, 2\), the primal is f64\[2,3\]",
    ),
    "cotangent shape": (
        lambda: tj.vjp(layer, P, X)[1]({"y": X, "size": [1.0, 1.0]}),
        ShapeError,
        r"cotangent of the result\['y'\] has shape \(2, 3\), the output is f64\[2,2\]",
    ),
    "cotangent tree": (
        lambda: tj.vjp(layer, P, X)[1](({"y": X}, 1.0)),
        ArgumentError,
        "given as cotangents is a tuple of 2, the output there is a dict with keys",
    ),
    "result that is text": (
        lambda: tj.vjp(lambda x: {"v": x, "t": "text"}, X),
        DTypeError,
        r"vjp needs a function that returns arrays and numbers, but the result\['t'\] "
        "is a str",
    ),
    "primal that is text": (
        lambda: tj.jvp(lambda x: x, ("text",), ("text",)),
        DTypeError,
        "cannot differentiate with respect to x, a str",
    ),
    "no pair": (
        lambda: tj.vjp(np.sin, X, has_aux=True),
        TraceError,
        "with has_aux=True sin must return a pair",
    ),
    "not a function": (lambda: tj.vjp(X, X), ArgumentError, "vjp takes a function"),
}


@pytest.mark.parametrize("case", ERRORS)
def test_errors_name_the_leaf_and_the_line(case):
    call, error, text = ERRORS[case]
    with pytest.raises(error, match=text) as caught:
        call()
    assert "at test_linear_maps.py:" in str(caught.value)
