"""Programs for processors with caches: long rows are reduced block by block."""

from dataclasses import replace

from ..kernels.blocks import by_blocks
from .program import If, Loop, Program, Run, Step


def with_blocks(program: Program) -> Program:
    """Return the program with its kernels by blocks where that pays.

    See `kernels.blocks`. The same object where no kernel changes.
    """
    steps = tuple(_step(s) for s in program.steps)
    if all(a is b for a, b in zip(steps, program.steps, strict=True)):
        return program
    return replace(program, steps=steps)


def _step(step: Step) -> Step:
    if isinstance(step, Run):
        kernel, schedule = by_blocks(step.kernel, step.schedule)
        if kernel is step.kernel:
            return step
        return replace(step, kernel=kernel, schedule=schedule)
    if isinstance(step, Loop):
        return replace(step, steps=tuple(_step(s) for s in step.steps))
    if isinstance(step, If):
        on_true = tuple(_step(s) for s in step.on_true)
        on_false = tuple(_step(s) for s in step.on_false)
        return replace(step, on_true=on_true, on_false=on_false)
    return step
