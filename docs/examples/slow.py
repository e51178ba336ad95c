"""A function that is slower than it should be, and the same one rewritten."""

import numpy as np

TABLE = np.linspace(0, 1, 64, dtype=np.float32)


def features(x):
    """Standardise columns; sum what they weigh."""
    z = (x - x.mean(0)) / x.std(0)
    total = np.cumsum(np.exp(z), axis=0)
    return TABLE * total[-1], z


def rewritten(x):
    """Take `x` transposed, so that rows are what is averaged."""
    z = (x - x.mean(1, keepdims=True)) / x.std(1, keepdims=True)
    return TABLE * np.exp(z).sum(1), z
