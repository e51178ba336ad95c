"""Fusion: equations that one loop nest can compute become one `fusion` equation.

    %0 = sub %x, 1.0 ; %1 = exp %0      ->      %1 = fusion %x {graph=graph @...}

Equations join groups in order. A group has a *space*: the shape of its elements. It may
reduce the last axes of its space (rows: softmax, norms, full sums), or be a reduction
of other axes (columns). Views are free: they are repeated in each group that reads
through them. Everything else is computed in one group only.
"""

import enum
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field

import numpy as np

from ..ir import dtypes as dt
from ..ir.aval import Shape
from ..ir.graph import Atom, Eqn, Graph, Literal, Var
from ..ir.ops.control import fusion_p
from ..ir.ops.indexing import gather_p
from ..ir.ops.shape import concatenate_p, ints, iota_p, pad_p, update_slice_p
from ..ir.primitive import Kind, Primitive
from ..kernels.lower import REDUCE_OPS
from ..kernels.maps import Affine, Map, axis
from ..kernels.views import VIEWS, through_view
from .manager import PassContext

CanEmit = Callable[[Primitive, tuple[np.dtype, ...]], bool]
PIECEWISE = (pad_p, concatenate_p, update_slice_p, gather_p)
SCALAR_BUDGET = (
    64  # equations of rank-0 arithmetic repeated in each group that reads it
)


class Refusal(enum.Enum):
    """Why an equation did not join the group of an operand."""

    SPACE = "its shape is not that of the group"
    VIEW = "it reads the group's value at other positions"
    CYCLE = "another operand depends on the group"
    REDUCED = "it needs a reduction of the group before the group is done"
    ROWS = "it reduces other axes than the group does"


@dataclass(eq=False)
class Group:
    """Equations that will be one kernel.

    Parameters
    ----------
    number : int
    space : tuple of int
        Shape of its elements.
    rows : int or None
        Axes of the space that row values have, once it reduces the others.
    column : bool
        It is a reduction of axes that are not the last ones.
    eqns : list of Eqn
    before : set of int
        Groups it depends on.
    """

    number: int
    space: Shape
    rows: int | None = None
    column: bool = False
    eqns: list[Eqn] = field(default_factory=list)
    before: set[int] = field(default_factory=set)

    def is_row(self, shape: Shape) -> bool:
        """Tell whether `shape` is that of its row values.

        With or without the axes of one that ``keepdims`` leaves.
        """
        if self.rows is None or len(shape) not in (self.rows, len(self.space)):
            return False
        return shape == self.space[: self.rows] + (1,) * (len(shape) - self.rows)


def everything(primitive: Primitive, dtypes: tuple[np.dtype, ...]) -> bool:
    """Accept every primitive on real dtypes (for tests of structure)."""
    return all(not dt.is_complex(d) for d in dtypes)


def fuse_with(can_emit: CanEmit) -> Callable[[Graph, PassContext], Graph]:
    """Return the fusion pass for a backend that emits what `can_emit` accepts."""

    def fuse(graph: Graph, context: PassContext) -> Graph:
        return _Fusion(graph, can_emit).run()

    return fuse


class _Fusion:
    """One run of the pass over one graph."""

    def __init__(self, graph: Graph, can_emit: CanEmit) -> None:
        self.graph = graph
        self.can_emit = can_emit
        self.definitions = {v: e for e in graph.eqns for v in e.outvars}
        self.uses: dict[Var, list[Eqn]] = {}
        for eqn in graph.eqns:
            for x in eqn.invars:
                if isinstance(x, Var):
                    self.uses.setdefault(x, []).append(eqn)
        self.order = {e: i for i, e in enumerate(graph.eqns)}
        self.outputs = {x for x in graph.outvars if isinstance(x, Var)}
        self.groups: list[Group] = []
        self.group_of: dict[Var, Group] = {}
        self.opaque: dict[Eqn, Group] = {}
        self.lazy_cost: dict[Var, int] = {}
        self.standalone: dict[Var, Group] = {}
        self.refusals: list[tuple[Eqn, Refusal]] = []

    def run(self) -> Graph:
        for eqn in self.graph.eqns:
            self.place(eqn)
        self._materialize_views()
        return self._rebuilt()

    # --- placing equations

    def place(self, eqn: Eqn) -> None:
        """Put one equation: lazy, in a group, or by itself."""
        if eqn.primitive in VIEWS or eqn.primitive is iota_p:
            self.lazy_cost[eqn.outvars[0]] = self._cost_of(eqn)
            return
        if not self._is_fusible(eqn):
            self._alone(eqn)
            return
        group = self._home(eqn)
        if group is None and self._is_cheap_scalar(eqn):
            self.lazy_cost[eqn.outvars[0]] = 1 + self._cost_of(eqn)
            return
        if group is None:
            group = self._new_group(eqn)
        group.eqns.append(eqn)
        for var in eqn.outvars:
            self.group_of[var] = group
        self._depend(group, eqn)

    def _cost_of(self, eqn: Eqn) -> int:
        return sum(self.lazy_cost.get(x, 0) for x in eqn.invars if isinstance(x, Var))

    def _is_cheap_scalar(self, eqn: Eqn) -> bool:
        is_scalar = (
            eqn.primitive.kind is Kind.ELEMENTWISE and not eqn.outvars[0].aval.shape
        )
        return is_scalar and self._cost_of(eqn) < SCALAR_BUDGET

    def _is_fusible(self, eqn: Eqn) -> bool:
        dtypes = tuple(x.aval.dtype for x in (*eqn.invars, *eqn.outvars))
        if any(dt.is_complex(d) for d in dtypes):
            return False
        if eqn.primitive.kind is Kind.ELEMENTWISE:
            operands = tuple(x.aval.dtype for x in eqn.invars)
            if eqn.primitive.name == "convert":
                operands = (*operands, eqn.outvars[0].aval.dtype)
            return self.can_emit(eqn.primitive, operands)
        if eqn.primitive is gather_p:
            return not any(isinstance(x, Literal) for x in eqn.invars)
        if eqn.primitive.name in REDUCE_OPS:
            return not isinstance(eqn.invars[0], Literal)
        return eqn.primitive in PIECEWISE

    def _alone(self, eqn: Eqn) -> None:
        group = Group(len(self.groups), (), eqns=[eqn])
        self.groups.append(group)
        self.opaque[eqn] = group
        for var in eqn.outvars:
            self.group_of[var] = group
        self._depend(group, eqn)

    def _new_group(self, eqn: Eqn) -> Group:
        shape = eqn.outvars[0].aval.shape
        group = Group(len(self.groups), shape)
        if eqn.primitive.name in REDUCE_OPS:
            operand = eqn.invars[0].aval.shape
            if self._reduces_last(eqn):
                group.space, group.rows = operand, len(shape)
            else:
                group.column = True
        self.groups.append(group)
        return group

    def _reduces_last(self, eqn: Eqn) -> bool:
        axes, ndim = reduced_axes(eqn), eqn.invars[0].aval.ndim
        return axes == tuple(range(ndim - len(axes), ndim))

    def _depend(self, group: Group, eqn: Eqn) -> None:
        """Note that `group` comes after the groups that `eqn` reads."""
        new: set[int] = set()
        for var, _ in self._bases(eqn):
            other = self.group_of.get(var)
            if other is not None and other is not group:
                new |= {other.number} | other.before
        if new <= group.before:
            return
        for g in self.groups:
            if g is group or group.number in g.before:
                g.before |= new

    # --- which group an equation can join

    def _home(self, eqn: Eqn) -> Group | None:
        """Return the latest group of an operand that the equation can join."""
        bases = list(self._bases(eqn))
        candidates = {self.group_of[v] for v, _ in bases if v in self.group_of}
        for group in sorted(candidates, key=lambda g: -g.number):
            if any(e in self.opaque for e in group.eqns):
                continue
            refusal = self._refusal(eqn, group, bases)
            if refusal is None:
                self._merge_operands(eqn, group, bases)
                return group
            self.refusals.append((eqn, refusal))
        return None

    def _merge_operands(
        self, eqn: Eqn, group: Group, bases: list[tuple[Var, Map | None]]
    ) -> None:
        """Take the groups of other operands in, where that makes no cycle.

        Groups of which neither depends on the other can always be one.
        """
        others = {self.group_of[v] for v, _ in bases if v in self.group_of} - {group}
        for other in sorted(others, key=lambda g: g.number):
            is_kernel = not any(e in self.opaque for e in other.eqns)
            if is_kernel and self._can_merge(eqn, other, group, bases):
                self._merge(other, group)

    def _can_merge(
        self,
        eqn: Eqn,
        other: Group,
        group: Group,
        bases: list[tuple[Var, Map | None]],
    ) -> bool:
        if other.space != group.space or other.column or group.column:
            return False
        if len({other.rows, group.rows} - {None}) > 1:
            return False
        if other.number in group.before or group.number in other.before:
            return False
        return self._refusal(eqn, other, bases) is None

    def _merge(self, other: Group, group: Group) -> None:
        group.rows = other.rows if group.rows is None else group.rows
        joined = [*other.eqns, *group.eqns]
        group.eqns = sorted(joined, key=lambda e: self.order[e])
        for eqn in other.eqns:
            for var in eqn.outvars:
                self.group_of[var] = group
        other.eqns = []
        group.before |= other.before
        for g in self.groups:
            if other.number in g.before or group.number in g.before:
                g.before |= {group.number} | group.before

    def _refusal(
        self, eqn: Eqn, group: Group, bases: list[tuple[Var, Map | None]]
    ) -> Refusal | None:
        for var, _ in bases:
            other = self.group_of.get(var)
            if (
                other is not None
                and other is not group
                and group.number in other.before
            ):
                return Refusal.CYCLE
        if eqn.primitive.name in REDUCE_OPS:
            return self._refuses_reduction(eqn, group, bases)
        shape = eqn.outvars[0].aval.shape
        if shape != group.space and not group.is_row(shape):
            return Refusal.SPACE
        for var, at in bases:
            if self.group_of.get(var) is group and not self._fits(
                var, at, group, shape
            ):
                return Refusal.VIEW
        return None

    def _fits(self, var: Var, at: Map | None, group: Group, shape: Shape) -> bool:
        """Tell whether a value of the group is read where it is computed."""
        own = var.aval.shape
        if at is None or at != positions(own):
            return False
        return own == shape or group.is_row(own)

    def _refuses_reduction(
        self, eqn: Eqn, group: Group, bases: list[tuple[Var, Map | None]]
    ) -> Refusal | None:
        shape = eqn.invars[0].aval.shape
        if group.column or shape != group.space:
            return Refusal.SPACE
        for var, at in bases:
            if self.group_of.get(var) is group and not self._fits(
                var, at, group, shape
            ):
                return Refusal.VIEW
        if not self._reduces_last(eqn):
            return self._become_column(eqn, group)
        rows = eqn.outvars[0].aval.ndim
        if group.rows not in (None, rows):
            return Refusal.ROWS
        group.rows = rows
        return None

    def _become_column(self, eqn: Eqn, group: Group) -> Refusal | None:
        """Take a pointwise group into a column reduction, if all of it goes there."""
        if group.rows is not None:
            return Refusal.ROWS
        mine = set(group.eqns) | {eqn}
        for inner in group.eqns:
            var = inner.outvars[0]
            used = self._users(var)
            if var in self.outputs or not used <= mine:
                return Refusal.REDUCED
        group.space, group.column = eqn.outvars[0].aval.shape, True
        return None

    def _users(self, var: Var) -> set[Eqn]:
        """Equations that read `var`, through views too."""
        out: set[Eqn] = set()
        for eqn in self.uses.get(var, ()):
            result = eqn.outvars[0]
            if result in self.lazy_cost or eqn.primitive in VIEWS:
                if result in self.outputs:
                    out.add(eqn)
                out |= self._users(result)
            else:
                out.add(eqn)
        return out

    def _bases(self, eqn: Eqn) -> Iterator[tuple[Var, Map | None]]:
        """Yield the variables behind the operands, with the position they are read at.

        The position is None where it is not a plain view of the equation's own.
        """
        is_reduction = eqn.primitive.name in REDUCE_OPS
        shape = eqn.invars[0].aval.shape if is_reduction else eqn.outvars[0].aval.shape
        plain = is_reduction or eqn.primitive.kind is Kind.ELEMENTWISE
        at = positions(shape)
        for i, x in enumerate(eqn.invars):
            here: Map | None = at if plain else None
            if eqn.primitive is update_slice_p and i == 0:
                here = at
            if not x.aval.shape:
                here = ()
            yield from self._behind(x, here, shape)

    def _behind(
        self, x: Atom, at: Map | None, shape: Shape
    ) -> Iterator[tuple[Var, Map | None]]:
        if isinstance(x, Literal):
            return
        if x not in self.lazy_cost:
            yield x, at
            return
        eqn = self.definitions[x]
        extents = {f"a{d}": n for d, n in enumerate(shape)}
        for operand in eqn.invars:
            if eqn.primitive in VIEWS:
                inner = None if at is None else through_view(eqn, at, extents)
            else:
                inner = ()
            yield from self._behind(operand, inner, shape)

    # --- making the new graph

    def _materialize_views(self) -> None:
        """Give lazy values that something outside of groups needs a home."""
        needed = {x for x in self.outputs if x in self.lazy_cost}
        for eqn in self.opaque:
            needed |= {
                x for x in eqn.invars if isinstance(x, Var) and x in self.lazy_cost
            }
        for eqn in self.graph.eqns:
            if eqn.primitive is gather_p and eqn not in self.opaque:
                source = eqn.invars[0]
                if isinstance(source, Var) and source in self.lazy_cost:
                    needed.add(source)
        for x in sorted(needed, key=lambda v: self._position(v)):
            self._materialize(x)

    def _position(self, var: Var) -> int:
        return self.order[self.definitions[var]]

    def _materialize(self, x: Var) -> None:
        """A view becomes an equation by itself; a scalar or count, a kernel.

        Groups go on repeating it: one that reads its own value through a view must not
        wait for that view.
        """
        if x not in self.lazy_cost or x in self.standalone:
            return
        eqn = self.definitions[x]
        source = eqn.invars[0] if eqn.invars else None
        is_view = eqn.primitive in VIEWS and isinstance(source, Var)
        if is_view or dt.is_complex(x.aval.dtype):
            if isinstance(source, Var):
                self._materialize(source)
            self._alone(eqn)
        else:
            group = self._new_group(eqn)
            group.eqns.append(eqn)
            self.group_of[x] = group
            self._depend(group, eqn)
        self.standalone[x] = self.group_of[x]

    def _rebuilt(self) -> Graph:
        eqns: list[Eqn] = []
        names = f"{self.graph.name}_k"
        count = 0
        for group in self._ordered():
            if any(e in self.opaque for e in group.eqns):
                eqns.extend(group.eqns)
                continue
            made = self._fusion_eqn(group, f"{names}{count}") if group.eqns else None
            if made is not None:
                eqns.append(made)
                count += 1
        return Graph(self.graph.name, self.graph.invars, self.graph.outvars, eqns)

    def _ordered(self) -> list[Group]:
        """Groups in an order that respects what depends on what."""
        pending: dict[int, set[int]] = {g.number: set() for g in self.groups}
        for group in self.groups:
            for eqn in group.eqns:
                for var, _ in self._bases_now(eqn):
                    other = self.group_of.get(var)
                    if other is not None and other is not group:
                        pending[group.number].add(other.number)
        done: set[int] = set()
        out: list[Group] = []

        def visit(number: int) -> None:
            stack = [number]
            while stack:
                top = stack[-1]
                waiting = [n for n in pending[top] if n not in done]
                if top in done or not waiting:
                    stack.pop()
                    if top not in done:
                        done.add(top)
                        out.append(self.groups[top])
                else:
                    stack.extend(waiting)

        for group in self.groups:
            visit(group.number)
        return out

    def _bases_now(self, eqn: Eqn) -> Iterator[tuple[Var, Map | None]]:
        for i, x in enumerate(eqn.invars):
            if isinstance(x, Var) and (eqn in self.opaque or reads_memory(eqn, i)):
                yield x, None
            else:
                yield from self._behind(x, None, ())

    def _fusion_eqn(self, group: Group, name: str) -> Eqn | None:
        """Return the group as one equation; None when nothing outside needs it."""
        mine = set(group.eqns)
        outs = [v for e in group.eqns for v in e.outvars if self._escapes(v, mine)]
        if not outs:
            return None
        body: list[Eqn] = []
        inputs: dict[Var, None] = {}
        self._collect(outs, mine, body, inputs)
        clone = _cloned(name, list(inputs), outs, body)
        source = tuple(dict.fromkeys(s for e in group.eqns for s in e.source))
        return Eqn(
            fusion_p,
            tuple(inputs),
            {"graph": clone, "column": group.column, "space": group.space},
            tuple(outs),
            source,
        )

    def _escapes(self, var: Var, mine: set[Eqn]) -> bool:
        return var in self.outputs or not self._users(var) <= mine

    def _collect(
        self,
        outs: list[Var],
        mine: set[Eqn],
        body: list[Eqn],
        inputs: dict[Var, None],
    ) -> None:
        """Gather the group's equations and the lazy ones it needs, in order."""
        seen: set[Eqn] = set()
        memory = {e.invars[0] for e in mine if reads_memory(e, 0)}

        def need(x: Atom) -> None:
            if isinstance(x, Literal):
                return
            eqn = self.definitions.get(x)
            is_here = eqn in mine or (x in self.lazy_cost and x not in memory)
            if eqn is None or not is_here:
                inputs[x] = None
            elif eqn not in seen:
                seen.add(eqn)
                wanted.append(eqn)

        wanted: list[Eqn] = []
        for var in outs:
            need(var)
        at = 0
        while at < len(wanted):
            for x in wanted[at].invars:
                need(x)
            at += 1
        body.extend(sorted(wanted, key=lambda e: self.order[e]))


def reduced_axes(eqn: Eqn) -> tuple[int, ...]:
    """Return the axes a reduction removes, sorted."""
    params = eqn.params
    if "axes" in params:
        return tuple(sorted(ints(params, "axes")))
    found = params["axis"]
    assert isinstance(found, int)
    return (found,)


def reads_memory(eqn: Eqn, index: int) -> bool:
    """Tell whether an operand must lie in a buffer, whatever it is a view of."""
    return eqn.primitive is gather_p and index == 0


def positions(shape: Shape) -> Map:
    """Return the position of an element in its own array; extents of one give 0."""
    return tuple(axis(f"a{d}") if n != 1 else Affine() for d, n in enumerate(shape))


def _cloned(name: str, inputs: list[Var], outs: list[Var], body: list[Eqn]) -> Graph:
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
