"""From a trace to a Program, and from a Program to machine code: the compiler's parts.

`stages` says what can be held and printed of it. This module is what loads passes,
Programs and emitters, most of the package, when something is compiled.
"""

import time
from collections.abc import Mapping
from dataclasses import field
from typing import TYPE_CHECKING

from . import config
from .codegen.llvm.limits import LLVM
from .codegen.llvm.target import host_target
from .ir.aval import Shape
from .ir.graph import Graph
from .offers import free_leaves, offers_of, warn_of_unused
from .passes.limits import Limits
from .passes.manager import PassContext
from .passes.notes import Note
from .passes.pipelines import compile_to_program, pipeline
from .program.blocks import with_blocks
from .program.program import Program
from .program.verify import verify_program
from .records import dataclass
from .runtime.cpu.executable import CpuExecutable
from .runtime.cpu.threads import threading_of
from .tracing.record import Recording

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
    if limits is None:
        limits = _limits_of(device)
    context = PassContext(verify=config.get("verify"))
    graphs: list[tuple[str, Graph]] = []
    context.after = lambda name, graph: graphs.append((name, graph))
    start = time.perf_counter()
    switches = (config.get(n) for n in ("fma", "composites", "reroll"))
    mode = config.get("donation")
    graph, program = compile_to_program(
        recording.graph,
        in_strides,
        pipeline(limits, *switches),
        context,
        limits.splits_complex,
        offers_of(recording, donated, mode),
    )
    if donated and mode == "on":
        warn_of_unused(recording, donated, program)
    is_seen = mode == "check" or (mode == "on" and device is not None)
    lost = free_leaves(recording, donated) if is_seen else ()
    total = time.perf_counter() - start
    spent = sum(context.timings.values())
    timings = {"passes": spent, "schedule": total - spent}
    notes = tuple(context.notes)
    return Lowering(graph, program, tuple(graphs), timings, notes, lost)


def _limits_of(device: "Device | None") -> Limits:
    if device is None:
        return LLVM
    # The GPU backend loads with the first compilation for a device.
    from .codegen.triton.limits import TRITON  # noqa: PLC0415

    return TRITON


def native_form(program: Program) -> Program:
    """Return a Program as a processor with caches runs it: long rows by blocks."""
    native = with_blocks(program)
    is_new = native is not program
    return verify_program(native) if is_new and config.get("verify") else native


def build(native: Program) -> CpuExecutable:
    """Return a Program's machine code for this machine."""
    target = host_target(config.get("isa"))
    threading = threading_of(config.get("threads"), config.get("share_from"))
    return CpuExecutable(native, target, threading, config.get("profile"))
