"""Kernel IR: named axes, and SSA values that carry a set of axes.

An operation acts on the union of its operands' axes. ``reduce`` removes axes. The
order in which axes become loops, vectors or threads is not here but in `schedule`.
"""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import TypeAlias

import numpy as np

from ..ir.aval import Shape, ShapedArray
from ..ir.dtypes import INT64
from ..ir.graph import Literal
from ..ir.primitive import Params, Primitive
from ..records import dataclass
from .maps import Affine, Map, values_in


@dataclass(frozen=True)
class Axis:
    """A named iteration axis of known extent (0 is allowed)."""

    name: str
    extent: int


@dataclass(frozen=True)
class Buffer:
    """A kernel parameter: logical shape and strides, in elements.

    Strides may be negative or zero for inputs; the pointer passed is that of the
    element with all indices zero.
    """

    name: str
    dtype: np.dtype
    shape: Shape
    strides: Shape


@dataclass(frozen=True)
class Value:
    """An SSA value: name, the axes it varies along, dtype."""

    name: str
    axes: frozenset[str]
    dtype: np.dtype


Operand: TypeAlias = Value | Literal


@dataclass(frozen=True, eq=False)
class Bound:
    """A condition ``0 <= index < extent`` on a load (padding, concatenation)."""

    index: Affine
    extent: int


@dataclass(frozen=True, eq=False)
class Load:
    """``result = load buffer[map]``; where a bound fails the result is `fill`.

    `check` names the dimensions whose index is a run-time value: negative ones wrap
    once, and out-of-range ones set the error word and are clamped for safety. With
    `clip` they are only clamped.
    """

    result: Value
    buffer: str
    map: Map
    bounds: tuple[Bound, ...] = ()
    fill: Literal | None = None
    check: tuple[int, ...] = ()
    clip: bool = False


@dataclass(frozen=True, eq=False)
class Compute:
    """``result = primitive(operands) {params}``: one elementwise primitive."""

    result: Value
    primitive: Primitive
    operands: tuple[Operand, ...]
    params: Params


@dataclass(frozen=True, eq=False)
class Iota:
    """``result = index``: an index expression as a value."""

    result: Value
    index: Affine


@dataclass(frozen=True, eq=False)
class Reduce:
    """``results = reduce op over axes: operands``.

    `op` is add, mul, max, min, and, or (one operand, one result), or argmax, argmin
    (one operand, one i64 result: the flat index in row-major order over `axes`). Sums
    follow the fixed tree of `tracejit.kernels.tree`. An `unrounded` one adds products
    (its operand is the result of a ``mul`` of floats) without rounding them first.
    """

    result: Value
    op: str
    axes: tuple[str, ...]
    operand: Operand
    unrounded: bool = False


@dataclass(frozen=True, eq=False)
class Contract:
    """``result = contract over axes: lhs * rhs``: a sum of products."""

    result: Value
    axes: tuple[str, ...]
    lhs: Value
    rhs: Value


@dataclass(frozen=True, eq=False)
class Store:
    """``store buffer[map] = value``; each element is stored once."""

    buffer: str
    map: Map
    value: Operand


@dataclass(frozen=True, eq=False)
class Repeat:
    """``result = repeat turn < count with carries = inits { body } next nexts``.

    A loop that each element runs for itself, one turn after another. At the first turn
    the carries are the inits, at each further one the nexts of the turn before. The
    result is the first carry after the last turn; a `Carried` gives each of the others.

    Parameters
    ----------
    result : Value
    turn : Value
        The number of the turn, i64 and the same for all elements.
    count : int
        At least 1.
    carries : tuple of Value
        At least one; bound inside of the body only, as `turn` is.
    inits, nexts : tuple of Operand
        One for each carry; they may vary along fewer axes than it does.
    body : tuple of KernelOp
        Loads at places that only `turn` decides, counts, computations, loops.
    """

    result: Value
    turn: Value
    count: int
    carries: tuple[Value, ...]
    inits: tuple["Operand", ...]
    body: tuple["KernelOp", ...]
    nexts: tuple["Operand", ...]


@dataclass(frozen=True, eq=False)
class Carried:
    """``result = carried place of loop``: another carry after the last turn.

    `loop` is the result of a `Repeat`.
    """

    result: Value
    loop: Value
    place: int


KernelOp: TypeAlias = (
    Load | Compute | Iota | Reduce | Contract | Store | Repeat | Carried
)


@dataclass(frozen=True, eq=False)
class Kernel:
    """One fused loop nest.

    Parameters
    ----------
    name : str
    inputs, outputs : tuple of Buffer
        Outputs never overlap inputs, unless the Program says so by aliasing an output
        with an input that every iteration reads only where it writes.
    axes : tuple of Axis
    body : tuple of KernelOp
        In SSA order.
    source : tuple of str
        The user lines this kernel computes.
    """

    name: str
    inputs: tuple[Buffer, ...]
    outputs: tuple[Buffer, ...]
    axes: tuple[Axis, ...]
    body: tuple[KernelOp, ...]
    source: tuple[str, ...] = ()

    def extent(self, axis: str) -> int:
        """Return the extent of the named axis."""
        return next(a.extent for a in self.axes if a.name == axis)

    def buffer(self, name: str) -> Buffer:
        """Return the parameter called `name`."""
        return next(b for b in (*self.inputs, *self.outputs) if b.name == name)


def operands_of(op: KernelOp) -> Iterator[Operand]:
    """Yield the values an operation reads (not those inside index maps)."""
    if isinstance(op, Compute):
        yield from op.operands
    elif isinstance(op, Reduce):
        yield op.operand
    elif isinstance(op, Contract):
        yield op.lhs
        yield op.rhs
    elif isinstance(op, Store):
        yield op.value
    elif isinstance(op, Carried):
        yield op.loop
    elif isinstance(op, Repeat):
        yield from op.inits
        yield from _read_from_outside(op)


def _read_from_outside(loop: Repeat) -> Iterator[Operand]:
    """Yield what the turns of a loop read that is bound before it, each once."""
    bound = {loop.turn.name, *(v.name for v in loop.carries)}
    found: dict[str, Value] = {}
    for op in loop.body:
        found.update((v.name, v) for v in values_of(op) if v.name not in bound)
        result = result_of(op)
        if result is not None:
            bound.add(result.name)
    for x in loop.nexts:
        if isinstance(x, Value) and x.name not in bound:
            found[x.name] = x
    yield from found.values()


def with_inner(ops: Iterable[KernelOp]) -> Iterator[KernelOp]:
    """Yield operations, each before those inside of it."""
    for op in ops:
        yield op
        if isinstance(op, Repeat):
            yield from with_inner(op.body)


def result_of(op: KernelOp) -> Value | None:
    """Return the value an operation binds; None for a store."""
    return None if isinstance(op, Store) else op.result


def values_of(op: KernelOp) -> Iterator[Value]:
    """Yield the values among the operands of an operation."""
    return (x for x in operands_of(op) if isinstance(x, Value))


def needed(body: Sequence[KernelOp]) -> tuple[KernelOp, ...]:
    """Return the operations that stores need."""
    names: set[str] = set()
    kept: list[KernelOp] = []
    for op in reversed(body):
        result = result_of(op)
        if result is not None and result.name not in names:
            continue
        names.update(v.name for v in values_of(op))
        names.update(*(values_in(index) for index in indices_of(op)))
        kept.append(op)
    return tuple(reversed(kept))


def indices_of(op: KernelOp) -> Iterator[Affine]:
    """Yield the index expressions of an operation, those of bounds too."""
    if isinstance(op, Load | Store):
        yield from op.map
    if isinstance(op, Load):
        yield from (bound.index for bound in op.bounds)
    elif isinstance(op, Iota):
        yield op.index


def factors_of(op: Reduce, makers: Mapping[str, KernelOp]) -> tuple[Operand, ...]:
    """Return what is multiplied in a sum of unrounded products; nothing for others.

    `makers` are the operations before it, by the names of their results.
    """
    made = makers.get(op.operand.name) if isinstance(op.operand, Value) else None
    if not op.unrounded or not isinstance(made, Compute):
        return ()
    return made.operands if made.primitive.name == "mul" else ()


def dense_strides(shape: Shape) -> Shape:
    """Return the strides, in elements, of a dense row-major array."""
    out, step = [], 1
    for n in reversed(shape):
        out.append(step)
        step *= max(n, 1)
    return tuple(reversed(out))


def extent_of(shape: Shape, strides: Shape) -> tuple[int, int]:
    """Return the elements an array spans, from its first one: [low, high)."""
    if 0 in shape:
        return 0, 0
    reach = [(n - 1) * s for n, s in zip(shape, strides, strict=True)]
    return sum(min(r, 0) for r in reach), sum(max(r, 0) for r in reach) + 1


def has_overlaps(shape: Shape, strides: Shape) -> bool:
    """Tell whether two elements of an array may lie at one place.

    Exact where each stride steps over all that smaller ones reach; other layouts, such
    as interleaved ones, count as overlapping.
    """
    if 0 in shape:
        return False
    steps = sorted((abs(s), n) for s, n in zip(strides, shape, strict=True) if n > 1)
    reach = 0
    for step, n in steps:
        if step <= reach:
            return True
        reach += (n - 1) * step
    return False


def dtype_of(x: Operand) -> np.dtype:
    """Return the dtype of a value or literal."""
    return x.aval.dtype if isinstance(x, Literal) else x.dtype


def computed_dtype(op: Compute) -> np.dtype:
    """Return the dtype that the primitive gives for these operands."""
    avals = [ShapedArray((), dtype_of(x)) for x in op.operands]
    (aval,) = op.primitive.out_avals(avals, op.params)
    return aval.dtype


def default_dtype(op: KernelOp, kernel: Kernel) -> np.dtype:
    """Return the dtype of the result of an operation unless it is made to differ."""
    if isinstance(op, Load | Store):
        return kernel.buffer(op.buffer).dtype
    if isinstance(op, Compute):
        return computed_dtype(op)
    if isinstance(op, Reduce) and not op.op.startswith("arg"):
        return dtype_of(op.operand)
    if isinstance(op, Repeat):
        return op.carries[0].dtype
    return op.lhs.dtype if isinstance(op, Contract) else INT64
