"""What is found in the history of a function under `jit`: retraces, slow calls.

Needs the function's `History` and its guards. Establishes findings, oldest trace first.
"""

from collections.abc import Iterator

from ..api import JitFunction
from ..retraces import Change, Trace
from .finding import Finding


def retrace_findings(function: JitFunction) -> Iterator[Finding]:
    """Yield why each trace but the first was made."""
    for trace in function.history.traces:
        for change in trace.changes:
            yield _of_change(trace, change)


def _of_change(trace: Trace, change: Change) -> Finding:
    return Finding(
        change.code,
        f"trace {trace.number}, as trace {trace.closest} but {change}",
        (change.source,) if change.source else (),
        change.subject,
        details=(
            ("trace", trace.number),
            ("closest", trace.closest),
            ("before", change.before),
            ("after", change.after),
        ),
    )


def call_findings(function: JitFunction) -> Iterator[Finding]:
    """Yield why calls take longer than they could."""
    for refusal in function.call_refusals():
        yield Finding("CALL_PYTHON", refusal)
    overlaps = function.history.overlaps
    if overlaps:
        yield Finding("CALL_OVERLAP", f"{overlaps} call{'s' * (overlaps != 1)}")
