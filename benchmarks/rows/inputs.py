"""Random inputs."""

import numpy as np

BLOCK = 2**24


def normal(rng: np.random.Generator, *shape: int, scale: float = 1.0) -> np.ndarray:
    """Normal float32 numbers with standard deviation `scale`.

    More than 2^24 repeat a block whose length is odd, so that no two rows are alike:
    billions of them would take longer to draw than to compute with.
    """
    count = int(np.prod(shape))
    if count <= BLOCK:
        return rng.standard_normal(shape, dtype=np.float32) * np.float32(scale)
    block = rng.standard_normal(BLOCK + 17, dtype=np.float32) * np.float32(scale)
    return np.resize(block, shape)


def uniform(
    rng: np.random.Generator, low: float, high: float, *shape: int
) -> np.ndarray:
    """Uniform float32 numbers in [low, high)."""
    return rng.random(shape, dtype=np.float32) * np.float32(high - low) + np.float32(
        low
    )


def integers(rng: np.random.Generator, below: int, *shape: int) -> np.ndarray:
    """Integers from 0 to `below`, exclusive, as int32."""
    return rng.integers(below, size=shape, dtype=np.int32)


def shrunk(size: int, scale: int, least: int = 8) -> int:
    """A size for tests: divided by `scale`, but not below `least`."""
    return max(size // scale, min(size, least))
