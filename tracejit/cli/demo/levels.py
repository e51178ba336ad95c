"""The step at every level of the compiler, as text files.

Needs the stages of one compilation. Establishes `Level`: a file's name, text and what
it is, in the order of the way from Python to machine code.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from tracejit.compiled import Compiled
from tracejit.program.printer import format_program
from tracejit.stages import Lowered, Traced

STALE = "graph-*.tir"


@dataclass(frozen=True)
class Level:
    """One file of the report."""

    name: str
    title: str
    text: str


def levels(traced: Traced, lowered: Lowered, compiled: Compiled) -> list[Level]:
    """Return the graph after each pass, the program, its kernels, and LLVM text."""
    program, *bodies = format_program(lowered.program).split("\n\nkernel @")
    kernels = "\n\n".join(f"kernel @{body}" for body in bodies)
    return [
        *graphs(traced, lowered),
        Level("program.txt", "program: buffers and steps", program),
        Level("kernels.txt", "kernels: fused loop nests", kernels),
        Level("step.ll", "LLVM text, as it is compiled", compiled.as_text()),
    ]


def graphs(traced: Traced, lowered: Lowered) -> Iterator[Level]:
    """The graph as traced, then after each pass."""
    yield Level("graph-00-trace.tir", "graph as traced", traced.as_text())
    for i, (name, text) in enumerate(lowered.stages, start=1):
        file_name = f"graph-{i:02}-{name.replace(' ', '-')}.tir"
        yield Level(file_name, f"graph after {name}", text)


def write_levels(found: list[Level], folder: Path, prefix: str = "") -> None:
    """Write them all; graphs that another version of the passes left go first."""
    for stale in folder.glob(prefix + STALE):
        stale.unlink()
    for level in found:
        (folder / level.name).write_text(level.text.rstrip("\n") + "\n", "utf-8")
