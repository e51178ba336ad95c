"""Small programs of one text for both libraries: the first argument is the module."""

import numpy

RNG = numpy.random.default_rng(12)


def normal(*shape):
    return RNG.normal(size=shape)


def uniform(*shape):
    return RNG.uniform(0.1, 0.9, size=shape)


def gpt_block(np, x, w_qkv, w_out, w_up, w_down):
    q, k, v = np.split(x @ w_qkv, 3, axis=-1)
    scores = q @ k.T / np.sqrt(q.shape[-1])
    scores = np.where(np.tril(np.ones(scores.shape)) > 0, scores, -np.inf)
    e = np.exp(scores - scores.max(-1, keepdims=True))
    x = x + (e / e.sum(-1, keepdims=True)) @ v @ w_out
    h = x @ w_up
    h = 0.5 * h * (1 + np.tanh(0.7978845608 * (h + 0.044715 * h**3)))
    return x + h @ w_down


def grouped_attention(np, q, k, v, slope, lengths):
    """Two heads of queries for one of keys; causal, padded, with a bias of distance."""
    scores = np.einsum("bhgqd,bhkd->bhgqk", q, k) / 2.0
    i, j = np.arange(q.shape[-2])[:, None], np.arange(k.shape[-2])[None]
    keep = (i >= j) & (j < lengths[:, None, None, None, None])
    scores = np.where(keep, scores - slope * (i - j), -1e9)
    e = np.exp(scores - scores.max(-1, keepdims=True))
    return np.einsum("bhgqk,bhkd->bhgqd", e / e.sum(-1, keepdims=True), v)


def gru_sequence(np, xs, h, w, u):
    for x in xs:
        z, r, n = np.split(x @ w, 3)
        uz, ur, un = np.split(h @ u, 3)
        z, r = 1 / (1 + np.exp(-z - uz)), 1 / (1 + np.exp(-r - ur))
        h = (1 - z) * np.tanh(n + r * un) + z * h
    return h


def rk4_pendulum(np, state, length):
    def slope(s):
        return np.stack([s[1], -9.81 / length * np.sin(s[0])])

    for _ in range(8):
        a = slope(state)
        b = slope(state + 0.025 * a)
        c = slope(state + 0.025 * b)
        d = slope(state + 0.05 * c)
        state = state + 0.05 / 6 * (a + 2 * b + 2 * c + d)
    return state


def gp_likelihood(np, x, y, length, noise):
    gap = x[:, None] - x[None, :]
    k = np.exp(-0.5 * (gap / length) ** 2) + noise * np.eye(len(x))
    low = np.linalg.cholesky(k)
    alpha = np.linalg.solve(k, y)
    return 0.5 * y @ alpha + np.sum(np.log(np.diagonal(low)))


def mixture_likelihood(np, x, mean, log_scale, logits):
    z = (x[:, None] - mean) / np.exp(log_scale)
    parts = -0.5 * z**2 - log_scale + logits - np.log(np.sum(np.exp(logits)))
    top = parts.max(1, keepdims=True)
    return np.sum(np.log(np.sum(np.exp(parts - top), 1)) + top[:, 0])


def sinkhorn(np, cost, a, b):
    k, u = np.exp(-cost / 0.3), np.ones_like(a)
    for _ in range(6):
        v = b / (k.T @ u)
        u = a / (k @ v)
    return np.sum(u[:, None] * k * v * cost)


def householder(np, v, x):
    return x - 2 * v * (v @ x) / (v @ v)


def power_iteration(np, a, v):
    for _ in range(5):
        v = a @ v
        v = v / np.linalg.norm(v)
    return v @ a @ v


def huber(np, x, y):
    r = np.abs(x - y)
    return np.mean(np.where(r < 0.5, 0.5 * r**2, 0.5 * (r - 0.25)))


def cosine_similarity(np, x, y):
    norms = np.linalg.norm(x, axis=1)[:, None] * np.linalg.norm(y, axis=1)
    return x @ y.T / norms


def batch_norm(np, x, g, b):
    return (x - x.mean(0)) / np.sqrt(x.var(0) + 1e-5) * g + b


def focal_loss(np, logits, labels):
    p = 1 / (1 + np.exp(-logits))
    right = np.where(labels > 0, p, 1 - p)
    return -np.mean((1 - right) ** 2 * np.log(right))


def fourier_filter(np, x, gain):
    return np.fft.irfft(np.fft.rfft(x) * gain, n=x.shape[-1])


def quantum_gate(np, theta, phi):
    half = np.exp(1j * phi / 2)
    zero = 0 * half
    rz = np.stack([np.stack([1 / half, zero]), np.stack([zero, half])])
    c, s = np.cos(theta / 2) + 0j, np.sin(theta / 2) + 0j
    ry = np.stack([np.stack([c, -s]), np.stack([s, c])])
    return np.abs((rz @ ry @ rz)[0]) ** 2


def determinants(np, a, b):
    return np.linalg.slogdet(a @ a.T + b)[1] + np.linalg.det(b)


def eigen_energy(np, a):
    sym = (a + a.T) / 2
    return np.sum(np.linalg.eigvalsh(sym) ** 3)


def matrix_root(np, a):
    w, v = np.linalg.eigh(a @ a.T + np.eye(3))
    return (v * np.sqrt(w)) @ v.T


def low_rank(np, a):
    u, s, vh = np.linalg.svd(a, full_matrices=False)
    return (u[:, :2] * s[:2]) @ vh[:2]


def spectral_norms(np, a):
    return [np.linalg.norm(a, 2), np.linalg.norm(a, "nuc"), np.linalg.cond(a)]


def orthogonalised(np, a, x):
    q, r = np.linalg.qr(a)
    return q @ x[:3], r


def fitted(np, a, y):
    coefficients, residuals, _, _ = np.linalg.lstsq(a, y)
    return coefficients, residuals, np.linalg.pinv(a) @ y


def growth_rates(np, a):
    return np.linalg.eigvals(a + 1j * a.T)


def sorted_weights(np, x, w):
    return np.sort(x, axis=1) @ w + np.max(x, 1) - np.min(x, 1)


def cumulative(np, x):
    return np.cumsum(np.cumprod(x, 1), 0)


def gather_scores(np, table, ids):
    rows = table[ids]
    return np.einsum("ij,kj->ik", rows, rows).sum(0)


def polynomial(np, c, x):
    out = np.zeros_like(x)
    for k in range(c.shape[0]):
        out = out * x + c[k]
    return out


def log_gamma_series(np, x):
    z = x + 7.5
    return (x + 0.5) * np.log(z) - z + np.log1p(0.1 / (x + 1)) + np.expm1(-x)


def angles(np, x, y):
    return np.arctan2(y, x) + np.hypot(x, y) + np.arcsin(x) * np.arccos(y)


def hyperbolic(np, x):
    return np.sinh(x) * np.cosh(x) + np.arcsinh(x) + np.arctanh(x) + np.arccosh(x + 2)


def stencil(np, u):
    middle = np.roll(u, 1, 0) + np.roll(u, -1, 0) + np.roll(u, 1, 1) - 3 * u
    return np.pad(middle[1:-1, 1:-1], 1, mode="edge") * u


def interpolation(np, x, values):
    return np.interp(x, np.linspace(0.0, 1.0, 5), values)


def ratio_powers(np, x, y):
    return x**y + np.power(2.0, x) + x**-1.5 + np.logaddexp(x, y) + np.cbrt(y)


def products(np, x, y):
    return np.kron(x, y[:2, :2]).sum(0), np.outer(x[0], y[0]), np.cross(x, y)


PAIRED = {
    "gpt_block": (
        gpt_block,
        (normal(5, 4), normal(4, 12), normal(4, 4), normal(4, 8), normal(8, 4)),
    ),
    "grouped_attention": (
        grouped_attention,
        (
            normal(2, 1, 2, 100, 4),
            normal(2, 1, 100, 4),
            normal(2, 1, 100, 3),
            0.1,
            numpy.array([70, 100]),
        ),
    ),
    "gru_sequence": (
        gru_sequence,
        (normal(3, 2), normal(3), normal(2, 9), normal(3, 9)),
    ),
    "rk4_pendulum": (rk4_pendulum, (numpy.array([0.5, 0.1]), 1.3)),
    "gp_likelihood": (gp_likelihood, (normal(5), normal(5), 0.8, 0.2)),
    "mixture_likelihood": (
        mixture_likelihood,
        (normal(6), normal(3), normal(3), normal(3)),
    ),
    "sinkhorn": (sinkhorn, (uniform(3, 4), uniform(3), uniform(4))),
    "householder": (householder, (normal(4), normal(4))),
    "power_iteration": (power_iteration, (normal(4, 4), normal(4))),
    "huber": (huber, (normal(8), normal(8))),
    "cosine_similarity": (cosine_similarity, (normal(3, 4), normal(2, 4))),
    "batch_norm": (batch_norm, (normal(6, 3), normal(3), normal(3))),
    "focal_loss": (focal_loss, (normal(6), numpy.array([0, 1, 1, 0, 1, 0]))),
    "fourier_filter": (fourier_filter, (normal(2, 8), uniform(5))),
    "quantum_gate": (quantum_gate, (0.7, 1.9)),
    "determinants": (
        determinants,
        (normal(3, 3), 2 * numpy.eye(3) + uniform(3, 3) / 9),
    ),
    "eigen_energy": (eigen_energy, (normal(4, 4),)),
    "matrix_root": (matrix_root, (normal(3, 3),)),
    "low_rank": (low_rank, (normal(4, 3),)),
    "spectral_norms": (spectral_norms, (normal(4, 3),)),
    "orthogonalised": (orthogonalised, (normal(4, 3), normal(4))),
    "fitted": (fitted, (normal(5, 2), normal(5, 3))),
    "growth_rates": (growth_rates, (normal(3, 3),)),
    "sorted_weights": (sorted_weights, (normal(3, 4), normal(4))),
    "cumulative": (cumulative, (uniform(3, 4),)),
    "gather_scores": (gather_scores, (normal(4, 3), numpy.array([0, 2, 2, 3, 0]))),
    "polynomial": (polynomial, (normal(5), normal(3))),
    "log_gamma_series": (log_gamma_series, (uniform(5),)),
    "angles": (angles, (uniform(5), uniform(5))),
    "hyperbolic": (hyperbolic, (uniform(5),)),
    "stencil": (stencil, (normal(5, 6),)),
    "interpolation": (interpolation, (uniform(4), normal(5))),
    "ratio_powers": (ratio_powers, (uniform(5), uniform(5))),
    "products": (products, (normal(3, 3), normal(3, 3))),
}
