"""The levels of a compilation as texts: for notebooks and for dumps.

Needs a stage: `Traced`, `Lowered` or `Compiled`. Establishes `levels_of`, the graph as
traced, the graph after each pass that changed it, the Program, its kernels, the code.
"""

from collections.abc import Iterator
from dataclasses import dataclass

from ..compiled import Compiled
from ..ir.printer import format_graph
from ..stages import Lowered, Traced


@dataclass(frozen=True)
class Level:
    """One level of a compilation.

    Parameters
    ----------
    name : str
        Of the file that it is written to.
    title : str
    text : str
    """

    name: str
    title: str
    text: str


def levels_of(stage: Traced | Lowered | Compiled) -> Iterator[Level]:
    """Yield the levels up to a stage, from the graph as traced."""
    yield Level("00-traced.tir", "graph as traced", format_graph(stage.recording.graph))
    if isinstance(stage, Traced):
        return
    lowered = stage if isinstance(stage, Lowered) else stage.lowered
    yield from of_passes(lowered)
    program, *kernels = lowered.as_text().rstrip().split("\n\n")
    yield Level("program.txt", "program", program)
    count = f"{len(kernels)} kernel" + "s" * (len(kernels) != 1)
    yield Level("kernels.txt", count, "\n\n".join(kernels))
    if isinstance(stage, Compiled):
        is_host = lowered.device is None
        name = "code.ll" if is_host else "code.txt"
        yield Level(name, "LLVM" if is_host else "code", stage.as_text())


def of_passes(lowered: Lowered) -> Iterator[Level]:
    """Yield the graph after each pass that changed it; numbers count the passes."""
    before = format_graph(lowered.recording.graph)
    for number, (name, text) in enumerate(lowered.stages, 1):
        if text != before:
            yield Level(f"{number:02}-{name}.tir", f"graph after {name}", text)
        before = text
