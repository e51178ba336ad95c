"""Expansion: equations that mean a graph become that graph's equations.

Composites, calls, custom functions and checkpoints hold the graph that they mean, or
their primitive makes it; others may be given a meaning by name.
"""

from collections.abc import Callable, Collection, Mapping, Sequence
from operator import is_

from .builder import Builder
from .graph import Atom, Graph, Var, expansion_of
from .primitive import Avals, Params

Meanings = Mapping[str, Callable[[Avals, Params], Graph]]
NO_MEANINGS: Meanings = {}


def expand_graph(
    graph: Graph,
    kept: Collection[str] = (),
    more: Meanings = NO_MEANINGS,
    may_expand: Callable[[], bool] = lambda: True,
) -> Graph:
    """Put the graphs of composites and custom functions in their place, inner ones too.

    Parameters
    ----------
    graph : Graph
    kept : collection of str
        Names of primitives that stay as they are.
    more : mapping of str to callable
        What others mean that say nothing of it themselves, by name.
    may_expand : callable
        Asked before each is put in place.

    Returns
    -------
    Graph
        The same object when there are none. Graphs held by other equations are left
        alone.
    """
    if not any(e.primitive.expand or e.primitive.name in more for e in graph.eqns):
        return graph
    b = Builder(graph.name)
    b.invars.extend(graph.invars)
    return b.build(_expanded(b, graph, graph.invars, kept, more, may_expand))


def _expanded(
    b: Builder,
    graph: Graph,
    ins: Sequence[Atom],
    kept: Collection[str],
    more: Meanings,
    may_expand: Callable[[], bool],
) -> list[Atom]:
    """Emit the equations of `graph`, those that mean a graph by that.

    Equations of a graph on its own inputs stay the same objects where they can.
    """
    is_own = ins is graph.invars
    env: dict[Var, Atom] = dict(zip(graph.invars, ins, strict=True))
    outer = b.source
    for eqn in graph.eqns:
        b.source = eqn.source or outer
        args = [env[x] if isinstance(x, Var) else x for x in eqn.invars]
        outs: Sequence[Atom]
        name, meaning = eqn.primitive.name, None
        if name in more:
            meaning = more[name](tuple(x.aval for x in eqn.invars), eqn.params)
        elif name not in kept:
            meaning = expansion_of(eqn)
        if meaning is not None and may_expand():
            outs = _expanded(b, meaning, args, kept, more, may_expand)
        elif is_own and all(map(is_, args, eqn.invars)):
            outs = b.keep(eqn)
        else:
            outs = b.emit_all(eqn.primitive, args, eqn.params)
        for var, out in zip(eqn.outvars, outs, strict=True):
            env[var] = out
            if isinstance(out, Var) and not out.name:
                out.name = var.name
    b.source = outer
    return [env[x] if isinstance(x, Var) else x for x in graph.outvars]
