"""A call of every NumPy function that traces and has a derivative.

Expressions are of x and y (3, 4) in (0, 1), u and v (4,), s (3, 3) positive definite
after symmetrising, c complex (3, 4), and known integers i (3, 4).
"""

import numpy as np

SAMPLES = """
np.add: x + y, np.add(x, c), np.add.reduce(x), np.add.accumulate(x, 1), np.add.outer(u, v)
np.subtract: x - y, np.subtract(2, c)
np.multiply: x * y, x * c, np.multiply.reduce(x), np.multiply.accumulate(x), np.multiply.outer(u, v)
np.divide: x / y, c / x, 1 / c
np.divmod: np.divmod(x + 2.1, y)[1]
np.remainder: (x + 2.1) % y
np.fmod: np.fmod(x + 2.1, y)
np.power: x ** y, x ** 3, 2 ** x, x ** -0.5, c ** 2, c ** y, x ** 0, x ** 1
np.float_power: np.float_power(x, y)
np.negative: -x, -c
np.positive: +x
np.absolute: np.abs(x - 0.5), np.abs(c)
np.fabs: np.fabs(x - 0.5)
np.sign: np.sign(c)
np.square: np.square(x), np.square(c)
np.reciprocal: np.reciprocal(x), np.reciprocal(c)
np.sqrt: np.sqrt(x), np.sqrt(c)
np.cbrt: np.cbrt(x)
np.exp: np.exp(x), np.exp(c)
np.exp2: np.exp2(x), np.exp2(c)
np.expm1: np.expm1(x), np.expm1(c)
np.log: np.log(x), np.log(c)
np.log2: np.log2(x), np.log2(c)
np.log10: np.log10(x), np.log10(c)
np.log1p: np.log1p(x), np.log1p(c)
np.logaddexp: np.logaddexp(x, y)
np.logaddexp2: np.logaddexp2(x, y)
np.sin: np.sin(x), np.sin(c)
np.cos: np.cos(x), np.cos(c)
np.tan: np.tan(x), np.tan(c)
np.sinh: np.sinh(x), np.sinh(c)
np.cosh: np.cosh(x), np.cosh(c)
np.tanh: np.tanh(x), np.tanh(c)
np.arcsin: np.arcsin(x), np.arcsin(c)
np.arccos: np.arccos(x), np.arccos(c)
np.arctan: np.arctan(x), np.arctan(c)
np.arcsinh: np.arcsinh(x), np.arcsinh(c)
np.arccosh: np.arccosh(x + 1.1), np.arccosh(c)
np.arctanh: np.arctanh(x), np.arctanh(c)
np.arctan2: np.arctan2(x, y)
np.hypot: np.hypot(x, y)
np.deg2rad: np.deg2rad(x)
np.radians: np.radians(x)
np.rad2deg: np.rad2deg(x)
np.degrees: np.degrees(x)
np.copysign: np.copysign(x, y - 0.5)
np.maximum: np.maximum(x, y), np.maximum.accumulate(x, 1), np.maximum.reduce(x)
np.minimum: np.minimum(x, y), np.minimum.accumulate(x, 0), np.minimum.reduce(x)
np.fmax: np.fmax(x, y)
np.fmin: np.fmin(x, y)
np.conjugate: np.conj(c), np.conj(x)
np.heaviside: np.heaviside(0 * x, y)
np.ldexp: np.ldexp(x, i)
np.frexp: np.frexp(x)[0]
np.modf: np.modf(x)[0]
np.matmul: x @ y.T, x @ u, np.matmul(x[None], y.T[None]), c @ c.T
np.vecdot: np.vecdot(x, y), np.vecdot(c, c)
np.matvec: np.matvec(x, u)
np.vecmat: np.vecmat(u[:3], x)
np.linalg.cholesky: np.linalg.cholesky(s)
np.linalg.inv: np.linalg.inv(s)
np.linalg.det: np.linalg.det(s)
np.linalg.slogdet: np.linalg.slogdet(s)[1]
np.linalg.eigh: np.linalg.eigh(s)[0], np.linalg.eigh(s)[1] ** 2
np.linalg.eigvalsh: np.linalg.eigvalsh(s)
np.linalg.solve: np.linalg.solve(s, x), np.linalg.solve(s, u[:3])
np.linalg.svd: np.linalg.svd(x)[0] ** 2, np.linalg.svd(x)[2], np.linalg.svd(x.T, full_matrices=False)[0], np.linalg.svd(c)[1], np.abs(np.linalg.svd(c, full_matrices=False)[2]), np.linalg.svd(s, compute_uv=False), np.linalg.svd((s + s.T) / 2, hermitian=True)[2]
np.linalg.svdvals: np.linalg.svdvals(x), np.linalg.svdvals(c), np.linalg.svdvals(x[None].T)
np.linalg.qr: np.linalg.qr(x)[0], np.linalg.qr(x.T)[1], np.linalg.qr(c)[1], np.linalg.qr(c.T)[0], np.linalg.qr(x.T, 'complete')[0], np.linalg.qr(x, 'r'), np.linalg.qr(c.T, 'r')
np.linalg.eig: np.linalg.eig(s + x[:, :3])[0] + 0j, np.linalg.eig(s + x[:, :3])[1] + 0j, np.linalg.eig(s + c[:, 1:])[1]
np.linalg.eigvals: np.linalg.eigvals(s + x[:, :3]) + 0j, np.linalg.eigvals(c[:, :3])
np.linalg.pinv: np.linalg.pinv(x), np.linalg.pinv(c.T), np.linalg.pinv((s + s.T) / 2, hermitian=True), np.linalg.pinv(np.outer(u, v))
np.linalg.lstsq: np.linalg.lstsq(x.T, u)[0], np.linalg.lstsq(x.T, y.T)[1], np.linalg.lstsq(x, y[:, :2])[0], np.linalg.lstsq(c.T, u)[0], np.linalg.lstsq(x.T, u)[3]
np.linalg.tensorsolve: np.linalg.tensorsolve(s.reshape(3, 1, 3), u[:3, None])
np.linalg.tensorinv: np.linalg.tensorinv(s.reshape(3, 1, 3), ind=1)
np.linalg.cond: np.linalg.cond(x), np.linalg.cond(s, -2), np.linalg.cond(s, 1), np.linalg.cond(s, 'nuc'), np.linalg.cond(c[:, :3], 'fro')
np.linalg.vecdot: np.linalg.vecdot(x, y), np.linalg.vecdot(c, c, axis=0)
np.linalg.norm: np.linalg.norm(x), np.linalg.norm(x, axis=1), np.linalg.norm(x, 3, axis=0), np.linalg.norm(c), np.linalg.norm(u, 1), np.linalg.norm(u, np.inf), np.linalg.norm(x, 2), np.linalg.norm(c, 'nuc'), np.linalg.norm(x, -2), np.linalg.norm(x, 1), np.linalg.norm(x, -np.inf)
np.linalg.vector_norm: np.linalg.vector_norm(x), np.linalg.vector_norm(x, axis=1)
np.linalg.matrix_norm: np.linalg.matrix_norm(x), np.linalg.matrix_norm(x[None], ord=2)
np.linalg.matrix_power: np.linalg.matrix_power(s, 3), np.linalg.matrix_power(s, -2)
np.linalg.multi_dot: np.linalg.multi_dot([x, y.T, x])
np.linalg.matmul: np.linalg.matmul(x, y.T)
np.linalg.matrix_transpose: np.linalg.matrix_transpose(x)
np.linalg.cross: np.linalg.cross(x[:, :3], y[:, :3])
np.linalg.diagonal: np.linalg.diagonal(s)
np.linalg.outer: np.linalg.outer(u, v)
np.linalg.tensordot: np.linalg.tensordot(x, y)
np.linalg.trace: np.linalg.trace(s)
np.fft.fft: np.fft.fft(x), np.fft.fft(c, norm='ortho'), np.fft.fft(x, n=6), np.fft.fft(x, n=3)
np.fft.ifft: np.fft.ifft(c, axis=0)
np.fft.rfft: np.fft.rfft(x), np.fft.rfft(x, n=5)
np.fft.irfft: np.fft.irfft(c), np.fft.irfft(c, n=5)
np.fft.fft2: np.fft.fft2(x)
np.fft.ifft2: np.fft.ifft2(c)
np.fft.fftn: np.fft.fftn(x)
np.fft.ifftn: np.fft.ifftn(c)
np.fft.rfftn: np.fft.rfftn(x), np.fft.rfftn(x, s=(3, 5), axes=(0, 1))
np.fft.rfft2: np.fft.rfft2(x)
np.fft.irfftn: np.fft.irfftn(c)
np.fft.irfft2: np.fft.irfft2(c)
np.fft.hfft: np.fft.hfft(c), np.fft.hfft(c, n=5, norm='forward')
np.fft.ihfft: np.fft.ihfft(x)
np.fft.fftshift: np.fft.fftshift(x)
np.fft.ifftshift: np.fft.ifftshift(x)
np.sum: np.sum(x), x.sum(0), np.sum(x, axis=-1, keepdims=True), np.sum(x, where=x > 0.5), np.sum(c), np.sum(x, initial=u[0])
np.prod: np.prod(x), np.prod(x, axis=0), np.prod(c, axis=1)
np.mean: np.mean(x), x.mean(1), np.mean(c), np.mean(x, where=x > 0.3)
np.var: np.var(x), np.var(x, axis=1, ddof=1, keepdims=True), np.var(c)
np.std: np.std(x), x.std(0)
np.max: np.max(x), np.max(x, axis=(0, 1)), np.max(x, 0, initial=0.5)
np.min: np.min(x), x.min(axis=0)
np.ptp: np.ptp(x, 1)
np.cumsum: np.cumsum(x), np.cumsum(x, axis=1)
np.cumprod: np.cumprod(x, 0), np.cumprod(x)
np.cumulative_sum: np.cumulative_sum(x, axis=1)
np.cumulative_prod: np.cumulative_prod(x, axis=1, include_initial=True)
np.diff: np.diff(x), np.diff(x, n=2, axis=0)
np.average: np.average(x, weights=y), np.average(x, axis=0)
np.nansum: np.nansum(x, 0)
np.nanprod: np.nanprod(x, 0)
np.nanmean: np.nanmean(x, 0)
np.nanmax: np.nanmax(x)
np.nanmin: np.nanmin(x, 1)
np.nanstd: np.nanstd(x)
np.nanvar: np.nanvar(x, 0)
np.median: np.median(x), np.median(x, axis=0)
np.quantile: np.quantile(x, 0.3), np.quantile(x, [0.2, 0.9], axis=1)
np.percentile: np.percentile(x, 70, axis=1)
np.nanmedian: np.nanmedian(np.where(i == 1, np.nan, x), axis=1)
np.nanquantile: np.nanquantile(np.where(i == 1, np.nan, x), 0.4, axis=1), np.nanquantile(x, [0.2, 0.7])
np.nanpercentile: np.nanpercentile(x, 30, axis=0)
np.choose: np.choose(i % 2, [x, y])
np.piecewise: np.piecewise(x, [x < 0.3, x > 0.6], [0.0, lambda t: t * t])
np.linspace: np.linspace(x, y, 3), np.linspace(x[0, 0], 2.0, 5)
np.logspace: np.logspace(u, v, 3)
np.geomspace: np.geomspace(u, v, 3)
np.polyfit: np.polyfit(u, v, 1), np.polyfit(u, v, 1, cov=True)[1]
np.poly: np.poly(u), np.poly(c[0]), np.poly(s)
np.polymul: np.polymul(u, v)
np.polydiv: np.polydiv(u, v[:2])[0], np.polydiv(u, v[:2])[1]
np.roots: np.roots(u) + 0j, np.roots(c[0])
np.delete: np.delete(x, 1, axis=0)
np.insert: np.insert(x, 1, u, axis=0)
np.histogram: np.histogram(u, 3, range=(0, 1), weights=v)[0]
np.histogram_bin_edges: np.histogram_bin_edges(x, 3)
np.sort: np.sort(x), np.sort(x, axis=0), np.sort(x, axis=None)
np.partition: np.partition(x, 2)
np.cov: np.cov(x), np.cov(u, v)
np.corrcoef: np.corrcoef(x)
np.convolve: np.convolve(u, v), np.convolve(u, v[:3], 'same')
np.correlate: np.correlate(u, v[:2]), np.correlate(u, v, 'full')
np.cross: np.cross(x[:, :3], y[:, :3])
np.dot: np.dot(x, y.T), np.dot(u, v), np.dot(x, 2.0)
np.vdot: np.vdot(x, y), np.vdot(c, c)
np.inner: np.inner(x, y)
np.outer: np.outer(u, v)
np.kron: np.kron(x[:2, :2], y[:2])
np.tensordot: np.tensordot(x, y, ([1], [1])), np.tensordot(x, y, 2)
np.einsum: np.einsum('ij,kj->ik', x, y), np.einsum('ii->i', s), np.einsum('ij,jk,kl->il', x, y.T, x), np.einsum('ij,j->', c, u)
np.trace: np.trace(s)
np.gradient: np.gradient(u), np.gradient(x, axis=1)
np.interp: np.interp(u, np.linspace(0, 1, 4), v)
np.clip: np.clip(x, 0.2, 0.8), np.clip(x, None, y)
np.where: np.where(x > 0.5, x, y), np.where(i > 3, x, 0)
np.select: np.select([x > 0.7, x > 0.3], [x, y], 0)
np.sinc: np.sinc(x)
np.nan_to_num: np.nan_to_num(x)
np.real: np.real(c), np.real(x)
np.imag: np.imag(c)
np.angle: np.angle(c)
np.reshape: np.reshape(x, (2, 6)), x.reshape(-1)
np.ravel: np.ravel(x), x.flatten()
np.transpose: x.T, np.transpose(x[None], (2, 0, 1))
np.matrix_transpose: np.matrix_transpose(x)
np.swapaxes: np.swapaxes(x, 0, 1)
np.moveaxis: np.moveaxis(x, 0, -1)
np.rollaxis: np.rollaxis(x, 1)
np.expand_dims: np.expand_dims(x, 1), x[None]
np.squeeze: np.squeeze(x[:, None])
np.atleast_1d: np.atleast_1d(x[0, 0])
np.atleast_2d: np.atleast_2d(u)
np.atleast_3d: np.atleast_3d(x)
np.broadcast_to: np.broadcast_to(u, (2, 4))
np.broadcast_arrays: np.broadcast_arrays(x, u)[1]
np.meshgrid: np.meshgrid(u, v)[0]
np.flip: np.flip(x), np.flip(x, 0)
np.fliplr: np.fliplr(x)
np.flipud: np.flipud(x)
np.rot90: np.rot90(x)
np.roll: np.roll(x, 1), np.roll(x, -2, axis=1)
np.concatenate: np.concatenate([x, y]), np.concatenate([x, y], axis=None)
np.stack: np.stack([x, y], -1)
np.unstack: np.unstack(x)[1]
np.vstack: np.vstack([u, v])
np.hstack: np.hstack([x, y])
np.dstack: np.dstack([x, y])
np.column_stack: np.column_stack([u[:3], y])
np.append: np.append(x, y)
np.block: np.block([[x, y], [y, x]])
np.split: np.split(x, 2, axis=1)[1]
np.array_split: np.array_split(x, 3, axis=1)[0]
np.hsplit: np.hsplit(x, 2)[0]
np.vsplit: np.vsplit(x, 3)[2]
np.repeat: np.repeat(x, 2), np.repeat(x, [1, 2, 0], axis=0)
np.tile: np.tile(x, (2, 1, 2))
np.pad: np.pad(x, 1), np.pad(x, 1, mode='edge'), np.pad(x, 1, mode='reflect'), np.pad(u, 2, mode='wrap')
np.tril: np.tril(x)
np.triu: np.triu(x, 1)
np.diag: np.diag(u), np.diag(s)
np.diagflat: np.diagflat(u)
np.diagonal: np.diagonal(s)
np.take: np.take(x, [0, 2], axis=0), np.take(x, i[0] % 3)
np.take_along_axis: np.take_along_axis(x, np.argsort(x, 1), 1)
np.compress: np.compress([True, False, True], x, axis=0)
np.put: written(x, lambda a: np.put(a, [1, 5], u[:2]))
np.put_along_axis: written(x, lambda a: np.put_along_axis(a, i[:, :1] % 4, y[:, :1], 1))
np.copyto: written(x, lambda a: np.copyto(a, y, where=i > 4))
np.fill_diagonal: written(s, lambda a: np.fill_diagonal(a, u[0]))
np.copy: np.copy(x)
np.astype: np.astype(x, np.complex128)
np.around: np.round(x + 0.012, 1) * x
np.bincount: np.bincount(i[0] % 3, weights=u, minlength=3)
np.full_like: np.full_like(x, u[1])
np.lib.stride_tricks.sliding_window_view: np.lib.stride_tricks.sliding_window_view(x, 2, axis=1)
tj.random.drawing.fma: tj.random.drawing.fma(x, y, x * x)
tj.random.continuous.erfc: tj.random.continuous.erfc(x)
tj.nn.conv: tj.nn.conv(x[None, None], y[None, None, :2, :2])
tj.nn.conv_general: tj.nn.conv_transpose(x[None, None], y[None, None, :2, :2])
tj.scipy.linalg.triangular: tj.scipy.linalg.solve_triangular(s, v[:3])
tj.scipy.linalg.factors: tj.scipy.linalg.lu(s)[2]
tj.nn.avg_pool: tj.nn.avg_pool(x[None, None], 2)
tj.nn.max_pool: tj.nn.max_pool(x[None, None], 2)
scipy.special.erf: scipy.special.erf(x)
scipy.special.erfc: scipy.special.erfc(x)
scipy.special.expit: scipy.special.expit(x)
scipy.special.gammaln: scipy.special.gammaln(x)
scipy.special.loggamma: scipy.special.loggamma(x)
scipy.special.gamma: scipy.special.gamma(x)
scipy.special.rgamma: scipy.special.rgamma(x)
scipy.special.psi: scipy.special.psi(x)
scipy.special.zeta: scipy.special.zeta(2.5, x)
scipy.special.erfinv: scipy.special.erfinv(x)
scipy.special.erfcinv: scipy.special.erfcinv(x)
scipy.special.erfcx: scipy.special.erfcx(x)
scipy.special.erfi: scipy.special.erfi(x)
scipy.special.dawsn: scipy.special.dawsn(x)
scipy.special.ndtr: scipy.special.ndtr(x)
scipy.special.ndtri: scipy.special.ndtri(x)
scipy.special.log_ndtr: scipy.special.log_ndtr(x - 8)
scipy.special.logit: scipy.special.logit(x)
scipy.special.log_expit: scipy.special.log_expit(x)
scipy.special.entr: scipy.special.entr(x)
scipy.special.rel_entr: scipy.special.rel_entr(x, y)
scipy.special.kl_div: scipy.special.kl_div(x, y)
scipy.special.xlogy: scipy.special.xlogy(x, y)
scipy.special.xlog1py: scipy.special.xlog1py(x, y)
scipy.special.spence: scipy.special.spence(x)
scipy.special.expn: scipy.special.expn(2, x)
scipy.special.exp1: scipy.special.exp1(x)
scipy.special.expi: scipy.special.expi(x)
scipy.special.exp10: scipy.special.exp10(x)
scipy.special.exp2: scipy.special.exp2(x)
scipy.special.expm1: scipy.special.expm1(x)
scipy.special.log1p: scipy.special.log1p(x)
scipy.special.cbrt: scipy.special.cbrt(x)
scipy.special.cosm1: scipy.special.cosm1(x)
scipy.special.i0: scipy.special.i0(x)
scipy.special.i1: scipy.special.i1(x)
scipy.special.i0e: scipy.special.i0e(x)
scipy.special.i1e: scipy.special.i1e(x)
scipy.special.j0: scipy.special.j0(x)
scipy.special.j1: scipy.special.j1(x)
scipy.special.y0: scipy.special.y0(x)
scipy.special.y1: scipy.special.y1(x)
scipy.special.k0: scipy.special.k0(x)
scipy.special.k1: scipy.special.k1(x)
scipy.special.jv: scipy.special.jv(1.5, x)
scipy.special.yv: scipy.special.yv(1.5, x)
scipy.special.iv: scipy.special.iv(1.5, x)
scipy.special.kv: scipy.special.kv(1.5, x)
scipy.special.ellipk: scipy.special.ellipk(x)
scipy.special.ellipe: scipy.special.ellipe(x)
scipy.special.beta: scipy.special.beta(x, y)
scipy.special.betaln: scipy.special.betaln(x, y)
scipy.special.gammainc: scipy.special.gammainc(1.5, x)
scipy.special.gammaincc: scipy.special.gammaincc(1.5, x)
scipy.special.betainc: scipy.special.betainc(1.5, 2.5, x)
"""  # noqa: E501

# Functions that trace and whose results have no derivative, by reason.
WITHOUT_DERIVATIVE = {
    "truth values": """
        np.all np.any np.allclose np.array_equal np.isclose np.iscomplexobj np.isreal
        np.isrealobj np.equal np.not_equal np.less np.less_equal np.greater
        np.greater_equal np.isnan np.isinf np.isfinite np.signbit np.logical_and
        np.logical_or np.logical_xor np.logical_not np.array_equiv np.can_cast np.isin
        np.may_share_memory np.shares_memory""",
    "integers": """
        np.argmax np.argmin np.argsort np.argpartition np.lexsort np.count_nonzero
        np.digitize np.searchsorted np.linalg.matrix_rank np.ndim np.shape np.size
        np.bitwise_and np.bitwise_or
        np.bitwise_xor np.bitwise_count np.invert np.left_shift np.right_shift np.gcd
        np.lcm np.ix_ np.lexsort np.nanargmax np.nanargmin np.packbits np.unpackbits
        np.ravel_multi_index np.unravel_index""",
    "no arrays": "np.result_type np.einsum_path",
    "writes in place, tested with those": "np.place np.putmask",
    "a shape that depends on the data": """
        np.argwhere np.extract np.flatnonzero np.intersect1d
        np.setdiff1d np.setxor1d np.trim_zeros np.union1d np.unique""",
    "steps, with derivative zero": """
        np.floor_divide np.floor np.ceil np.trunc np.rint np.spacing np.nextafter
        """,
    "dtypes and what follows from them": "np.result_type np.can_cast",
    "constants, made of known values alone": """
        np.nonzero np.unique_all np.unique_counts np.unique_inverse np.unique_values
        """,
    "constants, whatever the argument": "np.zeros_like np.ones_like np.empty_like",
}


def arguments() -> dict[str, np.ndarray]:
    """Return the arguments of the expressions: generic points, far from ties."""
    rng = np.random.default_rng(7)
    x, y = (rng.permuted(np.linspace(0.06, 0.95, 12)).reshape(3, 4) for _ in "xy")
    y = y + 0.021  # no ties between the two
    u, v = rng.permuted(np.linspace(0.1, 0.9, 8)).reshape(2, 4)
    a = rng.normal(size=(3, 3))
    c = x + 1j * rng.permuted(np.linspace(0.1, 0.9, 12)).reshape(3, 4)
    return {"x": x, "y": y, "u": u, "v": v, "s": a @ a.T + 3 * np.eye(3), "c": c}


def table() -> dict[str, list[str]]:
    """Return the sample calls by the name of the function, of those there are."""
    lines = (line.partition(": ") for line in SAMPLES.strip().splitlines())
    return {name: _split(calls) for name, _, calls in lines if _is_there(name)}


def _is_there(name: str) -> bool:
    """Tell whether this NumPy has a function; names of methods are always there."""
    owner, _, attribute = name.rpartition(".")
    return owner != "np" or hasattr(np, attribute)


def _split(calls: str) -> list[str]:
    """Split at commas outside of brackets."""
    out, depth, start = [], 0, 0
    for i, character in enumerate(calls):
        depth += (character in "([") - (character in ")]")
        if character == "," and not depth:
            out.append(calls[start:i].strip())
            start = i + 1
    return [*out, calls[start:].strip()]
