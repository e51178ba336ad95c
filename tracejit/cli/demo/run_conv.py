"""The second part of the demo: the convolutional network, and the cost of its kernels.

Needs an existing folder and the packages of the extra `demo`. Establishes the network's
files in the folder (``convnet-...``), and a `ConvSummary`.
"""

import time
from dataclasses import replace
from pathlib import Path

import numpy as np
from rich.console import Console

import tracejit as tj
from tracejit.kernels.cost import cost_of
from tracejit.kernels.kernel import Contract, Kernel, Load, Reduce
from tracejit.kernels.maps import axes_in

from .convnet import (
    conv_cross_entropy,
    conv_forward,
    conv_layer,
    conv_step,
    initial_conv_state,
)
from .data import Digits
from .figures import save_curves
from .levels import Level, levels, write_levels
from .measure import largest_difference, milliseconds
from .run import Stages, arguments, compile_step, numbered_source, train_with_progress
from .summary import CONV_GOAL, ConvSummary, KernelRow
from .train import Settings

PREFIX = "convnet-"
SOURCE = (conv_layer, conv_forward, conv_cross_entropy, conv_step)
# Chosen, as those of the first network, by 5-fold cross-validation (99.1 %).
SETTINGS = Settings(epochs=25, rate=8e-3, noise=0.15)


def run_conv(
    settings: Settings, digits: Digits, out: Path, console: Console
) -> ConvSummary:
    """Compile, train, measure; write the network's files into `out`, which exists."""
    step, infer = tj.jit(conv_step), tj.jit(conv_forward)
    start = initial_conv_state(np.random.default_rng(0))
    args = arguments(digits, settings, start, 1)
    with console.status("compiling the convolutional network"):
        stages = compile_step(step, args)
        infer(start["params"], digits.test_x)
    began = time.perf_counter()
    state, history = train_with_progress(
        step, infer, digits, settings, console, initial_conv_state
    )
    seconds = time.perf_counter() - began
    args = arguments(digits, settings, state, len(history.losses) + 1)
    with console.status("timing the step beside NumPy"):
        jitted_ms, eager_ms = milliseconds([step, conv_step], args, rounds=5, calls=1)
    summary = ConvSummary(
        kernels=[kernel_row(k) for k in stages.compiled.kernels],
        compile_seconds=sum(stages.compiled.timings.values()),
        steps=len(history.losses),
        jitted_ms=jitted_ms,
        eager_ms=eager_ms,
        difference=largest_difference(step(*args)[1], conv_step(*args)[1]),
        train_seconds=seconds,
        accuracy=history.accuracies[-1],
        source="\n\n".join(numbered_source(f) for f in SOURCE),
        levels=conv_levels(stages),
    )
    save_curves(history, CONV_GOAL, out / f"{PREFIX}curves.png")
    write_levels(summary.levels, out, PREFIX)
    return summary


def conv_settings(settings: Settings, epochs: int) -> Settings:
    """Return the settings of this network, with the seed of the first one."""
    return replace(SETTINGS, seed=settings.seed, epochs=epochs)


def conv_levels(stages: Stages) -> list[Level]:
    """Return the graph as traced, the program, its kernels and LLVM text."""
    found = levels(stages.traced, stages.lowered, stages.compiled)
    chosen = [found[0], *(f for f in found if not f.name.startswith("graph-"))]
    return [replace(level, name=f"{PREFIX}{level.name}") for level in chosen]


def kernel_row(kernel: Kernel) -> KernelRow:
    """Return what is shown of one kernel."""
    cost = cost_of(kernel)
    kinds = []
    if any(isinstance(op, Contract) for op in kernel.body):
        places = (i for op in kernel.body if isinstance(op, Load) for i in op.map)
        is_window = any(len(axes_in(index)) > 1 for index in places)
        kinds.append("convolution" if is_window else "product")
    if any(isinstance(op, Reduce) for op in kernel.body):
        kinds.append("reduction")
    what = " + ".join(kinds) or "elementwise"
    return KernelRow(kernel.name, what, kernel.source, cost.flops, cost.bytes_moved)
