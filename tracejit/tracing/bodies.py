"""Functions given to control flow, traced as bodies: branches, turns, tests.

A body is traced on unknown values. What it uses from around becomes further inputs. A
carry has one type at every turn: Python numbers that start one take the type that a
turn gives (as in NumPy, where they have none of their own), all else must agree.
"""

from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any

import numpy as np

from ..errors import DTypeError, ShapeError, TraceError
from ..ir import dtypes as dt
from ..ir.aval import ShapedArray
from ..ir.builder import Builder
from ..ir.graph import Atom, Graph, Var
from ..ir.ops.elementwise import convert_p
from ..records import dataclass
from .composites import with_composites
from .inner import Argument, InnerTrace, argument_like, trace_inner
from .source import user_line
from .storage import Kind
from .trace import Role, current_trace
from .tree import TreeSpec, flatten, format_path, paths, unflatten

MAX_RETRACES = 8  # a dtype is promoted at most this often: bool, int, float, complex
_ORDER = "biufc"
BRANCHES = {"cond": ("on false", "on true ")}


@dataclass(frozen=True)
class Body:
    """A traced body.

    Parameters
    ----------
    inner : InnerTrace
        Its graph takes the arguments, then the captured values.
    arguments : tuple of Argument
        What it was traced for.
    """

    inner: InnerTrace
    arguments: tuple[Argument, ...]

    @property
    def graph(self) -> Graph:
        """The graph as traced."""
        return self.inner.graph

    @property
    def captured(self) -> list[Any]:
        """The values from around, one for each of the last inputs."""
        return self.inner.captured

    @property
    def results(self) -> Any:
        """The avals of the results, in their containers."""
        return self.inner.rebuild(self.graph.out_avals)

    def captures_first(self, name: str) -> Graph:
        """Return the graph with the captured values before the arguments."""
        n = len(self.arguments)
        ins = self.graph.invars
        return Graph(name, [*ins[n:], *ins[:n]], self.graph.outvars, self.graph.eqns)


def unknown(x: Any) -> Argument:
    """Describe a leaf whose value changes at run time."""
    given = argument_like(x)
    return Argument(given.aval, given.kind)


def trace_body(
    call: Callable[[list[Any]], Any], arguments: Sequence[Argument], name: str
) -> Body:
    """Trace `call` on unknown values; inside of a derivative, raise composites."""
    inner = trace_inner(call, arguments, name, Role.BODY, lift_results=True)
    if _in_derivative():
        inner = replace(inner, graph=with_composites(inner.graph))
    return Body(inner, tuple(arguments))


def _in_derivative() -> bool:
    trace = current_trace()
    while trace is not None:
        if trace.role is Role.DIFFERENTIATED:
            return True
        trace = trace.parent
    return False


def name_of(fn: Callable[..., Any]) -> str:
    """Return a graph name for a user's function."""
    name = getattr(fn, "__name__", "body")
    return name if name.isidentifier() else "body"


def ordered_like(spec: TreeSpec, tree: Any) -> Any:
    """Return `tree` with dict keys in the order of `spec`, where they are the same."""
    kind = type(tree)
    if tree is None or kind is not spec.kind:
        return tree
    if spec.kind is dict:
        if set(tree) != set(spec.keys):
            return tree
        pairs = zip(spec.keys, spec.children, strict=True)
        return {k: ordered_like(child, tree[k]) for k, child in pairs}
    leaves, mine = flatten(tree)
    if spec.kind not in (list, tuple) or len(tree) != len(spec.children):
        return unflatten(mine, leaves)
    items = zip(spec.children, tree, strict=True)
    return kind([ordered_like(child, x) for child, x in items])


# --- carries ----------------------------------------------------------------------


@dataclass(frozen=True)
class CarrySpec:
    """What is known of the carries before a loop is traced.

    Parameters
    ----------
    what : str
        For messages: "scan".
    spec : TreeSpec
    arguments : tuple of Argument
    """

    what: str
    spec: TreeSpec
    arguments: tuple[Argument, ...]


def trace_turn(
    call: Callable[[list[Any]], Any],
    carry: CarrySpec,
    others: Sequence[Argument],
    name: str,
    carry_of: Callable[[TreeSpec], TreeSpec],
) -> tuple[Body, tuple[Argument, ...]]:
    """Trace a turn until its carries keep their types.

    Parameters
    ----------
    call : callable
        Takes the leaves of the carries, then others; gives the carries first.
    carry : CarrySpec
    others : sequence of Argument
    name : str
    carry_of : callable
        Returns the part of the result's spec that is the carry.

    Returns
    -------
    Body, tuple of Argument
        The body, and its carries with the types that they have at every turn.

    Raises
    ------
    TraceError, ShapeError, DTypeError
        When a turn changes structure, shape or dtype of a carry.
    """
    arguments = carry.arguments
    for _ in range(MAX_RETRACES):
        body = trace_body(call, [*arguments, *others], name)
        _check_structure(carry, carry_of(body.inner.spec), body)
        n = len(arguments)
        after = zip(body.graph.out_avals[:n], body.inner.kinds[:n], strict=True)
        where = paths(carry.spec)
        rows = zip(arguments, after, where, strict=True)
        grown = tuple(_carried(carry, a, *out, path) for a, out, path in rows)
        if grown == arguments:
            return body, arguments
        arguments = grown
    raise TraceError(
        f"the carries of {carry.what} change their types at every turn",
        source=user_line(),
    )


def _check_structure(carry: CarrySpec, after: TreeSpec, body: Body) -> None:
    if after == carry.spec:
        return
    before = unflatten(carry.spec, [a.aval for a in carry.arguments])
    avals = list(body.graph.out_avals[: after.size])
    raise TraceError(
        f"the carry of {carry.what} changes its structure:\n"
        f"  before: {before}\n  after:  {unflatten(after, avals)}",
        source=user_line(),
        hint="return the carry in the containers that it came in",
    )


def _carried(
    carry: CarrySpec, before: Argument, aval: ShapedArray, kind: Kind, path: Any
) -> Argument:
    """Return what a carry is at every turn, given what it was and what a turn gives."""
    if aval == before.aval:
        return replace(before, kind=_joined_kind(before.kind, kind))
    if before.kind is Kind.PYTHON and can_promote(before.aval, aval):
        return Argument(aval, kind)
    if kind is Kind.PYTHON and can_promote(aval, before.aval):
        return before
    leaf = format_path(path) or "itself"
    message = f"carry leaf {leaf} of {carry.what} changes from {before.aval} to {aval}"
    if before.aval.shape == aval.shape:
        raise DTypeError(
            message,
            source=user_line(),
            hint=f"convert one of them, e.g. x.astype(np.{before.aval.dtype})",
        )
    raise ShapeError(
        message, source=user_line(), hint="each turn must give the shapes it was given"
    )


def can_promote(weak: ShapedArray, aval: ShapedArray) -> bool:
    """Tell whether a Python number may become a scalar of another dtype."""
    if weak.shape or aval.shape or weak.dtype == dt.BOOL:
        return False
    kinds = "iufc" if weak.dtype.kind in "iu" else "fc"
    kinds = "c" if weak.dtype.kind == "c" else kinds
    is_float = dt.is_inexact(aval.dtype) and not dt.is_complex(aval.dtype)
    return ("f" if is_float else aval.dtype.kind) in kinds


def _joined_kind(before: Kind, after: Kind) -> Kind:
    """Python numbers and 0-d arrays are NumPy scalars once NumPy has computed them."""
    return before if before is after else Kind.SCALAR


def with_dtypes(graph: Graph, avals: Sequence[ShapedArray]) -> Graph:
    """Convert the first results of a graph to the dtypes of `avals`."""
    outs = graph.outvars[: len(avals)]
    if all(x.aval == a for x, a in zip(outs, avals, strict=True)):
        return graph
    b = Builder(graph.name)
    results = list(b.inline(graph, [b.input(v.aval, v.name) for v in graph.invars]))
    for i, aval in enumerate(avals):
        if results[i].aval != aval:
            results[i] = b.emit(convert_p, results[i], dtype=aval.dtype)
    return b.build(results)


# --- branches ---------------------------------------------------------------------


def joined_branches(what: str, bodies: Sequence[Body]) -> tuple[list[Graph], list[Any]]:
    """Give branches the same inputs and the same results.

    Returns
    -------
    list of Graph
        Each takes the arguments, then the captured values of all branches.
    list of Tracer
        The captured values.

    Raises
    ------
    TraceError
        When results differ, showing them side by side.
    """
    first = bodies[0]
    avals = [_joined_aval(rows) for rows in zip(*map(_typed, bodies), strict=False)]
    if any(b.inner.spec != first.inner.spec for b in bodies) or None in avals:
        names = BRANCHES.get(what) or [f"branch {i}" for i in range(len(bodies))]
        pairs = zip(names, bodies, strict=True)
        rows = "\n".join(f"  {name}: {b.results}" for name, b in pairs)
        raise TraceError(
            f"the branches of {what} give different results:\n{rows}",
            source=user_line(),
            hint="return the same containers, shapes and dtypes from each",
        )
    wanted = [a for a in avals if a is not None]
    graphs = [with_dtypes(b.graph, wanted) for b in bodies]
    captured = [x for b in bodies for x in b.captured]
    return [_padded(graphs, bodies, i) for i in range(len(bodies))], captured


def _typed(body: Body) -> list[tuple[ShapedArray, Kind]]:
    return list(zip(body.graph.out_avals, body.inner.kinds, strict=True))


def _joined_aval(rows: Sequence[tuple[ShapedArray, Kind]]) -> ShapedArray | None:
    """Return what all of these can be; Python numbers take the others' dtype."""
    strong = {aval for aval, kind in rows if kind is not Kind.PYTHON}
    weak = {aval for aval, kind in rows if kind is Kind.PYTHON}
    if len(strong) > 1:
        return None
    best = max(weak, key=lambda a: _ORDER.index(a.dtype.kind), default=None)
    aval = next(iter(strong), best)
    assert aval is not None
    fits = all(a == aval or can_promote(a, aval) for a in weak)
    return aval if fits else None


def joined_kinds(bodies: Sequence[Body]) -> list[Kind]:
    """Return what the results of branches are to Python."""
    kinds = [b.inner.kinds for b in bodies]
    return [
        row[0] if len(set(row)) == 1 else Kind.SCALAR
        for row in zip(*kinds, strict=True)
    ]


def _padded(graphs: Sequence[Graph], bodies: Sequence[Body], i: int) -> Graph:
    """Let branch `i` take what the other branches captured as well."""
    n = len(bodies[i].arguments)
    mine = graphs[i].invars
    ins: list[Var] = [*mine[:n]]
    for j, graph in enumerate(graphs):
        own = graph.invars[n:]
        ins += own if j == i else [Var(v.aval) for v in own]
    outs: Sequence[Atom] = graphs[i].outvars
    return Graph(graphs[i].name, ins, outs, graphs[i].eqns)


def check_predicate(aval: ShapedArray, what: str) -> None:
    """Raise unless `aval` is one boolean."""
    if aval != ShapedArray((), np.dtype(bool)):
        raise DTypeError(
            f"{what} is {aval}, not one boolean",
            source=user_line(),
            hint="compare, or reduce with np.all or np.any",
        )
