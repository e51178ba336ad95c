"""The graph after each pass as lines, and what each pass did to them.

Needs graphs whose values are numbered (`values`). Establishes `Lines`: every different
line once, so that a pass is a list of numbers; and for each pass that changed the graph
its lines, marked as the same, changed, added or removed. Names are the same in all.
"""

from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import TypeAlias

from ...ir.graph import Eqn, Graph, Var
from ...ir.printer import GraphPrinter
from .values import Flat, Node, Values

SAME, CHANGED, ADDED, REMOVED = range(4)
NONE = -1
INDENT = "  "

Row: TypeAlias = tuple[int, int, int, int]


@dataclass(frozen=True)
class Line:
    """A line of a graph, wherever it stands.

    Parameters
    ----------
    text : str
        Without indentation and without its source lines.
    defines, uses : tuple of int
        Numbers of values.
    source : tuple of str
    """

    text: str
    defines: tuple[int, ...] = ()
    uses: tuple[int, ...] = ()
    source: tuple[str, ...] = ()


@dataclass
class Lines:
    """Lines by number, each once."""

    all: list[Line] = field(default_factory=list)
    _numbers: dict[Line, int] = field(default_factory=dict)

    def add(self, line: Line) -> int:
        """Return the number of a line."""
        number = self._numbers.setdefault(line, len(self.all))
        if number == len(self.all):
            self.all.append(line)
        return number


@dataclass(frozen=True)
class Placed:
    """A line in one graph: how far in it stands, and what tells it from others.

    `is_equation` is false for groups of equations, and for lines that are none.
    """

    line: int
    depth: int
    key: object
    is_equation: bool = False


@dataclass(frozen=True)
class Stage:
    """The graph after a pass that changed it, with what was there before.

    Parameters
    ----------
    name : str
        Of the pass.
    rows : list of (int, int, int, int)
        Line, depth, mark, and the line that stood there before, or -1. Removed lines
        stand where they were.
    equations, groups : int
    counts : dict of int to int
        By mark, how many equations have it.
    """

    name: str
    rows: list[Row]
    equations: int
    groups: int
    counts: dict[int, int]


# --- the lines of one graph -------------------------------------------------------


@dataclass
class _State:
    """What the printers of a graph and of those inside of it share."""

    flat: Flat
    names: Sequence[str]
    nodes: Iterator[Node]
    found: list[tuple[object, Line]] = field(default_factory=list)  # without text

    def note(self, key: object, line: Line) -> None:
        self.found.append((key, line))


class _LinkedPrinter(GraphPrinter):
    """Prints a graph with the names of values, and notes what each line is."""

    def __init__(self, indent: str, state: _State, gives: Sequence[int | None]) -> None:
        super().__init__(indent)
        self.state, self.gives = state, gives
        self.owner: object = None  # the equation that holds this graph
        self.node: Node | None = None
        self.entered = 0

    def bind(self, variables: Sequence[Var], slots: Sequence[int]) -> None:
        """Name variables as the values in slots are."""
        ids, names = self.state.flat.ids, self.state.names
        for var, slot in zip(variables, slots, strict=True):
            self.names[var] = f"%{names[ids[slot]]}"

    def name(self, var: Var) -> str:
        return self.names[var]

    def eqn(self, eqn: Eqn) -> str:
        node = self.node = next(self.state.nodes)
        self.entered = 0
        self.bind(eqn.outvars, node.outs)
        defines = self.state.flat.ids_of(node.outs)
        uses = self.state.flat.ids_of(node.ins)
        self.state.note(_key(node, defines), Line("", defines, uses, eqn.source))
        text = super().eqn(eqn)
        return text.removesuffix(f"  ; {', '.join(eqn.source)}") if eqn.source else text

    def graph(self, graph: Graph) -> str:
        text = super().graph(graph)
        uses = self.state.flat.ids_of(self.gives)
        self.state.note(("return", self.owner), Line("", (), uses))
        return text

    def inner(self, graph: Graph) -> str:
        node = self.node
        assert node is not None
        gives = node.gives[self.entered]
        printer = _LinkedPrinter(self.indent + INDENT, self.state, gives)
        printer.bind(graph.invars, node.binds[self.entered])
        self.entered += 1
        defines = self.state.flat.ids_of(node.outs)
        printer.owner = self.entered, _key(node, defines)
        text = printer.graph(graph)
        end = Line("", defines, (), node.eqn.source)
        self.state.note(("end", printer.owner), end)
        return text


def _key(node: Node, defines: tuple[int, ...]) -> object:
    """Return what makes a line the same equation in another graph."""
    return node.is_group, defines or node.eqn.primitive.name


def placed_lines(flat: Flat, values: Values, lines: Lines) -> list[Placed]:
    """Return the lines of a graph."""
    state = _State(flat, values.names, iter(flat.nodes))
    printer = _LinkedPrinter("", state, flat.outputs)
    printer.bind(flat.graph.invars, flat.inputs)
    inputs = flat.ids_of(flat.inputs)
    state.note("head", Line("", inputs))
    texts = printer.graph(flat.graph).split("\n")
    state.note("tail", Line(""))
    placed = []
    for text, (key, line) in zip(texts, state.found, strict=True):
        bare = text.lstrip(" ")
        depth = (len(text) - len(bare)) // len(INDENT)
        number = lines.add(Line(bare, line.defines, line.uses, line.source))
        is_equation = isinstance(key, tuple) and key[0] is False
        key = key if line.defines else (key, bare)
        placed.append(Placed(number, depth, key, is_equation))
    return placed


# --- passes -----------------------------------------------------------------------


def stages_of(
    flats: Sequence[tuple[str, Flat]], values: Values, lines: Lines
) -> list[Stage]:
    """Return the first graph, and the graph after each pass that changed its lines."""
    stages: list[Stage] = []
    before: list[Placed] = []
    for name, flat in flats:
        placed = placed_lines(flat, values, lines)
        is_same = [(p.line, p.depth) for p in placed] == [
            (p.line, p.depth) for p in before
        ]
        if stages and is_same:
            continue
        rows = _compared(before, placed, lines) if stages else _first(placed)
        equations = sum(not node.is_group for node in flat.nodes)
        groups = len(flat.nodes) - equations
        is_equation = {p.line for p in (*before, *placed) if p.is_equation}
        counts = Counter(row[2] for row in rows if row[0] in is_equation)
        stages.append(Stage(name, rows, equations, groups, dict(counts)))
        before = placed
    return stages


def _first(placed: Sequence[Placed]) -> list[Row]:
    return [(p.line, p.depth, SAME, NONE) for p in placed]


def _compared(
    before: Sequence[Placed], after: Sequence[Placed], lines: Lines
) -> list[Row]:
    """Mark the lines of a graph; those that are gone stand behind those before them."""
    old = {p.key: p for p in before}
    new = {p.key for p in after}
    gone: dict[object, list[Placed]] = {}
    anchor: object = None
    for p in before:
        if p.key in new:
            anchor = p.key
        else:
            gone.setdefault(anchor, []).append(p)
    rows = [_removed(p) for p in gone.pop(None, [])]
    for p in after:
        was = old.get(p.key)
        if was is None:
            rows.append((p.line, p.depth, ADDED, NONE))
        elif lines.all[was.line].text == lines.all[p.line].text:
            rows.append((p.line, p.depth, SAME, NONE))
        else:
            rows.append((p.line, p.depth, CHANGED, was.line))
        rows += [_removed(q) for q in gone.pop(p.key, [])]
    return rows


def _removed(p: Placed) -> Row:
    return p.line, p.depth, REMOVED, NONE
