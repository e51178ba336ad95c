"""Memory of a Program: what is live at each step, and the peak, before it runs.

Needs a Program with its arena planned, and its code, which knows the scratch memory of
each step. Establishes `Timeline`, which is exact: a call takes its results and one
arena from the system, nothing else, unless a step calls back into Python. `measured`
says what one call really took.
"""

import tracemalloc
from collections.abc import Sequence
from itertools import accumulate
from typing import TYPE_CHECKING, Any

from .. import config
from ..program.memory import KINDS, OwnBuffer, in_bytes, own_buffers, shown_lines
from ..program.program import Copy, Extern, If, Loop, Program, Run, Step, While, nested
from ..records import dataclass
from ..runtime.cpu.native import OUTPUTS

if TYPE_CHECKING:
    from ..codegen.llvm.program import ProgramCode
    from ..compiled import Compiled

TOP = 10


@dataclass(frozen=True)
class Moment:
    """One step, and the memory while it runs.

    Parameters
    ----------
    number : int
        Of the step, as `nested` yields them.
    title : str
    sources : tuple of str
    live : int
        Bytes of inputs, constants, outputs, and of buffers in the arena whose values
        are needed now or later.
    scratch : int
        Bytes that the step alone needs.
    """

    number: int
    title: str
    sources: tuple[str, ...]
    live: int
    scratch: int

    @property
    def total(self) -> int:
        """Bytes live, with the scratch memory."""
        return self.live + self.scratch


@dataclass(frozen=True)
class Timeline:
    """What a Program needs of memory.

    Parameters
    ----------
    moments : tuple of Moment
        One for each step, in order; steps inside of loops once.
    buffers : tuple of OwnBuffer
    input_bytes, output_bytes, constant_bytes : int
        What lies in memory of its own: results in donated arguments take none.
    arena_bytes : int
        The one block that a call takes besides its results: buffers, whose places are
        shared where their lives allow it, scratch memory, and some words.

    Examples
    --------
    >>> print(timeline(lowered.native).as_text())  # doctest: +SKIP
    """

    moments: tuple[Moment, ...]
    buffers: tuple[OwnBuffer, ...]
    input_bytes: int
    output_bytes: int
    constant_bytes: int
    arena_bytes: int

    @property
    def allocated(self) -> int:
        """Bytes that a call takes from the system: its results and the arena."""
        return self.output_bytes + self.arena_bytes

    @property
    def peak(self) -> int:
        """Bytes in use while a call runs, its inputs included."""
        return self.input_bytes + self.constant_bytes + self.allocated

    @property
    def busiest(self) -> Moment | None:
        """The moment at which most is live; None without steps."""
        return max(self.moments, key=lambda m: m.total, default=None)

    def live_at(self, number: int) -> list[OwnBuffer]:
        """Return the buffers that are live at a step, largest first."""
        found = [b for b in self.buffers if b.first <= number <= b.last]
        return sorted(found, key=lambda b: -b.bytes)

    def top(self, count: int = TOP) -> list[OwnBuffer]:
        """Return the largest buffers at the busiest moment."""
        busiest = self.busiest
        return [] if busiest is None else self.live_at(busiest.number)[:count]

    def as_text(self) -> str:
        """Return the peak, what it is made of, and the largest buffers."""
        lines = [
            f"memory: peak {in_bytes(self.peak)}: inputs {in_bytes(self.input_bytes)}, "
            f"outputs {in_bytes(self.output_bytes)}, "
            f"arena {in_bytes(self.arena_bytes)}, "
            f"constants {in_bytes(self.constant_bytes)}"
        ]
        busiest = self.busiest
        if busiest is not None:
            lines.append(
                f"most is live at step {busiest.number} {busiest.title} "
                f"({shown_lines(busiest.sources)}): {in_bytes(busiest.total)}, "
                f"of which {in_bytes(busiest.scratch)} scratch"
            )
        lines += [f"  {b}" for b in self.top()]
        return "\n".join(lines)

    def as_json(self) -> dict[str, object]:
        """Return everything, ready for JSON."""
        return {
            "peak": self.peak,
            "allocated": self.allocated,
            "input_bytes": self.input_bytes,
            "output_bytes": self.output_bytes,
            "constant_bytes": self.constant_bytes,
            "arena_bytes": self.arena_bytes,
            "busiest": None if self.busiest is None else self.busiest.number,
            "moments": [
                {
                    "number": m.number,
                    "title": m.title,
                    "sources": list(m.sources),
                    "live": m.live,
                    "scratch": m.scratch,
                }
                for m in self.moments
            ],
            "buffers": [_document(b) for b in self.buffers],
        }


def timeline(program: Program, code: "ProgramCode | None" = None) -> Timeline:
    """Return what a Program needs of memory, without running it.

    Parameters
    ----------
    program : Program
        With its arena planned.
    code : ProgramCode, optional
        Of the Program; emitted for this machine if it is not given.

    Examples
    --------
    >>> timeline(compiled.executable.program).peak  # doctest: +SKIP
    1048704
    """
    code = code or _code_of(program)
    buffers = tuple(own_buffers(program))
    steps = list(nested(program.steps))
    moments = []
    rows = zip(steps, _live_bytes(buffers, len(steps)), strict=True)
    for number, (step, live) in enumerate(rows):
        cost = code.costs.get(number)
        scratch = 0 if cost is None else cost.scratch_bytes
        moments.append(Moment(number, title_of(step), step.source, live, scratch))
    total = dict.fromkeys(KINDS.values(), 0)
    for b in buffers:
        total[b.kind] += b.bytes
    return Timeline(
        tuple(moments),
        buffers,
        total["input"],
        total["output"],
        total["constant"],
        code.arena_bytes,
    )


def _live_bytes(buffers: Sequence[OwnBuffer], steps: int) -> list[int]:
    """Return the bytes that are live at each step."""
    changes = [0] * (steps + 1)
    for b in buffers:
        changes[b.first] += b.bytes
        changes[min(b.last + 1, steps)] -= b.bytes
    return list(accumulate(changes))[:steps]


def _document(buffer: OwnBuffer) -> dict[str, object]:
    return {
        "name": buffer.name,
        "kind": buffer.kind,
        "dtype": buffer.dtype,
        "shape": list(buffer.shape),
        "bytes": buffer.bytes,
        "sources": list(buffer.sources),
        "first": buffer.first,
        "last": buffer.last,
    }


def title_of(step: Step) -> str:
    """Return what a step is called: its kernel, or what it does."""
    if isinstance(step, Run):
        return step.kernel.name
    if isinstance(step, Extern):
        return step.primitive.name
    if isinstance(step, Loop):
        return f"loop of {step.count} turns"
    return {Copy: "copy", While: "while", If: "if"}[type(step)]


def _code_of(program: Program) -> "ProgramCode":
    from ..codegen.llvm.program import emit_program  # noqa: PLC0415  # a fifth of all
    from ..codegen.llvm.target import host_target  # noqa: PLC0415
    from ..runtime.cpu.externs import resolve_loop  # noqa: PLC0415
    from ..runtime.cpu.threads import threading_of  # noqa: PLC0415

    threading = threading_of(config.get("threads"), config.get("share_from"))
    target = host_target(config.get("isa"))
    return emit_program(program, target, resolve_loop, threading)


def measured(compiled: "Compiled", leaves: list[Any]) -> int:
    """Return the bytes that one call took from the system at its peak.

    Memory that calls keep for later ones is forgotten first, so that all is counted.

    Parameters
    ----------
    compiled : Compiled
        For the CPU.
    leaves : list
        The argument leaves of a call.
    """
    executable = compiled.executable
    OUTPUTS.clear()
    executable.arenas.clear()
    was_on = tracemalloc.is_tracing()
    if not was_on:
        tracemalloc.start()
    try:
        before, _ = tracemalloc.get_traced_memory()
        tracemalloc.reset_peak()
        compiled(leaves)
        _, peak = tracemalloc.get_traced_memory()
    finally:
        if not was_on:
            tracemalloc.stop()
    return peak - before
