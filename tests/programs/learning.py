"""Classical machine learning: regression, clustering, projection, voting."""

import numpy as np

from .program import Program, arguments, normal, uniform


def softmax_regression_step(w, b, x, y, lr=0.1):
    """One gradient step of multinomial regression with a hand-written gradient."""
    logits = x @ w + b
    logits = logits - logits.max(axis=1, keepdims=True)
    p = np.exp(logits)
    p /= p.sum(axis=1, keepdims=True)
    n = x.shape[0]
    loss = -np.mean(np.log(p[np.arange(n), y]))
    p[np.arange(n), y] -= 1
    p /= n
    return w - lr * (x.T @ p), b - lr * p.sum(axis=0), loss


def softmax_regression_args(rng, dtype):
    return arguments(
        normal(rng, dtype, 10, 4) / 4,
        np.zeros(4, dtype),
        normal(rng, dtype, 33, 10),
        rng.integers(0, 4, 33),
        lr=0.5,
    )


def kmeans_step(points, centres):
    """Assign to the nearest centre and average with a one-hot matrix."""
    distance = ((points[:, None, :] - centres[None]) ** 2).sum(axis=-1)
    label = distance.argmin(axis=1)
    one_hot = (label[:, None] == np.arange(len(centres))).astype(points.dtype)
    count = one_hot.sum(axis=0)
    return one_hot.T @ points / np.maximum(count, 1)[:, None], label


def kmeans_add_at(points, centres):
    """The same step with scattered sums, and the inertia."""
    distance = np.linalg.norm(points[:, None] - centres, axis=2)
    label = np.argmin(distance, axis=1)
    total = np.zeros_like(centres)
    np.add.at(total, label, points)
    count = np.zeros(len(centres), dtype=np.int64)
    np.add.at(count, label, 1)
    inertia = (distance.min(axis=1) ** 2).sum()
    return total / np.maximum(count, 1)[:, np.newaxis], count, inertia


def kmeans_args(rng, dtype):
    # Blobs well apart: no point sits where rounding could move it to a neighbour.
    corners = np.array([[0, 0], [8, 0], [0, 8], [8, 8], [30, 30]], dtype)
    points = corners[np.arange(57) % 4] + uniform(rng, dtype, 57, 2, low=-2, high=2)
    return arguments(points, corners + dtype.type(0.25))


def pca_power_iteration(x, start, components=2, iterations=12):
    """Leading principal directions by power iteration with deflation."""
    centred = x - x.mean(axis=0)
    cov = centred.T @ centred / (len(x) - 1)
    directions = []
    for _ in range(components):
        v = start
        for _ in range(iterations):
            v = cov @ v
            v = v / np.sqrt(np.dot(v, v))
        eigenvalue = v @ cov @ v
        cov = cov - eigenvalue * np.outer(v, v)
        directions.append(v)
    basis = np.stack(directions, axis=1)
    return centred @ basis, basis


def pca_args(rng, dtype):
    scale = np.array([9, 3, 1, 0.5, 0.25], dtype)
    return arguments(normal(rng, dtype, 40, 5) * scale, np.ones(5, dtype))


def logistic_newton_step(w, x, y, ridge):
    """One Newton step of ridge logistic regression."""
    p = 1 / (1 + np.exp(-(x @ w)))
    gradient = x.T @ (p - y) + ridge * w
    hessian = (x * (p * (1 - p))[:, None]).T @ x + ridge * np.eye(x.shape[1])
    return w - np.linalg.solve(hessian.astype(x.dtype), gradient)


def logistic_newton_args(rng, dtype):
    x = normal(rng, dtype, 50, 6)
    y = (x[:, 0] + normal(rng, dtype, 50) > 0).astype(dtype)
    return arguments(normal(rng, dtype, 6) / 10, x, y, 0.5)


def cross_entropy_labels(logits, labels, smoothing=0.0):
    """Mean negative log-likelihood of integer labels, and the accuracy."""
    shifted = logits - np.max(logits, axis=-1, keepdims=True)
    log_z = np.log(np.sum(np.exp(shifted), axis=-1))
    picked = shifted[np.arange(len(labels)), labels]
    nll = log_z - picked
    uniform_loss = log_z - shifted.mean(axis=-1)
    loss = (1 - smoothing) * nll + smoothing * uniform_loss
    accuracy = (logits.argmax(axis=-1) == labels).mean()
    return loss.mean(), accuracy


def cross_entropy_args(rng, dtype):
    logits = normal(rng, dtype, 32, 10) * 3
    return arguments(logits, rng.integers(0, 10, 32), smoothing=0.1)


def nearest_neighbour_vote(train, labels, queries, k=3):
    """Classify by the majority among the k nearest training points."""
    sq = (train**2).sum(1)
    distance = sq - 2 * queries @ train.T
    nearest = np.argsort(distance, axis=1)[:, :k]
    votes = np.zeros((len(queries), 4), dtype=int)
    for j in range(k):
        votes[np.arange(len(queries)), labels[nearest[:, j]]] += 1
    return votes.argmax(axis=1), votes


def nearest_neighbour_args(rng, dtype):
    return arguments(
        normal(rng, dtype, 29, 3),
        rng.integers(0, 4, 29),
        normal(rng, dtype, 11, 3),
        k=5,
    )


def gaussian_mixture_step(x, mean, log_var, log_weight):
    """One EM step of a diagonal Gaussian mixture, in the log domain."""
    d = x[:, None, :] - mean
    log_p = log_weight - 0.5 * (d * d / np.exp(log_var) + log_var).sum(-1)
    top = log_p.max(1, keepdims=True)
    log_norm = top + np.log(np.exp(log_p - top).sum(1, keepdims=True))
    r = np.exp(log_p - log_norm)
    weight = r.sum(0)
    new_mean = np.einsum("nk,nd->kd", r, x) / weight[:, None]
    second = np.einsum("nk,nd->kd", r, x**2) / weight[:, None]
    new_var = np.clip(second - new_mean**2, 1e-3, None)
    return new_mean, np.log(new_var), np.log(weight / len(x)), log_norm.sum()


def gaussian_mixture_args(rng, dtype):
    x = normal(rng, dtype, 45, 2)
    x[::3] += 3
    return arguments(x, normal(rng, dtype, 3, 2), np.zeros((3, 2), dtype), np.zeros(3))


PROGRAMS = (
    Program(
        "softmax_regression_step", softmax_regression_step, softmax_regression_args
    ),
    Program("kmeans_step", kmeans_step, kmeans_args),
    Program("kmeans_add_at", kmeans_add_at, kmeans_args),
    Program("pca_power_iteration", pca_power_iteration, pca_args),
    Program("logistic_newton_step", logistic_newton_step, logistic_newton_args),
    Program("cross_entropy_labels", cross_entropy_labels, cross_entropy_args),
    Program("nearest_neighbour_vote", nearest_neighbour_vote, nearest_neighbour_args),
    Program("gaussian_mixture_step", gaussian_mixture_step, gaussian_mixture_args),
)
