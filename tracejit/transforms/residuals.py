"""What a loop keeps of each turn for its derivative, and what is computed again.

Needs the primal body, what the derivative reads (the residuals), and what is there
anyway: constants of the loop, slices of xs and ys. Gives the values to be stacked, and
the equations that make the other residuals of them. Views and arithmetic, divisions and
roots too, are cheaper to compute again than to store and load. Functions are not: loops
of nothing but ``tanh`` and ``exp`` take up to twice the time when they do so (floats on
one core, stacks of 40 MB and of 2 MB).

Before → after, for a turn that has a sigmoid, ``1 / (1 + exp(-z))``::

    %0 = neg %z
    %1 = exp %0        kept
    %2 = add %1, 1.0   kept
    %3 = div 1.0, %2   kept
    ---
    %1 = exp %0        kept
    %2 = add %1, 1.0   computed again
    %3 = div 1.0, %2   computed again
"""

from collections.abc import Collection, Iterable, Sequence

from ..ir import dtypes as dt
from ..ir.graph import Atom, Eqn, Graph, Var
from ..ir.invariant import is_cheap
from ..ir.ops.elementwise import (
    ceil_p,
    copysign_p,
    div_p,
    floor_p,
    rint_p,
    sign_p,
    sqrt_p,
    trunc_p,
)
from ..records import dataclass

# Beside what `is_cheap` is: an instruction or two for each element.
REPEATED = (div_p, sqrt_p, sign_p, floor_p, ceil_p, trunc_p, rint_p, copysign_p)


@dataclass(frozen=True)
class Kept:
    """What is kept of a turn.

    Parameters
    ----------
    values : tuple of Var
        Read by the derivative's turn: constants and slices that are there, and what
        is to be stacked.
    again : tuple of Eqn
        Equations that make the other residuals, in order; some may not be needed.
    """

    values: tuple[Var, ...]
    again: tuple[Eqn, ...]


def choose_kept(body: Graph, residuals: Sequence[Atom], there: Collection[Var]) -> Kept:
    """Choose what is stacked, so that it is few bytes.

    The residuals are the first choice. Inputs, and results of equations that are not
    repeated, are then tried as one value more, where residuals of more bytes can be
    made of it and what is there: it stays if fewer bytes are stacked with it.

    Parameters
    ----------
    body : Graph
        The primal turn.
    residuals : sequence of Atom
        What the derivative reads.
    there : collection of Var
        Values that cost nothing.
    """
    wanted = [x for x in residuals if isinstance(x, Var)]
    repeatable = [e for e in body.eqns if is_repeatable(e)]
    repeatable = [e for e in repeatable if not any(v in there for v in e.outvars)]
    sources = {*there, *wanted}
    best = _kept(repeatable, wanted, sources)
    for v in _worth_trying(repeatable, wanted, sources):
        found = _kept(repeatable, wanted, {*sources, v})
        if _stacked_bytes(found, there) < _stacked_bytes(best, there):
            best = found
            sources.add(v)
    return best


def is_repeatable(eqn: Eqn) -> bool:
    """Tell whether an equation is cheaper to do again than to keep its result.

    Views and arithmetic; complex numbers are divided by library routines.
    """
    if eqn.effects:
        return False
    is_complex = dt.is_complex(eqn.outvars[0].aval.dtype)
    return is_cheap(eqn) or (eqn.primitive in REPEATED and not is_complex)


def _worth_trying(
    repeatable: Iterable[Eqn], wanted: Sequence[Var], sources: Collection[Var]
) -> list[Var]:
    """Return values of fewer bytes than the residuals that lack them alone."""
    lacking: dict[Var, frozenset[Var]] = {v: frozenset() for v in sources}
    residuals = set(wanted)
    saved: dict[Var, int] = {}
    for eqn in repeatable:
        lacks = [lacking.setdefault(x, frozenset((x,))) for x in _variables(eqn)]
        # Two say all that is asked: that it is not one.
        lack = frozenset(tuple(frozenset[Var]().union(*lacks))[:2])
        for v in eqn.outvars:
            if v in residuals and len(lack) == 1:
                (root,) = lack
                saved[root] = saved.get(root, 0) + v.aval.nbytes
            lacking.setdefault(v, lack)
    return [v for v, bytes_ in saved.items() if bytes_ > v.aval.nbytes]


def _kept(
    repeatable: Iterable[Eqn], wanted: Sequence[Var], sources: Collection[Var]
) -> Kept:
    """Return what is kept when all is computed again that can be from `sources`."""
    available = set(sources)
    made_by: dict[Var, Eqn] = {}
    for eqn in repeatable:
        if all(x in available for x in _variables(eqn)):
            available.update(eqn.outvars)
            made_by.update((v, eqn) for v in eqn.outvars)
    pending, seen = list(wanted), set(wanted)
    values: list[Var] = []
    for x in pending:  # which grows
        if x not in made_by:
            values.append(x)
            continue
        operands = [y for y in _variables(made_by[x]) if y not in seen]
        seen.update(operands)
        pending.extend(dict.fromkeys(operands))
    return Kept(tuple(values), tuple(dict.fromkeys(made_by.values())))


def _stacked_bytes(kept: Kept, there: Collection[Var]) -> int:
    return sum(v.aval.nbytes for v in kept.values if v not in there)


def _variables(eqn: Eqn) -> list[Var]:
    return [x for x in eqn.invars if isinstance(x, Var)]
