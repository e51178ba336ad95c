"""One kernel for all steps that run the same one: repeated layers are compiled once.

    run @k0(%x, %w0) -> (%h0)               run @k0(%x, %w0) -> (%h0)
    run @k1(%h0, %w1) -> (%h1)      →       run @k0(%h0, %w1) -> (%h1)

Kernels are the same if their texts are, but for names and the lines they compute. Those
that differ only in where in an array they read are made the same first (`places`).
"""

from collections.abc import Iterator
from dataclasses import replace

from ..kernels.kernel import Kernel
from ..kernels.schedule import Schedule
from .places import Texts, with_moved_places
from .program import Program, Run, nested, with_kernels


def share_kernels(program: Program) -> Program:
    """Return the program with the first of each set of equal kernels in all places."""
    program = with_moved_places(program)
    text_of = Texts()
    texts: dict[str, str] = {}  # by the kernel's name
    firsts: dict[str, Kernel] = {}  # by text
    for kernel, schedule in _kernels(program):
        if kernel.name not in texts:
            text = texts[kernel.name] = text_of(kernel, schedule)
            firsts[text] = _with_lines(firsts.get(text, kernel), kernel.source)

    def shared(kernel: Kernel, schedule: Schedule) -> tuple[Kernel, Schedule]:
        return firsts[texts[kernel.name]], schedule

    return with_kernels(program, shared)


def _with_lines(kernel: Kernel, lines: tuple[str, ...]) -> Kernel:
    """Return a kernel that is known to compute these lines, too."""
    source = tuple(dict.fromkeys((*kernel.source, *lines)))
    return kernel if source == kernel.source else replace(kernel, source=source)


def _kernels(program: Program) -> Iterator[tuple[Kernel, Schedule]]:
    for step in nested(program.steps):
        if isinstance(step, Run):
            yield step.kernel, step.schedule
