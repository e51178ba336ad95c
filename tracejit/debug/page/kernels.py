"""Kernels and the Program as lines, linked to the values of the graph.

Needs the last graph with its values numbered, and the Program that was made of it,
whose steps say which variables they compute. Establishes for each kernel the values of
the graph that it computes, and for each of its lines those that this line does. The
latter are found by following the data: an operation of a kernel is the equation of the
same primitive on the same values, through whatever views. What fusion made of several
equations, such as a running maximum and sum, has none.
"""

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TypeAlias

from ...ir.graph import Atom, Literal, Var
from ...kernels.kernel import (
    Compute,
    Contract,
    Iota,
    Kernel,
    KernelOp,
    Load,
    Operand,
    Reduce,
    Store,
    result_of,
    values_of,
    with_inner,
)
from ...kernels.lower import REDUCE_OPS
from ...kernels.printer import format_kernel
from ...kernels.schedule import Schedule
from ...kernels.views import VIEWS
from ...program.printer import format_buffer, format_step
from ...program.program import (
    Extern,
    If,
    Loop,
    Program,
    Run,
    Step,
    While,
    nested,
    parts_of,
)
from .graphs import Line
from .values import Flat, Node

_BINDER = re.compile(r"%([A-Za-z0-9_.]+)(?:\{[^}]*\})?(?:: \w+)? = ")
_SOURCE = re.compile(r"  ; [^;]*$")
_PRIMITIVES = {op: name for name, op in REDUCE_OPS.items()}
NOTHING = -1
Names: TypeAlias = Mapping[str, set[int]]


@dataclass(frozen=True)
class KernelPart:
    """A kernel as the page shows it.

    Parameters
    ----------
    name : str
    source : tuple of str
    values : tuple of int
        Of the graph: what it computes, inside too.
    runs : int
        How many steps run it.
    lines : list of (int, Line)
        How far in, and the line.
    names : mapping of str to set of int
        The graph's values by the names of the kernel's own.
    """

    name: str
    source: tuple[str, ...]
    values: tuple[int, ...]
    runs: int
    lines: list[tuple[int, Line]]
    names: Names


@dataclass(frozen=True)
class Group:
    """The equation of the graph that became a kernel, and those inside of it."""

    node: Node
    inside: Sequence[Node]


class Origins:
    """Which equation of the last graph computes a variable."""

    def __init__(self, flat: Flat) -> None:
        self.flat = flat
        self._place = {v: i for i, n in enumerate(flat.nodes) for v in n.eqn.outvars}

    def groups_of(self, step: Step) -> list[Group]:
        """Return what a step computes; several groups where kernels were merged."""
        if not isinstance(step, Run | Extern):
            return []
        places = (self._place[v] for v in step.results if v in self._place)
        return [self._group(i) for i in dict.fromkeys(places)]

    def _group(self, place: int) -> Group:
        nodes = self.flat.nodes
        end = place + 1
        while end < len(nodes) and nodes[end].depth > nodes[place].depth:
            end += 1
        return Group(nodes[place], nodes[place + 1 : end])

    def values_of(self, groups: Sequence[Group]) -> tuple[int, ...]:
        """Return the values that groups compute, each once."""
        nodes = [n for g in groups for n in (g.node, *g.inside)]
        found = (v for n in nodes for v in self.flat.ids_of(n.outs))
        return tuple(dict.fromkeys(found))


def kernel_parts(program: Program, origins: Origins) -> list[KernelPart]:
    """Return the kernels of a Program, each once, in the order of their first run."""
    runs: dict[str, list[Run]] = {}
    for step in nested(program.steps):
        if isinstance(step, Run):
            runs.setdefault(step.kernel.name, []).append(step)
    return [_part(name, steps, origins) for name, steps in runs.items()]


def _part(name: str, steps: Sequence[Run], origins: Origins) -> KernelPart:
    kernel, schedule = steps[0].kernel, steps[0].schedule
    names: dict[str, set[int]] = {}
    groups: list[Group] = []
    for step in steps:
        mine = origins.groups_of(step)
        groups += mine
        for value, number in _Matching(step.kernel, mine, origins.flat).names().items():
            names.setdefault(value, set()).add(number)
    lines = _lines(kernel, schedule, names)
    values = origins.values_of(groups)
    return KernelPart(name, kernel.source, values, len(steps), lines, names)


# --- operations of a kernel and equations of a graph ------------------------------


class _Matching:
    """Follows the data of a kernel and of its groups side by side."""

    def __init__(self, kernel: Kernel, groups: Sequence[Group], flat: Flat) -> None:
        self.kernel, self.flat = kernel, flat
        self.roots: dict[int, int] = {}
        self.made: dict[object, int] = {}
        self.found: dict[str, int] = {}
        operands = [x for g in groups for x in self._operands(g)]
        self.buffers: dict[str, int] = {}
        if len(operands) == len(kernel.inputs):
            pairs = zip(kernel.inputs, operands, strict=True)
            self.buffers = {b.name: v for b, v in pairs if v is not None}
        for group in groups:
            for node in (group.node, *group.inside):
                self._learn(node)

    def names(self) -> dict[str, int]:
        """Return the values of the graph, by the names of the kernel's own."""
        known: dict[str, object] = {}
        for op in with_inner(self.kernel.body):
            result = result_of(op)
            if result is None:
                continue
            if isinstance(op, Load):
                known[result.name] = self.buffers.get(op.buffer)
                continue
            value = self.made.get(self._key(op, known))
            if value is not None and value != NOTHING:
                known[result.name] = self._root(value)
                self.found[result.name] = value
        return self.found

    def _operands(self, group: Group) -> list[int | None]:
        """Return the values that a group's kernel is given."""
        if group.inside:
            return [self.flat.id_of(s) for s in group.node.ins]
        slots = dict.fromkeys(s for s in group.node.ins if s is not None)
        return [self.flat.ids[s] for s in slots]

    def _root(self, value: int) -> int:
        return self.roots.get(value, value)

    def _learn(self, node: Node) -> None:
        """Note what an equation computes, by what it computes it of."""
        if node.is_group or len(node.outs) != 1:
            return
        out, ids = self.flat.ids[node.outs[0]], self.flat.ids
        if node.eqn.primitive in VIEWS:
            if node.ins[0] is not None:
                self.roots[out] = self._root(ids[node.ins[0]])
            return
        operands = tuple(
            _literal(x) if s is None else self._root(ids[s])
            for x, s in zip(node.eqn.invars, node.ins, strict=True)
        )
        key = node.eqn.primitive.name, operands
        # Of two such equations, as counts along different axes, neither is known.
        self.made[key] = NOTHING if key in self.made else out

    def _key(self, op: KernelOp, known: Mapping[str, object]) -> object:
        def operand(x: Operand) -> object:
            return _literal(x) if isinstance(x, Literal) else known.get(x.name)

        if isinstance(op, Compute):
            return op.primitive.name, tuple(map(operand, op.operands))
        if isinstance(op, Reduce):
            return _PRIMITIVES.get(op.op, op.op), (operand(op.operand),)
        if isinstance(op, Contract):
            return "dot_general", (operand(op.lhs), operand(op.rhs))
        if isinstance(op, Iota):
            return "iota", ()
        return None


def _literal(x: Atom | Operand) -> object:
    return x.key if isinstance(x, Literal) else None


# --- lines ------------------------------------------------------------------------


def _lines(kernel: Kernel, schedule: Schedule, names: Names) -> list[tuple[int, Line]]:
    """Return the text of a kernel, each line with the values it computes."""
    texts = format_kernel(kernel, schedule).split("\n")
    at = {m[1]: i for i, text in enumerate(texts) if (m := _BINDER.match(text.strip()))}
    stores = (i for i, text in enumerate(texts) if text.strip().startswith("store %"))
    found: list[list[int]] = [[] for _ in texts]
    for name, line in _lines_of_values(kernel, at, stores):
        found[line] += sorted(names.get(name, ()))
    return [
        _line(text, values, kernel.source if not i else ())
        for i, (text, values) in enumerate(zip(texts, found, strict=True))
    ]


def _line(
    text: str, values: Sequence[int], source: tuple[str, ...]
) -> tuple[int, Line]:
    bare = _SOURCE.sub("", text).strip()
    depth = (len(text) - len(text.lstrip(" "))) // 2
    return depth, Line(bare, tuple(dict.fromkeys(values)), (), source)


def _lines_of_values(
    kernel: Kernel, at: Mapping[str, int], stores: Iterator[int]
) -> Iterator[tuple[str, int]]:
    """Yield names of values and the lines that compute them.

    What is printed inside of another line's expression is computed by that line.
    """
    reader: dict[str, str | int] = {}  # of a value, where it is read last
    for op in with_inner(kernel.body):
        result = result_of(op)
        place: str | int | None = None if result is None else result.name
        if isinstance(op, Store):
            place = next(stores, None)
        if place is not None:
            reader.update({v.name: place for v in values_of(op)})
    for op in with_inner(kernel.body):
        result = result_of(op)
        if result is None:
            continue
        line: str | int | None = result.name
        while isinstance(line, str) and line not in at:
            line = reader.get(line)
        if line is not None:
            yield result.name, at[line] if isinstance(line, str) else line


# --- the Program ------------------------------------------------------------------


@dataclass(frozen=True)
class ProgramLine:
    """A line of a Program: a buffer, a step, the end of a loop.

    Parameters
    ----------
    depth : int
    text : str
    source : tuple of str
    kernel : str
        The name of the kernel it runs, or nothing.
    values : tuple of int
    """

    depth: int
    text: str
    source: tuple[str, ...] = ()
    kernel: str = ""
    values: tuple[int, ...] = ()


def program_lines(program: Program, origins: Origins) -> list[ProgramLine]:
    """Return the text of a Program, without its kernels."""
    ins, outs = (
        ", ".join(f"%{n}" for n in x) for x in (program.inputs, program.outputs)
    )
    head = f"program @{program.name}({ins}) -> ({outs}) arena({program.arena_bytes}) {{"
    buffers = [ProgramLine(1, format_buffer(b)) for b in program.buffers]
    steps = [line for s in program.steps for line in _step_lines(s, 1, origins)]
    return [ProgramLine(0, head), *buffers, *steps, ProgramLine(0, "}")]


def _step_lines(step: Step, depth: int, origins: Origins) -> Iterator[ProgramLine]:
    text = _SOURCE.sub("", format_step(step)) if step.source else format_step(step)
    kernel = step.kernel.name if isinstance(step, Run) else ""
    values = origins.values_of(origins.groups_of(step))
    first, *rest = text.split("\n")
    yield ProgramLine(depth, first, step.source, kernel, values)
    yield from (ProgramLine(depth, line, step.source, "", values) for line in rest)
    if not isinstance(step, Loop | While | If):
        return
    between = {While: "} do {", If: "} else {"}.get(type(step), "}")
    for i, part in enumerate(parts_of(step)):
        if i:
            yield ProgramLine(depth, between)
        for inner in part:
            yield from _step_lines(inner, depth + 1, origins)
    yield ProgramLine(depth, "}")


def results_of(step: Step) -> tuple[Var, ...]:
    """Return the variables of the graph that a step computes."""
    return step.results if isinstance(step, Run | Extern) else ()
