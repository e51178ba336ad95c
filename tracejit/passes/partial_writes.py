"""Writes to a part of an argument: the part alone is computed.

An argument that is written in place (`program.donate`) keeps what is not written:

    graph (%x: f32[99]) -> (f32[99]) {           graph (%x: f32[99]) -> (f32[2]) {
      %0 = slice %x {start=(1), stop=(3)}          %0 = slice %x {start=(1), ...}
      %1 = add %0, 1.0                      →      %1 = add %0, 1.0
      %2 = update_slice %x, %1 {start=(1)}         return %1
      return %2                                  }  ; at 1 of the memory of %x
    }

That is done where what is written needs nothing of the argument, or is computed
element by element from the same part of it: then it can be written there. It says of
each such result where it goes; lowering gives it that place. Needs the graph as traced.
"""

from collections import Counter
from collections.abc import Mapping, Sequence

from ..ir.graph import Atom, Eqn, Graph, Var
from ..ir.ops.shape import ints, reshape_p, slice_p, update_slice_p
from ..ir.primitive import Kind
from ..program.donate import Offer
from ..program.lower import Part


def partial_writes(
    graph: Graph, offers: Sequence[Offer]
) -> tuple[Graph, Mapping[int, Part]]:
    """Return the graph with parts for results, and where these are, by output.

    The same object if there are none.
    """
    writes: dict[Atom, Eqn] = {
        e.outvars[0]: e for e in graph.eqns if e.primitive is update_slice_p
    }
    found = dict(_candidates(graph, offers, writes))
    if not found:
        return graph, {}
    outs = [
        found[k].invars[1] if k in found else x for k, x in enumerate(graph.outvars)
    ]
    gone = set(found.values())
    eqns = [e for e in graph.eqns if e not in gone]
    places = {offer.outputs[0]: offer.input for offer in offers if offer.is_written}
    parts = {
        k: Part(places[k], ints(e.params, "start"), ints(e.params, "stride"))
        for k, e in found.items()
    }
    return Graph(graph.name, graph.invars, outs, eqns), parts


def _candidates(
    graph: Graph, offers: Sequence[Offer], writes: Mapping[Atom, Eqn]
) -> Sequence[tuple[int, Eqn]]:
    if not writes:
        return ()
    uses = Counter(x for e in graph.eqns for x in e.invars if isinstance(x, Var))
    uses.update(x for x in graph.outvars if isinstance(x, Var))
    made_by = {v: e for e in graph.eqns for v in e.outvars}
    out = []
    for offer in offers:
        k = offer.outputs[0]
        write = writes.get(graph.outvars[k]) if offer.is_written else None
        if write is None or uses[write.outvars[0]] != 1:
            continue
        whole = graph.invars[offer.input]
        if write.invars[0] is whole and _is_apart(write, whole, graph.eqns, made_by):
            out.append((k, write))
    return out


def _is_apart(
    write: Eqn, whole: Var, eqns: Sequence[Eqn], made_by: Mapping[Var, Eqn]
) -> bool:
    """Tell whether what is written needs only the elements that it overwrites."""
    needed = _needed_for(write.invars[1], made_by)
    depends: set[Var] = set()
    for eqn in (e for e in eqns if e in needed):
        if _is_same_part(eqn, write, whole):
            depends.update(eqn.outvars)
        elif whole in eqn.invars:
            return False
        elif any(x in depends for x in eqn.invars):
            if not _keeps_places(eqn):
                return False
            depends.update(eqn.outvars)
    return write.invars[1] is not whole


def _keeps_places(eqn: Eqn) -> bool:
    return eqn.primitive.kind is Kind.ELEMENTWISE or eqn.primitive is reshape_p


def _needed_for(x: Atom, made_by: Mapping[Var, Eqn]) -> set[Eqn]:
    """Return the equations that a value is computed by."""
    found: set[Eqn] = set()
    waiting = [x]
    while waiting:
        atom = waiting.pop()
        maker = made_by.get(atom) if isinstance(atom, Var) else None
        if maker is not None and maker not in found:
            found.add(maker)
            waiting += maker.invars
    return found


def _is_same_part(eqn: Eqn, write: Eqn, whole: Var) -> bool:
    """Tell whether an equation reads the part that another writes."""
    if eqn.primitive is not slice_p or eqn.invars[0] is not whole:
        return False
    names = ("start", "stride")
    mine, its = ([ints(e.params, n) for n in names] for e in (eqn, write))
    return mine == its and eqn.outvars[0].aval == write.invars[1].aval
