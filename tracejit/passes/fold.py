"""Constant folding, bounded: equations of constants become constants.

Operands and results hold at most `LIMIT_BYTES`. What comes from `iota` and has more
than `LIMIT_SYMBOLIC` elements stays: masks such as ``iota >= iota`` must stay symbolic.
A result whose elements are all the same becomes a broadcast scalar.

Before → after::

    %0: i64[3] = iota {shape=(3), axis=0, dtype=i64}
    %1: i64[3] = add %0, 1
    ---
    %1: i64[3] = constant {value=dense<i64[3]: 1 2 3>}
"""

from dataclasses import field
from operator import is_

import numpy as np

from ..ir.graph import Atom, Eqn, Graph, Literal, SourceLines, Var, subgraphs
from ..ir.ops.callback import callback_p
from ..ir.ops.custom import barrier_p
from ..ir.ops.shape import broadcast_in_dim_p, constant_p, iota_p
from ..ir.primitive import Array, ArrayConstant
from ..records import dataclass
from .manager import PassContext, on_all_graphs

LIMIT_BYTES = 4096
LIMIT_SYMBOLIC = 64
# These are constants already, or hold a small one in the smallest form.
SOURCES = (constant_p, iota_p, broadcast_in_dim_p)
# Values are to be known after these at run time only.
OPAQUE = (barrier_p, callback_p)


@dataclass
class _Known:
    """Values known so far, and which of them come from `iota`."""

    arrays: dict[Var, Array] = field(default_factory=dict)
    literals: dict[Var, Literal] = field(default_factory=dict)
    counted: set[Var] = field(default_factory=set)

    def array(self, x: Atom) -> Array | None:
        return self.arrays.get(x) if isinstance(x, Var) else np.asarray(x.value)

    def atom(self, x: Atom) -> Atom:
        """Return the literal that stands for `x`, if one does."""
        return self.literals.get(x, x) if isinstance(x, Var) else x


def fold(graph: Graph, context: PassContext) -> Graph:
    """Evaluate equations of small constants, in sub-graphs too."""
    return on_all_graphs(graph, lambda g: _fold(g, context))


def _fold(graph: Graph, context: PassContext) -> Graph:
    known = _Known()
    eqns: list[Eqn] = []
    for eqn in graph.eqns:
        values = _evaluated(eqn, known)
        if values is None:
            eqns.append(_with_literals(eqn, known))
            continue
        known.arrays.update(zip(eqn.outvars, values, strict=True))
        if eqn.primitive in SOURCES or not context.may_fire("fold"):
            eqns.append(_with_literals(eqn, known))
            continue
        context.stats.fired["fold"] += 1
        for var, value in zip(eqn.outvars, values, strict=True):
            made = _constant(var, value, eqn.source)
            if isinstance(made, Literal):
                known.literals[var] = made
            else:
                eqns.append(made)
    if len(eqns) == len(graph.eqns) and all(map(is_, eqns, graph.eqns)):
        return graph
    outs = [known.atom(x) for x in graph.outvars]
    return Graph(graph.name, graph.invars, outs, eqns)


def _evaluated(eqn: Eqn, known: _Known) -> list[Array] | None:
    """Return the values of an equation of known operands; None if it must stay."""
    if any(isinstance(x, Var) and x not in known.arrays for x in eqn.invars):
        return None
    sizes = [x.aval.nbytes for x in (*eqn.invars, *eqn.outvars)]
    if eqn.primitive in OPAQUE:
        return None
    if eqn.effects or any(subgraphs(eqn.params)) or max(sizes, default=0) > LIMIT_BYTES:
        return None
    operands = [known.array(x) for x in eqn.invars]
    values = [x for x in operands if x is not None]
    if len(values) != len(operands):
        return None
    counts = eqn.primitive is iota_p or any(x in known.counted for x in eqn.invars)
    if counts:
        if eqn.primitive is not iota_p and _is_big(eqn):
            return None
        known.counted.update(eqn.outvars)
    with np.errstate(all="ignore"):
        outs = eqn.primitive.evaluate(values, eqn.params)
    return [np.asarray(x) for x in outs]


def _is_big(eqn: Eqn) -> bool:
    return max(v.aval.size for v in eqn.outvars) > LIMIT_SYMBOLIC


def _constant(var: Var, value: Array, source: SourceLines) -> Literal | Eqn:
    """Return `value` as a literal, as a broadcast scalar, or as a constant."""
    if not value.shape:
        return Literal(value[()], value.dtype)
    first = value.reshape(-1)[:1]
    if value.size and value.tobytes() == first.tobytes() * value.size:
        scalar = Literal(first[0], value.dtype)
        params = {"shape": value.shape, "dims": ()}
        return Eqn(broadcast_in_dim_p, (scalar,), params, (var,), source)
    return Eqn(constant_p, (), {"value": ArrayConstant(value)}, (var,), source)


def _with_literals(eqn: Eqn, known: _Known) -> Eqn:
    invars = tuple(known.atom(x) for x in eqn.invars)
    if all(a is b for a, b in zip(invars, eqn.invars, strict=True)):
        return eqn
    return Eqn(eqn.primitive, invars, eqn.params, eqn.outvars, eqn.source)
