"""Values that keep one name through all passes.

Passes emit equations anew, so that a value is another `Var`, under another number, in
the graph after each. Needs the graphs in order. Establishes `Flat`, a graph as a list
of equations those inside of others included, and `Values`, which gives each result a
number that is the same in every graph where the value is:

    %3: f32[8] = mul %x, %x                 %3: f32[8] = mul %x, %x
    %4: f32[8] = add %3, 1.0        →       %5: f32[8] = tanh %3
    %5: f32[8] = tanh %3                    return %5
    return %5

A value is the same if it is the same `Var`; or the result of the same primitive with
the same params on values that are; or the operand, at the same place, of an equation
with the same primitive whose result is the same value, which finds what a pass computes
by another equation. What a graph returns is the same before and after. Equations that
are left are taken to be the same if all but their operands is, in their order.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import TypeAlias

from ...ir.graph import Atom, Eqn, Graph, Literal, Var
from ...ir.ops.control import fusion_p, inlined_graph
from ...ir.primitive import ArrayConstant, Param

ROUNDS = 8  # of looking for more pairs from those that are known
Slot: TypeAlias = int


@dataclass(eq=False)
class Node:
    """An equation where it stands.

    Parameters
    ----------
    eqn : Eqn
    depth : int
        How many equations it is inside of.
    ins : tuple of (int or None)
        The slots of its operands; None for literals.
    outs : tuple of int
        The slots of its results.
    binds, gives : list of tuple
        For each graph in its params: the slots of its inputs and of its outputs.
    """

    eqn: Eqn
    depth: int
    ins: tuple[Slot | None, ...]
    outs: tuple[Slot, ...] = ()
    binds: list[tuple[Slot, ...]] = field(default_factory=list)
    gives: list[tuple[Slot | None, ...]] = field(default_factory=list)

    @cached_property
    def is_group(self) -> bool:
        """Whether it stands for the equations inside of it, and has their results."""
        return is_group(self.eqn)

    @cached_property
    def operation(self) -> object:
        """What it does, whatever its operands are."""
        params = tuple((k, _plain(v)) for k, v in self.eqn.params.items())
        types = tuple(v.aval for v in self.eqn.outvars)
        return self.eqn.primitive.name, params, types


def is_group(eqn: Eqn) -> bool:
    """Tell whether an equation is the graph in its params."""
    is_graph = eqn.primitive is fusion_p or inlined_graph(eqn) is not None
    return is_graph and len(list(graphs_of(eqn))) == 1


def graphs_of(eqn: Eqn) -> Iterator[Graph]:
    """Yield the graphs in the params of an equation, in the order of its text."""
    for value in eqn.params.values():
        yield from _graphs_in(value)


def _graphs_in(value: Param) -> Iterator[Graph]:
    if isinstance(value, Graph):
        yield value
    elif isinstance(value, tuple):
        for part in value:
            yield from _graphs_in(part)


class Flat:
    """A graph as one list of equations, with a slot for each value.

    Attributes
    ----------
    graph : Graph
    nodes : list of Node
        Each before those inside of it.
    variables : list of Var
        By slot.
    inputs, outputs : tuple
        Slots; None for outputs that are literals.
    ids : list of int
        By slot, when `Values.add` has seen it: the numbers of the values.
    """

    def __init__(self, graph: Graph) -> None:
        self.graph = graph
        self.nodes: list[Node] = []
        self.variables: list[Var] = []
        self.ids: list[int] = []
        env: dict[Var, Slot] = {}
        self.inputs = tuple(map(self._slot, graph.invars))
        env.update(zip(graph.invars, self.inputs, strict=True))
        self.outputs = self._walk(graph, env, 0)

    def _slot(self, var: Var) -> Slot:
        self.variables.append(var)
        return len(self.variables) - 1

    def _walk(
        self, graph: Graph, env: dict[Var, Slot], depth: int
    ) -> tuple[Slot | None, ...]:
        for eqn in graph.eqns:
            node = Node(eqn, depth, _slots(eqn.invars, env))
            self.nodes.append(node)
            if node.is_group:
                self._enter_group(node)
            else:
                for inner in graphs_of(eqn):
                    slots = tuple(map(self._slot, inner.invars))
                    self._enter(node, inner, slots)
                node.outs = tuple(map(self._slot, eqn.outvars))
            env.update(zip(eqn.outvars, node.outs, strict=True))
        return _slots(graph.outvars, env)

    def _enter(self, node: Node, inner: Graph, slots: tuple[Slot, ...]) -> None:
        node.binds.append(slots)
        env = dict(zip(inner.invars, slots, strict=True))
        node.gives.append(self._walk(inner, env, node.depth + 1))

    def _enter_group(self, node: Node) -> None:
        """Give a group the operands' slots inside, and its results those of inside."""
        (inner,) = graphs_of(node.eqn)
        pairs = zip(inner.invars, node.ins, strict=True)
        slots = tuple(self._slot(v) if s is None else s for v, s in pairs)
        self._enter(node, inner, slots)
        outs: list[Slot] = []
        for var, slot in zip(node.eqn.outvars, node.gives[0], strict=True):
            is_own = slot is None or slot in slots or slot in outs
            outs.append(self._slot(var) if is_own or slot is None else slot)
        node.outs = tuple(outs)

    def id_of(self, slot: Slot | None) -> int | None:
        """Return the number of the value in a slot."""
        return None if slot is None else self.ids[slot]

    def ids_of(self, slots: Sequence[Slot | None]) -> tuple[int, ...]:
        """Return the numbers of the values in slots, but of literals."""
        return tuple(self.ids[s] for s in slots if s is not None)


def _slots(atoms: Sequence[Atom], env: Mapping[Var, Slot]) -> tuple[Slot | None, ...]:
    return tuple(env[x] if isinstance(x, Var) else None for x in atoms)


class Values:
    """Gives values their numbers and names, graph by graph.

    Attributes
    ----------
    names : list of str
        By number: the user's name with a number where it is taken, or a number.
    types : list of str
        By number: dtype and shape, as text.
    """

    def __init__(self) -> None:
        self.names: list[str] = []
        self.types: list[str] = []
        self._taken: set[str] = set()
        self._counts: dict[str, int] = {}
        self._last: Flat | None = None

    def add(self, graph: Graph) -> Flat:
        """Return the next graph, with numbers for its values."""
        flat = Flat(graph)
        found: list[int | None] = [None] * len(flat.variables)
        if self._last is not None:
            found = _Pairing(self._last, flat).run()
        flat.ids = [
            self._new(var) if known is None else known
            for var, known in zip(flat.variables, found, strict=True)
        ]
        self._last = flat
        return flat

    def _new(self, var: Var) -> int:
        self.names.append(self._name(var.name))
        self.types.append(str(var.aval))
        return len(self.names) - 1

    def _name(self, hint: str) -> str:
        hint = "".join(c if c.isalnum() and c.isascii() else "_" for c in hint)
        count = self._counts.get(hint, 0)
        is_bare = bool(hint) and not hint.isdigit()
        name = hint if is_bare and not count else ""
        while not name or name in self._taken:
            name = f"{hint}.{count}" if is_bare else str(count)
            count += 1
        self._counts[hint] = max(count, 1)
        self._taken.add(name)
        return name


class _Pairing:
    """Finds which values of a graph are those of the one before it."""

    def __init__(self, old: Flat, new: Flat) -> None:
        self.old, self.new = old, new
        self.ids: list[int | None] = [None] * len(new.variables)
        self.used: set[int] = set()
        plain = [n for n in old.nodes if not n.is_group]
        self.made_by = {old.ids[s]: n for n in plain for s in n.outs}
        self.by_key: dict[object, list[Node]] = {}
        for node in reversed(plain):
            self.by_key.setdefault(_key(node, old.ids), []).append(node)
        self.variables = {id(v): old.ids[s] for s, v in enumerate(old.variables)}
        self.changed = False

    def run(self) -> list[int | None]:
        """Return the number of each slot's value, None for values that are new."""
        self._pair(self.new.inputs, self.old.inputs)
        for slot, var in enumerate(self.new.variables):
            self._set(slot, self.variables.get(id(var)))
        self._pair(self.new.outputs, self.old.outputs)
        nodes = [n for n in self.new.nodes if not n.is_group]
        self._spread(nodes)
        self._leftover(nodes)
        self._spread(nodes)
        return self.ids

    def _spread(self, nodes: Sequence[Node]) -> None:
        """Pair what follows from the pairs that are known."""
        for _ in range(ROUNDS):
            self.changed = False
            for node in nodes:
                self._forward(node)
            for node in reversed(nodes):
                self._backward(node)
            if not self.changed:
                return

    def _leftover(self, nodes: Sequence[Node]) -> None:
        """Pair equations that differ in their operands alone."""
        left: dict[object, list[Node]] = {}
        for other in reversed(self.old.nodes):
            if self._is_left(other, self.old.ids) and not other.is_group:
                left.setdefault(_likeness(other), []).append(other)
        for node in nodes:
            if node.outs and all(self.ids[s] is None for s in node.outs):
                others = left.get(_likeness(node))
                if others:
                    self._pair(node.outs, others.pop().outs)

    def _is_left(self, node: Node, ids: Sequence[int]) -> bool:
        return bool(node.outs) and all(ids[s] not in self.used for s in node.outs)

    def _set(self, slot: Slot | None, known: int | None) -> None:
        if slot is None or known is None or known in self.used:
            return
        if self.ids[slot] is None:
            self.ids[slot] = known
            self.used.add(known)
            self.changed = True

    def _pair(
        self, slots: Sequence[Slot | None], others: Sequence[Slot | None]
    ) -> None:
        """Take values at the same places to be the same, where their types are."""
        if len(slots) != len(others):
            return
        for slot, other in zip(slots, others, strict=True):
            if slot is None or other is None:
                continue
            if self.new.variables[slot].aval == self.old.variables[other].aval:
                self._set(slot, self.old.ids[other])

    def _forward(self, node: Node) -> None:
        """Pair an equation with one that does the same to the same values."""
        if not node.outs or self.ids[node.outs[0]] is not None:
            return
        if any(s is not None and self.ids[s] is None for s in node.ins):
            return
        candidates = self.by_key.get(_key(node, self.ids), [])
        while candidates:
            other = candidates.pop()
            if self.old.ids[other.outs[0]] not in self.used:
                self._pair(node.outs, other.outs)
                return

    def _backward(self, node: Node) -> None:
        """Pair the operands of equations of one primitive whose results are paired."""
        known = self.ids[node.outs[0]] if node.outs else None
        other = None if known is None else self.made_by.get(known)
        if other is None or other.eqn.primitive is not node.eqn.primitive:
            return
        self._pair(node.ins, other.ins)
        if len(node.binds) == len(other.binds):
            for mine, its in zip(node.binds, other.binds, strict=True):
                self._pair(mine, its)
            for gives, given in zip(node.gives, other.gives, strict=True):
                self._pair(gives, given)


def _key(node: Node, ids: Sequence[int | None]) -> object:
    """Return what an equation does, and to which values."""
    operands = tuple(
        x.key if isinstance(x, Literal) else ids[s] if s is not None else None
        for x, s in zip(node.eqn.invars, node.ins, strict=True)
    )
    return operands, node.operation


def _likeness(node: Node) -> object:
    """Return what is left of an equation without its operands."""
    return node.eqn.source, node.operation


def _plain(value: Param) -> object:
    if isinstance(value, Graph):
        return len(value.eqns)
    if isinstance(value, ArrayConstant):
        return value.digest
    if isinstance(value, tuple):
        return tuple(map(_plain, value))
    return repr(value)
