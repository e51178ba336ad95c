"""Linear algebra by hand: factorisations in place, solvers, series, processes."""

import numpy as np

from .program import Program, arguments, normal, uniform


def matrix_exponential(a, terms=14, squarings=3):
    """Taylor series with scaling and squaring."""
    a = a / 2**squarings
    term = np.eye(a.shape[0], dtype=a.dtype)
    total = term.copy()
    for k in range(1, terms):
        term = term @ a / k
        total += term
    for _ in range(squarings):
        total = total @ total
    return total


def matrix_exponential_args(rng, dtype):
    return arguments(normal(rng, dtype, 6, 6) / 2)


def gaussian_process(x, y, x_new, length=0.7, noise=0.1):
    """Posterior mean, variance and log-likelihood by Cholesky."""

    def kernel(a, b):
        return np.exp(-0.5 * (a[:, None] - b[None, :]) ** 2 / length**2)

    gram = kernel(x, x)
    gram[np.diag_indices(len(x))] += noise**2
    chol = np.linalg.cholesky(gram)
    half = np.linalg.solve(chol, y)
    cross = np.linalg.solve(chol, kernel(x, x_new))
    mean = cross.T @ half
    variance = 1 - np.sum(cross**2, axis=0)
    log_det = np.log(np.diagonal(chol)).sum()
    evidence = -0.5 * half @ half - log_det - 0.5 * len(x) * np.log(2 * np.pi)
    return mean, variance, evidence


def gaussian_process_args(rng, dtype):
    x = np.sort(uniform(rng, dtype, 15, low=-3, high=3))
    x_new = np.linspace(-3, 3, 9).astype(dtype)
    # This much noise keeps the evidence, a difference of large terms, away from zero.
    return arguments(x, np.sin(x) + normal(rng, dtype, 15) / 4, x_new, noise=0.3)


def gram_schmidt(a):
    """Modified Gram-Schmidt, columns written in place."""
    q = a.copy()
    n = a.shape[1]
    r = np.zeros((n, n), dtype=a.dtype)
    for j in range(n):
        r[j, j] = np.sqrt((q[:, j] ** 2).sum())
        q[:, j] /= r[j, j]
        r[j, j + 1 :] = q[:, j] @ q[:, j + 1 :]
        q[:, j + 1 :] -= np.outer(q[:, j], r[j, j + 1 :])
    return q, r


def tall_args(rng, dtype):
    return arguments(normal(rng, dtype, 12, 5))


def householder_qr(a):
    """Triangularise the argument in place; returns the reflectors."""
    reflectors = []
    for k in range(a.shape[1]):
        column = a[k:, k]
        v = column.copy()
        v[0] += np.copysign(np.linalg.norm(column), column[0])
        v /= np.linalg.norm(v)
        block = a[k:, k:]
        block -= 2 * np.outer(v, v @ block)
        reflectors.append(v)
    return reflectors


def jacobi_solver(a, b, iterations=25):
    """Jacobi iteration with the residual of every step."""
    diagonal = np.diag(a)
    rest = a - np.diagflat(diagonal)
    x = np.zeros_like(b)
    residuals = []
    for _ in range(iterations):
        x = (b - rest @ x) / diagonal
        residuals.append(np.abs(a @ x - b).max())
    return x, np.array(residuals[:3])


def dominant_args(rng, dtype):
    a = normal(rng, dtype, 10, 10) + 12 * np.eye(10, dtype=dtype)
    return arguments(a, normal(rng, dtype, 10))


def conjugate_gradient(a, b, iterations=6):
    """Fixed number of conjugate gradient steps."""
    x = np.zeros_like(b)
    r = b - a @ x
    p = r.copy()
    rr = r @ r
    for _ in range(iterations):
        ap = a @ p
        alpha = rr / (p @ ap)
        x += alpha * p
        r -= alpha * ap
        rr_next = r @ r
        p = r + rr_next / rr * p
        rr = rr_next
    return x


def conjugate_gradient_args(rng, dtype):
    m = normal(rng, dtype, 12, 12)
    return arguments(m @ m.T / 12 + np.eye(12, dtype=dtype), normal(rng, dtype, 12))


def lu_in_place(a):
    """Doolittle's factorisation without pivoting, in the argument."""
    n = len(a)
    for k in range(n - 1):
        a[k + 1 :, k] /= a[k, k]
        a[k + 1 :, k + 1 :] -= a[k + 1 :, k, None] * a[None, k, k + 1 :]
    return np.prod(np.diag(a))


def lu_args(rng, dtype):
    return arguments(normal(rng, dtype, 8, 8) + 6 * np.eye(8, dtype=dtype))


def thomas_tridiagonal(lower, diagonal, upper, rhs):
    """Tridiagonal solve: copies swept forward and back, element by element."""
    d, x = diagonal.copy(), rhs.copy()
    n = len(d)
    for i in range(1, n):
        w = lower[i - 1] / d[i - 1]
        d[i] -= w * upper[i - 1]
        x[i] -= w * x[i - 1]
    x[-1] /= d[-1]
    for i in range(n - 2, -1, -1):
        x[i] = (x[i] - upper[i] * x[i + 1]) / d[i]
    return x


def thomas_args(rng, dtype):
    return arguments(
        uniform(rng, dtype, 13),
        uniform(rng, dtype, 14, low=3, high=4),
        uniform(rng, dtype, 13),
        normal(rng, dtype, 14),
    )


def kalman_filter(z, f, h, q, r):
    """Kalman filter over a sequence; returns filtered states and covariances."""
    x = np.zeros(f.shape[0], z.dtype)
    p = np.eye(f.shape[0], dtype=z.dtype)
    states, spreads = [], []
    for zt in z:
        x, p = f @ x, f @ p @ f.T + q
        s = h @ p @ h.T + r
        gain = p @ h.T @ np.linalg.inv(s)
        x = x + gain @ (zt - h @ x)
        p = (np.eye(len(x), dtype=p.dtype) - gain @ h) @ p
        states.append(x)
        spreads.append(p.trace())
    return np.vstack(states), np.hstack(spreads)


def kalman_args(rng, dtype):
    f = np.array([[1, 0.1, 0], [0, 1, 0.1], [0, 0, 0.9]], dtype)
    h = np.array([[1, 0, 0], [0, 0, 1]], dtype)
    eye = np.eye(3, dtype=dtype)
    return arguments(
        normal(rng, dtype, 8, 2), f, h, q=eye / 10, r=np.diag([0.5, 0.2]).astype(dtype)
    )


PROGRAMS = (
    Program("matrix_exponential", matrix_exponential, matrix_exponential_args),
    Program("gaussian_process", gaussian_process, gaussian_process_args),
    Program("gram_schmidt", gram_schmidt, tall_args),
    Program("householder_qr", householder_qr, tall_args),
    Program("jacobi_solver", jacobi_solver, dominant_args),
    Program("conjugate_gradient", conjugate_gradient, conjugate_gradient_args),
    Program("lu_in_place", lu_in_place, lu_args),
    Program("thomas_tridiagonal", thomas_tridiagonal, thomas_args),
    Program("kalman_filter", kalman_filter, kalman_args),
)
