"""What is wrong below the graph: a step of lowering, a kernel, or machine code.

Needs a graph whose passes are right, and what it gives. Establishes the first of these
that is not: the steps that make the Program, in order, each run by the interpreter of
programs; the fusion group whose kernel means something else; the step whose machine
code is wrong (`steps`).
"""

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from difflib import unified_diff
from math import prod

import numpy as np

from ..collection import paused
from ..ir.aval import Shape
from ..ir.graph import Eqn, Graph, Literal, Var, subgraph
from ..ir.interp import evaluate
from ..ir.ops.control import cond_p
from ..ir.ops.loops import ScanParams, WhileParams, scan_p, while_p
from ..ir.primitive import Array
from ..ir.printer import format_eqn, format_graph
from ..kernels.lower import lines_of
from ..passes.manager import Pass, PassContext
from ..passes.pipelines import compile_to_program
from ..program.blocks import with_blocks
from ..program.donate import Offer, with_final_copies
from ..program.interp import run_program
from ..program.lower import lower_graph
from ..program.plan import ALIGNMENT
from ..program.printer import format_program
from ..program.program import Program, Run, Storage, nested
from ..program.verify import verify_program
from .checks import Inputs, complaint_of, references
from .contract import Outcome, Reference
from .culprit import Culprit, Failure
from .limits import SECONDS
from .steps import Native, code_culprit, usual_target, with_strides

Strides = Sequence[Shape | None]
SHOWN = 40  # lines of a Program's difference
# The steps of `compile_to_program`, and what the CPU does behind them.
ORDER = (
    *("lower", "merge", "share", "carries", "donate", "final-copies"),
    *("plan", "blocks"),
)


@dataclass(frozen=True)
class Setting:
    """How a graph is lowered.

    Parameters
    ----------
    passes : sequence of Pass
    in_strides : sequence of (tuple of int or None), optional
        Element strides of the inputs; all C-contiguous if nothing is said.
    offers : sequence of Offer
    complex_views : bool
        Whether parts of complex numbers are views, as on devices.
    disabled : frozenset of str
        Rules not to apply.
    is_native : bool
        Whether it becomes machine code for this machine's CPU.
    seconds : float
        After which machine code that still runs is taken to hang, and so is a pass.
        The interpreter has other limits: see `limits.patience`.
    """

    passes: Sequence[Pass]
    in_strides: Strides = ()
    offers: Sequence[Offer] = ()
    complex_views: bool = False
    disabled: frozenset[str] = frozenset()
    is_native: bool = True
    seconds: float = SECONDS

    def strides_of(self, graph: Graph) -> Strides:
        """Return the strides of a graph's inputs."""
        return self.in_strides or [None] * len(graph.invars)

    @property
    def context(self) -> PassContext:
        """A context to run the passes in."""
        return PassContext(disabled_rules=self.disabled)


def below_the_graph(
    graph: Graph, setting: Setting, wanted: Sequence[Reference]
) -> Culprit | None:
    """Find what is wrong in a Program, its kernels or its machine code.

    Parameters
    ----------
    graph : Graph
        As traced, its passes being right; or after all passes.
    setting : Setting
        With the passes that are to run.
    wanted : sequence of Reference
        What it gives.
    """
    lowering = _Lowering(graph, setting)
    found = lowering.culprit(wanted)
    if found is not None or not setting.is_native:
        return found
    return code_culprit(lowering.native, wanted)


def code_failure(
    graph: Graph, setting: Setting, wanted: Sequence[Reference]
) -> Failure | None:
    """Return what is wrong with a graph's machine code as a whole, if anything is.

    Parameters
    ----------
    graph : Graph
        As traced.
    setting : Setting
    wanted : sequence of Reference
        What it gives.
    """
    lowering = _Lowering(graph, setting)
    if lowering.crash is not None:
        return Failure.of(lowering.crash)
    return lowering.native.failure(wanted, *usual_target())


def outcomes(
    graph: Graph, setting: Setting, given: Iterable[Inputs]
) -> Iterator[Outcome]:
    """Yield what a graph's machine code gives, built and run in a child process.

    Parameters
    ----------
    graph : Graph
        As traced.
    setting : Setting
    given : iterable of sequences of numpy.ndarray
        In any strides.
    """
    lowering = _Lowering(graph, setting)
    if lowering.crash is not None:
        raise lowering.crash
    return lowering.native.outcomes(given, *usual_target())


# --- Programs ---------------------------------------------------------------------


@dataclass
class _Lowering:
    """The Programs of a graph, step by step."""

    graph: Graph
    setting: Setting
    programs: list[tuple[str, Program]] = field(default_factory=list)
    crash: Exception | None = None
    fused: Graph | None = None

    def __post_init__(self) -> None:
        context = self.setting.context
        self.fused = self.graph if not self.setting.passes else None
        context.after = lambda name, graph: setattr(self, "fused", graph)
        context.after_program = self.enter
        try:
            with paused():
                compile_to_program(
                    self.graph,
                    self.setting.strides_of(self.graph),
                    self.setting.passes,
                    context,
                    self.setting.complex_views,
                    self.setting.offers,
                )
                if self.setting.is_native:
                    self.enter("blocks", with_blocks(self.programs[-1][1]))
        except Exception as error:  # whatever a step of lowering may raise
            self.crash = error

    def enter(self, name: str, program: Program) -> None:
        if name == "lower":  # again, with other strides of results
            self.programs.clear()
        self.programs.append((name, program))

    @property
    def native(self) -> Native:
        return Native(self.programs[-1][1], self.laid_out, self.setting.seconds)

    def finished(self, name: str, program: Program) -> Program:
        """Return a Program that can be run."""
        if name in ("plan", "blocks"):
            return program
        return apart(with_final_copies(program, self.setting.offers))

    def laid_out(self, inputs: Inputs) -> list[Array]:
        """Return copies of inputs in the strides that the Program expects."""
        strides = self.setting.strides_of(self.graph)
        return [with_strides(x, s) for x, s in zip(inputs, strides, strict=True)]

    def culprit(self, wanted: Sequence[Reference]) -> Culprit | None:
        """Return the first step that makes a wrong Program."""
        if self.crash is None and self.failure(*self.programs[-1], wanted) is None:
            return None
        before: Program | None = None
        for name, program in self.programs:
            wrong = None
            if program is not before:
                wrong = self.failure(name, program, wanted)
            if wrong is not None:
                return self.at_fault(name, before, program, wrong)
            before = program
        if self.crash is None:
            return None
        name = ORDER[len(self.programs)] if len(self.programs) < len(ORDER) else "plan"
        return self.at_fault(name, before, None, Failure.of(self.crash))

    def failure(
        self, name: str, program: Program, wanted: Sequence[Reference]
    ) -> Failure | None:
        def made() -> Program:
            return verify_program(self.finished(name, program))

        return _failure(made, wanted, self.setting)

    def at_fault(
        self, name: str, before: Program | None, after: Program | None, wrong: Failure
    ) -> Culprit:
        """Return the culprit, with the kernel where lowering itself is wrong."""
        if name == "lower" and self.fused is not None:
            found = wrong_kernel(self.fused, self.setting)
            if found is not None:
                return self.named(found, after)
        notes: tuple[str, ...] = ()
        if before is not None and after is not None:
            notes = tuple(changed_lines(before, after))
        return Culprit("program", name, wrong.reason, notes=notes, died=wrong.died)

    def named(self, found: Culprit, program: Program | None) -> Culprit:
        """Return a culprit with the name that its kernel has in the Program."""
        runs = nested(program.steps) if program is not None else ()
        for step in runs:
            if isinstance(step, Run) and step.kernel.source == found.source:
                return replace(found, name=f"{step.kernel.name} ({found.name})")
        return found


def apart(program: Program) -> Program:
    """Return a Program whose buffers share no memory: what a plan does is left out."""
    at, buffers = 0, []
    for buffer in program.buffers:
        if buffer.storage is Storage.ARENA:
            buffer = replace(buffer, offset=at)
            nbytes = prod(buffer.shape) * buffer.dtype.itemsize
            at += (nbytes // ALIGNMENT + 1) * ALIGNMENT
        buffers.append(buffer)
    return replace(program, buffers=tuple(buffers), arena_bytes=at)


def _failure(
    make: Callable[[], Program], wanted: Sequence[Reference], setting: Setting
) -> Failure | None:
    """Return what is wrong with a Program, its making included."""
    try:
        made = make()
        wrong = complaint_of(
            wanted, lambda xs: run_program(made, xs), seconds=setting.seconds
        )
    except Exception as error:  # of lowering, the verifier, a run that leaves memory
        return Failure.of(error)
    return None if wrong is None else Failure(wrong)


def changed_lines(before: Program, after: Program) -> Iterator[str]:
    """Yield what a step changed in the text of a Program."""
    one, two = (format_program(p).splitlines() for p in (before, after))
    rows = list(unified_diff(one, two, n=0, lineterm=""))[2:]
    yield from rows[:SHOWN]
    if len(rows) > SHOWN:
        yield f"... {len(rows) - SHOWN} more lines"


# --- kernels ----------------------------------------------------------------------


def wrong_kernel(graph: Graph, setting: Setting) -> Culprit | None:
    """Find the equation of a graph after its passes that alone is lowered wrongly."""
    for reference in references(graph):
        if isinstance(reference.outcome, Exception):
            continue
        found = _wrong_equation(graph, reference.inputs, setting)
        if found is not None:
            return found
    return None


def _wrong_equation(graph: Graph, inputs: Inputs, setting: Setting) -> Culprit | None:
    env: dict[Var, Array] = dict(zip(graph.invars, inputs, strict=True))
    for eqn in graph.eqns:
        operands = tuple(dict.fromkeys(x for x in eqn.invars if isinstance(x, Var)))
        alone = Graph("alone", operands, eqn.outvars, (eqn,))
        values = [env[x] for x in operands]
        wanted = Reference(alone, values, "the values that it is given")
        wrong = _wrong_alone(alone, wanted, setting)
        if wrong is not None:
            inner = None
            for body, given in _bodies(eqn, env):
                inner = inner or _wrong_equation(body, given, setting)
            return inner or _of_equation(alone, wrong)
        assert isinstance(wanted.outcome, tuple)
        env.update(zip(eqn.outvars, wanted.outcome, strict=True))
    return None


def _wrong_alone(alone: Graph, wanted: Reference, setting: Setting) -> Failure | None:
    def made() -> Program:
        strides = [None] * len(alone.invars)
        return apart(lower_graph(alone, strides, setting.complex_views))

    return _failure(made, [wanted], setting)


def _bodies(eqn: Eqn, env: Mapping[Var, Array]) -> Iterator[tuple[Graph, list[Array]]]:
    """Yield the graphs that a loop or a branch runs, and what it gives them first."""
    ins = [
        np.asarray(x.value) if isinstance(x, Literal) else env[x] for x in eqn.invars
    ]
    if eqn.primitive is cond_p:
        yield subgraph(eqn.params, "on_true" if ins[0][()] else "on_false"), ins[1:]
    elif eqn.primitive is scan_p:
        p = ScanParams.of(eqn.params)
        fixed, states, xs = p.split(ins)
        for i in list(p.order)[:1]:
            yield p.body, [*fixed, *states, *(x[i] for x in xs)]
    elif eqn.primitive is while_p:
        w = WhileParams.of(eqn.params)
        for_test, for_body, states = w.split(ins)
        yield w.test, [*for_test, *states]
        if evaluate(w.test, [*for_test, *states])[0][()]:
            yield w.body, [*for_body, *states]


def _of_equation(alone: Graph, wrong: Failure) -> Culprit:
    (eqn,) = alone.eqns
    held = eqn.params.get("graph")
    text = format_graph(held) if isinstance(held, Graph) else format_eqn(eqn)
    source = lines_of(held) if isinstance(held, Graph) else eqn.source
    notes = ("the equations it computes:", *(f"  {x}" for x in text.split("\n")))
    return Culprit(
        "kernel",
        eqn.primitive.name,
        wrong.reason,
        source=source,
        notes=notes,
        died=wrong.died,
    )
