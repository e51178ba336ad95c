"""Each NumPy function that traces gives NumPy's value, dtype and shape under jit."""

import numpy as np
import pytest

import tracejit as tj
from tests.sampling import in_turn

EXPRESSIONS = """
x + y; x - 1; 2 - x; x * 2.5; x / y; x // y; x % y; divmod(x, y); x ** 2; x ** 0.5; 2 ** x; -x; +x; abs(x - y)
i // 3; i % -3; i ** 2; i << 1; i >> 1; i & 3; i | 8; i ^ 5; ~i; -i; i / 2; i + 1.5; i // 0; i % 0; divmod(i, 3)
x == y; x != 1; x < y; x <= 0.5; x > y; x >= y; (x > 0.5) & (y > 0.5); (x > 0.5) | (y < 0.5); ~(x > 0.5); i == 3
np.exp(x); np.log(x); np.sqrt(x); np.sin(x); np.cos(x); np.tan(x); np.tanh(x); np.arctan2(x, y); np.hypot(x, y)
np.floor(x * 5); np.ceil(x * 5); np.trunc(x - 0.5); np.rint(x * 7); np.round(x, 2); np.sign(x - 0.5); np.square(x)
np.reciprocal(x + 1); np.cbrt(x); np.expm1(x); np.log1p(x); np.log2(x); np.log10(x); np.exp2(x); np.deg2rad(x)
np.arcsin(x); np.arccos(x); np.arctan(x); np.sinh(x); np.cosh(x); np.arcsinh(x); np.arccosh(x + 1); np.arctanh(x / 2)
np.maximum(x, y); np.minimum(x, 0.5); np.fmax(x, y); np.fmin(x, y); np.logaddexp(x, y); np.copysign(x, y - 0.5)
np.isnan(x); np.isinf(x); np.isfinite(i); np.logical_and(x, i); np.logical_not(i); np.logical_xor(x > 0.5, i)
np.gcd(i, 6); np.lcm(i, 4); np.heaviside(x - 0.5, 0.5); np.spacing(x); np.nextafter(x, y); np.float_power(x, 2)
np.sum(x); x.sum(0); x.sum(axis=(0, 1)); np.sum(x, axis=-1, keepdims=True); np.sum(i); np.sum(x > 0.5); x.sum(dtype='f8')
np.cross(x[:, :3], x.T[:3], axisb=0); np.cross(x[:3, :3], y[:3, :3], 0, 1, 0); np.nan_to_num((x + 1j * y) / np.floor(x + y), nan=y[0, 0])
np.average(x, 1, i[0], returned=True); np.average(x[None], (2, 1), y.T); np.average(i, weights=i + 1); np.array_equal(np.log(x - 0.5), np.log(x - 0.5), equal_nan=True)
np.einsum("ij->i", x.astype("f4"), dtype="f8"); np.concatenate([x, y], dtype="i4", casting="unsafe"); np.sum(i, dtype=bool); np.prod(x, 0, dtype=bool)
np.add(x, y, signature="dd->d"); np.add(x, y, dtype="i8", casting="unsafe"); np.hypot.reduce(x, dtype="f8"); np.mean(i, dtype="i1")
np.sum(x, where=x > 0.5); np.sum(x, initial=3.0); np.prod(x, axis=0); np.prod(x, 1, where=x > 0.5); np.mean(x); x.mean(1); np.mean(i); np.mean(i > 2)
np.var(x); x.std(0); np.var(x, axis=1, ddof=1, keepdims=True); np.max(x); x.min(axis=0); np.max(x, axis=(0, 1)); np.ptp(x, 1)
np.any(x > 0.9); np.all(x > 0.0, axis=0); np.min(x > 0.5, 1); np.max(x > 0.5, 0); np.argmax(x); x.argmin(1); np.argmax(x, axis=0, keepdims=True); np.count_nonzero(i)
np.cumsum(x); np.cumsum(x, axis=1); np.cumprod(x, 0); np.maximum.accumulate(x, axis=1); np.diff(x); np.diff(x, n=2, axis=0)
np.add.reduce(x); np.multiply.reduce(x, axis=1); np.add.accumulate(i, axis=0); np.multiply.outer(x[0], y[0]); np.average(x, weights=y)
np.nansum(x); np.nanmean(x, 0); np.nanmax(x); np.nanstd(x); np.median(x); np.median(x, axis=0); np.quantile(x, 0.3); np.percentile(x, 70, axis=1)
np.sort(x); np.sort(x, axis=0); np.argsort(x, axis=1); np.sort(x, axis=None); np.lexsort(x); np.lexsort((np.floor(y), x > 0), axis=0); np.searchsorted(np.sort(x[0]), y[0]); np.digitize(x, np.sort(y[0]))
x.T; x.reshape(-1); x.reshape(3, -1); np.transpose(x, (1, 0)); np.swapaxes(x, 0, 1); np.moveaxis(x, 0, -1); x[None]; np.expand_dims(x, 1)
np.squeeze(x[:, None]); np.broadcast_to(x[0], (2, 4)); np.flip(x); np.flip(x, 0); np.fliplr(x); np.rot90(x); np.rot90(x, 2); np.roll(x, 1); np.roll(x, -2, axis=1)
np.concatenate([x, y]); np.concatenate([x, i], axis=1); np.stack([x, y]); np.stack([x, y], -1); np.vstack([x[0], y[0]]); np.hstack([x, y]); np.dstack([x, y])
np.column_stack([x[:, 0], y]); np.append(x, y); np.split(x, 2, axis=1); np.array_split(x, 3, axis=1); np.repeat(x, 2); np.repeat(x, [1, 2, 0], axis=0); np.tile(x, 2); np.tile(x, (2, 1, 2))
np.pad(x, 1); np.pad(x, ((1, 0), (0, 2)), constant_values=3); np.pad(x, 1, mode='edge'); np.pad(x, 1, mode='reflect'); np.block([[x, y], [y, x]])
np.tril(x); np.triu(x, 1); np.diag(x[0]); np.diagonal(x); np.diag(x[:, :3]); np.trace(x[:, :3]); np.eye(3) @ x; np.linspace(0, 1, 5) + x[0, 0]; np.kron(x, y[:2])
np.zeros_like(x); np.ones_like(i); np.full_like(x, 2); np.arange(4) * x; np.where(x > 0.5, x, 0); np.where(x > 0.5, i, 1.5); np.clip(x, 0.2, 0.8); np.clip(i, 1, None)
np.take(x, [0, 2], axis=0); np.take(x, i[0] % 3); np.take_along_axis(x, np.argsort(x, 1), 1); x[[0, 2]]; x[:, [1, 1, 0]]; x[[0, 1], [2, 3]]; x[i[:, 0] % 3]; x[i % 3, 1]
x[..., 0]; x[1]; x[1, 2]; x[-1, ::-1]; x[::2, 1:3]; x[:, None, 1]; x[np.array([[0, 1], [2, 0]])]; x[1:, [0, 2]]; x[np.arange(3), i[:, 0] % 4]
x @ y.T; np.dot(x, y.T); x @ y[0]; np.matmul(x[None], y.T[None]); np.inner(x, y); np.outer(x[0], y[1]); np.vdot(x, y); np.tensordot(x, y, ([1], [1])); np.tensordot(x, y, 2)
np.einsum('ij,kj->ik', x, y); np.einsum('ij,ij->', x, y); np.einsum('ij->ji', x); np.einsum('ij,kj', x, y); np.einsum('i...,j...->ij...', x, y); np.einsum('ii->i', x[:, :3]); np.einsum('ij,jk,kl->il', x, y.T, x)
np.cross(x[:, :3], y[:, :3]); np.convolve(x[0], y[0]); np.convolve(x[0], y[0, :3], 'same'); np.correlate(x[0], y[0, :2]); np.interp(y[0], np.sort(x[0]), x[1]); np.gradient(x[0]); np.cov(x)
np.linalg.norm(x); np.linalg.norm(x, axis=1); np.linalg.norm(x, 1, axis=0); np.linalg.inv(s); np.linalg.det(s); np.linalg.solve(s, x[:, 0]); np.linalg.solve(s, x); np.linalg.cholesky(s); np.linalg.eigvalsh(s); np.linalg.matrix_power(s, 3)
np.fft.fft(x); np.fft.ifft(x, axis=0); np.fft.rfft(x, n=6); np.fft.irfft(np.fft.rfft(x)); np.fft.fft2(x); np.fft.fftshift(x); np.fft.fft(x, norm='ortho')
np.isclose(x, y); np.allclose(x, x); np.array_equal(x, y); np.nan_to_num(x); np.real(c); c.imag; np.conj(c); np.abs(c); np.angle(c); c * c; c / (c + 1); np.exp(c); np.sqrt(c)
x.astype('f8'); x.astype(int); i.astype('i1'); (x * 300).astype('u1'); x.astype(bool); i.astype('c8'); x.copy(); x.ravel(); x.flatten(); x.size; x.shape; x.dtype; len(x)
np.meshgrid(x[0], y[0]); np.lib.stride_tricks.sliding_window_view(x, 2, axis=1); np.atleast_2d(x[0]); np.bincount(i[0] % 5, minlength=6); np.sinc(x); np.select([x > 0.7, x > 0.3], [1.0, y], 0)
np.array([x[0, 0], 1.0, y[0, 0]]); np.array([[x[0], y[0]], [y[1], x[1]]]); np.full((2, 2), x[0, 0]); np.r_[x[0], 1.0, y[0]]; np.c_[x[0], y[0]]; sum(x); [r * 2 for r in x]; max(3, len(x))
"""

CASES = [
    e.strip() for line in EXPRESSIONS.strip().splitlines() for e in line.split(";")
]


def arguments(dtype):
    rng = np.random.default_rng(7)
    x, y = rng.uniform(0.05, 0.95, (2, 3, 4)).astype(dtype)
    i = rng.integers(0, 9, (3, 4))
    a = rng.normal(size=(3, 3))
    s = (a @ a.T + 3 * np.eye(3)).astype(dtype)
    c = (x + 1j * y).astype("c8" if dtype == np.float32 else "c16")
    return x, y, i, s, c


def assert_same(got, want, tolerance):
    if isinstance(want, list | tuple):
        assert type(got) is type(want)
        assert len(got) == len(want)
        for g, w in zip(got, want, strict=True):
            assert_same(g, w, tolerance)
        return
    assert type(got) is type(want)
    if isinstance(want, np.ndarray | np.generic):
        assert got.dtype == want.dtype
        assert got.shape == want.shape
        if want.dtype.kind in "fc":
            np.testing.assert_allclose(got, want, rtol=tolerance, atol=tolerance)
        else:
            np.testing.assert_array_equal(got, want)
    elif not callable(want):
        assert got == want


@pytest.mark.parametrize(("expression", "dtype"), in_turn(CASES, ("f4", "f8")))
def test_function(expression, dtype):
    dtype = np.dtype(dtype)
    scope = {"np": np}
    exec(f"def fn(x, y, i, s, c):\n    return {expression}\n", scope)
    with np.errstate(all="ignore"):
        want = scope["fn"](*arguments(dtype))
    got = tj.jit(scope["fn"])(*arguments(dtype))
    assert_same(got, want, 3e-5 if dtype == np.float32 else 1e-12)


@pytest.mark.filterwarnings("ignore:invalid value")
def test_the_operator_takes_roots_as_numpy_does():
    x = np.array([-np.inf, -1.0, -0.0, 4.0], np.float32)
    root = tj.jit(lambda x: x**0.5)
    assert [eqn.primitive.name for eqn in root.trace(x).graph.eqns] == ["sqrt"]
    np.testing.assert_array_equal(root(x), x**0.5)


@pytest.mark.parametrize("number", [2**31, 2**63 - 1, 2**63, 2**64 - 1, -(2**31) - 1])
def test_comparisons_with_numbers_that_the_dtype_cannot_hold(number):
    x = np.array([-(2**31), -1, 0, 2**31 - 1], np.int32)
    for compare in (np.less, np.greater_equal, np.equal):
        got = tj.jit(lambda x, f=compare: f(x, number))(x)
        np.testing.assert_array_equal(got, compare(x, number), strict=True)
