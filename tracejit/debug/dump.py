"""``TRACEJIT_DUMP=dir``: every compilation's levels as files, with an index.

Each compilation has a folder, ``FUNCTION-HASH``: the same one for the same graph under
the same switches, in every process. `FILES` says what is in it. ``index.jsonl`` has a
line of JSON per compilation, in the order they ended: `folder`, `function`, `types`,
`device`, `files`, `kernels`, `seconds` and the `process` and `time` of it.
"""

import json
import os
import time
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING

from .. import config
from ..hashing import sha256
from .explanation import explain
from .stage_levels import Level, levels_of

if TYPE_CHECKING:
    from ..compiled import Compiled

FILES: Mapping[str, str] = {
    "00-traced.tir": "the graph as traced",
    "NN-PASS.tir": "the graph after a pass that changed it; NN counts the passes",
    "program.txt": "buffers and steps",
    "kernels.txt": "the kernels, with their schedules",
    "code.ll": "the LLVM module, on CPUs",
    "code.s": "its assembly",
    "code.txt": "the Triton modules, on devices",
    "explain.txt": "what the compiler decided, and why",
}
INDEX = "index.jsonl"


def dump(compiled: "Compiled", folder: str) -> Path:
    """Write the levels of a compilation; return their folder.

    Parameters
    ----------
    compiled : Compiled
    folder : str
        Made if it is not there.
    """
    graph = compiled.recording.graph
    key = sha256(f"{graph.key} {config.cache_key()} {compiled.device}".encode())[:10]
    place = Path(folder) / f"{graph.name}-{key}"
    place.mkdir(parents=True, exist_ok=True)
    levels = [*levels_of(compiled), *_more(compiled)]
    for level in levels:
        (place / level.name).write_text(level.text.rstrip() + "\n", encoding="utf-8")
    _enter(compiled, Path(folder) / INDEX, place.name, [x.name for x in levels])
    return place


def _more(compiled: "Compiled") -> list[Level]:
    levels = [Level("explain.txt", "decisions", explain(compiled).as_text())]
    if compiled.device is None:
        levels.append(Level("code.s", "assembly", _assembly(compiled)))
    return levels


def _assembly(compiled: "Compiled") -> str:
    # LLVM, which is here: it has just compiled this.
    from ..codegen.llvm.target import host_target  # noqa: PLC0415
    from ..runtime.cpu.engine import engine_for  # noqa: PLC0415

    target = host_target(config.get("isa"))
    return engine_for(target).assembly(compiled.as_text())


def _enter(compiled: "Compiled", index: Path, name: str, files: list[str]) -> None:
    """Add a line to the index; one write, which other processes cannot part."""
    graph = compiled.recording.graph
    row = {
        "folder": name,
        "function": graph.name,
        "types": [str(a) for a in graph.in_avals],
        "device": "cpu" if compiled.device is None else str(compiled.device),
        "files": files,
        "kernels": [k.name for k in compiled.kernels],
        "seconds": {k: round(v, 6) for k, v in compiled.timings.items()},
        "process": os.getpid(),
        "time": time.strftime("%Y-%m-%dT%H:%M:%S%z"),
    }
    with open(index, "ab") as file:
        file.write(json.dumps(row).encode() + b"\n")
