"""`jacfwd`, `jacrev`, `jacobian` and `hessian`: blocks of trees, dtypes and errors."""

import numpy as np
import pytest

import tracejit as tj
from tracejit.errors import ArgumentError, DTypeError

X = np.linspace(0.2, 1.7, 6).reshape(2, 3)
B = np.array([0.5, -1.0])
BOTH = pytest.mark.parametrize("jacobian", [tj.jacfwd, tj.jacrev])


def f(x, b):
    return {"s": np.sin(x) @ np.arange(3.0) * b, "t": np.sum(x) * b[0]}


def by_differences(f, x, h=1e-6):
    """Return ∂f/∂x of one array, with the axes of f first."""
    columns = []
    for i in np.ndindex(x.shape):
        e = np.zeros(x.shape)
        e[i] = h
        columns.append((f(x + e) - f(x - e)) / (2 * h))
    stacked = np.stack(columns, -1)
    return stacked.reshape(*stacked.shape[:-1], *x.shape)


@BOTH
def test_blocks_of_trees(jacobian):
    for run in (jacobian(f, (0, 1)), tj.jit(jacobian(f, (0, 1)))):
        found = run(X, B)
        assert list(found) == ["s", "t"]
        for name in "st":
            gx, gb = found[name]
            want = by_differences(lambda x, n=name: f(x, B)[n], X)
            np.testing.assert_allclose(gx, want, rtol=1e-8, atol=1e-9)
            want = by_differences(lambda b, n=name: f(X, b)[n], B)
            np.testing.assert_allclose(gb, want, rtol=1e-8, atol=1e-9)


@BOTH
def test_structure_follows_result_then_argument(jacobian):
    found = jacobian(lambda p: [p["a"] * p["b"]])({"a": X, "b": 2.0})
    assert type(found) is list
    assert found[0]["a"].shape == (2, 3, 2, 3)
    assert found[0]["b"].shape == (2, 3)
    assert type(jacobian(lambda x: x**2)(3.0)) is np.float64


def test_hessian():
    def loss(x):
        return np.sum(np.exp(x[0] * x[1])) + np.prod(x)

    want = by_differences(tj.grad(loss), X)
    for run in (tj.hessian(loss), tj.jit(tj.hessian(loss))):
        np.testing.assert_allclose(run(X), want, rtol=1e-7, atol=1e-8)
    trees = tj.hessian(lambda p: np.sum(p["a"] ** 2) * p["b"])({"a": X, "b": 2.0})
    np.testing.assert_allclose(trees["a"]["b"], 2 * X, rtol=1e-14)
    np.testing.assert_allclose(trees["b"]["a"], 2 * X, rtol=1e-14)
    np.testing.assert_allclose(
        trees["a"]["a"], 4 * np.eye(6).reshape(2, 3, 2, 3), rtol=1e-14
    )


def test_nested_in_all_ways():
    def g(x):
        return np.sin(x) * x[0]

    x = X[0]
    want = by_differences(tj.jacrev(g), x)
    for outer in (tj.jacfwd, tj.jacrev):
        for inner in (tj.jacfwd, tj.jacrev):
            np.testing.assert_allclose(outer(inner(g))(x), want, rtol=1e-7, atol=1e-8)
    assert tj.jacobian is tj.jacrev


@BOTH
def test_gradient_of_a_jacobian(jacobian):
    def log_det(x):
        return np.linalg.slogdet(jacobian(lambda v: np.tanh(v) * v[0] + v)(x))[1]

    want = by_differences(log_det, X[0])
    np.testing.assert_allclose(tj.grad(log_det)(X[0]), want, rtol=1e-7)
    np.testing.assert_allclose(tj.jit(tj.grad(log_det))(X[0]), want, rtol=1e-7)


@BOTH
def test_aux(jacobian):
    found, aux = jacobian(lambda x: (x**2, {"x": x, "name": "square"}), has_aux=True)(B)
    np.testing.assert_allclose(found, np.diag(2 * B))
    np.testing.assert_array_equal(aux["x"], B)
    assert aux["name"] == "square"
    second, aux = tj.hessian(lambda x: (np.sum(x**3), "cube"), has_aux=True)(B)
    np.testing.assert_allclose(second, np.diag(6 * B))
    assert aux == "cube"


@BOTH
def test_nothing_depends_on_the_argument(jacobian):
    np.testing.assert_array_equal(
        jacobian(lambda x: np.array([1.0, 2.0]))(B), np.zeros((2, 2))
    )
    np.testing.assert_array_equal(jacobian(np.floor)(B), np.zeros((2, 2)))


@BOTH
def test_directions_are_one_batch(jacobian):
    """Graphs for 4 and for 64 elements have the same equations."""

    def names(n):
        x = np.linspace(0.1, 0.9, n)
        f = tj.jit(jacobian(lambda x: np.tanh(np.outer(x, x) @ x)))
        return [e.primitive.name for e in f.trace(x).recording.graph.eqns]

    assert names(4) == names(64)


@BOTH
def test_empty_arrays(jacobian):
    assert jacobian(lambda x: x**2)(np.zeros(0)).shape == (0, 0)
    assert jacobian(lambda x: np.sum(x))(np.zeros((0, 3))).shape == (0, 3)


@BOTH
def test_mixed_and_integer_arguments(jacobian):
    g32, gn = jacobian(lambda x, n: x * n, (0, 1))(B.astype("f4"), np.arange(2))
    # Columns have the dtype of the result (float32 times int64 is float64), rows that
    # of the argument.
    assert g32.dtype == (np.float64 if jacobian is tj.jacfwd else np.float32)
    assert gn.dtype == np.arange(2).dtype
    assert gn.shape == (2, 2)
    assert not gn.any()


@BOTH
def test_holomorphic(jacobian):
    z = np.array([0.5 + 1j, -0.2j])
    found = jacobian(lambda z: np.exp(z) * z[0], holomorphic=True)(z)
    want = np.diag(np.exp(z) * z[0])
    want[:, 0] += np.exp(z)
    np.testing.assert_allclose(found, want, rtol=1e-14)


def test_complex_results_of_real_arguments():
    found = tj.jacfwd(lambda x: np.exp(1j * x))(B)
    np.testing.assert_allclose(found, np.diag(1j * np.exp(1j * B)), rtol=1e-15)


def test_real_results_of_complex_arguments():
    z = np.array([0.5 + 1j, -0.2j])
    found = tj.jacrev(lambda z: np.abs(z) ** 2)(z)
    np.testing.assert_allclose(found, np.diag(2 * np.conj(z)), rtol=1e-14)


Z = B * 1j
ERRORS = {
    "complex argument": (
        lambda: tj.jacfwd(np.exp)(Z),
        DTypeError,
        r"jacfwd takes real arguments, but [\w\[\]]+ is c128\[2\]",
    ),
    "complex result": (
        lambda: tj.jacrev(np.exp)(Z),
        DTypeError,
        r"jacrev needs real results, but the result is c128\[2\]",
    ),
    "integer result": (
        lambda: tj.jacfwd(lambda x: [np.argmax(x)])(B),
        DTypeError,
        r"jacfwd needs float results, but the result\[0\] is i64\[\]",
    ),
    "integer argument": (
        lambda: tj.jacrev(lambda x: x * 1.5)(np.arange(3)),
        DTypeError,
        r"jacrev has nothing to differentiate: .* \(x: i64\[3\]\)",
    ),
    "real argument": (
        lambda: tj.jacrev(np.exp, holomorphic=True)(B),
        DTypeError,
        r"with holomorphic=True takes complex arguments, but [\w\[\]]+ is f64\[2\]",
    ),
    "real result": (
        lambda: tj.jacfwd(np.abs, holomorphic=True)(Z),
        DTypeError,
        r"with holomorphic=True needs complex results, but the result is f64\[2\]",
    ),
    "argnums": (
        lambda: tj.jacfwd(np.sum, argnums=1)(B),
        ArgumentError,
        "argnums names argument 1, but sum was given 1 positional arguments",
    ),
}


@pytest.mark.parametrize("case", ERRORS)
def test_errors_name_the_leaf_and_the_line(case):
    call, error, text = ERRORS[case]
    with pytest.raises(error, match=text) as caught:
        call()
    assert "at test_jacobians.py:" in str(caught.value)
