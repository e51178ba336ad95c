"""Stages of compilation that can be held, printed and measured.

`Traced` is the graph of a function at given arguments, `Lowered` the program of
kernels; `compiled.Compiled` is machine code with the plan that feeds it and makes
results.
"""

from collections.abc import Mapping, Sequence
from dataclasses import field
from functools import cache, cached_property
from types import ModuleType
from typing import TYPE_CHECKING, Any, ClassVar

from . import config, log, stored
from .collection import paused
from .compiled import Compiled
from .debugging import Shown, debug_module
from .ir.aval import Shape
from .ir.graph import Graph
from .records import dataclass
from .stored import Strides
from .tracing.record import Recording
from .unused import free_leaves, unused, warn_of_unused

# The compiler loads when something is compiled that is not on disk.
if TYPE_CHECKING:
    from .kernels.kernel import Kernel
    from .passes.limits import Limits
    from .passes.notes import Note
    from .program.program import Program
    from .runtime.cpu.executable import CpuExecutable
    from .runtime.cuda.device import Device


@cache
def _lowering() -> ModuleType:
    """Return what compiles."""
    from . import lowering  # noqa: PLC0415

    return lowering


@dataclass(frozen=True)
class Traced(Shown):
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

    __repr__ = Shown.__repr__  # not that of a record

    @property
    def graph(self) -> Graph:
        """The graph as traced."""
        return self.recording.graph

    def as_text(self) -> str:
        """Return the graph in `.tir` text form."""
        return _graph_text(self.graph)

    def lower(self, limits: "Limits | None" = None) -> "Lowered":
        """Run the passes and lower the graph to a Program.

        Parameters
        ----------
        limits : Limits, optional
            What a kernel may contain: that of where it is to run, if nothing is said.
        """
        lowered = self.lowered_again(limits)
        program = lowered.program
        self._warn_of_unused(program.donors, _lowering().input_strides(program))
        return lowered

    def lowered_again(self, limits: "Limits | None" = None) -> "Lowered":
        """Lower as `lower` does, without its warnings."""
        with paused():
            found = _lowering().lower(
                self.recording, self.in_strides, self.donated, self.device, limits
            )
        return Lowered(
            self.recording,
            found.graph,
            found.program,
            found.graphs,
            {"trace": self.seconds, **found.timings},
            found.notes,
            self.device,
            found.lost,
            self.donated,
        )

    def compile(self) -> Compiled:
        """Return machine code: what is on disk, or that of ``lower().compile()``."""
        source = None
        if self.device is None and not config.current().dump:
            source = stored.source_of(self.recording, self.in_strides, self.donated)
        if source is None:
            return self.lower().compile()
        found = stored.find(source, self._executable)
        if found is not None:
            log.emit("compile", f"{self.graph.name}: from disk")
            interface = found.interface
            self._warn_of_unused(interface.donors, interface.input_strides)
            return Compiled(Stored(self), found)
        compiled = self.lower().compile()
        stored.keep(source, compiled.executable)
        return compiled

    def _warn_of_unused(
        self, donors: Mapping[int, int], strides: Sequence[Shape]
    ) -> None:
        """Warn of donated arrays that no result is computed into."""
        if self.donated and config.get("donation") == "on":
            taken = {*donors.values()}
            rows = unused(self.recording, self.donated, taken, strides)
            warn_of_unused(self.recording, rows)

    def _executable(self) -> "CpuExecutable":
        executable: CpuExecutable = self.lowered_again().compile().executable
        return executable


@dataclass(frozen=True)
class Stored:
    """A trace whose machine code was on disk: nothing was lowered.

    Parameters
    ----------
    traced : Traced
    """

    traced: Traced
    is_stored: ClassVar = True

    @property
    def recording(self) -> Recording:
        """The function as recorded."""
        return self.traced.recording

    @property
    def timings(self) -> Mapping[str, float]:
        """Seconds per stage."""
        return {"trace": self.traced.seconds}

    @property
    def lost(self) -> tuple[int, ...]:
        """Argument leaves that nobody may use after a call, where that is checked."""
        if config.get("donation") != "check":
            return ()
        return free_leaves(self.recording, self.traced.donated)

    def as_lowered(self) -> "Lowered":
        """Lower the trace, as it was when its code was made."""
        return self.traced.lowered_again()


@dataclass(frozen=True)
class Lowered(Shown):
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
    findings : tuple of Note
        What passes decided: why kernels read from memory what other kernels computed,
        for instance.
    device : Device, optional
        Where it is to run; the CPU if there is none.
    lost : tuple of int
        Argument leaves that nobody may use after a call: NumPy's arrays are overwritten
        where that is checked, arrays on devices raise.
    donated : mapping of int to str
        Argument leaves that calls give away, with their names.
    """

    recording: Recording
    graph: Graph
    program: "Program"
    graphs: tuple[tuple[str, Graph], ...]
    timings: Mapping[str, float] = field(default_factory=dict)
    findings: "tuple[Note, ...]" = ()
    device: "Device | None" = None
    lost: tuple[int, ...] = ()
    donated: Mapping[int, str] = field(default_factory=dict)
    is_stored: ClassVar = False

    __repr__ = Shown.__repr__  # not that of a record

    @property
    def notes(self) -> tuple[str, ...]:
        """What passes decided, as text with the user's lines; see docs/fusion.md."""
        return tuple(map(str, self.findings))

    @property
    def stages(self) -> list[tuple[str, str]]:
        """Pass name and the text of the graph after it."""
        texts = {id(graph): _graph_text(graph) for _, graph in self.graphs}
        return [(name, texts[id(graph)]) for name, graph in self.graphs]

    @property
    def kernels(self) -> "tuple[Kernel, ...]":
        """The kernels, in the order they run."""
        return self.program.kernels

    def as_text(self) -> str:
        """Return the Program and its kernels as text."""
        from .program.printer import format_program  # noqa: PLC0415  # for people

        return format_program(self.program)

    @cached_property
    def native(self) -> "Program":
        """The Program as a processor with caches runs it: long rows by blocks."""
        native: Program = _lowering().native_form(self.program)
        return native

    def explain(self) -> Any:
        """Return what the compiler did, and why: a `tracejit.debug.Explanation`."""
        return debug_module("explanation").explain(self)

    def as_lowered(self) -> "Lowered":
        """Return this stage itself."""
        return self

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

            return _dumped(DeviceCompiled(self, self.device))
        with paused():
            executable = _lowering().build(self.recording.graph, self.program)
        log.emit("compile", f"{self.program.name}: {len(self.kernels)} kernels")
        return _dumped(Compiled(self, executable))


def _dumped(compiled: Compiled) -> Compiled:
    """Write the levels of a compilation, if a switch asks for that."""
    folder = config.current().dump
    if folder:
        debug_module("dump").dump(compiled, folder)
    return compiled


def _graph_text(graph: Graph) -> str:
    from .ir.printer import format_graph  # noqa: PLC0415  # for people

    return format_graph(graph)
