"""The document of a page: all levels of one compilation as plain data.

Needs frozen stages (`Lowered`, or `Compiled` with the code that it runs). Establishes a
dictionary that JSON can hold, in which lines of every level refer to the same source
lines, values and kernels by number; `tests/debug/page` has its shape.

=========  ===========================================================================
source     the user's lines by number, ``["file.py:12", ...]``
values     the graph's values by number, ``[[name, type], ...]``
files      the user's files
lines      every different line of a graph, ``[text, defines, uses, source]``
stages     the graph as traced and after each pass that changed it: rows of
           ``[line, depth, mark, line before]``
kernels    name, source, values and lines of each kernel
program    ``[depth, text, source, kernel, values]`` for each line
code       LLVM, assembly, Triton: text, the sections that are of kernels, and
           ``[first, last, values]`` for lines that compute values
drawing    the fused graph: boxes and edges
memory     what is live at each step (`debug.memory`), or null
profile    times of steps and the machine's limits (`debug.profiler`), or null
findings   of `debug.explain`
=========  ===========================================================================
"""

import base64
import gzip
import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import TypeAlias

from ... import config
from ..._version import __version__
from ...codegen.llvm.program import emit_program
from ...codegen.llvm.target import host_target
from ...compiled import Compiled
from ...errors import TracejitError
from ...ir.graph import Graph
from ...passes.pipelines import known_passes
from ...program.program import nested
from ...runtime.cpu.externs import resolve_loop
from ...runtime.cpu.threads import threading_of
from ...stages import Lowered
from ..explanation import explain
from ..memory import Timeline, timeline
from ..profiler import Profile
from .code import Code, Mark, native_code
from .drawing import Drawing, drawing_of
from .graphs import ADDED, CHANGED, REMOVED, Line, Lines, Stage, stages_of
from .kernels import (
    KernelPart,
    Names,
    Origins,
    ProgramLine,
    kernel_parts,
    program_lines,
)
from .sources import SourceFile, source_files
from .triton import triton_code
from .values import Flat, Values

FORMAT = 1
LINE_LIMIT = 1_500  # characters; arrays that are constants are written out in hex

Json: TypeAlias = (
    bool | int | float | str | Sequence["Json"] | Mapping[str, "Json"] | None
)


class _Numbers:
    """Source lines and kernels by number."""

    def __init__(self, kernels: Iterable[str]) -> None:
        self.source: dict[str, int] = {}
        self.kernels = {name: i for i, name in enumerate(kernels)}

    def of(self, source: Iterable[str]) -> list[int]:
        """Return the numbers of source lines."""
        return [self.source.setdefault(s, len(self.source)) for s in source]

    def kernels_of(self, names: Iterable[str]) -> list[int]:
        """Return the numbers of kernels."""
        return [self.kernels[n] for n in names if n in self.kernels]


@dataclass(frozen=True)
class Extras:
    """What a page shows beside the levels.

    Parameters
    ----------
    likely : sequence of str
        Paths of source files, preferred where several files have one name.
    arch : str
        A GPU architecture, such as ``sm_90``, to show Triton's source for in place of
        the code of this machine's processor.
    profile : Profile, optional
        Of calls of the function.
    """

    likely: Sequence[str] = ()
    arch: str = ""
    profile: Profile | None = None


NO_EXTRAS = Extras()


def document(stage: Compiled | Lowered, extras: Extras = NO_EXTRAS) -> dict[str, Json]:
    """Return the document of a compilation."""
    lowered = stage.lowered if isinstance(stage, Compiled) else stage
    values, lines = Values(), Lines()
    flats = _flats(lowered, values)
    stages = stages_of(flats, values, lines)
    last = flats[-1][1]
    origins = Origins(last)
    kernels = kernel_parts(lowered.program, origins)
    numbers = _Numbers(k.name for k in kernels)
    codes, memory = _codes(lowered, extras.arch)
    found: dict[str, Json] = {
        "format": FORMAT,
        "version": __version__,
        "name": lowered.program.name,
        "facts": _facts(lowered, flats),
        "values": [list(v) for v in zip(values.names, values.types, strict=True)],
        "lines": [_line(line, numbers) for line in lines.all],
        "stages": [_stage(s) for s in stages],
        "unchanged": _unchanged(lowered, stages),
        "kernels": [_kernel(k, numbers) for k in kernels],
        "program": [_step(p, numbers) for p in program_lines(lowered.program, origins)],
        "code": [_code(c, kernels, numbers) for c in codes],
        "drawing": _drawing(drawing_of(last, lowered.program, values.names), numbers),
        "memory": None if memory is None else plain(memory.as_json()),
        "profile": _profile(extras.profile, lowered),
        "findings": plain(explain(lowered).as_json()["findings"]),
    }
    files = source_files(numbers.source, extras.likely)
    found["files"] = [_file(f) for f in files]
    found["source"] = list(numbers.source)
    return found


def plain(found: object) -> Json:
    """Return what another module made as JSON; it must be that."""
    text: Json = json.loads(json.dumps(found))
    return text


def _profile(profile: Profile | None, lowered: Lowered) -> Json:
    """Return the part of a profile that is of this function, and the limits."""
    if profile is None:
        return None
    whole = profile.as_json()
    names = [f.name for f in profile.functions]
    if lowered.program.name not in names:
        raise TracejitError(
            f"the profile is of {', '.join(names) or 'nothing'}, "
            f"not of {lowered.program.name}",
            hint="profile calls of the same function",
        )
    place = names.index(lowered.program.name)
    functions = plain(whole["functions"])
    assert isinstance(functions, list)
    return {"limits": plain(whole["limits"]), "function": functions[place]}


def _flats(lowered: Lowered, values: Values) -> list[tuple[str, Flat]]:
    """Return each graph that is another object than the one before."""
    last: Graph = lowered.recording.graph
    flats = [("traced", values.add(last))]
    for name, graph in (*lowered.graphs, ("final", lowered.graph)):
        if graph is not last:
            flats.append((name, values.add(graph)))
            last = graph
    return flats


def _facts(lowered: Lowered, flats: Sequence[tuple[str, Flat]]) -> Json:
    program = lowered.program
    first, last = (
        sum(not n.is_group for n in f.nodes) for _, f in (flats[0], flats[-1])
    )
    return {
        "equations": [first, last],
        "kernels": len(program.kernels),
        "steps": sum(1 for _ in nested(program.steps)),
        "arena": program.arena_bytes,
        "seconds": dict(lowered.timings),
        "device": "" if lowered.device is None else str(lowered.device),
    }


def _unchanged(lowered: Lowered, stages: Sequence[Stage]) -> Json:
    """Return the passes that changed nothing, in order."""
    changed = {s.name for s in stages}
    return [name for name, _ in lowered.graphs if name not in changed]


# --- parts of the document --------------------------------------------------------


def cut(text: str) -> str:
    """Return a line without its middle, if it is too long to be looked at."""
    if len(text) <= LINE_LIMIT:
        return text
    half = LINE_LIMIT // 2
    return (
        f"{text[:half]} … {len(text) - LINE_LIMIT:,} more characters … {text[-half:]}"
    )


def _line(line: Line, numbers: _Numbers) -> Json:
    source = numbers.of(line.source)
    return [cut(line.text), list(line.defines), list(line.uses), source]


def _stage(stage: Stage) -> Json:
    docs = {name: p.doc for name, p in known_passes().items()}
    return {
        "name": stage.name,
        "doc": docs.get(stage.name, ""),
        "equations": stage.equations,
        "groups": stage.groups,
        "added": stage.counts.get(ADDED, 0),
        "changed": stage.counts.get(CHANGED, 0),
        "removed": stage.counts.get(REMOVED, 0),
        "rows": [list(row) for row in stage.rows],
    }


def _kernel(kernel: KernelPart, numbers: _Numbers) -> Json:
    return {
        "name": kernel.name,
        "source": numbers.of(kernel.source),
        "values": list(kernel.values),
        "runs": kernel.runs,
        "lines": [[d, cut(x.text), list(x.defines)] for d, x in kernel.lines],
    }


def _step(line: ProgramLine, numbers: _Numbers) -> Json:
    kernel = numbers.kernels.get(line.kernel, -1)
    source = numbers.of(line.source)
    return [line.depth, cut(line.text), source, kernel, list(line.values)]


def _file(file: SourceFile) -> Json:
    lines: list[Json] = [list(pair) for pair in file.lines]
    return {"name": file.name, "path": file.path, "note": file.note, "lines": lines}


def _code(code: Code, kernels: Iterable[KernelPart], numbers: _Numbers) -> Json:
    sections: list[Json] = [
        [s.name, s.first, s.last, numbers.kernels_of(s.kernels)] for s in code.sections
    ]
    return {
        "id": code.id,
        "title": code.title,
        "note": code.note,
        "lines": code.text.count("\n") + 1 if code.text else 0,
        "packed": packed(code.text),
        "sections": sections,
        "marks": _marks(code.marks, {k.name: k.names for k in kernels}),
    }


def _marks(marks: Iterable[Mark], names: Mapping[str, Names]) -> Json:
    """Return first and last line of what computes the same values, and those."""
    found: list[tuple[int, int, list[int]]] = []
    for mark in marks:
        values = sorted(names.get(mark.kernel, {}).get(mark.value, ()))
        if found and found[-1][1:] == (mark.line - 1, values):
            found[-1] = found[-1][0], mark.line, values
        elif values:
            found.append((mark.line, mark.line, values))
    return [list(row) for row in found]


def _drawing(drawing: Drawing, numbers: _Numbers) -> Json:
    boxes: list[Json] = [
        {
            "kind": b.kind,
            "title": b.title,
            "detail": b.detail,
            "values": list(b.values),
            "source": numbers.of(b.source),
            "kernel": numbers.kernels.get(b.kernel, -1),
            "parent": b.parent,
        }
        for b in drawing.boxes
    ]
    return {"boxes": boxes, "edges": [list(e) for e in drawing.edges]}


def packed(text: str) -> str:
    """Return text as base64 of gzip, which browsers unpack themselves."""
    # No time of day inside: the same page for the same compilation.
    return base64.b64encode(gzip.compress(text.encode(), 6, mtime=0)).decode("ascii")


# --- code -------------------------------------------------------------------------


def _codes(lowered: Lowered, arch: str) -> tuple[list[Code], Timeline | None]:
    """Return the code for where it is to run, and for this machine its memory."""
    if arch or lowered.device is not None:
        return [triton_code(lowered.program, arch or _arch_of(lowered))], None
    target = host_target(config.get("isa"))
    threading = threading_of(config.get("threads"), config.get("share_from"))
    code = emit_program(lowered.native, target, resolve_loop, threading, annotated=True)
    texts = native_code(code.text, target, lowered.native)
    return texts, timeline(lowered.native, code)


def _arch_of(lowered: Lowered) -> str:
    return str(getattr(lowered.device, "arch", "sm_90"))
