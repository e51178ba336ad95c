"""Smaller programs that fail in the same way: delta debugging of graphs.

Needs a graph, a pipeline and what tells whether they fail. Establishes the smallest
that is found: fewer results, equations (whose results become inputs, operands or
zeros), sub-graphs in place of what holds them, smaller shapes, fewer turns, fewer
passes. What is tried is verified first, so that it is a right graph.

The way of halving is that of Zeller, "Simplifying and isolating failure-inducing
input", 2002.
"""

import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import chain
from typing import TypeAlias, TypeVar

import numpy as np

from ..errors import TracejitError
from ..ir.aval import ShapedArray
from ..ir.builder import Builder
from ..ir.graph import Atom, Eqn, Graph, Literal, Var, subgraph
from ..ir.liveness import live_equations
from ..ir.ops.control import cond_p, inlined_graph
from ..ir.ops.loops import ScanParams, scan_p
from ..ir.primitive import ArrayConstant, Param, Params
from ..ir.verify import verify
from ..passes.manager import Pass

Failing: TypeAlias = Callable[[Graph, Sequence[Pass]], bool]
T = TypeVar("T")
SECONDS = 120.0
SMALL = (1, 2, 3, 4)  # extents and turns that are tried first


@dataclass(frozen=True)
class Reduced:
    """What is left.

    Parameters
    ----------
    graph : Graph
    passes : tuple of Pass
    tried : int
        Programs that were looked at.
    is_complete : bool
        Whether nothing smaller is found; else time ran out.
    """

    graph: Graph
    passes: tuple[Pass, ...]
    tried: int
    is_complete: bool

    @property
    def pipeline(self) -> str:
        """The passes, as of `tracejit opt`."""
        return ",".join(p.name for p in self.passes)


def reduce(
    graph: Graph,
    passes: Sequence[Pass],
    is_failing: Failing,
    seconds: float = SECONDS,
) -> Reduced:
    """Return a smaller program that fails.

    Parameters
    ----------
    graph : Graph
    passes : sequence of Pass
    is_failing : callable
        Takes a graph and passes, and tells whether they fail as they should; what it
        raises means that they do not.
    seconds : float
        After which nothing more is tried.

    Raises
    ------
    TracejitError
        The graph does not fail.
    """
    search = _Search(is_failing, time.monotonic() + seconds)
    if not search.fails(graph, tuple(passes)):
        raise TracejitError(
            "the graph does not fail",
            hint="reduce takes what bisect, or the check, says is wrong",
        )
    state = graph, tuple(passes)
    while True:
        before = state
        for step in (_fewer_results, _fewer_equations, _smaller_parts, _smaller_shapes):
            state = step(state[0], state[1], search), state[1]
        state = state[0], _fewer_passes(*state, search)
        is_same = state[0] is before[0] and len(state[1]) == len(before[1])
        if is_same or search.is_over:
            break
    return Reduced(*state, search.tried, not search.is_over)


@dataclass
class _Search:
    """What was tried so far, and until when anything is."""

    is_failing: Failing
    end: float
    tried: int = 0
    known: dict[tuple[str, int], bool] = field(default_factory=dict)

    @property
    def is_over(self) -> bool:
        return time.monotonic() > self.end

    def fails(self, graph: Graph, passes: tuple[Pass, ...]) -> bool:
        """Tell whether a program fails; a graph that is not valid does not."""
        if self.is_over:
            return False
        try:
            key = graph.key, hash(tuple(p.name for p in passes))
            if key not in self.known:
                verify(graph)
                self.tried += 1
                self.known[key] = self.is_failing(graph, passes)
            return self.known[key]
        except Exception:  # whatever a check may raise of a program that makes no sense
            return False


def _without(items: Sequence[T], is_enough: Callable[[Sequence[T]], bool]) -> list[T]:
    """Return a subset that is enough, of which no part can be left out: ddmin."""
    left = list(items)
    size = max(len(left) // 2, 1)
    while left:
        at = len(left)
        found = False
        while at > 0:  # from the end: what is later needs what is earlier
            start = max(at - size, 0)
            rest = left[:start] + left[at:]
            if is_enough(rest):
                left, found = rest, True
            at = start
        if size == 1 and not found:
            break
        size = max(size // 2, 1)
    return left


# --- results and equations --------------------------------------------------------


def _fewer_results(graph: Graph, passes: tuple[Pass, ...], search: _Search) -> Graph:
    """Leave out results; try earlier values in place of the one that is left."""
    places = _without(
        range(len(graph.outvars)),
        lambda ks: (
            bool(ks)
            and search.fails(_live(graph, [graph.outvars[k] for k in ks]), passes)
        ),
    )
    if len(places) < len(graph.outvars):
        graph = _live(graph, [graph.outvars[k] for k in places])
    while len(graph.outvars) == 1:
        (out,) = graph.outvars
        maker = next((e for e in graph.eqns if out in e.outvars), None)
        earlier = [x for x in maker.invars if isinstance(x, Var)] if maker else []
        smaller = (_live(graph, [x]) for x in dict.fromkeys(earlier))
        better = next((g for g in smaller if search.fails(g, passes)), None)
        if better is None:
            break
        graph = better
    return graph


def _fewer_equations(graph: Graph, passes: tuple[Pass, ...], search: _Search) -> Graph:
    """Make results of equations inputs, operands, or zeros."""
    kept = _without(
        graph.eqns, lambda eqns: search.fails(_cut(graph, set(eqns)), passes)
    )
    if len(kept) < len(graph.eqns):
        graph = _cut(graph, set(kept))
    for eqn in reversed(graph.eqns):
        for better in _bypassed(graph, eqn):
            if search.fails(better, passes):
                graph = better
                break
    return _fewer_inputs(graph, passes, search)


def _fewer_inputs(graph: Graph, passes: tuple[Pass, ...], search: _Search) -> Graph:
    """Let inputs of the same type be one."""
    for k, var in reversed(list(enumerate(graph.invars))):
        for first in graph.invars[:k]:
            if first.aval == var.aval:
                better = _with(graph, {var: first})
                if search.fails(better, passes):
                    graph = better
                    break
    return graph


def _live(graph: Graph, outs: Sequence[Atom]) -> Graph:
    """Return the graph of some results, with what they need alone."""
    eqns = live_equations(graph.eqns, outs)
    read = {x for e in eqns for x in e.invars} | set(outs)
    invars = [v for v in graph.invars if v in read]
    return Graph(graph.name, invars, outs, eqns)


def _cut(graph: Graph, kept: set[Eqn]) -> Graph:
    """Return a graph of some equations; what the others give are inputs."""
    gone = [v for e in graph.eqns if e not in kept for v in e.outvars]
    eqns = [e for e in graph.eqns if e in kept]
    whole = Graph(graph.name, [*graph.invars, *gone], graph.outvars, eqns)
    return _live(whole, graph.outvars)


def _bypassed(graph: Graph, eqn: Eqn) -> Iterator[Graph]:
    """Yield graphs with an operand or a zero in place of an equation's result."""
    if len(eqn.outvars) != 1:
        return
    (out,) = eqn.outvars
    for x in dict.fromkeys(eqn.invars):
        if x.aval == out.aval:
            yield _with(graph, {out: x})
    if not out.aval.shape:
        yield _with(graph, {out: Literal(np.zeros((), out.aval.dtype), out.aval.dtype)})


def _with(graph: Graph, instead: Mapping[Var, Atom]) -> Graph:
    """Return a graph that reads other values in place of some."""

    def read(x: Atom) -> Atom:
        return instead.get(x, x) if isinstance(x, Var) else x

    eqns = [
        Eqn(e.primitive, tuple(map(read, e.invars)), e.params, e.outvars, e.source)
        for e in graph.eqns
    ]
    outs = [read(x) for x in graph.outvars]
    return _live(Graph(graph.name, graph.invars, outs, eqns), outs)


# --- sub-graphs -------------------------------------------------------------------


def _smaller_parts(graph: Graph, passes: tuple[Pass, ...], search: _Search) -> Graph:
    """Put sub-graphs in place of what holds them; reduce those that must stay."""
    for eqn in graph.eqns:
        if not any(isinstance(v, Graph) for v in eqn.params.values()):
            continue
        options = chain(_opened(graph, eqn), _shorter(graph, eqn))
        better = next((g for g in options if search.fails(g, passes)), None)
        if better is not None:
            return _smaller_parts(better, passes, search)
    for place, eqn in enumerate(graph.eqns):
        for name, inner in eqn.params.items():
            if isinstance(inner, Graph):
                graph = _smaller_body(graph, place, name, passes, search)
    return graph


def _opened(graph: Graph, eqn: Eqn) -> Iterator[Graph]:
    """Yield graphs with the equations of a sub-graph in place of one equation."""
    inner, args = inlined_graph(eqn), list(eqn.invars)
    if inner is not None:
        yield _inlined(graph, eqn, inner, args)
    held = eqn.params.get("graph")
    if isinstance(held, Graph) and inner is None and len(held.invars) == len(args):
        yield _inlined(graph, eqn, held, args)
    if eqn.primitive is cond_p:
        for name in ("on_true", "on_false"):
            yield _inlined(graph, eqn, subgraph(eqn.params, name), args[1:])
    if eqn.primitive is scan_p:
        yield from _turn(graph, eqn)


def _turn(graph: Graph, eqn: Eqn) -> Iterator[Graph]:
    """Yield the graph with one turn of a loop, on slices that are inputs."""
    p = ScanParams.of(eqn.params)
    fixed, states, _ = p.split(eqn.invars)
    slices = [Var(v.aval) for v in p.split(p.body.invars)[2]]
    if len(p.body.outvars) > p.carries:
        return
    whole = Graph(graph.name, [*graph.invars, *slices], graph.outvars, graph.eqns)
    yield _inlined(whole, eqn, p.body, [*fixed, *states, *slices])


def _inlined(graph: Graph, eqn: Eqn, inner: Graph, args: Sequence[Atom]) -> Graph:
    b = Builder(graph.name)

    def emit(one: Eqn, ins: list[Atom]) -> Sequence[Atom]:
        if one is not eqn:
            return b.emit_all(one.primitive, ins, one.params)
        known: dict[Atom, Atom] = dict(zip(graph.invars, b.invars, strict=True))
        known.update(zip(eqn.invars, ins, strict=True))
        given = [known.get(x, x) for x in args]
        return b.inline(inner, given)

    outs = b.replay(graph, b.inputs_of(graph), emit)
    return _live(b.build(outs), outs)


def _shorter(graph: Graph, eqn: Eqn) -> Iterator[Graph]:
    """Yield graphs with fewer turns of a loop that reads no slices."""
    if eqn.primitive is not scan_p:
        return
    p = ScanParams.of(eqn.params)
    has_slices = p.split(eqn.invars)[2] or len(p.body.outvars) > p.carries
    for length in SMALL:
        if not has_slices and length < p.length:
            yield _replaced(graph, eqn, {**eqn.params, "length": length})


def _replaced(graph: Graph, eqn: Eqn, params: Params) -> Graph:
    made = Eqn(eqn.primitive, eqn.invars, params, eqn.outvars, eqn.source)
    eqns = [made if e is eqn else e for e in graph.eqns]
    return Graph(graph.name, graph.invars, graph.outvars, eqns)


def _smaller_body(
    graph: Graph, place: int, name: str, passes: tuple[Pass, ...], search: _Search
) -> Graph:
    """Leave out equations of a sub-graph that keeps its inputs and results."""
    eqn = graph.eqns[place]
    body = subgraph(eqn.params, name)
    for inner in reversed(body.eqns):
        for smaller in _bypassed(body, inner):
            kept = Graph(body.name, body.invars, smaller.outvars, smaller.eqns)
            better = _replaced(graph, eqn, {**eqn.params, name: kept})
            if search.fails(better, passes):
                graph, body = better, kept
                eqn = graph.eqns[place]
                break
    return graph


# --- shapes -----------------------------------------------------------------------


def _smaller_shapes(graph: Graph, passes: tuple[Pass, ...], search: _Search) -> Graph:
    """Make extents smaller, each wherever it stands."""
    sizes = sorted({n for v in _variables(graph) for n in v.aval.shape}, reverse=True)
    for size in sizes:
        wanted = [*SMALL, *(size >> k for k in range(8, 0, -1))]
        for smaller in dict.fromkeys(n for n in wanted if 0 < n < size):
            better = _resized(graph, size, smaller)
            if better is not None and search.fails(better, passes):
                graph = better
                break
    return graph


def _variables(graph: Graph) -> Iterator[Var]:
    yield from graph.invars
    for eqn in graph.eqns:
        yield from eqn.outvars


def _resized(graph: Graph, old: int, new: int) -> Graph | None:
    """Return the graph with another extent wherever one stands; None if that fails."""
    b = Builder(graph.name)
    try:
        args = [b.input(_aval(v.aval, old, new), v.name) for v in graph.invars]

        def emit(eqn: Eqn, ins: list[Atom]) -> Sequence[Atom]:
            params = {k: _param(v, old, new) for k, v in eqn.params.items()}
            return b.emit_all(eqn.primitive, ins, params)

        return b.build(b.replay(graph, args, emit))
    except Exception:  # of shapes that do not fit together then
        return None


def _aval(aval: ShapedArray, old: int, new: int) -> ShapedArray:
    return aval.with_shape(tuple(new if n == old else n for n in aval.shape))


def _param(value: Param, old: int, new: int) -> Param:
    if isinstance(value, bool):
        return value
    if isinstance(value, int):
        return new if value == old else value
    if isinstance(value, tuple):
        return tuple(_param(v, old, new) for v in value)
    if isinstance(value, Graph):
        found = _resized(value, old, new)
        if found is None:
            raise TracejitError("a sub-graph cannot have this extent")
        return found
    if isinstance(value, ArrayConstant) and old in value.array.shape:
        cut = tuple(slice(new if n == old else n) for n in value.array.shape)
        return ArrayConstant(value.array[cut])
    return value


# --- passes -----------------------------------------------------------------------


def _fewer_passes(
    graph: Graph, passes: tuple[Pass, ...], search: _Search
) -> tuple[Pass, ...]:
    left = _without(passes, lambda some: search.fails(graph, tuple(some)))
    return tuple(left)
