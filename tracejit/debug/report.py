"""A profile as text, as HTML and as a JSON document."""

from typing import TYPE_CHECKING

from ..program.memory import in_bytes, shown_lines
from .text import html_table, in_seconds, in_thousands, text_table

if TYPE_CHECKING:
    from .machine import Limits
    from .profiler import FunctionProfile, LineProfile, Profile, StepProfile

STEPS_SHOWN = 40
LINES_OF_TABLE = 40
STEP_HEAD = (
    *("time/call", "share", "runs", "flops", "bytes", "flop/B", "limit", "threads"),
    *("what", "lines"),
)
LINE_HEAD = ("", "time/call", "share", "flops", "bytes", "line", "in")
ESTIMATE = (
    "~ the line shares kernels with others: time by its part of their operations and "
    "bytes"
)


def as_text(profile: "Profile", by_time: bool = True) -> str:
    """Return a profile as tables of steps and of lines, in order of time or not."""
    if not profile.functions:
        return "no compiled function ran"
    parts = [machine_text(profile), *block_text(profile)]
    for function in profile.functions:
        rows = step_rows(function, by_time)
        more = len(rows) - STEPS_SHOWN
        shown = text_table(STEP_HEAD, rows[:STEPS_SHOWN], 2)
        cut = f"\n... and {more} steps that took less" if more > 0 else ""
        parts.append(f"{head(profile, function)}\n{shown}{cut}")
        parts.append(function.memory.as_text())
    rows = line_rows(profile, by_time)[:LINES_OF_TABLE]
    lines = f"by line:\n{text_table(LINE_HEAD, rows, 2)}"
    has_estimates = any(line.is_estimate for line in profile.lines)
    parts.append(f"{lines}\n{ESTIMATE}" if has_estimates else lines)
    return "\n\n".join(parts)


def as_html(profile: "Profile") -> str:
    """Return the same as HTML, for notebooks."""
    if not profile.functions:
        return "<p>no compiled function ran</p>"
    parts = [f"<p>{x}</p>" for x in (machine_text(profile), *block_text(profile))]
    for function in profile.functions:
        parts.append(f"<p><b>{head(profile, function)}</b></p>")
        parts.append(html_table(STEP_HEAD, step_rows(function)[:STEPS_SHOWN]))
        parts.append(f"<pre>{function.memory.as_text()}</pre>")
    parts.append(html_table(LINE_HEAD, line_rows(profile)[:LINES_OF_TABLE]))
    if any(line.is_estimate for line in profile.lines):
        parts.append(f"<p>{ESTIMATE}</p>")
    return "\n".join(parts)


def machine_text(profile: "Profile") -> str:
    """Say what the machine can do."""
    rates = []
    for threads, limits in profile.limits.items():
        sides = ", ".join(f"{v:.3g} Gflop/s {k}" for k, v in limits.gflop_s.items())
        near, far = (limits.gb_s[f(limits.gb_s)] for f in (min, max))
        name = "1 thread" if threads == 1 else f"{threads} threads"
        rates.append(f"{name}: {sides}, {near:.3g} GB/s caches, {far:.3g} GB/s memory")
    return f"limits of this machine, {'; '.join(rates)}"


def block_text(profile: "Profile") -> list[str]:
    """Say what a block took, if it was one."""
    if not profile.is_block:
        return []
    wall, inside = in_seconds(profile.wall), in_seconds(profile.seconds)
    return [f"{wall} in the block, {inside} of them in machine code"]


def head(profile: "Profile", function: "FunctionProfile") -> str:
    """Say what one function took, and where."""
    each = function.seconds / function.calls
    steps = sum(s.seconds for s in function.steps) / function.calls
    calls = f"{function.calls} call{'s' * (function.calls > 1)}"
    text = (
        f"{function.name}: {calls}, {in_seconds(each)} each in machine code: "
        f"{in_seconds(steps)} in steps"
    )
    waking = function.waking / function.calls
    if waking:
        text += f", {in_seconds(waking)} to wake threads"
    text += f", {in_seconds(max(each - steps - waking, 0))} between"
    if profile.is_block:
        return text
    around = max(profile.wall - function.seconds, 0) / function.calls
    return f"{text}; {in_seconds(around)} a call outside of it"


def step_rows(function: "FunctionProfile", by_time: bool = True) -> list[list[str]]:
    """Return the rows of the table of steps, those first that took the longest."""
    ordered = sorted(function.steps, key=lambda s: -s.seconds if by_time else s.number)
    return [_step_row(s, function) for s in ordered if s.runs]


def _step_row(step: "StepProfile", function: "FunctionProfile") -> list[str]:
    share = step.seconds / function.seconds if function.seconds else 0.0
    work = step.work.flops or step.work.bytes_moved
    return [
        in_seconds(step.seconds / function.calls),
        f"{share:.0%}",
        in_thousands(step.runs / function.calls),
        in_thousands(step.work.flops / function.calls),
        in_bytes(step.work.bytes_moved / function.calls),
        f"{step.intensity:.2g}",
        f"{step.of_limit:.0%} {bound_of(step)}" if work else "",
        str(function.threads if step.is_shared else 1),
        f"{step.kind} {step.name}" if step.kind != step.name else step.name,
        shown_lines(step.sources),
    ]


def bound_of(step: "StepProfile") -> str:
    """Say what limits a step: ``mem`` or ``arith``."""
    return "arith" if step.is_bound_by_arithmetic else "mem"


def line_rows(profile: "Profile", by_time: bool = True) -> list[list[str]]:
    """Return the rows of the table of lines, those first that took the longest."""
    calls = max(profile.functions[0].calls, 1) if len(profile.functions) == 1 else 1
    total = sum(line.seconds for line in profile.lines)
    lines = profile.lines
    if not by_time:
        lines = tuple(sorted(lines, key=lambda x: _place(x.source)))
    return [_line_row(line, calls, total) for line in lines]


def _place(source: str) -> tuple[str, int]:
    file, _, number = source.rpartition(":")
    return file, int(number) if number.isdecimal() else 0


def _line_row(line: "LineProfile", calls: int, total: float) -> list[str]:
    return [
        "~" if line.is_estimate else "",
        in_seconds(line.seconds / calls),
        f"{line.seconds / total:.0%}" if total else "",
        in_thousands(line.flops / calls),
        in_bytes(line.bytes / calls),
        line.source,
        shown_lines(line.steps),
    ]


# --- JSON -------------------------------------------------------------------------


def as_json(profile: "Profile") -> dict[str, object]:
    """Return a profile as a document; times in seconds, over all calls."""
    return {
        "wall": profile.wall,
        "is_block": profile.is_block,
        "seconds": profile.seconds,
        "limits": {str(n): _limits(x) for n, x in profile.limits.items()},
        "functions": [_function(f) for f in profile.functions],
        "lines": [
            {
                "source": line.source,
                "seconds": line.seconds,
                "flops": line.flops,
                "bytes": line.bytes,
                "steps": list(line.steps),
                "is_estimate": line.is_estimate,
            }
            for line in profile.lines
        ],
    }


def _limits(limits: "Limits") -> dict[str, object]:
    gb_s = {str(size): rate for size, rate in limits.gb_s.items()}
    return {"gflop_s": dict(limits.gflop_s), "gb_s": gb_s}


def _function(function: "FunctionProfile") -> dict[str, object]:
    return {
        "name": function.name,
        "calls": function.calls,
        "seconds": function.seconds,
        "waking": function.waking,
        "between": function.between,
        "threads": function.threads,
        "steps": [_step(s) for s in function.steps],
        "memory": function.memory.as_json(),
    }


def _step(step: "StepProfile") -> dict[str, object]:
    return {
        "number": step.number,
        "kind": step.kind,
        "name": step.name,
        "sources": list(step.sources),
        "depth": step.depth,
        "runs": step.runs,
        "seconds": step.seconds,
        "flops": step.work.flops,
        "bytes_read": step.work.bytes_read,
        "bytes_written": step.work.bytes_written,
        "arithmetic": step.work.arithmetic,
        "intensity": step.intensity,
        "limit_seconds": step.limit_s,
        "of_limit": step.of_limit,
        "bound": bound_of(step),
        "is_shared": step.is_shared,
        "lines": {
            source: {"seconds": x.seconds, "flops": x.flops, "bytes": x.bytes}
            for source, x in step.lines.items()
        },
    }
