"""Triton source of a Program's kernels, for the page.

Needs a Program for GPUs. Triton itself is not needed: its source is text.
"""

import re
from collections.abc import Iterator, Sequence

from ... import config
from ...codegen.triton.emit import emit_kernel
from ...codegen.triton.externs import step_kernel
from ...codegen.triton.machine import tuning_for
from ...program.program import Extern, Program, Run, Step, nested
from .code import Code, Mark, Section

_COMPUTES = re.compile(r"^(?:\s+(\w+) = |#\s+%(\w+))")  # a value, or its comment


def triton_code(program: Program, arch: str) -> Code:
    """Return the Triton modules of a Program, one kernel after another.

    Parameters
    ----------
    program : Program
    arch : str
        Such as ``sm_90``.
    """
    lines: list[str] = []
    sections: list[Section] = []
    marks: list[Mark] = []
    seen: set[str] = set()
    for step in nested(program.steps):
        name = step.kernel.name if isinstance(step, Run) else ""
        if name and name in seen:
            continue
        seen.add(name)
        text = _source_of(program, step, arch)
        if text:
            first = len(lines)
            marks += _marks(text.split("\n"), name, first)
            lines += [*text.rstrip().split("\n"), ""]
            kernels = (name,) if name else ()
            sections.append(Section(name, first, len(lines) - 2, kernels))
    return Code("triton", "Triton", "\n".join(lines), sections, marks)


def _marks(lines: Sequence[str], kernel: str, first: int) -> Iterator[Mark]:
    """Yield the lines that assign to names; Triton's are those of the kernel."""
    for i, line in enumerate(lines):
        match = _COMPUTES.match(line)
        if match:
            yield Mark(first + i, kernel, match[1] or match[2])


def _source_of(program: Program, step: Step, arch: str) -> str:
    if isinstance(step, Run):
        tuning = tuning_for(arch, config.get("tf32"))
        emitted = emit_kernel(step.kernel, step.schedule, tuning)
    elif isinstance(step, Extern):
        found = step_kernel(program, step)
        if found is None:
            return ""
        emitted = found
    else:
        return ""
    return "\n".join(
        f"# {code.name}: grid {code.grid}, {code.num_warps} warps, {code.form}\n"
        f"{code.source}"
        for code in emitted.codes
    )
