"""What the commands take on a program of ten thousand equations: `ten_thousand`.

Each runs in a process of its own, with an empty cache folder, from its start to its
end, importing, tracing and compiling with it. ``python -m benchmarks.commands
ARGUMENTS`` is the command line with a fault planted in the compiler, for `bisect`.
"""

import os
import subprocess
import sys
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from time import perf_counter

from tracejit.cli.main import main
from tracejit.codegen.llvm.limits import LLVM
from tracejit.ir.builder import Builder
from tracejit.ir.graph import Atom
from tracejit.ir.ops.elementwise import sin_p
from tracejit.ir.primitive import Params, Primitive
from tracejit.ir.rewrite import Rule, RuleSet
from tracejit.lowering import passes_of
from tracejit.passes import canonicalize

from .cold import Table, environment
from .machine import ROOT
from .ten_thousand import ARGUMENTS

PATIENCE_S = 120
REDUCE_S = 10
TARGET = (
    f"{Path(__file__).with_name('ten_thousand.py')}:step",
    *(part for spec in ARGUMENTS for part in ("--arg", spec)),
)
GRAPH, OTHER = "graph.tir", "optimized.tir"
HAS_SINE = "python -c \"import sys; sys.exit(' sin ' in open(sys.argv[1]).read())\""
PIPELINE = ",".join(p.name for p in passes_of(LLVM))

# Names to arguments. The first two make the files that others read.
COMMANDS: Mapping[str, tuple[str, ...]] = {
    "trace --level graph": ("trace", *TARGET, "--level", "graph"),
    "opt": ("opt", GRAPH, "-p", PIPELINE),
    "trace": ("trace", *TARGET),
    "explain": ("explain", *TARGET),
    "view": ("view", *TARGET, "-o", "page.html"),
    "run --check interp": ("run", *TARGET, "--check", "interp"),
    "diff": ("diff", GRAPH, OTHER),
    "nan": ("nan", *TARGET),
    "profile": ("profile", *TARGET),
    "bisect, all is right": ("bisect", *TARGET),
    "bisect, a wrong rule": ("bisect", *TARGET),
    f"reduce --seconds {REDUCE_S}": (
        *("reduce", GRAPH, "--check", HAS_SINE, "--seconds", str(REDUCE_S)),
        *("-o", "reduced.tir"),
    ),
}
PLANTED = "bisect, a wrong rule"
KEPT = {"trace --level graph": GRAPH, "opt": OTHER}
# Exit codes of commands that found what they are to find.
FOUND = {PLANTED: 3, "diff": 3}


def command_tables(names: Sequence[str] = ()) -> list[Table]:
    """Seconds of every command; `names` of peers are no concern of it."""
    rows: dict[str, dict[str, float | None]] = {}
    notes = []
    with tempfile.TemporaryDirectory() as folder:
        for name in COMMANDS:
            found = seconds_of(name, Path(folder))
            if isinstance(found, str):
                notes.append(f"{name}: {found}")
            rows[name] = {"tracejit": found if isinstance(found, float) else None}
    return [Table("commands on 10,000 equations", "s", rows, tuple(notes))]


def seconds_of(name: str, folder: Path) -> float | str:
    """Run one command in a folder; return its seconds, or why it has none."""
    module = "benchmarks.commands" if name == PLANTED else "tracejit"
    with tempfile.TemporaryDirectory() as cache:
        start = perf_counter()
        try:
            done = subprocess.run(
                [sys.executable, "-m", module, *COMMANDS[name]],
                capture_output=True,
                text=True,
                timeout=PATIENCE_S,
                cwd=folder,
                env=environment(cache) | {"PYTHONPATH": _path()},
            )
        except subprocess.TimeoutExpired:
            return f"more than {PATIENCE_S} s"
        seconds = perf_counter() - start
    if name in KEPT:
        (folder / KEPT[name]).write_text(done.stdout, encoding="utf-8")
    if done.returncode != FOUND.get(name, 0):
        said = done.stderr.strip().splitlines() or [""]
        return f"exit code {done.returncode}: {said[-1]}"
    return seconds


def _path() -> str:
    known = os.environ.get("PYTHONPATH")
    return os.pathsep.join([str(ROOT), *([known] if known else [])])


def _operand(
    b: Builder, primitive: Primitive, ins: list[Atom], params: Params
) -> tuple[Atom, ...]:
    return tuple(ins)


def plant() -> None:
    """Add a rule to those of `canonicalize` that is wrong: a sine is its operand."""
    rule = Rule("sine_is_nothing", (sin_p,), _operand, "planted")
    rules = RuleSet([rule, *canonicalize.LOWERING_RULES.rules])
    canonicalize.LOWERING_RULES = rules


if __name__ == "__main__":
    plant()
    main(prog_name="tracejit")
