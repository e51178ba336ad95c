"""`grad` and `value_and_grad` of NumPy code, outside and inside of jit."""

import numpy as np
import pytest

import tracejit as tj
from tracejit.errors import (
    ArgumentError,
    ConcretizationError,
    DTypeError,
    ShapeError,
    TraceError,
)

X = np.linspace(0.2, 1.7, 12).reshape(3, 4)

FUNCTIONS = {
    "sum_sin": lambda x: np.sum(np.sin(x)),
    "mean_square": lambda x: np.mean((x - 1) ** 2),
    "log_sum_exp": lambda x: np.log(np.sum(np.exp(x - np.max(x)))) + np.max(x),
    "softmax_pick": lambda x: (np.exp(x) / np.exp(x).sum(1, keepdims=True))[1, 2],
    "matmul": lambda x: np.sum((x @ x.T) * np.arange(9.0).reshape(3, 3)),
    "einsum": lambda x: np.einsum("ij,kj->", x, x**2),
    "in_place": lambda x: _in_place(x),
    "views": lambda x: np.sum(x[1:, ::-2] * x.T[::2, :2].T),
    "gather": lambda x: np.sum(x[[0, 2, 0]] ** 2) + x[np.arange(3), [3, 1, 0]].prod(),
    "where": lambda x: np.where(x > 1, x**2, np.sqrt(x)).sum(),
    "minmax": lambda x: x.max(0).sum() * x.min() + np.maximum(x, 1).sum(),
    "variance": lambda x: np.var(x, axis=1).sum() + np.std(x),
    "cumulative": lambda x: np.sum(np.cumsum(x, 1) * np.cumprod(x, 0)),
    "sort": lambda x: np.sum(np.sort(x, axis=0) * np.arange(12.0).reshape(3, 4)),
    "concat": lambda x: np.concatenate([x, 2 * x[:1]]).prod(),
    "linalg": lambda x: np.sum(np.linalg.solve(x[:, :3] @ x[:, :3].T + np.eye(3), x)),
    "cholesky": lambda x: np.sum(np.linalg.cholesky(x @ x.T + np.eye(3))),
    "slogdet": lambda x: np.linalg.slogdet(x @ x.T + np.eye(3))[1],
    "norm": lambda x: np.linalg.norm(x) + np.linalg.norm(x, axis=1).sum(),
    "fft": lambda x: np.sum(np.abs(np.fft.rfft(x)) ** 2),
    "tanh_gelu": lambda x: np.sum(x * (1 + np.tanh(0.8 * (x + 0.04 * x**3)))),
    "pow": lambda x: np.sum(x**2.5 + 2**x + x**x),
    "arctan2": lambda x: np.sum(np.arctan2(x, x.T[:3, :3].sum() + x) + np.hypot(x, 1)),
    "pad_roll": lambda x: np.sum(np.pad(x, 1) ** 2) + np.sum(np.roll(x, 1, 0) * x),
}


def _in_place(x):
    y = np.zeros((3, 4))
    y[1:] = x[:-1] * 2
    y[:, 0] += x[:, 1]
    y *= x
    return y.sum()


def central_difference(f, x, h=1e-6):
    out = np.zeros_like(x)
    for i in np.ndindex(x.shape):
        up, down = x.copy(), x.copy()
        up[i] += h
        down[i] -= h
        out[i] = (f(up) - f(down)) / (2 * h)
    return out


@pytest.mark.parametrize("name", FUNCTIONS)
def test_gradient_against_differences(name):
    f = FUNCTIONS[name]
    want = central_difference(f, X)
    value, gradient = tj.value_and_grad(f)(X)
    assert np.isclose(value, f(X), rtol=1e-12)
    np.testing.assert_allclose(gradient, want, rtol=2e-6, atol=2e-7)
    jitted = tj.jit(tj.grad(f))(X)
    np.testing.assert_allclose(jitted, gradient, rtol=1e-9, atol=1e-11)


def test_second_order():
    f = lambda x: np.sum(np.sin(x) * x**2)  # noqa: E731
    twice = tj.grad(lambda x: np.sum(tj.grad(f)(x) * np.arange(3.0)))
    x = np.array([0.3, 0.7, 1.1])
    second = -np.sin(x) * x**2 + 4 * x * np.cos(x) + 2 * np.sin(x)
    np.testing.assert_allclose(twice(x), second * np.arange(3.0), rtol=1e-12)
    np.testing.assert_allclose(tj.jit(twice)(x), twice(x), rtol=1e-12)


def test_containers_argnums_and_aux():
    def loss(params, x, scale):
        y = x @ params["w"] + params["b"]
        return np.sum(y**2) * scale, {"y": y}

    params = {"w": np.ones((4, 2)), "b": np.zeros(2)}
    both = tj.value_and_grad(loss, argnums=(0, 2), has_aux=True)
    for f in (both, tj.jit(both)):
        (value, aux), (g, gscale) = f(params, X, 0.5)
        assert np.isclose(value, 0.5 * gscale)
        assert np.allclose(aux["y"], X @ params["w"])
        assert np.allclose(g["w"], X.T @ aux["y"])
        assert np.allclose(g["b"], aux["y"].sum(0))


def test_integer_leaf_gets_zero_gradient():
    gradient = tj.grad(lambda p: np.sum(p[0] * p[1]))((X, np.arange(4)))
    assert gradient[1].dtype == np.arange(4).dtype
    assert not gradient[1].any()


def test_python_branches_outside_of_jit():
    def f(x):
        return np.sum(x) * 2 if x[0] > 0 else np.sum(x**2)

    assert np.array_equal(tj.grad(f)(np.array([1.0, 2.0])), [2.0, 2.0])
    assert np.array_equal(tj.grad(f)(np.array([-1.0, 2.0])), [-2.0, 4.0])


def test_float_of_a_differentiated_value_raises():
    with pytest.raises(ConcretizationError, match="would drop its gradient"):
        tj.grad(lambda x: np.sum(x) * float(x[0]))(np.ones(3))


def test_stop_gradient():
    gradient = tj.grad(lambda x: np.sum(x * tj.stop_gradient(x)))(X)
    assert np.array_equal(gradient, X)


def test_closed_over_values_are_constants_and_operands():
    def outer(x, w):
        scaled = x * 2
        return tj.grad(lambda v: np.sum(v * scaled * w))(x)

    np.testing.assert_allclose(tj.jit(outer)(X, X), 2 * X * X)


def test_bad_outputs():
    with pytest.raises(ShapeError, match=r"f64\[3,4\], not a scalar"):
        tj.grad(lambda x: x * 2)(X)
    with pytest.raises(DTypeError, match="not a real float"):
        tj.grad(lambda x: np.argmax(x))(X)
    with pytest.raises(TraceError, match="a container"):
        tj.grad(lambda x: (x.sum(), x))(X)
    with pytest.raises(TraceError, match="pair"):
        tj.grad(lambda x: x.sum(), has_aux=True)(X)


def test_gradient_of_a_product_of_vectors_is_no_contraction():
    """The cotangent of a number times a vector: elementwise, and fused."""
    x, y = X[0], X[1]
    f = tj.grad(lambda x, y: np.sin(x @ y), (0, 1))
    for got, other in zip(tj.jit(f)(x, y), (y, x), strict=True):
        np.testing.assert_allclose(got, np.cos(x @ y) * other)
    assert len(tj.jit(f).lower(x, y).kernels) <= 2


# --- which arguments --------------------------------------------------------------


def weighted(x, w=2.0, *, power=2.0):
    return np.sum(w * x**power)


def test_argnames():
    by_name = tj.grad(weighted, argnames="w")
    assert by_name(X) == by_name(X, 2.0) == by_name(X, w=2.0) == np.sum(X**2)
    gw, gx = tj.grad(weighted, argnames=("w", "x"))(X, 3.0)
    np.testing.assert_allclose(gx, 6 * X)
    assert gw == np.sum(X**2)
    gx, gp = tj.grad(weighted, argnums=(0,), argnames="power")(X, power=3.0)
    np.testing.assert_allclose(gx, 6 * X**2)
    np.testing.assert_allclose(gp, np.sum(2 * X**3 * np.log(X)))
    (gx,) = tj.grad(weighted, argnames=["x"])(X)
    np.testing.assert_allclose(gx, 4 * X)
    jitted = tj.jit(tj.value_and_grad(weighted, argnames="w"))
    assert jitted(X, w=2.0) == (weighted(X), np.sum(X**2))


def test_negative_argnums():
    assert tj.grad(lambda x, y: x * y**2, argnums=-1)(3.0, 2.0) == 12.0


def test_holomorphic():
    z = np.array([0.3 + 1j, -0.5j])
    gradient = tj.grad(lambda z: np.sum(np.sin(z) * z), holomorphic=True)
    np.testing.assert_allclose(gradient(z), np.cos(z) * z + np.sin(z), rtol=1e-14)
    np.testing.assert_allclose(tj.jit(gradient)(z), gradient(z), rtol=1e-14)


def test_allow_int():
    gradient = tj.grad(lambda n: np.sum(n * 1.5), allow_int=True)(np.arange(3))
    np.testing.assert_array_equal(gradient, np.zeros(3, int))
    assert gradient.dtype == np.arange(3).dtype
    assert tj.grad(lambda b: b * 1.5, allow_int=True)(True) == False  # noqa: E712


ARGUMENT_ERRORS = {
    "too far": (
        lambda: tj.grad(weighted, argnums=2)(X, 1.0),
        r"argnums names argument 2, but weighted was given 2 positional arguments",
    ),
    "too far back": (
        lambda: tj.grad(weighted, argnums=(0, -3))(X, 1.0),
        r"argnums names argument -3, but weighted was given 2 positional arguments",
    ),
    "twice": (
        lambda: tj.grad(weighted, argnums=0, argnames="x")(X),
        r"argnums=0 and argnames='x' name an argument twice",
    ),
    "unknown name": (
        lambda: tj.grad(weighted, argnames="scale")(X),
        r"argnames names 'scale', but weighted has \['power', 'w', 'x'\]",
    ),
    "not given": (
        lambda: tj.grad(lambda x, *, k: x * k, argnames="k")(1.0),
        r"argnames names 'k', but <lambda> was not given it",
    ),
}


@pytest.mark.parametrize("case", ARGUMENT_ERRORS)
def test_argument_errors(case):
    call, text = ARGUMENT_ERRORS[case]
    with pytest.raises(ArgumentError, match=text) as caught:
        call()
    assert "at test_gradients.py:" in str(caught.value)


DTYPE_ERRORS = {
    "integers": (
        lambda: tj.grad(lambda x: x * 2.0)(3),
        r"grad has nothing to differentiate: .* \(x: i64\[\]\)",
    ),
    "complex value": (
        lambda: tj.grad(lambda z: z * 2)(1j),
        r"<lambda> returned c128\[\], not a real float",
    ),
    "real argument": (
        lambda: tj.grad(lambda z: z * 2j, holomorphic=True)(1.0),
        r"grad with holomorphic=True takes complex arguments, but z is f64\[\]",
    ),
    "real value": (
        lambda: tj.grad(lambda z: abs(z), holomorphic=True)(1j),
        r"<lambda> returned f64\[\], not a complex number",
    ),
    "text": (
        lambda: tj.grad(lambda p: p["x"] * 2)({"x": 2.0, "name": "text"}),
        r"cannot differentiate with respect to p\['name'\], a str",
    ),
    "text returned": (
        lambda: tj.grad(lambda x: "text")(1.0),
        r"grad needs a number, but <lambda> returned 'text'",
    ),
    "nothing returned": (
        lambda: tj.grad(lambda x: None)(1.0),
        r"grad needs one number, but <lambda> returned a container: None",
    ),
}


@pytest.mark.parametrize("case", DTYPE_ERRORS)
def test_dtype_errors(case):
    call, text = DTYPE_ERRORS[case]
    with pytest.raises((DTypeError, TraceError), match=text) as caught:
        call()
    assert "at test_gradients.py:" in str(caught.value)


# --- values in nested transformations ---------------------------------------------


def by_sign(x):
    return x**3 if x > 0 else -x


def test_nested_gradients_branch_on_values():
    second = tj.grad(tj.grad(by_sign))
    assert second(2.0) == 12.0
    assert second(-2.0) == 0.0


@pytest.mark.parametrize("inner", [2.0, np.float32(2)])
def test_nested_gradient_is_not_dropped(inner):
    def uses_inner(y):
        return tj.grad(lambda x: float(x) * x * y)(inner)

    def uses_outer(y):
        return tj.grad(lambda x: float(y) * x * y)(inner)

    for f in (uses_inner, uses_outer):
        with pytest.raises(tj.errors.ConcretizationError, match="drop its gradient"):
            tj.grad(f)(3.0)


def test_known_argument_under_jit_is_not_dropped():
    with pytest.raises(tj.errors.ConcretizationError, match="drop its gradient"):
        tj.jit(lambda: tj.grad(lambda x: float(x) * x)(2.0))()


def test_value_asked_for_in_an_inner_trace_specialises():
    @tj.jit
    def f(x, n):
        return tj.grad(lambda y: np.sum(y * y) if n > 2 else np.sum(y))(x)

    x = np.arange(3.0)
    for n in (1, 2, 3, 1):
        np.testing.assert_array_equal(f(x, n), 2 * x if n > 2 else np.ones(3))


@pytest.mark.parametrize("shape", [(16, 16), (2, 3, 32, 32)])
def test_gradients_of_attention_with_as_many_keys_as_they_are_wide(shape):
    """Maxima and sums of the scores' rows are results of the product's kernel, too."""

    def attention(q, k, v):
        s = q @ np.swapaxes(k, -1, -2) / 4
        e = np.exp(s - s.max(axis=-1, keepdims=True))
        return e / e.sum(axis=-1, keepdims=True) @ v

    def gradients(q, k, v, g):
        return tj.grad(lambda *a: np.sum(attention(*a) * g), argnums=(0, 1, 2))(q, k, v)

    args = np.random.default_rng(0).normal(size=(4, *shape))
    for got, want in zip(tj.jit(gradients)(*args), gradients(*args), strict=True):
        np.testing.assert_allclose(got, want, rtol=1e-9, atol=1e-12)
