"""`vmap` as users call it: axes, trees, nesting, and what it says when it cannot."""

import re
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import pytest

import tracejit as tj
from tracejit.errors import ConcretizationError, DTypeError, ShapeError, TraceError
from tracejit.tracing.tree import flatten

X = np.linspace(-2.0, 2.0, 12).reshape(4, 3)
Y = np.linspace(0.5, 3.0, 12).reshape(4, 3)
W = np.linspace(-1.0, 1.0, 6).reshape(3, 2)


def both(fn, *args, **kwargs):
    """Call eagerly and jitted; the results are alike."""
    eager = fn(*args, **kwargs)
    check_same(tj.jit(fn)(*args, **kwargs), eager)
    return eager


def check_same(got, want):
    (got, spec), (want, wanted) = flatten(got), flatten(want)
    assert spec == wanted
    for a, b in zip(got, want, strict=True):
        assert type(a) is type(b)
        close(a, b)


def close(got, want):
    got, want = np.asarray(got), np.asarray(want)
    assert (got.shape, got.dtype) == (want.shape, want.dtype)
    np.testing.assert_allclose(got, want, rtol=1e-12, atol=1e-12)


# --- axes -------------------------------------------------------------------------


@pytest.mark.parametrize("in_axis", [0, 1, -1, -2])
@pytest.mark.parametrize("out_axis", [0, 1, -1, -2])
def test_axes(in_axis, out_axis):
    got = both(tj.vmap(lambda x: np.cumsum(x) * x[0], in_axis, out_axis), X)
    rows = np.moveaxis(X, in_axis, 0)
    close(got, np.stack([np.cumsum(r) * r[0] for r in rows], axis=out_axis))


def test_an_entry_for_each_argument():
    f = tj.vmap(lambda x, w, s: s[0] * (x @ w), in_axes=(0, None, 1))
    scale = np.arange(8.0).reshape(2, 4)
    close(both(f, X, W, scale), scale[0][:, None] * (X @ W))
    g = tj.vmap(lambda x, w: x @ w, in_axes=[0, None])  # a list, as JAX takes it
    close(both(g, X, W), X @ W)


def test_keywords_are_mapped_along_axis_0():
    f = tj.vmap(lambda x, *, y, scale: x * y * scale, in_axes=1)
    close(both(f, X.T, y=Y, scale=2.0), X * Y * 2)


class Pair(NamedTuple):
    left: object
    right: object


@dataclass
class Layer:
    w: object
    b: object


def test_axes_of_containers():
    def f(params, pair, layer, rest):
        return params["w"] @ pair.left + params["b"] * pair.right + layer.w @ rest[0]

    params = {"w": np.arange(6.0).reshape(2, 3), "b": np.arange(4.0)}
    pair, layer = Pair(W[:, 0], Y[:, :2]), Layer(W.T, None)
    axes = ({"b": 0, "w": None}, Pair(None, 0), Layer(None, None), 0)
    got = both(tj.vmap(f, in_axes=axes), params, pair, layer, [X])
    rows = [
        f({**params, "b": params["b"][i]}, Pair(pair.left, Y[i, :2]), layer, [X[i]])
        for i in range(4)
    ]
    close(got, np.stack(rows))


def test_results_of_containers():
    def f(x):
        return {"total": x.sum(), "rows": [x, 2 * x]}, Pair(3.0, x[0])

    axes = ({"rows": [0, 1], "total": 0}, Pair(None, 0))
    got = both(tj.vmap(f, out_axes=axes), X)
    want = {"total": X.sum(1), "rows": [X, 2 * X.T]}, Pair(np.float64(3), X[:, 0])
    check_same(got, want)


def test_results_without_the_batch_are_repeated():
    got = both(tj.vmap(lambda x: (W, 1, x * 0 + 1)), X)
    check_same(got, (np.stack([W] * 4), np.ones(4, np.int64), np.ones_like(X)))


def test_axis_size():
    close(
        both(tj.vmap(lambda w: w + 1, in_axes=None, axis_size=2), W),
        W[None] + [[[1]]] * 2,
    )
    close(tj.vmap(lambda: np.ones(2), axis_size=3)(), np.ones((3, 2)))
    close(tj.vmap(lambda x: x, axis_size=4)(X), X)


def test_no_examples():
    got = both(tj.vmap(lambda x, w: np.exp(x @ w).sum(), (0, None)), X[:0], W)
    close(got, np.zeros(0))


def test_python_values_are_passed_on():
    def f(x, power, mode, activation):
        assert (power, mode) == (3, "double")
        return activation(x) ** power * 2

    close(tj.vmap(f)(X, 3, "double", np.tanh), np.tanh(X) ** 3 * 2)
    jitted = tj.jit(lambda x, n: tj.vmap(lambda v, k: np.sum(v) * k)(x, n))
    for n in (2, 3, 4):
        close(jitted(X, n), X.sum(1) * n)


def test_python_sees_the_shape_of_one_example():
    def f(x, y):
        assert x.shape == (3,)
        assert len(x) == x.size == 3
        assert isinstance(y, np.float64)
        return np.stack([v * y for v in x])

    close(both(tj.vmap(f), X, Y[:, 0]), X * Y[:, :1])


def test_ndarrays_of_other_dtypes():
    f = tj.vmap(lambda x, i: x[i] * 2)
    x = X.astype(np.float32)
    index = np.array([0, -1, 2, 1], np.int8)
    close(both(f, x, index), 2 * x[np.arange(4), index])


# --- with other transformations ---------------------------------------------------


def loss(w, x, y):
    return np.sum((np.tanh(x @ w) - y) ** 2)


def test_gradient_of_each_example():
    got = both(tj.vmap(tj.grad(loss), (None, 0, 0)), W, X, Y[:, :2])
    rows = zip(X, Y[:, :2], strict=True)
    close(got, np.stack([tj.grad(loss)(W, x, y) for x, y in rows]))


def test_gradient_through_vmap():
    def total(w):
        return np.mean(tj.vmap(loss, (None, 0, 0))(w, X, Y[:, :2]))

    got = both(tj.grad(total), W)
    each = tj.vmap(tj.grad(loss), (None, 0, 0))(W, X, Y[:, :2])
    close(got, each.mean(0))


def test_hessian_by_a_map_of_gradients():
    def f(x):
        return np.sum(x**3) + np.prod(x)

    def hessian(x):
        return tj.vmap(lambda v: tj.grad(lambda z: tj.grad(f)(z) @ v)(x))(np.eye(3))

    x = np.array([1.0, 2.0, 3.0])
    want = np.diag(6 * x) + np.array([[0, 3, 2], [3, 0, 1], [2, 1, 0]])
    close(both(hessian, x), want)


def test_nested():
    def pairwise(x, y):
        near = tj.vmap(lambda a, b: np.exp(-np.sum((a - b) ** 2)), (None, 0))
        return tj.vmap(near, (0, None))(x, y)

    want = np.exp(-((X[:, None] - Y[None]) ** 2).sum(-1))
    close(both(pairwise, X, Y), want)


def test_of_a_jitted_function():
    @tj.jit
    def f(x, y):
        return np.where(x > 0, x, y).sum()

    close(both(tj.vmap(f), X, Y), np.where(X > 0, X, Y).sum(1))


def test_closures_are_shared():
    def outer(x, w):
        scaled = w * 2
        return tj.vmap(lambda v: np.tanh(v @ scaled) + Y[0, :2])(x)

    close(both(outer, X, W), np.tanh(X @ W * 2) + Y[0, :2])


def test_what_is_closed_over_is_indexed_by_mapped_values():
    def lookup(table, index):
        return tj.vmap(lambda i: table[i] * 2)(index)

    index = np.array([2, -1, 0])
    close(tj.jit(lookup)(X, index), X[index] * 2)
    jacobian = tj.grad(lambda t: np.sum(lookup(t, index) * X[:3]))
    close(both(jacobian, X), np.stack([2 * X[2], 0 * X[0], 2 * X[0], 2 * X[1]]))


def test_gradient_of_what_is_closed_over():
    def f(w):
        return np.sum(tj.vmap(lambda v: np.tanh(v @ w))(X))

    close(both(tj.grad(f), W), X.T @ (1 - np.tanh(X @ W) ** 2))


def test_captured_array_is_read_at_each_call():
    shift = np.zeros(3)
    f = tj.jit(tj.vmap(lambda x: x + shift))
    close(f(X), X)
    shift += 1
    close(f(X), X + 1)


@pytest.mark.parametrize("axis", [0, 1, None])
def test_captured_argument_is_read_at_each_call(axis):
    table = np.arange(9.0).reshape(3, 3)
    rows = np.array([2, 0, 1])
    f = tj.jit(lambda i: tj.vmap(lambda t, k: t[..., k], (axis, 0))(table, i))
    for _ in range(2):
        each = table[None].repeat(3, 0) if axis is None else np.moveaxis(table, axis, 0)
        close(f(rows), np.stack([t[..., k] for t, k in zip(each, rows, strict=True)]))
        table += 1


def test_values_in_a_gradient_stay_known():
    """Outside of jit Python may branch on what is not mapped."""

    def f(s):
        rows = tj.vmap(lambda x: x * s if s > 0 else -x)(X)
        return np.sum(rows) if rows[0, 0] < 0 else np.sum(rows * 2)

    assert tj.grad(f)(2.0) == X.sum()
    assert (
        tj.grad(lambda s: np.sum(tj.vmap(lambda x: x * s)(X)) * s)(1.0) == 2 * X.sum()
    )


def test_in_place_code_in_the_function():
    def f(x, i, v):
        y = np.zeros(5)
        y[1:4] = x
        y[i] += v
        y[y > 1] = 1
        return y

    index, value = np.array([0, 4, 2, -5]), np.arange(4.0)
    rows = zip(X, index, value, strict=True)
    close(both(tj.vmap(f), X, index, value), np.stack([f(*r) for r in rows]))


def rows_of(f, *args):
    """Apply `f` to each example, in a loop."""
    outs = [f(*row) for row in zip(*args, strict=True)]
    return tuple(map(np.stack, zip(*outs, strict=True)))


A = X[:, :, None] * Y[:, None] + 5 * np.eye(3)
PROGRAMS = {
    "sort": lambda x, a: (np.sort(x), np.argsort(x), np.partition(x, 1)[1]),
    "top": lambda x, a: (np.argmax(x), np.argmin(a, 1), np.sort(x)[::-1][:2]),
    "cumulative": lambda x, a: (np.cumsum(a, 1), np.cumprod(x), np.diff(x)),
    "solve": lambda x, a: (np.linalg.solve(a, x), np.linalg.inv(a), np.linalg.det(a)),
    "cholesky": lambda x, a: (
        np.linalg.cholesky(a @ a.T),
        np.linalg.eigvalsh(a @ a.T),
        np.linalg.slogdet(a)[1],
    ),
    "factors": lambda x, a: (
        *np.linalg.svd(a[:2]),
        *np.linalg.qr(a),
        np.linalg.qr(a[:, :2], "complete")[0],
        np.linalg.svdvals(a),
        *np.linalg.eig(a),
    ),
    "least squares": lambda x, a: (
        *np.linalg.lstsq(a[:, :2], x),
        np.linalg.pinv(a[:2], 0.1),
        np.linalg.pinv(a[:2], x[0] ** 2 / 10),
        np.linalg.matrix_rank(a),
        np.linalg.cond(a),
        np.linalg.cond(a, 1),
    ),
    "matrix norms": lambda x, a: tuple(
        np.linalg.norm(a, p) for p in (2, -2, "nuc", 1, -1, np.inf, -np.inf)
    ),
    "norms": lambda x, a: (np.linalg.norm(x), np.linalg.norm(a, axis=0), np.std(a)),
    "fft": lambda x, a: (np.fft.fft(x), np.fft.irfft(np.fft.rfft(x, 4), 4)),
    "index": lambda x, a: (a[[0, 2], [1, 1]], a[np.argmax(x)], x[::-2], a[:, None, 1]),
    "masks": lambda x, a: (np.where(x > 0, a, 0), np.clip(x, -1, 1), np.sign(a)),
    "shapes": lambda x, a: (np.outer(x, x), np.pad(x, 1), np.roll(a, 1), np.tile(x, 2)),
    "einsum": lambda x, a: (
        np.einsum("i,ij,j->", x, a, x),
        np.tensordot(a, W, 1),
        np.kron(x, x),
    ),
    "trace": lambda x, a: (np.trace(a), np.diag(x), np.tril(a), np.diagonal(a)),
    "median": lambda x, a: (np.median(x), np.percentile(x, 30), np.ptp(a, 0)),
    "search": lambda x, a: (
        np.searchsorted(np.sort(x), [0.0, 1.0]),
        np.interp(x, x, x),
    ),
    "many": lambda x, a: (np.gcd(12, 18), np.nan_to_num(x / 0 * 0), np.hypot(x, 1)),
}


@pytest.mark.parametrize("name", PROGRAMS)
@pytest.mark.parametrize("dtype", [np.float64, np.float32])
def test_numpy_functions(name, dtype):
    x, a = X.astype(dtype), A.astype(dtype)
    with np.errstate(all="ignore"):
        wanted = rows_of(PROGRAMS[name], x, a)
    with np.errstate(all="ignore"):
        results = [g(tj.vmap(PROGRAMS[name]))(x, a) for g in (lambda f: f, tj.jit)]
    rtol = 1e-12 if dtype is np.float64 else 1e-4
    for result in results:
        for got, want in zip(result, wanted, strict=True):
            assert got.shape == want.shape
            np.testing.assert_allclose(got, want, rtol=rtol, atol=rtol)


# --- control flow -----------------------------------------------------------------


def newton(x):
    """Square roots, until the error is small."""
    return tj.while_loop(
        lambda s: np.abs(s[0] * s[0] - x) > 1e-9,
        lambda s: ((s[0] + x / s[0]) / 2, s[1] + 1),
        (x, 0),
    )


def turns(x):
    return tj.fori_loop(0, 5, lambda i, s: np.tanh(s + x[0] * i), x)


def recurrence(x):
    return tj.scan(lambda h, v: (np.tanh(h + v), h * v), x[0], x)


def chosen(x):
    return tj.cond(x[0] > 0, lambda v: (v * 2, 1.0), lambda v: (-v, v[1]), x)


def switched(x):
    index = np.clip(np.int64(1) + np.sign(x[1]).astype(int), 0, 2)
    return tj.switch(index, [np.sin, np.cos, lambda v: v * v], x)


def checked(x):
    """The index is in range where it is used only."""
    i = np.floor(x[0] * 3).astype(int)
    inside = (i >= 0) & (i < 3)
    return tj.cond(inside, lambda v, i: v[i], lambda v, i: 0.0 * v[0], x, i)


LOOPS = [turns, recurrence, chosen, switched, checked]


@pytest.mark.parametrize("f", LOOPS)
def test_control_flow(f):
    got = both(tj.vmap(f), X)
    wanted = [f(x) for x in X]
    for got_leaf, *leaves in zip(*(flatten(t)[0] for t in [got, *wanted]), strict=True):
        close(got_leaf, np.stack(leaves))


def test_each_example_leaves_a_loop_in_its_own_turn():
    roots, count = both(tj.vmap(newton), Y[:, 0])
    wanted = [newton(y) for y in Y[:, 0]]
    close(roots, np.stack([r for r, _ in wanted]))
    np.testing.assert_array_equal(count, [n for _, n in wanted])
    assert len(set(count.tolist())) > 1


@pytest.mark.parametrize("f", LOOPS)
def test_gradients_of_control_flow(f):
    def loss(x):
        return sum(np.sum(np.sin(leaf)) for leaf in flatten(f(x))[0])

    got = both(tj.vmap(tj.grad(loss)), X)
    close(got, np.stack([tj.grad(loss)(x) for x in X]))
    close(both(tj.grad(lambda x: np.sum(tj.vmap(loss)(x))), X), got)


def test_branches_that_are_not_taken_spoil_no_gradient():
    """There is no example at which a slope of the other branch is asked for."""

    def f(x, s):  # at 0, and times a residual of the root that is 0 in its place
        return tj.cond(x > 0, lambda x, s: np.sqrt(x) * s, lambda x, s: x * s, x, s)

    x = np.array([-1.0, 0.0, 4.0])
    mapped = tj.vmap(f, (0, None))
    by_x, by_s = both(tj.grad(lambda x, s: np.sum(mapped(x, s)), (0, 1)), x, 3.0)
    close(by_x, np.array([3.0, 3.0, 0.75]))
    close(by_s, np.array(1.0)[()])
    slopes = tj.vmap(lambda x, s, t: tj.jvp(f, (x, s), (t, 0.0))[1], (0, None, 0))
    again = tj.grad(lambda t: np.sum(slopes(x, 3.0, t)))
    close(both(again, x), by_x)


# --- fusion -----------------------------------------------------------------------


def softmax(x):
    e = np.exp(x - x.max(axis=-1, keepdims=True))
    return e / e.sum(axis=-1, keepdims=True)


def layer_norm(x, g, b):
    centred = x - x.mean()
    return centred / np.sqrt((centred**2).mean() + 1e-5) * g + b


def attention(q, k, v):
    return softmax(q @ k.T / np.sqrt(q.shape[-1])) @ v


def log_likelihood(x, i):
    top = x.max()
    return x[i] - top - np.log(np.sum(np.exp(x - top)))


HEADS = np.linspace(-1, 1, 2 * 3 * 4 * 5, dtype=np.float32).reshape(2, 3, 4, 5)
ROWS = HEADS[0, :, :, 0]
LABELS = np.array([0, 3, 1])
KERNELS = {
    "softmax": (tj.vmap(softmax), (ROWS,), 1),
    "softmax of matrices": (tj.vmap(tj.vmap(softmax)), (HEADS,), 1),
    "layer norm": (tj.vmap(layer_norm, (0, None, None)), (ROWS, ROWS[0], ROWS[1]), 1),
    "attention": (tj.vmap(attention), (HEADS[0],) * 3, 1),
    "heads of attention": (tj.vmap(tj.vmap(attention)), (HEADS,) * 3, 1),
    "log-likelihood": (tj.vmap(log_likelihood), (ROWS, LABELS), 1),
    "gradient of softmax": (
        tj.vmap(tj.grad(lambda x: np.sum(softmax(x) ** 2))),
        (ROWS,),
        1,
    ),
    "gradient of layer norm": (
        tj.vmap(
            tj.grad(lambda x, g, b: np.sum(layer_norm(x, g, b) ** 2)), (0, None, None)
        ),
        (ROWS, ROWS[0], ROWS[1]),
        1,
    ),
    "a layer": (tj.vmap(lambda x: np.tanh(ROWS @ x)), (HEADS[0, :, :, 0],), 1),
}


@pytest.mark.parametrize("name", KERNELS)
def test_fused_as_one_example_is(name):
    fn, args, count = KERNELS[name]
    jitted = tj.jit(fn)
    assert len(jitted.lower(*args).kernels) == count
    np.testing.assert_allclose(jitted(*args), fn(*args), rtol=2e-5, atol=1e-6)


# --- errors -----------------------------------------------------------------------


def message(error, fn, *args):
    """Call eagerly and jitted; both raise `error` with one text."""
    texts = []
    for f in (fn, tj.jit(fn)):
        with pytest.raises(error) as caught:
            f(*args)
        texts.append(str(caught.value))
    assert texts[0] == texts[1]
    assert re.search(r"at \S*test_vmap.py:\d+", texts[0])
    return texts[0]


@pytest.mark.parametrize(
    "f",
    [
        lambda x: x if np.sum(x) > 0 else -x,
        tj.grad(lambda x: np.sum(x) if np.sum(x) > 0 else -np.sum(x)),
        lambda x: tj.vmap(lambda y: y if x[0] > y else -y)(x),
        lambda x: [np.sum(x)] * int(x[0]),
        lambda x: np.zeros(np.argmax(x)),
    ],
)
def test_a_mapped_value_has_no_single_truth(f):
    text = message(ConcretizationError, tj.vmap(f), X)
    assert "which has no single truth under vmap" in text
    assert "np.where" in text
    assert "tj.cond" in text


@pytest.mark.parametrize(
    "f",
    [
        lambda x, s: tj.vmap(lambda v: v if s[0] > 0 else -v)(x),
        lambda x, s: tj.vmap(lambda v, s: v if s[0] > 0 else -v, (0, None))(x, s),
    ],
)
def test_what_is_shared_is_not_blamed_on_vmap(f):
    close(f(X, Y[0]), X)
    with pytest.raises(ConcretizationError, match="only when the compiled function"):
        tj.jit(f)(X, Y[0])


def test_shared_arrays_are_indexed_by_mapped_values():
    f = tj.vmap(lambda table, i: table[i] + table[:, i], (None, 0))
    index = np.array([1, 0, 2])
    close(both(f, A[0], index), np.stack([A[0][i] + A[0][:, i] for i in index]))


def test_sizes_that_differ():
    f = tj.vmap(lambda params, y: y, in_axes=(0, 1))
    text = message(ShapeError, f, {"w": X, "b": np.ones(4)}, Y)
    assert "params['w'] of f64[4,3] has 4 along axis 0" in text
    assert "params['b'] of f64[4] has 4 along axis 0" in text
    assert "y of f64[4,3] has 3 along axis 1" in text
    text = message(ShapeError, tj.vmap(lambda *xs: xs, axis_size=5), X)
    assert "args[0] of f64[4,3] has 4 along axis 0; axis_size is 5" in text


@pytest.mark.parametrize("axis", [2, -3])
def test_axes_out_of_range(axis):
    text = message(ShapeError, tj.vmap(lambda y, x: x, in_axes=(None, axis)), W, X)
    assert f"map x along axis {axis}, but it has 2 axes: its shape is (4, 3)" in text
    text = message(ShapeError, tj.vmap(lambda x: {"a": x}, out_axes=axis), X)
    assert "the result['a'] of one example is f64[3]; out_axes cannot put" in text
    with pytest.raises(ShapeError, match="x along axis 0, but it has 0 axes"):
        tj.vmap(lambda x: x)(np.float64(1.0))


def test_nothing_to_map():
    assert "no mapped argument" in message(TraceError, tj.vmap(lambda x: x, None), X)
    with pytest.raises(TraceError, match="no mapped argument"):
        tj.vmap(lambda n: n)(3)


@pytest.mark.parametrize(
    ("in_axes", "text"),
    [
        ((0,), "in_axes is (0,), which does not have the form of the arguments: a tu"),
        (
            (0, {"b": 0}),
            "in_axes[1] is {'b': 0}, which does not have the form of the a",
        ),
        (
            ({"a": 0}, 0),
            "in_axes[0] is {'a': 0}, which does not have the form of the a",
        ),
        ((0, {"a": (0,)}), "in_axes[1]['a'] is (0,)"),
        ((0, [0]), "the arguments[1]: a dict with a"),
    ],
)
def test_axes_of_another_form(in_axes, text):
    f = tj.vmap(lambda x, y: x, in_axes)
    assert text in message(TraceError, f, X, {"a": Y})


def test_results_of_another_form():
    f = tj.vmap(lambda x: {"a": x}, out_axes=(0,))
    text = message(TraceError, f, X)
    assert (
        "out_axes is (0,), which does not have the form of the result: a dict" in text
    )
    text = message(TraceError, tj.vmap(lambda x: (x, W), out_axes=None), X)
    assert "the result[0] depends on the mapped arguments" in text


@pytest.mark.parametrize("axes", ["0", 1.5, True, (0, [None, "x"])])
def test_entries_that_are_no_axes(axes):
    with pytest.raises(TypeError, match="not an int, None or a container of these"):
        tj.vmap(lambda x: x, in_axes=axes)
    with pytest.raises(TypeError, match="out_axes"):
        tj.vmap(lambda x: x, out_axes=axes)


def test_writes_into_arguments_and_values_around():
    def into_argument(x):
        x[0] = 1
        return x

    text = message(TraceError, tj.vmap(into_argument), X)
    assert "argument of a mapped function" in text

    def into_outer(x):
        total = np.zeros(3)
        total[:] = x[0]

        def body(v):
            total[:] = v
            return v

        return tj.vmap(body)(x)

    with pytest.raises(TraceError, match="belongs to the trace around 'body'"):
        tj.jit(into_outer)(X)


def test_results_that_are_no_arrays():
    with pytest.raises(DTypeError):
        tj.vmap(lambda x: "text")(X)


def test_one_example_fails():
    """Indices are checked as NumPy checks them, in all examples."""
    f = tj.vmap(lambda x, i: x[i])
    index = np.array([0, 1, 3, 2])
    for g in (f, tj.jit(f)):
        with pytest.raises(IndexError):
            g(X, index)
