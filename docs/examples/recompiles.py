"""A training step that is compiled more often than it should be."""

import numpy as np

import tracejit as tj

SCALE = np.ones(16, np.float32)
X, Y = np.ones((250, 16), np.float32), np.ones((250, 4), np.float32)
W = np.full((16, 4), 0.1, np.float32)
BATCHES = [slice(0, 100), slice(100, 200), slice(200, 250)]


@tj.jit
def step(params, x, y, rate, epoch):
    """Return new parameters and the loss."""
    error = np.tanh(x * SCALE @ params["w"]) - y
    if epoch < 2:  # warm up
        rate = rate * 0.5
    return {"w": params["w"] - rate * x.T @ error}, np.mean(error * error)


def calls():
    """The calls of three epochs; the last batch of each has 50 rows."""
    for epoch in range(3):
        for rows in BATCHES:
            yield {"w": W}, X[rows], Y[rows], 0.1, epoch


@tj.jit
def better(params, x, y, weight, rate, epoch):
    """Do the same for rows that weigh 1, or 0 where they are padded."""
    error = (np.tanh(x * SCALE @ params["w"]) - y) * weight[:, None]
    rate = np.where(epoch < 2, rate * 0.5, rate)
    loss = np.sum(error * error) / (np.sum(weight) * y.shape[1])
    return {"w": params["w"] - rate * x.T @ error}, loss


def padded_calls():
    """The same calls, with batches of 100 rows: what is padded weighs nothing."""
    for epoch in range(3):
        for rows in BATCHES:
            n = rows.stop - rows.start
            x, y = np.zeros((100, 16), np.float32), np.zeros((100, 4), np.float32)
            x[:n], y[:n] = X[rows], Y[rows]
            weight = (np.arange(100) < n).astype(np.float32)
            yield {"w": W}, x, y, weight, 0.1, np.int64(epoch)


if __name__ == "__main__":
    for call in calls():
        step(*call)
