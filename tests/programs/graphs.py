"""Graphs, sequences and dynamic programming; mostly integers and tables."""

import numpy as np

from .program import Program, arguments, normal, uniform


def pagerank(adjacency, damping=0.85, iterations=20):
    """PageRank by power iteration; dangling nodes link everywhere."""
    n = adjacency.shape[0]
    degree = adjacency.sum(axis=1)
    dangling = degree == 0
    transition = adjacency / np.where(dangling, 1, degree)[:, None]
    rank = np.full(n, 1 / n, dtype=adjacency.dtype)
    for _ in range(iterations):
        lost = rank[None, :] @ dangling.astype(rank.dtype)
        rank = (1 - damping) / n + damping * (rank @ transition + lost / n)
    return rank


def pagerank_args(rng, dtype):
    adjacency = (rng.random((14, 14)) < 0.25).astype(dtype)
    adjacency[3] = 0
    return arguments(adjacency)


def viterbi(log_start, log_trans, log_emit, observed):
    """Most likely hidden path, with its score."""
    score = log_start + log_emit[:, observed[0]]
    back = []
    for t in range(1, len(observed)):
        candidates = score[:, None] + log_trans
        best = candidates.argmax(axis=0)
        score = np.take_along_axis(candidates, best[None, :], axis=0)[0]
        score = score + log_emit[:, observed[t]]
        back.append(best)
    state = score.argmax()
    path = [state]
    for best in reversed(back):
        state = best[state]
        path.append(state)
    return np.array(path[::-1]), score.max()


def log_probabilities(x):
    return x - np.log(np.exp(x).sum(axis=-1, keepdims=True))


def hmm_args(rng, dtype):
    return arguments(
        log_probabilities(normal(rng, dtype, 4)),
        log_probabilities(normal(rng, dtype, 4, 4)),
        log_probabilities(normal(rng, dtype, 4, 6)),
        rng.integers(0, 6, 11),
    )


def hmm_forward(log_start, log_trans, log_emit, observed):
    """Log-likelihood and filtered posteriors, in the log domain."""
    emissions = log_emit.T[observed]
    alpha = log_start + emissions[0]
    posteriors = np.empty((len(observed), len(log_start)), dtype=alpha.dtype)
    for t in range(len(observed)):
        if t > 0:
            alpha = np.logaddexp.reduce(alpha[:, None] + log_trans, axis=0)
            alpha += emissions[t]
        posteriors[t] = np.exp(alpha - np.logaddexp.reduce(alpha))
    return np.logaddexp.reduce(alpha), posteriors


def floyd_warshall(distance):
    """All shortest paths, in the argument; returns the nearest other node."""
    for k in range(len(distance)):
        through = distance[:, k, np.newaxis] + distance[k]
        np.minimum(distance, through, out=distance)
    off_diagonal = distance + 1e6 * np.eye(len(distance), dtype=distance.dtype)
    return off_diagonal.argmin(axis=1)


def floyd_args(rng, dtype):
    distance = uniform(rng, dtype, 9, 9, low=1, high=10)
    distance[rng.random((9, 9)) < 0.4] = 1000
    np.fill_diagonal(distance, 0)
    return arguments(distance)


def edit_distance(a, b):
    """Levenshtein distance: an integer table, one row at a time."""
    n = len(b)
    previous = np.arange(n + 1)
    for i in range(len(a)):
        current = np.empty_like(previous)
        current[0] = i + 1
        substitute = previous[:-1] + (b != a[i])
        current[1:] = np.minimum(previous[1:] + 1, substitute)
        # Insertions run along the row: a running minimum after removing the slope.
        ramp = np.arange(n + 1)
        previous = np.minimum.accumulate(current - ramp) + ramp
    return previous[-1]


def edit_distance_args(rng, dtype):
    return arguments(rng.integers(0, 4, 9), rng.integers(0, 4, 12))


def knapsack(values, weights, capacity):
    """0/1 knapsack table over floats, with in-place shifted maxima."""
    best = np.zeros(capacity + 1, dtype=values.dtype)
    for value, weight in zip(values, weights, strict=True):
        best[weight:] = np.maximum(best[weight:], best[: capacity + 1 - weight] + value)
    return best


def knapsack_args(rng, dtype):
    return arguments(uniform(rng, dtype, 6, low=1, high=9), (3, 5, 2, 7, 4, 1), 15)


def label_components(adjacency, rounds=6):
    """Connected components by spreading the smallest label."""
    n = len(adjacency)
    linked = adjacency | adjacency.T | np.eye(n, dtype=bool)
    label = np.arange(n)
    for _ in range(rounds):
        label = np.where(linked, label[None, :], n).min(axis=1)
        label = label[label]
    return label, np.bincount(label, minlength=n)


def label_args(rng, dtype):
    return arguments(rng.random((16, 16)) < 0.06)


def message_passing(nodes, senders, receivers, w_message, w_self):
    """One graph network layer: gather, transform, scatter the mean."""
    messages = np.tanh(nodes[senders] @ w_message)
    total = np.zeros((nodes.shape[0], messages.shape[1]), nodes.dtype)
    np.add.at(total, receivers, messages)
    degree = np.zeros(nodes.shape[0], nodes.dtype)
    np.add.at(degree, receivers, 1)
    mean = total / np.maximum(degree, 1)[:, None]
    return np.maximum(nodes @ w_self + mean, 0), degree


def message_args(rng, dtype):
    return arguments(
        normal(rng, dtype, 10, 5),
        rng.integers(0, 10, 24),
        rng.integers(0, 10, 24),
        normal(rng, dtype, 5, 4),
        normal(rng, dtype, 5, 4),
    )


def hash_rows(words):
    """FNV-1a over the columns of unsigned integers; overflow wraps."""
    state = np.full(words.shape[0], 0xCBF29CE484222325, dtype=np.uint64)
    for column in words.T:
        state ^= column
        state *= np.uint64(0x100000001B3)
    return state, (state >> np.uint64(60)).astype(np.uint8)


def hash_args(rng, dtype):
    return arguments(rng.integers(0, 2**63, (9, 4), dtype=np.uint64))


PROGRAMS = (
    Program("pagerank", pagerank, pagerank_args),
    Program("viterbi", viterbi, hmm_args),
    Program("hmm_forward", hmm_forward, hmm_args),
    Program("floyd_warshall", floyd_warshall, floyd_args),
    Program("edit_distance", edit_distance, edit_distance_args),
    Program("knapsack", knapsack, knapsack_args),
    Program("label_components", label_components, label_args),
    Program("message_passing", message_passing, message_args),
    Program("hash_rows", hash_rows, hash_args),
)
