"""Lowering: a fusion group's graph becomes a kernel.

Outputs are computed at the positions of the group's axes; going backwards, elementwise
equations become operations, views become index maps, and reductions take over the
axes that they remove. A value is emitted once per position it is needed at.
"""

import re
from collections.abc import Callable, Iterator, Sequence
from dataclasses import field
from typing import TypeAlias

import numpy as np

from ..ir import dtypes as dt
from ..ir.aval import Shape
from ..ir.graph import Atom, Eqn, Graph, Literal, Var, subgraphs
from ..ir.ops.contract import dot_general_p, free_axes
from ..ir.ops.conv import conv_general_p
from ..ir.ops.elementwise import and_p, convert_p, eq_p, ge_p, lt_p, mul_p, select_p
from ..ir.ops.indexing import gather_p
from ..ir.ops.loops import ScanParams, scan_p
from ..ir.ops.shape import (
    broadcast_in_dim_p,
    concatenate_p,
    ints,
    iota_p,
    pad_p,
    update_slice_p,
)
from ..ir.primitive import Kind, Params, Primitive
from ..records import dataclass
from .conv import windows
from .kernel import (
    Axis,
    Bound,
    Buffer,
    Carried,
    Compute,
    Contract,
    Iota,
    Kernel,
    KernelOp,
    Load,
    Operand,
    Reduce,
    Repeat,
    Store,
    Value,
    dtype_of,
)
from .maps import Affine, AxisIndex, IndexAtom, Map, ValueIndex, axis, floordiv, mod
from .schedule import Schedule
from .schedules import schedule_of
from .splitting import with_split_axes
from .views import VIEWS, simplified, through_view

REDUCE_OPS = {
    "reduce_sum": "add",
    "sum_products": "add",
    "reduce_prod": "mul",
    "reduce_max": "max",
    "reduce_min": "min",
    "reduce_and": "and",
    "reduce_or": "or",
    "argmax": "argmax",
    "argmin": "argmin",
}
NAMES = "ijlmnopqrstuvwxyz"
_LAST_DIGITS = re.compile(r"_+(\d+)$")
# Names of arguments that kernels have whatever the user calls his arrays.
_OWN = r"(in|out)\d+|err"
_MAY_NAME = re.compile(rf"(?!({_OWN})$)[A-Za-z_][A-Za-z0-9_]*")


@dataclass(frozen=True)
class Space:
    """The axes of a group, and which of them its values run along.

    Parameters
    ----------
    shape : tuple of int
        Extents of the axes that elements have.
    reduced : tuple of int
        Axes that the group's reductions remove, where they are not the last ones.
        Without them, values of fewer axes run along the first ones.
    """

    shape: Shape
    reduced: tuple[int, ...] = ()

    def axes_of(self, shape: Shape) -> tuple[int, ...] | None:
        """Return the axes of the space that the axes of a value are.

        None if no value of the group has that shape. Axes of one element, as
        ``keepdims`` leaves them, stand for the axis at their place; the elements of
        the space may have more or fewer of them.
        """
        if len(shape) > len(self.shape):
            return aligned_axes(shape, self.shape)
        if len(shape) == len(self.shape):
            axes = tuple(range(len(shape)))
        elif self.reduced:
            axes = tuple(d for d in range(len(self.shape)) if d not in self.reduced)
        else:
            axes = tuple(range(len(shape)))
        if len(axes) != len(shape):
            return None
        fits = all(n in (1, self.shape[d]) for n, d in zip(shape, axes, strict=True))
        return axes if fits else aligned_axes(shape, self.shape)


def aligned_axes(shape: Shape, space: Shape) -> tuple[int, ...] | None:
    """Return the axes of a space that those of a shape are, if they differ by ones.

    Axes of one element in the shape stand for any axis. None if they differ by more.

    Examples
    --------
    >>> aligned_axes((8, 1, 5), (8, 5))
    (0, 0, 1)
    """
    real = [d for d, n in enumerate(space) if n != 1]
    if [space[d] for d in real] != [n for n in shape if n != 1]:
        return None
    rest = iter(real)
    return tuple(next(rest) if n != 1 else 0 for n in shape)


def kernel_of(
    graph: Graph,
    space: Space,
    name: str,
    in_strides: Sequence[Shape],
    out_strides: Sequence[Shape],
) -> tuple[Kernel, Schedule]:
    """Return the kernel that computes the outputs of a fusion group.

    Parameters
    ----------
    graph : Graph
        The group: elementwise equations, views, gathers, reductions.
    space : Space
    name : str
    in_strides, out_strides : sequence of tuple of int
        Strides of the buffers, in elements.
    """
    lowering = _Lowering(graph, space)
    names = _BufferNames()
    inputs = [
        Buffer(names.of(v, f"in{i}"), v.aval.dtype, v.aval.shape, tuple(s))
        for i, (v, s) in enumerate(zip(graph.invars, in_strides, strict=True))
    ]
    lowering.buffers = dict(zip(graph.invars, inputs, strict=True))
    outputs = []
    for i, (x, s) in enumerate(zip(graph.outvars, out_strides, strict=True)):
        called = names.of(x, f"out{i}")
        outputs.append(Buffer(called, x.aval.dtype, x.aval.shape, tuple(s)))
        lowering.store(outputs[-1], x)
    kernel = Kernel(
        name,
        tuple(inputs),
        tuple(outputs),
        tuple(Axis(n, e) for n, e in lowering.extents.items()),
        tuple(lowering.body),
        lines_of(graph),
    )
    kernel, digits = with_split_axes(kernel)
    own = (d for a in lowering.space_axes for d in digits.get(a, (a,)))
    return kernel, schedule_of(kernel, tuple(own))


class _BufferNames:
    """Names buffers after the user's variables, each one differently."""

    def __init__(self) -> None:
        self.taken: set[str] = set()

    def of(self, x: Atom, default: str) -> str:
        """Return the name of `x`, or `default` if it has none of its own."""
        hint = x.name if isinstance(x, Var) else ""
        name = default if hint in self.taken or not _MAY_NAME.fullmatch(hint) else hint
        self.taken.add(name)
        return name


def lines_of(graph: Graph) -> tuple[str, ...]:
    """Return the user's lines that a group computes, each once."""
    return tuple(dict.fromkeys(_lines(graph)))


def _lines(graph: Graph) -> Iterator[str]:
    """Yield the user's lines of a graph, those of bodies of loops too."""
    for eqn in graph.eqns:
        for inner in subgraphs(eqn.params):
            yield from _lines(inner)
        yield from eqn.source


def _under_products(graph: Graph) -> frozenset[Atom]:
    """Return what operands of the group's contractions are computed of, and they."""
    found: set[Atom] = set()
    for eqn in reversed(graph.eqns):
        if eqn.primitive is dot_general_p or any(v in found for v in eqn.outvars):
            found.update(x for x in eqn.invars if isinstance(x, Var))
    return frozenset(found)


@dataclass
class _Lowering:
    """The kernel under construction."""

    graph: Graph
    space: Space
    buffers: dict[Var, Buffer] = field(default_factory=dict)
    body: list[KernelOp] = field(default_factory=list)
    extents: dict[str, int] = field(default_factory=dict)
    bounds: tuple[Bound, ...] = ()
    count: int = 0
    hint: str = ""  # the user's name for what is being computed
    in_product: bool = False  # what is lowered is an operand of a contraction
    space_axes: tuple[str, ...] = ()
    values: dict[object, Operand] = field(default_factory=dict)
    axes_of_value: dict[str, frozenset[str]] = field(default_factory=dict)
    inner: dict[tuple[Shape, int, Map], list[str]] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.definitions = {v: e for e in self.graph.eqns for v in e.outvars}
        self.under_products = _under_products(self.graph)
        self.axis_of: dict[int, str] = {}
        for d, n in enumerate(self.space.shape):
            if n != 1:
                self.axis_of[d] = NAMES[d] if d < len(NAMES) else f"a{d}"
                self.extents[self.axis_of[d]] = n
        self.space_axes = tuple(self.axis_of.values())

    def store(self, buffer: Buffer, x: Atom) -> None:
        """Store an output at the axes of the group that it runs along."""
        shape = x.aval.shape
        dims = self.space.axes_of(shape)
        assert dims is not None
        names = [
            self.axis_of[d] if n != 1 else None
            for d, n in zip(dims, shape, strict=True)
        ]
        at = tuple(Affine() if n is None else axis(n) for n in names)
        self.body.append(Store(buffer.name, at, self.value(x, at)))

    def fresh(self, axes: frozenset[str], dtype: np.dtype, hint: str = "") -> Value:
        """Return a new value, named after what is computed, and numbered.

        No name of another kind ends in an underscore and digits.
        """
        hint = _LAST_DIGITS.sub(r"\1", hint or self.hint)
        name = f"{hint}_{self.count}" if hint else f"v{self.count}"
        value = Value(name, axes, dtype)
        self.count += 1
        self.axes_of_value[value.name] = axes
        return value

    def inner_axis(
        self, shape: Shape, d: int, kept: Map, at: Map, is_operand: bool = False
    ) -> str:
        """Return the axis for dimension `d` of values of a shape, summed at `kept`.

        The group's own axis where they have the group's shape, unless that is chance:
        rows of scores are not rows of the product that they are an operand of, wherever
        else their sums are needed (`is_operand`). Else the same one for the same place,
        so that what several sums need is computed for them once. Never one that the
        result of the sum, at `at`, runs along, or that bounds limit.
        """
        taken = self.axes_in((*at, *(b.index for b in self.bounds)))
        is_own = shape == self.space.shape and not (self.in_product or is_operand)
        own = self.axis_of.get(d) if is_own else None
        outside = {self.axis_of.get(k) for k in range(d)}
        is_inner = d in self.space.reduced or taken <= outside
        if own is not None and own not in taken and is_inner:
            return own
        names = self.inner.setdefault((shape, d, kept), [])
        name = next((n for n in names if n not in taken), None)
        if name is None:
            name = f"k{len(self.extents)}"
            names.append(name)
            self.extents[name] = shape[d]
        return name

    # --- values

    def value(self, x: Atom, at: Map) -> Operand:
        """Return the value of `x` at position `at`, emitting what it needs."""
        if isinstance(x, Literal):
            return x
        bounds = tuple((b.index, b.extent) for b in self.bounds)
        # A stack, as chains may be longer than Python's own stack.
        waiting = [(x, at)]
        while waiting:
            y, here = waiting[-1]
            if (y, here, bounds) not in self.values:
                needed = [
                    (o, place)
                    for o, place in self._reads(y, here)
                    if (o, place, bounds) not in self.values
                ]
                if needed:
                    waiting.extend(reversed(needed))
                    continue
                outer, self.hint = self.hint, y.name
                self.values[y, here, bounds] = self._emitted(y, here)
                self.hint = outer
            waiting.pop()
        return self.values[x, at, bounds]

    def _reads(self, x: Var, at: Map) -> list[tuple[Var, Map]]:
        """Return the values, and where, that `x` is computed of element by element."""
        eqn = self.definitions.get(x)
        if eqn is None or not x.aval.size:
            return []
        if eqn.primitive.kind is Kind.ELEMENTWISE:
            operands = (o for o in eqn.invars if isinstance(o, Var))
            return [(o, at if o.aval.shape else ()) for o in operands]
        if eqn.primitive in VIEWS and isinstance(eqn.invars[0], Var):
            return [(eqn.invars[0], through_view(eqn, at, self.extents))]
        if eqn.primitive is scan_p:
            fixed, inits, _ = ScanParams.of(eqn.params).split(eqn.invars)
            operands = (o for o in (*fixed, *inits) if isinstance(o, Var))
            return [(o, at if o.aval.shape else ()) for o in operands]
        return []

    def _emitted(self, x: Var, at: Map) -> Operand:
        eqn = self.definitions.get(x)
        if not x.aval.size:  # no element is ever wanted: nothing must be read
            return Literal(0, x.aval.dtype)
        if eqn is None:
            return self.load(self.buffers[x], at)
        if eqn.primitive.kind is Kind.ELEMENTWISE:
            operands = [self.value(o, at if o.aval.shape else ()) for o in eqn.invars]
            return self.compute(eqn.primitive, operands, eqn.params, x.aval.dtype)
        if eqn.primitive in VIEWS:
            return self.value(eqn.invars[0], through_view(eqn, at, self.extents))
        if eqn.primitive is iota_p:
            index = self.iota(at[_int(eqn.params, "axis")])
            if x.aval.dtype == dt.INT64:
                return index
            params: Params = {"dtype": x.aval.dtype}
            return self.compute(convert_p, [index], params, x.aval.dtype)
        if eqn.primitive is scan_p:
            return self.scan(eqn, at)[eqn.outvars.index(x)]
        return OTHER[eqn.primitive.name](self, eqn, at)

    # --- loops

    def scan(self, eqn: Eqn, at: Map) -> list[Operand]:
        """Return what a pointwise loop gives at one position, each element alone."""
        bounds = tuple((b.index, b.extent) for b in self.bounds)
        known = [self.values.get((v, at, bounds)) for v in eqn.outvars]
        if all(x is not None for x in known):
            return [x for x in known if x is not None]
        fixed, inits, xs = ScanParams.of(eqn.params).split(eqn.invars)
        operands = [
            [self.value(o, at if o.aval.shape else ()) for o in part]
            for part in (fixed, inits)
        ]
        outs = self.turns(ScanParams.of(eqn.params), operands[0], operands[1], xs, at)
        for v, out in zip(eqn.outvars, outs, strict=True):
            self.values[v, at, bounds] = out
        return outs

    def turns(
        self,
        p: ScanParams,
        fixed: Sequence[Operand],
        inits: Sequence[Operand],
        xs: Sequence[Atom],
        at: Map,
    ) -> list[Operand]:
        """Emit a loop; return its carries after the last turn."""
        vars_fixed, vars_carried, vars_xs = p.split(p.body.invars)
        along = self.axes_in(at)
        carries = tuple(
            self.fresh(along if v.aval.shape else frozenset(), v.aval.dtype, v.name)
            for v in vars_carried
        )
        turn = self.fresh(frozenset(), dt.INT64)
        outer, self.body = self.body, []
        env: dict[Atom, Operand] = dict(zip(vars_fixed, fixed, strict=True))
        env.update(zip(vars_carried, carries, strict=True))
        index = Affine(((ValueIndex(turn.name), -1 if p.reverse else 1),))
        index += p.length - 1 if p.reverse else 0
        env.update((v, self.slice(x, index)) for v, x in zip(vars_xs, xs, strict=True))
        for eqn in p.body.eqns:
            self.turn_equation(eqn, env, at)
        nexts = tuple(env.get(x, x) for x in p.body.outvars)
        body, self.body = tuple(self.body), outer
        result = self.fresh(carries[0].axes, carries[0].dtype)
        ends = tuple(x for x in nexts if isinstance(x, Value | Literal))
        self.body.append(
            Repeat(result, turn, p.length, carries, tuple(inits), body, ends)
        )
        others = [self.fresh(v.axes, v.dtype) for v in carries[1:]]
        for k, other in enumerate(others, 1):
            self.body.append(Carried(other, result, k))
        return [result, *others]

    def slice(self, x: Atom, index: Affine) -> Operand:
        """Return the number of an array of one axis that a turn reads."""
        eqn = self.definitions.get(x) if isinstance(x, Var) else None
        if eqn is not None and eqn.primitive is iota_p:
            count = self.fresh(frozenset(), dt.INT64)
            self.body.append(Iota(count, index))
            if x.aval.dtype == dt.INT64:
                return count
            params: Params = {"dtype": x.aval.dtype}
            return self.compute(convert_p, [count], params, x.aval.dtype)
        assert isinstance(x, Var)
        result = self.fresh(frozenset(), x.aval.dtype)
        name = self.buffers[x].name
        self.body.append(Load(result, name, (index,), check=(0,), clip=True))
        return result

    def turn_equation(self, eqn: Eqn, env: dict[Atom, Operand], at: Map) -> None:
        """Emit one equation of the body of a loop."""
        operands = [x if isinstance(x, Literal) else env[x] for x in eqn.invars]
        if eqn.primitive is scan_p:
            p = ScanParams.of(eqn.params)
            fixed, inits, _ = p.split(operands)
            outs = self.turns(p, fixed, inits, (), at)
            env.update(zip(eqn.outvars, outs, strict=True))
        elif eqn.primitive is broadcast_in_dim_p:
            env[eqn.outvars[0]] = operands[0]
        else:
            (out,) = eqn.outvars
            outer, self.hint = self.hint, out.name
            env[out] = self.compute(eqn.primitive, operands, eqn.params, out.aval.dtype)
            self.hint = outer

    def load(
        self,
        buffer: Buffer,
        at: Map,
        check: tuple[int, ...] = (),
        clip: bool = False,
    ) -> Value:
        """Load one element; within bounds, when there are any."""
        limits = tuple(bound.index for bound in self.bounds)
        result = self.fresh(self.axes_in((*at, *limits)), buffer.dtype)
        fill = Literal(0, buffer.dtype) if self.bounds else None
        self.body.append(Load(result, buffer.name, at, self.bounds, fill, check, clip))
        return result

    def compute(
        self,
        primitive: Primitive,
        operands: Sequence[Operand],
        params: Params,
        dtype: np.dtype,
    ) -> Value:
        """Apply an elementwise primitive."""
        axes = [o.axes for o in operands if isinstance(o, Value)]
        result = self.fresh(frozenset().union(*axes), dtype)
        self.body.append(Compute(result, primitive, tuple(operands), params))
        return result

    def iota(self, index: Affine) -> Operand:
        """Return an index expression as an i64 value."""
        if not index.terms:
            return Literal(index.constant, dt.INT64)
        key = ("iota", index)
        if key not in self.values:
            result = self.fresh(self.axes_in((index,)), dt.INT64)
            self.body.append(Iota(result, index))
            self.values[key] = result
        return self.values[key]

    def axes_in(self, at: Map) -> frozenset[str]:
        """Return the axes that a position varies along."""
        found: set[str] = set()
        for index in at:
            for atom, _ in index.terms:
                found |= self._axes_in_atom(atom)
        return frozenset(found)

    def _axes_in_atom(self, atom: IndexAtom) -> frozenset[str]:
        if isinstance(atom, AxisIndex):
            return frozenset({atom.axis})
        if isinstance(atom, ValueIndex):
            return self.axes_of_value[atom.value]
        return self.axes_in((atom.inner,))

    # --- pieces of arrays

    def inside(self, index: Affine, extent: int) -> Operand:
        """Return whether ``0 <= index < extent``."""
        position = self.iota(index)
        low = self.compute(ge_p, [position, Literal(0, dt.INT64)], {}, dt.BOOL)
        high = self.compute(lt_p, [position, Literal(extent, dt.INT64)], {}, dt.BOOL)
        return self.compute(and_p, [low, high], {}, dt.BOOL)

    def within(self, x: Atom, at: Map, bounds: Sequence[Bound]) -> Operand:
        """Return the value of `x`, whose loads happen only where `bounds` hold."""
        outer = self.bounds
        self.bounds = (*outer, *bounds)
        out = self.value(x, at)
        self.bounds = outer
        return out

    def choose(
        self, cond: Operand, yes: Operand, no: Operand, dtype: np.dtype
    ) -> Value:
        """Select between two values."""
        return self.compute(select_p, [cond, yes, no], {}, dtype)


Rule: TypeAlias = Callable[[_Lowering, Eqn, Map], Operand]


def _int(params: Params, name: str) -> int:
    value = params[name]
    assert isinstance(value, int)
    return value


def _pad(low: _Lowering, eqn: Eqn, at: Map) -> Operand:
    x, value = eqn.invars
    index = tuple(i + -a for i, a in zip(at, ints(eqn.params, "low"), strict=True))
    shape, full = x.aval.shape, eqn.outvars[0].aval.shape
    tight = [d for d in range(len(shape)) if shape[d] != full[d]]
    bounds = [Bound(index[d], shape[d]) for d in tight]
    inner = low.within(x, index, bounds)
    return _chosen(low, bounds, inner, low.value(value, ()), x.aval.dtype)


def _chosen(
    low: _Lowering,
    bounds: Sequence[Bound],
    inner: Operand,
    outer: Operand,
    dtype: np.dtype,
) -> Operand:
    cond: Operand | None = None
    for bound in bounds:
        test = low.inside(bound.index, bound.extent)
        cond = test if cond is None else low.compute(and_p, [cond, test], {}, dt.BOOL)
    return inner if cond is None else low.choose(cond, inner, outer, dtype)


def _concatenate(low: _Lowering, eqn: Eqn, at: Map) -> Operand:
    d = _int(eqn.params, "axis")
    offset = 0
    pieces = []
    for x in eqn.invars:
        n = x.aval.shape[d]
        index = (*at[:d], at[d] + -offset, *at[d + 1 :])
        if n:
            pieces.append((offset + n, low.within(x, index, [Bound(index[d], n)])))
        offset += n
    if not pieces:
        return Literal(0, eqn.outvars[0].aval.dtype)
    _, out = pieces[-1]
    position = low.iota(at[d])
    for end, piece in reversed(pieces[:-1]):
        limit = Literal(end, dt.INT64)
        before = low.compute(lt_p, [position, limit], {}, dt.BOOL)
        out = low.choose(before, piece, out, eqn.outvars[0].aval.dtype)
    return out


def _update_slice(low: _Lowering, eqn: Eqn, at: Map) -> Operand:
    x, update = eqn.invars
    start, stride = ints(eqn.params, "start"), ints(eqn.params, "stride")
    index, bounds, steps = [], [], []
    for d, (i, a, s) in enumerate(zip(at, start, stride, strict=True)):
        moved = i + -a
        place = simplified(floordiv(moved, s), low.extents)
        index.append(place)
        if update.aval.shape[d] != x.aval.shape[d]:
            bounds.append(Bound(place, update.aval.shape[d]))
        if s > 1:
            steps.append(mod(moved, s))
    inner = low.within(update, tuple(index), bounds)
    outer = low.value(x, at)
    cond: Operand | None = None
    for step in steps:
        remainder = low.iota(step)
        zero = Literal(0, dt.INT64)
        hit = low.compute(eq_p, [remainder, zero], {}, dt.BOOL)
        cond = hit if cond is None else low.compute(and_p, [cond, hit], {}, dt.BOOL)
    if cond is not None:
        inner = low.choose(cond, inner, outer, x.aval.dtype)
    return _chosen(low, bounds, inner, outer, x.aval.dtype)


def _gather(low: _Lowering, eqn: Eqn, at: Map) -> Operand:
    x, *indices = eqn.invars
    assert isinstance(x, Var)
    n, batch = indices[0].aval.ndim, _int(eqn.params, "batch")
    axes = ints(eqn.params, "axes")
    rest = iter(at[n:])
    place: list[Affine] = []
    chosen = dict(zip(axes, indices, strict=True))
    for d in range(x.aval.ndim):
        if d in chosen:
            place.append(_index_value(low, chosen[d], at[:n]))
        else:
            place.append(at[d] if d < batch else next(rest))
    clip = eqn.params["mode"] == "clip"
    return low.load(low.buffers[x], tuple(place), tuple(sorted(axes)), clip)


def _index_value(low: _Lowering, index: Atom, at: Map) -> Affine:
    value = low.value(index, at if index.aval.shape else ())
    if value.dtype != dt.INT64 if isinstance(value, Value) else False:
        assert isinstance(value, Value)
        value = low.compute(convert_p, [value], {"dtype": dt.INT64}, dt.INT64)
    if isinstance(value, Literal):
        zero = low.fresh(frozenset(), dt.INT64)
        low.body.append(Iota(zero, Affine((), int(value.value))))
        value = zero
    return Affine(((ValueIndex(value.name), 1),))


def _summing(rule: Rule) -> Rule:
    """Return a rule that heeds bounds only where it is read at places that may not be.

    What is at one place for all elements is there, whichever of them wants it.
    """

    def lowered(low: _Lowering, eqn: Eqn, at: Map) -> Operand:
        if low.axes_in(at) or not low.bounds:
            return rule(low, eqn, at)
        outer, low.bounds = low.bounds, ()
        out = low.value(eqn.outvars[0], at)
        low.bounds = outer
        return out

    return lowered


def _reduce(low: _Lowering, eqn: Eqn, at: Map) -> Operand:
    x = eqn.invars[0]
    params = eqn.params
    axes = sorted(ints(params, "axes") if "axes" in params else [_int(params, "axis")])
    kept = iter(at)
    names, index = [], []
    for d, n in enumerate(x.aval.shape):
        if d in axes and n == 1:
            index.append(Affine())
        elif d in axes:
            is_operand = x in low.under_products
            names.append(low.inner_axis(x.aval.shape, d, at, at, is_operand))
            index.append(axis(names[-1]))
        else:
            index.append(next(kept))
    operands = [low.value(v, tuple(index)) for v in eqn.invars]
    op = REDUCE_OPS[eqn.primitive.name]
    if not names:
        is_place = op.startswith("arg")
        return Literal(0, dt.INT64) if is_place else _product(low, operands)
    # It runs inside of the loops of what is kept, also of those it is the same for.
    around = sorted(low.axes_in(at))
    first = _varying_along(low, operands[0], [*names, *around], x.aval.dtype)
    operand = _product(low, [first, *operands[1:]])
    result = low.fresh(first.axes - set(names), eqn.outvars[0].aval.dtype)
    is_fused = len(operands) > 1
    low.body.append(Reduce(result, op, tuple(names), operand, is_fused))
    return result


def _product(low: _Lowering, factors: Sequence[Operand]) -> Operand:
    """Return the product of two factors, or the only one."""
    if len(factors) == 1:
        return factors[0]
    return low.compute(mul_p, factors, {}, dtype_of(factors[0]))


def _dot_general(low: _Lowering, eqn: Eqn, at: Map) -> Operand:
    x, y = eqn.invars
    contract, batch = (_pair(eqn.params[n]) for n in ("contract", "batch"))
    shape = x.aval.shape
    shared = at[: len(batch[0])]
    free = [
        free_axes(v.aval.ndim, c, b)
        for v, c, b in zip((x, y), contract, batch, strict=True)
    ]
    own = at[len(shared) :]
    places = (own[: len(free[0])], own[len(free[0]) :])
    index: dict[int, Affine] = dict(zip(batch[0], shared, strict=True))
    index.update(zip(free[0], places[0], strict=True))
    kept = tuple(index[d] for d in sorted(index))
    names = [low.inner_axis(shape, d, kept, at) for d in contract[0]]
    operands = []
    was_in_product, low.in_product = low.in_product, True
    for n, v in enumerate((x, y)):
        index = dict(zip(batch[n], shared, strict=True))
        index.update(zip(free[n], places[n], strict=True))
        index.update((d, axis(k)) for d, k in zip(contract[n], names, strict=True))
        place = tuple(index[d] for d in range(v.aval.ndim))
        operand = low.value(v, place)
        along = sorted(low.axes_in(place))
        operands.append(_varying_along(low, operand, along, v.aval.dtype))
    low.in_product = was_in_product
    axes = (operands[0].axes | operands[1].axes) - set(names)
    result = low.fresh(axes, eqn.outvars[0].aval.dtype)
    low.body.append(Contract(result, tuple(names), operands[0], operands[1]))
    return result


def _conv_general(low: _Lowering, eqn: Eqn, at: Map) -> Operand:
    """Contract a load through a window; both operands are in memory."""
    x, w = eqn.invars
    assert isinstance(x, Var)
    assert isinstance(w, Var)
    shape = w.aval.shape
    names = [low.inner_axis(shape, d, at, at, True) for d in range(2, len(shape))]
    channel, *taps = map(axis, names)
    image, group, filter_, *places = at
    index, bounds = windows(eqn, tuple(places), tuple(taps), low.extents)
    outer, low.bounds = low.bounds, (*low.bounds, *bounds)
    left = low.load(low.buffers[x], (image, group, channel, *index))
    low.bounds = outer
    right = low.load(low.buffers[w], (group, filter_, channel, *taps))
    axes = (left.axes | right.axes) - set(names)
    result = low.fresh(axes, eqn.outvars[0].aval.dtype)
    low.body.append(Contract(result, tuple(names), left, right))
    return result


def _pair(x: object) -> tuple[Shape, Shape]:
    assert isinstance(x, tuple)
    return x[0], x[1]


def _varying_along(
    low: _Lowering, x: Operand, names: Sequence[str], dtype: np.dtype
) -> Value:
    """Return `x` as a value along all the axes `names`."""
    for name in names:
        if not isinstance(x, Value) or name not in x.axes:
            x = _varying(low, x, name, dtype)
    assert isinstance(x, Value)
    return x


def _varying(low: _Lowering, x: Operand, name: str, dtype: np.dtype) -> Value:
    """Return `x` as a value along one more axis, so that it can be reduced over it."""
    always = low.compute(
        ge_p, [low.iota(axis(name)), Literal(0, dt.INT64)], {}, dt.BOOL
    )
    return low.choose(always, x, x, dtype)


OTHER = {
    dot_general_p.name: _summing(_dot_general),
    conv_general_p.name: _conv_general,
    pad_p.name: _pad,
    concatenate_p.name: _concatenate,
    update_slice_p.name: _update_slice,
    gather_p.name: _gather,
    **dict.fromkeys(REDUCE_OPS, _summing(_reduce)),
}
