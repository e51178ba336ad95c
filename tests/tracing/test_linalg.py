"""`numpy.linalg` under jit: NumPy's values, dtypes, shapes, named tuples and errors."""

from collections.abc import Callable

import numpy as np
import pytest

import tracejit as tj
from tests.sampling import in_turn

DTYPES = ["f4", "f8", "c8", "c16"]
TOLERANCE = {"f4": 2e-5, "c8": 2e-5, "f8": 1e-12, "c16": 1e-12}


def normal(dtype: str, *shape: int, seed: int = 0) -> np.ndarray:
    rng = np.random.default_rng(seed)
    x = rng.normal(size=shape)
    if dtype[0] == "c":
        x = x + 1j * rng.normal(size=shape)
    return x.astype(dtype)


def hermitian(dtype: str, *shape: int) -> np.ndarray:
    x = normal(dtype, *shape)
    return (x + x.conj().swapaxes(-1, -2)) / 2


def assert_same(got, want, tolerance: float) -> None:
    """Compare values, dtypes, shapes, and the types of containers and scalars."""
    assert type(got) is type(want)
    if isinstance(want, tuple):
        assert len(got) == len(want)
        for g, w in zip(got, want, strict=True):
            assert_same(g, w, tolerance)
        return
    assert got.dtype == want.dtype
    assert got.shape == want.shape
    np.testing.assert_allclose(got, want, rtol=tolerance, atol=tolerance)


def check(f, *args, tolerance: float = 1e-12) -> None:
    assert_same(tj.jit(f)(*args), f(*args), tolerance)


# --- every function ---------------------------------------------------------------

SHAPES = [(3, 3), (4, 3), (3, 4), (2, 4, 3), (2, 1, 3, 5), (1, 1), (0, 3), (3, 0)]
SHAPES += [(0, 0), (2, 0, 3), (0, 3, 2)]
RECTANGULAR = {
    "svd": np.linalg.svd,
    "reduced svd": lambda a: np.linalg.svd(a, full_matrices=False),
    "values of svd": lambda a: np.linalg.svd(a, compute_uv=False),
    "svdvals": np.linalg.svdvals,
    "qr": np.linalg.qr,
    "complete qr": lambda a: np.linalg.qr(a, "complete"),
    "r": lambda a: np.linalg.qr(a, mode="r"),
    "pinv": np.linalg.pinv,
    "pinv above a cut-off": lambda a: np.linalg.pinv(a, 0.5),
    "pinv above rtol": lambda a: np.linalg.pinv(a, rtol=0.3),
    "pinv above the default rtol": lambda a: np.linalg.pinv(a, rtol=None),
    "rank": np.linalg.matrix_rank,
    "rank above tol": lambda a: np.linalg.matrix_rank(a, 1.0),
    "rank above rtol": lambda a: np.linalg.matrix_rank(a, rtol=0.5),
    "norm": np.linalg.norm,
    "matrix_norm": np.linalg.matrix_norm,
    "vector_norm": np.linalg.vector_norm,
    "vector_norm of rows": lambda a: np.linalg.vector_norm(a, axis=-1, ord=3),
    "vector_norm of matrices": lambda a: np.linalg.vector_norm(
        a, axis=(0, 1), keepdims=True, ord=1
    ),
    **{
        f"norm of order {ord}": lambda a, ord=ord: np.linalg.norm(a, ord, (-2, -1))
        for ord in (2, 1, np.inf, "fro", "nuc", None)
    },
    "norms that keep axes": lambda a: np.linalg.norm(a, 2, (-1, -2), keepdims=True),
    "column sums of other axes": lambda a: np.linalg.norm(a, 1, (0, -1)),
}
NONEMPTY = {
    **{
        f"norm of order {ord}": lambda a, ord=ord: np.linalg.norm(a, ord, (-2, -1))
        for ord in (-2, -1, -np.inf)
    },
    "cond": np.linalg.cond,
    "cond of order -2": lambda a: np.linalg.cond(a, -2),
}


def takes(f: Callable[[np.ndarray], object], a: np.ndarray) -> bool:
    """Tell whether NumPy has an answer: for empty matrices not each version has."""
    try:
        f(a)
    except (ValueError, np.linalg.LinAlgError):
        return False
    return True


@pytest.mark.parametrize(("shape", "dtype"), in_turn(SHAPES, DTYPES), ids=str)
def test_any_matrix(shape: tuple[int, ...], dtype: str) -> None:
    a = normal(dtype, *shape)

    chosen = [f for f in (RECTANGULAR | NONEMPTY).values() if takes(f, a)]
    assert a.size == 0 or len(chosen) == len(RECTANGULAR | NONEMPTY)

    def all_of(a):
        return tuple(f(a) for f in chosen)

    want, got = all_of(a), tj.jit(all_of)(a)
    for g, w in zip(got, want, strict=True):
        assert_same(g, w, TOLERANCE[dtype])


SQUARE = {
    "eig": lambda a: tuple(x.astype("c16") for x in np.linalg.eig(a)),
    "eigvals": lambda a: np.linalg.eigvals(a).astype("c16"),
    **{
        f"cond of order {p}": lambda a, p=p: np.linalg.cond(a, p)
        for p in (1, -1, np.inf, -np.inf, "fro", "nuc", 2)
    },
}


@pytest.mark.parametrize("shape", [(3, 3), (1, 1), (2, 4, 4)], ids=str)
@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("name", SQUARE)
def test_square_matrix(name: str, dtype: str, shape: tuple[int, ...]) -> None:
    check(SQUARE[name], normal(dtype, *shape), tolerance=TOLERANCE[dtype])


HERMITIAN = {
    "svd": lambda a: np.linalg.svd(a, hermitian=True),
    "values": lambda a: np.linalg.svd(a, compute_uv=False, hermitian=True),
    "pinv": lambda a: np.linalg.pinv(a, 1e-3, hermitian=True),
    "rank": lambda a: np.linalg.matrix_rank(a, hermitian=True),
}


@pytest.mark.parametrize("shape", [(3, 3), (2, 4, 4)], ids=str)
@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("name", HERMITIAN)
def test_hermitian_matrix(name: str, dtype: str, shape: tuple[int, ...]) -> None:
    a = hermitian(dtype, *shape)
    check(HERMITIAN[name], a, tolerance=4 * TOLERANCE[dtype])


LEAST_SQUARES = [((4, 3), (4,)), ((4, 3), (4, 2)), ((3, 4), (3, 2)), ((3, 3), (3,))]
LEAST_SQUARES += [((4, 3), (4, 0)), ((0, 3), (0, 2)), ((3, 0), (3, 2)), ((5, 1), (5,))]


@pytest.mark.parametrize("shapes", LEAST_SQUARES, ids=str)
@pytest.mark.parametrize("dtype", DTYPES)
def test_least_squares(dtype: str, shapes: tuple[tuple[int, ...], ...]) -> None:
    args = [normal(dtype, *s, seed=k) for k, s in enumerate(shapes)]
    check(np.linalg.lstsq, *args, tolerance=TOLERANCE[dtype])
    check(lambda a, b: np.linalg.lstsq(a, b, 0.5)[0], *args, tolerance=TOLERANCE[dtype])
    mixed = [args[0].astype("c8"), args[1].real.astype("f8")]
    check(np.linalg.lstsq, *mixed, tolerance=1e-12)


def test_least_squares_of_a_deficient_matrix() -> None:
    """Shapes do not depend on values: residuals that NumPy leaves out are NaN."""
    a = np.array([[1.0, 2], [2, 4], [3, 6], [1, 2]])
    b = normal("f8", 4, 2)
    x, residuals, rank, s = np.linalg.lstsq(a, b)
    got = tj.jit(np.linalg.lstsq)(a, b)
    assert residuals.shape == (0,)
    assert_same((got[0], *got[2:]), (x, rank, s), 1e-12)
    assert got[1].shape == (2,)
    assert np.isnan(got[1]).all()


def test_tensor_systems() -> None:
    a, b = normal("f8", 2, 3, 6), normal("f8", 2, 3, seed=1)
    check(np.linalg.tensorsolve, a, b)
    check(lambda a, b: np.linalg.tensorsolve(a, b, axes=(0,)), normal("f8", 6, 2, 3), b)
    check(np.linalg.tensorinv, normal("f8", 2, 3, 3, 2))
    check(lambda a: np.linalg.tensorinv(a, ind=1), normal("f8", 6, 2, 3))


def test_chains_of_products() -> None:
    """Multiplied in the order that costs least, vectors at both ends or not."""
    sizes = [(7,), (7, 2), (2, 30), (30, 3), (3,)]
    xs = [normal("f8", *s, seed=k) for k, s in enumerate(sizes)]
    for chain in (xs, xs[1:], xs[:-1], xs[1:-1], xs[:2], xs[1:3]):
        check(lambda *xs: np.linalg.multi_dot(xs), *chain)
    a, b, c = (np.ones(s) for s in ((2, 50), (50, 50), (50, 1)))
    traced = tj.jit(lambda a, b, c: np.linalg.multi_dot([a, b, c])).trace(a, b, c)
    first = traced.recording.graph.eqns[0]
    assert first.outvars[0].aval.shape == (50, 1)
    for bad in ([np.eye(2)], [np.eye(2), np.ones((2, 2, 2)), np.eye(2)]):
        for run in (np.linalg.multi_dot, tj.jit(np.linalg.multi_dot)):
            with pytest.raises((ValueError, np.linalg.LinAlgError)):
                run(bad)


def test_integers_and_vectors() -> None:
    i = np.array([[2, 0, 1], [1, 3, 0], [0, 1, 4]])
    for f in (np.linalg.svd, np.linalg.qr, np.linalg.pinv, np.linalg.cond):
        check(f, i)
    check(lambda a: np.linalg.norm(a, "nuc"), i)
    for v in (np.zeros(3), np.ones(3), np.array(0.0), np.array(2)):
        check(lambda x: np.int64(0) + np.linalg.matrix_rank(x), v)
    check(
        lambda a, r: np.linalg.pinv(a, r), normal("f8", 2, 4, 3), np.array([0.1, 0.9])
    )


def test_exact_ranks_in_single_precision() -> None:
    """As in NumPy, the values are computed in double precision."""
    a = np.arange(25, dtype="f4").reshape(5, 5)
    check(np.linalg.matrix_rank, a)
    check(np.linalg.pinv, a, tolerance=1e-4)


def test_singular_matrices_have_an_infinite_condition() -> None:
    singular = np.array([[1.0, 2], [2, 4]])
    for p in (1, "fro", np.inf):
        check(lambda a, p=p: np.linalg.cond(a, p), singular)
        check(lambda a, p=p: np.linalg.cond(a, p), np.stack([singular, np.eye(2)]))
    check(np.linalg.cond, np.zeros((2, 2)))
    check(lambda a: np.linalg.cond(a, 1), np.full((2, 2), np.nan))


def test_real_eigenvalues_are_complex_under_jit() -> None:
    """NumPy's dtype depends on the values; that of a graph cannot."""
    a = np.diag([1.0, 2.0])
    w, v = tj.jit(np.linalg.eig)(a)
    assert (w.dtype, v.dtype) == (np.complex128, np.complex128)
    np.testing.assert_array_equal(w, np.linalg.eig(a)[0])
    assert tj.jit(np.linalg.eigvals)(a.astype("f4")).dtype == np.complex64


# --- derivatives (to the second order: test_numpy_derivatives, test_corners) --------

SCALARS = {
    "nuclear norm": lambda a: np.linalg.norm(a, "nuc"),
    "svd": lambda a: np.sum(np.abs(np.linalg.svd(a, full_matrices=False)[0]) ** 3),
    "qr": lambda a: np.sum(np.abs(np.linalg.qr(a)[1])),
    "pinv": lambda a: np.sum(np.abs(np.linalg.pinv(a))),
    "lstsq": lambda a: np.sum(np.abs(np.linalg.lstsq(a, a[:, 0] ** 2)[0]) ** 2),
    "eigvals": lambda a: np.sum(np.abs(np.linalg.eigvals(a[:3]))),
    "cond": np.linalg.cond,
}


@pytest.mark.parametrize("dtype", ["f4", "c8"])
@pytest.mark.parametrize("name", SCALARS)
def test_gradients_in_single_precision(name: str, dtype: str) -> None:
    """Their dtype is the argument's; under jit as outside of it."""
    a, f = normal(dtype, 4, 3), SCALARS[name]
    want = tj.grad(f)(a.astype(np.promote_types(dtype, "f8")))
    for run in (tj.grad(f), tj.jit(tj.grad(f))):
        got = run(a)
        assert got.dtype == a.dtype
        scale = np.max(np.abs(want))
        np.testing.assert_allclose(got, want, rtol=2e-4, atol=2e-5 * scale)


@pytest.mark.parametrize("name", SCALARS)
def test_gradients_of_batches(name: str) -> None:
    """Transformations in any order, beside a loop."""
    a, f = normal("f8", 5, 4, 3), SCALARS[name]
    want = np.stack([tj.grad(f)(x) for x in a])
    total = tj.grad(lambda a: np.sum(tj.vmap(f)(a)))
    for run in (tj.vmap(tj.grad(f)), tj.jit(tj.vmap(tj.grad(f))), tj.jit(total)):
        np.testing.assert_allclose(run(a), want, rtol=1e-9, atol=1e-10)


def test_rows_that_a_branch_does_not_take_are_not_checked() -> None:
    """A matrix that LAPACK refuses, in the example that takes the other branch."""
    good, bad = np.eye(2) * 3, np.full((2, 2), np.nan)

    def f(p, a):
        return tj.cond(p, spectrum, lambda a: np.zeros(10), a)

    def spectrum(a):
        parts = [
            np.linalg.svdvals(a),
            np.linalg.svd(a)[1],
            np.linalg.pinv(a)[0],
            np.linalg.lstsq(a, a[0])[0],
            np.linalg.eigvals(a).real,
        ]
        return np.concatenate(parts)

    p, a = np.array([True, False]), np.stack([good, bad])
    for run in (tj.vmap(f), tj.jit(tj.vmap(f))):
        np.testing.assert_allclose(run(p, a), [spectrum(good), np.zeros(10)])


# --- errors -----------------------------------------------------------------------

STACK = np.zeros((2, 3, 4))
ERRORS = {
    "svd of a vector": (np.linalg.svd, (np.zeros(3),), "at least two-dimensional"),
    "qr of a vector": (np.linalg.qr, (np.zeros(3),), "at least two-dimensional"),
    "pinv of a vector": (np.linalg.pinv, (np.zeros(3),), "at least two-dimensional"),
    "eig": (np.linalg.eig, (STACK,), "must be square"),
    "eigvals": (np.linalg.eigvals, (STACK,), "must be square"),
    "inv": (np.linalg.inv, (STACK,), "must be square"),
    "det": (np.linalg.det, (STACK,), "must be square"),
    "cholesky": (np.linalg.cholesky, (STACK,), "must be square"),
    "cond": (lambda a: np.linalg.cond(a, 1), (STACK,), "must be square"),
    "cond of nothing": (np.linalg.cond, (np.zeros((0, 2)),), "not defined on empty"),
    "lstsq of a stack": (np.linalg.lstsq, (STACK, STACK), "must be two-dimensional"),
    "lstsq": (np.linalg.lstsq, (STACK[0], STACK[0].T), "(?i)incompatible dimensions"),
    "tensorsolve": (np.linalg.tensorsolve, (STACK, STACK[0]), "must satisfy"),
}


@pytest.mark.parametrize("name", ERRORS)
def test_shapes_that_numpy_refuses(name: str) -> None:
    f, args, text = ERRORS[name]
    for run in (f, tj.jit(f)):
        with pytest.raises(np.linalg.LinAlgError, match=text):
            run(*args)


VALUES = {
    "svd": (np.linalg.svd, "SVD did not converge"),
    "svdvals": (np.linalg.svdvals, "SVD did not converge"),
    "pinv": (np.linalg.pinv, "SVD did not converge"),
    "norm": (lambda a: np.linalg.norm(a, 2), "SVD did not converge"),
    "lstsq": (lambda a: np.linalg.lstsq(a, a)[0], "SVD did not converge in Linear"),
    "eig": (np.linalg.eig, "must not contain infs or NaNs"),
    "eigvals": (np.linalg.eigvals, "must not contain infs or NaNs"),
}


@pytest.mark.parametrize("name", VALUES)
def test_values_that_numpy_refuses(name: str) -> None:
    f, text = VALUES[name]
    a = np.array([[1.0, np.nan], [2.0, 3.0]])
    jitted = tj.jit(f)
    for run in (f, jitted):
        with pytest.raises(np.linalg.LinAlgError, match=text):
            run(a)
    with pytest.raises(np.linalg.LinAlgError) as caught:
        jitted(a)
    told = str(caught.value) + "".join(getattr(caught.value, "__notes__", ()))
    assert "test_linalg.py" in told
    jitted(np.eye(2))


def test_other_mistakes() -> None:
    a = np.ones((3, 2))
    half = np.ones((2, 2), "f2")
    cases = [
        (lambda x: np.linalg.norm(x, "nuc", 0), ValueError, "Invalid norm order"),
        (lambda x: np.linalg.norm(x, 7), ValueError, "Invalid norm order for matrices"),
        (lambda x: np.linalg.norm(x, 2, (0, -2)), ValueError, "Duplicate axes"),
        (lambda x: np.linalg.norm(x[None], 2), ValueError, "Improper number"),
        (lambda x: np.linalg.norm(x, 2, [0, 1]), TypeError, "'axis' must be None"),
        (lambda x: np.linalg.qr(x, "thin"), ValueError, "Unrecognized mode"),
        (lambda x: np.linalg.pinv(x, 1.0, rtol=1.0), ValueError, "both set"),
        (lambda x: np.linalg.matrix_rank(x, 1.0, rtol=1.0), ValueError, "both set"),
        (lambda x: np.linalg.tensorinv(x, 0), ValueError, "Invalid ind"),
        (lambda x: np.linalg.svd(half + x[0, 0].astype("f2")), TypeError, "float16"),
    ]
    for f, kind, text in cases:
        for run in (f, tj.jit(f)):
            with pytest.raises(kind, match=text):
                run(a)


def test_raw_qr_names_what_works() -> None:
    with pytest.raises(tj.errors.UnsupportedError, match=r"(?s)'raw'.*'complete' or"):
        tj.jit(lambda a: np.linalg.qr(a, "raw"))(np.eye(2))


# --- no function is forgotten -----------------------------------------------------

EYE, VECTOR = np.eye(3) + 0.1, np.arange(3.0)
ARGUMENTS = {
    **dict.fromkeys(["solve", "tensorsolve", "lstsq"], (EYE, VECTOR)),
    "matrix_power": (EYE, 3),
    "multi_dot": ([EYE, EYE, VECTOR],),
    "cholesky": (EYE @ EYE.T,),
    "tensorinv": (EYE, 1),
    **dict.fromkeys(["cross", "outer", "vecdot"], (VECTOR, VECTOR + 1)),
    **dict.fromkeys(["tensordot", "matmul"], (EYE, EYE)),
}
CLASSES = {"LinAlgError"}
COMPLEX = {"eig", "eigvals"}  # see test_real_eigenvalues_are_complex_under_jit


@pytest.mark.parametrize("name", sorted(set(np.linalg.__all__) - CLASSES))
def test_every_public_function_traces(name: str) -> None:
    f = getattr(np.linalg, name)
    args = ARGUMENTS.get(name, (EYE,))
    if name == "multi_dot":
        f, args = (lambda *xs: np.linalg.multi_dot(xs)), args[0]
    if name in ("matrix_power", "tensorinv"):
        known = args[1]
        f, args = (lambda x, f=f: f(x, known)), args[:1]
    want, got = f(*args), tj.jit(f)(*args)
    if name in COMPLEX:
        assert type(got) is type(want)
        for g, w in zip(got, want, strict=True):
            np.testing.assert_allclose(g, w, atol=1e-12)
        return
    assert_same(got, want, 1e-12)


@pytest.mark.parametrize("shape", [(4, 0, 0), (4, 3, 0), (0, 3, 0), (0, 0, 0)])
@pytest.mark.parametrize("names", ["abc,dbc->ad", "abc,dcb->ad", "abc,abd->cd"])
def test_sums_of_products_over_axes_without_elements(shape, names):
    sizes = {**dict(zip("abc", shape, strict=True)), "d": 2}
    left, right = names.split("->")[0].split(",")
    x, y = (np.ones([sizes[k] for k in part]) for part in (left, right))
    check(lambda x, y: np.einsum(names, x, y), x, y)
    check(lambda x, y: np.einsum(names, x + 1, y * 2) + 1, x, y)
