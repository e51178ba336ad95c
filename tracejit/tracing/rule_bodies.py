"""Loops and choices in the graph that give one array, for rules of NumPy's functions.

They are a `scan` and a `cond`, as `tracejit.scan` and `tracejit.cond` make them, but
known to rules that tracing itself needs: `control_flow` is built on traces, which are
given all rules when they begin.
"""

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from ..ir.aval import ShapedArray
from ..ir.graph import Graph
from ..ir.ops.control import cond_p
from ..ir.ops.loops import ScanParams, scan_p
from .storage import Kind
from .trace import Role, Trace, run_traced, trace_of
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
    slices = [x.aval.with_shape(x.shape[1:]) for x in xs]
    body = _recorded(trace, turn, (start.aval, *slices), start.dtype)
    if stacks:
        body = Graph(body.name, body.invars, (*body.outvars, *body.outvars), body.eqns)
    params = ScanParams(body, xs[0].shape[0], False, 0, 1)
    operands = [start.read(), *(x.read() for x in xs)]
    outs = trace.emit_all(scan_p, operands, dict(params.params))
    return trace.result(outs[-1])


def chosen(
    holds: Tracer,
    on_true: Callable[..., Any],
    on_false: Callable[..., Any],
    operands: Sequence[Tracer],
) -> Tracer:
    """Call one of two functions of the operands, which give arrays of one kind.

    Parameters
    ----------
    holds : Tracer
        One truth.
    on_true, on_false : callable
        Of the operands and of nothing else that is traced.
    operands : sequence of Tracer
    """
    trace = trace_of((holds, *operands))
    truth, *values = (trace.lift(x) for x in (holds, *operands))
    avals = [x.aval for x in values]
    yes, no = (_recorded(trace, fn, avals) for fn in (on_true, on_false))
    atoms = [truth.read(), *(x.read() for x in values)]
    (out,) = trace.emit_all(cond_p, atoms, {"on_true": yes, "on_false": no})
    return trace.result(out)


def _recorded(
    trace: Trace,
    function: Callable[..., Any],
    avals: Sequence[ShapedArray],
    dtype: np.dtype | None = None,
) -> Graph:
    """Return the graph of a function of arrays, its result converted if asked for."""
    inner = Trace("turn", trace.rules, parent=trace, role=Role.BODY)
    values = [
        inner.result(inner.builder.input(aval), kind=Kind.ARRAY) for aval in avals
    ]
    result: Any = run_traced(inner, lambda: function(*values))
    inner.active = True  # reading the result records views
    try:
        found = inner.lift(result)
        return inner.builder.build([found.convert(dtype or found.dtype)])
    finally:
        inner.active = False
