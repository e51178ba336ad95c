"""From a trace to a Program, and from a Program to machine code: the compiler's parts.

`stages` says what can be held and printed of it. This module is what loads passes,
Programs and emitters, most of the package, when something is compiled.
"""

import time
from collections.abc import Mapping, Sequence
from dataclasses import field, replace
from typing import TYPE_CHECKING

from . import config
from .codegen.llvm.limits import limits_of
from .codegen.llvm.target import host_target
from .debugging import debug_module
from .ir.aval import Shape
from .ir.graph import Graph
from .offers import offers_of
from .passes.limits import Limits
from .passes.manager import Pass, PassContext
from .passes.notes import Note
from .passes.pipelines import compile_to_program, pipeline
from .program.blocks import with_blocks
from .program.donate import Offer
from .program.program import Program
from .records import dataclass
from .runtime.cpu.executable import CpuExecutable
from .runtime.cpu.threads import threading_of
from .tracing.record import Recording
from .unused import free_leaves

if TYPE_CHECKING:
    from .runtime.cuda.device import Device


@dataclass(frozen=True)
class Lowering:
    """What passes and lowering give.

    Parameters
    ----------
    graph : Graph
        After the passes, with fusion groups.
    program : Program
    graphs : tuple of (str, Graph)
        Pass name and the graph after it.
    timings : mapping of str to float
        Seconds for ``passes`` and ``schedule``.
    notes : tuple of Note
        What passes decided.
    lost : tuple of int
        Argument leaves that nobody may use after a call.
    """

    graph: Graph
    program: Program
    graphs: tuple[tuple[str, Graph], ...]
    timings: Mapping[str, float] = field(default_factory=dict)
    notes: tuple[Note, ...] = ()
    lost: tuple[int, ...] = ()


def passes_of(limits: Limits) -> tuple[Pass, ...]:
    """Return the pipeline of a target, as the switches want it."""
    return pipeline(limits, config.get("fma"), config.get("reroll"))


def lower(
    recording: Recording,
    in_strides: tuple[Shape | None, ...],
    donated: Mapping[int, str],
    device: "Device | None",
    limits: Limits | None = None,
) -> Lowering:
    """Run the passes and lower a trace's graph to a Program.

    Parameters
    ----------
    recording : Recording
    in_strides : tuple
        Element strides per graph input; None for C-contiguous.
    donated : mapping of int to str
        Argument leaves that calls give away, with their names.
    device : Device, optional
        Where it is to run; the CPU if there is none.
    limits : Limits, optional
        What a kernel may contain: that of where it is to run, if nothing is said.
    """
    limits = limits or _limits_of(device)
    passes = passes_of(limits)
    offers = offers_of(recording, donated, config.get("donation"))
    try:
        orders = recording.orders if device is None else {}
        found = _lowered(recording.graph, in_strides, passes, limits, offers, orders)
    except Exception as error:
        repro = debug_module("repro")
        graph = recording.graph
        known = repro.internal_error(error, graph, passes, in_strides, limits)
        if known is error:
            raise
        raise known from error
    if config.get("validate") != "off":
        levels, validate = debug_module("levels"), debug_module("validate")
        setting = levels.Setting(
            passes, in_strides, offers, limits.splits_complex, is_native=device is None
        )
        validate.validate(recording.graph, setting, limits)
    return _with_donations(found, recording, donated, device)


def _lowered(
    graph: Graph,
    in_strides: tuple[Shape | None, ...],
    passes: Sequence[Pass],
    limits: Limits,
    offers: Sequence[Offer],
    orders: Mapping[int, Shape],
) -> Lowering:
    context = PassContext(verify=config.get("verify"))
    graphs: list[tuple[str, Graph]] = []
    context.after = lambda name, graph: graphs.append((name, graph))
    start = time.perf_counter()
    fused, program = compile_to_program(
        graph, in_strides, passes, context, limits.splits_complex, offers, orders
    )
    total = time.perf_counter() - start
    spent = sum(context.timings.values())
    timings = {"passes": spent, "schedule": total - spent}
    notes = tuple(context.notes)
    return Lowering(fused, program, tuple(graphs), timings, notes)


def _with_donations(
    found: Lowering,
    recording: Recording,
    donated: Mapping[int, str],
    device: "Device | None",
) -> Lowering:
    """Add which leaves are lost."""
    mode = config.get("donation")
    is_seen = mode == "check" or (mode == "on" and device is not None)
    lost = free_leaves(recording, donated) if is_seen else ()
    return replace(found, lost=lost)


def input_strides(program: Program) -> list[Shape]:
    """Return the strides of a Program's inputs, in elements."""
    buffers = program.by_name
    return [buffers[name].strides for name in program.inputs]


def host_limits() -> Limits:
    """Return what kernels for this machine's CPU may contain, as `isa` has it."""
    return limits_of(host_target(config.get("isa")))


def _limits_of(device: "Device | None") -> Limits:
    if device is None:
        return host_limits()
    # The GPU backend loads with the first compilation for a device.
    from .codegen.triton.limits import TRITON  # noqa: PLC0415

    return TRITON


def native_form(program: Program) -> Program:
    """Return a Program as a processor with caches runs it: long rows by blocks."""
    native = with_blocks(program)
    if native is program or not config.get("verify"):
        return native
    from .program.verify import verify_program  # noqa: PLC0415  # if it is wanted

    return verify_program(native)


def build(graph: Graph, program: Program) -> CpuExecutable:
    """Return machine code for this machine.

    Parameters
    ----------
    graph : Graph
        As traced; for the repro of what fails.
    program : Program
        What it was lowered to.
    """
    try:
        return _built(native_form(program))
    except Exception as error:
        strides = [program.buffer(name).strides for name in program.inputs]
        limits = host_limits()
        known = debug_module("repro").internal_error(
            error, graph, passes_of(limits), strides, limits
        )
        if known is error:
            raise
        raise known from error


def _built(native: Program) -> CpuExecutable:
    target = host_target(config.get("isa"))
    threading = threading_of(config.get("threads"), config.get("share_from"))
    probed, named = config.get("profile"), config.get("perf_map")
    return CpuExecutable(native, target, threading, probed, named)
