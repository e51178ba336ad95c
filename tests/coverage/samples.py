"""An example call of each public function of NumPy, and why others do not trace.

Examples are expressions over the arguments that `arguments` makes; a line is a function
and its examples. Ufuncs have none: theirs are made from their signatures.
"""

from collections.abc import Iterator

import numpy as np

Table = dict[str, list[str]]

NUMPY = """
all: np.all(b); np.all(x > 0, axis=1, keepdims=True); np.all(b, axis=(0, 1)); np.all(b, where=x > 0.5)
allclose: np.allclose(x, x + 1e-12)
amax: np.amax(x, 0)
amin: np.amin(x, 0)
angle: np.angle(c); np.angle(c, deg=True)
any: np.any(b); np.any(x > 0.9, axis=0, where=b)
append: np.append(x, y); np.append(x, y, axis=1)
apply_along_axis: np.apply_along_axis(lambda r: r.sum() * 2, 1, x); np.apply_along_axis(np.sort, 0, x); np.apply_along_axis(lambda r: np.outer(r, r), 1, x)
apply_over_axes: np.apply_over_axes(np.sum, x, [0, 1])
arange: np.arange(5) * x[0, 0]; np.arange(1.0, 2.0, 0.25) + x[0]
argmax: np.argmax(x); np.argmax(x, axis=1, keepdims=True)
argmin: np.argmin(x); np.argmin(x, axis=0)
argpartition: np.sort(np.take_along_axis(x, np.argpartition(x, 1, axis=1), 1)[:, :2], 1)
argsort: np.argsort(x, axis=0); np.argsort(v, stable=True)
around: np.around(x, 1)
array: np.array([x[0, 0], 2.0]); np.array([x, y]); np.array(x, dtype='f4')
array_equal: np.array_equal(x, x); np.array_equal(x, y)
array_equiv: np.array_equiv(x, x[None]); np.array_equiv(x, y)
array_split: np.array_split(v, 5); np.array_split(x, [1, 2], axis=1)
asanyarray: np.asanyarray(x) + 1
asarray: np.asarray(x, dtype='f4')
asarray_chkfinite: np.asarray_chkfinite(x)
ascontiguousarray: np.ascontiguousarray(x.T)
asfortranarray: np.asfortranarray(x) + 1
astype: np.astype(x, np.float32)
atleast_1d: np.atleast_1d(x[0, 0]); np.atleast_1d(x, x[0])
atleast_2d: np.atleast_2d(v)
atleast_3d: np.atleast_3d(x)
average: np.average(x); np.average(x, axis=1, weights=y); np.average(x, axis=0, weights=v[:3]); np.average(x, axis=0, weights=y, returned=True); np.average(x, axis=0, returned=True)
bartlett: np.bartlett(4) * x
bincount: np.bincount(j, minlength=9); np.bincount(j, weights=v, minlength=9)
blackman: np.blackman(4) * x
block: np.block([[x, y], [y, x]])
broadcast_arrays: np.broadcast_arrays(x, v[:4])
broadcast_shapes: x + np.zeros(np.broadcast_shapes(x.shape, (1, 4)))
broadcast_to: np.broadcast_to(v[:4], (2, 4))
can_cast: np.can_cast(x.dtype, np.float32)
choose: np.choose(i % 3, [x, y, 0.5]); np.choose(i, [x, y], mode='clip'); np.choose(i, [x, y], mode='wrap')
clip: np.clip(x, 0.2, 0.8); np.clip(x, None, y); np.clip(i, 2, 5); np.clip(x, min=0.5)
column_stack: np.column_stack([v, w]); np.column_stack([x, y])
common_type: np.zeros(2, np.common_type(x, c)) * x[0, 0]
compress: np.compress([True, False, True], x, axis=0)
concat: np.concat([x, y])
concatenate: np.concatenate([x, y], axis=1); np.concatenate([x, i], axis=None); np.concatenate([x, y], dtype='f4')
convolve: np.convolve(v, w); np.convolve(v, w[:3], 'same'); np.convolve(v, w[:3], 'valid')
copy: np.copy(x)
copyto: copied(x, y); copied(x, y, where=b)
corrcoef: np.corrcoef(x); np.corrcoef(v, w)
correlate: np.correlate(v, w[:3]); np.correlate(v, w[:3], 'full')
count_nonzero: np.count_nonzero(b); np.count_nonzero(i, axis=1, keepdims=True)
cov: np.cov(x); np.cov(x, y); np.cov(x, rowvar=False, bias=True, fweights=[1, 2, 1]); np.cov(x, aweights=v[:4])
cross: np.cross([v[0], v[1], 0.0], w[:3]); np.cross(x[:, :3], y[:, :3]); np.cross(x.T, y.T, axis=1)
cumprod: np.cumprod(x, axis=1); np.cumprod(i % 3)
cumsum: np.cumsum(x); np.cumsum(i, axis=0); np.cumsum(x, axis=1, dtype='f4')
cumulative_prod: np.cumulative_prod(v); np.cumulative_prod(x, axis=1, include_initial=True)
cumulative_sum: np.cumulative_sum(v); np.cumulative_sum(x, axis=0, include_initial=True)
delete: np.delete(x, j[0] % 3, axis=0); np.delete(x, 1, axis=1); np.delete(x, [0, 2], 0); np.delete(v, slice(1, 5)); np.delete(x, 3)
diag: np.diag(v[:3]); np.diag(x, 1); np.diag(v[:3], -1)
diag_indices: x[np.diag_indices(3)]
diag_indices_from: s[np.diag_indices_from(s)]
diagflat: np.diagflat(x[:2, :2], 1)
diagonal: np.diagonal(x); np.diagonal(x, 1)
diff: np.diff(x); np.diff(x, 2, axis=0); np.diff(v, prepend=0.0, append=w[:2])
digitize: np.digitize(x, [0.7, 0.5, 0.2]); np.digitize(n, v[:1]); np.digitize(x, np.array([0.2, 0.5, 0.7])); np.digitize(x, np.array([0.2, 0.5]), right=True)
dot: np.dot(x, y.T); np.dot(v, w); np.dot(x, 2.0); np.dot(x, w[:4])
dsplit: np.dsplit(x[None], 2)
dstack: np.dstack([x, y])
ediff1d: np.ediff1d(x); np.ediff1d(x, to_begin=0.0, to_end=1.0)
einsum: np.einsum('ij,kj->ik', x, y); np.einsum('ii', s); np.einsum('ij,ij->j', x, y); np.einsum('...j,j', x, w[:4]); np.einsum(x, [0, 1], y, [2, 1], [0, 2])
einsum_path: np.einsum_path('ij,jk', x, y.T)[0]
empty: filled(np.empty((2, 3)), x[0, 0])
empty_like: filled(np.empty_like(x), 2.0)
expand_dims: np.expand_dims(x, 1); np.expand_dims(x, (0, 2))
eye: np.eye(3) @ x; np.eye(3, 4, 1) + x
fill_diagonal: diagonal_filled(x, 2.0); diagonal_filled(s, v[:3])
fix: np.fix(x * 9 - 4)
flip: np.flip(x); np.flip(x, (0, 1))
fliplr: np.fliplr(x)
flipud: np.flipud(x)
fromfunction: np.fromfunction(lambda p, q: p + q, (3, 4)) * x
full: np.full((2, 2), x[0, 0]); np.full((3, 4), 2.0) + x
full_like: np.full_like(x, 3); np.full_like(i, 7)
geomspace: np.geomspace(1, 1000, 4) * x; np.geomspace(v[0], w[0], 5); np.geomspace(c[0], c[1], 3)
gradient: np.gradient(x); np.gradient(x, 0.5, axis=1); np.gradient(v, w.cumsum()); np.gradient(v, w.cumsum(), edge_order=2); np.gradient(x, 2.0, edge_order=2, axis=1)
hamming: np.hamming(4) * x
hanning: np.hanning(4) * x
histogram: np.histogram(v, bins=4, range=(0, 1)); np.histogram(x, 5); np.histogram(x, np.array([0.0, 0.3, 1.0])); np.histogram(v, 4, weights=w); np.histogram(v, 4, density=True)
histogram2d: np.histogram2d(v, w, bins=3); np.histogram2d(v, w, bins=[2, 3], range=[[0, 1], [0, 1]], density=True)
histogram_bin_edges: np.histogram_bin_edges(x, 7)
histogramdd: np.histogramdd(x.T[:, :2], bins=3, range=[[0, 1], [0, 1]])[0]
hsplit: np.hsplit(x, 2)
hstack: np.hstack([x, y]); np.hstack([v, w])
i0: np.i0(x * 20)
identity: np.identity(3) + s
imag: np.imag(c); np.imag(x)
indices: np.indices((3, 4)) * x
inner: np.inner(x, y); np.inner(v, w)
insert: np.insert(x, j[0] % 3, w[:4], axis=0); np.insert(x, 1, 5.0, axis=0); np.insert(x, [1, 3], y[:, :2], axis=1); np.insert(v, 2, w[:3]); np.insert(x, 1, 9.0)
interp: np.interp(y, np.array([0.1, 0.5, 0.9]), w[:3]); np.interp(v, np.sort(w), v, left=-1.0, right=2.0); np.interp(v * 9, np.array([0.1, 0.5, 0.9]), w[:3], period=1.0)
isclose: np.isclose(x, y); np.isclose(x, x + 1e-9, equal_nan=True)
iscomplex: np.iscomplex(c); np.iscomplex(x)
iscomplexobj: np.iscomplexobj(c)
isdtype: np.isdtype(x.dtype, 'real floating')
isfortran: np.isfortran(x)
isin: np.isin(i, [1, 2, 3]); np.isin(x, y, invert=True)
isneginf: np.isneginf(x / 0 - x)
isposinf: np.isposinf(x / 0)
isreal: np.isreal(c)
isrealobj: np.isrealobj(x)
isscalar: np.isscalar(x)
issubdtype: np.issubdtype(x.dtype, np.floating)
iterable: np.iterable(x)
ix_: x[np.ix_([0, 2], [1, 3])]; x[np.ix_(j[:2] % 3, [0, 1])]
kaiser: np.kaiser(4, 14.0) * x
kron: np.kron(x, y[:2]); np.kron(v[:2], w[:3])
lexsort: np.lexsort((v, w)); np.lexsort((x, i)); np.lexsort(np.array([[3, 1, 2], [1, 1, 0]])) + j[:3]
linspace: np.linspace(x[0, 0], 2.0, 5); np.linspace(v, w, 3); np.linspace(0, 1, 4) + x; np.linspace(v[0], w[0], 4, endpoint=False, retstep=True); np.linspace(v, w, 3, axis=-1)
logspace: np.logspace(0, 2, 4) * x; np.logspace(v[0], w[0], 3)
mask_indices: s[np.mask_indices(3, np.triu)]
matrix_transpose: np.matrix_transpose(x)
max: np.max(x); np.max([v[0], w[1], 0.5]); np.max(x, axis=1, keepdims=True); np.max(x, axis=0, initial=0.5); np.max(x, where=b, initial=0.0)
may_share_memory: np.may_share_memory(x, y)
mean: np.mean(x); np.mean(i, axis=0); np.mean(x, axis=(0, 1), keepdims=True); np.mean(x, where=x > 0.3); np.mean(x, dtype='f4')
median: np.median(x); np.median(x, axis=(0, 1), keepdims=True); np.median(i, axis=1)
meshgrid: np.meshgrid(v, w[:3]); np.meshgrid(v, w[:3], indexing='ij', sparse=True)
min: np.min(x); np.min(x, axis=0)
min_scalar_type: np.min_scalar_type(10)
mintypecode: np.mintypecode(['f', 'd'])
moveaxis: np.moveaxis(x[None], 0, -1); np.moveaxis(x[None], [0, 1], [1, 0])
nan_to_num: np.nan_to_num(n); np.nan_to_num(n, nan=1.0, posinf=2.0)
nanargmax: np.nanargmax(n, axis=1); np.nanargmax(n)
nanargmin: np.nanargmin(n, axis=0)
nancumprod: np.nancumprod(n, axis=1)
nancumsum: np.nancumsum(n)
nanmax: np.nanmax(n); np.nanmax(n, axis=1, keepdims=True)
nanmean: np.nanmean(n); np.nanmean(n, axis=0); np.nanmean(n, where=b)
nanmedian: np.nanmedian(n, axis=1); np.nanmedian(n)
nanmin: np.nanmin(n, axis=0)
nanpercentile: np.nanpercentile(n, 30, axis=1); np.nanpercentile(n, [10, 50]); np.nanpercentile(n, 40, axis=1, weights=y, method='inverted_cdf')
nanprod: np.nanprod(n, axis=0); np.nanprod(n, initial=2.0)
nanquantile: np.nanquantile(n, 0.3, axis=1, method='hazen'); np.nanquantile(n, 0.4, axis=1, weights=y, method='inverted_cdf')
nanstd: np.nanstd(n, axis=1, ddof=1); np.nanstd(n)
nansum: np.nansum(n, axis=1); np.nansum(n, where=b)
nanvar: np.nanvar(n, axis=0); np.nanvar(n, keepdims=True)
ndim: np.ndim(x)
ones: np.ones(4) + x; np.ones((2, 3), 'i4') * x[0, 0]
ones_like: np.ones_like(x); np.ones_like(i, dtype='f4')
outer: np.outer(v, w)
packbits: np.packbits(b); np.packbits(b, axis=1, bitorder='little')
pad: np.pad(x, 1); np.pad(x, ((1, 0), (0, 2)), constant_values=3.0); np.pad(x, 1, 'edge'); np.pad(x, 2, 'reflect'); np.pad(x, 2, 'symmetric'); np.pad(x, 2, 'wrap'); np.pad(x, 1, 'mean'); np.pad(x, 1, 'maximum'); np.pad(x, 1, 'median'); np.pad(x, 2, 'linear_ramp', end_values=1.0); np.pad(x, 1, constant_values=((1, 2), (3, 4)))
partition: np.partition(v, 3)[3]; np.max(np.partition(x, 1, axis=1)[:, :2], axis=1)
percentile: np.percentile(x, 30); np.percentile(x, [10, 70], axis=0, method='lower'); np.percentile(x, 40, axis=1, weights=y, method='inverted_cdf')
permute_dims: np.permute_dims(x, (1, 0))
piecewise: np.piecewise(x, [x < 0.3, x > 0.6], [1.0, lambda t: t * 2]); np.piecewise(v, [v < 0.3], [0.0, np.exp])
place: placed(x, x > 0.5, [1.0, 2.0])
poly: np.poly(v[:4]); np.poly(s); np.poly(c[0])
polyadd: np.polyadd(v[:3], w[:5])
polydiv: np.polydiv(v[:5], w[:3]); np.polydiv(v[:2], w[:4])
polyder: np.polyder(v); np.polyder(v, 2)
polyfit: np.polyfit(v, w, 2); np.polyfit(v, w, 3, w=v); np.polyfit(v, w, 2, cov=True); np.polyfit(v, w, 2, full=True)
polyint: np.polyint(v); np.polyint(v, 2, k=1.0)
polymul: np.polymul(v[:3], w[:4]); np.polymul(np.array([0.0, 1.0]), w[:4])
polysub: np.polysub(v[:4], w[:2])
polyval: np.polyval(v[:4], x); np.polyval([1.0, 2.0], x)
prod: np.prod(x); np.prod(i % 4 + 1, axis=1); np.prod(x, axis=0, initial=2.0, where=b)
promote_types: np.zeros(2, np.promote_types(x.dtype, 'c8')) + x[0, 0]
ptp: np.ptp(x); np.ptp(x, axis=1, keepdims=True)
put: put_into(x, [0, 5, -1], [9.0, 8.0, 7.0]); put_into(x, j, v, mode='wrap'); put_into(x, j, [1.0, 2.0], mode='clip')
put_along_axis: put_along(x, i[:, :2] % 4, 9.0); put_along(x, np.argsort(x, 1)[:, :1], 0.0)
putmask: masked(x, x > 0.5, [1.0, 2.0, 3.0])
quantile: np.quantile(x, 0.3); np.quantile(x, [0.1, 0.9], axis=1, keepdims=True); np.quantile(x, 0.4, method='median_unbiased'); np.quantile(i, 0.4, method='nearest'); np.quantile(x, 0.4, axis=1, weights=y, method='inverted_cdf')
ravel: np.ravel(x); np.ravel(x, 'F')
ravel_multi_index: np.ravel_multi_index((j % 3, j % 4), (3, 4)); np.ravel_multi_index((j, j), (3, 4), mode='clip', order='F')
real: np.real(c); np.real(x)
real_if_close: np.real_if_close(x)
repeat: np.repeat(x, 2); np.repeat(x, [1, 2, 0], axis=0)
require: np.require(x, 'f4')
reshape: np.reshape(x, (2, 6)); np.reshape(x, -1, order='F')
resize: np.resize(x, (5, 4))
result_type: np.zeros(2, np.result_type(x, np.float32)) + x[0, 0]
roll: np.roll(x, j[0]); np.roll(x, j[:2], axis=(0, 1)); np.roll(x, 1); np.roll(x, (1, 2), axis=(0, 1))
rollaxis: np.rollaxis(x[None], 2)
roots: np.sort(np.roots(v[:4]).real)
rot90: np.rot90(x); np.rot90(x, 3)
round: np.round(x, 2); np.round(i); np.round(x * 1000, -2)
searchsorted: np.searchsorted(np.sort(v), n); np.searchsorted(np.sort(v), w); np.searchsorted(np.sort(v), 0.5, side='right'); np.searchsorted(v, w, sorter=np.argsort(v))
select: np.select([x > 0.7, x > 0.3], [1.0, y], 0); np.select([x > 0.7], [i])
shape: np.zeros(np.shape(x)) + x
shares_memory: np.shares_memory(x, y)
sinc: np.sinc(x); np.sinc(x - x)
size: np.size(x) * x
sort: np.sort(x); np.sort(x, axis=None); np.sort(i, axis=0, kind='stable')
sort_complex: np.sort_complex(x)
split: np.split(x, 2, axis=1); np.split(v, [2, 5])
squeeze: np.squeeze(x[:, None]); np.squeeze(x[:, :1], axis=1)
stack: np.stack([x, y], axis=-1); np.stack([v, w], dtype='f4')
std: np.std(x); np.std(x, axis=0, ddof=1, keepdims=True); np.std(x, where=x > 0.3); np.std(i)
sum: np.sum(x); np.sum([x[0, 0], 2.0, y[1, 1]]); np.sum([x, y], axis=0); np.sum(x, axis=1, keepdims=True); np.sum(b); np.sum(x, where=b, initial=1.0); np.sum(x, dtype='f4'); np.sum(i, axis=(0, 1))
swapaxes: np.swapaxes(x, 0, 1)
take: np.take(x, [0, 5]); np.take(x, j % 3, axis=0); np.take(x, j, mode='wrap'); np.take(x, j, axis=1, mode='clip')
take_along_axis: np.take_along_axis(x, np.argsort(x, 1), 1); np.take_along_axis(x, i % 3, 0)
tensordot: np.tensordot(x, y, ([1], [1])); np.tensordot(x, y.T, 1)
tile: np.tile(x, 2); np.tile(x, (2, 1, 2))
trace: np.trace(s); np.trace(x, 1)
transpose: np.transpose(x); np.transpose(x[None], (2, 0, 1))
trapezoid: np.trapezoid(x); np.trapezoid(y, x); np.trapezoid(y, dx=0.5, axis=0)
tri: np.tri(3, 4) * x
tril: np.tril(x); np.tril(x, -1)
tril_indices: s[np.tril_indices(3)]
tril_indices_from: s[np.tril_indices_from(s)]
triu: np.triu(x, 1); np.triu(i)
triu_indices: s[np.triu_indices(3, 1)]
triu_indices_from: s[np.triu_indices_from(s)]
unpackbits: np.unpackbits(i.astype('u1')); np.unpackbits(i.astype('u1'), axis=1, count=5, bitorder='little')
unravel_index: np.unravel_index(i % 12, (3, 4)); np.unravel_index(j, (4, 5), order='F')
unstack: np.unstack(x); np.unstack(x, axis=1)
unwrap: np.unwrap(x * 20); np.unwrap(x * 20, axis=0, period=4.0)
vander: np.vander(v[:4]); np.vander(v[:4], 3, increasing=True)
var: np.var(x); np.var(x, axis=1, ddof=1); np.var(x, where=x > 0.3); np.var(c); np.var(x, correction=1)
vdot: np.vdot(x, y); np.vdot(c, c)
vsplit: np.vsplit(x, 3)
vstack: np.vstack([v, w]); np.vstack([x, y])
where: np.where(b, x, y); np.where(x > 0.5, i, 1.5)
zeros: np.zeros((3, 4)) + x; filled(np.zeros(4), x[0])
zeros_like: np.zeros_like(x); np.zeros_like(x, shape=(2, 2))
"""

LINALG = """
cholesky: np.linalg.cholesky(s); np.linalg.cholesky(s, upper=True)
cond: np.linalg.cond(s); np.linalg.cond(s, 1)
cross: np.linalg.cross(x[:, :3], y[:, :3])
det: np.linalg.det(s); np.linalg.det(np.stack([s, s + s]))
diagonal: np.linalg.diagonal(x)
eig: np.linalg.eig(s)[0].real
eigh: np.abs(np.linalg.eigh(s)[1]); np.linalg.eigh(s).eigenvalues
eigvals: np.sort(np.linalg.eigvals(s).real)
eigvalsh: np.linalg.eigvalsh(s)
inv: np.linalg.inv(s)
lstsq: np.linalg.lstsq(x.T, w[:4], rcond=None)[0]
matmul: np.linalg.matmul(x, y.T)
matrix_norm: np.linalg.matrix_norm(x); np.linalg.matrix_norm(s, ord='nuc')
matrix_power: np.linalg.matrix_power(s, 3); np.linalg.matrix_power(s, -1)
matrix_rank: np.linalg.matrix_rank(s)
matrix_transpose: np.linalg.matrix_transpose(x)
multi_dot: np.linalg.multi_dot([x, y.T, s])
norm: np.linalg.norm(x); np.linalg.norm([v[0], w[0]]); np.linalg.norm((v[0], w[0])); np.linalg.norm(x, axis=1); np.linalg.norm(v, 1); np.linalg.norm(v, np.inf); np.linalg.norm(x, 'fro'); np.linalg.norm(s, 2)
outer: np.linalg.outer(v, w)
pinv: np.linalg.pinv(x)
qr: np.abs(np.linalg.qr(x)[1]); np.abs(np.linalg.qr(s, mode='r'))
slogdet: np.linalg.slogdet(s)
solve: np.linalg.solve(s, x); np.linalg.solve(s, v[:3])
svd: np.linalg.svd(x)[1]; np.linalg.svd(x, compute_uv=False)
svdvals: np.linalg.svdvals(x)
tensordot: np.linalg.tensordot(x, y.T, axes=1)
tensorinv: np.linalg.tensorinv(s.reshape(3, 3), ind=1)
tensorsolve: np.linalg.tensorsolve(s, v[:3])
trace: np.linalg.trace(s)
vecdot: np.linalg.vecdot(x, y)
vector_norm: np.linalg.vector_norm(x); np.linalg.vector_norm(x, axis=1, ord=3)
"""

FFT = """
fft: np.fft.fft(x); np.fft.fft(v, n=7, norm='ortho'); np.fft.fft(c, axis=0)
fft2: np.fft.fft2(x)
fftfreq: np.fft.fftfreq(4) * x
fftn: np.fft.fftn(x); np.fft.fftn(x, s=(2, 5), axes=(0, 1))
fftshift: np.fft.fftshift(x); np.fft.fftshift(x, axes=1)
hfft: np.fft.hfft(v); np.fft.hfft(c, 6)
ifft: np.fft.ifft(c)
ifft2: np.fft.ifft2(c)
ifftn: np.fft.ifftn(c, norm='forward')
ifftshift: np.fft.ifftshift(x)
ihfft: np.fft.ihfft(v)
irfft: np.fft.irfft(c); np.fft.irfft(c, n=5)
irfft2: np.fft.irfft2(c)
irfftn: np.fft.irfftn(c)
rfft: np.fft.rfft(x); np.fft.rfft(v, n=9)
rfft2: np.fft.rfft2(x)
rfftfreq: np.fft.rfftfreq(6) * x
rfftn: np.fft.rfftn(x)
"""

METHODS = """
T: x.T + 1
all: b.all(axis=0)
any: b.any()
argmax: x.argmax(1)
argmin: x.argmin()
argpartition: np.take_along_axis(x, x.argpartition(1, axis=1), 1)[:, 1]
argsort: x.argsort(axis=0)
astype: x.astype('f4'); x.astype(int)
base: x[0].base is not None
choose: (i % 2).choose([x, y])
clip: x.clip(0.2, 0.8)
compress: x.compress([True, False, True], axis=0)
conj: c.conj()
conjugate: c.conjugate()
copy: x.copy()
cumprod: x.cumprod(axis=1)
cumsum: x.cumsum()
diagonal: x.diagonal()
dot: x.dot(y.T)
dtype: np.zeros(2, x.dtype) + v[0]
fill: filled(x, 3.0)
flags: x.flags.c_contiguous
flat: x.flat[3]; flat_set(x, 2, 9.0)
flatten: x.flatten(); x.flatten('F')
imag: c.imag; x.imag
itemsize: x.itemsize * x
mT: x.mT + 1
max: x.max(axis=0)
mean: x.mean(axis=1, keepdims=True)
min: x.min()
nbytes: x.nbytes * x
ndim: x.ndim * x
partition: partitioned(v, 3)[3]
prod: x.prod(axis=0)
put: method_put(x, [0, 5], [1.0, 2.0])
ravel: x.ravel()
real: c.real
repeat: x.repeat(2, axis=1)
reshape: x.reshape(2, -1); x.reshape((4, 3), order='F')
round: x.round(1)
searchsorted: np.sort(v).searchsorted(w)
shape: np.zeros(x.shape) + x
size: x.size * x
sort: sorted_in_place(x, 0)
squeeze: x[:, None].squeeze()
std: x.std(axis=0)
strides: x.strides[0] * x
sum: x.sum(axis=1)
swapaxes: x.swapaxes(0, 1)
take: x.take([0, 2], axis=1)
to_device: x.to_device('cpu') + 1
device: x.device
trace: s.trace()
transpose: x.transpose(1, 0)
var: x.var(ddof=1)
byteswap: x.byteswap(); c.byteswap(); i.byteswap().view('u1'); i.copy().byteswap(inplace=True); b.byteswap()
view: x.view() + 1; x.view(np.int64); x.view('u1'); i.view(np.float32); c.view(float); x.view(complex) * 2; x[0, 0].view(np.int64); bits_set(x)
"""

INDEXING = """
integers: x[1]; x[1, 2]; x[-1]; x[np.int64(2)]
slices: x[1:, ::2]; x[::-1]; x[:0]; x[-2:, None]
ellipsis and newaxis: x[..., 0]; x[None, ..., None]; x[1, ...]
arrays of integers: x[[0, 2]]; x[i % 3]; x[[0, 1], [2, 3]]; x[j % 3, j % 4]; x[-(j % 3)]
broadcast arrays: x[np.array([[0], [2]]), [1, 3]]; x[i[:, :1] % 3, j[:4] % 4]
arrays beside slices: x[1:, [0, 2]]; x[[0, 2], 1:]; x[None][0, [0, 1]]; x[:, j % 4]; x[None][:, [0, 1], None, [2, 3]]
known masks: x[np.array([True, False, True])]; x[:, np.array([True, False, True, False])]
traced masks in reductions: x[x > 0.5].sum(); x[b].mean(); x[b].max(); x[:, b[0]].std(axis=1); x[b[:, 0]].sum(axis=0); np.sum(x[x > 0.3] ** 2)
writes to elements and slices: written(x, 1, 5.0); written(x, (slice(None), 2), v[:3]); written(x, (slice(1, None), slice(None, None, 2)), 0.0); written(x, ..., y)
writes through arrays: written(x, [0, 2], 1.5); written(x, (j[:3] % 3, j[:3] % 4), 9.0); written(x, (slice(None), [1, 0]), y[:, :2])
writes through masks: written(x, (slice(None), b[0]), 0.0); written(x, b, y[b]); written(x, x > 0.5, 0.0); written(x, b, 2.0); written(x, np.array([True, False, True]), 2.0)
writes through views: through_view(x); through_view_of_view(x)
overlapping writes: shifted(v)
augmented: augmented(x, 1, 2.0); augmented(x, x > 0.5, 1.0); augmented(x, [0, 0, 1], 1.0)
flat: x.flat[2:5]; flat_set(x, slice(2, 5), 1.0)
"""

# Helpers that write in place, then return what was written.
HELPERS = """
def filled(a, value):
    a.fill(0); a[...] = value
    return a
def copied(a, b, **kw):
    a = a.copy(); np.copyto(a, b, **kw)
    return a
def diagonal_filled(a, value):
    a = a.copy(); np.fill_diagonal(a, value)
    return a
def placed(a, mask, values):
    a = a.copy(); np.place(a, mask, values)
    return a
def put_into(a, at, values, **kw):
    a = a.copy(); np.put(a, at, values, **kw)
    return a
def method_put(a, at, values):
    a = a.copy(); a.put(at, values)
    return a
def put_along(a, at, values):
    a = a.copy(); np.put_along_axis(a, at, values, 1)
    return a
def masked(a, mask, values):
    a = a.copy(); np.putmask(a, mask, values)
    return a
def partitioned(a, k):
    a = a.copy(); a.partition(k)
    return a
def sorted_in_place(a, axis):
    a = a.copy(); a.sort(axis)
    return a
def flat_set(a, at, value):
    a = a.copy(); a.flat[at] = value
    return a
def written(a, at, value):
    a = a.copy(); a[at] = value
    return a
def augmented(a, at, value):
    a = a.copy(); a[at] += value
    return a
def bits_set(a):
    a = a.copy(); a.view(np.int64)[:, ::2] ^= 1 << 62; a.view(np.float32)[0] = 2
    return a
def through_view(a):
    a = a.copy(); row = a[1]; row[::2] = 7.0
    return a
def through_view_of_view(a):
    a = a.copy(); part = a.T[1:]; part[::-1][0] *= 3.0
    return a
def shifted(a):
    a = a.copy(); a[1:] = a[:-1]; a[:-2] = a[2:] + a[:-2]
    return a
"""

_DEPENDS = "its result has a shape that depends on the data; "
_HOST = "about {}, not about arrays of numbers"
REASONS: dict[str, str] = {
    **dict.fromkeys(
        "argwhere flatnonzero nonzero unique unique_all unique_counts unique_inverse "
        "unique_values".split(),
        _DEPENDS
        + "take `size=` of `tracejit.numpy`, a mask, or `np.where(mask, a, b)`",
    ),
    **dict.fromkeys(
        "union1d intersect1d setdiff1d setxor1d".split(),
        _DEPENDS + "`np.isin` gives a mask",
    ),
    "extract": _DEPENDS + "take `np.where(condition, x, 0)`, or reduce with `where=`",
    "trim_zeros": _DEPENDS + "slice to a length that is known",
    **dict.fromkeys(
        "load loadtxt save savetxt savez savez_compressed fromfile genfromtxt fromregex "
        "fromstring frombuffer fromiter".split(),
        "reads or writes files and buffers: call it outside and pass the array",
    ),
    **dict.fromkeys(
        "array2string array_repr array_str base_repr binary_repr "
        "format_float_positional format_float_scientific get_printoptions "
        "printoptions set_printoptions typename".split(),
        "makes text: `tj.debug.print` shows values at run time",
    ),
    **dict.fromkeys(
        "busday_count busday_offset datetime_as_string datetime_data is_busday "
        "isnat".split(),
        "about dates, which are not numbers",
    ),
    **dict.fromkeys(
        "get_include getbufsize geterr geterrcall info setbufsize seterr seterrcall "
        "show_config show_runtime test".split(),
        "about NumPy itself, not about arrays",
    ),
    **dict.fromkeys(
        ["asmatrix", "bmat"], "makes `np.matrix`, which NumPy advises against"
    ),
    "frompyfunc": "makes a ufunc of Python objects: write the function in NumPy",
    "nested_iters": "loops over elements in Python",
    "from_dlpack": "takes memory from elsewhere: call it outside and pass the array",
    "in1d": "was renamed by NumPy: `np.isin`",
    "row_stack": "was renamed by NumPy: `np.vstack`",
    "trapz": "was renamed by NumPy: `np.trapezoid`",
}
# What of a function differs though it traces.
NOTES = {
    "eig": "the results are complex even where all eigenvalues are real",
    "eigvals": "the results are complex even where all eigenvalues are real",
    "poly": "complex wherever the roots are, unless a real matrix has them",
    "polyfit": "it does not warn of poor rank",
    "polymul": "raises when the compiled function meets a leading 0: NumPy leaves it out",
    "polydiv": "raises when the remainder has other leading zeros than it must have",
    "roots": "complex even where all roots are real; raises when a leading coefficient is 0",
    "delete": "at known places, or at a traced one",
    "insert": "at known places, or at a traced one",
    "average": "raises where weights sum to 0, when the compiled function runs",
    "bincount": "with `minlength=`, the number of bins, unless the numbers are known",
    "histogram": "with a number or an array of bins, not the name of an estimator",
    "histogram_bin_edges": "with a number or an array of bins",
    "repeat": "with known counts",
    "compress": "with a known condition",
    "argpartition": "sorted: one of the results that NumPy allows",
    "partition": "sorted: one of the results that NumPy allows",
    "argsort": "stable, whatever the kind",
    "shares_memory": "whether both are views of one array, not which parts of it",
    "may_share_memory": "whether both are views of one array",
    "array": "of arrays, numbers and nested lists",
    "view": "as any dtype of numbers",
}
METHOD_REASONS = {
    "ctypes": "an address: a traced array has no memory yet",
    "data": "an address: a traced array has no memory yet",
    **dict.fromkeys(
        "dump dumps tobytes tofile tolist item".split(),
        "gives values to Python: only where they are known; `tj.debug.print`, or return it",
    ),
    **dict.fromkeys(
        ["getfield", "setfield"], "about structured dtypes: `view` or `.real`"
    ),
    "nonzero": REASONS["nonzero"],
    "resize": "changes the size of an array in place: `np.resize` makes a new one",
    "setflags": "about memory: a traced array has none yet",
}


def table(text: str) -> Table:
    """Names to the expressions of their line."""
    out = {}
    for line in text.strip().splitlines():
        name, _, rest = line.partition(": ")
        out[name] = [e.strip() for e in rest.split(";") if e.strip()]
    return out


def arguments() -> dict[str, np.ndarray]:
    """Two floats x and y (3, 4), v and w (12,), integers i (3, 4), j (12,), and others.

    b is boolean, c complex, n has NaN (3, 4), s is symmetric positive definite (3, 3).
    """
    rng = np.random.default_rng(7)
    x, y = rng.uniform(0.05, 0.95, (2, 3, 4))
    i = rng.integers(0, 9, (3, 4))
    a = rng.normal(size=(3, 3))
    n = x.copy()
    n[1, 2] = n[0, 0] = np.nan
    return {
        "x": x,
        "y": y,
        "v": x.reshape(-1).copy(),
        "w": y.reshape(-1).copy(),
        "i": i,
        "j": i.reshape(-1).copy(),
        "b": rng.uniform(size=(3, 4)) > 0.4,
        "c": x + 1j * y,
        "n": n,
        "s": a @ a.T + 3 * np.eye(3),
    }


def public(module: object) -> Iterator[str]:
    """Names of a module's public functions that are not ufuncs."""
    for name in dir(module):
        found = getattr(module, name)
        if name.startswith("_") or not callable(found):
            continue
        if not isinstance(found, type | np.ufunc):
            yield name
