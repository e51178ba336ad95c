"""Training: batches, the learning rate's schedule, the loop, and its history.

Needs a step and a forward pass, jitted or not. Establishes the trained `State` and a
`History`. The settings were chosen by 5-fold cross-validation on the training images
alone; the test images decide nothing.
"""

import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field

import numpy as np

from .data import Digits, one_hot
from .model import Layers, State, Step, initial_state

Forward = Callable[[Layers, np.ndarray], np.ndarray]
Batch = tuple[np.ndarray, np.ndarray]


@dataclass(frozen=True)
class Settings:
    """What a training run depends on.

    Parameters
    ----------
    epochs, seed, batch : int
        Passes over the images; of initial weights, order and noise; rows of a batch.
    rate : float
        Learning rate at the start; falls to 0 along a cosine.
    noise : float
        Standard deviation of what is added to the pixels, which lie in [0, 1]: without
        it the network learns the 1,437 images by heart.
    """

    epochs: int = 60
    seed: int = 0
    batch: int = 64
    rate: float = 5e-3
    noise: float = 0.2


@dataclass
class History:
    """Loss of every step, test accuracy (0 to 1) after every epoch."""

    losses: list[float] = field(default_factory=list)
    accuracies: list[float] = field(default_factory=list)

    def steps_per_epoch(self) -> int:
        """Steps of each epoch; the last epoch is over."""
        return len(self.losses) // len(self.accuracies)

    def epoch_losses(self) -> np.ndarray:
        """Mean loss of each epoch, (epochs,)."""
        return np.reshape(self.losses, (len(self.accuracies), -1)).mean(axis=1)


def steps_per_epoch(digits: Digits, settings: Settings) -> int:
    """Whole batches in the training images; what is left over waits for its turn."""
    return len(digits.train_x) // settings.batch


def batches(
    digits: Digits, settings: Settings, rng: np.random.Generator
) -> Iterator[Batch]:
    """Noisy images and one-hot labels of one epoch, in random order."""
    steps = steps_per_epoch(digits, settings)
    order = rng.permutation(len(digits.train_x))[: steps * settings.batch]
    for index in order.reshape(steps, settings.batch):
        x = digits.train_x[index]
        noise = rng.normal(0, settings.noise, x.shape).astype(x.dtype)
        yield x + noise, one_hot(digits.train_labels[index])


def learning_rate(t: int, steps: int, start: float) -> float:
    """Rate of step `t` (from 1) of `steps`: a cosine from `start` to 0."""
    return start * (1 + math.cos(math.pi * (t - 1) / steps)) / 2


def train(
    step: Step,
    forward: Forward,
    digits: Digits,
    settings: Settings,
    on_step: Callable[[History], None],
    start: Callable[[np.random.Generator], State] = initial_state,
) -> tuple[State, History]:
    """Train from scratch; `on_step` sees the history after every step."""
    rng = np.random.default_rng(settings.seed)
    state, history, t = start(rng), History(), 0
    total = settings.epochs * steps_per_epoch(digits, settings)
    for _ in range(settings.epochs):
        for x, y in batches(digits, settings, rng):
            t += 1
            rate = learning_rate(t, total, settings.rate)
            loss, state = step(state, t, x, y, rate)
            history.losses.append(float(loss))
            on_step(history)
        found = predict(forward, state, digits.test_x)
        history.accuracies.append(float(np.mean(found == digits.test_labels)))
    return state, history


def predict(forward: Forward, state: State, x: np.ndarray) -> np.ndarray:
    """The class of each row of `x`, (rows,)."""
    return np.argmax(forward(state["params"], x), axis=1)
