"""Sorts of which only a few places are read find those, and leave the rest unsorted.

A median reads one or two elements of a sorted row, and what is largest or smallest the
ends of an order:

    %1 = sort %x {axis=0}
    %2 = slice %1 {start=(499), stop=(501), stride=(1)}
    ---
    %1 = kth %x {axis=0, places=((499, 501))}
    %2 = slice %1 {start=(0), stop=(2), stride=(1)}

Needs dead uses to be gone; a slice of all that is found is left out by the rules.
"""

from collections.abc import Iterable, Mapping, Sequence

from ..ir.builder import Builder
from ..ir.graph import Atom, Eqn, Graph, Var
from ..ir.ops.shape import ints, slice_p
from ..ir.ops.sort import argkth_p, argsort_p, kth_p, sort_p
from .manager import PassContext, on_all_graphs

Places = tuple[tuple[int, int], ...]
LEAST = 256  # elements of a row: shorter ones are sorted as fast
MOST_RANGES = 8
SHARE = 8  # of a row that is read: one part of so many at most
FOUND_BY = {sort_p: kth_p, argsort_p: argkth_p}


def only_places(graph: Graph, context: PassContext) -> Graph:
    """Rewrite sorts of which slices are read, in sub-graphs as well."""
    return on_all_graphs(graph, lambda g: _rewritten(g, context))


def _rewritten(graph: Graph, context: PassContext) -> Graph:
    readers = _readers(graph)
    found = {e.outvars[0]: e for e in graph.eqns if e.primitive in FOUND_BY}
    places = {
        v: p for v, e in found.items() if (p := _places(e, readers.get(v))) is not None
    }
    if not places or not context.may_fire("only_places"):
        return graph
    b = Builder(graph.name)
    done: set[Var] = set()

    def emit(eqn: Eqn, ins: list[Atom]) -> tuple[Atom, ...]:
        out, read = eqn.outvars[0], eqn.invars[0] if eqn.invars else None
        if out in places and context.may_fire("only_places"):
            axis = eqn.params["axis"]
            done.add(out)
            kth = FOUND_BY[eqn.primitive]
            context.stats.fired["only_places"] += 1
            return (b.emit(kth, ins[0], axis=axis, places=places[out]),)
        if isinstance(read, Var) and read in done:
            axis = found[read].params["axis"]
            assert isinstance(axis, int)
            return (_slice(b, eqn, ins[0], axis, places[read]),)
        return b.emit_all(eqn.primitive, ins, eqn.params)

    return b.build(b.replay(graph, b.inputs_of(graph), emit))


def _readers(graph: Graph) -> Mapping[Var, Sequence[Eqn | None]]:
    """Return what reads each value; None stands for the graph's result."""
    readers: dict[Var, list[Eqn | None]] = {}
    for eqn in graph.eqns:
        for x in eqn.invars:
            if isinstance(x, Var):
                readers.setdefault(x, []).append(eqn)
    for x in graph.outvars:
        if isinstance(x, Var):
            readers.setdefault(x, []).append(None)
    return readers


def _places(eqn: Eqn, readers: Sequence[Eqn | None] | None) -> Places | None:
    """Return the places of a row that are read; None where most are, or are unknown."""
    axis = eqn.params["axis"]
    assert isinstance(axis, int)
    length = eqn.outvars[0].aval.shape[axis]
    if eqn.invars[0].aval.dtype.kind not in "iuf" or length < LEAST:
        return None
    ranges = []
    for reader in readers or [None]:
        if reader is None or reader.primitive is not slice_p:
            return None
        start, stop, stride = (
            ints(reader.params, name)[axis] for name in ("start", "stop", "stride")
        )
        if stride != 1 or stop <= start:
            return None
        ranges.append((start, stop))
    joined = _joined(ranges)
    count = sum(stop - start for start, stop in joined)
    is_few = len(joined) <= MOST_RANGES and SHARE * count <= length
    return joined if is_few else None


def _joined(ranges: Iterable[tuple[int, int]]) -> Places:
    """Return ranges in order, those that touch as one."""
    out: list[tuple[int, int]] = []
    for start, stop in sorted(ranges):
        if out and start <= out[-1][1]:
            out[-1] = out[-1][0], max(stop, out[-1][1])
        else:
            out.append((start, stop))
    return tuple(out)


def _slice(b: Builder, eqn: Eqn, x: Atom, axis: int, places: Places) -> Atom:
    """Return the slice of what was found that `eqn` was of all."""
    params = {name: list(ints(eqn.params, name)) for name in ("start", "stop")}
    before = 0
    for start, stop in places:
        if start <= params["start"][axis] < stop:
            offset = before - start
        before += stop - start
    for ends in params.values():
        ends[axis] += offset
    moved = {name: tuple(ends) for name, ends in params.items()}
    return b.emit(slice_p, x, **{**eqn.params, **moved})
