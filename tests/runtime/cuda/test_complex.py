"""Complex arithmetic on a device: kernels of real numbers, and no host."""

import numpy as np
import pytest

import tracejit as tj

RNG = np.random.default_rng(0)
Z, W = RNG.standard_normal((2, 3, 5)) + 1j * RNG.standard_normal((2, 3, 5))

pytestmark = pytest.mark.filterwarnings("error")


def mandelbrot(c):
    return tj.fori_loop(0, 3, lambda i, z: z * z + c, c * 0)


def assigned(z, w):
    z[1:] *= w[1:]
    z[0, ::2] = 1j
    return np.stack([z, z.conj()])


FUNCTIONS = {
    "chain": (lambda z, w: np.exp(1j * z) / (1 + w * w.conj()), 1),
    "absolute values": (lambda z, w: np.abs(z - w).max(axis=1), 1),
    "sums": (lambda z, w: (z * w).sum(), None),
    "view": (lambda z, w: z[:, ::-2].T * w[:, ::-2].T, None),
    "product": (lambda z, w: z @ w.T, None),
    "loop": (lambda z, w: mandelbrot(z / 4), None),
    "gather": (lambda z, w: z[np.array([2, 0, 2])] - w, None),
    "writes": (assigned, None),
}


@pytest.mark.parametrize("name", FUNCTIONS)
def test_functions(name, fake, device):
    fn, launches = FUNCTIONS[name]
    found, want = check(fn, device)
    assert "cuMemcpyDtoHAsync" not in fake.names()
    np.testing.assert_allclose(found.numpy(), want, rtol=1e-4, atol=1e-5)
    assert launches is None or len(fake.launches) == launches


def check(fn, device):
    """Compare what a function writes with NumPy's; return what both give."""
    z, w = (x.astype(np.complex64) for x in (Z, W))
    moved = [tj.to_device(x, device) for x in (z, w)]
    found, want = tj.jit(fn)(*moved), fn(z, w)
    assert found.dtype == want.dtype
    return found, want


def test_gradients(device):
    def loss(x):
        return np.sum(np.abs(np.exp(1j * x) * Z + x) ** 2)

    found = tj.jit(tj.grad(loss))(tj.to_device(Z.real, device))
    np.testing.assert_allclose(found.numpy(), tj.grad(loss)(Z.real), rtol=1e-11)


def test_what_the_host_computes_gets_whole_arrays(device):
    fn = tj.jit(lambda z: np.fft.fft(z * 2) * 2)
    with pytest.warns(tj.errors.HostFallbackWarning, match="fft in "):
        found = fn(tj.to_device(Z, device))
    np.testing.assert_allclose(found.numpy(), 4 * np.fft.fft(Z), rtol=1e-12)
