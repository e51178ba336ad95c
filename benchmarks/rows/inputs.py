"""Random float32 inputs."""

import numpy as np


def normal(rng: np.random.Generator, *shape: int, scale: float = 1.0) -> np.ndarray:
    """Normal float32 numbers with standard deviation `scale`."""
    return rng.standard_normal(shape, dtype=np.float32) * np.float32(scale)


def uniform(
    rng: np.random.Generator, low: float, high: float, *shape: int
) -> np.ndarray:
    """Uniform float32 numbers in [low, high)."""
    return rng.random(shape, dtype=np.float32) * np.float32(high - low) + np.float32(
        low
    )
