"""Stages of compilation that can be held, printed and measured.

`Traced` is the graph of a function at given arguments, `Lowered` the program of
kernels; `compiled.Compiled` is machine code with the plan that feeds it and makes
results.
"""

import time
from collections.abc import Mapping
from dataclasses import field
from functools import cached_property
from typing import TYPE_CHECKING, Any

from . import config, log
from .codegen.llvm.limits import LLVM
from .codegen.llvm.target import host_target
from .compiled import Compiled
from .debugging import debug_module
from .ir.graph import Graph
from .ir.printer import format_graph
from .kernels.kernel import Kernel
from .offers import free_leaves, offers_of, warn_of_unused
from .passes.limits import Limits
from .passes.manager import PassContext
from .passes.pipelines import compile_to_program, pipeline
from .program.blocks import with_blocks
from .program.printer import format_program
from .program.program import Program
from .program.verify import verify_program
from .records import dataclass
from .tracing.record import Recording

if TYPE_CHECKING:
    from .runtime.cuda.device import Device

Strides = tuple[tuple[int, ...] | None, ...]


@dataclass(frozen=True)
class Traced:
    """A function's graph at given arguments.

    Parameters
    ----------
    recording : Recording
    in_strides : tuple
        Element strides per graph input; None for C-contiguous.
    seconds : float
        What tracing took.
    device : Device, optional
        Where it is to run; the CPU if there is none.
    donated : mapping of int to str
        Argument leaves that calls give away, with their names.
    """

    recording: Recording
    in_strides: Strides
    seconds: float = 0.0
    device: "Device | None" = None
    donated: Mapping[int, str] = field(default_factory=dict)

    @property
    def graph(self) -> Graph:
        """The graph as traced."""
        return self.recording.graph

    def as_text(self) -> str:
        """Return the graph in `.tir` text form."""
        return format_graph(self.graph)

    def lower(self, limits: Limits | None = None) -> "Lowered":
        """Run the passes and lower the graph to a Program.

        Parameters
        ----------
        limits : Limits, optional
            What a kernel may contain: that of where it is to run, if nothing is said.
        """
        if limits is None:
            limits = _limits_of(self.device)
        context = PassContext(verify=config.get("verify"))
        stages: list[tuple[str, Graph]] = []
        context.after = lambda name, graph: stages.append((name, graph))
        start = time.perf_counter()
        switches = (config.get(n) for n in ("fma", "composites", "reroll"))
        passes = pipeline(limits, *switches)
        mode = config.get("donation")
        graph, program = compile_to_program(
            self.graph,
            self.in_strides,
            passes,
            context,
            limits.splits_complex,
            offers_of(self.recording, self.donated, mode),
        )
        if self.donated and mode == "on":
            warn_of_unused(self.recording, self.donated, program)
        is_seen = mode == "check" or (mode == "on" and self.device is not None)
        lost = free_leaves(self.recording, self.donated) if is_seen else ()
        total = time.perf_counter() - start
        spent = sum(context.timings.values())
        timings = {"trace": self.seconds, "passes": spent, "schedule": total - spent}
        notes = tuple(context.notes)
        return Lowered(
            self.recording,
            graph,
            program,
            tuple(stages),
            timings,
            notes,
            self.device,
            lost,
        )


def _limits_of(device: "Device | None") -> Limits:
    if device is None:
        return LLVM
    from .codegen.triton.limits import TRITON  # noqa: PLC0415  # as `compile`

    return TRITON


@dataclass(frozen=True)
class Lowered:
    """A Program of kernels.

    Parameters
    ----------
    recording : Recording
    graph : Graph
        After the passes, with fusion groups.
    program : Program
    graphs : tuple of (str, Graph)
        Pass name and the graph after it.
    timings : mapping of str to float
        Seconds per stage.
    notes : tuple of str
        Why kernels read what other kernels computed from memory, with the user's lines:
        a reason of docs/fusion.md each.
    device : Device, optional
        Where it is to run; the CPU if there is none.
    lost : tuple of int
        Argument leaves that nobody may use after a call: NumPy's arrays are overwritten
        where that is checked, arrays on devices raise.
    """

    recording: Recording
    graph: Graph
    program: Program
    graphs: tuple[tuple[str, Graph], ...]
    timings: Mapping[str, float] = field(default_factory=dict)
    notes: tuple[str, ...] = ()
    device: "Device | None" = None
    lost: tuple[int, ...] = ()

    @property
    def stages(self) -> list[tuple[str, str]]:
        """Pass name and the text of the graph after it."""
        return [(name, format_graph(graph)) for name, graph in self.graphs]

    @property
    def kernels(self) -> tuple[Kernel, ...]:
        """The kernels, in the order they run."""
        return self.program.kernels

    def as_text(self) -> str:
        """Return the Program and its kernels as text."""
        return format_program(self.program)

    @cached_property
    def native(self) -> Program:
        """The Program as a processor with caches runs it: long rows by blocks."""
        program = with_blocks(self.program)
        is_new = program is not self.program
        return verify_program(program) if is_new and config.get("verify") else program

    def view(self, path: Any = None) -> Any:
        """Return a page that shows every level: a `tracejit.debug.page.page.Page`.

        Parameters
        ----------
        path : path-like, optional
            Where to write it, too.
        """
        return debug_module("page.page").view(self, path)

    def compile(self) -> Compiled:
        """Emit and build machine code."""
        if self.device is not None:
            # The GPU backend loads with the first compilation for a device.
            from .device_call import DeviceCompiled  # noqa: PLC0415

            return DeviceCompiled(self, self.device)
        # The emitters, a fifth of all code, load with the first compilation.
        from .runtime.cpu.executable import CpuExecutable  # noqa: PLC0415
        from .runtime.cpu.threads import threading_of  # noqa: PLC0415

        target = host_target(config.get("isa"))
        threading = threading_of(config.get("threads"), config.get("share_from"))
        executable = CpuExecutable(self.native, target, threading)
        log.emit("compile", f"{self.program.name}: {len(self.kernels)} kernels")
        return Compiled(self, executable)
