"""The report's figures. Needs matplotlib, and draws without a display."""

from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from .train import History

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

BLUE, ORANGE, GREY = "#2563eb", "#ea580c", "#6b7280"


def new_figure(width: float, height: float) -> "Figure":
    """A figure that belongs to no window: no backend, no global state."""
    from matplotlib.backends.backend_agg import (  # noqa: PLC0415  (optional)
        FigureCanvasAgg,
    )
    from matplotlib.figure import Figure  # noqa: PLC0415  (optional)

    figure = Figure(figsize=(width, height), dpi=144, layout="constrained")
    FigureCanvasAgg(figure)
    return figure


def save_curves(history: History, goal: float, path: Path) -> None:
    """Draw loss and test accuracy over epochs, side by side."""
    figure = new_figure(9, 3.6)
    left, right = figure.subplots(1, 2)
    draw_loss(left, history)
    draw_accuracy(right, history, goal)
    for axes in (left, right):
        axes.set_xlabel("epoch")
        axes.spines[["top", "right"]].set_visible(False)
        axes.grid(alpha=0.25)
    figure.savefig(path)


def draw_loss(axes: "Axes", history: History) -> None:
    """Draw the loss of each step, pale, and its mean over each epoch."""
    per_epoch = history.steps_per_epoch()
    steps = np.arange(1, len(history.losses) + 1) / per_epoch
    epochs = np.arange(1, len(history.accuracies) + 1)
    axes.plot(steps, history.losses, color=BLUE, alpha=0.25, lw=0.8, label="step")
    axes.plot(epochs - 0.5, history.epoch_losses(), color=BLUE, lw=2, label="epoch")
    axes.set_yscale("log")
    axes.set_title("training loss (cross-entropy)", loc="left", fontsize=11)
    axes.legend(frameon=False)


def draw_accuracy(axes: "Axes", history: History, goal: float) -> None:
    """Draw test accuracy in percent, and the goal."""
    percent = 100 * np.array(history.accuracies)
    epochs = np.arange(1, len(percent) + 1)
    axes.plot(epochs, percent, color=ORANGE, lw=2, marker="o", ms=2.5)
    axes.axhline(100 * goal, color=GREY, lw=1, ls="--", label=f"goal {goal:.0%}")
    axes.set_ylim(min(90, percent.min() - 1), 100)
    axes.set_title(
        f"test accuracy (%): {percent[-1]:.2f} at the end", loc="left", fontsize=11
    )
    axes.legend(frameon=False, loc="lower right")


def confusion(found: np.ndarray, labels: np.ndarray, classes: int) -> np.ndarray:
    """Counts (true class, predicted class), integers."""
    counts = np.zeros((classes, classes), np.int64)
    np.add.at(counts, (labels, found), 1)
    return counts


def save_confusion(counts: np.ndarray, path: Path) -> None:
    """Draw a confusion matrix; mistakes in orange, however few they are."""
    figure = new_figure(5.2, 4.8)
    axes = figure.subplots()
    right = np.eye(len(counts), dtype=bool)
    axes.imshow(np.where(right, counts, np.nan), cmap="Blues", vmin=0, alpha=0.85)
    wrong = np.where(right | (counts == 0), np.nan, counts)
    axes.imshow(wrong, cmap="Oranges", vmin=0, vmax=max(5, counts[~right].max()))
    for (i, j), n in np.ndenumerate(counts):
        if n:
            color = "white" if i == j else "black"
            axes.text(j, i, str(n), ha="center", va="center", fontsize=9, color=color)
    ticks = range(len(counts))
    axes.set_xticks(ticks)
    axes.set_yticks(ticks)
    axes.set_xlabel("predicted digit")
    axes.set_ylabel("true digit")
    mistakes, total = counts[~right].sum(), counts.sum()
    axes.set_title(
        f"{total - mistakes} of {total} test images right", loc="left", fontsize=11
    )
    figure.savefig(path)
