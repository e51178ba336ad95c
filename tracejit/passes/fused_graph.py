"""The graph of fusion groups: each group one `fusion` equation, in an order that runs.

Needs groups as `fuse` formed them, and which variables groups may repeat: lazy ones
(views, counts, scalars) wherever they are read, repeated ones in any group that reads
them. Establishes that a group's sub-graph holds all that it computes, and that
everything outside of groups reads variables that something defines.
"""

from collections.abc import Iterator, Mapping, Sequence, Set

from ..errors import InternalError
from ..ir import dtypes as dt
from ..ir.graph import Eqn, Graph, Var, subgraph
from ..ir.ops.control import fusion_p
from ..ir.ops.conv import conv_general_p
from ..ir.ops.indexing import gather_p
from ..ir.ops.loops import ScanParams, scan_p
from ..ir.ops.shape import iota_p
from ..ir.primitive import Params
from ..ir.printer import format_eqn
from ..kernels.views import VIEWS
from .groups import Group


def is_lazy(eqn: Eqn) -> bool:
    """Tell whether an equation costs nothing where it is read: views, counts."""
    return eqn.primitive in VIEWS or eqn.primitive is iota_p


def reads_memory(eqn: Eqn, index: int) -> bool:
    """Tell whether an operand must lie in a buffer, whatever it is a view of."""
    if eqn.primitive is scan_p:  # one number a turn
        p = ScanParams.of(eqn.params)
        return index >= p.consts + p.carries
    is_source = eqn.primitive is gather_p and index == 0
    return is_source or eqn.primitive is conv_general_p


def users_through_views(graph: Graph) -> dict[Var, set[Eqn]]:
    """Return the equations that read each variable, itself or through views.

    A view that is a result of the graph counts as a reader.
    """
    outputs = {x for x in graph.outvars if isinstance(x, Var)}
    users: dict[Var, set[Eqn]] = {v: set() for v in graph.invars}
    for eqn in graph.eqns:
        users.update((v, set()) for v in eqn.outvars)
    for eqn in reversed(graph.eqns):
        readers = {eqn}
        if is_lazy(eqn):
            (out,) = eqn.outvars
            readers = users[out] | ({eqn} if out in outputs else set[Eqn]())
        for x in eqn.invars:
            if isinstance(x, Var):
                users[x] |= readers
    return users


def fused_graph(
    graph: Graph,
    groups: Sequence[Group],
    group_of: Mapping[Var, Group],
    lazy: frozenset[Var],
    repeated: frozenset[Var],
) -> Graph:
    """Return the graph with one equation for each group.

    Parameters
    ----------
    graph : Graph
    groups : sequence of Group
        In the order they were begun; empty ones were merged into others.
    group_of : mapping of Var to Group
        Where each variable that is not lazy is computed.
    lazy, repeated : frozenset of Var
        What each group computes for itself: always; unless it needs it in memory.
    """
    rebuilding = _Rebuilding(graph, groups, group_of, lazy, repeated)
    rebuilding.materialize_views()
    return rebuilding.rebuilt()


class _Rebuilding:
    """One graph being put together."""

    def __init__(
        self,
        graph: Graph,
        groups: Sequence[Group],
        group_of: Mapping[Var, Group],
        lazy: frozenset[Var],
        repeated: frozenset[Var],
    ) -> None:
        self.graph = graph
        self.groups = list(groups)
        self.group_of = dict(group_of)
        self.lazy = lazy
        self.repeated = repeated
        self.definitions = {v: e for e in graph.eqns for v in e.outvars}
        self.order = {e: i for i, e in enumerate(graph.eqns)}
        self.outputs = {x for x in graph.outvars if isinstance(x, Var)}
        self.standalone: set[Var] = set()
        self.wanted = self.outputs | _unread_checks(graph)  # what must be in memory

    # --- views that need memory

    def materialize_views(self) -> None:
        """Give lazy values that something outside of groups needs a home."""
        needed = {x for x in self.outputs if x in self.lazy}
        for group in self.groups:
            for eqn in group.eqns:
                for i, x in enumerate(eqn.invars):
                    is_read = group.is_opaque or reads_memory(eqn, i)
                    if is_read and isinstance(x, Var) and x in self.lazy:
                        needed.add(x)
        for x in sorted(needed, key=lambda v: self.order[self.definitions[v]]):
            self._materialize(x)

    def _materialize(self, x: Var) -> None:
        """A view becomes an equation by itself; a scalar or count, a kernel.

        Groups go on repeating it: one that reads its own value through a view must not
        wait for that view.
        """
        if x not in self.lazy or x in self.standalone:
            return
        eqn = self.definitions[x]
        source = eqn.invars[0] if eqn.invars else None
        self.standalone.add(x)
        is_view = dt.is_complex(x.aval.dtype) or eqn.primitive in VIEWS
        if is_view and isinstance(source, Var):
            self._materialize(source)
        number = len(self.groups)
        group = Group(number, x.aval.shape, is_opaque=is_view, eqns=[eqn])
        self.groups.append(group)
        self.group_of[x] = group

    # --- order

    def rebuilt(self) -> Graph:
        """Return the new graph; what nothing needs is not in it."""
        made: list[Sequence[Eqn]] = []
        for group in reversed(self._ordered()):
            if group.is_opaque:
                made.append(group.eqns)
                self.wanted.update(x for e in group.eqns for x in _variables(e))
            else:
                made.append(self._fusion_eqn(group))
        eqns = [e for part in reversed(made) for e in part]
        return Graph(
            self.graph.name, self.graph.invars, self.graph.outvars, _numbered(eqns)
        )

    def _ordered(self) -> list[Group]:
        """Groups in an order that respects what depends on what."""
        live = [g for g in self.groups if g.eqns]
        waits = {g: dict.fromkeys(self._needed(g)) for g in live}
        missing = {g: len(waits[g]) for g in live}
        readers: dict[Group, list[Group]] = {g: [] for g in live}
        for group in live:
            for other in waits[group]:
                readers[other].append(group)
        ready = [g for g in live if not missing[g]]
        for group in ready:
            for reader in readers[group]:
                missing[reader] -= 1
                if not missing[reader]:
                    ready.append(reader)
        if len(ready) < len(live):
            stuck = next(g for g in live if missing[g])
            raise InternalError(
                f"fusion groups wait for each other: {format_eqn(stuck.eqns[0])}"
            )
        return ready

    def _needed(self, group: Group) -> Iterator[Group]:
        """Yield the groups that must run before a group."""
        if group.follows is not None:
            yield group.follows
        roots = [v for e in group.eqns for v in e.outvars]
        inputs = [x for e in group.eqns for x in _variables(e)]
        if not group.is_opaque:
            _, inputs = self._closure(roots, group)
        for var in inputs:
            other = self.group_of.get(var)
            if other is not None and other is not group:
                yield other

    # --- one group

    def _fusion_eqn(self, group: Group) -> list[Eqn]:
        """Return the group as one equation; nothing if nothing outside needs it."""
        in_order = sorted(group.eqns, key=lambda e: self.order[e])
        outs = [v for e in in_order for v in e.outvars if v in self.wanted]
        if not outs:
            return []
        body, inputs = self._closure(outs, group)
        self.wanted.update(inputs)
        clone = cloned(self.graph.name, inputs, outs, body)
        source = tuple(dict.fromkeys(s for e in body for s in e.source))
        loops: Params = {"space": group.space, "reduced": group.reduced}
        params = {"graph": clone, **loops}
        return [Eqn(fusion_p, tuple(inputs), params, tuple(outs), source)]

    def _closure(
        self, roots: Sequence[Var], group: Group
    ) -> tuple[list[Eqn], list[Var]]:
        """Return the equations that compute variables in a group, and what they read.

        Lazy and repeated ones among them, unless they must lie in memory.
        """
        free = self.lazy | self.repeated
        body, inputs = closure(roots, group, self.definitions, free)
        return sorted(body, key=lambda e: self.order[e]), inputs


def closure(
    roots: Sequence[Var],
    group: Group,
    definitions: Mapping[Var, Eqn],
    free: Set[Var],
) -> tuple[list[Eqn], list[Var]]:
    """Return the equations that compute variables in a group, and what they read.

    Parameters
    ----------
    roots : sequence of Var
    group : Group
    definitions : mapping of Var to Eqn
    free : set of Var
        What is computed wherever it is read, unless it must lie in memory.
    """
    mine = set(group.eqns)
    memory = {x for e in mine for i, x in enumerate(e.invars) if reads_memory(e, i)}
    body: dict[Eqn, None] = {}
    inputs: dict[Var, None] = {}
    stack = list(reversed(roots))
    while stack:
        var = stack.pop()
        eqn = definitions.get(var)
        is_own = eqn in mine or (var in free and not group.is_opaque)
        if eqn is None or var in memory or not is_own:
            inputs[var] = None
        elif eqn not in body:
            body[eqn] = None
            stack.extend(reversed(list(_variables(eqn))))
    return list(body), list(inputs)


def _unread_checks(graph: Graph) -> set[Var]:
    """Return results that nothing reads of equations that may raise: they run too."""
    read = {x for e in graph.eqns for x in _variables(e)}
    return {v for e in graph.eqns if e.effects for v in e.outvars} - read


def _variables(eqn: Eqn) -> Iterator[Var]:
    return (x for x in eqn.invars if isinstance(x, Var))


def _numbered(eqns: Sequence[Eqn]) -> list[Eqn]:
    """Return the equations with the groups' graphs numbered in order."""
    fused = [e for e in eqns if e.primitive is fusion_p]
    for number, eqn in enumerate(fused):
        graph = subgraph(eqn.params)
        graph.name = f"{graph.name}_k{number}"
    return list(eqns)


def cloned(
    name: str, inputs: Sequence[Var], outs: Sequence[Var], body: Sequence[Eqn]
) -> Graph:
    """Return the equations as a graph of its own, with variables of its own."""
    env: dict[Var, Var] = {v: Var(v.aval, v.name) for v in inputs}
    invars = [env[v] for v in inputs]
    eqns = []
    for eqn in body:
        ins = tuple(env[x] if isinstance(x, Var) else x for x in eqn.invars)
        for v in eqn.outvars:
            env[v] = Var(v.aval, v.name)
        results = tuple(env[v] for v in eqn.outvars)
        eqns.append(Eqn(eqn.primitive, ins, eqn.params, results, eqn.source))
    return Graph(name, invars, [env[v] for v in outs], eqns)
