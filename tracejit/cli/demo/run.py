"""A whole run of the demo: compile, train, measure, write the report.

Needs an existing folder and the packages of the extra `demo`. Establishes the report's
files in the folder but for the page, and a `Summary`.
"""

import inspect
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn

import tracejit as tj
from tracejit.compiled import Compiled
from tracejit.stages import Lowered, Traced

from .data import CLASSES, Digits
from .figures import confusion, save_confusion, save_curves
from .levels import Level, levels, write_levels
from .measure import Arguments, largest_difference, milliseconds
from .model import (
    State,
    Step,
    adam,
    adam_update,
    cross_entropy,
    forward,
    initial_state,
    numpy_step,
    train_step,
)
from .summary import GOAL, Summary
from .train import (
    Forward,
    History,
    Settings,
    batches,
    predict,
    steps_per_epoch,
    train,
)

STEP_SOURCE = (forward, cross_entropy, adam, adam_update, train_step)


@dataclass(frozen=True)
class Stages:
    """One compilation of the step."""

    traced: Traced
    lowered: Lowered
    compiled: Compiled


def run(
    settings: Settings, digits: Digits, out: Path, console: Console
) -> tuple[Summary, Stages]:
    """Compile, train, measure; write texts and figures into `out`, which exists."""
    step, infer = tj.jit(train_step), tj.jit(forward)
    args = arguments(digits, settings, initial_state(np.random.default_rng(0)), 1)
    with console.status("compiling"):
        stages = compile_step(step, args)
        infer(args[0]["params"], digits.test_x)
    with tj.testing.count_traces() as counter:
        start = time.perf_counter()
        state, history = train_with_progress(step, infer, digits, settings, console)
        seconds = time.perf_counter() - start
    args = arguments(digits, settings, state, len(history.losses) + 1)
    with console.status("timing the step beside plain NumPy"):
        jitted_ms, numpy_ms = milliseconds([step, numpy_step], args)
    summary = Summary(
        stages=stages.compiled.timings,
        equations=len(stages.traced.graph.eqns),
        kernels=len(stages.lowered.kernels),
        compiles=counter.compiles,
        steps=len(history.losses),
        jitted_ms=jitted_ms,
        numpy_ms=numpy_ms,
        difference=largest_difference(step(*args)[1], numpy_step(*args)[1]),
        train_seconds=seconds,
        accuracy=history.accuracies[-1],
    )
    with console.status("writing the report"):
        found = predict(infer, state, digits.test_x)
        save_curves(history, GOAL, out / "curves.png")
        counts = confusion(found, digits.test_labels, CLASSES)
        save_confusion(counts, out / "confusion.png")
        write_levels(stage_levels(stages), out)
    return summary, stages


def arguments(digits: Digits, settings: Settings, state: State, t: int) -> Arguments:
    """Arguments of step `t` at a batch of its own."""
    x, y = next(batches(digits, settings, np.random.default_rng(t)))
    return state, t, x, y, settings.rate


def compile_step(step: tj.api.JitFunction, args: Arguments) -> Stages:
    """Compile the step stage by stage, for its texts and its times."""
    traced = step.trace(*args)
    lowered = traced.lower()
    return Stages(traced, lowered, lowered.compile())


def train_with_progress(
    step: Step,
    infer: Forward,
    digits: Digits,
    settings: Settings,
    console: Console,
    start: Callable[[np.random.Generator], State] = initial_state,
) -> tuple[State, History]:
    """Train under a progress bar that shows loss and test accuracy."""
    progress = Progress(
        TextColumn("training"),
        BarColumn(),
        TextColumn("{task.completed}/{task.total} steps"),
        TextColumn("loss {task.fields[loss]:.4f}"),
        TextColumn("test accuracy {task.fields[accuracy]:.2%}"),
        TimeElapsedColumn(),
        console=console,
    )
    total = settings.epochs * steps_per_epoch(digits, settings)
    with progress:
        task = progress.add_task("training", total=total, loss=np.nan, accuracy=0.0)

        def show(history: History) -> None:
            loss = history.losses[-1]
            accuracy = history.accuracies[-1] if history.accuracies else 0.0
            progress.update(task, advance=1, loss=loss, accuracy=accuracy)

        state, history = train(step, infer, digits, settings, show, start)
        progress.update(task, accuracy=history.accuracies[-1])
    return state, history


def stage_levels(stages: Stages) -> list[Level]:
    """Return the texts of one compilation."""
    return levels(stages.traced, stages.lowered, stages.compiled)


def step_source() -> str:
    """Return the text of the step."""
    return "\n\n".join(numbered_source(f) for f in STEP_SOURCE)


def numbered_source(function: Callable[..., object]) -> str:
    """The text of a function, each line with its number in its file."""
    lines, first = inspect.getsourcelines(function)
    return "".join(f"{n:4}  {line}" for n, line in enumerate(lines, first)).rstrip()
