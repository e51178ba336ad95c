"""Linear algebra by cuSOLVER and cuBLAS, beside NumPy, on libraries that are none."""

import warnings

import numpy as np
import pytest

import tracejit as tj
from tests.sampling import sampled
from tracejit.errors import DeviceError, HostFallbackWarning
from tracejit.ir.ops.linalg import triangular_solve_p
from tracejit.runtime.cuda import linalg
from tracejit.runtime.cuda.libraries import system_addresses
from tracejit.tracing.functions.registry import lift, wrap

from .fake_libraries import FakeLibraries

RNG = np.random.default_rng(0)
A = RNG.standard_normal((5, 5)) + 3 * np.eye(5)
STACK = RNG.standard_normal((2, 3, 4, 4)) + 3 * np.eye(4)
WIDE, TALL = RNG.standard_normal((3, 5)), RNG.standard_normal((2, 5, 3))
B = RNG.standard_normal((5, 3))

pytestmark = pytest.mark.filterwarnings("error")


@pytest.fixture
def libraries(fake):
    return FakeLibraries(fake)


@pytest.fixture
def device(fake, libraries):
    return fake.device(libraries=libraries.addresses)


def positive(a):
    return a @ a.mT + np.eye(a.shape[-1], dtype=a.dtype)


def rebuilt_svd(a, full=False):
    u, s, vh = np.linalg.svd(a, full_matrices=full)
    k = s.shape[-1]
    return u[..., :k] * s[..., None, :] @ vh[..., :k, :], s, u.mT @ u, vh @ vh.mT


def rebuilt_qr(a, mode="reduced"):
    q, r = np.linalg.qr(a, mode)
    return q @ r, q.mT @ q, np.tril(r, -1)


def rebuilt_eigh(a, half="L"):
    w, v = np.linalg.eigh(a, half)
    return w, (v * w[..., None, :]) @ v.mT, v.mT @ v


FUNCTIONS = {
    "cholesky": (lambda a: np.linalg.cholesky(positive(a)), [A]),
    "cholesky of its argument": (np.linalg.cholesky, [positive(STACK)]),
    "upper cholesky": (lambda a: np.linalg.cholesky(a, upper=True), [positive(A)]),
    "solve": (np.linalg.solve, [A, B]),
    "solve for a vector": (np.linalg.solve, [A, B[:, 0]]),
    "solve a transpose": (lambda a, b: np.linalg.solve(a.T, b), [A, B]),
    "solve a stack": (np.linalg.solve, [STACK, STACK[..., :2]]),
    "solve every other": (lambda a, b: np.linalg.solve(a[::2], b[::2]), [STACK] * 2),
    "inv": (np.linalg.inv, [A]),
    "inv of a transpose": (lambda a: np.linalg.inv(a.mT), [STACK]),
    "det": (np.linalg.det, [STACK]),
    "det of a singular matrix": (np.linalg.det, [np.ones((2, 3, 3))]),
    "slogdet": (lambda a: tuple(np.linalg.slogdet(a)), [-STACK]),
    "slogdet of a singular matrix": (
        lambda a: tuple(np.linalg.slogdet(a)),
        [np.zeros((3, 3))],
    ),
    "qr": (rebuilt_qr, [TALL]),
    "qr of a wide matrix": (rebuilt_qr, [WIDE]),
    "complete qr": (lambda a: rebuilt_qr(a, "complete"), [TALL]),
    "svd": (rebuilt_svd, [TALL]),
    "svd of wide matrices": (rebuilt_svd, [TALL.mT.copy()]),
    "full svd": (lambda a: rebuilt_svd(a, True), [WIDE]),
    "full svd of tall matrices": (lambda a: rebuilt_svd(a, True), [TALL]),
    "singular values": (lambda a: np.linalg.svd(a, compute_uv=False), [TALL]),
    "pinv": (np.linalg.pinv, [TALL]),
    "eigh": (rebuilt_eigh, [positive(STACK)]),
    "eigh of the lower half": (lambda a: np.linalg.eigvalsh(a), [A]),
    "eigh of the upper half": (lambda a: np.linalg.eigvalsh(a, "U"), [A]),
    "lstsq": (lambda a, b: np.linalg.lstsq(a, b, rcond=None)[:2], [TALL[0], B]),
    "lstsq of dependent columns": (
        lambda a, b: np.linalg.lstsq(a[:, [0, 1, 0]], b, rcond=None)[::2],
        [TALL[0], B],
    ),
    "cond": (np.linalg.cond, [A]),
    "norm": (lambda a: np.linalg.norm(a, 2), [WIDE]),
}


SINGLE = ["cholesky", "solve", "det", "qr", "svd", "eigh"]
CASES = [
    *((name, np.float64) for name in FUNCTIONS),
    *((n, np.float32) for n in SINGLE),
]


@pytest.mark.parametrize(("name", "dtype"), sampled(CASES, 2))
def test_functions_give_what_numpy_gives(name, dtype, fake, device):
    count = check(name, dtype, device)
    assert "cuMemcpyDtoHAsync" not in before_reading(fake, count)


def check(name, dtype, device):
    """Compare a function with NumPy's; return how many arguments it has."""
    fn, args = FUNCTIONS[name]
    args = [x.astype(dtype) for x in args]
    want = fn(*args)
    found = tj.jit(fn)(*(tj.to_device(x, device) for x in args))
    device.synchronize()
    rtol = 2e-4 if dtype == np.float32 else 1e-10
    rows = zip(found, want, strict=True) if isinstance(want, tuple) else [(found, want)]
    for x, y in rows:
        assert (x.dtype, x.shape) == (y.dtype, np.shape(y))
        np.testing.assert_allclose(x.numpy(), y, rtol=rtol, atol=rtol)
    return len(args)


def before_reading(fake, count):
    """Return the calls between the last upload and the wait."""
    names = fake.names()
    first = max(k for k, name in enumerate(names) if name == "cuMemcpyHtoDAsync")
    return names[first : names.index("cuStreamSynchronize", first)]


def device_codes(fake):
    return [code.name for code in fake.launches]


@pytest.mark.parametrize("lower", [True, False])
@pytest.mark.parametrize("turned", [True, False])
def test_triangular_systems(lower, turned, fake, libraries, device):
    def triangular(a, b):
        trace, (x, y) = lift(a.mT if turned else a, b)
        return wrap(
            trace, trace.emit(triangular_solve_p, x.read(), y.read(), lower=lower)
        )

    solve, half = tj.jit(triangular), np.tril if lower else np.triu
    a, b = STACK[0], STACK[1, ..., :2]
    found = solve(tj.to_device(a, device), tj.to_device(b, device))
    want = np.linalg.solve(half(a.mT if turned else a), b)
    np.testing.assert_allclose(found.numpy(), want, rtol=1e-10, atol=1e-12)
    assert libraries.names() == ["cublasDtrsmBatched"]
    copies = [code for code in device_codes(fake) if code.startswith("copy")]
    assert len(copies) == 1  # of the right-hand side
    singular = a.copy()
    singular[1, 2, 2] = 0
    bad = solve(tj.to_device(singular, device), tj.to_device(b, device))
    with pytest.raises(np.linalg.LinAlgError, match="Singular matrix"):
        bad.numpy()


def test_large_matrices_of_a_stack_are_called_for_one_by_one(
    libraries, device, monkeypatch
):
    monkeypatch.setattr(linalg, "_SMALL", 3)
    a = STACK[0]

    def all_of(a):
        low = np.linalg.cholesky(a @ a.mT)
        return low + np.linalg.solve(a, low), np.linalg.det(a)

    found = tj.jit(all_of)(tj.to_device(a, device))
    for x, y in zip(found, all_of(a), strict=True):
        np.testing.assert_allclose(x.numpy(), y, rtol=1e-9)
    routines = [name.removeprefix("cusolverDnD") for name in libraries.names()]
    assert {name: routines.count(name) for name in routines} == {
        "potrf": 3,
        "getrf": 6,
        "getrs": 3,
    }


def test_gradients(libraries, device):
    def loss(a):
        low = np.linalg.cholesky(a @ a.T + np.eye(5))
        return np.linalg.slogdet(a)[1] + np.sum(np.linalg.inv(a) * low)

    found = tj.jit(tj.grad(loss))(tj.to_device(A, device))
    np.testing.assert_allclose(found.numpy(), tj.grad(loss)(A), rtol=1e-9)
    assert libraries.names().count("cublasDtrsm_v2") == 2


FAILING = {
    "cholesky": (np.linalg.cholesky, "Matrix is not positive definite"),
    "solve": (lambda a: np.linalg.solve(a, a), "Singular matrix"),
    "inv": (np.linalg.inv, "Singular matrix"),
}


@pytest.mark.parametrize("name", FAILING)
def test_matrices_that_cannot_be_taken_are_reported_when_the_host_waits(name, device):
    fn, message = FAILING[name]
    compiled = tj.jit(lambda a: fn(a) + 1)
    a = STACK[0].copy()
    a[1] = 0
    y = compiled(tj.to_device(a, device))
    with pytest.raises(np.linalg.LinAlgError, match=rf"(?s){message}\n  at .*\.py:\d+"):
        y.numpy()
    good = positive(STACK[0])
    found = compiled(tj.to_device(good, device)).numpy()
    np.testing.assert_allclose(found, fn(good) + 1, rtol=1e-10)


def test_what_does_not_converge(libraries, device):
    def gesvd(*arguments):
        libraries.array(arguments[-1], (1,), "i4")[0] = 1

    libraries.gesvd = gesvd
    y = tj.jit(lambda a: np.linalg.svd(a)[1])(tj.to_device(WIDE, device))
    with pytest.raises(np.linalg.LinAlgError, match="SVD did not converge"):
        y.numpy()


def test_inverses_or_nan(device):
    x = tj.to_device(STACK[0] * np.array([1.0, 0, 2])[:, None, None], device)
    found = tj.jit(lambda a: np.linalg.cond(a, 1))(x).numpy()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        expected = np.linalg.cond(x.numpy(), 1)
    np.testing.assert_allclose(found, expected, rtol=1e-10)


def test_a_routine_that_fails_says_the_line(libraries, device):
    inv = tj.jit(np.linalg.inv)
    x = tj.to_device(A, device)
    inv(x)
    libraries.failing["cusolverDnDgetrf"] = 7
    with pytest.raises(DeviceError, match=r"(?s)inv failed with status 7.* at .*:\d+"):
        inv(x)


def test_programs_with_solvers_are_not_recorded(fake, device):
    def two(a):
        return np.linalg.inv(a @ a.T).sum(axis=0) @ a

    x, compiled = tj.to_device(A, device), tj.jit(two)
    for _ in range(3):
        np.testing.assert_allclose(compiled(x).numpy(), two(A), rtol=1e-9)
    assert "cuStreamBeginCapture" not in fake.names()


def triangular_product(a, b):
    trace, (x, y) = lift(a * 2, b)
    solved = trace.emit(triangular_solve_p, x.read(), y.read(), lower=True)
    return wrap(trace, solved) @ b.T


def test_what_a_library_refuses_to_record_is_launched(fake, libraries, device):
    solve = tj.jit(triangular_product)
    a, b = (tj.to_device(x, device) for x in (A, B))
    want = np.linalg.solve(np.tril(2 * A), B) @ B.T
    libraries.refusing.add("cublasDtrsm_v2")
    for _ in range(4):
        np.testing.assert_allclose(solve(a, b).numpy(), want, rtol=1e-9)
    assert fake.names().count("cuStreamBeginCapture") == 1
    assert "cuGraphLaunch" not in fake.names() and not fake.graphs


def test_calls_of_cublas_are_recorded(fake, device):
    solve = tj.jit(triangular_product)
    a, b = (tj.to_device(x, device) for x in (A, B))
    want = np.linalg.solve(np.tril(2 * A), B) @ B.T
    for _ in range(4):
        np.testing.assert_allclose(solve(a, b).numpy(), want, rtol=1e-9)
    assert "cuGraphLaunch" in fake.names()


def test_a_vector_is_solved_for_in_place(fake, device):
    solve = tj.jit(np.linalg.solve)
    solve(tj.to_device(A, device), tj.to_device(B[:, 0], device))
    copies = [name for name in device_codes(fake) if name.startswith("copy")]
    assert len(copies) == 2  # of the matrix, which is lost, and of the vector


def test_loops_around_solvers(device):
    def powers(a):
        return tj.fori_loop(0, 3, lambda i, c: np.linalg.solve(a, c), a)

    found = tj.jit(powers)(tj.to_device(A, device))
    np.testing.assert_allclose(found.numpy(), powers(A), rtol=1e-9, atol=1e-12)


def test_what_no_library_computes_runs_on_the_host(device):
    with pytest.warns(HostFallbackWarning, match="eigvals in .* runs on the host"):
        tj.jit(np.linalg.eigvals)(tj.to_device(A, device))
    with pytest.warns(HostFallbackWarning, match="inv in .* runs on the host"):
        tj.jit(np.linalg.inv)(tj.to_device(A + 1j, device))


def test_libraries_that_do_not_start_are_none(fake, libraries):
    libraries.failing["cusolverDnCreate"] = 1
    device = fake.device(libraries=libraries.addresses)
    with pytest.warns(HostFallbackWarning, match="inv in .* runs on the host"):
        tj.jit(np.linalg.inv)(tj.to_device(A, device))


def test_libraries_of_this_machine_are_looked_for():
    found = system_addresses()
    assert found is None or all(found.values())
