"""Horizontal fusion: kernels that do the same to other arrays become one kernel.

    run @k0(%w, %g) -> (%w1)                run @k0(%w, %g, %b, %h) -> (%w1, %b1)
    ...                             →       ...
    run @k1(%b, %h) -> (%b1)

An optimiser updates each parameter by the same few lines; one kernel for all is one
launch, and one piece of work for the threads. The kernels must be pointwise and have
the same operations, on arrays of any extents, and nothing that stands between them may
touch what they touch. Earlier ones move to the place of the last.
"""

from collections.abc import Hashable, Iterator, Mapping, Sequence
from dataclasses import replace

from ..ir.graph import Literal
from ..kernels.kernel import (
    Compute,
    Contract,
    Iota,
    Kernel,
    KernelOp,
    Load,
    Operand,
    Reduce,
    Repeat,
    Store,
)
from ..kernels.parts import joined
from .plan import touched
from .program import Copy, Extern, Program, Run, Step

MAX_BUFFERS = 256  # parameters of one kernel


def merge_alike(program: Program) -> Program:
    """Return the program with kernels merged that do the same to other arrays.

    Steps inside of loops and branches stay as they are. The same object where there is
    nothing to merge.
    """
    merging = _Merging({b.name: b.base or b.name for b in program.buffers})
    for step in program.steps:
        merging.add(step)
    steps = merging.finish()
    if len(steps) == len(program.steps):
        return program
    return replace(program, steps=tuple(steps))


class _Merging:
    """Steps in a new order: alike runs wait for more of their kind."""

    def __init__(self, bases: Mapping[str, str]) -> None:
        self.bases = bases
        self.done: list[Step] = []
        self.waiting: dict[Hashable, list[Run]] = {}

    def add(self, step: Step) -> None:
        """Take in the next step."""
        for key, runs in list(self.waiting.items()):
            if any(self._must_follow(step, run) for run in runs):
                self._close(key)
        key = _operations(step.kernel) if isinstance(step, Run) else None
        if key is None or not isinstance(step, Run):
            self.done.append(step)
            return
        runs = self.waiting.setdefault(key, [])
        if runs and sum(map(_buffers, runs)) + _buffers(step) > MAX_BUFFERS:
            self._close(key)
            runs = self.waiting.setdefault(key, [])
        runs.append(step)

    def finish(self) -> list[Step]:
        """Return all steps."""
        for key in list(self.waiting):
            self._close(key)
        return self.done

    def _close(self, key: Hashable) -> None:
        runs = self.waiting.pop(key)
        self.done.append(runs[0] if len(runs) == 1 else _joined(runs))

    def _must_follow(self, late: Step, early: Run) -> bool:
        """Tell whether two steps must keep their order."""
        mine, written = self._names(touched(late)), self._names(_written(late))
        wrote = self._names(early.outputs)
        return bool(mine & wrote or written & self._names(early.inputs))

    def _names(self, names: Iterator[str] | Sequence[str]) -> set[str]:
        return {self.bases[n] for n in names}


def _written(step: Step) -> Iterator[str] | Sequence[str]:
    """Return what a step writes; of loops and branches, all that they touch."""
    if isinstance(step, Run | Extern):
        return step.outputs
    return (step.output,) if isinstance(step, Copy) else touched(step)


def _buffers(step: Run) -> int:
    return len(step.inputs) + len(step.outputs)


def _joined(runs: Sequence[Run]) -> Run:
    name = runs[0].kernel.name
    kernel, schedule = joined(name, [(r.kernel, r.schedule) for r in runs])
    source = tuple(dict.fromkeys(s for r in runs for s in r.source))
    inputs = tuple(b for r in runs for b in r.inputs)
    outputs = tuple(b for r in runs for b in r.outputs)
    groups = tuple(g for r in runs for g in r.groups)
    results = tuple(v for r in runs for v in r.results)
    return Run(kernel, schedule, inputs, outputs, source, groups, results)


def _operations(kernel: Kernel) -> Hashable | None:
    """Return what a pointwise kernel does, without names and extents; else None."""
    if any(isinstance(op, Reduce | Contract | Repeat) for op in kernel.body):
        return None
    numbers: dict[str, int] = {}
    return tuple(_operation(op, numbers) for op in kernel.body)


def _operation(op: KernelOp, numbers: dict[str, int]) -> Hashable:
    def known(x: Operand) -> Hashable:
        return x.key if isinstance(x, Literal) else numbers[x.name]

    if isinstance(op, Load | Compute | Iota | Reduce | Contract):
        numbers[op.result.name] = len(numbers)
        if isinstance(op, Compute):
            operands = tuple(map(known, op.operands))
            params = tuple((k, str(v)) for k, v in op.params.items())
            return op.primitive.name, operands, params, op.result.dtype
        return type(op).__name__, op.result.dtype, getattr(op, "check", ())
    assert isinstance(op, Store)
    return "Store", known(op.value)
