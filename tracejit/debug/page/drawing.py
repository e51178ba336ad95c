"""The fused graph as nodes and edges, to be laid out by the page.

Needs the last graph with its values numbered and the Program's steps. Establishes
`Drawing`: a node for each kernel, for each equation that is none, for inputs that are
read and for results; loops and branches hold the nodes of their bodies.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from ...ir.graph import Var
from ...program.program import Program, Run, nested
from .kernels import results_of
from .values import Flat, Node

WORDS = 4  # primitives named in the label of a kernel
# What says little of a kernel: views, and where numbers come from.
QUIET = frozenset(
    ("reshape", "broadcast_in_dim", "transpose", "slice", "convert", "iota", "neg")
)


@dataclass(frozen=True)
class Box:
    """A node.

    Parameters
    ----------
    id : int
    kind : str
        ``kernel``, ``step``, ``loop``, ``input`` or ``output``.
    title, detail : str
    values : tuple of int
        What it computes; of inputs and outputs, what they are.
    source : tuple of str
    kernel : str
        Its name, or nothing.
    parent : int
        The loop or branch that it is in, or -1.
    """

    id: int
    kind: str
    title: str
    detail: str
    values: tuple[int, ...]
    source: tuple[str, ...] = ()
    kernel: str = ""
    parent: int = -1


@dataclass
class Drawing:
    """Nodes, and edges as (from, to, value)."""

    boxes: list[Box] = field(default_factory=list)
    edges: list[tuple[int, int, int]] = field(default_factory=list)


def drawing_of(flat: Flat, program: Program, names: Sequence[str]) -> Drawing:
    """Return the drawing of a graph after fusion.

    Parameters
    ----------
    flat : Flat
    program : Program
        Made of it.
    names : sequence of str
        Of values.
    """
    runs = [s for s in nested(program.steps) if isinstance(s, Run)]
    kernels = {v: s.kernel.name for s in runs for v in results_of(s)}
    return _Drawer(flat, kernels, names).draw()


class _Drawer:
    def __init__(
        self, flat: Flat, kernels: Mapping[Var, str], names: Sequence[str]
    ) -> None:
        self.flat, self.kernels, self.names = flat, kernels, names
        self.drawing = Drawing()
        self.maker: dict[int, int] = {}  # of a value, the node
        self.inputs = set(flat.ids_of(flat.inputs))

    def draw(self) -> Drawing:
        stack: list[tuple[int, int]] = []  # depth and node of what is being drawn in
        skip_from: int | None = None  # inside of a kernel, deeper than this
        nodes = self.flat.nodes
        for i, node in enumerate(nodes):
            if skip_from is not None and node.depth > skip_from:
                continue
            skip_from = None
            while stack and stack[-1][0] >= node.depth:
                stack.pop()
            parent = stack[-1][1] if stack else -1
            holds = i + 1 < len(nodes) and nodes[i + 1].depth > node.depth
            box = self.box(node, i, parent, holds)
            if box.kind == "loop":
                stack.append((node.depth, box.id))
            elif holds:
                skip_from = node.depth
        self.outputs()
        return self.drawing

    def box(self, node: Node, place: int, parent: int, holds: bool) -> Box:
        """Add the node of an equation, and the edges to it."""
        name = next((n for v in node.eqn.outvars if (n := self.kernels.get(v))), "")
        kind = "kernel" if name else "loop" if holds and not node.is_group else "step"
        detail = self.words(place) if name else ""
        values = self.flat.ids_of(node.outs)
        title = name or node.eqn.primitive.name
        inside = self.inside(place) if kind != "loop" else [node]
        every = dict.fromkeys(v for n in inside for v in self.flat.ids_of(n.outs))
        source = node.eqn.source
        box = self.add(kind, title, detail, tuple(every), source, name, parent)
        for value in dict.fromkeys(self.flat.ids_of(node.ins)):
            self.edge(value, box.id)
        for slots in node.binds if kind == "loop" else ():
            for value in self.flat.ids_of(slots):
                self.maker[value] = box.id
        for value in values:
            self.maker[value] = box.id
        return box

    def add(
        self,
        kind: str,
        title: str,
        detail: str,
        values: tuple[int, ...],
        source: tuple[str, ...] = (),
        kernel: str = "",
        parent: int = -1,
    ) -> Box:
        number = len(self.drawing.boxes)
        box = Box(number, kind, title, detail, values, source, kernel, parent)
        self.drawing.boxes.append(box)
        return box

    def edge(self, value: int, to: int) -> None:
        if value not in self.maker and value in self.inputs:
            self.maker[value] = self.add("input", self.names[value], "", (value,)).id
        start = self.maker.get(value)
        if start is not None and start != to:
            self.drawing.edges.append((start, to, value))

    def outputs(self) -> None:
        for i, value in enumerate(map(self.flat.id_of, self.flat.outputs)):
            if value is not None:
                box = self.add("output", f"result {i}", "", (value,))
                self.edge(value, box.id)

    def inside(self, place: int) -> list[Node]:
        """Return an equation and those inside of it."""
        nodes = self.flat.nodes
        end = place + 1
        while end < len(nodes) and nodes[end].depth > nodes[place].depth:
            end += 1
        return nodes[place:end]

    def words(self, place: int) -> str:
        """Return what a kernel computes, in a few words."""
        inside = [n for n in self.inside(place) if not n.is_group]
        names = dict.fromkeys(n.eqn.primitive.name for n in inside)
        loud = [n for n in names if n not in QUIET] or list(names)
        more = " …" if len(loud) > WORDS else ""
        return " · ".join(loud[:WORDS]) + more
