"""What groups compute again instead of loading it: as min-cut rematerialisation does.

A gradient reads many values of the forward pass that follow from each other: of a gelu
the operand, its cube, the tanh. Where another group would load them, it can compute
them from a few of them (*anchors*), in fewer operations than the bytes are worth that
are neither stored nor loaded then.

    group 0: h, a = h * 0.5, b = h * h, c = tanh(b) -> h, a, b, c
    group 1: reads h, a, b, c       ->      reads h, c; a = h * 0.5, b = h * h

Needs groups that are final. A value has the same bits in each group: `contract_fma` has
fixed the rounding of each equation before.
"""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import field
from itertools import islice
from math import prod

from ..ir.graph import Eqn, Graph, Var
from ..ir.ops.contract import dot_general_p
from ..ir.ops.conv import conv_general_p
from ..ir.primitive import Kind
from ..kernels.lower import REDUCE_OPS
from ..kernels.maps import Map
from ..records import dataclass
from .fused_graph import closure
from .groups import Group, is_much_smaller, positions, read_shape, work_of
from .limits import Limits
from .manager import PassContext
from .notes import ComputedAgain

MOST_ANCHORS = 8  # that are tried in a group

Reads = Mapping[Eqn, Sequence[tuple[Var, Map | None]]]


@dataclass(eq=False)
class _Plan:
    """What is no longer stored if an anchor is.

    Parameters
    ----------
    gain : float
        Bytes an element that are saved, less what computing again costs.
    removed : dict of Var to frozenset of Var
        With what is loaded to compute it again.
    bodies : dict of Group to set of Eqn
        What each reader computes again.
    """

    gain: float = 0.0
    removed: dict[Var, frozenset[Var]] = field(default_factory=dict)
    bodies: dict[Group, set[Eqn]] = field(default_factory=dict)


class Recomputation:
    """The search, over one graph.

    Parameters
    ----------
    graph : Graph
    groups : sequence of Group
    group_of : mapping of Var to Group
    reads : mapping of Eqn to reads
        Of each equation that is not lazy: variables behind views, and where.
    lazy, repeated : frozenset of Var
        What groups compute for themselves already.
    limits : Limits
        Of the target: equations of a group, and what computing costs.
    """

    def __init__(
        self,
        graph: Graph,
        groups: Sequence[Group],
        group_of: Mapping[Var, Group],
        reads: Reads,
        lazy: frozenset[Var],
        repeated: frozenset[Var],
        limits: Limits,
    ) -> None:
        self.groups = [g for g in groups if g.eqns]
        self.group_of, self.reads = group_of, reads
        self.most, self.work_a_byte = limits.max_equations, limits.work_a_byte
        self.definitions = {v: e for e in graph.eqns for v in e.outvars}
        self.outputs = {x for x in graph.outvars if isinstance(x, Var)}
        self.free = set(lazy | repeated)
        self.again: dict[Var, frozenset[Var]] = {}
        self.loads: dict[Group, set[Var]] = {}
        self.readers: dict[Var, dict[Group, None]] = {}
        for group in self.groups:
            self._note_loads(group)
        self.fixed = self._fixed()

    def found(self, context: PassContext) -> dict[Var, frozenset[Var]]:
        """Return what is computed again wherever it is read, and what that loads."""
        for group in self.groups:
            while not group.is_opaque:
                plan = self._best(group)
                if plan.gain <= 0 or not context.may_fire("recompute"):
                    break
                context.stats.fired["recompute"] += 1
                context.notes += self._notes(plan)
                self._apply(plan)
        return self.again

    def _note_loads(self, group: Group) -> None:
        made = [v for e in group.eqns for v in e.outvars]
        _, inputs = closure(made, group, self.definitions, self.free)
        if group.is_opaque:
            inputs = [v for e in group.eqns for v, _ in self.reads.get(e, ())]
        for var in self.loads.get(group, ()):
            del self.readers[var][group]
        self.loads[group] = set(inputs)
        for var in inputs:
            self.readers.setdefault(var, {})[group] = None

    def _fixed(self) -> set[Var]:
        """Return what stays as it is: results, and what is not read in its place."""
        fixed = set(self.outputs)
        for group in self.groups:
            early = _before_product(group)
            for eqn in group.eqns:
                is_late = self._reads_elements(eqn, group) and eqn not in early
                fixed.update(
                    var
                    for var, at in self.reads.get(eqn, ())
                    if not (is_late and _is_in_place(var, at, eqn))
                )
        for var in [*fixed]:
            fixed |= self._behind(var)
        return fixed

    def _reads_elements(self, eqn: Eqn, group: Group) -> bool:
        """Tell whether an equation reads an element for each one of its group."""
        if group.is_opaque or group.is_stream:
            return False
        is_plain = eqn.primitive.kind is Kind.ELEMENTWISE
        is_plain |= eqn.primitive.name in REDUCE_OPS
        return is_plain and prod(read_shape(eqn)) == prod(group.space)

    def _behind(self, var: Var) -> set[Var]:
        """Return what a value that groups compute for themselves is computed from."""
        found, stack = set[Var](), [var]
        while stack:
            x = stack.pop()
            eqn = self.definitions.get(x)
            if x not in self.free or eqn is None:
                found.add(x)
                continue
            stack += (y for y in eqn.invars if isinstance(y, Var))
        return found

    # --- one group

    def _best(self, group: Group) -> _Plan:
        """Return the plan of the most gain for what a group stores."""
        stored = [v for e in group.eqns for v in e.outvars if self._is_removable(v)]
        plans = [self._plan(stored, None)]
        plans += (self._plan(stored, anchor) for anchor in self._anchors(stored))
        return max(plans, key=lambda p: p.gain)

    def _is_removable(self, var: Var) -> bool:
        if var in self.fixed or not self.readers.get(var):
            return False
        return var.aval.ndim > 0 and _is_pure(self.definitions[var])

    def _anchors(self, stored: Sequence[Var]) -> list[Var]:
        """Return what several stored values follow from and is not stored itself."""
        count = Counter(x for var in stored for x in self._sources(var))
        several = (x for x, n in count.most_common() if n > 1)
        return [*islice(several, MOST_ANCHORS)]

    def _sources(self, var: Var) -> dict[Var, None]:
        """Return what a value follows from in its place, up to what is stored."""
        found: dict[Var, None] = {}  # in order: anchors must not depend on hashes
        stack = [var]
        while stack:
            eqn = self.definitions[stack.pop()]
            for x, at in self.reads[eqn] if _is_pure(eqn) else ():
                is_mine = self.group_of.get(x) is self.group_of[var]
                if x in found or not is_mine or self.readers.get(x):
                    continue
                if _is_in_place(x, at, eqn):
                    found[x] = None
                    stack.append(x)
        return found

    def _plan(self, stored: Sequence[Var], anchor: Var | None) -> _Plan:
        """Return what is saved if `anchor` is stored, too."""
        plan = _Plan()
        if anchor is not None and not self._is_stored(anchor, plan):
            plan.gain -= anchor.aval.dtype.itemsize
        for var in stored:
            if var is not anchor:
                self._try(var, anchor, plan)
        return plan

    def _try(self, var: Var, anchor: Var | None, plan: _Plan) -> None:
        """Leave `var` out of memory where that is a gain beside what is left out."""
        found = self._again(var, anchor, plan)
        if found is None:
            return
        body, leaves = found
        itemsize = var.aval.dtype.itemsize
        saved, bodies = float(itemsize), dict[Group, set[Eqn]]()
        for group in self.readers[var]:
            mine = plan.bodies.get(group, set())
            bodies[group] = mine | body
            if len(group.eqns) + len(bodies[group]) > self.most:
                return
            more = leaves - self.loads[group] - self._loaded(plan, group)
            large = (x for x in more if not is_much_smaller(x.aval, var.aval))
            saved += itemsize - sum(x.aval.dtype.itemsize for x in large)
            saved -= sum(map(work_of, body - mine)) / self.work_a_byte
        if saved > 0:
            plan.gain += saved
            plan.removed[var] = frozenset(leaves)
            plan.bodies |= bodies

    def _loaded(self, plan: _Plan, group: Group) -> set[Var]:
        """Return what a group loads to compute what a plan removes."""
        mine = (x for v, x in plan.removed.items() if group in self.readers[v])
        return set[Var]().union(*mine)

    def _again(
        self, var: Var, anchor: Var | None, plan: _Plan
    ) -> tuple[set[Eqn], set[Var]] | None:
        """Return the equations that compute a value again, and what they load.

        None where something else than elements in their places is needed.
        """
        body: set[Eqn] = set()
        leaves: set[Var] = set()
        stack = [var]
        while stack:
            x = stack.pop()
            eqn = self.definitions[x]
            if not _is_pure(eqn):
                return None
            if eqn in body:
                continue
            body.add(eqn)
            for y, at in self.reads[eqn]:
                if y is anchor or self._is_stored(y, plan):
                    leaves.add(y)
                elif y in self.group_of and _is_in_place(y, at, eqn):
                    stack.append(y)
                else:
                    return None
        return body, leaves

    def _is_stored(self, var: Var, plan: _Plan) -> bool:
        """Tell whether a value lies in memory, whatever becomes of what is computed."""
        if var in self.free or var in plan.removed:
            return False
        is_read = bool(self.readers.get(var))
        return is_read or var in self.outputs or var not in self.group_of

    def _notes(self, plan: _Plan) -> list[ComputedAgain]:
        """Return what is said of the values that a plan leaves out of memory."""
        found = []
        for var in plan.removed:
            readers = self.readers[var]
            most = max(len(plan.bodies[g]) for g in readers)
            source = self.definitions[var].source
            found.append(ComputedAgain(var.aval, len(readers), most, source))
        return found

    def _apply(self, plan: _Plan) -> None:
        """Have readers compute what a plan removes, and what lies between."""
        leaves = frozenset[Var]().union(*plan.removed.values())
        between = {v for b in plan.bodies.values() for e in b for v in e.outvars}
        self.again |= dict.fromkeys(between - self.free, leaves) | plan.removed
        self.free |= between
        for group in dict.fromkeys(g for v in plan.removed for g in self.readers[v]):
            self._note_loads(group)


def _is_pure(eqn: Eqn) -> bool:
    return eqn.primitive.kind is Kind.ELEMENTWISE and not eqn.effects


def _before_product(group: Group) -> set[Eqn]:
    """Return the equations of a group that its product reads, which are done early."""
    made = {v: e for e in group.eqns for v in e.outvars}
    products = (e for e in group.eqns if e.primitive in (dot_general_p, conv_general_p))
    stack = [x for e in products for x in e.invars]
    early: set[Eqn] = set()
    while stack:
        x = stack.pop()
        eqn = made.get(x) if isinstance(x, Var) else None
        if eqn is not None and eqn not in early:
            early.add(eqn)
            stack += eqn.invars
    return early


def _is_in_place(var: Var, at: Map | None, eqn: Eqn) -> bool:
    """Tell whether an equation reads a value where its own elements are."""
    shape = read_shape(eqn)
    return var.aval.shape == shape and at == positions(shape)
