"""Results of the runs: kept as JSON as they come, printed as a table."""

import json
from collections.abc import Iterable, Sequence
from dataclasses import asdict
from pathlib import Path
from statistics import median
from typing import TypeVar

from .bisecting import Answer
from .mutant import Mutant
from .running import Outcome, digest
from .showing import is_below_passes

LEVELS = {
    "ir": "rules and graph IR",
    "ir/ops": "primitives: derivatives, batches",
    "passes": "passes",
    "transforms": "transforms",
    "kernels": "kernels",
    "program": "programs and memory plans",
    "codegen/llvm": "LLVM emitters",
    "codegen/triton": "Triton emitters",
    "tracing": "tracing",
}


Kept = TypeVar("Kept", Outcome, Answer)


def read(path: Path, kind: type[Kept], mutants: Iterable[Mutant]) -> dict[str, Kept]:
    """Return the kept results of the bugs as they are now."""
    if not path.exists():
        return {}
    kept = [kind(**row) for row in json.loads(path.read_text("utf-8"))]
    now = {m.name: digest(m) for m in mutants}
    return {o.name: o for o in kept if now.get(o.name) == o.edit}


def write(path: Path, results: Iterable[Outcome | Answer]) -> None:
    """Keep results."""
    rows = [asdict(o) for o in sorted(results, key=lambda o: o.name)]
    path.write_text(json.dumps(rows, indent=1) + "\n", "utf-8")


def table(mutants: Sequence[Mutant], outcomes: dict[str, Outcome]) -> str:
    """Return the score by area, and what was not found, as Markdown."""
    lines = [
        "| part | bugs | run | found | median seconds |",
        "|---|---|---|---|---|",
    ]
    for area, title in (*LEVELS.items(), ("", "all")):
        chosen = [m for m in mutants if area in ("", m.area)]
        done = [outcomes[m.name] for m in chosen if m.name in outcomes]
        found = [o for o in done if o.is_found]
        seconds = f"{median(o.seconds for o in found):.0f}" if found else "–"
        counts = f"{len(chosen)} | {len(done)} | {len(found)}"
        lines.append(f"| {title} | {counts} | {seconds} |")
    left = [o for m in mutants if (o := outcomes.get(m.name)) and not o.is_found]
    lines += ["", *(f"- not found ({o.status}): {o.name}" for o in left)]
    missing = [m.name for m in mutants if m.name not in outcomes]
    lines += [f"- not run: {name}" for name in missing]
    return "\n".join(lines).rstrip() + "\n"


def answers_table(mutants: Sequence[Mutant], answers: dict[str, Answer]) -> str:
    """Return what `bisect` found, as Markdown."""
    lines = [
        "| bugs of | bugs | asked | shown by a program | named | median seconds |",
        "|---|---|---|---|---|---|",
    ]
    for title, is_below in (("rules and passes", False), ("what is below", True)):
        chosen = [m for m in mutants if is_below_passes(m) is is_below]
        done = [answers[m.name] for m in chosen if m.name in answers]
        seen = [a for a in done if a.seen]
        right = sum(a.is_right for a in seen)
        seconds = f"{median(a.seconds for a in seen):.1f}" if seen else "–"
        counts = f"{len(chosen)} | {len(done)} | {len(seen)} | {right}"
        lines.append(f"| {title} | {counts} | {seconds} |")
    asked = [answers[m.name] for m in mutants if m.name in answers]
    wrong = [a for a in asked if a.seen and not a.is_right]
    lines += ["", *(f"- named wrongly: {a.name}: {a.named}" for a in wrong)]
    lines += [f"- no program shows it: {a.name}" for a in asked if not a.seen]
    return "\n".join(lines).rstrip() + "\n"
