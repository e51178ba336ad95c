"""Derivatives at corners: poles, ties, zeros, infinities; docs/transformations.md.

Wanted gradients are what mathematics says, or a convention that the docs state.
"""

import numpy as np
import pytest
import scipy.special

import tracejit as tj

INF, NAN = np.inf, np.nan
TIES = np.array([1.0, 3.0, 3.0, 0.0])


def log_softmax(x):
    shifted = x - np.max(x)
    return shifted - np.log(np.sum(np.exp(shifted)))


def nuclear(x):
    return np.linalg.norm(x, "nuc")


def spectral(x):
    return np.linalg.norm(x, 2)


FLIP = np.diag([1.0, -1.0, 1.0])
# name: function, arguments, gradient of the sum of its results
CORNERS = {
    "sqrt at 0": (np.sqrt, (0.0,), INF),
    "cbrt at 0": (np.cbrt, (0.0,), INF),
    "arcsin at 1": (np.arcsin, (1.0,), INF),
    "log1p at -1": (np.log1p, (-1.0,), INF),
    "norm at 0": (np.linalg.norm, (np.zeros(3),), [0, 0, 0]),
    "norm of a zero row": (
        lambda x: np.linalg.norm(x, axis=1),
        (np.array([[0.0, 0], [3, 4]]),),
        [[0, 0], [0.6, 0.8]],
    ),
    "norm of order 1 at 0": (lambda x: np.linalg.norm(x, 1), (np.zeros(3),), [0, 0, 0]),
    "norm of order 3 at 0": (lambda x: np.linalg.norm(x, 3), (np.zeros(3),), [0, 0, 0]),
    "complex norm at 0": (np.linalg.norm, (np.zeros(2, complex),), [0, 0]),
    "norm in one's own words": (
        lambda x: np.sqrt(np.sum(x**2)),
        (np.zeros(2),),
        [0, 0],
    ),
    "root mean square at 0": (
        lambda x: np.sqrt(np.mean(x * x)),
        (np.zeros(2),),
        [0, 0],
    ),
    "hypot at 0": (np.hypot, (0.0, 0.0), (0, 0)),
    "std of constants": (np.std, (np.ones(3),), [0, 0, 0]),
    "std of a constant row": (
        lambda x: np.std(x, axis=1),
        (np.array([[1.0, 1], [1, 3]]),),
        [[0, 0], [-0.5, 0.5]],
    ),
    "var of constants": (np.var, (np.ones(3),), [0, 0, 0]),
    "x**0 at 0": (lambda x: x**0.0, (0.0,), 0),
    "x**1 at 0": (lambda x: x**1.0, (0.0,), 1),
    "x**2 at 0": (lambda x: x**2.0, (0.0,), 0),
    "0**y at 0": (lambda y: np.power(0.0, y), (0.0,), 0),
    "0**y at 1/2": (lambda y: np.power(0.0, y), (0.5,), 0),
    "where-guarded log": (
        lambda x: np.where(x > 0, np.log(np.where(x > 0, x, 1.0)), 0.0),
        (0.0,),
        0,
    ),
    "log guarded once": (lambda x: np.where(x > 0, np.log(x), 0.0), (0.0,), NAN),
    "xlogy at 0": (scipy.special.xlogy, (0.0, 0.0), (0, 0)),
    "max of ties": (np.max, (TIES,), [0, 0.5, 0.5, 0]),
    "min of three ties": (np.min, (np.zeros(3),), [1 / 3, 1 / 3, 1 / 3]),
    "maximum of equals": (np.maximum, (2.0, 2.0), (0.5, 0.5)),
    "minimum of equals": (np.minimum, (2.0, 2.0), (0.5, 0.5)),
    "relu at 0": (lambda x: np.maximum(x, 0), (0.0,), 0.5),
    "fmax of equals": (np.fmax, (1.0, 1.0), (0.5, 0.5)),
    "fmax of NaN": (np.fmax, (NAN, 1.0), (0, 1)),
    "fmin of NaN": (np.fmin, (1.0, NAN), (1, 0)),
    "running maximum of ties": (
        np.maximum.accumulate,
        (np.array([1.0, 3, 3, 3, 0]),),
        [1, 1 + 0.5 + 1 / 3 + 1 / 3, 0.5 + 1 / 3 + 1 / 3, 1 / 3 + 1 / 3, 0],
    ),
    "running minimum of ties": (np.minimum.accumulate, (np.zeros(2),), [1.5, 0.5]),
    "ptp of ties": (np.ptp, (TIES,), [0, 0.5, 0.5, -1]),
    "median of ties": (np.median, (TIES,), [0.5, 0.5, 0, 0]),
    "sort of ties is stable": (
        lambda x: np.sort(x) * np.arange(4),
        (TIES,),
        [1, 2, 3, 0],
    ),
    "clip at its borders": (
        lambda x: np.clip(x, 0.0, 1.0),
        (np.array([-1.0, 0.0, 0.5, 1.0, 2.0]),),
        [0, 0.5, 1, 0.5, 0],
    ),
    "abs at 0": (np.abs, (0.0,), 0),
    "complex abs at 0": (np.abs, (0j,), 0),
    "sinc at 0": (np.sinc, (0.0,), 0),
    "spence at 1": (scipy.special.spence, (1.0,), -1),
    "arctan2 at 0": (np.arctan2, (0.0, 0.0), (NAN, NAN)),
    "logaddexp of -inf": (np.logaddexp, (-INF, 1.0), (0, 1)),
    "logaddexp of inf": (np.logaddexp, (INF, 1.0), (1, 0)),
    "logaddexp of two -inf": (np.logaddexp, (-INF, -INF), (0.5, 0.5)),
    "log_softmax beside -inf": (
        lambda x: log_softmax(x)[1:],
        (np.array([-INF, 1.0, 1.0]),),
        [0, 0, 0],
    ),
    "prod with a zero": (np.prod, (np.array([2.0, 0, 3]),), [0, 6, 0]),
    "prod with two zeros": (np.prod, (np.array([0.0, 0, 3]),), [0, 0, 0]),
    "cumprod with zeros": (
        np.cumprod,
        (np.array([2.0, 0, 3, 0, 4]),),
        [1, 8, 0, 0, 0],
    ),
    "eigenvalues of the identity": (np.linalg.eigvalsh, (np.eye(3),), np.eye(3)),
    "singular values of the identity": (np.linalg.svdvals, (np.eye(3),), np.eye(3)),
    "nuclear norm of the identity": (nuclear, (np.eye(3),), np.eye(3)),
    "nuclear norm of a reflection": (nuclear, (FLIP,), FLIP),
    "nuclear norm at 0": (nuclear, (np.zeros((3, 2)),), np.zeros((3, 2))),
    "nuclear norm of rank 1": (
        nuclear,
        (np.diag([2.0, 0.0]),),
        np.diag([1.0, 0.0]),
    ),
    "spectral norm of the identity": (spectral, (np.eye(2),), np.eye(2) / 2),
    "spectral norm at 0": (spectral, (np.zeros((2, 3)),), np.zeros((2, 3))),
    "least singular value of the identity": (
        lambda x: np.linalg.norm(x, -2),
        (np.eye(2),),
        np.eye(2) / 2,
    ),
    "complex nuclear norm of the identity": (nuclear, (np.eye(2) + 0j,), np.eye(2)),
    "eigenvalues of a multiple of the identity": (
        lambda x: np.sum(np.linalg.eigvals(x)).real,
        (2 * np.eye(3),),
        np.eye(3),
    ),
    "pseudo-inverse of the identity": (
        np.linalg.pinv,
        (np.eye(2),),
        [[-1, -1], [-1, -1]],
    ),
    "pseudo-inverse of 0": (np.linalg.pinv, (np.zeros((2, 3)),), np.zeros((2, 3))),
    "nanmean of NaN": (np.nanmean, (np.array([1.0, NAN, 3.0]),), [0.5, 0, 0.5]),
    "nanmax of NaN": (np.nanmax, (np.array([1.0, NAN, 3.0]),), [0, 0, 1]),
    "interp at a knot": (
        lambda x: np.interp(x, [0.0, 1.0, 2.0], [0.0, 1.0, 5.0]),
        (1.0,),
        4,
    ),
    "remainder at a multiple": (np.remainder, (4.0, 2.0), (1, -2)),
}


@pytest.mark.filterwarnings("ignore::RuntimeWarning")  # NumPy evaluates outside of jit
@pytest.mark.parametrize("name", CORNERS)
def test_gradient(name):
    f, args, want = CORNERS[name]
    total = lambda *a: np.sum(f(*a))  # noqa: E731
    argnums = tuple(range(len(args)))
    wanted = want if isinstance(want, tuple) else (want,)
    for run in (tj.grad(total, argnums), tj.jit(tj.grad(total, argnums))):
        for got, expected in zip(run(*args), wanted, strict=True):
            np.testing.assert_allclose(got, expected, rtol=1e-14, atol=1e-15)


@pytest.mark.filterwarnings("ignore::RuntimeWarning")
@pytest.mark.parametrize("name", CORNERS)
def test_forward_mode_agrees(name):
    f, args, want = CORNERS[name]
    wanted = want if isinstance(want, tuple) else (want,)
    tangents = tuple(np.ones_like(x) for x in map(np.asarray, args))
    _, got = tj.jvp(lambda *a: np.sum(f(*a)), args, tangents)
    total = sum(np.sum(w) for w in wanted)
    if name == "log guarded once":
        total = 0  # the tangent of what is not chosen is dropped, not multiplied by 0
    np.testing.assert_allclose(got, total, rtol=1e-14, atol=1e-15)


# --- second derivatives -----------------------------------------------------------


def test_norm_away_from_zero_keeps_its_second_derivative():
    x = np.array([0.3, -0.4])
    tj.testing.check_grads(lambda x: np.sqrt(np.sum(x * x)), (x,), order=3)
    tj.testing.check_grads(np.std, (x,), order=3)
    tj.testing.check_grads(lambda x: np.linalg.norm(x, 3), (x,), order=3)


def test_logaddexp_of_equals_keeps_its_second_derivative():
    second = tj.hessian(lambda v: np.logaddexp(v[0], v[1]))(np.ones(2))
    np.testing.assert_allclose(second, [[0.25, -0.25], [-0.25, 0.25]], rtol=1e-12)


# --- eigenvectors of equal eigenvalues --------------------------------------------


@pytest.mark.filterwarnings("ignore::RuntimeWarning")
def test_eigenvectors_that_are_not_defined_give_no_numbers():
    """The exponential through eigh has a derivative that eigh does not know at I."""

    def exponential(a):
        w, v = np.linalg.eigh(a)
        return np.sum((v * np.exp(w)) @ v.T * np.arange(9.0).reshape(3, 3))

    gradient = tj.grad(exponential)(np.eye(3))
    assert not np.isfinite(gradient).all()


def test_eigenvectors_apart_from_equal_ones():
    """The projector on the first eigenvector, the other two being equal."""

    def projector(a):
        _, v = np.linalg.eigh((a + a.T) / 2)
        return np.outer(v[:, 0], v[:, 0])

    a = np.diag([1.0, 3.0, 3.0])
    t = np.arange(9.0).reshape(3, 3)
    h = 1e-6
    want = (projector(a + h * t) - projector(a - h * t)) / (2 * h)
    got = np.tensordot(tj.jacrev(projector)(a), t, 2)
    np.testing.assert_allclose(got, want, rtol=1e-6, atol=1e-8)


# --- singular vectors, orthogonal factors -----------------------------------------


def directional(f, a, t):
    """The derivative along a direction, by tracejit in reverse and by differences."""
    h = 1e-6
    want = (f(a + h * t) - f(a - h * t)) / (2 * h)
    jacobian = tj.jacrev(f)(a)
    return np.tensordot(jacobian, t, 2), want


def complex_normal(*shape):
    rng = np.random.default_rng(1)
    return rng.normal(size=shape) + 1j * rng.normal(size=shape)


@pytest.mark.filterwarnings("ignore::RuntimeWarning")
@pytest.mark.parametrize("at", [np.eye(3), np.diag([2.0, 0.0, 0.0]), np.eye(3, 2)])
def test_singular_vectors_that_are_not_defined_give_no_numbers(at):
    """A function of the singular values, put together again: svd does not know it.

    Vectors that are multiplied by the tanh of 0 have a cotangent of 0, whatever they
    do: only forward mode sees that they turn.
    """

    def softened(a):
        u, s, vh = np.linalg.svd(a, full_matrices=False)
        weights = np.arange(float(a.size)).reshape(a.shape) ** 2
        return np.sum((u * np.tanh(s)) @ vh * weights)

    direction = np.arange(float(at.size)).reshape(at.shape)
    for run in (softened, tj.jit(softened)):
        assert not np.isfinite(tj.jvp(run, (at,), (direction,))[1])
        assert not np.isfinite(tj.grad(run)(at)).all() or not at[1, 1]


@pytest.mark.parametrize("full", [False, True])
@pytest.mark.parametrize("at", [(3.0, 1.0, 1.0), (3.0, 0.0, 0.0)])
def test_singular_vectors_apart_from_equal_ones(full, at):
    """The first pair of vectors, the other values being equal, or zero."""

    def pair(a):
        u, _, vh = np.linalg.svd(a, full_matrices=full)
        return np.outer(u[:, 0], vh[0])

    got, want = directional(pair, np.diag(at), np.arange(9.0).reshape(3, 3))
    np.testing.assert_allclose(got, want, rtol=1e-6, atol=1e-8)


@pytest.mark.parametrize("shape", [(5, 2), (2, 5)])
@pytest.mark.parametrize("kind", [float, complex])
def test_complements_of_singular_vectors(shape, kind):
    """Projectors on complements of two dimensions or more, whose bases are free."""
    a = complex_normal(*shape)
    t = np.conj(complex_normal(*shape[::-1])).T
    a, t = (x if kind is complex else x.real for x in (a, t))

    def complement(a):
        u, _, vh = np.linalg.svd(a)
        rest = u[:, 2:] if shape[0] > shape[1] else np.conj(vh[2:]).T
        return rest @ np.conj(rest).T

    def along(x):
        return complement(a + x * t)

    _, got = tj.jvp(along, (0.0,), (1.0,))
    want = (along(1e-6) - along(-1e-6)) / 2e-6
    np.testing.assert_allclose(got, want, rtol=1e-6, atol=1e-8)


@pytest.mark.parametrize("shape", [(3, 3), (4, 2), (2, 4)])
def test_complex_singular_vectors_up_to_their_phase(shape):
    """What the phases of a pair leave alone, to the second order, in both modes."""

    def pairs(a):
        u, s, vh = np.linalg.svd(a, full_matrices=False)
        return (u * np.cos(s)) @ vh, np.abs(u), np.abs(vh)

    tj.testing.check_grads(pairs, (complex_normal(*shape),), order=2)


@pytest.mark.parametrize("shape", [(5, 2), (3, 3), (2, 4)])
@pytest.mark.parametrize("kind", [float, complex])
def test_complete_orthogonal_factors(shape, kind):
    """Columns beyond those of the matrix, by the projector on them."""
    a = complex_normal(*shape)
    a = a if kind is complex else a.real
    k = min(shape)

    def factors(a):
        q, r = np.linalg.qr(a, "complete")
        rest = q[:, k:]
        return q[:, :k], r[:k], rest @ np.conj(rest).T

    tj.testing.check_grads(factors, (a,), order=2)


def test_orthogonal_factors_of_dependent_columns():
    """Q turns at infinite speed: the triangle that divides is singular."""
    a = np.zeros((3, 2))
    for run in (tj.grad, lambda f: tj.jit(tj.grad(f))):
        with pytest.raises(np.linalg.LinAlgError, match="Singular matrix"):
            run(lambda x: np.sum(np.linalg.qr(x)[0]))(a)


@pytest.mark.filterwarnings("ignore::RuntimeWarning")
def test_eigenvectors_of_equal_eigenvalues_give_no_numbers():
    gradient = tj.grad(lambda a: np.sum(np.linalg.eig(a)[1].real * np.arange(3.0)))
    assert not np.isfinite(gradient(np.eye(3))).all()


def test_pseudo_inverses_keep_the_rank():
    """The derivative is that among matrices of the same rank, here 1 of 3."""
    u, v = np.array([1.0, 2, -1]), np.array([0.5, 1.0, 2, 1])

    def along(x):
        return np.linalg.pinv(np.outer(u + x * v[:3], v + x * x + x), 1e-8)

    _, got = tj.jvp(along, (0.0,), (1.0,))
    want = (along(1e-6) - along(-1e-6)) / 2e-6
    np.testing.assert_allclose(got, want, rtol=1e-6, atol=1e-8)


def test_least_squares_with_any_cut_off():
    """A negative one means the precision of the dtype, also for the derivative."""
    a, b = complex_normal(4, 3).real, np.arange(4.0)
    f = lambda a: np.sum(np.linalg.lstsq(a, b, -1)[0])  # noqa: E731
    np.testing.assert_allclose(
        tj.grad(f)(a), tj.grad(lambda a: np.sum(np.linalg.pinv(a) @ b))(a), rtol=1e-9
    )
    deficient = np.outer(b + 1, [1.0, 2.0])
    assert np.isfinite(tj.grad(f)(deficient)).all()


def test_sum_of_squares_is_recognised_only_where_it_is_one():
    """sqrt(x·y) is no norm: its slope at 0 stays infinite or undefined."""
    with np.errstate(all="ignore"):
        gx, _ = tj.grad(lambda x, y: np.sqrt(x * y), (0, 1))(0.0, 4.0)
        assert gx == INF
        assert tj.grad(lambda x: np.sqrt(2 * x))(0.0) == INF
        assert not np.isfinite(tj.grad(lambda x: np.sqrt(x * x + x))(0.0))
