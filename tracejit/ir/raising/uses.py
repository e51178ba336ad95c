"""Who uses what a composite would swallow.

Needs a graph as it was before anything was raised. Tells of a match, given by its root
and its operands, whether a value inside is used outside too: by another equation, or as
a result. Then computing it inside of a composite would compute it twice, and its
derivative would miss what the equations share.

Before → after, where nothing is raised since the exponentials are returned::

    %3: f32[2,3] = exp %2
    %4: f32[2] = reduce_sum %3 {axes=(1)}
    %5: f32[2,3] = broadcast_in_dim %4 {shape=(2, 3), dims=(0)}
    %6: f32[2,3] = div %3, %5
    return %6, %3
"""

from collections.abc import Callable

from ..graph import Eqn, Graph, Var
from ..liveness import live_equations
from .matcher import VIEWS

Test = Callable[[Var], bool]


class Uses:
    """The equations of a graph that read each value.

    Parameters
    ----------
    graph : Graph
    """

    def __init__(self, graph: Graph) -> None:
        self._makers: dict[Var, Eqn] = {}
        self._readers: dict[Var, list[Eqn]] = {}
        self._results = {x for x in graph.outvars if isinstance(x, Var)}
        for eqn in live_equations(graph.eqns, graph.outvars):
            self._makers.update(dict.fromkeys(eqn.outvars, eqn))
            for x in eqn.invars:
                if isinstance(x, Var):
                    self._readers.setdefault(x, []).append(eqn)

    def is_closed(self, root: Eqn, is_operand: Test, is_shared: Test) -> bool:
        """Tell whether all that is between operands and root is used there alone.

        The root's own results may be used anywhere, and so may views of operands and
        what depends on no operand (a count of rows): they are no intermediates.

        Parameters
        ----------
        root : Eqn
            Of the graph.
        is_operand : callable
            Tells of a value of the graph whether it is an operand.
        is_shared : callable
            Tells of a value whether it may be used outside all the same.
        """
        inside = self._between(root, is_operand)
        of_data: set[Var] = set()
        for eqn in inside[:-1]:
            inputs = [x for x in eqn.invars if isinstance(x, Var)]
            is_view = eqn.primitive in VIEWS and not of_data.intersection(inputs)
            if is_view or not any(is_operand(x) or x in of_data for x in inputs):
                continue
            of_data.update(eqn.outvars)
        members = set(inside)
        return not any(
            x in self._results or not members.issuperset(self._readers.get(x, ()))
            for x in of_data
            if not is_shared(x)
        )

    def _between(self, root: Eqn, is_operand: Test) -> list[Eqn]:
        """Return the equations from the operands to the root, in order."""
        found: dict[Eqn, None] = {}
        seen: set[Eqn] = set()
        stack: list[tuple[Eqn, bool]] = [(root, False)]
        while stack:
            eqn, is_done = stack.pop()
            if is_done:
                found[eqn] = None
            if eqn in seen:
                continue
            seen.add(eqn)
            stack.append((eqn, True))
            for x in eqn.invars:
                maker = self._makers.get(x) if isinstance(x, Var) else None
                if maker is not None and not is_operand(x):  # type: ignore[arg-type]
                    stack.append((maker, False))
        return list(found)
