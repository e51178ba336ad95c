"""`tj.scipy.special` beside SciPy: values, dtypes, derivatives; and without SciPy."""

import subprocess
import sys

import numpy as np
import pytest
import scipy.special

import tracejit as tj
from tracejit.scipy import special
from tracejit.tracing.functions.special import FORMULAS
from tracejit.tracing.scipy_names import COUNTERPARTS

RNG = np.random.default_rng(0)
EDGES = np.array([0.0, -0.0, 1.0, 0.5, -1.0, 2.0, 1e-300, 1e300, np.inf, np.nan])
X = np.concatenate([EDGES, RNG.random(40), RNG.normal(size=40) * 4])
Y = RNG.permutation(X)
ROUNDING = {np.float32: 3e-6, np.float64: 2e-14}


def operands(name, dtype):
    count = getattr(scipy.special, name).nin
    with np.errstate(over="ignore", under="ignore"):
        return [v.astype(dtype) for v in (X, Y)[:count]]


@pytest.mark.parametrize("dtype", ROUNDING)
@pytest.mark.parametrize("name", FORMULAS)
def test_formulas_give_scipys_values(name, dtype):
    ufunc, args = getattr(scipy.special, name), operands(name, dtype)
    with np.errstate(all="ignore"):
        want = ufunc(*args)
    got = tj.jit(lambda *a: getattr(special, name)(*a))(*args)
    assert got.dtype == want.dtype == dtype
    # What is a difference of numbers this large is as precise as they are.
    largest = sum(np.abs(np.where(np.isfinite(a), a, 0)) for a in args)
    atol = ROUNDING[dtype] * (largest if name in ("kl_div", "rel_entr") else 0)
    same = (got == want) | (np.isnan(got) & np.isnan(want))
    with np.errstate(all="ignore"):
        close = np.abs(got - want) <= ROUNDING[dtype] * np.abs(want) + atol
    bad = ~(same | close)
    assert not bad.any(), [(a[bad], got[bad], want[bad]) for a in args]


@pytest.mark.parametrize("name", FORMULAS)
def test_formulas_fuse(name):
    args = [np.linspace(0.1, 0.9, 16).astype(np.float32)] * (
        getattr(scipy.special, name).nin
    )
    f = tj.jit(lambda *a: getattr(special, name)(*a) * 2 + 1)
    assert len(f.lower(*args).kernels) == 1


def test_ufuncs_are_scipys():
    assert special.gammaln is scipy.special.gammaln
    assert special.digamma is scipy.special.digamma
    assert special.sinc is np.sinc
    missing = [n for n in special.__all__ if not hasattr(special, n)]
    assert not missing
    with pytest.raises(AttributeError, match="has the ufuncs of"):
        _ = special.comb


CALLS = {
    "logsumexp": lambda s, x, y: s.logsumexp(x),
    "logsumexp, rows": lambda s, x, y: s.logsumexp(x, axis=1, keepdims=True),
    "logsumexp, factors": lambda s, x, y: s.logsumexp(x, axis=0, b=y),
    "logsumexp, sign": lambda s, x, y: s.logsumexp(x, 1, b=x, return_sign=True),
    "softmax": lambda s, x, y: s.softmax(x, axis=1),
    "softmax of all": lambda s, x, y: s.softmax(x),
    "log_softmax": lambda s, x, y: s.log_softmax(x, axis=0),
    "polygamma": lambda s, x, y: s.polygamma(2, y),
    "digamma": lambda s, x, y: s.polygamma(0, y),
    "zeta": lambda s, x, y: s.zeta(2.5, y),
    "multigammaln": lambda s, x, y: s.multigammaln(y + 1, 3),
    "expn": lambda s, x, y: s.expn(3, y),
    "expn of 0": lambda s, x, y: s.expn(0, y),
    "log_ndtr": lambda s, x, y: s.log_ndtr(8 * x),
    "gammainc": lambda s, x, y: s.gammainc(1.5, y),
    "betainc": lambda s, x, y: s.betainc(1.5, 2.5, y / 4),
    "i1e": lambda s, x, y: s.i1e(x),
}
A, B = RNG.normal(size=(3, 4)), RNG.uniform(0.5, 3, (3, 4))


def leaves(x):
    return list(x) if isinstance(x, tuple) else [x]


@pytest.mark.parametrize("name", CALLS)
def test_calls(name):
    call = CALLS[name]
    want = leaves(call(scipy.special, A, B))
    for got in (call(special, A, B), tj.jit(lambda x, y: call(special, x, y))(A, B)):
        for g, w in zip(leaves(got), want, strict=True):
            assert g.shape == w.shape
            assert g.dtype == w.dtype
            np.testing.assert_allclose(g, w, rtol=1e-12, atol=1e-14)

    def smooth(x, y):
        return leaves(call(special, x, y))[0]

    tj.testing.check_grads(smooth, (A, B), order=2, directions=1, rtol=1e-4)
    each = tj.vmap(lambda x, y: smooth(x[None], y[None]))(A, B)
    one = [smooth(x[None], y[None]) for x, y in zip(A, B, strict=True)]
    np.testing.assert_allclose(each, one, rtol=1e-12, atol=1e-14)


def test_ends_of_derivatives():
    """∂ log Φ(x) is -x far to the left, and 0 to the right."""
    x = np.array([-1e5, -30.0, 50.0])
    slope = tj.grad(lambda x: np.sum(special.log_ndtr(x)))(x)
    np.testing.assert_allclose(slope[0], 1e5, rtol=1e-9)
    np.testing.assert_allclose(slope[1], 30.0333, rtol=1e-5)
    assert slope[2] == 0
    for name, at in (("logit", 0.5), ("xlogy", 0.0), ("entr", 0.5), ("expit", -1e4)):
        args = [np.array([at])] + [np.array([2.0])] * (name == "xlogy")
        f = getattr(special, name)
        gradient = tj.grad(lambda *a, f=f: np.sum(f(*a)))(*args)
        assert np.isfinite(gradient).all()


@pytest.mark.parametrize(
    "name", ["logsumexp", "softmax", "log_softmax", "polygamma", "multigammaln"]
)
def test_scipys_own_functions_name_what_traces(name):
    own = getattr(scipy.special, name)

    def f(x):
        return own(1, x) if name == "polygamma" else own(x, 1)

    with pytest.raises(tj.errors.UnsupportedError) as error:
        tj.jit(f)(A)
    text = str(error.value)
    assert f"scipy.special.{name} is not traced" in text
    assert f"try: tj.scipy.special.{name}" in text
    assert f"at test_special.py:{f.__code__.co_firstlineno + 1}" in text


def test_names_in_errors_are_there():
    for module, names in COUNTERPARTS.items():
        ours = getattr(tj.scipy, module)
        assert set(names) <= set(ours.__all__)
        in_python = {
            n
            for n in ours.__all__
            if not isinstance(getattr(ours, n), np.ufunc) and n not in ("sinc", "kron")
        }
        assert in_python == set(names)


def test_orders_are_known():
    with pytest.raises(tj.errors.ArgumentError, match=r"the order is 1.5"):
        tj.jit(lambda x: special.polygamma(1.5, x))(A)


WITHOUT = """
import sys
sys.modules["scipy"] = None  # as if it were not installed
import numpy as np, tracejit as tj
from tracejit.scipy import linalg, special
x = np.linspace(0.1, 0.9, 5)
for f in (lambda x: special.erf(x) + special.xlogy(x, 2.0), special.logit,
          special.logsumexp, lambda x: linalg.solve(np.outer(x, x) + np.eye(5), x),
          lambda x: linalg.expm(np.outer(x, x)),
          lambda x: linalg.lu(np.outer(x, x))[2]):
    a, b = f(x), tj.jit(f)(x)
    np.testing.assert_allclose(a, b, rtol=1e-12, atol=1e-14)
    assert a.dtype == b.dtype == np.float64
assert special.erf(np.float32(0.5)).dtype == np.float32
assert special.expit(3).dtype == np.float64
assert tj.jit(special.erfc)(np.arange(3)).dtype == np.float64
try:
    special.gammaln(x)
except tj.errors.MissingPackageError as error:
    assert isinstance(error, ImportError)
    print(error)
"""


def test_multivariate_gammas_below_their_domain_raise():
    f = tj.jit(lambda a: special.multigammaln(a, 3))
    f(np.array([1.5, 2.0]))
    with pytest.raises(ValueError, match=r"above 1\.0"):
        f(np.array([1.5, 0.5]))


def test_without_scipy():
    done = subprocess.run(
        [sys.executable, "-W", "error", "-c", WITHOUT],
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr
    assert "tracejit.scipy.special.gammaln runs SciPy's compiled code" in done.stdout
    assert "try: pip install scipy" in done.stdout
