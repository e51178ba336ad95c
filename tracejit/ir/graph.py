"""The graph: an ordered list of equations, one assignment each.

`Var`, `Eqn` and `Graph` compare by identity and are never changed after they are made:
value-hashed variables were measured 7× slower to build.
"""

from collections.abc import Iterable, Iterator, Sequence
from functools import cached_property
from typing import Any

import numpy as np
from numpy import asarray  # while a trace runs, `np.asarray` is a wrapper

from ..hashing import sha256
from .aval import ShapedArray
from .primitive import ArrayConstant, Effect, Params, Primitive

SourceLines = tuple[str, ...]
_WIDE_FLOATS = (np.dtype(np.float32), np.dtype(np.float64))


class Var:
    """A value; `name` is a hint for printing only.

    Parameters
    ----------
    aval : ShapedArray
    name : str
        May be empty; the printer then numbers the variable.
    """

    __slots__ = ("aval", "name")

    def __init__(self, aval: ShapedArray, name: str = "") -> None:
        self.aval = aval
        self.name = name

    def __repr__(self) -> str:
        return f"Var({self.aval})"


class Literal:
    """A rank-0 constant written in place of an operand.

    Parameters
    ----------
    value : numpy scalar, bool, int, float or complex
        Converted to `dtype`.
    dtype : numpy.dtype
        The dtype of the literal.
    """

    __slots__ = ("aval", "value")

    def __init__(self, value: object, dtype: np.dtype) -> None:
        is_one = type(value) is dtype.type  # then NumPy's conversion gives the same
        self.value: Any = value if is_one else asarray(value, dtype)[()]
        self.aval = ShapedArray((), dtype)

    @property
    def key(self) -> tuple[np.dtype, bytes]:
        """Dtype and bits: distinguishes -0.0 from 0.0 and equals itself for NaN."""
        return self.aval.dtype, self.value.tobytes()

    def converted(self, dtype: np.dtype) -> "Literal":
        """Return it in another dtype; no warning where it does not fit."""
        if dtype in _WIDE_FLOATS and 1e-30 < abs(self.value) < 1e30:
            return Literal(self.value, dtype)
        with np.errstate(all="ignore"):
            return Literal(self.value.astype(dtype), dtype)

    def __repr__(self) -> str:
        return f"Literal({self.value!r})"


Atom = Var | Literal


class Eqn:
    """One assignment: ``outvars = primitive invars {params}``.

    Parameters
    ----------
    primitive : Primitive
    invars : tuple of Var or Literal
    params : mapping
        Not to be changed.
    outvars : tuple of Var
    source : tuple of str
        User lines this equation came from, ``"file.py:12"``.
    """

    __slots__ = ("invars", "outvars", "params", "primitive", "source")

    def __init__(
        self,
        primitive: Primitive,
        invars: tuple[Atom, ...],
        params: Params,
        outvars: tuple[Var, ...],
        source: SourceLines = (),
    ) -> None:
        self.primitive = primitive
        self.invars = invars
        self.params = params
        self.outvars = outvars
        self.source = source

    @property
    def effects(self) -> frozenset[Effect]:
        """What the equation does besides computing."""
        return self.primitive.effects(self.params)

    def __repr__(self) -> str:
        return f"Eqn({self.primitive.name})"


class Graph:
    """A function of arrays: inputs, equations in order, outputs.

    Parameters
    ----------
    name : str
    invars : sequence of Var
    outvars : sequence of Var or Literal
    eqns : sequence of Eqn
    """

    def __init__(
        self,
        name: str,
        invars: Sequence[Var],
        outvars: Sequence[Atom],
        eqns: Sequence[Eqn],
    ) -> None:
        self.name = name
        self.invars = tuple(invars)
        self.outvars = tuple(outvars)
        self.eqns = tuple(eqns)

    @property
    def in_avals(self) -> tuple[ShapedArray, ...]:
        """Avals of the inputs."""
        return tuple(v.aval for v in self.invars)

    @property
    def out_avals(self) -> tuple[ShapedArray, ...]:
        """Avals of the outputs."""
        return tuple(v.aval for v in self.outvars)

    @cached_property
    def key(self) -> str:
        """Structural hash: equal for graphs equal up to names and source lines."""
        return sha256(repr(structure_of(self)).encode())

    @cached_property
    def effects(self) -> frozenset[Effect]:
        """Union of the effects of all equations."""
        return frozenset().union(*(e.effects for e in self.eqns))

    @cached_property
    def primitives(self) -> frozenset[Primitive]:
        """All primitives of its equations, and of those in graphs that they hold."""
        found = {e.primitive for e in self.eqns}
        inner = _graphs_in(tuple(e.params.values()) for e in self.eqns if e.params)
        return frozenset(found).union(*(g.primitives for g in inner))

    @cached_property
    def kinds(self) -> frozenset[str]:
        """NumPy's letters for dtypes of its values, and of those of inner graphs."""
        values = (*self.invars, *(v for e in self.eqns for v in e.outvars))
        inner = _graphs_in(tuple(e.params.values()) for e in self.eqns if e.params)
        own = frozenset(v.aval.dtype.kind for v in values)
        return own.union(*(g.kinds for g in inner))

    @cached_property
    def has_subgraphs(self) -> bool:
        """Whether an equation holds a graph in its params, however deep in tuples."""
        return any(
            _holds_graph(value)
            for eqn in self.eqns
            if eqn.params
            for value in eqn.params.values()
        )

    def __eq__(self, other: object) -> bool:
        return self is other

    def __hash__(self) -> int:
        return id(self)

    def __repr__(self) -> str:
        return f"<Graph @{self.name}: {len(self.eqns)} equations>"


def _holds_graph(value: object) -> bool:
    if isinstance(value, tuple):
        return any(map(_holds_graph, value))
    return isinstance(value, Graph)


def _graphs_in(values: Iterable[object]) -> Iterator[Graph]:
    """Yield graphs, those in tuples however deep."""
    for value in values:
        if isinstance(value, Graph):
            yield value
        elif isinstance(value, tuple):
            yield from _graphs_in(value)


def subgraphs(params: Params) -> Iterator[Graph]:
    """Yield the graphs held in params, e.g. the branches of a `cond`."""
    for value in params.values():
        if isinstance(value, Graph):
            yield value
        elif isinstance(value, tuple):
            yield from (v for v in value if isinstance(v, Graph))


def subgraph(params: Params, name: str = "graph") -> Graph:
    """Return the graph held under `name`."""
    graph = params[name]
    assert isinstance(graph, Graph)
    return graph


def expansion_of(eqn: Eqn) -> Graph | None:
    """Return the graph that an equation means, if its primitive says so."""
    expand = eqn.primitive.expand
    if expand is None:
        return None
    return expand(tuple(x.aval for x in eqn.invars), eqn.params)


def structure_of(graph: Graph) -> tuple[object, ...]:
    """Return what a graph computes: equal for graphs equal up to names and lines."""
    numbers = {v: i for i, v in enumerate(graph.invars)}

    def atom(x: Atom) -> object:
        return numbers[x] if isinstance(x, Var) else x.key

    rows = []
    for eqn in graph.eqns:
        ins = tuple(atom(x) for x in eqn.invars)
        params = tuple((k, _param_key(eqn.params[k])) for k in sorted(eqn.params))
        for var in eqn.outvars:
            numbers[var] = len(numbers)
        rows.append((eqn.primitive.name, ins, params))
    return graph.in_avals, tuple(rows), tuple(atom(x) for x in graph.outvars)


def _param_key(value: object) -> object:
    if isinstance(value, Graph):
        return value.key
    if isinstance(value, tuple):
        return tuple(_param_key(v) for v in value)
    if isinstance(value, ArrayConstant):
        return value.digest
    # by its bits, as literals: NaN is itself, and -0.0 is not 0.0
    return repr(value) if isinstance(value, float | complex) else value
