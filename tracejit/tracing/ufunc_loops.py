"""A loop in the graph that carries one array, for methods of ufuncs.

It is a `scan`, as `tracejit.scan` makes one, but known to rules that tracing itself
needs: `control_flow` is built on traces, which are given all rules when they begin.
"""

from collections.abc import Callable, Sequence
from typing import Any

from ..ir.ops.loops import ScanParams, scan_p
from .storage import Kind
from .trace import Role, Trace, run_traced
from .tracer import Tracer


def carried(
    turn: Callable[..., Any], start: Tracer, xs: Sequence[Tracer], stacks: bool = False
) -> Tracer:
    """Call ``value = turn(value, *slices)`` for the slices along axis 0 of `xs`.

    Parameters
    ----------
    turn : callable
        Gives a value of the shape of `start`; it may write to the one that it takes.
    start : Tracer
    xs : sequence of Tracer
        All of one length.
    stacks : bool
        Return the values after each turn, stacked, and not just the last.
    """
    trace = start.home
    inner = Trace("turn", trace.rules, parent=trace, role=Role.BODY)
    slices = [x.aval.with_shape(x.shape[1:]) for x in xs]
    values = [
        inner.result(inner.builder.input(aval), kind=Kind.ARRAY)
        for aval in (start.aval, *slices)
    ]
    result: Any = run_traced(inner, lambda: turn(*values))
    inner.active = True  # reading the result records views
    try:
        after = inner.lift(result).convert(start.dtype)
        body = inner.builder.build([after, after] if stacks else [after])
    finally:
        inner.active = False
    params = ScanParams(body, xs[0].shape[0], False, 0, 1)
    operands = [start.read(), *(x.read() for x in xs)]
    outs = trace.emit_all(scan_p, operands, dict(params.params))
    return trace.result(outs[-1])
