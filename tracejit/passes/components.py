"""Arrays of short vectors, computed from smaller ones, become an array a component.

Pairs of points, say: the last axis has the three coordinates, so that its loop fills
no vectors, and sums over other axes and over this one cannot stand in one kernel. Where
nothing stores such an array, each component is computed by itself. Sums over the short
axis are sums of components; what else is reduced is put together again at the end:

    %0 = broadcast_in_dim %x {shape=(9, 9, 2), dims=(1, 2)}
    %1 = broadcast_in_dim %x {shape=(9, 9, 2), dims=(0, 2)}
    %2 = sub %0, %1
    %3 = reduce_sum %2 {axes=(1)}                 (f32[9,2])
    ---
    %0 = slice %x {start=(0, 0), stop=(9, 1)}     (and its first axis, ...)
    ...
    %9 = sub %5, %6
    %10 = reduce_sum %9 {axes=(1)}                (f32[9], for each component)
    %11 = concatenate %10, ...

Components of what is read again and again are copied first, so that each lies
contiguous in memory. Sums over the short axis add from its first element on, other
sums follow the fixed tree of `tracejit.kernels.tree`.
"""

from collections.abc import Iterator, Sequence
from math import prod

from ..ir import dtypes as dt
from ..ir.aval import Shape, ShapedArray
from ..ir.builder import Builder, keep_name
from ..ir.graph import Atom, Eqn, Graph, Literal, Var
from ..ir.ops.custom import barrier_p
from ..ir.ops.elementwise import (
    add_p,
    and_p,
    maximum_p,
    minimum_p,
    mul_p,
    or_p,
)
from ..ir.ops.reduce import (
    reduce_and_p,
    reduce_max_p,
    reduce_min_p,
    reduce_or_p,
    reduce_prod_p,
)
from ..ir.ops.shape import (
    broadcast_in_dim_p,
    concatenate_p,
    ints,
    reduce_sum_p,
    reshape,
    slice_p,
    transpose_p,
)
from ..ir.primitive import Kind, Primitive
from .manager import PassContext, on_all_graphs
from .notes import TakenApart

SHORT = 4  # components
LEAST = 1 << 12  # elements of an array that is worth it
SMALLER = 8  # how much smaller is what arrays are computed from, and reduced to
MOST = 64  # equations that are repeated for each component
COMBINING: dict[Primitive, Primitive] = {
    reduce_sum_p: add_p,
    reduce_prod_p: mul_p,
    reduce_max_p: maximum_p,
    reduce_min_p: minimum_p,
    reduce_and_p: and_p,
    reduce_or_p: or_p,
}


def by_component(graph: Graph, context: PassContext) -> Graph:
    """Take arrays of short vectors apart, in sub-graphs too."""
    return on_all_graphs(graph, lambda g: _taken_apart(g, context))


def _taken_apart(graph: Graph, context: PassContext) -> Graph:
    wide = {v for e in graph.eqns for v in e.outvars if _is_wide(e, v.aval)}
    if not wide:
        return graph
    chosen: set[Eqn] = set()
    for region in _Regions(graph, wide).found():
        if context.may_fire("by_component"):
            context.stats.fired["by_component"] += 1
            context.notes.append(_note(region))
            chosen.update(region)
    return _Rewriting(graph, chosen).run() if chosen else graph


def _note(region: Sequence[Eqn]) -> TakenApart:
    lines = dict.fromkeys(line for e in region for line in e.source)
    largest = max((e.outvars[0].aval for e in region), key=lambda a: a.size)
    return TakenApart(largest, len(region), tuple(lines))


def _is_wide(eqn: Eqn, aval: ShapedArray) -> bool:
    """Tell whether an equation computes a large array of short vectors."""
    is_elementwise = eqn.primitive.kind is Kind.ELEMENTWISE
    is_short = aval.ndim > 1 and 1 < aval.shape[-1] <= SHORT
    return is_elementwise and is_short and aval.size >= LEAST


class _Regions:
    """The elementwise equations of a graph that can be taken apart together."""

    def __init__(self, graph: Graph, wide: set[Var]) -> None:
        self.graph, self.wide = graph, wide
        self.definitions = {v: e for e in graph.eqns for v in e.outvars}
        self.users: dict[Var, list[Eqn]] = {v: [] for v in wide}
        for eqn in graph.eqns:
            for x in eqn.invars:
                if x in wide and isinstance(x, Var):
                    self.users[x].append(eqn)
        self.results = {x for x in graph.outvars if isinstance(x, Var)}

    def found(self) -> Iterator[list[Eqn]]:
        """Yield the regions, each with its reductions."""
        seen: set[Var] = set()
        for var in [v for e in self.graph.eqns for v in e.outvars if v in self.wide]:
            if var not in seen:
                region = self._around(var, seen)
                if self._is_worth_it(region):
                    yield region

    def _around(self, var: Var, seen: set[Var]) -> list[Eqn]:
        """Return what is connected with `var` by values of its shape."""
        region: dict[Eqn, None] = {}
        stack = [var]
        seen.add(var)
        while stack:
            here = stack.pop()
            eqn = self.definitions[here]
            region[eqn] = None
            around = [x for x in eqn.invars if isinstance(x, Var) and x in self.wide]
            for user in self.users[here]:
                region[user] = None
                around += [v for v in user.outvars if v in self.wide]
            for v in around:
                if v.aval.shape == var.aval.shape and v not in seen:
                    seen.add(v)
                    stack.append(v)
        return list(region)

    def _is_worth_it(self, region: list[Eqn]) -> bool:
        """Tell whether a region stores nothing, and reduces across its vectors."""
        inner = [e for e in region if e.primitive.kind is Kind.ELEMENTWISE]
        reductions = [e for e in region if e.primitive in COMBINING]
        if len(inner) + len(reductions) != len(region) or len(region) > MOST:
            return False
        last = inner[0].outvars[0].aval.ndim - 1
        across = [e for e in reductions if last not in ints(e.params, "axes")]
        return (
            bool(across)
            and all(self._can_read(e) for e in inner)
            and all(_can_reduce(e) for e in reductions)
            and not any(v in self.results for e in inner for v in e.outvars)
        )

    def _can_read(self, eqn: Eqn) -> bool:
        """Tell whether an equation's operands have components, or are numbers."""
        shape = eqn.outvars[0].aval.shape
        return all(
            isinstance(x, Literal)
            or not x.aval.shape
            or (x.aval.shape == shape and (x in self.wide or self._is_spread(x)))
            for x in eqn.invars
        )

    def _is_spread(self, x: Var) -> bool:
        """Tell whether a value repeats a much smaller one, or its vectors."""
        eqn = self.definitions.get(x)
        if eqn is None or eqn.primitive is not broadcast_in_dim_p:
            return False
        source = eqn.invars[0].aval
        along = _place(eqn)
        if along is None or source.shape[along] == 1:
            return source.size * x.aval.shape[-1] <= x.aval.size
        return source.size * SMALLER <= x.aval.size


def _place(eqn: Eqn) -> int | None:
    """Return the axis of its operand that a broadcast puts last, if any."""
    dims, last = ints(eqn.params, "dims"), len(ints(eqn.params, "shape")) - 1
    return dims.index(last) if last in dims else None


def _can_reduce(eqn: Eqn) -> bool:
    """Tell whether a reduction gives little, in the dtype of what it reads."""
    x, out = eqn.invars[0].aval, eqn.outvars[0].aval
    is_sum = eqn.primitive in (reduce_sum_p, reduce_prod_p)
    is_half = x.dtype in dt.FLOATS and x.dtype.itemsize < 4  # summed in float32
    if x.dtype != out.dtype or (is_sum and (is_half or x.dtype == dt.BOOL)):
        return False
    last = x.ndim - 1
    is_small = out.size * SMALLER <= x.size
    return is_small or last in ints(eqn.params, "axes")


class _Rewriting:
    """Writes a graph anew, with some equations taken apart."""

    def __init__(self, graph: Graph, chosen: set[Eqn]) -> None:
        self.graph, self.chosen = graph, chosen
        self.b = Builder(graph.name, value_number=True)
        self.env: dict[Var, Atom] = {}
        self.apart: dict[Var, list[Atom]] = {}
        self.rows: dict[tuple[Atom, int], Atom] = {}
        self.definitions = {v: e for e in graph.eqns for v in e.outvars}

    def run(self) -> Graph:
        """Return the new graph."""
        b = self.b
        for var in self.graph.invars:
            self.env[var] = b.input(var.aval, var.name)
        for eqn in self.graph.eqns:
            b.source = eqn.source
            if eqn not in self.chosen:
                ins = [self.env[x] if isinstance(x, Var) else x for x in eqn.invars]
                made = b.emit_all(eqn.primitive, ins, eqn.params)
                for var, out in zip(eqn.outvars, made, strict=True):
                    self.env[var] = out
                    keep_name(out, var)
            elif eqn.primitive in COMBINING:
                self.env[eqn.outvars[0]] = self._reduced(eqn)
            else:
                self.apart[eqn.outvars[0]] = self._computed(eqn)
        outs = [self.env[x] if isinstance(x, Var) else x for x in self.graph.outvars]
        return b.build(outs)

    def _computed(self, eqn: Eqn) -> list[Atom]:
        count = eqn.outvars[0].aval.shape[-1]
        operands = [self._components(x, count) for x in eqn.invars]
        return [
            self.b.emit(eqn.primitive, *ins, **eqn.params)
            for ins in zip(*operands, strict=True)
        ]

    def _components(self, x: Atom, count: int) -> list[Atom]:
        """Return the components of an operand; numbers are the same in each."""
        if isinstance(x, Literal):
            return [x] * count
        if not x.aval.shape:
            return [self.env[x]] * count
        if x not in self.apart:
            self.apart[x] = list(self._spread(self.definitions[x]))
        return self.apart[x]

    def _spread(self, eqn: Eqn) -> Iterator[Atom]:
        """Yield the components of a broadcast."""
        shape, dims = ints(eqn.params, "shape"), ints(eqn.params, "dims")
        (source,) = eqn.invars
        at = self.env[source] if isinstance(source, Var) else source
        along = _place(eqn)
        kept = tuple(d for d in dims if d != len(shape) - 1)
        for k in range(shape[-1]):
            part = at if along is None else self._part(at, along, k)
            yield self.b.emit(broadcast_in_dim_p, part, shape=shape[:-1], dims=kept)

    def _part(self, x: Atom, along: int, k: int) -> Atom:
        """Return component `k` of an array, along one of its axes."""
        shape = x.aval.shape
        rest = (*shape[:along], *shape[along + 1 :])
        if shape[along] == 1:
            return reshape(self.b, x, rest)
        size = prod(rest)
        row = self._row(x, along)
        part = self.b.emit(
            slice_p, row, start=(k * size,), stop=((k + 1) * size,), stride=(1,)
        )
        return reshape(self.b, part, rest)

    def _row(self, x: Atom, along: int) -> Atom:
        """Return an array as one row of memory, component by component."""
        base, shape = self._without_ones(x)
        along -= sum(n == 1 for n in x.aval.shape[:along])
        if not along:
            return reshape(self.b, base, (base.aval.size,))
        if (base, along) not in self.rows:
            perm = (along, *(d for d in range(len(shape)) if d != along))
            turned = self.b.emit(transpose_p, reshape(self.b, base, shape), perm=perm)
            row = reshape(self.b, turned, (base.aval.size,))
            # Neighbours a vector apart are read slowly, again and again: a copy.
            self.rows[base, along] = self.b.emit(barrier_p, row, count=1)
        return self.rows[base, along]

    def _without_ones(self, x: Atom) -> tuple[Atom, Shape]:
        """Return what an array is a view of by axes of one, and the other axes."""
        shape = tuple(n for n in x.aval.shape if n != 1)
        eqn = self.b.definition(x)
        while eqn is not None and eqn.primitive.name == "reshape":
            source = eqn.invars[0]
            if tuple(n for n in source.aval.shape if n != 1) != shape:
                break
            x, eqn = source, self.b.definition(source)
        return x, shape

    def _reduced(self, eqn: Eqn) -> Atom:
        (x,) = eqn.invars
        axes, last = ints(eqn.params, "axes"), x.aval.ndim - 1
        parts = self._components(x, x.aval.shape[-1])
        if last in axes:
            return self._combined(eqn.primitive, parts, axes, last)
        out = eqn.outvars[0].aval.shape
        done = [
            reshape(self.b, self.b.emit(eqn.primitive, part, axes=axes), (*out[:-1], 1))
            for part in parts
        ]
        return self.b.emit(concatenate_p, *done, axis=len(out) - 1)

    def _combined(
        self, primitive: Primitive, parts: list[Atom], axes: Shape, last: int
    ) -> Atom:
        total = parts[0]
        if primitive is reduce_sum_p and total.aval.dtype in dt.INEXACT:
            total = self.b.emit(add_p, total, 0.0)  # -0.0 becomes 0.0, as in NumPy
        for part in parts[1:]:
            total = self.b.emit(COMBINING[primitive], total, part)
        rest = tuple(d for d in axes if d != last)
        return self.b.emit(primitive, total, axes=rest) if rest else total
