"""Primitives of the user's own: eager, compiled, differentiated."""

import numpy as np
import pytest

import tracejit as tj
from tracejit.callback import ShapeDtype
from tracejit.errors import DTypeError, ShapeError, TraceError
from tracejit.ir.primitive import REGISTRY

X = np.linspace(0.2, 1.7, 6).reshape(2, 3)


@pytest.fixture
def register():
    """`register_primitive`, with names that are taken back at the end."""
    made = []

    def one(*args, **kwargs):
        made.append(tj.register_primitive(*args, **kwargs))
        return made[-1]

    yield one
    for p in made:
        p.unregister()


def softsign(register, **more):
    return register(
        "test.softsign",
        lambda x, k: x / (k + np.abs(x)),
        partials=[
            lambda g, out, x, k: g * k / (k + np.abs(x)) ** 2,
            lambda g, out, x, k: -g * out / (k + np.abs(x)),
        ],
        **more,
    )


def lowered(register):
    def softplus(x):
        return np.log1p(np.exp(x))

    return register("test.softplus", softplus, lambda x: x, lowering=softplus)


def running_sum(register):
    def transpose(ct, x, axis):
        return np.flip(np.cumsum(np.flip(ct, axis), axis), axis)

    return register(
        "test.running_sum",
        lambda x, axis: np.cumsum(x, axis),
        lambda x, axis: x,
        params={"axis": int},
        transpose=transpose,
    )


def normed(register):
    def jvp(primals, tangents):
        (x,), (t,) = primals, tangents
        norm = np.sqrt(np.sum(x * x))
        dnorm = np.sum(x * t) / norm
        return t / norm - x * dnorm / norm**2, dnorm

    def impl(x):
        norm = np.sqrt(np.sum(x * x))
        return x / norm, norm

    return register(
        "test.normed", impl, lambda x: (x, ShapeDtype((), x.dtype)), jvp=jvp
    )


def scaled_rows(register):
    """Linear in the first operand alone."""
    return register(
        "test.scaled_rows",
        lambda x, s: x * s[:, None],
        lambda x, s: x,
        transpose=lambda ct, x, s: ct * s[:, None],
        linear_in=(0,),
    )


PROGRAMS = {
    "partials": (softsign, lambda p, x: np.sum(np.sin(p(x * 2, 3.0)) + p(x, x[0]))),
    "lowering": (lowered, lambda p, x: np.sum(np.sin(p(x * 2)) * x)),
    "transpose": (running_sum, lambda p, x: np.sum(np.sin(p(x, axis=1)) ** 2)),
    "jvp": (normed, lambda p, x: np.sum(p(x)[0] * np.arange(3.0) + p(x)[1])),
    "linear_in": (scaled_rows, lambda p, x: np.sum(p(np.sin(x), np.arange(2.0)) ** 2)),
}


def differences(f, x, h=1e-6):
    out = np.zeros_like(x)
    for i in np.ndindex(x.shape):
        step = np.zeros_like(x)
        step[i] = h
        out[i] = (f(x + step) - f(x - step)) / (2 * h)
    return out


@pytest.mark.parametrize("name", PROGRAMS)
def test_eager_compiled_and_differentiated(register, name):
    make, program = PROGRAMS[name]
    p = make(register)
    f = lambda x: program(p, x)  # noqa: E731
    np.testing.assert_allclose(tj.jit(f)(X), f(X), rtol=1e-12)
    gradient = tj.grad(f)
    np.testing.assert_allclose(gradient(X), differences(f, X), rtol=1e-6, atol=1e-8)
    np.testing.assert_allclose(tj.jit(gradient)(X), gradient(X), rtol=1e-10, atol=1e-12)
    weigh = lambda x: np.sum(gradient(x) * np.cos(np.arange(6.0).reshape(2, 3)))  # noqa: E731
    second = tj.grad(weigh)(X)
    np.testing.assert_allclose(second, differences(weigh, X), rtol=1e-5, atol=1e-7)
    np.testing.assert_allclose(tj.jit(tj.grad(weigh))(X), second, rtol=1e-9, atol=1e-11)


def test_lowering_fuses(register):
    p = lowered(register)
    f = tj.jit(lambda x: np.exp(p(x + 1)) * 2)
    made = f.lower(X)
    assert len(made.program.steps) == len(made.kernels) == 1
    assert "test.softplus" in made.recording.graph.eqns[1].primitive.name


def test_without_lowering_python_runs_in_between(register):
    p = softsign(register)
    made = tj.jit(lambda x: np.exp(p(x + 1, 1.0)) * 2).lower(X)
    assert [type(s).__name__ for s in made.program.steps] == ["Run", "Extern", "Run"]


def test_scalars_promote_as_in_numpy(register):
    p = softsign(register)
    x = X.astype(np.float32)
    for f in (p, tj.jit(p)):
        assert f(x, 2).dtype == np.float32
        assert f(1.0, 2.0) == np.float64(1 / 3)
        assert f(x, X).dtype == np.float64
        assert f(x, x[0]).shape == (2, 3)


def test_rule_may_use_custom_functions(register):
    double = tj.custom_jvp(lambda x: x * 2)
    double.defjvp(lambda p, t: (double(*p), t[0] * 7))
    p = register("test.double", lambda x: 2 * x, lambda x: x, lowering=double)
    assert tj.grad(lambda x: p(x))(1.0) == 7


def test_results_are_checked(register):
    p = register("test.short", lambda x: x[:1], lambda x: x)
    for f in (p, tj.jit(p), tj.grad(lambda x: p(x).sum())):
        with pytest.raises(ShapeError, match=r"impl of primitive .* gave") as e:
            f(X)
        assert "float64[1, 3]" in str(e.value)
        assert "float64[2, 3]" in str(e.value)


def test_derivatives_are_checked(register):
    wrong = lambda g, out, x: (g * x).astype(np.float32)  # noqa: E731
    p = register("test.wrong", np.square, partials=[wrong])
    with pytest.raises(DTypeError, match="is of float32, not float64"):
        tj.grad(lambda x: np.sum(p(x)))(X)
    q = register("test.wrong_jvp", np.square, lambda x: x, jvp=lambda p, t: t[0].sum())
    with pytest.raises(ShapeError, match=r"the jvp of primitive .* gives"):
        tj.grad(lambda x: np.sum(q(x)))(X)


def test_rules_close_over_no_traced_value(register):
    def f(x, c):
        p = register("test.closure", np.sin, partials=[lambda g, out, x: g * c])
        return np.sum(p(x))

    with pytest.raises(TraceError, match="used after its trace ended"):
        tj.grad(f, (0, 1))(X, X)


def test_declarations_are_checked(register):
    with pytest.raises(TraceError, match="'exp' is registered already"):
        register("exp", np.exp, lambda x: x)
    with pytest.raises(TraceError, match="no name of a primitive"):
        register("two words", np.exp, lambda x: x)
    with pytest.raises(TraceError, match="has no abstract_eval"):
        register("test.none", np.exp)
    with pytest.raises(TraceError, match="more than one of"):
        register("test.both", np.exp, lambda x: x, jvp=np.exp, transpose=np.exp)
    with pytest.raises(TraceError, match="not one of bool, int"):
        register("test.param", np.exp, lambda x: x, params={"a": list})
    p = running_sum(register)
    with pytest.raises(TypeError, match=r"takes the keywords \['axis'\], not \[\]"):
        p(X)
    assert "exp" in REGISTRY
    assert not [n for n in REGISTRY if n.startswith("test.") and n != p.__name__]


# --- batches ----------------------------------------------------------------------


def rolled(register, **more):
    """Written for one row, linear, with a keyword that is an axis from the front."""
    return register(
        "test.rolled",
        lambda x, axis: np.roll(x, 1, axis),
        lambda x, axis: x,
        params={"axis": int},
        transpose=lambda ct, x, axis: np.roll(ct, -1, axis),
        **more,
    )


def total(register, **more):
    """The sum over the last axis, for any number of axes in front."""
    return register(
        "test.total",
        lambda x, y: np.sum(x * y, axis=-1),
        lambda x, y: ShapeDtype(x.shape[:-1], x.dtype),
        jvp=lambda p, t: np.sum(t[0] * p[1] + p[0] * t[1], axis=-1),
        **more,
    )


MODES = pytest.mark.parametrize("wrap", [lambda f: f, tj.jit], ids=["eager", "jit"])
XS = np.stack([X, X + 0.3, X * 2, X[::-1]])


@MODES
@pytest.mark.parametrize("name", PROGRAMS)
def test_batches_that_follow_from_the_rest(register, name, wrap):
    """Elementwise, through the lowering, or one example after the other."""
    make, program = PROGRAMS[name]
    p = make(register)
    f = lambda x: program(p, x)  # noqa: E731
    got = wrap(tj.vmap(f))(XS)
    np.testing.assert_allclose(got, [f(x) for x in XS], rtol=1e-12)
    gradients = [tj.grad(f)(x) for x in XS]
    for gradient in (tj.vmap(tj.grad(f)), tj.grad(lambda xs: tj.vmap(f)(xs).sum())):
        np.testing.assert_allclose(wrap(gradient)(XS), gradients, rtol=1e-9, atol=1e-11)
    nested = wrap(tj.vmap(tj.vmap(f)))(np.stack([XS, 2 * XS]))
    np.testing.assert_allclose(nested, [[f(k * x) for x in XS] for k in (1, 2)])
    shared = wrap(tj.vmap(lambda k, x: k * f(x), (0, None)))(np.arange(3.0), X)
    np.testing.assert_allclose(shared, np.arange(3) * f(X))


@MODES
def test_batch_of_some_operands(register, wrap):
    p = total(register)
    f = wrap(tj.vmap(p, (None, 0)))
    np.testing.assert_allclose(f(X[0], XS[:, 0]), [p(X[0], y) for y in XS[:, 0]])
    f = wrap(tj.vmap(p, (0, None)))
    np.testing.assert_allclose(f(XS, X), [p(x, X) for x in XS])


@MODES
def test_batch_rule(register, wrap):
    seen = []

    def batch(axis_size, in_batched, x, axis):
        seen.append((axis_size, in_batched, x.shape, axis))
        return p(x, axis=axis + 1), True

    p = rolled(register, batch=batch)
    f = lambda x: p(x, axis=0)  # noqa: E731
    np.testing.assert_array_equal(wrap(tj.vmap(f))(XS), np.roll(XS, 1, axis=1))
    assert seen == [(4, [True], (4, 2, 3), 0)]
    double = wrap(tj.vmap(tj.vmap(f)))(XS)  # rows of three, rolled by one
    np.testing.assert_array_equal(double, np.roll(XS, 1, axis=2))
    weigh = lambda xs: np.sum(tj.vmap(f)(xs) * XS)  # noqa: E731
    np.testing.assert_array_equal(wrap(tj.grad(weigh))(XS), np.roll(XS, -1, axis=1))


def test_leading_axes_are_one_call(register):
    calls = []

    def impl(x, y):
        calls.append(x.shape)
        return np.sum(x * y, axis=-1)

    p = register(
        "test.counted",
        impl,
        lambda x, y: ShapeDtype(x.shape[:-1], x.dtype),
        batch="leading axes",
    )
    f = tj.jit(tj.vmap(p, (0, None)))
    np.testing.assert_allclose(f(XS[:, 0], X[0]), XS[:, 0] @ X[0])
    assert calls == [(4, 3)]


def test_results_that_are_the_same_for_all_examples(register):
    p = register(
        "test.shape",
        lambda x: (x, np.float64(x.size)),
        lambda x: (x, ShapeDtype((), np.float64)),
        batch=lambda n, batched, x: ((x, np.float64(x.size / n)), (True, False)),
    )
    got = tj.vmap(p)(XS)
    np.testing.assert_array_equal(got[0], XS)
    np.testing.assert_array_equal(got[1], [6.0] * 4)


@MODES
def test_batch_rules_are_checked(register, wrap):
    p = total(register, batch=lambda n, batched, x, y: (np.sum(x * y), True))
    with pytest.raises(ShapeError) as info:
        wrap(tj.vmap(p))(XS, XS)
    words = "the batch rule of primitive 'test.total' gives f64[] for 4 examples"
    assert words in str(info.value)
    assert "but the function gives f64[2] for one" in str(info.value)
    assert "it is to give f64[4,2]" in str(info.value)
    assert "test_primitives.py:" in info.value.source
    with pytest.raises(TraceError, match="is 'rows', neither a function nor"):
        register("test.word", np.exp, lambda x: x, batch="rows")
