"""Arrays that are written piece by piece become a join of the pieces.

A chain of many writes is what a loop in Python leaves that fills an array. As views of
one another they would be asked one by one, at each element, for who wrote it last:

    %1 = update_slice %0, %a {start=(0, 0)}
    %2 = update_slice %1, %b {start=(1, 0)}
    ...
    ---
    %9 = concatenate %a, %b, ... {axis=0}

Pieces are whole along all axes but the first, and do not overlap; what they leave free
are slices of what was there before. A join of many pieces is no kernel: each is
computed in its place (`tracejit.program.pieces`).
"""

from collections import Counter
from collections.abc import Mapping, Sequence

from ..ir.aval import ShapedArray
from ..ir.builder import Builder
from ..ir.graph import Atom, Eqn, Graph, Var
from ..ir.ops.shape import concatenate_p, ints, slice_p, update_slice_p
from ..program.pieces import MANY, are_worth_steps
from .manager import PassContext, on_all_graphs

Piece = tuple[int, Atom]  # where it starts along the first axis


def join_pieces(graph: Graph, context: PassContext) -> Graph:
    """Rewrite chains of writes, in sub-graphs too."""
    return on_all_graphs(graph, lambda g: _joined(g, context))


def _joined(graph: Graph, context: PassContext) -> Graph:
    if sum(e.primitive is update_slice_p for e in graph.eqns) < MANY:
        return graph
    chains = _chains(graph)
    if not chains:
        return graph
    b = Builder(graph.name)
    operands: dict[Eqn, Sequence[Atom]] = {}

    def emit(eqn: Eqn, ins: list[Atom]) -> tuple[Atom, ...]:
        operands[eqn] = ins
        chain = chains.get(eqn)
        if chain is None or not context.may_fire("join_pieces"):
            return b.emit_all(eqn.primitive, ins, eqn.params)
        context.stats.fired["join_pieces"] += 1
        return (_join(b, chain, operands),)

    return b.build(b.replay(graph, b.inputs_of(graph), emit))


def _chains(graph: Graph) -> dict[Eqn, list[Eqn]]:
    """Return the writes of each chain, the last one first, by the last one."""
    uses = Counter(x for e in graph.eqns for x in e.invars if isinstance(x, Var))
    uses.update(x for x in graph.outvars if isinstance(x, Var))
    writes = {e.outvars[0]: e for e in graph.eqns if e.primitive is update_slice_p}
    inner = {
        x
        for e in writes.values()
        if isinstance(x := e.invars[0], Var) and x in writes and uses[x] == 1
    }
    found: dict[Eqn, list[Eqn]] = {}
    for var, last in writes.items():
        if var in inner:
            continue
        chain = [last]
        before = last.invars[0]
        while isinstance(before, Var) and before in inner:
            chain.append(writes[before])
            before = chain[-1].invars[0]
        if len(chain) >= MANY and _is_in_rows(chain):
            found[last] = chain
    return found


def _is_in_rows(chain: Sequence[Eqn]) -> bool:
    """Tell whether pieces are whole rows that do not overlap, and large enough."""
    whole = chain[0].outvars[0].aval
    pieces: list[ShapedArray] = []
    at = 0
    for first, k in sorted((_start(e), k) for k, e in enumerate(chain)):
        piece = chain[k].invars[1].aval
        has_step = set(ints(chain[k].params, "stride")) != {1}
        if first < at or piece.shape[1:] != whole.shape[1:] or has_step:
            return False
        if first > at:
            pieces.append(_rows_of(whole, first - at))
        pieces.append(piece)
        at = first + piece.shape[0]
    if at < whole.shape[0]:
        pieces.append(_rows_of(whole, whole.shape[0] - at))
    return are_worth_steps(pieces)


def _rows_of(whole: ShapedArray, count: int) -> ShapedArray:
    return ShapedArray((count, *whole.shape[1:]), whole.dtype)


def _start(eqn: Eqn) -> int:
    return ints(eqn.params, "start")[0]


def _join(
    b: Builder, chain: Sequence[Eqn], operands: Mapping[Eqn, Sequence[Atom]]
) -> Atom:
    """Emit the join of the pieces of a chain, and of what was there before."""
    before = operands[chain[-1]][0]
    pieces = sorted(
        ((_start(e), operands[e][1]) for e in chain), key=lambda piece: piece[0]
    )
    parts: list[Atom] = []
    at = 0
    for start, piece in pieces:
        if start > at:
            parts.append(_rows(b, before, at, start))
        parts.append(piece)
        at = start + piece.aval.shape[0]
    if at < before.aval.shape[0]:
        parts.append(_rows(b, before, at, before.aval.shape[0]))
    return b.emit(concatenate_p, *parts, axis=0)


def _rows(b: Builder, x: Atom, start: int, stop: int) -> Atom:
    zeros = (0,) * (x.aval.ndim - 1)
    ones = (1,) * x.aval.ndim
    stops = (stop, *x.aval.shape[1:])
    return b.emit(slice_p, x, start=(start, *zeros), stop=stops, stride=ones)
