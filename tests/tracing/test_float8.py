"""float8 arrays in traced functions: NumPy's values and dtypes, with ml_dtypes's."""

import ml_dtypes
import numpy as np
import pytest

import tracejit as tj
from tracejit.cli.args import parse_argument
from tracejit.errors import DTypeError, UnsupportedError
from tracejit.ir import dtypes as dt
from tracejit.ir.interp import evaluate
from tracejit.ir.parser import parse_graph
from tracejit.ir.printer import format_graph

FLOAT8S = [dt.FLOAT8_E4M3FN, dt.FLOAT8_E5M2]
RNG = np.random.default_rng(4)
WIDE = RNG.standard_normal((8, 16)).astype(np.float32)
INDEX = np.array([3, 1, 1, 7])
pytestmark = [
    pytest.mark.parametrize("dtype", FLOAT8S, ids=dt.dtype_name),
    pytest.mark.filterwarnings("ignore::RuntimeWarning"),
]

# Of x and y, float8, and f, float32.
EXPRESSIONS = """
x; x.T; x.reshape(16, 8)[1:, ::2]; x[:, ::-1]; x[2]; x[1, 2]; x[INDEX]; np.diag(x)
x.ravel(); np.moveaxis(x, 0, 1); np.broadcast_to(x[0], (3, 16)); np.expand_dims(x, 1)
np.take(x, INDEX, axis=1); np.take_along_axis(x, np.argsort(x, 1), 1)
np.where(x > 0, x, y); np.where(f > 0, x, y); np.concatenate([x, y]); np.stack([x, y])
np.pad(x, 1); np.roll(x, 3); np.flip(x); np.tile(x, 2); np.repeat(x, 2, axis=0)
np.tril(x); np.zeros(3, x.dtype); np.ones_like(x); np.full(3, 2, x.dtype); x.copy()
x == y; x != y; x < y; x >= y; np.isnan(x); np.isfinite(x); np.isinf(x); np.signbit(x)
x + y; x - y; x * y; x / y; -x; abs(x); x * 2; x * 2.5; x + f; f - x; x + np.float32(1)
x + f.astype('f2'); x + f.astype('f8'); x * f.astype('i1'); x * f.astype('i4'); x ** 2
x * f.astype(ml_dtypes.bfloat16); x + f.astype('c8'); x[0, 0] * x; np.maximum(x, y)
np.exp(x); np.sqrt(abs(x)); np.sign(x); np.floor(x); np.tanh(x); np.reciprocal(x)
np.deg2rad(x); np.radians(x); np.nextafter(x, y); np.spacing(x); np.arctan2(x, y)
abs(x) ** 0.5; np.fmod(x, y)
np.remainder(x, y); np.copysign(x, y); np.logaddexp(x, y); np.fmin(x, y)
np.max(x); np.min(x, axis=0); np.argmax(x, axis=1); np.argmin(x); np.any(x); np.all(x)
np.sort(x, axis=1); np.argsort(x[0]); np.cumsum(x, axis=1); np.count_nonzero(x)
np.nanmax(np.where(x > 1, x.dtype.type(np.nan), x), axis=1)
np.nanmin(np.where(x > 1, x.dtype.type(np.nan), x)); np.maximum.accumulate(x, axis=1)
np.clip(x, -1, 1); np.round(x, 1); np.round(x); np.nan_to_num(x); np.outer(x[0], y[0])
x.astype('f4').sum(axis=1); np.sum(x, dtype='f4'); x @ y.T; np.dot(x, y.T); x @ f.T
np.inner(x, y); np.tensordot(x, y.T, 1); np.vdot(x, y); np.linalg.norm(x); x.size
"""


def assert_same(found, expected, what):
    found, expected = np.asarray(found), np.asarray(expected)
    assert (found.dtype, found.shape) == (expected.dtype, expected.shape), what
    kind = np.complex128 if expected.dtype.kind == "c" else np.float64
    wide = found.astype(kind), expected.astype(kind)
    rtol = 1e-6 if expected.dtype.itemsize > 1 else 0
    # Terms of a product cancel: its errors are relative to the terms, not to the sum.
    finite = np.abs(wide[1][np.isfinite(wide[1])])
    atol = rtol * finite.max(initial=0) if "@" in what else 0
    np.testing.assert_allclose(*wide, rtol=rtol, atol=atol, err_msg=what)


def test_expressions(dtype):
    texts = [t.strip() for line in EXPRESSIONS.split("\n") for t in line.split(";")]
    names = {"np": np, "INDEX": INDEX, "ml_dtypes": ml_dtypes}
    x, y = WIDE.astype(dtype), WIDE[::-1].astype(dtype)
    functions = [eval(f"lambda x, y, f: {text}", names) for text in texts if text]

    def every(x, y, f):
        return [function(x, y, f) for function in functions]

    found, expected = tj.jit(every)(x, y, WIDE), every(x, y, WIDE)
    rows = zip(filter(None, texts), found, expected, strict=True)
    for text, one, other in rows:
        assert_same(one, other, text)


def test_writes(dtype):
    def written(x, i):
        x[1:3] = 7
        x[0] = x[5]
        x[4] *= 2
        y = x.copy()
        y[i] = 3
        np.add.at(y, i, 1)
        return x[:, 2:], y

    ours, theirs = WIDE.astype(dtype), WIDE.astype(dtype)
    found, expected = tj.jit(written)(ours, INDEX), written(theirs, INDEX)
    for one, other in zip(found, expected, strict=True):
        assert_same(one, other, "a written array")
    assert_same(ours, theirs, "the argument")
    assert np.shares_memory(found[0], ours)


def test_sums_are_close(dtype):
    x = WIDE.astype(dtype)
    for function in (np.sum, np.mean, np.std):
        found = tj.jit(lambda x, function=function: function(x, axis=1))(x)
        assert found.dtype == dtype
        wide = function(x.astype(np.float64), axis=1)
        np.testing.assert_allclose(found.astype(np.float64), wide, atol=1.5)


def test_captured_and_scalar(dtype):
    weights = WIDE.astype(dtype)
    function = tj.jit(lambda f, s: (f * weights, s * weights, s))
    found = function(WIDE, dtype.type(2))
    assert_same(found[0], WIDE * weights, "captured")
    assert_same(found[1], dtype.type(2) * weights, "scalar")
    assert type(found[2]) is dtype.type


def test_views_of_arguments_share_memory(dtype):
    x = WIDE.astype(dtype)
    view = tj.jit(lambda x: x.T[2:, ::-1])(x)
    assert np.shares_memory(view, x)
    assert_same(view, x.T[2:, ::-1], "a view")


def test_calls_again(dtype):
    """Later calls are native: scalars, views and arrays of their results."""
    function = tj.jit(lambda x: (x[0, 1], x[0, 1] * x, x.T, x.max()))
    for k in range(4):
        x = (WIDE * k).astype(dtype)
        found = function(x)
        for one, other in zip(found, (x[0, 1], x[0, 1] * x, x.T, x.max()), strict=True):
            assert type(one) is type(other)
            assert_same(one, other, f"call {k}")


def test_gradients_through_casts(dtype):
    """The cotangent is cast back; it is rounded as the value was."""
    x, w = WIDE, WIDE.astype(dtype)

    def loss(x, w):
        stored = x.astype(dtype)
        return ((stored.astype(np.float32) * w.astype(np.float32)) ** 2).sum()

    gx, gw = tj.jit(tj.grad(loss, argnums=(0, 1)))(x, w)
    stored, wide = x.astype(dtype).astype("f4"), w.astype("f4")
    assert gx.dtype == np.float32
    assert gw.dtype == dtype
    assert_same(gx, (2 * stored * wide * wide).astype(dtype).astype("f4"), "x")
    assert_same(gw, (2 * stored * stored * wide).astype(dtype), "w")
    plain = tj.grad(loss)(x, w)
    assert_same(plain, gx, "without jit")
    _, tangent = tj.jvp(lambda x: x.astype(dtype), (x,), (x * 3,))
    assert_same(tangent, (x * 3).astype(dtype), "tangent")


def test_gradients_of_running_maxima(dtype):
    x = WIDE.astype(dtype)
    one = tj.grad(lambda x: np.maximum.accumulate(x, axis=1).astype("f4").sum())(x)
    wide = tj.grad(lambda x: np.maximum.accumulate(x, axis=1).sum())(x.astype("f4"))
    np.testing.assert_allclose(one.astype("f4"), wide, rtol=0.3)


def test_vmap(dtype):
    def one(x, w):
        return x * w + np.where(x > 0, x, w), x.astype("f4") @ w.astype("f4"), x[::-1]

    x, w = WIDE.astype(dtype), WIDE[0].astype(dtype)
    found = tj.jit(tj.vmap(one, in_axes=(0, None)))(x, w)
    rows = [one(row, w) for row in x]
    for k, ours in enumerate(found):
        assert_same(ours, np.stack([row[k] for row in rows]), str(k))


def test_loops(dtype):
    def run(x):
        return tj.fori_loop(0, 5, lambda i, x: x * 2 - x.T.reshape(x.shape), x)

    assert_same(tj.jit(run)(WIDE.astype(dtype)), run(WIDE.astype(dtype)), "a loop")


def test_text(dtype):
    name = dt.dtype_name(dtype)
    constant = WIDE.astype(dtype)[0, :3]
    function = tj.jit(lambda x: x * np.where(x > 1.5, constant, x) + x.dtype.type(0.25))
    traced = function.trace(WIDE.astype(dtype)[:, :3])
    text = format_graph(traced.graph)
    assert f"{name}[8,3]" in text
    again = parse_graph(text)
    assert format_graph(again) == text
    assert again.key == traced.graph.key
    x = WIDE.astype(dtype)[:, :3]
    (found,) = evaluate(again, [x, constant][: len(again.invars)])
    assert_same(found, x * np.where(x > 1.5, constant, x) + dtype.type(0.25), "text")


def test_argument_on_the_command_line(dtype):
    _, value = parse_argument(f"{dt.dtype_name(dtype)}[8,16]")
    assert (value.dtype, value.shape) == (dtype, (8, 16))
    _, scalar = parse_argument(f"x={dt.dtype_name(dtype)}")
    assert type(scalar) is dtype.type


def test_what_numpy_has_not_is_an_error(dtype):
    x = WIDE.astype(dtype)
    with pytest.raises(UnsupportedError, match=r"np.einsum of float8.*\n.*test_float8"):
        tj.jit(lambda x: np.einsum("ij,kj", x, x))(x)
    with pytest.raises(TypeError, match="bitwise_and"):
        tj.jit(lambda x: x & x)(x)
    with pytest.raises(DTypeError, match="float8_e4m3fnuz is not supported"):
        tj.jit(lambda x: x)(WIDE.astype(ml_dtypes.float8_e4m3fnuz))
    with pytest.raises(DTypeError, match="dtype"):
        tj.random.uniform(tj.random.key(0), (3,), dtype=dtype)
