"""Values, tangents and cotangents agree with JAX in float64, program by program.

Programs of `tests.programs` run in JAX from the same text, with ``jax.numpy`` in place
of ``numpy``; those that write in place cannot. Those of `peers.programs` take the
module. JAX comes with the extra `bench` only; its eager dispatch takes a minute or two.
"""

import inspect
import types

import numpy as np
import pytest

import tracejit as tj
from tests.programs.registry import MODULES, PROGRAMS

from .programs import PAIRED

jax = pytest.importorskip("jax")
pytestmark = pytest.mark.slow

# Programs of tests.programs that JAX runs, and that are smooth at their arguments.
SHARED = [
    "kmeans_step",
    "pca_power_iteration",
    "logistic_newton_step",
    "gaussian_mixture_step",
    "lstm_step",
    "attention_einsum",
    "attention_causal",
    "layer_norm",
    "layer_norm_backward",
    "embedding_bag",
    "adam",
    "clipped_momentum",
    "lasso_ista",
    "lbfgs_direction",
    "sobel_captured_kernel",
    "warp_affine",
    "spectral_peak",
    "black_scholes",
    "max_drawdown",
    "minimum_variance_portfolio",
    "matrix_exponential",
    "jacobi_solver",
    "conjugate_gradient",
    "kalman_filter",
    "pagerank",
    "returns_views",
    "returns_views_of_transposed",
    "returns_reshaped",
    "returns_reshaped_transposed",
    "moves_points",
    "keywords_and_defaults",
    "scalar_arithmetic",
    "promotes_dtypes",
    "empty_and_single",
    "splits_and_stacks",
]
RTOL = 1e-9  # of the largest element of a leaf


@pytest.fixture(autouse=True, scope="module")
def double_precision():
    before = jax.config.jax_enable_x64
    jax.config.update("jax_enable_x64", True)
    yield
    jax.config.update("jax_enable_x64", before)


def in_jax(name):
    """Return a program's function with ``jax.numpy`` as its ``np``."""
    fn = PROGRAMS[name].fn
    module = next(m for m in MODULES if m.__name__ == fn.__module__)
    source = inspect.getsource(module)
    assert "import numpy as np" in source
    clone = types.ModuleType(module.__name__)
    clone.__package__ = module.__package__
    clone.__file__ = module.__file__
    text = source.replace("import numpy as np", "import jax.numpy as np")
    exec(compile(text, module.__file__, "exec"), clone.__dict__)
    return getattr(clone, fn.__name__)


def is_inexact(x):
    return isinstance(x, float) or getattr(x, "dtype", np.dtype(int)).kind in "fc"


def flattened(fn, args, kwargs):
    """Return `fn` of its float leaves, to the float leaves of its result, and those."""
    leaves, tree = jax.tree.flatten((args, kwargs))
    active = [i for i, x in enumerate(leaves) if is_inexact(x)]

    def flat(*values):
        full = list(leaves)
        for i, x in zip(active, values, strict=True):
            full[i] = x
        new_args, new_kwargs = jax.tree.unflatten(tree, full)
        return [
            x for x in jax.tree.leaves(fn(*new_args, **new_kwargs)) if is_inexact(x)
        ]

    return flat, [np.asarray(leaves[i]) for i in active]


def random_like(rng, x):
    out = rng.normal(size=np.shape(x))
    if np.asarray(x).dtype.kind == "c":
        out = out + 1j * rng.normal(size=np.shape(x))
    return np.asarray(out, np.asarray(x).dtype)


def assert_close(got, want, what):
    assert len(got) == len(want), what
    for g, w in zip(got, want, strict=True):
        g, w = np.asarray(g), np.asarray(w)
        assert g.shape == w.shape, what
        scale = np.max(np.abs(w), initial=1e-3)
        np.testing.assert_allclose(g, w, rtol=RTOL, atol=RTOL * scale, err_msg=what)


def compare(ours, theirs, xs):
    """Compare values, one direction forward, and one direction back."""
    rng = np.random.default_rng(5)
    tangents = [random_like(rng, x) for x in xs]
    out, tangent = tj.jvp(ours, xs, tangents)
    their_out, their_tangent = jax.jvp(theirs, xs, tangents)
    assert_close(out, their_out, "values")
    assert_close(tangent, their_tangent, "tangents")
    weights = [random_like(rng, x) for x in out]
    got = tj.vjp(ours, *xs)[1](weights)
    want = jax.vjp(theirs, *xs)[1](weights)
    assert_close(got, want, "cotangents")


@pytest.mark.parametrize("name", SHARED)
def test_shared_program(name):
    call = PROGRAMS[name].fresh_args(np.dtype(np.float64))
    ours, xs = flattened(PROGRAMS[name].fn, call.args, call.kwargs)
    theirs, _ = flattened(in_jax(name), call.args, call.kwargs)
    compare(ours, theirs, xs)


@pytest.mark.parametrize("name", PAIRED)
def test_paired_program(name):
    fn, args = PAIRED[name]
    ours, xs = flattened(lambda *a: fn(np, *a), args, {})
    theirs, _ = flattened(lambda *a: fn(jax.numpy, *a), args, {})
    compare(ours, theirs, xs)


@pytest.mark.parametrize("name", ["gpt_block", "grouped_attention"])
def test_compiled_gradients_of_attention(name):
    fn, args = PAIRED[name]
    ours, xs = flattened(lambda *a: fn(np, *a), args, {})
    theirs, _ = flattened(lambda *a: fn(jax.numpy, *a), args, {})
    places = tuple(range(len(xs)))
    got = tj.jit(tj.grad(lambda *a: np.sum(np.sin(ours(*a)[0])), argnums=places))(*xs)
    want = jax.grad(lambda *a: jax.numpy.sin(theirs(*a)[0]).sum(), argnums=places)(*xs)
    assert_close(got, want, "gradients")


def test_there_are_enough_programs():
    assert len(SHARED) + len(PAIRED) >= 60
