"""`tj.scipy.linalg` beside SciPy: every option, in both dtypes, differentiated."""

import re

import numpy as np
import pytest
import scipy.linalg

import tracejit as tj
from tracejit.errors import ArgumentError, MatrixError, UnsupportedError
from tracejit.ir.ops.linalg.lu import _eliminate
from tracejit.scipy import linalg

RNG = np.random.default_rng(0)
A, C = RNG.normal(size=(2, 4, 4))
P = A @ A.T + 4 * np.eye(4)
TALL, WIDE = RNG.normal(size=(5, 3)), RNG.normal(size=(3, 5))
B = RNG.normal(size=(4, 2))
V = B[:, 0]


def both(a):
    return a + a.T


# name -> (call, arguments, whether to check derivatives)
CALLS = {
    **{
        f"solve_triangular {t}{' lower' * low}{' unit' * unit}": (
            lambda m, a, b, t=t, low=low, unit=unit: m.solve_triangular(
                a, b, t, low, unit
            ),
            (P, B),
            t != 2,
        )
        for t in (0, "T", 2)
        for low in (False, True)
        for unit in (False, True)
    },
    "solve_triangular of a vector": (
        lambda m, a, b: m.solve_triangular(a, b),
        (P, V),
        True,
    ),
    "cholesky": (lambda m, a: m.cholesky(both(a)), (P,), True),
    "cholesky lower": (lambda m, a: m.cholesky(both(a), lower=True), (P,), True),
    "cho_solve": (lambda m, a, b: m.cho_solve(m.cho_factor(both(a)), b), (P, B), True),
    "cho_solve lower": (
        lambda m, a, b: m.cho_solve(m.cho_factor(both(a), lower=True), b),
        (P, V),
        True,
    ),
    "lu": (lambda m, a: m.lu(a), (A,), True),
    "lu of a tall matrix": (lambda m, a: m.lu(a), (TALL,), True),
    "lu of a wide matrix": (lambda m, a: m.lu(a), (WIDE,), True),
    "lu permuted": (lambda m, a: m.lu(a, permute_l=True), (A,), True),
    "lu indices": (lambda m, a: m.lu(a, p_indices=True), (TALL,), False),
    "lu_factor": (lambda m, a: m.lu_factor(a), (A,), False),
    **{
        f"lu_solve {t}": (
            lambda m, a, b, t=t: m.lu_solve(m.lu_factor(a), b, t),
            (A, B),
            t != 2,
        )
        for t in (0, 1, 2)
    },
    **{
        f"solve {kind}": (
            lambda m, a, b, kind=kind: m.solve(a, b, assume_a=kind, lower=True),
            (P, B),
            True,
        )
        for kind in (None, "pos", "sym", "her", "upper triangular", "lower triangular")
    },
    "solve transposed": (lambda m, a, b: m.solve(a, b, transposed=True), (A, V), True),
    "inv": (lambda m, a: m.inv(a), (A,), True),
    "det": (lambda m, a: m.det(a), (A,), True),
    "pinv": (lambda m, a: m.pinv(a), (TALL,), True),
    "pinv with a rank": (
        lambda m, a: m.pinv(a, atol=0.1, return_rank=True),
        (TALL,),
        False,
    ),
    "svdvals": (lambda m, a: m.svdvals(a), (TALL,), True),
    "singular values": (lambda m, a: m.svd(a, compute_uv=False), (WIDE,), True),
    "svd": (
        lambda m, a: [abs(x) for x in m.svd(a, full_matrices=False)],
        (TALL,),
        False,
    ),
    "eigvalsh": (lambda m, a: m.eigvalsh(both(a)), (A,), True),
    "eigh": (lambda m, a: [abs(x) for x in m.eigh(both(a))], (A,), False),
    "eigh generalised": (
        lambda m, a, b: [abs(x) for x in m.eigh(both(a), both(b))],
        (A, P),
        False,
    ),
    "eigh upper": (lambda m, a, b: m.eigvalsh(a, b, lower=False), (A, P), False),
    "eigh chosen": (
        lambda m, a, b: m.eigh(
            both(a), both(b), eigvals_only=True, subset_by_index=(1, 2)
        ),
        (A, P),
        True,
    ),
    "qr": (lambda m, a: m.qr(a), (TALL,), False),
    "qr economic": (lambda m, a: m.qr(a, mode="economic"), (TALL,), True),
    "qr r": (lambda m, a: m.qr(a, mode="r"), (TALL,), False),
    "expm": (lambda m, a: m.expm(a), (A,), True),
    "expm far": (lambda m, a: m.expm(40 * a - 160 * np.eye(4)), (A,), False),
    "expm of a batch": (lambda m, a: m.expm(np.stack([a, 9 * a])), (A,), False),
    "block_diag": (lambda m, a, b: m.block_diag(a, b, 3.0, b[:, 0]), (A, B), True),
    "toeplitz": (lambda m, c: m.toeplitz(c), (V,), True),
    "toeplitz of two": (lambda m, c, r: m.toeplitz(c, r), (V, TALL[:, 0]), True),
    "norm": (lambda m, a: m.norm(a), (A,), True),
    "norm 1": (lambda m, a: m.norm(a, 1, axis=(0, 1), keepdims=True), (A,), True),
}
names = pytest.mark.parametrize("name", CALLS)


def leaves(x):
    if isinstance(x, tuple | list):
        return [leaf for branch in x for leaf in leaves(branch)]
    return [np.asarray(x)]


@names
def test_values(name):
    call, args, _ = CALLS[name]
    f = tj.jit(lambda *a: call(linalg, *a))
    want = leaves(call(scipy.linalg, *args))
    # What a Cholesky factor has in its other triangle is not promised.
    for got in (leaves(call(linalg, *args)), leaves(f(*args))):
        for g, w in zip(got, want, strict=True):
            assert g.shape == w.shape
            assert g.dtype == w.dtype
            np.testing.assert_allclose(g, w, rtol=1e-10, atol=1e-11)


@pytest.mark.parametrize("name", [n for n in CALLS if CALLS[n][2]])
def test_derivatives(name):
    call, args, _ = CALLS[name]

    def smooth(*a):
        return (
            [x for x in call(linalg, *a) if x.dtype.kind == "f"]
            if isinstance(call(linalg, *a), tuple)
            else call(linalg, *a)
        )

    tj.testing.check_grads(smooth, args, order=1, directions=1)


@pytest.mark.parametrize(
    "name", ["lu", "solve None", "expm", "cho_solve", "lu_solve 1"]
)
def test_single_precision_second_derivatives_and_batches(name):
    call, args, _ = CALLS[name]
    single = tj.jit(lambda *a: call(linalg, *a))(*(a.astype(np.float32) for a in args))
    want = leaves(call(linalg, *args))
    for g, w in zip(leaves(single), want, strict=True):
        assert g.dtype == np.float32
        np.testing.assert_allclose(g, w, rtol=2e-3, atol=2e-4)
    pick = -1 if name == "lu" else slice(None)

    def one(*a):
        found = call(linalg, *a)
        return found[pick] if name == "lu" else found

    tj.testing.check_grads(one, args, order=2, directions=1, rtol=1e-4)
    stacks = [np.stack([a, a + 0.1 * np.eye(*a.shape)]) for a in args]
    each = tj.jit(tj.vmap(one))(*stacks)
    for i in range(2):
        np.testing.assert_allclose(
            each[i], one(*(s[i] for s in stacks)), rtol=1e-9, atol=1e-11
        )


def test_complex():
    a = A + 1j * C
    for name, args in (("lu", (a,)), ("expm", (a,)), ("solve", (a, V)), ("qr", (a,))):
        want = leaves(getattr(scipy.linalg, name)(*args))
        got = leaves(tj.jit(lambda *x, name=name: getattr(linalg, name)(*x))(*args))
        for g, w in zip(got, want, strict=True):
            np.testing.assert_allclose(g, w, rtol=1e-10, atol=1e-11)
    h = a @ a.conj().T
    for low in (False, True):
        got = tj.jit(lambda x: linalg.cholesky(x, low))(h)  # noqa: B023
        np.testing.assert_allclose(got, scipy.linalg.cholesky(h, low), atol=1e-12)
        got = tj.jit(lambda x, b: linalg.solve_triangular(x, b, "C", low))(h, V)  # noqa: B023
        want = scipy.linalg.solve_triangular(h, V, "C", low)
        np.testing.assert_allclose(got, want, rtol=1e-10)


@pytest.mark.parametrize("a", [A, TALL, WIDE, A + 1j * C, np.zeros((3, 3))], ids=str)
def test_elimination_is_lapacks(a):
    factors, swaps = _eliminate(a)
    want = scipy.linalg.lapack.get_lapack_funcs(("getrf",), (a,))[0](a)
    np.testing.assert_allclose(factors, want[0], rtol=1e-12, atol=1e-13)
    assert np.array_equal(swaps, want[1])


def test_singular_systems_raise():
    flat = np.ones((3, 3))
    for f in (linalg.inv, lambda a: linalg.solve(a, a[0])):
        with pytest.raises(np.linalg.LinAlgError):
            tj.jit(f)(flat)
    with pytest.raises(np.linalg.LinAlgError):
        tj.jit(linalg.cholesky)(-np.eye(2))
    with pytest.raises(np.linalg.LinAlgError):
        tj.jit(linalg.solve_triangular)(np.diag([1.0, 0.0]), np.ones(2))


def test_determinants_are_double():
    single = A.astype(np.float32)
    assert tj.jit(linalg.det)(single).dtype == scipy.linalg.det(single).dtype
    stack = np.stack([single, single])
    assert tj.jit(linalg.det)(stack).dtype == scipy.linalg.det(stack).dtype


def test_mistakes():
    with pytest.raises(MatrixError, match="expected square matrices"):
        tj.jit(linalg.solve)(TALL, V)
    with pytest.raises(MatrixError, match="4 equations and right-hand sides"):
        tj.jit(linalg.solve_triangular)(A, V[:3])
    with pytest.raises(MatrixError, match="and right-hand sides of shape"):
        tj.jit(lambda a, b: linalg.lu_solve(linalg.lu_factor(a), b))(A, V[:3])
    with pytest.raises(ArgumentError, match="trans is 3"):
        tj.jit(lambda a, b: linalg.solve_triangular(a, b, 3))(A, B)
    with pytest.raises(UnsupportedError, match="'pivoting' of qr is not traced"):
        tj.jit(lambda a: linalg.qr(a, pivoting=True))(A)
    with pytest.raises(UnsupportedError, match="'subset_by_value' of eigh"):
        tj.jit(lambda a: linalg.eigh(a, subset_by_value=(0, 1)))(P)


@pytest.mark.parametrize(
    "name", ["solve_triangular", "expm", "block_diag", "norm", "lu"]
)
def test_scipys_own_functions_name_what_traces(name):
    own = getattr(scipy.linalg, name)

    def f(a):
        return own(a, a) if name == "solve_triangular" else own(a)

    with pytest.raises(UnsupportedError) as error:
        tj.jit(f)(A)
    text = str(error.value)
    assert f"scipy.linalg.{name} is not traced" in text
    assert f"try: tj.scipy.linalg.{name}" in text
    assert re.search(r"at (scipy/)?test_linalg\.py:\d", text)
    with pytest.raises(UnsupportedError, match="hessenberg is not traced"):
        tj.jit(lambda a: scipy.linalg.hessenberg(a))(A)
