"""What of a loop's body is the same at every turn, and what is cheap to do again.

Both the hoisting pass and derivatives of loops ask; they must agree, so that what is
not hoisted is what a derivative computes again and does not keep for each turn.
"""

from collections.abc import Iterator

from ..records import dataclass
from .builder import Builder
from .graph import Atom, Eqn, Graph, Var
from .liveness import live_equations
from .ops.shape import (
    broadcast_in_dim_p,
    constant_p,
    iota_p,
    reshape_p,
    rev_p,
    slice_p,
    transpose_p,
)
from .primitive import Effect, Kind

# What costs nothing where it is read.
FREE = (
    *(reshape_p, transpose_p, slice_p, rev_p, broadcast_in_dim_p),
    *(constant_p, iota_p),
)
# Arithmetic of about the cost of loading an operand.
CHEAP_ELEMENTWISE = frozenset(
    (
        *("add", "sub", "mul", "neg", "abs", "maximum", "minimum", "fma", "select"),
        *("eq", "ne", "lt", "le", "gt", "ge", "and", "or", "xor", "not", "convert"),
        *("bitcast", "stop_gradient", "real", "imag", "conj", "complex"),
    )
)
CHECKS = frozenset((Effect.CHECK,))
SMALL_BYTES = 1 << 14  # invariant arrays that are loaded from the caches anyway


def is_cheap(eqn: Eqn) -> bool:
    """Tell whether doing an equation again costs about as much as loading its result.

    Views, counts, constants, and arithmetic of one operation an element.
    """
    p = eqn.primitive
    is_arithmetic = p.kind is Kind.ELEMENTWISE and p.name in CHEAP_ELEMENTWISE
    return is_arithmetic or p.kind is Kind.VIEW or p in FREE


@dataclass(frozen=True)
class Hoisted:
    """A body without what is the same at every turn.

    Parameters
    ----------
    outside : Graph
        The body's first inputs (its constants) to further constants.
    body : Graph
        Takes the constants, the further constants, and what else the body takes.
    """

    outside: Graph
    body: Graph


def hoist_invariant(body: Graph, consts: int, runs: bool) -> Hoisted | None:
    """Take out what depends only on the first `consts` inputs; None if nothing does.

    Views stay, and so does cheap arithmetic that makes a large array of smaller ones:
    a mask compared of two counts is made faster than it is loaded. Equations that may
    raise are taken out where it is known that the body `runs`, and none before them
    raises or prints.
    """
    moved = _moved(body, frozenset(body.invars[:consts]), runs)
    needed = _needed(body, moved)
    if not needed and not any(e.effects for e in moved):
        return None
    outer = Builder(f"{body.name}_once")
    env: dict[Var, Atom] = {
        v: outer.input(v.aval, v.name) for v in body.invars[:consts]
    }
    for eqn in (e for e in body.eqns if e in moved):
        _replay(outer, eqn, env)
    outside = outer.build([env[v] for v in needed])
    fixed, rest = body.invars[:consts], body.invars[consts:]
    gone = {e for e in moved if e.effects or any(v in needed for v in e.outvars)}
    kept = [e for e in body.eqns if e not in gone]
    kept = live_equations(kept, body.outvars)
    inner = Graph(body.name, [*fixed, *needed, *rest], body.outvars, kept)
    return Hoisted(outside, renamed(inner))


def renamed(graph: Graph) -> Graph:
    """Return the graph with variables of its own."""
    b = Builder(graph.name)
    return b.build(b.inline(graph, [b.input(v.aval, v.name) for v in graph.invars]))


def _replay(b: Builder, eqn: Eqn, env: dict[Var, Atom]) -> None:
    b.source = eqn.source
    ins = [env[x] if isinstance(x, Var) else x for x in eqn.invars]
    outs = b.emit_all(eqn.primitive, ins, eqn.params)
    env.update(zip(eqn.outvars, outs, strict=True))


def _moved(body: Graph, fixed: frozenset[Var], runs: bool) -> dict[Eqn, bool]:
    """Return the invariant equations, and whether each is worth its memory."""
    invariant = set(fixed)
    stored = set(fixed)  # invariant, and in memory if they are computed outside
    moved: dict[Eqn, bool] = {}
    for eqn in body.eqns:
        is_invariant = all(x in invariant for x in _variables(eqn))
        if is_invariant and (not eqn.effects or (runs and eqn.effects == CHECKS)):
            invariant.update(eqn.outvars)
            moved[eqn] = bool(eqn.effects) or _is_worth_memory(eqn, stored)
            if moved[eqn]:
                stored.update(eqn.outvars)
        elif eqn.effects:
            runs = False  # what follows it runs if it does not raise
    return moved


def _is_worth_memory(eqn: Eqn, stored: set[Var]) -> bool:
    if not is_cheap(eqn):
        return True
    if eqn.primitive in FREE:
        return False
    (out,) = eqn.outvars
    loaded = max((x.aval.size for x in _variables(eqn) if x in stored), default=0)
    return bool(loaded) and (out.aval.nbytes <= SMALL_BYTES or loaded >= out.aval.size)


def _needed(body: Graph, moved: dict[Eqn, bool]) -> list[Var]:
    """Return what is computed outside and read inside, through what stays inside."""
    made_by = {v: e for e in moved for v in e.outvars}
    pending = [x for e in body.eqns if e not in moved for x in _variables(e)]
    pending += [x for x in body.outvars if isinstance(x, Var)]
    needed: dict[Var, None] = {}
    seen: set[Var] = set()
    while pending:
        x = pending.pop()
        eqn = made_by.get(x)
        if eqn is None or x in seen:
            continue
        seen.add(x)
        if moved[eqn]:
            needed[x] = None
        else:
            pending.extend(_variables(eqn))
    return [v for e in moved for v in e.outvars if v in needed]


def _variables(eqn: Eqn) -> Iterator[Var]:
    return (x for x in eqn.invars if isinstance(x, Var))
