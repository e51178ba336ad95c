"""Machine code, step by step: which one gives other results than its interpreter.

Needs a Program that is right in the interpreter. Establishes `code_culprit`: the first
step whose code, built and run alone on the values that the step is given, differs from
what the interpreter makes of it; with one thread and with other instruction sets, too.
All code runs in a child process, where it may crash or hang.
"""

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace

import numpy as np

from .. import config
from ..codegen.llvm.sharing import SERIAL, Threading
from ..codegen.llvm.target import Target, host_target
from ..errors import TracejitError
from ..ir import dtypes as dt
from ..ir.aval import Shape
from ..ir.ops.sort import SORTS
from ..ir.primitive import Array
from ..kernels.kernel import extent_of
from ..program.interp import run_program
from ..program.lower import contiguous
from ..program.plan import plan_memory
from ..program.printer import format_step
from ..program.program import (
    Copy,
    Extern,
    Program,
    ProgramBuffer,
    Run,
    Step,
    Storage,
    ends_of,
    nested,
)
from ..runtime.cpu.executable import CpuExecutable
from ..runtime.cpu.threads import threading_of
from .checks import Inputs, first_complaint
from .child import Code, Send, outcomes_of_code, values_of_child
from .contract import Bound, Outcome, Reference
from .culprit import Culprit, Failure, said
from .limits import SECONDS, ProcessDied, time_limit
from .noise import epsilon, largest, tiny, wide

REPEATS = 4  # runs of one step, in loops, that are looked at
RUNS = 4  # of a step on inputs moved by some roundings
MOVED = 4.0  # roundings by which they are moved
ROUNDINGS = 64.0  # of a value that a kernel computes
SHARE = 0.25  # of the largest value, for which the same holds
GARBAGE = 0xA5  # what the interpreter fills memory with that nothing was written to
OTHER_ISAS = ("avx2", "baseline")


@dataclass(frozen=True)
class Native:
    """A Program that is right in its interpreter, and how its machine code is called.

    Parameters
    ----------
    program : Program
    laid_out : callable
        Returns copies of inputs with the strides that the Program expects.
    seconds : float
        After which code that still runs is taken to hang.
    """

    program: Program
    laid_out: Callable[[Inputs], list[Array]]
    seconds: float = SECONDS

    def outcomes(
        self, given: Iterable[Inputs], target: Target, threading: Threading
    ) -> Iterator[Outcome]:
        """Yield what the code gives, built and run in a child process."""

        def build() -> Code:
            executable = CpuExecutable(self.program, target, threading)
            return lambda inputs: executable.run(self.laid_out(inputs))

        return outcomes_of_code(build, given, self.seconds)

    def failure(
        self, wanted: Sequence[Reference], target: Target, threading: Threading
    ) -> Failure | None:
        """Return what is wrong with the code for a target, built and run as a whole."""
        outcomes = self.outcomes([r.inputs for r in wanted], target, threading)
        try:
            wrong = first_complaint(wanted, outcomes)
        except Exception as error:  # whatever emitting and building may raise
            return Failure.of(error)
        return None if wrong is None else Failure(wrong)


def usual_target() -> tuple[Target, Threading]:
    """Return the instructions and the threads that the switches want."""
    threading = threading_of(config.get("threads"), config.get("share_from"))
    return host_target(config.get("isa")), threading


def code_culprit(native: Native, wanted: Sequence[Reference]) -> Culprit | None:
    """Find the step of a Program whose machine code is wrong.

    Parameters
    ----------
    native : Native
    wanted : sequence of Reference
        What it gives.
    """
    target, threading = usual_target()
    wrong = native.failure(wanted, target, threading)
    if wrong is None:
        return None
    search = _Steps(native.program, target, threading, native.seconds)
    found = search.first_wrong([r for r in wanted if isinstance(r.outcome, tuple)])
    notes = list(_otherwise(native, wanted, target, threading))
    steps = native.program.steps
    if found is None and len(steps) == 1 and isinstance(steps[0], Copy | Extern | Run):
        found = steps[0], wrong
    if found is None:
        notes.append(
            f"each step alone is right, to {ROUNDINGS:g} roundings: what calls them, "
            "or memory, is not, or a step is wrong by less"
        )
        name = "the program's own code"
        return Culprit("code", name, wrong.reason, notes=tuple(notes), died=wrong.died)
    step, wrong = found
    name = step.kernel.name if isinstance(step, Run) else format_step(step)
    return Culprit(
        "code",
        name,
        wrong.reason,
        source=step.source,
        notes=(f"step: {format_step(step)}", *notes),
        died=wrong.died,
    )


def _otherwise(
    native: Native, wanted: Sequence[Reference], target: Target, threading: Threading
) -> Iterator[str]:
    """Say with which threads and instructions the code is right."""
    if threading is not SERIAL and native.failure(wanted, target, SERIAL) is None:
        yield "by one thread it is right"
    for isa in OTHER_ISAS:
        if isa != target.name and _can(isa):
            failure = native.failure(wanted, host_target(isa), threading)
            yield f"with {isa} it is {'right' if failure is None else 'wrong too'}"


def _can(isa: str) -> bool:
    try:
        host_target(isa)
    except TracejitError:
        return False
    return True


@dataclass
class _Steps:
    """The steps of a Program, each built and run alone."""

    program: Program
    target: Target
    threading: Threading
    seconds: float
    built: dict[int, tuple[Program, CpuExecutable]] = field(default_factory=dict)
    seen: dict[int, int] = field(default_factory=dict)

    def first_wrong(self, wanted: Sequence[Reference]) -> tuple[Step, Failure] | None:
        """Return the first step whose code is wrong, and what is.

        The child that runs them says which step is next, so that the last one it named
        is at fault where it dies.
        """
        steps = list(nested(self.program.steps))
        numbers = {id(step): k for k, step in enumerate(steps)}
        step = None
        try:
            for number, wrong in values_of_child(
                lambda send: self.search(wanted, numbers, send), self.seconds
            ):
                step = steps[number]
                if wrong is not None:
                    return step, Failure(wrong)
        except ProcessDied as error:
            if step is not None:
                return step, Failure.of(error)
        return None

    def search(
        self, wanted: Sequence[Reference], numbers: Mapping[int, int], send: Send
    ) -> None:
        """Send the number of each step before its code runs, and what is wrong then."""

        def look(step: Step, _: int, ins: Sequence[Array], __: Sequence[Array]) -> None:
            times = self.seen[id(step)] = self.seen.get(id(step), 0) + 1
            if times <= REPEATS:
                send((numbers[id(step)], None))
                wrong = self.complaint(step, ins)
                if wrong is not None:
                    send((numbers[id(step)], wrong))

        for reference in wanted:
            run_program(self.program, reference.inputs, look)

    def complaint(self, step: Step, ins: Sequence[Array]) -> str | None:
        if id(step) not in self.built:
            alone = program_of_step(step, self.program)
            try:
                made = CpuExecutable(alone, self.target, self.threading)
            except Exception as error:  # whatever emitting and building may raise
                return said(error)
            self.built[id(step)] = alone, made
        alone, made = self.built[id(step)]
        given = [
            with_strides(x, alone.buffer(n).strides)
            for x, n in zip(ins, alone.inputs, strict=True)
        ]
        want = run_program(alone, given)
        try:
            with time_limit(self.seconds):
                got = made.run(given)
        except Exception as error:  # an error word that the interpreter has not
            return said(error)
        return _compared(alone, given, got, want)


def program_of_step(step: Step, program: Program) -> Program:
    """Return the Program that runs one step, with memory of their own for its ends."""
    reads, writes = ends_of(step)
    buffers: list[ProgramBuffer] = []
    names: list[list[str]] = [[], []]
    outputs: list[str] = []
    for k, name in enumerate(reads):
        old = program.buffer(name)
        made = _plain(old, f"x{k}", Storage.INPUT, k)
        buffers.append(made)
        names[0].append(made.name)
    for k, name in enumerate(writes):
        old = program.buffer(name)
        low, high = extent_of(old.shape, old.strides)
        if old.strides == contiguous(old.shape) or not high:
            made = _plain(old, f"y{k}", Storage.OUTPUT, k)
            buffers.append(made)
            outputs.append(made.name)
        else:
            whole = ProgramBuffer(
                f"y{k}", old.dtype, (high - low,), (1,), Storage.OUTPUT, k
            )
            made = _plain(old, f"a{k}", Storage.ALIAS, -1)
            made = replace(made, base=whole.name, offset=-low)
            buffers += [whole, made]
            outputs.append(whole.name)
        names[1].append(made.name)
    moved: Step
    if isinstance(step, Copy):
        moved = replace(step, input=names[0][0], output=names[1][0])
    else:
        assert isinstance(step, Run | Extern)
        moved = replace(step, inputs=tuple(names[0]), outputs=tuple(names[1]))
    return plan_memory(
        Program("alone", tuple(buffers), tuple(names[0]), tuple(outputs), (moved,))
    )


def _plain(
    old: ProgramBuffer, name: str, storage: Storage, index: int
) -> ProgramBuffer:
    return ProgramBuffer(name, old.dtype, old.shape, old.strides, storage, index)


def with_strides(x: Array, strides: Shape | None) -> Array:
    """Return a copy of an array in memory of its own, with strides in elements."""
    steps = contiguous(x.shape) if strides is None else strides
    low, high = extent_of(x.shape, steps)
    memory = np.zeros(high - low, x.dtype)
    sizes = tuple(s * x.itemsize for s in steps)
    if not x.size:
        return np.array(x)
    out = np.ndarray(x.shape, x.dtype, memory, -low * x.itemsize, sizes)
    out[...] = x
    return out


def _compared(
    alone: Program, ins: Sequence[Array], got: Sequence[Array], want: Sequence[Array]
) -> str | None:
    """Say where code gives other results than the interpreter of a step."""
    runs = []
    for seed in range(RUNS):
        moved = [_near(x, seed) for x in ins]
        given = [
            with_strides(x, alone.buffer(n).strides)
            for x, n in zip(moved, alone.inputs, strict=True)
        ]
        try:
            runs.append(run_program(alone, given))
        except TracejitError:
            continue
    (step,) = alone.steps
    is_copy = isinstance(step, Copy)
    is_sort = isinstance(step, Extern) and step.primitive in SORTS
    for k, (x, y) in enumerate(zip(got, want, strict=True)):
        bound = Bound.of(y, [] if is_copy else [r[k] for r in runs])
        amount = bound.amount
        if y.dtype in dt.INEXACT and not is_copy:
            size = np.abs(np.where(np.isfinite(wide(y)), wide(y), 0))
            about = size + SHARE * largest(y) + tiny(y.dtype)
            own = ROUNDINGS * epsilon(y.dtype) * about
            amount = amount + own
        unwritten = _garbage(y)
        amount = np.where(unwritten, np.inf, amount)
        signs = bound.has_sign & ~unwritten & (not is_sort)
        found = Bound(amount, signs).difference(k, np.where(unwritten, y, x), y)
        if found is not None:
            return f"{found}, in machine code"
    return None


def _near(x: Array, seed: int) -> Array:
    if x.dtype not in dt.INEXACT or not x.size:
        return x
    rng = np.random.default_rng(seed)
    with np.errstate(all="ignore"):
        step = 1 + MOVED * epsilon(x.dtype) * rng.uniform(-1, 1, x.shape)
        return np.asarray((wide(x) * step).astype(x.dtype))


def _garbage(x: Array) -> Array:
    """Tell which elements nothing was written to."""
    rows = np.ascontiguousarray(x).view(np.uint8).reshape(*x.shape, x.dtype.itemsize)
    return (rows == GARBAGE).all(axis=-1) if x.size else np.zeros(x.shape, bool)
