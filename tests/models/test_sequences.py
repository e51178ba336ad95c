"""Models that scan: an LSTM, a Kalman filter, and temporal classification.

Kalman filter: the log-likelihood by innovations (Durbin and Koopman, 2012, 4.3.3). CTC:
the forward recursion in logarithms (Graves et al., 2006).
"""

import itertools

import numpy as np
import pytest

import tracejit as tj

from .checks import assert_close, check_compiled, check_model, compare_with_jax


def normal(*shape, seed=0):
    return np.random.default_rng(seed).normal(size=shape)


# --- LSTM ---------------------------------------------------------------------------


def sigmoid(x):
    return 1 / (1 + np.exp(-x))


def lstm_loss(params, xs, targets):
    """Mean squared error of a readout; time runs along axis 0."""

    def turn(state, x):
        h, c = state
        i, f, g, o = np.split(
            x @ params["w"] + h @ params["u"] + params["b"], 4, axis=1
        )
        c = sigmoid(f + 1) * c + sigmoid(i) * np.tanh(g)
        h = sigmoid(o) * np.tanh(c)
        return (h, c), h @ params["out"]

    zeros = np.zeros((xs.shape[1], params["u"].shape[0]))
    _, ys = tj.scan(turn, (zeros, zeros), xs)
    return np.mean((ys - targets) ** 2)


def lstm_arguments(length=9):
    shapes = {"w": (3, 16), "u": (4, 16), "b": (16,), "out": (4, 2)}
    params = {k: normal(*s, seed=i) / 2 for i, (k, s) in enumerate(shapes.items())}
    return params, normal(length, 5, 3), normal(length, 5, 2)


def unrolled(params, xs, targets):
    h = c = np.zeros((xs.shape[1], params["u"].shape[0]))
    total = 0.0
    for x, target in zip(xs, targets, strict=True):
        i, f, g, o = np.split(
            x @ params["w"] + h @ params["u"] + params["b"], 4, axis=1
        )
        c = sigmoid(f + 1) * c + sigmoid(i) * np.tanh(g)
        h = sigmoid(o) * np.tanh(c)
        total += np.sum((h @ params["out"] - target) ** 2)
    return total / targets.size


def test_lstm():
    check_model(lstm_loss, lstm_arguments())


def test_lstm_is_its_unrolled_form():
    args = lstm_arguments()
    got = tj.jit(tj.value_and_grad(lstm_loss))(*args)
    assert_close(got, tj.value_and_grad(unrolled)(*args))


# --- Kalman filter ------------------------------------------------------------------


def kalman_likelihood(params, ys):
    """Log-likelihood of observations of a linear Gaussian state space model."""
    move, look = params["move"], params["look"]
    drift = params["drift"] @ params["drift"].T
    noise = np.diag(np.exp(params["log_noise"]))
    eye = np.eye(len(move))

    def turn(state, y):
        mean, cov = state
        mean, cov = move @ mean, move @ cov @ move.T + drift
        error = y - look @ mean
        spread = look @ cov @ look.T + noise
        gain = cov @ look.T @ np.linalg.inv(spread)
        sign, log_det = np.linalg.slogdet(2 * np.pi * spread)
        ll = -0.5 * (error @ np.linalg.solve(spread, error) + sign * log_det)
        rest = eye - gain @ look  # Joseph's form: symmetric
        return (mean + gain @ error, rest @ cov @ rest.T + gain @ noise @ gain.T), ll

    start = np.zeros(len(move)), eye
    return np.sum(tj.scan(turn, start, ys)[1])


def kalman_arguments(length=8):
    params = {
        "move": np.eye(3) * 0.8 + normal(3, 3) / 8,
        "look": normal(2, 3, seed=1),
        "drift": np.eye(3) / 2 + normal(3, 3, seed=2) / 8,
        "log_noise": np.array([-0.5, 0.2]),
    }
    return params, normal(length, 2, seed=3)


def joint_likelihood(params, ys):
    """Return the same number from the joint distribution of all observations."""
    move, look, n = params["move"], params["look"], len(ys)
    cov = np.eye(3)
    covs = []
    for _ in range(n):
        cov = move @ cov @ move.T + params["drift"] @ params["drift"].T
        covs.append(cov)
    blocks = [[None] * n for _ in range(n)]
    for i, j in itertools.product(range(n), range(n)):
        late, early = max(i, j), min(i, j)
        c = np.linalg.matrix_power(move, late - early) @ covs[early]
        blocks[i][j] = look @ (c if i >= j else c.T) @ look.T
        if i == j:
            blocks[i][j] += np.diag(np.exp(params["log_noise"]))
    joint, y = np.block(blocks), ys.ravel()
    log_det = np.linalg.slogdet(2 * np.pi * joint)[1]
    return -0.5 * (y @ np.linalg.solve(joint, y) + log_det)


def test_kalman_filter():
    args = kalman_arguments()
    check_model(kalman_likelihood, args)
    assert_close(kalman_likelihood(*args), joint_likelihood(*args))


def test_kalman_filter_second_order():
    check_model(kalman_likelihood, kalman_arguments(3), order=2, modes=("rev", "fwd"))


# --- CTC ----------------------------------------------------------------------------


def ctc_loss(logits, labels, nothing=-np.inf):
    """Return -log of the probability of all alignments; symbol 0 is the blank."""
    log_p = logits - np.log(np.sum(np.exp(logits), axis=1, keepdims=True))
    states = np.stack([np.zeros_like(labels), labels], axis=1).ravel()
    states = np.concatenate([states, np.zeros(1, labels.dtype)])
    before = np.concatenate([np.full(2, -1), states[:-2]])
    skips = (states != 0) & (states != before)
    emitted = log_p[:, states]
    low = np.full(2, nothing)

    def turn(alpha, emit):
        stay, one = alpha, np.concatenate([low[:1], alpha[:-1]])
        two = np.where(skips, np.concatenate([low, alpha[:-2]]), nothing)
        alpha = np.logaddexp(np.logaddexp(stay, one), two) + emit
        return alpha, None

    first = np.where(np.arange(len(states)) < 2, emitted[0], nothing)
    alpha, _ = tj.scan(turn, first, emitted[1:])
    return -np.logaddexp(alpha[-1], alpha[-2])


def ctc_arguments():
    return normal(6, 4), np.array([2, 2, 3])


def ctc_by_alignments(logits, labels):
    """Return the same by adding up all paths."""
    p = np.exp(logits) / np.sum(np.exp(logits), axis=1, keepdims=True)
    total = 0.0
    for path in itertools.product(range(p.shape[1]), repeat=len(p)):
        heard = [k for k, _ in itertools.groupby(path) if k != 0]
        if heard == list(labels):
            total += np.prod(p[np.arange(len(p)), list(path)])
    return -np.log(total)


def test_ctc():
    args = ctc_arguments()
    check_model(ctc_loss, args)
    assert_close(ctc_loss(*args), ctc_by_alignments(*args))


def test_ctc_of_a_batch():
    logits, labels = (
        normal(3, 6, 4, seed=4),
        np.array([[2, 2, 3], [1, 2, 3], [3, 1, 3]]),
    )
    each = tj.vmap(tj.value_and_grad(ctc_loss))
    want = [
        tj.value_and_grad(ctc_loss)(z, y) for z, y in zip(logits, labels, strict=True)
    ]
    values, slopes = check_compiled(each, (logits, labels))
    assert_close(values, np.stack([w[0] for w in want]))
    assert_close(slopes, np.stack([w[1] for w in want]))


# --- beside JAX ---------------------------------------------------------------------


def finite_ctc_loss(logits, labels):
    """Nothing is a large number: in JAX derivatives of -inf alone are NaN."""
    return ctc_loss(logits, labels, -1e30)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("fn", "args"),
    [
        (lstm_loss, lstm_arguments()),
        (kalman_likelihood, kalman_arguments()),
        (finite_ctc_loss, ctc_arguments()),
    ],
)
def test_beside_jax(fn, args):
    compare_with_jax(fn, args)
