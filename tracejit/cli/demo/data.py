"""The handwritten digits that scikit-learn ships, split once and for all.

Needs scikit-learn. Establishes `Digits`: 1,797 images of 8x8 pixels by 43 writers
(Alpaydin and Kaynak 1998), 80 % to train on and 20 % to test, the same at every run.
"""

from dataclasses import dataclass

import numpy as np

CLASSES = 10
SPLIT_SEED = 0


@dataclass(frozen=True)
class Digits:
    """Images (rows, 64), float32 in [0, 1], and their labels (rows,), integers."""

    train_x: np.ndarray
    train_labels: np.ndarray
    test_x: np.ndarray
    test_labels: np.ndarray


def load_digits() -> Digits:
    """Return the digits, split 80/20 with each class in proportion."""
    from sklearn.datasets import load_digits as load  # noqa: PLC0415  (optional)
    from sklearn.model_selection import train_test_split  # noqa: PLC0415  (optional)

    pixels, labels = load(return_X_y=True)
    train_x, test_x, train_labels, test_labels = train_test_split(
        (pixels / 16).astype(np.float32),
        labels,
        test_size=0.2,
        stratify=labels,
        random_state=SPLIT_SEED,
    )
    return Digits(train_x, train_labels, test_x, test_labels)


def one_hot(labels: np.ndarray) -> np.ndarray:
    """Rows of the identity, float32: (rows,) to (rows, classes)."""
    return np.eye(CLASSES, dtype=np.float32)[labels]
