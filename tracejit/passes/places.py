"""Sorts of which only a few places are read find those, and leave the rest unsorted.

A median reads one or two elements of a sorted row, and what is largest or smallest the
ends of an order:

    %1 = sort %x {axis=0}
    %2 = slice %1 {start=(499), stop=(501), stride=(1)}
    ---
    %1 = kth %x {axis=0, places=((499, 501))}
    %2 = slice %1 {start=(0), stop=(2), stride=(1)}

Slices count, and gathers at known indices. Needs dead uses to be gone.
"""

from collections.abc import Iterable, Mapping, Sequence

import numpy as np

from ..ir.builder import Builder
from ..ir.graph import Atom, Eqn, Graph, Var
from ..ir.liveness import live_equations
from ..ir.ops.indexing import gather_p
from ..ir.ops.shape import constant_p, ints, slice_p
from ..ir.ops.sort import Places, argkth_p, argsort_p, kth_p, sort_p
from ..ir.primitive import Array, ArrayConstant
from .manager import PassContext, on_all_graphs

LEAST = 256  # elements of a row: shorter ones are sorted as fast
MOST_RANGES = 8
MOST_INDICES = 64  # of a gather
SHARE = 8  # of a row that is read: one part of so many at most
FOUND_BY = {sort_p: kth_p, argsort_p: argkth_p}


def only_places(graph: Graph, context: PassContext) -> Graph:
    """Rewrite sorts of which slices are read, in sub-graphs as well."""
    return on_all_graphs(graph, lambda g: _rewritten(g, context))


def _rewritten(graph: Graph, context: PassContext) -> Graph:
    found = {e.outvars[0]: e for e in graph.eqns if e.primitive in FOUND_BY}
    if not found:
        return graph
    readers, known = _readers(graph), _constants(graph)
    places = {
        v: p
        for v, e in found.items()
        if (p := _places(e, readers.get(v), known)) is not None
    }
    if not places or not context.may_fire("only_places"):
        return graph
    b = Builder(graph.name)
    done: set[Var] = set()

    def emit(eqn: Eqn, ins: list[Atom]) -> tuple[Atom, ...]:
        read = eqn.invars[0] if eqn.invars else None
        is_few = eqn.primitive in FOUND_BY and eqn.outvars[0] in places
        if is_few and context.may_fire("only_places"):
            out = eqn.outvars[0]
            done.add(out)
            context.stats.fired["only_places"] += 1
            given = {**eqn.params, "places": places[out]}
            return (b.emit(FOUND_BY[eqn.primitive], ins[0], **given),)
        if isinstance(read, Var) and read in done:
            axis = found[read].params["axis"]
            assert isinstance(axis, int)
            last = eqn.invars[-1]
            index = known.get(last) if isinstance(last, Var) else None
            return (_moved(b, eqn, ins[0], index, axis, places[read]),)
        return b.emit_all(eqn.primitive, ins, eqn.params)

    new = b.build(b.replay(graph, b.inputs_of(graph), emit))
    live = live_equations(new.eqns, new.outvars)  # without the indices of all
    return Graph(new.name, new.invars, new.outvars, tuple(live))


def _constants(graph: Graph) -> Mapping[Var, Array]:
    """Return small arrays that are known."""
    return {
        e.outvars[0]: value.array
        for e in graph.eqns
        if e.primitive is constant_p
        and isinstance(value := e.params["value"], ArrayConstant)
        and value.array.size <= MOST_INDICES
    }


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


def _places(
    eqn: Eqn, readers: Sequence[Eqn | None] | None, known: Mapping[Var, Array]
) -> Places | None:
    """Return the places of a row that are read; None where most are, or are unknown."""
    axis = eqn.params["axis"]
    assert isinstance(axis, int)
    length = eqn.outvars[0].aval.shape[axis]
    if eqn.invars[0].aval.dtype.kind not in "iuf" or length < LEAST:
        return None
    ranges: list[tuple[int, int]] = []
    for reader in readers or [None]:
        found = reader and _read_by(reader, eqn.outvars[0], axis, known)
        if not found:
            return None
        ranges += found
    joined = _joined(ranges)
    count = sum(stop - start for start, stop in joined)
    is_few = len(joined) <= MOST_RANGES and SHARE * count <= length
    return joined if is_few else None


def _read_by(
    reader: Eqn, x: Var, axis: int, known: Mapping[Var, Array]
) -> list[tuple[int, int]]:
    """Return the places that a slice or a gather reads; none if they are unknown."""
    if reader.primitive is slice_p:
        start, stop = (ints(reader.params, name)[axis] for name in ("start", "stop"))
        return [(start, stop)] if start < stop else []
    index = reader.invars[-1]
    along = {"axes": (axis,), "batch": 0}
    is_plain = reader.primitive is gather_p and along.items() <= reader.params.items()
    if not is_plain or not isinstance(index, Var) or index not in known:
        return []
    places = known[index].reshape(-1).tolist()
    are_there = all(0 <= p < x.aval.shape[axis] for p in places)
    return [(p, p + 1) for p in places] if are_there else []


def _joined(ranges: Iterable[tuple[int, int]]) -> Places:
    """Return ranges in order, those that touch as one."""
    out: list[tuple[int, int]] = []
    for start, stop in sorted(ranges):
        if out and start <= out[-1][1]:
            out[-1] = out[-1][0], max(stop, out[-1][1])
        else:
            out.append((start, stop))
    return tuple(out)


def _moved(
    b: Builder, eqn: Eqn, x: Atom, index: Array | None, axis: int, places: Places
) -> Atom:
    """Return what `eqn` reads of all, at an index if it has one, from what is found."""
    if index is not None:
        numbers = [_number(places, p) for p in index.reshape(-1).tolist()]
        moved_to = np.array(numbers, np.int64).reshape(index.shape)
        constant = b.emit(constant_p, value=ArrayConstant(moved_to))
        return b.emit(gather_p, x, constant, **eqn.params)
    start, stop = (list(ints(eqn.params, name)) for name in ("start", "stop"))
    size = stop[axis] - start[axis]
    start[axis] = _number(places, start[axis])
    stop[axis] = start[axis] + size
    moved = {"start": tuple(start), "stop": tuple(stop)}
    return b.emit(slice_p, x, **{**eqn.params, **moved})


def _number(places: Places, place: int) -> int:
    """Return how many of the places come before one of them."""
    before = 0
    for start, stop in places:
        if start <= place < stop:
            return before + place - start
        before += stop - start
    raise AssertionError(f"{place} is none of {places}")
