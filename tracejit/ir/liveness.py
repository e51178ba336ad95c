"""Which equations of a graph are needed by its outputs and by the outside world."""

from collections.abc import Iterable, Sequence

from .graph import Atom, Eqn, Var


def live_equations(
    eqns: Sequence[Eqn], outs: Iterable[Atom], effects: bool = True
) -> list[Eqn]:
    """Return the equations of `eqns` that `outs` depend on or that have effects.

    Parameters
    ----------
    eqns : sequence of Eqn
        In order of evaluation.
    outs : iterable of Var or Literal
        The values that are wanted.
    effects : bool
        Keep equations that have effects, whether or not their results are needed.

    Returns
    -------
    list of Eqn
        In the same order; linear time.
    """
    live = {x for x in outs if isinstance(x, Var)}
    kept = []
    for eqn in reversed(eqns):
        if any(v in live for v in eqn.outvars) or (effects and eqn.effects):
            live.update(x for x in eqn.invars if isinstance(x, Var))
            kept.append(eqn)
    kept.reverse()
    return kept
