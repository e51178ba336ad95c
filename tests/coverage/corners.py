"""Calls at the ends of what functions take: NumPy's values and NumPy's errors.

A line is an expression over `arguments`, or statements and what they return. Those
that NumPy refuses must be refused with the same kind of error.
"""

import numpy as np

from . import samples

# Places in sorted arrays.
PLACES = """
np.searchsorted(np.sort(f[0]), 0.3, 'right')
np.searchsorted(np.float32([0.3]) + 0 * f[0, :1], 0.3, 'right')
np.searchsorted(np.sort(v), n)
np.searchsorted(np.sort(n[0]), n, 'right')
np.searchsorted(np.sort(n[0]), n)
np.searchsorted(np.sort(v), x, side='bad')
np.searchsorted(v, w, sorter=np.argsort(v)[:3])
np.searchsorted(v, w, sorter=v)
x.searchsorted(3)
o.searchsorted(3)
np.searchsorted(np.sort(v), [0.5, 1])
np.searchsorted([0.5, 1], v)
np.searchsorted(np.sort(v), o)
np.searchsorted(np.sort(c[0]), c)
np.digitize(x, [1.0, 0.0])
np.digitize(x, [1.0, 0.0, 2.0])
np.digitize(x, np.sort(v))
np.digitize(x, -np.sort(v))
np.digitize(x, -np.sort(v), right=True)
np.digitize(x, v)
np.digitize(c, [0., 1])
np.digitize(n, [0., 1])
np.digitize(n, [1., 0])
np.digitize(o, [2, 4])
np.digitize(x, [1., 1.])
np.digitize(x, v[:1])
np.digitize(x, [])
np.interp(x, [0, 1], [0, 1])
np.interp(x, v, w)
np.interp(x, np.sort(v), c.reshape(-1))
np.interp(x, np.sort(v), c.reshape(-1), left=1j, right=2)
np.interp(x, np.sort(v), w, left=0, right=o)
np.interp(x, [], [])
np.interp(x, np.sort(v), w[:3])
np.interp(o, np.sort(v), w)
np.interp(0.3, np.sort(v), w)
np.interp(n, np.sort(v), w)
np.interp(n, v[:1], w[:1])
np.interp(n, v[:1], w[:1], left=1, right=3)
np.interp(f, np.sort(v), w)
np.interp(v, np.array([3., 1., 2.]), w[:3], period=4)
np.interp(v, np.array([3., 1., 2.]), w[:3], period=0)
np.interp(v, np.array([3., 1., 2.]), w[:3], period=o*0)
np.interp(np.sort(v), np.sort(v), w)
np.interp([0.5, 1, 2, 3], [0, 1, 2, 3], np.array([1, np.inf, np.inf, 2]) + 0 * v[0])
np.interp([0.5, 1, 2, 3], [0, 1, 2, 3], np.array([1, np.inf, -np.inf, np.nan]) + 0 * v[0])
np.interp(i, [1, 2, 3], j[:3])
np.interp(x, s, s)
"""

# Truths, tuples and masks as indices, selections.
INDICES = """
x[True]
x[False]
x[np.True_, 1]
x[1, True]
x[..., True]
x[True, False]
x[True, [0, 1]]
x[[0, 1], True]
x[True] = 3; return x
x[False] = 3; return x
x[np.True_, 1] = v[:4]; return x
x[(0, 2), ]
x[(0, 2), (1, 3)]
x[[]]
x[[], :]
x[[[0, 1], [2, 0]]]
x[[k - 2, 0]]
x[[k - 2, 0], [1, k]]
x[[True, False, True]]
x[[b[0, 0], True, False]].sum()
x[[1.5]]
x[[True, False]]
x[x > 0] += y[x > 0]; return x
x[x > 0] = y[x > 0]; return x
x[:, b[0]] = 0; return x
x[1, b[0]] = 0; return x
x[b[:, 0], 1] = 0; return x
x[b[:, 0], 1:3] = 0; return x
x[b[:, 0], 1:3] = [1, 2]; return x
x[b[:, 0], ...] = v[:4]; return x
x[..., b[0]] = 1; return x
x[:, b[0]] *= 2; return x
q[0, :, b[0]] = 1; return q
q[:, b] = 1; return q
q[:, b[:, 0]] = v[:4]; return q
q[1, b] = 1; return q
x[b[0]] = 1; return x
x[b].max()
x[b].min()
x[b].std()
x[b].var(ddof=1)
np.max(x[b])
np.amin(i[b])
np.max(b[b])
np.max(x[x > 100])
np.std(x[b])
np.mean(x[b[:, 0]], axis=0)
x[b[:, 0]].sum(axis=0)
x[b[:, 0]].sum()
x[b[:, 0]].max(axis=0)
x[1, b[0]].sum()
x[b[:, 0], 1].mean()
u[b].max()
c[b].sum()
n[b].max()
x[b].sum(dtype='f4')
t = x[b]; x[...] = 0; return t.sum()
m = b.copy(); t = x[m]; m[...] = False; return t.sum()
t = x[b]; t *= 2; return t.sum(), x
t = x[b]; t += x[b]; x[b] = t; return x
m = x > 0; x[m] = np.sqrt(x[m]); x[~m] = 0; return x
x[:, b[0]].sum()
x[:, b[0]].sum(axis=1)
x[:, b[0]].max(axis=1)
q[:, b].mean(axis=1)
q[:, b[:, 0]].std(axis=1)
q[:, b[:, 0]] += v[:4]; return q
"""

# Polynomials, edits at traced places, lists.
POLYNOMIALS = """
np.polymul(v[:3], w[:4])
np.polymul(v[:3], [1., 2])
np.polymul(2.0, w[:4])
np.polymul(c[0], w[:4])
np.polymul(np.array([0., 1, 2]), w[:4])
np.polymul(x, w[:4])
np.polydiv(v[:5], w[:3])
np.polydiv(v[:5], w[:1])
np.polydiv(v[:3], w[:5])
np.polydiv(v[:3], w[:3])
np.polydiv(c[0], w[:2])
np.polydiv(f[0], w[:2])
np.roots(v[:5])
np.roots(f[0])
np.roots(c[0])
np.roots(np.concatenate([v[:5], np.zeros(2)]))
np.roots(np.stack([c[0, 0], v[1], v[2] * 0, v[3], v[4] * 0, v[5] * 0]))
np.roots(v[:1])
np.roots(v[:2])
np.roots(x)
np.poly(c[0])
np.poly(s)
np.poly(z[0])
np.poly(f[0])
np.poly(i[0])
np.poly(v[:0])
np.poly(c[:, :3])
np.poly(x)
np.polyfit(v, w, 2, full=True)
np.polyfit(v, w, 2, cov=True)
np.polyfit(v, w, 2, cov='unscaled')
np.polyfit(v, np.stack([w, v], 1), 2, cov=True)
np.polyfit(v, w, 2, w=np.abs(w), cov=True)
np.polyfit(v, w, -1)
np.polyfit(x, w, 1)
np.polyfit(v, w[:3], 1)
np.polyfit(v[:2], w[:2], 1, cov=True)
np.polyfit(v, w, 2, w=w[:3])
np.geomspace(1+1j, c[0, 0], 4)
np.geomspace(c[0], c[1], 4)
np.geomspace(1, o, 3)
np.geomspace(-1, -o, 3)
np.geomspace(1, -o, 3)
np.geomspace(v[0] * 0, o, 3)
np.delete(v, i[0, 0] % 3)
np.delete(x, i[0, 0] % 3, 0)
np.delete(x, -i[0, 0] % 3 - 2, 1)
np.delete(x, i[0, 0] + 20, 1)
np.delete(x, np.array([True, False, True]), 0)
np.delete(x, j[:1] % 3, 1)
np.insert(v, i[0, 0] % 3, 5.0)
np.insert(x, i[0, 0] % 3, 5.0)
np.insert(x, i[0, 0] % 3, [1, 2, 3], axis=1)
np.insert(x, i[0, 0] % 3, v[:4], axis=0)
np.insert(x, i[0, 0] % 3, y[:2], axis=0)
np.insert(x, i[0, 0] % 3, y[:, :1], axis=1)
np.insert(x, j[:1] % 3, y[:, :1], axis=1)
np.insert(x, j[:1] % 3, [[1], [2], [3]], axis=1)
np.insert(x, i[0, 0] + 5, v[:4], axis=0)
np.insert(v[:0], i[0, 0] * 0, 5.0)
np.insert(x, -1 - i[0, 0] % 3, v[:4], axis=0)
np.roll(x, j[0])
np.roll(x, j[0], axis=1)
np.roll(x, j[:2], axis=(0, 1))
np.roll(x, j[0], axis=(0, 1))
np.roll(e, j[0], axis=0)
np.select([b[0], x > 0], [i, x], 7)
np.select([b], [i], 2.5)
np.select([True, b], [1, x])
np.select([x > 0, i], [x, y])
np.pad(x, 1, 'minimum', stat_length=2)
np.pad(x, 1, 'reflect', reflect_type='odd')
np.pad(x, 5, 'symmetric', reflect_type='odd')
np.pad(x, 2, 'linear_ramp', end_values=((1, 2), (3, 4)))
np.pad(i, 2, 'linear_ramp')
np.pad(i, 1, 'mean')
np.pad(x, 1, lambda vec, w, ax, kw: vec)
np.linspace([x[0, 0], 1], 2, 3)
np.full((2, 2), [x[0, 0], 1])
np.sort_complex(x)
~np.array([True, False, True]) & b[:, 0]
"""

# Functions of numpy.polynomial.
PACKAGE = """
np.polynomial.polynomial.polyval(x, v[:3])
np.polynomial.polynomial.polyval2d(x, y, s)
np.polynomial.chebyshev.chebval(x, v[:4])
np.polynomial.legendre.legval(x, v[:4])
np.polynomial.hermite.hermval(x, v[:4])
np.polynomial.laguerre.lagval(x, v[:4])
np.polynomial.polynomial.polyder(v)
np.polynomial.polynomial.polyint(v)
np.polynomial.polynomial.polyvander(v, 3)
np.polynomial.chebyshev.chebvander(v, 3)
np.polynomial.polynomial.polymul(v[:3], w[:3])
np.polynomial.polynomial.polyadd(v[:3], w[:5])
np.polynomial.polynomial.polyroots(v[:4])
np.polynomial.polynomial.polyfromroots(v[:4])
np.polynomial.polynomial.polypow(v[:3], 3)
np.polynomial.polynomial.polyval([1., x[0,0]], [2, x[0, 1]])
np.polynomial.chebyshev.chebmul(v[:3], w[:3])
np.polynomial.chebyshev.chebder(v[:5])
np.polynomial.legendre.legint(v[:5])
np.polynomial.chebyshev.chebgauss(4)[0] * x[0]
np.polynomial.polynomial.polyvander2d(v[:3], w[:3], [1, 2])
np.polynomial.hermite.hermvander(v, 3)
np.polynomial.polynomial.polyval3d(x, y, x, q)
np.polynomial.chebyshev.chebgrid2d(v, w, s)
"""

# Arguments, errors, views.
OTHERS = """
np.sum(x, where=i)
np.max(c)
np.min(c, axis=0)
np.max(c, axis=(0, 1), keepdims=True)
np.nanmax(c)
np.ptp(c)
np.nanvar(n, ddof=20)
np.argmin(x, (0, 1))
np.diff(x, n=-1)
np.sort(x, order='a')
np.argsort(o)
np.lexsort((v, w[:3]))
np.lexsort(v)
np.partition(x, 1.0)
x.sort(axis=None)
np.ravel(q.transpose(2, 0, 1), 'K')
x.T[:, ::-1].ravel('K')
x.flatten('X')
np.swapaxes(x, 0, 3)
v.mT
np.matrix_transpose(v)
np.array_split(v, 0)
np.vsplit(v, 3)
np.rot90(q, 1, (0, 0))
np.roll(x, 1.0)
np.pad(x, 1.5)
np.diag(o)
np.meshgrid(v[:3], w[:2], indexing='kk')
np.fromfunction(lambda p, t: p + t + x[0, 0], (3, 4))
np.fromfunction(lambda p, t: x[p, t], (3, 4), dtype=int)
np.piecewise(x, [True, False], [1, 2])
np.piecewise(x, [b[:, 0], ~b[:, 0]], [1, 2])
np.choose(x, [x, y])
np.where(b, x)
np.clip(u, -1, 3)
np.clip(u, 0, 300)
np.clip(u, 5, -3)
np.clip(x, 0, max=2, min=1)
np.clip(x, 0)
x.clip(0)
x.clip(max=0.5)
np.isin(x, [1, 2], kind='table')
np.isin(o, [2.5])
np.take(x, [1.0])
np.take(x, b)
np.take([1, 2, 3], j % 3)
np.take(np.arange(3.0), j % 3)
np.take_along_axis(x, i % 12, None)
np.take_along_axis(x, x, 1)
np.unravel_index(x, (3, 4))
np.average(x, weights=x * 0)
np.average(x, axis=1, weights=y * b)
np.histogram(v, np.array([3.0, 2.0, 1.0]))
np.histogram(v, [[1, 2]])
np.bincount(x, minlength=9)
np.bincount(i, minlength=9)
np.bincount(b.reshape(-1), minlength=2)
np.bincount([1, 2, 3], weights=v[:3])
np.bincount(np.array([1, 2, 3]), v[:3], 2)
np.cov(x, fweights=[-1, 2, 3, 1])
np.cov(x, fweights=[1.5, 2, 3, 1])
np.cov(x, fweights=[1, 2, 3])
np.cov(x, aweights=v[:4], fweights=j[:4] + 1)
np.cov(x, ddof=5)
np.cov(x, ddof=0.5)
np.cov(q)
np.cov(v, rowvar=False)
np.cov(x[:0])
np.corrcoef(c)
np.linalg.matrix_rank(v)
np.linalg.outer(x, y)
np.cross(x[:, :3], y[:, :2])
np.cross(x, y)
np.fft.fftn(q, axes=())
np.fft.fftfreq(5, d=o)
np.fft.rfftfreq(5, x[0, 0])
x.flat = 3; return x
x.flat = [1, 2, 3]; return x
np.put(x, [0, -1], []); return x
np.copyto(x, y, where=i); return x
np.copyto(n, np.uint64(2**63 + 5), where=n > 2); return n
np.copyto(n + (2**63 - 20), np.uint64(7), where=n > 2)
m = n + (2**62); np.copyto(m, np.uint64(7), where=n > 2); return m
np.putmask(n, n > 1, np.float64([1.5, 2])); return n
np.putmask(n, n > 1, np.uint64([1, 2])); return n
np.place(n, n > 1, np.float64([1.5])); return n
n.fill(np.float64([1.5, 2])); return n
x.fill([2]); return x
np.sum(x, initial=np.float64([1, 2]))
np.max(x, initial=np.float64([1]))
np.put_along_axis(x, j[:3] % 12, 1, None); return x
i.round(-1)
np.round(u, -1)
np.ascontiguousarray(o)
b ** 2
x == None
x != None
x.ptp()
t = np.diagonal(s); t[0] = 1; return s
np.einsum('ii->i', s)[...] = 0; return s
np.einsum('ij->ji', x)[0] = 7; return x
np.einsum('kij->jk', q[:, :3])[0] = 7; return q
np.interp([x[0, 0], 1], [0, 1], [0, 1])
np.reshape([x[0, 0], 1], (2, 1))
np.fft.fft([x[0, 0], 1])
np.tile([x[0, 0], 1], 2)
np.broadcast_to([x[0, 0], 1], (2, 2))
np.einsum('i,i', [x[0, 0], 1], [1, 2])
np.interp(np.arange(3.0), [0.0, 1.0], [0.0, 1.0], left=x[0, 0])
np.pad(np.arange(3.0), 1, constant_values=x[0, 0])
np.full_like(np.arange(3), x[0, 0])
np.diagonal(q, 1, 1, 2)
np.diagonal(q, -1, 2, 0)
np.diagonal(q, 7)
np.diagonal(x, -2)
np.diagonal(q, axis1=0, axis2=0)
q.diagonal(-1, 0, 2)
np.trace(q, 1, 0, 2)
np.einsum('iij->j', np.stack([s, s, s]))
np.einsum('iii->i', np.stack([s, s, s]))[0] + 1
np.einsum('...ij->...ji', q)
np.einsum('ij->ij', x) is x
t = np.einsum('ij->ji', x); x[0] = 5; return t
np.convolve(v, 2.0)
np.convolve(v[:0], w)
np.convolve(x, w)
np.convolve(v, w[:3], 'bad')
np.convolve(v[:3], w, 'same')
np.convolve(v[:3], w, 'valid')
np.convolve(i[0], b[0])
np.correlate(v[:3], w)
np.correlate(v[:3], w, 'same')
np.correlate(v[:3], w, 'full')
np.correlate(c[0], c[1], 'full')
np.correlate(c[0, :2], c[1], 'full')
np.correlate(c[0, :2], c[1], 'valid')
np.correlate(c[0, :2], c[1], 'same')
np.correlate(v, w[:4], 'same')
np.correlate(v, w[:3], 'same')
np.correlate(v[:4], w, 'same')
np.correlate(v[:0], w)
np.vdot(x, v)
np.kron(2.0, x)
np.tensordot(x, y, axes=((0,), (1,)))
np.tensordot(x, y.T, axes=3)
"""

# Widths by axis.
SINCE_2_2 = """
np.pad(x, {0: 1})
np.pad(x, {-1: (1, 2)})
"""
IS_OLD = np.lib.NumpyVersion(np.__version__) < "2.2.0"

CALLS = [
    line
    for table in (
        *(PLACES, INDICES, POLYNOMIALS, PACKAGE, OTHERS),
        *(() if IS_OLD else (SINCE_2_2,)),
    )
    for line in table.strip().splitlines()
]


def arguments() -> dict[str, object]:
    """Those of the samples, and others.

    f and h are x in single and half precision, u is i as bytes, q is (2, 3, 4), z
    (2, 3, 3), e has no rows, o is of rank 0, and k a NumPy integer.
    """
    rng = np.random.default_rng(8)
    given = samples.arguments()
    signed = {name: given[name] - 0.5 for name in "xyvwn"}
    signed["c"] = signed["x"] + 1j * signed["y"]
    x = signed["x"]
    return {
        **given,
        **signed,
        "f": x.astype(np.float32),
        "h": x.astype(np.float16),
        "u": given["i"].astype(np.uint8),
        "q": rng.normal(size=(2, 3, 4)),
        "z": rng.normal(size=(2, 3, 3)),
        "e": np.zeros((0, 4)),
        "o": np.array(2.5),
        "k": np.int64(3),
    }
