"""What the steps of a Program have to do, and which of the user's lines wants it.

Needs a Program, whose runs know the equations that their kernels compute (`Run.groups`)
and the exact cost of kernels (`kernels.cost`). Establishes `Work` for each step, and
the share that each line has in it: the operations of its equations, as primitives
declare them, and the bytes of the group's inputs that they read and of its results that
they make. So parts of a kernel add up to the kernel.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from math import prod

import numpy as np

from ..ir.aval import ShapedArray
from ..ir.graph import Eqn, Graph, Var, subgraphs
from ..ir.ops.loops import ScanParams, scan_p
from ..kernels.cost import cost_of, flops_by_dtype
from ..program.program import (
    Copy,
    Extern,
    ProgramBuffer,
    Run,
    Step,
    is_nothing,
)
from ..records import dataclass
from .machine import Limits

UNKNOWN = "?"  # where a step has no line of the user


@dataclass(frozen=True)
class Work:
    """What one run of a step does.

    Parameters
    ----------
    flops : float
        As primitives declare them; a function such as ``exp`` counts as some twenty.
    bytes_read, bytes_written : int
        Of the distinct elements that it cannot do without.
    arithmetic : str
        The dtype that most operations are done in, of those that machines are measured
        in: halves are computed in float32.
    """

    flops: float = 0.0
    bytes_read: int = 0
    bytes_written: int = 0
    arithmetic: str = "float32"

    @property
    def bytes_moved(self) -> int:
        """Bytes read and written."""
        return self.bytes_read + self.bytes_written

    def times(self, count: int) -> "Work":
        """Return the work of so many runs."""
        return replace(
            self,
            flops=self.flops * count,
            bytes_read=self.bytes_read * count,
            bytes_written=self.bytes_written * count,
        )


@dataclass(frozen=True)
class Share:
    """The part of a step's work that one line wants: numbers from 0 to 1."""

    flops: float
    bytes: float


def work_of(step: Step, program_buffers: Mapping[str, ProgramBuffer]) -> Work:
    """Return what one run of a step does, without the steps inside of it.

    Parameters
    ----------
    step : Step
    program_buffers : mapping of str to ProgramBuffer
        Those of the Program, by name.
    """
    if isinstance(step, Run):
        cost = cost_of(step.kernel)
        arithmetic = _arithmetic(flops_by_dtype(step.kernel))
        return Work(cost.flops, cost.bytes_read, cost.bytes_written, arithmetic)
    if isinstance(step, Extern):
        ins, outs = (
            [program_buffers[n] for n in ns] for ns in (step.inputs, step.outputs)
        )
        flops = step.primitive.flops(_avals(ins), _avals(outs), step.params)
        arithmetic = _arithmetic({b.dtype: 1.0 for b in (*ins, *outs)[:1]})
        return Work(float(flops), _bytes(ins), _bytes(outs), arithmetic)
    if isinstance(step, Copy) and not is_nothing(step, program_buffers):
        source, to = program_buffers[step.input], program_buffers[step.output]
        return Work(0.0, _bytes([source]), _bytes([to]))
    return Work()


def _avals(buffers: Sequence[ProgramBuffer]) -> tuple[ShapedArray, ...]:
    return tuple(ShapedArray(b.shape, b.dtype) for b in buffers)


def _bytes(buffers: Iterable[ProgramBuffer]) -> int:
    """Return the bytes of distinct elements: broadcast axes have one."""
    total = 0
    for b in buffers:
        distinct = prod(n for n, s in zip(b.shape, b.strides, strict=True) if s)
        total += distinct * b.dtype.itemsize
    return total


def _arithmetic(flops: Mapping[np.dtype, float]) -> str:
    found: dict[str, float] = {"float32": 0.0}
    for dtype, count in flops.items():
        size = dtype.itemsize // (2 if dtype.kind == "c" else 1)
        name = "float64" if size >= 8 else "float32"
        found[name] = found.get(name, 0.0) + count
    return max(found, key=lambda name: found[name])


# --- the user's lines -------------------------------------------------------------


def shares_of(step: Step, sources: Sequence[str]) -> dict[str, Share]:
    """Return the part that each line has in the work of a step.

    Parameters
    ----------
    step : Step
    sources : sequence of str
        The lines of the step, or of the loop around it if it has none.

    Returns
    -------
    dict of str to Share
        Whose numbers add up to 1. Lines of a step whose equations are not known have
        equal parts.
    """
    if isinstance(step, Run) and len(sources) > 1:
        flops: dict[str, float] = {}
        moved: dict[str, float] = {}
        for graph in step.groups:
            _add_flops(flops, graph, sources, 1)
            _add_bytes(moved, graph, sources)
        if flops or moved:
            flops, moved = _normal(flops, sources), _normal(moved, sources)
            lines = dict.fromkeys((*flops, *moved))
            return {x: Share(flops.get(x, 0.0), moved.get(x, 0.0)) for x in lines}
    each = 1 / max(len(sources), 1)
    return dict.fromkeys(sources or (UNKNOWN,), Share(each, each))


def time_shares(
    shares: Mapping[str, Share], work: Work, limits: Limits
) -> dict[str, float]:
    """Return the part of a step's time that is put down to each line.

    That of the time which its operations and its bytes would take alone on the machine.
    """
    seconds = {
        line: share.flops * limits.seconds(work.flops, 0, work.arithmetic)
        + share.bytes * limits.seconds(0, work.bytes_moved, work.arithmetic)
        for line, share in shares.items()
    }
    return _normal(seconds, tuple(shares))


def _normal(weights: dict[str, float], lines: Sequence[str]) -> dict[str, float]:
    """Return weights that add up to 1; equal ones where all are 0."""
    total = sum(weights.values())
    if not total:
        return dict.fromkeys(lines, 1 / len(lines))
    return {line: weight / total for line, weight in weights.items()}


def _add(found: dict[str, float], lines: Sequence[str], weight: float) -> None:
    for line in lines:
        found[line] = found.get(line, 0.0) + weight / len(lines)


def _add_flops(
    found: dict[str, float], graph: Graph, sources: Sequence[str], times: int
) -> None:
    for eqn in graph.eqns:
        inner = tuple(subgraphs(eqn.params))
        if inner:
            turns = ScanParams.of(eqn.params).length if eqn.primitive is scan_p else 1
            for part in inner:
                _add_flops(found, part, eqn.source or sources, times * turns)
            continue
        ins = tuple(x.aval for x in eqn.invars)
        outs = tuple(v.aval for v in eqn.outvars)
        flops = float(eqn.primitive.flops(ins, outs, eqn.params))
        _add(found, eqn.source or sources, times * flops)


def _add_bytes(found: dict[str, float], graph: Graph, sources: Sequence[str]) -> None:
    made_by: dict[Var, Eqn] = {v: e for e in graph.eqns for v in e.outvars}
    readers: dict[Var, list[Eqn]] = {v: [] for v in graph.invars}
    for eqn in graph.eqns:
        for x in {v for v in eqn.invars if isinstance(v, Var)}:
            if x in readers:
                readers[x].append(eqn)
    for var, eqns in readers.items():
        for eqn in eqns:
            _add(found, eqn.source or sources, _size(var.aval) / len(eqns))
    for out in graph.outvars:
        maker = made_by.get(out) if isinstance(out, Var) else None
        lines = sources if maker is None else maker.source or sources
        _add(found, lines, _size(out.aval))


def _size(aval: ShapedArray) -> float:
    return float(prod(aval.shape) * aval.dtype.itemsize)
